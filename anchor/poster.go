package anchor

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Backend is what is asked of a chain; ethclient.Client is one.
type Backend interface {
	bind.ContractBackend
	bind.DeployBackend
	ethereum.ChainIDReader
	ethereum.BlockNumberReader
	NonceAt(ctx context.Context, account common.Address, block *big.Int) (uint64, error)
}

// Source tells the newest state of a ledger.
type Source interface {
	State(ctx context.Context) (State, error)
}

// Witness gathers signatures of a state; what it gives may be wrong or of
// nobody, and may be fewer than are needed.
type Witness interface {
	Attest(ctx context.Context, c *Contract, s State) ([]Attestation, error)
}

// Journal keeps what a poster has sent, over restarts.
type Journal interface {
	Load() (*Pending, error) // nil if there is nothing
	Save(*Pending) error     // returns once it would survive a crash; nil: nothing
}

// Pending is a transaction that was sent, or was about to be. It keeps its
// nonce whenever it is sent again at a higher price, so that one of its forms at
// most can ever be in the chain.
type Pending struct {
	Contract common.Address `json:"contract"`
	ChainID  uint64         `json:"chain_id"`
	Sender   common.Address `json:"sender"`
	State    State          `json:"state"`
	Nonce    uint64         `json:"nonce"`
	Forms    []Form         `json:"forms"` // oldest first
}

// Form is one signed form of a transaction.
type Form struct {
	Hash common.Hash `json:"hash"`
	Raw  []byte      `json:"raw"`
	Sent time.Time   `json:"sent"`
}

// maxForms bounds how often the price of one transaction is raised.
const maxForms = 64

