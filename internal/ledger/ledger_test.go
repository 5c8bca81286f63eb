package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
)

const chain = "test"

// person is an account with one key, and a node's key of its own.
type person struct {
	key    ed25519.PrivateKey
	node   ed25519.PrivateKey
	policy ledger.Policy
	addr   ledger.Address
}

func newPerson(n int) *person {
	seed := canon.Sum("aval test person", binary.AppendUvarint(nil, uint64(n)))
	other := canon.Sum("aval test node", binary.AppendUvarint(nil, uint64(n)))
	p := &person{key: ed25519.NewKeyFromSeed(seed[:]), node: ed25519.NewKeyFromSeed(other[:])}
	p.policy = ledger.Single(public(p.key))
	p.addr = p.policy.Address()
	return p
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// world is a chain with people who have 1,000,000 units each; the first few are
// validators, with their nodes' keys.
type world struct {
	t      testing.TB
	m      *ledger.Machine
	people []*person
	now    uint64
	fast   bool // states are not held to sound
}

func newGenesis(people []*person, validators int) *ledger.Genesis {
	params := ledger.DefaultParams()
	params.Unbonding = 1000
	params.VoteSpan = 1000
	params.SessionGrace = 1000
	g := &ledger.Genesis{Chain: chain, Time: 1_000_000, Params: &params}
	for i, p := range people {
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: p.addr, Balance: 1_000_000 * ledger.Unit})
		if i < validators {
			g.Validators = append(g.Validators, ledger.GenesisValidator{Key: canon.Hash(public(p.node)), Operator: p.addr, Power: 10, Bond: 1000 * ledger.Unit})
		}
	}
	return g
}

func newWorld(t testing.TB, people, validators int) *world {
	w := &world{t: t, now: 1_000_000}
	for i := range people {
		w.people = append(w.people, newPerson(i))
	}
	m, err := ledger.New(newGenesis(w.people, validators))
	if err != nil {
		t.Fatal(err)
	}
	w.m = m
	return w
}

