package trace

import (
	"encoding/binary"
	"math"

	"github.com/avalnetwork/aval/internal/canon"
)

// Tile is how many bytes of a vector are a leaf of its tree.
const Tile = 2048

// VectorRoot is the root of a vector: x in f32, or kv in f16, little endian.
func VectorRoot(v []byte) canon.Hash { return canon.VectorRoot(v, Tile) }

// State is the hash of the state of a layer and position: x as [PutX] writes
// it, kv the keys and then the values. It uses no memory from the heap.
func State(x, kv []byte) canon.Hash { return StateOf(VectorRoot(x), VectorRoot(kv)) }

// StateOf is State, from the roots of the vectors.
func StateOf(x, kv canon.Hash) canon.Hash {
	var both [2 * canon.Size]byte
	copy(both[:], x[:])
	copy(both[canon.Size:], kv[:])
	return canon.Leaf(both[:])
}

// PutX writes x to dst, four bytes a number, and reports whether all are
// finite. A state that is not has no hash: the bits of a NaN are not defined.
func PutX(dst []byte, x []float32) bool {
	const exponent = 0x7f800000 // all ones in NaN and infinities only
	worst := uint32(0)
	for i, v := range x {
		b := math.Float32bits(v)
		worst = max(worst, b&exponent)
		binary.LittleEndian.PutUint32(dst[4*i:], b)
	}
	return worst != exponent
}

// GetX reads len(x) numbers that PutX wrote and reports whether all are finite.
func GetX(x []float32, src []byte) bool {
	const exponent = 0x7f800000
	worst := uint32(0)
	for i := range x {
		b := binary.LittleEndian.Uint32(src[4*i:])
		worst = max(worst, b&exponent)
		x[i] = math.Float32frombits(b)
	}
	return worst != exponent
}

// Commitment is what a receipt carries of a trace: its root with the shape of
// the run, under the receipt's trace salt. Without the salt, a trace would let
// anyone test a guess of a prompt that is not shown.
func Commitment(salt []byte, root canon.Hash, layers, positions int) canon.Hash {
	var l, n [8]byte
	binary.LittleEndian.PutUint64(l[:], uint64(layers))
	binary.LittleEndian.PutUint64(n[:], uint64(positions))
	return canon.Sum("aval trace/1", salt, root[:], l[:], n[:])
}
