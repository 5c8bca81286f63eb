package remote_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func id(n byte) peer.ID { return peer.FromPrivate(key(n)) }

const (
	caller   = 1
	provider = 2
)

// opened is a model in memory, with its file.
type opened struct {
	engine *engine.Engine
	file   *gguf.File
	print  *fingerprint.Tree
}

// open opens a model.
func open(data []byte) (o opened, err error) {
	dir, err := os.MkdirTemp("", "remote")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "mini.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return o, err
	}
	if o.engine, err = engine.Open(path, engine.Options{Slots: 4, Context: 256}); err != nil {
		return o, err
	}
	if o.file, err = gguf.Open(path); err != nil {
		return o, err
	}
	o.print, err = fingerprint.Of(context.Background(), o.file, 0)
	return o, err
}

// mini is the built-in model, opened once for all tests.
var mini = sync.OnceValues(func() (opened, error) { return open([]byte(models.Mini())) })

// host serves it under two names.
type host struct {
	engine *engine.Engine
	model  opened // that disputes are played with
	root   receipt.Hash
	open   int // shares that were not given back, and runs that were not closed
	mu     sync.Mutex
	block  chan struct{} // if not nil, what is generated waits for it
	alter  func(*engine.Result)
	source func(dispute.Source) dispute.Source // what the prover says of its run; nil: what it is
}

func (h *host) Models(context.Context) ([]remote.Model, error) {
	m := remote.Model{Name: "mini", Root: h.root, Architecture: "llama", Context: h.engine.Context(), Receipts: true}
	other := m
	other.Name = "other"
	return []remote.Model{m, other}, nil
}

