package bench_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/bench"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testdata"
)

func TestSpeedCountsRuns(t *testing.T) {
	f, err := gguf.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-p192-Q8_0.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := bench.Speed(m, 20, 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Prefill) != 3 || len(r.Decode) != 3 || bench.Median(r.Decode) <= 0 {
		t.Errorf("rates %+v, want three of each", r)
	}
	if _, err := bench.Speed(m, 1<<20, 0, 1); err == nil {
		t.Error("a prompt longer than the context was measured")
	}
}

var file = flag.String("model", "", "GGUF file to measure in TestFile")
var threads = flag.Int("threads", 0, "")
var kern = flag.String("kernel", "", "")
var prompt = flag.Int("p", 512, "")
var decode = flag.Int("n", 64, "")

func TestFile(t *testing.T) {
	if *file == "" {
		t.Skip("no -model")
	}
	start := time.Now()
	f, err := gguf.Open(*file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(f, model.Options{Threads: *threads, Kernel: *kern})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("load %.2fs ", time.Since(start).Seconds())
	r, err := bench.Speed(m, *prompt, *decode, 3)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("prefill %.1f decode %.1f\n", bench.Median(r.Prefill), bench.Median(r.Decode))
}

func TestRoof(t *testing.T) {
	if *file == "" {
		t.Skip("no -model")
	}
	for _, n := range []int{1, 2} {
		r := bench.Measure(kernel.Best(), n)
		fmt.Printf("roof %d threads: %.1f GB/s %.3f TOPS\n", n, r.BytesPerSecond/1e9, r.OpsPerSecond/1e12)
	}
}
