package receiptlog_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/receipt-log.json anew")

const vectorFile = "../../spec/vectors/receipt-log.json"

// The shape of receipt-log.json; spec/receipt-log.md section 7 explains it.
type vectorSet struct {
	Spec        string              `json:"spec"`
	Roots       []rootVector        `json:"roots"`
	Inclusion   []inclusionVector   `json:"inclusion"`
	Consistency []consistencyVector `json:"consistency"`
	Checkpoints []checkpointVector  `json:"checkpoints"`
	Proofs      []proofVector       `json:"proofs"`
	Tiles       []tileVector        `json:"tiles"`
}

type rootVector struct {
	Size uint64     `json:"size"`
	Root canon.Hash `json:"root"`
}

type inclusionVector struct {
	Name  string       `json:"name"`
	Size  uint64       `json:"size"`
	Root  canon.Hash   `json:"root"`
	Index uint64       `json:"index"`
	Entry canon.Hash   `json:"entry"`
	Proof []canon.Hash `json:"proof"`
	Fails string       `json:"fails,omitempty"`
}

type consistencyVector struct {
	Name    string       `json:"name"`
	OldSize uint64       `json:"old_size"`
	OldRoot canon.Hash   `json:"old_root"`
	NewSize uint64       `json:"new_size"`
	NewRoot canon.Hash   `json:"new_root"`
	Proof   []canon.Hash `json:"proof"`
	Fails   string       `json:"fails,omitempty"`
}

type checkpointVector struct {
	Name  string     `json:"name"`
	Key   string     `json:"key"`
	Text  string     `json:"text"`
	Size  uint64     `json:"size"`
	Root  canon.Hash `json:"root"`
	Fails string     `json:"fails,omitempty"`
}

type proofVector struct {
	Name    string     `json:"name"`
	Key     string     `json:"key"`
	Receipt canon.Hash `json:"receipt"`
	Text    string     `json:"text"`
	Fails   string     `json:"fails,omitempty"`
}

type tileVector struct {
	Path   string     `json:"path"`
	Size   uint64     `json:"size,omitempty"` // of the log that has it
	SHA256 canon.Hash `json:"sha256,omitzero"`
	Fails  string     `json:"fails,omitempty"`
}

// failure names why something is refused.
func failure(err error) string {
	for name, e := range map[string]error{
		"range": receiptlog.ErrRange, "proof": receiptlog.ErrProof, "format": receiptlog.ErrFormat, "signature": receiptlog.ErrSignature,
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	return ""
}

// entryOf is the entry i of the vectors' log.
func entryOf(i uint64) canon.Hash { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, i)) }

