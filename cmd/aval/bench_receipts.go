package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/bench"
)

// benchReceiptsJSON is what "aval bench --receipts --json" prints. Times are
// medians, in seconds; a share is of the processor time of writing the answer
// without a receipt, or of its time on the wall where the system does not tell
// processor times.
type benchReceiptsJSON struct {
	Model       string   `json:"model"`
	Threads     int      `json:"threads"`
	Prompt      int      `json:"prompt_tokens"`
	Answer      int      `json:"answer_tokens"`
	Runs        int      `json:"runs"`
	Fingerprint costJSON `json:"fingerprint"`
	Plain       costJSON `json:"answer"`
	Receipt     costJSON `json:"answer_with_receipt"`
	Traced      costJSON `json:"answer_with_trace"`
	Sign        costJSON `json:"sign"`
	Size        int      `json:"receipt_bytes"`
	Full        costJSON `json:"full_audit"`
	Sampled     costJSON `json:"sampled_audit"`
	Opening     costJSON `json:"prover_opens"`
	Cells       int      `json:"sampled_cells"`
	Outputs     int      `json:"sampled_outputs"`
	Opened      int      `json:"opened_bytes"`
	Found       float64  `json:"found_if_a_twentieth_of_cells_is_wrong"`
	FoundOutput float64  `json:"found_if_a_fifth_of_outputs_is_wrong"`
	FoundFew    float64  `json:"found_if_a_twentieth_of_outputs_is_wrong"`
	Offline     float64  `json:"receipts_checked_per_second"`
	OfflineOpen float64  `json:"open_receipts_checked_per_second"`

	Dispute *disputeJSON `json:"dispute,omitempty"`
}

type costJSON struct {
	CPU   float64   `json:"cpu_seconds,omitempty"`
	Wall  float64   `json:"wall_seconds"`
	Share float64   `json:"share,omitempty"`  // median of the runs' own shares
	Runs  []float64 `json:"shares,omitempty"` // one for each run
}

type disputeJSON struct {
	Positions int        `json:"positions"`
	Rerun     float64    `json:"rerun_seconds"`
	Games     []gameJSON `json:"games"`
	Leaves    []leafJSON `json:"leaves"`
}

type gameJSON struct {
	Cell       string  `json:"cell"`
	Operation  string  `json:"operation"`
	Rounds     int     `json:"rounds"`
	Messages   int     `json:"messages"`
	Bytes      int     `json:"bytes"`
	Largest    int     `json:"largest_message_bytes"`
	Total      float64 `json:"seconds"`
	Referee    float64 `json:"referee_seconds"`
	Prover     float64 `json:"prover_seconds"`
	Challenger float64 `json:"challenger_seconds"`
}

type leafJSON struct {
	Cell      string  `json:"cell"`
	Operation string  `json:"operation"`
	Leaves    int     `json:"leaves"`
	Proof     int     `json:"proof_bytes"`
	Evidence  int     `json:"evidence_bytes"`
	Judge     float64 `json:"judge_seconds"`
}

