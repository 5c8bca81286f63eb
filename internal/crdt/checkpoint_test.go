package crdt_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
)

// TestCheckpoint: who was there all the time, and who joins with the checkpoint and
// what came after, have the same state and go on alike.
func TestCheckpoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner, writer := space(t), space(t)
		give(t, writer, do(t, owner, 0, grantAll(1)), do(t, owner, 0, grantAll(2)))
		do(t, owner, 0, crdt.Change{Action: crdt.Revoke, Writer: id(2)})
		give(t, writer, owner.Ops()[2])
		work := func(n int) {
			for range n {
				if rapid.Bool().Draw(t, "owner") {
					give(t, writer, do(t, owner, 0, draw(t, owner)))
				} else {
					give(t, owner, do(t, writer, 1, draw(t, writer)))
				}
			}
		}
		work(rapid.IntRange(0, 20).Draw(t, "before"))
		unseen := []*crdt.Op{do(t, writer, 1, set("unseen", "1")), do(t, writer, 1, set("unseen", "2"))}
		before := readable(owner)
		made, err := owner.MakeCheckpoint(key(0))
		if err != nil {
			t.Fatalf("%v", err)
		}
		for i, o := range made {
			_, lost, err := writer.Add(o)
			if err != nil || i == len(made)-1 && len(lost) != len(unseen) {
				t.Fatalf("the writer: %v, %d operations lost", err, len(lost))
			}
		}
		if !slices.Equal(before, readable(owner)) || owner.Len() != 0 || len(owner.Grants()) != 1 {
			t.Fatalf("the checkpoint changed the state, or left %d operations", owner.Len())
		}
		snapshot := owner.Snapshot()
		work(rapid.IntRange(0, 10).Draw(t, "after"))
		joined := space(t)
		if ok, _, err := joined.Adopt(snapshot); err != nil || !ok {
			t.Fatalf("Adopt: %v, %v", ok, err)
		}
		if ok, _, err := joined.Adopt(snapshot); err != nil || ok {
			t.Fatalf("Adopt again: %v, %v", ok, err)
		}
		give(t, joined, owner.Ops()...)
		if _, _, err := joined.Add(unseen[0]); !errors.Is(err, crdt.ErrSuperseded) {
			t.Fatalf("what the checkpoint left behind: %v", err)
		}
		for name, s := range map[string]*crdt.Space{"writer": writer, "joined": joined} {
			if s.Root() != owner.Root() {
				t.Fatalf("%s has another state", name)
			}
		}
		// Grants of before hold; that which was revoked does not.
		if _, err := joined.Make(key(2), set("x", "")); !errors.Is(err, crdt.ErrDenied) {
			t.Fatalf("a revoked writer after the checkpoint: %v", err)
		}
		give(t, owner, do(t, joined, 1, set("x", "from the one who joined")))
		do(t, owner, 0, crdt.Change{Action: crdt.Revoke, Writer: id(1)}) // of a grant in the checkpoint
		if e, ok := owner.Get("x", crdt.Register); ok {
			t.Fatalf("%v counts", e)
		}
	})
}

func TestCheckpointJoinsManyHeads(t *testing.T) {
	owner := space(t)
	g := do(t, owner, 0, grantAll(1))
	for i := range 3 * crdt.MaxParents {
		other := space(t)
		give(t, other, g)
		give(t, owner, do(t, other, 1, set(fmt.Sprint(i), "")))
	}
	made, err := owner.MakeCheckpoint(key(0))
	if err != nil || len(made) < 2 || len(owner.Entries("")) != 3*crdt.MaxParents {
		t.Errorf("%d operations, %d entries, %v", len(made), len(owner.Entries("")), err)
	}
}

