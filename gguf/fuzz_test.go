package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/google/go-cmp/cmp"
)

// FuzzParse feeds arbitrary bytes to the parser. Nothing may panic; a file
// that is accepted must answer every question, and, rewritten, be the same
// file in everything but layout.
func FuzzParse(f *testing.F) {
	f.Add([]byte(smallFile(2)))
	f.Add([]byte(smallFile(3)))
	f.Add([]byte(begin(3, 0, 0)))
	f.Add([]byte(begin(3<<24, 0, 0)))
	f.Add([]byte(begin(3, 0, 1).key("general.alignment", gguf.KindUint32).u32(64)))
	f.Add([]byte(begin(3, 2, 0).tensor("t", gguf.Q4_K, 0, 256).tensor("u", 77, 160).data(192)))
	f.Add([]byte(begin(3, 0, 1).key("a", gguf.KindArray).array(gguf.KindArray, 1).array(gguf.KindArray, 1).array(gguf.KindInt8, 1).u8(9)))
	f.Add(write(f, everyKind(), nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			var pe *gguf.ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		useAll(t, file)
		rewrite(t, file)
	})
}

// rewrite copies a file with the Writer, parses the copy and compares.
func rewrite(t *testing.T, file *gguf.File) {
	var out bytes.Buffer
	w := gguf.NewWriter(&out)
	for _, key := range file.Keys() {
		v, _ := file.Value(key)
		must(t, w.Set(key, v))
	}
	for _, x := range file.Tensors() {
		if err := w.Declare(x.Name, x.Type, x.Shape...); err != nil {
			if e, _ := x.Type.Block(); e != 0 && len(x.Name) < 64 {
				t.Fatal(err)
			}
			return // a type or a name that is read but not written
		}
	}
	for _, x := range file.Tensors() {
		must(t, w.Start(x.Name))
		if _, err := io.Copy(w, file.Reader(x)); err != nil {
			t.Fatal(err)
		}
	}
	must(t, w.Close())
	again := parseBytes(t, out.Bytes())
	if again.Version() != 3 || again.Alignment() != file.Alignment() {
		t.Fatalf("version %d, alignment %d", again.Version(), again.Alignment())
	}
	if d := cmp.Diff(file.Keys(), again.Keys(), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); d != "" {
		t.Fatal(d)
	}
	for _, key := range file.Keys() {
		a, _ := file.Value(key)
		b, _ := again.Value(key)
		if a != b {
			t.Fatalf("key %q: %v became %v", key, a, b)
		}
	}
	old, copied := file.Tensors(), again.Tensors()
	if len(old) != len(copied) {
		t.Fatalf("%d tensors became %d", len(old), len(copied))
	}
	for i, x := range old {
		y := copied[i]
		if x.Name != y.Name || x.Type != y.Type || !cmp.Equal(x.Shape, y.Shape) || x.Size != y.Size {
			t.Fatalf("%+v became %+v", x, y)
		}
		a, _ := io.ReadAll(file.Reader(x))
		b, _ := io.ReadAll(again.Reader(y))
		if !bytes.Equal(a, b) {
			t.Fatalf("tensor %s: other data", x.Name)
		}
	}
}

// FuzzWrite writes what the input asks for and reads it back.
func FuzzWrite(f *testing.F) {
	f.Add("general.architecture", "llama", int64(-1), 0.5, "blk.0.attn_q.weight", uint32(12), 256, 2, uint8(5))
	f.Add("k", "", int64(0), 0.0, "t", uint32(0), 1, 1, uint8(0))
	f.Add("general.alignment", "x", int64(64), -1.0, "t", uint32(39), 32, 0, uint8(20))
	f.Fuzz(func(t *testing.T, key, s string, i int64, x float64, name string, typ uint32, row, rows int, align uint8) {
		var out bytes.Buffer
		w := gguf.NewWriter(&out)
		list, err := gguf.ArrayOfValues(gguf.KindArray, gguf.ArrayOf([]string{s, key, ""}), gguf.ArrayOf([]int64{i}), gguf.ArrayOf([]float64{x, x}))
		must(t, err)
		values := []gguf.Value{gguf.ValueOf(s), gguf.ValueOf(i), gguf.ValueOf(x), gguf.ValueOf(uint8(i)), gguf.ValueOf(float32(x)), gguf.ValueOf(i%2 == 0), list}
		if align <= 20 {
			if err := w.Set("general.alignment", gguf.ValueOf(uint32(1)<<align)); (err == nil) != (align >= 3) {
				t.Fatalf("alignment 2^%d: %v", align, err)
			}
		}
		written := map[string]gguf.Value{}
		for n, v := range values {
			k := key + string(rune('a'+n))
			if w.Set(k, v) == nil {
				written[k] = v
			}
		}
		var data []byte
		if uint(row) < 1<<12 && uint(rows) < 1<<6 && w.Declare(name, gguf.Type(typ), row, rows) == nil {
			e, b := gguf.Type(typ).Block()
			data = bytes.Repeat([]byte{byte(i)}, row/e*b*rows)
			must(t, w.WriteTensor(name, data))
		}
		must(t, w.Close())
		if int64(out.Len()) != w.Size() {
			t.Fatalf("%d bytes, Size says %d", out.Len(), w.Size())
		}
		file := parseBytes(t, out.Bytes())
		for k, v := range written {
			if got, ok := file.Value(k); !ok || got != v {
				t.Fatalf("key %q: wrote %v, read %v", k, v, got)
			}
		}
		if data == nil {
			return
		}
		got, err := io.ReadAll(file.Reader(file.Tensor(name)))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("tensor %q: wrote %d bytes, read %d, %v", name, len(data), len(got), err)
		}
	})
}
