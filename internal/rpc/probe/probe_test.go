package probe_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

func node(t testing.TB, net rpc.Network, cfg rpc.Config) *rpc.Node {
	t.Helper()
	cfg.Network = net
	n, err := rpc.New(cfg)
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

func TestProbe(t *testing.T) {
	net := memory.New()
	a, b := peer.ID{1}, peer.ID{2}
	na := node(t, net.Join(a), rpc.Config{})
	node(t, net.Join(b), rpc.Config{Authorize: everybody})
	conn := na.To(b, rpc.Normal)
	if _, err := probe.Ping(t.Context(), conn, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := probe.Ping(t.Context(), conn, make([]byte, probe.MaxPayload+1)); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a ping that is too large: %v", err)
	}
	p, err := probe.About(t.Context(), conn)
	if err != nil || p.Version != "test" || p.Ahead.Abs() > time.Second {
		t.Errorf("About: %+v, %v", p, err)
	}
	r, err := probe.Calls(t.Context(), conn, 128, 4, 20*time.Millisecond)
	if err != nil || r.Calls == 0 || r.P50 > r.P99 || r.P99 > r.Max {
		t.Errorf("Calls: %+v, %v", r, err)
	}
	if r, err := probe.Bulk(t.Context(), conn, 3<<20+5, 1<<20); err != nil || r.Bytes != 3<<20+5 {
		t.Errorf("Bulk: %+v, %v", r, err)
	}
	if _, err := probe.Bulk(t.Context(), conn, 1, 0); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("messages of nothing: %v", err)
	}
	// The other way nobody is served.
	nb := na.To(a, rpc.Normal)
	if _, err := probe.Ping(t.Context(), nb, nil); err != nil {
		t.Errorf("a node pings itself: %v", err)
	}
}
