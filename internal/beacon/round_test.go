package beacon_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/beacon"
)

// TestThresholds holds the numbers of a group to what the package says of them.
func TestThresholds(t *testing.T) {
	all := newGroup(t, "test", 1, 10).members
	for _, c := range []struct {
		powers            []uint64
		faults, threshold int // 0: refused
	}{
		{[]uint64{1}, 0, 1},
		{[]uint64{1 << 48}, 0, 1},
		{[]uint64{5, 5}, 0, 2},
		{[]uint64{5, 2}, 0, 0},
		{[]uint64{7, 4}, 0, 2},
		{[]uint64{1, 1, 1}, 0, 3},
		{[]uint64{1, 1, 1, 1}, 1, 2},
		{[]uint64{9, 10, 10, 11}, 1, 2},
		{[]uint64{1, 1, 1, 4}, 0, 0},
		{[]uint64{8, 8, 8, 8, 8}, 1, 3},
		{[]uint64{1, 1, 1, 1, 1, 1}, 1, 4},
		{[]uint64{3, 3, 3, 3, 3, 3, 3}, 2, 3},
		{[]uint64{5, 3, 2, 3, 3, 3, 3}, 2, 3},
		{[]uint64{3, 3, 3, 3, 3, 20, 3}, 0, 0},
		{[]uint64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 3, 4},
	} {
		members := slices.Clone(all[:len(c.powers)])
		for i, p := range c.powers {
			members[i].Power = p
		}
		g, err := beacon.NewGroup("test", 1, members)
		if c.threshold == 0 {
			if !errors.Is(err, beacon.ErrPower) {
				t.Errorf("%v: %v, want ErrPower", c.powers, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.powers, err)
			continue
		}
		if g.Faults() != c.faults || g.Threshold() != c.threshold {
			t.Errorf("%v: %d faults, threshold %d; want %+v", c.powers, g.Faults(), g.Threshold(), c)
		}
	}
}

// TestSafe: whatever the powers are, no coalition of less than a third of them
// can sign, and the rest of those who vote for a block can, without those who
// didn't confirm the key.
func TestSafe(t *testing.T) {
	all := newGroup(t, "test", 1, 7).members
	made := 0
	rapid.Check(t, func(r *rapid.T) {
		members := slices.Clone(all[:rapid.IntRange(1, 7).Draw(r, "n")])
		most := rapid.SampledFrom([]uint64{1, 4, 20}).Draw(r, "most")
		var total uint64
		for i := range members {
			members[i].Power = most + rapid.Uint64Range(0, most).Draw(r, "power")
			total += members[i].Power
		}
		g, err := beacon.NewGroup("test", 1, members)
		if err != nil {
			return
		}
		made++
		sets := 1 << len(members)
		power, count := make([]uint64, sets), make([]int, sets)
		for set := range sets {
			var who []int
			for i := range members {
				if set>>i&1 == 1 {
					power[set] += members[i].Power
					who = append(who, i, i)
				}
			}
			count[set] = bits.OnesCount(uint(set))
			if 3*power[set] < total && count[set] >= g.Threshold() {
				r.Fatalf("members %b have less than a third of the power and can sign", set)
			}
			if g.Enough(who) != (3*power[set] > 2*total) {
				r.Fatalf("members %b: enough is %v", set, g.Enough(who))
			}
		}
		for voted := range sets {
			for confirmed := range sets {
				if 3*power[voted] > 2*total && 3*power[confirmed] > 2*total && count[voted&confirmed] < g.Threshold() {
					r.Fatalf("members %b vote, %b have confirmed: too few shares", voted, confirmed)
				}
			}
		}
	})
	if made == 0 {
		t.Error("all powers are refused")
	}
}

// TestAnyThresholdSigns: all sets of t members give the same signature, and none
// of fewer does.
func TestAnyThresholdSigns(t *testing.T) {
	for _, n := range []int{1, 2, 4, 7} {
		c := ready(t, n)
		need := c.group.Threshold()
		const round = 1 << 40
		all := c.shares(round, upTo(n)...)
		for _, s := range all {
			if err := c.key.VerifyShare(round, s); err != nil {
				t.Errorf("n=%d: %v", n, err)
			}
		}
		want, err := c.key.Recover(round, all)
		if err != nil {
			t.Fatalf("n=%d: %v", n, err)
		}
		for set := range 1 << n {
			var some []beacon.Share
			for i := range n {
				if set>>i&1 == 1 {
					some = append(some, all[i])
				}
			}
			if n == 7 && bits.OnesCount(uint(set)) > need {
				continue // as the first t of them
			}
			got, err := c.key.Recover(round, some)
			switch {
			case len(some) < need && !errors.Is(err, beacon.ErrTooFew):
				t.Errorf("n=%d, set %b: %v, want ErrTooFew", n, set, err)
			case len(some) >= need && (err != nil || got != want):
				t.Errorf("n=%d, set %b: %x, %v; want %x", n, set, got, err, want)
			}
		}
		v, err := beacon.NewVerifier("test", 1, c.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(round, want); err != nil {
			t.Errorf("n=%d: %v", n, err)
		}
		if err := v.Verify(round+1, want); !errors.Is(err, beacon.ErrSignature) {
			t.Errorf("n=%d, another round: %v", n, err)
		}
		if want.Output() == [32]byte{} {
			t.Error("no output")
		}
	}
}

func TestSignatureOfElsewhere(t *testing.T) {
	c := ready(t, 4)
	sig, err := c.key.Recover(7, c.shares(7, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		chain string
		epoch uint64
		key   beacon.GroupKey
	}{{"tesu", 1, c.key.Public()}, {"test", 2, c.key.Public()}, {"test", 1, ready(t, 7).key.Public()}} {
		v, err := beacon.NewVerifier(e.chain, e.epoch, e.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(7, sig); !errors.Is(err, beacon.ErrSignature) {
			t.Errorf("%s, epoch %d: %v, want ErrSignature", e.chain, e.epoch, err)
		}
	}
}

// TestPoints: what is no point of the group is refused wherever one is read.
func TestPoints(t *testing.T) {
	c := ready(t, 4)
	right, err := c.key.Recover(7, c.shares(7, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	share := c.shares(7, 0)[0]
	for name, p := range badPoints1(t, [48]byte(right)) {
		if err := c.key.Verify(7, beacon.Signature(p)); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("a signature, %s: %v, want ErrEncoding", name, err)
		}
		if err := c.key.VerifyShare(7, beacon.Share(append([]byte{0}, p[:]...))); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("a share, %s: %v, want ErrEncoding", name, err)
		}
		m := slices.Clone(c.members)
		m[2].Key = p
		if _, err := beacon.NewGroup("test", 1, m); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("a key of a member, %s: %v, want ErrEncoding", name, err)
		}
		r := c.secrets[0].Register(c.members[0].ID)
		copy(r[:], p[:])
		if err := r.Check(c.members[0].ID); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("a registration, %s: %v, want ErrEncoding", name, err)
		}
	}
	for name, p := range badPoints2(t, [96]byte(c.key.Public())) {
		if _, err := beacon.NewVerifier("test", 1, p); !errors.Is(err, beacon.ErrEncoding) {
			t.Errorf("a group key, %s: %v, want ErrEncoding", name, err)
		}
	}
	share[0] = 4
	if err := c.key.VerifyShare(7, share); !errors.Is(err, beacon.ErrEncoding) {
		t.Errorf("a share of nobody: %v", err)
	}
	share[0] = 1
	if err := c.key.VerifyShare(7, share); !errors.Is(err, beacon.ErrSignature) {
		t.Errorf("a share under the name of another: %v", err)
	}
	if err := c.key.VerifyShare(8, c.shares(7, 0)[0]); !errors.Is(err, beacon.ErrSignature) {
		t.Errorf("a share of another round: %v", err)
	}
	if err := c.key.CheckConfirmation(c.shares(7, 0)[0]); !errors.Is(err, beacon.ErrSignature) {
		t.Errorf("a share of a round as confirmation: %v", err)
	}
	if _, err := c.key.Recover(7, c.shares(7, 0, 1, 0)); err == nil {
		t.Error("two shares of one member are taken")
	}
}

// prime is the characteristic of the field of the curves.
const prime = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"

func badPoints1(t testing.TB, right [48]byte) map[string][48]byte {
	p, err := hex.DecodeString(prime)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][48]byte{"zeroes": {}, "infinity": {0: 0xc0}, "outside the subgroup": beacon.OutsideG1()}
	// A point with x below 2^381-p, plus p, would be a second encoding of it.
	high := [48]byte(p)
	high[0] |= 0x80
	out["x = p"] = high
	plain := right
	plain[0] &^= 0x80
	out["not marked as compressed"] = plain
	infinite := right
	infinite[0] |= 0x40
	out["infinity with more"] = infinite
	out["not on the curve"] = offCurve(right)
	return out
}

// offCurve changes x until there is no such point, which half of the numbers do.
func offCurve(p [48]byte) [48]byte {
	for i := range 256 {
		q := p
		q[47] = byte(i)
		r := beacon.Registration{}
		copy(r[:], q[:])
		if err := r.Check([32]byte{}); errors.Is(err, beacon.ErrEncoding) {
			return q
		}
	}
	panic("all are on the curve")
}

func badPoints2(t testing.TB, right [96]byte) map[string][96]byte {
	p, err := hex.DecodeString(prime)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][96]byte{"zeroes": {}, "infinity": {0: 0xc0}, "outside the subgroup": beacon.OutsideG2()}
	high := right
	copy(high[48:], p)
	out["a part of x is p"] = high
	plain := right
	plain[0] &^= 0x80
	out["not marked as compressed"] = plain
	infinite := right
	infinite[0] |= 0x40
	out["infinity with more"] = infinite
	return out
}

