package main

import (
	"github.com/spf13/cobra"
)

func newTrainCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "train [flags] COMMAND",
		Short: "Train models, adapters, small networks and vocabularies",
		Long: `Train makes models learn on this machine. What comes out is a function of the
data, the configuration and the seed: the same bits with any number of threads,
on every machine, and when a run was interrupted and resumed.
` + exitHelp,
		Example: "  aval train tokenizer book.txt -o book.gguf",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTrainTokenizerCommand(a))
	return c
}
