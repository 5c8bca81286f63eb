package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/web"
	"github.com/avalnetwork/aval/receipt"
)

// localTarget begins the names of this device's models.
const localTarget = "local:"

// Targets lists what can be asked.
func (c *console) Targets(ctx context.Context) ([]web.Target, error) {
	list, err := c.host.Models(ctx)
	if err != nil {
		return nil, err
	}
	var out []web.Target
	for _, m := range list {
		talks := false
		if d, err := c.host.Describe(ctx, m.Name); err == nil {
			talks = d.Template != ""
		}
		out = append(out, web.Target{ID: localTarget + m.Name, Name: m.Name, Detail: m.Architecture, Talks: talks, Receipts: true})
	}
	return append(out, c.models.targets(ctx)...), nil
}

// params are how tokens are chosen: as "aval run" does unless told otherwise.
func params(q web.Question) sample.Params {
	return sample.Params{Temperature: q.Temperature, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1, RepeatLastN: 64}
}

// Ask has a model answer, of this device or of another one.
func (c *console) Ask(ctx context.Context, q web.Question, on func(web.Step) error) (*web.Answer, error) {
	var messages []chat.Message
	for _, m := range q.Messages {
		messages = append(messages, chat.Message{Role: m.Role, Content: m.Content})
	}
	last := q.Messages[len(q.Messages)-1].Content
	if name, ok := strings.CutPrefix(q.Target, localTarget); ok {
		return c.askHere(ctx, name, q, messages, last, on)
	}
	if isPeerModel(q.Target) {
		return c.askPeer(ctx, q, messages, last, on)
	}
	return nil, fmt.Errorf("%w: %q", errNoModel, clip(q.Target))
}

