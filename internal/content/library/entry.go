package library

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
)

// entry is one content.
type entry struct {
	l        *Library
	root     content.Root
	raw      []byte
	manifest *content.Manifest

	mu      sync.Mutex
	state   state
	loaded  bool
	trees   []*content.Tree
	have    [][]byte // a bit for each chunk
	missing []int    // chunks of each file that are not there
	checked [][]byte // chunks whose hash was checked since checkedAt
	asOf    []stat   // of the file, when its chunks were checked
	changed map[int]bool
	treeEnd int64 // where the next tree is written
	journal *os.File
	uses    int
}

func newEntry(l *Library, root content.Root, raw []byte, m *content.Manifest) *entry {
	n := len(m.Files)
	return &entry{
		l: l, root: root, raw: raw, manifest: m, changed: map[int]bool{},
		trees: make([]*content.Tree, n), have: make([][]byte, n), missing: make([]int, n), checked: make([][]byte, n), asOf: make([]stat, n),
	}
}

func bit(bits []byte, i int) bool { return i/8 < len(bits) && bits[i/8]&(0x80>>(i%8)) != 0 }
func setBit(bits []byte, i int)   { bits[i/8] |= 0x80 >> (i % 8) }

// folder is where the files are, those that have no place of their own.
func (e *entry) folder() string {
	if e.state.Folder != "" {
		return e.state.Folder
	}
	return e.l.path(e.root, filesFolder)
}

// place of a file that is whole.
func (e *entry) place(file int) string {
	if len(e.state.Files) > 0 {
		return e.state.Files[file]
	}
	return filepath.Join(e.folder(), filepath.FromSlash(e.manifest.Files[file].Path))
}

// partName is the name of a file in the folder that is not whole. content.CheckPath
// refuses such names.
func (e *entry) partName(file int) string {
	return fmt.Sprintf("%s%s-%d", content.ReservedPrefix, e.root.String()[:16], file)
}

// openWhole opens a file that is whole, to read it. What the library wrote is
// opened below its folder, so that no link that was put there leads elsewhere.
func (e *entry) openWhole(file int) (*os.File, error) {
	if e.state.InPlace {
		return os.Open(e.place(file))
	}
	return e.openBelow(filepath.FromSlash(e.manifest.Files[file].Path), os.O_RDONLY)
}

func (e *entry) openBelow(name string, flag int) (*os.File, error) {
	r, err := os.OpenRoot(e.folder())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.OpenFile(name, flag, 0o644)
}

// openAny opens a file to read it, whole or not. The lock is held.
func (e *entry) openAny(file int) (*os.File, error) {
	if !e.state.InPlace && e.missing[file] > 0 {
		return e.openBelow(e.partName(file), os.O_RDONLY)
	}
	return e.openWhole(file)
}

// adopt takes a tree. The lock is held.
func (e *entry) adopt(file int, t *content.Tree) {
	n := (t.Len() + 7) / 8
	e.trees[file], e.have[file], e.checked[file] = t, make([]byte, n), make([]byte, n)
	e.missing[file] = t.Len()
}

// fill says that all chunks of a file are there. The lock is held.
func (e *entry) fill(file int) {
	for i := range e.trees[file].Len() {
		setBit(e.have[file], i)
	}
	e.missing[file] = 0
}

// load reads the trees and finds out which chunks are there. The lock is held.
func (e *entry) load() error {
	if e.loaded {
		return nil
	}
	if err := e.loadTrees(); err != nil {
		return err
	}
	if e.state.InPlace || e.state.Complete {
		for file := range e.trees {
			if e.trees[file] == nil {
				return fmt.Errorf("library: the list of chunks of %q is lost: share it again", e.manifest.Files[file].Path)
			}
			e.fill(file)
			e.asOf[file] = e.state.Stats[file]
		}
	} else if err := e.loadPartial(); err != nil {
		return err
	}
	e.loaded = true
	return nil
}

