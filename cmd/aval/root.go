package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/store"
)

// Exit codes, the same for every subcommand.
const (
	exitOK          = 0
	exitFailure     = 1   // anything not below
	exitUsage       = 2   // flags or arguments
	exitNotFound    = 3   // no such model or file
	exitBadModel    = 4   // the file is damaged or of a kind that is not supported
	exitRefused     = 5   // the request cannot be served, such as a prompt that does not fit
	exitInterrupted = 130 // by Ctrl-C, or a signal that asked to end
)

const exitHelp = `
Exit codes:
  0    success
  1    another failure, such as a network that is down
  2    wrong flags or arguments
  3    no such model or file
  4    the model file is damaged or of a kind that is not supported
  5    the request cannot be served, such as a prompt longer than the context
       or data that nothing can be learned from
  130  interrupted`

const modelHelp = `
MODEL is one of
  the path of a GGUF file (of a split one, any part),
  the name of a model in the store (see "aval list"),
  aval-mini, the small model that is built in,
  hf.co/user/repo[:quant], once "aval pull" has fetched it.`

const environmentHelp = `
Environment:
  AVAL_MODELS   the folder of the store (default ~/.aval/models)
  AVAL_KERNEL   force an implementation of the arithmetic: generic or, as the
                machine has, avx2, avx512bw, avx512, neon, neondot
  AVAL_HOST     address for "aval serve" (host or host:port)
  AVAL_API_KEY  key that "aval serve" asks of clients
  AVAL_KEY      file of the key that signs receipts (default ~/.aval/node.key)
  AVAL_PASSPHRASE_FILE
                file with the passphrase of that key, for where nobody can type it
  HF_TOKEN      token for "aval pull"
  HF_ENDPOINT   hub for "aval pull" (default https://huggingface.co)`

// usageError marks errors of the command line itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usageErrorf(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// commands lists the subcommands in the order of the help.
var commands = []func(*app) *cobra.Command{
	newRunCommand, newVerifyCommand, newReceiptCommand, newAuditCommand, newDisputeCommand, newKeyCommand,
	newTrainCommand, newClassifyCommand, newPullCommand, newShareCommand, newDataCommand, newListCommand, newShowCommand, newRmCommand, newServeCommand,
	newUpCommand, newStatusCommand, newAskCommand, newOfferCommand, newLedgerCommand, newLogCommand, newDemoCommand, newNetCommand, newAccessCommand, newUICommand,
	newBenchCommand, newPerplexityCommand, newTokenizeCommand, newQuantizeCommand, newMergeCommand, newVersionCommand,
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "aval",
		Short: "Run language models on plain CPUs, with the same bits on every machine",
		Long: `Aval runs language models in the GGUF format on plain CPUs. The output is a
function of the file, the prompt and the seed: the same bits on every machine,
with any number of threads, alone or beside other requests.
` + modelHelp + "\n" + environmentHelp + "\n" + exitHelp,
		Example: `  aval run
  aval run model.gguf "Once upon a time"
  aval pull hf.co/user/repo:Q4_K_M
  aval serve`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("there is no command %q; \"aval help\" lists them", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	for _, newCommand := range commands {
		c := newCommand(a)
		tellUsage(c)
		root.AddCommand(c)
	}
	return root
}

// tellUsage lets a command, and those below it, tell wrong arguments with the
// line of how it is used.
func tellUsage(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	for _, sub := range c.Commands() {
		tellUsage(sub)
	}
	if c.Args == nil {
		return
	}
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageErrorf("%w\nusage: %s", err, c.UseLine())
		}
		return nil
	}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, a *app, args []string) int {
	root := newRootCommand(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	for _, end := range a.closers {
		end()
	}
	for _, dir := range a.temporary {
		_ = os.RemoveAll(dir) // what cannot be removed does no harm
	}
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if code != exitInterrupted && err.Error() != "" {
		a.fail(err)
	}
	return code
}

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var (
		verdict *verdictError
		usage   usageError
		parse   *gguf.ParseError
		content *model.FileError
		lora    *adapter.FileError
		arch    *model.UnknownArchitectureError
		tooLong *engine.PromptTooLongError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &verdict):
		return verdict.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, store.ErrNotFound), errors.Is(err, errNoModel):
		return exitNotFound
	case errors.As(err, &parse), errors.As(err, &content), errors.As(err, &lora), errors.As(err, &arch), errors.Is(err, errBadModel), errors.Is(err, engine.ErrFile),
		errors.Is(err, engine.ErrNotFinite):
		return exitBadModel
	case errors.As(err, &tooLong), errors.Is(err, engine.ErrRequest), errors.Is(err, engine.ErrEmptyPrompt),
		errors.Is(err, sample.ErrParams), errors.Is(err, errBadData), errors.Is(err, dataset.ErrData):
		return exitRefused
	}
	return exitFailure
}
