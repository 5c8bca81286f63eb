package node_test

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
)

// TestBeacon: a device alone gets the key of its beacon by itself, soon after its
// first start, and makes no blocks after that; and keeps it.
func TestBeacon(t *testing.T) {
	key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{7}, 32))
	g := node.OwnGenesis(key, time.Now())
	dir := t.TempDir()
	run := func() *node.Node {
		t.Helper()
		folder, err := control.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		x, err := node.New(t.Context(), node.Config{
			Mesh:   mesh.Config{Key: key, Mode: doctor.Alone, Bare: true},
			Folder: folder, Version: "test", Ledger: &node.LedgerConfig{Genesis: g},
		})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	status := func(x *node.Node) node.LedgerStatus {
		t.Helper()
		s, err := x.LedgerStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	began := time.Now()
	x := run()
	for !status(x).Beacon.Serves {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("no key: %+v", status(x).Beacon)
		}
		time.Sleep(20 * time.Millisecond)
	}
	s := status(x)
	t.Logf("a key after %v, at block %d", time.Since(began), s.Height)
	if want := ledger.Amount(1_000_000_000) * ledger.Unit; s.Balance != want {
		t.Errorf("a balance of %d, want %d: fees went to somebody", s.Balance, want)
	}
	time.Sleep(1500 * time.Millisecond)
	quiet := status(x)
	if quiet.Height > s.Height+1 { // a last one tells the state that follows from the block of the key
		t.Errorf("block %d, while nothing happens after block %d", quiet.Height, s.Height)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = run()
	defer x.Close()
	time.Sleep(500 * time.Millisecond)
	if again := status(x); again.Beacon != quiet.Beacon || again.Height != quiet.Height {
		t.Errorf("after a restart the beacon is %+v at block %d, was %+v at %d", again.Beacon, again.Height, quiet.Beacon, quiet.Height)
	}
}
