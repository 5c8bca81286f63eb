package content

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Kind says what content is.
type Kind string

// The kinds.
const (
	Model Kind = "model" // GGUF files
	Data  Kind = "data"  // a data set
	Other Kind = "other"
)

// File is one file of content.
type File struct {
	Path string // below the content's folder, parts separated by "/"
	Size int64  // bytes
	Root Hash   // of its tree
}

// Manifest says what content is and where it comes from. All of it is what the
// publisher claims; the signature says who does.
type Manifest struct {
	Kind      Kind
	Name      string // how the publisher calls it
	Files     []File // at least one; their order is part of the root
	Licence   string // an SPDX expression or words; may be empty
	Origin    string // where it comes from: a URL or words; may be empty
	Consent   string // of those whose data it is; may be empty
	Parents   []Root // what it was made from
	Publisher peer.ID
	Created   time.Time // to the millisecond
}

// Size is the bytes of all files together.
func (m *Manifest) Size() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

const manifestVersion = 1

type manifestCBOR struct {
	Version   uint64     `cbor:"1,keyasint"`
	Kind      string     `cbor:"2,keyasint"`
	Name      string     `cbor:"3,keyasint"`
	Files     []fileCBOR `cbor:"4,keyasint"`
	Licence   string     `cbor:"5,keyasint,omitempty"`
	Origin    string     `cbor:"6,keyasint,omitempty"`
	Consent   string     `cbor:"7,keyasint,omitempty"`
	Parents   [][]byte   `cbor:"8,keyasint,omitempty"`
	Publisher []byte     `cbor:"9,keyasint"`
	Created   int64      `cbor:"10,keyasint"`
	Signature []byte     `cbor:"11,keyasint"`
}

type fileCBOR struct {
	Path string `cbor:"1,keyasint"`
	Size uint64 `cbor:"2,keyasint"`
	Root []byte `cbor:"3,keyasint"`
}

// maxItems bounds the data items of a manifest: seven for each file.
const maxItems = 7*MaxFiles + MaxParents + 64

// Sign gives the signed manifest and its root. Publisher is set to the key's.
func (m *Manifest) Sign(key ed25519.PrivateKey) ([]byte, Root, error) {
	m.Publisher = peer.FromPrivate(key)
	m.Created = m.Created.UTC().Truncate(time.Millisecond)
	if err := m.check(); err != nil {
		return nil, Root{}, err
	}
	c := m.cbor()
	digest, err := c.digest()
	if err != nil {
		return nil, Root{}, err
	}
	c.Signature = ed25519.Sign(key, digest[:])
	data, err := canon.Marshal(c)
	if err == nil && len(data) > MaxManifest {
		err = errorf("a manifest of %d bytes, want at most %d", len(data), MaxManifest)
	}
	if err != nil {
		return nil, Root{}, err
	}
	return data, ManifestRoot(data), nil
}

// ManifestRoot is the root of a signed manifest.
func ManifestRoot(data []byte) Root { return canon.Sum("aval content root/1", data) }

func (m *Manifest) cbor() *manifestCBOR {
	c := &manifestCBOR{
		Version: manifestVersion, Kind: string(m.Kind), Name: m.Name, Licence: m.Licence, Origin: m.Origin, Consent: m.Consent,
		Publisher: m.Publisher[:], Created: m.Created.UnixMilli(), Signature: []byte{},
	}
	for _, f := range m.Files {
		c.Files = append(c.Files, fileCBOR{f.Path, uint64(f.Size), bytes.Clone(f.Root[:])})
	}
	for _, p := range m.Parents {
		c.Parents = append(c.Parents, bytes.Clone(p[:]))
	}
	return c
}

// digest is what is signed: the manifest with an empty signature.
func (c *manifestCBOR) digest() (canon.Hash, error) {
	u := *c
	u.Signature = []byte{}
	data, err := canon.Marshal(&u)
	return canon.Sum("aval content manifest/1", data), err
}

// ParseManifest reads a signed manifest and checks all of it: that it has the root,
// its form, its limits, its paths, its signature.
func ParseManifest(data []byte, root Root) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, errorf("a manifest of %d bytes, want at most %d", len(data), MaxManifest)
	}
	if ManifestRoot(data) != root {
		return nil, errorf("the manifest is that of another root")
	}
	var c manifestCBOR
	if err := canon.UnmarshalMax(data, &c, maxItems); err != nil {
		return nil, errorf("the manifest: %w", err)
	}
	if c.Version != manifestVersion {
		return nil, errorf("a manifest of version %d, and this program knows %d: is it older than the publisher's?", c.Version, manifestVersion)
	}
	m := &Manifest{Kind: Kind(c.Kind), Name: c.Name, Licence: c.Licence, Origin: c.Origin, Consent: c.Consent, Created: time.UnixMilli(c.Created).UTC()}
	if len(c.Publisher) != len(m.Publisher) || len(c.Signature) != ed25519.SignatureSize {
		return nil, errorf("a key of %d bytes and a signature of %d", len(c.Publisher), len(c.Signature))
	}
	copy(m.Publisher[:], c.Publisher)
	for i, f := range c.Files {
		if len(f.Root) != canon.Size || f.Size > MaxFileSize {
			return nil, errorf("file %d of the manifest has %d bytes and a root of %d", i, f.Size, len(f.Root))
		}
		m.Files = append(m.Files, File{f.Path, int64(f.Size), Hash(f.Root)})
	}
	for i, p := range c.Parents {
		if len(p) != canon.Size {
			return nil, errorf("parent %d of the manifest has %d bytes", i, len(p))
		}
		m.Parents = append(m.Parents, Root(p))
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	digest, err := c.digest()
	if err != nil {
		return nil, errorf("the manifest: %w", err)
	}
	if !ed25519.Verify(m.Publisher.Public(), digest[:], c.Signature) {
		return nil, errorf("the manifest's signature is not that of %s", m.Publisher)
	}
	return m, nil
}

func (m *Manifest) check() error {
	switch {
	case m.Kind != Model && m.Kind != Data && m.Kind != Other:
		return errorf("content of the kind %.40q, want %s, %s or %s", m.Kind, Model, Data, Other)
	case len(m.Files) == 0 || len(m.Files) > MaxFiles:
		return errorf("%d files, want 1 to %d", len(m.Files), MaxFiles)
	case len(m.Name) > MaxName || strings.Contains(m.Name, "/") || checkPart(m.Name) != "":
		return errorf("the name %.200q is empty, too long (%d bytes) or cannot be the name of a file", m.Name, MaxName)
	case len(m.Parents) > MaxParents:
		return errorf("%d parents, want at most %d", len(m.Parents), MaxParents)
	}
	for _, t := range []struct{ what, text string }{{"licence", m.Licence}, {"origin", m.Origin}, {"consent", m.Consent}} {
		// A terminal obeys control characters.
		if len(t.text) > MaxText || !utf8.ValidString(t.text) || strings.ContainsFunc(t.text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
			return errorf("the text of %s has %d bytes, more than %d, or characters that are no text", t.what, len(t.text), MaxText)
		}
	}
	var total int64
	for _, f := range m.Files {
		if f.Size < 0 || f.Size > MaxFileSize {
			return errorf("the file %.200q has %d bytes", f.Path, f.Size)
		}
		if total += f.Size; total > MaxFileSize {
			return errorf("the files have more than %d bytes together", int64(MaxFileSize))
		}
	}
	return checkPaths(m.Files)
}
