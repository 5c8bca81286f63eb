package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Delta is what came of an answer since the last one.
type Delta struct {
	Start *Start // in the first one only, which has nothing else
	IDs   []int32
	Text  string
}

// Start is what a peer says of an answer before it gives it. The answer, and its
// receipt, are held to it.
type Start struct {
	Model     Model
	PromptIDs []int32
	MaxTokens int
	Receipt   bool // one follows the answer
}

// Expect is what the receipt of an answer to r must say that begins so, but for
// the signer: for who follows the answer, and for who has got it.
func (s *Start) Expect(r *Request) (receipt.Expect, error) {
	source, err := r.source()
	if err != nil {
		return receipt.Expect{}, err
	}
	asked := r.engine(s.PromptIDs, s.MaxTokens)
	extra := issuer.Extra(&asked, nil)
	params := issuer.Params(&asked, s.Model.Context)
	params.Extra = !extra.IsZero()
	return receipt.Expect{
		Model: s.Model.Root, Nonce: r.Nonce, Params: &params, Source: &source, Prompt: s.PromptIDs,
		Bias: receipt.Bias{}, Extra: &extra, Adapters: []receipt.Adapter{},
	}, nil
}

// Answer is what a peer answered.
type Answer struct {
	Peer      peer.ID
	Model     Model
	PromptIDs []int32
	IDs       []int32 // without the one that ended the model's turn
	Text      string
	Stop      string // eos, stop or length
	StopText  string
	// Receipt is there if it was asked for; File is it as it came, and Checks is
	// what was compared: its signature, its form, and that it is of this request
	// and this answer.
	Receipt *receipt.File
	File    []byte
	Checks  receipt.Report
	// Ticket shows to the peer that its holder may have the receipt opened, for as
	// long as Kept.
	Ticket []byte
	Kept   time.Duration
	// Logged is how many entries the peer's log of receipts had with this answer, as
	// the peer says; 0: it is in none.
	Logged uint64
	// First is after how long the first token came, and Took how long all took.
	First, Took time.Duration
}

// Lie is an answer that is not what it claims to be. It is an error of the peer
// that was asked, or of one between.
type Lie struct{ What string }

func (e *Lie) Error() string { return "the peer does not answer what it was asked: " + e.What }

func lief(format string, args ...any) error { return &Lie{fmt.Sprintf(format, args...)} }

// Client asks one peer.
type Client struct {
	Peer peer.ID
	Conn rpc.Conn         // to the peer
	Now  func() time.Time // nil: time.Now
	// Pay pays for what Ask asks, if the peer wants to be paid; nil: nothing is
	// paid.
	Pay *Paying
}

// Models lists what the peer offers.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	out, err := wire.NewDRPCInferenceServiceClient(c.Conn).Models(ctx, &wire.ModelsRequest{})
	if err != nil {
		return nil, err
	}
	if len(out.Models) > MaxModels {
		return nil, rpc.Errorf(rpc.DataLoss, "the peer offers %d models, at most %d are read", len(out.Models), MaxModels)
	}
	var list []Model
	for _, m := range out.Models {
		model, err := modelOf(m)
		if err != nil {
			return nil, err
		}
		list = append(list, model)
	}
	return list, nil
}

