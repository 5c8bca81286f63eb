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

// bellWeights gives n weights, the same for everybody: sums of four uniform
// numbers of 16 bits, within ±0.125.
func bellWeights(n int) []float32 {
	rng := rand.NewChaCha8([32]byte{1})
	x := make([]float32, n)
	for i := range x {
		r := rng.Uint64()
		sum := int(r&0xffff) + int(r>>16&0xffff) + int(r>>32&0xffff) + int(r>>48) - 2*0xffff
		x[i] = float32(sum) * 0x1p-20
	}
	return x
}

func quantize(t *testing.T, typ gguf.Type, x []float32) []byte {
	t.Helper()
	elems, size := typ.Block()
	b := make([]byte, len(x)/elems*size)
	if err := quant.Quantize(typ, x, b); err != nil {
		t.Fatalf("%v: %v", typ, err)
	}
	return b
}

func dequantize(t *testing.T, typ gguf.Type, b []byte) []float32 {
	t.Helper()
	elems, size := typ.Block()
	y := make([]float32, len(b)/size*elems)
	if err := quant.Dequantize(typ, b, y); err != nil {
		t.Fatalf("%v: %v", typ, err)
	}
	return y
}

func meanSquare(x, y []float32) float64 {
	var sum float64
	for i := range x {
		d := float64(x[i]) - float64(y[i])
		sum += float64(d * d)
	}
	return sum / float64(len(x))
}

// TestQuantizeVectors pins the bytes. Where ggml is true the digest is that of
// what ggml 0.21.0 makes of the same weights, without an importance matrix; for
// the others it is our own, and the mean square error must not be above ggml's.
func TestQuantizeVectors(t *testing.T) {
	const n = 256 * 256
	for _, test := range []struct {
		typ    gguf.Type
		ggml   bool // the digest is also ggml's
		digest string
		mse    float64 // of ggml
	}{
		{gguf.F32, true, "98aca8456d5b46002166712cb3397271ae86e19291764cf8185524182c449e8f", 0},
		{gguf.F16, true, "3017b7e1b10141e4ac835275e67630dadae291ef4345c2de41b7614096af0621", 5.6907e-11},
		{gguf.BF16, true, "292273b46ce43dcf4c6b76841ab98c0e2c8ebaa1b27a611bdf503228b78441b6", 3.5891e-09},
		{gguf.Q8_0, true, "8399c4471e5491f44c4ec667f7b646920873a30bf929e54b9b6bc1b1fff2b020", 3.3614e-08},
		{gguf.Q4_0, true, "296578bfbe58f1d417f8cbce6566663c6f425705da1f149a5bb2c772e9d4a228", 8.6863e-06},
		{gguf.Q4_1, true, "8c2d4f8277139ad3abb317e967490b2e5ef2ad026df68d528589668756df4fb3", 7.4918e-06},
		{gguf.Q5_0, true, "bc4c58bd147bb1fe7a1e7e4f356542ed3cc58cbe6024addabbfbd7eca634e451", 2.1656e-06},
		{gguf.Q5_1, true, "c5f4e01ff30a85b514a50356aa80b6ee4ac05e9bd3f9be056032d851a4b7e89a", 1.7551e-06},
		{gguf.Q2_K, false, "e21aff0293033cd25f8fa9e7f05853c4da66c11809f5a1174110307bce87ae30", 0.0001078},
		{gguf.Q3_K, true, "186ae672f6bd656b11c7e34971be64713605d842923bdf7901e356ddb27a4331", 2.7839e-05},
		{gguf.Q4_K, false, "455e4ffd500e23b0865429292c3189f1e27b29503ea26068fb8e7f314146e2a2", 6.1948e-06},
		{gguf.Q5_K, false, "297740c0b8b300da232462178c51ebb6d005863905898ace08440567909130c1", 1.5910e-06},
		{gguf.Q6_K, false, "ad85697b1a4719f086591d9e4704517713982f7d2b11630ffe6b5ba73dd2fff5", 3.7911e-07},
		{gguf.IQ4_NL, false, "248ec21bf199b4e85ac845277c0d358377f38d09a85c6c8eea55a1db8cfe0359", 7.1648e-06},
		{gguf.IQ4_XS, false, "3c045c3b107a16d10320e3e599f23b866866d9351d9b4827e03d41624ff125a8", 7.2668e-06},
	} {
		t.Run(test.typ.String(), func(t *testing.T) {
			x := bellWeights(n)
			b := quantize(t, test.typ, x)
			got := fmt.Sprintf("%x", sha256.Sum256(b))
			if diff := cmp.Diff(test.digest, got); diff != "" {
				t.Errorf("digest of the blocks, which is ggml's: %t (-want +got):\n%s", test.ggml, diff)
			}
			mse := meanSquare(x, dequantize(t, test.typ, b))
			t.Logf("mean square error %.5g, ggml %.5g", mse, test.mse)
			if mse > 1.0005*test.mse {
				t.Errorf("mean square error %.5g, above ggml's %.5g", mse, test.mse)
			}
		})
	}
}

