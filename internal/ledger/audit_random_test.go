package ledger_test

import (
	"bytes"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/receipt"
	"pgregory.net/rapid"
)

// TestRandomAudits lets auditors and providers do what they like, but for those
// who are honest: whatever the others do, every audit ends by free ticks alone,
// nobody stays bound, and no honest party loses of its bond. World.sound holds
// every state to its supply meanwhile.
func TestRandomAudits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, p, all := newAudits(t, 4)
		honestProvider := rapid.Bool().Draw(rt, "honest provider")
		g := &randomGame{world: w, rt: rt, p: p, honest: all[0], fair: honestProvider, said: map[string][]ledger.Finding{}, secrets: map[string]receipt.AuditorSecret{}}
		for range rapid.IntRange(1, 3).Draw(rt, "batches") {
			g.batch()
			for range rapid.IntRange(1, 12).Draw(rt, "rounds") {
				g.round()
			}
		}
		// From now on nobody does anything, but those who are honest.
		g.quiet, w.fast = true, true
		for i := 0; w.m.FreeTick() != nil; i++ {
			if i > 20_000 {
				rt.Fatal("an audit does not end")
			}
			g.round()
		}
		w.sound()
		for i, x := range w.people[1:] {
			if n := w.node(x); n.Held != 0 {
				rt.Fatalf("node %d is still bound: %+v", i, n)
			}
		}
		if n := w.node(g.honest); n.Record.Slashed != 0 {
			rt.Fatalf("the honest auditor lost: %+v", n)
		}
		if n := w.node(p.person); honestProvider && (n.Record.Slashed != 0 || n.Record.Failed != 0) {
			rt.Fatalf("the honest provider lost: %+v", n)
		}
		s := w.m.State()
		for k := range s.Ascend([]byte("k")) {
			rt.Fatalf("the audit %x is still there", k)
		}
		for k := range s.Ascend([]byte("b")) {
			rt.Fatalf("the demand %x is still there", k)
		}
	})
}

type randomGame struct {
	*world
	rt      *rapid.T
	p       *provider
	honest  *person // an auditor that does all its duties at once
	fair    bool    // the provider does its duties, too
	quiet   bool
	said    map[string][]ledger.Finding
	secrets map[string]receipt.AuditorSecret
}

func (g *randomGame) batch() {
	from := g.p.log.Size()
	for range rapid.IntRange(1, 30).Draw(g.rt, "receipts") {
		nonce := canon.Sum("aval test nonce", []byte{byte(g.p.log.Size())})
		g.p.answer(g.t, nonce[:])
	}
	g.tick(g.tx(g.p.person, 0, ledger.KindBatch, g.p.batch(g.t, from)))
}

// round lets everybody act once on the state after the last block.
func (g *randomGame) round() {
	s := g.m.State()
	var txs [][]byte
	for _, x := range g.people[1:] {
		sent := uint64(0)
		send := func(kind ledger.Kind, payload any) {
			txs = append(txs, g.tx(x, sent, kind, payload))
			sent++
		}
		dutiful := x == g.honest || g.fair && x == g.p.person
		for _, d := range ledger.Duties(&s, public(x.node)) {
			if dutiful || !g.quiet && rapid.Bool().Draw(g.rt, "does it") {
				g.act(x, &d, dutiful, send)
			}
		}
		if !dutiful && !g.quiet {
			g.mischief(x, send)
		}
	}
	g.tick(txs...)
}

func (g *randomGame) act(x *person, d *ledger.Duty, dutiful bool, send func(ledger.Kind, any)) {
	key := public(x.node)
	id := string(d.ID[:]) + string(key)
	switch d.Task {
	case ledger.TaskCommit:
		f := computed(g.p, d)
		if !dutiful {
			for i := range f {
				switch rapid.IntRange(0, 5).Draw(g.rt, "finding") {
				case 0:
					f[i].Digest = canon.Sum("aval test lie", []byte(id), []byte{byte(i)})
				case 1:
					f[i] = ledger.Finding{Verdict: ledger.False, Digest: g.p.id(d.Indices[i])}
				}
			}
		}
		g.said[id] = f
		send(ledger.KindCommit, &ledger.Commit{Audit: d.Audit, Auditor: key, Commitment: ledger.CommitmentOf(d.ID, key, workSalt, f)})
	case ledger.TaskReveal:
		send(ledger.KindReveal, &ledger.Reveal{Audit: d.Audit, Auditor: key, Salt: workSalt, Findings: g.said[id]})
	case ledger.TaskAccuse:
		send(ledger.KindAccuse, &ledger.Accuse{Audit: d.Audit, Auditor: key, Place: d.Places[0], Proof: g.p.inclusion(g.t, d.Audit.Size, d.Indices[0])})
	case ledger.TaskStand:
		for i, place := range d.Places {
			send(ledger.KindStand, &ledger.MakeStand{Audit: d.Audit, Auditor: key, Place: place, Root: traceRoot(g.p.id(d.Indices[i])), Layers: 4, Positions: 4})
		}
	case ledger.TaskAnswer:
		k, err := receipt.ParseAuditorKey(d.Key)
		if err != nil {
			g.rt.Fatal(err)
		}
		r, o := g.p.receipts[d.Indices[0]], g.p.openings[d.Indices[0]]
		box, err := receipt.Seal(o, r.Hash(), k)
		if err != nil {
			g.rt.Fatal(err)
		}
		send(ledger.KindAnswer, &ledger.Answer{Audit: d.Audit, Auditor: d.Auditors[0], Place: d.Places[0], Receipt: r.Bytes(), Proof: g.p.inclusion(g.t, d.Audit.Size, d.Indices[0]), Box: &box})
	}
}

