// Package library keeps what this device has of content and where: files that are
// shared stay where they are and are only indexed, files that are fetched grow
// chunk by chunk, and a fetch that was interrupted at any instant goes on where
// it was.
//
// Begin with [Open]. [Library.Share] indexes files in place; a Library is the
// exchange.Source of all of it. [Library.Download] is the exchange.Sink of what
// is fetched, into a folder or into the library's own. What is in there and
// neither pinned nor in use is removed when it exceeds the quota, what was used
// longest ago first.
//
// No chunk is given to anybody whose hash was not checked since its file last
// changed. The library decides nothing about who may have what; [Library.Offered]
// tells what its owner said.
//
// Layout of its folder:
//
//	lock                     held by the process that has the library
//	<root>/manifest          the signed manifest
//	<root>/state.json        where the files are, and what the owner wants
//	<root>/trees             the lists of chunks, one after the other
//	<root>/journal           chunks that were written, while not all are there
//	<root>/files/            the files, if they were not fetched into another folder
package library

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/store"
)

// Names in the library's folder.
const (
	lockFile     = "lock"
	manifestFile = "manifest"
	stateFile    = "state.json"
	treesFile    = "trees"
	journalFile  = "journal"
	filesFolder  = "files"
)

// DefaultQuota is how many bytes the library keeps of what is not pinned.
const DefaultQuota = 32 << 30

const (
	maxContents  = 10_000
	maxStateFile = 64 << 20
)

// ErrBusy says that another process has the library.
var ErrBusy = errors.New("another process uses the library of content")

// Config says where a library is.
type Config struct {
	Folder string
	// Quota bounds the bytes of what was fetched into the library and is not
	// pinned; 0 means DefaultQuota.
	Quota  int64
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default()
}

// Library is what this device has.
type Library struct {
	cfg     Config
	release func()

	mu      sync.Mutex
	entries map[content.Root]*entry

	// An entry's lock may be taken with mu held, never the other way; indexed may
	// be taken with either.
	indexed sync.Mutex
	index   map[content.Hash]place // of chunks that are here; nil: to be made
}

var _ exchange.Source = (*Library)(nil)

// Open takes the library of a folder, which it makes, for this process alone, or
// fails with ErrBusy. Content that cannot be read is left alone and logged.
func Open(cfg Config) (*Library, error) {
	if cfg.Quota == 0 {
		cfg.Quota = DefaultQuota
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := os.MkdirAll(cfg.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	release, err := store.Lock(filepath.Join(cfg.Folder, lockFile))
	for tries := 0; errors.Is(err, store.ErrBusy) && tries < 10; tries++ { // a look at the list takes no longer
		time.Sleep(50 * time.Millisecond)
		release, err = store.Lock(filepath.Join(cfg.Folder, lockFile))
	}
	if errors.Is(err, store.ErrBusy) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	l := &Library{cfg: cfg, release: release, entries: map[content.Root]*entry{}}
	list, err := os.ReadDir(cfg.Folder)
	if err != nil {
		release()
		return nil, fmt.Errorf("library: %w", err)
	}
	for _, d := range list {
		root, err := content.ParseRoot(d.Name())
		if err != nil || !d.IsDir() || len(l.entries) == maxContents {
			continue
		}
		e, err := l.read(root)
		if err != nil {
			cfg.Logger.Warn("library: content cannot be read and is left alone", "root", root, "error", err)
			continue
		}
		l.entries[root] = e
	}
	return l, nil
}

// Close lets others have the library.
func (l *Library) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		e.mu.Lock()
		e.closeJournal()
		e.mu.Unlock()
	}
	l.entries = map[content.Root]*entry{}
	l.release()
	return nil
}