// makeVectors makes the log of the vectors and them.
func makeVectors(t *testing.T) vectorSet {
	t.Helper()
	set := vectorSet{Spec: "spec/receipt-log.md"}
	const most = 700
	tree, err := receiptlog.NewTree(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(most) {
		tree.Append(receiptlog.Leaf(entryOf(i)))
	}
	root := func(n uint64) canon.Hash {
		h, err := receiptlog.Root(tree, n)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, n := range []uint64{0, 1, 2, 3, 4, 7, 8, 255, 256, 257, most} {
		set.Roots = append(set.Roots, rootVector{n, root(n)})
	}
	inclusion := func(name string, n, i uint64, change func(v *inclusionVector)) {
		proof, err := receiptlog.Inclusion(tree, n, i)
		if err != nil {
			t.Fatal(err)
		}
		v := inclusionVector{Name: name, Size: n, Root: root(n), Index: i, Entry: entryOf(i), Proof: append([]canon.Hash{}, proof...)}
		if change != nil {
			change(&v)
		}
		v.Fails = failure(receiptlog.VerifyInclusion(v.Root, v.Size, v.Index, receiptlog.Leaf(v.Entry), v.Proof))
		if (v.Fails == "") != (change == nil) {
			t.Fatalf("%s: fails by %q", name, v.Fails)
		}
		set.Inclusion = append(set.Inclusion, v)
	}
	inclusion("the only one", 1, 0, nil)
	inclusion("the first of seven", 7, 0, nil)
	inclusion("the last of seven", 7, 6, nil)
	inclusion("the fifth of seven", 7, 4, nil)
	inclusion("in a full tree", 256, 100, nil)
	inclusion("across tiles", most, 600, nil)
	inclusion("the last of many", most, most-1, nil)
	inclusion("another entry", 7, 4, func(v *inclusionVector) { v.Entry = entryOf(5) })
	inclusion("another index", 7, 4, func(v *inclusionVector) { v.Index = 5 })
	inclusion("another root", 7, 4, func(v *inclusionVector) { v.Root = root(8) })
	inclusion("another size", 7, 4, func(v *inclusionVector) { v.Size = 6 })
	inclusion("a hash is changed", most, 600, func(v *inclusionVector) { v.Proof[3][0] ^= 1 })
	inclusion("two hashes are swapped", most, 600, func(v *inclusionVector) { v.Proof[2], v.Proof[3] = v.Proof[3], v.Proof[2] })
	inclusion("a hash is missing", most, 600, func(v *inclusionVector) { v.Proof = v.Proof[:len(v.Proof)-1] })
	inclusion("a hash is too many", most, 600, func(v *inclusionVector) { v.Proof = append(v.Proof, canon.Hash{}) })
	inclusion("an inner node as an entry", 2, 0, func(v *inclusionVector) { v.Size, v.Proof, v.Entry = 1, nil, entryOf(1) })
	inclusion("beyond the end", 7, 6, func(v *inclusionVector) { v.Index = 7 })
	inclusion("in an empty log", 1, 0, func(v *inclusionVector) { v.Size = 0 })
	inclusion("a log that is too large", 1, 0, func(v *inclusionVector) { v.Size = 1<<40 + 1 })

	consistency := func(name string, m, n uint64, change func(v *consistencyVector)) {
		proof, err := receiptlog.Consistency(tree, m, n)
		if err != nil {
			t.Fatal(err)
		}
		v := consistencyVector{Name: name, OldSize: m, OldRoot: root(m), NewSize: n, NewRoot: root(n), Proof: append([]canon.Hash{}, proof...)}
		if change != nil {
			change(&v)
		}
		v.Fails = failure(receiptlog.VerifyConsistency(v.OldSize, v.OldRoot, v.NewSize, v.NewRoot, v.Proof))
		if (v.Fails == "") != (change == nil) {
			t.Fatalf("%s: fails by %q", name, v.Fails)
		}
		set.Consistency = append(set.Consistency, v)
	}
	consistency("nothing grew", 7, 7, nil)
	consistency("from nothing", 0, 7, nil)
	consistency("from nothing to nothing", 0, 0, nil)
	consistency("from one", 1, 2, nil)
	consistency("from a full tree", 4, 7, nil)
	consistency("three to seven", 3, 7, nil)
	consistency("six to eight", 6, 8, nil)
	consistency("across tiles", 257, most, nil)
	consistency("another old root", 3, 7, func(v *consistencyVector) { v.OldRoot = root(2) })
	consistency("another new root", 3, 7, func(v *consistencyVector) { v.NewRoot = root(6) })
	consistency("another old size", 3, 7, func(v *consistencyVector) { v.OldSize = 2 })
	consistency("another old size with as many hashes", 5, 7, func(v *consistencyVector) { v.OldSize = 6 })
	consistency("another old root of a full tree", 4, 7, func(v *consistencyVector) { v.OldRoot = root(5) })
	consistency("a hash is changed", 257, most, func(v *consistencyVector) { v.Proof[1][31] ^= 1 })
	consistency("a hash is missing", 257, most, func(v *consistencyVector) { v.Proof = v.Proof[1:] })
	consistency("a hash is too many", 257, most, func(v *consistencyVector) { v.Proof = append(v.Proof, canon.Hash{}) })
	consistency("no hashes", 3, 7, func(v *consistencyVector) { v.Proof = []canon.Hash{} })
	consistency("nothing grew, with a hash", 7, 7, func(v *consistencyVector) { v.Proof = []canon.Hash{root(7)} })
	consistency("two roots of one size", 7, 7, func(v *consistencyVector) { v.NewRoot = root(8) })
	consistency("another root of nothing", 0, 7, func(v *consistencyVector) { v.OldRoot = canon.Hash{} })
	consistency("from nothing, with a hash", 0, 7, func(v *consistencyVector) { v.Proof = []canon.Hash{root(7)} })
	consistency("it shrinks", 3, 7, func(v *consistencyVector) { v.OldSize, v.NewSize = 7, 3 })
	consistency("a log that is too large", 3, 7, func(v *consistencyVector) { v.NewSize = 1<<40 + 1 })

	hexKey := hex.EncodeToString(public(1))
	checkpoint := func(name, text string) {
		v := checkpointVector{Name: name, Key: hexKey, Text: text}
		c, err := receiptlog.ParseCheckpoint(public(1), []byte(text))
		if v.Size, v.Root, v.Fails = c.Size, c.Root, failure(err); err != nil {
			v.Size, v.Root = 0, canon.Hash{}
		}
		if (v.Fails == "") != (err == nil) {
			t.Fatalf("%s: %v", name, err)
		}
		set.Checkpoints = append(set.Checkpoints, v)
	}
	good := string(sign(t, 1, most, root(most)))
	body, signature, _ := strings.Cut(good, "\n\n")
	other := string(sign(t, 2, most, root(most)))
	_, otherSignature, _ := strings.Cut(other, "\n\n")
	checkpoint("good", good)
	checkpoint("of nothing", string(sign(t, 1, 0, root(0))))
	checkpoint("signed by another, too", good+otherSignature)
	checkpoint("another size", strings.Replace(good, "\n700\n", "\n701\n", 1))
	checkpoint("a zero before the size", strings.Replace(good, "\n700\n", "\n0700\n", 1))
	checkpoint("a sign before the size", strings.Replace(good, "\n700\n", "\n+700\n", 1))
	checkpoint("too large", string(raw(t, receiptlog.Origin(public(1))+"\n1099511627777\n"+strings.Repeat("A", 43)+"=\n")))
	checkpoint("the root is short", string(raw(t, receiptlog.Origin(public(1))+"\n700\n"+strings.Repeat("A", 42)+"==\n")))
	checkpoint("the root's last bits", string(raw(t, receiptlog.Origin(public(1))+"\n700\n"+strings.Repeat("A", 42)+"B=\n")))
	checkpoint("an extension", string(raw(t, body+"\nmore\n")))
	checkpoint("two lines", string(raw(t, receiptlog.Origin(public(1))+"\n700\n")))
	checkpoint("two texts", string(raw(t, body+"\n\nmore\n")))
	checkpoint("of another node", other)
	checkpoint("signed by another node alone", body+"\n\n"+otherSignature)
	checkpoint("no signature", body+"\n\n")
	checkpoint("a signature that is cut", body+"\n\n"+signature[:len(signature)-5]+"\n")
	checkpoint("upper-case digits", string(raw(t, "aval-receipts-1/"+strings.ToUpper(hexKey)+"\n700\n"+strings.Split(body, "\n")[2]+"\n")))
	checkpoint("another prefix", string(raw(t, "aval-receipts-2/"+hexKey+"\n700\n"+strings.Split(body, "\n")[2]+"\n")))
	checkpoint("empty", "")

	proof := func(name, text string, of uint64) {
		v := proofVector{Name: name, Key: hexKey, Receipt: entryOf(of), Text: text}
		v.Fails = failure(checkProof(public(1), v.Receipt, text))
		set.Proofs = append(set.Proofs, v)
	}
	hashes, err := receiptlog.Inclusion(tree, most, 600)
	if err != nil {
		t.Fatal(err)
	}
	p := receiptlog.Proof{Index: 600, Hashes: hashes, Checkpoint: []byte(good)}
	text := string(p.Text())
	proof("good", text, 600)
	proof("with extra data", strings.Replace(text, "\nindex", "\nextra AAAA\nindex", 1), 600)
	proof("another receipt", text, 601)
	proof("another index", strings.Replace(text, "index 600", "index 601", 1), 600)
	proof("beyond the end", strings.Replace(text, "index 600", "index 700", 1), 600)
	proof("another version", strings.Replace(text, "@v1", "@v2", 1), 600)
	proof("no index", strings.Replace(text, "index 600\n", "", 1), 600)
	proof("a zero before the index", strings.Replace(text, "index 600", "index 0600", 1), 600)
	proof("a hash is not base64", strings.Replace(text, "=\n", "!\n", 1), 600)
	proof("no checkpoint", text[:strings.Index(text, "\n\n")+1], 600)
	proof("an unsigned checkpoint", text[:strings.Index(text, "\n\n")+2]+body+"\n\n", 600)
	if set.Proofs[0].Fails != "" || set.Proofs[1].Fails != "" || slices.ContainsFunc(set.Proofs[2:], func(v proofVector) bool { return v.Fails == "" }) {
		t.Fatalf("%+v", set.Proofs)
	}

	for _, size := range []uint64{1, 256, most} {
		for _, tile := range receiptlog.Tiles(0, size) {
			set.Tiles = append(set.Tiles, tileVector{Path: tile.Path(), Size: size, SHA256: sha256.Sum256(tileData(tree, tile))})
		}
	}
	for _, path := range []string{"tile/0/0", "tile/0/000.p/256", "tile/0/000.p/0", "tile/0/x000/000", "tile/0/001/000", "tile/9/000", "tile/00/000", "tile/entries/x001", "tile/0/../0/000"} {
		_, err := receiptlog.ParseTilePath(path)
		set.Tiles = append(set.Tiles, tileVector{Path: path, Fails: failure(err)})
	}
	return set
}

// raw signs any text as a note of the key 1.
func raw(t *testing.T, text string) []byte {
	t.Helper()
	good := sign(t, 1, 0, canon.Hash{})
	line := good[bytes.Index(good, []byte("\n\n"))+2:]
	name, _, _ := strings.Cut(strings.TrimPrefix(string(line), "— "), " ")
	return rawNote(t, name, text)
}

func tileData(tree *receiptlog.Tree, tile receiptlog.Tile) []byte {
	if !tile.Entries {
		return receiptlog.EncodeTile(tree.Hashes(tile.Level, tile.Index)[:tile.Width])
	}
	var list []canon.Hash
	for i := range tile.Width {
		list = append(list, entryOf(tile.Index*receiptlog.TileWidth+uint64(i)))
	}
	return receiptlog.EncodeEntries(list)
}

func checkProof(key ed25519.PublicKey, id canon.Hash, text string) error {
	p, err := receiptlog.ParseProof([]byte(text))
	if err == nil {
		_, err = p.Verify(key, id)
	}
	return err
}

// TestVectors holds the package to spec/vectors/receipt-log.json.
func TestVectors(t *testing.T) {
	if *update {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		if err := e.Encode(makeVectors(t)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := fs.ReadFile(vectors.FS, "receipt-log.json")
	if *update {
		data, err = os.ReadFile(vectorFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	var set vectorSet
	if err := json.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set, makeVectors(t)); diff != "" {
		t.Errorf("the vectors are others (-file +made):\n%s", diff)
	}
	for _, v := range set.Inclusion {
		if got := failure(receiptlog.VerifyInclusion(v.Root, v.Size, v.Index, receiptlog.Leaf(v.Entry), v.Proof)); got != v.Fails {
			t.Errorf("inclusion, %s: %q, want %q", v.Name, got, v.Fails)
		}
	}
	for _, v := range set.Consistency {
		if got := failure(receiptlog.VerifyConsistency(v.OldSize, v.OldRoot, v.NewSize, v.NewRoot, v.Proof)); got != v.Fails {
			t.Errorf("consistency, %s: %q, want %q", v.Name, got, v.Fails)
		}
	}
	for _, v := range set.Checkpoints {
		key, err := hex.DecodeString(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := receiptlog.ParseCheckpoint(key, []byte(v.Text))
		if failure(err) != v.Fails || err == nil && (c.Size != v.Size || c.Root != v.Root) {
			t.Errorf("checkpoint, %s: %+v, %v", v.Name, c, err)
		}
	}
	for _, v := range set.Proofs {
		key, err := hex.DecodeString(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkProof(key, v.Receipt, v.Text); failure(err) != v.Fails {
			t.Errorf("proof, %s: %v", v.Name, err)
		}
	}
}

// TestSecond lets the second implementation judge the vectors.
func TestSecond(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	out, err := exec.Command(python, "../../spec/second/receipt_log.py", vectorFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
