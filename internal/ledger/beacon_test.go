package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/beacon"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"pgregory.net/rapid"
)

// beaconVectors are those of spec/beacon.md. The validators of a beaconWorld are
// the members of the second group, the first of its chain with four members: so
// its dealings, one of which is wrong, are good for it.
type beaconVectors struct {
	Seeds  []string
	Groups []struct {
		Chain      string
		Dealings   []struct{ Dealing string }
		Complaints []struct{ Complaint string }
		Key        string
	}
}

func readBeaconVectors(t testing.TB) *beaconVectors {
	t.Helper()
	data, err := os.ReadFile("../../spec/vectors/beacon.json")
	if err != nil {
		t.Fatal(err)
	}
	v := new(beaconVectors)
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// beaconWorld has validators, each with its account's key as its own, and more
// people who may become some.
type beaconWorld struct {
	*world
	makers  []*ledger.BeaconMaker
	secrets []*beacon.Secret
}

func newBeaconWorld(t testing.TB, people, validators int, change ...func(*ledger.Genesis)) *beaconWorld {
	t.Helper()
	v := readBeaconVectors(t)
	w := &beaconWorld{world: &world{t: t, now: 1_000_000}}
	var keys []ed25519.PrivateKey
	for i := range people {
		seed := canon.Sum("aval test validator", []byte{byte(i)})
		if i < 4 {
			seed = canon.Hash(unhex(t, v.Seeds[i]))
		}
		keys = append(keys, ed25519.NewKeyFromSeed(seed[:]))
	}
	slices.SortFunc(keys[:min(4, people)], func(a, b ed25519.PrivateKey) int { return bytes.Compare(public(a), public(b)) })
	for _, k := range keys {
		w.people = append(w.people, &person{key: k, node: k, policy: ledger.Single(public(k)), addr: ledger.AddressOf(public(k))})
	}
	g := newGenesis(w.people, validators)
	g.Chain = v.Groups[1].Chain
	for _, f := range change {
		f(g)
	}
	var err error
	if w.m, err = ledger.New(g); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		m, err := ledger.NewBeaconMaker(k)
		if err != nil {
			t.Fatal(err)
		}
		s, err := beacon.NewSecret(k.Seed())
		if err != nil {
			t.Fatal(err)
		}
		w.makers, w.secrets = append(w.makers, m), append(w.secrets, s)
	}
	return w
}

// turn is a block with what the ledger waits for from some validators.
func (w *beaconWorld) turn(who ...int) {
	w.t.Helper()
	var txs [][]byte
	for _, i := range who {
		kind, payload, err := w.makers[i].Next(w.m)
		if err != nil {
			w.t.Fatal(err)
		}
		if payload != nil {
			txs = append(txs, w.tx(w.people[i], 0, kind, payload))
		}
	}
	if tick := w.m.FreeTick(); len(txs) == 0 && tick != nil {
		txs = append(txs, tick)
	}
	res, _ := w.block(txs...)
	for _, r := range res {
		if r.Code != ledger.CodeOK {
			w.t.Fatalf("%s: %s", r.Code, r.Detail)
		}
	}
}

// next counts the validators from which the ledger waits for something.
func (w *beaconWorld) next() (n int) {
	w.t.Helper()
	for _, x := range w.makers {
		_, payload, err := x.Next(w.m)
		if err != nil {
			w.t.Fatal(err)
		}
		if payload != nil {
			n++
		}
	}
	return n
}

// restart lets a validator forget all but its key.
func (w *beaconWorld) restart(i int) {
	w.t.Helper()
	var err error
	if w.makers[i], err = ledger.NewBeaconMaker(w.people[i].key); err != nil {
		w.t.Fatal(err)
	}
}

// turnUntil lets blocks happen until something is so.
func (w *beaconWorld) turnUntil(ok func(s ledger.BeaconStatus) bool, who ...int) {
	w.t.Helper()
	for range 200 {
		if ok(w.m.Beacon()) {
			return
		}
		w.turn(who...)
	}
	w.t.Fatalf("not in 200 blocks: %+v", w.m.Beacon())
}