// state is what stateFile says.
type state struct {
	Version int `json:"version"` // 1
	// Folder holds the files under their paths; empty: the library's own.
	Folder string `json:"folder,omitempty"`
	// Files are the places of the files, in their order, where they do not lie
	// under their paths in a folder.
	Files    []string  `json:"files,omitempty"`
	Stats    []stat    `json:"stats,omitempty"` // of the files, when they were whole
	InPlace  bool      `json:"in_place"`        // the files are the owner's and are never written
	Complete bool      `json:"complete"`
	Offered  bool      `json:"offered"` // to those who are allowed
	Public   bool      `json:"public"`  // everybody is
	Pinned   bool      `json:"pinned"`
	Added    time.Time `json:"added"`
	Used     time.Time `json:"used"`
}

// stat tells whether a file was changed.
type stat struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // Unix nanoseconds
}

func statOf(info fs.FileInfo) stat { return stat{info.Size(), info.ModTime().UnixNano()} }

func (l *Library) path(root content.Root, name string) string {
	return filepath.Join(l.cfg.Folder, root.String(), name)
}

// read reads an entry, without its trees.
func (l *Library) read(root content.Root) (*entry, error) {
	raw, err := readFile(l.path(root, manifestFile), content.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := content.ParseManifest(raw, root)
	if err != nil {
		return nil, err
	}
	text, err := readFile(l.path(root, stateFile), maxStateFile)
	if err != nil {
		return nil, err
	}
	e := newEntry(l, root, raw, m)
	if err := json.Unmarshal(text, &e.state); err != nil {
		return nil, err
	}
	s := &e.state
	if s.Version != 1 || len(s.Files) != 0 && len(s.Files) != len(m.Files) || len(s.Stats) != 0 && len(s.Stats) != len(m.Files) ||
		(s.Complete || s.InPlace) && len(s.Stats) == 0 {
		return nil, fmt.Errorf("%s does not belong to its manifest, or is of another version", l.path(root, stateFile))
	}
	return e, nil
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return data, err
}

func writeFile(path string, data []byte) error {
	return store.WriteFile(store.OS{}, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// save writes the state of an entry, whose lock is held.
func (e *entry) save() error {
	text, err := json.Marshal(&e.state)
	if err == nil {
		err = writeFile(e.l.path(e.root, stateFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return nil
}

// create makes an entry on disk.
func (l *Library) create(root content.Root, raw []byte, m *content.Manifest, s state) (*entry, error) {
	e := newEntry(l, root, raw, m)
	s.Version, s.Added = 1, l.cfg.Now().UTC()
	s.Used = s.Added
	e.state = s
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.entries[root]; old != nil {
		return old, nil
	}
	if len(l.entries) >= maxContents {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "the library has %d contents, which is the most: stop sharing some", len(l.entries))
	}
	if err := os.MkdirAll(l.path(root, ""), 0o700); err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	if err := writeFile(l.path(root, manifestFile), raw); err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	if err := e.save(); err != nil { // without it there is no entry after a crash
		return nil, err
	}
	l.entries[root] = e
	return e, nil
}

func (l *Library) entry(root content.Root) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[root]; e != nil {
		return e, nil
	}
	return nil, exchange.ErrMissing
}

// Info is what the library says of a content.
type Info struct {
	Root      content.Root   `json:"root"`
	Name      string         `json:"name"`
	Kind      content.Kind   `json:"kind"`
	Files     int            `json:"files"`
	Size      int64          `json:"size"` // bytes
	Publisher string         `json:"publisher"`
	Licence   string         `json:"licence,omitempty"`
	Origin    string         `json:"origin,omitempty"`
	Consent   string         `json:"consent,omitempty"`
	Parents   []content.Root `json:"parents,omitempty"`
	Created   time.Time      `json:"created"`
	Place     string         `json:"place"`    // the folder or file
	InPlace   bool           `json:"in_place"` // the files are the owner's
	Complete  bool           `json:"complete"`
	Offered   bool           `json:"offered"`
	Public    bool           `json:"public"`
	Pinned    bool           `json:"pinned"`
	Changed   []string       `json:"changed,omitempty"` // files that are not what they were, and not given any more
	Used      time.Time      `json:"used"`
}

func (e *entry) info() Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, s := e.manifest, &e.state
	i := Info{
		Root: e.root, Name: m.Name, Kind: m.Kind, Files: len(m.Files), Size: m.Size(), Publisher: m.Publisher.String(),
		Licence: m.Licence, Origin: m.Origin, Consent: m.Consent, Parents: m.Parents, Created: m.Created,
		InPlace: s.InPlace, Complete: s.Complete, Offered: s.Offered, Public: s.Public, Pinned: s.Pinned, Used: s.Used,
	}
	i.Place = e.folder()
	if len(s.Files) > 0 {
		i.Place = s.Files[0]
	}
	for file := range e.changed {
		i.Changed = append(i.Changed, m.Files[file].Path)
	}
	slices.Sort(i.Changed)
	return i
}

func (l *Library) all() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.entries))
}

