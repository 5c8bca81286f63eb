package anchor_test

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// raw calls a method of an anchor as anybody can, without the package's help.
func (w *world) raw(c *anchor.Contract) *bind.BoundContract {
	w.Helper()
	compiled, err := anchor.Load("Anchor")
	w.must(err)
	return bind.NewBoundContract(c.Address, compiled.ABI, w.client, w.client, w.client)
}

// signed joins signatures of a state as they come.
func (w *world) signed(c *anchor.Contract, s anchor.State, list ...*ecdsa.PrivateKey) (out []byte) {
	w.Helper()
	for _, k := range list {
		a, err := c.Sign(k, s)
		w.must(err)
		out = append(out, a.Signature[:]...)
	}
	return out
}

// post sends signatures; an error is that of the contract.
func (w *world) post(c *anchor.Contract, s anchor.State, signatures []byte) error {
	w.Helper()
	compiled, err := anchor.Load("Anchor")
	w.must(err)
	tx, err := w.raw(c).Transact(w.opts, "post", s.Height, [32]byte(s.Root), signatures)
	if err != nil {
		return anchor.Explain(&compiled.ABI, err)
	}
	w.mined(tx)
	return nil
}

func (w *world) root(c *anchor.Contract, height uint64) canon.Hash {
	w.Helper()
	root, err := c.Root(w.Context(), height)
	w.must(err)
	return root
}

func TestAnchor(t *testing.T) {
	w := newWorld(t)
	list := keys(10, 5)
	c := w.deploy(signersOf(3, list))
	s := state(7, 1)
	if _, err := c.Root(t.Context(), 7); !errors.Is(err, anchor.ErrUnknown) {
		t.Fatalf("before: %v", err)
	}
	good := w.signed(c, s, list[0], list[2], list[3])
	high := bytes.Clone(good) // the other form of the first signature, which says the same
	order := crypto.S256().Params().N
	new(big.Int).Sub(order, new(big.Int).SetBytes(good[32:64])).FillBytes(high[32:64])
	high[64] = 55 - high[64]
	stranger := w.signed(c, s, keys(90, 3)...)
	elsewhere := w.deploy(signersOf(3, list))
	for name, signatures := range map[string][]byte{
		"none":                nil,
		"too few":             good[:130],
		"too many":            w.signed(c, s, list[:4]...),
		"cut":                 good[:194],
		"twice the same":      w.signed(c, s, list[0], list[0], list[2]),
		"not ascending":       w.signed(c, s, list[2], list[0], list[3]),
		"of strangers":        stranger,
		"of another root":     w.signed(c, state(7, 2), list[0], list[2], list[3]),
		"of another height":   w.signed(c, state(8, 1), list[0], list[2], list[3]),
		"for another anchor":  w.signed(elsewhere, s, list[0], list[2], list[3]),
		"of nobody":           make([]byte, 195),
		"of the other form":   high,
		"with another parity": append(append(bytes.Clone(good[:64]), 55-good[64]), good[65:]...),
	} {
		if err := w.post(c, s, signatures); err == nil {
			t.Errorf("signatures %s pass", name)
		}
	}
	w.must(w.post(c, s, good))
	w.must(w.post(c, s, nil)) // it is there already: nothing happens
	if got := w.root(c, 7); got != s.Root {
		t.Fatalf("the root %s, want %s", got, s.Root)
	}
	w.must(w.post(c, state(5, 3), w.signed(c, state(5, 3), list[1:4]...)))
	if latest, err := c.Latest(t.Context()); err != nil || latest != 7 {
		t.Fatalf("latest %d, %v", latest, err)
	}
	for _, s := range []anchor.State{state(0, 1), {Chain: ledger, Height: 9}} {
		if _, err := w.raw(c).Transact(w.opts, "post", s.Height, [32]byte(s.Root), good); err == nil {
			t.Errorf("the height %d with the root %s passes", s.Height, s.Root)
		}
	}
	// Two roots of one height: neither counts, and the others stay.
	w.must(w.post(c, state(7, 9), w.signed(c, state(7, 9), list[2:5]...)))
	if _, err := c.Root(t.Context(), 7); !errors.Is(err, anchor.ErrContradicted) {
		t.Fatalf("after a contradiction: %v", err)
	}
	if got := w.root(c, 5); got != state(5, 3).Root {
		t.Fatalf("another height has %s", got)
	}
}

