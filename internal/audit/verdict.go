package audit

import "github.com/avalnetwork/aval/receipt"

// Verdict is what the checks of an audit say together. What nobody asked for
// is a remark and no doubt about the answer: who chose the seed that it was
// drawn with, and a trace whose salt is not shown.
func Verdict(r *receipt.Report) receipt.Verdict {
	v := r.Verdict()
	if v != receipt.Unverified {
		return v
	}
	for _, c := range r.Checks {
		if c.Verdict == receipt.Unverified && c.Name != receipt.CheckSeed && c.Name != receipt.CheckTrace {
			return receipt.Unverified
		}
	}
	if len(r.Checks) == 0 {
		return receipt.Unverified
	}
	return receipt.Valid
}
