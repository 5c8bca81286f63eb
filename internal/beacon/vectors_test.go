package beacon_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/beacon"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/beacon.json anew")

const vectorFile = "../../spec/vectors/beacon.json"

// hexBytes is a byte string in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// The shape of beacon.json; spec/beacon.md section 9 explains it.
type vectorSet struct {
	Spec          string               `json:"spec"`
	Seeds         []hexBytes           `json:"seeds"`
	Registrations []registrationVector `json:"registrations"`
	Groups        []groupVector        `json:"groups"`
	Refused       []refusedVector      `json:"refused"`
}

type registrationVector struct {
	Seed         int      `json:"seed"`
	Identity     hexBytes `json:"identity"`
	Registration hexBytes `json:"registration"`
}

type groupVector struct {
	Chain         string            `json:"chain"`
	Epoch         uint64            `json:"epoch"`
	Members       []int             `json:"members"`
	Powers        []uint64          `json:"powers"`
	Digest        hexBytes          `json:"digest"`
	Dealings      []dealingVector   `json:"dealings"`
	Complaints    []complaintVector `json:"complaints,omitempty"`
	Stand         []int             `json:"stand"`
	Key           hexBytes          `json:"key"`
	Public        hexBytes          `json:"public"`
	Confirmations []hexBytes        `json:"confirmations"`
	Round         uint64            `json:"round"`
	Shares        []hexBytes        `json:"shares"`
	Signature     hexBytes          `json:"signature"`
	Output        hexBytes          `json:"output"`
}

type dealingVector struct {
	Dealing hexBytes `json:"dealing"`
	Wrong   []int    `json:"wrong,omitempty"`
}

type complaintVector struct {
	Complaint hexBytes `json:"complaint"`
	Guilty    int      `json:"guilty"`
}

type refusedVector struct {
	Name  string   `json:"name"`
	Kind  string   `json:"kind"`
	Data  hexBytes `json:"data"`
	Check string   `json:"check"`
}

// makeVectors is the writer.
func makeVectors(t *testing.T) vectorSet {
	v := vectorSet{Spec: "spec/beacon.md"}
	all := newGroup(t, "aval-vectors", 0, 7)
	for i := range 7 {
		v.Seeds = append(v.Seeds, seed(i))
	}
	for i := range 7 {
		s := newSecret(t, i)
		m := all.members[slices.IndexFunc(all.members, func(m beacon.Member) bool { return m.Key == s.Public() })]
		r := s.Register(m.ID)
		v.Registrations = append(v.Registrations, registrationVector{i, m.ID[:], r[:]})
	}
	for epoch, n := range []int{1, 4, 7} {
		c := newGroup(t, "aval-vectors", uint64(epoch), n)
		if n == 7 {
			for i := range c.members {
				c.members[i].Power = []uint64{5, 3, 2, 3, 3, 3, 3}[i]
			}
			var err error
			if c.group, err = beacon.NewGroup(c.group.Chain(), c.group.Epoch(), c.members); err != nil {
				t.Fatal(err)
			}
		}
		g := groupVector{Chain: c.group.Chain(), Epoch: c.group.Epoch(), Round: 1000000 + uint64(n)}
		digest := c.group.Digest()
		g.Digest = digest[:]
		for i, s := range c.secrets {
			g.Powers = append(g.Powers, c.members[i].Power)
			g.Members = append(g.Members, slices.IndexFunc(v.Registrations, func(r registrationVector) bool { return bytes.Equal(r.Identity, c.members[i].ID[:]) }))
			var wrong []int
			if n == 4 && i == 3 {
				wrong = []int{0}
			}
			d, err := c.group.DealWrong(s, [32]byte{}, wrong...)
			if err != nil {
				t.Fatal(err)
			}
			g.Dealings = append(g.Dealings, dealingVector{d.Bytes(), wrong})
			if wrong == nil {
				c.dealings = append(c.dealings, d)
				g.Stand = append(g.Stand, i)
				continue
			}
			complaint, err := c.group.Complain(c.secrets[0], d)
			if err != nil {
				t.Fatal(err)
			}
			undeserved := c.group.Reveal(c.secrets[2], d)
			g.Complaints = []complaintVector{{complaint[:], i}, {undeserved[:], 2}}
		}
		c.finish(t)
		g.Key = c.key.Bytes()
		public := c.key.Public()
		g.Public = public[:]
		for _, s := range c.signers {
			share, confirmation := s.Sign(g.Round), s.Confirm()
			g.Shares = append(g.Shares, share[:])
			g.Confirmations = append(g.Confirmations, confirmation[:])
		}
		sig, err := c.key.Recover(g.Round, c.shares(g.Round, upTo(n)...))
		if err != nil {
			t.Fatal(err)
		}
		out := sig.Output()
		g.Signature, g.Output = sig[:], out[:]
		v.Groups = append(v.Groups, g)
	}
	v.Refused = makeRefused(t, &v)
	return v
}