// TestSignersChange: the set exchanges itself, nobody else does, and no word of
// an earlier set counts.
func TestSignersChange(t *testing.T) {
	w := newWorld(t)
	old, next := keys(10, 3), keys(20, 4)
	c := w.deploy(signersOf(2, old))
	change := func(epoch uint64, s anchor.Signers, by ...*ecdsa.PrivateKey) error {
		var data []byte
		for _, k := range by {
			sig, err := c.SignChange(k, epoch, s)
			w.must(err)
			data = append(data, sig[:]...)
		}
		tx, err := w.raw(c).Transact(w.opts, "change", s.List, big.NewInt(int64(s.Threshold)), data)
		if err != nil {
			return err
		}
		w.mined(tx)
		return nil
	}
	s := signersOf(3, next)
	for name, err := range map[string]error{
		"of too few":         change(1, s, old[0]),
		"of the next":        change(1, s, next[0], next[1]),
		"of another epoch":   change(2, s, old[0], old[1]),
		"without a majority": change(1, signersOf(2, next), old[0], old[1]),
		"of too many":        change(1, signersOf(5, next), old[0], old[1]),
		"to nobody":          change(1, anchor.Signers{}, old[0], old[1]),
		"to one twice":       change(1, anchor.Signers{List: []common.Address{s.List[0], s.List[0]}, Threshold: 2}, old[0], old[1]),
		"not ascending":      change(1, anchor.Signers{List: []common.Address{s.List[1], s.List[0]}, Threshold: 2}, old[0], old[1]),
		"to zero":            change(1, anchor.Signers{List: []common.Address{{}, s.List[0]}, Threshold: 2}, old[0], old[1]),
	} {
		if err == nil {
			t.Errorf("a change %s passes", name)
		}
	}
	w.must(change(1, s, old[0], old[2]))
	got, err := c.Signers(t.Context())
	w.must(err)
	if got.Threshold != 3 || len(got.List) != 4 || got.List[3] != s.List[3] {
		t.Fatalf("the signers are %+v", got)
	}
	if err := w.post(c, state(1, 1), w.signed(c, state(1, 1), old[0], old[1], old[2])); err == nil {
		t.Error("the old signers still count")
	}
	w.must(w.post(c, state(1, 1), w.signed(c, state(1, 1), next[:3]...)))
	if change(1, signersOf(2, old), old[0], old[1]) == nil {
		t.Error("a change is repeated")
	}
	// Without a majority there is no anchor at all.
	for _, s := range []anchor.Signers{signersOf(2, next), signersOf(0, nil), signersOf(5, next)} {
		if _, _, err := anchor.Deploy(w.opts, w.client, ledger, s); err == nil {
			t.Errorf("%d of %d signers pass", s.Threshold, len(s.List))
		}
	}
}

// TestTyped compares what signers sign with go-ethereum's own EIP-712.
func TestTyped(t *testing.T) {
	w := newWorld(t)
	k := keyOf(10)
	c := w.deploy(signersOf(1, keys(10, 1)))
	typed := func(name string, fields []apitypes.Type, message apitypes.TypedDataMessage) []byte {
		d, _, err := apitypes.TypedDataAndHash(apitypes.TypedData{
			Types: apitypes.Types{"EIP712Domain": {
				{Name: "name", Type: "string"},
				{Name: "version", Type: "string"},
				{Name: "chainId", Type: "uint256"},
				{Name: "verifyingContract", Type: "address"},
			}, name: fields},
			PrimaryType: name,
			Domain: apitypes.TypedDataDomain{
				Name: "Aval Anchor", Version: "1", ChainId: (*math.HexOrDecimal256)(c.ChainID), VerifyingContract: c.Address.Hex(),
			},
			Message: message,
		})
		w.must(err)
		return d
	}
	signer := func(digest []byte, s anchor.Signature) common.Address {
		s[64] -= 27
		key, err := crypto.SigToPub(digest, s[:])
		w.must(err)
		return crypto.PubkeyToAddress(*key)
	}
	s := state(1<<40+3, 200)
	a, err := c.Sign(k, s)
	w.must(err)
	d := typed("Root", []apitypes.Type{{Name: "ledger", Type: "string"}, {Name: "height", Type: "uint64"}, {Name: "root", Type: "bytes32"}},
		apitypes.TypedDataMessage{"ledger": ledger, "height": new(big.Int).SetUint64(s.Height), "root": s.Root[:]})
	if got := signer(d, a.Signature); got != addressOf(k) {
		t.Errorf("a root is signed by %s", got)
	}
	if got, err := a.Signer(); err != nil || got != addressOf(k) {
		t.Errorf("the attestation is of %s, %v", got, err)
	}
	next := signersOf(2, keys(20, 3))
	var addresses []any
	for _, x := range next.List {
		addresses = append(addresses, x.Hex())
	}
	sig, err := c.SignChange(k, 1, next)
	w.must(err)
	d = typed("Signers", []apitypes.Type{
		{Name: "ledger", Type: "string"},
		{Name: "epoch", Type: "uint64"},
		{Name: "signers", Type: "address[]"},
		{Name: "threshold", Type: "uint256"},
	}, apitypes.TypedDataMessage{"ledger": ledger, "epoch": big.NewInt(1), "signers": addresses, "threshold": big.NewInt(2)})
	if got := signer(d, sig); got != addressOf(k) {
		t.Errorf("a change is signed by %s", got)
	}
	if _, err := c.Sign(k, anchor.State{Chain: "another", Height: 1, Root: canon.Hash{1}}); err == nil {
		t.Error("a state of another ledger is signed")
	}
}

