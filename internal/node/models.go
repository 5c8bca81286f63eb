package node

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/private"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// inferenceMethods decide themselves, model by model.
var inferenceMethods = []string{
	"/aval.v1.InferenceService/Models", "/aval.v1.InferenceService/Answer", "/aval.v1.InferenceService/Pay", "/aval.v1.InferenceService/Open", "/aval.v1.InferenceService/Dispute",
}

// startModels serves the models of a host, if there is one, and passes private
// requests on for those whom the owner allows that.
func (n *Node) startModels(host remote.Host, receipts ReceiptsConfig) error {
	cfg := private.ServiceConfig{
		Key: n.key,
		Relay: func(_ context.Context, who, provider peer.ID, tokens [][]byte, use bool) error {
			return n.Guard.Allow(access.Request{Who: who, Action: access.Relay, Resource: provider.String(), Tokens: tokens, Look: !use})
		},
	}
	if host != nil {
		var err error
		n.host = host
		served := remote.Config{
			Host: host, Logger: n.logger, Key: n.key, LogOwn: receipts.Own, Allow: n.mayAsk,
		}
		if n.chain != nil {
			served.Paid, served.Sessions = n.mustPay, paidBy{n.chain}
		}
		if n.receipts != nil {
			served.Log = n.logReceipt
		}
		n.models, err = remote.New(served)
		if err == nil {
			err = n.models.Register(n.Calls)
		}
		if err != nil {
			return err
		}
		cfg.Handle = n.models.Handler()
		// The relay must be allowed to ask the model; the handler sees to that.
		cfg.Provide = func(_ context.Context, relay peer.ID, tokens [][]byte) error {
			return n.Guard.AllowAny(access.Request{Who: relay, Action: access.Ask, Resource: "*", Tokens: tokens})
		}
	}
	return private.Register(n.Calls, cfg)
}

// Offer is how models are offered in the directory that devices share.
type Offer struct {
	PriceIn, PriceOut uint64 // of 1,000 tokens, in Unit
	Unit, Region      string
}

// How often offers are published, and how long each holds.
const (
	offerFirst = 5 * time.Second
	offerAgain = time.Minute // until the fingerprints are known
	offerEvery = 6 * time.Hour
	offerHolds = 24 * time.Hour
)

// offer publishes what this node serves, until ctx ends; then it is withdrawn.
func (n *Node) offer(ctx context.Context, o Offer) {
	published := map[receipt.Hash]bool{}
	defer func() {
		for root := range published {
			if err := n.Directory.Withdraw(root); err != nil {
				n.logger.Debug("node: an offer is not withdrawn", "root", root, "error", err)
			}
		}
	}()
	next := offerFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
		next = offerEvery
		list, err := n.host.Models(ctx)
		if err != nil {
			n.logger.Debug("node: the models are not offered", "error", err)
		}
		for _, m := range list {
			if m.Root.IsZero() {
				next = offerAgain
				continue
			}
			err := n.Directory.Publish(directory.Offer{
				Root: m.Root, Name: m.Name, Context: uint64(m.Context), Quant: m.Quantization, PriceIn: o.PriceIn, PriceOut: o.PriceOut,
				Unit: o.Unit, Region: o.Region, Speed: uint64(n.models.Speed(m.Name)), Expires: time.Now().Add(offerHolds).Unix(),
			})
			if err != nil {
				n.logger.Warn("a model is not offered", "model", m.Name, "error", err)
				continue
			}
			published[m.Root] = true
		}
	}
}

// ReportRequest is how asking a model at a peer went.
type ReportRequest struct {
	Peer    peer.ID           `json:"peer"`
	Root    receipt.Hash      `json:"root"`
	Outcome directory.Outcome `json:"outcome"`
}

