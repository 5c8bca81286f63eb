package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// Progress is told how many of total bytes are done. It may be nil.
type Progress func(done, total int64)

func (p Progress) tell(done, total int64) {
	if p != nil {
		p(done, total)
	}
}

// Import copies a model file into the store under a name; of a split file, all
// its parts, which must lie beside the one given. Files the store has already
// are not copied again.
func (s *Store) Import(ctx context.Context, name, path string, created time.Time, progress Progress) (Model, error) {
	fail := func(err error) (Model, error) {
		return Model{}, fmt.Errorf("store: import %s: %w", path, err)
	}
	if _, err := ParseName(name); err != nil {
		return fail(err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fail(err)
	}
	m := Model{Name: name, Source: importSource(abs), Created: created}
	paths := parts(abs)
	var total, done int64 // every byte is read twice: for its hash and to copy it
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return fail(err)
		}
		if !st.Mode().IsRegular() {
			return fail(fmt.Errorf("%s is not a regular file", p))
		}
		total += 2 * st.Size()
	}
	count := func(n int) { done += int64(n); progress.tell(min(done, total), total) }
	from := map[string]string{} // hash -> path
	for _, p := range paths {
		f, err := hashFile(ctx, p, count)
		if err != nil {
			return fail(err)
		}
		m.Files = append(m.Files, f)
		from[f.SHA256] = p
	}
	staged, err := s.StageAll(ctx, m.Files, waitShort)
	defer func() {
		for _, g := range staged {
			g.Close()
		}
	}()
	if err != nil {
		return fail(err)
	}
	for _, g := range staged {
		if err := g.copyFrom(ctx, from[g.want.SHA256], count); err != nil {
			return fail(err)
		}
	}
	if m, err = s.Commit(m, staged...); err != nil {
		return fail(err)
	}
	progress.tell(total, total)
	return m, nil
}

// importSource is the path as a manifest may hold it: a source is for people,
// so one that does not fit is left out rather than an error.
func importSource(path string) string {
	if (Model{Name: "x:y", Source: path, Files: []File{{Path: "x", SHA256: hex.EncodeToString(make([]byte, 32))}}}).check() != nil {
		return ""
	}
	return path
}

// parts returns the paths of all parts of a split file, or path alone.
func parts(path string) []string {
	dir, base := filepath.Split(path)
	prefix, _, count, ok := SplitName(base)
	if !ok || count > maxFiles {
		return []string{path}
	}
	ext := base[len(base)-len(".gguf"):]
	out := make([]string, count)
	for i := range out {
		out[i] = filepath.Join(dir, fmt.Sprintf("%s-%05d-of-%05d%s", prefix, i+1, count, ext))
	}
	return out
}

func hashFile(ctx context.Context, path string, count func(n int)) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(onlyWriter{h}, countReader{ctxReader{ctx, f}, count}, make([]byte, copyBuffer))
	if err != nil {
		return File{}, err
	}
	return File{Path: filepath.Base(path), SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, nil
}

func (g *Staged) copyFrom(ctx context.Context, path string, count func(n int)) error {
	if g.present {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := g.Reset(); err != nil {
		return err
	}
	r := io.LimitReader(countReader{ctxReader{ctx, f}, count}, g.want.Size+1)
	if _, err := io.CopyBuffer(onlyWriter{g}, r, make([]byte, copyBuffer)); err != nil {
		return err
	}
	err = g.Finish(ctx)
	if m := (*MismatchError)(nil); errors.As(err, &m) {
		return fmt.Errorf("the file changed while it was copied: %w", err)
	}
	return err
}

type countReader struct {
	r     io.Reader
	count func(n int)
}

func (c countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.count(n)
	return n, err
}

// StageAll stages every file of a model, each hash once, waiting for those that
// someone else is writing: wait is called between attempts with the file in
// question and ends the waiting by returning an error. The files staged so far
// are returned, with an error too, and are the caller's to Close.
func (s *Store) StageAll(ctx context.Context, files []File, wait func(ctx context.Context, busy File) error) ([]*Staged, error) {
	byHash := append([]File(nil), files...)
	sort.SliceStable(byHash, func(i, j int) bool { return byHash[i].SHA256 < byHash[j].SHA256 })
	var out []*Staged
	for i, f := range byHash {
		if i > 0 && f.SHA256 == byHash[i-1].SHA256 {
			continue
		}
		for {
			g, err := s.Stage(f)
			if err == nil {
				out = append(out, g)
				break
			}
			if !errors.Is(err, ErrBusy) {
				return out, err
			}
			if err := wait(ctx, f); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// PartialSize returns how many bytes of a file not complete yet are on disk,
// whoever is writing it.
func (s *Store) PartialSize(f File) int64 {
	if !validSHA(f.SHA256) {
		return 0
	}
	st, err := os.Stat(filepath.Join(s.root, dirPartial, blobPrefix+f.SHA256+extPartial))
	if err != nil {
		return 0
	}
	return st.Size()
}

func waitShort(ctx context.Context, _ File) error {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Verify reads all the model's files again and reports each that is missing or
// differs, as [*MismatchError] where it differs.
func (s *Store) Verify(ctx context.Context, m Model, progress Progress) error {
	var errs []error
	var done int64
	total := m.Size()
	for _, f := range m.Files {
		if err := s.checkBlob(f); err != nil {
			errs = append(errs, err)
			continue
		}
		got, err := hashFile(ctx, s.blobPath(f.SHA256), func(n int) {
			done += int64(n)
			progress.tell(done, total)
		})
		if ctx.Err() != nil {
			return fmt.Errorf("store: verify %s: %w", m.Name, ctx.Err())
		}
		if err == nil && (got.SHA256 != f.SHA256 || got.Size != f.Size) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, &MismatchError{
				File: f.Path, WantSHA256: f.SHA256, GotHash: got.SHA256, WantSize: f.Size, GotSize: got.Size,
			})
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: verify %s: %w; remove the model and get it again", m.Name, err)
	}
	return nil
}
