package fingerprint_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/quant"
)

// second runs the second implementation, which was written from the text of
// spec/fingerprint.md alone.
func second(t *testing.T, args ...string) (string, error) {
	t.Helper()
	interpreter := ""
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "").Run() == nil {
			interpreter = name
			break
		}
	}
	if interpreter == "" {
		t.Skip("no python3 (on Debian: apt-get install python3)")
	}
	script := filepath.Join("..", "..", "spec", "second", "fingerprint.py")
	var stderr bytes.Buffer
	cmd := exec.Command(interpreter, append([]string{script}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Errorf("%s", &stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func TestSecond(t *testing.T) {
	if out, err := second(t, "vectors", vectorsPath); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	for _, name := range []string{"Q8_0", "Q4_K_M"} {
		recipe, err := quant.ParseRecipe(name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".gguf")
		if err := quant.Synthetic(t.Context(), path, "tiny", recipe, 1, nil); err != nil {
			t.Fatal(err)
		}
		compareRoots(t, path)
	}
	path := filepath.Join(dir, "small.gguf")
	if err := os.WriteFile(path, small(t).bytes(t), 0o600); err != nil {
		t.Fatal(err)
	}
	compareRoots(t, path)
}

func compareRoots(t *testing.T, path string) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := fingerprint.Of(t.Context(), f, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second(t, "root", path); err != nil || got != tree.Root().String() {
		t.Errorf("%s: the second implementation gives %s, %v, want %s", filepath.Base(path), got, err, tree.Root())
	}
}

// TestSecondNotices shows that the comparison can fail.
func TestSecondNotices(t *testing.T) {
	b, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(v *vectors)
	}{
		{"another root of a file", func(v *vectors) { v.Files[1].Root = v.Files[0].Root }},
		{"another root of a proof", func(v *vectors) { v.Proofs[0].Root = v.Proofs[1].Root }},
		{"another check", func(v *vectors) { v.Proofs[len(v.Proofs)-1].Check-- }},
		{"a key more", func(v *vectors) { v.Proofs[0].Shows.Keys = []string{"x"} }},
		{"a key that is open, not absent", func(v *vectors) { v.Proofs[1].Shows.NoKeys = []string{"a"} }},
		{"a tile of another content", func(v *vectors) {
			for _, p := range v.Proofs {
				if p.Shows != nil && len(p.Shows.Tiles) > 0 {
					p.Shows.Tiles[0].Digest = p.Root
				}
			}
		}},
	} {
		var v vectors
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		c.change(&v)
		changed, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "vectors.json")
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := second(t, "vectors", path); err == nil || !strings.Contains(out, "want") && !strings.Contains(out, "no_keys") {
			t.Errorf("%s is not noticed: %s", c.name, out)
		}
	}
}

// TestSecondJudgesAlike gives both implementations proofs of random models,
// most of which no file has, and compares whether they accept them.
func TestSecondJudgesAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var v vectors
	var accepted []bool
	for range 3000 {
		w, root := randomProof(t, rng)
		b := encode(t, w)
		_, err := verify(b, root)
		accepted = append(accepted, err == nil)
		v.Proofs = append(v.Proofs, proofVector{Root: root.String(), Proof: hex.EncodeToString(b)})
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "proofs.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := second(t, "judge", path)
	if err != nil {
		t.Fatal(err)
	}
	checks := strings.Fields(out)
	if len(checks) != len(accepted) {
		t.Fatalf("%d judgements of %d proofs", len(checks), len(accepted))
	}
	good := 0
	for i, check := range checks {
		if (check == "0") != accepted[i] {
			b, _ := hex.DecodeString(v.Proofs[i].Proof)
			var root canon.Hash
			_ = root.UnmarshalText([]byte(v.Proofs[i].Root))
			_, err := verify(b, root)
			t.Errorf("%s: here %v, there check %s", v.Proofs[i].Proof, err, check)
		}
		if accepted[i] {
			good++
		}
	}
	if good < 100 || good > len(accepted)-100 {
		t.Errorf("%d of %d proofs are accepted: the comparison says little", good, len(accepted))
	}
}

// randomProof makes a proof whose entries and pieces lead to the root.
func randomProof(t *testing.T, rng *rand.Rand) (wire, canon.Hash) {
	pick := func(list ...uint64) uint64 { return list[rng.IntN(len(list))] }
	random := func(n uint64) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(pick(0, 0, 0, 0, 1, 2, 8, 9, 13))
		}
		return b
	}
	var f forged
	var contents []run
	for i := range rng.IntN(4) {
		size := pick(0, 1, 2, 4, 8, 12, 16, 20, 24, 64)
		e := metaEntry{
			Key: []string{"a", "b", "b", "c", "d", "general.alignment"}[(i+rng.IntN(2))%6], Size: size, Content: random(size),
			Kind: uint32(pick(0, 1, 2, 4, 6, 7, 8, 9, 9, 9, 10, 13)),
		}
		if e.Kind == 9 || rng.IntN(20) == 0 {
			e.Elem, e.Count = uint32(pick(0, 2, 4, 7, 8, 9, 10, 13)), pick(0, 1, 2, 3, 4, 8)
		}
		if rng.IntN(3) == 0 {
			e.Kind, e.Size = uint32(pick(8, 9, 9)), pick(1024, 1025, 1088, 2048, 4096, 5000)
			pieces := [][]byte{random(pick(64, 512, 1088, 4096)), random(pick(64, 512, 64, 904))}[:1+rng.IntN(2)]
			if rng.IntN(2) == 0 {
				e.Size = uint64(len(bytes.Join(pieces, nil)))
			}
			if e.Kind == 9 {
				e.Elem = uint32(pick(0, 0, 7, 8, 9, 10))
				e.Count = e.Size / pick(1, 8, 12)
			}
			root := canon.Root(leavesOf(pieces))
			e.Content = root[:]
			from := rng.IntN(len(pieces))
			contents = append(contents, run{Place: uint64(len(f.meta)), From: uint64(from), Data: bytes.Join(pieces[from:], nil), Hashes: joined(canon.Range(leavesOf(pieces), from, len(pieces)))})
		}
		f.meta = append(f.meta, encode(t, e))
	}
	var tiles []run
	for i := range rng.IntN(3) {
		data := random(pick(4, 34, 64, 4096))
		root := canon.Leaf(data)
		e := tensorEntry{Name: []string{"a", "b"}[i], Type: uint32(pick(0, 1, 8, 24, 30)), Shape: []uint64{pick(0, 1, 32, 1024, 1<<40, 1<<63)}, Root: root[:]}
		if rng.IntN(3) == 0 {
			e.Shape = append(e.Shape, pick(1, 2, 1<<10))
		}
		tiles = append(tiles, run{Place: uint64(len(f.tensors)), Data: data, Hashes: []byte{}})
		f.tensors = append(f.tensors, encode(t, e))
	}
	w := wire{Meta: sideOf(f.meta), Tensors: sideOf(f.tensors)}
	if len(f.meta) > 0 {
		w.Meta, w.Contents = sideOf(f.meta, [2]int{0, len(f.meta)}), contents
	}
	if len(f.tensors) > 0 {
		w.Tensors = sideOf(f.tensors, [2]int{0, len(f.tensors)})
		if rng.IntN(2) == 0 {
			w.Tiles = tiles
		}
	}
	return w, f.root()
}
