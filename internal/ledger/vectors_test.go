package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/ledger.json anew")

const vectorFile = "ledger.json"

// vectorSet is spec/vectors/ledger.json.
type vectorSet struct {
	Genesis  *ledger.Genesis  `json:"genesis"`
	Root     canon.Hash       `json:"root"` // of the genesis
	Blocks   []vectorBlock    `json:"blocks"`
	Snapshot hexBytes         `json:"snapshot"` // after the last block
	Address  []vectorAddress  `json:"addresses"`
	Vouchers []*vectorVoucher `json:"vouchers"`
}

type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

type vectorBlock struct {
	Height       uint64              `json:"height"`
	Time         uint64              `json:"time"`
	Proposer     hexBytes            `json:"proposer"`
	Misbehaving  []vectorMisbehaving `json:"misbehaving,omitempty"`
	Transactions []vectorTx          `json:"transactions"`
	Root         canon.Hash          `json:"root"`
	Validators   []vectorPower       `json:"validators,omitempty"` // that changed
}

type vectorMisbehaving struct {
	Key    hexBytes `json:"key"`
	Height uint64   `json:"height"`
}

type vectorPower struct {
	Key   hexBytes `json:"key"`
	Power uint64   `json:"power"`
}

type vectorTx struct {
	What string        `json:"what"`
	Tx   hexBytes      `json:"tx"`
	ID   canon.Hash    `json:"id"`
	Code ledger.Code   `json:"code"`
	Name string        `json:"name"` // of the code
	Fee  ledger.Amount `json:"fee"`
	Work uint64        `json:"work"`
}

type vectorAddress struct {
	Threshold int        `json:"threshold"`
	Keys      []hexBytes `json:"keys"`
	Address   canon.Hash `json:"address"`
}

type vectorVoucher struct {
	What    string        `json:"what"`
	Terms   payment.Terms `json:"terms"`
	Voucher hexBytes      `json:"voucher"`
	Message *canon.Hash   `json:"message,omitempty"` // that is signed
	Check   string        `json:"check"`             // ok, or what must refuse it
}

// scribe lets blocks happen and writes them down.
type scribe struct {
	*market
	set   vectorSet
	txs   []vectorTx
	ahead map[*person]uint64
}

func newScribe(t testing.TB) *scribe {
	k := &market{world: newWorld(t, 5, 2), root: canon.Sum("aval test model")}
	k.payee, k.payer = k.people[1], k.people[2]
	seed := canon.Sum("aval test voucher key")
	k.key = ed25519.NewKeyFromSeed(seed[:])
	return &scribe{market: k, set: vectorSet{Genesis: newGenesis(k.people, 2), Root: k.m.Root()}, ahead: map[*person]uint64{}}
}

// send adds a transaction to the next block and gives its identity.
func (s *scribe) send(what string, p *person, kind ledger.Kind, payload any) canon.Hash {
	return s.raw(what, s.tx(p, s.ahead[p], kind, payload), p)
}

// raw adds bytes; with somebody, they count as one of their transactions.
func (s *scribe) raw(what string, tx []byte, p *person) canon.Hash {
	s.txs = append(s.txs, vectorTx{What: what, Tx: tx})
	if p != nil {
		s.ahead[p]++
	}
	return ledger.TxID(tx)
}

// happen makes the block of what was sent, some time after the last.
func (s *scribe) happen(wait uint64, bad ...ledger.Misbehaviour) {
	s.now += wait
	b := ledger.Block{Height: s.m.Height() + 1, Time: s.now, Proposer: public(s.people[0].node), Misbehaving: bad}
	v := vectorBlock{Height: b.Height, Time: b.Time, Proposer: b.Proposer, Transactions: append([]vectorTx{}, s.txs...)}
	for _, x := range bad {
		v.Misbehaving = append(v.Misbehaving, vectorMisbehaving{x.Key, x.Height})
	}
	var txs [][]byte
	for _, x := range s.txs {
		txs = append(txs, x.Tx)
	}
	res, out := s.blockWith(b, txs...)
	for i, r := range res {
		x := &v.Transactions[i]
		x.ID, x.Code, x.Name, x.Fee, x.Work = r.ID, r.Code, r.Code.String(), r.Fee, r.Work
	}
	v.Root = out.Root
	for _, u := range out.Validators {
		v.Validators = append(v.Validators, vectorPower{u.Key, u.Power})
	}
	s.set.Blocks = append(s.set.Blocks, v)
	s.txs, s.ahead = nil, map[*person]uint64{}
}

