// Package wallet acts for an account of the ledger: it signs transactions with
// the [Keys] that are here, and waits for what comes of them. Keys are made with
// [Single], [Shared] or [Device] and kept with [Keys.Save] and [Load]; [New]
// makes a wallet of them, [Wallet.Send] sends a transaction, [Wallet.Open] pays
// for answers of a node. Where several people sign, [Wallet.Draft] begins a
// transaction, and [Wallet.Cosign] adds to it.
//
// It does not find the ledger: whoever has it, or asks somebody who proves what
// is in it, is a [Ledger].
package wallet

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
)

// Ledger is the ledger as a wallet sees it.
type Ledger interface {
	// Entry reads an entry of the state after the last block; nil: there is none.
	Entry(ctx context.Context, key []byte) ([]byte, error)
	// Submit sends a transaction, and waits until it is in a block, or cannot get
	// into one, which a code below ledger.CodeRefused says.
	Submit(ctx context.Context, tx []byte) (ledger.Done, error)
}

// Wallet sends the transactions of an account, one at a time.
type Wallet struct {
	keys   Keys
	ledger Ledger

	sending sync.Mutex
}

// New makes a wallet.
func New(k Keys, l Ledger) (*Wallet, error) {
	if err := k.validate(); err != nil {
		return nil, err
	}
	return &Wallet{keys: k, ledger: l}, nil
}

// Account is the account that the wallet acts for.
func (w *Wallet) Account() ledger.Address { return w.keys.Account }

// Failed is a transaction that did nothing.
type Failed struct {
	Kind   ledger.Kind
	Result ledger.Result
}

func (e *Failed) Error() string {
	return fmt.Sprintf("wallet: the transaction %s failed: %s: %s (it cost %d)", e.Kind, e.Result.Code, e.Result.Detail, e.Result.Fee)
}

// entry reads an entry of the state; nil: there is none.
func entry[T any](ctx context.Context, l Ledger, key []byte) (*T, error) {
	raw, err := l.Entry(ctx, key)
	if err != nil || raw == nil {
		return nil, err
	}
	_, v, err := ledger.Entry(key, raw)
	if err != nil {
		return nil, fmt.Errorf("wallet: what is in the ledger cannot be read: %w", err)
	}
	out, ok := v.(*T)
	if !ok {
		return nil, fmt.Errorf("wallet: internal error: the entry %x is a %T", key, v)
	}
	return out, nil
}

// Balance is what the account has.
func (w *Wallet) Balance(ctx context.Context) (ledger.Amount, error) {
	a, err := entry[ledger.Account](ctx, w.ledger, ledger.AccountKey(w.keys.Account))
	if err != nil || a == nil {
		return 0, err
	}
	return a.Balance, nil
}

// state is what a transaction is made with: what there is once, the nonce, and
// what may be spent.
func (w *Wallet) state(ctx context.Context) (m *ledger.Meta, nonce uint64, most ledger.Amount, err error) {
	if m, err = entry[ledger.Meta](ctx, w.ledger, ledger.MetaKey()); err != nil {
		return nil, 0, 0, err
	}
	if m == nil {
		return nil, 0, 0, errors.New("wallet: the ledger has no state")
	}
	a, err := entry[ledger.Account](ctx, w.ledger, ledger.AccountKey(w.keys.Account))
	if err != nil {
		return nil, 0, 0, err
	}
	if a == nil {
		return nil, 0, 0, fmt.Errorf("wallet: the account %s has nothing: somebody has to pay it first", w.keys.Account)
	}
	device := w.keys.device()
	if device == nil {
		return m, a.Nonce, a.Balance, nil
	}
	d, err := entry[ledger.Device](ctx, w.ledger, ledger.DeviceKey(w.keys.Account, device))
	if err != nil {
		return nil, 0, 0, err
	}
	if d == nil {
		return nil, 0, 0, fmt.Errorf("wallet: the account %s has not authorised this device's key, %x", w.keys.Account, device)
	}
	return m, d.Nonce, min(a.Balance, d.Limit), nil
}

// amountOf is what a transaction takes beside its fee.
func amountOf(payload any) ledger.Amount {
	switch p := payload.(type) {
	case *ledger.Transfer:
		return p.Amount
	case *ledger.Burn:
		return p.Amount
	case *ledger.Bond:
		return p.Amount
	case *ledger.Candidate:
		return p.Amount
	case *ledger.Open:
		return p.Escrow
	}
	return 0
}

// feeOf is the most that a transaction can cost.
func (w *Wallet) feeOf(ctx context.Context, params *ledger.Params, b *ledger.Body, payload any) (ledger.Amount, error) {
	switch p := payload.(type) {
	case *ledger.OpenDispute:
		return params.MessageFee(nil, p.Message), nil
	case *ledger.MakeMove:
		d, err := entry[ledger.Dispute](ctx, w.ledger, ledger.DisputeKey(p.Dispute))
		if err != nil {
			return 0, err
		}
		if d != nil {
			return params.MessageFee(d, p.Message), nil
		}
	}
	return params.MaxFee(b, w.keys.Policy), nil
}

