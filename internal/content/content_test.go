package content_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/content"
)

func random(seed uint64, n int) []byte {
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(s).Read(data)
	return data
}

func split(t testing.TB, data []byte, cuts ...int64) (chunks []content.Chunk, ends []int64) {
	t.Helper()
	at := int64(0)
	err := content.Split(bytes.NewReader(data), int64(len(data)), cuts, func(p []byte) error {
		if !bytes.Equal(p, data[at:at+int64(len(p))]) {
			t.Fatalf("a chunk at %d is not what the file has there", at)
		}
		at += int64(len(p))
		ends = append(ends, at)
		chunks = append(chunks, content.Chunk{Hash: content.ChunkHash(p), Size: uint32(len(p))})
		return nil
	})
	if err != nil || at != int64(len(data)) {
		t.Fatalf("Split gave %d of %d bytes: %v", at, len(data), err)
	}
	return chunks, ends
}

// TestSplitPinned pins the parameters: other nodes must cut alike.
func TestSplitPinned(t *testing.T) {
	data := random(1, 8<<20)
	chunks, ends := split(t, data)
	tree, err := content.NewTree(chunks)
	if err != nil {
		t.Fatal(err)
	}
	if average := len(data) / len(chunks); average < content.Average*3/4 || average > content.Average*3/2 {
		t.Errorf("a chunk has %d bytes on average, want about %d", average, content.Average)
	}
	const want = "b33f6f0a076d9dc661f3eb378804f91af875ab16700c3504f66fab8ea4ca82aa"
	if got := tree.Root().String(); got != want {
		t.Errorf("the tree of the pinned bytes has the root %s, want %s; chunks end at %v", got, want, ends)
	}
}

func TestSplitProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		data := random(rapid.Uint64Range(0, 1000).Draw(rt, "seed"), rapid.IntRange(0, 3<<20).Draw(rt, "size"))
		if rapid.Bool().Draw(rt, "flat") {
			clear(data)
		}
		cuts := rapid.SliceOfN(rapid.Int64Range(0, 3<<20), 0, 20).Draw(rt, "cuts")
		slices.Sort(cuts)
		chunks, ends := split(t, data, cuts...)
		if _, err := content.NewTree(chunks); err != nil {
			rt.Fatal(err)
		}
		for i, c := range cuts { // those far enough from others are reached
			if c < content.MinCut || c > int64(len(data)) || i > 0 && c-cuts[i-1] < 2*content.MinCut {
				continue
			}
			near := func(e int64) bool { return e == c }
			if !slices.ContainsFunc(ends, near) && !slices.ContainsFunc(ends, func(e int64) bool { return e < c && e > c-content.MinCut }) {
				rt.Fatalf("no chunk ends at %d, nor shortly before it; they end at %v", c, ends)
			}
		}
	})
}

// TestSharing shows what the cutting is for: bytes that are put in, taken out or
// changed cost the chunks around them, not those that follow.
func TestSharing(t *testing.T) {
	base := random(2, 16<<20)
	have := map[content.Hash]bool{}
	chunks, _ := split(t, base)
	for _, c := range chunks {
		have[c.Hash] = true
	}
	for name, other := range map[string][]byte{
		"bytes put in":   slices.Concat(base[:5<<20], []byte("put in"), base[5<<20:]),
		"bytes taken":    slices.Concat(base[:5<<20], base[5<<20+777:]),
		"a stretch":      slices.Concat(base[:5<<20], random(3, 1<<20), base[6<<20:]),
		"another header": slices.Concat(random(4, 100_001), base[100:]),
	} {
		list, _ := split(t, other)
		var fresh int
		for _, c := range list {
			if !have[c.Hash] {
				fresh += int(c.Size)
			}
		}
		if fresh > 4<<20 {
			t.Errorf("%s: %d bytes of %d are in no chunk of the base", name, fresh, len(other))
		}
	}
}

