package exchange_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func id(n byte) peer.ID { return peer.FromPrivate(key(n)) }

// shelf is a Sink in memory, of one content.
type shelf struct {
	mu    sync.Mutex
	root  content.Root
	raw   []byte
	m     *content.Manifest
	trees map[int]*content.Tree
	data  map[int][]byte
	bits  map[int][]byte
	wrote int
	spoil func(file, index int, data []byte) // of what is read; may be nil
	full  error
}

func newShelf() *shelf {
	return &shelf{trees: map[int]*content.Tree{}, data: map[int][]byte{}, bits: map[int][]byte{}}
}

func (s *shelf) Manifest(root content.Root) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.raw == nil || root != s.root {
		return nil, exchange.ErrMissing
	}
	return s.raw, nil
}

func (s *shelf) Tree(root content.Root, file int) (*content.Tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.trees[file]; t != nil && root == s.root {
		return t, nil
	}
	return nil, exchange.ErrMissing
}

func (s *shelf) Have(_ content.Root, file int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trees[file] == nil {
		return nil, exchange.ErrMissing
	}
	return bytes.Clone(s.bits[file]), nil
}

func (s *shelf) has(file, i int) bool { return s.bits[file][i/8]&(0x80>>(i%8)) != 0 }

func (s *shelf) Complete(content.Root) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for file := range s.m.Files {
		for i := range s.trees[file].Len() {
			if !s.has(file, i) {
				return false
			}
		}
	}
	return true
}

func (s *shelf) ReadChunk(_ content.Root, file, i int, buf []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(file, i) {
		return 0, exchange.ErrMissing
	}
	t := s.trees[file]
	n := copy(buf, s.data[file][t.Offset(i):t.Offset(i+1)])
	if s.spoil != nil {
		s.spoil(file, i, buf[:n])
	}
	return n, nil
}

func (s *shelf) WriteManifest(root content.Root, data []byte) error {
	m, err := content.ParseManifest(data, root)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root, s.raw, s.m = root, data, m
	return err
}

func (s *shelf) WriteTree(_ content.Root, file int, t *content.Tree) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trees[file], s.data[file], s.bits[file] = t, make([]byte, t.Size()), make([]byte, (t.Len()+7)/8)
	return nil
}

func (s *shelf) Gather(content.Root, int, []bool) error { return nil }

func (s *shelf) WriteChunk(_ content.Root, file, i int, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	t := s.trees[file]
	copy(s.data[file][t.Offset(i):], data)
	s.bits[file][i/8] |= 0x80 >> (i % 8)
	s.wrote++
	return nil
}