// Config is how a [Poster] posts.
type Config struct {
	Contract *Contract
	Key      *ecdsa.PrivateKey // pays; it need not be a signer
	Source   Source
	Witness  Witness
	Journal  Journal
	Now      func() time.Time

	// Every is how far a height must be above the latest that is anchored to be
	// posted; 0 stands for 1, which is every height that the source shows.
	Every uint64
	// MaxPrice bounds what a unit of gas may cost, in wei, tip included; nil: 100
	// gwei. While gas is dearer nothing is sent.
	MaxPrice *big.Int
	// MaxGas bounds the gas of a transaction; 0: 2,000,000.
	MaxGas uint64
	// Confirmations is how many blocks must be on top of the transaction's
	// before it is done; until then a reorganisation is followed.
	Confirmations uint64
	// Patience is how long a transaction waits before its price is raised, by an
	// eighth, which is the least that nodes take; 0: two minutes.
	Patience time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Outcome is what a step of a [Poster] found or did.
type Outcome string

// The outcomes.
const (
	Idle       Outcome = "idle"       // the newest height is anchored
	Short      Outcome = "short"      // not enough signatures yet
	Dear       Outcome = "dear"       // gas costs more than allowed
	Sent       Outcome = "sent"       // a transaction was sent
	Raised     Outcome = "raised"     // it was sent again at a higher price
	Waiting    Outcome = "waiting"    // it is not in the chain yet
	Confirming Outcome = "confirming" // it is, not deep enough
	Done       Outcome = "done"       // the root is anchored
	Dropped    Outcome = "dropped"    // the transaction cannot succeed any more; the next step begins anew
)

// ErrOther says that another root of the height is anchored than the source
// has: somebody is wrong, or the ledger forked.
var ErrOther = errors.New("another root of this height is anchored")

// Poster posts the roots of a ledger to a contract.
type Poster struct {
	cfg  Config
	from common.Address
}

// NewPoster checks a configuration.
func NewPoster(cfg Config) (*Poster, error) {
	if cfg.Contract == nil || cfg.Key == nil || cfg.Source == nil || cfg.Witness == nil || cfg.Journal == nil || cfg.Now == nil {
		return nil, errors.New("anchor: a poster needs a contract, a key, a source, a witness, a journal and a clock")
	}
	cfg.Every = max(cfg.Every, 1)
	if cfg.MaxPrice == nil {
		cfg.MaxPrice = big.NewInt(100e9)
	}
	if cfg.MaxPrice.Sign() <= 0 {
		return nil, fmt.Errorf("anchor: a greatest price of %s wei", cfg.MaxPrice)
	}
	if cfg.MaxGas == 0 {
		cfg.MaxGas = 2_000_000
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Poster{cfg: cfg, from: address(cfg.Key)}, nil
}

// Run steps until the context ends, waiting a while between steps. Errors are
// logged, and what failed is tried again, later each time.
func (p *Poster) Run(ctx context.Context, every time.Duration) error {
	pause := every
	for {
		out, err := p.Step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			pause = min(2*pause, 32*every)
			p.cfg.Log.Error("anchor", "err", err, "again_in", pause)
		default:
			pause = every
			p.cfg.Log.Debug("anchor", "outcome", out)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// Step does the next thing: look after the transaction that is under way, or
// post the newest state. After an error, and after a crash at any point, the
// next step goes on; nothing is posted twice.
func (p *Poster) Step(ctx context.Context) (Outcome, error) {
	pending, err := p.cfg.Journal.Load()
	if err != nil {
		return "", fmt.Errorf("anchor: reading the journal: %w", err)
	}
	if pending != nil {
		return p.follow(ctx, pending)
	}
	return p.begin(ctx)
}

// begin posts the newest state, if it is new.
func (p *Poster) begin(ctx context.Context) (Outcome, error) {
	c := p.cfg.Contract
	s, err := p.cfg.Source.State(ctx)
	if err != nil {
		return "", fmt.Errorf("anchor: asking the ledger: %w", err)
	}
	if err := c.fits(s); err != nil {
		return "", err
	}
	latest, err := c.Latest(ctx)
	if err != nil {
		return "", err
	}
	if done, err := p.anchored(ctx, s); err != nil || done {
		return Idle, err
	}
	if s.Height < latest+p.cfg.Every {
		return Idle, nil
	}
	call, err := p.call(ctx, s)
	if err != nil || call == nil {
		return Short, err
	}
	// The next one of those that are in the chain, not of those that wait: a
	// transaction that somebody else sent with this key is for us to see.
	nonce, err := c.backend.NonceAt(ctx, p.from, nil)
	if err != nil {
		return "", fmt.Errorf("anchor: asking for the nonce of %s: %w", p.from, err)
	}
	waiting, err := c.backend.PendingNonceAt(ctx, p.from)
	if err != nil {
		return "", fmt.Errorf("anchor: asking for the nonce of %s: %w", p.from, err)
	}
	if waiting > nonce {
		return "", fmt.Errorf("anchor: %d transactions of %s wait that this poster did not send or has forgotten; give it a key of its own, or wait for them", waiting-nonce, p.from)
	}
	pending := &Pending{Contract: c.Address, ChainID: c.ChainID.Uint64(), Sender: p.from, State: s, Nonce: nonce}
	return p.send(ctx, pending, call, nil)
}

// anchored says whether a root is in the contract; another one is an error.
func (p *Poster) anchored(ctx context.Context, s State) (bool, error) {
	root, err := p.cfg.Contract.Root(ctx, s.Height)
	switch {
	case errors.Is(err, ErrUnknown):
		return false, nil
	case err != nil:
		return false, err
	case root != s.Root:
		return false, fmt.Errorf("%w: %s, and the ledger has %s at the height %d", ErrOther, root, s.Root, s.Height)
	}
	return true, nil
}

// call is the call that posts a state, nil if signatures are missing.
func (p *Poster) call(ctx context.Context, s State) ([]byte, error) {
	c := p.cfg.Contract
	set, err := c.Signers(ctx)
	if err != nil {
		return nil, err
	}
	list, err := p.cfg.Witness.Attest(ctx, c, s)
	if err != nil {
		return nil, fmt.Errorf("anchor: gathering signatures: %w", err)
	}
	want := Attestation{State: s, ChainID: c.ChainID.Uint64(), Contract: c.Address}
	var signatures []Signature
	for _, a := range list {
		if a.State == s && a.ChainID == want.ChainID && a.Contract == want.Contract {
			signatures = append(signatures, a.Signature)
		}
	}
	data, signed := set.join(want.digest(), signatures)
	if signed < set.Threshold {
		p.cfg.Log.Info("anchor: signatures are missing", "height", s.Height, "signed", signed, "want", set.Threshold)
		return nil, nil
	}
	return c.abi.Pack("post", s.Height, [32]byte(s.Root), data)
}

// prices are what gas costs now: the tip and the greatest price of a
// transaction, of the old kind if the chain has no base fee. dear says that it
// is more than allowed.
func (p *Poster) prices(ctx context.Context, last *types.Transaction) (tip, price *big.Int, legacy, dear bool, err error) {
	b := p.cfg.Contract.backend
	head, err := b.HeaderByNumber(ctx, nil)
	if err != nil {
		return nil, nil, false, false, fmt.Errorf("anchor: reading the newest block: %w", err)
	}
	legacy = head.BaseFee == nil
	var least *big.Int // without which no block takes it
	if legacy {
		if price, err = b.SuggestGasPrice(ctx); err != nil {
			return nil, nil, false, false, fmt.Errorf("anchor: asking for the price of gas: %w", err)
		}
		tip, least = price, price
	} else {
		if tip, err = b.SuggestGasTipCap(ctx); err != nil {
			return nil, nil, false, false, fmt.Errorf("anchor: asking for the price of gas: %w", err)
		}
		least = new(big.Int).Add(head.BaseFee, tip)
		price = new(big.Int).Add(least, head.BaseFee) // room for six full blocks
	}
	if last != nil {
		// A node takes a replacement only if both prices are a tenth higher.
		raise := func(old, now *big.Int) *big.Int {
			up := new(big.Int).Add(old, new(big.Int).Div(old, big.NewInt(8)))
			up.Add(up, big.NewInt(1))
			if up.Cmp(now) < 0 {
				return now
			}
			return up
		}
		tip, price = raise(last.GasTipCap(), tip), raise(last.GasFeeCap(), price)
		least = price
	}
	if least.Cmp(p.cfg.MaxPrice) > 0 {
		return nil, nil, legacy, true, nil
	}
	if price.Cmp(p.cfg.MaxPrice) > 0 {
		price = p.cfg.MaxPrice
	}
	if tip.Cmp(price) > 0 {
		tip = price
	}
	return tip, price, legacy, false, nil
}

// send signs a form of the transaction, writes it down, and sends it, in this
// order: what may be in the chain is in the journal.
func (p *Poster) send(ctx context.Context, pending *Pending, call []byte, last *types.Transaction) (Outcome, error) {
	c := p.cfg.Contract
	tip, price, legacy, dear, err := p.prices(ctx, last)
	if err != nil {
		return "", err
	}
	if dear {
		p.cfg.Log.Info("anchor: gas costs more than allowed", "allowed_wei", p.cfg.MaxPrice)
		return Dear, nil
	}
	gas, err := c.backend.EstimateGas(ctx, ethereum.CallMsg{From: p.from, To: &c.Address, Data: call})
	if err != nil {
		return "", fmt.Errorf("anchor: trying the transaction: %w", Explain(&c.abi, err))
	}
	if gas += gas / 5; gas > p.cfg.MaxGas {
		return "", fmt.Errorf("anchor: the transaction would take %d gas, at most %d is allowed", gas, p.cfg.MaxGas)
	}
	var inner types.TxData = &types.DynamicFeeTx{ChainID: c.ChainID, Nonce: pending.Nonce, GasTipCap: tip, GasFeeCap: price, Gas: gas, To: &c.Address, Data: call}
	if legacy {
		inner = &types.LegacyTx{Nonce: pending.Nonce, GasPrice: price, Gas: gas, To: &c.Address, Data: call}
	}
	tx, err := types.SignNewTx(p.cfg.Key, types.LatestSignerForChainID(c.ChainID), inner)
	if err != nil {
		return "", fmt.Errorf("anchor: signing the transaction: %w", err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		return "", fmt.Errorf("anchor: encoding the transaction: %w", err)
	}
	pending.Forms = append(pending.Forms, Form{Hash: tx.Hash(), Raw: raw, Sent: p.cfg.Now().UTC()})
	if err := p.cfg.Journal.Save(pending); err != nil {
		return "", fmt.Errorf("anchor: writing the journal: %w", err)
	}
	if err := c.backend.SendTransaction(ctx, tx); err != nil {
		return "", fmt.Errorf("anchor: sending the transaction %s: %w", tx.Hash(), err)
	}
	p.cfg.Log.Info("anchor: sent", "height", pending.State.Height, "root", pending.State.Root, "tx", tx.Hash(), "gas", gas, "price_wei", price)
	if last != nil {
		return Raised, nil
	}
	return Sent, nil
}

// follow looks after a transaction that was sent.
func (p *Poster) follow(ctx context.Context, pending *Pending) (Outcome, error) {
	c := p.cfg.Contract
	if pending.Contract != c.Address || pending.ChainID != c.ChainID.Uint64() || pending.Sender != p.from || len(pending.Forms) == 0 {
		return "", fmt.Errorf("anchor: the journal is of a transaction from %s to the contract %s on chain %d; use another journal, or finish that first", pending.Sender, pending.Contract, pending.ChainID)
	}
	for _, f := range pending.Forms {
		receipt, err := c.backend.TransactionReceipt(ctx, f.Hash)
		if errors.Is(err, ethereum.NotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("anchor: asking for the transaction %s: %w", f.Hash, err)
		}
		return p.confirm(ctx, pending, receipt)
	}
	switch used, deep, err := p.used(ctx, pending.Nonce); {
	case err != nil:
		return "", err
	case deep:
		return p.drop(pending, "another transaction has its number")
	case used:
		return Waiting, nil // for the node to tell which transaction it was
	}
	if done, err := p.anchored(ctx, pending.State); err != nil && !errors.Is(err, ErrOther) {
		return "", err
	} else if done {
		p.cfg.Log.Info("anchor: somebody else posted it first", "height", pending.State.Height)
	}
	last := new(types.Transaction)
	form := pending.Forms[len(pending.Forms)-1]
	if err := last.UnmarshalBinary(form.Raw); err != nil {
		return "", fmt.Errorf("anchor: the journal's transaction: %w", err)
	}
	if p.cfg.Now().Sub(form.Sent) >= p.cfg.Patience && len(pending.Forms) < maxForms {
		out, err := p.send(ctx, pending, last.Data(), last)
		if err != nil || out != Dear {
			return out, err
		}
	}
	// A node may have forgotten it, or never have got it.
	if err := c.backend.SendTransaction(ctx, last); err != nil && !known(err) {
		return "", fmt.Errorf("anchor: sending the transaction %s again: %w", form.Hash, err)
	}
	return Waiting, nil
}

// used says whether a transaction of the key with this nonce is in the chain, and
// whether it is deep enough there: then no other can ever be. Nodes behind one
// address may be some blocks apart, so the first alone says little.
func (p *Poster) used(ctx context.Context, nonce uint64) (used, deep bool, err error) {
	b := p.cfg.Contract.backend
	head, err := b.BlockNumber(ctx)
	if err != nil {
		return false, false, fmt.Errorf("anchor: asking for the newest block: %w", err)
	}
	at := new(big.Int).SetUint64(head - min(head, p.cfg.Confirmations))
	for i, block := range []*big.Int{nil, at} {
		n, err := b.NonceAt(ctx, p.from, block)
		if err != nil {
			return false, false, fmt.Errorf("anchor: asking for the nonce of %s: %w", p.from, err)
		}
		if n <= nonce {
			return i > 0, false, nil
		}
	}
	return true, true, nil
}

// known says that a node has a transaction already; nodes have no code for it.
func known(err error) bool {
	text := err.Error()
	for _, s := range []string{"already known", "known transaction", "already exists", "AlreadyKnown"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// confirm waits until a transaction is deep enough.
func (p *Poster) confirm(ctx context.Context, pending *Pending, r *types.Receipt) (Outcome, error) {
	head, err := p.cfg.Contract.backend.BlockNumber(ctx)
	if err != nil {
		return "", fmt.Errorf("anchor: asking for the newest block: %w", err)
	}
	if in := r.BlockNumber.Uint64(); head < in+p.cfg.Confirmations {
		return Confirming, nil
	}
	if r.Status != types.ReceiptStatusSuccessful {
		return p.drop(pending, "the contract refused it: the signers may have changed meanwhile")
	}
	done, err := p.anchored(ctx, pending.State)
	if err != nil && !errors.Is(err, ErrOther) && !errors.Is(err, ErrContradicted) {
		return "", err
	}
	if serr := p.cfg.Journal.Save(nil); serr != nil {
		return "", fmt.Errorf("anchor: writing the journal: %w", serr)
	}
	if err != nil {
		return "", err
	}
	if !done {
		return Dropped, fmt.Errorf("anchor: the transaction %s succeeded, and the contract has no root of height %d", r.TxHash, pending.State.Height)
	}
	p.cfg.Log.Info("anchor: done", "height", pending.State.Height, "root", pending.State.Root, "tx", r.TxHash, "gas", r.GasUsed)
	return Done, nil
}

func (p *Poster) drop(pending *Pending, why string) (Outcome, error) {
	if err := p.cfg.Journal.Save(nil); err != nil {
		return "", fmt.Errorf("anchor: writing the journal: %w", err)
	}
	p.cfg.Log.Warn("anchor: gave a transaction up", "height", pending.State.Height, "why", why)
	return Dropped, nil
}
