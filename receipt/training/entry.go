package training

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Entry is one entry of a list that a receipt commits to: the record of a step
// or a checkpoint, 40 bytes either way.
type Entry [entrySize]byte

// Checkpoint is a state of the run.
type Checkpoint struct {
	Step int  // steps that are behind
	Root Hash // of the tree over the state (spec/training.md)
}

// Entry is the encoding: the step in 8 bytes, little endian, and the root.
func (c Checkpoint) Entry() (e Entry) {
	binary.LittleEndian.PutUint64(e[:], uint64(c.Step))
	copy(e[8:], c.Root[:])
	return e
}

// Checkpoint reads an entry of the list of checkpoints.
func (e Entry) Checkpoint() (Checkpoint, error) {
	step := binary.LittleEndian.Uint64(e[:])
	c := Checkpoint{int(step), Hash(e[8:])}
	if step > MaxSteps || c.Root.IsZero() {
		return c, errorf(CheckCheckpoints, "step %d, or a root of zeros", step)
	}
	return c, nil
}

// Record is what a step of the run computed.
type Record struct {
	Step         int     `json:"step"`        // counted from 0
	Loss         float64 `json:"loss"`        // sum over the predictions of the batch
	Count        int     `json:"predictions"` // in the batch
	Correct      int     `json:"correct"`     // of them
	GradNorm     float32 `json:"grad_norm"`
	LearningRate float32 `json:"learning_rate"`
}

// Record reads an entry of the step log; spec/training.md defines it.
func (e Entry) Record() (Record, error) {
	le := binary.LittleEndian
	step, count, correct := le.Uint64(e[0:]), le.Uint64(e[16:]), le.Uint64(e[24:])
	r := Record{
		Step: int(step), Loss: math.Float64frombits(le.Uint64(e[8:])), Count: int(count), Correct: int(correct),
		GradNorm: math.Float32frombits(le.Uint32(e[32:])), LearningRate: math.Float32frombits(le.Uint32(e[36:])),
	}
	switch {
	case step >= MaxSteps:
		return r, errorf(CheckLog, "step %d, want less than %d", step, MaxSteps)
	case count > math.MaxInt32 || correct > count:
		return r, errorf(CheckLog, "step %d: %d of %d predictions right", step, correct, count)
	case !finite(r.Loss) || !finite(float64(r.GradNorm)) || !finite(float64(r.LearningRate)):
		return r, errorf(CheckLog, "step %d: a number is not finite", step)
	}
	return r, nil
}

// derive gives the salt of one part from the master salt.
func derive(master receipt.Salt, label string) receipt.Salt {
	h := canon.Sum("aval training salt/1", master[:], []byte(label))
	return receipt.Salt(h[:saltSize])
}

// LeafSalt is the salt of the leaf at i. Each has its own, so that showing one
// gives nothing to guess its neighbours with.
func LeafSalt(salt receipt.Salt, i int) receipt.Salt {
	h := canon.Sum("aval training leaf salt/1", salt[:], u64(i))
	return receipt.Salt(h[:saltSize])
}