// askHere asks a model of this device.
func (c *console) askHere(ctx context.Context, name string, q web.Question, messages []chat.Message, last string, on func(web.Step) error) (*web.Answer, error) {
	if err := on(web.Step{Phase: web.Loading}); err != nil {
		return nil, err
	}
	begin := time.Now()
	opened, err := c.host.Open(ctx, name, httpapi.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	m := opened.(*lease)
	a := &web.Answer{Target: web.Target{ID: q.Target, Name: name, Talks: m.HasTemplate(), Receipts: true}, Question: last, Nonce: fresh()}
	r := engine.Request{Params: params(q), MaxTokens: q.MaxTokens}
	var prompt issuer.Prompt
	if a.Target.Talks {
		in := chat.Input{Messages: messages, AddGenerationPrompt: true}
		if r.Prompt, err = m.Render(in); err == nil {
			prompt.Source, err = issuer.Chat(in)
		}
	} else {
		prompt.Source = issuer.Text(last, true)
		r.Prompt, err = m.Tokenize(last, true)
	}
	if err != nil {
		return nil, err
	}
	if most := trainedFor(m.Config().Context, m.Context(), len(r.Prompt)); most > 0 && (r.MaxTokens == 0 || r.MaxTokens > most) {
		r.MaxTokens = most
	}
	seed, err := issuer.Nonce(a.Nonce)
	if err != nil {
		return nil, err
	}
	draft, err := m.Issuer().Begin(&r, prompt, issuer.Options{Seed: seed})
	if err != nil {
		return nil, err
	}
	if err := on(web.Step{Phase: web.Writing}); err != nil {
		return nil, err
	}
	res, err := m.Generate(ctx, r, func(e engine.Event) error {
		if a.First == 0 {
			a.First = time.Since(begin)
		}
		if e.Text == "" {
			return nil
		}
		return on(web.Step{Text: e.Text})
	})
	if err != nil {
		return nil, err
	}
	if res.Stop == engine.StopCancelled {
		return nil, context.Canceled
	}
	a.Text, a.Tokens, a.Took = res.Text, len(res.IDs), time.Since(begin)
	draft.Finish(res)
	if err := on(web.Step{Phase: web.Signing}); err != nil {
		return nil, err
	}
	if a.File, err = draft.File(ctx); err != nil {
		return nil, fmt.Errorf("the receipt: %w", err)
	}
	if a.Data, err = a.File.Marshal(); err != nil {
		return nil, err
	}
	a.Checks = a.File.Check(c.expected(a))
	return a, nil
}

// expected is what the receipt of an answer must say.
func (c *console) expected(a *web.Answer) receipt.Options {
	opt := receipt.Options{Now: time.Now()}
	if len(a.Nonce) == 0 { // a file that was handed in
		return opt
	}
	signer := c.self
	if a.Target.Peer != "" {
		p, err := peer.Parse(a.Target.Peer)
		if err != nil {
			return opt
		}
		signer = p
	}
	opt.Expect = receipt.Expect{Nonce: a.Nonce, Key: signer.Public()}
	return opt
}

// Check computes an answer again.
func (c *console) Check(ctx context.Context, a *web.Answer) (web.Result, error) {
	return c.compute(ctx, a.Result, c.expected(a)), ctx.Err()
}

// askPeer asks a model of another device and checks the answer while it comes.
func (c *console) askPeer(ctx context.Context, q web.Question, messages []chat.Message, last string, on func(web.Step) error) (*web.Answer, error) {
	at, err := parsePeerModel(q.Target)
	if err != nil {
		return nil, err
	}
	if err := on(web.Step{Phase: web.Asking}); err != nil {
		return nil, err
	}
	p := &peerRun{app: c.app, o: &runOptions{verify: verifyAuto}, at: at, n: c.node}
	known, ok := c.models.model(q.Target)
	if !ok {
		if known, err = p.model(ctx); err != nil {
			return nil, err
		}
	}
	p.offered = known
	a := &web.Answer{
		Target:   web.Target{ID: q.Target, Name: known.Name, Peer: at.link.Peer.String(), Short: at.link.Peer.Short(), Talks: known.Chat, Receipts: known.Receipts},
		Question: last,
	}
	p.r = remote.Request{Model: known.Name, Params: params(q), MaxTokens: q.MaxTokens, Receipt: known.Receipts, Trace: known.Receipts}
	if known.MaxTokens > 0 {
		p.r.MaxTokens = min(p.r.MaxTokens, known.MaxTokens)
	}
	if known.Chat {
		p.r.Messages = messages
	} else {
		p.r.Text = last
	}
	if known.Receipts {
		a.Nonce = fresh()
		p.r.Nonce = a.Nonce
	}
	data, err := p.r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	asking, giveUp := context.WithCancel(ctx)
	defer giveUp()
	told := false
	out, err := c.node.Ask(asking, node.AskRequest{Link: at.link, Request: data}, func(d remote.Delta) {
		st := web.Step{Text: d.Text}
		if d.Start != nil {
			st.Phase = web.Writing
			if p.start = d.Start; known.Receipts && q.Compute {
				p.following = p.follow(ctx, d.Start, func() {}) // the rest is read for the receipt, which shows the lie
			}
		}
		if f := p.following; f != nil {
			f.tell(d.IDs, false)
			st.Checked = int(f.checked.Load())
			if !told && f.false.Load() != nil {
				told, st.False = true, true
			}
		}
		if on(st) != nil {
			giveUp()
		}
	})
	if p.following != nil {
		defer p.following.close()
	}
	a.Text, a.Tokens, a.First, a.Took, a.Ticket = out.Text, len(out.IDs), out.First, out.Took, out.Ticket
	a.DisputeUntil = time.Now().Add(out.Kept)
	wrong := func() bool { return p.following != nil && p.following.false.Load() != nil }
	switch {
	case err != nil && ctx.Err() == nil && wrong():
		a.Lie = p.following.why()
		return a, nil
	case err != nil:
		return nil, err
	case out.Lie != "":
		a.Lie = out.Lie
	}
	if len(out.Receipt) == 0 {
		return a, nil
	}
	if a.File, err = receipt.ParseFile(out.Receipt); err != nil {
		if a.Lie == "" {
			a.Lie = err.Error()
		}
		return a, nil
	}
	a.Data = out.Receipt
	opt := c.expected(a)
	a.Checks = a.File.Check(opt)
	if q.Compute && a.Lie == "" {
		if err := c.finish(ctx, p, a, opt, on); err != nil {
			return nil, err
		}
	}
	if wrong() {
		a.Lie = p.following.why()
	}
	return a, nil
}

// finish waits until an answer that was followed is computed to its end, or
// computes it as a whole.
func (c *console) finish(ctx context.Context, p *peerRun, a *web.Answer, opt receipt.Options, on func(web.Step) error) error {
	if err := on(web.Step{Phase: web.Checking}); err != nil {
		return err
	}
	if f := p.following; f != nil {
		ctx, end := context.WithCancel(ctx)
		defer end()
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(300 * time.Millisecond):
					_ = on(web.Step{Checked: int(f.checked.Load())}) // one who left is noticed elsewhere
				}
			}
		}()
		r, ok, err := f.report(ctx, a.File, opt)
		if err != nil {
			return err
		}
		if ok {
			a.Checks, a.Model = r, f.name
			return nil
		}
		if errors.Is(f.err, errNotHere) {
			a.Trouble = errNotHere.Error()
			return nil
		}
	}
	a.Result = c.compute(ctx, a.Result, opt)
	return ctx.Err()
}

