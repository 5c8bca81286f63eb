package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/node"
)

type modelsOptions struct {
	netOptions
	q    directory.Query
	sort string
	root string
	json bool
}

func newNetModelsCommand(a *app) *cobra.Command {
	var o modelsOptions
	c := &cobra.Command{
		Use: "models [flags] [NAME|PEER]", Short: "List the models that other people's devices offer", Args: cobra.MaximumNArgs(1),
		Long: `With PEER, models lists what that peer serves ("aval net up --serve" there) and lets
this device ask. Otherwise it lists offers from the directory that devices share with
one another; NAME is a part of the model's name. Then it asks the node that runs on
this machine.

Everything in an offer is what its provider says, signed with its key. CALLS, FAILED
and FALSE are what this machine saw itself: calls, those that failed, and receipts
that were wrong when they were computed again. OTHERS is how many other devices tell
of calls; --json shows what they say. It is never added up: one person can have many
devices.
` + peerHelp + "\n" + exitHelp,
		Example: "  aval net models 'peer://12D3Koo...?addr=/ip4/192.0.2.1/udp/4710/quic-v1'\n  aval run peer://12D3Koo.../MODEL \"Why is the sky blue?\"\n  aval net models\n  aval net models --sort price llama\n  aval net models --unit credits --max-price 20 --context 8192\n  aval net models --json",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && isPeer(args[0]) {
				return a.peerModels(c, &o, args[0])
			}
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
			return a.table(offersTable(list, time.Now())...)
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
	o.flags(c)
	return c
}

// isPeer tells a peer from the name of a model.
func isPeer(s string) bool {
	_, err := node.ParseLink(s)
	return err == nil || isPeerModel(s) || strings.HasPrefix(s, "/")
}

// peerModelJSON is a model of a peer.
type peerModelJSON struct {
	Name         string     `json:"name"`
	Root         canon.Hash `json:"root,omitzero"` // fingerprint of its file
	Architecture string     `json:"architecture,omitempty"`
	Quantization string     `json:"quantization,omitempty"`
	Context      int        `json:"context"`
	MaxTokens    int        `json:"max_tokens"`
	Chat         bool       `json:"chat"`
	Receipts     bool       `json:"receipts"`
}

// peerModels lists what a peer serves.
func (a *app) peerModels(c *cobra.Command, o *modelsOptions, arg string) error {
	l, err := link(arg)
	if err != nil {
		return err
	}
	n, _, err := a.join(c.Context(), c, &o.netOptions)
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.Models(c.Context(), l)
	if err != nil {
		return err
	}
	if o.json {
		out := []peerModelJSON{}
		for _, m := range list {
			out = append(out, peerModelJSON{m.Name, m.Root, m.Architecture, m.Quantization, m.Context, m.MaxTokens, m.Chat, m.Receipts})
		}
		return a.printJSON(out)
	}
	if len(list) == 0 {
		a.note("this device may ask none: the owner there can let it, with \"aval access grant\" and your ID (\"aval net id\")")
		return nil
	}
	rows := []string{"MODEL\tARCHITECTURE\tQUANTIZATION\tCONTEXT\tANSWERS\tRECEIPTS"}
	for _, m := range list {
		receipts := "no"
		if m.Receipts {
			receipts = "yes"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\tto %d tokens\t%s", quoteLine(m.Name), quoteLine(m.Architecture), quoteLine(m.Quantization), m.Context, m.MaxTokens, receipts))
	}
	return a.table(rows...)
}

func offersTable(list []directory.Listing, now time.Time) []string {
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
