package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/web"
	"github.com/avalnetwork/aval/receipt"
)

// ledgerNode is what the console asks about a ledger.
type ledgerNode interface {
	LedgerStatus(ctx context.Context) (node.LedgerStatus, error)
	LedgerEntries(ctx context.Context, r node.EntriesRequest) ([]node.Entry, error)
	LedgerProof(ctx context.Context, key string) (node.EntryProof, error)
	LedgerBlocks(ctx context.Context, r node.BlocksRequest) ([]node.BlockInfo, error)
	LedgerBlock(ctx context.Context, height uint64) (node.BlockInfo, error)
	LedgerTx(ctx context.Context, id canon.Hash) (node.TxInfo, error)
}

// consoleLedger gives the pages about the ledger what they show.
type consoleLedger struct{ node ledgerNode }

// ledgerOf is the ledger that a node takes part in; nil if there is none.
func ledgerOf(ctx context.Context, n ledgerNode) (web.Ledger, error) {
	if _, err := n.LedgerStatus(ctx); node.IsNoLedger(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &consoleLedger{n}, nil
}

// notThere makes the error that a page knows.
func notThere(err error) error {
	if rpc.CodeOf(err) == rpc.NotFound {
		return web.ErrNotThere
	}
	return err
}

// Status is how far the ledger is.
func (c *consoleLedger) Status(ctx context.Context) (web.LedgerStatus, error) {
	s, err := c.node.LedgerStatus(ctx)
	if err != nil {
		return web.LedgerStatus{}, err
	}
	return web.LedgerStatus{
		Chain: s.Chain, Height: s.Height, Root: s.Root.String(), Time: s.Time, Validators: len(s.Validators), Catching: s.CatchingUp, Halted: s.Halted,
		Account: s.Account.String(), Balance: units(s.Balance),
	}, nil
}

// Blocks lists blocks, the latest first.
func (c *consoleLedger) Blocks(ctx context.Context, before uint64, most int) ([]web.Block, error) {
	list, err := c.node.LedgerBlocks(ctx, node.BlocksRequest{Before: before, Limit: most})
	if err != nil {
		return nil, err
	}
	var out []web.Block
	for _, b := range list {
		out = append(out, *blockView(&b))
	}
	return out, nil
}

func blockView(b *node.BlockInfo) *web.Block {
	out := &web.Block{Height: b.Height, Time: b.Time, Hash: b.Hash.String(), Proposer: b.Proposer, Count: b.Count, Events: events(b.Events)}
	if !b.Root.IsZero() {
		out.Root = b.Root.String()
	}
	for _, t := range b.Txs {
		out.Txs = append(out.Txs, *txView(&t))
	}
	return out
}

func events(list []ledger.Event) []web.Event {
	var out []web.Event
	for _, e := range list {
		v := web.Event{Kind: e.Kind}
		for _, f := range e.Fields {
			v.Fields = append(v.Fields, web.Field(f))
		}
		out = append(out, v)
	}
	return out
}

func txView(t *node.TxInfo) *web.Tx {
	out := &web.Tx{Hash: t.ID.String(), Height: t.Height, Index: t.Index, Kind: t.Kind, From: t.Account.String(), Nonce: t.Nonce, Bytes: t.Bytes, Fields: fields(t.Content)}
	if t.Kind == "" {
		out.Kind, out.From = "?", ""
	}
	if r := t.Result; r != nil {
		out.Known, out.OK, out.Fee, out.Events = true, r.Err() == nil, units(r.Fee), events(r.Events)
		if err := r.Err(); err != nil {
			out.Error = err.Error()
		}
	}
	return out
}

// fields lists what an object of JSON has, in its order.
func fields(raw json.RawMessage) []web.Field {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []web.Field
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return out
		}
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			return out
		}
		text := string(v)
		var s string
		if json.Unmarshal(v, &s) == nil {
			text = s
		}
		out = append(out, web.Field{Name: fmt.Sprint(name), Value: text})
	}
	return out
}

// Block is one block.
func (c *consoleLedger) Block(ctx context.Context, height uint64) (*web.Block, error) {
	b, err := c.node.LedgerBlock(ctx, height)
	if err != nil {
		return nil, notThere(err)
	}
	return blockView(&b), nil
}

// Tx is one transaction.
func (c *consoleLedger) Tx(ctx context.Context, hash string) (*web.Tx, error) {
	var id canon.Hash
	if id.UnmarshalText([]byte(hash)) != nil {
		return nil, web.ErrNotThere
	}
	t, err := c.node.LedgerTx(ctx, id)
	if err != nil {
		return nil, notThere(err)
	}
	return txView(&t), nil
}

// Account is one account, with its proof.
func (c *consoleLedger) Account(ctx context.Context, address string) (*web.Account, error) {
	var a ledger.Address
	if a.UnmarshalText([]byte(address)) != nil {
		return nil, web.ErrNotThere
	}
	table, _ := ledger.Table("account")
	e, err := c.Entry(ctx, hex.EncodeToString(append([]byte{table}, a[:]...)))
	if err != nil {
		return nil, err
	}
	out := &web.Account{Address: a.String(), Balance: "0", Entry: e}
	if e.Present {
		var acc ledger.Account
		if err := canon.Unmarshal(e.Value, &acc); err != nil {
			return nil, err
		}
		out.Balance, out.Nonce = units(acc.Balance), acc.Nonce
	}
	return out, nil
}

