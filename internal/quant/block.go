package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// superBlock is the number of weights in one block of the K and IQ4_XS formats;
// smallBlock that of the others.
const (
	superBlock = 256
	smallBlock = 32
)

// format is how one block of a type is read. A block is a struct in ggml's
// files; here it is a byte slice, and its fields stand above the function that
// reads them.
type format struct {
	// decode writes the weights of one block.
	decode func(b []byte, y []float32)
	// scales holds the offsets of the block's binary16 fields. One that is not
	// finite makes weights that are not, and is where a block's overflow shows.
	scales []int
}

// formatOf returns the block format of a type; the plain float types have none.
func formatOf(t gguf.Type) (format, bool) {
	switch t {
	case gguf.Q4_0:
		return format{decodeQ4_0, []int{0}}, true
	case gguf.Q4_1:
		return format{decodeQ4_1, []int{0, 2}}, true
	case gguf.Q5_0:
		return format{decodeQ5_0, []int{0}}, true
	case gguf.Q5_1:
		return format{decodeQ5_1, []int{0, 2}}, true
	case gguf.Q8_0:
		return format{decodeQ8_0, []int{0}}, true
	case gguf.Q2_K:
		return format{decodeQ2K, []int{80, 82}}, true
	case gguf.Q3_K:
		return format{decodeQ3K, []int{108}}, true
	case gguf.Q4_K:
		return format{decodeQ4K, []int{0, 2}}, true
	case gguf.Q5_K:
		return format{decodeQ5K, []int{0, 2}}, true
	case gguf.Q6_K:
		return format{decodeQ6K, []int{208}}, true
	case gguf.IQ4_NL:
		return format{decodeIQ4NL, []int{0}}, true
	case gguf.IQ4_XS:
		return format{decodeIQ4XS, []int{0}}, true
	}
	return format{}, false
}

// Dequantize widens blocks of type t to float32. dst holds a whole number of
// blocks and src exactly their bytes; anything else is an error, as is a type
// without a definition here.
//
// Each weight is the real number that the format defines, rounded once: the
// products of scale and quant fit float32, and only the addition of a minimum
// rounds. The values are those of ggml's reference code. A block whose scale is
// infinite or NaN gives infinities and NaNs, and every NaN among them is the
// quiet 0x7fc00000, where processors differ. F32, F16 and BF16 keep the payload
// of a NaN.
func Dequantize(t gguf.Type, src []byte, dst []float32) error {
	elems, size := t.Block()
	if elems == 0 {
		return fmt.Errorf("quant: cannot dequantize type %v: not one of the supported types", t)
	}
	if err := checkSize(t, len(dst), len(src)); err != nil {
		return fmt.Errorf("quant: %w", err)
	}
	f, ok := formatOf(t)
	if !ok {
		widen(t, src, dst)
		return nil
	}
	for len(dst) > 0 {
		block, out := src[:size:size], dst[:elems:elems]
		f.decode(block, out)
		if !f.finite(block) {
			canonicalNaN(out)
		}
		src, dst = src[size:], dst[elems:]
	}
	return nil
}

// widen reads a plain float type.
func widen(t gguf.Type, src []byte, dst []float32) {
	switch t {
	case gguf.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case gguf.F16:
		for i := range dst {
			dst[i] = kernel.FromF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case gguf.BF16:
		for i := range dst {
			dst[i] = kernel.FromBF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	default:
		panic(fmt.Sprintf("quant: internal error: no format for %v", t))
	}
}

// checkSize says whether n weights are whole blocks of t that take size bytes.
func checkSize(t gguf.Type, n, size int) error {
	elems, bytes := t.Block()
	if n%elems != 0 {
		return fmt.Errorf("%d weights are not whole %v blocks of %d", n, t, elems)
	}
	if want := n / elems * bytes; size != want {
		return fmt.Errorf("%d weights of type %v take %d bytes, not %d", n, t, want, size)
	}
	return nil
}

// finite reports whether all scales of a block are finite, in which case its
// weights are: the largest scale times the largest quants stays below 2³¹.
func (f *format) finite(block []byte) bool {
	for _, at := range f.scales {
		if block[at+1]&(halfExponent>>8) == halfExponent>>8 {
			return false
		}
	}
	return true
}

func canonicalNaN(y []float32) {
	for i, v := range y {
		if v != v {
			y[i] = math.Float32frombits(floatExponent | floatQuiet)
		}
	}
}

// half reads a binary16 field.
func half(b []byte) float32 {
	return kernel.FromF16(binary.LittleEndian.Uint16(b))
}