// body makes a transaction of a body that is changed before it is signed.
func (s *scribe) body(p *person, signer *person, change func(*ledger.Body)) []byte {
	b, err := ledger.NewBody(chain, p.addr, s.account(p).Nonce+s.ahead[p], fee, ledger.KindBurn, &ledger.Burn{Amount: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	change(b)
	tx, err := b.Sign(signer.policy, signer.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

// record is the history of the vectors.
func record(t testing.TB) vectorSet {
	s := newScribe(t)
	a, b, c := s.people[2], s.people[3], s.people[4]
	node := s.payee

	// Money.
	good := s.tx(a, 0, ledger.KindTransfer, &ledger.Transfer{To: b.addr, Amount: 5})
	s.raw("a transfer", good, a)
	s.raw("the same again", good, nil)
	s.send("more than there is", a, ledger.KindTransfer, &ledger.Transfer{To: b.addr, Amount: ledger.MaxSupply})
	s.send("a burn", b, ledger.KindBurn, &ledger.Burn{Amount: 7})
	s.happen(100)
	s.raw("no transaction", []byte("noise"), nil)
	s.raw("another chain", s.body(a, a, func(b *ledger.Body) { b.Chain = "other" }), nil)
	s.raw("a nonce too far", s.body(a, a, func(b *ledger.Body) { b.Nonce += 2 }), nil)
	s.raw("too late", s.body(a, a, func(b *ledger.Body) { b.Until = 1 }), nil)
	s.raw("too low a fee", s.body(a, a, func(b *ledger.Body) { b.MaxFee = 10 }), nil)
	s.raw("somebody else's signature", s.body(a, b, func(*ledger.Body) {}), nil)
	flipped := s.body(a, a, func(*ledger.Body) {})
	flipped[len(flipped)-1] ^= 1
	s.raw("a flipped bit of the signature", flipped, nil)
	s.raw("an unknown kind", s.body(a, a, func(b *ledger.Body) { b.Kind = 9999 }), nil)
	s.raw("content of another kind", s.body(a, a, func(b *ledger.Body) { b.Kind = ledger.KindTransfer }), nil)
	s.raw("the fee pays no proof", s.body(b, b, func(x *ledger.Body) {
		x.Kind, x.MaxFee = ledger.KindBond, 450
		x.Content, _ = canon.Marshal(&ledger.Bond{Key: public(b.node), Amount: 200 * ledger.Unit, Proof: ledger.ProveBond(b.node, chain, ledger.RoleNode, b.addr)})
	}), b)
	s.raw("a tick while nothing waits", append([]byte("aval tick/1"), 0, 0, 0, 0, 0, 0, 0, 2), nil)
	s.happen(100)

	// A device, a shared account.
	policy := ledger.NewPolicy(2, public(a.key), public(b.key), public(c.key))
	s.send("money for a shared account", a, ledger.KindTransfer, &ledger.Transfer{To: policy.Address(), Amount: 10 * ledger.Unit})
	s.send("a device is authorised", a, ledger.KindAuthorise, &ledger.Authorise{Key: public(c.node), Limit: 100 * ledger.Unit, Expires: s.now + 100_000})
	s.happen(100)
	both, err := ledger.NewBody(chain, policy.Address(), 0, fee, ledger.KindTransfer, &ledger.Transfer{To: c.addr, Amount: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what string
		keys []ed25519.PrivateKey
	}{{"one signature of two", []ed25519.PrivateKey{a.key}}, {"two of three sign", []ed25519.PrivateKey{a.key, c.key}}} {
		tx, err := both.Sign(policy, x.keys...)
		if err != nil {
			t.Fatal(err)
		}
		s.raw(x.what, tx, nil)
	}
	device := &person{key: c.node, policy: ledger.Single(public(c.node)), addr: a.addr}
	byDevice := func(what string, nonce uint64, kind ledger.Kind, payload any) canon.Hash {
		return s.raw(what, s.body(a, device, func(b *ledger.Body) {
			b.Nonce, b.Kind = nonce, kind
			b.Content, _ = canon.Marshal(payload)
		}), nil)
	}
	byDevice("a transfer by the device", 0, ledger.KindTransfer, &ledger.Transfer{To: c.addr, Amount: 9})
	byDevice("a burn by the device", 1, ledger.KindBurn, &ledger.Burn{Amount: 9})
	byDevice("more than its limit", 1, ledger.KindTransfer, &ledger.Transfer{To: c.addr, Amount: 101 * ledger.Unit})
	s.happen(100)

	// A node, a model, an offer, an attestation.
	s.send("a bond that is too small", node, ledger.KindBond, &ledger.Bond{Key: public(node.node), Amount: 1, Proof: ledger.ProveBond(node.node, chain, ledger.RoleNode, node.addr)})
	s.send("a bond", node, ledger.KindBond, &ledger.Bond{Key: public(node.node), Amount: 200 * ledger.Unit, Proof: ledger.ProveBond(node.node, chain, ledger.RoleNode, node.addr)})
	s.send("a proof for another account", b, ledger.KindBond, &ledger.Bond{Key: public(b.node), Amount: 200 * ledger.Unit, Proof: ledger.ProveBond(b.node, chain, ledger.RoleNode, a.addr)})
	s.send("a model", node, ledger.KindModel, &ledger.Register{Root: s.root, Name: "mini", Numerics: "1", Licence: "Apache-2.0", Parents: []ledger.Parent{{Relation: "data", Hash: canon.Sum("aval test data")}}})
	s.send("an offer", node, ledger.KindOffer, &ledger.SetOffer{Key: public(node.node), Model: s.root, Offer: &ledger.Offer{PriceIn: 2 * ledger.Unit, PriceOut: 3 * ledger.Unit, Speed: 20, Region: "eu"}})
	s.send("an attestation", c, ledger.KindAttest, &ledger.Attest{Subject: s.root, Kind: "review", Evidence: []byte("fine")})
	s.happen(100)

	// Sessions.
	s.send("a session that would cost more than agreed", a, ledger.KindOpen, func() *ledger.Open { m := s.terms(); m.PriceOut = 1; return m }())
	settled := s.send("a session", a, ledger.KindOpen, s.terms())
	closed := s.send("another session", a, ledger.KindOpen, s.terms())
	left := byDevice("a session of the device", 2, ledger.KindOpen, s.terms())
	s.happen(100)
	terms := s.session(settled).Terms(chain, settled)
	other := s.session(closed).Terms(chain, closed)
	s.send("settled by the payer", a, ledger.KindSettle, ledger.SettleWith(settled, s.voucher(settled, 7)))
	more := ledger.SettleWith(settled, s.voucher(settled, 7))
	more.Amount++
	s.send("settled for more than signed", node, ledger.KindSettle, more)
	s.send("settled with a voucher of another session", node, ledger.KindSettle, ledger.SettleWith(settled, s.voucher(closed, 7)))
	s.send("settled for more than the escrow", node, ledger.KindSettle, ledger.SettleWith(settled, s.voucher(settled, 11*ledger.Unit)))
	s.send("settled", node, ledger.KindSettle, ledger.SettleWith(settled, s.voucher(settled, 7)))
	s.send("settled again", node, ledger.KindSettle, ledger.SettleWith(settled, s.voucher(settled, 8)))
	s.send("closed for less than agreed", a, ledger.KindClose, &ledger.Close{Session: closed, Amount: 8, Proof: ledger.AgreeClose(node.node, chain, closed, 9)})
	s.send("closed as agreed", a, ledger.KindClose, &ledger.Close{Session: closed, Amount: 9, Proof: ledger.AgreeClose(node.node, chain, closed, 9)})
	s.happen(100)
	s.send("settled too late", node, ledger.KindSettle, ledger.SettleWith(left, s.voucher(left, 7)))
	s.happen(12_000)

	// Validators.
	s.send("a candidate", b, ledger.KindCandidate, &ledger.Candidate{Key: public(b.node), Amount: 1500 * ledger.Unit, Proof: ledger.ProveBond(b.node, chain, ledger.RoleValidator, b.addr)})
	change := ledger.Change{Power: &ledger.PowerChange{Key: public(b.node), Power: 10}}
	s.send("a vote of nobody who may", b, ledger.KindVote, &ledger.Vote{Validator: public(b.node), Change: change})
	s.send("a vote", s.people[0], ledger.KindVote, &ledger.Vote{Validator: public(s.people[0].node), Change: change})
	s.happen(100)
	s.send("the vote that suffices", node, ledger.KindVote, &ledger.Vote{Validator: public(node.node), Change: change})
	s.happen(100)
	params := newGenesis(s.people, 2).Params
	params.FeeByte = 3
	s.send("a proposal that is dropped", node, ledger.KindVote, &ledger.Vote{Validator: public(node.node), Change: ledger.Change{Params: params, Note: "dearer"}})
	s.happen(100, ledger.Misbehaviour{Key: public(b.node), Height: 9})
	s.send("a part of a bond", node, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(node.node), Amount: 50 * ledger.Unit})
	s.send("the model is revoked", node, ledger.KindRevoke, &ledger.Revoke{Root: s.root, Reason: "its data was not ours"})
	s.happen(100)
	s.send("a session about a revoked model", a, ledger.KindOpen, s.terms())
	s.happen(2000) // the bond is released, the proposal dropped
	s.happen(100)  // nothing happens

	var snapshot bytes.Buffer
	if err := s.m.Snapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	s.set.Snapshot = snapshot.Bytes()
	for _, p := range []ledger.Policy{a.policy, policy} {
		v := vectorAddress{Threshold: p.Threshold, Address: p.Address()}
		for _, k := range p.Keys {
			v.Keys = append(v.Keys, k)
		}
		s.set.Address = append(s.set.Address, v)
	}
	s.set.Vouchers = voucherVectors(t, s, terms, other)
	return s.set
}

// voucherVectors are vouchers, each with what must come of it.
func voucherVectors(t testing.TB, s *scribe, terms, other payment.Terms) (list []*vectorVoucher) {
	add := func(what, check string, terms payment.Terms, raw []byte) {
		v := &vectorVoucher{What: what, Terms: terms, Voucher: raw, Check: check}
		if read, err := payment.DecodeVoucher(raw); err == nil {
			m := read.Message()
			v.Message = &m
		}
		list = append(list, v)
	}
	encoded := func(v *payment.Voucher) []byte {
		raw, err := v.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := func(change func(*payment.Voucher)) *payment.Voucher {
		v := &payment.Voucher{Chain: chain, Session: terms.Session, Amount: 7, Answers: 1}
		change(v)
		v.Sign(s.key)
		return v
	}
	add("a voucher", "ok", terms, encoded(good(func(*payment.Voucher) {})))
	add("for nothing", "ok", terms, encoded(good(func(v *payment.Voucher) { v.Amount, v.Answers = 0, 0 })))
	add("for all", "ok", terms, encoded(good(func(v *payment.Voucher) { v.Amount = terms.Escrow })))
	add("for one more", "escrow", terms, encoded(good(func(v *payment.Voucher) { v.Amount = terms.Escrow + 1 })))
	add("on another chain", "chain", terms, encoded(good(func(v *payment.Voucher) { v.Chain = "other" })))
	add("in another session", "session", other, encoded(good(func(*payment.Voucher) {})))
	forged := good(func(*payment.Voucher) {})
	forged.Amount++
	add("another amount than was signed", "signature", terms, encoded(forged))
	renamed := good(func(v *payment.Voucher) { v.Session = other.Session })
	renamed.Session = terms.Session
	add("another session than was signed", "signature", terms, encoded(renamed))
	stolen := good(func(*payment.Voucher) {})
	stolen.Sign(s.people[3].key)
	add("another key", "signature", terms, encoded(stolen))
	unsigned := good(func(*payment.Voucher) {})
	unsigned.Signature = nil
	add("no signature", "signature", terms, encoded(unsigned))
	weak := terms
	weak.Key = make([]byte, 32)
	add("a key that takes many signatures", "key", weak, encoded(good(func(*payment.Voucher) {})))
	whole := encoded(good(func(*payment.Voucher) {}))
	add("cut short", "encoding", terms, whole[:len(whole)-1])
	add("with a byte more", "encoding", terms, append(bytes.Clone(whole), 0))
	return list
}

// checkVoucher names what refuses a voucher.
func checkVoucher(raw []byte, terms *payment.Terms) string {
	v, err := payment.DecodeVoucher(raw)
	if err != nil {
		return "encoding"
	}
	switch err := v.Verify(terms); {
	case err == nil:
		return "ok"
	default:
		return map[error]string{
			payment.ErrChain: "chain", payment.ErrSession: "session", payment.ErrEscrow: "escrow",
			payment.ErrKey: "key", payment.ErrSignature: "signature",
		}[unwrapped(err)]
	}
}

// unwrapped is the innermost error.
func unwrapped(err error) error {
	for {
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			err = x.Unwrap()[0]
		default:
			return err
		}
	}
}

// TestVectors: the file is what the package makes, and what it says comes of
// replaying it.
func TestVectors(t *testing.T) {
	set := record(t)
	raw, err := json.MarshalIndent(set, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, '\n')
	file, err := fs.ReadFile(vectors.FS, vectorFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, file) {
		if !*update {
			t.Fatalf("%s is not what the package makes; if that is intended, run go test ./internal/ledger -update", vectorFile)
		}
		if err := os.WriteFile("../../spec/vectors/"+vectorFile, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var again vectorSet
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	replay(t, again)
}

// replay holds a machine to a set of vectors, as another program would be.
func replay(t *testing.T, set vectorSet) {
	m, err := ledger.New(set.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	if m.Root() != set.Root {
		t.Fatalf("the genesis has the root %s, want %s", m.Root(), set.Root)
	}
	for _, v := range set.Blocks {
		b := ledger.Block{Height: v.Height, Time: v.Time, Proposer: v.Proposer}
		for _, x := range v.Misbehaving {
			b.Misbehaving = append(b.Misbehaving, ledger.Misbehaviour{Key: x.Key, Height: x.Height})
		}
		if err := m.Begin(b); err != nil {
			t.Fatal(err)
		}
		for _, x := range v.Transactions {
			if r := m.Apply(x.Tx); r.ID != x.ID || r.Code != x.Code || r.Fee != x.Fee || r.Work != x.Work {
				t.Errorf("block %d, %s: %s with a fee of %d: %s; want %s and %d", v.Height, x.What, r.Code, r.Fee, r.Detail, x.Name, x.Fee)
			}
		}
		if out := m.End(); out.Root != v.Root {
			t.Fatalf("block %d has the root %s, want %s", v.Height, out.Root, v.Root)
		}
	}
	restored, err := ledger.Restore(bytes.NewReader(set.Snapshot))
	if err != nil || restored.Root() != m.Root() {
		t.Errorf("the snapshot: %v", err)
	}
	for _, v := range set.Vouchers {
		if got := checkVoucher(v.Voucher, &v.Terms); got != v.Check {
			t.Errorf("the voucher %q: %q, want %q", v.What, got, v.Check)
		}
	}
	seen := map[ledger.Code]bool{}
	for _, b := range set.Blocks {
		for _, x := range b.Transactions {
			seen[x.Code] = true
		}
	}
	for c := ledger.CodeOK; c <= ledger.CodeWork; c++ {
		// One that is too large would be most of the file.
		if !seen[c] && c != ledger.CodeTooLarge {
			t.Errorf("no transaction with the code %s", c)
		}
	}
}
