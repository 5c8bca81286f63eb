package rerun_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/quant"
)

// BenchmarkDispute measures on models of published sizes, with an answer of 512
// tokens. It prints tables; run it with -v -benchtime 1x.
func BenchmarkDispute(b *testing.B) {
	for _, name := range []string{"135M", "0.5B", "1.1B"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), name+".gguf")
			recipe, err := quant.ParseRecipe(gguf.Q8_0.String())
			if err != nil {
				b.Fatal(err)
			}
			if err := quant.Synthetic(context.Background(), path, name, recipe, 1, nil); err != nil {
				b.Fatal(err)
			}
			defer os.Remove(path)
			for b.Loop() {
				c, err := rerun.MeasureFile(context.Background(), path, 100, 512)
				if err != nil {
					b.Fatal(err)
				}
				report(b, c)
			}
		})
	}
}

func report(b *testing.B, c *rerun.Cost) {
	b.ReportMetric(c.Rerun.Seconds(), "s/rerun")
	b.Logf("%d positions, computed again in %v", c.Positions, c.Rerun.Round(time.Millisecond))
	for _, g := range c.Games {
		b.Logf("%-60s %d rounds, %d messages, %d bytes, largest %d; referee %v, prover %v, challenger %v; %+v", g.Finding.Cell.String()+" "+g.Finding.Name,
			g.Rounds, g.Messages, g.Bytes, g.Largest, g.Referee.Round(10*time.Microsecond), g.Prover.Round(time.Millisecond), g.Challenger.Round(time.Millisecond), g.Work)
	}
	for _, l := range c.Leaves {
		b.Logf("%-30s %-24s %6d leaves, proof %6d bytes, evidence %6d, judged in %v", l.Cell, l.Name, l.Leaves, l.Proof, l.Evidence, l.Judge.Round(10*time.Microsecond))
	}
}
