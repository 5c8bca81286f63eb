package quant

import (
	"encoding/binary"

	"github.com/avalnetwork/aval/gguf"
)

// Finite reports whether blocks of type t hold no NaN and no infinity, neither
// as a weight nor as a scale. src is whole blocks. It costs little beside
// packing: of quantised types it reads the scales alone, of others four or two
// numbers at a time.
func Finite(t gguf.Type, src []byte) bool {
	switch t {
	case gguf.F32:
		return noExponent(src, 0x7f800000_7f800000, 0x00800000_00800000)
	case gguf.F16:
		return noExponent(src, 0x7c007c00_7c007c00, 0x0400_0400_0400_0400)
	case gguf.BF16:
		return noExponent(src, 0x7f807f80_7f807f80, 0x0080_0080_0080_0080)
	}
	f, _ := formatOf(t)
	_, size := t.Block()
	const exponent = 0x7c00 // all ones in NaN and infinities only
	for _, at := range f.scales {
		for i := at; i < len(src); i += size {
			if binary.LittleEndian.Uint16(src[i:])&exponent == exponent {
				return false
			}
		}
	}
	return true
}

// noExponent reports whether no number has an exponent of ones. mask selects
// the exponents of the numbers in 64 bits, and one is the lowest bit of each:
// added to ones it carries into the place of the sign, which mask left clear.
func noExponent(src []byte, mask, one uint64) bool {
	var worst uint64
	signs := mask + one // where the carries go
	for ; len(src) >= 8; src = src[8:] {
		worst |= binary.LittleEndian.Uint64(src)&mask + one
	}
	var rest [8]byte
	copy(rest[:], src)
	worst |= binary.LittleEndian.Uint64(rest[:])&mask + one
	return worst&signs == 0
}
