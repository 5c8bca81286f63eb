package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Paths returns the paths of the model's files, in order. Several files lie
// side by side in one folder under their own names, as links to the blobs; a
// single file is the blob itself. The files must not be written to.
func (s *Store) Paths(m Model) ([]string, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if err := s.checkBlob(f); err != nil {
			return nil, fmt.Errorf("store: %s: %w; remove the model and get it again", m.Name, err)
		}
	}
	if len(m.Files) == 1 {
		return []string{s.blobPath(m.Files[0].SHA256)}, nil
	}
	id := viewID(m)
	paths := make([]string, len(m.Files))
	for i, f := range m.Files {
		paths[i] = filepath.Join(s.root, dirViews, id, f.Path)
	}
	if s.viewWhole(m, paths) {
		return paths, nil
	}
	l, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer l.release()
	if s.viewWhole(m, paths) { // made while we waited
		return paths, nil
	}
	if err := s.makeView(m, id, paths); err != nil {
		return nil, fmt.Errorf("store: lay out the %d files of %s: %w", len(m.Files), m.Name, err)
	}
	return paths, nil
}

func (s *Store) checkBlob(f File) error {
	st, err := os.Stat(s.blobPath(f.SHA256))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s is missing (%s)", ErrCorrupt, f.Path, s.blobPath(f.SHA256))
	case err != nil:
		return err
	case st.Size() != f.Size:
		return fmt.Errorf("%w: %w", ErrCorrupt, &MismatchError{File: f.Path, WantSHA256: f.SHA256, WantSize: f.Size, GotSize: st.Size()})
	}
	return nil
}

// viewID names a view by what is in it, so that it never changes.
func viewID(m Model) string {
	h := sha256.New()
	for _, f := range m.Files {
		fmt.Fprintf(h, "%s %s\n", f.SHA256, f.Path)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

func (s *Store) viewWhole(m Model, paths []string) bool {
	for i, f := range m.Files {
		link, err1 := os.Stat(paths[i])
		blob, err2 := os.Stat(s.blobPath(f.SHA256))
		if err1 != nil || err2 != nil || !os.SameFile(link, blob) {
			return false
		}
	}
	return true
}

// makeView links the files into the view's folder. A crash leaves a part of
// it, which viewWhole notices and the next call completes.
func (s *Store) makeView(m Model, id string, paths []string) error {
	if err := s.removeView(id); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(filepath.Join(s.root, dirViews, id)); err != nil {
		return err
	}
	for i, f := range m.Files {
		hard := s.fs.Link(s.blobPath(f.SHA256), paths[i])
		if hard == nil {
			continue
		}
		target := filepath.Join("..", "..", dirBlobs, blobPrefix+f.SHA256)
		if soft := s.fs.Symlink(target, paths[i]); soft != nil {
			return fmt.Errorf("neither a hard link nor a symbolic one can be made here: %w", errors.Join(hard, soft))
		}
	}
	return nil
}

// removeView deletes a view. The caller holds the store's lock.
func (s *Store) removeView(id string) error {
	dir := filepath.Join(s.root, dirViews, id)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, s.remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(append(errs, s.remove(dir))...)
}
