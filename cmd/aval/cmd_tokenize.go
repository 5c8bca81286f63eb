package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/token"
)

type tokenizeOptions struct{ noSpecial, parseSpecial, json bool }

// tokenizeJSON is what "aval tokenize --json" prints.
type tokenizeJSON struct {
	IDs []int32 `json:"ids"`
}

func newTokenizeCommand(a *app) *cobra.Command {
	var o tokenizeOptions
	c := &cobra.Command{
		Use:   "tokenize [flags] MODEL < TEXT",
		Short: "Turn text into token ids",
		Long: `Tokenize reads text from standard input, all of it and unchanged, and prints the
tokens the model would see: one to a line, its id and its text.
` + modelHelp + "\n" + exitHelp,
		Example: "  printf 'Hello world' | aval tokenize model.gguf\n  aval tokenize --no-special --json model.gguf < text.txt",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.tokenize(c.Context(), &o, args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.noSpecial, "no-special", false, "do not add tokens such as BOS, and take the texts of control tokens for plain text")
	f.BoolVar(&o.parseSpecial, "parse-special", false, "with --no-special: recognise the texts of control tokens all the same")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) tokenize(ctx context.Context, o *tokenizeOptions, model string) error {
	where, err := a.locate(model)
	if err != nil {
		return err
	}
	f, err := gguf.Inspect(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
	tok, err := token.New(f)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadModel, err)
	}
	text, err := readText(ctx, a.in, "standard input")
	if err != nil {
		return err
	}
	ids, err := tok.Encode(string(text), token.EncodeOptions{
		AddSpecial: !o.noSpecial, ParseSpecial: !o.noSpecial || o.parseSpecial,
	})
	if err != nil {
		return err
	}
	if o.json {
		return a.printRow(tokenizeJSON{IDs: notNil(ids)})
	}
	for _, id := range ids {
		if _, err := fmt.Fprintf(a.out, "%d\t%s\n", id, quoteLine(tok.Text(id))); err != nil {
			return err
		}
	}
	return nil
}