// nodeEntry is the entry of a node, as the ledger encodes it, with keys before and
// after the log that a contract must step over.
type nodeEntry struct {
	Operator []byte            `cbor:"1,keyasint"`
	Bond     uint64            `cbor:"2,keyasint"`
	Held     uint64            `cbor:"3,keyasint,omitempty"`
	Record   []uint64          `cbor:"4,keyasint"`
	Log      []any             `cbor:"5,keyasint"`
	Later    map[string][]byte `cbor:"6,keyasint,omitempty"`
}

// TestEntries: what is in the state and in the log of a node, through the
// anchored root.
func TestEntries(t *testing.T) {
	w := newWorld(t)
	list := keys(10, 3)
	c := w.deploy(signersOf(2, list))
	receipts := make([]canon.Hash, 21)
	leaves := make([]canon.Hash, len(receipts))
	for i := range receipts {
		receipts[i] = canon.Sum("a receipt", []byte{byte(i)})
		leaves[i] = canon.Leaf(receipts[i][:])
	}
	log := canon.Root(leaves)
	key := bytes.Repeat([]byte{0xab}, 32)
	encode := func(n nodeEntry) []byte {
		b, err := canon.Marshal(n)
		w.must(err)
		return b
	}
	entry := encode(nodeEntry{
		bytes.Repeat([]byte{1}, 32), 1 << 33, 2,
		[]uint64{1, 23, 24, 255, 1 << 17},
		[]any{uint64(len(receipts)), log[:]},
		map[string][]byte{"a": make([]byte, 300)},
	})
	var tr tree.Tree
	tr.Set(anchor.NodeKey(key), entry)
	empty := bytes.Repeat([]byte{0xcd}, 32)
	none := encode(nodeEntry{Record: []uint64{}, Log: []any{uint64(0), []byte{}}})
	tr.Set(anchor.NodeKey(empty), none)
	for i := range 40 {
		tr.Set([]byte{'a', byte(i)}, []byte{byte(i)})
	}
	s := anchor.State{Chain: ledger, Height: 12, Root: tr.Root()}
	w.must(w.post(c, s, w.signed(c, s, list[:2]...)))

	for _, x := range []struct {
		key     []byte
		present bool
	}{{[]byte{'a', 7}, true}, {[]byte{'a', 77}, false}, {anchor.NodeKey(key), true}} {
		p := tr.Prove(x.key)
		value, present, err := c.Present(t.Context(), 12, x.key, p)
		if err != nil || present != x.present || present && value != p.Value {
			t.Errorf("key %x: %v, %v", x.key, present, err)
		}
	}
	if _, _, err := c.Present(t.Context(), 12, []byte{'a', 8}, tr.Prove([]byte{'a', 7})); !errors.Is(err, tree.ErrProof) {
		t.Errorf("a proof of another key: %v", err)
	}
	if _, _, err := c.Present(t.Context(), 13, []byte{'a', 7}, tr.Prove([]byte{'a', 7})); !errors.Is(err, anchor.ErrUnknown) {
		t.Errorf("a height without root: %v", err)
	}
	at := func(node []byte) *tree.Proof { return tr.Prove(anchor.NodeKey(node)) }
	for i, r := range receipts {
		ok, err := c.Receipt(t.Context(), 12, key, r, anchor.ReceiptProof{Node: at(key), Entry: entry, Index: uint64(i), Path: inclusion(leaves, i)})
		if err != nil || !ok {
			t.Fatalf("receipt %d: %v, %v", i, ok, err)
		}
	}
	good := anchor.ReceiptProof{Node: at(key), Entry: entry, Index: 4, Path: inclusion(leaves, 4)}
	other := good
	for name, x := range map[string]struct {
		node []byte
		id   canon.Hash
		p    anchor.ReceiptProof
	}{
		"another receipt":        {key, receipts[5], good},
		"another node":           {empty, receipts[4], other},
		"another node's proof":   {key, receipts[4], anchor.ReceiptProof{Node: at(empty), Entry: entry, Index: 4, Path: good.Path}},
		"another entry":          {key, receipts[4], anchor.ReceiptProof{Node: at(key), Entry: none, Index: 4, Path: good.Path}},
		"another place":          {key, receipts[4], anchor.ReceiptProof{Node: at(key), Entry: entry, Index: 5, Path: good.Path}},
		"a shorter path":         {key, receipts[4], anchor.ReceiptProof{Node: at(key), Entry: entry, Index: 4, Path: good.Path[1:]}},
		"a log without receipts": {empty, receipts[4], anchor.ReceiptProof{Node: at(empty), Entry: none, Index: 0}},
		"a node as a receipt":    {key, canon.Node(leaves[4], leaves[5]), anchor.ReceiptProof{Node: at(key), Entry: entry, Index: 2, Path: good.Path[1:]}},
	} {
		if ok, err := c.Receipt(t.Context(), 12, x.node, x.id, x.p); ok {
			t.Errorf("%s passes (%v)", name, err)
		}
	}
}

