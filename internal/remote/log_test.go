package remote_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// memoryLog is a log in memory.
type memoryLog struct {
	mu    sync.Mutex
	ids   []receipt.Hash
	files [][]byte
	err   error
}

func (l *memoryLog) add(_ context.Context, id receipt.Hash, file []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.ids, l.files = append(l.ids, id), append(l.files, file)
	return uint64(len(l.ids)), nil
}

// TestLog holds that every answer to a peer is logged before its receipt is given
// out, also one whose peer wants none, and that what cannot be logged is not given.
func TestLog(t *testing.T) {
	l := &memoryLog{}
	w := newWorld(t, remote.Config{Log: l.add, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	a, err := w.client.Ask(t.Context(), request(), nil)
	if err != nil || a.Logged != 1 || len(l.ids) != 1 || l.ids[0] != a.Receipt.Receipt.Hash() || string(l.files[0]) != string(a.File) {
		t.Fatalf("with a receipt: %d, %v", a.Logged, err)
	}
	without := request()
	without.Receipt = false
	a, err = w.client.Ask(t.Context(), without, nil)
	if err != nil || a.Receipt != nil || a.Logged != 2 || len(l.ids) != 2 {
		t.Fatalf("without: %d, %v", a.Logged, err)
	}
	f, err := receipt.ParseFile(l.files[1])
	if err != nil || f.Receipt.Hash() != l.ids[1] || f.Opening == nil || f.Opening.Text.Text != a.Text {
		t.Errorf("what is logged of it is not the answer: %v", err)
	}
	seed := without
	seed.Nonce, seed.Params.Seed = nil, 7
	if a, err = w.client.Ask(t.Context(), seed, nil); err != nil || a.Logged != 3 {
		t.Errorf("with a seed: %d, %v", a.Logged, err)
	}

	l.err = errors.New("the disk is full")
	for _, r := range []remote.Request{request(), without} {
		a, err := w.client.Ask(t.Context(), r, nil)
		if rpc.CodeOf(err) != rpc.Internal || a.Receipt != nil || a.Stop != "" {
			t.Errorf("given without being logged: %v", err)
		}
	}
	if n := w.host.shares(); n != 0 {
		t.Errorf("%d shares are open", n)
	}
}

// TestLogOwn holds that answers to the node itself are logged only where the
// owner wants that.
func TestLogOwn(t *testing.T) {
	for _, own := range []bool{false, true} {
		l := &memoryLog{}
		w := newWorld(t, remote.Config{Log: l.add, LogOwn: own, Allow: func(context.Context, peer.ID, string, [][]byte, bool) error { return nil }})
		c := &remote.Client{Peer: id(provider), Conn: w.serves.To(id(provider), rpc.Normal)}
		if _, err := c.Ask(t.Context(), request(), nil); err != nil {
			t.Fatal(err)
		}
		if logged := len(l.ids) == 1; logged != own {
			t.Errorf("own %v: %d receipts are logged", own, len(l.ids))
		}
	}
}
