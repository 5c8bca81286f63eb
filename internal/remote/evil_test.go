package remote_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// evil is a prover that knows how to begin, and then does as the test says.
type evil struct {
	wire.DRPCInferenceServiceUnimplementedServer
	terms func(*dispute.Terms)
	play  func(p *dispute.Prover, terms dispute.Terms, c dispute.Claim, stream wire.DRPCInferenceService_DisputeStream) error
	file  *receipt.File
	run   *rerun.Run
}

func (e *evil) Dispute(stream wire.DRPCInferenceService_DisputeStream) error {
	in, err := stream.Recv()
	if err != nil {
		return err
	}
	terms := dispute.Terms{Challenger: in.GetStart().GetChallenger(), Nonce: []byte("evil"), Move: 20, Total: 60}
	if e.terms != nil {
		e.terms(&terms)
	}
	data, err := terms.Encode()
	if err != nil {
		return err
	}
	if len(terms.Nonce) == 0 {
		data = data[1:]
	}
	if err := stream.Send(&wire.DisputeResponse{Part: &wire.DisputeResponse_Terms{Terms: data}}); err != nil {
		return err
	}
	run, err := dispute.NewRun(e.file.Receipt)
	if err != nil {
		return err
	}
	p, err := dispute.NewProver(run, terms, key(provider), nil, e.run)
	if err != nil || e.play == nil {
		<-stream.Context().Done()
		return err
	}
	return e.play(p, terms, run.Claim(), stream)
}

// signed makes any message of the prover for the place of a game after the
// messages of log.
func signed(terms dispute.Terms, c dispute.Claim, log [][]byte, kind uint8, body []byte) []byte {
	type message struct {
		_         struct{} `cbor:",toarray"`
		Dispute   canon.Hash
		Round     int
		Kind      uint8
		Body      []byte
		Signature []byte
	}
	number := func(n int) []byte { return []byte{byte(n), 0, 0, 0, 0, 0, 0, 0} }
	m := message{Dispute: terms.ID(c), Round: len(log), Kind: kind, Body: body}
	digest := func(m *message, head canon.Hash) canon.Hash {
		return canon.Sum("aval dispute message/1", m.Dispute[:], number(m.Round), head[:], []byte{m.Kind}, m.Body)
	}
	head := m.Dispute
	for _, data := range log {
		var old message
		if err := canon.Unmarshal(data, &old); err != nil {
			panic(err)
		}
		head = digest(&old, head)
	}
	sum := digest(&m, head)
	m.Signature = ed25519.Sign(key(provider), sum[:])
	data, err := canon.Marshal(&m)
	if err != nil {
		panic(err)
	}
	return data
}

