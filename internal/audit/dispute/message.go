package dispute

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of messages, in bytes.
const (
	MaxMessage     = 768 << 10 // a whole message
	MaxProof       = 704 << 10 // a proof of fraud, in a message or a file
	maxDescription = 640 << 10 // of a cell; it has all ids of the prompt if the seed depends on them
)

// ErrIgnored says that the referee did not take a message: it is not a message
// of this dispute, or not signed by the party whose turn it is for this place
// in the game. It costs nobody anything, since anybody may have sent it.
var ErrIgnored = errors.New("dispute: message ignored")

func ignored(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrIgnored, fmt.Sprintf(format, args...))
}

// kind is the kind of a message.
type kind uint8

const (
	kindOpen      kind = 1 + iota // challenger: show the trace
	kindChild                     // challenger: show what is below a node of the last answer
	kindCell                      // challenger: stand by a cell, show its operations
	kindFraud                     // challenger: a proof of fraud
	kindTrace                     // prover: answers open
	kindNodes                     // prover: answers child
	kindStatement                 // prover: answers cell
)

// The bodies of messages.
type (
	bodyOpen struct {
		_ struct{} `cbor:",toarray"`
	}
	bodyChild struct {
		_    struct{} `cbor:",toarray"`
		Part int      // of the last answer
	}
	bodyCell struct {
		_           struct{} `cbor:",toarray"`
		Output      bool
		Layer       int
		Position    int
		Description []byte
	}
	bodyTrace struct {
		_         struct{} `cbor:",toarray"`
		Salt      []byte
		Layers    int
		Signature []byte
		Nodes     Hashes
	}
	bodyNodes struct {
		_     struct{} `cbor:",toarray"`
		Nodes Hashes
	}
	bodyStatement struct {
		_         struct{} `cbor:",toarray"`
		Signature []byte
		Nodes     Hashes
	}
)

// Hashes are hashes, one after the other, as messages and proofs carry them.
type Hashes []byte

// join makes Hashes, nil of none.
func join(list []canon.Hash) Hashes {
	if len(list) == 0 {
		return nil
	}
	h := make(Hashes, 0, len(list)*canon.Size)
	for i := range list {
		h = append(h, list[i][:]...)
	}
	return h
}

// List is the hashes as a list; what follows the last whole one is left out.
func (h Hashes) List() []canon.Hash {
	list := make([]canon.Hash, len(h)/canon.Size)
	for i := range list {
		list[i] = canon.Hash(h[i*canon.Size:])
	}
	return list
}

// whole reports whether h is hashes: whole ones, and nil if there are none.
func (h Hashes) whole() bool { return len(h)%canon.Size == 0 && (h == nil || len(h) > 0) }

// message is a move, signed by the party that makes it.
type message struct {
	_         struct{} `cbor:",toarray"`
	Dispute   canon.Hash
	Round     int // 0, 1, 2 ...; the challenger's are even
	Kind      kind
	Body      []byte
	Signature []byte
}

// digest is what the party signs. It covers head, the digest of the message
// before, so that an answer belongs to one question in one game and cannot be
// played again in another.
func (m *message) digest(head canon.Hash) canon.Hash {
	return canon.Sum("aval dispute message/1", m.Dispute[:], u64(uint64(m.Round)), head[:], []byte{byte(m.Kind)}, m.Body)
}

// seal makes a signed message.
func seal(key ed25519.PrivateKey, dispute canon.Hash, round int, head canon.Hash, k kind, body any) ([]byte, error) {
	raw, ok := body.([]byte)
	if !ok {
		var err error
		if raw, err = canon.Marshal(body); err != nil {
			return nil, fmt.Errorf("dispute: %w", err)
		}
	}
	m := message{Dispute: dispute, Round: round, Kind: k, Body: raw}
	digest := m.digest(head)
	m.Signature = ed25519.Sign(key, digest[:])
	return encode(&m, MaxMessage)
}

// Heavy says whether a message makes the referee that takes it read a
// description, and maybe compute a leaf. Others cost it hashes and signatures
// alone.
func Heavy(data []byte) bool {
	m, err := open(data)
	return err == nil && (m.Kind == kindCell || m.Kind == kindFraud)
}

// open decodes the envelope of a message.
func open(data []byte) (*message, error) {
	if len(data) > MaxMessage {
		return nil, ignored("%d bytes, want at most %d", len(data), MaxMessage)
	}
	var m message
	if err := canon.Unmarshal(data, &m); err != nil {
		return nil, ignored("%v", err)
	}
	return &m, nil
}
