package content

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// ErrManifest says that bytes are no manifest, or none that may be used.
var ErrManifest = errors.New("the manifest is not valid")

// Kind is what the files are.
type Kind string

// The kinds.
const (
	Model  Kind = "model" // GGUF files of one model
	Data   Kind = "data"  // a data set
	Folder Kind = "folder"
)

// Entry is a file of a manifest.
type Entry struct {
	Path string `json:"path"` // with slashes, below the folder that it is put in
	Size int64  `json:"size"` // bytes
	Node Hash   `json:"node"` // names the file's node
}

// Manifest says what files are and where they come from. The publisher vouches
// for the texts; that they are true, nobody can tell from them.
type Manifest struct {
	Kind      Kind      `json:"kind"`
	Name      string    `json:"name"`              // what to call it; a suggestion
	Files     []Entry   `json:"files"`             // in the order of their paths
	Origin    string    `json:"origin,omitempty"`  // a URL or words
	Licence   string    `json:"licence,omitempty"` // an SPDX expression or words
	Consent   string    `json:"consent,omitempty"` // to what the people in the data agreed
	Parents   []Root    `json:"parents,omitempty"` // what it was made from
	Created   time.Time `json:"created"`           // to the second
	Publisher peer.ID   `json:"publisher"`
}

// Size is the sum of the files' sizes.
func (m *Manifest) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

type wireEntry struct {
	_    struct{} `cbor:",toarray"`
	Path string
	Size uint64
	Node []byte
}

type wireManifest struct {
	Kind      string      `cbor:"1,keyasint"`
	Name      string      `cbor:"2,keyasint"`
	Files     []wireEntry `cbor:"3,keyasint"`
	Origin    string      `cbor:"4,keyasint"`
	Licence   string      `cbor:"5,keyasint"`
	Consent   string      `cbor:"6,keyasint"`
	Parents   [][]byte    `cbor:"7,keyasint"`
	Created   int64       `cbor:"8,keyasint"` // Unix seconds
	Publisher []byte      `cbor:"9,keyasint"`
	Signature []byte      `cbor:"10,keyasint"`
}

