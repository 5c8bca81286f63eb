package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
)

type quantizeOptions struct{ force, requantize, json bool }

// quantizeJSON is what "aval quantize --json" prints.
type quantizeJSON struct {
	File   string `json:"file"`
	Recipe string `json:"recipe"`
	Size   int64  `json:"size"`
	From   int64  `json:"from_size"`
}

func newQuantizeCommand(a *app) *cobra.Command {
	var o quantizeOptions
	c := &cobra.Command{
		Use:   "quantize [flags] MODEL FILE RECIPE",
		Short: "Write a smaller file of a model",
		Long: `Quantize writes a model's weights in fewer bits, as a GGUF file that other programs
load too. RECIPE is one of
  ` + strings.Join(quant.Recipes(), " ") + `.
Rows of a length that a block format does not divide get the next format that
does, as is usual. The bytes written depend on nothing but the weights and the
recipe.
` + modelHelp + "\n" + exitHelp,
		Example: "  aval quantize model-F16.gguf model-Q8_0.gguf Q8_0",
		Args:    cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			return a.quantize(c.Context(), &o, args[0], args[1], args[2])
		},
	}
	f := c.Flags()
	f.BoolVar(&o.force, "force", false, "replace FILE if it exists")
	f.BoolVar(&o.requantize, "requantize", false, "allow a MODEL that is itself quantised; the errors add up")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) quantize(ctx context.Context, o *quantizeOptions, model, dst, name string) error {
	recipe, err := quant.ParseRecipe(name)
	if err != nil {
		return usageError{err}
	}
	recipe.Requantize = o.requantize
	where, err := a.locate(model)
	if err != nil {
		return err
	}
	if err := replaceable(dst, where.path, o.force); err != nil {
		return err
	}
	f, err := gguf.Open(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
	show, end := a.progress(recipe.Name)
	err = quant.QuantizeFile(ctx, f, dst, recipe, show)
	end()
	if err != nil {
		return err
	}
	info, err := os.Stat(dst)
	if err != nil {
		return err
	}
	if o.json {
		return a.printJSON(quantizeJSON{File: dst, Recipe: recipe.Name, Size: info.Size(), From: f.Size()})
	}
	fmt.Fprintf(a.out, "%s\t%s\t(from %s)\n", dst, size(info.Size()), size(f.Size()))
	return nil
}

// replaceable reports why a file cannot be written that is made from the model
// src.
func replaceable(dst, src string, force bool) error {
	info, err := os.Stat(dst)
	if err != nil {
		return nil // creating it says what is wrong
	}
	if from, err := os.Stat(src); err == nil && os.SameFile(info, from) {
		return usageErrorf("%s is the model itself; write to another file", dst)
	}
	if !info.Mode().IsRegular() {
		return usageErrorf("%s is not a file that can be replaced (%v); write to another", dst, info.Mode().Type())
	}
	if !force {
		return usageErrorf("%s exists; replace it with --force", dst)
	}
	return nil
}