// Draft makes a transaction that all keys that are here have signed. If the
// policy asks for more, it is for their wallets' Cosign.
func (w *Wallet) Draft(ctx context.Context, kind ledger.Kind, payload any) ([]byte, error) {
	m, nonce, most, err := w.state(ctx)
	if err != nil {
		return nil, err
	}
	return w.draft(ctx, m, nonce, most, kind, payload)
}

func (w *Wallet) draft(ctx context.Context, m *ledger.Meta, nonce uint64, most ledger.Amount, kind ledger.Kind, payload any) ([]byte, error) {
	b, err := ledger.NewBody(m.Chain, w.keys.Account, nonce, 0, kind, payload)
	if err != nil {
		return nil, err
	}
	if takes := amountOf(payload); takes <= most {
		most -= takes
	}
	fee, err := w.feeOf(ctx, &m.Params, b, payload)
	if err != nil {
		return nil, err
	}
	b.MaxFee = min(fee, most)
	return b.Sign(w.keys.Policy, w.signers()...)
}

// signers are as many of the keys that are here as the policy needs.
func (w *Wallet) signers() []ed25519.PrivateKey {
	return w.keys.private[:min(len(w.keys.private), w.keys.Policy.Threshold)]
}

// Cosign adds the signatures of the keys that are here to a transaction, as far
// as they are missing. It does not ask whether they should: look at the body
// first (ledger.ReadDraft). Done says that it has all that it needs.
func (w *Wallet) Cosign(tx []byte) (signed []byte, done bool, err error) {
	return ledger.Cosign(tx, w.keys.private...)
}

// Submit sends a transaction that has all its signatures.
func (w *Wallet) Submit(ctx context.Context, tx []byte) (ledger.Done, error) {
	_, b, err := ledger.DecodeTx(tx)
	if err != nil {
		return ledger.Done{}, err
	}
	res, err := w.ledger.Submit(ctx, tx)
	if err == nil && res.Code != ledger.CodeOK {
		err = &Failed{b.Kind, res.Result}
	}
	return res, err
}

// Send sends a transaction and waits for it. One that did nothing is a *Failed.
func (w *Wallet) Send(ctx context.Context, kind ledger.Kind, payload any) (ledger.Done, error) {
	w.sending.Lock()
	defer w.sending.Unlock()
	tx, err := w.Draft(ctx, kind, payload)
	if err != nil {
		return ledger.Done{}, err
	}
	return w.Submit(ctx, tx)
}

// Open opens a session; its terms' key of vouchers is filled in. The purse pays
// from it, and its state is to be kept.
func (w *Wallet) Open(ctx context.Context, o ledger.Open) (*payment.Purse, error) {
	w.sending.Lock()
	defer w.sending.Unlock()
	m, nonce, most, err := w.state(ctx)
	if err != nil {
		return nil, err
	}
	key := w.keys.voucherKey(m.Chain, nonce)
	o.Key = key.Public().(ed25519.PublicKey)
	tx, err := w.draft(ctx, m, nonce, most, ledger.KindOpen, &o)
	if err != nil {
		return nil, err
	}
	if _, err := w.Submit(ctx, tx); err != nil {
		return nil, err
	}
	return w.purse(ctx, m.Chain, ledger.TxID(tx), key, payment.State{})
}

func (w *Wallet) purse(ctx context.Context, chain string, id canon.Hash, key ed25519.PrivateKey, s payment.State) (*payment.Purse, error) {
	e, err := entry[ledger.Session](ctx, w.ledger, ledger.SessionKey(id))
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		return nil, fmt.Errorf("wallet: there is no open session %s", id)
	case e.Payer != w.keys.Account:
		return nil, fmt.Errorf("wallet: the session %s is of the account %s", id, e.Payer)
	}
	return payment.NewPurse(e.Terms(chain, id), key, s)
}

// maxRetry bounds the nonces that Purse looks for a key among.
const maxRetry = 1 << 12

// Purse is that of a session that this wallet opened, with what was kept of it.
func (w *Wallet) Purse(ctx context.Context, id canon.Hash, s payment.State) (*payment.Purse, error) {
	m, nonce, _, err := w.state(ctx)
	if err != nil {
		return nil, err
	}
	e, err := entry[ledger.Session](ctx, w.ledger, ledger.SessionKey(id))
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, fmt.Errorf("wallet: there is no open session %s", id)
	}
	for i := uint64(1); i <= min(nonce, maxRetry); i++ {
		key := w.keys.voucherKey(m.Chain, nonce-i)
		if slices.Equal(e.Key, key.Public().(ed25519.PublicKey)) {
			return w.purse(ctx, m.Chain, id, key, s)
		}
	}
	return nil, fmt.Errorf("wallet: the key of the vouchers of the session %s is not one of this wallet's", id)
}

// Settle ends a session that pays this account with the best voucher that was
// got for it.
func (w *Wallet) Settle(ctx context.Context, id canon.Hash, s payment.State) (ledger.Done, error) {
	return w.Send(ctx, ledger.KindSettle, ledger.SettleWith(id, s.Voucher))
}
