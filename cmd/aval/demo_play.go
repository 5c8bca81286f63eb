package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/demo"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

// What is asked, and what the liar changes.
const (
	demoPrompt  = "It was a quiet evening in July, and the prince"
	demoLie     = "She looked at him in silence, and then"
	demoTokens  = 40
	demoTensor  = "blk.2.ffn_down.weight"
	demoPatient = 30 * time.Second // for what should take a moment
)

// demoRun is a demonstration.
type demoRun struct {
	*app
	o     *demoOptions
	began time.Time
	dir   string
	view  *demoView
	story demo.Story

	nodes   []*demoNode
	liar    *demoNode
	me      *demoNode // the user's key and folders
	user    *node.Node
	genesis []byte
	model   string // the liar's

	dead      map[*demoNode]bool
	lie       []byte // file of the receipt
	lieID     canon.Hash
	lieAt     time.Time
	proof     []byte
	entry     []byte // of the dispute, with its proof, as "aval ledger proof" prints it
	stopped   bool
	told      map[string]bool // what was told of the ledger
	challenge time.Time       // when the user last tried to dispute
}

// cast makes the seven.
func (d *demoRun) cast() {
	d.nodes = []*demoNode{
		{name: "validator 1", roles: []string{"validator"}},
		{name: "validator 2", roles: []string{"validator"}},
		{name: "validator 3", roles: []string{"validator", "auditor"}},
		{name: "validator 4", roles: []string{"validator", "provider"}, price: "3000/9000"},
		{name: "provider", roles: []string{"provider"}, price: "2000/8000"},
		{name: "auditor", roles: []string{"auditor"}},
		{name: "liar", roles: []string{"provider"}, price: "1000/4000", lies: true},
	}
	d.liar = d.nodes[len(d.nodes)-1]
	d.me = &demoNode{name: "you", roles: []string{"user"}}
	d.dead, d.told = map[*demoNode]bool{}, map[string]bool{}
}

// play plays it to its end. What happens to a node is part of the story; an error
// is what keeps the story from being told.
func (d *demoRun) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.o.limit)
	defer cancel()
	d.cast()
	d.story.Began, d.story.Version = d.began.Format("2 January 2006, 15:04:05"), buildVersion().Version
	err := d.acts(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.story.Ending, d.story.Why = demo.Unfinished, fmt.Sprintf("it was given up after %v", d.o.limit)
		d.step(demo.Mind, "time is over (--limit %v)", d.o.limit)
	case errors.Is(err, errNoLie):
		d.story.Ending = demo.NoLie
		d.step(demo.Mind, "the liar is gone before anybody has an answer of it: there is nothing to prove")
	case err != nil:
		return err
	}
	look, end := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer end()
	return d.collect(look)
}

// errNoLie says that the liar was gone before it lied.
var errNoLie = errors.New("the liar did not lie")

