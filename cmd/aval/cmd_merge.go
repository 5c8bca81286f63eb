package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter/merge"
	"github.com/avalnetwork/aval/internal/quant"
)

type mergeOptions struct {
	loraOptions
	force, requantize, json bool
}

// mergeJSON is what "aval merge --json" prints.
type mergeJSON struct {
	File     string              `json:"file"`
	Recipe   string              `json:"recipe,omitempty"` // none: the types of the model
	Size     int64               `json:"size"`
	From     int64               `json:"from_size"`
	Adapters []mergedAdapterJSON `json:"adapters"`
}

type mergedAdapterJSON struct {
	File     string  `json:"file"`
	Scale    float32 `json:"scale"`
	Matrices int     `json:"matrices"` // that it changes
}

func newMergeCommand(a *app) *cobra.Command {
	var o mergeOptions
	c := &cobra.Command{
		Use:   "merge [flags] --lora ADAPTER MODEL FILE [RECIPE]",
		Short: "Put adapters (LoRA) into the weights of a model",
		Long: `Merge adds the changes that adapters make to the weights of MODEL and writes the
result to FILE, a model that needs no adapter, for other programs too. Every
tensor keeps its type unless a RECIPE names another:
  ` + strings.Join(quant.Recipes(), " ") + `.
The bytes written depend on nothing but the files, the scales and the recipe.

A merged model answers much as MODEL with --lora does, but not with the same bits:
what is quantised is rounded again. "aval run --lora" rounds nothing.
` + modelHelp + "\n" + loraHelp + "\n" + exitHelp,
		Example: "  aval merge --lora poems.gguf model-Q8_0.gguf poet-Q8_0.gguf\n" +
			"  aval merge --lora poems.gguf=0.7 --lora brief.gguf model-F16.gguf poet.gguf Q4_K_M",
		Args: cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			return a.merge(c.Context(), &o, args[0], args[1], strings.Join(args[2:], ""))
		},
	}
	f := c.Flags()
	o.loraOptions.add(f, "the adapter")
	f.BoolVar(&o.force, "force", false, "replace FILE if it exists")
	f.BoolVar(&o.requantize, "requantize", false, "allow a RECIPE for a MODEL that is itself quantised; the errors add up")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) merge(ctx context.Context, o *mergeOptions, model, dst, name string) error {
	if len(o.lora) == 0 {
		return usageErrorf("name an adapter with --lora")
	}
	var recipe *quant.Recipe
	if name != "" {
		r, err := quant.ParseRecipe(name)
		if err != nil {
			return usageError{err}
		}
		r.Requantize = o.requantize
		recipe = &r
	}
	where, err := a.locate(model)
	if err != nil {
		return err
	}
	if err := replaceable(dst, where.path, o.force); err != nil {
		return err
	}
	list, err := a.readAdapters(&o.loraOptions, false)
	if err != nil {
		return err
	}
	f, err := gguf.Open(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
	wanted, err := o.wanted()
	if err != nil {
		return err
	}
	j := mergeJSON{File: dst, From: f.Size()}
	var parts []merge.Adapter
	for i, m := range list.models {
		parts = append(parts, merge.Adapter{LoRA: m.LoRA, Scale: m.Scale})
		j.Adapters = append(j.Adapters, mergedAdapterJSON{wanted[i].name, m.Scale, len(m.LoRA.Updates)})
	}
	show, end := a.progress("merging")
	err = merge.File(ctx, f, parts, dst, recipe, show)
	end()
	if err != nil {
		return err
	}
	info, err := os.Stat(dst)
	if err != nil {
		return err
	}
	if j.Size = info.Size(); recipe != nil {
		j.Recipe = recipe.Name
	}
	if o.json {
		return a.printJSON(j)
	}
	fmt.Fprintf(a.out, "%s\t%s\t(from %s)\n", dst, size(j.Size), size(j.From))
	return nil
}
