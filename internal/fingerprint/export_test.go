package fingerprint

import (
	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// ClaimedRoot is the root that a proof leads to, or an error if it leads to
// none: fuzzing would not find a proof of a given root.
func (p *Proof) ClaimedRoot() (root canon.Hash, err error) {
	var f Facts
	return p.sides(&f)
}

// Cut divides bytes into the pieces of a long value from from on.
func Cut(kind, elem gguf.Kind, count, size uint64, from int, b []byte) ([][]byte, error) {
	e := metaEntry{Kind: uint32(kind), Elem: uint32(elem), Count: count, Size: size}
	return e.cut(from, b)
}
