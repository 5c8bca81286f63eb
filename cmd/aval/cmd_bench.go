package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/bench"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
)

// Limits of a measurement.
const (
	maxBenchTokens = 1 << 17
	maxBenchRuns   = 1000
	syntheticSeed  = 1
)

type benchOptions struct {
	modelOptions
	loraOptions
	prompt, generate, runs, dispute int
	synthetic, quant                string
	roof, receipts, ledger, json    bool
}

// benchJSON is what "aval bench --json" prints. The speeds are medians.
type benchJSON struct {
	Model    string    `json:"model"`
	Kernel   string    `json:"kernel"`
	Threads  int       `json:"threads"`
	File     int64     `json:"file_bytes"`
	Load     float64   `json:"load_seconds"`
	Prompt   int       `json:"prompt_tokens"`
	Generate int       `json:"generate_tokens"`
	Prefill  float64   `json:"prefill_tokens_per_second"`
	Decode   float64   `json:"decode_tokens_per_second"`
	Prefills []float64 `json:"prefill_runs"`
	Decodes  []float64 `json:"decode_runs"`
	Roof     *roofJSON `json:"roof,omitempty"`
}

// roofJSON is what the machine can do at most, measured beside the model, and
// the share of it that the model reaches.
type roofJSON struct {
	Bandwidth    float64 `json:"read_bytes_per_second"`
	Peak         float64 `json:"int8_operations_per_second,omitempty"`
	DecodeShare  float64 `json:"decode_share_of_bandwidth"`
	PrefillShare float64 `json:"prefill_share_of_peak,omitempty"`
}

func newBenchCommand(a *app) *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench [flags] [MODEL]",
		Short: "Measure the speed of a model",
		Long: `Bench measures how many tokens a second a model reads (prefill) and writes
(decode), without sampling, after a warm-up that is not counted. It prints medians
and the spread.

--synthetic makes a file of random weights in one of the shapes 135M, 0.5B, 1.1B
from a fixed seed, and keeps it in the cache folder, so that anyone can repeat a
measurement.

--receipts measures receipts instead: what an answer of -n tokens to a prompt of
-p tokens costs with a receipt and with a trace, what checking it costs, in full
and by a sample, and with --dispute how long a dispute about an answer takes.
Shares are of the processor time that the answer itself takes.

--ledger measures the ledger instead, without a model: how many receipts a second
nodes can account for by batches.

--roof also measures how fast memory can be read and, where the kernel has a dot
product instruction, the peak of int8 arithmetic, and says what share of them the
model reaches.
` + modelHelp + "\n" + exitHelp,
		Example: "  aval bench model.gguf\n  aval bench --threads 2 -p 512 -n 128 --synthetic 0.5B --quant Q4_K_M\n" +
			"  aval bench --ledger\n" +
			"  aval bench --receipts --threads 2 -p 64 -n 256 --dispute 512 --synthetic 0.5B",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if o.ledger {
				if len(args) > 0 || o.synthetic != "" || o.receipts || o.roof {
					return usageErrorf("--ledger measures no model; it goes with --runs and --json alone")
				}
				if err := o.validate(); err != nil {
					return err
				}
				return a.benchLedger(&o)
			}
			if (len(args) == 1) == (o.synthetic != "") {
				return usageErrorf("name a MODEL, or a shape with --synthetic")
			}
			return a.bench(c.Context(), &o, strings.Join(args, ""))
		},
	}
	f := c.Flags()
	o.addThreads(f)
	o.loraOptions.add(f, "change the model by this adapter")
	f.IntVarP(&o.prompt, "prompt", "p", 512, "tokens to read")
	f.IntVarP(&o.generate, "generate", "n", 128, "tokens to write")
	f.IntVar(&o.runs, "runs", 3, "how many times")
	f.StringVar(&o.synthetic, "synthetic", "", "measure a synthetic model of this shape: "+strings.Join(quant.Shapes(), ", "))
	f.StringVar(&o.quant, "quant", "Q8_0", "the recipe of the synthetic model")
	f.BoolVar(&o.receipts, "receipts", false, "measure receipts, audits and, with --dispute, disputes")
	f.IntVar(&o.dispute, "dispute", 0, "with --receipts: measure disputes about an answer of so many tokens, too")
	f.BoolVar(&o.ledger, "ledger", false, "measure the ledger instead of a model")
	f.BoolVar(&o.roof, "roof", false, "measure the limits of the machine too")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (o *benchOptions) validate() error {
	for _, f := range []struct {
		name           string
		v, least, most int
	}{{"--prompt", o.prompt, 0, maxBenchTokens}, {"--generate", o.generate, 0, maxBenchTokens}, {"--runs", o.runs, 1, maxBenchRuns}, {"--dispute", o.dispute, 0, maxBenchTokens}} {
		if f.v < f.least || f.v > f.most {
			return usageErrorf("%s is %d, want %d to %d", f.name, f.v, f.least, f.most)
		}
	}
	if o.prompt == 0 && o.generate == 0 {
		return usageErrorf("--prompt and --generate are both 0: there is nothing to measure")
	}
	if len(o.lora) > 0 && o.receipts {
		return usageErrorf("--receipts measures models without adapters; leave out --lora")
	}
	if o.dispute > 0 && !o.receipts || o.roof && o.receipts {
		return usageErrorf("--dispute belongs to --receipts, and --roof does not")
	}
	return o.check()
}

