package receipt

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/avalnetwork/aval/internal/canon"
)

// wireIDs is OpenedIDs in CBOR: the ids are one byte string with four bytes
// each, little endian.
type wireIDs struct {
	_    struct{} `cbor:",toarray"`
	Salt Salt
	IDs  []byte
}

// MarshalCBOR packs the ids.
func (o OpenedIDs) MarshalCBOR() ([]byte, error) {
	return canon.Marshal(&wireIDs{Salt: o.Salt, IDs: appendIDs([]byte{}, o.IDs)})
}

// UnmarshalCBOR unpacks them.
func (o *OpenedIDs) UnmarshalCBOR(data []byte) (err error) {
	var w wireIDs
	if err = canon.Unmarshal(data, &w); err != nil {
		return err
	}
	o.Salt = w.Salt
	o.IDs, err = unpackIDs(w.IDs)
	return err
}

func unpackIDs(b []byte) ([]int32, error) {
	if len(b)%4 != 0 || len(b) > 4*MaxIDs {
		return nil, errors.New("ids that are not four bytes each, or too many")
	}
	ids := make([]int32, len(b)/4)
	for i := range ids {
		id := binary.LittleEndian.Uint32(b[4*i:])
		if id > math.MaxInt32 {
			return nil, errors.New("an id above 2^31 - 1")
		}
		ids[i] = int32(id)
	}
	return ids, nil
}

func appendIDs(b []byte, ids []int32) []byte {
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return b
}

func validIDs(check string, ids []int32) error {
	if n := len(ids); n < 1 || n > MaxIDs {
		return errorf(check, "%d tokens, want 1 to %d", n, MaxIDs)
	}
	for i, id := range ids {
		if id < 0 {
			return errorf(check, "token %d has a negative id", i)
		}
	}
	return nil
}

// leafSalt is the salt of the id at i. Each id has its own, so that showing
// one gives nothing to guess its neighbours with.
func (s Salt) leafSalt(i int) Salt {
	h := canon.Sum("aval id salt/1", s[:], u64(i))
	return Salt(h[:saltSize])
}

// idLeaf hashes one id into a leaf of the tree over them.
func idLeaf(salt Salt, id int32) Hash {
	var v [saltSize + 4]byte
	copy(v[:], salt[:])
	binary.LittleEndian.PutUint32(v[saltSize:], uint32(id))
	return canon.Leaf(v[:])
}

// root is that of the tree over the ids.
func (o *OpenedIDs) root() Hash {
	var b canon.Builder
	for i, id := range o.IDs {
		b.Add(idLeaf(o.Salt.leafSalt(i), id))
	}
	return b.Root()
}

func checkIDs(name string, o *OpenedIDs, count int, want Hash) Check {
	if err := validIDs(name, o.IDs); err != nil {
		return checkOf(err, name)
	}
	switch {
	case len(o.IDs) != count:
		return failed(name, "the opening shows %d tokens, the receipt says %d", len(o.IDs), count)
	case !sameHash(o.root(), want):
		return failed(name, "the %d tokens shown, with their salt, do not hash to the receipt's digest", count)
	}
	return passed(name, "%d tokens, as the receipt commits to", count)
}

// Range shows some ids that follow each other, and proves their places.
type Range struct {
	From  int // place of the first
	IDs   []int32
	Salts []Salt // one for each id
	Proof []Hash
}

// PromptRange shows the tokens from to to-1 of the prompt; the opening must
// show all of them.
func (o *Opening) PromptRange(from, to int) (Range, error) {
	return o.Prompt.slice(CheckPromptRange, from, to)
}

// OutputRange is PromptRange for the tokens drawn.
func (o *Opening) OutputRange(from, to int) (Range, error) {
	return o.Output.slice(CheckOutputRange, from, to)
}

func (o *OpenedIDs) slice(check string, from, to int) (Range, error) {
	if o == nil {
		return Range{}, errorf(check, "the opening does not show all ids, which the proof needs")
	}
	if from < 0 || from >= to || to > len(o.IDs) {
		return Range{}, errorf(check, "tokens %d to %d of %d", from, to, len(o.IDs))
	}
	r := Range{From: from, IDs: o.IDs[from:to]}
	leaves := make([]Hash, len(o.IDs))
	for i, id := range o.IDs {
		salt := o.Salt.leafSalt(i)
		leaves[i] = idLeaf(salt, id)
		if i >= from && i < to {
			r.Salts = append(r.Salts, salt)
		}
	}
	r.Proof = canon.Range(leaves, from, to)
	return r, nil
}

func (r *Range) check(name string, count int, want Hash) Check {
	if err := validIDs(name, r.IDs); err != nil {
		return checkOf(err, name)
	}
	if len(r.Salts) != len(r.IDs) {
		return failed(name, "%d salts for %d tokens", len(r.Salts), len(r.IDs))
	}
	leaves := make([]Hash, len(r.IDs))
	for i, id := range r.IDs {
		leaves[i] = idLeaf(r.Salts[i], id)
	}
	got, err := canon.RangeRoot(count, r.From, leaves, r.Proof)
	switch {
	case err != nil:
		return checkOf(&Error{name, "the proof", err}, name)
	case !sameHash(got, want):
		return failed(name, "tokens %d to %d, with their salts and proof, do not hash to the receipt's digest", r.From, r.From+len(r.IDs)-1)
	}
	return passed(name, "tokens %d to %d of %d, as the receipt commits to", r.From, r.From+len(r.IDs)-1, count)
}

func checkRanges(name string, ranges []Range, count int, want Hash) []Check {
	if len(ranges) > MaxRanges {
		return []Check{failed(name, "%d ranges, want at most %d", len(ranges), MaxRanges)}
	}
	var checks []Check
	for i := range ranges {
		checks = append(checks, ranges[i].check(name, count, want))
	}
	return checks
}

// wireRange is Range in CBOR: ids, salts and hashes are one byte string each.
type wireRange struct {
	_                 struct{} `cbor:",toarray"`
	From              uint32
	IDs, Salts, Proof []byte
}

// MarshalCBOR packs the range.
func (r Range) MarshalCBOR() ([]byte, error) {
	if r.From < 0 || r.From > MaxIDs {
		return nil, errors.New("a range beyond the largest prompt")
	}
	w := wireRange{From: uint32(r.From), IDs: appendIDs([]byte{}, r.IDs)}
	w.Salts = make([]byte, 0, saltSize*len(r.Salts))
	for i := range r.Salts {
		w.Salts = append(w.Salts, r.Salts[i][:]...)
	}
	w.Proof = make([]byte, 0, canon.Size*len(r.Proof))
	for i := range r.Proof {
		w.Proof = append(w.Proof, r.Proof[i][:]...)
	}
	return canon.Marshal(&w)
}

// UnmarshalCBOR unpacks it.
func (r *Range) UnmarshalCBOR(data []byte) (err error) {
	var w wireRange
	if err = canon.Unmarshal(data, &w); err != nil {
		return err
	}
	if len(w.Salts)%saltSize != 0 || len(w.Proof)%canon.Size != 0 || len(w.Proof) > canon.Size*maxProof {
		return errors.New("salts or a proof that are cut, or too long")
	}
	r.From = int(w.From)
	if r.IDs, err = unpackIDs(w.IDs); err != nil {
		return err
	}
	for b := w.Salts; len(b) > 0; b = b[saltSize:] {
		r.Salts = append(r.Salts, Salt(b[:saltSize]))
	}
	for b := w.Proof; len(b) > 0; b = b[canon.Size:] {
		r.Proof = append(r.Proof, Hash(b[:canon.Size]))
	}
	return nil
}
