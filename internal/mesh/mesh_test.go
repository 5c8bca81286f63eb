package mesh_test

import (
	"context"
	"crypto/ed25519"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

const (
	quic = "/ip4/127.0.0.1/udp/0/quic-v1"
	tcp  = "/ip4/127.0.0.1/tcp/0"
	ws   = "/ip4/127.0.0.1/tcp/0/ws"
	wt   = "/ip4/127.0.0.1/udp/0/quic-v1/webtransport"
)

// key makes the key of a node in a test.
func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

// start starts a node that ends with the test.
func start(t testing.TB, n byte, cfg mesh.Config) *mesh.Node {
	t.Helper()
	cfg.Key, cfg.Bare = key(n), true
	if cfg.Listen == nil {
		cfg.Listen = []string{quic, tcp}
	}
	node, err := mesh.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// meet connects two nodes over the first address of b that has a part.
func meet(t testing.TB, a, b *mesh.Node, part string) {
	t.Helper()
	for _, s := range b.Addresses() {
		if strings.Contains(s, part) {
			if _, err := a.Connect(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no address of %v has %q", b.Addresses(), part)
}

// echo answers streams with what they send.
func echo(s rpc.Stream) {
	_, _ = io.Copy(s, s)
	_ = s.Close()
}

func TestTransports(t *testing.T) {
	for i, c := range []struct{ listen, part string }{{quic, "/quic-v1/p2p"}, {tcp, "/tcp/"}, {ws, "/ws/"}, {wt, "/webtransport/"}} {
		t.Run(c.part, func(t *testing.T) {
			a, b := start(t, byte(2*i+1), mesh.Config{Mode: doctor.LAN, Listen: []string{c.listen}}), start(t, byte(2*i+2), mesh.Config{Mode: doctor.LAN, Listen: []string{c.listen}})
			meet(t, a, b, c.part)
			b.Handle("/echo", echo)
			s, err := a.Open(t.Context(), b.Self(), "/echo", rpc.Normal)
			if err != nil {
				t.Fatal(err)
			}
			if s.Remote() != b.Self() || s.Relayed() {
				t.Errorf("the stream is to %v, relayed %v", s.Remote(), s.Relayed())
			}
			want := slices.Repeat([]byte("what is said"), 10000)
			go func() {
				_, _ = s.Write(want)
				_ = s.CloseWrite()
			}()
			if got, err := io.ReadAll(s); err != nil || string(got) != string(want) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
			peers := a.Peers()
			if len(peers) != 1 || peers[0].ID != b.Self() || peers[0].Inbound || !strings.HasPrefix(peers[0].Agent, "aval") {
				t.Errorf("Peers: %+v", peers)
			}
		})
	}
}

// TestListensFirst holds the node to leave by the port that it listens on: the
// peer then sees an address that others can use. A connection made before the
// port is open leaves by another one.
func TestListensFirst(t *testing.T) {
	first := start(t, 1, mesh.Config{Reach: mesh.Public, Listen: []string{tcp}})
	for i := range 12 {
		n := start(t, byte(10+i), mesh.Config{Reach: mesh.Private, Listen: []string{tcp}, Bootstrap: first.Addresses(), Relays: first.Addresses()})
		within(t, "they are connected", func() bool { _, ok := first.Peer(n.Self()); return ok })
		p, _ := first.Peer(n.Self())
		if own := n.Addresses(); !slices.Contains(own, p.Address+"/p2p/"+n.Self().String()) {
			t.Errorf("the peer sees %s, the node listens on %v", p.Address, own)
		}
	}
}

func TestOpenFails(t *testing.T) {
	a, b := start(t, 1, mesh.Config{Mode: doctor.LAN}), start(t, 2, mesh.Config{Mode: doctor.LAN})
	nobody := peer.FromPrivate(key(9))
	if _, err := a.Open(t.Context(), nobody, "/echo", rpc.Normal); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("a peer that nobody knows: %v", err)
	}
	meet(t, a, b, "/tcp/")
	s, err := a.Open(t.Context(), b.Self(), "/unspoken", rpc.Normal)
	if err == nil { // the protocol is agreed on with the first bytes
		_, err = s.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("a protocol that the peer does not speak: no error")
	}
	if _, err := a.Connect(t.Context(), "/ip4/127.0.0.1/tcp/1"); err == nil || !strings.Contains(err.Error(), "p2p") {
		t.Errorf("an address without an ID: %v", err)
	}
	if _, err := a.Connect(t.Context(), "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"); err == nil || !strings.Contains(err.Error(), "Ed25519") {
		t.Errorf("a peer with another kind of key: %v", err)
	}
	if _, err := a.Connect(t.Context(), "/ip4/127.0.0.1/tcp/1/p2p/"+nobody.String()); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("a port that nobody listens on: %v", err)
	}
	o := a.Observations()
	if last := o.Dials[len(o.Dials)-1]; last.Peer != nobody || last.Error == "" || last.Address == "" {
		t.Errorf("the dial is remembered as %+v", last)
	}
}

func TestAlone(t *testing.T) {
	a := start(t, 1, mesh.Config{Mode: doctor.Alone})
	if a.Addresses() != nil || a.Peers() != nil {
		t.Errorf("a node alone has addresses %v, peers %v", a.Addresses(), a.Peers())
	}
	a.Handle("/echo", echo)
	s, err := a.Open(t.Context(), a.Self(), "/echo", rpc.Normal)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = s.Write([]byte("me")); _ = s.CloseWrite() }()
	if got, err := io.ReadAll(s); err != nil || string(got) != "me" {
		t.Errorf("%q came back, %v", got, err)
	}
	if _, err := a.Open(t.Context(), peer.FromPrivate(key(2)), "/echo", rpc.Normal); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("another peer: %v", err)
	}
	if _, err := a.Topic("news", nil); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("a topic: %v", err)
	}
}

