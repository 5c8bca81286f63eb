package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/internal/train/run"
)

type classifyOptions struct {
	threads int
	json    bool
}

// classifyJSON is what "aval classify --json" prints.
type classifyJSON struct {
	Classes     []string         `json:"classes,omitempty"`
	Predictions []run.Prediction `json:"predictions"`
}

func newClassifyCommand(a *app) *cobra.Command {
	var o classifyOptions
	c := &cobra.Command{
		Use:   "classify [flags] NET DATA",
		Short: "Use a net of \"aval train classifier\"",
		Long: `Classify reads a CSV or NPY file of inputs and prints a line for each: the class
that the net takes for the likeliest and its probability, or the number that it
predicts. Columns are found by their names; others, such as a label, do not
matter.
` + exitHelp,
		Example: "  aval classify flowers/net.gguf new.csv",
		Args:    cobra.ExactArgs(2),
		RunE:    func(c *cobra.Command, args []string) error { return a.classify(c.Context(), &o, args[0], args[1]) },
	}
	c.Flags().IntVar(&o.threads, "threads", 0, "compute on so many threads (0: one for each CPU); no bit of the output depends on it")
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) classify(ctx context.Context, o *classifyOptions, path, data string) error {
	if err := (&modelOptions{threads: o.threads}).check(); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return usageErrorf("%s is a folder; name the net in it: %s", path, filepath.Join(path, "net.gguf"))
	}
	p, err := run.OpenPredictor(path, run.Options{Threads: o.threads, Kernel: a.getenv("AVAL_KERNEL")})
	if errors.Is(err, net.ErrFile) {
		return fmt.Errorf("%w: %w", errBadModel, err)
	}
	if err != nil {
		return err
	}
	defer p.Close()
	list, err := p.Predict(ctx, data)
	if err != nil {
		return err
	}
	if o.json {
		return a.printRow(classifyJSON{Classes: p.Classes, Predictions: notNil(list)})
	}
	for _, x := range list {
		line := fmt.Sprintf("%s\t%.4f", quoteLine(x.Class), x.Probability)
		if p.Classes == nil {
			var numbers []string
			for _, v := range x.Outputs {
				numbers = append(numbers, strconv.FormatFloat(float64(v), 'g', -1, 32))
			}
			line = strings.Join(numbers, "\t")
		}
		if _, err := fmt.Fprintln(a.out, line); err != nil {
			return err
		}
	}
	return nil
}
