package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/store"
	"github.com/google/go-cmp/cmp"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writeFile(t testing.TB, dir, name, data string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func fileOf(name, data string) store.File {
	h := sha256.Sum256([]byte(data))
	return store.File{Path: name, SHA256: hex.EncodeToString(h[:]), Size: int64(len(data))}
}

// add puts a model of one file into the store.
func add(t testing.TB, s *store.Store, name, data string) store.Model {
	t.Helper()
	m, err := s.Import(context.Background(), name, writeFile(t, t.TempDir(), "model.gguf", data), day, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func names(t testing.TB, s *store.Store) string {
	t.Helper()
	models, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range models {
		out = append(out, m.Name)
	}
	return strings.Join(out, " ")
}

// files returns what lies under a folder of the store.
func files(t testing.TB, s *store.Store, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Root(), dir))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestImportSingle(t *testing.T) {
	s := open(t)
	var last, total int64
	src := writeFile(t, t.TempDir(), "a.gguf", "hello")
	m, err := s.Import(context.Background(), "tiny", src, day.Add(time.Millisecond), func(d, n int64) { last, total = d, n })
	if err != nil {
		t.Fatal(err)
	}
	want := store.Model{Name: "tiny:latest", Source: src, Created: day, Files: []store.File{fileOf("a.gguf", "hello")}}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if last != total || total != 10 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	got, err := s.Get("TINY")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	paths, err := s.Paths(got)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(paths[0]); err != nil || string(data) != "hello" {
		t.Errorf("%q %v", data, err)
	}
	if got := files(t, s, "partial"); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
	if err := s.Verify(context.Background(), got, nil); err != nil {
		t.Error(err)
	}
}

func TestImportSplit(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	contents := []string{"part one", "part two", "part one"} // equal parts share a blob
	for i, c := range contents {
		writeFile(t, dir, "m-0000"+string(rune('1'+i))+"-of-00003.gguf", c)
	}
	m, err := s.Import(context.Background(), "u/split:x", filepath.Join(dir, "m-00002-of-00003.gguf"), day, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // made, then found
		paths, err := s.Paths(m)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil || string(data) != contents[i] {
				t.Errorf("part %d: %q %v", i, data, err)
			}
			if want := "m-0000" + string(rune('1'+i)) + "-of-00003.gguf"; filepath.Base(p) != want || filepath.Dir(p) != filepath.Dir(paths[0]) {
				t.Errorf("part %d lies at %s", i, p)
			}
		}
	}
	if n := len(files(t, s, "blobs")); n != 2 {
		t.Errorf("%d blobs, want 2", n)
	}
	if freed, err := s.Remove("u/split:X"); err != nil || freed != 16 {
		t.Errorf("freed %d, %v", freed, err)
	}
	for _, d := range []string{"blobs", "views", "manifests", "partial"} {
		if got := files(t, s, d); len(got) != 0 {
			t.Errorf("%s holds %v", d, got)
		}
	}

	os.Remove(filepath.Join(dir, "m-00003-of-00003.gguf"))
	_, err = s.Import(context.Background(), "x", filepath.Join(dir, "m-00001-of-00003.gguf"), day, nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "m-00003-of-00003.gguf") {
		t.Errorf("a part is missing: %v", err)
	}
}

func TestGet(t *testing.T) {
	s := open(t)
	for _, n := range []string{"hf.co/U/r:Q8_0", "hf.co/u/r:Q4_K_M", "u/own:x", "hf.co/u/own:x", "two:a", "two:b", "one:odd", "both:latest", "both:Q4_K_M"} {
		add(t, s, n, n)
	}
	for _, tc := range []struct{ ask, want string }{
		{"hf.co/u/r:q8_0", "hf.co/U/r:Q8_0"},
		{"huggingface.co/u/r:Q8_0", "hf.co/U/r:Q8_0"},
		{"u/r:Q8_0", "hf.co/U/r:Q8_0"},
		{"U/R", "hf.co/u/r:Q4_K_M"},
		{"u/own", "u/own:x"},
		{"u/own:x", "u/own:x"},
		{"one", "one:odd"},
		{"both", "both:latest"},
		{"two:b", "two:b"},
	} {
		if m, err := s.Get(tc.ask); err != nil || m.Name != tc.want {
			t.Errorf("Get(%q) = %q, %v; want %q", tc.ask, m.Name, err, tc.want)
		}
	}
	if _, err := s.Get("two"); err == nil || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("ambiguous: %v", err)
	}
	for _, n := range []string{"none", "u/none:x", "hf.co/u/r:F16"} {
		if _, err := s.Get(n); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get(%q): %v", n, err)
		}
	}
	if _, err := s.Get("../x"); !errors.Is(err, store.ErrName) {
		t.Error(err)
	}
	const want = "both:latest both:Q4_K_M hf.co/u/own:x hf.co/u/r:Q4_K_M hf.co/U/r:Q8_0 one:odd two:a two:b u/own:x"
	if got := names(t, s); got != want {
		t.Errorf("List: %s\nwant  %s", got, want)
	}
}

