package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/google/go-cmp/cmp"
)

// keyValue is one metadata entry of a file to be written.
type keyValue struct {
	key   string
	value gguf.Value
}

// nested makes an array of arrays and panics on a mistake of the test.
func nested(elem gguf.Kind, list ...gguf.Value) gguf.Value {
	v, err := gguf.ArrayOfValues(elem, list...)
	if err != nil {
		panic(err)
	}
	return v
}

// everyKind has a value of each kind, scalar and array, with the extremes.
func everyKind() []keyValue {
	return []keyValue{
		{"a.uint8", gguf.ValueOf(uint8(math.MaxUint8))},
		{"a.int8", gguf.ValueOf(int8(math.MinInt8))},
		{"a.uint16", gguf.ValueOf(uint16(math.MaxUint16))},
		{"a.int16", gguf.ValueOf(int16(math.MinInt16))},
		{"a.uint32", gguf.ValueOf(uint32(math.MaxUint32))},
		{"a.int32", gguf.ValueOf(int32(math.MinInt32))},
		{"a.float32", gguf.ValueOf(float32(0.1))},
		{"a.bool", gguf.ValueOf(true)},
		{"a.string", gguf.ValueOf("Größe \x00 ▁")},
		{"a.empty", gguf.ValueOf("")},
		{"a.uint64", gguf.ValueOf(uint64(math.MaxUint64))},
		{"a.int64", gguf.ValueOf(int64(math.MinInt64))},
		{"a.float64", gguf.ValueOf(math.Inf(-1))},
		{"l.uint8", gguf.ArrayOf([]byte{0, 255})},
		{"l.int8", gguf.ArrayOf([]int8{-128, 127})},
		{"l.uint16", gguf.ArrayOf([]uint16{1, 65535})},
		{"l.int16", gguf.ArrayOf([]int16{-1, 1})},
		{"l.uint32", gguf.ArrayOf([]uint32{math.MaxUint32})},
		{"l.int32", gguf.ArrayOf([]int32{-7, 7})},
		{"l.float32", gguf.ArrayOf([]float32{-1.5, 3})},
		{"l.bool", gguf.ArrayOf([]bool{true, false, true})},
		{"l.string", gguf.ArrayOf([]string{"", "a", "bc"})},
		{"l.uint64", gguf.ArrayOf([]uint64{1 << 62})},
		{"l.int64", gguf.ArrayOf([]int64{-5})},
		{"l.float64", gguf.ArrayOf([]float64{0.5, -0.25})},
		{"l.none", gguf.ArrayOf([]string{})},
		{"n.arrays", nested(gguf.KindArray,
			gguf.ArrayOf([]int32{1, 2}),
			gguf.ArrayOf([]string{"x", "yz"}),
			nested(gguf.KindArray, gguf.ArrayOf([]bool{true}), gguf.ArrayOf([]float32{})),
		)},
	}
}

