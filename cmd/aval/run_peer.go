package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/receipt"
)

// How much of an answer of another device is checked.
const (
	verifyAuto    = "auto"    // the receipt, and the computation if this machine has the model
	verifyFull    = "full"    // computed again
	verifySampled = "sampled" // parts of it, which the peer shows
	verifyReceipt = "receipt" // the receipt alone
	verifyNone    = "none"    // nothing
)

// nonceBytes are those of a nonce that nobody gave.
const nonceBytes = 16

// peerModel is the model of a peer: peer://ID/MODEL?addr=ADDRESS. Without /MODEL it
// is the only one there.
type peerModel struct {
	link  node.Link
	model string
	root  receipt.Hash // of the model, if it is known
}

const peerScheme = "peer://"

func isPeerModel(s string) bool { return strings.HasPrefix(s, peerScheme) }

func parsePeerModel(s string) (peerModel, error) {
	path, query, has := strings.Cut(strings.TrimPrefix(s, peerScheme), "?")
	id, model, _ := strings.Cut(path, "/")
	if has {
		id += "?" + query
	}
	l, err := node.ParseLink(peerScheme + id)
	if err != nil {
		return peerModel{}, usageErrorf("%w; want peer://ID/MODEL?addr=ADDRESS, the link that \"aval net up\" prints there with the name of a model", err)
	}
	return peerModel{link: l, model: model}, nil
}

// peerAsker is the part of an asker that has to do with models elsewhere.
type peerAsker interface {
	Models(ctx context.Context, l node.Link) ([]remote.Model, error)
	Ask(ctx context.Context, in node.AskRequest, on func(remote.Delta)) (node.Asked, error)
	Open(ctx context.Context, in node.OpenRequest) ([]byte, error)
	Report(ctx context.Context, in node.ReportRequest) error
	Dispute(ctx context.Context, in node.DisputeRequest) (remote.Table, error)
}

// peerRun is a question to a model of another device.
type peerRun struct {
	*app
	o    *runOptions
	at   peerModel
	via  node.Link
	buy  *purchase // of "aval ask"; nil: nothing is paid
	n    peerAsker
	r    remote.Request
	last string // what was printed last
	// computed tells that the answer was computed again here.
	computed bool
	// following checks the answer while it comes; nil: it is not checked so.
	following *following
	start     *remote.Start // nil: nothing has come
	ids       []int32       // heard so far
	text      strings.Builder
	said      string       // the whole answer
	offered   remote.Model // as the peer describes it; nothing through a relay
	kept      *keptModel   // of a chat, for the next answer
}

// runPeer is "aval run" with the model of another device.
func (a *app) runPeer(ctx context.Context, c *cobra.Command, o *runOptions, arg string, words []string) error {
	at, err := parsePeerModel(arg)
	if err != nil {
		return err
	}
	p := &peerRun{app: a, o: o, at: at}
	if err := p.options(c); err != nil {
		return err
	}
	interactive := len(words) == 0 && a.inTerminal
	text := ""
	switch {
	case !interactive:
		if text, err = a.promptText(ctx, words); err != nil {
			return err
		}
	case o.json || o.path != "" || o.nonce != "":
		return usageErrorf("--json, --receipt and --nonce need a PROMPT, or a prompt on standard input: a chat has many answers, each with a nonce of its own")
	}
	joined, _, err := a.join(ctx, c, &o.netOptions)
	if err != nil {
		return err
	}
	defer joined.Close()
	p.n = joined
	if err := p.request(ctx); err != nil {
		return err
	}
	said := &conversation{app: a, options: o}
	said.setSystem(o.system)
	if interactive {
		return p.chat(ctx, said)
	}
	p.ask(said.messages, text)
	return p.run(ctx)
}