func serves(members int) func(ledger.BeaconStatus) bool {
	return func(s ledger.BeaconStatus) bool { return s.Serves && s.Members == members && s.Making == "" }
}

func (w *beaconWorld) at(round uint64) *ledger.BeaconRound {
	w.t.Helper()
	r, err := w.m.BeaconAt(round)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// sign recovers the signature of the next round from the shares of some people.
func (w *beaconWorld) sign(who ...int) error {
	w.t.Helper()
	r := w.at(w.m.Height() + 1)
	if r == nil {
		w.t.Fatal("no key serves")
	}
	var shares []beacon.Share
	for _, i := range who {
		s, err := r.Key.Signer(w.secrets[i])
		if err != nil {
			w.t.Fatal(err)
		}
		shares = append(shares, s.Sign(r.Round))
	}
	_, err := r.Key.Recover(r.Round, shares)
	return err
}

func (w *beaconWorld) vote(who *person, power uint64, voters ...int) {
	w.t.Helper()
	for _, i := range voters {
		w.must(w.people[i], ledger.KindVote, &ledger.Vote{Validator: public(w.people[i].node), Change: ledger.Change{Power: &ledger.PowerChange{Key: public(who.node), Power: power}}})
	}
}

func (w *beaconWorld) candidate(p *person) {
	w.t.Helper()
	w.must(p, ledger.KindCandidate, &ledger.Candidate{Key: public(p.node), Amount: 1000 * ledger.Unit, Proof: ledger.ProveBond(p.node, w.m.Chain(), ledger.RoleValidator, p.addr)})
}

func (w *beaconWorld) quiet() {
	w.t.Helper()
	if w.m.FreeTick() != nil {
		w.t.Fatal("the chain ticks on")
	}
}

func TestBeaconOfFour(t *testing.T) {
	w := newBeaconWorld(t, 4, 4)
	w.quiet()
	w.turnUntil(serves(4), 0, 1, 2, 3)
	t.Logf("served at height %d", w.m.Height())
	s := w.m.Beacon()
	if s.From != w.m.Height()+1 || w.at(w.m.Height()) != nil {
		t.Errorf("it serves from %d on, at height %d", s.From, w.m.Height())
	}
	if err := w.sign(1, 2); err != nil {
		t.Error(err)
	}
	if err := w.sign(1); err == nil {
		t.Error("one share is enough")
	}
	for range 3 {
		w.turn(0, 1, 2, 3)
	}
	w.quiet()
	if !w.at(w.m.Height() + 1).Must(3) {
		t.Error("a vote of a member that confirmed counts without its share")
	}
	before := w.m.Root()
	w.block()
	if w.m.Root() != before {
		t.Error("an empty block changes the state")
	}
}

func TestBeaconOfOne(t *testing.T) {
	w := newBeaconWorld(t, 1, 1)
	for range 3 { // it enrols, deals, confirms
		w.turn(0)
	}
	if !w.m.Beacon().Serves {
		t.Errorf("not after three blocks: %+v", w.m.Beacon())
	}
	w.quiet()
	w.turn(0)
	w.quiet()
}

func TestBeaconSilentDealer(t *testing.T) {
	w := newBeaconWorld(t, 4, 4)
	w.turn(0, 1, 2, 3) // all enrol
	w.turnUntil(serves(4), 0, 1, 2)
	if c := w.m.Beacon().Confirmed; c != 3 {
		t.Errorf("%d confirmed", c)
	}
	r := w.at(w.m.Height() + 1)
	if r.Must(3) || !r.Must(0) {
		t.Error("not those that confirmed must give shares")
	}
	w.quiet()
	w.turn(3) // it returns, and confirms late
	if r = w.at(w.m.Height()); r.Must(3) {
		t.Error("it had to give its share in the round of the block in which it confirmed")
	}
	if r = w.at(w.m.Height() + 1); !r.Must(3) {
		t.Error("it need not give its share")
	}
	w.fails(ledger.CodeNotFound, "no beacon group", w.people[3], ledger.KindDeal, &ledger.Deal{Key: public(w.people[3].node), Epoch: 1})
}

// TestBeaconBadDealing: a member deals another one a wrong share, which proves
// it. The key is that of the other dealings.
func TestBeaconBadDealing(t *testing.T) {
	v := readBeaconVectors(t).Groups[1]
	w := newBeaconWorld(t, 4, 4)
	bad := w.people[3]
	w.turn(0, 1, 2, 3)
	w.must(bad, ledger.KindDeal, &ledger.Deal{Key: public(bad.node), Epoch: 1, Dealing: unhex(t, v.Dealings[3].Dealing)})
	w.turn(1, 2) // they deal
	w.turn(0)    // deals
	if got := state[ledger.Beacon](w.world, []byte("r")).Making; got.Phase != ledger.BeaconComplain {
		t.Fatalf("the phase %s", got.Phase)
	}
	w.turn(1, 2)
	if len(state[ledger.Beacon](w.world, []byte("r")).Making.Out) > 0 {
		t.Fatal("somebody complained of a right share")
	}
	w.turn(0) // complains
	if got := state[ledger.Beacon](w.world, []byte("r")).Making; !slices.Equal(got.Out, []uint64{3}) {
		t.Fatalf("out are %v", got.Out)
	}
	w.turnUntil(serves(4), 0, 1, 2, 3)
	if got := state[ledger.Beacon](w.world, []byte("r")).Serving; !bytes.Equal(got.Key, unhex(t, v.Key)) {
		t.Error("not the key of the vectors")
	}
	if err := w.sign(0, 3); err != nil {
		t.Error(err)
	}
}

func TestBeaconFalseComplaint(t *testing.T) {
	v := readBeaconVectors(t).Groups[1]
	w := newBeaconWorld(t, 4, 4)
	w.turn(0, 1, 2, 3)
	w.turn(0, 1, 2)
	p := w.people[3]
	w.must(p, ledger.KindDeal, &ledger.Deal{Key: public(p.node), Epoch: 1, Dealing: unhex(t, v.Dealings[3].Dealing)})
	judged := map[string]int{}
	for _, c := range slices.Backward(v.Complaints) { // the true one is the first
		raw := unhex(t, c.Complaint)
		from := w.people[raw[1]]
		res := w.must(from, ledger.KindComplain, &ledger.Complain{Key: public(from.node), Epoch: 1, Complaint: raw})
		for _, e := range res.Events {
			if e.Kind == "beacon fault" {
				judged[e.Fields[2].Value]++
			}
		}
		other := w.people[(raw[1]+1)%4]
		w.fails(ledger.CodeForbidden, "", other, ledger.KindComplain, &ledger.Complain{Key: public(other.node), Epoch: 1, Complaint: raw})
		w.fails(ledger.CodeForbidden, "belongs to", other, ledger.KindComplain, &ledger.Complain{Key: public(from.node), Epoch: 1, Complaint: raw})
		raw[len(raw)-1] ^= 1
		if res := w.do(from, ledger.KindComplain, &ledger.Complain{Key: public(from.node), Epoch: 1, Complaint: raw}); res.Code == ledger.CodeOK {
			t.Error("a complaint whose proof is wrong")
		}
	}
	if judged["yes"] != 1 || judged["no"] != 1 {
		t.Fatalf("judged %v, want one dealer and one that complained", judged)
	}
	if got := state[ledger.Beacon](w.world, []byte("r")).Making; !slices.Equal(got.Out, []uint64{3}) {
		t.Fatalf("out are %v", got.Out)
	}
}

func TestBeaconRefusals(t *testing.T) {
	v := readBeaconVectors(t).Groups[1]
	w := newBeaconWorld(t, 5, 4)
	p, other := w.people[0], w.people[4]
	reg := w.secrets[0].Register(canon.Hash(public(p.node)))
	w.fails(ledger.CodeNotFound, "no validator", other, ledger.KindEnrol, &ledger.Enrol{Key: public(other.node), Registration: reg[:]})
	w.fails(ledger.CodeForbidden, "belongs to", other, ledger.KindEnrol, &ledger.Enrol{Key: public(p.node), Registration: reg[:]})
	w.fails(ledger.CodeRefused, "bytes", p, ledger.KindEnrol, &ledger.Enrol{Key: public(p.node)})
	w.fails(ledger.CodeRefused, "", w.people[1], ledger.KindEnrol, &ledger.Enrol{Key: public(w.people[1].node), Registration: reg[:]})
	w.must(p, ledger.KindEnrol, &ledger.Enrol{Key: public(p.node), Registration: reg[:]})
	w.fails(ledger.CodeRefused, "so already", p, ledger.KindEnrol, &ledger.Enrol{Key: public(p.node), Registration: reg[:]})
	same := w.secrets[0].Register(canon.Hash(public(w.people[1].node)))
	w.fails(ledger.CodeRefused, "another validator", w.people[1], ledger.KindEnrol, &ledger.Enrol{Key: public(w.people[1].node), Registration: same[:]})
	if s := w.m.Beacon(); !strings.Contains(s.Why, "have not registered") {
		t.Errorf("status %+v", s)
	}
	w.turn(1, 2, 3)
	deal := &ledger.Deal{Key: public(p.node), Epoch: 1, Dealing: unhex(t, v.Dealings[0].Dealing)}
	w.fails(ledger.CodeRefused, "of the member 1", w.people[1], ledger.KindDeal, &ledger.Deal{Key: public(w.people[1].node), Epoch: 1, Dealing: deal.Dealing})
	w.fails(ledger.CodeNotFound, "epoch 2", p, ledger.KindDeal, &ledger.Deal{Key: deal.Key, Epoch: 2, Dealing: deal.Dealing})
	wrong := bytes.Clone(deal.Dealing)
	wrong[len(wrong)-1] ^= 1
	w.fails(ledger.CodeRefused, "proof", p, ledger.KindDeal, &ledger.Deal{Key: deal.Key, Epoch: 1, Dealing: wrong})
	w.must(p, ledger.KindDeal, deal)
	w.fails(ledger.CodeRefused, "before", p, ledger.KindDeal, deal)
	w.fails(ledger.CodeNotFound, "to be confirmed", p, ledger.KindConfirm, &ledger.Confirm{Key: deal.Key, Epoch: 1})
	confirming := func(s ledger.BeaconStatus) bool { return strings.HasPrefix(s.Making, "confirm") }
	w.turnUntil(confirming, 1, 2, 3)
	_, payload, err := w.makers[1].Next(w.m)
	if err != nil {
		t.Fatal(err)
	}
	c := payload.(*ledger.Confirm)
	w.fails(ledger.CodeRefused, "of the member 0", p, ledger.KindConfirm, &ledger.Confirm{Key: public(p.node), Epoch: 1, Share: c.Share})
	w.must(w.people[1], ledger.KindConfirm, c)
	w.fails(ledger.CodeRefused, "before", w.people[1], ledger.KindConfirm, c)
	_, payload, _ = w.makers[2].Next(w.m)
	c = payload.(*ledger.Confirm)
	reg = w.secrets[0].Register(canon.Hash(public(p.node)))
	copy(c.Share[1:], reg[:48]) // a point, and the wrong one
	w.fails(ledger.CodeRefused, "signature", w.people[2], ledger.KindConfirm, c)
}

// TestBeaconGivesUp: nobody deals. The group tries some times, and the chain
// becomes quiet; a validator that comes back lets it try again.
func TestBeaconGivesUp(t *testing.T) {
	w := newBeaconWorld(t, 4, 4)
	w.turn(0, 1, 2, 3)
	for range 300 {
		if w.m.FreeTick() == nil {
			break
		}
		w.next() // nobody sends it
		w.turn()
	}
	w.quiet()
	if w.next() != 0 {
		t.Error("validators that gave up send something")
	}
	if s := w.m.Beacon(); !strings.Contains(s.Why, "too few validators took part in 3 tries") {
		t.Errorf("status %+v", s)
	}
	later := *w
	later.m = w.m.Fork()
	later.fast = true
	for range 600 {
		later.block()
	}
	if later.next() != 4 {
		t.Error("validators that gave up do not ask again, 600 blocks later")
	}
	w.restart(2)
	w.turn(0, 1, 2, 3)
	w.turnUntil(serves(4), 0, 1, 2, 3)
	if e := w.m.Beacon().Epoch; e != 4 {
		t.Errorf("epoch %d", e)
	}
	w.quiet()
}

func TestBeaconUneven(t *testing.T) {
	w := newBeaconWorld(t, 2, 2, func(g *ledger.Genesis) { g.Validators[0].Power, g.Validators[1].Power = 5, 2 })
	w.turn(0, 1)
	w.turn(0, 1)
	w.quiet()
	if s := w.m.Beacon(); !strings.Contains(s.Why, "too uneven") {
		t.Errorf("status %+v", s)
	}
	w.vote(w.people[0], 2, 0)
	w.turnUntil(serves(2), 0, 1)
	w.quiet()
}

// TestBeaconChange: others join and leave. The old key serves until the new one
// does, as long as it is safe.
func TestBeaconChange(t *testing.T) {
	w := newBeaconWorld(t, 5, 4)
	w.turnUntil(serves(4), 0, 1, 2, 3)
	first := w.m.Beacon().Epoch
	w.candidate(w.people[4])
	w.turn(4) // enrols, without any power
	if s := w.m.Beacon(); s.Making != "" || s.Why != "" {
		t.Errorf("status %+v", s)
	}
	w.vote(w.people[4], 10, 0, 1, 2)
	for w.m.Beacon().Members != 5 {
		if s := w.m.Beacon(); !s.Serves || s.Epoch != first || s.Making == "" {
			t.Fatalf("status %+v", s)
		}
		w.turn(0, 1, 2, 3, 4)
		if r := w.at(w.m.Height()); r == nil || r.Key.Group().Epoch() != first {
			t.Fatal("the round of the last block is of another key")
		}
	}
	h := w.m.Height()
	if old, now := w.at(h), w.at(h+1); old.Key.Group().Size() != 4 || now.Key.Group().Size() != 5 {
		t.Errorf("groups of %d and %d", old.Key.Group().Size(), now.Key.Group().Size())
	}
	w.turn(0, 1, 2, 3, 4)
	w.quiet()
	second := w.m.Beacon()

	// One of five leaves: the key goes on. Another one signs twice: with two of
	// three shares known to whoever left it is not safe any more.
	w.must(w.people[4], ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleValidator, Key: public(w.people[4].node)})
	if s := w.m.Beacon(); !s.Serves || s.Epoch != second.Epoch {
		t.Errorf("status %+v", s)
	}
	w.now += 100
	for i := 3; i > 1; i-- {
		w.blockWith(ledger.Block{Height: w.m.Height() + 1, Time: w.now, Misbehaving: []ledger.Misbehaviour{{Key: public(w.people[i].node), Height: 1}}})
	}
	if s := w.m.Beacon(); s.Serves {
		t.Errorf("a key serves of which those who left have a threshold: %+v", s)
	}
	if w.at(w.m.Height()) == nil {
		t.Error("the key does not serve in the round of the block that ended it")
	}
	if w.at(w.m.Height()+1) != nil {
		t.Error("the key serves after the block that ended it")
	}
	w.turnUntil(serves(2), 0, 1)
	w.quiet()
}