func TestRefusesSnapshots(t *testing.T) {
	s := space(t)
	do(t, s, 0, grantAll(1))
	do(t, s, 0, set("a", "1"))
	do(t, s, 0, set("b", "2"))
	if s.Snapshot() != nil {
		t.Error("a snapshot without a checkpoint")
	}
	old := s.Root()
	if _, err := s.MakeCheckpoint(key(0)); err != nil || s.Root() != old {
		t.Fatal(err)
	}
	good := s.Snapshot()
	for i := range good { // every byte matters
		bad := slices.Clone(good)
		bad[i] ^= 1
		if ok, _, err := space(t).Adopt(bad); ok || !errors.Is(err, crdt.ErrInvalid) {
			t.Fatalf("byte %d changed: %v, %v", i, ok, err)
		}
	}
	for n := range good {
		if ok, _, err := space(t).Adopt(good[:n]); ok || !errors.Is(err, crdt.ErrInvalid) {
			t.Fatalf("%d bytes: %v, %v", n, ok, err)
		}
	}
	// A checkpoint that states what is not so is refused by who can tell.
	liar := space(t)
	o := &crdt.Op{Namespace: liar.ID(), Author: id(0), Base: liar.ID(), Parents: []crdt.ID{}, Height: 1, Change: crdt.Change{Action: crdt.Checkpoint, Root: crdt.ID{1}}}
	read, err := crdt.Parse(sign(t, o, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := liar.Add(read); !errors.Is(err, crdt.ErrInvalid) {
		t.Errorf("a lying checkpoint: %v", err)
	}
}

func TestProofs(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 8, 20} {
		s := space(t)
		for i := range n {
			do(t, s, 0, set(fmt.Sprintf("k%02d", 2*i), fmt.Sprint(i)))
		}
		if n > 2 {
			do(t, s, 0, crdt.Change{Action: crdt.Append, Key: "log", Value: []byte("record")})
			do(t, s, 0, crdt.Change{Action: crdt.Insert, Key: "set", Value: []byte("element")})
			for _, e := range append(s.Log("log"), s.Elements("set")...) {
				if got, err := crdt.Verify(s.Root(), e.Place(), s.Prove(e.Place())); err != nil || got == nil || !bytes.Equal(got.Value, e.Value) {
					t.Errorf("%s: %v, %v", e.Type, got, err)
				}
			}
		}
		root := s.Root()
		for i := -1; i <= 2*n+1; i++ {
			at := crdt.Place{Key: fmt.Sprintf("k%02d", i), Type: crdt.Register}
			if i < 0 {
				at.Key = "a"
			}
			p, err := crdt.ParseProof(s.Prove(at).Bytes())
			if err != nil {
				t.Fatal(err)
			}
			e, err := crdt.Verify(root, at, p)
			if present := i >= 0 && i%2 == 0 && i < 2*n; err != nil || (e != nil) != present {
				t.Fatalf("%d entries, %s: %v, %v", n, at.Key, e, err)
			}
			if _, err := crdt.Verify(crdt.ID{1}, at, p); err == nil {
				t.Error("another root")
			}
			// A proof for one place says nothing of another, unless it is of the same gap.
			for j := range 2 * n {
				other := crdt.Place{Key: fmt.Sprintf("k%02d", j), Type: crdt.Register}
				e, err := crdt.Verify(root, other, p)
				if err == nil && (e != nil) != (j%2 == 0) {
					t.Fatalf("%d entries: the proof of %s shows for %s %v", n, at.Key, other.Key, e)
				}
			}
			for name, change := range map[string]func(*crdt.Proof){
				"count": func(p *crdt.Proof) { p.Count++ },
				"from":  func(p *crdt.Proof) { p.From++ },
				"space": func(p *crdt.Proof) { p.Space[0]++ },
				"path":  func(p *crdt.Proof) { p.Path = append(slices.Clone(p.Path), crdt.ID{}) },
				"shown": func(p *crdt.Proof) { p.Shown = nil },
			} {
				bad := p
				change(&bad)
				if e, err := crdt.Verify(root, at, bad); err == nil && n > 0 {
					t.Fatalf("%d entries, %s: %s changed: %v", n, at.Key, name, e)
				}
			}
		}
	}
}

// TestTree: what two trees do not share is found through few hashes.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := crdt.NewTree(), crdt.NewTree()
		want := map[crdt.ID]bool{}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for i := range rapid.IntRange(0, 400).Draw(t, "n") {
			id := canon.Sum("test id", []byte(fmt.Sprint(i)))
			where := rng.IntN(20)
			if where != 0 {
				a.Add(id)
			}
			if where != 1 {
				b.Add(id)
			}
			if where < 2 {
				want[id] = true
			}
			if rng.IntN(9) == 0 {
				a.Hash(crdt.Prefix{}) // what is kept of it must go with the next Add
			}
		}
		var walk func(p crdt.Prefix)
		walk = func(p crdt.Prefix) {
			if a.Hash(p) == b.Hash(p) {
				return
			}
			if p.Depth < 3 {
				for i := range 16 {
					walk(p.Child(i))
				}
				return
			}
			x, _ := a.IDs(p, 1000)
			y, _ := b.IDs(p, 1000)
			for _, id := range append(x, y...) {
				if slices.Contains(x, id) != slices.Contains(y, id) {
					delete(want, id)
				}
			}
		}
		walk(crdt.Prefix{})
		if len(want) > 0 {
			t.Fatalf("%d differences were not found", len(want))
		}
	})
}

func FuzzParse(f *testing.F) {
	s := space(f)
	do(f, s, 0, grantAll(1))
	do(f, s, 1, set("a", "1"))
	do(f, s, 0, crdt.Change{Action: crdt.Revoke, Writer: id(1), UpTo: s.UpTo(id(1))})
	for _, o := range s.Ops() {
		f.Add(o.Bytes())
	}
	f.Add(s.Genesis().Bytes())
	f.Add(s.Prove(crdt.Place{Key: "a", Type: crdt.Register}).Bytes())
	if _, err := s.MakeCheckpoint(key(0)); err != nil {
		f.Fatal(err)
	}
	f.Add(s.Snapshot())
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := crdt.Parse(data); err == nil {
			if !bytes.Equal(o.Bytes(), data) {
				t.Error("an operation has two forms")
			}
			_, _, _ = space(t).Add(o)
		}
		if g, err := crdt.ParseGenesis(data); err == nil && !bytes.Equal(g.Bytes(), data) {
			t.Error("a namespace has two forms")
		}
		if p, err := crdt.ParseProof(data); err == nil {
			if e, err := crdt.Verify(s.Root(), crdt.Place{Key: "zz", Type: crdt.Register}, p); err == nil && e != nil {
				t.Error("a proof of what is not there")
			}
		}
		_, _, _ = space(t).Adopt(data)
	})
}

// TestStateIsBounded: checkpoints cannot pile up what operations could not.
func TestStateIsBounded(t *testing.T) {
	s, err := crdt.New(genesis(), crdt.Limits{MaxState: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	other := space(t)
	for i := range 100 {
		give(t, other, do(t, s, 0, set(fmt.Sprint(i), "some value")))
		made, err := s.MakeCheckpoint(key(0))
		if errors.Is(err, crdt.ErrFull) {
			if i < 20 {
				t.Errorf("full after %d entries", i)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		give(t, other, made...)
	}
	t.Error("a state of any size was taken")
}
