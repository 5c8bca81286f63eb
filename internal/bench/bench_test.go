package bench_test

import (
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/bench"
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
