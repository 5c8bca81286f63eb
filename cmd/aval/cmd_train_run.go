package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/internal/train/run"
	"github.com/avalnetwork/aval/receipt/training"
)

// trainOptions are the flags of "aval train lm", "lora" and "classifier".
type trainOptions struct {
	config       run.Config // what the flags say
	file, folder string
	threads      int
	resume, json bool
	receipt      bool
	nonce        string
}

const runHelp = `
RUN is a new folder for all that belongs to the run: its configuration, a log of
every step, checkpoints, the curve of the loss, and the result. Ctrl-C saves; a
run that was interrupted in any way, even by kill -9, goes on with
"aval train %[1]s --resume -o RUN" and gives the same bits as one that was not.

--config reads the flags from a YAML file, with underscores for dashes: the
config.yaml of a RUN repeats it. Flags of the command line have precedence.
`

func newTrainLMCommand(a *app) *cobra.Command {
	return newRunKindCommand(a, run.LM, &cobra.Command{
		Use:   "lm [flags] DATA...",
		Short: "Train a language model, from nothing or further",
		Long: `LM trains a language model on text files, or on JSONL files with one example to
a line: {"text"}, {"prompt", "response"} or {"messages"}. It begins with random
numbers, a new model of the shape that the flags give, for the vocabulary of
--tokenizer or one that is learned from the data; or with --model it trains all
of a model further.
` + fmt.Sprintf(runHelp, run.LM) + exitHelp,
		Example: `  aval train lm book.txt -o book
  aval run book/model.gguf "It was a dark night"
  aval train lm --resume -o book`,
	})
}

func newTrainLoRACommand(a *app) *cobra.Command {
	return newRunKindCommand(a, run.LoRA, &cobra.Command{
		Use:   "lora [flags] MODEL DATA...",
		Short: "Train an adapter beside a frozen model",
		Long: `LoRA trains low-rank updates of some matrices of a model, which stays as it is and
may be quantised, on JSONL or text files as "aval train lm". The result is an
adapter in GGUF: "aval run --lora RUN/adapter.gguf MODEL" uses it, and llama.cpp
reads it too.
` + modelHelp + "\n" + fmt.Sprintf(runHelp, run.LoRA) + exitHelp,
		Example: "  aval train lora model.gguf pairs.jsonl -o pairs\n  aval train lora --rank 16 --targets attn_q,attn_k,attn_v,attn_output model.gguf chats.jsonl -o chats",
	})
}

func newTrainClassifierCommand(a *app) *cobra.Command {
	return newRunKindCommand(a, run.Classifier, &cobra.Command{
		Use:   "classifier [flags] DATA...",
		Short: "Train a small net on numbers with labels",
		Long: `Classifier trains a net of dense layers, or the one that --net describes, on
tables of numbers: CSV files with a column for the label, or an NPY file of
inputs with --labels. The result is net.gguf, which knows how inputs are scaled
and what the classes are called.
` + fmt.Sprintf(runHelp, run.Classifier) + exitHelp,
		Example: "  aval train classifier flowers.csv -o flowers\n  aval train classifier --hidden 256,64 --labels y.npy x.npy -o digits",
	})
}

// newRunKindCommand gives a command the flags of a kind of runs.
func newRunKindCommand(a *app, k run.Kind, c *cobra.Command) *cobra.Command {
	o := &trainOptions{config: run.Defaults(k)}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&o.folder, "output", "o", "", "the folder RUN (required)")
	f.BoolVar(&o.resume, "resume", false, "go on with the run in the folder")
	f.StringVar(&o.file, "config", "", "read the flags from this YAML file")
	f.IntVar(&o.threads, "threads", 0, "compute on so many threads (0: one for each CPU); no bit of the result depends on it")
	for _, field := range o.config.Fields(k) {
		if field.Help != "-" && !(k == run.LoRA && field.Key == "model") {
			addFlag(f, strings.ReplaceAll(field.Key, "_", "-"), field.Help, field.Value)
		}
	}
	f.BoolVar(&o.receipt, "receipt", true, "write a signed receipt of the training, training.aval, which \"aval verify\" can check")
	f.StringVar(&o.nonce, "nonce", "", "HEX of 8 to 32 bytes, from whoever orders the training: the seed follows from it (instead of --seed)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	c.Args = cobra.ArbitraryArgs // what is needed depends on --config and --resume
	c.RunE = func(c *cobra.Command, args []string) error { return a.train(c.Context(), o, f, args) }
	return c
}

// addFlag makes a flag of a field, whose value is the default.
func addFlag(f *pflag.FlagSet, name, help string, value any) {
	switch v := value.(type) {
	case *string:
		f.StringVar(v, name, *v, help)
	case *int:
		f.IntVar(v, name, *v, help)
	case *uint64:
		f.Uint64Var(v, name, *v, help)
	case *float32:
		f.Float32Var(v, name, *v, help)
	case *float64:
		f.Float64Var(v, name, *v, help)
	case *bool:
		f.BoolVar(v, name, *v, help)
	case *[]string:
		f.StringSliceVar(v, name, *v, help)
	case *[]int:
		f.IntSliceVar(v, name, *v, help)
	default:
		panic(fmt.Sprintf("cmd/aval: internal error: flag %s of type %T", name, value))
	}
}

// ownFlags are those that a resumed run may have.
var ownFlags = []string{"output", "resume", "threads", "json", "receipt"}

