package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

func (p *program) key(_ context.Context, _ *options, args []string) error {
	k, err := anchor.NewKey(args[0], rand.Reader)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.out, crypto.PubkeyToAddress(k.PublicKey))
	return nil
}

func (p *program) deploy(ctx context.Context, o *options, _ []string) error {
	set, err := o.set()
	if err != nil {
		return err
	}
	if o.ledger == "" {
		return usage("--ledger is missing")
	}
	backend, err := p.chain(ctx, o)
	if err != nil {
		return err
	}
	opts, err := o.transactor(ctx, backend)
	if err != nil {
		return err
	}
	at, tx, err := anchor.Deploy(opts, backend, o.ledger, set)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.err, "sent %s, waiting\n", tx.Hash())
	if _, err := bind.WaitDeployed(ctx, backend, tx); err != nil {
		return fmt.Errorf("the transaction %s: %w", tx.Hash(), err)
	}
	fmt.Fprintln(p.out, at)
	return nil
}

func (p *program) sign(ctx context.Context, o *options, _ []string) error {
	keys, err := o.signKeys()
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return usage("no key: give --signer, or AVAL_ANCHOR_SIGNER")
	}
	c, _, err := p.open(ctx, o)
	if err != nil {
		return err
	}
	s, err := (anchor.Node{Place: anchor.Place(o.state)}).State(ctx)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	list, err := anchor.Gathered{Keys: keys}.Attest(ctx, c, s)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s\n", data)
	return nil
}

func (p *program) post(ctx context.Context, o *options, _ []string) error {
	keys, err := o.signKeys()
	if err != nil {
		return err
	}
	payer, err := o.payer()
	if err != nil {
		return err
	}
	if !(o.gwei > 0 && o.gwei < 1e9) {
		return usage("--max-gwei %g", o.gwei)
	}
	if o.interval < time.Millisecond {
		return usage("--interval %s", o.interval)
	}
	c, _, err := p.open(ctx, o)
	if err != nil {
		return err
	}
	node := anchor.Node{Place: anchor.Place(o.state)}
	if o.state == "" {
		return usage("--state is missing")
	}
	if err := node.Local(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(p.err, nil))
	witness := anchor.Gathered{Keys: keys, Trouble: func(place anchor.Place, err error) {
		log.Warn("attestations that cannot be read", "place", place, "err", err)
	}}
	for _, place := range o.places {
		witness.Places = append(witness.Places, anchor.Place(place))
	}
	price, _ := big.NewFloat(o.gwei * 1e9).Int(nil)
	poster, err := anchor.NewPoster(anchor.Config{
		Contract: c, Key: payer, Source: node, Witness: witness, Journal: anchor.FileJournal(o.journal), Now: p.now,
		Every: o.every, MaxPrice: price, Confirmations: o.confirmations, Patience: o.patience, Log: log,
	})
	if err != nil {
		return err
	}
	if !o.once {
		return poster.Run(ctx, o.interval)
	}
	for {
		out, err := poster.Step(ctx)
		switch {
		case err != nil:
			return err
		case out == anchor.Idle || out == anchor.Done:
			fmt.Fprintln(p.out, out)
			return nil
		case out == anchor.Short:
			return errors.New("not enough signatures yet: ask other signers for theirs, and give them by --attestations")
		case out == anchor.Dear:
			return fmt.Errorf("gas costs more than --max-gwei %g", o.gwei)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.interval):
		}
	}
}

func (p *program) status(ctx context.Context, o *options, _ []string) error {
	c, backend, err := p.open(ctx, o)
	if err != nil {
		return err
	}
	set, err := c.Signers(ctx)
	if err != nil {
		return err
	}
	latest, err := c.Latest(ctx)
	if err != nil {
		return err
	}
	epoch, err := c.Epoch(ctx)
	if err != nil {
		return err
	}
	head, err := backend.BlockNumber(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "contract   %s on chain %s, block %d\nledger     %s\nsigners    %d of these %d, epoch %d\n", c.Address, c.ChainID, head, c.Ledger, set.Threshold, len(set.List), epoch)
	for _, a := range set.List {
		fmt.Fprintf(p.out, "           %s\n", a)
	}
	if latest == 0 {
		fmt.Fprintln(p.out, "latest     none")
	} else if root, err := c.Root(ctx, latest); errors.Is(err, anchor.ErrContradicted) {
		fmt.Fprintf(p.out, "latest     height %d: %v\n", latest, err)
	} else if err != nil {
		return err
	} else {
		fmt.Fprintf(p.out, "latest     height %d, root %s\n", latest, root)
	}
	if o.state == "" {
		return nil
	}
	s, err := (anchor.Node{Place: anchor.Place(o.state)}).State(ctx)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}
	fmt.Fprintf(p.out, "node       height %d, root %s\n", s.Height, s.Root)
	switch root, err := c.Root(ctx, s.Height); {
	case errors.Is(err, anchor.ErrUnknown):
	case err != nil:
		return err
	case root != s.Root:
		return fmt.Errorf("%w: %s at the height %d", anchor.ErrOther, root, s.Height)
	}
	if s.Chain != c.Ledger {
		return fmt.Errorf("the node is of the ledger %q", s.Chain)
	}
	return nil
}

