package crdt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// ID names an operation: SHA-256 of its bytes.
type ID = canon.Hash

// Kind is who may write in a namespace.
type Kind uint8

// The kinds.
const (
	// Owned: the owner, and whom it grants.
	Owned Kind = 1
	// Open: a part of an open directory, which its author alone writes. The
	// directory is all such parts of the same name and salt.
	Open Kind = 2
)

// Genesis is what a namespace is; its hash is the namespace's ID.
type Genesis struct {
	Owner peer.ID  `cbor:"1,keyasint"`
	Name  string   `cbor:"2,keyasint"`
	Salt  [16]byte `cbor:"3,keyasint"` // random, so that two namespaces of one name differ
	Kind  Kind     `cbor:"4,keyasint"`
}

func (g Genesis) validate() error {
	switch {
	case g.Kind != Owned && g.Kind != Open:
		return invalidf("a namespace of kind %d", g.Kind)
	case len(g.Name) == 0 || len(g.Name) > MaxName || !clean(g.Name):
		return invalidf("a namespace's name has 1 to %d bytes of text without control characters", MaxName)
	case g.Owner.IsZero():
		return invalidf("a namespace without an owner")
	}
	return nil
}

// Bytes is the canonical form.
func (g Genesis) Bytes() []byte { return mustMarshal(g) }

// ID is the namespace's ID.
func (g Genesis) ID() ID { return canon.Sum("aval namespace/1", g.Bytes()) }

// ParseGenesis reads what Bytes gives.
func ParseGenesis(data []byte) (Genesis, error) {
	var g Genesis
	if len(data) > 2*MaxName+256 {
		return g, invalidf("a namespace of %d bytes", len(data))
	}
	if err := canon.Unmarshal(data, &g); err != nil {
		return g, invalidf("%w", err)
	}
	return g, g.validate()
}

// Action is what an operation does.
type Action uint8

// The actions. The first six change data, the others are the owner's.
const (
	Set        Action = 1  // a register to Value
	Delete     Action = 2  // a register
	Count      Action = 3  // Delta to a counter
	Insert     Action = 4  // Value into a set; Observed are insertions of it that this one replaces
	Remove     Action = 5  // Value from a set, as far as its insertions are Observed
	Append     Action = 6  // Value to a log
	Grant      Action = 7  // Writer may change Types of keys that begin with Key
	Revoke     Action = 8  // Writer's grants, but for the operations up to UpTo
	Checkpoint Action = 9  // Root is the state of all that this operation builds on
	Merge      Action = 10 // nothing: joins heads, of which an operation names a bounded number
)

// Type is the type of an entry. The values are bits of Change.Types.
type Type uint8

// The types.
const (
	Register Type = 1
	Counter  Type = 2
	Elements Type = 4 // a set
	Log      Type = 8
	AllTypes      = Register | Counter | Elements | Log
	granted  Type = 16 // a grant, as an entry of the state
)

var typeNames = map[Type]string{Register: "register", Counter: "counter", Elements: "set", Log: "log", granted: "grant"}

// String is the type's name.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return "unknown"
}

// typeOf is the type that an action changes; 0 for the owner's.
func (a Action) typeOf() Type {
	switch a {
	case Set, Delete:
		return Register
	case Count:
		return Counter
	case Insert, Remove:
		return Elements
	case Append:
		return Log
	}
	return 0
}

// Change is what an operation does. Fields that its action does not use are
// empty.
type Change struct {
	Action   Action  `cbor:"1,keyasint"`
	Key      string  `cbor:"2,keyasint,omitempty"` // of a grant: the prefix of keys
	Value    []byte  `cbor:"3,keyasint,omitempty"`
	Delta    int64   `cbor:"4,keyasint,omitempty"`
	Observed []ID    `cbor:"5,keyasint,omitempty"`
	Writer   peer.ID `cbor:"6,keyasint,omitzero"`
	Types    Type    `cbor:"7,keyasint,omitempty"`
	UpTo     []ID    `cbor:"8,keyasint,omitempty"`
	Root     ID      `cbor:"9,keyasint,omitzero"`
}

func (c *Change) validate() error {
	bare := *c
	bare.Action, bare.Key, bare.Value = 0, "", nil
	switch c.Action {
	case Set, Append:
		if len(c.Value) > MaxValue {
			return invalidf("a value of %d bytes, want at most %d", len(c.Value), MaxValue)
		}
	case Delete:
		if len(c.Value) != 0 {
			return invalidf("a deletion with a value")
		}
	case Count:
		if len(c.Value) != 0 || c.Delta > MaxDelta || c.Delta < -MaxDelta || c.Delta == 0 {
			return invalidf("a counter is changed by 1 to 2^40, either way")
		}
		bare.Delta = 0
	case Insert, Remove:
		if len(c.Value) > MaxElement || len(c.Observed) > MaxObserved || !sorted(c.Observed) || c.Action == Remove && len(c.Observed) == 0 {
			return invalidf("an element has at most %d bytes; the insertions that are observed are sorted and at most %d", MaxElement, MaxObserved)
		}
		bare.Observed = nil
	case Grant:
		if len(c.Value) != 0 || c.Types == 0 || c.Types&^AllTypes != 0 || c.Writer.IsZero() {
			return invalidf("a grant names a writer and types")
		}
		bare.Writer, bare.Types = peer.ID{}, 0
	case Revoke:
		if len(c.Value) != 0 || c.Key != "" || c.Writer.IsZero() || len(c.UpTo) > MaxUpTo || !sorted(c.UpTo) {
			return invalidf("a revocation names a writer and at most %d heads, sorted", MaxUpTo)
		}
		bare.Writer, bare.UpTo = peer.ID{}, nil
	case Checkpoint:
		if len(c.Value) != 0 || c.Key != "" || c.Root.IsZero() || len(c.UpTo) > MaxUpTo || !sorted(c.UpTo) {
			return invalidf("a checkpoint has a root and at most %d heads, sorted", MaxUpTo)
		}
		bare.Root, bare.UpTo = ID{}, nil
	case Merge:
		if len(c.Value) != 0 || c.Key != "" {
			return invalidf("a merge has no content")
		}
	default:
		return invalidf("action %d is not known", c.Action)
	}
	if bare.Delta != 0 || len(bare.Observed) != 0 || !bare.Writer.IsZero() || bare.Types != 0 || len(bare.UpTo) != 0 || !bare.Root.IsZero() {
		return invalidf("action %d has fields of another", c.Action)
	}
	if len(c.Key) > MaxKey || !clean(c.Key) || c.Key == "" && c.Action.typeOf() != 0 {
		return invalidf("a key has 1 to %d bytes of text without control characters", MaxKey)
	}
	return nil
}

