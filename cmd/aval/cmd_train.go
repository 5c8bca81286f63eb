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
		Example: "  aval train tokenizer book.txt -o tokenizer.gguf\n  aval train lm --tokenizer tokenizer.gguf book.txt -o book\n  aval train lora model.gguf chats.jsonl -o chats\n  aval train classifier table.csv -o table",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTrainTokenizerCommand(a), newTrainLMCommand(a), newTrainLoRACommand(a), newTrainClassifierCommand(a))
	return c
}