func TestSharedAndReplacedBlobs(t *testing.T) {
	s := open(t)
	add(t, s, "a", "same")
	add(t, s, "b", "same")
	if freed, err := s.Remove("a"); err != nil || freed != 0 {
		t.Errorf("removing one of two users freed %d, %v", freed, err)
	}
	m, err := s.Get("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), m, nil); err != nil {
		t.Error(err)
	}
	add(t, s, "b", "newer")
	if got, want := files(t, s, "blobs"), "sha256-"+fileOf("", "newer").SHA256; len(got) != 1 || got[0] != want {
		t.Errorf("after replacing: %v", got)
	}
	if freed, err := s.Remove("b"); err != nil || freed != 5 {
		t.Errorf("freed %d, %v", freed, err)
	}
	if _, err := s.Remove("b"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func TestStageResume(t *testing.T) {
	s, ctx := open(t), context.Background()
	const data = "0123456789"
	f := fileOf("x.gguf", data)
	g, err := s.Stage(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stage(f); !errors.Is(err, store.ErrBusy) {
		t.Errorf("second writer: %v", err)
	}
	if _, err := g.Write([]byte(data[:4])); err != nil {
		t.Fatal(err)
	}
	if err := g.SetState([]byte("etag")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(store.Model{Name: "x", Created: day, Files: []store.File{f}}, g); err == nil {
		t.Error("an unfinished file was committed")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.PartialSize(f); n != 4 {
		t.Errorf("partial size %d", n)
	}
	if g, err = s.Stage(f); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Size() != 4 || string(g.State()) != "etag" {
		t.Errorf("resumed at %d with state %q", g.Size(), g.State())
	}
	if _, err := g.Write([]byte(data[4:])); err != nil {
		t.Fatal(err)
	}
	if err := g.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	m, err := s.Commit(store.Model{Name: "x", Created: day, Files: []store.File{f}}, g)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(ctx, m, nil); err != nil {
		t.Error(err)
	}
	// While it is staged the blob stays, model or not.
	if _, err := s.Remove("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(m, g); err != nil {
		t.Error(err)
	}
}

func TestPutMismatch(t *testing.T) {
	s, ctx := open(t), context.Background()
	want := fileOf("x.gguf", "right")
	for _, tc := range []struct{ data, why string }{
		{"wrong", "sha256 is " + fileOf("", "wrong").SHA256 + ", expected " + want.SHA256},
		{"short"[:3], "size is 3 bytes, expected 5"},
		{"too long", "size is 6 bytes, expected 5"},
	} {
		_, err := s.Put(ctx, strings.NewReader(tc.data), want)
		var m *store.MismatchError
		if !errors.As(err, &m) || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%q: %v", tc.data, err)
		}
	}
	if got := files(t, s, "partial"); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
	stop, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Put(stop, strings.NewReader("right"), want); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, bad := range []store.File{{Path: "x", SHA256: "../../etc"}, {Path: "x", SHA256: hashA, Size: -1}} {
		if _, err := s.Stage(bad); err == nil {
			t.Errorf("staged %+v", bad)
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	s, ctx := open(t), context.Background()
	m := add(t, s, "x", "good")
	paths, err := s.Paths(m)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(data string) error {
		if err := os.WriteFile(paths[0], []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		return s.Verify(ctx, m, nil)
	}
	var e *store.MismatchError
	if err := damage("evil"); !errors.As(err, &e) || !errors.Is(err, store.ErrCorrupt) || e.GotHash != fileOf("", "evil").SHA256 {
		t.Error(err)
	}
	if err := damage("longer"); !errors.As(err, &e) || e.GotSize != 6 {
		t.Error(err)
	}
	if _, err := s.Paths(m); !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
	add(t, s, "x", "good") // a blob of the wrong size is replaced
	if err := s.Verify(ctx, m, nil); err != nil {
		t.Error(err)
	}
	os.Remove(paths[0])
	if err := s.Verify(ctx, m, nil); !errors.Is(err, store.ErrCorrupt) {
		t.Error(err)
	}
	if _, err := s.Remove("x"); err != nil {
		t.Error(err)
	}
}

func TestPrune(t *testing.T) {
	s := open(t)
	add(t, s, "keep", "keep")
	writeFile(t, filepath.Join(s.Root(), "blobs"), "sha256-"+hashA, "orphan")
	writeFile(t, filepath.Join(s.Root(), "blobs"), "README", "not ours")
	writeFile(t, filepath.Join(s.Root(), "partial"), "sha256-"+hashB+".partial", "half")
	writeFile(t, filepath.Join(s.Root(), "partial"), "sha256-"+hashB+".state", "{}")
	writeFile(t, filepath.Join(s.Root(), "partial"), "sha256-"+hashB+".state.tmp", "{")
	writeFile(t, filepath.Join(s.Root(), "manifests"), "x@latest.json.tmp", "{")
	os.Mkdir(filepath.Join(s.Root(), "views", "old"), 0o755)
	writeFile(t, filepath.Join(s.Root(), "views", "old"), "m.gguf", "x")
	held := fileOf("h", "held back")
	g, err := s.Stage(held)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	p, err := s.Prune()
	if err != nil {
		t.Fatal(err)
	}
	if want := (store.Pruned{Blobs: 1, Partials: 1, Bytes: 10}); p != want {
		t.Errorf("pruned %+v, want %+v", p, want)
	}
	if got := strings.Join(files(t, s, "blobs"), " "); got != "README sha256-"+fileOf("", "keep").SHA256 {
		t.Errorf("blobs: %s", got)
	}
	if n := s.PartialSize(held); n != 4 {
		t.Errorf("a partial being written shrank to %d bytes", n)
	}
	if d := cmp.Diff([]string{"keep@latest.json"}, files(t, s, "manifests")); d != "" {
		t.Error(d)
	}
	if got := files(t, s, "views"); len(got) != 0 {
		t.Errorf("views: %v", got)
	}
}

func TestDamagedManifest(t *testing.T) {
	s := open(t)
	add(t, s, "good", "good")
	add(t, s, "bad", "bad")
	path := filepath.Join(s.Root(), "manifests", "bad@latest.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range [][]byte{nil, data[:len(data)/2], bytes.Replace(data, []byte(`"bad:latest"`), []byte(`"other:latest"`), 1)} {
		if err := os.WriteFile(path, d, 0o644); err != nil {
			t.Fatal(err)
		}
		models, err := s.List()
		if len(models) != 1 || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("List: %v, %v", models, err)
		}
		if _, err := s.Get("bad"); !errors.Is(err, store.ErrCorrupt) {
			t.Error(err)
		}
		if _, err := s.Prune(); !errors.Is(err, store.ErrCorrupt) || len(files(t, s, "blobs")) != 2 {
			t.Errorf("pruned beside a manifest that cannot be read: %v", err)
		}
	}
	if _, err := s.Remove("bad"); err != nil {
		t.Error(err)
	}
	if p, err := s.Prune(); err != nil || p.Blobs != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestImportRefuses(t *testing.T) {
	s, ctx := open(t), context.Background()
	if _, err := s.Import(ctx, "../x", "f", day, nil); !errors.Is(err, store.ErrName) {
		t.Error(err)
	}
	if _, err := s.Import(ctx, "x", filepath.Join(t.TempDir(), "none"), day, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := s.Import(ctx, "x", t.TempDir(), day, nil); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Error(err)
	}
	stop, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Import(stop, "x", writeFile(t, t.TempDir(), "f", "data"), day, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := store.Open(""); err == nil {
		t.Error("opened a store without a root")
	}
	if _, err := s.Commit(store.Model{Name: "x", Created: day, Files: []store.File{fileOf("f", "absent")}}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
