package quant_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
)

// randomBlocks gives n blocks of uniform random bytes, the same for everybody.
// About one scale in 32 is infinite or NaN.
func randomBlocks(t gguf.Type, n int) []byte {
	_, size := t.Block()
	b := make([]byte, n*size)
	rng := rand.NewChaCha8([32]byte{byte(t)})
	_, _ = rng.Read(b) // never fails
	return b
}

// floatBits serialises weights with every NaN as 0x7fc00000: ggml leaves which
// NaN a product gives to the processor.
func floatBits(y []float32) []byte {
	b := make([]byte, 0, 4*len(y))
	for _, v := range y {
		bits := math.Float32bits(v)
		if v != v {
			bits = 0x7fc00000
		}
		b = binary.LittleEndian.AppendUint32(b, bits)
	}
	return b
}

// TestDequantizeVectors compares with digests of what the to_float functions of
// ggml 0.21.0 (libggml-base, x86-64) make of the same blocks.
func TestDequantizeVectors(t *testing.T) {
	for _, test := range []struct {
		typ    gguf.Type
		digest string
	}{
		{gguf.F32, "98505ff76ef9e14ffce5e80d814e7245f06820b15d89815d401143d0890b87b7"},
		{gguf.F16, "e965e4dcef41954fd85cce9bd0f8b45228187251d5861604a418af2978ce96cf"},
		{gguf.BF16, "75c557550b6aeb98cd2e81e71c7a020b97fb098db849442444a62b618dc9ba4a"},
		{gguf.Q8_0, "4d3e621badd60946e682a125b3b402708123b470f562198df703266beecfcc52"},
		{gguf.Q4_0, "f923cd827d130e4a5a0431f207febef7b8ec03534bd44337b4499ff3b8ff5d38"},
		{gguf.Q4_1, "c16b40e74617e29b5887e8c0747c21ed0916e427a63e1127335fbabb6d4786cf"},
		{gguf.Q5_0, "257275459481dcbd783d3c253dfddb79a8edee3247a8de623438075368547ddc"},
		{gguf.Q5_1, "0406b047f1329a63f576c4302998df224ee73cfc6269abc607784d6f544fae72"},
		{gguf.Q2_K, "cbedf2390b16c383d0f126e9a0c3168726f5c3191c6ff9d093a8a87ad5846efe"},
		{gguf.Q3_K, "3a09454597c678454cd167bd152023a151fb792bd473de5288d38ea88b345204"},
		{gguf.Q4_K, "ff930af3df3b1965b320cd8c6cf6f8f990eff6ca756bb62fc8f80a0c38ec6986"},
		{gguf.Q5_K, "ebe950fc392e212e9323128f23ac69e22e9d67bc1756c5eff2762c41d05b5ba2"},
		{gguf.Q6_K, "424f341dd69393e0f6ff0dc6a4379c8ba2c9508829eaf96e9f523c14ca4d2a48"},
		{gguf.IQ4_NL, "387d2af5acea42e7befaca337b1f9927d3ddb3c255b38a73c3b37c31743caace"},
		{gguf.IQ4_XS, "293793b853ea6e8b208eda8cc8a86e8c70089c4d3048d1f4f9ed23385308db58"},
	} {
		t.Run(test.typ.String(), func(t *testing.T) {
			const n = 512
			elems, _ := test.typ.Block()
			y := make([]float32, n*elems)
			if err := quant.Dequantize(test.typ, randomBlocks(test.typ, n), y); err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%x", sha256.Sum256(floatBits(y)))
			if diff := cmp.Diff(test.digest, got); diff != "" {
				t.Errorf("digest of the weights (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDequantizeNaN holds the one thing the vectors leave open: NaNs computed
// from a scale have one bit pattern.
func TestDequantizeNaN(t *testing.T) {
	for _, typ := range gguf.Types() {
		if typ == gguf.F32 || typ == gguf.F16 || typ == gguf.BF16 {
			continue
		}
		elems, size := typ.Block()
		for _, fill := range []byte{0xff, 0x7d} { // NaN with sign, NaN without
			b := make([]byte, size)
			for i := range b {
				b[i] = fill
			}
			y := make([]float32, elems)
			if err := quant.Dequantize(typ, b, y); err != nil {
				t.Fatal(err)
			}
			for i, v := range y {
				if bits := math.Float32bits(v); bits != 0x7fc00000 {
					t.Fatalf("%v filled with %#x: weight %d has bits %#08x, want the quiet NaN 0x7fc00000", typ, fill, i, bits)
				}
			}
		}
	}
}

func TestDequantizeRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		typ    gguf.Type
		src, n int
		want   string
	}{
		{"no definition", gguf.Type(16), 66, 256, "quant: cannot dequantize type IQ2_XXS: not one of the supported types"},
		{"unknown type", gguf.Type(99), 66, 256, "quant: cannot dequantize type type 99: not one of the supported types"},
		{"part of a block", gguf.Q4_0, 18, 31, "quant: 31 weights are not whole Q4_0 blocks of 32"},
		{"bytes missing", gguf.Q6_K, 209, 256, "quant: 256 weights of type Q6_K take 210 bytes, not 209"},
		{"bytes left over", gguf.BF16, 5, 2, "quant: 2 weights of type BF16 take 4 bytes, not 5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := quant.Dequantize(test.typ, make([]byte, test.src), make([]float32, test.n))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzDequantize(f *testing.F) {
	for _, typ := range gguf.Types() {
		elems, _ := typ.Block()
		f.Add(uint32(typ), randomBlocks(typ, 1), uint16(elems))
		f.Add(uint32(typ), randomBlocks(typ, 3), uint16(2*elems))
	}
	f.Add(uint32(4), []byte{1, 2, 3}, uint16(0))
	f.Fuzz(func(t *testing.T, typ uint32, src []byte, n uint16) {
		y := make([]float32, n)
		if err := quant.Dequantize(gguf.Type(typ), src, y); err != nil {
			return
		}
		again := make([]float32, n)
		if err := quant.Dequantize(gguf.Type(typ), src, again); err != nil {
			t.Fatal(err)
		}
		if string(floatBits(y)) != string(floatBits(again)) {
			t.Error("the same blocks gave other weights")
		}
	})
}