func (l *Library) infos() (list []Info) {
	for _, e := range l.all() {
		list = append(list, e.info())
	}
	return list
}

// List gives all content, by name, after a look at its files.
func (l *Library) List() []Info {
	for _, e := range l.all() {
		e.look()
	}
	list := l.infos()
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Root.String(), b.Root.String()))
	})
	return list
}

// Info tells of one content; ErrMissing if it is not there.
func (l *Library) Info(root content.Root) (Info, error) {
	e, err := l.entry(root)
	if err != nil {
		return Info{}, err
	}
	return e.info(), nil
}

// Offered tells whether the owner gives content away, and whether to everybody.
func (l *Library) Offered(root content.Root) (offered, public bool) {
	e, err := l.entry(root)
	if err != nil {
		return false, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.Offered, e.state.Offered && e.state.Public
}

// Offer says that content that is here is given to those who are allowed, or to
// everybody.
func (l *Library) Offer(root content.Root, public bool) error {
	return l.set(root, func(s *state) { s.Offered, s.Public = true, public })
}

// Named gives the roots of what is offered under a name, the newest first.
func (l *Library) Named(name string) []content.Root {
	var list []Info
	for _, i := range l.infos() {
		if i.Offered && i.Name == name {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Root.String(), b.Root.String()))
	})
	roots := make([]content.Root, len(list))
	for i := range list {
		roots[i] = list[i].Root
	}
	return roots
}

// Files are the places of a content's files, in their order.
func (l *Library) Files(root content.Root) ([]string, error) {
	e, err := l.entry(root)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]string, len(e.manifest.Files))
	for file := range list {
		list[file] = e.place(file)
	}
	return list, nil
}

// Moved says that the files of content that is whole are the owner's now, at other
// places, in their order. Each chunk is checked there when it is read.
func (l *Library) Moved(root content.Root, files []string) error {
	e, err := l.entry(root)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.state.Complete || len(files) != len(e.manifest.Files) {
		return rpc.Errorf(rpc.FailedPrecondition, "content %s has %d files, or is not whole", root, len(e.manifest.Files))
	}
	if err := e.load(); err != nil {
		return err
	}
	stats := make([]stat, len(files))
	for file, path := range files {
		info, err := os.Stat(path)
		if err == nil && info.Size() != e.manifest.Files[file].Size {
			err = fmt.Errorf("%s has %d bytes, want %d", path, info.Size(), e.manifest.Files[file].Size)
		}
		if err != nil {
			return fmt.Errorf("library: %w", err)
		}
		stats[file] = statOf(info)
		clear(e.checked[file])
		e.asOf[file] = stats[file]
	}
	e.state.Files, e.state.Stats, e.state.Folder, e.state.InPlace = slices.Clone(files), stats, "", true
	clear(e.changed)
	if err := e.save(); err != nil {
		return err
	}
	if err := os.RemoveAll(l.path(root, filesFolder)); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	return nil
}

// Pin keeps content, or no longer.
func (l *Library) Pin(root content.Root, pinned bool) error {
	return l.set(root, func(s *state) { s.Pinned = pinned })
}

func (l *Library) set(root content.Root, change func(*state)) error {
	e, err := l.entry(root)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.state)
	return e.save()
}