func (d *demoRun) acts(ctx context.Context) error {
	for _, act := range []func(context.Context) error{d.begin, d.meet, d.askHonest, d.askLiar, d.judgement} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin makes keys, the genesis, the liar's model, and starts the nodes.
func (d *demoRun) begin(ctx context.Context) error {
	all := append(slices.Clone(d.nodes), d.me)
	ports, err := demoPorts(len(d.nodes))
	if err != nil {
		return err
	}
	for i, n := range all {
		if err := n.prepare(d.app, filepath.Join(d.dir, fmt.Sprintf("%d", i+1))); err != nil {
			return err
		}
		if i < len(ports) {
			n.port = ports[i]
		}
	}
	g := demoGenesis(d.began, d.nodes, d.me.account)
	if d.genesis, err = g.Encode(); err != nil {
		return err
	}
	file := filepath.Join(d.dir, "genesis.json")
	if err := os.WriteFile(file, d.genesis, 0o600); err != nil {
		return err
	}
	for _, n := range all {
		d.story.Accounts = append(d.story.Accounts, demo.Account{Name: n.name, Key: n.account.String(), Before: 1_000*ledger.Unit + n.bond})
	}
	d.view.stage(1, "starting seven nodes")
	launch := func(n *demoNode, model string) error {
		if err := n.start(d.o.program, n.flags(d.nodes, file, model)); err != nil {
			return err
		}
		if d.o.started != nil {
			d.o.started(n.name, n.process)
		}
		return nil
	}
	for _, n := range d.nodes {
		if n == d.liar {
			continue
		}
		if err := launch(n, models.MiniName); err != nil {
			return err
		}
	}
	if d.model, err = d.liar.tamper(ctx, d.o.program, demoTensor); err != nil {
		return err
	}
	if err := launch(d.liar, d.model); err != nil {
		return err
	}
	d.step(demo.Plain, "seven nodes start on this machine: four validators, of which one answers and one audits, a provider, an auditor and a liar")
	d.step(demo.Plain, "the liar's model is tampered with: of %s, every number in half of the columns is zero now", demoTensor)
	// The user's own node is in this process: its cache of fingerprints, too, is to
	// be the demo's.
	for _, name := range []string{"HOME", "USERPROFILE", "LocalAppData", "XDG_CACHE_HOME"} {
		if err := os.Setenv(name, d.me.app.getenv(name)); err != nil {
			return err
		}
	}
	o := &upOptions{roles: []string{"user"}, rolesWereGiven: true, price: "0/0", genesis: file, ledgerPeers: ledgerPeers(d.nodes, d.me), batch: time.Minute}
	o.network, o.listen, o.quiet = "lan", []string{"/ip4/127.0.0.1/tcp/0"}, true
	if d.user, err = d.me.app.raise(ctx, o); err != nil {
		return fmt.Errorf("your own node: %w", err)
	}
	return nil
}

// deaths tells of nodes whose processes ended.
func (d *demoRun) deaths() {
	for i, n := range d.nodes {
		if n.process == nil || n.alive() || d.dead[n] {
			continue
		}
		d.dead[n] = true
		at := time.Since(d.began).Seconds()
		for len(d.story.Nodes) <= i {
			d.story.Nodes = append(d.story.Nodes, demo.Node{})
		}
		d.story.Nodes[i].Died = &at
		d.step(demo.Mind, "%s has ended: its process is gone", n.name)
	}
}

// until waits until something is so. It tells of deaths meanwhile.
func (d *demoRun) until(ctx context.Context, f func() bool) error {
	for {
		d.deaths()
		if f() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// soon is until, but goes on without it after some time.
func (d *demoRun) soon(ctx context.Context, wait time.Duration, f func() bool) error {
	end := time.Now().Add(wait)
	return d.until(ctx, func() bool { return f() || time.Now().After(end) })
}

// meet lets the nodes know one another, and waits until the ledger has what the
// story needs.
func (d *demoRun) meet(ctx context.Context) error {
	d.view.stage(2, "waiting for the first blocks")
	var group sync.WaitGroup
	for _, n := range d.nodes {
		group.Go(func() { _, _ = n.dial(ctx) }) // who does not come up is seen below
	}
	group.Wait()
	d.deaths()
	for _, n := range d.nodes {
		r, err := n.dial(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		for _, p := range d.nodes {
			if p != n && p.has("provider") && p.alive() {
				_ = r.Add(ctx, p.link) // it may be gone by now
			}
		}
		if n.has("provider") {
			_ = d.user.Add(ctx, n.link)
		}
	}
	height := func() uint64 {
		s, err := d.user.LedgerStatus(ctx)
		if err != nil || s.CatchingUp {
			return 0
		}
		return s.Height
	}
	if err := d.until(ctx, func() bool { return height() > 0 }); err != nil {
		return err
	}
	d.step(demo.Plain, "the ledger makes blocks: each counts when three of the four validators signed it")
	d.view.stage(3, "waiting for offers and bonds")
	ready := func() bool {
		offers, err := d.user.Market(ctx)
		if err != nil {
			return false
		}
		auditors := demoEntries[json.RawMessage](ctx, d, "auditor")
		for _, n := range d.nodes {
			offered := slices.ContainsFunc(offers, func(o node.Offered) bool { return o.Peer == n.id })
			_, audits := auditors[hex.EncodeToString(n.key)]
			if n.alive() && (n.has("provider") && !offered || n.has("auditor") && !audits) {
				return false
			}
		}
		return true
	}
	if err := d.soon(ctx, demoPatient, ready); err != nil {
		return err
	}
	offers, err := d.user.Market(ctx)
	if err != nil {
		return err
	}
	for _, o := range offers {
		n := d.by(func(n *demoNode) bool { return n.id == o.Peer })
		d.step(demo.Plain, "%s offers %s for %s units a million tokens written, and bonds %s units that it loses if it lies", n.name, o.Name, units(o.PriceOut), units(o.Bond))
	}
	return nil
}

// by finds a node.
func (d *demoRun) by(f func(*demoNode) bool) *demoNode {
	if i := slices.IndexFunc(d.nodes, f); i >= 0 {
		return d.nodes[i]
	}
	if f(d.me) {
		return d.me
	}
	return &demoNode{name: "somebody"}
}

// who is the name of a key.
func (d *demoRun) who(key []byte) string {
	return d.by(func(n *demoNode) bool { return bytes.Equal(n.key, key) }).name
}

// demoEntries reads a table of the ledger, by the rest of the key.
func demoEntries[T any](ctx context.Context, d *demoRun, table string) map[string]T {
	out := map[string]T{}
	list, err := d.user.LedgerEntries(ctx, node.EntriesRequest{Table: table})
	if err != nil {
		return out
	}
	for _, e := range list {
		data, err := json.Marshal(e.Value)
		var v T
		if err == nil && json.Unmarshal(data, &v) == nil {
			out[e.Key[2:]] = v
		}
	}
	return out
}

// ask asks a node, as "aval run peer://..." does.
func (d *demoRun) ask(ctx context.Context, n *demoNode, prompt, verify, path string) (q demo.Question, file []byte, err error) {
	if _, err := n.dial(ctx); err != nil {
		return q, nil, err
	}
	var out bytes.Buffer
	a := *d.me.app
	a.out = &out
	o := &runOptions{json: true, verify: verify}
	o.samplingOptions = demoSampling
	o.path, o.trace = path, true
	offer, err := d.offerOf(ctx, n)
	if err != nil {
		return q, nil, err
	}
	p := &peerRun{app: &a, o: o, at: peerModel{link: n.link, model: offer.Name, root: offer.Model}, n: d.user}
	p.buy = &purchase{o: &askOptions{noDispute: true, most: demoSpend, session: time.Hour}, n: d.user, offer: offer}
	if err := p.request(ctx); err != nil {
		return q, nil, err
	}
	p.ask(nil, prompt)
	err = p.run(ctx)
	var verdict *verdictError
	if err != nil && !errors.As(err, &verdict) {
		return q, nil, err
	}
	var j peerRunJSON
	if err := json.Unmarshal(out.Bytes(), &j); err != nil {
		return q, nil, err
	}
	if file, err = os.ReadFile(path); err != nil {
		return q, nil, err
	}
	q = demo.Question{To: n.name, Prompt: prompt, Answer: j.Text, Verdict: string(j.Verdict), Detail: j.Detail, Tokens: j.Tokens, Lie: n.lies}
	if j.Receipt != nil {
		q.Receipt = j.Receipt.ID
	}
	if j.Payment != nil {
		q.Paid, q.How = j.Payment.Cost, "as it came, from a session on the ledger"
	}
	q.Right, err = d.right(ctx, prompt, j.Seed)
	return q, file, err
}

var demoSampling = samplingOptions{
	temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, repeat: 1, repeatLastN: 64, seed: "0", maxTokens: demoTokens,
}

// right is what the true model gives, as "aval run" on this machine.
func (d *demoRun) right(ctx context.Context, prompt string, seed uint64) (string, error) {
	var out bytes.Buffer
	a := *d.me.app
	a.out = &out
	o := &runOptions{json: true, seeded: true, raw: true}
	o.privacy = string(issuer.Open)
	o.samplingOptions = demoSampling
	o.samplingOptions.seed = fmt.Sprint(seed)
	if err := a.run(ctx, o, models.MiniName, []string{prompt}); err != nil {
		return "", err
	}
	var j runJSON
	err := json.Unmarshal(out.Bytes(), &j)
	return j.Text, err
}

// askHonest asks one provider after the other until one answers, computes the
// answer again and pays for it.
func (d *demoRun) askHonest(ctx context.Context) error {
	d.view.stage(4, "asking a provider")
	for _, n := range []*demoNode{d.nodes[4], d.nodes[3]} {
		d.deaths()
		if !n.alive() {
			continue
		}
		d.step(demo.Plain, "you ask %s: “%s …”", n.name, demoPrompt)
		q, file, err := d.ask(ctx, n, demoPrompt, verifyFull, filepath.Join(d.dir, "answer.aval"))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(200 * time.Millisecond) // so that a death is seen first
			d.deaths()
			d.step(demo.Mind, "%s did not answer (%s): another is asked", n.name, clip(err.Error()))
			continue
		}
		if q.Verdict != string(receipt.Valid) {
			return fmt.Errorf("the answer of %s is %s: %s", n.name, q.Verdict, q.Detail)
		}
		d.step(demo.Good, "it answers, and signs for it. Your machine computes all %d tokens again: to the bit what the model gives", q.Tokens)
		d.step(demo.Good, "you paid %s units for it, a few tokens ahead as they came", units(q.Paid))
		d.story.Questions = append(d.story.Questions, q)
		return os.WriteFile(filepath.Join(d.dir, "honest.aval"), file, 0o600)
	}
	d.step(demo.Mind, "no honest provider is left: there is nobody to ask but the liar")
	return nil
}

// demoSpend is what a session with one node holds.
const demoSpend = 2 * ledger.Unit

// offerOf is what a node offers on the ledger.
func (d *demoRun) offerOf(ctx context.Context, n *demoNode) (node.Offered, error) {
	list, err := d.user.Market(ctx)
	if err != nil {
		return node.Offered{}, err
	}
	for _, x := range list {
		if x.Peer == n.link.Peer {
			return x, nil
		}
	}
	return node.Offered{}, fmt.Errorf("%s offers nothing", n.name)
}

// askLiar asks the liar, and believes it.
func (d *demoRun) askLiar(ctx context.Context) error {
	d.view.stage(5, "asking the cheapest one")
	d.deaths()
	if !d.liar.alive() {
		return errNoLie
	}
	d.step(demo.Plain, "you ask the cheapest offer, which is the liar's: “%s …”", demoLie)
	q, file, err := d.ask(ctx, d.liar, demoLie, verifyReceipt, filepath.Join(d.dir, "lie.aval"))
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d.soon(ctx, time.Second, func() bool { return !d.liar.alive() }) == nil && !d.liar.alive() {
			return errNoLie
		}
		return fmt.Errorf("asking the liar: %w", err)
	}
	f, err := receipt.ParseFile(file)
	if err != nil {
		return err
	}
	d.lie, d.lieID, d.lieAt = file, f.Receipt.Hash(), time.Now()
	d.story.Questions = append(d.story.Questions, q)
	d.step(demo.Plain, "it answers at once, and signs that the model gave this. This time you believe it, and compute nothing")
	return nil
}

// judgement watches the ledger until the liar is judged.
func (d *demoRun) judgement(ctx context.Context) error {
	d.view.stage(6, "waiting for an audit of the liar")
	return d.until(ctx, func() bool { return d.look(ctx) })
}

// look reads the ledger, tells what is new, and says whether the story is over.
func (d *demoRun) look(ctx context.Context) bool {
	d.lookAudits(ctx)
	open := false
	disputes := demoEntries[ledger.Dispute](ctx, d, "dispute")
	for _, id := range slices.Sorted(maps.Keys(disputes)) {
		x := disputes[id]
		r, err := receipt.Parse(x.Receipt)
		if err != nil || r.Hash() != d.lieID {
			continue
		}
		open = open || x.Judgment == nil
		if d.once("dispute " + id) {
			d.view.stage(7, "the game of the dispute")
			d.step(demo.Plain, "a dispute about the liar's receipt is on the ledger: %s bonded %s units for it", d.who(x.Challenger), units(x.Bond))
		}
		if x.Judgment == nil {
			if d.once(fmt.Sprintf("move %s %d", id, x.Moves)) && x.Moves > 0 {
				d.view.stage(7, "the dispute of %s: %d messages", d.who(x.Challenger), x.Moves)
			}
			continue
		}
		switch {
		case x.Judgment.Winner == dispute.ChallengerParty:
			d.ended(ctx, id, &x)
			return true
		case x.Judgment.Winner == 0: // another one was faster: a receipt convicts once
		case d.once("lost " + id):
			d.step(demo.Mind, "the dispute of %s was lost: %s", d.who(x.Challenger), x.Judgment.Reason)
		}
	}
	if n, ok := demoEntries[ledger.Node](ctx, d, "node")[hex.EncodeToString(d.liar.key)]; ok && n.Record.Slashed > 0 {
		d.story.Ending = demo.Silent
		d.step(demo.Bad, "the liar did not show what it signed: %s units of its bond are taken", units(n.Record.Slashed))
		return true
	}
	if !open {
		d.fallBack(ctx)
	}
	if s, err := d.user.LedgerStatus(ctx); err == nil && s.Halted != "" && d.once("halted "+s.Halted) {
		d.step(demo.Mind, "the ledger waits: %s", s.Halted)
	}
	return false
}

// once is true the first time that something is told.
func (d *demoRun) once(what string) bool {
	if d.told[what] {
		return false
	}
	d.told[what] = true
	return true
}

func (d *demoRun) lookAudits(ctx context.Context) {
	for key, x := range demoEntries[ledger.Audit](ctx, d, "audit") {
		raw, err := hex.DecodeString(key)
		if err != nil || len(raw) != 40 {
			continue
		}
		of := d.who(raw[:32])
		if d.once("batch " + key) {
			d.step(demo.Plain, "%s posts the root of its receipts: it answers for them now", of)
			d.story.Audits = append(d.story.Audits, demo.Audit{Of: of, Receipts: x.Count})
		}
		i := slices.IndexFunc(d.story.Audits, func(a demo.Audit) bool { return a.Of == of })
		if i < 0 || len(x.Parts) == 0 {
			continue
		}
		var names []string
		for _, p := range x.Parts {
			names = append(names, d.who(p.Key))
		}
		d.story.Audits[i].Auditors = names
		if d.once("draw " + key) {
			d.step(demo.Plain, "the beacon draws the audit of %s: %s compute its receipts again", of, sentence(names))
		}
		for _, p := range x.Parts {
			for _, f := range p.Findings {
				if !d.once(fmt.Sprintf("finding %s %x", key, p.Key)) {
					continue
				}
				d.story.Audits[i].Found = append(d.story.Audits[i].Found, f.Verdict == ledger.Right)
				if f.Verdict == ledger.False {
					d.step(demo.Bad, "%s says: the answer of %s is not what the model gives", d.who(p.Key), of)
				} else if f.Verdict == ledger.Right {
					d.step(demo.Good, "%s says: the answer of %s is right, to the bit", d.who(p.Key), of)
				}
			}
		}
	}
}

// sentence joins names.
func sentence(names []string) string {
	if len(names) < 2 {
		return fmt.Sprint(append(names, "")[0])
	}
	s := names[0]
	for _, n := range names[1 : len(names)-1] {
		s += ", " + n
	}
	return s + " and " + names[len(names)-1]
}

// How long the user waits for the auditors.
const (
	demoTrust = 25 * time.Second
	demoHaste = 6 * time.Second // if one of them has ended
	demoRetry = 3 * time.Second
)

// fallBack lets the user dispute, who has the model, too, if nobody else does.
func (d *demoRun) fallBack(ctx context.Context) {
	wait := demoTrust
	for n := range d.dead {
		if n.has("auditor") {
			wait = demoHaste
		}
	}
	if d.dead[d.liar] {
		wait = 0
	}
	if time.Since(d.lieAt) < wait || time.Since(d.challenge) < demoRetry {
		return
	}
	d.challenge = time.Now()
	_, err := d.user.Challenge(ctx, d.lie)
	switch {
	case err == nil && d.once("user disputes"):
		d.step(demo.Plain, "nobody has accused the liar: you compute its answer again yourself, find that it is false, and dispute it")
	case err != nil && ctx.Err() == nil && d.once("no dispute "+err.Error()):
		d.step(demo.Mind, "your dispute was not taken: %v", err)
	}
}

// ended keeps how the dispute ended.
func (d *demoRun) ended(ctx context.Context, id string, x *ledger.Dispute) {
	s := &demo.Dispute{
		ID: id, Challenger: d.who(x.Challenger), Prover: d.who(x.Prover), Opened: x.Opened, Ended: x.Judgment.Height, Reason: x.Judgment.Reason.String(),
		Taken: x.Judgment.Taken, Award: x.Judgment.Award, Burnt: x.Judgment.Burnt,
	}
	list, err := d.user.LedgerEntries(ctx, node.EntriesRequest{Prefix: demoMoves + id})
	if err == nil {
		for _, e := range list {
			data, err := json.Marshal(e.Value)
			var m ledger.Move
			if err != nil || json.Unmarshal(data, &m) != nil {
				continue
			}
			said, err := dispute.Look(m.Message)
			if err != nil {
				continue
			}
			by := s.Challenger
			if said.Party == dispute.ProverParty {
				by = s.Prover
			}
			s.Moves = append(s.Moves, demo.Move{Height: m.Height, By: by, What: saidWords(&said), Bytes: len(m.Message), Fee: m.Fee})
			if said.Proof != nil {
				d.proof, s.Proof = said.Proof, len(said.Proof)
			}
		}
	}
	d.story.Dispute = s
	if b, ok := ledger.Table("dispute"); ok {
		p, err := d.user.LedgerProof(ctx, hex.EncodeToString([]byte{b})+id)
		var out bytes.Buffer
		a := *d.me.app
		a.out = &out
		if err == nil && a.tellProof(hex.EncodeToString([]byte{b})+id, p) == nil {
			d.entry = out.Bytes()
		}
	}
	if x.Judgment.Reason == dispute.Fraud {
		d.story.Ending = demo.Proved
		f, err := dispute.JudgeFile(x.Receipt, d.proof)
		if err == nil {
			d.step(demo.Bad, "the dispute ends with message %d, a proof: %s", len(s.Moves), findingWords(f))
		} else {
			d.step(demo.Bad, "the dispute ends with message %d, a proof of fraud", len(s.Moves))
		}
	} else {
		d.story.Ending = demo.Silent
		d.step(demo.Bad, "the dispute ends: the liar did not move in time")
	}
	d.step(demo.Bad, "the liar loses %s units of its bond: %s go to %s, %s are burned", units(s.Taken), units(s.Award), s.Challenger, units(s.Burnt))
}

// demoMoves is the first byte of the keys of a dispute's messages.
var demoMoves = func() string { b, _ := ledger.Table("move"); return hex.EncodeToString([]byte{b}) }()

// saidWords tells a message of a game.
func saidWords(s *dispute.Said) string {
	switch {
	case s.Cell != nil:
		return "shall stand by " + s.Cell.String()
	case s.Part >= 0:
		return fmt.Sprintf("points at part %d of it", s.Part)
	case s.Nodes > 0:
		return fmt.Sprintf("%s: %d hashes", s.What, s.Nodes)
	}
	return s.What
}

// stop ends all nodes. It may be called twice.
func (d *demoRun) stop() {
	if d.stopped {
		return
	}
	d.stopped = true
	if d.user != nil {
		_ = d.user.Close()
	}
	var group sync.WaitGroup
	for _, n := range d.nodes {
		group.Go(n.stop)
	}
	group.Wait()
}
