package receiptlog

import (
	"math/bits"

	"github.com/avalnetwork/aval/internal/canon"
)

// Nodes gives the hashes of a log: that of the subtree of the leaves from
// index<<level to (index+1)<<level - 1, all of which must be there.
type Nodes interface {
	Node(level int, index uint64) (canon.Hash, error)
}

// split is the largest power of two below n, which is more than 1.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// subtree is the hash of the leaves lo to hi-1, where lo is a multiple of the
// smallest power of two that is not below their number.
func subtree(n Nodes, lo, hi uint64) (canon.Hash, error) {
	width := hi - lo
	if width&(width-1) == 0 {
		level := bits.TrailingZeros64(width)
		return n.Node(level, lo>>level)
	}
	mid := lo + split(width)
	left, err := subtree(n, lo, mid)
	if err != nil {
		return canon.Hash{}, err
	}
	right, err := subtree(n, mid, hi)
	return canon.Node(left, right), err
}

// Root is the root that the log had with this many entries.
func Root(n Nodes, size uint64) (canon.Hash, error) {
	if size > MaxSize {
		return canon.Hash{}, rangeErrorf("a log of %d entries", size)
	}
	if size == 0 {
		return EmptyRoot(), nil
	}
	return subtree(n, 0, size)
}

// Inclusion proves an entry of the log that has this many, for
// [VerifyInclusion].
func Inclusion(n Nodes, size, index uint64) ([]canon.Hash, error) {
	if size > MaxSize || index >= size {
		return nil, rangeErrorf("the entry %d of a log of %d", index, size)
	}
	var proof []canon.Hash
	var walk func(lo, hi uint64) error
	walk = func(lo, hi uint64) error {
		if hi-lo == 1 {
			return nil
		}
		mid := lo + split(hi-lo)
		from, to := mid, hi // the side that the entry is not in
		var err error
		if index < mid {
			err = walk(lo, mid)
		} else {
			from, to = lo, mid
			err = walk(mid, hi)
		}
		if err != nil {
			return err
		}
		h, err := subtree(n, from, to)
		proof = append(proof, h)
		return err
	}
	err := walk(0, size)
	return proof, err
}

// Consistency proves that the log of newSize entries begins with that of
// oldSize, for [VerifyConsistency].
func Consistency(n Nodes, oldSize, newSize uint64) ([]canon.Hash, error) {
	if newSize > MaxSize || oldSize > newSize {
		return nil, rangeErrorf("a log that grows from %d to %d entries", oldSize, newSize)
	}
	if oldSize == 0 || oldSize == newSize {
		return nil, nil
	}
	var proof []canon.Hash
	// whole: the leaves lo to hi-1 are all that the old log had, from lo = 0 on.
	var walk func(lo, hi uint64, whole bool) error
	walk = func(lo, hi uint64, whole bool) error {
		if hi == oldSize {
			if whole {
				return nil // whoever checks has this hash: it is the old root
			}
			h, err := subtree(n, lo, hi)
			proof = append(proof, h)
			return err
		}
		mid := lo + split(hi-lo)
		from, to := mid, hi
		var err error
		if oldSize <= mid {
			err = walk(lo, mid, whole)
		} else {
			from, to = lo, mid
			err = walk(mid, hi, false)
		}
		if err != nil {
			return err
		}
		h, err := subtree(n, from, to)
		proof = append(proof, h)
		return err
	}
	err := walk(0, newSize, true)
	return proof, err
}
