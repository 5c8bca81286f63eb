package gguf_test

import (
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/google/go-cmp/cmp"
)

func TestValueConversions(t *testing.T) {
	type want struct {
		u   uint64
		uok bool
		i   int64
		iok bool
		f   float64
		fok bool
	}
	for _, c := range []struct {
		v gguf.Value
		w want
	}{
		{gguf.ValueOf(uint8(200)), want{200, true, 200, true, 200, true}},
		{gguf.ValueOf(int8(-3)), want{0, false, -3, true, -3, true}},
		{gguf.ValueOf(uint16(65535)), want{65535, true, 65535, true, 65535, true}},
		{gguf.ValueOf(int16(-32768)), want{0, false, -32768, true, -32768, true}},
		{gguf.ValueOf(uint32(1 << 31)), want{1 << 31, true, 1 << 31, true, 1 << 31, true}},
		{gguf.ValueOf(int32(7)), want{7, true, 7, true, 7, true}},
		{gguf.ValueOf(uint64(math.MaxUint64)), want{math.MaxUint64, true, 0, false, 1 << 64, true}},
		{gguf.ValueOf(int64(math.MinInt64)), want{0, false, math.MinInt64, true, -1 << 63, true}},
		{gguf.ValueOf(float32(0.1)), want{f: float64(float32(0.1)), fok: true}},
		{gguf.ValueOf(0.1), want{f: 0.1, fok: true}},
		{gguf.ValueOf(true), want{}},
		{gguf.ValueOf("7"), want{}},
		{gguf.ArrayOf([]int32{7}), want{}},
	} {
		var g want
		if g.u, g.uok = c.v.Uint(); !g.uok {
			g.u = 0
		}
		if g.i, g.iok = c.v.Int(); !g.iok {
			g.i = 0
		}
		if g.f, g.fok = c.v.Float(); !g.fok {
			g.f = 0
		}
		if g != c.w {
			t.Errorf("%v %v: got %+v, want %+v", c.v.Kind(), c.v, g, c.w)
		}
		if _, ok := c.v.Bool(); ok != (c.v.Kind() == gguf.KindBool) {
			t.Errorf("%v: Bool says %v", c.v, ok)
		}
		if _, ok := c.v.Text(); ok != (c.v.Kind() == gguf.KindString) {
			t.Errorf("%v: Text says %v", c.v, ok)
		}
	}
}

func TestValueArrays(t *testing.T) {
	if l, ok := gguf.ArrayOf([]uint64{1, math.MaxUint64}).Ints(); ok {
		t.Errorf("an integer above the largest int64 became %v", l)
	}
	for _, c := range []struct {
		v    gguf.Value
		want []int64
	}{
		{gguf.ArrayOf([]bool{true, false}), []int64{1, 0}},
		{gguf.ArrayOf([]int8{-1}), []int64{-1}},
		{gguf.ArrayOf([]byte{255}), []int64{255}},
		{gguf.ArrayOf([]int64{}), []int64{}},
		{gguf.ArrayOf([]float32{1}), nil},
		{gguf.ArrayOf([]string{"1"}), nil},
		{gguf.ValueOf(uint32(1)), nil},
	} {
		got, ok := c.v.Ints()
		if ok != (c.want != nil) || !cmp.Equal(got, c.want) {
			t.Errorf("%v: got %v, %v", c.v, got, ok)
		}
	}
	if l, ok := gguf.ArrayOf([]float64{0.1, math.MaxFloat64}).Floats(); !ok || l[0] != 0.1 || !math.IsInf(float64(l[1]), 1) {
		t.Errorf("float64 array: %v, %v", l, ok)
	}
	if v := gguf.ArrayOf([]int32{1, 2}); v.Elem() != gguf.KindInt32 || v.Len() != 2 || v.Kind() != gguf.KindArray {
		t.Errorf("%v: %v of %d %v", v, v.Kind(), v.Len(), v.Elem())
	}
	if _, ok := gguf.ArrayOf([]int32{1}).Floats(); ok {
		t.Error("integers became floats")
	}
	if _, ok := gguf.ArrayOf([]int32{1}).Strings(); ok {
		t.Error("integers became strings")
	}
}

func TestValueString(t *testing.T) {
	for _, c := range []struct {
		v    gguf.Value
		want string
	}{
		{gguf.ValueOf(int8(-5)), "-5"},
		{gguf.ValueOf(uint64(math.MaxUint64)), "18446744073709551615"},
		{gguf.ValueOf(float32(0.1)), "0.1"},
		{gguf.ValueOf(1e300), "1e+300"},
		{gguf.ValueOf(false), "false"},
		{gguf.ValueOf("a\x1b[31m"), `"a\x1b[31m"`},
		{gguf.ValueOf(strings.Repeat("é", 100)), `"` + strings.Repeat("é", 60) + `"… (200 bytes)`},
		{gguf.ArrayOf([]int16{1, 2, 3, 4, 5, 6, 7, 8, 9}), "int16[9]{1, 2, 3, 4, 5, 6, 7, 8, …}"},
		{gguf.ArrayOf([]string{}), "string[0]{}"},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	if got := gguf.Kind(99).String(); got != "kind 99" {
		t.Error(got)
	}
}

func TestTypes(t *testing.T) {
	// Elements and bytes of a block, from the layout of ggml's blocks.
	for _, c := range []struct {
		t            gguf.Type
		name         string
		elems, bytes int
	}{
		{gguf.F32, "F32", 1, 4},
		{gguf.F16, "F16", 1, 2},
		{gguf.Q4_0, "Q4_0", 32, 18},
		{gguf.Q4_1, "Q4_1", 32, 20},
		{gguf.Q5_0, "Q5_0", 32, 22},
		{gguf.Q5_1, "Q5_1", 32, 24},
		{gguf.Q8_0, "Q8_0", 32, 34},
		{gguf.Q2_K, "Q2_K", 256, 84},
		{gguf.Q3_K, "Q3_K", 256, 110},
		{gguf.Q4_K, "Q4_K", 256, 144},
		{gguf.Q5_K, "Q5_K", 256, 176},
		{gguf.Q6_K, "Q6_K", 256, 210},
		{gguf.IQ4_NL, "IQ4_NL", 32, 18},
		{gguf.IQ4_XS, "IQ4_XS", 256, 136},
		{gguf.BF16, "BF16", 1, 2},
		{gguf.Type(39), "MXFP4", 0, 0},
		{gguf.Type(16), "IQ2_XXS", 0, 0},
	} {
		e, b := c.t.Block()
		if c.t.String() != c.name || e != c.elems || b != c.bytes {
			t.Errorf("%v: block %d, %d; want %s %d, %d", c.t, e, b, c.name, c.elems, c.bytes)
		}
		for _, s := range []string{c.name, strings.ToLower(c.name)} {
			if got, ok := gguf.ParseType(s); !ok || got != c.t {
				t.Errorf("ParseType(%s) = %v, %v", s, got, ok)
			}
		}
	}
	if len(gguf.Types()) != 15 {
		t.Errorf("%d supported types: %v", len(gguf.Types()), gguf.Types())
	}
	for _, s := range []string{"", "Q9_K", "type 4"} {
		if got, ok := gguf.ParseType(s); ok {
			t.Errorf("ParseType(%q) = %v", s, got)
		}
	}
	for _, id := range []gguf.Type{4, 31, 43, math.MaxUint32} {
		if e, b := id.Block(); e != 0 || b != 0 || !strings.HasPrefix(id.String(), "type ") {
			t.Errorf("%v: block %d, %d", id, e, b)
		}
	}
}
