package anchor_test

import (
	"crypto/sha256"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

type question struct {
	Root  [32]byte
	Key   []byte
	Proof anchor.Proof
}

// TestProofs compares LedgerProof.sol with the package tree: proofs of presence
// and absence in random trees, as they are and changed in every way.
func TestProofs(t *testing.T) {
	w := newWorld(t)
	probe := w.probe()
	rng := rand.New(rand.NewPCG(1, 2))
	total, want := 10000, map[uint8]int{}
	if testing.Short() {
		total = 2000
	}
	const batch = 100
	for done := 0; done < total; done += batch {
		var list []question
		var found []uint8
		var values [][32]byte
		for len(list) < batch {
			root, key, p := randomProof(rng)
			if rng.IntN(2) == 0 {
				root, key = corrupt(rng, root, key, p)
			}
			q, err := anchor.ProofOf(p)
			if err != nil {
				continue // no such form; the contract cannot be asked
			}
			value, present, err := p.Verify(root, key)
			f := anchor.FoundAbsent
			switch {
			case err != nil:
				f = anchor.FoundNothing
			case present:
				f = anchor.FoundPresent
			}
			want[f]++
			list, found, values = append(list, question{root, key, q}), append(found, f), append(values, value)
		}
		out := w.asked(probe, "proofs", list)
		for i, f := range out[0].([]uint8) {
			if f != found[i] || out[1].([][32]byte)[i] != values[i] {
				t.Fatalf("the contract finds %d with %x, the package %d with %x: root %x, key %x, proof %+v",
					f, out[1].([][32]byte)[i], found[i], values[i], list[i].Root, list[i].Key, list[i].Proof)
			}
		}
	}
	for f := range uint8(3) {
		if want[f] < total/10 {
			t.Errorf("of %d cases only %d have the finding %d", total, want[f], f)
		}
	}
}

// randomProof is of a key that is there or not, in a tree of keys that are
// random, or have much in common, or are the beginning of one another but for
// their ends.
func randomProof(rng *rand.Rand) (canon.Hash, []byte, *tree.Proof) {
	var tr tree.Tree
	kind := rng.IntN(3)
	key := func() []byte {
		n, letters := 1+rng.IntN(4), 3
		switch kind {
		case 1:
			n, letters = 33, 256
		case 2:
			n, letters = 1+rng.IntN(tree.MaxKey), 2
		}
		k := make([]byte, n)
		for i := range k {
			k[i] = byte(rng.IntN(letters)) * byte(1+254*rng.IntN(2))
		}
		return k
	}
	var keys [][]byte
	for range rng.IntN(1 << rng.IntN(8)) {
		k := key()
		keys = append(keys, k)
		tr.Set(k, []byte{byte(rng.Uint32())})
	}
	k := key()
	if len(keys) > 0 && rng.IntN(2) == 0 {
		k = keys[rng.IntN(len(keys))]
	}
	if rng.IntN(8) == 0 {
		k = append(slices.Clone(k), 0)[:min(len(k)+1, tree.MaxKey)]
	}
	return tr.Root(), k, tr.Prove(k)
}

// corrupt changes something about a proof, or about what it is asked for.
func corrupt(rng *rand.Rand, root canon.Hash, key []byte, p *tree.Proof) (canon.Hash, []byte) {
	key = slices.Clone(key)
	p.Key = slices.Clone(p.Key)
	any := func(b []byte) {
		if len(b) > 0 {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
	}
	step := func() *tree.Step {
		if len(p.Steps) == 0 {
			return &tree.Step{}
		}
		return &p.Steps[rng.IntN(len(p.Steps))]
	}
	switch rng.IntN(14) {
	case 0:
		any(root[:])
	case 1, 2, 3:
		any(key)
	case 4:
		any(p.Key)
	case 5:
		any(p.Value[:])
	case 6:
		any(step().Other[:])
	case 7:
		step().Bit += rng.IntN(5) - 2
	case 8:
		step().Bit = rng.IntN(1 << 16)
	case 9:
		if len(p.Steps) > 0 {
			i := rng.IntN(len(p.Steps))
			p.Steps = slices.Delete(p.Steps, i, i+1)
		}
	case 10:
		p.Steps = append(p.Steps, tree.Step{Bit: rng.IntN(9), Other: canon.Hash{1}})
	case 11:
		if len(p.Steps) > 1 {
			i := rng.IntN(len(p.Steps) - 1)
			p.Steps[i], p.Steps[i+1] = p.Steps[i+1], p.Steps[i]
		}
	case 12:
		key = key[:rng.IntN(len(key)+1)]
	case 13:
		switch rng.IntN(4) {
		case 0:
			p.Key = nil
		case 1:
			key = make([]byte, tree.MaxKey+1)
		case 2:
			p.Key = append(p.Key, make([]byte, tree.MaxKey)...)
		case 3:
			root, p.Key, p.Steps, p.Value = sha256.Sum256(nil), nil, nil, canon.Hash{byte(rng.IntN(2))}
		}
	}
	return root, key
}

// TestMerkle compares Merkle.sol with the package canon.
func TestMerkle(t *testing.T) {
	w := newWorld(t)
	probe := w.probe()
	rng := rand.New(rand.NewPCG(3, 4))
	for n := 1; n <= 18; n++ {
		leaves := make([]canon.Hash, n)
		for i := range leaves {
			leaves[i] = canon.Leaf([]byte{byte(i)})
		}
		root := canon.Root(leaves)
		for i := range n {
			path := inclusion(leaves, i)
			out := w.asked(probe, "inclusion", [32]byte(leaves[i]), big.NewInt(int64(i)), big.NewInt(int64(n)), words(path))
			if out[0].([32]byte) != root || !out[1].(bool) {
				t.Fatalf("leaf %d of %d: %x, %v, want %s", i, n, out[0], out[1], root)
			}
			// Of a wrong form, or of another leaf or size.
			wrong := append(slices.Clone(path), canon.Hash{})
			for _, c := range []struct {
				at, n int
				path  []canon.Hash
			}{{i, n, wrong}, {n, n, path}, {i, n + 1 + rng.IntN(40), path}, {i ^ 1, n, path}} {
				out := w.asked(probe, "inclusion", [32]byte(leaves[i]), big.NewInt(int64(c.at)), big.NewInt(int64(c.n)), words(c.path))
				if out[1].(bool) && out[0].([32]byte) == root && (c.at != i || len(c.path) != len(path)) {
					t.Fatalf("leaf %d of %d passes as %d of %d with %d hashes", i, n, c.at, c.n, len(c.path))
				}
			}
		}
		for from := range n {
			for to := from + 1; to <= n; to++ {
				path := canon.Range(leaves, from, to)
				out := w.asked(probe, "range", words(leaves[from:to]), big.NewInt(int64(from)), big.NewInt(int64(n)), words(path))
				if out[0].([32]byte) != root {
					t.Fatalf("leaves %d to %d of %d: %x, want %s", from, to-1, n, out[0], root)
				}
				if _, err := w.ask(probe, "range", words(leaves[from:to]), big.NewInt(int64(from)), big.NewInt(int64(n)), words(append(path, root))); err == nil {
					t.Fatalf("leaves %d to %d of %d: a proof with a hash too many passes", from, to-1, n)
				}
			}
		}
	}
}

// inclusion is the proof of RFC 9162, 2.1.3.1: from the leaf to the root.
func inclusion(leaves []canon.Hash, i int) []canon.Hash {
	if len(leaves) == 1 {
		return nil
	}
	half := 1
	for 2*half < len(leaves) {
		half *= 2
	}
	if i < half {
		return append(inclusion(leaves[:half], i), canon.Root(leaves[half:]))
	}
	return append(inclusion(leaves[half:], i-half), canon.Root(leaves[:half]))
}

func words(list []canon.Hash) [][32]byte {
	out := make([][32]byte, len(list))
	for i, h := range list {
		out[i] = h
	}
	return out
}
