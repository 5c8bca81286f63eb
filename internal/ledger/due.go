package ledger

import (
	"bytes"

	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// clock is what a deadline is measured in.
type clock byte

const (
	byHeight clock = 'h' // games: somebody waits, and the chain makes blocks meanwhile
	byTime   clock = 't' // long spans, which pass on a chain that makes no blocks, too
)

// dueKind is a kind of thing that happens at a deadline.
type dueKind byte

const (
	dueUnbonding dueKind = 1  // key of an unbonding entry
	dueProposal  dueKind = 2  // hash of a change
	dueSession   dueKind = 40 // hash of the transaction that opened it
	dueAudit     dueKind = 50 // key of an audit: its phase ends
	dueDemand    dueKind = 51 // key of a demand: it was not met
	dueMissing   dueKind = 52 // key of a receipt that was not shown
	dueSilence   dueKind = 60 // id of a dispute
	dueForget    dueKind = 61 // id of a dispute
	dueBeacon    dueKind = 70 // epoch: the phase of a beacon group ends
)

// dueRows is what happens. It is a function so that it may lead back here.
func dueRows() []dueRow {
	return []dueRow{
		{dueUnbonding, (*Machine).releaseBond},
		{dueProposal, (*Machine).closeProposal},
		{dueAudit, (*Machine).auditDue},
		{dueDemand, (*Machine).demandDue},
		{dueMissing, (*Machine).missingDue},
		{dueSession, (*Machine).expireSession},
		{dueSilence, (*Machine).silence},
		{dueForget, (*Machine).forgetDispute},
		{dueBeacon, (*Machine).beaconDue},
	}
}

type dueRow struct {
	kind dueKind
	run  func(m *Machine, key []byte)
}

func dueKey(by clock, when uint64, kind dueKind, key []byte) []byte {
	return tableDue.key([]byte{byte(by)}, u64(when), []byte{byte(kind)}, key)
}

// at lets something happen at the end of the block of a height, or of the first
// block that is not before a time.
func at(t *tree.Tree, by clock, when uint64, kind dueKind, key []byte) {
	t.Set(dueKey(by, when, kind, key), []byte{})
}

// notAt takes back what at said.
func notAt(t *tree.Tree, by clock, when uint64, kind dueKind, key []byte) {
	t.Delete(dueKey(by, when, kind, key))
}

// due does what is due in this block, in the order of the keys. What becomes
// due meanwhile waits for the next block.
func (m *Machine) due() {
	for _, c := range []struct {
		by  clock
		now uint64
	}{{byHeight, m.block.Height}, {byTime, m.block.Time}} {
		prefix := tableDue.key([]byte{byte(c.by)})
		last := tableDue.key([]byte{byte(c.by)}, u64(c.now))
		var keys [][]byte
		for k := range m.work.Ascend(prefix) {
			if bytes.Compare(k[:len(last)], last) > 0 {
				break
			}
			keys = append(keys, k)
		}
		for _, k := range keys {
			m.work.Delete(k)
			what, key := dueKind(k[len(last)]), k[len(last)+1:]
			for _, r := range dueRows() {
				if r.kind == what {
					r.run(m, key)
				}
			}
		}
	}
}

// Tick is a transaction that does nothing, for its account pays so that a block
// is made in which what is due may happen.
type Tick struct{}

func (*Tick) apply(*call) error { return nil }

// tickPurpose begins the free tick.
const tickPurpose = "aval tick/1"

// FreeTick is the one transaction that costs nothing and needs no account: it
// makes the next block happen while a game waits for a height. It is nil when
// nothing waits. Whoever runs the machine proposes it when nothing else comes.
func (m *Machine) FreeTick() []byte {
	if !waiting(&m.state) {
		return nil
	}
	return freeTick(m.height + 1)
}

func freeTick(height uint64) []byte {
	return append([]byte(tickPurpose), u64(height)...)
}

func waiting(t *tree.Tree) bool {
	for range t.Ascend(tableDue.key([]byte{byte(byHeight)})) {
		return true
	}
	return false
}

// tick tells whether data is a free tick, and whether it counts at a height.
func tick(t *tree.Tree, height uint64, data []byte) (is bool, err error) {
	if !bytes.HasPrefix(data, []byte(tickPurpose)) {
		return false, nil
	}
	switch {
	case !bytes.Equal(data, freeTick(height)):
		return true, fail(CodeRefused, "a tick of another height than %d", height)
	case !waiting(t):
		return true, fail(CodeRefused, "a tick while nothing waits for a height")
	}
	return true, nil
}
