package crdt

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// stateRoot binds the number of leaves to the root of their tree, so that
// neighbours can be told, and the namespace.
func stateRoot(space ID, n int, tree ID) ID {
	return canon.Sum("aval state/1", space[:], binary.BigEndian.AppendUint64(nil, uint64(n)), tree[:])
}

// Proof shows that an entry is in a state, or that none is at a place, by its
// neighbours. Verify it against a root that somebody is trusted for: one that
// the owner's checkpoint states, or that a replica signed.
type Proof struct {
	Space ID       `cbor:"1,keyasint"`
	Count uint64   `cbor:"2,keyasint"` // entries of the state
	From  uint64   `cbor:"3,keyasint"` // index of the first entry that is shown
	Shown [][]byte `cbor:"4,keyasint"` // one or two entries, canonical CBOR
	Path  []ID     `cbor:"5,keyasint"` // of canon.Range
}

// maxProof bounds a proof in bytes.
const maxProof = 2*maxEntry + 80*canon.Size + 256

// Place names an entry: its key, its type, and what tells entries of the same
// key and type apart: the element of a set, the stamp of a record.
type Place struct {
	Key     string
	Type    Type
	Element []byte
	Record  Stamp
}

func (p Place) path() string {
	switch p.Type {
	case Elements:
		return entryPath(p.Key, p.Type, string(p.Element))
	case Log, granted:
		return entryPath(p.Key, p.Type, stampKey(p.Record))
	}
	return entryPath(p.Key, p.Type, "")
}

// Place is where the entry is.
func (e *Entry) Place() Place { return Place{e.Key, e.Type, e.Value, e.Stamp} }

// Prove shows what is, or is not, at a place in the state of [Space.Root].
func (s *Space) Prove(at Place) Proof {
	v := s.view()
	v.hash(s.id)
	i, found := slices.BinarySearchFunc(v.entries, at.path(), func(e *Entry, p string) int { return cmp.Compare(e.path(), p) })
	from, to := i, i+1
	if !found {
		from, to = max(i-1, 0), min(i+1, len(v.entries))
	}
	p := Proof{Space: s.id, Count: uint64(len(v.entries)), From: uint64(from), Shown: [][]byte{}, Path: []ID{}}
	if from < to {
		p.Path = append(p.Path, canon.Range(v.leaves, from, to)...)
		for _, e := range v.entries[from:to] {
			p.Shown = append(p.Shown, mustMarshal(e))
		}
	}
	return p
}

// Bytes is the canonical form.
func (p Proof) Bytes() []byte { return mustMarshal(p) }

// ParseProof reads what Bytes gives.
func ParseProof(data []byte) (Proof, error) {
	var p Proof
	if len(data) > maxProof {
		return p, invalidf("a proof of %d bytes, want at most %d", len(data), maxProof)
	}
	if err := canon.UnmarshalMax(data, &p, 256); err != nil {
		return p, invalidf("%w", err)
	}
	return p, nil
}

// Verify checks a proof against a root. It returns the entry at the place, nil
// if the proof shows that there is none.
func Verify(root ID, at Place, p Proof) (*Entry, error) {
	bad := func(format string, args ...any) (*Entry, error) {
		return nil, fmt.Errorf("the proof does not hold: %w", fmt.Errorf(format, args...))
	}
	if p.Count > MaxEntries+1<<20 || p.From > p.Count || len(p.Shown) > 2 {
		return bad("%d entries, %d shown", p.Count, len(p.Shown))
	}
	tree := canon.Root(nil)
	var shown []*Entry
	if p.Count > 0 {
		var leaves []ID
		for _, data := range p.Shown {
			e, err := parseEntry(data)
			if err != nil {
				return bad("%w", err)
			}
			shown = append(shown, e)
			leaves = append(leaves, canon.Leaf(data))
		}
		var err error
		if tree, err = canon.RangeRoot(int(p.Count), int(p.From), leaves, p.Path); err != nil {
			return bad("%w", err)
		}
	}
	if stateRoot(p.Space, int(p.Count), tree) != root {
		return bad("it leads to another root")
	}
	want, from, to := at.path(), p.From, p.From+uint64(len(shown))
	switch {
	case len(shown) == 1 && shown[0].path() == want:
		return shown[0], nil
	case p.Count == 0:
		return nil, nil
	case from == 0 && shown[0].path() > want,
		to == p.Count && shown[len(shown)-1].path() < want,
		len(shown) == 2 && shown[0].path() < want && want < shown[1].path():
		return nil, nil
	}
	return bad("the entries that it shows are not at the place, nor its neighbours")
}