// mischief is what no duty asks for.
func (g *randomGame) mischief(x *person, send func(ledger.Kind, any)) {
	s := g.m.State()
	for k, raw := range s.Ascend([]byte("k")) {
		_, v, err := ledger.Entry(k, raw)
		if err != nil {
			g.rt.Fatal(err)
		}
		a := v.(*ledger.Audit)
		ref := ledger.AuditRef{Node: bytes.Clone(k[1:33]), Size: uint64(k[39])<<8 | uint64(k[40])}
		switch rapid.IntRange(0, 8).Draw(g.rt, "mischief") {
		case 0:
			if a.Phase != ledger.PhaseCommit {
				continue
			}
			secret, err := receipt.NewAuditorSecret(false)
			if err != nil {
				g.rt.Fatal(err)
			}
			send(ledger.KindDemand, &ledger.Demand{Audit: ref, Auditor: public(x.node), Place: 0, Key: secret.Public().String()})
		case 1:
			if a.Phase != ledger.PhaseSettle {
				continue
			}
			index := a.Indices(ref.Size)[0]
			r := g.p.receipts[index]
			send(ledger.KindContest, &ledger.Challenge{Audit: ref, Receipt: r.Bytes(), Proof: g.p.inclusion(g.t, ref.Size, index)})
		case 2:
			send(ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(x.node)})
		case 3:
			send(ledger.KindAuditor, &ledger.SetAuditor{Key: public(x.node), On: rapid.Bool().Draw(g.rt, "on")})
		}
	}
}

// FuzzAudit gives the kinds of audits any content while one is going on.
func FuzzAudit(f *testing.F) {
	w, p, _ := newAudits(f, 2)
	r, salt := w.plant(p)
	ref := ledger.AuditRef{Node: public(p.node), Size: 1}
	auditor := public(w.people[2].node)
	finding := []ledger.Finding{{Verdict: ledger.False, Digest: r.Hash()}}
	for _, x := range []struct {
		kind    ledger.Kind
		payload any
	}{
		{ledger.KindAuditor, &ledger.SetAuditor{Key: auditor}},
		{ledger.KindBatch, p.batch(f, 0)},
		{ledger.KindCommit, &ledger.Commit{Audit: ref, Auditor: auditor}},
		{ledger.KindReveal, &ledger.Reveal{Audit: ref, Auditor: auditor, Salt: workSalt, Findings: finding}},
		{ledger.KindAccuse, &ledger.Accuse{Audit: ref, Auditor: auditor}},
		{ledger.KindDemand, &ledger.Demand{Audit: ref, Auditor: auditor}},
		{ledger.KindAnswer, &ledger.Answer{Audit: ref, Auditor: auditor, Receipt: r.Bytes(), Box: &receipt.Box{Suite: "aval-seal/1"}}},
		{ledger.KindGarbled, &ledger.Garbled{Audit: ref, Auditor: auditor, Receipt: r.Bytes(), Box: &receipt.Box{}}},
		{ledger.KindPlant, &ledger.MakePlant{Commitment: r.Hash()}},
		{ledger.KindContest, &ledger.Challenge{Audit: ref, Receipt: r.Bytes(), Salt: salt}},
		{ledger.KindStand, &ledger.MakeStand{Audit: ref, Auditor: auditor}},
		{ledger.KindLift, &ledger.Lift{Receipt: r.Bytes(), Salt: salt}},
	} {
		raw, err := canon.Marshal(x.payload)
		if err != nil {
			f.Fatal(err)
		}
		for phase := range uint8(4) {
			f.Add(uint16(x.kind), raw, phase, uint8(phase&1))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint16, content []byte, phase, who uint8) {
		if len(content) > ledger.MaxTx/2 {
			return
		}
		w, p, _ := newAudits(t, 2)
		w.plant(p)
		w.must(p.person, ledger.KindBatch, p.batch(t, 0))
		if phase%4 > 0 {
			w.until(p, ledger.PhaseCommit)
		}
		if phase%4 > 1 {
			for _, x := range w.parts(p) {
				w.commit(p, x, computed(p, w.duty(x.person, ledger.TaskCommit)))
			}
		}
		if phase%4 > 2 {
			for _, x := range w.parts(p) {
				x.findings = computed(p, w.duty(x.person, ledger.TaskReveal))
				w.reveal(p, x)
			}
		}
		x := w.people[1+int(who)%3]
		b := &ledger.Body{Chain: chain, Account: x.addr, Nonce: w.account(x).Nonce, MaxFee: 1_000_000, Kind: ledger.Kind(kind), Content: content}
		tx, err := b.Sign(x.policy, x.key)
		if err != nil {
			t.Fatal(err)
		}
		w.tick(tx)
		w.fast = true
		for range 1000 {
			w.tick()
		}
		w.sound()
		if w.m.FreeTick() != nil {
			t.Error("something does not end")
		}
	})
}