// TestLogOf reads entries of nodes that are cut or lie about lengths.
func TestLogOf(t *testing.T) {
	w := newWorld(t)
	probe := w.probe()
	root := canon.Hash{9}
	good, err := canon.Marshal(nodeEntry{Operator: make([]byte, 32), Record: []uint64{1, 2, 3, 4, 5}, Log: []any{uint64(70000), root[:]}})
	w.must(err)
	out := w.asked(probe, "logOf", good)
	if out[0].(*big.Int).Int64() != 70000 || out[1].([32]byte) != root {
		t.Fatalf("the log is %v", out)
	}
	for i := range good {
		if out, err := w.ask(probe, "logOf", good[:i]); err == nil && out[0].(*big.Int).Sign() != 0 {
			t.Errorf("the first %d bytes have a log", i)
		}
	}
	// Lengths that would lead outside, or around.
	for _, b := range [][]byte{
		{},
		{0x80},
		{0xbf},
		{0xa1, 0x05},
		{0xa1, 0x01, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0xa1, 0x01, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00},
		{0xa1, 0x05, 0x82, 0x01, 0x58, 0x20, 0x00},
		{0xa1, 0x05, 0x82, 0x20, 0x41, 0x00},
		{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00},
	} {
		if _, err := w.ask(probe, "logOf", b); err == nil {
			t.Errorf("%x is read", b)
		}
	}
}

// TestPostGas holds what docs/anchors.md says of the price of a root.
func TestPostGas(t *testing.T) {
	w := newWorld(t)
	var took []uint64
	for _, n := range []int{2, 7} {
		list := keys(10, n)
		c := w.deploy(signersOf(n, list))
		for h := uint64(1); h < 3; h++ {
			tx, err := w.raw(c).Transact(w.opts, "post", h, [32]byte{byte(h)}, w.signed(c, state(h, byte(h)), list...))
			w.must(err)
			took = append(took, w.mined(tx).GasUsed)
		}
	}
	t.Logf("%d", took)
	if n := took[1]; n > 75_000 {
		t.Errorf("a root takes %d gas with two signatures", n)
	}
	if n := (took[3] - took[1]) / 5; n > 8_000 {
		t.Errorf("a signature takes %d gas", n)
	}
}
