package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/store/errfs"
)

// checkWhole holds what must be true of a store after any crash: every
// manifest can be read and every model's files are right, and after Prune
// exactly the referenced blobs are there.
func checkWhole(t *testing.T, s *store.Store) {
	t.Helper()
	if _, err := s.Prune(); err != nil {
		t.Fatal(err)
	}
	models, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range models {
		if err := s.Verify(context.Background(), m, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Paths(m); err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Files {
			used["sha256-"+f.SHA256] = true
		}
	}
	for _, b := range files(t, s, "blobs") {
		if !used[b] {
			t.Fatalf("blob %s is left over", b)
		}
	}
	if got := files(t, s, "partial"); len(got) != 0 {
		t.Fatalf("partial files are left over: %v", got)
	}
}

// TestFaultEverywhere makes every single operation of a history fail, once as
// an error and once as a power cut.
func TestFaultEverywhere(t *testing.T) {
	dir := t.TempDir()
	one := writeFile(t, dir, "one.gguf", "the first model")
	two := writeFile(t, dir, "two.gguf", "the second model, somewhat longer")
	writeFile(t, dir, "s-00001-of-00002.gguf", "the first model")
	split := writeFile(t, dir, "s-00002-of-00002.gguf", "tail")
	ctx := context.Background()

	history := func(s *store.Store) error {
		if _, err := s.Import(ctx, "m", one, day, nil); err != nil {
			return err
		}
		if _, err := s.Import(ctx, "m", two, day, nil); err != nil { // replaces it
			return err
		}
		m, err := s.Import(ctx, "s", split, day, nil)
		if err != nil {
			return err
		}
		if _, err := s.Paths(m); err != nil {
			return err
		}
		_, err = s.Remove("m")
		return err
	}
	// What may be found under the name m: nothing, or one of its two versions.
	versions := map[string]bool{"": true, fileOf("", "the first model").SHA256: true, fileOf("", "the second model, somewhat longer").SHA256: true}

	for _, crash := range []bool{false, true} {
		for n := 1; ; n++ {
			root := filepath.Join(t.TempDir(), "store")
			fsys := &errfs.FS{FailAt: n, Crash: crash}
			err := func() error {
				s, err := store.OpenFS(root, fsys)
				if err != nil {
					return err
				}
				return history(s)
			}()
			if err != nil && !errors.Is(err, errfs.ErrInjected) {
				t.Fatalf("operation %d, crash %v: unexpected error %v", n, crash, err)
			}
			again, err2 := store.OpenFS(root, &errfs.FS{})
			if err2 != nil {
				t.Fatal(err2)
			}
			sha := ""
			if m, err := again.Get("m"); err == nil {
				sha = m.Files[0].SHA256
			} else if !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("operation %d, crash %v: %v", n, crash, err)
			}
			if !versions[sha] {
				t.Fatalf("operation %d, crash %v: an unknown version of m", n, crash)
			}
			checkWhole(t, again)
			// Whatever happened, the same work then succeeds.
			if n%4 == 0 {
				if err := history(again); err != nil {
					t.Fatalf("operation %d, crash %v: the history cannot be repeated: %v", n, crash, err)
				}
				checkWhole(t, again)
			}
			if fsys.Count() < n {
				if n < 50 {
					t.Fatalf("the history has only %d operations; are they counted?", n)
				}
				break
			}
		}
	}
}

// TestReadOnly reads a store that cannot be changed.
func TestReadOnly(t *testing.T) {
	s := open(t)
	add(t, s, "m", "data")
	broken, err := store.OpenFS(s.Root(), &errfs.FS{FailAt: 1, Crash: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := broken.Get("m")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.Paths(m); err != nil {
		t.Error(err)
	}
	if got := names(t, broken); got != "m:latest" {
		t.Error(got)
	}
}

// TestPowerCutLosesUnsynced checks the checker: bytes that were not synced are
// lost by errfs.
func TestPowerCutLosesUnsynced(t *testing.T) {
	fsys := &errfs.FS{FailAt: 5, Crash: true}
	name := filepath.Join(t.TempDir(), "f")
	h, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err1 := h.Write([]byte("kept"))
	err2 := h.Sync()
	_, err3 := h.Write([]byte("lost"))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Write([]byte("x")); !errors.Is(err, errfs.ErrInjected) {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != "kept" {
		t.Errorf("%q, %v", data, err)
	}
	if got := fmt.Sprint(fsys.Count()); got != "5" {
		t.Errorf("%s operations", got)
	}
}