// options refuses flags that mean nothing elsewhere.
func (p *peerRun) options(c *cobra.Command) error {
	for _, name := range []string{"lora", "logit-bias", "ignore-eos", "context", "beacon", "privacy", "seal"} {
		if f := c.Flags().Lookup(name); f != nil && f.Changed {
			return usageErrorf("--%s means nothing for a model of another device", name)
		}
	}
	switch p.o.verify {
	case verifyAuto, verifyFull, verifySampled, verifyReceipt:
	case verifyNone:
		if p.o.path != "" || p.o.nonce != "" || p.o.trace {
			return usageErrorf("--verify none asks for no receipt; it does not go with --receipt, --nonce and --trace")
		}
	default:
		return usageErrorf("--verify %q: want auto, full, sampled, receipt or none", clip(p.o.verify))
	}
	if p.o.nonce != "" && p.o.seeded {
		return usageErrorf("--seed and --nonce exclude each other: the seed follows from the nonce")
	}
	if p.o.via == "" {
		return nil
	}
	if p.o.report {
		return usageErrorf("--via and --report exclude each other: everybody would read who asked")
	}
	if p.o.verify == verifySampled {
		return usageErrorf("--via and --verify sampled exclude each other: the peer would be asked directly")
	}
	var err error
	p.via, err = link(p.o.via)
	return err
}

// request makes what all questions have in common.
func (p *peerRun) request(ctx context.Context) error {
	e, err := p.o.request(ctx)
	if err != nil {
		return err
	}
	p.r = remote.Request{
		Model: p.at.model, Params: e.Params, MaxTokens: e.MaxTokens, Stop: e.Stop, Grammar: e.Grammar,
		Receipt: p.o.verify != verifyNone, Trace: p.o.trace || p.o.verify == verifySampled, Date: p.o.date, NoThink: p.o.noThink,
	}
	if p.via.Peer.IsZero() { // through a relay the peer is not asked what it has: it would see who wants to know
		m, err := p.model(ctx)
		if err != nil {
			return err
		}
		p.r.Model, p.r.Root = m.Name, p.at.root
		if p.r.Receipt && !m.Receipts {
			return fmt.Errorf("%s gives no receipts there: --verify none asks without", m.Name)
		}
		if p.offered = m; !m.Chat && !p.o.raw {
			p.o.raw = true
			p.note("aval: %s has no chat template; the prompt is given to it as it is", m.Name)
		}
	}
	if p.o.nonce != "" {
		seed, err := parseNonce(p.o.nonce)
		if err != nil {
			return err
		}
		p.r.Nonce = seed.Nonce
	}
	return nil
}

// ask makes the question of a text, after what was said before.
func (p *peerRun) ask(before []chat.Message, text string) {
	if p.r.Text, p.r.Messages = text, nil; !p.o.raw {
		p.r.Text, p.r.Messages = "", append(before[:len(before):len(before)], chat.Message{Role: "user", Content: text})
	}
	if p.o.nonce == "" && p.r.Receipt && !p.o.seeded {
		p.r.Nonce = make([]byte, nonceBytes)
		_, _ = rand.Read(p.r.Nonce) // never fails
	}
}

// chat talks with the model. Each question has the whole conversation, and each
// answer is checked; a false one is not remembered.
func (p *peerRun) chat(ctx context.Context, c *conversation) error {
	p.kept = &keptModel{}
	defer p.kept.close()
	lied := false
	p.replyIn(c, &lied)
	name := p.offered.Name
	if name == "" { // a relay hides who wants to know
		name = p.at.model
	}
	err := c.chat(ctx, fmt.Sprintf("%s at %s", name, p.at.link.Peer.Short()), p.offered.Context)
	if err == nil && lied {
		err = &verdictError{exitInvalid, nil}
	}
	return err
}