func u64(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// leaf hashes a salted value.
func leaf(salt receipt.Salt, value []byte) Hash {
	return canon.Leaf(append(salt[:len(salt):len(salt)], value...))
}

// List is a list of entries that follow each other from the first on.
type List struct {
	Salt    receipt.Salt
	Entries []Entry
}

// wireList is List in CBOR.
type wireList struct {
	_       struct{} `cbor:",toarray"`
	Salt    receipt.Salt
	Entries []byte
}

// MarshalCBOR packs the entries into one byte string.
func (l List) MarshalCBOR() ([]byte, error) {
	return canon.Marshal(&wireList{Salt: l.Salt, Entries: pack(l.Entries)})
}

// UnmarshalCBOR unpacks them.
func (l *List) UnmarshalCBOR(data []byte) (err error) {
	var w wireList
	if err = canon.Unmarshal(data, &w); err != nil {
		return err
	}
	l.Salt = w.Salt
	l.Entries, err = unpack(w.Entries)
	return err
}

func pack(entries []Entry) []byte {
	b := make([]byte, 0, entrySize*len(entries))
	for i := range entries {
		b = append(b, entries[i][:]...)
	}
	return b
}

func unpack(b []byte) ([]Entry, error) {
	if len(b)%entrySize != 0 {
		return nil, errors.New("entries that are not 40 bytes each")
	}
	out := make([]Entry, 0, len(b)/entrySize)
	for ; len(b) > 0; b = b[entrySize:] {
		out = append(out, Entry(b))
	}
	return out, nil
}

// leaves are the leaves of the tree over the list.
func (l *List) leaves() []Hash {
	out := make([]Hash, len(l.Entries))
	for i := range l.Entries {
		out[i] = leaf(LeafSalt(l.Salt, i), l.Entries[i][:])
	}
	return out
}

// Commitment is to all of the list.
func (l *List) Commitment() Commitment {
	return Commitment{Count: len(l.Entries), Root: canon.Root(l.leaves())}
}

// Range shows the entries from to to-1 and proves their places.
func (l *List) Range(from, to int) (Range, error) {
	if l == nil || from < 0 || from >= to || to > len(l.Entries) {
		return Range{}, errorf(CheckLogRange, "entries %d to %d are not all shown", from, to)
	}
	r := Range{From: from, Entries: l.Entries[from:to], Proof: canon.Range(l.leaves(), from, to)}
	for i := from; i < to; i++ {
		r.Salts = append(r.Salts, LeafSalt(l.Salt, i))
	}
	return r, nil
}

// Range shows some entries that follow each other, and proves their places.
type Range struct {
	From    int
	Entries []Entry
	Salts   []receipt.Salt // one for each entry
	Proof   []Hash
}

// wireRange is Range in CBOR.
type wireRange struct {
	_                     struct{} `cbor:",toarray"`
	From                  uint32
	Entries, Salts, Proof []byte
}

// MarshalCBOR packs the range.
func (r Range) MarshalCBOR() ([]byte, error) {
	if r.From < 0 || r.From > MaxSteps {
		return nil, errors.New("a range beyond the longest run")
	}
	return canon.Marshal(&wireRange{From: uint32(r.From), Entries: pack(r.Entries), Salts: packSalts(r.Salts), Proof: packHashes(r.Proof)})
}

// UnmarshalCBOR unpacks it.
func (r *Range) UnmarshalCBOR(data []byte) (err error) {
	var w wireRange
	if err = canon.Unmarshal(data, &w); err != nil {
		return err
	}
	if len(w.Salts)%saltSize != 0 {
		return errors.New("salts that are cut")
	}
	if w.From > MaxSteps { // a 32-bit int would be negative
		return errors.New("a range beyond the longest run")
	}
	r.From = int(w.From)
	if r.Entries, err = unpack(w.Entries); err != nil {
		return err
	}
	for b := w.Salts; len(b) > 0; b = b[saltSize:] {
		r.Salts = append(r.Salts, receipt.Salt(b))
	}
	r.Proof, err = unpackHashes(w.Proof)
	return err
}

func packSalts(list []receipt.Salt) []byte {
	b := make([]byte, 0, saltSize*len(list))
	for i := range list {
		b = append(b, list[i][:]...)
	}
	return b
}

func packHashes(list []Hash) []byte {
	b := make([]byte, 0, canon.Size*len(list))
	for i := range list {
		b = append(b, list[i][:]...)
	}
	return b
}

func unpackHashes(b []byte) ([]Hash, error) {
	if len(b)%canon.Size != 0 || len(b) > canon.Size*maxProof {
		return nil, errors.New("a proof that is cut, or too long")
	}
	var out []Hash
	for ; len(b) > 0; b = b[canon.Size:] {
		out = append(out, Hash(b))
	}
	return out, nil
}

// check compares a range with a commitment.
func (r *Range) check(name string, want Commitment) receipt.Check {
	if len(r.Entries) == 0 || len(r.Salts) != len(r.Entries) {
		return failed(name, "%d entries and %d salts, want as many and some", len(r.Entries), len(r.Salts))
	}
	leaves := make([]Hash, len(r.Entries))
	for i := range r.Entries {
		leaves[i] = leaf(r.Salts[i], r.Entries[i][:])
	}
	got, err := canon.RangeRoot(want.Count, r.From, leaves, r.Proof)
	last := r.From + len(r.Entries) - 1
	switch {
	case err != nil:
		return failed(name, "the proof: %v", err)
	case !sameHash(got, want.Root):
		return failed(name, "entries %d to %d, with their salts and proof, do not hash to the receipt's root", r.From, last)
	}
	return passed(name, "entries %d to %d of %d, as the receipt commits to", r.From, last, want.Count)
}
