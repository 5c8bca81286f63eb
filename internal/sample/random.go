package sample

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// keyTag fills the second half of the generator's key: it separates these
// random numbers from any other use of the same seed.
const keyTag = "aval sample v1\x00\x00"

// source draws one 64-bit number per (seed, index). It is a struct only to
// keep the generator's memory between calls.
type source struct{ gen rand.ChaCha8 }

// number is R(seed, i) of spec/sampling.md: the first eight bytes, little
// endian, of the ChaCha8Rand stream whose key names both arguments.
func (s *source) number(seed, index uint64) uint64 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], index)
	copy(key[16:], keyTag)
	s.gen.Seed(key)
	return s.gen.Uint64()
}

// scale maps r to 0 … total-1: the upper half of the 128-bit product.
func scale(r, total uint64) uint64 {
	hi, _ := bits.Mul64(r, total)
	return hi
}
