package ledger_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/receipt"
)

// provider is a node with a log of receipts.
type provider struct {
	*person
	log      *receiptlog.Tree
	receipts map[uint64]receipt.Receipt // those that are real
	openings map[uint64]*receipt.Opening
}

func newProvider(p *person) *provider {
	log, err := receiptlog.NewTree(0, nil)
	if err != nil {
		panic(err)
	}
	return &provider{person: p, log: log, receipts: map[uint64]receipt.Receipt{}, openings: map[uint64]*receipt.Opening{}}
}

// fill logs hashes of receipts that nobody looks at.
func (p *provider) fill(t testing.TB, n int) {
	t.Helper()
	for range n {
		p.log.Append(receiptlog.Leaf(canon.Sum("aval test receipt", public(p.node), binary.AppendUvarint(nil, p.log.Size()))))
	}
}

// answer logs a receipt.
func (p *provider) answer(t testing.TB, nonce []byte) receipt.Receipt {
	t.Helper()
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: []int32{1, 2, 3}, Output: []int32{4, 5},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{Model: canon.Sum("aval test model"), Seed: receipt.NonceSeed(nonce), Time: 1_700_000_000, Params: receipt.Params{MaxTokens: 2}, Stop: receipt.StopLength}
	o.Fill(&c)
	c.Trace = canon.Sum("aval test trace commitment") // its salt is shown, and cannot be checked
	r, err := receipt.Sign(c, p.node)
	if err != nil {
		t.Fatal(err)
	}
	p.receipts[p.log.Size()], p.openings[p.log.Size()] = r, o
	p.log.Append(receiptlog.Leaf(r.Hash()))
	return r
}

func (p *provider) batch(t testing.TB, from uint64) *ledger.Batch {
	t.Helper()
	size := p.log.Size()
	root, err := receiptlog.Root(p.log, size)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := receiptlog.Consistency(p.log, from, size)
	if err != nil {
		t.Fatal(err)
	}
	return &ledger.Batch{Key: public(p.node), Size: size, Root: root, Proof: proof, Signature: ledger.SignBatch(p.node, size, root)}
}

