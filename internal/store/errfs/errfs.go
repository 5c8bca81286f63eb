// Package errfs is a file system for tests that fails, or stops as at a power
// cut, at a chosen operation. Use a [FS] with store.OpenFS. It is not for
// production code.
package errfs

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/avalnetwork/aval/internal/store"
)

// ErrInjected is the error of an operation made to fail.
var ErrInjected = errors.New("injected fault")

// FS passes operations on to the operating system until the chosen one.
// The zero value never fails and counts.
type FS struct {
	FailAt int  // the operation that fails, counted from 1; 0: none
	Crash  bool // all later operations fail too, and bytes not synced are lost

	mu      sync.Mutex
	count   int
	down    bool
	pending map[*handle]struct{} // open files with bytes not synced
	dirty   map[string]int64     // closed files with bytes not synced: synced size
	os      store.OS
}

// Count returns the operations seen so far.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// step counts one operation and says whether it must fail.
func (f *FS) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.down {
		return ErrInjected
	}
	if f.count != f.FailAt {
		return nil
	}
	if f.Crash {
		f.down = true
		for h := range f.pending {
			_ = os.Truncate(h.name, h.synced)
		}
		for name, n := range f.dirty {
			_ = os.Truncate(name, n)
		}
	}
	return ErrInjected
}

// OpenFile is one operation.
func (f *FS) OpenFile(name string, flag int, perm os.FileMode) (store.Handle, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	h, err := f.os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	size, err := h.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = h.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &handle{Handle: h, fs: f, name: name, synced: size}, nil
}

// Rename is one operation. Bytes of from that are not synced stay so.
func (f *FS) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	if err := f.os.Rename(from, to); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.dirty, to)
	if n, ok := f.dirty[from]; ok {
		delete(f.dirty, from)
		f.dirty[to] = n
	}
	return nil
}

// Remove is one operation.
func (f *FS) Remove(name string) error {
	if err := f.step(); err != nil {
		return err
	}
	f.mu.Lock()
	delete(f.dirty, name)
	f.mu.Unlock()
	return f.os.Remove(name)
}

// Link is one operation.
func (f *FS) Link(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.os.Link(from, to)
}

// Symlink is one operation.
func (f *FS) Symlink(target, name string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.os.Symlink(target, name)
}

// MkdirAll is one operation.
func (f *FS) MkdirAll(dir string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.os.MkdirAll(dir)
}

// SyncDir is one operation, and no more: renames and removals count as durable
// at once.
func (f *FS) SyncDir(string) error { return f.step() }

type handle struct {
	store.Handle
	fs     *FS
	name   string
	synced int64 // bytes that survive a power cut
}

// Write is one operation; the one that fails writes half of its bytes first.
func (h *handle) Write(p []byte) (int, error) {
	h.mark()
	if err := h.fs.step(); err != nil {
		if h.fs.isDown() {
			return 0, err
		}
		n, _ := h.Handle.Write(p[:len(p)/2])
		return n, err
	}
	return h.Handle.Write(p)
}

// Sync is one operation. What it would make durable is only noted: the power
// is cut in the imagination, and real syncs make tests slow.
func (h *handle) Sync() error {
	if err := h.fs.step(); err != nil {
		return err
	}
	st, err := os.Stat(h.name)
	if err != nil {
		return err
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.down { // meanwhile, by another goroutine
		return ErrInjected
	}
	h.synced = st.Size()
	delete(h.fs.pending, h)
	delete(h.fs.dirty, h.name)
	return nil
}

// Truncate is one operation.
func (h *handle) Truncate(n int64) error {
	if err := h.fs.step(); err != nil {
		return err
	}
	h.fs.mu.Lock()
	h.synced = min(h.synced, n)
	h.fs.mu.Unlock()
	return h.Handle.Truncate(n)
}

// Close always closes, so that tests leak no files.
func (h *handle) Close() error {
	h.fs.mu.Lock()
	if _, ok := h.fs.pending[h]; ok {
		delete(h.fs.pending, h)
		if h.fs.dirty == nil {
			h.fs.dirty = map[string]int64{}
		}
		h.fs.dirty[h.name] = h.synced
	}
	h.fs.mu.Unlock()
	return h.Handle.Close()
}

func (h *handle) mark() {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.pending == nil {
		h.fs.pending = map[*handle]struct{}{}
	}
	h.fs.pending[h] = struct{}{}
}

func (f *FS) isDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}