// Ask asks for an answer; on takes it as it comes, and its error gives the answer
// up. What came before an error is returned with it. A receipt that is not of this
// request and this answer, or an answer that breaks its own bounds, is a *Lie.
func (c *Client) Ask(ctx context.Context, r Request, on func(Delta) error) (*Answer, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	if c.Pay != nil {
		if err := c.Pay.ready(&r, c.Peer); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := wire.NewDRPCInferenceServiceClient(c.Conn).Answer(ctx, r.wire())
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	quiet := time.AfterFunc(Quiet, func() { cancel(errQuiet) })
	defer quiet.Stop()
	var y *payer
	if c.Pay != nil {
		y = &payer{p: c.Pay}
		y.send(ctx, c.Conn, cancel)
	}
	a, whole, err := c.read(ctx, r, func() (*wire.AnswerResponse, error) {
		out, err := stream.Recv()
		quiet.Reset(Quiet)
		return out, err
	}, on, y)
	if y != nil {
		cancel(nil)
		if kept := y.stop(whole); err == nil {
			err = kept
		}
	}
	return a, err
}

var errQuiet = rpc.Errorf(rpc.DeadlineExceeded, "the peer has sent nothing for %v", Quiet)

// Carry asks through somebody who carries messages without reading them: exchange
// sends the request and gives each message of the answer to receive. The peer is
// the one that signs.
func (c *Client) Carry(ctx context.Context, r Request, exchange func(ctx context.Context, request []byte, receive func([]byte) error) error, on func(Delta) error) (*Answer, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	data, err := wire.Marshal(r.wire())
	if err != nil {
		return nil, rpc.Errorf(rpc.Internal, "%w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := make(chan *wire.AnswerResponse)
	ended := make(chan error, 1)
	go func() {
		ended <- exchange(ctx, data, func(b []byte) error {
			out := &wire.AnswerResponse{}
			if err := wire.Unmarshal(b, out); err != nil {
				return lief("a part of the answer cannot be read: %v", err)
			}
			select {
			case parts <- out:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		close(parts)
	}()
	a, _, err := c.read(ctx, r, func() (*wire.AnswerResponse, error) {
		if out, ok := <-parts; ok {
			return out, nil
		}
		if err := <-ended; err != nil {
			return nil, err
		}
		return nil, io.EOF
	}, on, nil)
	return a, err
}

// reading is an answer on its way.
type reading struct {
	r     *Request
	a     *Answer
	on    func(Delta) error
	text  strings.Builder
	begun *Start // nil: it has not begun
	parts int
	end   *wire.AnswerEnd
	pay   *payer // nil: nothing is paid
}

// read takes an answer from where it comes. Whole says that it came to its end,
// whatever it is worth.
func (c *Client) read(ctx context.Context, r Request, next func() (*wire.AnswerResponse, error), on func(Delta) error, y *payer) (a *Answer, whole bool, err error) {
	begin := time.Now()
	d := &reading{r: &r, a: &Answer{Peer: c.Peer}, on: on, pay: y}
	for !d.whole() {
		part, err := next()
		switch {
		case errors.Is(err, io.EOF):
			err = rpc.Errorf(rpc.DataLoss, "the peer ended the answer before its end")
		case err == nil:
			err = d.take(part)
		}
		if len(d.a.IDs) > 0 && d.a.First == 0 {
			d.a.First = time.Since(begin)
		}
		if err != nil {
			d.a.Text = d.text.String()
			if ctx.Err() != nil {
				err = ctx.Err()
				if own := new(rpc.Error); errors.As(context.Cause(ctx), &own) {
					err = own // it was quiet, or did not take a payment
				}
			}
			return d.a, d.end != nil, err
		}
	}
	d.a.Text, d.a.Took = d.text.String(), time.Since(begin)
	if r.Receipt {
		return d.a, true, c.check(d)
	}
	return d.a, true, nil
}

func (d *reading) whole() bool {
	return d.end != nil && len(d.a.File) == int(d.end.ReceiptBytes)
}

// take reads one part, within the bounds of what was asked for.
func (d *reading) take(part *wire.AnswerResponse) error {
	switch p := part.Part.(type) {
	case *wire.AnswerResponse_Start:
		if d.begun != nil {
			return lief("it begins twice")
		}
		return d.start(p.Start)
	case *wire.AnswerResponse_Delta:
		if d.begun == nil || d.end != nil {
			return lief("a part of it comes before its beginning or after its end")
		}
		if most := d.begun.MaxTokens + spare; d.parts == most {
			return lief("it has more than %d parts", most)
		}
		d.parts++
		return d.delta(p.Delta)
	case *wire.AnswerResponse_End:
		if d.begun == nil || d.end != nil {
			return lief("it ends before it has begun, or twice")
		}
		return d.finish(p.End)
	case *wire.AnswerResponse_Receipt:
		if d.end == nil || len(p.Receipt) == 0 || len(d.a.File)+len(p.Receipt) > int(d.end.ReceiptBytes) {
			return lief("a piece of the receipt comes before the end, or is one too many")
		}
		d.a.File = append(d.a.File, p.Receipt...)
		return nil
	}
	return lief("a part of it is of no kind that is known")
}

func (d *reading) start(s *wire.AnswerStart) error {
	if s == nil {
		return lief("it begins with nothing")
	}
	var err error
	if d.a.Model, err = modelOf(s.Model); err != nil {
		return err
	}
	switch {
	case len(s.PromptIds) == 0 || len(s.PromptIds) > maxIDs:
		return lief("the prompt has %d tokens", len(s.PromptIds))
	case s.MaxTokens == 0 || s.MaxTokens > MaxTokens || d.r.MaxTokens > 0 && int(s.MaxTokens) != d.r.MaxTokens:
		return lief("it may have %d tokens, asked for were %d", s.MaxTokens, d.r.MaxTokens)
	case !d.r.Root.IsZero() && d.a.Model.Root != d.r.Root:
		return lief("the model has the fingerprint %v, asked for was %v", d.a.Model.Root, d.r.Root)
	case d.r.Receipt && !s.Receipt:
		return lief("it will have no receipt")
	}
	d.a.PromptIDs = s.PromptIds
	d.begun = &Start{Model: d.a.Model, PromptIDs: s.PromptIds, MaxTokens: int(s.MaxTokens), Receipt: s.Receipt}
	if s.Payment != nil {
		if d.pay == nil {
			return lief("it wants to be paid, and no session was named")
		}
		if err := d.pay.start(s.Payment, len(s.PromptIds), int(s.MaxTokens)); err != nil {
			return err
		}
	}
	return d.tell(Delta{Start: d.begun})
}

func (d *reading) tell(part Delta) error {
	if d.on == nil {
		return nil
	}
	return d.on(part)
}

func (d *reading) delta(p *wire.AnswerDelta) error {
	switch {
	case p == nil || len(p.Ids) == 0 && p.Text == "":
		return lief("a part of it is empty")
	case len(d.a.IDs)+len(p.Ids) > d.begun.MaxTokens:
		return lief("it has more than %d tokens", d.begun.MaxTokens)
	case d.text.Len()+len(p.Text) > MaxText:
		return lief("it has more than %d bytes", MaxText)
	case !utf8.ValidString(p.Text):
		return lief("a part of it is not UTF-8")
	}
	d.a.IDs = append(d.a.IDs, p.Ids...)
	d.text.WriteString(p.Text)
	if d.pay != nil {
		if err := d.pay.got(len(p.Ids)); err != nil {
			return err
		}
	}
	return d.tell(Delta{IDs: p.Ids, Text: p.Text})
}

func (d *reading) finish(e *wire.AnswerEnd) error {
	switch {
	case e == nil:
		return lief("it ends with nothing")
	case int(e.Tokens) != len(d.a.IDs):
		return lief("it has %d tokens and says %d", len(d.a.IDs), e.Tokens)
	case e.Stop != "eos" && e.Stop != "stop" && e.Stop != "length":
		return lief("it ended by %.20q", e.Stop)
	case e.Stop == "stop" && !slices.Contains(d.r.Stop, e.StopText):
		return lief("it ended by the stop string %.100q, which was not asked for", e.StopText)
	case e.ReceiptBytes > MaxReceipt, (e.ReceiptBytes > 0) != d.begun.Receipt:
		return lief("its receipt has %d bytes", e.ReceiptBytes)
	case len(e.Ticket) > maxTicket:
		return lief("its ticket has %d bytes", len(e.Ticket))
	}
	d.end = e
	d.a.Stop, d.a.StopText, d.a.Ticket = e.Stop, e.StopText, e.Ticket
	d.a.Kept, d.a.Logged = time.Duration(e.KeptSeconds)*time.Second, e.Logged
	return nil
}

// check holds the receipt to the request, to the peer that was asked and to the
// answer that came.
func (c *Client) check(d *reading) error {
	a := d.a
	f, err := receipt.ParseFile(a.File)
	if err != nil {
		return lief("its receipt cannot be read: %v", err)
	}
	expect, err := d.begun.Expect(d.r)
	if err != nil {
		return err
	}
	expect.Key, expect.Text = c.Peer.Public(), &a.Text
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	a.Receipt = f
	a.Checks = f.Check(receipt.Options{Now: now(), MaxAge: receiptAge, Expect: expect})
	if failed := a.Checks.Failed(); failed != nil {
		return lief("its receipt does not fit: %s: %s", failed.Name, failed.Detail)
	}
	claims := f.Receipt.Claims()
	drawn := a.IDs
	if d.end.EndId > 0 {
		drawn = append(slices.Clone(drawn), int32(d.end.EndId-1))
	}
	switch {
	case f.Opening == nil || f.Opening.Output == nil || f.Opening.Source == nil:
		return lief("its receipt does not show the answer to you")
	case !slices.Equal(f.Opening.Output.IDs, drawn):
		return lief("its receipt is of %d other tokens than the %d that came", len(f.Opening.Output.IDs), len(drawn))
	case len(d.r.Nonce) == 0 && (claims.Seed.Kind != receipt.SeedSelf || claims.Seed.Value != d.r.Params.Seed):
		return lief("its receipt is with another seed")
	case d.r.Trace && claims.Trace.IsZero():
		return lief("its receipt has no trace")
	}
	return nil
}

// receiptAge is how old a receipt may be that was made for a request of ours.
const receiptAge = time.Hour