func (a *app) bench(ctx context.Context, o *benchOptions, modelName string) error {
	if err := o.validate(); err != nil {
		return err
	}
	where, err := a.benchModel(ctx, o, modelName)
	if err != nil {
		return err
	}
	if o.receipts {
		return a.benchReceipts(ctx, o, where)
	}
	begin := time.Now()
	f, err := gguf.Open(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
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
	out := benchJSON{
		Model: where.name, Kernel: m.Kernel(), Threads: m.Threads(), File: f.Size(), Load: time.Since(begin).Seconds(),
		Prompt: o.prompt, Generate: o.generate,
	}
	if need := max(o.prompt, o.generate+1); need > m.Limit() {
		return usageErrorf("%d tokens are more than the model's context of %d", need, m.Limit())
	}
	rates, err := bench.Speed(m, o.prompt, o.generate, o.runs)
	if err != nil {
		return err
	}
	out.Prefills, out.Decodes = notNil(rates.Prefill), notNil(rates.Decode)
	out.Prefill, out.Decode = bench.Median(out.Prefills), bench.Median(out.Decodes)
	if o.roof {
		out.Roof = measureRoof(m, out.Prefill, out.Decode)
	}
	if o.json {
		return a.printRow(out)
	}
	rows := []string{
		fmt.Sprintf("model\t%s, %s", out.Model, size(out.File)),
		fmt.Sprintf("kernel\t%s, %d threads", out.Kernel, out.Threads),
		fmt.Sprintf("load\t%.2f s", out.Load),
		fmt.Sprintf("prefill\t%.1f tokens/s\t(%d tokens; %s)", out.Prefill, o.prompt, spread(out.Prefills)),
		fmt.Sprintf("decode\t%.1f tokens/s\t(%d tokens; %s)", out.Decode, o.generate, spread(out.Decodes)),
	}
	if r := out.Roof; r != nil {
		rows = append(rows, fmt.Sprintf("memory\t%.1f GB/s\t(decode reads %.0f %% of it)", r.Bandwidth/1e9, 100*r.DecodeShare))
		if r.Peak > 0 {
			rows = append(rows, fmt.Sprintf("int8 peak\t%.3f TOPS\t(prefill does %.0f %% of it)", r.Peak/1e12, 100*r.PrefillShare))
		}
	}
	return a.table(rows...)
}

// measureRoof measures the machine with as many threads as the model has.
func measureRoof(m *model.Model, prefill, decode float64) *roofJSON {
	k, err := kernel.Named(m.Kernel())
	if err != nil {
		panic("aval: internal error: " + err.Error()) // the model runs on it
	}
	roof := bench.Measure(k, m.Threads())
	bytes, macs := m.Work()
	r := &roofJSON{Bandwidth: roof.BytesPerSecond, Peak: roof.OpsPerSecond}
	r.DecodeShare = decode * float64(bytes) / roof.BytesPerSecond
	if roof.OpsPerSecond > 0 {
		r.PrefillShare = prefill * 2 * float64(macs) / roof.OpsPerSecond
	}
	return r
}

// benchModel finds the model, or makes it.
func (a *app) benchModel(ctx context.Context, o *benchOptions, modelName string) (located, error) {
	if o.synthetic == "" {
		return a.locate(modelName)
	}
	recipe, err := quant.ParseRecipe(o.quant)
	if err != nil {
		return located{}, usageError{err}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return located{}, err
	}
	dir := filepath.Join(cache, "aval")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return located{}, err
	}
	name := fmt.Sprintf("synthetic-%s-%s.gguf", o.synthetic, recipe.Name)
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return located{name: name, path: path}, nil
	}
	a.note("making %s", path)
	// Under another name until it is whole.
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	defer os.Remove(tmp)
	show, end := a.progress(name)
	err = quant.Synthetic(ctx, tmp, o.synthetic, recipe, syntheticSeed, show)
	end()
	if err != nil {
		return located{}, err
	}
	return located{name: name, path: path}, os.Rename(tmp, path)
}

func spread(x []float64) string {
	if len(x) == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.1f to %.1f in %d runs", slices.Min(x), slices.Max(x), len(x))
}