// model is the one that is meant, as the peer describes it.
func (p *peerRun) model(ctx context.Context) (remote.Model, error) {
	list, err := p.n.Models(ctx, p.at.link)
	if err != nil {
		return remote.Model{}, err
	}
	var names []string
	var alike []remote.Model // but for the tag
	for _, m := range list {
		if !p.at.root.IsZero() {
			if m.Root == p.at.root {
				return m, nil
			}
			continue
		}
		if m.Name == p.at.model || p.at.model == "" && len(list) == 1 {
			return m, nil
		}
		if base, _, _ := strings.Cut(m.Name, ":"); base == p.at.model {
			alike = append(alike, m)
		}
		names = append(names, m.Name)
	}
	switch {
	case !p.at.root.IsZero():
		return remote.Model{}, fmt.Errorf("peer %s does not have the model %s for you now", p.at.link.Peer.Short(), p.at.root)
	case len(alike) == 1:
		return alike[0], nil
	case len(list) == 0:
		return remote.Model{}, fmt.Errorf("peer %s lets this device ask none of its models: its owner can, with \"aval access grant\" and your ID (\"aval net id\")", p.at.link.Peer)
	case p.at.model == "":
		return remote.Model{}, usageErrorf("peer %s has several models: name one of %s behind its ID", p.at.link.Peer.Short(), quoteLine(strings.Join(names, ", ")))
	}
	return remote.Model{}, fmt.Errorf("peer %s has no model %q for you; it has %s", p.at.link.Peer.Short(), clip(p.at.model), quoteLine(strings.Join(names, ", ")))
}

// replyIn makes the model answer in a conversation; lied tells that an answer was
// false.
func (p *peerRun) replyIn(c *conversation, lied *bool) {
	c.reply = func(ctx context.Context, text string) (string, bool, error) {
		q := *p
		q.ask(c.messages, text)
		err := q.run(ctx)
		var verdict *verdictError
		switch {
		case errors.As(err, &verdict):
			*lied = *lied || verdict.code == exitInvalid
			return q.said, verdict.code != exitInvalid, nil
		case gone(err) || ctx.Err() != nil:
			return "", false, context.Canceled
		case err != nil: // the next question may fare better
			p.fail(err)
			return "", false, nil
		}
		return q.said, true, nil
	}
}

// peerRunJSON is what "aval run --json" prints of an answer from elsewhere.
type peerRunJSON struct {
	runJSON
	Peer    string          `json:"peer"`
	Verdict receipt.Verdict `json:"verdict,omitempty"` // of the receipt, with what was computed again here
	Checked string          `json:"checked"`           // how
	Detail  string          `json:"detail,omitempty"`  // why it is not valid
	// False is the first token that is not the model's, if one was found while the
	// answer came. Without a receipt, stop is then "", as the answer was given up.
	False *falseTokenJSON `json:"false_token,omitempty"`
	// Of "aval ask": what was paid, the dispute about a false answer, and what came
	// of asking others before.
	Payment *node.Payment `json:"payment,omitempty"`
	Dispute string        `json:"dispute,omitempty"`
	Tried   []triedJSON   `json:"tried,omitempty"`
}

// keeps tells that the receipt of an answer is wanted even if it is false.
func (p *peerRun) keeps() bool { return p.o.path != "" || p.buy.disputes() }

// hear has the answer come, shows it and follows it. A token that is false ends
// the answer, unless its receipt is to be kept: signed, it shows the lie to others.
func (p *peerRun) hear(ctx context.Context) (out node.Asked, err error) {
	data, err := p.r.MarshalBinary()
	if err != nil {
		return out, err
	}
	asking, enough := context.WithCancel(ctx)
	defer enough()
	lied := func() {
		if !p.keeps() {
			enough()
		}
	}
	in := node.AskRequest{Link: p.at.link, Via: p.via, Request: data}
	if in.Session, err = p.buy.session(ctx, p); err != nil {
		return out, err
	}
	told := false // that a token is false
	out, err = p.n.Ask(asking, in, func(d remote.Delta) {
		if d.Start != nil {
			if p.start = d.Start; p.r.Receipt && (p.o.verify == verifyAuto || p.o.verify == verifyFull) {
				p.following = p.follow(ctx, d.Start, lied)
			}
		}
		p.ids = append(p.ids, d.IDs...)
		p.text.WriteString(d.Text)
		if p.following != nil && !told {
			p.following.tell(d.IDs, false)
			if told = p.following.false.Load() != nil; told && p.keeps() {
				p.endLine()
				p.note("aval: do not believe this answer: %s; the rest is read for the receipt", p.following.why())
			}
		}
		if !p.o.json && d.Text != "" && !told {
			p.last = d.Text
			_, _ = io.WriteString(p.out, d.Text)
		}
	})
	if !told {
		p.endLine()
	}
	return out, err
}