// Sign makes a manifest of its key's owner. The bytes are the object; the root
// names it.
func Sign(key ed25519.PrivateKey, m Manifest) (Root, []byte, error) {
	m.Publisher, m.Created = peer.FromPrivate(key), m.Created.Truncate(time.Second)
	slices.SortFunc(m.Files, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	if err := m.check(); err != nil {
		return Root{}, nil, err
	}
	w := m.wire()
	sum, err := w.signed()
	if err != nil {
		return Root{}, nil, err
	}
	w.Signature = ed25519.Sign(key, sum[:])
	data, err := canon.Marshal(w)
	if err == nil && len(data) > MaxManifest {
		err = fmt.Errorf("%w: it has %d bytes, want at most %d", ErrManifest, len(data), MaxManifest)
	}
	if err != nil {
		return Root{}, nil, err
	}
	return ManifestRoot(data), data, nil
}

// ManifestRoot names a manifest by its bytes.
func ManifestRoot(data []byte) Root { return canon.Sum(purposeManifest, data) }

func (m *Manifest) wire() *wireManifest {
	w := &wireManifest{
		Kind: string(m.Kind), Name: m.Name, Files: []wireEntry{}, Origin: m.Origin, Licence: m.Licence, Consent: m.Consent,
		Parents: [][]byte{}, Created: m.Created.Unix(), Publisher: m.Publisher[:],
	}
	for _, f := range m.Files {
		w.Files = append(w.Files, wireEntry{Path: f.Path, Size: uint64(f.Size), Node: f.Node[:]})
	}
	for _, p := range m.Parents {
		w.Parents = append(w.Parents, p[:])
	}
	return w
}

// signed is what the signature is over.
func (w *wireManifest) signed() (Hash, error) {
	plain := *w
	plain.Signature = nil
	data, err := canon.Marshal(&plain)
	return canon.Sum("aval manifest signature/1", data), err
}

// ParseManifest reads the object that is named want, and checks it and its
// signature.
func ParseManifest(want Root, data []byte) (*Manifest, error) {
	if len(data) > MaxManifest || ManifestRoot(data) != want {
		return nil, fmt.Errorf("content: the manifest: %w", ErrObject)
	}
	var w wireManifest
	if err := canon.UnmarshalMax(data, &w, 8*MaxFiles); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	m := &Manifest{
		Kind: Kind(w.Kind), Name: w.Name, Origin: w.Origin, Licence: w.Licence, Consent: w.Consent, Created: time.Unix(w.Created, 0).UTC(),
	}
	if len(w.Publisher) != len(m.Publisher) || len(w.Signature) != ed25519.SignatureSize || len(w.Files) > MaxFiles || len(w.Parents) > MaxParents {
		return nil, fmt.Errorf("%w: %d files, %d parents, a key of %d bytes and a signature of %d", ErrManifest, len(w.Files), len(w.Parents), len(w.Publisher), len(w.Signature))
	}
	copy(m.Publisher[:], w.Publisher)
	for _, f := range w.Files {
		if f.Size > MaxFileSize || len(f.Node) != len(Hash{}) {
			return nil, fmt.Errorf("%w: %.100q has %d bytes and a hash of %d", ErrManifest, f.Path, f.Size, len(f.Node))
		}
		m.Files = append(m.Files, Entry{f.Path, int64(f.Size), Hash(f.Node)})
	}
	for _, p := range w.Parents {
		if len(p) != len(Root{}) {
			return nil, fmt.Errorf("%w: a parent of %d bytes", ErrManifest, len(p))
		}
		m.Parents = append(m.Parents, Root(p))
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	sum, err := w.signed()
	if err != nil || !ed25519.Verify(m.Publisher.Public(), sum[:], w.Signature) {
		return nil, fmt.Errorf("%w: peer %s did not sign it", ErrManifest, m.Publisher.Short())
	}
	return m, nil
}

// check holds a manifest to its rules.
func (m *Manifest) check() error {
	switch m.Kind {
	case Model, Data, Folder:
	default:
		return fmt.Errorf("%w: the kind %.20q is unknown", ErrManifest, m.Kind)
	}
	if len(m.Files) == 0 || len(m.Files) > MaxFiles || len(m.Parents) > MaxParents {
		return fmt.Errorf("%w: %d files and %d parents, want 1 to %d and at most %d", ErrManifest, len(m.Files), len(m.Parents), MaxFiles, MaxParents)
	}
	if m.Name == "" {
		return fmt.Errorf("%w: it has no name", ErrManifest)
	}
	for _, s := range []string{m.Name, m.Origin, m.Licence, m.Consent} {
		if len(s) > MaxText || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			return fmt.Errorf("%w: a text of %d bytes is too long, no UTF-8, or has control characters", ErrManifest, len(s))
		}
	}
	if strings.ContainsAny(m.Name, "\n\t") || len(m.Name) > MaxPath {
		return fmt.Errorf("%w: its name is not one line of at most %d bytes", ErrManifest, MaxPath)
	}
	if y := m.Created.Year(); y < 2000 || y > 9999 {
		return fmt.Errorf("%w: it was made in the year %d", ErrManifest, y)
	}
	seen := map[string]bool{}
	last := ""
	for _, f := range m.Files {
		if why := badPath(f.Path); why != "" {
			return fmt.Errorf("%w: the path %.100q %s", ErrManifest, f.Path, why)
		}
		if f.Path <= last {
			return fmt.Errorf("%w: the path %.100q is not behind %.100q", ErrManifest, f.Path, last)
		}
		last = f.Path
		// Some systems do not tell letters of two cases apart, and a file cannot
		// be a folder, too.
		folded := strings.ToLower(f.Path)
		for dir := folded; ; {
			i := strings.LastIndexByte(dir, '/')
			if i < 0 {
				break
			}
			dir = dir[:i]
			if seen[dir] {
				return fmt.Errorf("%w: the path %.100q is below a file", ErrManifest, f.Path)
			}
		}
		if seen[folded] {
			return fmt.Errorf("%w: the path %.100q is there twice", ErrManifest, f.Path)
		}
		seen[folded] = true
	}
	return nil
}

// badPath says what is wrong with a path; nothing if it is safe on every system.
func badPath(p string) string {
	if p == "" || len(p) > MaxPath || !utf8.ValidString(p) {
		return fmt.Sprintf("is not 1 to %d bytes of UTF-8", MaxPath)
	}
	for seg := range strings.SplitSeq(p, "/") {
		stem, _, _ := strings.Cut(strings.ToUpper(seg), ".")
		switch {
		case seg == "" || seg == "." || seg == "..":
			return "leaves its folder, or has an empty part"
		case strings.ContainsAny(seg, "\\:*?\"<>|") || strings.ContainsFunc(seg, unicode.IsControl):
			return "has a character that not every system allows"
		case strings.HasSuffix(seg, ".") || strings.HasSuffix(seg, " ") || strings.HasPrefix(seg, " "):
			return "begins or ends with a space, or ends with a dot"
		case slices.Contains([]string{"CON", "PRN", "AUX", "NUL"}, stem),
			len(stem) == 4 && (stem[:3] == "COM" || stem[:3] == "LPT") && stem[3] >= '0' && stem[3] <= '9':
			return "is a device on Windows"
		}
	}
	return ""
}