// publish puts files into a shelf and signs the manifest.
func publish(t testing.TB, files ...[]byte) *shelf {
	t.Helper()
	s := newShelf()
	m := content.Manifest{Kind: content.Other, Name: "test"}
	for i, data := range files {
		var chunks []content.Chunk
		if err := content.Split(bytes.NewReader(data), int64(len(data)), nil, func(p []byte) error {
			chunks = append(chunks, content.Chunk{Hash: content.ChunkHash(p), Size: uint32(len(p))})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		tree, err := content.NewTree(chunks)
		if err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, content.File{Path: fmt.Sprintf("file%d", i), Size: tree.Size(), Root: tree.Root()})
		s.trees[i], s.data[i], s.bits[i] = tree, data, bytes.Repeat([]byte{255}, (tree.Len()+7)/8)
	}
	raw, root, err := m.Sign(key(99))
	if err != nil {
		t.Fatal(err)
	}
	s.raw, s.root, s.m = raw, root, &m
	return s
}

// copyOf is a shelf with the same content, without the chunks for which lack is true.
func (s *shelf) copyOf(lack func(file, i int) bool) *shelf {
	c := newShelf()
	c.raw, c.root, c.m, c.trees, c.data = s.raw, s.root, s.m, s.trees, s.data
	for file, bits := range s.bits {
		c.bits[file] = bytes.Clone(bits)
		for i := range s.trees[file].Len() {
			if lack != nil && lack(file, i) {
				c.bits[file][i/8] &^= 0x80 >> (i % 8)
			}
		}
	}
	return c
}

func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

var quiet = slog.New(slog.DiscardHandler)

func everybody(context.Context, peer.ID, content.Root, [][]byte) error { return nil }

func serve(t testing.TB, net rpc.Network, s exchange.Source, change func(*exchange.ServerConfig)) *exchange.Server {
	t.Helper()
	cfg := exchange.ServerConfig{Network: net, Source: s, Allow: everybody, Logger: quiet}
	if change != nil {
		change(&cfg)
	}
	server := exchange.Serve(cfg)
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func same(t testing.TB, got, want *shelf) {
	t.Helper()
	for file := range want.m.Files {
		if !bytes.Equal(got.data[file], want.data[file]) {
			t.Errorf("file %d differs from what was published", file)
		}
	}
}

func TestFetch(t *testing.T) {
	net := memory.New()
	all := publish(t, random(3<<20), nil, random(100), random(700_000))
	server := serve(t, net.Join(id(1)), all, nil)
	got := newShelf()
	f := exchange.Fetcher{Network: net.Join(id(2)), Sink: got, Finder: exchange.Given{id(1)}, Logger: quiet}
	var last exchange.Progress
	res, err := f.Fetch(t.Context(), all.root, exchange.Whole, func(p exchange.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, all)
	if last.Done != all.m.Size() || last.Total != last.Done || res.Fetched != last.Done || server.Given() != last.Done {
		t.Errorf("progress %+v, fetched %d, given %d, want %d", last, res.Fetched, server.Given(), all.m.Size())
	}
	again, err := f.Fetch(t.Context(), all.root, exchange.Whole, nil)
	if err != nil || again.Fetched != 0 {
		t.Errorf("what is there was fetched again: %d bytes, %v", again.Fetched, err)
	}
}

func TestFetchRange(t *testing.T) {
	net := memory.New()
	all := publish(t, random(200_000), random(8<<20))
	server := serve(t, net.Join(id(1)), all, nil)
	got := newShelf()
	f := exchange.Fetcher{Network: net.Join(id(2)), Sink: got, Finder: exchange.Given{id(1)}, Logger: quiet}
	part := exchange.Range{File: 1, Offset: 3 << 20, Length: 100_000}
	if _, err := f.Fetch(t.Context(), all.root, func(*content.Manifest) ([]exchange.Range, error) { return []exchange.Range{part}, nil }, nil); err != nil {
		t.Fatal(err)
	}
	if a := part.Offset; !bytes.Equal(got.data[1][a:a+part.Length], all.data[1][a:a+part.Length]) {
		t.Error("the range differs")
	}
	if server.Given() > part.Length+2*content.MaxChunk || got.trees[0] != nil {
		t.Errorf("%d bytes were given for a range of %d", server.Given(), part.Length)
	}
}

// TestHostileSwarm fetches from peers of which one sends garbage, one dies, one
// lacks parts, one never answers and one refuses.
func TestHostileSwarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memory.New()
		all := publish(t, random(40<<20))
		garbage := all.copyOf(nil)
		garbage.spoil = func(_, i int, data []byte) { data[len(data)/2] ^= 1 }
		rate := func(c *exchange.ServerConfig) { c.Rate = 4 << 20 }
		serve(t, net.Join(id(1)), all, rate)
		serve(t, net.Join(id(2)), garbage, rate)
		dying := net.Join(id(3))
		serve(t, dying, all.copyOf(nil), rate)
		serve(t, net.Join(id(4)), all.copyOf(func(_, i int) bool { return i%2 == 0 }), rate)
		net.Join(id(5)).Handle(exchange.Protocol, func(s rpc.Stream) { _, _ = io.Copy(io.Discard, s) })
		serve(t, net.Join(id(6)), all.copyOf(nil), func(c *exchange.ServerConfig) { c.Allow = nil })
		got := newShelf()
		me := net.Join(id(7))
		f := exchange.Fetcher{Network: me, Sink: got, Finder: exchange.Given{id(5), id(6), id(2), id(3), id(4), id(1), id(8)}, Logger: quiet}
		time.AfterFunc(4*time.Second, dying.Leave) // the silent peer costs two
		res, err := f.Fetch(t.Context(), all.root, exchange.Whole, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, all)
		for _, p := range res.Peers {
			bad, gave := p.Peer == id(2), p.Peer == id(1) || p.Peer == id(3) || p.Peer == id(4)
			if p.Garbage != bad || gave != (p.Bytes > 0) || bad && !strings.Contains(p.Error, "not what its hash says") {
				t.Errorf("peer %s: %+v", p.Peer.Short(), p)
			}
		}
		synctest.Wait()
		if n := me.Streams(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// TestStall moves on from a peer that goes silent in the middle of a chunk.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memory.New()
		all := publish(t, random(4<<20))
		serve(t, net.Join(id(1)), all, func(c *exchange.ServerConfig) { c.Rate = 1 << 20 })
		silent := all.copyOf(nil)
		stop := make(chan struct{})
		silent.spoil = func(_, i int, _ []byte) {
			if i > 2 {
				<-stop
			}
		}
		serve(t, net.Join(id(2)), unlocked{silent}, nil)
		got := newShelf()
		f := exchange.Fetcher{Network: net.Join(id(3)), Sink: got, Finder: exchange.Given{id(2), id(1)}, Logger: quiet}
		start := time.Now()
		if _, err := f.Fetch(t.Context(), all.root, exchange.Whole, nil); err != nil {
			t.Fatal(err)
		}
		same(t, got, all)
		if took := time.Since(start); took > 10*time.Second { // of the bubble's clock
			t.Errorf("it took %v, although another peer had everything", took)
		}
		close(stop)
	})
}

// unlocked reads chunks without the shelf's lock, which a test may hold up.
type unlocked struct{ *shelf }

func (u unlocked) ReadChunk(_ content.Root, file, i int, buf []byte) (int, error) {
	t := u.trees[file]
	n := copy(buf, u.data[file][t.Offset(i):t.Offset(i+1)])
	u.spoil(file, i, buf[:n])
	return n, nil
}

func TestNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memory.New()
		all := publish(t, random(1000))
		var seen [][]byte
		serve(t, net.Join(id(1)), all, func(c *exchange.ServerConfig) {
			c.Allow = func(_ context.Context, who peer.ID, _ content.Root, tokens [][]byte) error {
				seen = tokens
				return rpc.Errorf(rpc.PermissionDenied, "not for you")
			}
		})
		serve(t, net.Join(id(2)), newShelf(), nil)
		f := exchange.Fetcher{
			Network: net.Join(id(3)), Sink: newShelf(), Finder: exchange.Given{id(1)}, Logger: quiet,
			Tokens: func(peer.ID) [][]byte { return [][]byte{[]byte("token")} },
		}
		_, denied := f.Fetch(t.Context(), all.root, exchange.Whole, nil)
		if rpc.CodeOf(denied) != rpc.PermissionDenied || !strings.Contains(denied.Error(), "not for you") || len(seen) != 1 || string(seen[0]) != "token" {
			t.Errorf("refused: %v, tokens %q", denied, seen)
		}
		_, other := f.Fetch(t.Context(), content.Root{1}, exchange.Whole, nil)
		if a, b := denied.Error(), strings.Replace(other.Error(), content.Root{1}.String(), all.root.String(), 1); a != b {
			t.Errorf("who may not have it learns whether it is there: %q and %q", a, b)
		}
		for name, c := range map[string]struct {
			find exchange.Given
			code rpc.Code
		}{
			"a peer that lacks it":   {exchange.Given{id(2)}, rpc.NotFound},
			"a peer that is not":     {exchange.Given{id(9)}, rpc.Unavailable},
			"peers of several kinds": {exchange.Given{id(9), id(1)}, rpc.Unavailable},
			"nobody":                 {nil, rpc.NotFound},
		} {
			f.Finder = c.find
			var nobody *exchange.NoPeerError
			if _, err := f.Fetch(t.Context(), all.root, exchange.Whole, nil); !errors.As(err, &nobody) || rpc.CodeOf(err) != c.code {
				t.Errorf("%s: %v (%v), want %v", name, err, rpc.CodeOf(err), c.code)
			}
		}
	})
}

