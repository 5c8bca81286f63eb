package exchange_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
)

// shelf is a store in memory.
type shelf map[content.Hash][]byte

func (s shelf) Object(_ context.Context, _ content.Root, h content.Hash) ([]byte, error) {
	if b, ok := s[h]; ok {
		return b, nil
	}
	return nil, content.ErrObject
}

var root = content.Root{7}

// library makes chunks of a size, and a shelf that has them.
func library(count, size int) ([]content.Chunk, shelf) {
	r := rand.NewChaCha8([32]byte{1})
	var list []content.Chunk
	s := shelf{}
	for range count {
		b := make([]byte, size)
		_, _ = r.Read(b)
		c := content.Chunk{Hash: content.ChunkHash(b), Size: size}
		list = append(list, c)
		s[c.Hash] = b
	}
	return list, s
}

func everybody(context.Context, peer.ID, content.Root, [][]byte) error { return nil }

// fixture is a network with a device that fetches.
type fixture struct {
	t   testing.TB
	net *memory.Network
	me  *memory.Node
	got map[int][]byte
	mu  sync.Mutex
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t, net: memory.New(), got: map[int][]byte{}}
	f.me = f.net.Join(peer.ID{1})
	return f
}

// serve adds a peer that serves.
func (f *fixture) serve(n byte, cfg exchange.ServerConfig) (exchange.Source, *memory.Node) {
	f.t.Helper()
	node := f.net.Join(peer.ID{n})
	cfg.Network = node
	s := exchange.Serve(cfg)
	f.t.Cleanup(func() { s.Close() })
	return exchange.Source{Peer: peer.ID{n}}, node
}

// raw adds a peer that does something else.
func (f *fixture) raw(n byte, handler func(rpc.Stream)) exchange.Source {
	f.net.Join(peer.ID{n}).Handle(exchange.Protocol, handler)
	return exchange.Source{Peer: peer.ID{n}}
}

func (f *fixture) put(i int, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.got[i] != nil {
		f.t.Errorf("chunk %d is put twice", i)
	}
	f.got[i] = bytes.Clone(data)
	return nil
}

func (f *fixture) fetch(ctx context.Context, list []content.Chunk, sources ...exchange.Source) (exchange.Report, error) {
	return exchange.Fetch(ctx, exchange.Config{Network: f.me, Root: root, Sources: sources}, exchange.Chunks(list), nil, f.put)
}

// whole holds what came to what was wanted.
func (f *fixture) whole(list []content.Chunk, s shelf) {
	f.t.Helper()
	for i, c := range list {
		if !bytes.Equal(f.got[i], s[c.Hash]) {
			f.t.Fatalf("chunk %d is not what it was", i)
		}
	}
}

func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		list, s := library(100, 10_000)
		a, _ := f.serve(2, exchange.ServerConfig{Store: s, Allow: everybody})
		b, _ := f.serve(3, exchange.ServerConfig{Store: s, Allow: everybody})
		r, err := f.fetch(t.Context(), list, a, b, a)
		if err != nil {
			t.Fatal(err)
		}
		f.whole(list, s)
		if len(r.Parts) != 2 || r.Parts[0].Objects+r.Parts[1].Objects < 100 {
			t.Errorf("%+v", r)
		}
	})
}

// Who may not have something is not told whether it is there.
func TestDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		list, s := library(3, 100)
		asked := 0
		a, _ := f.serve(2, exchange.ServerConfig{
			Store: s,
			Allow: func(_ context.Context, who peer.ID, r content.Root, tokens [][]byte) error {
				asked++
				if who != (peer.ID{1}) || r != root || len(tokens) != 1 || string(tokens[0]) != "ticket" {
					return errors.New("no")
				}
				return nil
			},
		})
		nobody, _ := f.serve(3, exchange.ServerConfig{Store: s})
		if _, err := f.fetch(t.Context(), list, a, nobody); err == nil || strings.Count(err.Error(), "does not let") != 2 {
			t.Errorf("without a token: %v", err)
		}
		a.Tokens = [][]byte{[]byte("ticket")}
		if _, err := f.fetch(t.Context(), list, a); err != nil {
			t.Errorf("with the token: %v", err)
		}
		if asked != 2 {
			t.Errorf("asked %d times whether it is allowed", asked)
		}
	})
}

