package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
)

const someID = "12D3KooWGRUk3vbqvCXSVZa3cTsVwXyPVGTrCBTRnEMQ1RkXvYhR"

func TestParseLink(t *testing.T) {
	id, err := peer.Parse(someID)
	if err != nil {
		t.Fatal(err)
	}
	const relayed = "/ip4/192.0.2.1/tcp/4710/p2p/12D3KooWH9hVy9E4b9hkhRaBFrKJ7JRwQDEhQeQCvuFuKSEtXkBc/p2p-circuit"
	for text, want := range map[string][]string{
		someID:                                  nil,
		"peer://" + someID:                      nil,
		"/ip4/192.0.2.1/tcp/4710/p2p/" + someID: {"/ip4/192.0.2.1/tcp/4710/p2p/" + someID},
		relayed + "/p2p/" + someID:              {relayed + "/p2p/" + someID},
		"peer://" + someID + "?addr=/ip4/192.0.2.1/tcp/4710,/dns4/a.example/tcp/443": {"/ip4/192.0.2.1/tcp/4710/p2p/" + someID, "/dns4/a.example/tcp/443/p2p/" + someID},
		"peer://" + someID + "?addr=" + relayed:                                      {relayed + "/p2p/" + someID},
	} {
		l, err := node.ParseLink(text)
		if err != nil || l.Peer != id || !cmp.Equal(l.Addresses, want) {
			t.Errorf("%s: %+v, %v", text, l, err)
			continue
		}
		if again, err := node.ParseLink(l.String()); err != nil || !cmp.Equal(again, l) {
			t.Errorf("%s becomes %s, which is %+v, %v", text, l, again, err)
		}
	}
	const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, query := range []string{"?chain=" + hash, "?addr=/ip4/192.0.2.1/tcp/4710&chain=" + hash, "?addr=/dns4/chain=/tcp/1,/a&chain=" + hash} {
		l, err := node.ParseLink("peer://" + someID + query)
		if err != nil || l.Peer != id || l.Chain.String() != hash || l.String() != "peer://"+someID+query {
			t.Errorf("%s: %+v, %v", query, l, err)
		}
	}
	for _, query := range []string{"?chain=", "?chain=" + hash[1:], "?chain=" + hash + "&", "?&chain=" + hash, "?addr=/a&chain=" + hash + ",/b", "?chain=" + hash + "&addr=/a", "?addr=&chain=" + hash, "?chain=" + strings.Repeat("0", 64)} {
		if l, err := node.ParseLink("peer://" + someID + query); !errors.Is(err, node.ErrLink) {
			t.Errorf("%q is the link %+v, %v", query, l, err)
		}
	}
	if l, err := node.ParseLink(someID + "?chain=" + hash); !errors.Is(err, node.ErrLink) {
		t.Errorf("%+v, %v", l, err)
	}
	for _, text := range []string{
		"", "x", "peer://", "/ip4/192.0.2.1/tcp/4710", "/p2p/", "/ip4/192.0.2.1/tcp/4710/p2p/x", "http://" + someID, someID + "?addr=/ip4/192.0.2.1/tcp/1",
		"peer://" + someID + "?", "peer://" + someID + "?addr=", "peer://" + someID + "?addr=x", "peer://" + someID + "?address=/ip4/1.1.1.1/tcp/1",
		"peer://" + someID + "?addr=" + strings.Repeat("/a,", node.MaxAddresses) + "/a", "peer://" + someID + "?addr=" + strings.Repeat("/a", node.MaxLink),
		"peer://" + someID + "/model",
	} {
		if l, err := node.ParseLink(text); !errors.Is(err, node.ErrLink) {
			t.Errorf("%q is the link %+v, %v", text, l, err)
		}
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add(someID)
	f.Add("peer://" + someID + "?addr=/ip4/192.0.2.1/tcp/4710,/ip6/::1/udp/1/quic-v1")
	f.Add("/ip4/192.0.2.1/tcp/4710/p2p/" + someID)
	f.Add("peer://" + someID + "?addr=/ip4/192.0.2.1/tcp/4710&chain=" + strings.Repeat("0a", 32))
	f.Fuzz(func(t *testing.T, s string) {
		l, err := node.ParseLink(s)
		if err != nil {
			if !errors.Is(err, node.ErrLink) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if len(l.Addresses) > node.MaxAddresses {
			t.Fatalf("%q: %d addresses", s, len(l.Addresses))
		}
		if strings.ContainsAny(s, ",?&") && !strings.HasPrefix(s, "peer://") {
			return // an address with such signs has no link that is short enough to be one
		}
		if again, err := node.ParseLink(l.String()); err != nil && len(l.String()) <= node.MaxLink || err == nil && !cmp.Equal(again, l) {
			t.Fatalf("%q becomes %q, which is %+v, %v", s, l, again, err)
		}
	})
}

// TestLinkOf holds that a link has few addresses, those of other machines'
// networks, and only such ones as another program would find.
func TestLinkOf(t *testing.T) {
	id, err := peer.Parse(someID)
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"/ip4/127.0.0.1/tcp/1/p2p/" + someID}
	all := append([]string{"/ip4/192.168.1.7/tcp/1/p2p/" + someID, "/ip4/192.168.1.7/tcp/1/ws/p2p/" + someID, "/ip6/::1/tcp/1/p2p/" + someID}, own...)
	if got := node.LinkOf(id, all).String(); got != "peer://"+someID+"?addr=/ip4/192.168.1.7/tcp/1" {
		t.Error(got)
	}
	if got := node.LinkOf(id, own).String(); got != "peer://"+someID+"?addr=/ip4/127.0.0.1/tcp/1" {
		t.Error(got)
	}
	if got := node.LinkOf(id, nil).String(); got != "peer://"+someID {
		t.Error(got)
	}
	var many []string
	for range 40 {
		many = append(many, "/ip4/192.168.1.7/tcp/1/p2p/"+someID)
	}
	if l := node.LinkOf(id, many); len(l.Addresses) > 8 {
		t.Errorf("%d addresses", len(l.Addresses))
	}
}
