package ledger

import (
	"bytes"
	"iter"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Task is what a node is to do for an audit.
type Task string

// The tasks. Those of the audited node are TaskServe and TaskAnswer, the others
// are an auditor's.
const (
	TaskServe  Task = "serve"  // give the auditors the receipts at the places, with openings of AuditParts
	TaskAnswer Task = "answer" // meet the demand of the auditor, by Answer
	TaskCommit Task = "commit" // get the receipts, compute them again, and Commit; or Demand, or Garbled
	TaskReveal Task = "reveal" // Reveal what was committed to
	TaskAccuse Task = "accuse" // Accuse the node at the places that were found false, and open disputes
	TaskStand  Task = "stand"  // open the work at the places, by MakeStand
)

// Duty is a task with its deadline.
type Duty struct {
	Task  Task
	Audit AuditRef
	ID    canon.Hash // AuditID
	Root  canon.Hash // of the log of Audit.Size entries, which has the receipts
	// Places are among those drawn, Indices the entries of the log there.
	Places, Indices []uint64
	Until           uint64 // the last height at which it counts
	// Auditors are those to serve, or the one to answer.
	Auditors [][]byte
	// Key is what the opening of an answer is sealed for.
	Key string
}

// Audits are those that go on.
func Audits(t *tree.Tree) iter.Seq2[AuditRef, *Audit] {
	return func(yield func(AuditRef, *Audit) bool) {
		for key, a := range each[Audit](t, tableAudit) {
			if !yield(AuditRef{Node: bytes.Clone(nodeOf(key)), Size: sizeOf(key)}, a) {
				return
			}
		}
	}
}

// Duties are what a node has to do now, in the order of the audits. They follow
// from the state after a block; whoever runs the node asks again after each.
func Duties(t *tree.Tree, node []byte) []Duty {
	var out []Duty
	for key, a := range each[Audit](t, tableAudit) {
		if a.Phase == PhaseDraw {
			continue
		}
		d := Duty{Audit: AuditRef{Node: bytes.Clone(nodeOf(key)), Size: sizeOf(key)}, ID: AuditID(key, a), Root: a.Root, Until: a.Until}
		indices := a.Indices(sizeOf(key))
		add := func(task Task, places []uint64) *Duty {
			one := d
			one.Task, one.Places = task, places
			for _, p := range places {
				one.Indices = append(one.Indices, indices[p])
			}
			out = append(out, one)
			return &out[len(out)-1]
		}
		if bytes.Equal(nodeOf(key), node) && a.Phase == PhaseCommit {
			s := add(TaskServe, places(a.Count))
			for _, p := range a.Parts {
				if p.Round == a.Round && p.Commit == nil {
					s.Auditors = append(s.Auditors, p.Key)
				}
			}
			for k, m := range each[Demanded](t, tableDemand, key[1:]) {
				if !m.Met {
					x := add(TaskAnswer, []uint64{uint64(k[41])})
					x.Auditors, x.Key, x.Until = [][]byte{bytes.Clone(k[42:])}, m.Key, m.Until
				}
			}
		}
		i := slices.IndexFunc(a.Parts, func(p Part) bool { return bytes.Equal(p.Key, node) })
		if i < 0 {
			continue
		}
		p := &a.Parts[i]
		switch {
		case a.Phase == PhaseCommit && p.Round == a.Round && p.Commit == nil:
			add(TaskCommit, places(a.Count))
		case a.Phase == PhaseReveal && p.Commit != nil && p.Findings == nil:
			add(TaskReveal, places(a.Count))
		case a.Phase == PhaseSettle && p.Findings != nil && !p.Failed:
			if list := a.toAccuse(uint64(i)); len(list) > 0 {
				add(TaskAccuse, list).Until = a.Open
			}
			if list := a.toStand(uint64(i)); len(list) > 0 {
				add(TaskStand, list)
			}
		}
	}
	return out
}

// places are all of them.
func places(n uint64) (list []uint64) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// toAccuse are the places that a part called false and did not name yet.
func (a *Audit) toAccuse(part uint64) (list []uint64) {
	for i, f := range a.Parts[part].Findings {
		named := slices.ContainsFunc(a.Claims, func(c Claim) bool { return c.Part == part && c.Place == uint64(i) })
		if f.Verdict == False && !named && !a.planted(uint64(i)) {
			list = append(list, uint64(i))
		}
	}
	return list
}

// toStand are the contested places that a part called right and did not open
// yet.
func (a *Audit) toStand(part uint64) (list []uint64) {
	for _, x := range a.Contests {
		stood := slices.ContainsFunc(x.Stands, func(s Stand) bool { return s.Part == part })
		if a.Parts[part].Findings[x.Place].Verdict == Right && !stood && !slices.Contains(list, x.Place) {
			list = append(list, x.Place)
		}
	}
	return list
}
