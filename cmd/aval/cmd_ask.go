package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/receipt"
)

type askOptions struct {
	runOptions
	model, maxPrice, where, node, spend string
	session                             time.Duration
	noDispute, list                     bool

	most  ledger.Amount // --spend
	only  node.Link     // --node
	limit [2]ledger.Amount
}

func newAskCommand(a *app) *cobra.Command {
	var o askOptions
	c := &cobra.Command{
		Use: "ask [flags] [PROMPT...]", Short: "Ask a model that somebody offers on the ledger, and pay for it",
		Long: `Ask chooses an offer of the ledger that this device's node ("aval up") takes part in:
of nodes that never failed an audit the cheapest, then the fastest. It opens a session,
which sets aside what may be spent (--spend), pays while the answer comes, a few tokens
ahead, and goes on with the session the next time. What is not spent comes back when the
node settles, a while after the session has expired.

The answer is checked as that of "aval run peer://..." is: its receipt in any case, and
by computing it again if this machine has the model. If it is false, its receipt is
disputed on the ledger, where the node loses a part of its bond, and the next offer is
tried. So it is if a node cannot be reached.

Without PROMPT the prompt is standard input, or, on a terminal, this is a conversation
with one node.
` + exitHelp,
		Example: `  aval ask --list
  aval ask "Why is the sky blue?"
  aval ask --model smollm2 --max-price 1/4 --spend 0.2 "Why is the sky blue?"
  aval ask --node 12D3Koo... "Why is the sky blue?"`,
		RunE: func(c *cobra.Command, args []string) error {
			o.seeded = c.Flags().Changed("seed")
			return a.ask(c.Context(), c, &o, args)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.list, "list", false, "list what is offered, the ones to prefer first, and ask nothing")
	f.StringVar(&o.model, "model", "", "NAME or fingerprint of the model (default: any)")
	f.StringVar(&o.maxPrice, "max-price", "", "IN/OUT: what a million tokens read and written may cost, in units")
	f.StringVar(&o.where, "region", "", "only nodes that say they are there")
	f.StringVar(&o.node, "node", "", "ID or link of the one node to ask")
	f.StringVar(&o.spend, "spend", "1", "units that a session sets aside: all that its answers may cost together")
	f.DurationVar(&o.session, "session", time.Hour, "how long a session that is opened can be used")
	f.BoolVar(&o.noDispute, "no-dispute", false, "do not dispute a false answer on the ledger: give it up at the first false token")
	o.promptFlags(f)
	o.addThreads(f)
	o.samplingOptions.add(f)
	o.receiptOptions.add(f)
	o.verifyFlag(f)
	for _, name := range []string{"logit-bias", "beacon", "privacy", "seal"} { // refused, as with a peer
		_ = f.MarkHidden(name)
	}
	return c
}

// check reads the flags.
func (o *askOptions) check() (err error) {
	if o.maxPrice != "" {
		if o.limit[0], o.limit[1], err = prices(o.maxPrice); err != nil {
			return usageErrorf("--max-price %q: want IN/OUT in units for a million tokens, such as 1/4", clip(o.maxPrice))
		}
	}
	if o.node != "" {
		if o.only, err = link(o.node); err != nil {
			return err
		}
	}
	if o.most, err = parseUnits(o.spend); err != nil || o.most == 0 {
		return usageErrorf("--spend %q: want an amount such as 1 or 0.05", clip(o.spend))
	}
	if o.session < 5*time.Second {
		return usageErrorf("--session %v: want at least 5s", o.session)
	}
	return nil
}

// fits tells whether an offer is one of those that are wanted.
func (o *askOptions) fits(x *node.Offered) bool {
	if base, _, _ := strings.Cut(x.Name, ":"); o.model != "" && o.model != x.Name && o.model != base && !strings.EqualFold(o.model, x.Model.String()) {
		return false
	}
	switch {
	case x.Self && !o.list:
		return false
	case !o.only.Peer.IsZero() && o.only.Peer != x.Peer:
		return false
	case o.maxPrice != "" && (x.PriceIn > o.limit[0] || x.PriceOut > o.limit[1]):
		return false
	}
	return o.where == "" || strings.EqualFold(o.where, x.Region)
}

// maxTried bounds how many nodes are asked the same.
const maxTried = 8

func (a *app) ask(ctx context.Context, c *cobra.Command, o *askOptions, words []string) error {
	if err := o.check(); err != nil {
		return err
	}
	p := peerRun{app: a, o: &o.runOptions}
	if err := p.options(c); err != nil {
		return err
	}
	interactive := len(words) == 0 && a.inTerminal
	text := ""
	var err error
	switch {
	case o.list:
	case !interactive:
		if text, err = a.promptText(ctx, words); err != nil {
			return err
		}
	case o.json || o.path != "" || o.nonce != "":
		return usageErrorf("--json, --receipt and --nonce need a PROMPT, or a prompt on standard input: a conversation has many answers, each with a nonce of its own")
	}
	return a.onLedger(ctx, func(n *node.Remote) error {
		all, err := n.Market(ctx)
		if err != nil {
			return err
		}
		list := []node.Offered{}
		for _, x := range all {
			if o.fits(&x) {
				list = append(list, x)
			}
		}
		if o.list {
			return a.tellMarket(list, o.json)
		}
		if len(list) == 0 {
			return fmt.Errorf("nobody else offers that on this ledger: \"aval ask --list\" shows what there is (%d offers)", len(all))
		}
		p.n = n
		return p.askAny(ctx, o, n, list[:min(len(list), maxTried)], text, interactive)
	})
}

// triedJSON is a node that was asked in vain.
type triedJSON struct {
	Peer    string          `json:"peer"`
	Verdict receipt.Verdict `json:"verdict,omitempty"`
	Detail  string          `json:"detail"`
	Dispute string          `json:"dispute,omitempty"`
	Payment *node.Payment   `json:"payment,omitempty"`
}

// askAny asks one node after the other until one gives an answer that is not
// false.
func (p *peerRun) askAny(ctx context.Context, o *askOptions, n *node.Remote, list []node.Offered, text string, interactive bool) error {
	var tried []triedJSON
	for i, x := range list {
		q := *p
		q.at = peerModel{link: node.Link{Peer: x.Peer, Addresses: o.only.Addresses}, model: x.Name, root: x.Model}
		q.buy = &purchase{o: o, n: n, offer: x}
		var j *peerRunJSON
		err := q.meet(ctx)
		said := &conversation{app: p.app, options: p.o}
		said.setSystem(p.o.system)
		if err == nil && interactive {
			return q.chat(ctx, said)
		}
		if err == nil {
			q.ask(said.messages, text)
			j, err = q.answer(ctx)
		}
		last := i == len(list)-1
		var verdict *verdictError
		lied := errors.As(err, &verdict) && verdict.code == exitInvalid
		if err == nil || last || ctx.Err() != nil || errors.As(err, new(usageError)) || verdict != nil && !lied {
			if j != nil && o.json {
				j.Tried = tried
				if err := p.printRow(j); err != nil {
					return err
				}
			}
			return err
		}
		t := triedJSON{Peer: x.Peer.String()}
		if j != nil {
			t.Verdict, t.Detail, t.Dispute, t.Payment = j.Verdict, j.Detail, j.Dispute, j.Payment
		} else {
			t.Detail = err.Error()
			p.note("aval: %s: %v", x.Peer.Short(), err)
		}
		tried = append(tried, t)
		p.note("asking the next one, %s", list[i+1].Peer.Short())
	}
	return nil
}

// How long a node may take to say what it has, and the ledger for a transaction.
const (
	reachTime  = 20 * time.Second
	ledgerTime = time.Minute
)

// meet asks a node what it has.
func (p *peerRun) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	return p.request(ctx)
}

