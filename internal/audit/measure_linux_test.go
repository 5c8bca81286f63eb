package audit_test

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

var (
	measure       = flag.String("measure", "", "measure with these models: a pattern of files, such as 'synthetic-*-Q8_0.gguf'")
	measureRounds = flag.Int("rounds", 3, "how many times; medians are reported")
	measureTokens = flag.Int("tokens", 256, "tokens of the answer")
	measurePrompt = flag.Int("prompt", 64, "tokens of the prompt")
	measureHot    = flag.Float64("temperature", 0, "of the answer")
	measureTopK   = flag.Int("top-k", 40, "of the answer that is checked in the benchmark")
	measureKernel = flag.String("kernel", "", "implementation of the arithmetic")
)

// cost is what something took.
type cost struct{ cpu, wall time.Duration }

// costOf measures the processor time of the whole process.
func costOf(f func()) cost {
	var a, b syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &a)
	start := time.Now()
	f()
	wall := time.Since(start)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &b)
	return cost{time.Duration(b.Utime.Nano() + b.Stime.Nano() - a.Utime.Nano() - a.Stime.Nano()), wall}
}

// median by processor time, and by wall time.
func median(list []cost) cost {
	s := slices.Clone(list)
	slices.SortFunc(s, func(a, b cost) int { return int(a.cpu - b.cpu) })
	cpu := s[len(s)/2].cpu
	slices.SortFunc(s, func(a, b cost) int { return int(a.wall - b.wall) })
	return cost{cpu, s[len(s)/2].wall}
}

// TestMeasure compares what an answer, its trace and its audits cost, on two
// threads, in turns.
func TestMeasure(t *testing.T) {
	if *measure == "" {
		t.Skip("measures only with -measure")
	}
	files, err := filepath.Glob(*measure)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files are %q (%v)", *measure, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".gguf"), func(t *testing.T) { measureModel(t, path) })
	}
}

// BenchmarkChecks checks one answer again and again, in full and by a sample:
// for profiles of those who check alone, and where what -run Measure does would
// take too long.
func BenchmarkChecks(b *testing.B) {
	if *measure == "" {
		b.Skip("measures only with -measure")
	}
	e, err := engine.Open(*measure, engine.Options{Threads: 2, CacheBytes: -1, Kernel: *measureKernel})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	prompt := make([]int32, *measurePrompt)
	for i := range prompt {
		prompt[i] = int32(i*7919%20000 + 10)
	}
	sampling := sample.Params{Temperature: float32(*measureHot), TopK: *measureTopK, TopP: 0.95, Seed: 1}
	generate := func(n int) *engine.Result {
		res, err := e.Generate(b.Context(), engine.Request{Prompt: prompt, MaxTokens: n, IgnoreEOS: true, Trace: true, Params: sampling}, nil)
		if err != nil {
			b.Fatal(err)
		}
		return res
	}
	generate(16) // warm-up
	var res *engine.Result
	whole := costOf(func() { res = generate(*measureTokens) })
	b.Logf("the answer, with a trace: %.3f s of CPU, %.3f s", whole.cpu.Seconds(), whole.wall.Seconds())
	answer := &answered{result: res, claims: receipt.Claims{
		Model: fingerprint, Seed: receipt.SelfSeed(1), Time: now.Unix(), Stop: receipt.StopLength, Trace: commitment(res.Trace),
		Params: receipt.Params{MaxTokens: *measureTokens, IgnoreEOS: true, Temperature: sampling.Temperature, TopK: sampling.TopK, TopP: 0.95},
	}}
	answer.transcript = receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: prompt, Output: res.Drawn(), Text: res.Text,
	}
	f := answer.sign(b)
	o := receipt.Options{Now: now}
	c := audit.NewChallenge(f.Receipt.Hash(), [32]byte{5}, e.Config().Layers, len(prompt)+*measureTokens-1, *measureTokens)
	opening, err := a.Open(b.Context(), f, c)
	if err != nil {
		b.Fatal(err)
	}
	data, err := opening.Encode()
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, f func() (receipt.Report, error)) {
		b.Run(name, func(b *testing.B) {
			used := costOf(func() {
				for b.Loop() {
					if r, err := f(); err != nil || r.Failed() != nil {
						b.Fatalf("%v\n%s", err, &r)
					}
				}
			})
			cpu := used.cpu.Seconds() / float64(b.N)
			b.ReportMetric(1e3*cpu, "cpu-ms/op")
			b.ReportMetric(100*cpu/whole.cpu.Seconds(), "%ofanswer")
		})
	}
	run("full", func() (receipt.Report, error) { return a.Full(b.Context(), f, audit.Options{Options: o}) })
	run("sampled", func() (receipt.Report, error) {
		opening, err := trace.Decode(data)
		if err != nil {
			return receipt.Report{}, err
		}
		return a.Sampled(b.Context(), f, c, opening, o)
	})
}