// hostile peers, none of which stops the fetch from the honest one.
var hostile = map[string]func(s rpc.Stream){
	"garbage": func(s rpc.Stream) {
		go io.Copy(io.Discard, s)
		for {
			b := append(binary.BigEndian.AppendUint32([]byte{0}, 1000), make([]byte, 1000)...)
			if _, err := s.Write(b); err != nil {
				return
			}
		}
	},
	"no frame": func(s rpc.Stream) { _, _ = s.Write(bytes.Repeat([]byte{0xff}, 100_000)) },
	"a huge object": func(s rpc.Stream) {
		_, _ = s.Write([]byte{0, 0xff, 0xff, 0xff, 0xff})
		_, _ = s.Read(make([]byte, 1<<20))
	},
	"silence":  func(s rpc.Stream) { _, _ = io.Copy(io.Discard, s) },
	"hangs up": func(s rpc.Stream) { _ = s.Reset() },
	"ends":     func(s rpc.Stream) { _ = s.Close() },
	"has nothing": func(s rpc.Stream) {
		go io.Copy(io.Discard, s)
		for {
			if _, err := s.Write([]byte{1, 0, 0, 0, 0}); err != nil {
				return
			}
		}
	},
	"denies":         func(s rpc.Stream) { _, _ = s.Write([]byte{2, 0, 0, 0, 0}); _ = s.Close() },
	"is busy":        func(s rpc.Stream) { _, _ = s.Write([]byte{3, 0, 0, 0, 0}); _ = s.Close() },
	"unknown status": func(s rpc.Stream) { _, _ = s.Write([]byte{9, 0, 0, 0, 0}); _ = s.Close() },
	"half an object": func(s rpc.Stream) { _, _ = s.Write([]byte{0, 0, 0, 39, 16, 1, 2, 3}); _ = s.Close() },
	"drips": func(s rpc.Stream) {
		go io.Copy(io.Discard, s)
		for _, b := range append(binary.BigEndian.AppendUint32([]byte{0}, 10_000), make([]byte, 10_000)...) {
			if _, err := s.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	},
}

func TestHostile(t *testing.T) {
	for name, handler := range hostile {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				list, s := library(60, 10_000)
				bad := f.raw(2, handler)
				good, _ := f.serve(3, exchange.ServerConfig{Store: s, Allow: everybody, Rate: 100_000})
				start := time.Now()
				r, err := f.fetch(t.Context(), list, bad, good)
				if err != nil {
					t.Fatal(err)
				}
				f.whole(list, s)
				// Six seconds are needed at this rate.
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if lied := r.Parts[0].Lied; lied != (name == "garbage") {
					t.Errorf("%+v", r.Parts)
				}
				if r.Parts[0].Objects != 0 {
					t.Errorf("the hostile peer gave %d", r.Parts[0].Objects)
				}
				time.Sleep(2 * time.Second) // the hostile peer notices
			})
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				list, _ := library(3, 100)
				if _, err := f.fetch(t.Context(), list, f.raw(2, handler)); err == nil {
					t.Error("it was fetched from a hostile peer")
				}
				time.Sleep(2 * time.Second) // the hostile peer notices
			})
		})
	}
}