func TestNames(t *testing.T) {
	net := memory.New()
	all := publish(t, random(1000))
	other := content.Root{1}
	serve(t, net.Join(id(1)), all, func(c *exchange.ServerConfig) {
		c.Named = func(name string) []content.Root {
			if name == "test" {
				return []content.Root{other, all.root}
			}
			return nil
		}
		c.Allow = func(_ context.Context, who peer.ID, root content.Root, _ [][]byte) error {
			if who != id(2) || root == other {
				return rpc.Errorf(rpc.PermissionDenied, "no")
			}
			return nil
		}
	})
	friend, stranger := exchange.Fetcher{Network: net.Join(id(2))}, exchange.Fetcher{Network: net.Join(id(3))}
	if root, err := friend.Lookup(t.Context(), id(1), "test"); err != nil || root != all.root {
		t.Errorf("a friend: %s, %v", root, err)
	}
	_, known := stranger.Lookup(t.Context(), id(1), "test")
	_, unknown := stranger.Lookup(t.Context(), id(1), "else")
	if rpc.CodeOf(known) != rpc.PermissionDenied || known.Error() != unknown.Error() {
		t.Errorf("a stranger: %v and %v", known, unknown)
	}
}

func TestDiskFull(t *testing.T) {
	net := memory.New()
	all := publish(t, random(1<<20))
	serve(t, net.Join(id(1)), all, nil)
	got := newShelf()
	got.full = errors.New("the disk is full")
	f := exchange.Fetcher{Network: net.Join(id(2)), Sink: got, Finder: exchange.Given{id(1)}, Logger: quiet}
	if _, err := f.Fetch(t.Context(), all.root, exchange.Whole, nil); !errors.Is(err, got.full) {
		t.Errorf("%v, want %v", err, got.full)
	}
}

