package node

import (
	"context"
	"time"

	"github.com/avalnetwork/aval/internal/ledger"
)

// How often the node looks whether the ledger waits for something of its
// validator, how long it waits after a failure at first and at most, and how
// many transactions of a kind it pays for in vain in one epoch.
const (
	beaconLook    = 200 * time.Millisecond
	beaconPause   = time.Second
	beaconPauses  = time.Minute
	beaconInVain  = 3
	beaconTimeout = 5 * time.Minute // for a transaction to get into a block
)

// makeBeacon takes this validator's part in the making of the beacon's keys: it
// sends what the ledger waits for, of the node's own account. All of it follows
// from the state and the node's key, so that a restart needs to know nothing.
func (n *Node) makeBeacon(ctx context.Context) {
	maker, err := ledger.NewBeaconMaker(n.key)
	if err != nil {
		n.logger.Error("node: the beacon", "error", err)
		return
	}
	b := &beaconLoop{node: n, maker: maker, vain: map[beaconTask]int{}}
	pause := time.Duration(0)
	for {
		wait := beaconLook
		sent, err := b.step(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			pause = min(max(2*pause, beaconPause), beaconPauses)
			wait, b.again = pause, true
			n.logger.Warn("node: this validator's part in the beacon's key", "error", err, "again_in", wait)
		case sent:
			wait, pause = 0, 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// beaconTask is something that is done once in an epoch.
type beaconTask struct {
	kind  ledger.Kind
	epoch uint64
}

type beaconLoop struct {
	node  *Node
	maker *ledger.BeaconMaker
	seen  uint64 // height at which it looked last
	asked bool
	again bool
	vain  map[beaconTask]int // what failed at this account's cost
}

// step sends the next transaction, if there is one to send.
func (b *beaconLoop) step(ctx context.Context) (sent bool, err error) {
	c := b.node.chain
	if c.node.Status().CatchingUp {
		return false, nil
	}
	var task beaconTask
	var payload any
	c.node.View(func(m *ledger.Machine) {
		if b.asked && !b.again && m.Height() == b.seen {
			return
		}
		b.asked, b.again, b.seen = true, false, m.Height()
		task.epoch = m.BeaconEpoch()
		task.kind, payload, err = b.maker.Next(m)
	})
	if err != nil || payload == nil || b.vain[task] >= beaconInVain {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, beaconTimeout)
	defer cancel()
	s, err := b.node.chain.send(ctx, task.kind, payload)
	if err != nil {
		return false, err
	}
	if err := s.Err(); err != nil {
		if s.Height > 0 {
			b.vain[task]++
		}
		return false, err
	}
	return true, nil
}