// endLine ends the line of the answer that was shown.
func (p *peerRun) endLine() {
	if !p.o.json && p.last != "" && !strings.HasSuffix(p.last, "\n") {
		fmt.Fprintln(p.out)
	}
}

// run asks, checks what comes, and tells.
func (p *peerRun) run(ctx context.Context) error {
	j, err := p.answer(ctx)
	if j != nil && p.o.json {
		if err := p.printRow(j); err != nil {
			return err
		}
	}
	return err
}

// answer asks, and checks what comes; nil: there is nothing to tell of it.
func (p *peerRun) answer(ctx context.Context) (*peerRunJSON, error) {
	out, err := p.hear(ctx)
	p.said = out.Text
	if p.following != nil {
		defer p.following.close()
	}
	if err != nil && ctx.Err() == nil && p.following != nil && p.following.false.Load() != nil {
		return p.givenUp(ctx)
	}
	if err != nil {
		p.report(ctx, &out, directory.Outcome{Failed: true})
		return nil, err
	}
	if p.o.verbose {
		p.note("first token after %.2f s · answer %d tokens in %.2f s · stop: %s", out.First.Seconds(), len(out.IDs), out.Took.Seconds(), out.Stop)
	}
	j := &peerRunJSON{Peer: p.at.link.Peer.String(), Checked: p.o.verify, Payment: out.Payment, runJSON: runJSON{
		Model: out.Model.Name, PromptIDs: out.PromptIDs, IDs: notNil(out.IDs), Text: out.Text, Stop: out.Stop, StopText: out.StopText,
		PromptTokens: len(out.PromptIDs), Tokens: len(out.IDs), Seed: p.r.Params.Seed,
		Timings: timingsJSON{PromptSeconds: out.First.Seconds(), DecodeSeconds: (out.Took - out.First).Seconds()},
	}}
	var end error
	if out.Lie != "" {
		j.Verdict, j.Detail = receipt.Invalid, out.Lie
		p.note("aval: do not believe this answer: %s", out.Lie)
		end = &verdictError{exitInvalid, nil}
	} else if p.r.Receipt {
		end = p.judge(ctx, &out, j)
		var verdict *verdictError
		if end != nil && !errors.As(end, &verdict) {
			return nil, end
		}
	}
	p.report(ctx, &out, directory.Outcome{
		Latency: out.First, False: j.Verdict == receipt.Invalid, Verified: j.Verdict == receipt.Valid && p.computed,
	})
	p.buy.end(ctx, p, &out, j)
	return j, end
}

// givenUp tells that the answer was ended because it is false.
func (p *peerRun) givenUp(ctx context.Context) (*peerRunJSON, error) {
	why := p.following.why()
	p.note("aval: do not believe this answer: %s. It was given up there", why)
	p.report(ctx, &node.Asked{Model: p.start.Model}, directory.Outcome{False: true})
	j := &peerRunJSON{
		Peer: p.at.link.Peer.String(), Checked: p.o.verify, Verdict: receipt.Invalid, Detail: why, False: p.following.falseToken(),
		runJSON: runJSON{
			Model: p.start.Model.Name, PromptIDs: p.start.PromptIDs, IDs: notNil(p.ids), Text: p.text.String(),
			PromptTokens: len(p.start.PromptIDs), Tokens: len(p.ids), Seed: p.r.Params.Seed,
		},
	}
	if err := p.seed(p.start.PromptIDs, j); err != nil {
		return nil, err
	}
	return j, &verdictError{exitInvalid, nil}
}

// seed tells the seed that the answer was drawn with.
func (p *peerRun) seed(prompt []int32, j *peerRunJSON) error {
	seed, err := p.r.Seed()
	if err == nil {
		j.Seed = seed.Derive(prompt)
	}
	return err
}

// report tells other devices how it went, if the person wants that.
func (p *peerRun) report(ctx context.Context, out *node.Asked, o directory.Outcome) {
	if !p.o.report || out.Model.Root.IsZero() {
		return
	}
	if err := p.n.Report(ctx, node.ReportRequest{Peer: p.at.link.Peer, Root: out.Model.Root, Outcome: o}); err != nil {
		p.note("aval: how it went could not be noted: %v", err)
	}
}

