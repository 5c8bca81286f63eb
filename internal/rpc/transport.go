package rpc

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"storj.io/drpc/drpcmanager"
	"storj.io/drpc/drpcstream"
	"storj.io/drpc/drpcwire"
)

// frame is the most that is written at once; a larger message is cut.
const frame = 64<<10 - 64

// options are drpc's for a message bound.
func options(maxMessage int, idle time.Duration) drpcmanager.Options {
	return drpcmanager.Options{
		WriterBufferSize:  frame,
		Reader:            drpcwire.ReaderOptions{MaximumBufferSize: maxMessage + 1024},
		Stream:            drpcstream.Options{SplitSize: frame, MaximumBufferSize: 1}, // nothing is kept: see buffers
		InactivityTimeout: idle,
	}
}

// transport is a stream as drpc uses it. It counts what came and is not read
// yet, and slows down who sends too fast.
type transport struct {
	Stream
	ctx    context.Context // ends with the node
	stall  time.Duration   // how long a write may wait for the peer to read
	rate   *rate.Limiter   // of bytes read; nil for no bound
	budget *atomic.Int64   // what is left for the peer; nil for no bound
	held   atomic.Int64    // taken from budget by this stream
}

// Read reads, if the peer has not filled its share of memory.
func (t *transport) Read(p []byte) (int, error) {
	n, err := t.Stream.Read(p)
	if n > 0 && t.budget != nil {
		t.held.Add(int64(n))
		if t.budget.Add(-int64(n)) < 0 {
			_ = t.Reset()
			return 0, Errorf(ResourceExhausted, "the peer sends more than is read")
		}
	}
	if n > 0 && t.rate != nil {
		for left := n; left > 0; { // a limiter lets no more pass at once than its burst
			part := min(left, t.rate.Burst())
			if err := t.rate.WaitN(t.ctx, part); err != nil {
				return n, err
			}
			left -= part
		}
	}
	return n, err
}

// Write writes, and gives up if the peer does not read for long.
func (t *transport) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(t.stall)); err != nil {
		return 0, err
	}
	return t.Stream.Write(p)
}

// release gives back what was held for messages that are read now.
func (t *transport) release() {
	if t.budget != nil {
		t.budget.Add(t.held.Swap(0))
	}
}

// Close ends the stream at once: drpc closes a transport when it is of no more
// use, and what would still come is of none.
func (t *transport) Close() error {
	t.release()
	return t.Reset()
}
