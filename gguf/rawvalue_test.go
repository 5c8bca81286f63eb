package gguf_test

import (
	"bytes"
	"testing"

	"github.com/avalnetwork/aval/gguf"
)

func TestValueFromRaw(t *testing.T) {
	b := smallFile(3)
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range f.Keys() {
		v, _ := f.Value(key)
		if got, err := gguf.ValueFromRaw(v.Kind(), v.Elem(), v.Len(), v.Raw()); err != nil || got != v {
			t.Errorf("%s: %v, %v, want %v", key, got, err, v)
		}
	}
	for _, c := range []struct {
		name       string
		kind, elem gguf.Kind
		n          int
		raw        string
	}{
		{"a kind that does not exist", 13, 0, 0, ""},
		{"no bytes", gguf.KindUint8, 0, 0, ""},
		{"too many bytes", gguf.KindUint8, 0, 0, "\x01\x02"},
		{"a bool of 2", gguf.KindBool, 0, 0, "\x02"},
		{"elements of a number", gguf.KindUint8, 0, 1, "\x01"},
		{"elements of a string", gguf.KindString, gguf.KindUint16, 0, "x"},
		{"a string beyond the limit", gguf.KindString, 0, 0, string(make([]byte, 64<<20+1))},
		{"fewer than no elements", gguf.KindArray, gguf.KindUint8, -1, ""},
		{"fewer elements than bytes", gguf.KindArray, gguf.KindUint8, 1, "\x01\x02"},
		{"more elements than bytes", gguf.KindArray, gguf.KindUint16, 2, "\x01\x02"},
		{"elements that do not exist", gguf.KindArray, 13, 0, ""},
		{"a string that is cut", gguf.KindArray, gguf.KindString, 1, "\x02\x00\x00\x00\x00\x00\x00\x00x"},
		{"a count without bytes", gguf.KindArray, gguf.KindArray, 1 << 30, ""},
	} {
		if v, err := gguf.ValueFromRaw(c.kind, c.elem, c.n, c.raw); err == nil {
			t.Errorf("%s: %v", c.name, v)
		}
	}
}

// FuzzValueFromRaw: what is accepted is what a file with it gives back.
func FuzzValueFromRaw(f *testing.F) {
	f.Add(uint32(gguf.KindArray), uint32(gguf.KindString), 1, "\x01\x00\x00\x00\x00\x00\x00\x00x")
	f.Add(uint32(gguf.KindFloat32), uint32(0), 0, "\x00\x00\x80\x3f")
	f.Fuzz(func(t *testing.T, kind, elem uint32, n int, raw string) {
		v, err := gguf.ValueFromRaw(gguf.Kind(kind), gguf.Kind(elem), n, raw)
		if err != nil {
			return
		}
		var b bytes.Buffer
		w := gguf.NewWriter(&b)
		if err := w.Set("k", v); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := gguf.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := file.Value("k"); !ok || got != v || got.Raw() != raw {
			t.Fatalf("%v, want %v", got, v)
		}
	})
}