func makeRefused(t *testing.T, v *vectorSet) (out []refusedVector) {
	g := &v.Groups[1]
	add := func(name, kind, check string, data []byte) {
		out = append(out, refusedVector{name, kind, data, check})
	}
	with := func(b []byte, at int, put ...byte) []byte {
		b = slices.Clone(b)
		copy(b[at:], put)
		return b
	}
	var names []string
	points := badPoints1(t, [48]byte(g.Signature))
	for name := range points {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p := points[name]
		add(name, "signature", "encoding", p[:])
		add(name, "share", "encoding", append([]byte{0}, p[:]...))
		add("key: "+name, "registration", "encoding", with(v.Registrations[0].Registration, 0, p[:]...))
		add("E: "+name, "dealing", "encoding", with(g.Dealings[0].Dealing, 1, p[:]...))
		add("S: "+name, "complaint", "encoding", with(g.Complaints[0].Complaint, 2, p[:]...))
	}
	points2 := badPoints2(t, [96]byte(g.Public))
	names = nil
	for name := range points2 {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p := points2[name]
		add(name, "group key", "encoding", p[:])
		add("C0: "+name, "key", "encoding", with(g.Key, 16+3*48, p[:]...))
		add("A1: "+name, "dealing", "encoding", with(g.Dealings[0].Dealing, 49+96, p[:]...))
	}
	order, err := hex.DecodeString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001")
	if err != nil {
		t.Fatal(err)
	}
	d := g.Dealings[0].Dealing
	add("cut", "dealing", "encoding", d[:len(d)-1])
	add("a byte too many", "dealing", "encoding", append(slices.Clone(d), 0))
	add("of no member", "dealing", "encoding", with(d, 0, 4))
	add("v0 = r", "dealing", "encoding", with(d, 49+2*96, order...))
	add("c = r", "dealing", "encoding", with(d, len(d)-128, order...))
	add("z3 = r", "dealing", "encoding", with(d, len(d)-32, order...))
	add("under the name of another", "dealing", "proof", with(d, 0, 1))
	add("another share", "dealing", "proof", with(d, 49+2*96+31, d[49+2*96+31]^1))
	add("another answer", "dealing", "proof", with(d, len(d)-1, d[len(d)-1]^1))
	add("of another group", "dealing", "proof", otherGroup(t))
	c := g.Complaints[0].Complaint
	add("in the name of another", "complaint", "proof", with(c, 1, 1))
	add("of the dealer", "complaint", "encoding", with(c, 1, 3))
	add("of no member", "complaint", "encoding", with(c, 1, 4))
	add("another key", "complaint", "proof", with(c, 2, g.Signature...))
	add("z = r", "complaint", "encoding", with(c, 82, order...))
	r := v.Registrations[0].Registration
	add("the key of another", "registration", "proof", with(r, 0, v.Registrations[1].Registration[:48]...))
	add("the registration of another", "registration", "proof", v.Registrations[1].Registration)
	add("c = r", "registration", "encoding", with(r, 48, order...))
	k := g.Key
	add("cut", "key", "encoding", k[:len(k)-1])
	add("of fewer dealers than it says", "key", "encoding", with(k, 0, 0x03))
	add("of one dealer", "key", "encoding", slices.Concat([]byte{1}, k[1:16+48], k[16+3*48:]))
	add("of a dealer who is no member", "key", "encoding", with(k, 0, 0x13))
	add("w3 = r", "key", "encoding", with(k, len(k)-32, order...))
	add("of no member", "share", "encoding", with(g.Shares[0], 0, 4))
	add("under the name of another", "share", "signature", with(g.Shares[0], 0, 1))
	add("a confirmation", "share", "signature", g.Confirmations[0])
	add("a share", "signature", "signature", g.Shares[0][1:])
	add("of another group", "signature", "signature", v.Groups[2].Signature)
	return out
}

