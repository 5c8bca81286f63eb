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

// Two numbers at a time; only NaN and infinities have an exponent of all ones,
// of which one more is a carry.
const (
	exponents = 0x7f800000_7f800000
	ones      = 0x00800000_00800000
	carries   = 0x80000000_80000000
)

// PutX writes x to dst, four bytes a number, and reports whether all are
// finite. A state that is not has no hash: the bits of a NaN are not defined.
func PutX(dst []byte, x []float32) bool {
	dst = dst[:4*len(x)]
	carried := uint64(0)
	for ; len(x) >= 2; x, dst = x[2:], dst[8:] {
		w := uint64(math.Float32bits(x[0])) | uint64(math.Float32bits(x[1]))<<32
		carried |= w&exponents + ones
		binary.LittleEndian.PutUint64(dst, w)
	}
	if len(x) > 0 {
		w := math.Float32bits(x[0])
		carried |= uint64(w)&exponents + ones
		binary.LittleEndian.PutUint32(dst, w)
	}
	return carried&carries == 0
}

// GetX reads len(x) numbers that PutX wrote and reports whether all are finite.
func GetX(x []float32, src []byte) bool {
	src = src[:4*len(x)]
	carried := uint64(0)
	for ; len(x) >= 2; x, src = x[2:], src[8:] {
		w := binary.LittleEndian.Uint64(src)
		carried |= w&exponents + ones
		x[0], x[1] = math.Float32frombits(uint32(w)), math.Float32frombits(uint32(w>>32))
	}
	if len(x) > 0 {
		w := binary.LittleEndian.Uint32(src)
		carried |= uint64(w)&exponents + ones
		x[0] = math.Float32frombits(w)
	}
	return carried&carries == 0
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
