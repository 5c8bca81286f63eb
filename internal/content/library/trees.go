package library

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/content"
)

// In treesFile a tree is the number of its file and of its chunks, four bytes
// each, big-endian, and for each chunk its size (four bytes) and its hash. The
// end may be cut by a crash. A tree counts if its root is the manifest's.
const (
	treeHead  = 8
	treeChunk = 4 + canon.Size
)

func treeBytes(file int, t *content.Tree) []byte {
	out := make([]byte, 0, treeHead+t.Len()*treeChunk)
	out = binary.BigEndian.AppendUint32(out, uint32(file))
	out = binary.BigEndian.AppendUint32(out, uint32(t.Len()))
	for i := range t.Len() {
		c := t.Chunk(i)
		out = binary.BigEndian.AppendUint32(out, c.Size)
		out = append(out, c.Hash[:]...)
	}
	return out
}

// loadTrees reads the trees there are. The lock is held.
func (e *entry) loadTrees() error {
	f, err := os.Open(e.l.path(e.root, treesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	for at := int64(0); at+treeHead <= info.Size(); {
		var head [treeHead]byte
		if _, err := f.ReadAt(head[:], at); err != nil {
			return fmt.Errorf("library: %w", err)
		}
		file, n := binary.BigEndian.Uint32(head[:]), int64(binary.BigEndian.Uint32(head[4:]))
		end := at + treeHead + n*treeChunk
		if int64(file) >= int64(len(e.trees)) || n > content.MaxFileChunks || end > info.Size() {
			break
		}
		data := make([]byte, n*treeChunk)
		if _, err := f.ReadAt(data, at+treeHead); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("library: %w", err)
		}
		chunks := make([]content.Chunk, n)
		for i := range chunks {
			c := data[i*treeChunk:]
			chunks[i] = content.Chunk{Size: binary.BigEndian.Uint32(c), Hash: content.Hash(c[4:treeChunk])}
		}
		t, err := content.NewTree(chunks)
		if err != nil || t.Root() != e.manifest.Files[file].Root || t.Size() != e.manifest.Files[file].Size {
			break
		}
		e.adopt(int(file), t)
		at = end
		e.treeEnd = end
	}
	return nil
}

// appendTree writes a tree after those that are good. The lock is held.
func (e *entry) appendTree(file int, t *content.Tree) error {
	f, err := os.OpenFile(e.l.path(e.root, treesFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	data := treeBytes(file, t)
	err = f.Truncate(e.treeEnd)
	if err == nil {
		_, err = f.WriteAt(data, e.treeEnd)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	e.treeEnd += int64(len(data))
	return nil
}

// In journalFile a chunk that was written is the number of its file and its
// index, four bytes each, big-endian. It is a hint: at the next start the hashes
// of the chunks that it names say whether they are there.
const journalRecord = 8

// loadPartial finds out which chunks are there. The lock is held.
func (e *entry) loadPartial() error {
	data, err := readFile(e.l.path(e.root, journalFile), 4*journalRecord*content.MaxChunks)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("library: %w", err)
	}
	named := make([][]byte, len(e.trees))
	for ; len(data) >= journalRecord; data = data[journalRecord:] {
		file, i := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
		if int64(file) >= int64(len(e.trees)) || e.trees[file] == nil || int64(i) >= int64(e.trees[file].Len()) {
			continue
		}
		if named[file] == nil {
			named[file] = make([]byte, len(e.have[file]))
		}
		setBit(named[file], int(i))
	}
	buf := make([]byte, content.MaxChunk)
	for file, t := range e.trees {
		if t == nil {
			continue
		}
		f, err := e.openBelow(e.partName(file), os.O_RDONLY)
		part := err == nil
		if !part {
			if f, err = e.openWhole(file); err != nil { // all of it is fetched again
				if err := e.prepare(file); err != nil {
					return err
				}
				continue
			}
		}
		for i := range t.Len() {
			if part && !bit(named[file], i) {
				continue
			}
			e.claim(f, file, i, buf)
		}
		f.Close()
		if err := e.settle(file, part); err != nil {
			return err
		}
	}
	return e.complete()
}

// claim takes a chunk for there if it has its hash. The lock is held.
func (e *entry) claim(f *os.File, file, i int, buf []byte) {
	t := e.trees[file]
	c := t.Chunk(i)
	if _, err := f.ReadAt(buf[:c.Size], t.Offset(i)); err == nil && content.ChunkHash(buf[:c.Size]) == c.Hash {
		setBit(e.have[file], i)
		e.missing[file]--
	}
}

// settle finishes a file of which all is there, and refuses to go on if a file
// that is not ours is in its place. The lock is held.
func (e *entry) settle(file int, part bool) error {
	if e.missing[file] == 0 && part {
		return e.finish(file)
	}
	if e.missing[file] > 0 && !part {
		return fmt.Errorf("library: %s is there already and is another file: move it away, or choose another folder", e.place(file))
	}
	return nil
}

// prepare makes a file that chunks are written to, of its full size. The lock is held.
func (e *entry) prepare(file int) error {
	if err := os.MkdirAll(e.folder(), 0o755); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	f, err := e.openBelow(e.partName(file), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	if err := errors.Join(f.Truncate(e.manifest.Files[file].Size), f.Close()); err != nil {
		return fmt.Errorf("library: make room for %s: %w", e.place(file), err)
	}
	if e.missing[file] == 0 { // it is empty
		return e.finish(file)
	}
	return nil
}

// finish puts a file of which all is there into its place. The lock is held.
func (e *entry) finish(file int) error {
	fail := func(err error) error { return fmt.Errorf("library: finish %s: %w", e.place(file), err) }
	f, err := e.openBelow(e.partName(file), os.O_RDWR)
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	r, err := os.OpenRoot(e.folder())
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	name := filepath.FromSlash(e.manifest.Files[file].Path)
	if dir := filepath.Dir(name); dir != "." {
		if err := r.MkdirAll(dir, 0o755); err != nil {
			return fail(err)
		}
	}
	if _, err := r.Lstat(name); err == nil {
		return fail(errors.New("another file took its place meanwhile: move it away and try again"))
	}
	if err := r.Rename(e.partName(file), name); err != nil {
		return fail(err)
	}
	e.asOf[file] = stat{}
	return e.complete()
}

// complete takes note of the moment when all of the content is there. The lock is
// held.
func (e *entry) complete() error {
	stats := make([]stat, len(e.trees))
	for file, t := range e.trees {
		if t == nil || e.missing[file] > 0 {
			return nil
		}
	}
	for file := range e.trees {
		f, err := e.openWhole(file)
		if err != nil {
			return nil // while this is loaded, those that follow are not looked at yet
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return fmt.Errorf("library: %w", err)
		}
		stats[file] = statOf(info)
	}
	e.state.Stats, e.state.Complete = stats, true
	if err := e.save(); err != nil {
		return err
	}
	e.closeJournal()
	if err := os.Remove(e.l.path(e.root, journalFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("library: %w", err)
	}
	e.l.forget()
	return nil
}

func (e *entry) closeJournal() {
	if e.journal != nil {
		_ = e.journal.Close()
		e.journal = nil
	}
}

// note writes a chunk into the journal. The lock is held.
func (e *entry) note(file, index int) error {
	if e.journal == nil {
		path := e.l.path(e.root, journalFile)
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("library: %w", err)
		}
		end, err := f.Seek(0, io.SeekEnd)
		if err == nil { // a crash may have cut the last record
			_, err = f.Seek(end-end%journalRecord, io.SeekStart)
		}
		if err != nil {
			f.Close()
			return fmt.Errorf("library: %w", err)
		}
		e.journal = f
	}
	r := binary.BigEndian.AppendUint32(nil, uint32(file))
	if _, err := e.journal.Write(binary.BigEndian.AppendUint32(r, uint32(index))); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return nil
}
