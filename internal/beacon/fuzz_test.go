package beacon_test

import (
	"bytes"
	"testing"

	"github.com/avalnetwork/aval/internal/beacon"
)

// Each decoder takes only what encodes to the same bytes, whatever it is given.

func FuzzDealing(f *testing.F) {
	c := ready(f, 4)
	f.Add(c.dealings[0].Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := c.group.Parse(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Bytes(), raw) {
			t.Errorf("%x encodes to %x", raw, d.Bytes())
		}
		checked, err := c.group.Check(raw)
		if err == nil && !bytes.Equal(raw, c.dealings[checked.Dealer()].Bytes()) {
			t.Errorf("a forged dealing passes: %x", raw)
		}
		if _, err := c.group.Complain(c.secrets[1], d); err != nil {
			t.Error(err)
		}
	})
}

func FuzzKey(f *testing.F) {
	c := ready(f, 4)
	f.Add(c.key.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := c.group.ParseKey(raw)
		if err == nil && !bytes.Equal(k.Bytes(), raw) {
			t.Errorf("%x encodes to %x", raw, k.Bytes())
		}
	})
}

func FuzzComplaint(f *testing.F) {
	c := ready(f, 4)
	d, err := c.group.DealWrong(c.secrets[3], [32]byte{}, 0)
	if err != nil {
		f.Fatal(err)
	}
	right, err := c.group.Complain(c.secrets[0], d)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(right[:])
	f.Add(c.group.Reveal(c.secrets[1], d)[:])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var complaint beacon.Complaint
		copy(complaint[:], raw)
		guilty, err := c.group.Judge(d, &complaint)
		if err == nil && guilty == 3 && complaint != *right {
			t.Errorf("a forged complaint passes: %x", complaint)
		}
	})
}

func FuzzRegistration(f *testing.F) {
	id := [32]byte{1}
	right := newSecret(f, 0).Register(id)
	f.Add(right[:])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r beacon.Registration
		copy(r[:], raw)
		if err := r.Check(id); err == nil && r != right {
			t.Errorf("a forged registration passes: %x", r)
		}
	})
}

func FuzzShare(f *testing.F) {
	c := ready(f, 4)
	right := c.shares(7, 0, 1, 2, 3)
	sig, err := c.key.Recover(7, right)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(right[0][:])
	f.Add(sig[:])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s beacon.Share
		copy(s[:], raw)
		if err := c.key.VerifyShare(7, s); err == nil && s != right[s.Member()] {
			t.Errorf("a forged share passes: %x", s)
		}
		var got beacon.Signature
		copy(got[:], raw)
		if err := c.key.Verify(7, got); err == nil && got != sig {
			t.Errorf("another signature of one round passes: %x", got)
		}
		var key beacon.GroupKey
		copy(key[:], raw)
		if v, err := beacon.NewVerifier("test", 1, key); err == nil && v.Public() != key {
			t.Errorf("%x encodes to %x", key, v.Public())
		}
	})
}