// purchase is what "aval ask" adds to a question to a peer: it pays, and disputes
// what is false. Nil adds nothing.
type purchase struct {
	o     *askOptions
	n     buyer
	offer node.Offered
}

// buyer is a node of the ledger, in this process or another.
type buyer interface {
	Session(ctx context.Context, in node.SessionRequest) (node.PaySession, error)
	Challenge(ctx context.Context, file []byte) (canon.Hash, error)
}

var _, _ buyer = (*node.Node)(nil), (*node.Remote)(nil)

// disputes tells that a false answer is to be disputed.
func (b *purchase) disputes() bool { return b != nil && !b.o.noDispute }

// session finds or opens the session that pays for an answer; none if it is free.
func (b *purchase) session(ctx context.Context, p *peerRun) (receipt.Hash, error) {
	if b == nil || !p.offered.Paid {
		return receipt.Hash{}, nil
	}
	bytes := len(p.r.Text)
	for _, m := range p.r.Messages {
		bytes += len(m.Content)
	}
	out := p.r.MaxTokens
	if out == 0 {
		out = p.offered.MaxTokens
	}
	terms := payment.Terms{PriceIn: uint64(b.offer.PriceIn), PriceOut: uint64(b.offer.PriceOut)}
	least := terms.Cost(uint64(min(bytes+64, p.offered.Context)), uint64(out)) // bytes are at least as many as tokens
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	s, err := b.n.Session(ctx, node.SessionRequest{
		Peer: p.at.link.Peer, Model: b.offer.Model, Escrow: b.o.most, Least: ledger.Amount(min(least, uint64(b.o.most))), Long: b.o.session,
		PriceIn: b.offer.PriceIn, PriceOut: b.offer.PriceOut,
	})
	if err != nil {
		return receipt.Hash{}, fmt.Errorf("no session pays it: %w", err)
	}
	if s.New && p.o.verbose {
		p.note("a session was opened with %s units, until %s: %s", units(s.Escrow), s.Expires.Local().Format(time.TimeOnly), s.ID)
	}
	return s.ID, nil
}

// end tells what an answer cost, and disputes it if it is false.
func (b *purchase) end(ctx context.Context, p *peerRun, out *node.Asked, j *peerRunJSON) {
	if b == nil {
		return
	}
	who := fmt.Sprintf("%s (%s)", p.at.link.Peer.Short(), recordLine(b.offer.Record))
	if s := out.Payment; s != nil {
		p.note("answered by %s for %s units; %s of the session's %s are promised, the rest comes back", who, units(s.Cost), units(s.Promised), units(s.Escrow))
	} else {
		p.note("answered by %s, for nothing", who)
	}
	if j.Verdict != receipt.Invalid {
		return
	}
	switch {
	case b.o.noDispute:
	case out.Lie != "" || !p.computed || len(out.Receipt) == 0:
		p.note("aval: not disputed: the receipt alone does not show that a computation is false")
	default:
		ctx, cancel := context.WithTimeout(ctx, ledgerTime)
		defer cancel()
		id, err := b.n.Challenge(ctx, out.Receipt)
		if err != nil {
			p.note("aval: not disputed: %v", err)
			return
		}
		j.Dispute = id.String()
		p.note("disputed on the ledger; this device's node plays it: aval dispute show %s", id)
	}
}