// TestCutsOfTensors shows that a tensor of a model is a run of whole chunks, and so
// is shared with a model that has the same one at another place.
func TestCutsOfTensors(t *testing.T) {
	model := func(name string, first []byte) []byte {
		var file bytes.Buffer
		w := gguf.NewWriter(&file)
		second := random(5, 300<<10)
		if err := errors.Join(
			w.Set("general.architecture", gguf.ValueOf("llama")), w.Set("general.name", gguf.ValueOf(name)),
			w.Declare("a", gguf.F32, len(first)/4), w.Declare("b", gguf.F32, len(second)/4),
			w.WriteTensor("a", first), w.WriteTensor("b", second), w.Close(),
		); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	base, tuned := model("base", random(7, 200<<10)), model("a model with a longer name", random(8, 220<<10))
	tensor := func(data []byte) (hashes []content.Hash) {
		cuts := content.Cuts(bytes.NewReader(data), int64(len(data)))
		if len(cuts) != 2 {
			t.Fatalf("%d tensors begin at %v, want 2", len(cuts), cuts)
		}
		chunks, ends := split(t, data, cuts...)
		at := slices.Index(ends, cuts[1])
		if at < 0 {
			t.Fatalf("no chunk ends at %d, where a tensor begins; they end at %v", cuts[1], ends)
		}
		for _, c := range chunks[at+1:] {
			hashes = append(hashes, c.Hash)
		}
		return hashes
	}
	if diff := cmp.Diff(tensor(base), tensor(tuned)); diff != "" {
		t.Error(diff)
	}
	if cuts := content.Cuts(bytes.NewReader([]byte("GGUF, not")), 9); cuts != nil {
		t.Errorf("a file that is no model has cuts at %v", cuts)
	}
}

func TestTree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 1023, 1024, 1025, 2048, 2049, 5000}).Draw(rt, "chunks")
		tree := anyTree(n)
		a := content.NewAssembler(tree.Root(), tree.Size())
		for steps := 0; ; steps++ {
			level, index, _, ok := a.Next()
			if !ok {
				break
			}
			if a.Top() {
				level, index = tree.Levels()-1, 0
			}
			good := tree.Node(level, index)
			bad := bytes.Clone(good)
			bad[rapid.IntRange(0, len(bad)-1).Draw(rt, "at")] ^= 1
			if err := a.Add(bad); !errors.Is(err, content.ErrContent) {
				rt.Fatalf("a damaged node is taken: %v", err)
			}
			if err := a.Add(good); err != nil {
				rt.Fatal(err)
			}
		}
		got := a.Tree()
		if got.Root() != tree.Root() || got.Len() != n || got.Size() != tree.Size() {
			rt.Fatalf("got %d chunks, %d bytes", got.Len(), got.Size())
		}
		for i := range n {
			if got.Chunk(i) != tree.Chunk(i) {
				rt.Fatalf("chunk %d differs", i)
			}
		}
	})
}

func anyTree(n int) *content.Tree {
	chunks := make([]content.Chunk, n)
	for i := range chunks {
		chunks[i] = content.Chunk{Hash: content.ChunkHash([]byte{byte(i), byte(i >> 8)}), Size: content.MinCut + uint32(i*7919)%content.MinChunk}
	}
	tree, err := content.NewTree(chunks)
	if err != nil {
		panic(err)
	}
	return tree
}

func TestCover(t *testing.T) {
	tree := anyTree(3000)
	rapid.Check(t, func(rt *rapid.T) {
		offset := rapid.Int64Range(-1, tree.Size()+1).Draw(rt, "offset")
		n := rapid.OneOf(rapid.Int64Range(-1, tree.Size()), rapid.Just(int64(1)<<62)).Draw(rt, "n")
		from, to := tree.Cover(offset, n)
		if offset < 0 || offset >= tree.Size() || n <= 0 {
			if from != to {
				rt.Fatalf("chunks %d to %d cover nothing", from, to)
			}
			return
		}
		last := min(n, tree.Size()-offset) + offset
		if tree.Offset(from) > offset || tree.Offset(from+1) <= offset || tree.Offset(to) < last || tree.Offset(to-1) >= last {
			rt.Fatalf("chunks %d to %d (bytes %d to %d) for bytes %d to %d", from, to, tree.Offset(from), tree.Offset(to), offset, last)
		}
	})
}

