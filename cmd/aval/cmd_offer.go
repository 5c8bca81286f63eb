package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node"
)

type offerOptions struct {
	price, region, licence, bond string
	end, json                    bool
}

func newOfferCommand(a *app) *cobra.Command {
	var o offerOptions
	c := &cobra.Command{
		Use: "offer [flags] [MODEL]", Short: "Offer a model on the ledger; see what is offered", Args: cobra.MaximumNArgs(1),
		Long: `Offer puts an offer of a model that this device's node serves ("aval up --serve
MODEL") on the ledger, for everybody to find. It also bonds units of this device's
account, which it loses if an answer of it is proved false, and registers the model,
if nobody did. Without MODEL it shows what all nodes offer, the ones to prefer first.
` + exitHelp,
		Example: "  aval offer\n  aval offer smollm2 --price 1/4 --licence Apache-2.0\n  aval offer smollm2 --end",
		RunE:    func(c *cobra.Command, args []string) error { return a.offer(c.Context(), &o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.price, "price", "0/0", "what a million tokens read and written cost, in units")
	f.StringVar(&o.region, "region", "", "where this device is, in words")
	f.StringVar(&o.licence, "licence", "", "the model's, as SPDX writes it, if it is to be registered")
	f.StringVar(&o.bond, "bond", "", "units that this device is to have bonded at least (default the least that is allowed)")
	f.BoolVar(&o.end, "end", false, "end the offer")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

// prices reads "IN/OUT" in units.
func prices(s string) (in, out ledger.Amount, err error) {
	a, b, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, usageErrorf("--price %q: want IN/OUT, what a million tokens read and written cost in units, such as 1/4", clip(s))
	}
	if in, err = parseUnits(a); err == nil {
		out, err = parseUnits(b)
	}
	if err != nil {
		return 0, 0, usageErrorf("--price: %w", err)
	}
	return in, out, nil
}

func (a *app) offer(ctx context.Context, o *offerOptions, args []string) error {
	if len(args) == 0 {
		return a.onLedger(ctx, func(r *node.Remote) error {
			list, err := r.Market(ctx)
			if err != nil {
				return err
			}
			return a.tellMarket(list, o.json)
		})
	}
	r := node.OfferRequest{Name: args[0], Licence: o.licence, Region: o.region, End: o.end}
	var err error
	if r.PriceIn, r.PriceOut, err = prices(o.price); err != nil {
		return err
	}
	if o.bond != "" {
		if r.Bond, err = parseUnits(o.bond); err != nil {
			return usageErrorf("--bond: %w", err)
		}
	}
	return a.onLedger(ctx, func(n *node.Remote) error {
		done, err := n.OfferModel(ctx, r)
		if err != nil {
			return err
		}
		if o.json {
			return a.printJSON(done)
		}
		for _, s := range done {
			if err := a.tellSent(s, false); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) tellMarket(list []node.Offered, asJSON bool) error {
	if asJSON {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.note("nobody offers anything on this ledger yet")
		return nil
	}
	fmt.Fprintf(a.out, "%-20s %-14s %9s %9s %8s %10s  %s\n", "MODEL", "NODE", "IN", "OUT", "TOKENS/S", "BOND", "RECORD")
	for _, o := range list {
		who := o.Peer.Short()
		if o.Self {
			who = "this one"
		}
		fmt.Fprintf(a.out, "%-20s %-14s %9s %9s %8d %10s  %s\n", clipTo(o.Name, 20), who, units(o.PriceIn), units(o.PriceOut), o.Speed, units(o.Bond), recordLine(o.Record))
	}
	return nil
}

// recordLine says how audits of a node went.
func recordLine(r ledger.Record) string {
	if r == (ledger.Record{}) {
		return "no audits yet"
	}
	s := fmt.Sprintf("%d passed, %d false", r.Passed, r.Failed)
	if r.Audits+r.Missed > 0 {
		s += fmt.Sprintf("; audited %d, missed %d", r.Audits, r.Missed)
	}
	return s
}

// clipTo shortens a name for a column.
func clipTo(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
