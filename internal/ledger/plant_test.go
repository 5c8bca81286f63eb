package ledger_test

import (
	"bytes"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/receipt"
)

// plant logs a planted receipt, promised by an account that is nobody's.
func (w *world) plant(p *provider) (r receipt.Receipt, salt []byte) {
	w.t.Helper()
	salt = bytes.Repeat([]byte{9}, 32)
	nonce := ledger.PlantNonce(salt, public(p.node))
	r = p.answer(w.t, nonce[:])
	w.must(p.person, ledger.KindPlant, &ledger.MakePlant{Commitment: ledger.PlantCommitment(r.Hash(), salt)})
	return r, salt
}

// planted is an audit of a batch of one planted receipt, of which each auditor
// says what it is told to, in the phase in which it is contested.
func (w *world) planted(p *provider, say func(i int, d *ledger.Duty) []ledger.Finding) ([]*worker, *ledger.Challenge) {
	w.t.Helper()
	r, salt := w.plant(p)
	w.must(p.person, ledger.KindBatch, p.batch(w.t, 0))
	w.until(p, ledger.PhaseCommit)
	workers := w.parts(p)
	for i, x := range workers {
		w.commit(p, x, say(i, w.duty(x.person, ledger.TaskCommit)))
	}
	for _, x := range workers {
		w.reveal(p, x)
	}
	w.until(p, ledger.PhaseSettle)
	return workers, &ledger.Challenge{Audit: p.ref(), Receipt: r.Bytes(), Proof: p.inclusion(w.t, 1, 0), Salt: salt}
}

// TestPlantFindsLazy: an auditor that called the planted receipt right without
// computing it cannot show its work; half of what it loses is the planter's.
func TestPlantFindsLazy(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers, contest := w.planted(p, func(i int, d *ledger.Duty) []ledger.Finding {
		if i == 0 {
			return []ledger.Finding{{Verdict: ledger.False, Digest: p.id(0)}}
		}
		return []ledger.Finding{{Verdict: ledger.Right, Digest: canon.Sum("aval test invented")}}
	})
	bad := *contest
	bad.Salt = bytes.Repeat([]byte{8}, 32)
	w.fails(ledger.CodeNotFound, "no such plant", p.person, ledger.KindContest, &bad)
	w.fails(ledger.CodeNotFound, "no such plant", workers[0].person, ledger.KindContest, contest)
	w.must(p.person, ledger.KindContest, contest)
	w.fails(ledger.CodeRefused, "contested already", p.person, ledger.KindContest, contest)
	if w.duty(workers[0].person, ledger.TaskAccuse) != nil {
		t.Error("whoever found the plant is still to accuse")
	}
	lazy := workers[1]
	if d := w.duty(lazy.person, ledger.TaskStand); d == nil {
		t.Error("the lazy auditor has nothing to stand by")
	}
	w.fails(ledger.CodeRefused, "not the work", lazy.person, ledger.KindStand, &ledger.MakeStand{Audit: p.ref(), Auditor: public(lazy.node), Layers: 4, Positions: 4})
	planter, finder := w.account(p.person).Balance, w.account(workers[0].person).Balance
	w.until(p, 0)
	if n := w.node(lazy.person); n.Bond != 500*ledger.Unit || n.Record.Missed != 1 || n.Held != 0 {
		t.Errorf("the lazy auditor is %+v", n)
	}
	audit := ledger.DefaultParams().Audit
	if got, want := w.account(p.person).Balance, planter+250*ledger.Unit+audit.Price; got != want { // what the other does not get of the fee comes back
		t.Errorf("the planter has %d, want %d", got, want)
	}
	if got, want := w.account(workers[0].person).Balance, finder+audit.PlantDeposit+audit.Price; got != want {
		t.Errorf("whoever found it has %d, want %d", got, want)
	}
	s := w.m.State()
	if !ledger.Planted(&s, p.id(0)) {
		t.Error("the receipt is not known as planted")
	}
}

// TestPlantOfRightReceipt: a node that plants a receipt that is right to catch
// auditors who worked pays them for standing by it.
func TestPlantOfRightReceipt(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	workers, contest := w.planted(p, func(_ int, d *ledger.Duty) []ledger.Finding { return computed(p, d) })
	w.must(p.person, ledger.KindContest, contest)
	var before []ledger.Amount
	for _, x := range workers {
		stand := &ledger.MakeStand{Audit: p.ref(), Auditor: public(x.node), Root: traceRoot(p.id(0)), Layers: 4, Positions: 4}
		w.must(x.person, ledger.KindStand, stand)
		w.fails(ledger.CodeNotFound, "nobody waits", x.person, ledger.KindStand, stand)
		before = append(before, w.account(x.person).Balance)
	}
	w.until(p, 0)
	audit := ledger.DefaultParams().Audit
	for i, x := range workers {
		if got, want := w.account(x.person).Balance, before[i]+audit.PlantDeposit/2+audit.Price; got != want {
			t.Errorf("auditor %d has %d, want %d", i, got, want)
		}
		if n := w.node(x.person); n.Bond != 1000*ledger.Unit || n.Record.Audits != 1 {
			t.Errorf("auditor %d is %+v", i, n)
		}
	}
}