// judge writes the receipt down and computes the answer again, as far as that is
// wanted and possible.
func (p *peerRun) judge(ctx context.Context, out *node.Asked, j *peerRunJSON) error {
	f, err := receipt.ParseFile(out.Receipt)
	if err != nil {
		return err
	}
	if err := p.seed(out.PromptIDs, j); err != nil {
		return err
	}
	id := f.Receipt.Hash().String()
	if p.o.path != "" {
		if err := writeFile(p.o.path, out.Receipt, 0o600); err != nil {
			return fmt.Errorf("the receipt: %w", err)
		}
		j.Receipt = &runReceiptJSON{ID: id, Path: p.o.path, Ticket: hex.EncodeToString(out.Ticket), KeptSeconds: int(out.Kept / time.Second)}
		p.note("receipt %s… in %s", id[:16], p.o.path)
	}
	vo := &verifyOptions{modelOptions: p.o.modelOptions}
	opt := receipt.Options{Now: time.Now(), Expect: receipt.Expect{Nonce: p.r.Nonce, Key: p.at.link.Peer.Public()}}
	v := &verification{file: f, checks: f.Check(opt)}
	if p.o.verify == verifySampled {
		vo.ask = func(ctx context.Context, ch *audit.Challenge) ([]byte, error) {
			body, err := ch.Encode()
			if err != nil {
				return nil, err
			}
			return p.n.Open(ctx, node.OpenRequest{Link: p.at.link, Receipt: f.Receipt.Hash(), Ticket: out.Ticket, Challenge: body})
		}
	}
	if p.o.verify != verifyReceipt {
		if err := p.again(ctx, vo, opt, v); err != nil {
			return err
		}
	}
	j.Verdict, p.computed = v.verdict(vo), v.model != ""
	switch {
	case j.Verdict == receipt.Invalid:
		if failed := v.checks.Failed(); failed != nil {
			j.Detail = failed.Name + ": " + failed.Detail
		}
		if p.following != nil && p.following.false.Load() != nil {
			j.Detail, j.False = p.following.why(), p.following.falseToken()
		}
		p.note("aval: do not believe this answer: %s", j.Detail)
		if p.computed && p.o.path != "" && p.via.Peer.IsZero() {
			p.note("a proof of it for others: aval dispute play %s --peer '%s' -o PROOF (within %d minutes)", p.o.path, p.at.link, int(out.Kept.Minutes()))
		}
		return &verdictError{exitInvalid, nil}
	case j.Verdict == receipt.Valid && v.model != "":
		p.note("checked: %s gives this answer, computed again here with %s", out.Model.Name, v.model)
	case p.o.verify == verifyFull || p.o.verify == verifySampled:
		j.Verdict = receipt.Unverified
		p.note("aval: signed by %s, but not computed again: this machine does not know the model %s", p.at.link.Peer.Short(), f.Receipt.Claims().Model)
		return &verdictError{exitUnverified, nil}
	default:
		p.note("signed by %s for this prompt and nonce; not computed again here (\"aval verify\" does, with the model)", p.at.link.Peer.Short())
	}
	return nil
}

// again is what computing the answer again gives: of following it, or from now on.
func (p *peerRun) again(ctx context.Context, vo *verifyOptions, opt receipt.Options, v *verification) error {
	if p.following != nil {
		switch r, ok, err := p.following.report(ctx, v.file, opt); {
		case err != nil:
			return err
		case ok:
			v.checks, v.model = r, p.following.name
			return nil
		}
	}
	return p.compute(ctx, vo, opt, v)
}

// compute computes the answer again, if this machine has the model.
func (p *peerRun) compute(ctx context.Context, vo *verifyOptions, opt receipt.Options, v *verification) error {
	err := p.app.compute(ctx, vo, opt, v)
	if err == nil || errors.Is(err, context.Canceled) || p.o.verify != verifyAuto {
		return err
	}
	p.note("aval: not computed again: %v", err)
	return nil
}
