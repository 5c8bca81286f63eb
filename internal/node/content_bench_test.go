package node_test

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/content/library"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

var quiet = slog.New(slog.DiscardHandler)

func benchKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

func benchMesh(b *testing.B, n byte) *mesh.Node {
	b.Helper()
	x, err := mesh.New(b.Context(), mesh.Config{
		Key: benchKey(n), Mode: doctor.LAN, Bare: true, Logger: quiet,
		Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = x.Close() })
	return x
}

func benchMeet(b *testing.B, x, y *mesh.Node, part string) {
	b.Helper()
	for _, a := range y.Addresses() {
		if strings.Contains(a, part) {
			if _, err := x.Connect(b.Context(), a); err != nil {
				b.Fatal(err)
			}
			return
		}
	}
	b.Fatal("no address with ", part)
}

func benchLibrary(b *testing.B) *library.Library {
	b.Helper()
	l, err := library.Open(library.Config{Folder: b.TempDir(), Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// benchShare shares a file of random bytes.
func benchShare(b *testing.B, size int) (*library.Library, content.Root) {
	b.Helper()
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
	l := benchLibrary(b)
	begin := time.Now()
	info, err := l.Share(b.Context(), library.Proposal{
		Manifest: content.Manifest{Kind: content.Other, Name: "file"}, Items: []library.Item{{Path: "file", File: path}}, Key: benchKey(1),
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("indexed at %.0f MB/s", float64(size)/time.Since(begin).Seconds()/1e6)
	return l, info.Root
}

func allowAll(context.Context, peer.ID, content.Root, [][]byte) error { return nil }

// BenchmarkContentBulk compares fetching with a bare stream of the same
// connection: into the library, and into nothing, where each chunk is checked and
// dropped.
func BenchmarkContentBulk(b *testing.B) {
	const size = 512 << 20
	theirs, root := benchShare(b, size)
	for _, c := range []struct{ name, part string }{{"tcp", "/tcp/"}, {"quic", "/quic-v1/p2p"}} {
		x, y := benchMesh(b, 1), benchMesh(b, 2)
		benchMeet(b, x, y, c.part)
		server := exchange.Serve(exchange.ServerConfig{Network: y, Source: theirs, Allow: allowAll, Logger: quiet})
		b.Cleanup(func() { _ = server.Close() })
		for _, sink := range []string{"library", "nothing"} {
			b.Run(c.name+"/"+sink, func(b *testing.B) {
				for b.Loop() {
					d, err := benchLibrary(b).Download(root, nil)
					if err != nil {
						b.Fatal(err)
					}
					f := exchange.Fetcher{Network: x, Sink: d, Finder: exchange.Given{y.Self()}, Logger: quiet}
					if sink == "nothing" {
						f.Sink = dropping{d}
					}
					var first time.Time // when the lists of chunks were there
					var before int64
					begin := time.Now()
					if _, err := f.Fetch(b.Context(), root, exchange.Whole, func(p exchange.Progress) {
						if first.IsZero() {
							first, before = time.Now(), p.Done
						}
					}); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(size-before)/time.Since(first).Seconds()/1e6, "MB/s")
					b.ReportMetric(float64(first.Sub(begin).Milliseconds()), "ms-before")
					_ = d.Close()
				}
			})
		}
		y.Handle("/bare", func(s rpc.Stream) {
			data := make([]byte, 256<<10)
			for range size / len(data) {
				if _, err := s.Write(data); err != nil {
					return
				}
			}
			_ = s.Close()
		})
		b.Run(c.name+"/bare", func(b *testing.B) {
			for b.Loop() {
				begin := time.Now()
				s, err := x.Open(b.Context(), y.Self(), "/bare", rpc.Bulk)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 256<<10))
				if err != nil || n != size {
					b.Fatal(n, err)
				}
				b.ReportMetric(float64(n)/time.Since(begin).Seconds()/1e6, "MB/s")
			}
		})
	}
}

// dropping is a Sink that keeps no chunks.
type dropping struct{ *library.Download }

func (dropping) WriteChunk(content.Root, int, int, []byte) error { return nil }

// BenchmarkContentSwarm fetches 500 MB from four peers, each limited to 25 MB/s, of
// which one sends garbage and one dies after three seconds. The ideal is what the
// others and, until then, the dying one could have sent.
func BenchmarkContentSwarm(b *testing.B) {
	const size, rate = 500_000_000, 25e6
	const dies = 3 * time.Second
	theirs, root := benchShare(b, size)
	for _, c := range []struct{ name, part string }{{"tcp", "/tcp/"}, {"quic", "/quic-v1/p2p"}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				me := benchMesh(b, 9)
				var given exchange.Given
				var dying *mesh.Node
				for i := range byte(4) {
					x := benchMesh(b, 10+i)
					benchMeet(b, me, x, c.part)
					cfg := exchange.ServerConfig{Network: x, Source: theirs, Allow: allowAll, Rate: rate, Logger: quiet}
					switch i {
					case 0:
						cfg.Source = garbled{theirs}
					case 1:
						dying = x
					}
					server := exchange.Serve(cfg)
					b.Cleanup(func() { _ = server.Close() })
					given = append(given, x.Self())
				}
				d, err := benchLibrary(b).Download(root, nil)
				if err != nil {
					b.Fatal(err)
				}
				f := exchange.Fetcher{Network: me, Sink: d, Finder: given, Logger: quiet}
				time.AfterFunc(dies, func() { _ = dying.Close() })
				begin := time.Now()
				res, err := f.Fetch(b.Context(), root, exchange.Whole, nil)
				took := time.Since(begin)
				if err != nil {
					b.Fatal(err)
				}
				ideal := (size - rate*dies.Seconds()) / (2 * rate)
				for _, p := range res.Peers {
					b.Logf("%s: %d MB, garbage %v %s", p.Peer.Short(), p.Bytes/1e6, p.Garbage, p.Error)
				}
				b.ReportMetric(took.Seconds(), "s")
				b.ReportMetric(took.Seconds()/ideal, "x-ideal")
				b.ReportMetric(float64(res.Duplicate)/1e6, "MB-twice")
				_ = d.Close()
			}
		})
	}
}

// garbled changes one byte of each chunk.
type garbled struct{ exchange.Source }

func (g garbled) ReadChunk(root content.Root, file, index int, buf []byte) (int, error) {
	n, err := g.Source.ReadChunk(root, file, index, buf)
	if err == nil {
		buf[n/2] ^= 1
	}
	return n, err
}