// One peer lies in one byte of one chunk, one dies, one has half of it; the rest
// of the swarm gives all.
func TestSwarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		list, s := library(400, 50_000)
		forged, half := shelf{}, shelf{}
		for i, c := range list {
			forged[c.Hash] = s[c.Hash]
			if i%2 == 0 {
				half[c.Hash] = s[c.Hash]
			}
		}
		wrong := bytes.Clone(s[list[3].Hash])
		wrong[17] ^= 1
		forged[list[3].Hash] = wrong
		const rate = 1 << 20
		one, _ := f.serve(2, exchange.ServerConfig{Store: s, Allow: everybody, Rate: rate})
		liar, _ := f.serve(3, exchange.ServerConfig{Store: forged, Allow: everybody, Rate: rate})
		dying, node := f.serve(4, exchange.ServerConfig{Store: s, Allow: everybody, Rate: rate})
		some, _ := f.serve(5, exchange.ServerConfig{Store: half, Allow: everybody, Rate: rate})
		go func() {
			time.Sleep(3 * time.Second)
			node.Leave()
		}()
		start := time.Now()
		r, err := f.fetch(t.Context(), list, one, liar, dying, some)
		if err != nil {
			t.Fatal(err)
		}
		f.whole(list, s)
		took := time.Since(start).Seconds()
		// Two peers give all the time, one for three seconds. What the liar gave
		// until it lied comes on top.
		if ideal := 3 + (400*50_000.0/rate-3*3)/2; took > 1.15*ideal {
			t.Errorf("%.1f s, ideal %.1f s", took, ideal)
		}
		for _, p := range r.Parts {
			if p.Lied && p.Peer != liar.Peer {
				t.Errorf("%+v is called a liar", p)
			}
		}
	})
}

// A source that is found later takes part.
func TestMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		list, s := library(10, 100)
		more := make(chan exchange.Source)
		good, _ := f.serve(2, exchange.ServerConfig{Store: s, Allow: everybody})
		go func() {
			time.Sleep(time.Minute)
			more <- good
			close(more)
		}()
		cfg := exchange.Config{Network: f.me, Root: root, More: more, Sources: []exchange.Source{{Peer: peer.ID{9}}}}
		if _, err := exchange.Fetch(t.Context(), cfg, exchange.Chunks(list), nil, f.put); err != nil {
			t.Fatal(err)
		}
		f.whole(list, s)
	})
}

// What is here already is not asked for, an error of the disk ends all, and who
// gives up gets his own error.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		list, s := library(10, 100)
		good, _ := f.serve(2, exchange.ServerConfig{Store: s, Allow: everybody})
		slow, _ := f.serve(3, exchange.ServerConfig{Store: s, Allow: everybody, Rate: 1})
		cfg := exchange.Config{Network: f.me, Root: root, Sources: []exchange.Source{good}}
		have := func(i int) bool { return i > 0 }
		if r, err := exchange.Fetch(t.Context(), cfg, exchange.Chunks(list), have, f.put); err != nil || r.Parts[0].Objects != 1 || len(f.got) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		full := errors.New("the disk is full")
		if _, err := exchange.Fetch(t.Context(), cfg, exchange.Chunks(list), nil, func(int, []byte) error { return full }); !errors.Is(err, full) {
			t.Errorf("the disk is full: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		clear(f.got)
		if _, err := f.fetch(ctx, list, slow); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		if _, err := f.fetch(t.Context(), list); rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("no sources: %v", err)
		}
	})
}

// A peer that opens many streams, asks and does not read gets no more than its
// share, and nobody else waits for it.
func TestGreedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		list, s := library(50, 100_000)
		good, _ := f.serve(2, exchange.ServerConfig{Store: s, Allow: everybody, MaxStreams: 6})
		greedy := f.net.Join(peer.ID{66})
		for range 20 {
			st, err := greedy.Open(t.Context(), good.Peer, exchange.Protocol, rpc.Bulk)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Reset()
			_, _ = st.Write([]byte{0, 0}) // half of a head
		}
		if _, err := f.fetch(t.Context(), list, good); err != nil {
			t.Fatal(err)
		}
		f.whole(list, s)
	})
}
