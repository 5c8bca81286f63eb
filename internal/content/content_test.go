package content_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/content"
)

// noise is the same for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func split(t testing.TB, data []byte, parts ...int64) content.File {
	t.Helper()
	f, err := content.Split(context.Background(), bytes.NewReader(data), int64(len(data)), parts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The chunks are the file, within their sizes, and on average as long as is said.
func TestSplit(t *testing.T) {
	for _, n := range []int{0, 1, content.MinChunk, content.MinChunk + 1, content.MaxChunk, 3*content.MaxChunk + 17, 64 << 20} {
		data := noise(1, n)
		f := split(t, data)
		at := f.Offsets()
		if f.Size != int64(n) || at[len(at)-1] != f.Size {
			t.Fatalf("%d bytes: the file has %d, the chunks %d", n, f.Size, at[len(at)-1])
		}
		for i, c := range f.Chunks {
			if c.Hash != content.ChunkHash(data[at[i]:at[i+1]]) {
				t.Fatalf("%d bytes: chunk %d has another hash", n, i)
			}
			if c.Size > content.MaxChunk || c.Size < content.MinChunk && i < len(f.Chunks)-1 {
				t.Errorf("%d bytes: chunk %d has %d", n, i, c.Size)
			}
		}
		if avg := float64(n) / float64(len(f.Chunks)); n == 64<<20 && (avg < 0.7*content.AvgChunk || avg > 1.4*content.AvgChunk) {
			t.Errorf("chunks have %.0f bytes on average", avg)
		}
	}
	same := split(t, make([]byte, 5<<20)) // all zeros: never a cut
	if len(same.Chunks) != 5 {
		t.Errorf("five megabytes of zeros are %d chunks", len(same.Chunks))
	}
	if _, err := content.Split(t.Context(), bytes.NewReader(noise(1, 100)), 99, nil, nil); err == nil {
		t.Error("a file that is longer than it was")
	}
	if _, err := content.Split(t.Context(), bytes.NewReader(noise(1, 100)), 101, nil, nil); err == nil {
		t.Error("a file that is shorter than it was")
	}
}

// What is put into a file, or changed in it, changes the chunks around it and no
// others: the rest is shared.
func TestShared(t *testing.T) {
	data := noise(2, 32<<20)
	base := map[content.Hash]bool{}
	f := split(t, data)
	for _, c := range f.Chunks {
		base[c.Hash] = true
	}
	for name, other := range map[string][]byte{
		"put in":   append(append(append([]byte{}, data[:10<<20]...), noise(3, 12345)...), data[10<<20:]...),
		"changed":  append(append(append([]byte{}, data[:10<<20]...), noise(3, 1000)...), data[10<<20+1000:]...),
		"cut away": data[777777:],
	} {
		var fresh int
		for _, c := range split(t, other).Chunks {
			if !base[c.Hash] {
				fresh += c.Size
			}
		}
		if fresh > 3*content.MaxChunk {
			t.Errorf("%s: %d bytes are in no chunk of the base", name, fresh)
		}
	}
}

// A chunk begins where a part does, and the chunks of a part are those of its
// bytes alone.
func TestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4<<20).Draw(t, "bytes")
		data := noise(uint64(n), n)
		var parts []int64
		at := int64(0)
		for at < int64(n) {
			at += int64(rapid.IntRange(1, 2<<20).Draw(t, "part"))
			parts = append(parts, at)
		}
		f, err := content.Split(context.Background(), bytes.NewReader(data), int64(n), parts, nil)
		if err != nil {
			t.Fatal(err)
		}
		begins := map[int64]bool{}
		for _, o := range f.Offsets() {
			begins[o] = true
		}
		for _, p := range parts {
			if p < int64(n) && !begins[p] {
				t.Fatalf("no chunk begins at %d", p)
			}
		}
		off := int64(rapid.IntRange(0, n-1).Draw(t, "offset"))
		size := int64(rapid.IntRange(1, n).Draw(t, "size"))
		from, to := f.Covering(off, size)
		where := f.Offsets()
		if where[from] > off || where[from+1] <= off || where[to] < min(off+size, int64(n)) || where[to-1] >= off+size {
			t.Fatalf("bytes %d to %d are in chunks %d to %d, at %d to %d", off, off+size, from, to, where[from], where[to])
		}
	})
}