// otherGroup is a dealing of the same members under another epoch.
func otherGroup(t *testing.T) []byte {
	c := newGroup(t, "aval-vectors", 9, 4)
	d, err := c.group.Deal(c.secrets[0], [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Bytes()
}

func TestVectorsAreThese(t *testing.T) {
	made := makeVectors(t)
	if *update {
		data, err := json.MarshalIndent(made, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(readVectors(t), made); diff != "" {
		t.Errorf("spec/vectors/beacon.json is not what is made (-file +made); run with -update if that is meant:\n%s", diff)
	}
}

func readVectors(t *testing.T) (v vectorSet) {
	data, err := fs.ReadFile(vectors.FS, "beacon.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVectors takes the vectors from the file alone, as another implementation
// would.
func TestVectors(t *testing.T) {
	v := readVectors(t)
	for _, r := range v.Registrations {
		reg := beacon.Registration(r.Registration)
		if err := reg.Check([32]byte(r.Identity)); err != nil {
			t.Error(err)
		}
	}
	var four *checkedGroup
	for i := range v.Groups {
		c := checkGroup(t, &v, &v.Groups[i])
		if c.group.Size() == 4 {
			four = c
		}
	}
	kinds := map[string]error{"encoding": beacon.ErrEncoding, "proof": beacon.ErrProof, "signature": beacon.ErrSignature}
	for _, r := range v.Refused {
		want := kinds[r.Check]
		if err := four.take(t, &v, r); want == nil || !errors.Is(err, want) {
			t.Errorf("%s, %s: %v, want %s", r.Kind, r.Name, err, r.Check)
		}
	}
}

// checkedGroup is a group that was made of vectors.
type checkedGroup struct {
	group *beacon.Group
	key   *beacon.Key
	about *beacon.Dealing // the complaints
	round uint64
}

// take reads and checks data of a kind.
func (c *checkedGroup) take(t *testing.T, v *vectorSet, r refusedVector) error {
	switch r.Kind {
	case "registration":
		reg := beacon.Registration(r.Data)
		return reg.Check([32]byte(v.Registrations[0].Identity))
	case "dealing":
		_, err := c.group.Check(r.Data)
		return err
	case "complaint":
		complaint := beacon.Complaint(r.Data)
		_, err := c.group.Judge(c.about, &complaint)
		return err
	case "key":
		_, err := c.group.ParseKey(r.Data)
		return err
	case "share":
		return c.key.VerifyShare(c.round, beacon.Share(r.Data))
	case "signature":
		return c.key.Verify(c.round, beacon.Signature(r.Data))
	case "group key":
		_, err := beacon.NewVerifier("aval-vectors", 1, beacon.GroupKey(r.Data))
		return err
	}
	t.Fatalf("unknown kind %s", r.Kind)
	return nil
}

func checkGroup(t *testing.T, v *vectorSet, g *groupVector) *checkedGroup {
	t.Helper()
	var members []beacon.Member
	for i, m := range g.Members {
		reg := beacon.Registration(v.Registrations[m].Registration)
		members = append(members, beacon.Member{ID: [32]byte(v.Registrations[m].Identity), Key: reg.Key(), Power: g.Powers[i]})
	}
	group, err := beacon.NewGroup(g.Chain, g.Epoch, members)
	if err != nil {
		t.Fatal(err)
	}
	if digest := group.Digest(); !bytes.Equal(digest[:], g.Digest) {
		t.Errorf("digest %x, want %x", digest, g.Digest)
	}
	c := &checkedGroup{group: group, round: g.Round}
	var stand []*beacon.Dealing
	for i, d := range g.Dealings {
		dealing, err := group.Check(d.Dealing)
		if err != nil {
			t.Fatal(err)
		}
		if d.Wrong != nil {
			c.about = dealing
		}
		if slices.Contains(g.Stand, i) {
			stand = append(stand, dealing)
		}
	}
	for _, e := range g.Complaints {
		complaint := beacon.Complaint(e.Complaint)
		if guilty, err := group.Judge(c.about, &complaint); err != nil || guilty != e.Guilty {
			t.Errorf("complaint: %d is guilty, %v; want %d", guilty, err, e.Guilty)
		}
	}
	if c.key, err = group.Combine(stand); err != nil {
		t.Fatal(err)
	}
	parsed, err := group.ParseKey(g.Key)
	if err != nil || !parsed.Equal(c.key) || beacon.GroupKey(g.Public) != parsed.Public() {
		t.Errorf("the key of %d members: %v", group.Size(), err)
	}
	var shares []beacon.Share
	for i, m := range g.Members {
		secret, err := beacon.NewSecret(v.Seeds[m])
		if err != nil {
			t.Fatal(err)
		}
		signer, err := c.key.Signer(secret)
		if err != nil {
			t.Fatal(err)
		}
		share := beacon.Share(g.Shares[i])
		if signer.Sign(g.Round) != share || signer.Confirm() != beacon.Share(g.Confirmations[i]) {
			t.Errorf("the shares of member %d of %d are others", i, group.Size())
		}
		if err := c.key.VerifyShare(g.Round, share); err != nil {
			t.Error(err)
		}
		if err := c.key.CheckConfirmation(beacon.Share(g.Confirmations[i])); err != nil {
			t.Error(err)
		}
		shares = append(shares, share)
	}
	sig := beacon.Signature(g.Signature)
	if got, err := c.key.Recover(g.Round, shares[len(shares)-group.Threshold():]); err != nil || got != sig {
		t.Errorf("the signature of %d members: %x, %v", group.Size(), got, err)
	}
	if err := c.key.Verify(g.Round, sig); err != nil {
		t.Error(err)
	}
	if out := sig.Output(); !bytes.Equal(out[:], g.Output) {
		t.Errorf("output %x, want %x", out, g.Output)
	}
	return c
}
