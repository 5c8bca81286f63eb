package quant_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/quant"
)

// TestHalfRoundTrip takes all 65,536 numbers through float32 and back.
func TestHalfRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := kernel.FromF16(uint16(h))
		if f != f {
			continue
		}
		if got := quant.FloatToHalf(f); got != uint16(h) {
			t.Fatalf("FloatToHalf(%v) = %#04x, want %#04x", f, got, h)
		}
		b := kernel.FromBF16(uint16(h))
		if b != b {
			continue
		}
		if got := quant.FloatToBFloat(b); got != uint16(h) {
			t.Fatalf("FloatToBFloat(%v) = %#04x, want %#04x", b, got, h)
		}
	}
}

// TestHalfTies checks, between every two neighbours, the number in the middle
// and the float32 numbers beside it.
func TestHalfTies(t *testing.T) {
	check := func(name string, round func(float32) uint16, widen func(uint16) float32, last uint16) {
		for h := range last {
			low, high := widen(h), widen(h+1)
			middle := low + (high-low)/2 // exact: one bit more than either
			even := h + h&1
			for _, test := range []struct {
				f    float32
				want uint16
			}{
				{middle, even},
				{math.Nextafter32(middle, low), h},
				{math.Nextafter32(middle, high), h + 1},
			} {
				if got := round(test.f); got != test.want {
					t.Fatalf("%s(%v) = %#04x, want %#04x", name, test.f, got, test.want)
				}
				if got := round(-test.f); got != test.want|0x8000 {
					t.Fatalf("%s(%v) = %#04x, want %#04x", name, -test.f, got, test.want|0x8000)
				}
			}
		}
	}
	check("FloatToHalf", quant.FloatToHalf, kernel.FromF16, 0x7bff)
	check("FloatToBFloat", quant.FloatToBFloat, kernel.FromBF16, 0x7f7f)
}

func TestHalfSpecial(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := math.Float32frombits(0x7f800001)
	for _, test := range []struct {
		name string
		f    float32
		half uint16
		bf   uint16
	}{
		{"zero", 0, 0, 0},
		{"minus zero", float32(math.Copysign(0, -1)), 0x8000, 0x8000},
		{"infinity", inf, 0x7c00, 0x7f80},
		{"minus infinity", -inf, 0xfc00, 0xff80},
		{"NaN", nan, 0x7e00, 0x7fc0},
		{"minus NaN", math.Float32frombits(0xffc12345), 0xfe00, 0xffc0},
		{"largest half", 65504, 0x7bff, 0x4780},
		{"just rounds down", math.Nextafter32(65520, 0), 0x7bff, 0x4780},
		{"tie to infinity", 65520, 0x7c00, 0x4780},
		{"largest float32", math.MaxFloat32, 0x7c00, 0x7f80},
		{"smallest half", 0x1p-24, 1, 0x3380},
		{"tie to zero", 0x1p-25, 0, 0x3300},
		{"above the tie", math.Nextafter32(0x1p-25, 1), 1, 0x3300},
		{"smallest float32", 0x1p-149, 0, 0},
	} {
		if got := quant.FloatToHalf(test.f); got != test.half {
			t.Errorf("%s: FloatToHalf(%v) = %#04x, want %#04x", test.name, test.f, got, test.half)
		}
		if got := quant.FloatToBFloat(test.f); got != test.bf {
			t.Errorf("%s: FloatToBFloat(%v) = %#04x, want %#04x", test.name, test.f, got, test.bf)
		}
	}
}