// Report writes into the shared directory how asking a model went. Everybody can
// read there that this node asked.
func (n *Node) Report(_ context.Context, r ReportRequest) error {
	if err := n.Directory.Report(r.Peer, r.Root, r.Outcome); err != nil {
		return rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	return nil
}

// client asks a peer.
func (n *Node) client(id peer.ID) *remote.Client {
	return &remote.Client{Peer: id, Conn: n.Calls.To(id, rpc.Normal)}
}

// reachFor connects with a peer that is to be asked.
func (n *Node) reachFor(ctx context.Context, l Link) error {
	if l.Peer == n.Mesh.Self() {
		return nil
	}
	if _, ok := n.Mesh.Peer(l.Peer); ok {
		return nil
	}
	return n.connect(ctx, l)
}

// Models lists what a peer offers to this node.
func (n *Node) Models(ctx context.Context, l Link) ([]remote.Model, error) {
	if err := n.reachFor(ctx, l); err != nil {
		return nil, err
	}
	return n.client(l.Peer).Models(ctx)
}

// AskRequest is a question to a model at a peer.
type AskRequest struct {
	Link Link `json:"link"`
	// Via is a relay through which the question goes sealed, so that the peer does
	// not see who asks and the relay not what; nobody: it goes directly.
	Via     Link   `json:"via,omitzero"`
	Request []byte `json:"request"` // a remote.Request, as it travels
	// Session is the one of the ledger that pays for the answer, and Spend what it
	// may cost at most, 0: what is left of it. See Session.
	Session receipt.Hash  `json:"session,omitzero"`
	Spend   ledger.Amount `json:"spend,omitempty"`
	Job     string        `json:"job,omitempty"`
}

// Asked is what came of it.
type Asked struct {
	Model     remote.Model  `json:"model"`
	PromptIDs []int32       `json:"prompt_ids"`
	IDs       []int32       `json:"ids"`
	Text      string        `json:"text"`
	Stop      string        `json:"stop"`
	StopText  string        `json:"stop_text,omitempty"`
	Receipt   []byte        `json:"receipt,omitempty"` // the file
	Ticket    []byte        `json:"ticket,omitempty"`
	Kept      time.Duration `json:"kept"`
	Logged    uint64        `json:"logged,omitempty"` // entries of the peer's log with this answer
	First     time.Duration `json:"first"`
	Took      time.Duration `json:"took"`
	Payment   *Payment      `json:"payment,omitempty"` // nil: nothing was paid
	// Lie says that the answer is not what it claims to be, and how.
	Lie string `json:"lie,omitempty"`
}

// Ask asks a model at a peer; on hears the answer as it comes. If the peer is
// found to lie, that is in what is returned and not an error: so that it can be
// shown what came.
func (n *Node) Ask(ctx context.Context, r AskRequest, on func(remote.Delta)) (Asked, error) {
	var in remote.Request
	if err := in.UnmarshalBinary(r.Request); err != nil {
		return Asked{}, err
	}
	hear, end := n.asks.begin(r.Job, on)
	defer end()
	heard := func(d remote.Delta) error { hear(d); return nil }
	c := n.client(r.Link.Peer)
	paid, err := n.pay(ctx, c, &r)
	if err != nil {
		return Asked{}, err
	}
	var a *remote.Answer
	if r.Via.Peer.IsZero() {
		if err = n.reachFor(ctx, r.Link); err == nil {
			a, err = c.Ask(ctx, in, heard)
		}
	} else if err = n.reachFor(ctx, r.Via); err == nil {
		a, err = c.Carry(ctx, in, func(ctx context.Context, request []byte, receive func([]byte) error) error {
			return private.Ask(ctx, n.Calls, r.Via.Peer, r.Link.Peer, request, receive)
		}, heard)
	}
	var out Asked
	if a != nil {
		out = Asked{
			Model: a.Model, PromptIDs: a.PromptIDs, IDs: a.IDs, Text: a.Text, Stop: a.Stop, StopText: a.StopText,
			Receipt: a.File, Ticket: a.Ticket, Kept: a.Kept, Logged: a.Logged, First: a.First, Took: a.Took,
		}
	}
	out.Payment = paid(a)
	if lie, ok := asLie(err); ok {
		out.Lie, err = lie, nil
	}
	return out, err
}

// OpenRequest asks a peer to show parts of an answer's run.
type OpenRequest struct {
	Link      Link         `json:"link"`
	Receipt   receipt.Hash `json:"receipt"`
	Ticket    []byte       `json:"ticket,omitempty"`
	Challenge []byte       `json:"challenge"`
}

// Open has a peer show parts of the run of an answer that it gave.
func (n *Node) Open(ctx context.Context, r OpenRequest) ([]byte, error) {
	if err := n.reachFor(ctx, r.Link); err != nil {
		return nil, err
	}
	data, err := n.client(r.Link.Peer).Open(ctx, r.Receipt, r.Ticket, r.Challenge, nil)
	if lie, ok := asLie(err); ok {
		err = rpc.Errorf(rpc.DataLoss, "%s", lie)
	}
	return data, err
}

// asLie tells whether an error is that a peer lies, and how.
func asLie(err error) (string, bool) {
	var lie *remote.Lie
	if errors.As(err, &lie) {
		return lie.What, true
	}
	return "", false
}

// asks are questions under way, by the name that who asked gave them.
type asks struct {
	mu   sync.Mutex
	jobs map[string]*heard
}

// heard is what came of an answer and was not fetched yet.
type heard struct {
	start *remote.Start
	text  string
	ids   []int32
}

// begin lets Heard tell of a question under a name.
func (a *asks) begin(job string, on func(remote.Delta)) (hear func(remote.Delta), end func()) {
	h := &heard{}
	if job != "" {
		a.mu.Lock()
		if a.jobs == nil {
			a.jobs = map[string]*heard{}
		}
		if len(a.jobs) < maxJobs {
			a.jobs[job] = h
		}
		a.mu.Unlock()
	}
	return func(d remote.Delta) {
			if on != nil {
				on(d)
			}
			if job == "" {
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if d.Start != nil {
				h.start = d.Start
			}
			h.text += d.Text
			h.ids = append(h.ids, d.IDs...)
		}, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.jobs, job)
		}
}

