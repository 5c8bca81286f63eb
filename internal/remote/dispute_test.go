package remote_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

const challenger = 77 // signs the challenger's moves

// spoiled is the built-in model with half of a matrix of zeros.
var spoiled = sync.OnceValues(func() (opened, error) {
	o, err := mini()
	if err != nil {
		return o, err
	}
	file := []byte(models.Mini())
	data := o.file.Data(o.file.Tensor("blk.2.ffn_down.weight"))
	at := bytes.Index(file, data)
	clear(file[at : at+len(data)/2])
	return open(file)
})

// clock is one that the test moves.
type clock chan time.Time

func (c clock) ticks() (<-chan time.Time, func()) { return c, func() {} }

// pass lets seconds pass, or as many as somebody counts.
func (c clock) pass(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case c <- time.Time{}:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody counts the time")
		}
	}
}

// never is a clock that stands.
func never() (<-chan time.Time, func()) { return nil, func() {} }

// asked has a question answered.
func (w *world) asked(t *testing.T, change func(*remote.Request)) *remote.Answer {
	t.Helper()
	r := request()
	if change != nil {
		change(&r)
	}
	a, err := w.client.Ask(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// challenge is what a challenger plays with who has the true model.
func challenge(t *testing.T, f *receipt.File) remote.Challenge {
	t.Helper()
	o, err := mini()
	if err != nil {
		t.Fatal(err)
	}
	run, err := dispute.NewRun(f.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	own, err := o.rerun(t.Context(), f, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	return remote.Challenge{Run: run, Key: key(challenger), Witness: own, Ticks: never}
}

// play calls the peer to a dispute and plays it.
func play(t *testing.T, client *remote.Client, a *remote.Answer, c remote.Challenge) (*remote.Played, error) {
	t.Helper()
	g, err := client.Dispute(t.Context(), a.Receipt.Receipt.Hash(), a.Ticket, c.Key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	defer g.Close()
	return remote.Play(t.Context(), g, c)
}

// failing is a run of which the prover does not show everything.
type failing struct {
	dispute.Source
	states, cell bool
}

var errWithheld = errors.New("withheld")

func (f failing) States() ([][]canon.Hash, error) {
	if f.states {
		return nil, errWithheld
	}
	return f.Source.States()
}

func (f failing) Cell(c dispute.Cell) (dispute.Values, int, error) {
	if f.cell {
		return nil, 0, errWithheld
	}
	return f.Source.Cell(c)
}

// accusing is a run of a challenger who says that a cell is wrong.
type accusing struct {
	*rerun.Run
	layer bool
}

func (a accusing) Output() (int, bool) { return 2, !a.layer }

func (a accusing) States() ([][]canon.Hash, error) {
	states, err := a.Run.States()
	if err == nil && a.layer {
		states = slices.Clone(states)
		states[1] = slices.Clone(states[1])
		states[1][3][0] ^= 1
	}
	return states, err
}

// TestDispute plays disputes with provers of all kinds, honest challengers and
// others.
func TestDispute(t *testing.T) {
	bad, err := spoiled()
	if err != nil {
		t.Fatal(err)
	}
	withTrace := func(r *remote.Request) { r.Trace = true }
	other := func(h *host) { h.engine, h.model = bad.engine, bad }
	token := func(h *host) {
		h.alter = func(res *engine.Result) { res.IDs[5] ^= 1 }
	}
	lie := func(at dispute.Cell, op, leaf int) func(*host) {
		return func(h *host) {
			h.source = func(s dispute.Source) dispute.Source { return &rerun.Liar{Source: s, At: at, Op: op, Leaf: leaf} }
		}
	}
	withheld := func(f failing) func(*host) {
		return func(h *host) {
			other(h)
			h.source = func(s dispute.Source) dispute.Source { f.Source = s; return f }
		}
	}
	for name, c := range map[string]struct {
		prover func(*host)
		asked  func(*remote.Request)
		accuse func(*rerun.Run) dispute.Witness
		winner dispute.Party // 0: there is nothing to accuse
		reason dispute.Reason
		fault  dispute.Fault
	}{
		"the truth":                           {},
		"the truth, with a trace":             {asked: withTrace},
		"another model":                       {prover: other, winner: dispute.ChallengerParty, reason: dispute.Fraud, fault: dispute.WrongLeaf},
		"another model, with a trace":         {prover: other, asked: withTrace, winner: dispute.ChallengerParty, reason: dispute.Fraud, fault: dispute.WrongLeaf},
		"another token":                       {prover: token, winner: dispute.ChallengerParty, reason: dispute.Fraud, fault: dispute.WrongClosing},
		"a wrong leaf of a layer":             {prover: lie(dispute.Cell{Layer: 2, Position: 4}, 3, 0), winner: dispute.ChallengerParty, reason: dispute.Fraud, fault: dispute.WrongLeaf},
		"a state that the leaves do not give": {prover: lie(dispute.Cell{Layer: 0, Position: 1}, -1, 0), winner: dispute.ChallengerParty, reason: dispute.Fraud, fault: dispute.WrongClosing},
		"the trace is withheld":               {prover: withheld(failing{states: true}), winner: dispute.ChallengerParty, reason: dispute.Silence},
		"the cell is withheld":                {prover: withheld(failing{cell: true}), winner: dispute.ChallengerParty, reason: dispute.Silence},
		"accused of a token": {
			accuse: func(r *rerun.Run) dispute.Witness { return accusing{r, false} }, winner: dispute.ProverParty, reason: dispute.Accusation,
		},
		"accused of a layer, with a trace": {
			asked: withTrace, accuse: func(r *rerun.Run) dispute.Witness { return accusing{r, true} }, winner: dispute.ProverParty, reason: dispute.Accusation,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remote.Config{Ticks: never})
			if c.prover != nil {
				c.prover(w.host)
			}
			a := w.asked(t, c.asked)
			with := challenge(t, a.Receipt)
			if c.accuse != nil {
				with.Witness = c.accuse(with.Witness.(*rerun.Run))
			}
			played, err := play(t, w.client, a, with)
			within(t, "the prover's share is given back", func() bool { return w.host.shares() == 0 })
			if c.winner == 0 {
				if !errors.Is(err, dispute.ErrSame) {
					t.Errorf("%+v, %v", played, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			o := played.Outcome
			if o.Winner != c.winner || o.Reason != c.reason || o.Finding.Fault != c.fault {
				t.Errorf("%s (%s), want %s wins by %s, %s", o, o.Finding, c.winner, c.reason, c.fault)
			}
			if (played.Proof != nil) != (c.reason == dispute.Fraud) {
				t.Fatalf("a proof of %d bytes", len(played.Proof))
			}
			if played.Proof == nil {
				return
			}
			// The proof stands alone: with the receipt, and nothing that it shows.
			finding, err := dispute.JudgeFile(a.Receipt.Receipt.Bytes(), played.Proof)
			if err != nil || finding.Fault != c.fault {
				t.Errorf("judged by others: %s, %v", finding, err)
			}
			other := w.asked(t, nil)
			if _, err := dispute.JudgeFile(other.File, played.Proof); err == nil {
				t.Error("the proof stands for another receipt, too")
			}
			if played.Messages < 5 || played.Bytes < len(played.Proof) {
				t.Errorf("%d messages of %d bytes", played.Messages, played.Bytes)
			}
		})
	}
}

// raw is a challenger's side of a call, for moves that no challenger makes.
type raw struct {
	t      *testing.T
	stream wire.DRPCInferenceService_DisputeClient
	game   *dispute.Challenger
	with   remote.Challenge
	log    [][]byte
}

// called calls a peer to a dispute. The error is that of the terms.
func called(t *testing.T, client *remote.Client, start *wire.DisputeStart) (*raw, dispute.Terms, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := wire.NewDRPCInferenceServiceClient(client.Conn).Dispute(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, stream: stream}
	if err := stream.Send(&wire.DisputeRequest{Part: &wire.DisputeRequest_Start{Start: start}}); err != nil {
		t.Fatal(err)
	}
	in, err := stream.Recv()
	if err != nil {
		return r, dispute.Terms{}, err
	}
	terms, err := dispute.DecodeTerms(in.GetTerms())
	if err != nil {
		t.Fatal(err)
	}
	return r, terms, nil
}

// begin calls a peer to a dispute about an answer.
func begin(t *testing.T, client *remote.Client, a *remote.Answer) *raw {
	t.Helper()
	with := challenge(t, a.Receipt)
	r, terms, err := called(t, client, startOf(a))
	if err == nil {
		r.with = with
		r.game, err = dispute.NewChallenger(with.Run, terms, with.Key, with.Witness)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func startOf(a *remote.Answer) *wire.DisputeStart {
	id := a.Receipt.Receipt.Hash()
	return &wire.DisputeStart{Receipt: id[:], Ticket: a.Ticket, Challenger: key(challenger).Public().(ed25519.PublicKey)}
}

func (r *raw) send(move []byte) {
	r.t.Helper()
	if err := r.stream.Send(&wire.DisputeRequest{Part: &wire.DisputeRequest_Move{Move: move}}); err != nil && !errors.Is(err, io.EOF) {
		r.t.Fatal(err)
	}
}

// move makes the next move and takes the answer.
func (r *raw) move() {
	r.t.Helper()
	m, err := r.game.Move()
	if err == nil {
		err = r.game.Step(m)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.log = append(r.log, m)
	r.send(m)
	in, err := r.stream.Recv()
	if err == nil {
		err = r.game.Step(in.GetMove())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.log = append(r.log, in.GetMove())
}

// end wants the call to end with a code.
func (r *raw) end(code rpc.Code, says string) {
	r.t.Helper()
	_, err := r.stream.Recv()
	if rpc.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		r.t.Errorf("the call ended with %v, want %v and %q", err, code, says)
	}
}

// TestDisputeCalled lets those play who may, and nobody else.
func TestDisputeCalled(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	denied := peer.ID{}
	w := newWorld(t, remote.Config{
		Ticks: never, Keep: time.Hour,
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Allow: func(_ context.Context, who peer.ID, _ string, _ [][]byte, _ bool) error {
			mu.Lock()
			defer mu.Unlock()
			if who == denied {
				return errors.New("not you")
			}
			return nil
		},
	})
	a, b := w.asked(t, nil), w.asked(t, nil)
	stranger := &remote.Client{Peer: id(provider), Conn: w.node(t, 5).To(id(provider), rpc.Normal)}
	for name, c := range map[string]struct {
		from   *remote.Client
		change func(*wire.DisputeStart)
		code   rpc.Code
	}{
		"who asked":                        {w.client, nil, rpc.OK},
		"who asked, without a ticket":      {w.client, func(s *wire.DisputeStart) { s.Ticket = nil }, rpc.OK},
		"who asked, with a wrong ticket":   {w.client, func(s *wire.DisputeStart) { s.Ticket = make([]byte, 16) }, rpc.OK},
		"who has the ticket":               {stranger, nil, rpc.OK},
		"who has no ticket":                {stranger, func(s *wire.DisputeStart) { s.Ticket = nil }, rpc.NotFound},
		"who guesses":                      {stranger, func(s *wire.DisputeStart) { s.Ticket[3] ^= 1 }, rpc.NotFound},
		"the ticket of another receipt":    {stranger, func(s *wire.DisputeStart) { s.Ticket = b.Ticket }, rpc.NotFound},
		"a receipt of others":              {w.client, func(s *wire.DisputeStart) { s.Receipt[0] ^= 1 }, rpc.NotFound},
		"no receipt":                       {w.client, func(s *wire.DisputeStart) { s.Receipt = []byte{1} }, rpc.InvalidArgument},
		"a long ticket":                    {w.client, func(s *wire.DisputeStart) { s.Ticket = make([]byte, 65) }, rpc.InvalidArgument},
		"no key":                           {w.client, func(s *wire.DisputeStart) { s.Challenger = nil }, rpc.InvalidArgument},
		"a key that is none":               {w.client, func(s *wire.DisputeStart) { s.Challenger = make([]byte, 32) }, rpc.InvalidArgument},
		"the prover's key":                 {w.client, func(s *wire.DisputeStart) { s.Challenger = key(provider).Public().(ed25519.PublicKey) }, rpc.InvalidArgument},
		"who may not ask, with the ticket": {stranger, func(*wire.DisputeStart) { mu.Lock(); denied = id(5); mu.Unlock() }, rpc.PermissionDenied},
		"a receipt that is not kept": {w.client, func(*wire.DisputeStart) {
			mu.Lock()
			now = now.Add(2 * time.Hour)
			mu.Unlock()
		}, rpc.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			mu.Lock()
			denied, now = peer.ID{}, time.Now()
			mu.Unlock()
			x := a
			if name == "a receipt that is not kept" {
				x = w.asked(t, nil)
			}
			s := startOf(x)
			s.Receipt, s.Ticket = bytes.Clone(s.Receipt), bytes.Clone(s.Ticket)
			if c.change != nil {
				c.change(s)
			}
			r, _, err := called(t, c.from, s)
			_ = r.stream.Close()
			if rpc.CodeOf(err) != c.code {
				t.Errorf("%v, want %v", err, c.code)
			}
		})
		if name == "a receipt that is not kept" { // the clock went back, and the others are gone
			a, b = w.asked(t, nil), w.asked(t, nil)
		}
	}
	within(t, "all shares are given back", func() bool { return w.host.shares() == 0 })
}

// TestDisputeAbuse ends the call of who does not play: after a while, or at once.
func TestDisputeAbuse(t *testing.T) {
	for name, c := range map[string]func(t *testing.T, w *world, r *raw, ticks clock){
		"silent from the beginning": func(t *testing.T, w *world, r *raw, ticks clock) {
			ticks.pass(t, 121)
			r.end(rpc.DeadlineExceeded, "the challenger took more than 120 ticks for message 0")
		},
		"silent in the middle": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.move()
			ticks.pass(t, 121)
			r.end(rpc.DeadlineExceeded, "for message 2")
		},
		"slow each time": func(t *testing.T, w *world, r *raw, ticks clock) {
			ticks.pass(t, 100)
			r.move()
			ticks.pass(t, 100)
			r.move()
			ticks.pass(t, 41)
			r.end(rpc.DeadlineExceeded, "in total")
		},
		"noise": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.move()
			for range 17 {
				r.send([]byte("noise"))
			}
			r.end(rpc.InvalidArgument, "17 messages are not of this dispute")
		},
		"a little noise": func(t *testing.T, w *world, r *raw, ticks clock) {
			for range 16 {
				r.send([]byte("noise"))
			}
			r.move()
			r.move()
			r.stream.Close()
		},
		"messages that are too large": func(t *testing.T, w *world, r *raw, ticks clock) {
			for range 17 {
				r.send(bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, dispute.MaxMessage/7+1))
			}
			r.end(rpc.InvalidArgument, "want at most")
		},
		"another start": func(t *testing.T, w *world, r *raw, ticks clock) {
			for range 17 {
				if err := r.stream.Send(&wire.DisputeRequest{Part: &wire.DisputeRequest_Start{Start: &wire.DisputeStart{}}}); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			r.end(rpc.InvalidArgument, "not of this dispute")
		},
		"the moves of another game": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.move()
			r.move()
			old := r.log
			r.stream.Close()
			again := begin(t, w.client, w.last)
			for i := range 17 {
				again.send(old[i%len(old)])
			}
			again.end(rpc.InvalidArgument, "another dispute")
		},
		"a false accusation": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.game.Accuse([]byte("it is wrong"))
			m, err := r.game.Move()
			if err != nil {
				t.Fatal(err)
			}
			r.send(m)
			if _, err := r.stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("the end of a game: %v", err)
			}
		},
		"gone": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.move()
			r.stream.Close()
		},
		"the end of the stream": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.move()
			if err := r.stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			r.end(rpc.Canceled, "gave the dispute up")
		},
		"the connection breaks": func(t *testing.T, w *world, r *raw, ticks clock) {
			r.move()
			w.net.Cut(id(caller), id(provider))
			r.end(rpc.Unavailable, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			ticks := make(clock)
			w := newWorld(t, remote.Config{Ticks: ticks.ticks})
			bad, err := spoiled()
			if err != nil {
				t.Fatal(err)
			}
			w.host.engine, w.host.model = bad.engine, bad // so that there is something to accuse
			w.last = w.asked(t, nil)
			c(t, w, begin(t, w.client, w.last), ticks)
			within(t, "all shares are given back", func() bool { return w.host.shares() == 0 })
		})
	}
}

// TestDisputesAtOnce plays two at a time, has others wait, and sends away who is
// too many.
func TestDisputesAtOnce(t *testing.T) {
	w := newWorld(t, remote.Config{Ticks: never})
	bad, err := spoiled()
	if err != nil {
		t.Fatal(err)
	}
	w.host.engine, w.host.model = bad.engine, bad
	a := w.asked(t, nil)
	client := func(n byte) *remote.Client {
		return &remote.Client{Peer: id(provider), Conn: w.node(t, n).To(id(provider), rpc.Normal)}
	}
	first, second := begin(t, w.client, a), begin(t, client(11), a)
	first.move()
	second.move()
	first.move()
	second.move()
	// The statements of an honest and of a lying prover alike are the same in every
	// game, so that there are no two.
	if bytes.Equal(first.log[0], second.log[0]) {
		t.Error("two games have the same first message")
	}
	// A third one waits, and so do four; more are sent away.
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan error, 6)
	for n := range byte(6) {
		c := client(20 + n)
		wg.Go(func() {
			g, err := c.Dispute(ctx, a.Receipt.Receipt.Hash(), a.Ticket, key(challenger).Public().(ed25519.PublicKey))
			if err == nil {
				g.Close()
			}
			if rpc.CodeOf(err) == rpc.ResourceExhausted {
				busy <- err
			}
		})
	}
	for range 2 {
		select {
		case err := <-busy:
			if rpc.RetryAfter(err) == 0 {
				t.Errorf("sent away without a time to come again: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nobody is sent away")
		}
	}
	// Both games go on to their ends.
	for _, r := range []*raw{first, second} {
		for r.game.Proof() == nil {
			m, err := r.game.Move()
			if err != nil {
				t.Fatal(err)
			}
			if r.game.Proof() == nil {
				r.move()
				continue
			}
			if _, err := dispute.JudgeFile(a.File, r.game.Proof()); err != nil {
				t.Error(err)
			}
			r.send(m)
			if _, err := r.stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("the end of a game: %v", err)
			}
		}
	}
	cancel()
	wg.Wait()
	within(t, "all shares are given back", func() bool { return w.host.shares() == 0 })
}
