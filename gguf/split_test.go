package gguf_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/google/go-cmp/cmp"
)

// splitPart is one part of a split model, as the tool of llama.cpp writes
// them: the metadata in the first part, the split keys in all.
func splitPart(t *testing.T, no, count, total int, tensors ...string) []byte {
	t.Helper()
	var meta []keyValue
	if no == 0 {
		meta = append(meta, keyValue{"general.architecture", gguf.ValueOf("llama")})
	}
	meta = append(
		meta,
		keyValue{"split.no", gguf.ValueOf(uint16(no))},
		keyValue{"split.count", gguf.ValueOf(uint16(count))},
		keyValue{"split.tensors.count", gguf.ValueOf(int32(total))},
	)
	data := map[string][]byte{}
	return write(t, meta, data, func(w *gguf.Writer) {
		for _, name := range tensors {
			data[name] = bytes.Repeat([]byte(name)[:1], 12)
			must(t, w.Declare(name, gguf.F32, 3))
		}
	})
}

// splitDir writes parts under their usual names.
func splitDir(t *testing.T, parts ...[]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i, b := range parts {
		must(t, os.WriteFile(filepath.Join(dir, gguf.SplitName("m", i, len(parts))), b, 0o600))
	}
	return dir
}

func TestOpenSplit(t *testing.T) {
	parts := [][]byte{splitPart(t, 0, 3, 3), splitPart(t, 1, 3, 3, "a", "b"), splitPart(t, 2, 3, 3, "c")}
	dir := splitDir(t, parts...)
	var size int64
	for _, p := range parts {
		size += int64(len(p))
	}
	check := func(f *gguf.File, err error) {
		t.Helper()
		must(t, err)
		defer f.Close()
		if s, _ := f.String("general.architecture"); s != "llama" {
			t.Errorf("architecture %q", s)
		}
		var names []string
		for _, x := range f.Tensors() {
			names = append(names, x.Name)
			if want := strings.Repeat(x.Name, 12); string(f.Data(x)) != want {
				t.Errorf("%s: %q", x.Name, f.Data(x))
			}
		}
		if !cmp.Equal(names, []string{"a", "b", "c"}) || f.Size() != size || len(f.Paths()) != 3 {
			t.Errorf("tensors %v, size %d of %d, paths %v", names, f.Size(), size, f.Paths())
		}
	}
	for i := range parts {
		f, err := gguf.Open(filepath.Join(dir, fmt.Sprintf("m-%05d-of-00003.gguf", i+1)))
		check(f, err)
	}
	// The parts under names of a content-addressed store.
	var blobs []string
	for i, p := range parts {
		blobs = append(blobs, filepath.Join(dir, fmt.Sprintf("blob%d", i)))
		must(t, os.WriteFile(blobs[i], p, 0o600))
	}
	f, err := gguf.OpenParts(blobs...)
	check(f, err)
	if f := parseBytes(t, parts[1]); len(f.Tensors()) != 2 {
		t.Errorf("Parse of one part: %d tensors", len(f.Tensors()))
	}
}

func TestOpenSplitRefuses(t *testing.T) {
	a, b := splitPart(t, 0, 2, 2, "a"), splitPart(t, 1, 2, 2, "b")
	bad := func(count, no gguf.Value) []byte {
		return write(t, []keyValue{{"split.count", count}, {"split.no", no}}, nil, nil)
	}
	for _, c := range []struct {
		name string
		dir  string
		want string
	}{
		{"swapped", splitDir(t, b, a), "the file is part 2 of 2"},
		{"the first twice", splitDir(t, a, a), "says it is part 1 of 2, but stands in place 2 of 2"},
		{"another count", splitDir(t, a, splitPart(t, 1, 3, 2, "b")), "says it is part 2 of 3"},
		{"not split", splitDir(t, a, write(t, nil, nil, nil)), "says it is part 1 of 1"},
		{"same tensor", splitDir(t, a, splitPart(t, 1, 2, 2, "a")), "an earlier part has a tensor of this name"},
		{"total", splitDir(t, a, splitPart(t, 1, 2, 2, "b", "c")), "is 2, but the 2 parts have 3 tensors"},
		{"broken", splitDir(t, a, b[:40]), "incomplete"},
		{"count kind", splitDir(t, bad(gguf.ValueOf("2"), gguf.ValueOf(uint16(0))), b), `is "2", must be an integer`},
		{"count negative", splitDir(t, bad(gguf.ValueOf(int32(-1)), gguf.ValueOf(uint16(0))), b), "is -1, must be an integer"},
		{"count huge", splitDir(t, bad(gguf.ValueOf(uint16(60000)), gguf.ValueOf(uint16(0))), b), "from 0 to 512"},
		{"no beyond", splitDir(t, bad(gguf.ValueOf(uint16(2)), gguf.ValueOf(uint16(2))), b), "must be an integer below split.count = 2"},
		{"no without number", splitDir(t, bad(gguf.ValueOf(uint16(2)), gguf.ValueOf(true)), b), "must be an integer below"},
	} {
		_, err := gguf.Open(filepath.Join(c.dir, gguf.SplitName("m", 0, 2)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
	dir := splitDir(t, a, b)
	must(t, os.Remove(filepath.Join(dir, gguf.SplitName("m", 1, 2))))
	_, err := gguf.Open(filepath.Join(dir, gguf.SplitName("m", 0, 2)))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "part 2 of 2 is missing: there is no m-00002-of-00002.gguf") {
		t.Error(err)
	}
	_, err = gguf.OpenParts(filepath.Join(dir, gguf.SplitName("m", 0, 2)))
	if err == nil {
		t.Error("opened one part of two")
	}
}

func TestSplitCountOne(t *testing.T) {
	dir := splitDir(t, splitPart(t, 0, 1, 1, "a"))
	f, err := gguf.Open(filepath.Join(dir, gguf.SplitName("m", 0, 1)))
	must(t, err)
	must(t, f.Close())
}