// state reads an entry of the last block.
func state[T any](w *world, key ...[]byte) *T {
	w.t.Helper()
	s := w.m.State()
	k := bytes.Join(key, nil)
	raw, ok := s.Get(k)
	if !ok {
		return nil
	}
	_, v, err := ledger.Entry(k, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.(*T)
}

func (w *world) account(p *person) ledger.Account {
	if a := state[ledger.Account](w, []byte("a"), p.addr[:]); a != nil {
		return *a
	}
	return ledger.Account{}
}

const fee = 100_000

func (w *world) tx(p *person, ahead uint64, kind ledger.Kind, payload any) []byte {
	w.t.Helper()
	b, err := ledger.NewBody(w.m.Chain(), p.addr, w.account(p).Nonce+ahead, fee, kind, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	tx, err := b.Sign(p.policy, p.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return tx
}

// block lets a block happen 100 ms after the last.
func (w *world) block(txs ...[]byte) ([]ledger.Result, ledger.Outcome) {
	w.t.Helper()
	w.now += 100
	return w.blockWith(ledger.Block{Height: w.m.Height() + 1, Time: w.now, Proposer: public(w.people[0].node)}, txs...)
}

func (w *world) blockWith(b ledger.Block, txs ...[]byte) ([]ledger.Result, ledger.Outcome) {
	w.t.Helper()
	if err := w.m.Begin(b); err != nil {
		w.t.Fatal(err)
	}
	var res []ledger.Result
	for _, tx := range txs {
		res = append(res, w.m.Apply(tx))
	}
	out := w.m.End()
	if !w.fast {
		w.sound()
	}
	return res, out
}

// sound checks what every state must be: its amounts are its supply, and a
// snapshot of it gives it back.
func (w *world) sound() {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.m.Snapshot(&b); err != nil {
		w.t.Fatal(err)
	}
	again, err := ledger.Restore(&b)
	if err != nil {
		w.t.Fatalf("after block %d: %v", w.m.Height(), err)
	}
	if again.Root() != w.m.Root() || again.Height() != w.m.Height() || again.Time() != w.m.Time() {
		w.t.Fatalf("block %d with root %s came back as %d with %s", w.m.Height(), w.m.Root(), again.Height(), again.Root())
	}
}

// do sends one transaction in a block of its own.
func (w *world) do(p *person, kind ledger.Kind, payload any) ledger.Result {
	w.t.Helper()
	res, _ := w.block(w.tx(p, 0, kind, payload))
	return res[0]
}

func (w *world) must(p *person, kind ledger.Kind, payload any) ledger.Result {
	w.t.Helper()
	res := w.do(p, kind, payload)
	if res.Code != ledger.CodeOK {
		w.t.Fatalf("%s: %s: %s", kind, res.Code, res.Detail)
	}
	return res
}

func (w *world) fails(code ledger.Code, text string, p *person, kind ledger.Kind, payload any) {
	w.t.Helper()
	res := w.do(p, kind, payload)
	if res.Code != code || !strings.Contains(res.Detail, text) {
		w.t.Fatalf("%s: %s: %q, want %s: %q", kind, res.Code, res.Detail, code, text)
	}
}

func TestTransfer(t *testing.T) {
	w := newWorld(t, 3, 1)
	a, b := w.people[1], w.people[2]
	before := w.account(a).Balance
	res := w.must(a, ledger.KindTransfer, &ledger.Transfer{To: b.addr, Amount: 5})
	if got := w.account(a).Balance; got != before-5-res.Fee {
		t.Errorf("the sender has %d, want %d - 5 - %d", got, before, res.Fee)
	}
	if got := w.account(b).Balance; got != before+5 {
		t.Errorf("the receiver has %d, want %d", got, before+5)
	}
	if res.Fee == 0 || res.Fee >= fee {
		t.Errorf("a fee of %d", res.Fee)
	}
	// The proposer's operator has the fee.
	if got := w.account(w.people[0]).Balance; got != before+res.Fee {
		t.Errorf("the proposer has %d, want %d", got, before+res.Fee)
	}
	w.fails(ledger.CodeFunds, "the account has", a, ledger.KindTransfer, &ledger.Transfer{To: b.addr, Amount: ledger.MaxSupply})
	w.fails(ledger.CodeRefused, "nothing", a, ledger.KindTransfer, &ledger.Transfer{To: b.addr})
	supply := state[ledger.Meta](w, []byte("g")).Supply
	w.must(a, ledger.KindBurn, &ledger.Burn{Amount: 7})
	if got := state[ledger.Meta](w, []byte("g")).Supply; got != supply-7 {
		t.Errorf("a supply of %d after burning 7 of %d", got, supply)
	}
}

// TestRefusedCostsNothing: what nobody signed, or was sent before, changes
// nothing, whatever a block carries.
func TestRefusedCostsNothing(t *testing.T) {
	w := newWorld(t, 3, 1)
	a, b := w.people[1], w.people[2]
	pay := &ledger.Transfer{To: b.addr, Amount: 5}
	good := w.tx(a, 0, ledger.KindTransfer, pay)
	w.block(good)
	body := func(change func(*ledger.Body)) []byte {
		body, err := ledger.NewBody(chain, a.addr, w.account(a).Nonce, fee, ledger.KindTransfer, pay)
		if err != nil {
			t.Fatal(err)
		}
		change(body)
		tx, err := body.Sign(a.policy, a.key)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	flipped := body(func(*ledger.Body) {})
	flipped[len(flipped)-1] ^= 1
	other, err := ledger.NewBody(chain, a.addr, w.account(a).Nonce, fee, ledger.KindTransfer, pay)
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := other.Sign(b.policy, b.key)
	if err != nil {
		t.Fatal(err)
	}
	poor, err := ledger.NewBody(chain, newPerson(99).addr, 0, fee, ledger.KindTransfer, pay)
	if err != nil {
		t.Fatal(err)
	}
	poorTx, err := poor.Sign(newPerson(99).policy, newPerson(99).key)
	if err != nil {
		t.Fatal(err)
	}
	root := w.m.Root()
	for _, c := range []struct {
		name string
		tx   []byte
		code ledger.Code
	}{
		{"the same again", good, ledger.CodeNonce},
		{"nothing", nil, ledger.CodeMalformed},
		{"noise", []byte("noise"), ledger.CodeMalformed},
		{"a flipped bit", flipped, ledger.CodeSignature},
		{"somebody else's key", stolen, ledger.CodeSignature},
		{"no money", poorTx, ledger.CodeFee},
		{"another chain", body(func(b *ledger.Body) { b.Chain = "other" }), ledger.CodeChain},
		{"a nonce too far", body(func(b *ledger.Body) { b.Nonce++ }), ledger.CodeNonce},
		{"too late", body(func(b *ledger.Body) { b.Until = 1 }), ledger.CodeExpired},
		{"too little", body(func(b *ledger.Body) { b.MaxFee = 10 }), ledger.CodeFee},
		{"an unknown kind", body(func(b *ledger.Body) { b.Kind = 9999 }), ledger.CodeMalformed},
		{"too large", body(func(b *ledger.Body) { b.Content = make([]byte, ledger.MaxTx) }), ledger.CodeTooLarge},
		{"a tick that nobody waits for", append([]byte("aval tick/1"), 0, 0, 0, 0, 0, 0, 0, 3), ledger.CodeRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, out := w.block(c.tx)
			if res[0].Code != c.code {
				t.Errorf("%s: %s, want %s", res[0].Code, res[0].Detail, c.code)
			}
			if out.Root != root {
				t.Error("the state changed")
			}
			if c.code != ledger.CodeNonce {
				if res := w.m.Check(c.tx); res.Code != c.code {
					t.Errorf("Check says %s: %s, want %s", res.Code, res.Detail, c.code)
				}
			}
		})
	}
}

// TestEmptyBlocks: a block in which nothing happens leaves the root alone.
func TestEmptyBlocks(t *testing.T) {
	w := newWorld(t, 2, 1)
	root := w.m.Root()
	for range 5 {
		if _, out := w.block(); out.Root != root {
			t.Fatal("an empty block changed the root")
		}
	}
}

func TestMultisignature(t *testing.T) {
	w := newWorld(t, 4, 1)
	keys := []ed25519.PrivateKey{w.people[1].key, w.people[2].key, w.people[3].key}
	policy := ledger.NewPolicy(2, public(keys[0]), public(keys[1]), public(keys[2]))
	w.must(w.people[1], ledger.KindTransfer, &ledger.Transfer{To: policy.Address(), Amount: 10 * ledger.Unit})
	sign := func(nonce uint64, keys ...ed25519.PrivateKey) []byte {
		b, err := ledger.NewBody(chain, policy.Address(), nonce, fee, ledger.KindTransfer, &ledger.Transfer{To: w.people[0].addr, Amount: 1})
		if err != nil {
			t.Fatal(err)
		}
		tx, err := b.Sign(policy, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	res, _ := w.block(sign(0, keys[2], keys[0]), sign(1, keys[0]), sign(1, keys[0], keys[1], keys[2]), sign(1, keys[1], keys[2]))
	for i, want := range []ledger.Code{ledger.CodeOK, ledger.CodeMalformed, ledger.CodeMalformed, ledger.CodeOK} {
		if res[i].Code != want {
			t.Errorf("transaction %d: %s: %s, want %s", i, res[i].Code, res[i].Detail, want)
		}
	}
}

func TestDevice(t *testing.T) {
	w := newWorld(t, 3, 1)
	a, phone := w.people[1], w.people[2].node
	w.must(a, ledger.KindAuthorise, &ledger.Authorise{Key: public(phone), Limit: 2 * fee, Expires: w.now + 1000})
	send := func(nonce uint64, kind ledger.Kind, payload any) ledger.Result {
		b, err := ledger.NewBody(chain, a.addr, nonce, fee, kind, payload)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := b.Sign(ledger.Single(public(phone)), phone)
		if err != nil {
			t.Fatal(err)
		}
		res, _ := w.block(tx)
		return res[0]
	}
	before := w.account(a).Balance
	pay := &ledger.Transfer{To: w.people[0].addr, Amount: 1000}
	first := send(0, ledger.KindTransfer, pay)
	if first.Code != ledger.CodeOK {
		t.Fatalf("%s: %s", first.Code, first.Detail)
	}
	if got := w.account(a).Balance; got != before-1000-first.Fee {
		t.Errorf("the account has %d, want %d", got, before-1000-first.Fee)
	}
	if d := state[ledger.Device](w, []byte("d"), a.addr[:], public(phone)); d.Limit != 2*fee-1000-first.Fee {
		t.Errorf("the device may spend %d, want %d", d.Limit, 2*fee-1000-first.Fee)
	}
	if res := send(0, ledger.KindTransfer, pay); res.Code != ledger.CodeNonce {
		t.Errorf("the same again: %s", res.Code)
	}
	if res := send(1, ledger.KindBurn, &ledger.Burn{Amount: 1}); res.Code != ledger.CodeSignature {
		t.Errorf("a burn by a device: %s", res.Code)
	}
	if res := send(1, ledger.KindTransfer, &ledger.Transfer{To: w.people[0].addr, Amount: 2 * fee}); res.Code != ledger.CodeFunds {
		t.Errorf("beyond the limit: %s: %s", res.Code, res.Detail)
	}
	w.now += 2000
	if res := send(2, ledger.KindTransfer, pay); res.Code != ledger.CodeSignature {
		t.Errorf("after its time: %s: %s", res.Code, res.Detail)
	}
}

func (w *world) bond(p *person, amount ledger.Amount) ledger.Result {
	w.t.Helper()
	return w.do(p, ledger.KindBond, &ledger.Bond{Key: public(p.node), Amount: amount, Proof: ledger.ProveBond(p.node, chain, ledger.RoleNode, p.addr)})
}

func TestNode(t *testing.T) {
	w := newWorld(t, 3, 1)
	a, b := w.people[1], w.people[2]
	if res := w.bond(a, 1); res.Code != ledger.CodeFunds {
		t.Errorf("a small bond: %s", res.Code)
	}
	if res := w.bond(a, 200*ledger.Unit); res.Code != ledger.CodeOK {
		t.Fatalf("%s: %s", res.Code, res.Detail)
	}
	w.fails(ledger.CodeForbidden, "belongs to", b, ledger.KindBond, &ledger.Bond{Key: public(a.node), Amount: 1, Proof: ledger.ProveBond(a.node, chain, ledger.RoleNode, a.addr)})
	w.fails(ledger.CodeRefused, "did not sign", b, ledger.KindBond, &ledger.Bond{Key: public(b.node), Amount: 200 * ledger.Unit, Proof: ledger.ProveBond(b.node, chain, ledger.RoleNode, a.addr)})

	root := canon.Sum("aval test model")
	offer := &ledger.SetOffer{Key: public(a.node), Model: root, Offer: &ledger.Offer{PriceIn: 1, PriceOut: 2}}
	w.fails(ledger.CodeNotFound, "not registered", a, ledger.KindOffer, offer)
	w.must(b, ledger.KindModel, &ledger.Register{Root: root, Name: "mini", Numerics: "1", Licence: "Apache-2.0", Parents: []ledger.Parent{{Relation: "data", Hash: canon.Sum("aval test data")}}})
	w.fails(ledger.CodeRefused, "registered, by", a, ledger.KindModel, &ledger.Register{Root: root, Name: "mine", Numerics: "1", Licence: "MIT"})
	w.must(a, ledger.KindOffer, offer)
	if got := state[ledger.Offer](w, []byte("o"), public(a.node), root[:]); got == nil || got.PriceOut != 2 {
		t.Errorf("the offer is %+v", got)
	}
	w.fails(ledger.CodeForbidden, "belongs to", a, ledger.KindRevoke, &ledger.Revoke{Root: root, Reason: "no"})
	w.must(b, ledger.KindRevoke, &ledger.Revoke{Root: root, Reason: "its data was not ours"})
	w.fails(ledger.CodeRefused, "revoked", a, ledger.KindOffer, offer)

	w.fails(ledger.CodeFunds, "it would leave", a, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(a.node), Amount: 150 * ledger.Unit})
	w.must(a, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(a.node)})
	before := w.account(a).Balance
	if state[ledger.Offer](w, []byte("o"), public(a.node), root[:]) != nil {
		t.Error("the offer of a node without bond is still there")
	}
	w.block()
	if got := w.account(a).Balance; got != before {
		t.Error("released before its time")
	}
	w.now += 1000
	w.block()
	if got := w.account(a).Balance; got != before+200*ledger.Unit {
		t.Errorf("the operator has %d after the release, want %d", got, before+200*ledger.Unit)
	}
}

func TestValidators(t *testing.T) {
	w := newWorld(t, 6, 4)
	joining := w.people[4]
	cand := &ledger.Candidate{Key: public(joining.node), Amount: 2000 * ledger.Unit, Proof: ledger.ProveBond(joining.node, chain, ledger.RoleValidator, joining.addr)}
	w.must(joining, ledger.KindCandidate, cand)
	change := ledger.Change{Power: &ledger.PowerChange{Key: public(joining.node), Power: 10}}
	vote := func(i int, against bool) *ledger.Vote {
		return &ledger.Vote{Validator: public(w.people[i].node), Change: change, Against: against}
	}
	w.fails(ledger.CodeNotFound, "no validator", joining, ledger.KindVote, vote(4, false))
	w.fails(ledger.CodeForbidden, "belongs to", joining, ledger.KindVote, vote(0, false))
	w.must(w.people[0], ledger.KindVote, vote(0, false))
	w.fails(ledger.CodeRefused, "voted so before", w.people[0], ledger.KindVote, vote(0, false))
	w.must(w.people[1], ledger.KindVote, vote(1, false))
	w.must(w.people[1], ledger.KindVote, vote(1, true))
	w.must(w.people[2], ledger.KindVote, vote(2, false))
	if got := len(w.m.Validators()); got != 4 {
		t.Fatalf("%d validators after half the votes, want 4", got)
	}
	_, out := w.block(w.tx(w.people[3], 0, ledger.KindVote, vote(3, false)))
	if len(out.Validators) != 1 || out.Validators[0].Power != 10 || !bytes.Equal(out.Validators[0].Key, public(joining.node)) {
		t.Fatalf("consensus is told %+v", out.Validators)
	}
	if got := len(w.m.Validators()); got != 5 {
		t.Fatalf("%d validators, want 5", got)
	}

	// Double signing costs half the bond and the power.
	supply := state[ledger.Meta](w, []byte("g")).Supply
	w.now += 100
	_, out = w.blockWith(ledger.Block{Height: w.m.Height() + 1, Time: w.now, Proposer: public(w.people[0].node), Misbehaving: []ledger.Misbehaviour{{Key: public(joining.node), Height: 3}}})
	if len(out.Validators) != 1 || out.Validators[0].Power != 0 {
		t.Errorf("consensus is told %+v, want the power to be 0", out.Validators)
	}
	if got := state[ledger.Meta](w, []byte("g")).Supply; got != supply-1000*ledger.Unit {
		t.Errorf("a supply of %d, want %d less than %d", got, 1000*ledger.Unit, supply)
	}

	// A proposal that too few want is dropped in time.
	params := ledger.DefaultParams()
	params.FeeByte = 3
	change = ledger.Change{Params: &params}
	w.must(w.people[0], ledger.KindVote, vote(0, false))
	w.now += 2000
	w.block()
	w.fails(ledger.CodeNotFound, "nobody proposed", w.people[0], ledger.KindVote, vote(0, true))
	for i := range 3 {
		w.must(w.people[i], ledger.KindVote, vote(i, false))
	}
	if got := state[ledger.Meta](w, []byte("g")).Params.FeeByte; got != 3 {
		t.Errorf("a byte costs %d, want 3", got)
	}
	w.must(w.people[0], ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleValidator, Key: public(w.people[0].node)})
	if got := len(w.m.Validators()); got != 3 {
		t.Errorf("%d validators after one left, want 3", got)
	}
}

// TestUpgrade: a version that this program does not have stops it with an error
// that says so, and changes nothing.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, 1, 1)
	p := w.people[0]
	at := w.m.Height() + 3
	vote := &ledger.Vote{Validator: public(p.node), Change: ledger.Change{Upgrade: &ledger.UpgradeChange{Version: ledger.Version + 1, Height: at}}}
	w.must(p, ledger.KindVote, vote)
	w.block()
	err := w.m.Begin(ledger.Block{Height: at, Time: w.now})
	if err == nil || !strings.Contains(err.Error(), "install a newer one") {
		t.Fatalf("a block under unknown rules: %v", err)
	}
}

func TestAttestation(t *testing.T) {
	w := newWorld(t, 2, 1)
	p := w.people[1]
	subject := canon.Sum("aval test subject")
	w.must(p, ledger.KindAttest, &ledger.Attest{Subject: subject, Kind: "round", Evidence: []byte("x")})
	key := ledger.AttestationKey(subject, "round", p.addr)
	s := w.m.State()
	if _, there, err := s.Prove(key).Verify(w.m.Root(), key); err != nil || !there {
		t.Errorf("its proof: %v, %v", there, err)
	}
	w.must(p, ledger.KindAttest, &ledger.Attest{Subject: subject, Kind: "round"})
	w.fails(ledger.CodeNotFound, "no such", p, ledger.KindAttest, &ledger.Attest{Subject: subject, Kind: "round"})
}

// TestExport: a chain may begin with the state of another, and nothing signed
// for one counts on the other.
func TestExport(t *testing.T) {
	w := newWorld(t, 3, 2)
	a := w.people[2]
	w.bond(a, 500*ledger.Unit)
	w.must(a, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(a.node), Amount: 100 * ledger.Unit})
	data, err := w.m.Export("test-2").Encode()
	if err != nil {
		t.Fatal(err)
	}
	g, err := ledger.ParseGenesis(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ledger.New(g)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Check(w.tx(a, 0, ledger.KindBurn, &ledger.Burn{Amount: 1})); got.Code != ledger.CodeChain {
		t.Errorf("a transaction of the old chain: %s", got.Code)
	}
	x := &world{t: t, m: m, people: w.people, now: w.now}
	before := x.account(a).Balance
	x.now += 5000
	x.block()
	if got := x.account(a).Balance; got != before+100*ledger.Unit {
		t.Errorf("the bond that was being released: %d, want %d", got, before+100*ledger.Unit)
	}
	for name, change := range map[string]func(g *ledger.Genesis){
		"minted":  func(g *ledger.Genesis) { g.State[0] = g.State[len(g.State)-1] },
		"dropped": func(g *ledger.Genesis) { g.State = g.State[1:] },
		"mixed":   func(g *ledger.Genesis) { g.Accounts = []ledger.GenesisAccount{{Balance: 1}} },
	} {
		g, err := ledger.ParseGenesis(data)
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		if _, err := ledger.New(g); err == nil {
			t.Errorf("a genesis with a state that was %s is taken", name)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.bond(w.people[1], 500*ledger.Unit)
	var b bytes.Buffer
	if err := w.m.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		m, err := ledger.Restore(bytes.NewReader(bad))
		if err == nil && m.Root() == w.m.Root() && m.Height() == w.m.Height() && m.Time() == w.m.Time() {
			t.Fatalf("byte %d of a snapshot says nothing", i)
		}
		if _, err := ledger.Restore(bytes.NewReader(whole[:i])); err == nil {
			t.Fatalf("the first %d bytes of a snapshot are taken", i)
		}
	}
}