// write makes a file in memory.
func write(t testing.TB, meta []keyValue, tensors map[string][]byte, declare func(*gguf.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gguf.NewWriter(&b)
	for _, kv := range meta {
		if err := w.Set(kv.key, kv.value); err != nil {
			t.Fatal(err)
		}
	}
	if declare != nil {
		declare(w)
	}
	size := w.Size()
	for _, name := range w.Pending() {
		if err := w.WriteTensor(name, tensors[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != size {
		t.Fatalf("Size said %d, the file has %d bytes", size, b.Len())
	}
	return b.Bytes()
}

func parseBytes(t testing.TB, b []byte) *gguf.File {
	t.Helper()
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriteReadsBack(t *testing.T) {
	for _, align := range []uint32{0, 8, 32, 4096} {
		meta := everyKind()
		if align != 0 {
			meta = append(meta, keyValue{"general.alignment", gguf.ValueOf(align)})
		}
		data := map[string][]byte{"a": bytes.Repeat([]byte{1}, 4*3), "b": bytes.Repeat([]byte{2}, 18*2*3), "c": bytes.Repeat([]byte{3}, 2)}
		file := write(t, meta, data, func(w *gguf.Writer) {
			must(t, w.Declare("a", gguf.F32, 3))
			must(t, w.Declare("b", gguf.Q4_0, 64, 3))
			must(t, w.Declare("c", gguf.BF16, 1, 1, 1, 1))
		})
		f := parseBytes(t, file)
		var keys []string
		for _, kv := range meta {
			keys = append(keys, kv.key)
			if got, ok := f.Value(kv.key); !ok || got != kv.value {
				t.Errorf("%s: read %v, wrote %v", kv.key, got, kv.value)
			}
		}
		if d := cmp.Diff(keys, f.Keys()); d != "" {
			t.Error("keys:", d)
		}
		for _, x := range f.Tensors() {
			got, err := io.ReadAll(f.Reader(x))
			if err != nil || !bytes.Equal(got, data[x.Name]) {
				t.Errorf("alignment %d: tensor %s: %v %v", align, x.Name, got, err)
			}
			if a := int64(max(align, 8)); x.Offset%a != 0 {
				t.Errorf("tensor %s at %d is not aligned to %d", x.Name, x.Offset, a)
			}
		}
	}
}

// TestRewritePublished copies files with the Writer and expects the bytes of
// the original, which another program wrote.
func TestRewritePublished(t *testing.T) {
	for _, path := range []string{
		testdata.Shared(t, "weights", "stories260K", "stories260K-F16.gguf"),
		testdata.Shared(t, "weights", "stories260K", "stories260K-Q4_K_M.gguf"),
		testdata.Shared(t, "weights", "stories260K", "stories260K-p192-Q8_0.gguf"),
		testdata.Shared(t, "tokenizers", "ggml-vocab-gpt-2.gguf"),
	} {
		f, err := gguf.Open(path)
		must(t, err)
		out := filepath.Join(t.TempDir(), "copy.gguf")
		w, err := gguf.Create(out)
		must(t, err)
		must(t, w.SetFrom(f))
		for _, x := range f.Tensors() {
			must(t, w.Declare(x.Name, x.Type, x.Shape...))
		}
		for _, x := range f.Tensors() {
			must(t, w.Start(x.Name))
			for data := f.Data(x); len(data) > 0; data = data[min(1000, len(data)):] {
				_, err := w.Write(data[:min(1000, len(data))])
				must(t, err)
			}
		}
		must(t, w.Close())
		want, err := os.ReadFile(path)
		must(t, err)
		got, err := os.ReadFile(out)
		must(t, err)
		// Some converters leave out the padding after the header of a file
		// without tensors.
		if len(f.Tensors()) == 0 && len(got) > len(want) {
			want = append(want, make([]byte, len(got)-len(want))...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the copy has %d bytes, the original %d, or they differ", path, len(got), len(want))
		}
		must(t, f.Close())
	}
}

func TestWriterRefuses(t *testing.T) {
	good := func(w *gguf.Writer) error { return w.Declare("a", gguf.F32, 2) }
	for _, c := range []struct {
		name string
		do   func(w *gguf.Writer) error
		want string
	}{
		{"empty key", func(w *gguf.Writer) error { return w.Set("", gguf.ValueOf(true)) }, "the name is empty"},
		{"long key", func(w *gguf.Writer) error { return w.Set(strings.Repeat("k", 65536), gguf.ValueOf(true)) }, "the limit is 65535"},
		{"key not UTF-8", func(w *gguf.Writer) error { return w.Set("\xff", gguf.ValueOf(true)) }, "not UTF-8"},
		{"zero value", func(w *gguf.Writer) error { return w.Set("k", gguf.Value{}) }, "zero Value"},
		{"alignment kind", func(w *gguf.Writer) error { return w.Set("general.alignment", gguf.ValueOf(uint64(32))) }, "must be uint32"},
		{"alignment 48", func(w *gguf.Writer) error { return w.Set("general.alignment", gguf.ValueOf(uint32(48))) }, "power of two"},
		{"long string", func(w *gguf.Writer) error { return w.Set("k", gguf.ValueOf(strings.Repeat("x", 64<<20+1))) }, "the limit is 67108864"},
		{"mixed array", func(*gguf.Writer) error {
			_, err := gguf.ArrayOfValues(gguf.KindBool, gguf.ValueOf(true), gguf.ValueOf("x"))
			return err
		}, "element 1 is string"},
		{"deep array", func(*gguf.Writer) error {
			v := gguf.ArrayOf([]bool{true})
			var err error
			for range 4 {
				if v, err = gguf.ArrayOfValues(gguf.KindArray, v); err != nil {
					return err
				}
			}
			return nil
		}, "nested 5 deep"},
		{"long tensor name", func(w *gguf.Writer) error { return w.Declare(strings.Repeat("x", 64), gguf.F32, 1) }, "the limit is 63"},
		{"unsupported type", func(w *gguf.Writer) error { return w.Declare("t", gguf.Type(39), 32) }, "MXFP4"},
		{"no dimension", func(w *gguf.Writer) error { return w.Declare("t", gguf.F32) }, "0 dimensions"},
		{"five dimensions", func(w *gguf.Writer) error { return w.Declare("t", gguf.F32, 1, 1, 1, 1, 1) }, "5 dimensions"},
		{"dimension 0", func(w *gguf.Writer) error { return w.Declare("t", gguf.F32, 1, 0) }, "must be positive"},
		{"overflow", func(w *gguf.Writer) error { return w.Declare("t", gguf.F32, math.MaxInt, 2) }, "too many elements"},
		{"row and block", func(w *gguf.Writer) error { return w.Declare("t", gguf.Q4_K, 576, 2) }, "blocks of 256"},
		{"twice", func(w *gguf.Writer) error { return errors.Join(good(w), good(w)) }, "declared twice"},
		{"start unknown", func(w *gguf.Writer) error { return w.Start("a") }, "all declared tensors are written"},
		{"wrong order", func(w *gguf.Writer) error { return errors.Join(good(w), w.Start("b")) }, `next declared tensor is "a"`},
		{"write without start", func(w *gguf.Writer) error { _, err := w.Write([]byte{1}); return err }, "call Start first"},
		{"too much", func(w *gguf.Writer) error { return errors.Join(good(w), w.WriteTensor("a", make([]byte, 9))) }, "it takes 8"},
		{"incomplete", func(w *gguf.Writer) error {
			err := errors.Join(good(w), w.Declare("b", gguf.F32, 1), w.Start("a"))
			_, e := w.Write([]byte{1, 2})
			return errors.Join(err, e, w.Start("b"))
		}, `"a" still needs 6 bytes`},
		{"close early", func(w *gguf.Writer) error { return errors.Join(good(w), w.Close()) }, "lack data"},
		{"set late", func(w *gguf.Writer) error {
			return errors.Join(good(w), w.Start("a"), w.Set("k", gguf.ValueOf(true)))
		}, "tensor data has begun"},
		{"after close", func(w *gguf.Writer) error { return errors.Join(w.Close(), good(w)) }, "writer is closed"},
	} {
		err := c.do(gguf.NewWriter(io.Discard))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
}

// brokenWriter fails after n bytes.
type brokenWriter struct{ n int }

func (b *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > b.n {
		return 0, errors.New("disk full")
	}
	b.n -= len(p)
	return len(p), nil
}

func TestWriterReportsFailedWrites(t *testing.T) {
	for n := range 160 {
		w := gguf.NewWriter(&brokenWriter{n})
		must(t, w.Set("general.architecture", gguf.ValueOf("llama")))
		must(t, w.Declare("a", gguf.F32, 4))
		err := w.WriteTensor("a", make([]byte, 16))
		if err == nil {
			err = w.Close()
		}
		if whole := w.Size() <= int64(n); (err == nil) != whole {
			t.Fatalf("room for %d bytes of %d: error %v", n, w.Size(), err)
		}
	}
}

func TestCreateLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	w, err := gguf.Create(path)
	must(t, err)
	must(t, w.Declare("a", gguf.F32, 1))
	if err := w.Close(); err == nil {
		t.Error("an incomplete file was closed without an error")
	}
	w, err = gguf.Create(path)
	must(t, err)
	w.Abort()
	w.Abort()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	w, err = gguf.Create(path)
	must(t, err)
	must(t, w.Close())
	w.Abort()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if _, err := gguf.Create(filepath.Join(dir, "no", "m.gguf")); err == nil {
		t.Error("created a file in a folder that does not exist")
	}
}

func TestSetReplaces(t *testing.T) {
	var b bytes.Buffer
	w := gguf.NewWriter(&b)
	must(t, w.Set("x", gguf.ValueOf("long text")))
	must(t, w.Set("y", gguf.ValueOf(true)))
	must(t, w.Set("x", gguf.ValueOf(uint8(1))))
	must(t, w.Close())
	f := parseBytes(t, b.Bytes())
	if d := cmp.Diff([]string{"x", "y"}, f.Keys()); d != "" {
		t.Error(d)
	}
	if x, ok := f.Uint("x"); !ok || x != 1 {
		t.Errorf("x = %d, %v", x, ok)
	}
}