func (h *host) Open(_ context.Context, name string) (remote.Lease, error) {
	if name != "mini" && name != "other" {
		return nil, remote.ErrNoModel
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	return &lease{h.engine, h}, nil
}

func (h *host) shares() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

type lease struct {
	*engine.Engine
	h *host
}

func (l *lease) Generate(ctx context.Context, r engine.Request, on func(engine.Event) error) (*engine.Result, error) {
	if l.h.block != nil {
		select {
		case <-l.h.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if l.h.alter == nil {
		return l.Engine.Generate(ctx, r, on)
	}
	res, err := l.Engine.Generate(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	l.h.alter(res)
	for _, id := range res.IDs {
		if err := on(engine.Event{Token: id}); err != nil {
			return nil, err
		}
	}
	return res, on(engine.Event{Token: -1, Text: res.Text})
}

func (l *lease) Issuer() *issuer.Issuer {
	return issuer.New(issuer.Config{Key: key(provider), Model: issuer.Known(l.h.root), Context: l.Context()})
}

func (l *lease) OpenTrace(ctx context.Context, f *receipt.File, c *audit.Challenge) (*trace.Opening, error) {
	return (&audit.Auditor{Engine: l.Engine, Model: l.h.root}).Open(ctx, f, c)
}

// rerunning is the run of a prover, counted as a share.
type rerunning struct {
	dispute.Source
	run *rerun.Run
	h   *host
}

func (r *rerunning) Close() {
	r.run.Close()
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	r.h.open--
}

func (l *lease) Rerun(ctx context.Context, f *receipt.File) (remote.Rerun, error) {
	run, err := l.h.model.rerun(ctx, f, false)
	if err != nil {
		return nil, err
	}
	r := &rerunning{Source: run, run: run, h: l.h}
	if l.h.source != nil {
		r.Source = l.h.source(run)
	}
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.h.open++
	return r, nil
}

// rerun computes a run; prove says whether parts of the model will be proved.
func (o opened) rerun(ctx context.Context, f *receipt.File, prove bool) (*rerun.Run, error) {
	cfg := rerun.Config{Compute: o.engine.Compute, File: o.file, Claims: f.Receipt.Claims(), Opening: f.Opening}
	if prove {
		cfg.Print = o.print
	}
	if err := o.engine.Compute(ctx, func(m *model.Model) error { cfg.Model = m; return nil }); err != nil {
		return nil, err
	}
	return rerun.New(ctx, cfg)
}

func (l *lease) Close() {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.h.open--
}

// world is a caller and a provider.
type world struct {
	host   *host
	calls  *rpc.Node
	serves *rpc.Node
	client *remote.Client
	server *remote.Server
	net    *memory.Network
	last   *remote.Answer // that a dispute is about
}

func newWorld(t *testing.T, cfg remote.Config) *world {
	t.Helper()
	o, err := mini()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{host: &host{engine: o.engine, model: o, root: o.print.Root()}, net: memory.New()}
	cfg.Host, cfg.Key = w.host, key(provider)
	if w.server, err = remote.New(cfg); err != nil {
		t.Fatal(err)
	}
	serving := w.node(t, provider)
	if err := w.server.Register(serving); err != nil {
		t.Fatal(err)
	}
	serving.Start()
	w.serves = serving
	w.calls = w.node(t, caller)
	w.client = &remote.Client{Peer: id(provider), Conn: w.calls.To(id(provider), rpc.Normal)}
	return w
}

func (w *world) node(t *testing.T, n byte) *rpc.Node { return w.nodeOf(t, n, 0) }

// nodeOf is a node that sends and takes messages of so many bytes.
func (w *world) nodeOf(t *testing.T, n byte, maxMessage int) *rpc.Node {
	t.Helper()
	calls, err := rpc.New(rpc.Config{MaxMessage: maxMessage, Network: w.net.Join(id(n)), Authorize: func(context.Context, *rpc.Call) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { calls.Close() })
	return calls
}

func request() remote.Request {
	return remote.Request{
		Model: "mini", Text: "It was in July", MaxTokens: 12, Nonce: []byte("12345678"), Receipt: true,
		Params: sample.Params{Temperature: 0.7, TopK: 20},
	}
}

func TestAsk(t *testing.T) {
	w := newWorld(t, remote.Config{})
	for name, change := range map[string]func(*remote.Request){
		"with a nonce":    func(*remote.Request) {},
		"with a seed":     func(r *remote.Request) { r.Nonce, r.Params.Seed = nil, 5 },
		"with a trace":    func(r *remote.Request) { r.Trace = true },
		"without receipt": func(r *remote.Request) { r.Receipt = false },
		"a stop string":   func(r *remote.Request) { r.Stop = []string{"e"} },
		"by its root":     func(r *remote.Request) { r.Root = w.host.root },
		"greedy":          func(r *remote.Request) { r.Params = sample.Params{} },
		"no bound":        func(r *remote.Request) { r.MaxTokens = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			change(&r)
			text, tokens := "", 0
			a, err := w.client.Ask(t.Context(), r, func(d remote.Delta) error {
				text += d.Text
				tokens += len(d.IDs)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if a.Text != text || len(a.IDs) != tokens || tokens == 0 || a.Model.Name != "mini" || a.Peer != id(provider) {
				t.Errorf("%+v, heard %d tokens and %q", a, tokens, text)
			}
			if (a.Receipt != nil) != r.Receipt {
				t.Fatalf("the receipt is %v", a.Receipt)
			}
			if a.Receipt == nil {
				return
			}
			// The answer is what the model gives: computed again here.
			report, err := (&audit.Auditor{Engine: w.host.engine, Model: w.host.root}).Full(t.Context(), a.Receipt, audit.Options{Options: receipt.Options{Now: time.Now()}})
			if err != nil || audit.Verdict(&report) != receipt.Valid {
				t.Errorf("computed again: %v, %+v", err, report)
			}
		})
	}
	if n := w.host.shares(); n != 0 {
		t.Errorf("%d shares of the model were not given back", n)
	}
}

func TestModels(t *testing.T) {
	w := newWorld(t, remote.Config{
		MaxTokens: 100,
		Allow: func(_ context.Context, who peer.ID, model string, _ [][]byte, _ bool) error {
			if who != id(caller) || model != "mini" {
				return errors.New("no")
			}
			return nil
		},
	})
	list, err := w.client.Models(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "mini" || list[0].MaxTokens != 100 || list[0].Root != w.host.root {
		t.Errorf("%+v, %v", list, err)
	}
	r := request()
	r.Model = "other"
	if _, err := w.client.Ask(t.Context(), r, nil); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("another model: %v", err)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t, remote.Config{MaxTokens: 50})
	for name, c := range map[string]struct {
		change func(*remote.Request)
		code   rpc.Code
		says   string
	}{
		"no such model":     {func(r *remote.Request) { r.Model = "gpt" }, rpc.NotFound, `"gpt" is not offered`},
		"which model":       {func(r *remote.Request) { r.Model = "" }, rpc.InvalidArgument, "offers 2 models"},
		"another root":      {func(r *remote.Request) { r.Root = receipt.Hash{9} }, rpc.FailedPrecondition, "fingerprint"},
		"too many tokens":   {func(r *remote.Request) { r.MaxTokens = 51 }, rpc.InvalidArgument, "at most 50"},
		"a long prompt":     {func(r *remote.Request) { r.Text = strings.Repeat("July ", 2000) }, rpc.InvalidArgument, "shorten it"},
		"no prompt":         {func(r *remote.Request) { r.Text = "" }, rpc.InvalidArgument, "empty"},
		"two prompts":       {func(r *remote.Request) { r.Messages = []chat.Message{{Role: "user", Content: "Hi"}} }, rpc.InvalidArgument, "one of them"},
		"a short nonce":     {func(r *remote.Request) { r.Nonce = []byte("1") }, rpc.InvalidArgument, "8"},
		"a trace alone":     {func(r *remote.Request) { r.Receipt, r.Trace = false, true }, rpc.InvalidArgument, "ask for both"},
		"a bias":            {func(r *remote.Request) { r.Params.LogitBias = map[int32]float32{1: 1} }, rpc.InvalidArgument, "bias"},
		"a temperature":     {func(r *remote.Request) { r.Params.Temperature = -1 }, rpc.InvalidArgument, "temperature"},
		"an empty stop":     {func(r *remote.Request) { r.Stop = []string{""} }, rpc.InvalidArgument, "stop string 0"},
		"a prompt too long": {func(r *remote.Request) { r.Text = strings.Repeat("x", remote.MaxPrompt+1) }, rpc.InvalidArgument, "bytes"},
	} {
		r := request()
		c.change(&r)
		if _, err := w.client.Ask(t.Context(), r, nil); rpc.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who gives up, or takes nothing, frees the model at once; the others wait in
// turn, and too many are told when to come again.
func TestGivenUp(t *testing.T) {
	w := newWorld(t, remote.Config{Answers: 1, Queue: 1, AnswersOfPeer: 1})
	w.host.block = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := w.client.Ask(ctx, request(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	})
	within(t, "the first is inside", func() bool { return w.host.shares() == 1 })
	other := &remote.Client{Peer: id(provider), Conn: w.node(t, 3).To(id(provider), rpc.Normal)}
	waiting := make(chan error, 1)
	go func() {
		_, err := other.Ask(t.Context(), request(), nil)
		waiting <- err
	}()
	time.Sleep(200 * time.Millisecond) // the second waits; nothing shows it
	third := &remote.Client{Peer: id(provider), Conn: w.node(t, 4).To(id(provider), rpc.Normal)}
	within(t, "the third is sent away", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := third.Ask(ctx, request(), nil)
		return rpc.CodeOf(err) == rpc.ResourceExhausted && rpc.RetryAfter(err) > 0
	})
	cancel()
	wg.Wait()
	within(t, "the second is inside", func() bool { return w.host.shares() == 1 })
	close(w.host.block)
	if err := <-waiting; err != nil {
		t.Errorf("the second: %v", err)
	}
	// An error of who takes the answer ends it.
	full := errors.New("the disk is full")
	if _, err := w.client.Ask(t.Context(), request(), func(remote.Delta) error { return full }); !errors.Is(err, full) {
		t.Errorf("the disk is full: %v", err)
	}
	within(t, "all shares are given back", func() bool { return w.host.shares() == 0 })
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("five seconds passed, and not yet: %s", what)
}

// liar passes a true server's answers on, and changes them.
type liar struct {
	wire.DRPCInferenceServiceUnimplementedServer
	truth  func(ctx context.Context, request []byte, send func([]byte) error) error
	change func([]*wire.AnswerResponse) []*wire.AnswerResponse
	twist  func(*wire.AnswerRequest)
}

func (l *liar) Answer(in *wire.AnswerRequest, stream wire.DRPCInferenceService_AnswerStream) error {
	if l.twist != nil {
		l.twist(in)
	}
	data, err := wire.Marshal(in)
	if err != nil {
		return err
	}
	var parts []*wire.AnswerResponse
	if err := l.truth(stream.Context(), data, func(b []byte) error {
		out := &wire.AnswerResponse{}
		parts = append(parts, out)
		return wire.Unmarshal(b, out)
	}); err != nil {
		return err
	}
	for _, p := range l.change(parts) {
		if err := stream.Send(p); err != nil {
			return err
		}
	}
	return nil
}

// TestLies: whatever a peer changes in an answer or in what it was asked, the
// caller notices, without having the model.
func TestLies(t *testing.T) {
	same := func(p []*wire.AnswerResponse) []*wire.AnswerResponse { return p }
	// of finds the first part of a kind.
	delta := func(p []*wire.AnswerResponse) *wire.AnswerDelta {
		for _, x := range p {
			if d := x.GetDelta(); d != nil && d.Text != "" && len(d.Ids) > 0 {
				return d
			}
		}
		return nil
	}
	end := func(p []*wire.AnswerResponse) *wire.AnswerEnd {
		for _, x := range p {
			if e := x.GetEnd(); e != nil {
				return e
			}
		}
		return nil
	}
	for _, c := range []struct {
		name   string
		twist  func(*wire.AnswerRequest)
		change func([]*wire.AnswerResponse) []*wire.AnswerResponse
		lie    bool
	}{
		{"the truth", nil, same, false},
		{"another token", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { delta(p).Ids[0]++; return p }, true},
		{"another text", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { delta(p).Text = "no"; return p }, true},
		{"one token less", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { return slices.Delete(p, 2, 3) }, true},
		{"a prompt of its own", func(r *wire.AnswerRequest) { r.Text = "It was in May" }, same, true},
		{"another nonce", func(r *wire.AnswerRequest) { r.Nonce = []byte("87654321") }, same, true},
		{"a seed of its own", func(r *wire.AnswerRequest) { r.Nonce, r.Sampling.Seed = nil, 3 }, same, true},
		{"another temperature", func(r *wire.AnswerRequest) { r.Sampling.Temperature = 0 }, same, true},
		{"a stop string of its own", func(r *wire.AnswerRequest) { r.Stop = []string{"zzz"} }, same, true},
		{"fewer tokens", func(r *wire.AnswerRequest) { r.MaxTokens = 3 }, same, true},
		{"no receipt", func(r *wire.AnswerRequest) { r.Receipt = false }, same, true},
		{"other prompt tokens", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { p[0].GetStart().PromptIds[0]++; return p }, true},
		{"another context", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { p[0].GetStart().Model.Context++; return p }, true},
		{"another root", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { p[0].GetStart().Model.Root[0]++; return p }, true},
		{"a root that is no hash", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse {
			p[0].GetStart().Model.Root = []byte("x")
			return p
		}, false},
		{"another end", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { end(p).EndId = 5; return p }, true},
		{"a stop string that is none", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { end(p).Stop = "stop"; return p }, true},
		{"a receipt of more bytes", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { end(p).ReceiptBytes++; return p }, false},
		{"a huge receipt", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { end(p).ReceiptBytes = 1 << 31; return p }, true},
		{"a damaged receipt", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse {
			p[len(p)-1].GetReceipt()[50] ^= 1
			return p
		}, true},
		{"cut", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { return p[:3] }, false},
		{"nothing", nil, func([]*wire.AnswerResponse) []*wire.AnswerResponse { return nil }, false},
		{"no beginning", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { return p[1:] }, true},
		{"two beginnings", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { return append(p[:1:1], p...) }, true},
		{"more behind the end", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse {
			return append(slices.DeleteFunc(slices.Clone(p), func(x *wire.AnswerResponse) bool { return x.GetReceipt() != nil }), p[1])
		}, true},
		{"parts without end", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse {
			out := p[:1:1]
			for range 100 {
				out = append(out, &wire.AnswerResponse{Part: &wire.AnswerResponse_Delta{Delta: &wire.AnswerDelta{Text: "x"}}})
			}
			return out
		}, true},
		{"an empty part", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { return append(p[:1:1], &wire.AnswerResponse{}) }, true},
		{"bytes that are no text", nil, func(p []*wire.AnswerResponse) []*wire.AnswerResponse { p[0].GetStart().MaxTokens = 1 << 30; return p }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, remote.Config{})
			evil := w.node(t, 9)
			if err := evil.Register(&liar{truth: w.server.Handler(), change: c.change, twist: c.twist}, wire.DRPCInferenceServiceDescription{}, rpc.Limits{}); err != nil {
				t.Fatal(err)
			}
			evil.Start()
			// The lie is about the provider's answers: it is its key that counts.
			client := &remote.Client{Peer: id(provider), Conn: w.calls.To(id(9), rpc.Normal)}
			a, err := client.Ask(t.Context(), request(), nil)
			if c.name == "the truth" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var lie *remote.Lie
			if err == nil || errors.As(err, &lie) != c.lie {
				t.Errorf("%v, with %+v", err, a)
			}
		})
	}
}

// A receipt that another signed is not the peer's.
func TestOtherKey(t *testing.T) {
	w := newWorld(t, remote.Config{})
	client := &remote.Client{Peer: id(5), Conn: w.calls.To(id(provider), rpc.Normal)}
	var lie *remote.Lie
	if _, err := client.Ask(t.Context(), request(), nil); !errors.As(err, &lie) || !strings.Contains(err.Error(), "signed by") {
		t.Errorf("another key: %v", err)
	}
}

// What is carried by another way is the same answer, and the same lies are found.
func TestCarry(t *testing.T) {
	w := newWorld(t, remote.Config{})
	a, err := w.client.Carry(t.Context(), request(), w.server.Handler(), nil)
	if err != nil || a.Receipt == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	cut := func(ctx context.Context, request []byte, receive func([]byte) error) error {
		n := 0
		err := w.server.Handler()(ctx, request, func(b []byte) error {
			if n++; n > 2 {
				return io.ErrUnexpectedEOF
			}
			return receive(b)
		})
		return fmt.Errorf("the way broke: %w", err)
	}
	if _, err := w.client.Carry(t.Context(), request(), cut, nil); err == nil || !strings.Contains(err.Error(), "the way broke") {
		t.Errorf("cut: %v", err)
	}
}

// TestOpen checks an answer by randomly chosen parts of its run, which the peer
// shows, and not by those that it would like to show.
func TestOpen(t *testing.T) {
	w := newWorld(t, remote.Config{Kept: 2})
	r := request()
	r.Trace = true
	a, err := w.client.Ask(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	claims := a.Receipt.Receipt.Claims()
	c := audit.NewChallenge(a.Receipt.Receipt.Hash(), [32]byte{3}, 8, claims.PromptTokens+claims.OutputTokens-1, 4)
	challenge, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	heard := int64(0)
	data, err := w.client.Open(t.Context(), a.Receipt.Receipt.Hash(), nil, challenge, func(done, total int64) { heard = done })
	if err != nil || heard != int64(len(data)) {
		t.Fatalf("%d bytes, heard of %d, %v", len(data), heard, err)
	}
	o, err := trace.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	auditor := &audit.Auditor{Engine: w.host.engine, Model: w.host.root}
	report, err := auditor.Sampled(t.Context(), a.Receipt, c, o, receipt.Options{Now: time.Now()})
	if err != nil || audit.Verdict(&report) != receipt.Valid {
		t.Errorf("%v, %+v", err, report)
	}
	// Somebody else needs the ticket; and nobody gets what is not kept any more.
	other := &remote.Client{Peer: id(provider), Conn: w.node(t, 3).To(id(provider), rpc.Normal)}
	if _, err := other.Open(t.Context(), a.Receipt.Receipt.Hash(), nil, challenge, nil); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("without a ticket: %v", err)
	}
	if again, err := other.Open(t.Context(), a.Receipt.Receipt.Hash(), a.Ticket, challenge, nil); err != nil || !bytes.Equal(again, data) {
		t.Errorf("with the ticket: %v", err)
	}
	if _, err := w.client.Open(t.Context(), a.Receipt.Receipt.Hash(), nil, []byte("x"), nil); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("no challenge: %v", err)
	}
	for range 2 {
		if _, err := w.client.Ask(t.Context(), request(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.client.Open(t.Context(), a.Receipt.Receipt.Hash(), nil, challenge, nil); rpc.CodeOf(err) != rpc.NotFound || !strings.Contains(err.Error(), "not kept any more") {
		t.Errorf("after two others: %v", err)
	}
}