// TestEvilProver plays against provers that do not play. None of it makes a
// challenger wait without end, and none of it is a proof.
func TestEvilProver(t *testing.T) {
	type stream = wire.DRPCInferenceService_DisputeStream
	send := func(s stream, move []byte) error {
		return s.Send(&wire.DisputeResponse{Part: &wire.DisputeResponse_Move{Move: move}})
	}
	open := func(p *dispute.Prover, s stream) ([]byte, error) { // takes the first message
		in, err := s.Recv()
		if err == nil {
			err = p.Step(in.GetMove())
		}
		return in.GetMove(), err
	}
	answered, atOnce := make(chan struct{}), make(chan struct{})
	close(atOnce)
	wait := func(s stream) error { <-s.Context().Done(); return s.Context().Err() }
	for name, c := range map[string]struct {
		terms  func(*dispute.Terms)
		play   func(p *dispute.Prover, terms dispute.Terms, c dispute.Claim, s stream) error
		reason dispute.Reason // of the challenger's victory; 0: there is no outcome
		says   string
		ticks  bool
		after  chan struct{} // when time begins to pass
	}{
		"silent": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error { return wait(s) }, reason: dispute.Silence, says: "more than 20 ticks for message 1", ticks: true},
		"silent later": {after: answered, play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			if _, err := open(p, s); err != nil {
				return err
			}
			m, err := p.Move()
			if err == nil {
				err = send(s, m)
			}
			if err != nil {
				return err
			}
			if _, err := s.Recv(); err != nil { // it took the answer
				return err
			}
			close(answered)
			return wait(s)
		}, reason: dispute.Silence, says: "for message 3", ticks: true},
		"ends the call": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			_, err := open(p, s)
			return err
		}, reason: dispute.Silence, says: "ended the call when its message was due"},
		"refuses": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			return rpc.Errorf(rpc.PermissionDenied, "not you")
		}, reason: dispute.Silence, says: "not you"},
		"is gone": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			return rpc.Errorf(rpc.Unavailable, "gone")
		}, says: "nothing is decided"},
		"says that the challenger is late": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			return rpc.Errorf(rpc.DeadlineExceeded, "you are late")
		}, says: "you are late"},
		"noise": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			for {
				if err := send(s, []byte("noise")); err != nil {
					return err
				}
			}
		}, reason: dispute.Silence, says: "17 messages that are not of this dispute"},
		"messages that are too large": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			for {
				if err := send(s, bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, dispute.MaxMessage/7+1)); err != nil {
					return err
				}
			}
		}, reason: dispute.Silence, says: "want at most"},
		"messages that no call takes": {play: func(p *dispute.Prover, _ dispute.Terms, _ dispute.Claim, s stream) error {
			return send(s, bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 1<<20))
		}, says: "nothing is decided"},
		"the terms again": {play: func(p *dispute.Prover, terms dispute.Terms, c dispute.Claim, s stream) error {
			for {
				if err := s.Send(&wire.DisputeResponse{Part: &wire.DisputeResponse_Terms{Terms: []byte("x")}}); err != nil {
					return err
				}
			}
		}, reason: dispute.Silence, says: "not of this dispute"},
		"a move that is not one": {play: func(p *dispute.Prover, terms dispute.Terms, c dispute.Claim, s stream) error {
			m, err := open(p, s)
			if err != nil {
				return err
			}
			if err := send(s, signed(terms, c, [][]byte{m}, 5, []byte{0x80})); err != nil {
				return err
			}
			return wait(s)
		}, reason: dispute.Malformed},
		"a move of another kind": {play: func(p *dispute.Prover, terms dispute.Terms, c dispute.Claim, s stream) error {
			m, err := open(p, s)
			if err != nil {
				return err
			}
			if err := send(s, signed(terms, c, [][]byte{m}, 6, []byte{0x81, 0xf6})); err != nil {
				return err
			}
			return wait(s)
		}, reason: dispute.Malformed, says: "kind 6"},
		"no terms":                {terms: func(t *dispute.Terms) { t.Nonce = nil }, says: "the terms"},
		"terms for somebody else": {terms: func(t *dispute.Terms) { t.Challenger = key(9).Public().(ed25519.PublicKey) }, says: "another challenger"},
		"no time for the moves":   {terms: func(t *dispute.Terms) { t.Move = 1 }, says: "1 seconds for a move"},
		"no end":                  {terms: func(t *dispute.Terms) { t.Total = 1 << 40 }, says: "in all"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remote.Config{})
			bad, err := spoiled()
			if err != nil {
				t.Fatal(err)
			}
			w.host.engine = bad.engine
			a := w.asked(t, nil)
			run, err := bad.rerun(t.Context(), a.Receipt, false)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			liar := w.nodeOf(t, 9, 16<<20)
			e := &evil{terms: c.terms, play: c.play, file: a.Receipt, run: run}
			if err := liar.Register(e, wire.DRPCInferenceServiceDescription{}, rpc.Limits{MaxMessage: 16 << 20}); err != nil {
				t.Fatal(err)
			}
			liar.Start()
			with := challenge(t, a.Receipt)
			ticks := make(clock)
			with.Ticks = ticks.ticks
			client := &remote.Client{Peer: id(provider), Conn: w.calls.To(id(9), rpc.Normal)}
			var played *remote.Played
			done := make(chan struct{})
			go func() {
				defer close(done)
				played, err = play(t, client, a, with)
			}()
			if c.after == nil {
				c.after = atOnce
			}
			<-c.after
			end := time.After(20 * time.Second)
			for playing := true; playing; {
				pass := ticks
				if !c.ticks {
					pass = nil
				}
				select {
				case pass <- time.Time{}:
				case <-done:
					playing = false
				case <-end:
					t.Fatal("the challenger waits without end")
				}
			}
			if c.reason == 0 {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%+v, %v", played, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			o := played.Outcome
			if o.Winner != dispute.ChallengerParty || o.Reason != c.reason || !strings.Contains(o.Detail, c.says) || played.Proof != nil {
				t.Errorf("%s, with a proof of %d bytes; want %s and %q", o, len(played.Proof), c.reason, c.says)
			}
		})
	}
}
