package tree_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// TestTwin compares a tree and its clones with maps.
func TestTwin(t *testing.T) {
	key := rapid.SliceOfN(rapid.ByteRange(0, 3), 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		var tr, old tree.Tree
		twin, oldTwin := map[string]string{}, map[string]string{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			k := key.Draw(t, "key")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				tr.Delete(k)
				delete(twin, string(k))
			case 1:
				old, oldTwin = tr.Clone(), maps.Clone(twin)
			case 2:
				tr, twin = old.Clone(), maps.Clone(oldTwin)
			default:
				v := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
				tr.Set(k, v)
				twin[string(k)] = string(v)
			}
			if rapid.Bool().Draw(t, "root") {
				tr.Root()
			}
		}
		compare(t, &tr, twin)
		compare(t, &old, oldTwin)
		k := key.Draw(t, "proved")
		p := tr.Prove(k)
		value, present, err := p.Verify(tr.Root(), k)
		v, want := twin[string(k)]
		if err != nil || present != want || present && value != sha256.Sum256([]byte(v)) {
			t.Fatalf("proof of %x: %v, %v, want %v", k, present, err, want)
		}
		if len(p.Steps) > 0 {
			i := rapid.IntRange(0, len(p.Steps)-1).Draw(t, "step")
			p.Steps[i].Other[3] ^= 1
			if _, _, err := p.Verify(tr.Root(), k); !errors.Is(err, tree.ErrProof) {
				t.Fatalf("a wrong step: %v", err)
			}
		}
	})
}

func compare(t *rapid.T, tr *tree.Tree, twin map[string]string) {
	var fresh tree.Tree
	keys := slices.Sorted(maps.Keys(twin))
	for _, k := range slices.Backward(keys) {
		fresh.Set([]byte(k), []byte(twin[k]))
	}
	if tr.Len() != len(twin) || tr.Root() != fresh.Root() {
		t.Fatalf("%d keys with the root %s, want %d with %s", tr.Len(), tr.Root(), len(twin), fresh.Root())
	}
	for _, prefix := range [][]byte{nil, {1}, {2, 0}} {
		var got, want []string
		for k, v := range tr.Ascend(prefix) {
			got = append(got, string(k)+"="+string(v))
		}
		for _, k := range keys {
			if bytes.HasPrefix([]byte(k), prefix) {
				want = append(want, k+"="+twin[k])
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("prefix %x: %q, want %q", prefix, got, want)
		}
	}
}

// TestProofOfAnother: a proof about one key shows nothing about another that is
// there.
func TestProofOfAnother(t *testing.T) {
	var tr tree.Tree
	for i := range 50 {
		tr.Set(numbered(i), []byte{1})
	}
	for i := range 50 {
		for j := range 50 {
			_, present, err := tr.Prove(numbered(i)).Verify(tr.Root(), numbered(j))
			if i != j && err == nil {
				t.Fatalf("a proof of key %d passes for key %d, present: %v", i, j, present)
			}
		}
	}
}

func numbered(i int) []byte {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return h[:]
}

func FuzzProof(f *testing.F) {
	var tr tree.Tree
	for i := range 9 {
		tr.Set(numbered(i), []byte{byte(i)})
	}
	for _, i := range []int{0, 5, 77} {
		data, err := tr.Prove(numbered(i)).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := tree.DecodeProof(data)
		if err != nil {
			return
		}
		for _, i := range []int{0, 5, 77} {
			value, present, err := p.Verify(tr.Root(), numbered(i))
			if err == nil && (present != (i < 9) || present && value != sha256.Sum256([]byte{byte(i)})) {
				t.Fatalf("key %d: a lie passes", i)
			}
		}
		again, err := p.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatal("another encoding of the same proof")
		}
	})
}

// BenchmarkBlock changes 3,000 of 100,000 keys and computes the root.
func BenchmarkBlock(b *testing.B) {
	var tr tree.Tree
	for i := range 100_000 {
		tr.Set(numbered(i), make([]byte, 40))
	}
	tr.Root()
	n := 0
	for b.Loop() {
		for range 3000 {
			tr.Set(numbered(n*7919%100_000), numbered(n))
			n++
		}
		tr.Root()
		tr = tr.Clone()
	}
}