// TestQuantizeExtremes holds that no finite weights make a block that is not
// finite, and that no error is larger than the weights themselves.
func TestQuantizeExtremes(t *testing.T) {
	fill := func(f func(i int) float32) []float32 {
		x := make([]float32, 256)
		for i := range x {
			x[i] = f(i)
		}
		return x
	}
	constant := func(c float32) []float32 { return fill(func(int) float32 { return c }) }
	for _, test := range []struct {
		name string
		x    []float32
	}{
		{"zeros", constant(0)},
		{"minus zeros", constant(float32(math.Copysign(0, -1)))},
		{"ones", constant(1)},
		{"minus ones", constant(-1)},
		{"one of them", fill(func(i int) float32 { return float32(max(0, i-254)) })},
		{"minus one of them", fill(func(i int) float32 { return -float32(max(0, i-254)) })},
		{"signs", fill(func(i int) float32 { return float32(i%2*2 - 1) })},
		{"ramp", fill(func(i int) float32 { return float32(i) })},
		{"smallest float32", constant(0x1p-149)},
		{"scale denormal in float32", constant(1e-38)},
		{"scale zero in binary16", constant(1e-9)},
		{"scale denormal in binary16", fill(func(i int) float32 { return float32(i-128) * 1e-8 })},
		{"all magnitudes", fill(func(i int) float32 { return math.Float32frombits(uint32(i%143) << 23) })},
		{"largest common", constant(65504)},
		{"largest common, both signs", fill(func(i int) float32 { return float32(i%2*2-1) * 30000 })},
	} {
		for _, typ := range gguf.Types() {
			y := dequantize(t, typ, quantize(t, typ, test.x))
			var most float32
			for _, v := range test.x {
				most = max(most, float32(math.Abs(float64(v))))
			}
			for i, v := range y {
				// Binary16 scales below 2⁻¹⁴ have an absolute error, which the
				// quants multiply.
				if d := math.Abs(float64(v) - float64(test.x[i])); !(d <= float64(most)*1.01+1e-5) {
					t.Errorf("%s, %v: weight %d is %v, came back as %v", test.name, typ, i, test.x[i], v)
					break
				}
			}
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	with := func(n, at int, v float32) []float32 {
		x := make([]float32, n)
		x[at] = v
		return x
	}
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, test := range []struct {
		name string
		typ  gguf.Type
		x    []float32
		size int
		want string
	}{
		{"no definition", gguf.Type(16), make([]float32, 256), 66, "quant: cannot quantize to type IQ2_XXS: not one of the supported types"},
		{"part of a block", gguf.Q4_K, make([]float32, 255), 144, "quant: 255 weights are not whole Q4_K blocks of 256"},
		{"no room", gguf.Q8_0, make([]float32, 64), 67, "quant: 64 weights of type Q8_0 take 68 bytes, not 67"},
		{"NaN", gguf.Q8_0, with(64, 40, nan), 68, "quant: weight 40 is NaN: only finite weights can be quantized"},
		{"infinity", gguf.Q4_K, with(256, 255, -inf), 144, "quant: weight 255 is -Inf: only finite weights can be quantized"},
		{"NaN stays out of F32 too", gguf.F32, with(4, 1, nan), 16, "quant: weight 1 is NaN: only finite weights can be quantized"},
		{"F16 too large", gguf.F16, with(4, 2, 65520), 8, "quant: weight 2 is 65520, too large for F16"},
		{"BF16 too large", gguf.BF16, with(4, 3, math.MaxFloat32), 8, "quant: weight 3 is 3.4028235e+38, too large for BF16"},
		{"scale too large", gguf.Q4_0, with(96, 70, 1e6), 54, "quant: weights 64 to 95 are too large for Q4_0: the scale of their block does not fit binary16"},
		{"minimum too large", gguf.Q4_1, with(32, 3, -1e5), 20, "quant: weights 0 to 31 are too large for Q4_1: the scale of their block does not fit binary16"},
		{"span too large", gguf.Q5_1, append(with(16, 3, -math.MaxFloat32), with(16, 1, math.MaxFloat32)...), 24, "quant: weights 0 to 31 are too large for Q5_1: the scale of their block does not fit binary16"},
		{"super-block too large", gguf.Q6_K, with(512, 300, math.MaxFloat32), 420, "quant: weights 256 to 511 are too large for Q6_K: the scale of their block does not fit binary16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := quant.Quantize(test.typ, test.x, make([]byte, test.size))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzQuantize takes any 256 floats: they are refused, or they come back finite
// and not far off.
func FuzzQuantize(f *testing.F) {
	for _, v := range []uint32{0, 1, 0x80000000, 0x3f800000, 0x7f800000, 0x7fc00000, 0x7f7fffff, 0x477fe000, 0x00800000, 0x33000000} {
		f.Add(binary.LittleEndian.AppendUint32(nil, v), uint32(gguf.Q4_K))
	}
	for _, typ := range gguf.Types() {
		f.Add(floatBits(bellWeights(64)), uint32(typ))
		f.Add(randomBlocks(gguf.Q6_K, 1), uint32(typ))
	}
	f.Fuzz(func(t *testing.T, raw []byte, number uint32) {
		typ := gguf.Type(number)
		x := make([]float32, 256)
		var most float64
		for i := range x {
			if len(raw) >= 4 {
				x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[i*4%(len(raw)&^3):]))
			}
			most = max(most, math.Abs(float64(x[i])))
		}
		elems, size := typ.Block()
		if elems == 0 {
			return
		}
		b := make([]byte, len(x)/elems*size)
		if err := quant.Quantize(typ, x, b); err != nil {
			return
		}
		for i, v := range dequantize(t, typ, b) {
			if d := math.Abs(float64(v) - float64(x[i])); !(d <= 2*most+1e-4) {
				t.Fatalf("%v: weight %d is %v, came back as %v", typ, i, x[i], v)
			}
		}
	})
}
