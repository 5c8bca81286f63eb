package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
)

// encoderOf returns the function that chooses the block nearest to the finite
// weights x. What "nearest" means is said there.
func encoderOf(t gguf.Type) func(x []float32, b []byte) {
	switch t {
	case gguf.Q4_0:
		return encodeQ4_0
	case gguf.Q4_1:
		return encodeQ4_1
	case gguf.Q5_0:
		return encodeQ5_0
	case gguf.Q5_1:
		return encodeQ5_1
	case gguf.Q8_0:
		return encodeQ8_0
	case gguf.Q2_K:
		return encodeQ2K
	case gguf.Q3_K:
		return encodeQ3K
	case gguf.Q4_K:
		return encodeQ4K
	case gguf.Q5_K:
		return encodeQ5K
	case gguf.Q6_K:
		return encodeQ6K
	case gguf.IQ4_NL:
		return encodeIQ4NL
	case gguf.IQ4_XS:
		return encodeIQ4XS
	}
	return nil
}

// Quantize narrows weights to blocks of type t. src holds a whole number of
// blocks and dst exactly room for them. The result depends on nothing but src:
// each block only on its own weights, and every sum has one order.
//
// A weight that is NaN or infinite is an error, and so is one that is too large
// for the type: a scale must fit binary16. dst is then partly written.
func Quantize(t gguf.Type, src []float32, dst []byte) error {
	if err := quantizeFrom(0, t, src, dst); err != nil {
		return fmt.Errorf("quant: %w", err)
	}
	return nil
}

// quantizeFrom is Quantize with errors that call the first weight number base.
func quantizeFrom(base int, t gguf.Type, src []float32, dst []byte) error {
	elems, size := t.Block()
	if elems == 0 {
		return fmt.Errorf("cannot quantize to type %v: not one of the supported types", t)
	}
	if err := checkSize(t, len(src), len(dst)); err != nil {
		return err
	}
	if err := checkFinite(base, src); err != nil {
		return err
	}
	switch t {
	case gguf.F32, gguf.F16, gguf.BF16:
		return narrow(base, t, src, dst)
	}
	encode := encoderOf(t)
	f, ok := formatOf(t)
	if !ok || encode == nil {
		panic(fmt.Sprintf("quant: internal error: no encoder for %v", t))
	}
	for at := 0; at < len(src); at += elems {
		x, block := src[at:at+elems:at+elems], dst[:size:size]
		encode(x, block)
		if !f.finite(block) {
			return fmt.Errorf("weights %d to %d are too large for %v: the scale of their block does not fit binary16",
				base+at, base+at+elems-1, t)
		}
		dst = dst[size:]
	}
	return nil
}

// checkFinite finds the first weight that is NaN or infinite.
func checkFinite(base int, src []float32) error {
	for i, v := range src {
		if math.Float32bits(v)&floatExponent == floatExponent {
			return fmt.Errorf("weight %d is %v: only finite weights can be quantized", base+i, v)
		}
	}
	return nil
}

// narrow rounds to a plain float type.
func narrow(base int, t gguf.Type, src []float32, dst []byte) error {
	for i, v := range src {
		var overflow bool
		switch t {
		case gguf.F32:
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		case gguf.F16:
			h := FloatToHalf(v)
			overflow = h&halfExponent == halfExponent
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		case gguf.BF16:
			h := FloatToBFloat(v)
			overflow = h&bfloatExponent == bfloatExponent
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		if overflow {
			return fmt.Errorf("weight %d is %v, too large for %v", base+i, v, t)
		}
	}
	return nil
}
