package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Offered is a model that a node of the ledger offers, with what is known of the
// node.
type Offered struct {
	Peer  peer.ID    `json:"peer"`
	Model canon.Hash `json:"model"`
	Name  string     `json:"name"` // of the model, as its publisher calls it
	ledger.Offer
	Bond   ledger.Amount `json:"bond"`
	Record ledger.Record `json:"record"`
	Self   bool          `json:"self,omitempty"` // it is this node
}

// Reliability orders nodes by what audits found: each answer that passed counts
// for it, each that failed, or audit that it missed, a thousand times against it.
func (o *Offered) Reliability() int64 {
	return int64(o.Record.Passed) + int64(o.Record.Audits) - 1000*int64(o.Record.Failed) - 1000*int64(o.Record.Missed)
}

// Market lists what nodes of the ledger offer, best first: those that never
// failed an audit, then cheap, then fast, then those with more behind them.
func (n *Node) Market(context.Context) ([]Offered, error) {
	if n.chain == nil {
		return nil, n.noLedger()
	}
	list := []Offered{}
	n.chain.node.View(func(m *ledger.Machine) {
		params := m.Params()
		for o := range m.Offers() {
			node, model := m.Node(o.Node), m.Model(o.Model)
			if node == nil || node.Bond < params.NodeBond || model == nil || model.Revoked != nil {
				continue
			}
			id, err := peer.FromPublic(o.Node)
			if err != nil {
				continue
			}
			list = append(list, Offered{Peer: id, Model: o.Model, Name: model.Name, Offer: o.Offer, Bond: node.Bond, Record: node.Record, Self: id == n.Mesh.Self()})
		}
	})
	slices.SortStableFunc(list, func(a, b Offered) int {
		return cmp.Or(
			cmp.Compare(min(b.Reliability(), 0), min(a.Reliability(), 0)),
			cmp.Compare(a.PriceIn+a.PriceOut, b.PriceIn+b.PriceOut),
			cmp.Compare(b.Speed, a.Speed),
			cmp.Compare(b.Reliability(), a.Reliability()),
			cmp.Compare(b.Bond, a.Bond),
			a.Peer.Compare(b.Peer),
		)
	})
	return list, nil
}

// OfferRequest offers a model that this node serves.
type OfferRequest struct {
	Name     string        `json:"name"` // as it is served
	Licence  string        `json:"licence,omitempty"`
	PriceIn  ledger.Amount `json:"price_in"` // for a million tokens
	PriceOut ledger.Amount `json:"price_out"`
	Region   string        `json:"region,omitempty"`
	Bond     ledger.Amount `json:"bond,omitempty"` // that the node has at least; 0: the least that is allowed
	End      bool          `json:"end,omitempty"`  // the offer ends
}

// noLicence is what SPDX calls a licence that nobody named.
const noLicence = "NOASSERTION"

// OfferModel puts an offer on the ledger: it bonds the node and registers the
// model, if nobody did so before. What was sent is given, with the last one first
// to fail.
func (n *Node) OfferModel(ctx context.Context, r OfferRequest) (done []Sent, err error) {
	if n.chain == nil {
		return nil, n.noLedger()
	}
	if n.host == nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "this node serves no model: \"aval up --serve MODEL\" does")
	}
	list, err := n.host.Models(ctx)
	if err != nil {
		return nil, err
	}
	send := func(kind ledger.Kind, payload any) error {
		s, err := n.chain.send(ctx, kind, payload)
		if err == nil {
			done = append(done, s)
			err = s.Err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		return nil
	}
	public := n.key.Public().(ed25519.PublicKey)
	for _, m := range list {
		if base, _, _ := strings.Cut(m.Name, ":"); m.Name != r.Name && base != r.Name {
			continue
		}
		if m.Root.IsZero() {
			return nil, rpc.Errorf(rpc.Unavailable, "the fingerprint of %s is not computed yet: try again in a while", r.Name)
		}
		if r.End {
			err := send(ledger.KindOffer, &ledger.SetOffer{Key: public, Model: m.Root})
			return done, err
		}
		var node *ledger.Node
		var model *ledger.Model
		var params ledger.Params
		n.chain.node.View(func(l *ledger.Machine) { node, model, params = l.Node(public), l.Model(m.Root), l.Params() })
		want, have := max(r.Bond, params.NodeBond), ledger.Amount(0)
		if node != nil {
			have = node.Bond
		}
		if have < want {
			b := &ledger.Bond{Key: public, Amount: want - have}
			if node == nil {
				b.Proof = ledger.ProveBond(n.key, n.chain.name, ledger.RoleNode, n.chain.Account())
			}
			if err := send(ledger.KindBond, b); err != nil {
				return done, err
			}
		}
		if model == nil {
			licence := r.Licence
			if licence == "" {
				licence = noLicence
			}
			if err := send(ledger.KindModel, &ledger.Register{Root: m.Root, Name: m.Name, Numerics: m.Numerics, Licence: licence}); err != nil {
				return done, err
			}
		}
		err := send(ledger.KindOffer, &ledger.SetOffer{Key: public, Model: m.Root, Offer: &ledger.Offer{
			PriceIn: r.PriceIn, PriceOut: r.PriceOut, Speed: uint64(n.models.Speed(m.Name)), Region: r.Region,
		}})
		return done, err
	}
	return nil, rpc.Errorf(rpc.NotFound, "this node serves no model %q", r.Name)
}

// ProviderConfig says how a node offers what it serves, on the ledger.
type ProviderConfig struct {
	PriceIn, PriceOut ledger.Amount // for a million tokens
	Region            string
	Bond              ledger.Amount // 0: the least that is allowed
}

// How often a provider tries to put its offers on the ledger.
const offerTry = 2 * time.Second

// provide offers all that is served, as soon as that is possible.
func (n *Node) provide(ctx context.Context, cfg ProviderConfig) {
	left := map[string]bool{}
	list, err := n.host.Models(ctx)
	if err != nil {
		n.logger.Warn("node: the models are not offered", "error", err)
		return
	}
	for _, m := range list {
		left[m.Name] = true
	}
	told := ""
	for len(left) > 0 {
		for name := range left {
			_, err := n.OfferModel(ctx, OfferRequest{Name: name, PriceIn: cfg.PriceIn, PriceOut: cfg.PriceOut, Region: cfg.Region, Bond: cfg.Bond})
			if err == nil {
				delete(left, name)
				continue
			}
			if why := err.Error(); why != told && rpc.CodeOf(err) != rpc.Unavailable && ctx.Err() == nil {
				n.logger.Warn("a model is not offered yet", "model", name, "why", why)
				told = why
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(offerTry):
		}
	}
}

// marketMethods are what commands may ask about offers.
func (n *Node) marketMethods() map[string]control.Method {
	return map[string]control.Method{
		"market":       method(func(ctx context.Context, _ struct{}) ([]Offered, error) { return n.Market(ctx) }),
		"market-offer": method(n.OfferModel),
	}
}

// Market is Node.Market.
func (r *Remote) Market(ctx context.Context) (out []Offered, err error) {
	err = r.client.Call(ctx, "market", struct{}{}, &out)
	return out, err
}

// OfferModel is Node.OfferModel.
func (r *Remote) OfferModel(ctx context.Context, in OfferRequest) (out []Sent, err error) {
	err = r.client.Call(ctx, "market-offer", in, &out)
	return out, err
}
