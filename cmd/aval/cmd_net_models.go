package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/directory"
)

type modelsOptions struct {
	q    directory.Query
	sort string
	root string
	json bool
}

func newNetModelsCommand(a *app) *cobra.Command {
	var o modelsOptions
	c := &cobra.Command{
		Use: "models [flags] [NAME]", Short: "List the models that other people's devices offer", Args: cobra.MaximumNArgs(1),
		Long: `Models lists offers from the directory that devices share with one another; NAME is a
part of the model's name. It asks the node that runs on this machine.

Everything in an offer is what its provider says, signed with its key. CALLS, FAILED
and FALSE are what this machine saw itself: calls, those that failed, and receipts
that were wrong when they were computed again. OTHERS is how many other devices tell
of calls; --json shows what they say. It is never added up: one person can have many
devices.
` + exitHelp,
		Example: "  aval net models\n  aval net models --sort price llama\n  aval net models --unit credits --max-price 20 --context 8192\n  aval net models --json",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.q.Name = args[0]
			}
			o.q.Sort = directory.Order(o.sort)
			if o.root != "" {
				var root canon.Hash
				if err := root.UnmarshalText([]byte(o.root)); err != nil {
					return usageErrorf("--root: %w", err)
				}
				o.q.Root = root
			}
			switch o.q.Sort {
			case directory.ByName, directory.ByPrice, directory.BySpeed, directory.ByTrust:
			default:
				return usageErrorf("--sort %s: want name, price, speed or trust", o.sort)
			}
			if o.q.MaxPrice > 0 && o.q.Unit == "" {
				return usageErrorf("--max-price needs --unit: prices in different units cannot be compared")
			}
			r, err := a.mustRun(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			list, err := r.Offers(c.Context(), o.q)
			if err != nil {
				return err
			}
			if o.json {
				if list == nil {
					list = []directory.Listing{}
				}
				return a.printJSON(list)
			}
			if len(list) == 0 {
				a.note("no offers are known here; they come from peers, so connect with some: \"aval net add\"")
			}
			return a.table(modelsTable(list, time.Now())...)
		},
	}
	f := c.Flags()
	f.StringVar(&o.sort, "sort", string(directory.ByName), "order: name, price, speed, or trust (what this machine saw itself)")
	f.StringVar(&o.root, "root", "", "only the model with this fingerprint")
	f.StringVar(&o.q.Region, "region", "", "only where the provider's region has this in it")
	f.StringVar(&o.q.Unit, "unit", "", "only prices in this unit, and what is free")
	f.Uint64Var(&o.q.MaxPrice, "max-price", 0, "highest price of 1,000 generated tokens, in --unit (default: any)")
	f.Uint64Var(&o.q.Context, "context", 0, "tokens of context, at least")
	f.IntVar(&o.q.Limit, "limit", 0, "how many to list (default: all)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func modelsTable(list []directory.Listing, now time.Time) []string {
	rows := []string{"MODEL\tQUANT\tCONTEXT\tPRICE IN/OUT\tTOKENS/S\tREGION\tENDS IN\tCALLS\tFAILED\tFALSE\tOTHERS\tPROVIDER"}
	for _, l := range list {
		price := "free"
		if l.PriceIn > 0 || l.PriceOut > 0 {
			price = fmt.Sprintf("%d/%d %s", l.PriceIn, l.PriceOut, quoteLine(l.Unit))
		}
		seen := "-\t-\t-"
		if l.Own != nil {
			seen = fmt.Sprintf("%d\t%d\t%d", l.Own.Calls, l.Own.Failures, l.Own.False)
		}
		rows = append(rows, fmt.Sprintf("%.60s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%d\t%s", quoteLine(l.Name), quoteLine(l.Quant), l.Context, price,
			l.Speed, quoteLine(l.Region), time.Unix(l.Expires, 0).Sub(now).Round(time.Minute), seen, l.Observers, l.Provider))
	}
	return rows
}