// benchReceipts measures receipts, audits and disputes.
func (a *app) benchReceipts(ctx context.Context, o *benchOptions, where located) error {
	if o.prompt < 1 || o.generate < 1 {
		return usageErrorf("--receipts needs at least one token to read and one to write")
	}
	c, err := bench.Receipts(ctx, where.path, bench.ReceiptOptions{
		Threads: o.threads, Kernel: a.getenv("AVAL_KERNEL"), Prompt: o.prompt, Answer: o.generate, Runs: o.runs, Dispute: o.dispute,
	})
	if err != nil {
		return err
	}
	out := receiptsJSON(c)
	out.Model, out.Threads, out.Prompt, out.Answer, out.Runs = where.name, o.threads, o.prompt, o.generate, o.runs
	if o.json {
		return a.printRow(out)
	}
	percent := func(c costJSON) string {
		return fmt.Sprintf("%.2f %% of the answer\t(%.2f to %.2f)", 100*c.Share, 100*slices.Min(c.Runs), 100*slices.Max(c.Runs))
	}
	if err := a.table(
		fmt.Sprintf("model\t%s", out.Model),
		fmt.Sprintf("fingerprint\t%.3f s", out.Fingerprint.Wall),
		fmt.Sprintf("answer\t%.3f s, %.3f s of CPU\t(%d tokens after a prompt of %d)", out.Plain.Wall, out.Plain.CPU, out.Answer, out.Prompt),
		"with a receipt\t"+percent(out.Receipt),
		"with a trace\t"+percent(out.Traced),
		fmt.Sprintf("sign\t%.3f ms\t(receipt of %d bytes)", 1e3*out.Sign.Wall, out.Size),
		"full audit\t"+percent(out.Full),
		"sampled audit\t"+percent(out.Sampled),
		fmt.Sprintf("\t%d cells, %d outputs, %s opened\t(finds 5 %% wrong with probability %.4f; of outputs alone 20 %% with %.4f, 5 %% with %.4f)",
			out.Cells, out.Outputs, size(int64(out.Opened)), out.Found, out.FoundOutput, out.FoundFew),
		"prover opens\t"+percent(out.Opening),
		fmt.Sprintf("offline\t%.0f receipts/s, %.0f with prompt and answer shown\t(one thread)", out.Offline, out.OfflineOpen),
	); err != nil || out.Dispute == nil {
		return err
	}
	d := out.Dispute
	rows := []string{"", fmt.Sprintf("run again to find a lie: %.2f s (%d positions)", d.Rerun, d.Positions), "", "dispute about\trounds\tmessages\tbytes\tlargest\tin all\treferee"}
	for _, g := range d.Games {
		rows = append(rows, fmt.Sprintf("%s, %s\t%d\t%d\t%d\t%d\t%.1f ms\t%.2f ms", g.Cell, g.Operation, g.Rounds, g.Messages, g.Bytes, g.Largest, 1e3*g.Total, 1e3*g.Referee))
	}
	rows = append(rows, "", "leaf of\toperation\tleaves\tproof\tevidence\tjudged in")
	for _, l := range d.Leaves {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%d B\t%d B\t%.2f ms", l.Cell, l.Operation, l.Leaves, l.Proof, l.Evidence, 1e3*l.Judge))
	}
	return a.table(rows...)
}

func receiptsJSON(c *bench.ReceiptCosts) *benchReceiptsJSON {
	of := func(list []bench.Cost) costJSON { return costOf(list, c.Plain) }
	out := &benchReceiptsJSON{
		Fingerprint: costJSON{CPU: c.Fingerprint.CPU.Seconds(), Wall: c.Fingerprint.Wall.Seconds()},
		Plain:       of(c.Plain), Receipt: of(c.Receipt), Traced: of(c.Traced), Sign: of(c.Sign), Size: c.Size,
		Full: of(c.Full), Sampled: of(c.Sampled), Opening: of(c.Opening),
		Cells: c.Cells, Outputs: c.Outputs, Opened: c.Opened, Found: c.Found, FoundOutput: c.FoundOutputs, FoundFew: c.FoundFew,
		Offline: bench.Median(c.Offline), OfflineOpen: bench.Median(c.OfflineOpen),
	}
	if c.Dispute != nil {
		out.Dispute = disputeCosts(c.Dispute)
	}
	return out
}

// costOf compares each run with the answer that was written in it.
func costOf(list, whole []bench.Cost) costJSON {
	var cpu, wall []float64
	var out costJSON
	for i, c := range list {
		cpu, wall = append(cpu, c.CPU.Seconds()), append(wall, c.Wall.Seconds())
		part, all := cmp.Or(c.CPU, c.Wall), cmp.Or(whole[i].CPU, whole[i].Wall)
		out.Runs = append(out.Runs, part.Seconds()/all.Seconds())
	}
	out.CPU, out.Wall, out.Share = bench.Median(cpu), bench.Median(wall), bench.Median(out.Runs)
	return out
}

func disputeCosts(c *rerun.Cost) *disputeJSON {
	d := &disputeJSON{Positions: c.Positions, Rerun: c.Rerun.Seconds()}
	for _, g := range c.Games {
		d.Games = append(d.Games, gameJSON{
			Cell: g.Finding.Cell.String(), Operation: g.Finding.Name, Rounds: g.Rounds, Messages: g.Messages, Bytes: g.Bytes, Largest: g.Largest,
			Total:   (g.Referee + g.Prover + g.Challenger).Seconds(),
			Referee: g.Referee.Seconds(), Prover: g.Prover.Seconds(), Challenger: g.Challenger.Seconds(),
		})
	}
	for _, l := range c.Leaves {
		d.Leaves = append(d.Leaves, leafJSON{l.Cell.String(), l.Name, l.Leaves, l.Proof, l.Evidence, l.Judge.Seconds()})
	}
	slices.SortStableFunc(d.Leaves, func(a, b leafJSON) int { return cmp.Compare(a.Cell, b.Cell) })
	return d
}
