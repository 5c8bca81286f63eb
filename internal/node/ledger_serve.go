package node

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/service"
	"github.com/avalnetwork/aval/internal/rpc"
)

// served is the chain as peers are shown it.
type served struct{ *consensus.Node }

// Submit passes a transaction on.
func (s served) Submit(ctx context.Context, tx []byte) (uint64, ledger.Result, error) {
	done, err := s.Node.Submit(ctx, tx)
	var no *consensus.Rejected
	if errors.As(err, &no) {
		return 0, no.Result, nil
	}
	return done.Height, done.Result, err
}

// serveLedger shows the chain to peers.
func (n *Node) serveLedger(cfg *LedgerConfig) error {
	data, err := cfg.Genesis.Encode()
	if err != nil {
		return err
	}
	return service.Register(n.Calls, service.Config{
		Genesis: data, Chain: served{n.chain.node}, Logger: n.logger,
		Places: func() []string { return n.places(cfg) },
		None:   func(err error) bool { return errors.Is(err, consensus.ErrNoBlock) },
	})
}

// places are where this node and those that it connects with may be connected
// with.
func (n *Node) places(cfg *LedgerConfig) []string {
	var list []string
	add := func(key []byte, host, port string) {
		list = append(list, service.Place{Key: key, Address: net.JoinHostPort(host, port)}.String())
	}
	if host, port, err := net.SplitHostPort(cfg.Listen); err == nil && port != "0" {
		public := n.Mesh.Self().Public()
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			add(public, host, port)
		} else {
			seen := map[string]bool{}
			for _, a := range ForFriends(n.Mesh.Addresses()) {
				if h := hostOf(a); h != "" && !seen[h] {
					seen[h] = true
					add(public, h, port)
				}
			}
		}
	}
	for _, p := range cfg.Peers {
		list = append(list, service.Place{Key: p.Key, Address: p.Address}.String())
	}
	return list
}

// hostOf is the host of a multiaddress; "" if it is reached through a relay.
func hostOf(address string) string {
	part := strings.Split(address, "/")
	if len(part) < 3 || strings.Contains(address, "/p2p-circuit") {
		return ""
	}
	switch part[1] {
	case "ip4", "ip6", "dns", "dns4", "dns6":
		return part[2]
	}
	return ""
}

// LedgerSource asks a peer, as its link says, for the chain that it takes part in:
// its genesis, which must be the one of the link if that names one, and where
// nodes of the chain may be connected with.
func (n *Node) LedgerSource(ctx context.Context, l Link) (*ledger.Genesis, []consensus.Peer, error) {
	if err := n.reachFor(ctx, l); err != nil {
		return nil, nil, err
	}
	c := n.ledgerClient(l)
	g, err := c.Genesis(ctx, l.Chain)
	if code := rpc.CodeOf(err); code == rpc.Unimplemented || code == rpc.PermissionDenied {
		return nil, nil, rpc.Errorf(rpc.FailedPrecondition, "the node of the link takes part in no ledger, or only asks others: %w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	places, err := c.Places(ctx)
	if err != nil {
		return nil, nil, err
	}
	var peers []consensus.Peer
	for _, p := range places {
		peers = append(peers, consensus.Peer{Key: p.Key, Address: p.Address})
	}
	return g, peers, nil
}

func (n *Node) ledgerClient(l Link) *service.Client {
	return &service.Client{Peer: l.Peer, Conn: n.Calls.To(l.Peer, rpc.Normal)}
}

// genesisHash is that of the chain that the node takes part in; zero: none.
func (n *Node) genesisHash() canon.Hash {
	switch {
	case n.chain != nil:
		return n.chain.genesis
	case n.light != nil:
		return n.light.genesis
	}
	return canon.Hash{}
}
