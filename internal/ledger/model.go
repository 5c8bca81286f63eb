package ledger

import (
	"encoding/hex"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of what people write.
const (
	maxWord     = 64
	maxText     = 512
	maxParents  = 16
	maxKindName = 32
	maxEvidence = 1024
)

// Model is a model file that somebody vouches for under an account.
type Model struct {
	Publisher Address     `cbor:"1,keyasint" json:"publisher"`
	Name      string      `cbor:"2,keyasint" json:"name"`
	Numerics  string      `cbor:"3,keyasint" json:"numerics"` // version of spec/numerics.md that its answers are of
	Licence   string      `cbor:"4,keyasint" json:"licence"`  // an SPDX expression
	Parents   []Parent    `cbor:"5,keyasint,omitempty" json:"parents,omitempty"`
	Height    uint64      `cbor:"6,keyasint" json:"height"`
	Revoked   *Revocation `cbor:"7,keyasint,omitempty" json:"revoked,omitempty"`
}

// Parent is what a model was made from.
type Parent struct {
	_        struct{}   `cbor:",toarray"`
	Relation string     `json:"relation"` // "base", "adapter", "data", "training", ...
	Hash     canon.Hash `json:"hash"`     // a model's root, a commitment to data, a training receipt
}

// Revocation is why nobody should use a model any more.
type Revocation struct {
	_      struct{} `cbor:",toarray"`
	Height uint64   `json:"height"`
	Reason string   `json:"reason"`
}

// Register puts a model into the registry. Whoever comes first is its
// publisher, which says who vouches for it, not who made it.
type Register struct {
	Root     canon.Hash `cbor:"1,keyasint" json:"root"` // spec/fingerprint.md
	Name     string     `cbor:"2,keyasint" json:"name"`
	Numerics string     `cbor:"3,keyasint" json:"numerics"`
	Licence  string     `cbor:"4,keyasint" json:"licence"`
	Parents  []Parent   `cbor:"5,keyasint,omitempty" json:"parents,omitempty"`
}

func (m *Register) apply(c *call) error {
	key := tableModel.key(m.Root[:])
	if old, ok := load[Model](c.tree, key); ok {
		return fail(CodeRefused, "the model is registered, by the account %s", old.Publisher)
	}
	for _, w := range []struct {
		name, text string
		limit      int
	}{{"name", m.Name, maxText}, {"numerics version", m.Numerics, maxWord}, {"licence", m.Licence, maxText}} {
		if w.text == "" || len(w.text) > w.limit {
			return fail(CodeRefused, "a %s of %d bytes, want 1 to %d", w.name, len(w.text), w.limit)
		}
	}
	if len(m.Parents) > maxParents {
		return fail(CodeRefused, "%d parents, want at most %d", len(m.Parents), maxParents)
	}
	for i, p := range m.Parents {
		if p.Relation == "" || len(p.Relation) > maxWord || p.Hash == m.Root {
			return fail(CodeRefused, "parent %d has a relation of %d bytes, or is the model itself", i, len(p.Relation))
		}
	}
	save(c.tree, key, &Model{Publisher: c.from, Name: m.Name, Numerics: m.Numerics, Licence: m.Licence, Parents: m.Parents, Height: c.block.Height})
	c.event("model", "root", m.Root.String(), "name", m.Name, "publisher", c.from.String())
	return nil
}

// Revoke takes a model back. Its entry stays, with the reason; offers of it are
// no longer made.
type Revoke struct {
	Root   canon.Hash `cbor:"1,keyasint" json:"root"`
	Reason string     `cbor:"2,keyasint" json:"reason"`
}

func (m *Revoke) apply(c *call) error {
	key := tableModel.key(m.Root[:])
	e, ok := load[Model](c.tree, key)
	switch {
	case !ok:
		return fail(CodeNotFound, "the model %s is not registered", m.Root)
	case e.Publisher != c.from:
		return fail(CodeForbidden, "the model belongs to the account %s", e.Publisher)
	case e.Revoked != nil:
		return fail(CodeRefused, "the model was revoked before")
	case m.Reason == "" || len(m.Reason) > maxText:
		return fail(CodeRefused, "a reason of %d bytes, want 1 to %d", len(m.Reason), maxText)
	}
	e.Revoked = &Revocation{Height: c.block.Height, Reason: m.Reason}
	save(c.tree, key, e)
	c.event("revoked", "root", m.Root.String(), "reason", m.Reason)
	return nil
}

// Attestation is what an account says about something that has a hash: a
// training round, a vote of people, a data set. What a kind means is for its
// readers; the ledger only keeps who said it, and when.
type Attestation struct {
	Evidence []byte `cbor:"1,keyasint" json:"evidence"` // a hash, or a short record
	Height   uint64 `cbor:"2,keyasint" json:"height"`
	Time     uint64 `cbor:"3,keyasint" json:"time"` // milliseconds since 1970
}

// Attest makes or replaces an attestation of the sender; without evidence it
// ends it.
type Attest struct {
	Subject  canon.Hash `cbor:"1,keyasint" json:"subject"`
	Kind     string     `cbor:"2,keyasint" json:"kind"`
	Evidence []byte     `cbor:"3,keyasint,omitempty" json:"evidence,omitempty"`
}

// AttestationKey is the key of an attestation in the state, to prove it by.
func AttestationKey(subject canon.Hash, kind string, by Address) []byte {
	return tableAttestation.key(subject[:], []byte(kind), by[:])
}

func (m *Attest) apply(c *call) error {
	if m.Kind == "" || len(m.Kind) > maxKindName || len(m.Evidence) > maxEvidence {
		return fail(CodeRefused, "a kind of %d bytes with %d bytes of evidence, want 1 to %d and at most %d", len(m.Kind), len(m.Evidence), maxKindName, maxEvidence)
	}
	key := AttestationKey(m.Subject, m.Kind, c.from)
	if len(m.Evidence) == 0 {
		if _, ok := c.tree.Get(key); !ok {
			return fail(CodeNotFound, "there is no such attestation")
		}
		c.tree.Delete(key)
	} else {
		save(c.tree, key, &Attestation{Evidence: m.Evidence, Height: c.block.Height, Time: c.block.Time})
	}
	c.event("attest", "subject", m.Subject.String(), "kind", m.Kind, "by", c.from.String(), "evidence", hex.EncodeToString(m.Evidence))
	return nil
}
