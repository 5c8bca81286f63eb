package receiptlog

import "github.com/avalnetwork/aval/internal/canon"

// VerifyInclusion checks that the log of this size and root has the leaf at an
// index (RFC 9162, section 2.1.3.2).
func VerifyInclusion(root canon.Hash, size, index uint64, leaf canon.Hash, proof []canon.Hash) error {
	if size > MaxSize || index >= size {
		return rangeErrorf("the entry %d of a log of %d", index, size)
	}
	fn, sn, r := index, size-1, leaf
	for _, p := range proof {
		if sn == 0 {
			return proofErrorf("inclusion: it has %d hashes, which is too many for the entry %d of %d", len(proof), index, size)
		}
		if fn&1 == 1 || fn == sn {
			r = canon.Node(p, r)
			for fn&1 == 0 && fn != 0 {
				fn >>= 1
				sn >>= 1
			}
		} else {
			r = canon.Node(r, p)
		}
		fn >>= 1
		sn >>= 1
	}
	switch {
	case sn != 0:
		return proofErrorf("inclusion: it has %d hashes, which is too few for the entry %d of %d", len(proof), index, size)
	case r != root:
		return proofErrorf("inclusion: it leads to the root %v, the log of %d entries has %v", r, size, root)
	}
	return nil
}

// VerifyConsistency checks that the new log begins with the old one (RFC 9162,
// section 2.1.4.2). Every log begins with the empty one, by a proof without
// hashes.
func VerifyConsistency(oldSize uint64, oldRoot canon.Hash, newSize uint64, newRoot canon.Hash, proof []canon.Hash) error {
	switch {
	case newSize > MaxSize || oldSize > newSize:
		return rangeErrorf("a log that grows from %d to %d entries", oldSize, newSize)
	case oldSize == newSize || oldSize == 0:
		if len(proof) != 0 {
			return proofErrorf("consistency: it has %d hashes, want none from %d to %d entries", len(proof), oldSize, newSize)
		}
		if oldSize == 0 && oldRoot != EmptyRoot() {
			return proofErrorf("consistency: the root of the empty log is %v, not %v", EmptyRoot(), oldRoot)
		}
		if oldSize == newSize && oldRoot != newRoot {
			return proofErrorf("consistency: two roots of one size %d: %v and %v", newSize, oldRoot, newRoot)
		}
		return nil
	case len(proof) == 0:
		return proofErrorf("consistency: it has no hashes")
	}
	fn, sn := oldSize-1, newSize-1
	for fn&1 == 1 {
		fn >>= 1
		sn >>= 1
	}
	rest := proof
	fr := oldRoot // the old log is one full subtree of the new one
	if fn != 0 {
		fr, rest = proof[0], proof[1:]
	}
	sr := fr
	for _, c := range rest {
		if sn == 0 {
			return proofErrorf("consistency: it has %d hashes, which is too many from %d to %d entries", len(proof), oldSize, newSize)
		}
		if fn&1 == 1 || fn == sn {
			fr, sr = canon.Node(c, fr), canon.Node(c, sr)
			for fn&1 == 0 && fn != 0 {
				fn >>= 1
				sn >>= 1
			}
		} else {
			sr = canon.Node(sr, c)
		}
		fn >>= 1
		sn >>= 1
	}
	switch {
	case sn != 0:
		return proofErrorf("consistency: it has %d hashes, which is too few from %d to %d entries", len(proof), oldSize, newSize)
	case fr != oldRoot:
		return proofErrorf("consistency: it leads to the old root %v, the log of %d entries had %v", fr, oldSize, oldRoot)
	case sr != newRoot:
		return proofErrorf("consistency: it leads to the new root %v, the log of %d entries has %v", sr, newSize, newRoot)
	}
	return nil
}
