package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Commit puts a model into the store, replacing one of the same name. Its
// files are the finished ones in staged or are in the store already (staged
// and [Staged.Present], or of another model). The staged files remain the
// caller's to Close. A name without a tag gets the tag "latest".
func (s *Store) Commit(m Model, staged ...*Staged) (Model, error) {
	fail := func(err error) (Model, error) {
		return Model{}, fmt.Errorf("store: commit %s: %w", clip(m.Name), err)
	}
	n, err := ParseName(m.Name)
	if err != nil {
		return fail(err)
	}
	m.Name = n.stored().String()
	m.Created = m.Created.UTC().Truncate(time.Second)
	data, err := m.Manifest()
	if err != nil {
		return fail(err)
	}
	l, err := s.lock()
	if err != nil {
		return fail(err)
	}
	defer l.release()

	for _, g := range staged {
		if err := g.publish(); err != nil {
			return fail(err)
		}
	}
	if err := s.fs.SyncDir(filepath.Join(s.root, dirBlobs)); err != nil {
		return fail(err)
	}
	for _, f := range m.Files {
		st, err := os.Stat(s.blobPath(f.SHA256))
		if err != nil {
			return fail(fmt.Errorf("%s: %w", f.Path, err))
		}
		if st.Size() != f.Size {
			return fail(&MismatchError{File: f.Path, WantSHA256: f.SHA256, WantSize: f.Size, GotSize: st.Size()})
		}
	}
	path := s.manifestPath(n.stored())
	old, oldErr := s.readManifest(path)
	if err := s.writeAtomic(path, data); err != nil {
		return fail(err)
	}
	if oldErr == nil {
		// The new model is in; what the old one leaves behind is Prune's if it
		// cannot be removed now.
		_, _ = s.drop(old)
	}
	return m, nil
}

// Remove deletes a model and those of its files that no other model uses. It
// returns the bytes freed. The name is looked up as [Store.Get] does; a model
// whose manifest is damaged is removed by its full name.
func (s *Store) Remove(name string) (freed int64, err error) {
	n, err := ParseName(name)
	if err != nil {
		return 0, err
	}
	l, err := s.lock()
	if err != nil {
		return 0, err
	}
	defer l.release()

	m, err := s.find(n)
	path := s.manifestPath(n.stored())
	switch {
	case err == nil:
		found, _ := ParseName(m.Name)
		path = s.manifestPath(found)
	case !errors.Is(err, ErrCorrupt):
		return 0, err
	}
	if err := s.fs.Remove(path); err != nil {
		return 0, fmt.Errorf("store: remove %s: %w", n, err)
	}
	if err := s.fs.SyncDir(filepath.Dir(path)); err != nil {
		return 0, fmt.Errorf("store: remove %s: %w", n, err)
	}
	freed, err = s.drop(m)
	if err != nil {
		return freed, fmt.Errorf("store: %s is removed, but not all of its files: %w", n, err)
	}
	return freed, nil
}

// references returns the hashes and view ids that models use. It fails rather
// than leave out a manifest it cannot read.
func (s *Store) references() (blobs, views map[string]bool, err error) {
	models, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	blobs, views = map[string]bool{}, map[string]bool{}
	for _, m := range models {
		views[viewID(m)] = true
		for _, f := range m.Files {
			blobs[f.SHA256] = true
		}
	}
	return blobs, views, nil
}

// drop removes the files of a model that has no manifest any more, so far as
// nothing else uses them. The caller holds the store's lock.
func (s *Store) drop(m Model) (freed int64, err error) {
	if len(m.Files) == 0 {
		return 0, nil
	}
	blobs, views, err := s.references()
	if err != nil {
		return 0, err
	}
	var errs []error
	if id := viewID(m); !views[id] {
		errs = append(errs, s.removeView(id))
	}
	for _, f := range m.Files {
		if blobs[f.SHA256] {
			continue
		}
		blobs[f.SHA256] = true // once, though a file may occur twice in a model
		n, err := s.removeBlob(f.SHA256)
		freed += n
		errs = append(errs, err)
	}
	return freed, errors.Join(errs...)
}

// removeBlob deletes a blob unless someone has staged it to use it.
func (s *Store) removeBlob(sha string) (freed int64, err error) {
	l, err := acquire(filepath.Join(s.root, dirPartial, blobPrefix+sha+extLock), false)
	if errors.Is(err, ErrBusy) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer l.releaseRemove()
	st, err := os.Stat(s.blobPath(sha))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := s.fs.Remove(s.blobPath(sha)); err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Pruned says what Prune removed.
type Pruned struct {
	Blobs    int   // files that no model uses
	Partials int   // downloads that were not finished
	Bytes    int64 // bytes freed by both
}

// Prune removes what no model needs: unreferenced blobs, partial files nobody
// is writing, and leftovers of crashes. With a damaged manifest in the store it
// removes nothing and says which one.
func (s *Store) Prune() (Pruned, error) {
	l, err := s.lock()
	if err != nil {
		return Pruned{}, err
	}
	defer l.release()
	blobs, views, err := s.references()
	if err != nil {
		return Pruned{}, fmt.Errorf("store: nothing was pruned: %w", err)
	}
	var p Pruned
	var errs []error
	err = s.each(dirManifests, func(name string) error {
		if strings.HasSuffix(name, extTemp) {
			return s.remove(filepath.Join(s.root, dirManifests, name))
		}
		return nil
	})
	errs = append(errs, err, s.each(dirViews, func(name string) error {
		if views[name] {
			return nil
		}
		return s.removeView(name)
	}), s.each(dirPartial, func(name string) error {
		return s.prunePartial(name, &p)
	}), s.each(dirBlobs, func(name string) error {
		sha, ok := strings.CutPrefix(name, blobPrefix)
		if !ok || !validSHA(sha) || blobs[sha] {
			return nil // not ours, or in use
		}
		n, err := s.removeBlob(sha)
		if n > 0 {
			p.Blobs++
			p.Bytes += n
		}
		return err
	}))
	if err := errors.Join(errs...); err != nil {
		return p, fmt.Errorf("store: prune: %w", err)
	}
	return p, nil
}

// each calls do with every name in one of the store's folders.
func (s *Store) each(dir string, do func(name string) error) error {
	entries, err := os.ReadDir(filepath.Join(s.root, dir))
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, do(e.Name()))
	}
	return errors.Join(errs...)
}

func (s *Store) prunePartial(name string, p *Pruned) error {
	sha, ok := strings.CutPrefix(name, blobPrefix)
	if !ok || len(sha) < 64 || !validSHA(sha[:64]) {
		return nil // not ours
	}
	sha = sha[:64]
	l, err := acquire(filepath.Join(s.root, dirPartial, blobPrefix+sha+extLock), false)
	if errors.Is(err, ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.releaseRemove()
	if strings.HasSuffix(name, extLock) {
		return nil
	}
	path := filepath.Join(s.root, dirPartial, name)
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.remove(path); err != nil {
		return err
	}
	if strings.HasSuffix(name, extPartial) {
		p.Partials++
		p.Bytes += st.Size()
	}
	return nil
}
