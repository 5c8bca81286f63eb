package ledger

import (
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// NodeAt reads a bonded node in a state.
func NodeAt(t *tree.Tree, key []byte) (*Node, bool) { return load[Node](t, tableNode.key(key)) }

// ParamsAt are the parameters in a state.
func ParamsAt(t *tree.Tree) Params { return meta(t).Params }

// IsAuditor tells whether a node may be drawn to audit others.
func IsAuditor(t *tree.Tree, key []byte) bool {
	_, ok := t.Get(tableAuditor.key(key))
	return ok
}

// DemandAt is what an auditor asked a node for on the ledger, at a place of an
// audit.
func DemandAt(t *tree.Tree, a AuditRef, place uint64, auditor []byte) (*Demanded, bool) {
	return load[Demanded](t, demandKey(auditKey(a.Node, a.Size), place, auditor))
}