// TestTreeRefuses tries trees whose hashes are right and whose form is not.
func TestTreeRefuses(t *testing.T) {
	zero := strings.Repeat("00", 32)
	for _, c := range []struct {
		name, node string
		size       int64
		want       string
	}{
		{"cut", "0000", 0, "want 3 to"},
		{"level too high", "040001" + "0000000000000001" + zero, 1, "level 4"},
		{"a count that is not there", "000002" + "0000000000000001" + zero, 1, "2 children"},
		{"a chunk too large", "000001" + "0000000000100001" + zero, 1<<20 + 1, "a chunk of"},
		{"an empty child", "000001" + "0000000000000000" + zero, 0, "has 0 bytes"},
		{"a chunk too small", "000002" + "0000000000000001" + zero + "0000000000000001" + zero, 2, "a chunk of 1"},
		{"another size", "000001" + "0000000000000005" + zero, 6, "want 6"},
		{"empty, and the file is not", "000000", 6, "empty node"},
		{"a level for nothing", "010001" + "0000000000000005" + zero, 5, "one child"},
		{"more nodes than the size allows", "010002" + "0000000000000005" + zero + "0000000000000005" + zero, 10, "has 5 bytes"},
	} {
		node, err := hex.DecodeString(c.node)
		if err != nil {
			t.Fatal(err)
		}
		err = content.NewAssembler(content.NodeHash(node), c.size).Add(node)
		if !errors.Is(err, content.ErrContent) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func sample() content.Manifest {
	return content.Manifest{
		Kind: content.Model, Name: "tiny", Files: []content.File{{Path: "a/b.gguf", Size: 5, Root: content.Hash{1}}, {Path: "a/c", Root: content.Hash{2}}},
		Licence: "Apache-2.0", Origin: "https://example.org/", Consent: "none needed", Parents: []content.Root{{3}}, Created: time.UnixMilli(1_700_000_000_123),
	}
}

func TestManifest(t *testing.T) {
	m := sample()
	data, root, err := m.Sign(key(1))
	if err != nil {
		t.Fatal(err)
	}
	got, err := content.ParseManifest(data, root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&m, got); diff != "" {
		t.Error(diff)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := content.ParseManifest(bad, root); err == nil {
			t.Fatalf("byte %d changed: taken under the old root", i)
		}
		if _, err := content.ParseManifest(bad, content.ManifestRoot(bad)); err == nil {
			t.Fatalf("byte %d changed: the signature is taken", i)
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	file := func(paths ...string) func(*content.Manifest) {
		return func(m *content.Manifest) {
			m.Files = nil
			for _, p := range paths {
				m.Files = append(m.Files, content.File{Path: p})
			}
		}
	}
	for name, change := range map[string]func(*content.Manifest){
		"no files": file(), "an empty path": file(""), "an absolute path": file("/etc/passwd"), "a path that leaves": file("a/../../b"),
		"the folder itself": file("."), "a double slash": file("a//b"), "a slash at the end": file("a/"), "a drive": file("C:/a"),
		"a backslash": file(`a\..\b`), "a device": file("a/NUL.txt"), "a device with a digit": file("com1"), "a device with another digit": file("lpt¹.x"),
		"a dot at the end": file("a."), "a space at the end": file("a "), "a control character": file("a\x1b[2J"), "a stream": file("a:b"), "a file that is not whole": file("a/.Aval-0"),
		"text that runs the other way": file("a\u202egfugg"), "no UTF-8": file("a\xff"), "twice": file("a", "a"), "case": file("a/B", "A/b"),
		"a file and a folder": file("a", "a/b"), "a folder and a file": file("a/b", "a"), "too long": file(strings.Repeat("a/", 260) + "a"),
		"too deep": file(strings.Repeat("a/", 40) + "a"), "a long part": file(strings.Repeat("a", 201)),
		"a kind":           func(m *content.Manifest) { m.Kind = "program" },
		"no name":          func(m *content.Manifest) { m.Name = "" },
		"a name with path": func(m *content.Manifest) { m.Name = "a/b" },
		"a long text":      func(m *content.Manifest) { m.Consent = strings.Repeat("a", content.MaxText+1) },
		"an escape":        func(m *content.Manifest) { m.Origin = "\x1b]0;x" },
		"parents":          func(m *content.Manifest) { m.Parents = make([]content.Root, content.MaxParents+1) },
		"a negative size":  func(m *content.Manifest) { m.Files[0].Size = -1 },
		"a size":           func(m *content.Manifest) { m.Files[0].Size = content.MaxFileSize + 1 },
		"sizes":            func(m *content.Manifest) { m.Files[0].Size, m.Files[1].Size = content.MaxFileSize, 1 },
	} {
		m := sample()
		change(&m)
		if _, _, err := m.Sign(key(1)); !errors.Is(err, content.ErrContent) {
			t.Errorf("%s: %v, want ErrContent", name, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	m := sample()
	data, _, err := m.Sign(key(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := content.ParseManifest(data, content.ManifestRoot(data))
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) {
				t.Errorf("%q is taken", file.Path)
			}
		}
	})
}

func FuzzNode(f *testing.F) {
	tree := anyTree(1025)
	f.Add(tree.Node(0, 1), tree.Node(1, 0), tree.Size())
	f.Add([]byte{0, 0, 0}, []byte{0, 0, 0}, int64(0))
	f.Fuzz(func(t *testing.T, top, next []byte, size int64) {
		a := content.NewAssembler(content.NodeHash(top), size)
		if a.Add(top) != nil {
			return
		}
		_ = a.Add(next)
		if got := a.Tree(); got != nil && got.Size() != size {
			t.Errorf("a tree of %d bytes, want %d", got.Size(), size)
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("abc"), 100_000, int64(50_000))
	f.Fuzz(func(t *testing.T, data []byte, times int, cut int64) {
		if len(data) == 0 || times < 0 || times > 1<<21/len(data) {
			t.Skip()
		}
		chunks, _ := split(t, bytes.Repeat(data, times), cut)
		if _, err := content.NewTree(chunks); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	data := random(6, 16<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		_ = content.Split(bytes.NewReader(data), int64(len(data)), nil, func([]byte) error { return nil })
	}
}