// TestPlantRefuses: an answer that somebody asked for is no plant, nor one that
// was promised after its batch.
func TestPlantRefuses(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	salt := bytes.Repeat([]byte{9}, 32)
	asked := p.answer(t, []byte("a nonce of an asker"))
	w.must(p.person, ledger.KindPlant, &ledger.MakePlant{Commitment: ledger.PlantCommitment(asked.Hash(), salt)})
	w.fails(ledger.CodeRefused, "there is such", p.person, ledger.KindPlant, &ledger.MakePlant{Commitment: ledger.PlantCommitment(asked.Hash(), salt)})
	w.fails(ledger.CodeRefused, "somebody may have asked", p.person, ledger.KindLift, &ledger.Lift{Receipt: asked.Bytes(), Salt: salt})

	nonce := ledger.PlantNonce(salt, public(p.node))
	late := p.answer(t, nonce[:])
	w.must(p.person, ledger.KindBatch, p.batch(t, 0))
	w.must(p.person, ledger.KindPlant, &ledger.MakePlant{Commitment: ledger.PlantCommitment(late.Hash(), salt)})
	w.fails(ledger.CodeRefused, "is not over", p.person, ledger.KindLift, &ledger.Lift{Receipt: late.Bytes(), Salt: salt})
	w.until(p, ledger.PhaseCommit)
	for _, x := range w.parts(p) {
		w.commit(p, x, computed(p, w.duty(x.person, ledger.TaskCommit)))
	}
	for _, x := range w.parts(p) {
		x.findings = computed(p, w.duty(x.person, ledger.TaskReveal))
		w.reveal(p, x)
	}
	if i := w.audit(p).Indices(2)[0]; i == 1 {
		w.fails(ledger.CodeRefused, "its batch", p.person, ledger.KindContest, &ledger.Challenge{Audit: p.ref(), Receipt: late.Bytes(), Proof: p.inclusion(t, 2, 1), Salt: salt})
	} else {
		w.fails(ledger.CodeRefused, "is not entry", p.person, ledger.KindContest, &ledger.Challenge{Audit: p.ref(), Receipt: late.Bytes(), Proof: p.inclusion(t, 2, 1), Salt: salt})
	}
	w.until(p, 0)
	before := w.account(p.person).Balance
	res := w.must(p.person, ledger.KindLift, &ledger.Lift{Receipt: late.Bytes(), Salt: salt})
	if got, want := w.account(p.person).Balance, before-res.Fee+ledger.DefaultParams().Audit.PlantDeposit; got != want {
		t.Errorf("the planter has %d, want %d", got, want)
	}
	w.fails(ledger.CodeNotFound, "no such plant", p.person, ledger.KindLift, &ledger.Lift{Receipt: late.Bytes(), Salt: salt})
}

// TestPlantVoidsDisputes: whoever takes the planted receipt for a lie loses
// nothing when it is shown, and it convicts nobody.
func TestPlantVoidsDisputes(t *testing.T) {
	w, p, _ := newAudits(t, 3)
	workers, contest := w.planted(p, func(_ int, _ *ledger.Duty) []ledger.Finding {
		return []ledger.Finding{{Verdict: ledger.False, Digest: p.id(0)}}
	})
	x := workers[0]
	open := &ledger.OpenDispute{Receipt: contest.Receipt, Challenger: public(x.node)}
	before := w.account(x.person).Balance
	res := w.must(x.person, ledger.KindDispute, open)
	if n := w.node(p.person); n.Held != 2 {
		t.Fatalf("the planter is %+v", n)
	}
	w.must(p.person, ledger.KindContest, contest)
	if got := w.account(x.person).Balance; got != before-res.Fee {
		t.Errorf("the challenger has %d, want %d", got, before-res.Fee)
	}
	open.Nonce = 1
	w.fails(ledger.CodeRefused, "planted", x.person, ledger.KindDispute, open)
	w.until(p, 0)
	if n := w.node(p.person); n.Record.Failed != 0 || n.Bond != 1000*ledger.Unit || n.Held != 0 {
		t.Errorf("the planter is %+v", n)
	}
	for _, x := range workers {
		if n := w.node(x.person); n.Record.Audits != 1 || n.Bond != 1000*ledger.Unit {
			t.Errorf("an auditor is %+v", n)
		}
	}
}

