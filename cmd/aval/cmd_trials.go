package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
)

func newDisputeShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show [flags] [ID]", Short: "Show disputes on the ledger", Args: cobra.MaximumNArgs(1),
		Long: `Show asks the node that runs on this machine ("aval up") about disputes on the ledger:
who accuses whom, whose move is due until which block, how they ended and who lost
what. ID is a dispute's, or its first digits; without it all are shown that the ledger
still knows, the newest first. The nodes of both parties play by themselves.
` + exitHelp,
		Example: "  aval dispute show\n  aval dispute show 1f6e0c",
		RunE: func(c *cobra.Command, args []string) error {
			return a.disputeShow(c.Context(), strings.Join(args, ""), asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// ledgerDisputeJSON is what "aval dispute show --json" prints of each.
type ledgerDisputeJSON struct {
	ID         string        `json:"id"`
	Node       string        `json:"node"` // that signed the receipt
	Receipt    string        `json:"receipt"`
	Account    string        `json:"account"` // of the challenger
	Bond       ledger.Amount `json:"bond"`    // of it; 0 after the end
	Opened     uint64        `json:"opened"`  // block
	Messages   uint64        `json:"messages"`
	Mover      string        `json:"mover,omitempty"` // prover, challenger: whose message is due
	Until      uint64        `json:"until,omitempty"` // the block until which it is
	Ended      uint64        `json:"ended,omitempty"` // block
	Winner     string        `json:"winner,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Taken      ledger.Amount `json:"taken,omitempty"` // from the loser
	Award      ledger.Amount `json:"award,omitempty"`
	Burnt      ledger.Amount `json:"burnt,omitempty"`
	Finding    *findingJSON  `json:"finding,omitempty"` // what a proof of fraud showed
	Words      string        `json:"words"`
	ThisDevice string        `json:"this_device,omitempty"` // its part: prover, challenger
}

func (a *app) disputeShow(ctx context.Context, id string, asJSON bool) error {
	return a.onLedger(ctx, func(r *node.Remote) error {
		list, err := r.LedgerDisputes(ctx, strings.ToLower(id))
		if err != nil {
			return err
		}
		l, err := r.LedgerStatus(ctx)
		if err != nil {
			return err
		}
		s, err := r.Status(ctx)
		if err != nil {
			return err
		}
		if id != "" && len(list) == 0 {
			return fmt.Errorf("the ledger knows no dispute %s: \"aval dispute show\" lists those that it does", clip(id))
		}
		out := []ledgerDisputeJSON{}
		for i := range list {
			out = append(out, disputeRow(&list[i], &l, s.ID))
		}
		if asJSON {
			return a.printJSON(out)
		}
		if len(out) == 0 {
			a.note("there are no disputes on this ledger")
		}
		for _, j := range out {
			fmt.Fprintf(a.out, "%s\n  %s\n", j.ID, strings.ReplaceAll(j.Words, "\n", "\n  "))
		}
		return nil
	})
}

func disputeRow(d *node.LedgerDispute, l *node.LedgerStatus, self peer.ID) ledgerDisputeJSON {
	j := ledgerDisputeJSON{
		ID: d.ID.String(), Node: d.Node.String(), Receipt: d.Receipt.String(), Account: d.Account.String(),
		Bond: d.Bond, Opened: d.Opened, Messages: d.Moves, Mover: d.Mover, Until: d.Deadline,
	}
	signer, accuser := d.Node.String(), "the account "+d.Account.String()
	switch {
	case d.Node == self:
		j.ThisDevice, signer = dispute.ProverParty.String(), "this device"
	case d.Account == l.Account:
		j.ThisDevice, accuser = dispute.ChallengerParty.String(), "this device's account"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "about a receipt of %s, which %s says is false\n", signer, accuser)
	fmt.Fprintf(&b, "receipt %s; opened in block %d, %d messages so far\n", d.Receipt, d.Opened, d.Moves)
	v := d.Judgment
	if v == nil {
		whose := "the accuser"
		if d.Mover == dispute.ProverParty.String() {
			whose = "the accused node"
		}
		fmt.Fprintf(&b, "%s is to move until block %d (this is %d), or loses; the accuser's bond is %s units", whose, d.Deadline, l.Height, units(d.Bond))
		j.Words = b.String()
		return j
	}
	j.Ended, j.Taken, j.Award, j.Burnt = v.Height, v.Taken, v.Award, v.Burnt
	if v.Winner == 0 {
		fmt.Fprintf(&b, "ended in block %d: void, nobody won; the accuser has its bond back and got %s units", v.Height, units(v.Award))
		j.Words = b.String()
		return j
	}
	j.Winner, j.Reason = v.Winner.String(), v.Reason.String()
	winner, loser := "the node", "the accuser"
	if v.Winner == dispute.ChallengerParty {
		winner, loser = "the accuser", "the node"
	}
	fmt.Fprintf(&b, "ended in block %d: %s won, by %s", v.Height, winner, v.Reason)
	if f := d.Finding; f != nil {
		j.Finding = findingOf(*f)
		fmt.Fprintf(&b, ": %s", findingWords(*f))
	}
	fmt.Fprintf(&b, "\n%s lost %s units of its bond: %s went to %s, %s burnt, and fees were given back", loser, units(v.Taken), units(v.Award), winner, units(v.Burnt))
	j.Words = b.String()
	return j
}

func newLedgerAuditsCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "audits [flags]", Short: "Show audits that go on, and what this node is to do for them", Args: cobra.NoArgs,
		Long: `Audits lists what the ledger has drawn of nodes' receipts and not closed yet: which
receipts, by whom they are computed again, and until which block. Nodes do their part
by themselves ("aval up", with --role auditor to audit others); what this device's node
still has to do is listed at the end. "aval offer" shows the records that come of audits.
` + exitHelp,
		Example: "  aval ledger audits\n  aval ledger audits --json",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.onLedger(c.Context(), func(r *node.Remote) error {
				list, err := r.LedgerAudits(c.Context())
				if err != nil {
					return err
				}
				return a.tellAudits(&list, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// phases say what an audit waits for.
var phases = map[ledger.Phase]string{
	ledger.PhaseDraw:   "waits for the draw",
	ledger.PhaseCommit: "its auditors compute",
	ledger.PhaseReveal: "its auditors show what they found",
	ledger.PhaseSettle: "disputes may follow",
}

// duties say what a node is to do.
var duties = map[ledger.Task]string{
	ledger.TaskServe:  "show the auditors the receipts",
	ledger.TaskAnswer: "answer a demand on the ledger",
	ledger.TaskCommit: "compute the receipts again, and commit to what comes of it",
	ledger.TaskReveal: "show what it found",
	ledger.TaskAccuse: "dispute the false receipts",
	ledger.TaskStand:  "show the work that another contests",
}

func (a *app) tellAudits(x *node.Audits, asJSON bool) error {
	if asJSON {
		return a.printJSON(x)
	}
	if len(x.Audits) == 0 {
		a.note("there are no audits on this ledger now")
	}
	for i := range x.Audits {
		d := &x.Audits[i]
		fmt.Fprintf(a.out, "%s, receipts %d to %d: %s, until block %d (this is %d)\n", d.Node, d.From, d.Size-1, phases[d.Phase], d.Until, x.Height)
		if len(d.Drawn) > 0 {
			fmt.Fprintf(a.out, "  drawn: %s\n", strings.Trim(fmt.Sprint(d.Drawn), "[]"))
		}
		for _, p := range d.Parts {
			fmt.Fprintf(a.out, "  auditor %s: %s\n", peerName(p.Key), foundWords(&p))
		}
	}
	for _, d := range x.Duties {
		fmt.Fprintf(a.out, "this node is to %s: audit of %s, receipts %s, until block %d\n", duties[d.Task], d.Node.Short(), strings.Trim(fmt.Sprint(d.Receipts), "[]"), d.Until)
	}
	return nil
}

func peerName(key []byte) string {
	id, err := peer.FromPublic(key)
	if err != nil {
		return fmt.Sprintf("%x", key)
	}
	return id.String()
}

// foundWords says how far an auditor is.
func foundWords(p *ledger.Part) string {
	switch {
	case p.Failed:
		return "failed"
	case p.Findings == nil && p.Commit == nil:
		return "nothing yet"
	case p.Findings == nil:
		return "committed"
	case slices.ContainsFunc(p.Findings, func(f ledger.Finding) bool { return f.Verdict == ledger.False }):
		return "found a false receipt"
	}
	return "found nothing false"
}