func measureModel(t *testing.T, path string) {
	e, err := engine.Open(path, engine.Options{Threads: 2, CacheBytes: -1, Kernel: *measureKernel})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	prompt := make([]int32, *measurePrompt)
	for i := range prompt {
		prompt[i] = int32(i*7919%20000 + 10)
	}
	params := receipt.Params{MaxTokens: *measureTokens, IgnoreEOS: true, Temperature: float32(*measureHot), TopP: 0.95}
	seed := receipt.SelfSeed(1)
	generate := func(traced bool, n int) *engine.Result {
		res, err := e.Generate(t.Context(), engine.Request{
			Prompt: prompt, MaxTokens: n, IgnoreEOS: true, Trace: traced,
			Params: sample.Params{Temperature: params.Temperature, TopP: params.TopP, Seed: 1},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	generate(true, 16) // warm-up
	var plain, traced, full, partly, opened, sampled []cost
	var bytes int
	for range *measureRounds {
		var res *engine.Result
		plain = append(plain, costOf(func() { generate(false, *measureTokens) }))
		traced = append(traced, costOf(func() { res = generate(true, *measureTokens) }))
		b := &answered{result: res, claims: receipt.Claims{
			Model: fingerprint, Params: params, Seed: seed, Time: now.Unix(), Stop: receipt.StopLength, Trace: commitment(res.Trace),
		}}
		b.transcript = receipt.Transcript{
			Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: prompt, Output: res.Drawn(), Text: res.Text,
		}
		f := b.sign(t)
		o := audit.Options{Options: receipt.Options{Now: now}}
		check := func(r receipt.Report, err error) {
			t.Helper()
			if err != nil || r.Failed() != nil {
				t.Fatalf("%v\n%s", err, &r)
			}
		}
		full = append(full, costOf(func() { check(a.Full(t.Context(), f, o)) }))
		c := audit.NewChallenge(f.Receipt.Hash(), [32]byte{5}, e.Config().Layers, len(prompt)+*measureTokens-1, *measureTokens)
		o.Outputs = c.Outputs
		partly = append(partly, costOf(func() { check(a.Full(t.Context(), f, o)) }))
		var data []byte
		opened = append(opened, costOf(func() {
			opening, err := a.Open(t.Context(), f, c)
			if err != nil {
				t.Fatal(err)
			}
			if data, err = opening.Encode(); err != nil {
				t.Fatal(err)
			}
		}))
		bytes = len(data)
		sampled = append(sampled, costOf(func() {
			opening, err := trace.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			check(a.Sampled(t.Context(), f, c, opening, o.Options))
		}))
	}
	base := median(plain)
	row := func(name string, list []cost) {
		m := median(list)
		t.Logf("%-22s cpu %8.3f s %6.2f %%   wall %8.3f s %6.2f %%", name, m.cpu.Seconds(), 100*m.cpu.Seconds()/base.cpu.Seconds(),
			m.wall.Seconds(), 100*m.wall.Seconds()/base.wall.Seconds())
	}
	t.Logf("kernel %q, %d threads, prompt %d, answer %d, temperature %v, median of %d", *measureKernel, 2, *measurePrompt, *measureTokens, *measureHot, *measureRounds)
	row("answer", plain)
	row("answer with trace", traced)
	row("full check", full)
	row("full, some outputs", partly)
	row("prover opens", opened)
	row("sampled check", sampled)
	t.Logf("opened %d bytes", bytes)
}