func TestTree(t *testing.T) {
	var f content.File
	for i := range 2500 { // three lists
		c := content.Chunk{Hash: content.Hash{byte(i), byte(i >> 8)}, Size: 1 + i}
		f.Chunks = append(f.Chunks, c)
		f.Size += int64(c.Size)
	}
	node := f.Node()
	size, hashes, err := content.ParseNode(content.NodeHash(node), node)
	if err != nil || size != f.Size || len(hashes) != 3 {
		t.Fatalf("%d bytes in %d lists, %v", size, len(hashes), err)
	}
	var lists [][]content.Chunk
	for i, l := range f.Lists() {
		chunks, err := content.ParseList(hashes[i], l)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, chunks)
		if _, err := content.ParseList(hashes[(i+1)%3], l); !errors.Is(err, content.ErrObject) {
			t.Errorf("list %d in place of another: %v", i, err)
		}
	}
	got, err := content.Join(size, lists)
	if err != nil || !cmp.Equal(got, f) {
		t.Errorf("another file comes back, %v", err)
	}
	for name, bad := range map[string]func() error{
		"a size that is not the chunks'": func() error { _, err := content.Join(size+1, lists); return err },
		"lists in another order": func() error {
			_, err := content.Join(size, [][]content.Chunk{lists[2], lists[0], lists[1]})
			return err
		},
		"a node of another file": func() error { _, _, err := content.ParseNode(content.Hash{1}, node); return err },
		"a node that is cut": func() error {
			b := node[:len(node)-1]
			_, _, err := content.ParseNode(content.NodeHash(b), b)
			return err
		},
		"a node of too many bytes": func() error {
			b := append([]byte{0xff}, node[1:]...)
			_, _, err := content.ParseNode(content.NodeHash(b), b)
			return err
		},
		"an empty chunk": func() error {
			b := make([]byte, 36)
			_, err := content.ParseList(content.ListHash(b), b)
			return err
		},
	} {
		if err := bad(); !errors.Is(err, content.ErrObject) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func manifest() content.Manifest {
	return content.Manifest{
		Kind: content.Folder, Name: "readings", Origin: "the clinic", Licence: "CC-BY-4.0", Consent: "research",
		Files:   []content.Entry{{Path: "a.csv", Size: 10, Node: content.Hash{1}}, {Path: "b/c.csv", Size: 20, Node: content.Hash{2}}},
		Parents: []content.Root{{9}}, Created: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
	}
}

func TestManifest(t *testing.T) {
	m := manifest()
	root, data, err := content.Sign(key(1), m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := content.ParseManifest(root, data)
	if err != nil {
		t.Fatal(err)
	}
	m.Publisher = got.Publisher
	if diff := cmp.Diff(&m, got); diff != "" {
		t.Error(diff)
	}
	if got.Size() != 30 {
		t.Errorf("%d bytes", got.Size())
	}
	if _, err := content.ParseManifest(content.Root{}, data); !errors.Is(err, content.ErrObject) {
		t.Errorf("another root: %v", err)
	}
	for i := range data { // no byte of it may be another
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := content.ParseManifest(content.ManifestRoot(bad), bad); err == nil {
			t.Errorf("byte %d may be changed", i)
		}
	}
}

func TestManifestRefused(t *testing.T) {
	file := func(paths ...string) func(*content.Manifest) {
		return func(m *content.Manifest) {
			m.Files = nil
			for _, p := range paths {
				m.Files = append(m.Files, content.Entry{Path: p})
			}
		}
	}
	for name, change := range map[string]func(*content.Manifest){
		"no files":            file(),
		"leaves the folder":   file("../x"),
		"absolute":            file("/etc/passwd"),
		"a drive":             file("c:x"),
		"a backslash":         file(`a\b`),
		"a dot":               file("a/./b"),
		"an empty part":       file("a//b"),
		"a device":            file("nul.txt"),
		"another device":      file("x/com1"),
		"ends with a dot":     file("a."),
		"ends with a space":   file("a "),
		"a control character": file("a\x00b"),
		"not UTF-8":           file("a\xff"),
		"too long":            file(strings.Repeat("a", 256)),
		"twice":               file("a", "a"),
		"twice, but for case": file("A", "a"),
		"below a file":        file("a", "a/b"),
		"kind":                func(m *content.Manifest) { m.Kind = "virus" },
		"no name":             func(m *content.Manifest) { m.Name = "" },
		"a name of two lines": func(m *content.Manifest) { m.Name = "a\nb" },
		"an escape sequence":  func(m *content.Manifest) { m.Origin = "\x1b[2J" },
		"much text":           func(m *content.Manifest) { m.Licence = strings.Repeat("a", content.MaxText+1) },
		"many parents":        func(m *content.Manifest) { m.Parents = make([]content.Root, content.MaxParents+1) },
		"no time":             func(m *content.Manifest) { m.Created = time.Time{} },
	} {
		m := manifest()
		change(&m)
		if _, _, err := content.Sign(key(1), m); !errors.Is(err, content.ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	_, data, err := content.Sign(key(1), manifest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := content.ParseManifest(content.ManifestRoot(data), data)
		if err == nil && (len(m.Files) == 0 || m.Publisher.IsZero()) {
			t.Errorf("%+v", m)
		}
	})
}

func FuzzTree(f *testing.F) {
	f.Add(make([]byte, 36), make([]byte, 40))
	f.Fuzz(func(t *testing.T, list, node []byte) {
		if chunks, err := content.ParseList(content.ListHash(list), list); err == nil {
			again := content.File{Chunks: chunks}.Lists()
			if len(again) != 1 || !bytes.Equal(again[0], list) {
				t.Errorf("%x becomes %x", list, again)
			}
		}
		_, _, _ = content.ParseNode(content.NodeHash(node), node)
	})
}

func BenchmarkSplit(b *testing.B) {
	data := noise(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		split(b, data)
	}
}
