package bench

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/receiptlog"
)

// Batches measures how many receipts a second the ledger's machine accounts for
// by batches of this many, each of another node, in blocks of 100: signatures,
// proofs, the drawing of auditors and the root of the state, but no consensus.
// What the nodes do before, keeping their logs, is not counted.
func Batches(batches, receipts int) (perSecond float64, err error) {
	const each = 100 // batches of a block
	if batches < 1 || receipts < 1 || receipts > ledger.MaxBatch {
		return 0, fmt.Errorf("nothing to measure: %d batches of %d receipts", batches, receipts)
	}
	b, err := newBatchBench(batches, receipts)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for len(b.txs) > 0 {
		n := min(each, len(b.txs))
		if err := b.block(b.txs[:n]...); err != nil {
			return 0, err
		}
		b.txs = b.txs[n:]
	}
	for range b.params.Audit.Delay { // the audits are drawn
		if err := b.block(); err != nil {
			return 0, err
		}
	}
	return float64(batches*receipts) / time.Since(begin).Seconds(), nil
}

// batchBench is a chain on which nodes wait to post a batch.
type batchBench struct {
	m      *ledger.Machine
	params ledger.Params
	now    uint64
	txs    [][]byte
}

func newBatchBench(batches, receipts int) (*batchBench, error) {
	const chain, auditors, fee = "bench", 20, 1_000_000
	b := &batchBench{params: ledger.DefaultParams(), now: 1_000}
	key := func(n int) ed25519.PrivateKey {
		h := canon.Sum("aval bench key", binary.AppendUvarint(nil, uint64(n)))
		return ed25519.NewKeyFromSeed(h[:])
	}
	public := func(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }
	g := &ledger.Genesis{Chain: chain, Time: b.now, Params: &b.params}
	for i := range batches + auditors {
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: ledger.AddressOf(public(key(i))), Balance: 1_000_000 * ledger.Unit})
	}
	g.Validators = []ledger.GenesisValidator{{Key: canon.Hash(public(key(0))), Operator: g.Accounts[0].Address, Power: 1, Bond: b.params.ValidatorBond}}
	var err error
	if b.m, err = ledger.New(g); err != nil {
		return nil, err
	}
	sign := func(i int, nonce uint64, kind ledger.Kind, payload any) ([]byte, error) {
		body, err := ledger.NewBody(chain, g.Accounts[i].Address, nonce, fee, kind, payload)
		if err != nil {
			return nil, err
		}
		return body.Sign(ledger.Single(public(key(i))), key(i))
	}
	log, err := receiptlog.NewTree(0, nil)
	if err != nil {
		return nil, err
	}
	for i := range receipts {
		log.Append(canon.Sum("aval bench receipt", binary.AppendUvarint(nil, uint64(i))))
	}
	size, root := log.Size(), log.Root()
	bond := b.params.NodeBond + b.params.Audit.Cover*ledger.Amount(receipts)
	for i := range batches + auditors {
		node := public(key(i))
		tx, err := sign(i, 0, ledger.KindBond, &ledger.Bond{Key: node, Amount: bond, Proof: ledger.ProveBond(key(i), chain, ledger.RoleNode, g.Accounts[i].Address)})
		if err == nil {
			err = b.block(tx)
		}
		if err != nil {
			return nil, err
		}
		if i < batches {
			tx, err = sign(i, 1, ledger.KindBatch, &ledger.Batch{Key: node, Size: size, Root: root, Signature: ledger.SignBatch(key(i), size, root)})
			b.txs = append(b.txs, tx)
		} else if tx, err = sign(i, 1, ledger.KindAuditor, &ledger.SetAuditor{Key: node, On: true}); err == nil {
			err = b.block(tx)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *batchBench) block(txs ...[]byte) error {
	b.now += 1000
	h := b.m.Height() + 1
	if err := b.m.Begin(ledger.Block{Height: h, Time: b.now, Beacon: canon.Sum("aval bench beacon", binary.AppendUvarint(nil, h))}); err != nil {
		return err
	}
	for _, tx := range txs {
		if r := b.m.Apply(tx); r.Code != ledger.CodeOK {
			return fmt.Errorf("a transaction of the measurement: %s: %s", r.Code, r.Detail)
		}
	}
	b.m.End()
	return nil
}
