package anchor_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
)

// bits are those of a number; a NaN has the ones of spec/trace.md.
func bits(x float32) uint32 {
	if x != x {
		return 0x7fc00000
	}
	return math.Float32bits(x)
}

// TestFloats compares Float32.sol with the processor: sums and products of
// numbers of all kinds, to the bit.
func TestFloats(t *testing.T) {
	w := newWorld(t)
	probe := w.probe()
	rng := rand.New(rand.NewPCG(5, 6))
	special := []uint32{
		0, 1, 2, 0x7fffff, 0x800000, 0x800001, 0xffffff, 0x1000000, 0x3f800000, 0x3f7fffff, 0x3f800001,
		0x7f7fffff, 0x7f7ffffe, 0x7f800000, 0x7fc00000, 0x7f800001, 0x7fffffff, 0x4b800000, 0x4b7fffff, 0x33800000, 0x34000000, 0x00400000,
	}
	number := func() uint32 {
		switch rng.IntN(8) {
		case 0:
			return special[rng.IntN(len(special))] | uint32(rng.IntN(2))<<31
		case 1: // few bits, so that ties are frequent
			return uint32(rng.IntN(2))<<31 | uint32(100+rng.IntN(50))<<23 | uint32(rng.IntN(8))<<20 | uint32(rng.IntN(3))
		case 2: // denormal
			return uint32(rng.IntN(2))<<31 | rng.Uint32()&0x7fffff
		case 3:
			return math.Float32bits(float32(rng.IntN(1<<20) - 1<<19))
		}
		return rng.Uint32()
	}
	rounds := 30
	if testing.Short() {
		rounds = 6
	}
	for range rounds {
		var a, b []uint32
		for range 1000 {
			x := number()
			y := number()
			if rng.IntN(4) == 0 { // near in size, so that bits cancel
				y = x ^ 1<<31 ^ uint32(rng.IntN(1<<rng.IntN(26)))
			}
			a, b = append(a, x), append(b, y)
		}
		out := w.asked(probe, "floats", a, b)
		sums, products := out[0].([]uint32), out[1].([]uint32)
		for i := range a {
			x, y := math.Float32frombits(a[i]), math.Float32frombits(b[i])
			if want := bits(x + y); sums[i] != want {
				t.Fatalf("%08x + %08x = %08x, want %08x", a[i], b[i], sums[i], want)
			}
			if want := bits(float32(x * y)); products[i] != want {
				t.Fatalf("%08x * %08x = %08x, want %08x", a[i], b[i], products[i], want)
			}
		}
	}
	for i, x := range special {
		for _, y := range special {
			for _, s := range []uint32{0, 1 << 31} {
				out := w.asked(probe, "floats", []uint32{x, x | 1<<31}, []uint32{y | s, y | s})
				for k, p := range []uint32{x, x | 1<<31} {
					u, v := math.Float32frombits(p), math.Float32frombits(y|s)
					if out[0].([]uint32)[k] != bits(u+v) || out[1].([]uint32)[k] != bits(float32(u*v)) {
						t.Fatalf("%d: %08x and %08x: sum %08x, product %08x", i, p, y|s, out[0].([]uint32)[k], out[1].([]uint32)[k])
					}
				}
			}
		}
	}
}

// TestNumbers: every binary16, and integers, are exact.
func TestNumbers(t *testing.T) {
	w := newWorld(t)
	probe := w.probe()
	var list []uint16
	for i := range 1 << 16 {
		list = append(list, uint16(i))
		if len(list) < 4096 {
			continue
		}
		for j, got := range w.asked(probe, "halves", list)[0].([]uint32) {
			if want := bits(kernel.FromF16(list[j])); got != want {
				t.Fatalf("binary16 %04x: %08x, want %08x", list[j], got, want)
			}
		}
		list = list[:0]
	}
	ints := []int32{0, 1, -1, 2, 3, 520192, -520192, 1<<24 - 1, -1<<24 + 1}
	rng := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		ints = append(ints, int32(rng.IntN(1<<20)-1<<19))
	}
	for i, got := range w.asked(probe, "integers", ints)[0].([]uint32) {
		if want := bits(float32(ints[i])); got != want {
			t.Fatalf("%d: %08x, want %08x", ints[i], got, want)
		}
	}
}

// TestAccumulate: the blocks of a product, with all kinds of scales, and sums
// that are near to what is added, so that bits cancel.
func TestAccumulate(t *testing.T) {
	w := newWorld(t)
	probe := w.probe()
	rng := rand.New(rand.NewPCG(9, 10))
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	plain := 0
	for range rounds {
		var sums, scales []uint32
		var ds []int32
		var halves []uint16
		for range 1000 {
			d := int32(rng.IntN(1<<rng.IntN(20) + 1))
			if rng.IntN(2) == 0 {
				d = -d
			}
			if rng.IntN(50) == 0 {
				d = 520192
			}
			half := uint16(rng.Uint32())
			scale := math.Float32bits(float32(rng.ExpFloat64()))
			switch rng.IntN(6) {
			case 0:
				scale = rng.Uint32()
			case 1:
				half, scale = half&0xfc00, scale&0xfff00000 // few bits, for ties
			case 2:
				half = half&0x83ff | 0x2000
			}
			term := float32(float32(float32(d)*kernel.FromF16(half)) * math.Float32frombits(scale))
			sum := math.Float32bits(float32(rng.NormFloat64()))
			switch rng.IntN(6) {
			case 0:
				sum = rng.Uint32()
			case 1, 2:
				sum = bits(term) ^ 1<<31 ^ uint32(rng.IntN(1<<rng.IntN(26)))
			case 3:
				sum = bits(term) + uint32(rng.IntN(50)-25)<<23&0x7fffffff
			case 4:
				sum = bits(term) & 0xff800000 // a power of two
			}
			sums, ds, halves, scales = append(sums, sum), append(ds, d), append(halves, half), append(scales, scale)
		}
		for i, got := range w.asked(probe, "accumulate", sums, ds, halves, scales)[0].([]uint32) {
			sum := math.Float32frombits(sums[i])
			sum += float32(float32(float32(ds[i])*kernel.FromF16(halves[i])) * math.Float32frombits(scales[i]))
			if want := bits(sum); got != want {
				t.Fatalf("%08x + %d * %04x * %08x = %08x, want %08x", sums[i], ds[i], halves[i], scales[i], got, want)
			}
			if e := bits(sum) >> 23 & 255; e > 0 && e < 255 {
				plain++
			}
		}
	}
	if plain < 500*rounds {
		t.Errorf("only %d results are normal numbers", plain)
	}
}
