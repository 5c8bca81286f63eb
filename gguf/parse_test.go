package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/google/go-cmp/cmp"
)

func TestParseBothVersions(t *testing.T) {
	for _, version := range []uint32{2, 3} {
		f := parseBytes(t, smallFile(version))
		if f.Version() != int(version) || f.Alignment() != 32 {
			t.Errorf("version %d, alignment %d", f.Version(), f.Alignment())
		}
		if s, ok := f.String("general.architecture"); !ok || s != "llama" {
			t.Errorf("architecture %q, %v", s, ok)
		}
		if n, ok := f.Uint("llama.block_count"); !ok || n != 2 {
			t.Errorf("block count %d, %v", n, ok)
		}
		if s, ok := f.Strings("tokens"); !ok || !cmp.Equal(s, []string{"a", "bc"}) {
			t.Errorf("tokens %q, %v", s, ok)
		}
		if v, _ := f.Value("nested"); v.String() != `array[2]{uint8[2]{7, 8}, string[1]{"x"}}` {
			t.Errorf("nested: %v", v)
		}
		if l, ok := f.Ints("flags"); !ok || !cmp.Equal(l, []int64{1, 0}) {
			t.Errorf("flags %v, %v", l, ok)
		}
		two := f.Tensor("two")
		if two == nil || two.Type != gguf.Q8_0 || two.Size != 34 || two.Rows() != 1 || two.RowSize() != 34 || two.Elements() != 32 {
			t.Fatalf("tensor two: %+v", two)
		}
		b, err := io.ReadAll(f.Reader(two))
		if err != nil || len(b) != 34 || b[0] != 32 {
			t.Errorf("data of two: %v, %v", b, err)
		}
		if f.Data(two) != nil {
			t.Error("Parse maps no data, but Data gives some")
		}
	}
}

