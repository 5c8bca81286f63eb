package crdt_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/peer"
)

func key(n int) ed25519.PrivateKey {
	seed := make([]byte, 32)
	seed[0], seed[1] = byte(n), byte(n>>8)
	return ed25519.NewKeyFromSeed(seed)
}

func id(n int) peer.ID { return peer.FromPrivate(key(n)) }

func genesis() crdt.Genesis {
	return crdt.Genesis{Owner: id(0), Name: "notes", Kind: crdt.Owned}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func space(t fataler) *crdt.Space {
	t.Helper()
	s, err := crdt.New(genesis(), crdt.Limits{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

func do(t fataler, s *crdt.Space, who int, c crdt.Change) *crdt.Op {
	t.Helper()
	o, err := s.Make(key(who), c)
	if err != nil {
		t.Fatalf("%d: %+v: %v", who, c, err)
	}
	return o
}

func give(t fataler, s *crdt.Space, ops ...*crdt.Op) {
	t.Helper()
	for _, o := range ops {
		read, err := crdt.Parse(o.Bytes())
		if err != nil || read.ID() != o.ID() {
			t.Fatalf("Parse: %v", err)
		}
		if _, _, err := s.Add(read); err != nil {
			t.Fatalf("Add: %v", err)
		}
	}
}

func grantAll(who int) crdt.Change {
	return crdt.Change{Action: crdt.Grant, Writer: id(who), Types: crdt.AllTypes}
}

func set(k, v string) crdt.Change {
	return crdt.Change{Action: crdt.Set, Key: k, Value: []byte(v)}
}

func TestTypes(t *testing.T) {
	s := space(t)
	do(t, s, 0, set("a", "1"))
	do(t, s, 0, set("a", "2"))
	do(t, s, 0, set("b", "x"))
	do(t, s, 0, crdt.Change{Action: crdt.Delete, Key: "b"})
	do(t, s, 0, crdt.Change{Action: crdt.Count, Key: "a", Delta: 5})
	do(t, s, 0, crdt.Change{Action: crdt.Count, Key: "a", Delta: -7})
	do(t, s, 0, crdt.Change{Action: crdt.Insert, Key: "s", Value: []byte("red")})
	do(t, s, 0, crdt.Change{Action: crdt.Insert, Key: "s", Value: []byte("blue")})
	do(t, s, 0, crdt.Change{Action: crdt.Remove, Key: "s", Value: []byte("red"), Observed: s.Observed("s", []byte("red"))})
	for _, v := range []string{"one", "two"} {
		do(t, s, 0, crdt.Change{Action: crdt.Append, Key: "log", Value: []byte(v)})
	}
	if e, ok := s.Get("a", crdt.Register); !ok || string(e.Value) != "2" {
		t.Errorf("a = %v, %v", e, ok)
	}
	if _, ok := s.Get("b", crdt.Register); ok {
		t.Error("b was deleted")
	}
	if e, _ := s.Get("a", crdt.Counter); e.Sum() != -2 {
		t.Errorf("counter = %d", e.Sum())
	}
	var got []string
	for _, e := range append(s.Elements("s"), s.Log("log")...) {
		got = append(got, string(e.Value))
	}
	if diff := cmp.Diff([]string{"blue", "one", "two"}, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	for _, e := range s.Entries("") {
		got = append(got, e.Key+" "+e.Type.String())
	}
	if diff := cmp.Diff([]string{"a register", "a counter", "log log", "log log", "s set"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestConcurrent shows what each type does with writes that have not seen one another.
func TestConcurrent(t *testing.T) {
	a, b := space(t), space(t)
	give(t, b, do(t, a, 0, grantAll(1)), do(t, a, 0, crdt.Change{Action: crdt.Insert, Key: "s", Value: []byte("x")}))
	mine := []*crdt.Op{
		do(t, a, 0, set("k", "from 0")),
		do(t, a, 0, crdt.Change{Action: crdt.Remove, Key: "s", Value: []byte("x"), Observed: a.Observed("s", []byte("x"))}),
	}
	theirs := []*crdt.Op{
		do(t, b, 1, set("k", "from 1")),
		do(t, b, 1, crdt.Change{Action: crdt.Insert, Key: "s", Value: []byte("x")}),
	}
	give(t, a, theirs...)
	give(t, b, mine...)
	if a.Root() != b.Root() {
		t.Fatal("two replicas of the same operations differ")
	}
	if len(a.Elements("s")) != 1 {
		t.Error("an insertion that the removal had not seen is lost")
	}
	want := "from 0"
	if id(1).Compare(id(0)) > 0 {
		want = "from 1"
	}
	if e, _ := a.Get("k", crdt.Register); string(e.Value) != want {
		t.Errorf("of two writes as high, that of %q counts, want %q", e.Value, want)
	}
}

func TestGrants(t *testing.T) {
	s := space(t)
	if _, err := s.Make(key(1), set("a/1", "")); !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("without a grant: %v", err)
	}
	do(t, s, 0, crdt.Change{Action: crdt.Grant, Key: "a/", Writer: id(1), Types: crdt.Register})
	do(t, s, 1, set("a/1", "mine"))
	for name, c := range map[string]crdt.Change{
		"another key":    set("b/1", ""),
		"another type":   {Action: crdt.Append, Key: "a/1"},
		"a grant":        grantAll(1),
		"a revocation":   {Action: crdt.Revoke, Writer: id(0)},
		"a merge":        {Action: crdt.Merge},
		"another's type": {Action: crdt.Count, Key: "a/1", Delta: 1},
	} {
		if _, err := s.Make(key(1), c); !errors.Is(err, crdt.ErrDenied) || !errors.Is(err, crdt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.MakeCheckpoint(key(1)); !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("a checkpoint: %v", err)
	}
	do(t, s, 0, crdt.Change{Action: crdt.Revoke, Writer: id(1), UpTo: s.UpTo(id(1))})
	if _, err := s.Make(key(1), set("a/1", "late")); !errors.Is(err, crdt.ErrDenied) {
		t.Errorf("after the revocation: %v", err)
	}
	if e, _ := s.Get("a/1", crdt.Register); string(e.Value) != "mine" {
		t.Errorf("what was accepted is gone: %q", e.Value)
	}
	do(t, s, 0, crdt.Change{Action: crdt.Grant, Key: "a/", Writer: id(1), Types: crdt.Register})
	do(t, s, 1, set("a/1", "again"))
	if len(s.Grants()) != 1 {
		t.Errorf("grants: %v", s.Grants())
	}
}

// TestBackDating: a revoked writer cannot slip in operations as if they had been
// made before; what the owner did not accept is void, though some saw it.
func TestBackDating(t *testing.T) {
	owner, writer := space(t), space(t)
	g := do(t, owner, 0, grantAll(1))
	give(t, writer, g)
	seen := do(t, writer, 1, set("k", "seen"))
	give(t, owner, seen)
	r := do(t, owner, 0, crdt.Change{Action: crdt.Revoke, Writer: id(1), UpTo: owner.UpTo(id(1))})
	var late []*crdt.Op
	for i := range 5 {
		late = append(late, do(t, writer, 1, set("k", fmt.Sprint("late ", i))))
	}
	before, after := space(t), space(t)
	give(t, before, append(append([]*crdt.Op{g, seen}, late...), r)...) // late operations came first
	give(t, after, append([]*crdt.Op{g, seen, r}, late...)...)
	for name, s := range map[string]*crdt.Space{"late first": before, "revocation first": after} {
		if e, _ := s.Get("k", crdt.Register); string(e.Value) != "seen" {
			t.Errorf("%s: %q", name, e.Value)
		}
	}
	if before.Root() != after.Root() {
		t.Error("the order of arrival decides")
	}
	// An accepted frontier that leaves out what the owner saw voids that, too.
	strict := space(t)
	give(t, strict, g, seen)
	do(t, strict, 0, crdt.Change{Action: crdt.Revoke, Writer: id(1)})
	if _, ok := strict.Get("k", crdt.Register); ok {
		t.Error("an operation below no accepted head counts")
	}
	// Naming, before it is made, an operation that the owner has not seen does
	// not accept it.
	blind := space(t)
	give(t, blind, g)
	r = do(t, blind, 0, crdt.Change{Action: crdt.Revoke, Writer: id(1), UpTo: []crdt.ID{seen.ID()}})
	give(t, blind, seen)
	knows := space(t)
	give(t, knows, g, seen, r)
	for _, s := range []*crdt.Space{blind, knows} {
		if _, ok := s.Get("k", crdt.Register); ok {
			t.Error("an operation outside the revocation's past counts")
		}
	}
}

// TestGrantInOneBranch: a grant holds for what has it in its past by any way.
func TestGrantInOneBranch(t *testing.T) {
	for i := range 16 { // in which the IDs of the branches are ordered one way or the other
		own := genesis()
		own.Salt[0] = byte(i)
		a, _ := crdt.New(own, crdt.Limits{})
		b, _ := crdt.New(own, crdt.Limits{})
		g := do(t, a, 0, grantAll(1))
		other := do(t, b, 0, set("other", fmt.Sprint(i)))
		give(t, a, other)
		give(t, b, g)
		for _, s := range []*crdt.Space{a, b} {
			if _, err := s.Make(key(1), set("k", "v")); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	s := space(t)
	a := do(t, s, 0, set("a", "1"))
	fresh := func() *crdt.Space { return space(t) }
	raw := func(change func(*crdt.Op)) []byte {
		o := *a
		change(&o)
		return sign(t, &o, 0)
	}
	for name, data := range map[string][]byte{
		"height":           raw(func(o *crdt.Op) { o.Height = 7 }),
		"absurd height":    raw(func(o *crdt.Op) { o.Height = 1 << 60 }),
		"no height":        raw(func(o *crdt.Op) { o.Height = 0 }),
		"namespace":        raw(func(o *crdt.Op) { o.Namespace[0]++ }),
		"author":           raw(func(o *crdt.Op) { o.Author = id(1) }),
		"signature":        append(slices.Clone(a.Bytes()[:len(a.Bytes())-1]), a.Bytes()[len(a.Bytes())-1]^1),
		"value":            raw(func(o *crdt.Op) { o.Change.Value = make([]byte, crdt.MaxValue+1) }),
		"key":              raw(func(o *crdt.Op) { o.Change.Key = strings.Repeat("k", crdt.MaxKey+1) }),
		"control in key":   raw(func(o *crdt.Op) { o.Change.Key = "a\x00b" }),
		"no key":           raw(func(o *crdt.Op) { o.Change.Key = "" }),
		"action":           raw(func(o *crdt.Op) { o.Change.Action = 99 }),
		"field of another": raw(func(o *crdt.Op) { o.Change.Delta = 1 }),
		"delta":            raw(func(o *crdt.Op) { o.Change = crdt.Change{Action: crdt.Count, Key: "a", Delta: 1 << 41} }),
		"parents unsorted": raw(func(o *crdt.Op) { o.Parents = []crdt.ID{{2}, {1}} }),
		"many parents": raw(func(o *crdt.Op) {
			for i := range crdt.MaxParents + 1 {
				o.Parents = append(o.Parents, crdt.ID{byte(i)})
			}
		}),
		"huge":  make([]byte, crdt.MaxOp+1),
		"empty": nil,
		"more":  append(slices.Clone(a.Bytes()), 0),
	} {
		o, err := crdt.Parse(data)
		if err == nil {
			_, _, err = fresh().Add(o)
		}
		if !errors.Is(err, crdt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := do(t, s, 0, set("a", "2"))
	if _, _, err := fresh().Add(b); !errors.Is(err, crdt.ErrMissing) {
		t.Errorf("an unknown parent: %v", err)
	}
	other, err := crdt.Parse(raw(func(o *crdt.Op) { o.Base = crdt.ID{9} }))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := fresh().Add(other); !errors.Is(err, crdt.ErrSuperseded) {
		t.Errorf("an unknown base: %v", err)
	}
	small, _ := crdt.New(genesis(), crdt.Limits{MaxOps: 8})
	do(t, small, 0, grantAll(1))
	for range 2 {
		do(t, small, 1, set("x", ""))
	}
	if _, err := small.Make(key(1), set("x", "")); !errors.Is(err, crdt.ErrFull) {
		t.Errorf("more than a quarter: %v", err)
	}
}

// sign signs an operation as its author, as hostile writers do: nothing checks it.
func sign(t fataler, o *crdt.Op, who int) []byte {
	t.Helper()
	o.Sig = []byte{}
	body, err := canon.Marshal(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	d := canon.Sum("aval operation/1", body)
	o.Sig = ed25519.Sign(key(who), d[:])
	data, err := canon.Marshal(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return data
}

// draw picks a change that makes sense at a replica.
func draw(t *rapid.T, s *crdt.Space) crdt.Change {
	k := rapid.SampledFrom([]string{"a", "b", "p/a"}).Draw(t, "key")
	v := []byte(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "value"))
	switch rapid.IntRange(0, 5).Draw(t, "action") {
	case 0:
		return crdt.Change{Action: crdt.Delete, Key: k}
	case 1:
		return crdt.Change{Action: crdt.Count, Key: k, Delta: int64(rapid.IntRange(1, 9).Draw(t, "delta"))}
	case 2:
		return crdt.Change{Action: crdt.Insert, Key: k, Value: v}
	case 3:
		if seen := s.Observed(k, v); len(seen) > 0 {
			return crdt.Change{Action: crdt.Remove, Key: k, Value: v, Observed: seen}
		}
	case 4:
		return crdt.Change{Action: crdt.Append, Key: k, Value: v}
	}
	return crdt.Change{Action: crdt.Set, Key: k, Value: v}
}

// TestConverges: any set of operations, of an owner who grants and revokes,
// of writers, and of writers that were revoked or never granted, gives one state
// in whatever order and however often they come, and that of a definition
// which is slow and plain.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const people = 4 // 0 owns, 3 is never granted anything
		var replicas [people]*crdt.Space
		for i := range replicas {
			replicas[i] = space(t)
		}
		var all []*crdt.Op
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			who := rapid.IntRange(0, people-1).Draw(t, "who")
			s := replicas[who]
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 5:
				c := draw(t, s)
				if who == 0 && rapid.IntRange(0, 2).Draw(t, "owner") == 0 {
					c = crdt.Change{
						Action: crdt.Grant, Key: rapid.SampledFrom([]string{"", "p/"}).Draw(t, "prefix"), Writer: id(rapid.IntRange(1, 2).Draw(t, "writer")),
						Types: rapid.SampledFrom([]crdt.Type{crdt.AllTypes, crdt.Register}).Draw(t, "types"),
					}
					if rapid.Bool().Draw(t, "revoke") {
						c = crdt.Change{Action: crdt.Revoke, Writer: c.Writer}
						if rapid.Bool().Draw(t, "accept") {
							c.UpTo = s.UpTo(c.Writer)
						}
					}
				}
				o, err := s.Make(key(who), c)
				if errors.Is(err, crdt.ErrDenied) {
					continue
				}
				if err != nil {
					t.Fatalf("%v", err)
				}
				all = append(all, o)
			default: // hears of some operations
				for _, o := range all {
					if rapid.Bool().Draw(t, "hear") {
						if _, _, err := s.Add(o); err != nil && !errors.Is(err, crdt.ErrMissing) {
							t.Fatalf("%v", err)
						}
					}
				}
			}
		}
		want := naive(all)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var root crdt.ID
		for i := range 3 {
			s := space(t)
			todo := append(slices.Clone(all), all...)
			for len(todo) > 0 {
				rng.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
				var later []*crdt.Op
				for _, o := range todo {
					if _, _, err := s.Add(o); errors.Is(err, crdt.ErrMissing) {
						later = append(later, o)
					} else if err != nil {
						t.Fatalf("%v", err)
					}
				}
				todo = later
			}
			if i == 0 {
				root = s.Root()
			}
			if s.Root() != root || s.Len() != len(all) {
				t.Fatalf("order %d gives another state", i)
			}
			if diff := cmp.Diff(want, readable(s)); diff != "" {
				t.Fatalf("not the definition's state:\n%s", diff)
			}
		}
	})
}

func readable(s *crdt.Space) []string {
	var out []string
	for _, e := range s.Entries("") {
		out = append(out, fmt.Sprintf("%s %s %q %d", e.Key, e.Type, e.Value, e.Sum()))
	}
	slices.Sort(out)
	return out
}

// naive is the definition of spec/shared-data.md, word for word, without checkpoints.
func naive(all []*crdt.Op) []string {
	byID := map[crdt.ID]*crdt.Op{}
	for _, o := range all {
		byID[o.ID()] = o
	}
	var below func(a, b crdt.ID) bool // a is b or in its past
	below = func(a, b crdt.ID) bool {
		return a == b || byID[b] != nil && slices.ContainsFunc(byID[b].Parents, func(p crdt.ID) bool { return below(a, p) })
	}
	counts := func(o *crdt.Op) bool {
		if o.Author == id(0) {
			return true
		}
		for _, g := range all {
			t := map[crdt.Action]crdt.Type{
				crdt.Set: crdt.Register, crdt.Delete: crdt.Register, crdt.Count: crdt.Counter,
				crdt.Insert: crdt.Elements, crdt.Remove: crdt.Elements, crdt.Append: crdt.Log,
			}[o.Change.Action]
			if g.Change.Action != crdt.Grant || g.Change.Writer != o.Author || !below(g.ID(), o.ID()) || g.Change.Types&t == 0 || !strings.HasPrefix(o.Change.Key, g.Change.Key) {
				continue
			}
			void := slices.ContainsFunc(all, func(r *crdt.Op) bool {
				return r.Change.Action == crdt.Revoke && r.Change.Writer == o.Author && below(g.ID(), r.ID()) &&
					!slices.ContainsFunc(r.Change.UpTo, func(h crdt.ID) bool { return below(h, r.ID()) && below(o.ID(), h) })
			})
			if !void {
				return true
			}
		}
		return false
	}
	var good []*crdt.Op
	for _, o := range all {
		if counts(o) {
			good = append(good, o)
		}
	}
	crdt.SortOps(good)
	registers, counters, elements := map[string]*crdt.Op{}, map[string]int64{}, map[string]bool{}
	var out []string
	for _, o := range good {
		k, v := o.Change.Key, string(o.Change.Value)
		switch o.Change.Action {
		case crdt.Set, crdt.Delete:
			registers[k] = o
		case crdt.Count:
			counters[k] += o.Change.Delta
		case crdt.Append:
			out = append(out, fmt.Sprintf("%s log %q 0", k, v))
		case crdt.Insert:
			if !slices.ContainsFunc(good, func(r *crdt.Op) bool {
				return r.Change.Key == k && string(r.Change.Value) == v && slices.Contains(r.Change.Observed, o.ID())
			}) {
				elements[fmt.Sprintf("%s set %q 0", k, v)] = true
			}
		}
	}
	for k, o := range registers {
		if o.Change.Action == crdt.Set {
			out = append(out, fmt.Sprintf("%s register %q 0", k, o.Change.Value))
		}
	}
	for k, n := range counters {
		out = append(out, fmt.Sprintf("%s counter \"\" %d", k, n))
	}
	for e := range elements {
		out = append(out, e)
	}
	slices.Sort(out)
	return out
}
