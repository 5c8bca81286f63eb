package node

import (
	"context"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// Measurement is one measurement of the way to a peer.
type Measurement struct {
	Bytes     int               `json:"bytes,omitempty"` // of a call
	Parallel  int               `json:"parallel,omitempty"`
	Calls     *probe.Rate       `json:"calls,omitempty"`
	Bulk      *probe.Throughput `json:"bulk,omitempty"`
	UnderBulk *probe.Rate       `json:"control_calls_beside_bulk,omitempty"`
}

// sizes are the calls that are measured, before the bytes.
var sizes = []struct{ bytes, parallel int }{{128, 1}, {128, 64}, {256 << 10, 1}, {256 << 10, 8}}

// Measurements is how many there are.
var Measurements = len(sizes) + 1

// MaxMeasuring is how long one measurement may take.
const MaxMeasuring = time.Minute

// Measure makes the measurement with a number from 0 to Measurements-1, which
// takes about so long: calls of two sizes, one and many at a time; then bytes,
// with urgent calls beside them.
func (n *Node) Measure(ctx context.Context, id peer.ID, which int, long time.Duration) (Measurement, error) {
	if which < 0 || which >= Measurements || long <= 0 || long > MaxMeasuring {
		return Measurement{}, rpc.Errorf(rpc.InvalidArgument, "there is no measurement %d of %s", which, long)
	}
	if which == len(sizes) {
		return measureBulk(ctx, n.Calls.To(id, rpc.Bulk), n.Calls.To(id, rpc.Control), long)
	}
	s := sizes[which]
	r, err := probe.Calls(ctx, n.Calls.To(id, rpc.Normal), s.bytes, s.parallel, long)
	if err != nil {
		return Measurement{}, err
	}
	return Measurement{Bytes: s.bytes, Parallel: s.parallel, Calls: &r}, nil
}

// measureBulk receives for about a time, with urgent calls beside it.
func measureBulk(ctx context.Context, bulk, control rpc.Conn, long time.Duration) (m Measurement, err error) {
	const message = 256 << 10
	first, err := probe.Bulk(ctx, bulk, 32<<20, message)
	if err != nil {
		return m, err
	}
	t, err := probe.Bulk(ctx, bulk, max(1<<20, uint64(first.PerSecond*long.Seconds())), message)
	if err != nil {
		return m, err
	}
	m.Bulk = &t
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = probe.Bulk(ctx, bulk, probe.MaxReceive, message) // until the calls beside it are counted
	}()
	r, err := probe.Calls(ctx, control, 128, 1, long)
	cancel()
	<-ended
	m.UnderBulk = &r
	return m, err
}