// Heard is what came of an answer since it was asked last.
func (n *Node) Heard(_ context.Context, job string) (remote.Delta, error) {
	n.asks.mu.Lock()
	defer n.asks.mu.Unlock()
	h := n.asks.jobs[job]
	if h == nil {
		return remote.Delta{}, nil
	}
	d := remote.Delta{Start: h.start, IDs: h.ids, Text: h.text}
	h.start, h.ids, h.text = nil, nil, ""
	return d, nil
}

// modelMethods are what commands may ask about models elsewhere.
func (n *Node) modelMethods() map[string]control.Method {
	return map[string]control.Method{
		"models": method(n.Models),
		"ask":    method(func(ctx context.Context, in AskRequest) (Asked, error) { return n.Ask(ctx, in, nil) }),
		"heard":  method(n.Heard),
		"open":   method(n.Open),
		"report": method(func(ctx context.Context, in ReportRequest) (struct{}, error) { return struct{}{}, n.Report(ctx, in) }),
	}
}

// hearEvery is how often a command asks the running node what came.
const hearEvery = 50 * time.Millisecond

// Models is Node.Models.
func (r *Remote) Models(ctx context.Context, l Link) (out []remote.Model, err error) {
	err = r.client.Call(ctx, "models", l, &out)
	return out, err
}

// Report is Node.Report.
func (r *Remote) Report(ctx context.Context, in ReportRequest) error {
	return r.client.Call(ctx, "report", in, nil)
}

// Open is Node.Open.
func (r *Remote) Open(ctx context.Context, in OpenRequest) (out []byte, err error) {
	err = r.client.Call(ctx, "open", in, &out)
	return out, err
}

// Ask is Node.Ask.
func (r *Remote) Ask(ctx context.Context, in AskRequest, on func(remote.Delta)) (out Asked, err error) {
	if on == nil {
		err = r.client.Call(ctx, "ask", in, &out)
		return out, err
	}
	in.Job = rand.Text()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = r.client.Call(ctx, "ask", in, &out)
	}()
	ids, bytes := 0, 0
	tell := func(d remote.Delta) {
		ids, bytes = ids+len(d.IDs), bytes+len(d.Text)
		if d.Start != nil || len(d.IDs) > 0 || d.Text != "" {
			on(d)
		}
	}
	for {
		select {
		case <-done:
			if ids <= len(out.IDs) && bytes <= len(out.Text) { // what came since
				tell(remote.Delta{IDs: out.IDs[ids:], Text: out.Text[bytes:]})
			}
			return out, err
		case <-time.After(hearEvery):
		}
		var d remote.Delta
		if err := r.client.Call(ctx, "heard", in.Job, &d); err == nil {
			tell(d)
		}
	}
}
