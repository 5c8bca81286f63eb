package consensus

import "testing"

// TestFeedEnds adds a block to a feed that has ended, as happens when a node is
// closed while a block is committed.
func TestFeedEnds(t *testing.T) {
	f := newFeed()
	f.end(ErrClosed)
	f.add(&Block{Height: 1})
	if b, _, err := f.after(0); err != nil || b == nil || b.Height != 1 {
		t.Errorf("the block is not there: %v, %v", b, err)
	}
	if _, _, err := f.after(1); err != ErrClosed {
		t.Errorf("after the end: %v", err)
	}
}
