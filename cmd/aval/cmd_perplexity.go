package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/token"
)

type perplexityOptions struct {
	modelOptions
	loraOptions
	batch, tokens int
	json          bool
}

// perplexityJSON is what "aval perplexity --json" prints.
type perplexityJSON struct {
	Model       string  `json:"model"`
	Kernel      string  `json:"kernel"`
	Tokens      int     `json:"tokens"`      // of the file, BOS included
	Windows     int     `json:"windows"`     // pieces of at most the context, each read from nothing
	Predictions int     `json:"predictions"` // tokens minus windows
	NLL         float64 `json:"nll"`         // mean negative log-likelihood of a prediction
	Perplexity  float64 `json:"perplexity"`
	SHA256      string  `json:"logits_sha256"`
}

func newPerplexityCommand(a *app) *cobra.Command {
	var o perplexityOptions
	c := &cobra.Command{
		Use:   "perplexity [flags] MODEL FILE",
		Short: "Measure how well a model predicts a text, to the bit",
		Long: `Perplexity tokenizes a text file (BOS first if the model wants it; a line break
at the very end of the file is left out), computes the logits of every position,
and prints the mean negative log-likelihood of each next token, in nats.

A text longer than the context is cut into windows of the context's length, each
read from nothing; the first token of a window is not predicted. logits_sha256
is over the little-endian float32 bits of the logits of every position, in
order. It must be the same with any --threads, --batch and AVAL_KERNEL, on any
machine.
` + modelHelp + "\n" + loraHelp + "\n" + exitHelp,
		Example: "  aval perplexity model.gguf text.txt\n  aval perplexity --threads 1 --batch 7 --json model.gguf text.txt",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.perplexity(c.Context(), &o, args[0], args[1])
		},
	}
	f := c.Flags()
	o.modelOptions.add(f)
	o.loraOptions.add(f, "change the model by this adapter")
	f.IntVar(&o.batch, "batch", 64, "read so many tokens at a time; no bit of the output depends on it")
	f.IntVar(&o.tokens, "tokens", 0, "read only the first N tokens (0: all)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) perplexity(ctx context.Context, o *perplexityOptions, modelName, path string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.batch < 1 || o.batch > 1<<14 {
		return usageErrorf("--batch is %d, want 1 to %d", o.batch, 1<<14)
	}
	where, err := a.locate(modelName)
	if err != nil {
		return err
	}
	text, err := readFile(ctx, path)
	if err != nil {
		return err
	}
	f, err := gguf.Open(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
	tok, err := token.New(f)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadModel, err)
	}
	ids, err := tok.Encode(strings.TrimSuffix(string(text), "\n"), token.EncodeOptions{AddSpecial: true})
	if err != nil {
		return err
	}
	if n := len(ids); n > 0 && tok.AddsEOS() && ids[n-1] == tok.EOS() {
		ids = ids[:n-1]
	}
	if o.tokens > 0 && len(ids) > o.tokens {
		ids = ids[:o.tokens]
	}
	if len(ids) < 2 {
		return usageErrorf("%s has %d tokens; at least 2 are needed", path, len(ids))
	}
	lora, err := a.readAdapters(&o.loraOptions, false)
	if err != nil {
		return err
	}
	m, err := model.Load(f, model.Options{
		Threads: o.threads, Kernel: a.getenv("AVAL_KERNEL"), Context: engine.ContextFor(f, o.context), Adapters: lora.models,
	})
	if err != nil {
		return err
	}
	defer m.Close()
	window := m.Limit()
	show, end := a.progress("reading")
	s := newScorer(m, o.batch)
	for at := 0; at < len(ids); at += window {
		if err := s.read(ctx, ids[at:min(at+window, len(ids))], func(n int) { show(int64(at+n), int64(len(ids))) }); err != nil {
			end()
			return err
		}
	}
	end()
	out := s.result(where.name)
	if o.json {
		return a.printRow(out)
	}
	return a.table(
		fmt.Sprintf("tokens\t%d", out.Tokens),
		fmt.Sprintf("windows\t%d", out.Windows),
		fmt.Sprintf("nll\t%.6f", out.NLL),
		fmt.Sprintf("perplexity\t%.4f", out.Perplexity),
		"logits_sha256\t"+out.SHA256)
}

// scorer adds up what a model says about a text.
type scorer struct {
	model   *model.Model
	machine *tensor.Machine // of one thread
	logits  []float32
	bytes   []byte
	batch   int
	out     perplexityJSON
	sum     float64
	hash    hashWriter
}

type hashWriter interface {
	Write(p []byte) (int, error)
	Sum(b []byte) []byte
}

func newScorer(m *model.Model, batch int) *scorer {
	vocab := m.Config().Vocab
	return &scorer{
		model: m, machine: tensor.New(1, nil), batch: batch, hash: sha256.New(),
		logits: make([]float32, batch*vocab), bytes: make([]byte, 4*vocab),
	}
}

// read takes one window, in chunks of the batch.
func (s *scorer) read(ctx context.Context, ids []int32, progress func(n int)) error {
	seq := s.model.NewSequence()
	defer seq.Close()
	vocab := s.model.Config().Vocab
	for at := 0; at < len(ids); at += s.batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := ids[at:min(at+s.batch, len(ids))]
		step := model.Step{Seq: seq, Tokens: chunk, Want: len(chunk), Logits: s.logits[:len(chunk)*vocab]}
		if err := s.model.Forward([]model.Step{step}); err != nil {
			return err
		}
		for i := range chunk {
			z := s.logits[i*vocab : (i+1)*vocab]
			if !engine.Finite(z) {
				return engine.ErrNotFinite
			}
			for j, x := range z {
				binary.LittleEndian.PutUint32(s.bytes[4*j:], math.Float32bits(x))
			}
			_, _ = s.hash.Write(s.bytes) // a hash does not fail
			if next := at + i + 1; next < len(ids) {
				// The loss of training (spec/training.md, part 1), to the bit.
				var loss [1]float32
				s.machine.SoftmaxCrossEntropy(loss[:], nil, z, ids[next:next+1], 1, vocab, 0)
				s.sum += float64(loss[0])
				s.out.Predictions++
			}
		}
		progress(at + len(chunk))
	}
	s.out.Tokens += len(ids)
	s.out.Windows++
	return nil
}

func (s *scorer) result(name string) perplexityJSON {
	out := s.out
	out.Model, out.Kernel = name, s.model.Kernel()
	out.NLL = s.sum / float64(out.Predictions)
	// Six decimals, so that the last bits of math.Exp, which differ between
	// architectures, do not show.
	out.Perplexity = math.Round(math.Exp(out.NLL)*1e6) / 1e6
	out.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	return out
}