func (p *provider) inclusion(t testing.TB, size, index uint64) []canon.Hash {
	t.Helper()
	proof, err := receiptlog.Inclusion(p.log, size, index)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func (p *provider) ref() ledger.AuditRef {
	return ledger.AuditRef{Node: public(p.node), Size: p.log.Size()}
}

// tick lets a block with a beacon happen.
func (w *world) tick(txs ...[]byte) []ledger.Result {
	w.t.Helper()
	w.now += 100
	h := w.m.Height() + 1
	if f := w.m.FreeTick(); f != nil {
		txs = append(slices.Clone(txs), f)
	}
	res, _ := w.blockWith(ledger.Block{Height: h, Time: w.now, Proposer: public(w.people[0].node), Beacon: canon.Sum("aval test beacon", binary.AppendUvarint(nil, h))}, txs...)
	return res
}

// audit is an audit in the state.
func (w *world) audit(p *provider) *ledger.Audit {
	w.t.Helper()
	return state[ledger.Audit](w, []byte("k"), public(p.node), binary.BigEndian.AppendUint64(nil, p.log.Size()))
}

// until lets blocks happen until an audit is in a phase, or over.
func (w *world) until(p *provider, phase ledger.Phase) {
	w.t.Helper()
	for range 2000 {
		a := w.audit(p)
		if a == nil && phase == 0 || a != nil && a.Phase == phase {
			return
		}
		if a == nil {
			break
		}
		w.tick()
	}
	w.t.Fatalf("the audit does not come to the phase %q", phase)
}

func (w *world) node(p *person) *ledger.Node {
	return state[ledger.Node](w, []byte("n"), public(p.node))
}

// newAudits is a world with a provider and auditors, all bonded.
func newAudits(t testing.TB, auditors int) (*world, *provider, []*person) {
	w := newWorld(t, 2+auditors, 1)
	p := newProvider(w.people[1])
	for i, x := range w.people[1:] {
		if res := w.bond(x, 1000*ledger.Unit); res.Code != ledger.CodeOK {
			t.Fatal(res.Detail)
		}
		if i > 0 {
			w.must(x, ledger.KindAuditor, &ledger.SetAuditor{Key: public(x.node), On: true})
		}
	}
	return w, p, w.people[2:]
}

// worker is an auditor that says what it is told to.
type worker struct {
	*person
	findings []ledger.Finding
}

var workSalt = bytes.Repeat([]byte{7}, 16)

func (w *world) duty(p *person, task ledger.Task) *ledger.Duty {
	s := w.m.State()
	for _, d := range ledger.Duties(&s, public(p.node)) {
		if d.Task == task {
			return &d
		}
	}
	return nil
}

// computed are the findings of an auditor that computes again: the root of the
// trace is a function of the receipt.
func computed(p *provider, d *ledger.Duty) []ledger.Finding {
	var out []ledger.Finding
	for _, i := range d.Indices {
		id := p.id(i)
		out = append(out, ledger.Finding{Verdict: ledger.Right, Digest: ledger.WorkDigest(d.ID, i, id, traceRoot(id), 4, 4)})
	}
	return out
}

func traceRoot(id canon.Hash) canon.Hash { return canon.Sum("aval test trace", id[:]) }

// id is the identity of the receipt at an index.
func (p *provider) id(i uint64) canon.Hash {
	if r, ok := p.receipts[i]; ok {
		return r.Hash()
	}
	return canon.Sum("aval test receipt", public(p.node), binary.AppendUvarint(nil, i))
}

// parts are the workers that were drawn.
func (w *world) parts(p *provider) []*worker {
	var out []*worker
	for _, part := range w.audit(p).Parts {
		for _, x := range w.people {
			if bytes.Equal(public(x.node), part.Key) {
				out = append(out, &worker{person: x})
			}
		}
	}
	return out
}

func (w *world) commit(p *provider, x *worker, findings []ledger.Finding) {
	w.t.Helper()
	x.findings = findings
	d := w.duty(x.person, ledger.TaskCommit)
	if d == nil {
		w.t.Fatal("there is no duty to commit")
	}
	w.must(x.person, ledger.KindCommit, &ledger.Commit{Audit: d.Audit, Auditor: public(x.node), Commitment: ledger.CommitmentOf(d.ID, public(x.node), workSalt, findings)})
}

func (w *world) reveal(p *provider, x *worker) {
	w.t.Helper()
	if w.duty(x.person, ledger.TaskReveal) == nil {
		w.t.Fatal("there is no duty to reveal")
	}
	w.must(x.person, ledger.KindReveal, &ledger.Reveal{Audit: p.ref(), Auditor: public(x.node), Salt: workSalt, Findings: x.findings})
}

// start posts a batch of n receipts and waits for the auditors.
func (w *world) start(p *provider, n int) []*worker {
	w.t.Helper()
	from := p.log.Size()
	p.fill(w.t, n)
	w.must(p.person, ledger.KindBatch, p.batch(w.t, from))
	w.until(p, ledger.PhaseCommit)
	return w.parts(p)
}

// TestAuditPasses: two auditors compute the same, are paid, and the provider's
// record says so.
func TestAuditPasses(t *testing.T) {
	w, p, _ := newAudits(t, 3)
	workers := w.start(p, 100)
	if len(workers) != 2 {
		t.Fatalf("%d auditors were drawn, want 2", len(workers))
	}
	a := w.audit(p)
	if a.Count != 5 {
		t.Errorf("%d of 100 receipts were drawn, want 5", a.Count)
	}
	if n := w.node(p.person); n.Held != 1 || n.Log.Size != 100 {
		t.Errorf("the node is %+v", n)
	}
	before := w.account(workers[0].person).Balance
	for _, x := range workers {
		w.commit(p, x, computed(p, w.duty(x.person, ledger.TaskCommit)))
	}
	w.until(p, ledger.PhaseReveal)
	for _, x := range workers {
		w.reveal(p, x)
	}
	w.until(p, ledger.PhaseSettle)
	w.until(p, 0)
	if got := w.account(workers[0].person).Balance; got <= before-2*fee {
		t.Errorf("the auditor has %d of %d", got, before)
	}
	for _, x := range workers {
		if n := w.node(x.person); n.Record.Audits != 1 || n.Held != 0 || n.Bond != 1000*ledger.Unit {
			t.Errorf("an auditor is %+v", n)
		}
	}
	if n := w.node(p.person); n.Record.Passed != 1 || n.Held != 0 {
		t.Errorf("the provider is %+v", n)
	}
}

// TestAuditPays: what an auditor gets, to the unit.
func TestAuditPays(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers := w.start(p, 100)
	for _, x := range workers {
		w.commit(p, x, computed(p, w.duty(x.person, ledger.TaskCommit)))
	}
	for _, x := range workers {
		w.reveal(p, x)
	}
	before := w.account(workers[0].person).Balance
	w.until(p, 0)
	if got, want := w.account(workers[0].person).Balance, before+5*ledger.DefaultParams().Audit.Price; got != want {
		t.Errorf("the auditor has %d, want %d", got, want)
	}
}

// TestAuditSkipped: without auditors of another operator the audit is counted
// as skipped, and the fee comes back.
func TestAuditSkipped(t *testing.T) {
	w, p, _ := newAudits(t, 0)
	w.must(p.person, ledger.KindAuditor, &ledger.SetAuditor{Key: public(p.node), On: true})
	p.fill(t, 100)
	before := w.account(p.person).Balance
	res := w.must(p.person, ledger.KindBatch, p.batch(t, 0))
	w.until(p, 0)
	if n := w.node(p.person); n.Record.Skipped != 1 || n.Record.Passed != 0 || n.Held != 0 {
		t.Errorf("the provider is %+v", n)
	}
	if got := w.account(p.person).Balance; got != before-res.Fee {
		t.Errorf("the provider has %d, want %d", got, before-res.Fee)
	}
}

// TestNoBeacon: a network that has no beacon makes no audits that a node could
// foresee.
func TestNoBeacon(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	p.fill(t, 10)
	w.must(p.person, ledger.KindBatch, p.batch(t, 0))
	for range 30 {
		w.block()
	}
	if n := w.node(p.person); n.Record.Skipped != 1 || n.Held != 0 || w.audit(p) != nil {
		t.Errorf("the provider is %+v", n)
	}
}

// TestRoll: who sees the beacon of a draw, and makes the block of the draw, has
// no part in choosing who may be drawn.
func TestRoll(t *testing.T) {
	w, p, auditors := newAudits(t, 2)
	late := w.people[0]
	w.bond(late, 100_000*ledger.Unit)
	p.fill(t, 10)
	w.tick(w.tx(p.person, 0, ledger.KindBatch, p.batch(t, 0)))
	if a := w.audit(p); a.Phase != ledger.PhaseDraw || len(a.Roll) != 2*40 {
		t.Fatalf("the audit %+v", a)
	}
	w.tick()
	gone := auditors[0]
	res := w.tick(
		w.tx(late, 0, ledger.KindAuditor, &ledger.SetAuditor{Key: public(late.node), On: true}),
		w.tx(gone, 0, ledger.KindAuditor, &ledger.SetAuditor{Key: public(gone.node)}),
	)
	for _, r := range res {
		if r.Code != ledger.CodeOK {
			t.Fatal(r.Detail)
		}
	}
	a := w.audit(p)
	if a.Phase != ledger.PhaseCommit || len(a.Parts) != 1 || !bytes.Equal(a.Parts[0].Key, public(auditors[1].node)) || a.Roll != nil {
		t.Errorf("drawn are %+v", a)
	}
	params := ledger.DefaultParams()
	params.Audit.Delay = 1
	w.fails(ledger.CodeRefused, "delay of 1 blocks", w.people[0], ledger.KindVote, &ledger.Vote{Validator: public(w.people[0].node), Change: ledger.Change{Params: &params}})
}

func TestBatchRefuses(t *testing.T) {
	w, p, _ := newAudits(t, 1)
	q := w.people[2]
	p.fill(t, 100)
	good := p.batch(t, 0)
	w.fails(ledger.CodeForbidden, "belongs to", q, ledger.KindBatch, good)
	bad := *good
	bad.Root[0] ^= 1
	w.fails(ledger.CodeRefused, "did not sign", p.person, ledger.KindBatch, &bad)
	bad.Signature = ledger.SignBatch(p.node, bad.Size, bad.Root)
	bad.Proof = []canon.Hash{{}}
	w.fails(ledger.CodeRefused, "does not go on", p.person, ledger.KindBatch, &bad)
	w.must(p.person, ledger.KindBatch, good)
	w.fails(ledger.CodeRefused, "it has 100", p.person, ledger.KindBatch, good)
	// Another log of which the first hundred entries are not those.
	other := newProvider(p.person)
	for i := range 200 {
		other.log.Append(receiptlog.Leaf(canon.Sum("aval test other", binary.AppendUvarint(nil, uint64(i)))))
	}
	w.fails(ledger.CodeRefused, "does not go on", p.person, ledger.KindBatch, other.batch(t, 100))
	// More than is audited of one batch, and than the bond covers.
	p.fill(t, 1281)
	w.fails(ledger.CodeRefused, "send several", p.person, ledger.KindBatch, p.batch(t, 100))
	from := uint64(100)
	for i := 0; ; i++ {
		half := newProvider(p.person)
		half.fill(t, int(from)+1280)
		res := w.do(p.person, ledger.KindBatch, half.batch(t, from))
		if from += 1280; res.Code == ledger.CodeFunds {
			if from < 1000*20 || from > 1000*20+2*1280 { // a bond of 1,000 covers 20,000
				t.Errorf("the bond covered up to %d receipts", from)
			}
			break
		}
		if res.Code != ledger.CodeOK {
			t.Fatal(res.Detail)
		}
	}
}

// TestCopying: nobody can commit to what another committed to, and reveal it
// after that one.
func TestCopying(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers := w.start(p, 100)
	a, b := workers[0], workers[1]
	w.commit(p, a, computed(p, w.duty(a.person, ledger.TaskCommit)))
	w.fails(ledger.CodeRefused, "has committed itself", a.person, ledger.KindCommit, &ledger.Commit{Audit: p.ref(), Auditor: public(a.node)})
	w.fails(ledger.CodeForbidden, "belongs to", b.person, ledger.KindCommit, &ledger.Commit{Audit: p.ref(), Auditor: public(a.node)})
	w.fails(ledger.CodeRefused, "in the phase", a.person, ledger.KindReveal, &ledger.Reveal{Audit: p.ref(), Auditor: public(a.node), Salt: workSalt, Findings: a.findings})
	w.must(b.person, ledger.KindCommit, &ledger.Commit{Audit: p.ref(), Auditor: public(b.node), Commitment: canon.Hash(w.audit(p).Parts[0].Commit)})
	w.reveal(p, a)
	w.fails(ledger.CodeRefused, "something else", b.person, ledger.KindReveal, &ledger.Reveal{Audit: p.ref(), Auditor: public(b.node), Salt: workSalt, Findings: a.findings})
	w.fails(ledger.CodeRefused, "want 5", b.person, ledger.KindReveal, &ledger.Reveal{Audit: p.ref(), Auditor: public(b.node), Salt: workSalt})
	w.until(p, 0)
	if n := w.node(b.person); n.Record.Missed != 1 || n.Bond != 990*ledger.Unit {
		t.Errorf("the copying auditor is %+v", n)
	}
	if n := w.node(a.person); n.Record.Audits != 1 {
		t.Errorf("the working auditor is %+v", n)
	}
	if n := w.node(p.person); n.Record.Passed != 1 {
		t.Errorf("the provider is %+v", n)
	}
}

// TestSilentAuditors: those who never commit lose a little, others are drawn,
// and at last the audit is skipped.
func TestSilentAuditors(t *testing.T) {
	w, p, all := newAudits(t, 3)
	w.start(p, 100)
	w.until(p, 0)
	for i, x := range all {
		if n := w.node(x); n.Record.Missed != 1 || n.Held != 0 || n.Bond != 990*ledger.Unit {
			t.Errorf("auditor %d is %+v", i, n)
		}
	}
	if n := w.node(p.person); n.Record.Skipped != 1 || n.Held != 0 {
		t.Errorf("the provider is %+v", n)
	}
}

// TestDisagreement: a third auditor decides; the one who is alone loses.
func TestDisagreement(t *testing.T) {
	w, p, _ := newAudits(t, 3)
	workers := w.start(p, 100)
	lazy := workers[0]
	d := w.duty(lazy.person, ledger.TaskCommit)
	f := computed(p, d)
	f[2].Digest[0] ^= 1
	w.commit(p, lazy, f)
	w.commit(p, workers[1], computed(p, d))
	w.reveal(p, lazy)
	w.reveal(p, workers[1])
	w.until(p, ledger.PhaseCommit)
	third := w.parts(p)[2]
	w.commit(p, third, computed(p, d))
	w.reveal(p, third)
	w.until(p, 0)
	if n := w.node(lazy.person); n.Record.Missed != 1 || n.Bond != 990*ledger.Unit {
		t.Errorf("the lazy auditor is %+v", n)
	}
	for _, x := range []*worker{workers[1], third} {
		if n := w.node(x.person); n.Record.Audits != 1 || n.Bond != 1000*ledger.Unit {
			t.Errorf("a working auditor is %+v", n)
		}
	}
	if n := w.node(p.person); n.Record.Passed != 1 {
		t.Errorf("the provider is %+v", n)
	}
}

// TestUnresolved: with two auditors who disagree and no third, nobody knows:
// nobody loses, nobody is paid, and the audit proves nothing.
func TestUnresolved(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers := w.start(p, 100)
	d := w.duty(workers[0].person, ledger.TaskCommit)
	f := computed(p, d)
	f[2].Digest[0] ^= 1
	w.commit(p, workers[0], f)
	w.commit(p, workers[1], computed(p, d))
	w.reveal(p, workers[0])
	w.reveal(p, workers[1])
	w.until(p, 0)
	for _, x := range workers {
		if n := w.node(x.person); n.Record.Missed+n.Record.Audits != 0 || n.Bond != 1000*ledger.Unit || n.Held != 0 {
			t.Errorf("an auditor is %+v", n)
		}
	}
	if n := w.node(p.person); n.Record.Skipped != 1 || n.Record.Passed != 0 {
		t.Errorf("the provider is %+v", n)
	}
}

// TestFalseAccusation: an auditor that calls a receipt false and does not prove
// it is one that missed its duty; the provider loses nothing.
func TestFalseAccusation(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers := w.start(p, 100)
	d := w.duty(workers[0].person, ledger.TaskCommit)
	f := computed(p, d)
	f[1] = ledger.Finding{Verdict: ledger.False, Digest: p.id(d.Indices[1])}
	w.commit(p, workers[0], f)
	w.commit(p, workers[1], computed(p, d))
	w.reveal(p, workers[0])
	w.reveal(p, workers[1])
	x := workers[0]
	accuse := w.duty(x.person, ledger.TaskAccuse)
	if accuse == nil || !slices.Equal(accuse.Places, []uint64{1}) {
		t.Fatalf("the duty to accuse is %+v", accuse)
	}
	w.fails(ledger.CodeRefused, "is not entry", x.person, ledger.KindAccuse, &ledger.Accuse{Audit: p.ref(), Auditor: public(x.node), Place: 1, Proof: p.inclusion(t, 100, accuse.Indices[0]^1)})
	w.fails(ledger.CodeRefused, "did not call", x.person, ledger.KindAccuse, &ledger.Accuse{Audit: p.ref(), Auditor: public(x.node), Place: 0, Proof: p.inclusion(t, 100, accuse.Indices[0])})
	w.must(x.person, ledger.KindAccuse, &ledger.Accuse{Audit: p.ref(), Auditor: public(x.node), Place: 1, Proof: p.inclusion(t, 100, accuse.Indices[0])})
	if w.duty(x.person, ledger.TaskAccuse) != nil {
		t.Error("the duty to accuse is still there")
	}
	w.until(p, 0)
	if n := w.node(x.person); n.Record.Missed != 1 || n.Bond != 990*ledger.Unit {
		t.Errorf("the accuser is %+v", n)
	}
	if n := w.node(p.person); n.Record.Passed != 1 || n.Bond != 1000*ledger.Unit {
		t.Errorf("the provider is %+v", n)
	}
}

// demand lets an auditor ask for a receipt on the ledger.
func (w *world) demand(p *provider, x *worker, place uint64) receipt.AuditorSecret {
	w.t.Helper()
	secret, err := receipt.NewAuditorSecret(false)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(x.person, ledger.KindDemand, &ledger.Demand{Audit: p.ref(), Auditor: public(x.node), Place: place, Key: secret.Public().String()})
	return secret
}

// real posts a batch of receipts that are real.
func (w *world) real(p *provider, n int) []*worker {
	w.t.Helper()
	from := p.log.Size()
	for range n {
		nonce := canon.Sum("aval test nonce", binary.AppendUvarint(nil, p.log.Size()))
		p.answer(w.t, nonce[:])
	}
	w.must(p.person, ledger.KindBatch, p.batch(w.t, from))
	w.until(p, ledger.PhaseCommit)
	return w.parts(p)
}

// TestWithheld: a node that does not show what was drawn loses as one that
// lied; the auditor who asked gets its fee back, its pay and half of it.
func TestWithheld(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers := w.real(p, 3)
	x := workers[0]
	before := w.account(x.person).Balance
	w.demand(p, x, 0)
	spent := before - w.account(x.person).Balance
	w.fails(ledger.CodeRefused, "before", x.person, ledger.KindDemand, &ledger.Demand{Audit: p.ref(), Auditor: public(x.node), Place: 0, Key: w.duty(p.person, ledger.TaskAnswer).Key})
	before = w.account(x.person).Balance
	w.until(p, 0)
	if n := w.node(p.person); n.Record.Failed != 1 || n.Bond != 500*ledger.Unit || n.Held != 0 {
		t.Errorf("the provider is %+v", n)
	}
	audit := ledger.DefaultParams().Audit
	if got, want := w.account(x.person).Balance, before+250*ledger.Unit+audit.Price+audit.DemandFee; got != want {
		t.Errorf("the auditor has %d, want %d (the demand cost %d)", got, want, spent)
	}
	for _, x := range workers {
		if n := w.node(x.person); n.Held != 0 || n.Record.Missed != 0 {
			t.Errorf("an auditor is %+v", n)
		}
	}
}

// TestDemandWithdrawn: an auditor that commits itself has what it asked for; the
// node does not lose for not answering any more.
func TestDemandWithdrawn(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers := w.real(p, 3)
	w.demand(p, workers[0], 0)
	for _, x := range workers {
		w.commit(p, x, computed(p, w.duty(x.person, ledger.TaskCommit)))
	}
	if d := w.duty(p.person, ledger.TaskAnswer); d != nil {
		t.Errorf("the provider is still to answer: %+v", d)
	}
	for _, x := range workers {
		w.reveal(p, x)
	}
	for range 200 {
		w.tick()
	}
	if n := w.node(p.person); n.Record.Passed != 1 || n.Bond != 1000*ledger.Unit || n.Held != 0 {
		t.Errorf("the provider is %+v", n)
	}
}

// TestAnswer: a demand is met by the receipt, its proof and a box that only the
// auditor opens; a box of rubbish is found out.
func TestAnswer(t *testing.T) {
	for _, rubbish := range []bool{false, true} {
		w, p, _ := newAudits(t, 2)
		workers := w.real(p, 3)
		x := workers[0]
		secret := w.demand(p, x, 0)
		d := w.duty(p.person, ledger.TaskAnswer)
		index := d.Indices[0]
		key, err := receipt.ParseAuditorKey(d.Key)
		if err != nil {
			t.Fatal(err)
		}
		r, o := p.receipts[index], p.openings[index]
		c := r.Claims()
		shown := o.Select(ledger.AuditParts(&c))
		if rubbish {
			shown = o.Select(receipt.PartPrompt)
		}
		box, err := receipt.Seal(shown, r.Hash(), key)
		if err != nil {
			t.Fatal(err)
		}
		answer := ledger.Answer{Audit: p.ref(), Auditor: public(x.node), Place: 0, Receipt: r.Bytes(), Proof: p.inclusion(t, 3, index), Box: &box}
		bad := answer
		bad.Box = nil
		w.fails(ledger.CodeRefused, "is missing", p.person, ledger.KindAnswer, &bad)
		bad = answer
		bad.Proof = bad.Proof[1:]
		w.fails(ledger.CodeRefused, "is not entry", p.person, ledger.KindAnswer, &bad)
		w.fails(ledger.CodeForbidden, "belongs to", x.person, ledger.KindAnswer, &answer)
		w.must(p.person, ledger.KindAnswer, &answer)
		w.fails(ledger.CodeNotFound, "no such demand", p.person, ledger.KindAnswer, &answer)
		text, err := secret.Text()
		if err != nil {
			t.Fatal(err)
		}
		garbled := &ledger.Garbled{Audit: p.ref(), Auditor: public(x.node), Place: 0, Receipt: r.Bytes(), Box: &box, Secret: text}
		if !rubbish {
			w.fails(ledger.CodeRefused, "opens the receipt", x.person, ledger.KindGarbled, garbled)
			for _, x := range workers {
				w.commit(p, x, computed(p, w.duty(x.person, ledger.TaskCommit)))
			}
			for _, x := range workers {
				w.reveal(p, x)
			}
			w.until(p, 0)
			if n := w.node(p.person); n.Record.Passed != 1 || n.Bond != 1000*ledger.Unit {
				t.Errorf("the provider is %+v", n)
			}
			continue
		}
		w.must(x.person, ledger.KindGarbled, garbled)
		if n := w.node(p.person); n.Record.Failed != 1 || n.Bond != 500*ledger.Unit || n.Held != 0 {
			t.Errorf("the provider is %+v", n)
		}
	}
}

// TestDraw: the receipts that are drawn are distinct, within the batch, and as
// likely each.
func TestDraw(t *testing.T) {
	seen := make([]int, 20)
	const draws = 4000
	for i := range draws {
		a := ledger.Audit{From: 100, Count: 5, Random: canon.Sum("aval test draw", binary.AppendUvarint(nil, uint64(i)))}
		list := a.Indices(120)
		if len(list) != 5 || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != 5 {
			t.Fatalf("drawn: %v", list)
		}
		for _, x := range list {
			seen[x-100]++
		}
	}
	// Each is drawn a quarter of the time: 1,000 of 4,000 with a standard
	// deviation of 27.4. Seven of them away is less likely than 3e-12 for each
	// of the twenty, and these draws are always the same.
	for i, n := range seen {
		if n < 1000-192 || n > 1000+192 {
			t.Errorf("entry %d was drawn %d times of %d", i, n, draws)
		}
	}
}

// TestOperators: of two nodes of one operator only one audits a batch, and none
// of the provider's own.
func TestOperators(t *testing.T) {
	w, p, all := newAudits(t, 1)
	for i, owner := range []*person{p.person, all[0], all[0]} {
		key := newPerson(100 + i).node
		proof := ledger.ProveBond(key, chain, ledger.RoleNode, owner.addr)
		w.must(owner, ledger.KindBond, &ledger.Bond{Key: public(key), Amount: 500 * ledger.Unit, Proof: proof})
		w.must(owner, ledger.KindAuditor, &ledger.SetAuditor{Key: public(key), On: true})
		w.fails(ledger.CodeRefused, "so already", owner, ledger.KindAuditor, &ledger.SetAuditor{Key: public(key), On: true})
	}
	p.fill(t, 40)
	w.must(p.person, ledger.KindBatch, p.batch(t, 0))
	w.until(p, ledger.PhaseCommit)
	parts := w.audit(p).Parts
	if len(parts) != 1 || parts[0].Operator != all[0].addr {
		t.Errorf("drawn: %+v", parts)
	}
}