// TestBeaconExport: another chain begins with the state of one with a key, or
// one that makes a key. It makes one of its own.
func TestBeaconExport(t *testing.T) {
	for _, made := range []bool{true, false} {
		w := newBeaconWorld(t, 4, 4)
		w.turn(0, 1, 2, 3)
		w.turn(0, 1)
		if made {
			w.turnUntil(serves(4), 0, 1, 2, 3)
		}
		epoch := w.m.BeaconEpoch()
		var err error
		if w.m, err = ledger.New(w.m.Export("other")); err != nil {
			t.Fatal(err)
		}
		w.sound()
		w.quiet()
		if s := w.m.Beacon(); s.Serves || s.Making != "" {
			t.Errorf("status %+v", s)
		}
		w.turnUntil(serves(4), 0, 1, 2, 3)
		if now := w.m.Beacon().Epoch; now != epoch+1 {
			t.Errorf("epoch %d after %d", now, epoch)
		}
	}
}

// TestBeaconDraws lets any validators take part or not, join, leave and change
// power. The key of a round must be the same from either side of its block, and
// whoever can vote for a block must be able to sign.
func TestBeaconDraws(t *testing.T) {
	span := 3 * time.Second // as many draws as fit into it
	if testing.Short() {
		span = time.Second
	}
	began, rounds, ends := time.Now(), 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(began) > span {
			return
		}
		w := newBeaconWorld(t, 6, rapid.IntRange(1, 5).Draw(rt, "validators"))
		w.fast = true
		for i, p := range w.people {
			if state[ledger.Validator](w.world, []byte("v"), public(p.node)) == nil {
				w.candidate(w.people[i])
			}
		}
		var snapshot bytes.Buffer
		if err := w.m.Snapshot(&snapshot); err != nil {
			rt.Fatal(err)
		}
		twin, err := ledger.Restore(&snapshot)
		if err != nil {
			rt.Fatal(err)
		}
		voters, later := w.m.Validators(), w.m.Validators() // of the next block, and of the one after: powers hold from the second block on
		for range rapid.IntRange(20, 40).Draw(rt, "blocks") {
			height := w.m.Height() + 1
			ahead := w.at(height)
			checkVotes(rt, ahead, voters)
			var txs [][]byte
			event := rapid.IntRange(0, 15).Draw(rt, "event")
			for i, p := range w.people {
				if rapid.IntRange(0, 7).Draw(rt, "away") == 0 {
					continue
				}
				kind, payload, err := w.makers[i].Next(w.m)
				if event == 0 {
					v := state[ledger.Validator](w.world, []byte("v"), public(p.node))
					if v.Power == 0 {
						continue
					}
					who := w.people[rapid.IntRange(0, 5).Draw(rt, "who")]
					kind, payload, err = ledger.KindVote, &ledger.Vote{Validator: public(p.node), Change: ledger.Change{Power: &ledger.PowerChange{Key: public(who.node), Power: uint64(rapid.SampledFrom([]int{0, 10, 10, 12}).Draw(rt, "power"))}, Note: string(rune('a' + height%26))}}, nil
				}
				if err != nil {
					rt.Fatal(err)
				}
				if payload != nil {
					txs = append(txs, w.tx(p, 0, kind, payload))
				}
			}
			b := ledger.Block{Height: height, Time: w.now, Proposer: public(w.people[0].node)}
			if event == 1 {
				b.Misbehaving = []ledger.Misbehaviour{{Key: public(w.people[rapid.IntRange(0, 5).Draw(rt, "bad")].node), Height: 1}}
			}
			_, out := w.blockWith(b, txs...)
			if err := twin.Begin(b); err != nil {
				rt.Fatal(err)
			}
			for _, tx := range txs {
				twin.Apply(tx)
			}
			if again := twin.End(); again.Root != out.Root {
				rt.Fatalf("block %d: roots %s and %s", height, out.Root, again.Root)
			}
			voters, later = later, w.m.Validators()
			behind := w.at(height)
			if (ahead == nil) != (behind == nil) {
				rt.Fatalf("the round %d has a key on one side of its block only", height)
			}
			if ahead != nil {
				if rounds++; w.at(height+1) == nil {
					ends++
				}
				for i := range ahead.Key.Group().Size() {
					if !ahead.Key.Equal(behind.Key) || ahead.Must(i) != behind.Must(i) {
						rt.Fatalf("the round %d has other keys or members before and after its block", height)
					}
				}
			}
		}
		w.sound()
	})
	t.Logf("%d rounds with a key, which ended %d times", rounds, ends)
	if rounds == 0 {
		t.Error("no key served")
	}
}