func (a *app) train(ctx context.Context, o *trainOptions, f *pflag.FlagSet, args []string) error {
	if err := (&modelOptions{threads: o.threads}).check(); err != nil {
		return err
	}
	if o.folder == "" {
		return usageErrorf("where to? name a folder for the run with -o")
	}
	view := &trainView{app: a, kind: o.config.Kind, folder: o.folder}
	opt := run.Options{Threads: o.threads, Kernel: a.getenv("AVAL_KERNEL"), Events: view.events()}
	var (
		result *run.Result
		err    error
	)
	if opt.Sign, err = a.signing(o, f); err != nil {
		return err
	}
	if o.resume {
		var other []string
		f.Visit(func(x *pflag.Flag) {
			if !slices.Contains(ownFlags, x.Name) {
				other = append(other, "--"+x.Name)
			}
		})
		if len(other) > 0 || len(args) > 0 {
			return usageErrorf("a run that is resumed goes on as it began; leave out %s", strings.Join(append(other, args...), " "))
		}
		result, err = run.Resume(ctx, o.config.Kind, o.folder, opt)
	} else {
		if err := a.completeTrain(o, f, args); err != nil {
			return err
		}
		result, err = run.Start(ctx, o.config, o.folder, opt)
	}
	view.end()
	switch {
	case errors.Is(err, run.ErrInterrupted):
		a.note("saved; go on with: aval train %s --resume -o %s", o.config.Kind, o.folder)
		return err
	case errors.Is(err, run.ErrConfig), errors.Is(err, run.ErrExists):
		return usageError{err}
	case err != nil:
		return err
	}
	return a.printTrained(o, result)
}

// signing is what makes the receipt of a run, if one is wanted. A nonce sets the
// seed.
func (a *app) signing(o *trainOptions, f *pflag.FlagSet) (*run.Signing, error) {
	if !o.receipt {
		if o.nonce != "" {
			return nil, usageErrorf("--nonce is for the receipt; it does not go with --receipt=false")
		}
		return nil, nil
	}
	s := &run.Signing{}
	var err error
	if s.Key, err = a.nodeKey(); err != nil {
		return nil, fmt.Errorf("%w (--receipt=false trains without a receipt)", err)
	}
	if o.nonce == "" || o.resume { // a run that is resumed has its nonce
		return s, nil
	}
	if f.Changed("seed") {
		return nil, usageErrorf("--nonce and --seed exclude each other: the seed follows from the nonce")
	}
	seed, err := parseNonce(o.nonce)
	if err != nil {
		return nil, err
	}
	s.Nonce = seed.Nonce
	// Given as a flag, so that a configuration file does not change it.
	return s, f.Set("seed", strconv.FormatUint(training.NonceSeed(s.Nonce), 10))
}

// completeTrain reads the configuration file below the flags, and the arguments.
func (a *app) completeTrain(o *trainOptions, f *pflag.FlagSet, args []string) error {
	if o.file != "" {
		said := map[string]string{}
		lists := map[string][]string{}
		f.Visit(func(x *pflag.Flag) {
			if list, ok := x.Value.(pflag.SliceValue); ok {
				lists[x.Name] = list.GetSlice()
			} else {
				said[x.Name] = x.Value.String()
			}
		})
		if err := o.config.ReadFile(o.file); errors.Is(err, run.ErrConfig) {
			return usageError{err}
		} else if err != nil {
			return err
		}
		for name, value := range said {
			if err := f.Set(name, value); err != nil {
				return usageError{err}
			}
		}
		for name, value := range lists {
			if err := f.Lookup(name).Value.(pflag.SliceValue).Replace(value); err != nil {
				return usageError{err}
			}
		}
	}
	c := &o.config
	if c.Kind == run.LoRA && len(args) > 0 {
		c.Model, args = args[0], args[1:]
	}
	if len(args) > 0 {
		c.Data = args
	}
	if len(c.Data) == 0 {
		if c.Kind == run.LoRA {
			return usageErrorf("a model and data to train on are needed\nusage: aval train lora -o RUN MODEL DATA...")
		}
		return usageErrorf("there is no data to train on\nusage: aval train %s -o RUN DATA...", c.Kind)
	}
	for _, name := range []*string{&c.Model, &c.Tokenizer} {
		if *name == "" {
			continue
		}
		where, err := a.locate(*name)
		if err != nil {
			return err
		}
		*name = where.path
	}
	if len(a.temporary) > 0 { // of a run's configuration nothing may be gone tomorrow
		return errors.New("a run goes on with the model that it began with, which needs a file that stays; set AVAL_MODELS to a folder for it")
	}
	return nil
}

// printTrained tells what came of a run.
func (a *app) printTrained(o *trainOptions, r *run.Result) error {
	if o.json {
		return a.printJSON(r)
	}
	rows := []string{fmt.Sprintf("result\t%s\t(%s parameters, after step %d of %d)", r.File, count(int64(r.Parameters)), r.Step, r.Planned)}
	if r.Validation != nil {
		rows = append(rows, fmt.Sprintf("validation\t%s", r.Validation))
	}
	rows = append(rows, fmt.Sprintf("training\tloss %.4f\t(last steps)", r.Training), "curve\t"+r.Curve)
	if r.Receipt != "" {
		rows = append(rows, "receipt\t"+r.Receipt)
	}
	if r.Steps < r.Planned {
		a.note("stopped after step %d, as the validation loss did not fall any more (--patience)", r.Steps)
	}
	if err := a.table(rows...); err != nil {
		return err
	}
	a.note("%s", nextCommand(o.config.Kind, r, o.config.Model))
	return nil
}

// nextCommand is what the person may want to do now.
func nextCommand(k run.Kind, r *run.Result, model string) string {
	switch k {
	case run.LM:
		return fmt.Sprintf("try it: aval run %s", r.File)
	case run.LoRA:
		if model == "" {
			model = "MODEL"
		}
		return fmt.Sprintf("try it: aval run --lora %s %s", r.File, model)
	}
	return fmt.Sprintf("try it: aval classify %s DATA", r.File)
}
