package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/receipt"
)

// netModelJSON is a model of "aval net models --json".
type netModelJSON struct {
	Name         string       `json:"name"`
	Root         receipt.Hash `json:"root,omitzero"` // fingerprint of its file
	Architecture string       `json:"architecture,omitempty"`
	Quantization string       `json:"quantization,omitempty"`
	Context      int          `json:"context"`
	MaxTokens    int          `json:"max_tokens"`
	Chat         bool         `json:"chat"`
	Receipts     bool         `json:"receipts"`
}

func newNetModelsCommand(a *app) *cobra.Command {
	var o netOptions
	var asJSON bool
	c := &cobra.Command{
		Use: "models [flags] PEER", Short: "List the models of a peer that this device may ask", Args: cobra.ExactArgs(1),
		Long:    "Models lists what a peer serves (\"aval net up --serve\" there) and lets this device ask.\n" + peerHelp + "\n" + exitHelp,
		Example: "  aval net models 'peer://12D3Koo...?addr=/ip4/192.0.2.1/udp/4710/quic-v1'\n  aval run peer://12D3Koo.../MODEL \"Why is the sky blue?\"",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := link(args[0])
			if err != nil {
				return err
			}
			n, _, err := a.join(c.Context(), c, &o)
			if err != nil {
				return err
			}
			defer n.Close()
			list, err := n.(peerAsker).Models(c.Context(), l)
			if err != nil {
				return err
			}
			if asJSON {
				out := []netModelJSON{}
				for _, m := range list {
					out = append(out, netModelJSON{m.Name, m.Root, m.Architecture, m.Quantization, m.Context, m.MaxTokens, m.Chat, m.Receipts})
				}
				return a.printJSON(out)
			}
			if len(list) == 0 {
				a.note("this device may ask none: the owner there can let it, with \"aval access grant\" and your ID (\"aval net id\")")
				return nil
			}
			return a.table(modelsTable(list)...)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	o.flags(c)
	return c
}

func modelsTable(list []remote.Model) []string {
	rows := []string{"MODEL\tARCHITECTURE\tQUANTIZATION\tCONTEXT\tANSWERS\tRECEIPTS"}
	for _, m := range list {
		receipts := "no"
		if m.Receipts {
			receipts = "yes"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\tto %d tokens\t%s", quoteLine(m.Name), quoteLine(m.Architecture), quoteLine(m.Quantization), m.Context, m.MaxTokens, receipts))
	}
	return rows
}