func TestPrivateNetwork(t *testing.T) {
	psk := func(b byte) []byte { return slices.Repeat([]byte{b}, 32) }
	in := mesh.Config{Mode: doctor.LAN, Listen: []string{tcp}, PrivateNetwork: psk(1)}
	other := in
	other.PrivateNetwork = psk(2)
	a, b, c, d := start(t, 1, in), start(t, 2, in), start(t, 3, other), start(t, 4, mesh.Config{Mode: doctor.LAN, Listen: []string{tcp}})
	meet(t, a, b, "/tcp/")
	for name, outside := range map[string]*mesh.Node{"another key": c, "no key": d} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := outside.Connect(ctx, a.Addresses()[0]); err == nil {
			t.Errorf("%s: connected", name)
		}
		cancel()
	}
	if len(a.Peers()) != 1 {
		t.Errorf("peers: %+v", a.Peers())
	}
}

func TestBan(t *testing.T) {
	a, b := start(t, 1, mesh.Config{Mode: doctor.LAN}), start(t, 2, mesh.Config{Mode: doctor.LAN})
	meet(t, a, b, "/tcp/")
	a.Ban(b.Self(), time.Hour)
	for range 100 {
		if len(a.Peers()) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	_, _ = b.Connect(t.Context(), a.Addresses()[0])
	time.Sleep(50 * time.Millisecond)
	if len(a.Peers()) != 0 {
		t.Errorf("a banned peer is connected: %+v", a.Peers())
	}
}

// TestCalls makes calls over a connection that then breaks.
func TestCalls(t *testing.T) {
	a, b := start(t, 1, mesh.Config{Mode: doctor.LAN}), start(t, 2, mesh.Config{Mode: doctor.LAN})
	meet(t, a, b, "/quic-v1/")
	caller, served := serve(t, a), serve(t, b)
	conn := caller.To(b.Self(), rpc.Normal)
	if _, err := probe.Ping(t.Context(), conn, make([]byte, 300<<10)); err != nil {
		t.Fatal(err)
	}
	if p, err := probe.About(t.Context(), served.To(a.Self(), rpc.Control)); err != nil || p.Version != "test" {
		t.Errorf("About: %+v, %v", p, err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := probe.Bulk(t.Context(), conn, probe.MaxReceive, 1<<20)
		failed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-failed:
		if code := rpc.CodeOf(err); code != rpc.Unavailable && code != rpc.Canceled {
			t.Errorf("the peer went: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a call did not notice that the peer went")
	}
}

// serve answers probes of everybody on a node.
func serve(t testing.TB, net rpc.Network) *rpc.Node {
	t.Helper()
	n, err := rpc.New(rpc.Config{Network: net, Authorize: func(context.Context, *rpc.Call) error { return nil }, CallRate: 1e7, ByteRate: 1e12})
	if err != nil {
		t.Fatal(err)
	}
	if err := probe.Register(n, probe.Info{Version: "test"}); err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() { n.Close() })
	return n
}
