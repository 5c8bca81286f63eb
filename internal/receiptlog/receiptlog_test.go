package receiptlog_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
)

// receiptOf is the identity of a made-up receipt.
func receiptOf(i int) canon.Hash {
	return canon.Sum("test receipt", binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// grown is a tree with the first n made-up receipts.
func grown(t testing.TB, n int) *receiptlog.Tree {
	t.Helper()
	tree, err := receiptlog.NewTree(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		tree.Append(receiptlog.Leaf(receiptOf(i)))
	}
	return tree
}

func leaves(n int) []canon.Hash {
	var list []canon.Hash
	for i := range n {
		list = append(list, receiptlog.Leaf(receiptOf(i)))
	}
	return list
}

// hashes are the proof in the types of the Go team's package, our twin.
func twin(proof []canon.Hash) []tlog.Hash {
	var list []tlog.Hash
	for _, h := range proof {
		list = append(list, tlog.Hash(h))
	}
	return list
}

func TestRootsAndProofsOfAllSmallLogs(t *testing.T) {
	const most = 40
	all := leaves(most)
	tree := grown(t, most)
	for n := 0; n <= most; n++ {
		root, err := receiptlog.Root(tree, uint64(n))
		if err != nil || root != canon.Root(all[:n]) {
			t.Fatalf("root of %d: %v, %v", n, root, err)
		}
		for i := range n {
			proof, err := receiptlog.Inclusion(tree, uint64(n), uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			if err := receiptlog.VerifyInclusion(root, uint64(n), uint64(i), all[i], proof); err != nil {
				t.Fatalf("%d of %d: %v", i, n, err)
			}
			if err := tlog.CheckRecord(twin(proof), int64(n), tlog.Hash(root), int64(i), tlog.Hash(all[i])); err != nil {
				t.Fatalf("%d of %d: the twin says %v", i, n, err)
			}
			for j := range n { // it proves no other place
				if j != i && receiptlog.VerifyInclusion(root, uint64(n), uint64(j), all[i], proof) == nil {
					t.Fatalf("the proof of %d is one of %d of %d, too", i, j, n)
				}
			}
		}
		for m := 0; m <= n; m++ {
			proof, err := receiptlog.Consistency(tree, uint64(m), uint64(n))
			if err != nil {
				t.Fatal(err)
			}
			old := canon.Root(all[:m])
			if err := receiptlog.VerifyConsistency(uint64(m), old, uint64(n), root, proof); err != nil {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
			if m > 0 {
				if err := tlog.CheckTree(twin(proof), int64(n), tlog.Hash(root), int64(m), tlog.Hash(old)); err != nil {
					t.Fatalf("%d to %d: the twin says %v", m, n, err)
				}
			}
			for k := 1; k <= n; k++ { // it is of no other old size
				if k != m && receiptlog.VerifyConsistency(uint64(k), old, uint64(n), root, proof) == nil {
					t.Fatalf("the proof of %d to %d is one of %d, too", m, n, k)
				}
			}
		}
	}
}

// TestChangedProofs holds that no proof passes that was changed, and that a
// changed log has no proof of the old one.
func TestChangedProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2, 600).Draw(t, "size")
		old := rapid.IntRange(1, size).Draw(t, "old")
		index := rapid.IntRange(0, size-1).Draw(t, "index")
		all := leaves(size)
		tree, _ := receiptlog.NewTree(0, nil)
		for _, l := range all {
			tree.Append(l)
		}
		root, before := canon.Root(all), canon.Root(all[:old])
		in, err := receiptlog.Inclusion(tree, uint64(size), uint64(index))
		if err != nil {
			t.Fatal(err)
		}
		con, err := receiptlog.Consistency(tree, uint64(old), uint64(size))
		if err != nil {
			t.Fatal(err)
		}
		inclusion := func(p []canon.Hash) error {
			return receiptlog.VerifyInclusion(root, uint64(size), uint64(index), all[index], p)
		}
		consistency := func(p []canon.Hash) error {
			return receiptlog.VerifyConsistency(uint64(old), before, uint64(size), root, p)
		}
		for _, c := range []struct {
			proof  []canon.Hash
			verify func([]canon.Hash) error
		}{{in, inclusion}, {con, consistency}} {
			if err := c.verify(c.proof); err != nil {
				t.Fatal(err)
			}
			bad := [][]canon.Hash{append(slices.Clone(c.proof), canon.Hash{1}), append([]canon.Hash{{1}}, c.proof...)}
			if n := len(c.proof); n > 0 {
				changed := slices.Clone(c.proof)
				changed[rapid.IntRange(0, n-1).Draw(t, "hash")][rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
				bad = append(bad, changed, c.proof[1:], c.proof[:n-1])
			}
			for _, p := range bad {
				if err := c.verify(p); !errors.Is(err, receiptlog.ErrProof) {
					t.Fatalf("a changed proof: %v", err)
				}
			}
		}
		changed := slices.Clone(all)
		changed[rapid.IntRange(0, old-1).Draw(t, "changed")][0] ^= 1
		if err := receiptlog.VerifyConsistency(uint64(old), before, uint64(size), canon.Root(changed), con); old < size && !errors.Is(err, receiptlog.ErrProof) {
			t.Fatalf("a changed log: %v", err)
		}
	})
}

func TestRanges(t *testing.T) {
	tree := grown(t, 10)
	var h canon.Hash
	for name, err := range map[string]error{
		"inclusion beyond":   receiptlog.VerifyInclusion(h, 3, 3, h, nil),
		"inclusion in none":  receiptlog.VerifyInclusion(h, 0, 0, h, nil),
		"inclusion too big":  receiptlog.VerifyInclusion(h, receiptlog.MaxSize+1, 0, h, nil),
		"consistency back":   receiptlog.VerifyConsistency(4, h, 3, h, nil),
		"consistency beyond": receiptlog.VerifyConsistency(1, h, 1<<63, h, nil),
		"prove beyond":       second(receiptlog.Inclusion(tree, 10, 10)),
		"prove more":         second(receiptlog.Inclusion(tree, 12, 3)),
		"prove back":         second(receiptlog.Consistency(tree, 9, 8)),
		"root of more":       second(receiptlog.Root(tree, 12)),
		"odd beginning":      second(receiptlog.NewTree(100, nil)),
	} {
		if !errors.Is(err, receiptlog.ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := receiptlog.VerifyConsistency(0, h, 3, h, nil); !errors.Is(err, receiptlog.ErrProof) {
		t.Errorf("from an empty log with another root: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// disk is where tiles are, for tests.
type disk map[string][]byte

func (d disk) load(level int, index uint64) ([]canon.Hash, error) {
	data, ok := d[receiptlog.Tile{Level: level, Index: index, Width: receiptlog.TileWidth}.Path()]
	if !ok {
		return nil, fmt.Errorf("no tile %d of level %d", index, level)
	}
	return receiptlog.DecodeTile(data, receiptlog.TileWidth)
}

func (d disk) write(tree *receiptlog.Tree, from, to uint64) {
	for _, tile := range receiptlog.Tiles(from, to) {
		if tile.Entries {
			var list []canon.Hash
			for i := range tile.Width {
				list = append(list, receiptOf(int(tile.Index)*receiptlog.TileWidth+i))
			}
			d[tile.Path()] = receiptlog.EncodeEntries(list)
			continue
		}
		d[tile.Path()] = receiptlog.EncodeTile(tree.Hashes(tile.Level, tile.Index)[:tile.Width])
	}
}

// TestTilesAreThoseOfOthers reads the tiles of logs with the Go team's client of
// tiled logs, and grows a log across sizes at which tiles of several levels fill.
func TestTilesAreThoseOfOthers(t *testing.T) {
	sizes := []uint64{1, 255, 256, 257, 1000, 65535, 65536, 65537, 70000, 131072 + 300}
	d := disk{}
	tree := grown(t, 0)
	had := uint64(0)
	for _, size := range sizes {
		for tree.Size() < size {
			tree.Append(receiptlog.Leaf(receiptOf(int(tree.Size()))))
		}
		d.write(tree, had, size)
		root := tree.Root()
		reader := tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}, reader{d})
		for _, i := range []uint64{0, size / 3, size - 1} {
			ours, err := receiptlog.Inclusion(tree, size, i)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := tlog.ProveRecord(int64(size), int64(i), reader)
			if err != nil || !slices.Equal(twin(ours), theirs) {
				t.Fatalf("%d of %d: their proof is %v, %v", i, size, theirs, err)
			}
			entries, ok := d[receiptlog.Tile{Entries: true, Index: i / 256, Width: int(min(256, size-i/256*256))}.Path()]
			list, err := receiptlog.DecodeEntries(entries, len(entries)/34)
			if !ok || err != nil || list[i%256] != receiptOf(int(i)) {
				t.Fatalf("the entry %d of %d: %v", i, size, err)
			}
		}
		if had > 0 {
			ours, err := receiptlog.Consistency(tree, had, size)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := tlog.ProveTree(int64(size), int64(had), reader)
			if err != nil || !slices.Equal(twin(ours), theirs) {
				t.Fatalf("%d to %d: their proof is %v, %v", had, size, theirs, err)
			}
		}
		had = size

		// A tree that begins with what is on disk is the same, before and after it
		// grows.
		full := size / 256 * 256
		resumed, err := receiptlog.NewTree(full, d.load)
		if err != nil {
			t.Fatal(err)
		}
		for i := full; i < size; i++ {
			resumed.Append(receiptlog.Leaf(receiptOf(int(i))))
		}
		if resumed.Root() != root {
			t.Fatalf("%d entries: resumed with another root", size)
		}
		released, err := receiptlog.NewTree(0, d.load)
		if err != nil {
			t.Fatal(err)
		}
		for i := range size {
			released.Append(receiptlog.Leaf(receiptOf(int(i))))
			if i%256 == 255 && i%3 != 0 {
				released.Release(i + 1)
			}
		}
		for _, tree := range []*receiptlog.Tree{resumed, released} {
			for _, i := range []uint64{0, size / 2, size - 1} {
				proof, err := receiptlog.Inclusion(tree, size, i)
				if err == nil {
					err = receiptlog.VerifyInclusion(root, size, i, receiptlog.Leaf(receiptOf(int(i))), proof)
				}
				if err != nil {
					t.Fatalf("%d of %d from disk: %v", i, size, err)
				}
			}
		}
	}
}

// reader gives the tiles of a disk to the Go team's client.
type reader struct{ disk disk }

func (reader) Height() int { return 8 }

func (reader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var list [][]byte
	for _, t := range tiles {
		name := strings.Replace(t.Path(), "tile/8/", "tile/", 1) // its paths have the height in them
		data, ok := r.disk[name]
		if !ok {
			return nil, fmt.Errorf("there is no %s", name)
		}
		list = append(list, data)
	}
	return list, nil
}

func TestPaths(t *testing.T) {
	for want, tile := range map[string]receiptlog.Tile{
		"tile/0/000":                       {Width: 256},
		"tile/0/999":                       {Index: 999, Width: 256},
		"tile/1/x001/234.p/5":              {Level: 1, Index: 1234, Width: 5},
		"tile/entries/x001/x234/067":       {Entries: true, Index: 1234067, Width: 256},
		"tile/entries/x001/x000/000.p/255": {Entries: true, Index: 1000000, Width: 255},
	} {
		if got := tile.Path(); got != want {
			t.Errorf("path %s, want %s", got, want)
		}
		if got, err := receiptlog.ParseTilePath(want); err != nil || got != tile {
			t.Errorf("%s: %+v, %v", want, got, err)
		}
	}
	for _, bad := range []string{
		"", "tile", "tile/0/", "tile/0/0", "tile/0/1000", "tile/00/000", "tile/9/000", "tile/-1/000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/000.p/01",
		"tile/0/x000/001", "tile/0/001/002", "tile/0/x001/x002", "/tile/0/000", "tile/0/000/", "tile/0/+01", "tile/entries/../0/000", "tile/data/000",
		"tile/0/" + strings.Repeat("x999/", 9) + "999",
	} {
		if tile, err := receiptlog.ParseTilePath(bad); !errors.Is(err, receiptlog.ErrFormat) {
			t.Errorf("%s: %+v, %v", bad, tile, err)
		}
	}
}

func key(b byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)) }

func public(b byte) ed25519.PublicKey { return key(b).Public().(ed25519.PublicKey) }

func sign(t testing.TB, k byte, size uint64, root canon.Hash) []byte {
	t.Helper()
	data, err := receiptlog.SignCheckpoint(key(k), size, root)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCheckpoints(t *testing.T) {
	root := canon.Hash{1, 2}
	data := sign(t, 7, 20852163, root)
	c, err := receiptlog.ParseCheckpoint(public(7), data)
	if err != nil || c.Size != 20852163 || c.Root != root || !c.Key.Equal(public(7)) {
		t.Fatalf("%+v, %v", c, err)
	}
	// The Go team's packages read it, from the text of the key alone.
	text, err := receiptlog.KeyText(public(7))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(data, note.VerifierList(v))
	if err != nil || n.Text != c.Text() || v.Name() != receiptlog.Origin(public(7)) {
		t.Fatalf("the Go team's package: %v, %v", n, err)
	}
	// Others may sign beside it.
	skey, _, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 64)), "witness")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(n, witness)
	if err != nil {
		t.Fatal(err)
	}
	if c2, err := receiptlog.ParseCheckpoint(public(7), both); err != nil || c2.Root != root {
		t.Errorf("with a witness: %v", err)
	}

	signature := string(data[bytes.Index(data, []byte("\n\n"))+2:])
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"nothing":              {"", receiptlog.ErrFormat},
		"no signature":         {string(data[:bytes.Index(data, []byte("\n\n"))+2]), receiptlog.ErrSignature},
		"another size":         {strings.Replace(string(data), "20852163", "20852164", 1), receiptlog.ErrSignature},
		"a zero before":        {strings.Replace(string(data), "20852163", "020852163", 1), receiptlog.ErrFormat},
		"another key":          {string(sign(t, 8, 20852163, root)), receiptlog.ErrFormat},
		"another's signature":  {c.Text() + "\n" + strings.SplitN(string(sign(t, 8, 20852163, root)), "\n\n", 2)[1], receiptlog.ErrSignature},
		"an extension":         {c.Text() + "more\n\n" + signature, receiptlog.ErrFormat},
		"too long":             {string(data) + strings.Repeat(signature, 100), receiptlog.ErrFormat},
		"capitals":             {strings.Replace(string(data), receiptlog.Origin(public(7)), strings.ToUpper(receiptlog.Origin(public(7))), 1), receiptlog.ErrFormat},
		"beyond the largest":   {strings.Replace(string(data), "20852163", "1099511627777", 1), receiptlog.ErrFormat},
		"a cut signature":      {string(data[:len(data)-9]) + "\n", receiptlog.ErrSignature},
		"a root of other form": {strings.Replace(string(data), "=\n", "\n", 1), receiptlog.ErrFormat},
	} {
		if _, err := receiptlog.ParseCheckpoint(public(7), []byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestConflict(t *testing.T) {
	a, b := sign(t, 1, 5, canon.Hash{1}), sign(t, 1, 5, canon.Hash{2})
	one, other, err := receiptlog.Conflict(public(1), a, b)
	if err != nil || one.Root == other.Root {
		t.Errorf("two roots: %v", err)
	}
	for name, c := range map[string][]byte{"the same": a, "another size": sign(t, 1, 6, canon.Hash{2}), "another's": sign(t, 2, 5, canon.Hash{2})} {
		if _, _, err := receiptlog.Conflict(public(1), a, c); err == nil {
			t.Errorf("%s: convicts", name)
		}
	}
}

func TestProofFiles(t *testing.T) {
	tree := grown(t, 300)
	hashes, err := receiptlog.Inclusion(tree, 300, 17)
	if err != nil {
		t.Fatal(err)
	}
	p := receiptlog.Proof{Index: 17, Hashes: hashes, Checkpoint: sign(t, 3, 300, tree.Root())}
	read, err := receiptlog.ParseProof(p.Text())
	if err != nil || read.Index != 17 || !slices.Equal(read.Hashes, hashes) || !bytes.Equal(read.Checkpoint, p.Checkpoint) {
		t.Fatalf("%+v, %v", read, err)
	}
	if c, err := read.Verify(public(3), receiptOf(17)); err != nil || c.Size != 300 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := read.Verify(public(3), receiptOf(18)); !errors.Is(err, receiptlog.ErrProof) {
		t.Errorf("of another receipt: %v", err)
	}
	if _, err := read.Verify(public(4), receiptOf(17)); err == nil {
		t.Error("of another node: it holds")
	}
	extra := strings.Replace(string(p.Text()), "\nindex", "\nextra YWJj\nindex", 1)
	if read, err := receiptlog.ParseProof([]byte(extra)); err != nil || read.Index != 17 {
		t.Errorf("with extra data: %v", err)
	}
	text := string(p.Text())
	for name, bad := range map[string]string{
		"nothing": "", "another version": strings.Replace(text, "@v1", "@v2", 1), "no index": strings.Replace(text, "index 17\n", "", 1),
		"index -1": strings.Replace(text, "index 17", "index -1", 1), "no checkpoint": text[:strings.Index(text, "\n\n")],
		"a long one": strings.Replace(text, "\n\n", strings.Repeat("\n"+strings.Repeat("A", 43)+"=", 60)+"\n\n", 1),
		"not base64": strings.Replace(text, "=\n", "*\n", 1), "too long": text + strings.Repeat("\n", receiptlog.MaxProofFile),
	} {
		if _, err := receiptlog.ParseProof([]byte(bad)); !errors.Is(err, receiptlog.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(sign(f, 7, 3, canon.Hash{1}))
	f.Add([]byte(receiptlog.Origin(public(7)) + "\n0\nAAAA\n\n— x AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := receiptlog.ParseCheckpoint(public(7), data)
		if err != nil {
			return
		}
		again, err := receiptlog.SignCheckpoint(key(7), c.Size, c.Root)
		if err != nil || !bytes.HasPrefix(data, []byte(c.Text()+"\n")) || !bytes.HasPrefix(again, []byte(c.Text()+"\n")) {
			t.Errorf("%q reads as %+v, %v", data, c, err)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	p := receiptlog.Proof{Index: 2, Hashes: []canon.Hash{{1}, {2}}, Checkpoint: sign(f, 7, 3, canon.Hash{1})}
	f.Add(p.Text())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := receiptlog.ParseProof(data)
		if err != nil {
			return
		}
		again, err := receiptlog.ParseProof(p.Text())
		if err != nil || again.Index != p.Index || !slices.Equal(again.Hashes, p.Hashes) {
			t.Errorf("%q: %v", data, err)
		}
		_, _ = p.Verify(public(7), canon.Hash{})
	})
}

func FuzzParseTilePath(f *testing.F) {
	f.Add("tile/0/x001/234.p/5")
	f.Add("tile/entries/x001/x234/067")
	f.Fuzz(func(t *testing.T, s string) {
		tile, err := receiptlog.ParseTilePath(s)
		if err == nil && (tile.Path() != s || path.Clean(s) != s) {
			t.Errorf("%q is read as %+v", s, tile)
		}
	})
}

// FuzzVerify holds that any sizes and hashes end in an answer.
func FuzzVerify(f *testing.F) {
	f.Add(uint64(3), uint64(5), make([]byte, 96))
	f.Fuzz(func(t *testing.T, a, b uint64, data []byte) {
		var list []canon.Hash
		for ; len(data) >= 32 && len(list) < 100; data = data[32:] {
			list = append(list, canon.Hash(data))
		}
		var root canon.Hash
		if len(list) > 0 {
			root, list = list[0], list[1:]
		}
		if receiptlog.VerifyInclusion(root, b, a, root, list) == nil && b != 1 {
			t.Error("the root of a larger log is that of its leaf")
		}
		_ = receiptlog.VerifyConsistency(a, root, b, root, list)
	})
}

func BenchmarkAppend(b *testing.B) {
	tree, _ := receiptlog.NewTree(0, nil)
	for b.Loop() {
		if tree.Size() == 1<<20 {
			tree, _ = receiptlog.NewTree(0, nil)
		}
		tree.Append(receiptlog.Leaf(canon.Hash{1}))
	}
}

func BenchmarkVerify(b *testing.B) {
	const size = 100_000
	tree := grown(b, size)
	root := tree.Root()
	in, _ := receiptlog.Inclusion(tree, size, 77_777)
	con, _ := receiptlog.Consistency(tree, 77_777, size)
	old, _ := receiptlog.Root(tree, 77_777)
	leaf := receiptlog.Leaf(receiptOf(77_777))
	b.Run("inclusion", func(b *testing.B) {
		for b.Loop() {
			if err := receiptlog.VerifyInclusion(root, size, 77_777, leaf, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("consistency", func(b *testing.B) {
		for b.Loop() {
			if err := receiptlog.VerifyConsistency(77_777, old, size, root, con); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// noteSigner signs any text under a name, with the key 1.
type noteSigner struct{ name string }

func (s noteSigner) Name() string { return s.name }

func (s noteSigner) KeyHash() uint32 {
	h := sha256.Sum256(append([]byte(s.name+"\n\x01"), public(1)...))
	return binary.BigEndian.Uint32(h[:])
}

func (s noteSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(key(1), msg), nil }

func rawNote(t testing.TB, name, text string) []byte {
	t.Helper()
	data, err := note.Sign(&note.Note{Text: text}, noteSigner{name})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
