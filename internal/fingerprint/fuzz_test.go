package fingerprint_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// FuzzDecode reads any bytes as a proof: they are refused, or encode to the
// same bytes again, and what they show of the model that they lead to can be
// asked for.
func FuzzDecode(f *testing.F) {
	tree := small(f).tree(f)
	for _, r := range []fingerprint.Request{
		{},
		{KeyPrefixes: []string{"llama."}},
		{Keys: []string{"general.name"}, Tensors: []string{"output.weight"}},
		{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: 299, To: 300}}},
		{Tiles: []fingerprint.Tiles{{Tensor: "token_embd.weight", From: 6, To: 7}}},
	} {
		p, err := tree.Prove(f.Context(), r)
		if err != nil {
			f.Fatal(err)
		}
		b, err := p.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := fingerprint.Decode(b)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
		if _, err := p.Verify(canon.Hash{}); err == nil {
			t.Fatal("belongs to the model of zeros")
		}
		root, err := p.ClaimedRoot()
		if err != nil {
			return
		}
		facts, err := p.Verify(root)
		if err != nil {
			if !errors.Is(err, fingerprint.ErrProof) {
				t.Fatal(err)
			}
			return
		}
		for _, key := range append(facts.Keys(), "", "a", "llama.x", "\xff") {
			facts.Value(key)
			if n, _, ok := facts.Len(key); ok && n > 0 {
				facts.Elements(key, n-1, n)
			}
			facts.HasKeys(key)
		}
		for _, x := range facts.Tensors() {
			facts.Tile(x.Name, 0)
			facts.HasTensors(x.Name)
		}
		_ = facts.Err()
	})
}

// FuzzMetaEntry reads any bytes as a metadata entry. One that is accepted and
// short is that of the file that has its value.
func FuzzMetaEntry(f *testing.F) {
	for _, p := range small(f).pairs {
		f.Add(twinMeta(p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := forged{meta: [][]byte{b}}
		facts, err := verify(encode(t, wire{Meta: sideOf(x.meta, [2]int{0, 1}), Tensors: sideOf(nil)}), x.root())
		if err != nil {
			return
		}
		key := facts.Keys()[0]
		v, ok := facts.Value(key)
		if !ok {
			if facts.Err() == nil {
				t.Fatal("neither there nor open")
			}
			return
		}
		if m := (model{pairs: []pair{{key, v}}}); m.tree(t).Root() != x.root() {
			t.Fatalf("%x: a file with this value has another root", b)
		}
	})
}

// FuzzTensorEntry reads any bytes as a tensor entry.
func FuzzTensorEntry(f *testing.F) {
	for _, w := range small(f).weights {
		f.Add(twinTensor(w))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := forged{tensors: [][]byte{b}}
		facts, err := verify(encode(t, wire{Meta: sideOf(nil), Tensors: sideOf(x.tensors, [2]int{0, 1})}), x.root())
		if err != nil {
			return
		}
		info := facts.Tensors()[0]
		tiling, err := fingerprint.TilingOf(info.Type, info.Shape)
		if err != nil || tiling.Size() != info.Size || info.Size < 1 {
			t.Fatalf("%+v: %+v, %v", info, tiling, err)
		}
		n := tiling.Tiles()
		if offset, size := tiling.Range(0, 1); offset != 0 || size > 8192 {
			t.Fatalf("the first tile has %d bytes at %d", size, offset)
		}
		if last := tiling.Tile(n - 1); last.Offset+int64(last.Size) != info.Size || tiling.At(tiling.Rows-1, tiling.Cols-1) != n-1 {
			t.Fatalf("the last tile ends at %d of %d bytes", last.Offset+int64(last.Size), info.Size)
		}
	})
}

// FuzzCut divides any bytes into pieces; they are the bytes again, and an
// array of them is one that package gguf takes, or refuses as a whole.
func FuzzCut(f *testing.F) {
	for _, p := range small(f).pairs {
		v := p.value
		f.Add(uint32(v.Kind()), uint32(v.Elem()), uint64(v.Len()), uint64(len(v.Raw())), 0, []byte(v.Raw()))
	}
	f.Fuzz(func(t *testing.T, kind, elem uint32, count, size uint64, from int, b []byte) {
		if from < 0 || count > 1<<26 || size > 1<<29 {
			return
		}
		pieces, err := fingerprint.Cut(gguf.Kind(kind), gguf.Kind(elem), count, size, from, b)
		if err == nil && !bytes.Equal(bytes.Join(pieces, nil), b) {
			t.Fatal("pieces are not the bytes")
		}
		if v, err2 := gguf.ValueFromRaw(gguf.KindArray, gguf.Kind(elem), int(count), string(b)); err2 == nil && kind == uint32(gguf.KindArray) && from == 0 {
			if err != nil || len(pieces) != (v.Len()+63)/64 {
				t.Fatalf("%v: %d pieces, %v", v, len(pieces), err)
			}
		}
	})
}

// FuzzRecord reads any bytes as the record of a cache.
func FuzzRecord(f *testing.F) {
	dir, path := f.TempDir(), filepath.Join(f.TempDir(), "m.gguf")
	old := time.Now().Add(-time.Hour)
	err := os.WriteFile(path, small(f).bytes(f), 0o600)
	if err == nil {
		err = os.Chtimes(path, old, old)
	}
	if err != nil {
		f.Fatal(err)
	}
	file, err := gguf.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	tree, err := fingerprint.Of(f.Context(), file, 1)
	if err != nil {
		f.Fatal(err)
	}
	cache := fingerprint.Cache{Dir: dir}
	if err := cache.Save(tree); err != nil {
		f.Fatal(err)
	}
	records, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(records) != 1 {
		f.Fatal(records, err)
	}
	b, err := os.ReadFile(records[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(records[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := cache.Load(t.Context(), file, 1); ok && got.Root() != tree.Root() {
			// Whoever writes records can do this; chance cannot.
			t.Fatalf("a record of %x", got.Root())
		}
	})
}
