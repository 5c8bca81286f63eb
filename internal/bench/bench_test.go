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

// TestReceiptsMeasuresAll looks that each figure is there; what it is depends
// on the machine.
func TestReceiptsMeasuresAll(t *testing.T) {
	path := testdata.Shared(t, "weights", "stories260K", "stories260K-p192-Q8_0.gguf")
	c, err := bench.Receipts(t.Context(), path, bench.ReceiptOptions{Prompt: 6, Answer: 8, Runs: 2, Dispute: 10})
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]bench.Cost{
		"plain": c.Plain, "receipt": c.Receipt, "traced": c.Traced, "sign": c.Sign, "full": c.Full, "sampled": c.Sampled, "opening": c.Opening,
	} {
		if len(list) != 2 || list[0].Wall <= 0 || list[1].Wall <= 0 {
			t.Errorf("%s: %v, want two times", name, list)
		}
	}
	if c.Cells < 1 || c.Outputs < 1 || c.Found < 0.99 || c.FoundOutputs < 0.99 || c.Opened == 0 || c.Size == 0 {
		t.Errorf("sample of %d cells and %d outputs, found with %v and %v, %d bytes, receipt of %d",
			c.Cells, c.Outputs, c.Found, c.FoundOutputs, c.Opened, c.Size)
	}
	if len(c.Offline) != 2 || len(c.OfflineOpen) != 2 || c.Offline[0] <= 0 {
		t.Errorf("offline %v, %v", c.Offline, c.OfflineOpen)
	}
	if d := c.Dispute; d == nil || d.Positions != 15 || len(d.Games) == 0 || len(d.Leaves) == 0 {
		t.Errorf("dispute %+v", d)
	}
	if _, err := bench.Receipts(t.Context(), path, bench.ReceiptOptions{Prompt: 6, Answer: 8}); err == nil {
		t.Error("no run was measured")
	}
}

func TestBatches(t *testing.T) {
	if n, err := bench.Batches(3, 100); err != nil || n <= 0 {
		t.Errorf("%v receipts a second, %v", n, err)
	}
	if _, err := bench.Batches(1, 1281); err == nil {
		t.Error("a batch that the ledger refuses is measured")
	}
	if _, err := bench.Batches(0, 1); err == nil {
		t.Error("nothing is measured")
	}
}