// shown is a proof as a file: of a key, and of a receipt in the log of the node
// whose entry has the key.
type shown struct {
	Height  uint64 `json:"height"`
	Key     hexed  `json:"key"`
	Value   hexed  `json:"value,omitempty"`
	Proof   hexed  `json:"proof"` // spec/ledger.md, section 3
	Receipt *struct {
		ID    canon.Hash   `json:"id"`
		Index uint64       `json:"index"`
		Path  []canon.Hash `json:"path"`
	} `json:"receipt,omitempty"`
}

type hexed []byte

func (h hexed) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexed) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

func (p *program) verify(ctx context.Context, o *options, args []string) error {
	data, err := anchor.Place(args[0]).Read(ctx)
	if err != nil {
		return err
	}
	var x shown
	if err := json.Unmarshal(data, &x); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	proof, err := tree.DecodeProof(x.Proof)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	c, _, err := p.open(ctx, o)
	if err != nil {
		return err
	}
	root, err := c.Root(ctx, x.Height)
	if err != nil {
		return err
	}
	value, present, err := proof.Verify(root, x.Key)
	if err != nil {
		return err
	}
	// What a contract that relies on the anchor would find.
	theirs, there, err := c.Present(ctx, x.Height, x.Key, proof)
	if err != nil {
		return err
	}
	if theirs != value || there != present {
		return fmt.Errorf("the contract finds present = %v with the value %s, this program %v with %s: do not rely on %s", there, theirs, present, value, c.Address)
	}
	if x.Value != nil && (!present || value != sha256.Sum256(x.Value)) {
		return errors.New("the entry does not have this value")
	}
	if x.Receipt != nil {
		if len(x.Key) != 33 || x.Key[0] != 'n' || x.Value == nil {
			return errors.New("a receipt needs the key and the value of its node's entry")
		}
		ok, err := c.Receipt(ctx, x.Height, x.Key[1:], x.Receipt.ID, anchor.ReceiptProof{Node: proof, Entry: x.Value, Index: x.Receipt.Index, Path: x.Receipt.Path})
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("the log of the node %x does not have the receipt %s at the height %d", x.Key[1:], x.Receipt.ID, x.Height)
		}
		fmt.Fprintf(p.out, "receipt %s: in the log of the node %x at the height %d\n", x.Receipt.ID, x.Key[1:], x.Height)
	}
	if present {
		fmt.Fprintf(p.out, "present at the height %d, SHA-256 of the value %s\n", x.Height, value)
	} else {
		fmt.Fprintf(p.out, "absent at the height %d\n", x.Height)
	}
	return nil
}

func (p *program) change(ctx context.Context, o *options, _ []string) error {
	next, err := o.set()
	if err != nil {
		return err
	}
	keys, err := o.signKeys()
	if err != nil {
		return err
	}
	c, backend, err := p.open(ctx, o)
	if err != nil {
		return err
	}
	epoch, err := c.Epoch(ctx)
	if err != nil {
		return err
	}
	var signatures []anchor.Signature
	for _, k := range keys {
		s, err := c.SignChange(k, epoch+1, next)
		if err != nil {
			return err
		}
		signatures = append(signatures, s)
	}
	if o.key == "" && o.getenv("AVAL_ANCHOR_KEY") == "" {
		if len(signatures) == 0 {
			return usage("give --signer to sign, or --key to send")
		}
		for _, s := range signatures {
			fmt.Fprintln(p.out, hex.EncodeToString(s[:]))
		}
		return nil
	}
	for _, text := range o.by {
		var s anchor.Signature
		if err := s.UnmarshalText([]byte(text)); err != nil {
			return err
		}
		signatures = append(signatures, s)
	}
	opts, err := o.transactor(ctx, backend)
	if err != nil {
		return err
	}
	tx, err := c.Change(opts, next, signatures)
	if err != nil {
		return err
	}
	r, err := bind.WaitMined(ctx, backend, tx)
	if err != nil {
		return fmt.Errorf("the transaction %s: %w", tx.Hash(), err)
	}
	if r.Status != types.ReceiptStatusSuccessful {
		return fmt.Errorf("the contract refused the transaction %s: the signers may have changed meanwhile", tx.Hash())
	}
	fmt.Fprintf(p.out, "%d of %d signers from the epoch %d on\n", next.Threshold, len(next.List), epoch+1)
	return nil
}
