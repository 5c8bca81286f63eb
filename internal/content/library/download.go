package library

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Download is where content is fetched to: an exchange.Sink.
type Download struct {
	*Library
	root   content.Root
	choose func(*content.Manifest) (folder string, err error)
	used   *entry
}

var _ exchange.Sink = (*Download)(nil)

// Download begins or goes on with fetching content. choose says into which
// folder; empty means the library's own, within the quota. It is not asked if the
// fetch has begun before, and may be nil for the library's own. Until Close the
// content is in use and is not removed.
func (l *Library) Download(root content.Root, choose func(*content.Manifest) (folder string, err error)) (*Download, error) {
	d := &Download{Library: l, root: root, choose: choose}
	if e, err := l.entry(root); err == nil {
		return d, d.use(e)
	}
	return d, nil // it comes with its manifest
}

// use keeps an entry from being removed.
func (d *Download) use(e *entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uses++
	d.used = e
	now, before := d.cfg.Now().UTC(), e.state.Used
	e.state.Used = now
	if now.Sub(before) < usedWithin { // not worth a write
		return nil
	}
	return e.save()
}

// usedWithin is how exactly the time of the last use is kept on disk.
const usedWithin = time.Minute

// Place is where a file is, once it is whole.
func (d *Download) Place(file int) string {
	d.used.mu.Lock()
	defer d.used.mu.Unlock()
	return d.used.place(file)
}

// Close ends the use.
func (d *Download) Close() error {
	if e := d.used; e != nil {
		e.mu.Lock()
		e.uses--
		if e.uses == 0 {
			e.closeJournal()
		}
		e.mu.Unlock()
		d.used = nil
	}
	return nil
}

// WriteManifest makes the content known to the library.
func (d *Download) WriteManifest(root content.Root, data []byte) error {
	m, err := content.ParseManifest(data, root)
	if err != nil {
		return err
	}
	folder := ""
	if d.choose != nil {
		if folder, err = d.choose(m); err == nil && folder != "" {
			folder, err = filepath.Abs(folder)
		}
		if err != nil {
			return err
		}
	}
	if folder == "" {
		if err := d.makeRoom(m.Size()); err != nil {
			return err
		}
	}
	e, err := d.create(root, data, m, state{Folder: folder})
	if err != nil {
		return err
	}
	return d.use(e)
}

// WriteTree takes the list of a file's chunks, and makes the file.
func (d *Download) WriteTree(root content.Root, file int, t *content.Tree) error {
	return d.with(root, file, func(e *entry) error {
		if e.trees[file] != nil {
			return nil
		}
		if f := e.manifest.Files[file]; t.Root() != f.Root || t.Size() != f.Size {
			return fmt.Errorf("library: a tree of another file")
		}
		if err := e.appendTree(file, t); err != nil {
			return err
		}
		e.adopt(file, t)
		f, err := e.openWhole(file)
		if err != nil {
			return e.prepare(file)
		}
		defer f.Close() // the same file may be there from elsewhere
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() && info.Size() == t.Size() {
			buf := make([]byte, content.MaxChunk)
			for i := range t.Len() {
				e.claim(f, file, i, buf)
			}
			if e.missing[file] == 0 {
				return e.complete()
			}
		}
		e.trees[file], e.treeEnd = nil, e.treeEnd-int64(len(treeBytes(file, t)))
		return rpc.Errorf(rpc.FailedPrecondition, "%s is there already and is another file: move it away, or choose another folder", e.place(file))
	})
}

// WriteChunk writes a chunk, which has been checked.
func (d *Download) WriteChunk(root content.Root, file, index int, data []byte) error {
	var f *os.File
	var offset int64
	err := d.with(root, file, func(e *entry) (err error) {
		t := e.trees[file]
		if t == nil || index < 0 || index >= t.Len() || e.state.InPlace {
			return fmt.Errorf("library: chunk %d of file %d has no place here", index, file)
		}
		if bit(e.have[file], index) {
			return nil
		}
		offset = t.Offset(index)
		f, err = e.openBelow(e.partName(file), os.O_RDWR)
		return err
	})
	if err != nil || f == nil {
		return err
	}
	_, err = f.WriteAt(data, offset) // twice the same, if two write it
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return d.with(root, file, func(e *entry) error {
		if bit(e.have[file], index) {
			return nil
		}
		if err := e.note(file, index); err != nil {
			return err
		}
		setBit(e.have[file], index)
		if e.missing[file]--; e.missing[file] > 0 {
			return nil
		}
		return e.finish(file)
	})
}

// Gather copies those of the chosen chunks that another content on this machine
// has: the base of a model, mostly.
func (d *Download) Gather(root content.Root, file int, chosen []bool) error {
	var t *content.Tree
	var have []byte
	if err := d.with(root, file, func(e *entry) error {
		t, have = e.trees[file], append([]byte(nil), e.have[file]...)
		return nil
	}); err != nil {
		return err
	}
	if t == nil {
		return nil
	}
	index := d.chunks()
	buf := make([]byte, content.MaxChunk)
	for i, yes := range chosen {
		if !yes || bit(have, i) {
			continue
		}
		p, ok := index[t.Chunk(i).Hash]
		if !ok {
			continue
		}
		n, err := d.ReadChunk(p.root, int(p.file), int(p.index), buf)
		if err != nil || content.ChunkHash(buf[:n]) != t.Chunk(i).Hash {
			continue // others have it
		}
		if err := d.WriteChunk(root, file, i, buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// place is where a chunk is.
type place struct {
	root        content.Root
	file, index int32
}

// chunks is the index of all chunks of content that is whole here. It must not be
// changed.
func (l *Library) chunks() map[content.Hash]place {
	l.indexed.Lock()
	index := l.index
	l.indexed.Unlock()
	if index != nil {
		return index
	}
	index = map[content.Hash]place{}
	for _, e := range l.all() {
		e.mu.Lock()
		if e.state.Complete && e.load() == nil {
			for file, t := range e.trees {
				for i := range t.Len() {
					index[t.Chunk(i).Hash] = place{e.root, int32(file), int32(i)}
				}
			}
		}
		e.mu.Unlock()
	}
	l.indexed.Lock()
	defer l.indexed.Unlock()
	l.index = index
	return index
}

// forget has the index made anew when it is needed.
func (l *Library) forget() {
	l.indexed.Lock()
	defer l.indexed.Unlock()
	l.index = nil
}