// checkVotes holds a key to what whoever votes for a block can do with it: more
// than two thirds of the power sign, and less than a third, with those who left,
// do not.
func checkVotes(t *rapid.T, r *ledger.BeaconRound, voters []ledger.ValidatorUpdate) {
	if r == nil {
		return
	}
	power := map[canon.Hash]uint64{}
	total := uint64(0)
	for _, v := range voters {
		power[canon.Hash(v.Key)] = v.Power
		total += v.Power
	}
	g := r.Key.Group()
	var all, must []uint64
	for i := range g.Size() {
		if p := power[g.Member(i).ID]; p > 0 {
			all = append(all, p)
			if r.Must(i) {
				must = append(must, p)
			}
		}
	}
	few := func(list []uint64) (n int) { // that have less than a third together
		slices.Sort(list)
		sum := uint64(0)
		for n < len(list) && 3*(sum+list[n]) < total {
			sum += list[n]
			n++
		}
		return n
	}
	if n := len(must) - few(must); n < g.Threshold() {
		t.Fatalf("round %d: votes may bring %d shares, want %d", r.Round, n, g.Threshold())
	}
	if n := g.Size() - len(all) + few(all); n >= g.Threshold() {
		t.Fatalf("round %d: %d faulty members may sign alone", r.Round, n)
	}
}