// Judge says what a proof of fraud shows.
func (c *console) Judge(_ context.Context, file, proof []byte) (*web.Dispute, error) {
	if len(proof) > dispute.MaxProof {
		return nil, fmt.Errorf("the proof has %d bytes, more than %d", len(proof), dispute.MaxProof)
	}
	f, err := receipt.ParseFile(file)
	if err != nil {
		return nil, err
	}
	d := disputeAbout(f.Receipt)
	if err := convict(d, f.Receipt, proof); err != nil {
		if !errors.Is(err, dispute.ErrProof) {
			return nil, err
		}
		d.Winner, d.Reason, d.Detail = dispute.ProverParty.String(), dispute.Accusation.String(), err.Error()
	}
	return d, nil
}

func disputeAbout(r receipt.Receipt) *web.Dispute {
	return &web.Dispute{Receipt: r.Hash().String(), Prover: receipt.FormatNodeKey(r.Claims().Key), Opened: time.Now()}
}

// convict checks a proof as everybody does, and tells what it shows.
func convict(d *web.Dispute, r receipt.Receipt, proof []byte) error {
	run, err := dispute.NewRun(r)
	if err != nil {
		return err
	}
	finding, err := dispute.Judge(run, proof)
	if err != nil {
		return err
	}
	stages, err := dispute.Stages(run, finding, proof)
	if err != nil {
		return err
	}
	for _, s := range stages {
		d.Narrowing = append(d.Narrowing, web.Stage{Kind: s.What, Name: s.Name, From: s.At, To: s.At + 1, Of: s.Of})
	}
	d.Winner, d.Reason, d.Proof = dispute.ChallengerParty.String(), dispute.Fraud.String(), proof
	d.Finding = &web.Finding{
		Fault: finding.Fault.String(), Output: finding.Cell.Output, Layer: finding.Cell.Layer, Position: finding.Cell.Position, Operation: finding.Name,
	}
	if finding.Fault == dispute.WrongLeaf {
		d.Finding.Signed, d.Finding.Right = finding.Got.String(), finding.Want.String()
	}
	return nil
}

// watchedAsker is a node at whose table somebody looks on.
type watchedAsker struct {
	peerAsker
	saw func(message []byte)
}

func (w watchedAsker) Dispute(ctx context.Context, in node.DisputeRequest) (remote.Table, error) {
	t, err := w.peerAsker.Dispute(ctx, in)
	if err != nil {
		return nil, err
	}
	return &watchedTable{t, w.saw}, nil
}

type watchedTable struct {
	remote.Table
	saw func(message []byte)
}

func (t *watchedTable) Exchange(ctx context.Context, move []byte) ([]byte, error) {
	if move != nil {
		t.saw(move)
	}
	in, err := t.Table.Exchange(ctx, move)
	if err == nil || len(in) > 0 && errors.Is(err, io.EOF) {
		t.saw(in)
	}
	return in, err
}

// Dispute plays a dispute about an answer with the device that gave it.
func (c *console) Dispute(ctx context.Context, a *web.Answer, on func(web.Round)) (*web.Dispute, error) {
	at, err := parsePeerModel(a.Target.ID)
	if err != nil {
		return nil, err
	}
	own, err := c.app.openWitness(ctx, &disputeOptions{}, a.File)
	if err != nil {
		return nil, err
	}
	defer own.close()
	d := disputeAbout(a.File.Receipt)
	if own.proof != nil { // the receipt alone convicts
		return d, convict(d, a.File.Receipt, own.proof)
	}
	if own.same(a.File) {
		d.Winner, d.Reason = dispute.ProverParty.String(), ""
		d.Detail = "its tokens are those that the model gives, so that there is nothing to dispute"
		return d, nil
	}
	saw := func(message []byte) {
		m, err := dispute.ReadMove(message)
		if err != nil {
			return // the referees of both sides say what that means
		}
		r := web.Round{Number: m.Round, Challenger: m.Challenger, Move: m.Name, Bytes: len(message)}
		d.Rounds = append(d.Rounds, r)
		if on != nil {
			on(r)
		}
	}
	played, err := c.app.play(ctx, watchedAsker{c.node, saw}, node.DisputeRequest{Link: at.link, Receipt: a.File.Receipt.Hash(), Ticket: a.Ticket}, own)
	switch {
	case errors.Is(err, dispute.ErrSame):
		d.Winner, d.Detail = dispute.ProverParty.String(), "the device shows the computation that this device found"
		return d, nil
	case err != nil:
		return nil, err
	}
	d.Winner, d.Reason, d.Detail = played.Outcome.Winner.String(), played.Outcome.Reason.String(), played.Outcome.Detail
	if played.Proof == nil {
		return d, nil
	}
	return d, convict(d, a.File.Receipt, played.Proof)
}
