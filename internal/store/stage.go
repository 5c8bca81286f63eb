package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

const (
	maxState   = 64 << 10
	copyBuffer = 1 << 20
)

// MismatchError says that a file is not what it should be.
type MismatchError struct {
	File                string // which file
	WantSHA256, GotHash string // GotHash is empty when the size already differs
	WantSize, GotSize   int64
}

func (e *MismatchError) Error() string {
	if e.WantSize != e.GotSize {
		return fmt.Sprintf("%s: size is %d bytes, expected %d", e.File, e.GotSize, e.WantSize)
	}
	return fmt.Sprintf("%s: sha256 is %s, expected %s", e.File, e.GotHash, e.WantSHA256)
}

// Staged is one file on its way into the store. It is held by one writer at a
// time: write the rest of its bytes, Finish it, pass it to [Store.Commit], Close
// it. Closed without commit it stays as a partial file to be resumed.
//
// To stage several files take them in the order of their hashes, or two
// writers may wait for each other for ever.
type Staged struct {
	s       *Store
	want    File
	lock    *fileLock
	f       Handle    // nil when present
	size    int64     // bytes in f
	hash    hash.Hash // of the first hashed bytes
	hashed  int64
	present bool // the blob is in the store
	done    bool // Finish succeeded
}

// Stage takes hold of the file with the given hash and size, or fails with
// [ErrBusy]. While it is held nobody removes its blob or its partial bytes.
func (s *Store) Stage(want File) (*Staged, error) {
	if !validSHA(want.SHA256) {
		return nil, fmt.Errorf("store: stage %s: sha256 %q is not 64 lower-case hex digits", want.Path, clip(want.SHA256))
	}
	if want.Size < 0 || want.Size > maxFileSize {
		return nil, fmt.Errorf("store: stage %s: size %d is out of range", want.Path, want.Size)
	}
	g := &Staged{s: s, want: want, hash: sha256.New()}
	var err error
	if g.lock, err = acquire(g.path(extLock), false); err != nil {
		return nil, fmt.Errorf("store: stage %s: %w", want.Path, err)
	}
	if err := g.open(); err != nil {
		g.Close()
		return nil, fmt.Errorf("store: stage %s: %w", want.Path, err)
	}
	return g, nil
}

func (g *Staged) path(ext string) string {
	return filepath.Join(g.s.root, dirPartial, blobPrefix+g.want.SHA256+ext)
}

func (g *Staged) open() error {
	if st, err := os.Stat(g.s.blobPath(g.want.SHA256)); err == nil && st.Mode().IsRegular() && st.Size() == g.want.Size {
		g.present = true
		return nil
	}
	var err error
	if g.f, err = g.s.fs.OpenFile(g.path(extPartial), os.O_RDWR|os.O_CREATE, permFile); err != nil {
		return err
	}
	if g.size, err = g.f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if g.size > g.want.Size { // nothing of use begins a file with more than all of it
		return g.Reset()
	}
	return nil
}

// Want returns the file that is staged.
func (g *Staged) Want() File { return g.want }

// Present reports that the store has the file already; there is nothing to write.
func (g *Staged) Present() bool { return g.present }

// Size returns how many bytes are there; writing goes on from that offset.
func (g *Staged) Size() int64 {
	if g.present {
		return g.want.Size
	}
	return g.size
}

// State returns what SetState kept beside the partial bytes, nil if nothing.
func (g *Staged) State() []byte {
	f, err := os.Open(g.path(extState))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil || len(b) > maxState {
		return nil
	}
	return b
}

// SetState keeps a note beside the partial bytes, such as the validator that a
// server wants to see again.
func (g *Staged) SetState(b []byte) error {
	if len(b) > maxState {
		return fmt.Errorf("store: state of %s: %d bytes, at most %d are allowed", g.want.Path, len(b), maxState)
	}
	if err := g.s.writeAtomic(g.path(extState), b); err != nil {
		return fmt.Errorf("store: state of %s: %w", g.want.Path, err)
	}
	return nil
}

// Reset forgets the bytes and the state.
func (g *Staged) Reset() error {
	g.size, g.hashed, g.done = 0, 0, false
	g.hash.Reset()
	err := g.s.remove(g.path(extState))
	if g.f != nil {
		err = errors.Join(err, g.f.Truncate(0))
	}
	if err != nil {
		return fmt.Errorf("store: reset %s: %w", g.want.Path, err)
	}
	return nil
}