// TestRecoverDespiteLies: wrong shares, of whatever kind, don't change what the
// right ones give, and right ones are enough from the threshold on.
func TestRecoverDespiteLies(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := ready(t, rapid.SampledFrom([]int{1, 4, 7}).Draw(r, "n"))
		round := rapid.Uint64().Draw(r, "round")
		order := rapid.Permutation(upTo(c.group.Size())).Draw(r, "order")
		var shares []beacon.Share
		good := 0
		for _, m := range order {
			switch rapid.IntRange(0, 5).Draw(r, fmt.Sprintf("member %d", m)) {
			case 0: // silent
			case 1:
				shares = append(shares, c.signers[m].Sign(round+1))
			case 2:
				s := c.signers[m].Sign(round)
				s[1+rapid.IntRange(0, 47).Draw(r, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
				shares = append(shares, s)
			default:
				shares = append(shares, c.signers[m].Sign(round))
				good++
			}
		}
		got, err := c.key.Recover(round, shares)
		if good < c.group.Threshold() {
			if !errors.Is(err, beacon.ErrTooFew) {
				r.Fatalf("%d right shares: %v, want ErrTooFew", good, err)
			}
			return
		}
		if err != nil {
			r.Fatal(err)
		}
		want, err := c.key.Recover(round, c.shares(round, upTo(c.group.Threshold())...))
		if err != nil || got != want {
			r.Fatalf("%x, want %x, %v", got, want, err)
		}
	})
}

// TestDrand verifies a round of drand's quicknet, whose signatures are of the
// same suite: sha256 of the round's number, under the key of their chain.
func TestDrand(t *testing.T) {
	var key beacon.GroupKey
	var sig beacon.Signature
	decode(t, key[:], "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a")
	decode(t, sig[:], "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39")
	message := sha256.Sum256([]byte{0, 0, 0, 0, 0, 0, 1000 >> 8, 1000 & 255})
	if err := beacon.VerifyMessage(key, message, sig); err != nil {
		t.Error(err)
	}
	message[0] ^= 1
	if err := beacon.VerifyMessage(key, message, sig); !errors.Is(err, beacon.ErrSignature) {
		t.Errorf("another message: %v", err)
	}
}

func decode(t testing.TB, into []byte, s string) {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(into) {
		t.Fatalf("%s: %d bytes, want %d, %v", s, len(b), len(into), err)
	}
	copy(into, b)
}
