package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a manifest.
const (
	maxManifestBytes = 4 << 20
	maxFiles         = 8192
	maxSource        = 2048
	maxFileSize      = 1 << 50
)

// manifestFormat names the meaning of the fields; another is refused.
const manifestFormat = "aval-model/v1"

// Model is one stored model.
type Model struct {
	Name    string    // with its tag, such as hf.co/user/repo:Q4_K_M
	Source  string    // where it came from: a URL or a path; may be empty
	Created time.Time // when it was put in, to the second, UTC
	Files   []File    // the parts in order, at least one
}

// File is one file of a model.
type File struct {
	Path   string `json:"path"`   // its name: one path element
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

// Size returns the bytes of all files together.
func (m Model) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

type manifest struct {
	Format  string `json:"format"`
	Name    string `json:"name"`
	Source  string `json:"source"`
	Created string `json:"created"`
	Files   []File `json:"files"`
}

// ParseManifest decodes and checks a manifest.
func ParseManifest(data []byte) (Model, error) {
	if len(data) > maxManifestBytes {
		return Model{}, manifestErr("%d bytes, at most %d are allowed", len(data), maxManifestBytes)
	}
	var w manifest
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Model{}, manifestErr("%v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Model{}, manifestErr("bytes follow the JSON object")
	}
	if w.Format != manifestFormat {
		return Model{}, manifestErr("format is %q, this program knows %q", clip(w.Format), manifestFormat)
	}
	t, err := time.Parse(time.RFC3339, w.Created)
	if err != nil {
		return Model{}, manifestErr("created: %v", err)
	}
	m := Model{Name: w.Name, Source: w.Source, Created: t.UTC(), Files: w.Files}
	if err := m.check(); err != nil {
		return Model{}, err
	}
	return m, nil
}

// Manifest returns the model's manifest as it is written to disk.
func (m Model) Manifest() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(manifest{
		Format: manifestFormat, Name: m.Name, Source: m.Source,
		Created: m.Created.UTC().Format(time.RFC3339), Files: m.Files,
	})
	return b.Bytes(), err
}

func (m Model) check() error {
	n, err := ParseName(m.Name)
	if err != nil {
		return manifestErr("%w", err)
	}
	if n.tag == "" || n.String() != m.Name {
		return manifestErr("name %q is not in its stored form %q", m.Name, n.stored())
	}
	if len(m.Source) > maxSource || !utf8.ValidString(m.Source) || strings.ContainsFunc(m.Source, isControl) {
		return manifestErr("source: must be at most %d bytes of text without control characters", maxSource)
	}
	if y := m.Created.Year(); y < 0 || y > 9999 {
		return manifestErr("created: year %d is out of range", y)
	}
	if len(m.Files) == 0 || len(m.Files) > maxFiles {
		return manifestErr("%d files, want 1 to %d", len(m.Files), maxFiles)
	}
	seen := make(map[string]bool, len(m.Files))
	for i, f := range m.Files {
		if why := checkFileName(f.Path); why != "" {
			return manifestErr("file %d: path %q: %s", i, clip(f.Path), why)
		}
		if k := strings.ToLower(f.Path); seen[k] {
			return manifestErr("file %d: path %q occurs twice", i, f.Path)
		} else {
			seen[k] = true
		}
		if !validSHA(f.SHA256) {
			return manifestErr("file %d: sha256 %q is not 64 lower-case hex digits", i, clip(f.SHA256))
		}
		if f.Size < 0 || f.Size > maxFileSize {
			return manifestErr("file %d: size %d is out of range", i, f.Size)
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func manifestErr(format string, args ...any) error {
	return fmt.Errorf("store: manifest: "+format, args...)
}

func validSHA(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// readManifest loads one manifest and checks that it is the one its file name
// promises.
func (s *Store) readManifest(path string) (Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return Model{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifestBytes+1))
	if err != nil {
		return Model{}, fmt.Errorf("store: read %s: %w", path, err)
	}
	m, err := ParseManifest(data)
	if err == nil {
		n, _ := ParseName(m.Name)
		if want := n.key() + extManifest; want != filepath.Base(path) {
			err = manifestErr("it is for %q, which belongs in %s", m.Name, want)
		}
	}
	if err != nil {
		return Model{}, fmt.Errorf("%w: %s: %w; delete that file and get the model again", ErrCorrupt, path, err)
	}
	return m, nil
}