// Op is a signed operation. It is not to be changed after it was made or read.
type Op struct {
	Namespace ID      `cbor:"1,keyasint"`
	Author    peer.ID `cbor:"2,keyasint"`
	// Base is the checkpoint that the operation builds on, the namespace's ID
	// if there was none. Parents are the operations since that its author had
	// seen, but for those that others of them name; sorted.
	Base    ID     `cbor:"3,keyasint"`
	Parents []ID   `cbor:"4,keyasint"`
	Height  uint64 `cbor:"5,keyasint"` // one more than the highest parent's, or the base's
	Change  Change `cbor:"6,keyasint"`
	Sig     []byte `cbor:"7,keyasint"`

	id  ID
	raw []byte
}

// ID names the operation.
func (o *Op) ID() ID { return o.id }

// Bytes is the operation as it travels.
func (o *Op) Bytes() []byte { return o.raw }

// digest is what is signed.
func (o *Op) digest() ID {
	bare := *o
	bare.Sig = []byte{}
	return canon.Sum("aval operation/1", mustMarshal(bare))
}

func (o *Op) sign(key ed25519.PrivateKey) error {
	d := o.digest()
	o.Sig = ed25519.Sign(key, d[:])
	o.raw = mustMarshal(o)
	if len(o.raw) > MaxOp {
		return invalidf("an operation of %d bytes, want at most %d", len(o.raw), MaxOp)
	}
	o.id = sha256.Sum256(o.raw)
	return nil
}

// Parse reads an operation and checks all that can be checked of it alone,
// its signature last.
func Parse(data []byte) (*Op, error) {
	o, err := Restore(data)
	if err != nil {
		return nil, err
	}
	if d := o.digest(); len(o.Sig) != ed25519.SignatureSize || !ed25519.Verify(o.Author.Public(), d[:], o.Sig) {
		return nil, invalidf("the signature is not %s's", o.Author.Short())
	}
	return o, nil
}

// Restore is Parse for what this device has checked before and kept: it does
// not check the signature.
func Restore(data []byte) (*Op, error) {
	if len(data) > MaxOp {
		return nil, invalidf("an operation of %d bytes, want at most %d", len(data), MaxOp)
	}
	o := &Op{}
	if err := canon.UnmarshalMax(data, o, 1024); err != nil {
		return nil, invalidf("%w", err)
	}
	switch {
	case o.Parents == nil || len(o.Parents) > MaxParents || !sorted(o.Parents):
		return nil, invalidf("an operation names at most %d others, sorted", MaxParents)
	case o.Height == 0 || o.Height > MaxHeight:
		return nil, invalidf("a height of %d", o.Height)
	}
	if err := o.Change.validate(); err != nil {
		return nil, err
	}
	o.raw = bytes.Clone(data)
	o.id = sha256.Sum256(o.raw)
	return o, nil
}

// Stamp orders writes: by height, then author, then ID.
type Stamp struct {
	Height uint64  `cbor:"1,keyasint"`
	Author peer.ID `cbor:"2,keyasint"`
	ID     ID      `cbor:"3,keyasint"`
}

func (o *Op) stamp() Stamp { return Stamp{o.Height, o.Author, o.id} }

// Compare orders stamps.
func (s Stamp) Compare(t Stamp) int {
	switch {
	case s.Height < t.Height:
		return -1
	case s.Height > t.Height:
		return 1
	}
	if c := s.Author.Compare(t.Author); c != 0 {
		return c
	}
	return compareID(s.ID, t.ID)
}

func compareID(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// sorted tells that IDs ascend, none of them twice.
func sorted(ids []ID) bool {
	for i := 1; i < len(ids); i++ {
		if compareID(ids[i-1], ids[i]) >= 0 {
			return false
		}
	}
	return true
}

func sortIDs(ids []ID) []ID {
	slices.SortFunc(ids, compareID)
	return slices.Compact(ids)
}

// clean tells that a text is UTF-8 without control characters; NUL separates
// keys in paths.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func mustMarshal(v any) []byte {
	data, err := canon.Marshal(v)
	if err != nil {
		panic("crdt: internal error: " + err.Error())
	}
	return data
}
