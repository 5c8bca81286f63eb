// Package store keeps model files on disk: content-addressed, safe against
// crashes at any point and against several processes at once.
//
// Start with [Open]. A model enters by [Store.Import] (files already on this
// machine) or by [Store.Stage], writes and [Store.Commit] (a download, see
// package hub); it is found with [Store.Get], its files with [Store.Paths].
//
// Layout under the root:
//
//	blobs/sha256-<hex>            file contents; named by their hash, never changed
//	manifests/<name>.json         one model: its name, source, date and files
//	partial/sha256-<hex>.partial  a file not complete yet, .state beside it, .lock while someone writes
//	views/<id>/<file>             links to blobs, so that the parts of a split file lie side by side
//	lock                          held while manifests, blobs or views change
//
// A blob moves to its place only after its hash was checked and its bytes were
// synced, and a manifest is replaced by rename after all its blobs are in
// place. So whatever instant a process dies at, every manifest found later is
// whole and refers to whole blobs; what may be left over is an unreferenced
// blob or a partial file, which the next download uses or [Store.Prune] removes.
//
// The package does not read the contents of the files, does not use the
// network, and knows nothing of environment variables or default folders.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Errors a caller branches on.
var (
	// ErrNotFound: no model of that name is in the store.
	ErrNotFound = errors.New("model not found in the store")
	// ErrBusy: another process or goroutine is writing that file now.
	ErrBusy = errors.New("the file is being written by someone else")
	// ErrName: the text is not a valid model name.
	ErrName = errors.New("invalid model name")
	// ErrCorrupt: something in the store is not what was put there.
	ErrCorrupt = errors.New("store is corrupt")
)

const (
	dirBlobs     = "blobs"
	dirManifests = "manifests"
	dirPartial   = "partial"
	dirViews     = "views"
	fileLockName = "lock"

	blobPrefix  = "sha256-"
	extManifest = ".json"
	extPartial  = ".partial"
	extState    = ".state"
	extLock     = ".lock"
	extTemp     = ".tmp"

	permDir  = 0o755
	permFile = 0o644
)

// Store is a model store on disk. Its methods may be called from several
// goroutines, and several Stores, in this process or others, may share a root.
type Store struct {
	root string
	fs   FS
}

// Open returns the store under root, creating its folders where they are
// missing.
func Open(root string) (*Store, error) { return OpenFS(root, OS{}) }

// OpenFS is Open with the file operations that change something going through
// fsys; tests inject faults there.
func OpenFS(root string, fsys FS) (*Store, error) {
	if root == "" {
		return nil, errors.New("store: the root folder is not given")
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{root: abs, fs: fsys}
	for _, d := range []string{dirBlobs, dirManifests, dirPartial, dirViews} {
		dir := filepath.Join(abs, d)
		// A store on a read-only medium can be read when its folders exist.
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			continue
		}
		if err := fsys.MkdirAll(dir); err != nil {
			return nil, fmt.Errorf("store: create %s: %w", dir, err)
		}
	}
	return s, nil
}

// Root returns the absolute path of the store's folder.
func (s *Store) Root() string { return s.root }

// Free returns the bytes that may still be written to the disk that holds the
// store; ok is false where the system does not tell.
func (s *Store) Free() (n int64, ok bool) { return freeSpace(s.root) }

func (s *Store) blobPath(sha string) string {
	return filepath.Join(s.root, dirBlobs, blobPrefix+sha)
}

func (s *Store) manifestPath(n Name) string {
	return filepath.Join(s.root, dirManifests, n.key()+extManifest)
}

// lock takes the lock on everything but partial files, waiting for it.
func (s *Store) lock() (*fileLock, error) {
	l, err := acquire(filepath.Join(s.root, fileLockName), true)
	if err != nil {
		return nil, fmt.Errorf("store: lock %s: %w", s.root, err)
	}
	return l, nil
}

// List returns the models, ordered by name. Manifests that cannot be read are
// reported together in the error; the models returned are good all the same.
func (s *Store) List() ([]Model, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, dirManifests))
	if err != nil {
		return nil, fmt.Errorf("store: list models: %w", err)
	}
	var models []Model
	var bad []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), extManifest) {
			continue
		}
		m, err := s.readManifest(filepath.Join(s.root, dirManifests, e.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed since ReadDir
		case err != nil:
			bad = append(bad, err)
		default:
			models = append(models, m)
		}
	}
	sort.Slice(models, func(i, j int) bool { return lessFold(models[i].Name, models[j].Name) })
	return models, errors.Join(bad...)
}

// lessFold orders names by their lower-case form, which is unique in a store.
func lessFold(a, b string) bool { return strings.ToLower(a) < strings.ToLower(b) }

// Get finds a model. Names are compared without regard to case; a name of two
// parts such as user/repo also finds hf.co/user/repo. A name without a tag
// finds the tag "latest", else the first one in the order of [TagOrder] that
// exists, else the only one; if several are left, the error lists them.
func (s *Store) Get(name string) (Model, error) {
	n, err := ParseName(name)
	if err != nil {
		return Model{}, err
	}
	return s.find(n)
}

func (s *Store) find(n Name) (Model, error) {
	for _, c := range n.candidates() {
		if c.tag != "" {
			m, err := s.readManifest(s.manifestPath(c))
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return m, err
			}
			continue
		}
		m, err := s.findUntagged(c)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return m, err
		}
	}
	return Model{}, fmt.Errorf("store: %s: %w", n, ErrNotFound)
}

func (s *Store) findUntagged(n Name) (Model, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, dirManifests))
	if err != nil {
		return Model{}, fmt.Errorf("store: find %s: %w", n, err)
	}
	prefix := n.key() + tagMark
	files := map[string]string{} // lower-case tag -> file
	var tags []string
	for _, e := range entries {
		if t, ok := strings.CutPrefix(e.Name(), prefix); ok && strings.HasSuffix(t, extManifest) {
			t = strings.TrimSuffix(t, extManifest)
			files[t] = e.Name()
			tags = append(tags, t)
		}
	}
	sort.Strings(tags)
	if len(tags) == 0 {
		return Model{}, fmt.Errorf("store: %s: %w", n, ErrNotFound)
	}
	pick := ""
	for _, t := range append([]string{defaultTag}, TagOrder()...) {
		if f, ok := files[strings.ToLower(t)]; ok {
			pick = f
			break
		}
	}
	if pick == "" && len(tags) == 1 {
		pick = files[tags[0]]
	}
	if pick == "" {
		return Model{}, fmt.Errorf("store: %s names several models; add one of the tags %s, as in %s:%s",
			n, strings.Join(tags, ", "), n, tags[0])
	}
	m, err := s.readManifest(filepath.Join(s.root, dirManifests, pick))
	if errors.Is(err, fs.ErrNotExist) { // removed since ReadDir
		return Model{}, fmt.Errorf("store: %s: %w", n, ErrNotFound)
	}
	return m, err
}