// FuzzBeacon gives the beacon's kinds any content, in each phase.
func FuzzBeacon(f *testing.F) {
	w := newBeaconWorld(f, 2, 2)
	for phase := range 5 {
		for i, m := range w.makers {
			kind, payload, err := m.Next(w.m)
			if err != nil {
				f.Fatal(err)
			}
			if payload == nil {
				continue
			}
			content, err := canon.Marshal(payload)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(phase), uint8(i), uint8(kind-ledger.KindEnrol), content)
		}
		w.turnUntil(func(ledger.BeaconStatus) bool { return w.phase() > phase || phase == 4 }, 0, 1)
	}
	f.Fuzz(func(t *testing.T, phase, sender, kind uint8, content []byte) {
		if phase > 4 || sender > 1 || kind > 3 || len(content) > ledger.MaxTx/2 {
			return
		}
		w := newBeaconWorld(t, 2, 2)
		w.turnUntil(func(ledger.BeaconStatus) bool { return w.phase() >= int(phase) }, 0, 1)
		p := w.people[sender]
		b := &ledger.Body{Chain: w.m.Chain(), Account: p.addr, Nonce: w.account(p).Nonce, MaxFee: 1_000_000, Kind: ledger.KindEnrol + ledger.Kind(kind), Content: content}
		tx, err := b.Sign(p.policy, p.key)
		if err != nil {
			t.Fatal(err)
		}
		w.block(tx)
		w.turnUntil(serves(2), 0, 1)
	})
}

// phase is 0 before there is a group, 1 to 3 as its own, and 4 when its key
// serves.
func (w *beaconWorld) phase() int {
	b := state[ledger.Beacon](w.world, []byte("r"))
	switch {
	case b == nil:
		return 0
	case b.Making != nil:
		return int(b.Making.Phase)
	default:
		return 4
	}
}