// look finds out which files were changed or removed.
func (e *entry) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.state.Stats) == 0 {
		return
	}
	for file := range e.manifest.Files {
		if info, err := os.Stat(e.place(file)); err != nil || statOf(info) != e.state.Stats[file] {
			e.changed[file] = true
		}
	}
}

// Manifest gives the signed manifest.
func (l *Library) Manifest(root content.Root) ([]byte, error) {
	e, err := l.entry(root)
	if err != nil {
		return nil, err
	}
	return e.raw, nil
}

// with runs f with the entry's lock and its trees.
func (l *Library) with(root content.Root, file int, f func(e *entry) error) error {
	e, err := l.entry(root)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if file < 0 || file >= len(e.manifest.Files) {
		return exchange.ErrMissing
	}
	if err := e.load(); err != nil {
		return err
	}
	return f(e)
}

// Tree gives the tree of a file.
func (l *Library) Tree(root content.Root, file int) (t *content.Tree, err error) {
	err = l.with(root, file, func(e *entry) error {
		if t = e.trees[file]; t == nil {
			return exchange.ErrMissing
		}
		return nil
	})
	return t, err
}

// Have tells which chunks of a file are here.
func (l *Library) Have(root content.Root, file int) (bits []byte, err error) {
	err = l.with(root, file, func(e *entry) error {
		if e.trees[file] == nil {
			return exchange.ErrMissing
		}
		bits = make([]byte, len(e.have[file]))
		if !e.changed[file] {
			copy(bits, e.have[file])
		}
		return nil
	})
	return bits, err
}

// Complete tells that all of a content is here.
func (l *Library) Complete(root content.Root) bool {
	e, err := l.entry(root)
	if err != nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.Complete && len(e.changed) == 0
}

// ReadChunk reads a chunk. A file that is no longer what it was is not given any
// more: ErrMissing.
func (l *Library) ReadChunk(root content.Root, file, index int, buf []byte) (n int, err error) {
	var (
		e       *entry
		f       *os.File
		chunk   content.Chunk
		offset  int64
		checked bool
		now     stat
	)
	err = l.with(root, file, func(held *entry) error {
		e = held
		t := e.trees[file]
		if t == nil || index < 0 || index >= t.Len() || !bit(e.have[file], index) || e.changed[file] {
			return exchange.ErrMissing
		}
		chunk, offset = t.Chunk(index), t.Offset(index)
		if f, err = e.openAny(file); err != nil {
			return e.spoiled(file, err)
		}
		info, err := f.Stat()
		if err != nil {
			return e.spoiled(file, err)
		}
		now = statOf(info)
		switch whole := e.missing[file] == 0; {
		case whole && len(e.state.Stats) > 0 && now != e.state.Stats[file]:
			return e.spoiled(file, errors.New("its size or time is another"))
		case whole && now == e.asOf[file]:
			checked = bit(e.checked[file], index)
		default:
			clear(e.checked[file])
			e.asOf[file] = now
		}
		return nil
	})
	if f != nil {
		defer f.Close()
	}
	if err != nil {
		return 0, err
	}
	if len(buf) < int(chunk.Size) {
		return 0, fmt.Errorf("library: room for %d bytes of a chunk of %d", len(buf), chunk.Size)
	}
	buf = buf[:chunk.Size]
	_, err = f.ReadAt(buf, offset)
	if err == nil && checked {
		return len(buf), nil
	}
	if err == nil && content.ChunkHash(buf) != chunk.Hash {
		err = errors.New("a chunk has another hash")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		return 0, e.spoiled(file, err)
	}
	if now == e.asOf[file] {
		setBit(e.checked[file], index)
	}
	return len(buf), nil
}

// spoiled takes note that a file is not what it was. The lock is held.
func (e *entry) spoiled(file int, why error) error {
	if !errors.Is(why, fs.ErrClosed) && !e.changed[file] {
		e.changed[file] = true
		e.l.cfg.Logger.Warn("library: a file is no longer what it was, and is not given to anybody", "file", e.place(file), "error", why)
	}
	return exchange.ErrMissing
}
