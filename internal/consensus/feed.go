package consensus

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
)

// Block is a block that was committed.
type Block struct {
	Height      uint64
	Time        uint64 // milliseconds since 1970
	Proposer    []byte // key of the validator that made it
	Beacon      canon.Hash
	Misbehaving []ledger.Misbehaviour
	Txs         [][]byte
	Results     []ledger.Result // of Txs
	Events      []ledger.Event  // of no transaction
	Root        canon.Hash      // of the state after it, which the header of the next one has

	size int // bytes of Txs
}

// Committed is where a transaction ended up.
type Committed struct {
	Height uint64
	Index  int // among the block's
	Result ledger.Result
}

// Rejected is the error of a transaction that cannot go into a block.
type Rejected struct{ Result ledger.Result }

func (e *Rejected) Error() string {
	return "consensus: the transaction is not taken: " + e.Result.Code.String() + ": " + e.Result.Detail
}

// maxRecent bounds the recent blocks that are kept, by the bytes of their
// transactions and by their number.
const (
	maxRecentBytes  = 4 << 20
	maxRecentBlocks = 1024
)

// feed tells what was committed to those who wait for it.
type feed struct {
	mu     sync.Mutex
	recent []*Block
	bytes  int
	done   map[canon.Hash]Committed // what is in recent
	wait   map[canon.Hash][]chan outcome
	news   chan struct{} // closed with the next block
	closed error
}

type outcome struct {
	done Committed
	err  error
}

func newFeed() *feed {
	return &feed{done: map[canon.Hash]Committed{}, wait: map[canon.Hash][]chan outcome{}, news: make(chan struct{})}
}

func (f *feed) add(b *Block) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = append(f.recent, b)
	f.bytes += b.size
	for i, r := range b.Results {
		c := Committed{Height: b.Height, Index: i, Result: r}
		f.done[r.ID] = c
		f.tell(r.ID, outcome{done: c})
	}
	for len(f.recent) > 1 && (len(f.recent) > maxRecentBlocks || f.bytes > maxRecentBytes) {
		old := f.recent[0]
		f.recent[0] = nil
		f.recent = f.recent[1:]
		f.bytes -= old.size
		for _, r := range old.Results {
			if f.done[r.ID].Height == old.Height {
				delete(f.done, r.ID)
			}
		}
	}
	if f.closed == nil { // CometBFT may commit a last block while it is stopped
		close(f.news)
		f.news = make(chan struct{})
	}
}

// drop tells that a transaction that waited cannot be applied any more.
func (f *feed) drop(r ledger.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell(r.ID, outcome{err: &Rejected{r}})
}

func (f *feed) tell(id canon.Hash, o outcome) {
	for _, c := range f.wait[id] {
		c <- o // each has room for one, and leaves the list with it
	}
	delete(f.wait, id)
}

// expect begins to wait for a transaction; the caller must call cancel.
func (f *feed) expect(id canon.Hash) (c chan outcome, cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c = make(chan outcome, 1)
	switch done, ok := f.done[id]; {
	case ok:
		c <- outcome{done: done}
		return c, func() {}
	case f.closed != nil:
		c <- outcome{err: f.closed}
		return c, func() {}
	}
	f.wait[id] = append(f.wait[id], c)
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		list := f.wait[id]
		for i := range list {
			if list[i] == c {
				f.wait[id] = append(list[:i], list[i+1:]...)
				break
			}
		}
		if len(f.wait[id]) == 0 {
			delete(f.wait, id)
		}
	}
}

// end tells everybody that nothing comes any more.
func (f *feed) end(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed != nil {
		return
	}
	f.closed = why
	for id := range f.wait {
		f.tell(id, outcome{err: why})
	}
	close(f.news)
}

// after is the first block above a height that is there, or a channel that is
// closed with the next one.
func (f *feed) after(height uint64) (*Block, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.recent {
		if b.Height > height {
			return b, nil, nil
		}
	}
	return nil, f.news, f.closed
}

// blocks are those above a height, as they come.
func (f *feed) blocks(ctx context.Context, height uint64) iter.Seq2[*Block, error] {
	return func(yield func(*Block, error) bool) {
		for {
			b, news, err := f.after(height)
			switch {
			case b != nil:
				if !yield(b, nil) {
					return
				}
				height = b.Height
				continue
			case err == nil:
				select {
				case <-news:
					continue
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			if !errors.Is(err, ErrClosed) {
				yield(nil, err)
			}
			return
		}
	}
}

func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}