func TestParseRefuses(t *testing.T) {
	one := func() raw { return begin(3, 0, 1) }
	tensors := func(n uint64) raw { return begin(3, n, 0) }
	for _, c := range []struct {
		name string
		file raw
		want string
	}{
		{"empty", nil, "the file has 0 bytes"},
		{"other format", raw("PK\x03\x04 and more"), `the first bytes are "PK\x03\x04"`},
		{"magic only", raw("GGUF"), "needs 4 more bytes, the file ends after 0"},
		{"version 0", begin(0, 0, 0), "version 0 is not supported"},
		{"version 1", begin(1, 0, 0), "version 1 is not supported"},
		{"version 4", begin(4, 0, 0), "newer version of this program"},
		{"big endian", begin(3<<24, 0, 0), "big endian"},
		{"many tensors", begin(3, math.MaxUint64, 0), "18446744073709551615 tensors, the limit is 262144"},
		{"negative keys", begin(3, 0, 1<<63), "9223372036854775808 metadata keys, the limit is 65536"},
		{"fewer keys than said", begin(3, 0, 2).key("a", gguf.KindUint8).u8(1), "key number 2"},
		{"empty key", one().key("", gguf.KindUint8).u8(1), "the name is empty"},
		{"long key", one().str(strings.Repeat("k", 65536)), "65536 bytes long, the limit is 65535"},
		{"key length", one().u64(math.MaxUint64), "18446744073709551615 bytes long"},
		{"key not UTF-8", one().key("\xff\xfe", gguf.KindUint8).u8(1), "not UTF-8"},
		{"same key", begin(3, 0, 2).key("a", gguf.KindUint8).u8(1).key("a", gguf.KindUint8).u8(1), `key "a" (byte 38): the key appears twice`},
		{"kind 13", one().key("a", 13).u64(0), "value kind 13 does not exist"},
		{"kind -1", one().key("a", math.MaxUint32).u64(0), "value kind 4294967295 does not exist"},
		{"bool 2", one().key("a", gguf.KindBool).u8(2), "a bool is the byte 2"},
		{"bool in array", one().key("a", gguf.KindArray).array(gguf.KindBool, 2).u8(1).u8(255), "a bool is the byte 255"},
		{"string length", one().key("a", gguf.KindString).u64(1 << 40), "the limit is 67108864"},
		{"string beyond end", one().key("a", gguf.KindString).u64(9).u64(0), "needs 9 more bytes, the file ends after 8"},
		{"array kind", one().key("a", gguf.KindArray).array(99, 1).u64(0), "array element kind 99 does not exist"},
		{"array count", one().key("a", gguf.KindArray).array(gguf.KindUint8, math.MaxUint64), "18446744073709551615 elements, the limit is 67108864"},
		{"array beyond end", one().key("a", gguf.KindArray).array(gguf.KindUint64, 1<<26).u64(0), "needs 536870912 more bytes"},
		{"strings beyond end", one().key("a", gguf.KindArray).array(gguf.KindString, 1000).u64(0), "needs 8000 more bytes"},
		{"arrays beyond end", one().key("a", gguf.KindArray).array(gguf.KindArray, 10).u64(0), "needs 120 more bytes"},
		{"deep array", one().key("a", gguf.KindArray).array(gguf.KindArray, 1).array(gguf.KindArray, 1).array(gguf.KindArray, 1).array(gguf.KindArray, 1).array(gguf.KindUint8, 0), "nested more than 4 deep"},
		{"alignment 0", one().key("general.alignment", gguf.KindUint32).u32(0), "must be a power of two"},
		{"alignment 24", one().key("general.alignment", gguf.KindUint32).u32(24), "is 24, must be a power of two"},
		{"alignment 4", one().key("general.alignment", gguf.KindUint32).u32(4), "must be a power of two from 8"},
		{"alignment huge", one().key("general.alignment", gguf.KindUint32).u32(1 << 31), "must be a power of two"},
		{"alignment kind", one().key("general.alignment", gguf.KindString).str("32"), "is string, must be uint32"},
		{"empty tensor name", tensors(1).tensor("", gguf.F32, 0, 1).data(4), "the name is empty"},
		{"long tensor name", tensors(1).tensor(strings.Repeat("n", 257), gguf.F32, 0, 1).data(4), "the limit is 256"},
		{"same tensor", tensors(2).tensor("t", gguf.F32, 0, 1).tensor("t", gguf.F32, 32, 1).data(64), "the tensor appears twice"},
		{"five dimensions", tensors(1).tensor("t", gguf.F32, 0, 1, 1, 1, 1, 1).data(4), "has 5 dimensions"},
		{"negative dimension", tensors(1).tensor("t", gguf.F32, 0, math.MaxUint64).data(4), "has a dimension of 18446744073709551615"},
		{"dimension 0", tensors(1).tensor("t", gguf.F32, 0, 4, 0).data(4), "must be positive"},
		{"elements overflow", tensors(1).tensor("t", gguf.F32, 0, math.MaxInt, math.MaxInt).data(4), "too many elements"},
		{"bytes overflow", tensors(1).tensor("t", gguf.F32, 0, math.MaxInt).data(4), "too many bytes"},
		{"elements of an unknown type", tensors(1).tensor("t", 77, 0, math.MaxInt, 3).data(4), "too many elements"},
		{"row and block", tensors(1).tensor("t", gguf.Q4_0, 0, 48).data(64), "rows of 48 elements, which Q4_0 (blocks of 32) does not divide"},
		{"rows and block", tensors(1).tensor("t", gguf.Q4_K, 0, 128, 2).data(144), "which Q4_K (blocks of 256) does not divide"},
		{"offset not aligned", tensors(1).tensor("t", gguf.F32, 4, 1).data(64), "not a multiple of the alignment 32"},
		{"offset beyond end", tensors(1).tensor("t", gguf.F32, 1<<32, 1).data(64), "the whole file has"},
		{"offset overflow", tensors(1).tensor("t", gguf.F32, math.MaxUint64-31, 1).data(64), "the whole file has"},
		{"data cut", tensors(1).tensor("t", gguf.F32, 0, 16).data(63), "its data ends at byte 128, the file has 127"},
		{"data missing", tensors(1).tensor("t", gguf.F32, 0, 4), "its data ends at byte 80, the file has 57"},
		{"shared bytes", tensors(2).tensor("t", gguf.F32, 0, 16).tensor("u", gguf.F32, 32, 8).data(64), `tensor "u": its data shares bytes with the tensor "t"`},
		{"same place", tensors(2).tensor("t", 77, 0, 1).tensor("u", gguf.F32, 0, 8).data(64), "shares bytes"},
	} {
		_, err := gguf.Parse(bytes.NewReader(c.file), int64(len(c.file)))
		var pe *gguf.ParseError
		if !errors.As(err, &pe) {
			t.Errorf("%s: got %v, want a ParseError", c.name, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %q in it", c.name, err, c.want)
		}
		if pe.Hint == "" || pe.Where == "" {
			t.Errorf("%s: the error does not say where or what to do: %v", c.name, err)
		}
	}
}

// TestTruncatedEverywhere cuts a valid file at each byte: every shorter file
// is refused, by an error and not by a panic.
func TestTruncatedEverywhere(t *testing.T) {
	whole := smallFile(3)
	for n := range len(whole) {
		if _, err := gguf.Parse(bytes.NewReader(whole[:n]), int64(n)); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for a whole file", n, len(whole))
		}
	}
}

// TestChangedEverywhere sets each byte of a valid file to extreme values; the
// result may be valid or not, but nothing may panic.
func TestChangedEverywhere(t *testing.T) {
	for i := range smallFile(3) {
		for _, x := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			b := smallFile(3)
			b[i] = x
			if f, err := gguf.Parse(bytes.NewReader(b), int64(len(b))); err == nil {
				useAll(t, f)
			}
		}
	}
}

