package node

import (
	"context"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/metrics"
)

// Metrics are what the node counts, for an operator's instruments. It is called
// once.
func (n *Node) Metrics() *metrics.Registry {
	r := metrics.New()
	r.Gauges("aval_peers", "Connected peers, by how they are connected.", []string{"way"}, func() []metrics.Reading {
		direct, relayed := 0, 0
		for _, p := range n.Mesh.Peers() {
			if p.Relayed {
				relayed++
			} else {
				direct++
			}
		}
		return []metrics.Reading{{Value: float64(direct), Labels: []string{"direct"}}, {Value: float64(relayed), Labels: []string{"relay"}}}
	})
	r.Gauges("aval_peer_bytes", "Bytes exchanged with the peers that are connected now.", []string{"direction"}, func() []metrics.Reading {
		var in, out int64
		for _, p := range n.Mesh.Peers() {
			in += p.In
			out += p.Out
		}
		return []metrics.Reading{{Value: float64(in), Labels: []string{"in"}}, {Value: float64(out), Labels: []string{"out"}}}
	})
	if n.chain == nil && n.light == nil {
		return r
	}
	type part = metrics.Part[LedgerStatus]
	status := func() LedgerStatus {
		s, _ := n.LedgerStatus(context.Background()) // of nothing all numbers are 0
		return s
	}
	metrics.Parts(r, status,
		part{Name: "aval_ledger_height", Help: "Height of the last block.", Of: func(s LedgerStatus) float64 { return float64(s.Height) }},
		part{Name: "aval_ledger_peers", Help: "Other nodes of the chain that are connected.", Of: func(s LedgerStatus) float64 { return float64(s.Peers) }},
		part{Name: "aval_ledger_waiting_transactions", Help: "Transactions that are in no block yet.", Of: func(s LedgerStatus) float64 { return float64(s.Waiting) }},
		part{Name: "aval_ledger_validators", Help: "Validators of the next block.", Of: func(s LedgerStatus) float64 { return float64(len(s.Validators)) }},
		part{Name: "aval_ledger_halted", Help: "1 while no block can be made.", Of: func(s LedgerStatus) float64 {
			if s.Halted != "" {
				return 1
			}
			return 0
		}},
		part{Name: "aval_account_balance_units", Help: "What the node's own account has, in units.", Of: func(s LedgerStatus) float64 {
			return float64(s.Balance) / float64(ledger.Unit)
		}},
	)
	return r
}

// Health is what an operator's watchman asks for.
type Health struct {
	Status string `json:"status"` // "ok", "catching up" or "halted"
	Detail string `json:"detail,omitempty"`
	Peers  int    `json:"peers"`
	Height uint64 `json:"height,omitempty"`
}

// Health tells whether the node does what it should.
func (n *Node) Health() (Health, bool) {
	h := Health{Status: "ok", Peers: len(n.Mesh.Peers())}
	if n.light != nil {
		h.Height = n.light.Trust().Height
		if err := n.light.last(); err != nil {
			h.Status, h.Detail = "halted", plain(err)
		}
		return h, h.Status == "ok"
	}
	if n.chain == nil {
		return h, true
	}
	s := n.chain.node.Status()
	h.Height = s.Height
	switch {
	case s.Halted != "":
		h.Status, h.Detail = "halted", s.Halted
	case s.CatchingUp:
		h.Status = "catching up"
	}
	return h, h.Status == "ok"
}