// TestServerLimits lets one peer open as many streams as it wants, and say nothing.
func TestServerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memory.New()
		all := publish(t, random(1000))
		a := net.Join(id(1))
		serve(t, a, all, nil)
		me := net.Join(id(2))
		var list []rpc.Stream
		for range 20 {
			s, err := me.Open(t.Context(), id(1), exchange.Protocol, rpc.Bulk)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		synctest.Wait()
		refused := 0
		for _, s := range list {
			_ = s.SetReadDeadline(time.Now().Add(time.Second))
			var h [6]byte
			if _, err := io.ReadFull(s, h[:]); err == nil && h[0] == 0x82 && rpc.Code(h[5]) == rpc.ResourceExhausted {
				refused++
				_ = s.Reset()
			}
		}
		if refused != 16 {
			t.Errorf("%d of 16 streams too many were refused", refused)
		}
		time.Sleep(20 * time.Second) // the other four said nothing
		synctest.Wait()
		if n := a.Streams(); n != 0 {
			t.Errorf("%d streams of a silent peer are open", n)
		}
	})
}

// TestSlowReader takes nothing of what it asked for.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := memory.New()
		all := publish(t, random(8<<20))
		a := net.Join(id(1))
		serve(t, a, all, nil)
		s, err := net.Join(id(2)).Open(t.Context(), id(1), exchange.Protocol, rpc.Bulk)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(exchange.OpenFrame(all.root)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := s.Write([]byte{5, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16}); err != nil {
				break
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := a.Streams(); n != 0 {
			t.Errorf("%d streams of a peer that does not read are open", n)
		}
	})
}

// FuzzServer sends any bytes after a good beginning; the server must end.
func FuzzServer(f *testing.F) {
	all := publish(f, random(300_000), nil)
	f.Add([]byte{2, 0, 0, 0, 0})
	f.Add([]byte{5, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{3, 0, 0, 0, 11, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{4, 0, 0, 0, 4, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		net := memory.New()
		server := exchange.Serve(exchange.ServerConfig{Network: net.Join(id(1)), Source: all, Allow: everybody, Logger: quiet})
		s, err := net.Join(id(2)).Open(t.Context(), id(1), exchange.Protocol, rpc.Bulk)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = s.Write(append(exchange.OpenFrame(all.root), data...))
			_ = s.CloseWrite()
		}()
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
		_ = server.Close()
	})
}

// FuzzPeer answers with any bytes; the fetch must end and take nothing that is not
// of the root.
func FuzzPeer(f *testing.F) {
	all := publish(f, random(300_000))
	opened := func(complete byte) []byte { return append([]byte{0x81, 0, 0, 0, 33, complete}, all.root[:]...) }
	f.Add(opened(1), []byte{0x86, 0, 0, 0, 1, 1})
	f.Add([]byte{0x82, 0, 0, 0, 6, 7, 0, 0, 0, 0, 'a'}, []byte{})
	f.Add(opened(0), []byte{0x85, 0, 0, 0, 1, 255})
	f.Fuzz(func(t *testing.T, first, rest []byte) {
		net := memory.New()
		net.Join(id(1)).Handle(exchange.Protocol, func(s rpc.Stream) {
			_, _ = s.Write(first)
			_, _ = s.Write(rest)
			_ = s.Close()
		})
		got := all.copyOf(func(int, int) bool { return true })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		fetcher := exchange.Fetcher{Network: net.Join(id(2)), Sink: got, Finder: exchange.Given{id(1)}, Logger: quiet}
		if _, err := fetcher.Fetch(ctx, all.root, exchange.Whole, nil); err == nil && got.wrote == 0 {
			t.Error("it is done, with nothing")
		}
	})
}
