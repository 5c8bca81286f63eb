package consensus_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/light"
)

// BenchmarkEmbedded measures a chain of one from nothing to its first
// transaction, from its data to the next one, and its memory at rest.
func BenchmarkEmbedded(b *testing.B) {
	user := newKey("user")
	var first, again time.Duration
	var heap uint64
	runs := 0
	for b.Loop() {
		cfg := consensus.Config{Dir: b.TempDir(), Genesis: newGenesis(1, user), Key: validatorKey(0)}
		for i := range uint64(2) {
			began := time.Now()
			n, err := consensus.Start(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			submit(b, n, transfer(b, user, i))
			if i == 0 {
				first += time.Since(began)
			} else {
				again += time.Since(began)
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap = m.HeapInuse + m.StackInuse
			}
			if err := n.Close(); err != nil {
				b.Fatal(err)
			}
		}
		runs++
	}
	b.ReportMetric(float64(first.Milliseconds())/float64(runs), "first-ms")
	b.ReportMetric(float64(again.Milliseconds())/float64(runs), "restart-ms")
	b.ReportMetric(float64(heap)/1e6, "heap-MB")
}

// load keeps transactions of many accounts waiting until the end.
func load(b *testing.B, ctx context.Context, nodes []*consensus.Node, users []ed25519.PrivateKey) {
	var group sync.WaitGroup
	defer group.Wait()
	for i, u := range users {
		group.Go(func() {
			for nonce := uint64(0); ctx.Err() == nil; nonce++ {
				tx := transfer(b, u, nonce)
				for ctx.Err() == nil && nodes[i%len(nodes)].Send(tx) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
}

// BenchmarkFour measures four validators in one process over TCP.
func BenchmarkFour(b *testing.B) {
	var users []ed25519.PrivateKey
	for i := range 200 {
		users = append(users, newKey(fmt.Sprint("user ", i)))
	}
	n := newNetwork(b, 4, 0, append(users, newKey("user"))...)
	n.up(0, 1, 2, 3)
	submit(b, n.nodes[0], transfer(b, newKey("user"), 0))
	const span = 8 * time.Second
	for b.Loop() {
		// Alone, a transaction takes this long.
		var quiet []time.Duration
		user := newKey("user")
		for range 20 {
			began := time.Now()
			submit(b, n.nodes[0], transfer(b, user, nonceOf(n.nodes[0], user)))
			quiet = append(quiet, time.Since(began))
		}
		slices.Sort(quiet)
		b.ReportMetric(float64(quiet[len(quiet)/2].Milliseconds()), "quiet-p50-ms")

		ctx, cancel := context.WithTimeout(b.Context(), span)
		go load(b, ctx, n.nodes, users)
		_, from := root(n.nodes[0])
		last := time.Now()
		count := 0
		var steps []time.Duration
		for blk, err := range n.nodes[0].Blocks(ctx, from) {
			if err != nil {
				break
			}
			for _, r := range blk.Results {
				if r.Code == ledger.CodeOK {
					count++
				}
			}
			if len(blk.Txs) > 0 {
				steps = append(steps, time.Since(last))
			}
			last = time.Now()
		}
		cancel()
		until(b, "an empty pool", time.Minute, func() bool { return n.nodes[0].Status().Waiting == 0 })
		slices.Sort(steps)
		b.ReportMetric(float64(count)/span.Seconds(), "tx/s")
		b.ReportMetric(float64(steps[len(steps)/2].Milliseconds()), "block-p50-ms")
		b.ReportMetric(float64(count)/float64(len(steps)), "tx/block")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys)/1e6, "sys-MB")
	}
}

// BenchmarkLight measures what a phone does: header, votes of four validators,
// and a proof of an entry of the state.
func BenchmarkLight(b *testing.B) {
	user := newKey("user")
	n := newNetwork(b, 4, 0, user)
	n.up(0, 1, 2, 3)
	submit(b, n.nodes[0], transfer(b, user, 0))
	_, h := settle(b, n.nodes[0])
	tree, _ := n.nodes[0].State()
	addr := ledger.AddressOf(public(user))
	key := append([]byte("a"), addr[:]...)
	blk, err := n.nodes[0].LightBlock(h)
	if err != nil {
		b.Fatal(err)
	}
	data, err := blk.Encode()
	if err != nil {
		b.Fatal(err)
	}
	proof := tree.Prove(key)
	trust := genesisTrust(b, n.genesis)
	for b.Loop() {
		blk, err := light.Decode(data)
		if err != nil {
			b.Fatal(err)
		}
		next, err := trust.Verify(blk, time.Now(), 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, ok, err := next.Entry(key, proof); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
	b.ReportMetric(float64(len(data)), "bytes")
}
