package fingerprint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

const (
	maxCacheFile = 32 << 20
	// racy is how much older than its record a file must be: a change that
	// follows within the clock's tick would leave the same time behind.
	racy = 2 * time.Second
	// smallTensor is the size up to which tensors are hashed again on a hit:
	// norms and biases, a thousandth of a model, in which models differ.
	smallTensor = 16 << 10
)

// Cache remembers, in a folder, the hashes of the data of files, by their
// paths, sizes, times of change and inodes. It saves a prover from reading a
// file again whose fingerprint it computed before. Verifying never uses it:
// whoever can write to the folder can make the prover claim a wrong root, but
// nobody believe it.
type Cache struct{ Dir string }

// fileID tells files apart, and a file from what it was before a change.
type fileID struct {
	_     struct{} `cbor:",toarray"`
	Path  string
	Size  int64
	Time  int64 // of the last change, in nanoseconds
	Inode uint64
}

// record is what is remembered of a file.
type record struct {
	Files []fileID   `cbor:"1,keyasint"`
	Data  []byte     `cbor:"2,keyasint"` // roots of the tensors' data, by name
	Root  canon.Hash `cbor:"3,keyasint"` // of the model
}

// identify gives the identity of a file's parts; nil if they cannot be told.
func identify(f *gguf.File) []fileID {
	var ids []fileID
	for _, path := range f.Paths() {
		abs, err := filepath.Abs(path)
		if path == "" || err != nil {
			return nil
		}
		st, err := os.Stat(abs)
		if err != nil {
			return nil
		}
		ids = append(ids, fileID{Path: abs, Size: st.Size(), Time: st.ModTime().UnixNano(), Inode: inode(st)})
	}
	return ids
}

// path is the place of the record of files.
func (c Cache) path(ids []fileID) string {
	h := sha256.New()
	for _, id := range ids {
		fmt.Fprintf(h, "%d %s\n", len(id.Path), id.Path)
	}
	return filepath.Join(c.Dir, hex.EncodeToString(h.Sum(nil)[:16])+".fingerprint")
}

// Load gives the fingerprint of f from what was saved; ok is false if nothing
// was, or if it is not certain that the files are the same still. The metadata
// and the smallest tensors are hashed again, and must lead to the same root.
func (c Cache) Load(ctx context.Context, f *gguf.File, threads int) (t *Tree, ok bool) {
	t, err := newTree(f, threads)
	if err != nil || t.files == nil {
		return nil, false
	}
	r, err := c.read(t.files)
	if err != nil || !slices.Equal(r.Files, t.files) {
		return nil, false
	}
	roots, err := split(r.Data)
	if err != nil || len(roots) != len(t.infos) {
		return nil, false
	}
	var small []int
	for i, info := range t.infos {
		if info.Size <= smallTensor {
			small = append(small, i)
		}
	}
	if t.tiles, err = t.hash(ctx, small); err != nil {
		return nil, false
	}
	for _, i := range small {
		roots[i] = canon.Root(t.tiles[i])
	}
	t.finish(roots)
	return t, t.root == r.Root
}

// read reads the record of files, unless one of them is too new.
func (c Cache) read(ids []fileID) (*record, error) {
	path := c.path(ids)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxCacheFile {
		return nil, fmt.Errorf("%s has %d bytes", path, st.Size())
	}
	for _, id := range ids {
		if id.Time > st.ModTime().Add(-racy).UnixNano() {
			return nil, fmt.Errorf("%s changed when its record was written", id.Path)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r record
	return &r, canon.Unmarshal(b, &r)
}

// Save remembers a fingerprint. The record appears as a whole or not at all.
func (c Cache) Save(t *Tree) error {
	ids := identify(t.file)
	if ids == nil || !slices.Equal(ids, t.files) {
		return fmt.Errorf("fingerprint: cache: the model's file changed, or cannot be found any more")
	}
	b, err := canon.Marshal(&record{Files: ids, Data: join(t.roots), Root: t.root})
	if err == nil {
		err = writeAtomic(c.path(ids), b)
	}
	if err != nil {
		return fmt.Errorf("fingerprint: cache: %w", err)
	}
	return nil
}

// writeAtomic gives path the contents data, or leaves it as it was.
func writeAtomic(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the write's error is the one to report
	}
	return err
}
