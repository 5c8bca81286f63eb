package dispute

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/trace"
)

// ErrServed says that what a prover handed over is not what it stands by. It
// proves nothing to others; the game does.
var ErrServed = errors.New("dispute: what the prover handed over does not fit")

// ServedTrace is a whole trace, handed over.
type ServedTrace struct {
	_         struct{} `cbor:",toarray"`
	Statement TraceStatement
	States    []Hashes // the hashed leaves of each layer's tree
}

// ServedCell is a whole cell, handed over.
type ServedCell struct {
	_         struct{} `cbor:",toarray"`
	Statement CellStatement
	Leaves    []Hashes // hashed, of each operation's tree
}

// ServeTrace hands over a prover's trace. Key and salt are those of
// [NewProver].
func ServeTrace(run Run, key ed25519.PrivateKey, salt []byte, s Source) (*ServedTrace, error) {
	states, err := s.States()
	if err != nil {
		return nil, err
	}
	t, err := newTrace(run.Claim(), key, salt, states)
	if err != nil {
		return nil, err
	}
	return &ServedTrace{Statement: *t, States: joined(states)}, nil
}

// ServeCell hands over a cell. The prover's statement of it is signed, and is
// the same whenever it is asked for.
func ServeCell(run Run, key ed25519.PrivateKey, s Source, c Cell) (*ServedCell, error) {
	v, ops, err := s.Cell(c)
	if err != nil {
		return nil, err
	}
	leaves := hashes(v, ops)
	roots := make([]canon.Hash, ops)
	for i, l := range leaves {
		roots[i] = canon.Root(l)
	}
	return &ServedCell{Statement: *newCell(run.Claim(), key, c, roots), Leaves: joined(leaves)}, nil
}

// MaxServed bounds, in bytes, what a prover hands over at once.
const MaxServed = 128 << 20

// Encode is the bytes of what is handed over: canonical CBOR.
func (t *ServedTrace) Encode() ([]byte, error) { return encode(t, MaxServed) }

// Encode is the bytes of what is handed over: canonical CBOR.
func (s *ServedCell) Encode() ([]byte, error) { return encode(s, MaxServed) }

// DecodeServedTrace reads what [ServedTrace.Encode] writes. [Find] and
// [Accuse] check it.
func DecodeServedTrace(data []byte) (*ServedTrace, error) {
	t := &ServedTrace{}
	return t, decode(data, t, MaxServed)
}

// DecodeServedCell reads what [ServedCell.Encode] writes.
func DecodeServedCell(data []byte) (*ServedCell, error) {
	s := &ServedCell{}
	return s, decode(data, s, MaxServed)
}

func encode(v any, limit int) ([]byte, error) {
	data, err := canon.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("dispute: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("dispute: %d bytes, want at most %d", len(data), limit)
	}
	return data, nil
}

func decode(data []byte, v any, limit int) error {
	if len(data) > limit {
		return fmt.Errorf("dispute: %d bytes, want at most %d", len(data), limit)
	}
	// All but a few items are hashes, of 34 bytes; where there are more, little
	// that is sent takes much memory.
	if err := canon.UnmarshalMax(data, v, len(data)/16+1<<10); err != nil {
		return fmt.Errorf("dispute: %w", err)
	}
	return nil
}

// check says whether the states are those of the statement.
func (t *ServedTrace) check(c Claim) error {
	if err := t.Statement.check(c, &Work{}); err != nil {
		return fmt.Errorf("%w: %w", ErrServed, err)
	}
	var roots []canon.Hash
	for _, l := range t.States {
		if len(l) != t.Statement.Positions*canon.Size {
			return fmt.Errorf("%w: %d bytes of hashes of a layer, want %d hashes", ErrServed, len(l), t.Statement.Positions)
		}
		roots = append(roots, canon.Root(l.List()))
	}
	if len(roots) != t.Statement.Layers || trace.RootOf(roots) != t.Statement.Root {
		return fmt.Errorf("%w: the states are not those of the trace", ErrServed)
	}
	return nil
}

// check says whether the leaves are those of the statement.
func (s *ServedCell) check(c Claim, cell Cell) error {
	if err := s.Statement.check(c, cell, &Work{}); err != nil {
		return fmt.Errorf("%w: %w", ErrServed, err)
	}
	roots := s.Statement.Roots.List()
	if len(s.Leaves) != len(roots) {
		return fmt.Errorf("%w: the leaves of %d operations, the statement has %d", ErrServed, len(s.Leaves), len(roots))
	}
	for i, l := range s.Leaves {
		if len(l) == 0 || !l.whole() || canon.Root(l.List()) != roots[i] {
			return fmt.Errorf("%w: the leaves of operation %d are not those of the statement", ErrServed, i)
		}
	}
	return nil
}

func joined(trees [][]canon.Hash) []Hashes {
	list := make([]Hashes, len(trees))
	for i, t := range trees {
		list[i] = join(t)
	}
	return list
}

// whole is a reveal of every leaf.
func whole(leaves []Hashes) *reveal {
	r := &reveal{}
	for t, h := range leaves {
		l := h.List()
		r.trees = append(r.trees, span{t, 0, len(l)})
		for i := range l {
			r.parts = append(r.parts, span{t, i, i + 1})
		}
		r.hashes = append(r.hashes, l...)
	}
	return r
}

// Find compares a trace that was handed over with the challenger's own and
// names the cell to ask the prover for. A trace of the wrong size is proof
// enough: then the proof is not nil. [ErrServed] says that the prover did not
// hand over what it stands by: play the game.
func Find(run Run, w Witness, t *ServedTrace) (Cell, *Proof, error) {
	a := &accuser{run: run, claim: run.Claim(), witness: w}
	return a.served(t)
}

func (a *accuser) served(t *ServedTrace) (Cell, *Proof, error) {
	if err := t.check(a.claim); err != nil {
		return Cell{}, nil, err
	}
	if p, err := a.begin(&t.Statement, whole(t.States)); p != nil || err != nil {
		return Cell{}, p, err
	}
	_, c, err := a.first()
	return c, nil, err
}

// Accuse makes the proof of fraud from a trace and the cell that [Find] named,
// both as the prover handed them over.
func Accuse(run Run, w Witness, t *ServedTrace, s *ServedCell) (*Proof, error) {
	a := &accuser{run: run, claim: run.Claim(), witness: w}
	c, p, err := a.served(t)
	if p != nil || err != nil {
		return p, err
	}
	if err := s.check(a.claim, c); err != nil {
		return nil, err
	}
	if err := a.name(c); err != nil {
		return nil, err
	}
	a.made = &s.Statement
	if len(s.Leaves) != len(a.leaves.own) {
		return a.proof(WrongCell), nil
	}
	for i, own := range a.leaves.own {
		if len(s.Leaves[i]) != len(own)*canon.Size {
			return nil, fmt.Errorf("%w: operation %d of %s has %d leaves, want %d", ErrServed, i, c, len(s.Leaves[i])/canon.Size, len(own))
		}
	}
	a.leaves.reveals = []*reveal{whole(s.Leaves)}
	_, p, err = a.find()
	return p, err
}

// Impossible is the proof that no run can be what the receipt says, if the
// description of a cell shows it.
func Impossible(run Run, c Cell, description []byte) (*Proof, error) {
	if _, _, err := run.Plan(c, description); !errors.Is(err, ErrImpossible) {
		return nil, fmt.Errorf("%w: there can be such a run", ErrProof)
	}
	return &Proof{Fault: WrongRun, Output: c.Output, Layer: c.Layer, Position: c.Position, Description: description}, nil
}