// TestHostileLengthsAllocateLittle gives headers that promise much to a
// reader that claims a terabyte and holds next to nothing.
func TestHostileLengthsAllocateLittle(t *testing.T) {
	for _, b := range []raw{
		begin(3, 1<<18, 1<<16),
		begin(3, 0, 1).key("a", gguf.KindString).u64(64 << 20),
		begin(3, 0, 1).key("a", gguf.KindArray).array(gguf.KindString, 1<<26),
		begin(3, 0, 1).key("a", gguf.KindArray).array(gguf.KindUint32, 1<<26),
		begin(3, 0, 1).key("a", gguf.KindArray).array(gguf.KindArray, 1<<25),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := gguf.Parse(bytes.NewReader(b), 1<<40)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%v: %d bytes allocated for a file of %d", err, got, len(b))
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want an unexpected end", err)
		}
	}
}

func TestErrNotGGUF(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	must(t, os.WriteFile(path, []byte("something else"), 0o600))
	_, err := gguf.Open(path)
	if !errors.Is(err, gguf.ErrNotGGUF) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if _, err := gguf.Open(filepath.Dir(path)); err == nil {
		t.Error("opened a folder")
	}
	if _, err := gguf.Open(path + ".no"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := gguf.OpenParts(); err == nil {
		t.Error("opened nothing")
	}
}

func TestUnsupportedTypes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	file := begin(3, 3, 0).tensor("plain", gguf.F32, 0, 8).tensor("odd", 39, 32, 32, 2).tensor("future", 77, 96, 5, 5).data(128)
	must(t, os.WriteFile(path, file, 0o600))
	_, err := gguf.Open(path)
	if !errors.Is(err, gguf.ErrUnsupportedType) || !strings.Contains(err.Error(), `tensor "odd": its type MXFP4 is not supported`) {
		t.Errorf("Open: %v", err)
	}
	f, err := gguf.Inspect(path)
	must(t, err)
	defer f.Close()
	if x := f.Tensor("odd"); x.Size != 34 || x.RowSize() != 17 || x.Type.String() != "MXFP4" {
		t.Errorf("odd: %+v", x)
	}
	if x := f.Tensor("future"); x.Size != 0 || x.Type.String() != "type 77" {
		t.Errorf("future: %+v", x)
	}
	useAll(t, f)
}

// useAll calls every accessor on everything in f.
func useAll(t testing.TB, f *gguf.File) {
	t.Helper()
	for _, key := range f.Keys() {
		v, ok := f.Value(key)
		if !ok || v.Kind() > gguf.KindFloat64 {
			t.Fatalf("key %q: %v %v", key, v, ok)
		}
		_ = v.String()
		f.String(key)
		f.Uint(key)
		f.Int(key)
		f.Float(key)
		f.Bool(key)
		f.Strings(key)
		f.Ints(key)
		f.Floats(key)
		n := 0
		for range v.All() {
			n++
		}
		if n != v.Len() {
			t.Fatalf("key %q: All gives %d of %d elements", key, n, v.Len())
		}
	}
	for _, x := range f.Tensors() {
		if f.Tensor(x.Name) != x || len(x.Shape) == 0 || len(x.Shape) > 4 || x.Offset < 0 || x.Size < 0 {
			t.Fatalf("tensor %+v", x)
		}
		if e, b := x.Type.Block(); e > 0 && int64(x.Elements()/e*b) != x.Size {
			t.Fatalf("tensor %+v has %d elements", x, x.Elements())
		}
		n, err := io.Copy(io.Discard, f.Reader(x))
		if err != nil || n != x.Size {
			t.Fatalf("tensor %s: %d bytes, %v", x.Name, n, err)
		}
	}
}

// TestMappedDataEqualsFile compares Data, Reader and the file itself, before
// and after the pages are released.
func TestMappedDataEqualsFile(t *testing.T) {
	path := testdata.Shared(t, "weights", "stories260K", "stories260K-Q4_K_M.gguf")
	f, err := gguf.Open(path)
	must(t, err)
	file, err := os.ReadFile(path)
	must(t, err)
	if f.Size() != int64(len(file)) || !cmp.Equal(f.Paths(), []string{path}) {
		t.Errorf("size %d of %d, paths %v", f.Size(), len(file), f.Paths())
	}
	// The last tensor ends with its padding at the file's end.
	all := f.Tensors()
	last := all[len(all)-1]
	start := int64(len(file)) - (last.Offset+last.Size+31)&^31
	for range 2 {
		for _, x := range all {
			want := file[start+x.Offset:][:x.Size]
			got, err := io.ReadAll(f.Reader(x))
			if err != nil || !bytes.Equal(got, want) || !bytes.Equal(f.Data(x), want) {
				t.Errorf("%s differs from the file: %v", x.Name, err)
			}
			f.Release(x)
		}
	}
	name, _ := f.String("general.architecture")
	must(t, f.Close())
	must(t, f.Close())
	if f.Data(last) != nil || f.Reader(last) != nil {
		t.Error("a closed file gives data")
	}
	f.Release(last)
	if again, _ := f.String("general.architecture"); again != name || name == "" {
		t.Errorf("metadata after Close: %q", again)
	}
	other := *last
	if f.Data(&other) != nil || f.Data(nil) != nil || f.Reader(nil) != nil {
		t.Error("data for a tensor of another file")
	}
}
