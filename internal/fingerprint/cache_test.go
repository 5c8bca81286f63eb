package fingerprint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// cached is a model's file, older than its record in a cache.
type cached struct {
	t     *testing.T
	path  string
	model model
	cache fingerprint.Cache
	root  canon.Hash
}

func newCached(t *testing.T) *cached {
	c := &cached{t: t, path: filepath.Join(t.TempDir(), "m.gguf"), model: small(t), cache: fingerprint.Cache{Dir: filepath.Join(t.TempDir(), "new", "cache")}}
	c.write(c.model, time.Hour)
	f := c.open()
	if _, ok := c.cache.Load(t.Context(), f, 1); ok {
		t.Fatal("an empty cache knows the file")
	}
	tree, err := fingerprint.Of(t.Context(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	c.root = tree.Root()
	if err := c.cache.Save(tree); err != nil {
		t.Fatal(err)
	}
	return c
}

// write replaces the bytes of the file, which then is of this age.
func (c *cached) write(m model, age time.Duration) {
	c.t.Helper()
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(m.bytes(c.t))
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		old := time.Now().Add(-age).Truncate(time.Hour)
		err = os.Chtimes(c.path, old, old)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cached) open() *gguf.File {
	c.t.Helper()
	f, err := gguf.Open(c.path)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { f.Close() })
	return f
}

// record is the one file in the cache.
func (c *cached) record() string {
	c.t.Helper()
	entries, err := os.ReadDir(c.cache.Dir)
	if err != nil || len(entries) != 1 {
		c.t.Fatalf("%d files in the cache, %v", len(entries), err)
	}
	return filepath.Join(c.cache.Dir, entries[0].Name())
}

func TestCache(t *testing.T) {
	c := newCached(t)
	if st, err := os.Stat(c.record()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the record: %v, %v", st.Mode(), err)
	}
	tree, ok := c.cache.Load(t.Context(), c.open(), 2)
	if !ok || tree.Root() != c.root {
		t.Fatal("the cache does not know the file")
	}
	// It proves as well as one that has read everything.
	f := facts(t, tree, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "token_embd.weight", From: 1, To: 3}, {Tensor: "blk.10.ffn_down.weight", From: 0, To: 1}}})
	if _, ok := f.Tile("token_embd.weight", 2); !ok {
		t.Error("no tile")
	}
	if _, ok := f.Tile("blk.10.ffn_down.weight", 0); !ok {
		t.Error("no tile")
	}
	if err := c.cache.Save(tree); err != nil {
		t.Error(err)
	}
}

func TestCacheMisses(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(c *cached)
	}{
		{"a later time", func(c *cached) { c.write(c.model, 0); c.touch(c.path, -time.Minute) }},
		{"another size", func(c *cached) {
			c.model.pairs[1].value = gguf.ValueOf(strings.Repeat("x", 100))
			c.write(c.model, time.Hour)
		}},
		{"another file of this name", func(c *cached) {
			b, err := os.ReadFile(c.path)
			if err == nil {
				err = os.Rename(c.path, c.path+".old")
			}
			if err == nil {
				err = os.WriteFile(c.path, b, 0o600)
			}
			if err != nil {
				c.t.Fatal(err)
			}
			old := time.Now().Add(-time.Hour).Truncate(time.Hour)
			if err := os.Chtimes(c.path, old, old); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"a change of metadata behind the clock's back", func(c *cached) {
			c.model.pairs[1].value = gguf.ValueOf("smaLL")
			c.write(c.model, time.Hour)
		}},
		{"a change of a norm behind the clock's back", func(c *cached) {
			c.model.weights[0].data[11] ^= 1
			c.write(c.model, time.Hour)
		}},
		{"a record as old as the file", func(c *cached) {
			st, err := os.Stat(c.path)
			if err != nil {
				c.t.Fatal(err)
			}
			if err := os.Chtimes(c.record(), st.ModTime(), st.ModTime().Add(time.Second)); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"a record that is cut", func(c *cached) { c.damage(func(b []byte) []byte { return b[:len(b)-1] }) }},
		{"an empty record", func(c *cached) { c.damage(func([]byte) []byte { return nil }) }},
		{"a record with another root", func(c *cached) { c.damage(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) }},
		{"a record with another data root", func(c *cached) { c.damage(func(b []byte) []byte { b[len(b)-35-40] ^= 1; return b }) }},
		{"a record of no file", func(c *cached) { c.damage(func([]byte) []byte { return []byte{0xa0} }) }},
		{"a record that is too long", func(c *cached) { c.damage(func([]byte) []byte { return make([]byte, 33<<20) }) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCached(t)
			x.change(c)
			if tree, ok := c.cache.Load(t.Context(), c.open(), 1); ok {
				t.Errorf("the cache knows it: %s", tree.Root())
			}
		})
	}
	// Parse reads from no file that could be told from others.
	c := newCached(t)
	if _, ok := c.cache.Load(t.Context(), c.model.parse(t), 1); ok {
		t.Error("the cache knows what is no file")
	}
	if err := c.cache.Save(c.model.tree(t)); err == nil {
		t.Error("what is no file is saved")
	}
}

func (c *cached) touch(path string, age time.Duration) {
	c.t.Helper()
	if at := time.Now().Add(age); os.Chtimes(path, at, at) != nil {
		c.t.Fatal("no times")
	}
}

func (c *cached) damage(change func([]byte) []byte) {
	c.t.Helper()
	b, err := os.ReadFile(c.record())
	if err == nil {
		err = os.WriteFile(c.record(), change(b), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestCacheIsNotProof: a record may hide a change of a large tensor, made
// with the times of before; a proof of it is still not given.
func TestCacheIsNotProof(t *testing.T) {
	c := newCached(t)
	c.model.weights[3].data[0] ^= 1
	c.write(c.model, time.Hour)
	tree, ok := c.cache.Load(t.Context(), c.open(), 1)
	if !ok {
		t.Skip("the change shows, as inode or size")
	}
	_, err := tree.Prove(t.Context(), fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: c.model.weights[3].name, From: 1, To: 2}}})
	if err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("a proof of a file that changed: %v", err)
	}
}

// TestChangedAfterwards: a file that changes under a fingerprint gives no
// proofs of other tiles.
func TestChangedAfterwards(t *testing.T) {
	c := newCached(t)
	f := c.open()
	tree, err := fingerprint.Of(t.Context(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	c.model.weights[3].data[0] ^= 1
	c.write(c.model, time.Hour)
	ask := func(from int) error {
		_, err := tree.Prove(t.Context(), fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: c.model.weights[3].name, From: from, To: from + 1}}})
		return err
	}
	if err := ask(0); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("a proof of a tile that changed: %v", err)
	}
	if err := ask(1); err != nil {
		t.Errorf("a proof of a tile that did not: %v", err)
	}
	if err := c.cache.Save(tree); err != nil && !strings.Contains(err.Error(), "changed") {
		t.Error(err)
	}
	c.write(c.model, 3*time.Hour)
	if err := c.cache.Save(tree); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("the fingerprint of a file that changed is saved: %v", err)
	}
}
