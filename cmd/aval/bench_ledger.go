package main

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/bench"
)

// Batches of the measurement, of as many receipts as the default parameters
// take at once.
const (
	benchBatches = 2_000
	benchBatch   = 1_280
)

// benchLedgerJSON is what "aval bench --ledger --json" prints.
type benchLedgerJSON struct {
	Batches  int     `json:"batches"`
	Receipts int     `json:"receipts_per_batch"`
	Speed    float64 `json:"receipts_per_second"`
}

func (a *app) benchLedger(o *benchOptions) error {
	out := benchLedgerJSON{Batches: benchBatches, Receipts: benchBatch}
	var runs []float64
	for range o.runs {
		n, err := bench.Batches(benchBatches, benchBatch)
		if err != nil {
			return err
		}
		runs = append(runs, n)
	}
	out.Speed = bench.Median(runs)
	if o.json {
		return a.printRow(out)
	}
	return a.table(fmt.Sprintf("batches\t%.0f receipts/s\t(%d batches of %d receipts, on the ledger's machine without consensus)", out.Speed, out.Batches, out.Receipts))
}
