package library

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/avalnetwork/aval/internal/content"
)

// Item is a file to share.
type Item struct {
	Path string // in the manifest
	File string // where it is
}

// Proposal is what is to be shared.
type Proposal struct {
	// Manifest says what the content is; Files, Publisher and Created are filled
	// in.
	Manifest content.Manifest
	Items    []Item
	Key      ed25519.PrivateKey // signs the manifest
	Public   bool
}

// Walk gives the files of a folder as items, in the order of their paths, and the
// names that it left out because they begin with a dot. It refuses links and what
// is no regular file: nobody would expect them to be shared, or not.
func Walk(folder string) (items []Item, hidden []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		if err != nil || rel == "." {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case strings.HasPrefix(d.Name(), "."):
			hidden = append(hidden, name)
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("library: %s is a link or no regular file: leave it out, or put a copy of the file in its place", path)
		case len(items) == content.MaxFiles:
			return fmt.Errorf("library: %s has more than %d files", folder, content.MaxFiles)
		}
		items = append(items, Item{name, path})
		return nil
	})
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Path, b.Path) })
	return items, hidden, err
}

// Share indexes files where they are and offers them. Sharing the same again
// gives the same root. progress is told of bytes and may be nil.
func (l *Library) Share(ctx context.Context, p Proposal, progress func(done, total int64)) (Info, error) {
	m := p.Manifest
	m.Files = nil
	var total int64
	for _, it := range p.Items {
		info, err := os.Stat(it.File)
		if err != nil {
			return Info{}, fmt.Errorf("library: %w", err)
		}
		if !info.Mode().IsRegular() {
			return Info{}, fmt.Errorf("library: %s is no regular file", it.File)
		}
		total += info.Size()
	}
	trees, stats, places := make([]*content.Tree, len(p.Items)), make([]stat, len(p.Items)), make([]string, len(p.Items))
	var done int64
	for i, it := range p.Items {
		var err error
		if places[i], err = filepath.Abs(it.File); err != nil {
			return Info{}, fmt.Errorf("library: %w", err)
		}
		trees[i], stats[i], err = indexFile(ctx, it.File, func(n int64) {
			if done += n; progress != nil {
				progress(done, total)
			}
		})
		if err != nil {
			return Info{}, err
		}
		m.Files = append(m.Files, content.File{Path: it.Path, Size: trees[i].Size(), Root: trees[i].Root()})
	}
	m.Created = l.cfg.Now()
	raw, root, err := m.Sign(p.Key)
	if err != nil {
		return Info{}, err
	}
	if old := l.sharedBefore(&m, places); old != nil {
		return l.again(old, stats, p.Public)
	}
	// All that is needed is on disk before the entry's state is.
	e := newEntry(l, root, raw, &m)
	if err := os.MkdirAll(l.path(root, ""), 0o700); err != nil {
		return Info{}, fmt.Errorf("library: %w", err)
	}
	for i, t := range trees {
		if err := e.appendTree(i, t); err != nil {
			return Info{}, err
		}
	}
	e, err = l.create(root, raw, &m, state{Files: places, Stats: stats, InPlace: true, Complete: true, Offered: true, Public: p.Public})
	if err != nil {
		return Info{}, err
	}
	l.forget()
	return e.info(), nil
}

// sharedBefore finds content that says the same of the same files in the same places.
func (l *Library) sharedBefore(m *content.Manifest, places []string) *entry {
	for _, e := range l.all() {
		e.mu.Lock()
		files := e.state.Files
		e.mu.Unlock()
		o := e.manifest
		if o.Kind == m.Kind && o.Name == m.Name && o.Licence == m.Licence && o.Origin == m.Origin && o.Consent == m.Consent &&
			o.Publisher == m.Publisher && slices.Equal(o.Files, m.Files) && slices.Equal(o.Parents, m.Parents) && slices.Equal(files, places) {
			return e
		}
	}
	return nil
}

// again offers files that were shared before and have been read again.
func (l *Library) again(e *entry, stats []stat, public bool) (Info, error) {
	e.mu.Lock()
	e.state.Stats, e.state.Offered, e.state.Public = stats, true, public
	clear(e.changed)
	err := e.save()
	e.mu.Unlock()
	if err != nil {
		return Info{}, err
	}
	return e.info(), nil
}

// indexFile cuts a file into chunks and hashes them, on all processors.
func indexFile(ctx context.Context, path string, count func(n int64)) (*content.Tree, stat, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, stat{}, fmt.Errorf("library: %w", err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, stat{}, fmt.Errorf("library: %w", err)
	}
	type job struct {
		index int
		data  []byte
	}
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	jobs := make(chan job, workers)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var chunks []content.Chunk
	for range workers {
		wg.Go(func() {
			for j := range jobs {
				h := content.ChunkHash(j.data)
				mu.Lock()
				chunks[j.index].Hash = h
				mu.Unlock()
				chunkBuffers.Put((*[content.MaxChunk]byte)(j.data[:content.MaxChunk]))
			}
		})
	}
	err = content.Split(f, before.Size(), content.Cuts(f, before.Size()), func(data []byte) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		buf := chunkBuffers.Get().(*[content.MaxChunk]byte)
		n := copy(buf[:], data)
		mu.Lock()
		chunks = append(chunks, content.Chunk{Size: uint32(n)})
		index := len(chunks) - 1
		mu.Unlock()
		jobs <- job{index, buf[:n]}
		count(int64(n))
		return nil
	})
	close(jobs)
	wg.Wait()
	if err != nil {
		return nil, stat{}, fmt.Errorf("%s: %w", path, err)
	}
	after, err := os.Stat(path)
	if err == nil && statOf(after) != statOf(before) {
		err = errors.New("it changed while it was read: try again when it is finished")
	}
	if err != nil {
		return nil, stat{}, fmt.Errorf("library: %s: %w", path, err)
	}
	t, err := content.NewTree(chunks)
	return t, statOf(before), err
}

var chunkBuffers = sync.Pool{New: func() any { return new([content.MaxChunk]byte) }}