// Resume reads the bytes that an earlier attempt left, so that the hash may go
// on from there. Write and Finish call it if need be; a caller that wants to
// be able to stop calls it first.
func (g *Staged) Resume(ctx context.Context) error {
	if g.f == nil || g.hashed == g.size {
		return nil
	}
	if _, err := g.f.Seek(g.hashed, io.SeekStart); err != nil {
		return fmt.Errorf("store: resume %s: %w", g.want.Path, err)
	}
	n, err := io.CopyBuffer(onlyWriter{g.hash}, io.LimitReader(ctxReader{ctx, g.f}, g.size-g.hashed), make([]byte, copyBuffer))
	g.hashed += n
	if err == nil && g.hashed != g.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("store: resume %s: %w", g.want.Path, err)
	}
	return nil
}

// Write appends to the file.
func (g *Staged) Write(p []byte) (int, error) {
	if g.f == nil {
		return 0, fmt.Errorf("store: write %s: it is in the store already", g.want.Path)
	}
	if err := g.Resume(context.Background()); err != nil {
		return 0, err
	}
	if _, err := g.f.Seek(g.size, io.SeekStart); err != nil {
		return 0, fmt.Errorf("store: write %s: %w", g.want.Path, err)
	}
	n, err := g.f.Write(p)
	g.hash.Write(p[:n])
	g.size += int64(n)
	g.hashed += int64(n)
	g.done = false
	if err != nil {
		return n, fmt.Errorf("store: write %s: %w", g.want.Path, err)
	}
	return n, nil
}

// Finish checks size and hash and makes the bytes durable. If they are wrong
// it discards them and returns a [*MismatchError].
func (g *Staged) Finish(ctx context.Context) error {
	if g.present || g.done {
		return nil
	}
	if err := g.Resume(ctx); err != nil {
		return err
	}
	got := hex.EncodeToString(g.hash.Sum(nil))
	if g.size != g.want.Size || got != g.want.SHA256 {
		e := &MismatchError{File: g.want.Path, WantSHA256: g.want.SHA256, GotHash: got, WantSize: g.want.Size, GotSize: g.size}
		return errors.Join(e, g.Reset())
	}
	if err := g.f.Sync(); err != nil {
		return fmt.Errorf("store: sync %s: %w", g.want.Path, err)
	}
	g.done = true
	return nil
}

// Close lets go of the file. Bytes not committed stay for the next attempt;
// nothing stays when there are none.
func (g *Staged) Close() error {
	if g.lock == nil {
		return nil
	}
	var err error
	if g.f != nil {
		err = g.f.Close()
		g.f = nil
	}
	if g.present || g.size == 0 {
		err = errors.Join(err, g.s.remove(g.path(extPartial)), g.s.remove(g.path(extState)))
	}
	g.lock.releaseRemove()
	g.lock = nil
	return err
}

// publish moves the finished bytes to their place among the blobs. The caller
// holds the store's lock.
func (g *Staged) publish() error {
	if g.present {
		return nil
	}
	if !g.done {
		return fmt.Errorf("%s is not finished", g.want.Path)
	}
	if g.f != nil { // Windows does not rename open files
		err := g.f.Close()
		g.f = nil
		if err != nil {
			return err
		}
	}
	if err := g.s.fs.Rename(g.path(extPartial), g.s.blobPath(g.want.SHA256)); err != nil {
		return err
	}
	g.present = true
	return g.s.remove(g.path(extState))
}

// Put stores the bytes of r, which must have the given hash and size, as a
// staged file. The caller commits and closes it.
func (s *Store) Put(ctx context.Context, r io.Reader, want File) (*Staged, error) {
	g, err := s.Stage(want)
	if err != nil || g.Present() {
		return g, err
	}
	if err = g.Reset(); err == nil {
		_, err = io.CopyBuffer(onlyWriter{g}, io.LimitReader(ctxReader{ctx, r}, want.Size+1), make([]byte, copyBuffer))
	}
	if err == nil {
		err = g.Finish(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: put %s: %w", want.Path, err), g.Close())
	}
	return g, nil
}

// ctxReader ends with the context's error when that is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// onlyWriter hides ReadFrom, so that CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }
