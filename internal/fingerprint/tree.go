package fingerprint

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// Tree is the fingerprint of an open file, with what proofs are made of. Its
// methods may be called from several goroutines. Proofs of tiles read the
// file, which must then still be open.
type Tree struct {
	root    canon.Hash
	file    *gguf.File
	threads int
	meta    []leaf // by key
	tensors []leaf // by name
	values  []gguf.Value
	infos   []*gguf.Tensor
	tilings []Tiling
	roots   []canon.Hash // of the tensors' data
	files   []fileID     // before anything was read; nil if unknown

	mu    sync.Mutex
	tiles [][]canon.Hash // of each tensor; nil if not hashed yet
}

// leaf is an entry of one of the two trees of a model.
type leaf struct {
	name     string
	encoding []byte
	hash     canon.Hash
}

// Of computes the fingerprint of a file, all parts of a split one, reading all
// of it with this many threads (0: one a processor). Their number changes
// nothing in the result.
func Of(ctx context.Context, f *gguf.File, threads int) (*Tree, error) {
	t, err := newTree(f, threads)
	if err != nil {
		return nil, err
	}
	all := make([]int, len(t.infos))
	for i := range all {
		all[i] = i
	}
	if t.tiles, err = t.hash(ctx, all); err != nil {
		return nil, err
	}
	roots := make([]canon.Hash, len(t.infos))
	for i, tiles := range t.tiles {
		roots[i] = canon.Root(tiles)
	}
	t.finish(roots)
	return t, nil
}

// newTree makes a tree of all but the tensors' data.
func newTree(f *gguf.File, threads int) (*Tree, error) {
	if threads < 0 || threads > 1024 {
		return nil, fmt.Errorf("fingerprint: %d threads, want 0 to 1024", threads)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	t := &Tree{file: f, threads: threads, infos: f.Tensors(), files: identify(f)}
	keys := slices.DeleteFunc(f.Keys(), excluded)
	slices.Sort(keys)
	for _, key := range keys {
		v, _ := f.Value(key)
		e := metaEntryOf(key, v)
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("fingerprint: %w", err)
		}
		t.values = append(t.values, v)
		t.meta = append(t.meta, leafOf(key, &e))
	}
	slices.SortFunc(t.infos, func(a, b *gguf.Tensor) int { return strings.Compare(a.Name, b.Name) })
	for _, info := range t.infos {
		tiling, err := TilingOf(info.Type, info.Shape)
		if err != nil {
			return nil, fmt.Errorf("fingerprint: tensor %q: %w", info.Name, err)
		}
		t.tilings = append(t.tilings, tiling)
	}
	t.tiles = make([][]canon.Hash, len(t.infos))
	return t, nil
}

// leafOf encodes an entry.
func leafOf(name string, entry any) leaf {
	b, err := canon.Marshal(entry)
	if err != nil {
		panic("fingerprint: internal error: " + err.Error())
	}
	return leaf{name, b, canon.Leaf(b)}
}

// finish computes the root from those of the tensors' data.
func (t *Tree) finish(roots []canon.Hash) {
	t.roots = roots
	for i, info := range t.infos {
		e := tensorEntry{Name: info.Name, Type: uint32(info.Type), Root: roots[i][:]}
		for _, d := range info.Shape {
			e.Shape = append(e.Shape, uint64(d))
		}
		t.tensors = append(t.tensors, leafOf(info.Name, &e))
	}
	t.root = rootOf(canon.Root(hashesOf(t.meta)), len(t.meta), canon.Root(hashesOf(t.tensors)), len(t.tensors))
}

func hashesOf(leaves []leaf) []canon.Hash {
	h := make([]canon.Hash, len(leaves))
	for i, l := range leaves {
		h[i] = l.hash
	}
	return h
}

// rootOf joins the two trees of a model.
func rootOf(meta canon.Hash, keys int, tensors canon.Hash, names int) canon.Hash {
	u64 := func(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	return canon.Sum("aval model/1", meta[:], u64(keys), tensors[:], u64(names))
}

// Root is the identity of the model.
func (t *Tree) Root() canon.Hash { return t.root }

// batchBytes is how much of a tensor a thread reads and hashes at a time: it
// stays in the second cache.
const batchBytes = 256 << 10

// hash computes the tiles' hashes of the given tensors; the others have none.
func (t *Tree) hash(ctx context.Context, tensors []int) ([][]canon.Hash, error) {
	type batch struct{ tensor, from, to int }
	var batches []batch
	tiles := make([][]canon.Hash, len(t.infos))
	for _, i := range tensors {
		n := t.tilings[i].Tiles()
		tiles[i] = make([]canon.Hash, n)
		step := max(1, batchBytes/t.tilings[i].Tile(0).Size)
		for from := 0; from < n; from += step {
			batches = append(batches, batch{i, from, min(from+step, n)})
		}
	}
	var next atomic.Int64
	errs := make([]error, t.threads)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			buf := make([]byte, batchBytes+maxTile)
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(batches) {
					return
				}
				b := batches[i]
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = t.hashTiles(tiles[b.tensor], b.tensor, b.from, b.to, buf)
				}
			}
			next.Store(int64(len(batches))) // the others may stop too
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return tiles, nil
}

// hashTiles hashes the tiles from to to-1 of a tensor.
func (t *Tree) hashTiles(hashes []canon.Hash, tensor, from, to int, buf []byte) error {
	offset, size := t.tilings[tensor].Range(from, to)
	buf = buf[:size]
	if err := t.read(tensor, offset, buf); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		x := t.tilings[tensor].Tile(i)
		hashes[i] = canon.Leaf(buf[x.Offset-offset:][:x.Size])
	}
	return nil
}

// read fills buf from a tensor's data.
func (t *Tree) read(tensor int, offset int64, buf []byte) error {
	info := t.infos[tensor]
	r := t.file.Reader(info)
	if r == nil {
		return fmt.Errorf("fingerprint: tensor %q: the file is closed", info.Name)
	}
	if n, err := r.ReadAt(buf, offset); n < len(buf) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("fingerprint: tensor %q: %w", info.Name, err)
	}
	return nil
}

// tilesOf gives the hashes of a tensor's tiles, and computes them if they are
// not there.
func (t *Tree) tilesOf(ctx context.Context, tensor int) ([]canon.Hash, error) {
	t.mu.Lock()
	tiles := t.tiles[tensor]
	t.mu.Unlock()
	if tiles != nil {
		return tiles, nil
	}
	all, err := t.hash(ctx, []int{tensor})
	if err != nil {
		return nil, err
	}
	if tiles = all[tensor]; canon.Root(tiles) != t.roots[tensor] {
		return nil, t.changed(tensor)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tiles[tensor] = tiles
	return tiles, nil
}

// changed says that a tensor's data is not what was hashed.
func (t *Tree) changed(tensor int) error {
	return fmt.Errorf("fingerprint: tensor %q is not what it was when the fingerprint was computed: the file changed; compute it again, without a cache", t.infos[tensor].Name)
}