// TestLiarConvicted: an auditor that finds a lie opens a dispute; the liar that
// cannot answer in it loses, and the auditor is paid.
func TestLiarConvicted(t *testing.T) {
	w, p, _ := newAudits(t, 3)
	workers := w.real(p, 1)
	x := workers[0]
	f := []ledger.Finding{{Verdict: ledger.False, Digest: p.id(0)}}
	d := w.duty(workers[1].person, ledger.TaskCommit)
	w.commit(p, x, f)
	w.commit(p, workers[1], computed(p, d))
	w.reveal(p, x)
	w.reveal(p, workers[1])
	size := p.log.Size()
	w.must(x.person, ledger.KindAccuse, &ledger.Accuse{Audit: p.ref(), Auditor: public(x.node), Proof: p.inclusion(t, size, 0)})
	r := p.receipts[0]
	run, err := dispute.NewRun(r)
	if err != nil {
		t.Fatal(err)
	}
	params := ledger.DefaultParams()
	terms := params.DisputeTerms(chain, x.addr, public(x.node), 0)
	game, err := dispute.NewChallenger(run, terms, x.node, nil)
	if err != nil {
		t.Fatal(err)
	}
	message, err := game.Move()
	if err != nil {
		t.Fatal(err)
	}
	w.must(x.person, ledger.KindDispute, &ledger.OpenDispute{Receipt: r.Bytes(), Challenger: public(x.node), Message: message})
	w.fast = true
	w.until(p, 0)
	w.sound()
	if n := w.node(p.person); n.Record.Failed != 1 || n.Record.Passed != 0 || n.Bond != 500*ledger.Unit || n.Held != 0 {
		t.Errorf("the liar is %+v", n)
	}
	if n := w.node(x.person); n.Record.Audits != 1 || n.Record.Slashed != 0 {
		t.Errorf("the auditor is %+v", n)
	}
}

// TestStandIsDisputed: an auditor that stands by an invented work can be drawn
// into a dispute as whoever signs a receipt, and loses it.
func TestStandIsDisputed(t *testing.T) {
	w, p, _ := newAudits(t, 2)
	root := canon.Sum("aval test invented trace")
	workers, contest := w.planted(p, func(_ int, d *ledger.Duty) []ledger.Finding {
		return []ledger.Finding{{Verdict: ledger.Right, Digest: ledger.WorkDigest(d.ID, 0, p.id(0), root, 4, 4)}}
	})
	w.must(p.person, ledger.KindContest, contest)
	x := workers[0]
	ref := &ledger.WorkRef{Audit: p.ref(), Auditor: public(x.node)}
	open := &ledger.OpenDispute{Receipt: contest.Receipt, Challenger: public(p.node), Work: ref}
	w.fails(ledger.CodeNotFound, "does not stand", p.person, ledger.KindDispute, open)
	for _, x := range workers {
		w.must(x.person, ledger.KindStand, &ledger.MakeStand{Audit: p.ref(), Auditor: public(x.node), Root: root, Layers: 4, Positions: 4})
	}
	r := p.receipts[0]
	digest := w.audit(p).Parts[0].Findings[0].Digest
	run, err := dispute.NewWork(r, public(x.node), digest)
	if err != nil {
		t.Fatal(err)
	}
	params := ledger.DefaultParams()
	game, err := dispute.NewChallenger(run, params.DisputeTerms(chain, p.addr, public(p.node), 0), p.node, nil)
	if err != nil {
		t.Fatal(err)
	}
	if open.Message, err = game.Move(); err != nil {
		t.Fatal(err)
	}
	w.must(p.person, ledger.KindDispute, open)
	w.fast = true
	before := w.account(workers[1].person).Balance
	w.until(p, 0)
	w.sound()
	if n := w.node(x.person); n.Bond != 500*ledger.Unit || n.Record.Failed != 1 || n.Record.Audits != 0 || n.Held != 0 {
		t.Errorf("the auditor that could not answer is %+v", n)
	}
	// Nobody took the other one to court.
	audit := params.Audit
	if got, want := w.account(workers[1].person).Balance, before+audit.PlantDeposit+audit.Price; got != want {
		t.Errorf("the other auditor has %d, want %d", got, want)
	}
	if n := w.node(p.person); n.Bond != 1000*ledger.Unit || n.Held != 0 {
		t.Errorf("the planter is %+v", n)
	}
}