// Entry is a place of the state, by its key in hexadecimal or as TABLE/REST.
func (c *consoleLedger) Entry(ctx context.Context, key string) (*web.Entry, error) {
	raw, err := hex.DecodeString(key)
	if err != nil {
		return nil, web.ErrNotThere
	}
	p, err := c.node.LedgerProof(ctx, key)
	if err != nil {
		return nil, err
	}
	proof, err := tree.DecodeProof(p.Proof)
	if err != nil {
		return nil, err
	}
	value, there, err := proof.Verify(p.Root, raw)
	if err != nil {
		return nil, err
	}
	out := &web.Entry{
		Key: key, Present: there, Value: p.Value, Height: p.Height, Root: p.Root.String(), Proof: p.Proof,
		Checked: there == (p.Entry != nil) && (!there || value == canon.Hash(sha256.Sum256(p.Value))),
	}
	if p.Entry != nil {
		out.Table = p.Entry.Table
		if text, err := json.Marshal(p.Entry.Value); err == nil {
			out.Fields = fields(text)
		}
	}
	for _, s := range proof.Steps {
		out.Siblings = append(out.Siblings, s.Other.String())
	}
	return out, nil
}

// again reads what a value of an entry is, which came through JSON or not.
func again(v, to any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

// Nodes are those with a bond.
func (c *consoleLedger) Nodes(ctx context.Context) ([]web.NodeRecord, error) {
	list, err := c.node.LedgerEntries(ctx, node.EntriesRequest{Table: "node"})
	if err != nil {
		return nil, err
	}
	s, err := c.node.LedgerStatus(ctx)
	if err != nil {
		return nil, err
	}
	power := map[string]uint64{}
	for _, v := range s.Validators {
		power[v.Key] = v.Power
	}
	offers := map[string]int{}
	if list, err := c.node.LedgerEntries(ctx, node.EntriesRequest{Table: "offer"}); err == nil {
		for _, e := range list {
			if len(e.Key) >= 66 {
				offers[e.Key[2:66]]++
			}
		}
	}
	var out []web.NodeRecord
	seen := map[string]bool{}
	for _, e := range list {
		if len(e.Key) != 66 {
			continue
		}
		key := e.Key[2:]
		var n ledger.Node
		if err := again(e.Value, &n); err != nil {
			return nil, err
		}
		seen[key] = true
		r := web.NodeRecord{
			Key: nodeKey(key), Account: n.Operator.String(), Bond: units(n.Bond), Validator: power[key] > 0, Power: int64(power[key]),
			Audited: n.Record.Passed + n.Record.Failed, Failed: n.Record.Failed, Offers: offers[key],
		}
		if n.Record.Slashed > 0 {
			r.Slashed = units(n.Record.Slashed)
		}
		out = append(out, r)
	}
	for _, v := range s.Validators {
		if raw, err := hex.DecodeString(v.Key); err == nil && !seen[v.Key] {
			out = append(out, web.NodeRecord{Key: nodeKey(v.Key), Account: ledger.AddressOf(raw).String(), Validator: true, Power: int64(v.Power)})
		}
	}
	return out, nil
}

// nodeKey writes a key as people compare it.
func nodeKey(text string) string {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return text
	}
	return receipt.FormatNodeKey(raw)
}

// mostDisputes is how many disputes of the ledger are shown.
const mostDisputes = 100

// Disputes are those on the ledger, with their messages as long as it keeps them.
func (c *consoleLedger) Disputes(ctx context.Context) ([]web.Dispute, error) {
	list, err := c.node.LedgerEntries(ctx, node.EntriesRequest{Table: "dispute", Limit: mostDisputes})
	if err != nil {
		return nil, err
	}
	var out []web.Dispute
	for _, e := range list {
		var d ledger.Dispute
		if err := again(e.Value, &d); err != nil {
			return nil, err
		}
		r, err := receipt.Parse(d.Receipt)
		if err != nil || len(e.Key) < 2 {
			continue // the ledger takes no dispute about what is none
		}
		id := e.Key[2:]
		v := disputeAbout(r)
		v.ID, v.Challenger, v.Deadline, v.Opened = id, receipt.FormatNodeKey(d.Challenger), d.Deadline, time.Time{}
		proof, err := c.moves(ctx, id, v)
		if err != nil {
			return nil, err
		}
		if j := d.Judgment; j != nil {
			v.Reason = j.Reason.String()
			switch j.Winner {
			case dispute.ChallengerParty, dispute.ProverParty:
				v.Winner = j.Winner.String()
			default:
				v.Reason = "void"
			}
			if j.Reason == dispute.Fraud && proof != nil {
				if err := convict(v, r, proof); err != nil {
					return nil, err
				}
			}
		}
		out = append(out, *v)
	}
	return out, nil
}

// moves adds the messages of a dispute, and gives the proof of fraud among them.
func (c *consoleLedger) moves(ctx context.Context, id string, d *web.Dispute) (proof []byte, err error) {
	list, err := c.node.LedgerEntries(ctx, node.EntriesRequest{Table: "move", Prefix: id})
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		var m ledger.Move
		if err := again(e.Value, &m); err != nil {
			return nil, err
		}
		read, err := dispute.ReadMove(m.Message)
		if err != nil {
			continue // the ledger charged for it, and no more
		}
		d.Rounds = append(d.Rounds, web.Round{Number: read.Round, Challenger: read.Challenger, Move: read.Name, Bytes: len(m.Message)})
		if read.Proof != nil {
			proof = read.Proof
		}
	}
	return proof, nil
}
