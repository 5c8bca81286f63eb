package beacon_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/beacon"
)

func TestSecret(t *testing.T) {
	if _, err := beacon.NewSecret(make([]byte, 31)); err == nil {
		t.Error("a seed of 31 bytes is taken")
	}
	a, b := newSecret(t, 1), newSecret(t, 1)
	if a.Public() != b.Public() || a.Public() == newSecret(t, 2).Public() {
		t.Error("the key is not a function of the seed, or doesn't depend on it")
	}
	id := [32]byte{1, 2, 3}
	r := a.Register(id)
	if err := r.Check(id); err != nil || r.Key() != a.Public() {
		t.Errorf("a registration: %v, key %x, want %x", err, r.Key(), a.Public())
	}
	if err := r.Check([32]byte{1, 2}); !errors.Is(err, beacon.ErrProof) {
		t.Errorf("the registration of another: %v, want ErrProof", err)
	}
	other := newSecret(t, 2).Public()
	stolen := r
	copy(stolen[:], other[:])
	if err := stolen.Check(id); !errors.Is(err, beacon.ErrProof) {
		t.Errorf("a key whose secret the validator doesn't have: %v, want ErrProof", err)
	}
	for i := range r {
		bad := r
		bad[i] ^= 1
		if err := bad.Check(id); !errors.Is(err, beacon.ErrProof) && !errors.Is(err, beacon.ErrEncoding) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestGroupRefuses(t *testing.T) {
	c := ready(t, 4)
	swapped := slices.Clone(c.members)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	sameKey := slices.Clone(c.members)
	sameKey[3].Key = sameKey[0].Key
	for _, e := range []struct {
		name, chain string
		members     []beacon.Member
	}{
		{"no members", "test", nil},
		{"too many", "test", make([]beacon.Member, beacon.MaxMembers+1)},
		{"out of order", "test", swapped},
		{"one twice", "test", []beacon.Member{c.members[0], c.members[0]}},
		{"one key twice", "test", sameKey},
		{"no power", "test", []beacon.Member{{ID: c.members[0].ID, Key: c.members[0].Key}}},
		{"too much power", "test", []beacon.Member{{ID: c.members[0].ID, Key: c.members[0].Key, Power: 1<<48 + 1}}},
		{"no chain", "", c.members},
		{"a long chain", string(make([]byte, 65)), c.members},
	} {
		if _, err := beacon.NewGroup(e.chain, 1, e.members); err == nil {
			t.Errorf("%s: taken", e.name)
		}
	}
	for i, m := range c.members {
		if got, ok := c.group.Index(m.ID); !ok || got != i || c.group.Member(i) != m {
			t.Errorf("member %d is at %d, %v", i, got, ok)
		}
	}
	if _, ok := c.group.Index([32]byte{}); ok {
		t.Error("nobody is a member")
	}
}

func TestDealing(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		c := ready(t, n)
		for i, d := range c.dealings {
			if len(d.Bytes()) != c.group.DealingSize() {
				t.Errorf("n=%d: a dealing of %d bytes, want %d", n, len(d.Bytes()), c.group.DealingSize())
			}
			checked, err := c.group.Check(d.Bytes())
			if err != nil || checked.Dealer() != i || !bytes.Equal(checked.Bytes(), d.Bytes()) {
				t.Fatalf("n=%d: dealing %d: %v", n, i, err)
			}
			for _, s := range c.secrets {
				if complaint, err := c.group.Complain(s, checked); err != nil || complaint != nil {
					t.Errorf("n=%d: a complaint about dealing %d: %v, %v", n, i, complaint, err)
				}
			}
		}
		again, err := c.group.Deal(c.secrets[0], [32]byte{})
		if err != nil || !bytes.Equal(again.Bytes(), c.dealings[0].Bytes()) {
			t.Errorf("n=%d: dealt again, another dealing: %v", n, err)
		}
		other, err := c.group.Deal(c.secrets[0], [32]byte{1})
		if err != nil || bytes.Equal(other.Bytes(), c.dealings[0].Bytes()) {
			t.Errorf("n=%d: entropy changes nothing: %v", n, err)
		}
	}
	c := ready(t, 4)
	stranger := newSecret(t, 99)
	if _, err := c.group.Deal(stranger, [32]byte{}); !errors.Is(err, beacon.ErrNotMember) {
		t.Errorf("a stranger deals: %v", err)
	}
	if _, err := c.group.Complain(stranger, c.dealings[0]); !errors.Is(err, beacon.ErrNotMember) {
		t.Errorf("a stranger complains: %v", err)
	}
	if _, err := c.key.Signer(stranger); !errors.Is(err, beacon.ErrNotMember) {
		t.Errorf("a stranger signs: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	c := ready(t, 4)
	raw := c.dealings[1].Bytes()
	must := func(d *beacon.Dealing, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d.Bytes()
	}
	change := func(at int, b ...byte) []byte {
		out := slices.Clone(raw)
		copy(out[at:], b)
		return out
	}
	const keyAt, commitsAt, valuesAt = 1, 1 + 48, 1 + 48 + 2*96
	proofAt := valuesAt + 4*32
	outside1, outside2 := beacon.OutsideG1(), beacon.OutsideG2()
	high := bytes.Repeat([]byte{0xff}, 32)
	for _, e := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"nothing", nil, beacon.ErrEncoding},
		{"cut", raw[:len(raw)-1], beacon.ErrEncoding},
		{"a byte too many", append(slices.Clone(raw), 0), beacon.ErrEncoding},
		{"by nobody", change(0, 4), beacon.ErrEncoding},
		{"a key outside the subgroup", change(keyAt, outside1[:]...), beacon.ErrEncoding},
		{"a key at infinity", change(keyAt, append([]byte{0xc0}, make([]byte, 47)...)...), beacon.ErrEncoding},
		{"a commitment outside the subgroup", change(commitsAt+96, outside2[:]...), beacon.ErrEncoding},
		{"a commitment at infinity", change(commitsAt+96, append([]byte{0xc0}, make([]byte, 95)...)...), beacon.ErrEncoding},
		{"a share above the order", change(valuesAt, high...), beacon.ErrEncoding},
		{"a challenge above the order", change(proofAt, high...), beacon.ErrEncoding},
		{"an answer above the order", change(proofAt+96, high...), beacon.ErrEncoding},
		{"another dealer", change(0, 2), beacon.ErrProof},
		{"another share", change(valuesAt+31, raw[valuesAt+31]^1), beacon.ErrProof},
		{"commitments the other way round", change(commitsAt, append(slices.Clone(raw[commitsAt+96:commitsAt+192]), raw[commitsAt:commitsAt+96]...)...), beacon.ErrProof},
		{"another answer", change(proofAt+63, raw[proofAt+63]^1), beacon.ErrProof},
		{"of another epoch", must(newGroup(t, "test", 2, 4).group.Deal(c.secrets[1], [32]byte{})), beacon.ErrProof},
		{"of another chain", must(newGroup(t, "tesu", 1, 4).group.Deal(c.secrets[1], [32]byte{})), beacon.ErrProof},
		{"under the name of another", must(c.group.DealFor(2, c.secrets[1])), beacon.ErrProof},
		{"with the commitment of another", must(c.group.DealUnknown(c.secrets[1], c.dealings[0])), beacon.ErrProof},
		{"with the key of another", must(c.group.DealCopiedKey(c.secrets[1], c.dealings[0])), beacon.ErrProof},
	} {
		if _, err := c.group.Check(e.raw); !errors.Is(err, e.want) {
			t.Errorf("%s: %v, want %v", e.name, err, e.want)
		}
	}
}

// TestComplaints: a wrong share is proved by its receiver, a right one is not,
// and nobody can complain in the name of another.
func TestComplaints(t *testing.T) {
	c := ready(t, 4)
	wrong, err := c.group.DealWrong(c.secrets[3], [32]byte{}, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := c.group.Check(wrong.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range c.secrets {
		complaint, err := c.group.Complain(s, checked)
		if err != nil {
			t.Fatal(err)
		}
		if victim := i == 0 || i == 2; victim != (complaint != nil) {
			t.Fatalf("member %d complains: %v, want %v", i, complaint != nil, victim)
		}
		if complaint == nil {
			continue
		}
		if complaint.Dealer() != 3 || complaint.Member() != i {
			t.Errorf("member %d about %d", complaint.Member(), complaint.Dealer())
		}
		if guilty, err := c.group.Judge(checked, complaint); err != nil || guilty != 3 {
			t.Errorf("the complaint of member %d: %d is guilty, %v; want 3", i, guilty, err)
		}
		other := *complaint
		other[1] = 1
		if _, err := c.group.Judge(checked, &other); !errors.Is(err, beacon.ErrProof) {
			t.Errorf("in the name of another: %v, want ErrProof", err)
		}
		for _, at := range []int{49, 50 + 31, 50 + 63} { // the end of the key, of the challenge, of the answer
			bad := *complaint
			bad[at] ^= 1
			if _, err := c.group.Judge(checked, &bad); !errors.Is(err, beacon.ErrProof) && !errors.Is(err, beacon.ErrEncoding) {
				t.Errorf("byte %d changed: %v", at, err)
			}
		}
		for name, p := range badPoints1(t, [48]byte(complaint[2:])) {
			bad := *complaint
			copy(bad[2:], p[:])
			if _, err := c.group.Judge(checked, &bad); !errors.Is(err, beacon.ErrEncoding) {
				t.Errorf("a complaint, %s: %v, want ErrEncoding", name, err)
			}
		}
		// It says nothing about another dealing of the same dealer.
		if _, err := c.group.Judge(c.dealings[3], complaint); !errors.Is(err, beacon.ErrProof) {
			t.Errorf("judged with another dealing: %v, want ErrProof", err)
		}
		if _, err := c.group.Judge(c.dealings[1], complaint); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("judged with the dealing of another: %v, want ErrEncoding", err)
		}
	}
	undeserved := c.group.Reveal(c.secrets[1], checked)
	if guilty, err := c.group.Judge(checked, undeserved); err != nil || guilty != 1 {
		t.Errorf("an undeserved complaint: %d is guilty, %v; want 1", guilty, err)
	}
	self := c.group.Reveal(c.secrets[3], checked)
	if _, err := c.group.Judge(checked, self); !errors.Is(err, beacon.ErrEncoding) {
		t.Errorf("a dealer about itself: %v, want ErrEncoding", err)
	}
	nobody := *undeserved
	nobody[1] = 4
	if _, err := c.group.Judge(checked, &nobody); !errors.Is(err, beacon.ErrEncoding) {
		t.Errorf("a complaint of nobody: %v, want ErrEncoding", err)
	}
}

func TestCombineRefuses(t *testing.T) {
	c := ready(t, 4)
	d := c.dealings
	foreign, err := newGroup(t, "test", 2, 4).group.Deal(c.secrets[1], [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		name     string
		dealings []*beacon.Dealing
	}{
		{"none", nil},
		{"too few", d[:1]},
		{"one twice", []*beacon.Dealing{d[0], d[0]}},
		{"out of order", []*beacon.Dealing{d[1], d[0]}},
		{"of another group", []*beacon.Dealing{d[0], foreign}},
	} {
		if _, err := c.group.Combine(e.dealings); err == nil {
			t.Errorf("%s: taken", e.name)
		}
	}
}

// TestNobodyComplained: a member with a wrong share notices, and the others do
// without it.
func TestNobodyComplained(t *testing.T) {
	c := newGroup(t, "test", 1, 4)
	for i, s := range c.secrets {
		var wrong []int
		if i == 3 {
			wrong = []int{1}
		}
		d, err := c.group.DealWrong(s, [32]byte{}, wrong...)
		if err != nil {
			t.Fatal(err)
		}
		c.dealings = append(c.dealings, d)
	}
	key, err := c.group.Combine(c.dealings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Signer(c.secrets[1]); !errors.Is(err, beacon.ErrShare) {
		t.Errorf("a wrong share: %v, want ErrShare", err)
	}
	var shares []beacon.Share
	for _, m := range []int{0, 2} {
		s, err := key.Signer(c.secrets[m])
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s.Sign(5))
	}
	if _, err := key.Recover(5, shares); err != nil {
		t.Error(err)
	}
}

// TestKey: the key's bytes are all that a member needs besides its secret, and
// what is not such bytes is refused.
func TestKey(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		c := ready(t, n)
		raw := c.key.Bytes()
		again, err := c.group.ParseKey(raw)
		if err != nil || !again.Equal(c.key) || again.Public() != c.key.Public() {
			t.Fatalf("n=%d: %v", n, err)
		}
		for i, s := range c.secrets {
			signer, err := again.Signer(s)
			if err != nil || signer.Member() != i || signer.Sign(9) != c.signers[i].Sign(9) {
				t.Errorf("n=%d: member %d after a restart: %v", n, i, err)
			}
			if err := c.key.CheckConfirmation(signer.Confirm()); err != nil {
				t.Errorf("n=%d: the confirmation of member %d: %v", n, i, err)
			}
		}
	}
	c := ready(t, 4)
	raw := c.key.Bytes()
	change := func(at int, b ...byte) []byte {
		out := slices.Clone(raw)
		copy(out[at:], b)
		return out
	}
	outside1, outside2 := beacon.OutsideG1(), beacon.OutsideG2()
	for name, bad := range map[string][]byte{
		"nothing":                           nil,
		"cut":                               raw[:len(raw)-1],
		"a byte too many":                   append(slices.Clone(raw), 0),
		"of fewer dealers than it says":     change(0, 0x07),
		"of too few dealers":                slices.Concat([]byte{1}, raw[1:16+48], raw[16+4*48:]),
		"of no dealers":                     slices.Concat([]byte{0}, raw[1:16], raw[16+4*48:]),
		"of a dealer who is no member":      change(0, 0x87),
		"a key outside the subgroup":        change(16, outside1[:]...),
		"a commitment outside the subgroup": change(16+4*48, outside2[:]...),
		"a share above the order":           change(len(raw)-32, bytes.Repeat([]byte{0xff}, 32)...),
	} {
		if _, err := c.group.ParseKey(bad); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("%s: %v, want ErrEncoding", name, err)
		}
	}
}

// TestDealingsOfAnyStand: whichever dealings stand, if they are a threshold, the
// members agree about the key, and any threshold of them signs.
func TestDealingsOfAnyStand(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		from := ready(t, rapid.SampledFrom([]int{1, 2, 4, 7}).Draw(r, "n"))
		n, need := from.group.Size(), from.group.Threshold()
		stand := rapid.Permutation(upTo(n)).Draw(r, "stand")[:rapid.IntRange(need, n).Draw(r, "dealers")]
		slices.Sort(stand)
		c := &cluster{secrets: from.secrets, group: from.group}
		for _, i := range stand {
			c.dealings = append(c.dealings, from.dealings[i])
		}
		c.finish(t)
		round := rapid.Uint64().Draw(r, "round")
		members := rapid.Permutation(upTo(n)).Draw(r, "signers")
		a, err := c.key.Recover(round, c.shares(round, members[:need]...))
		if err != nil {
			r.Fatal(err)
		}
		slices.Reverse(members)
		b, err := c.key.Recover(round, c.shares(round, members[:need]...))
		if err != nil || a != b {
			r.Fatalf("%x, then %x, %v", a, b, err)
		}
		if len(stand) < n && c.key.Public() == from.key.Public() {
			r.Fatal("a dealing that doesn't stand is in the key")
		}
	})
}
