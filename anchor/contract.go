package anchor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

//go:embed contracts/*.json
var contracts embed.FS

// Compiled is a contract as the compiler gave it.
type Compiled struct {
	ABI  abi.ABI
	Code []byte
}

// Load gives a contract of this package, "Anchor" or "Tile".
func Load(name string) (*Compiled, error) {
	data, err := contracts.ReadFile("contracts/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("anchor: no contract %s: %w", name, err)
	}
	return ParseCompiled(data)
}

// ParseCompiled reads what compile.mjs writes.
func ParseCompiled(data []byte) (*Compiled, error) {
	var file struct {
		ABI      json.RawMessage `json:"abi"`
		Bytecode string          `json:"bytecode"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("anchor: a compiled contract: %w", err)
	}
	parsed, err := abi.JSON(bytes.NewReader(file.ABI))
	if err != nil {
		return nil, fmt.Errorf("anchor: the ABI of a contract: %w", err)
	}
	code, err := hex.DecodeString(strings.TrimPrefix(file.Bytecode, "0x"))
	if err != nil {
		return nil, fmt.Errorf("anchor: the code of a contract: %w", err)
	}
	return &Compiled{ABI: parsed, Code: code}, nil
}

// Signers are who signs roots, and how many of them make one count.
type Signers struct {
	List      []common.Address // ascending
	Threshold int              // more than half of them
}

// Deploy sends the transaction that creates an anchor of the ledger with a
// chain id. The caller waits for it (bind.WaitDeployed).
func Deploy(opts *bind.TransactOpts, backend bind.ContractBackend, ledger string, s Signers) (common.Address, *types.Transaction, error) {
	c, err := Load("Anchor")
	if err != nil {
		return common.Address{}, nil, err
	}
	if ledger == "" {
		return common.Address{}, nil, errors.New("anchor: no chain id of the ledger")
	}
	at, tx, _, err := bind.DeployContract(opts, c.ABI, c.Code, backend, ledger, s.List, big.NewInt(int64(s.Threshold)))
	if err != nil {
		return common.Address{}, nil, fmt.Errorf("anchor: deploying: %w", Explain(&c.ABI, err))
	}
	return at, tx, nil
}

// Contract is an anchor on a chain.
type Contract struct {
	Address common.Address
	Ledger  string   // chain id of the ledger
	ChainID *big.Int // of the chain that the contract is on

	abi     abi.ABI
	bound   *bind.BoundContract
	backend Backend
}

// Open reads an anchor that is on a chain.
func Open(ctx context.Context, backend Backend, at common.Address) (*Contract, error) {
	c, err := Load("Anchor")
	if err != nil {
		return nil, err
	}
	id, err := backend.ChainID(ctx)
	if err != nil {
		return nil, fmt.Errorf("anchor: asking the chain for its id: %w", err)
	}
	a := &Contract{Address: at, ChainID: id, abi: c.ABI, backend: backend, bound: bind.NewBoundContract(at, c.ABI, backend, backend, backend)}
	if err := a.call(ctx, &a.Ledger, "ledger"); err != nil {
		return nil, err
	}
	return a, nil
}

// call asks the contract for one result.
func (c *Contract) call(ctx context.Context, to any, method string, args ...any) error {
	out := []any{to}
	if err := c.bound.Call(&bind.CallOpts{Context: ctx}, &out, method, args...); err != nil {
		return fmt.Errorf("anchor: %s of the contract %s: %w", method, c.Address, Explain(&c.abi, err))
	}
	return nil
}

// Latest is the greatest height that is anchored, 0 if none is.
func (c *Contract) Latest(ctx context.Context) (height uint64, err error) {
	err = c.call(ctx, &height, "latest")
	return height, err
}

// Signers are those of now.
func (c *Contract) Signers(ctx context.Context) (s Signers, err error) {
	if err := c.call(ctx, &s.List, "signers"); err != nil {
		return s, err
	}
	var threshold *big.Int
	if err := c.call(ctx, &threshold, "threshold"); err != nil {
		return s, err
	}
	s.Threshold = int(threshold.Int64())
	return s, nil
}

// Epoch counts how often the signers were exchanged.
func (c *Contract) Epoch(ctx context.Context) (epoch uint64, err error) {
	err = c.call(ctx, &epoch, "epoch")
	return epoch, err
}

// Errors of heights.
var (
	// ErrUnknown says that no root of a height is anchored.
	ErrUnknown = errors.New("no root of this height is anchored")
	// ErrContradicted says that the signers signed two roots for a height.
	ErrContradicted = errors.New("the signers signed two roots of this height, so neither counts")
)

// Root is the application hash after a height.
func (c *Contract) Root(ctx context.Context, height uint64) (root canon.Hash, err error) {
	var got [32]byte
	err = c.call(ctx, &got, "rootAt", height)
	return canon.Hash(got), err
}

// Present asks the contract whether the state after a height has a key, and the
// hash of its value; an error wraps [tree.ErrProof] if the proof shows neither.
func (c *Contract) Present(ctx context.Context, height uint64, key []byte, p *tree.Proof) (value canon.Hash, present bool, err error) {
	proof, err := ProofOf(p)
	if err != nil {
		return value, false, err
	}
	var out []any
	if err := c.bound.Call(&bind.CallOpts{Context: ctx}, &out, "entry", height, key, proof); err != nil {
		return value, false, fmt.Errorf("anchor: entry of the contract %s: %w", c.Address, Explain(&c.abi, err))
	}
	finding, hash := out[0].(uint8), out[1].([32]byte) // as the ABI has them
	if finding == FoundNothing {
		return value, false, fmt.Errorf("%w: so says the contract %s about the height %d", tree.ErrProof, c.Address, height)
	}
	return canon.Hash(hash), finding == FoundPresent, nil
}

// ReceiptProof shows that a receipt is in the log of a node that the ledger has.
type ReceiptProof struct {
	Node  *tree.Proof // of the key "n", node
	Entry []byte      // value of it
	Index uint64      // of the receipt in the log
	Path  []canon.Hash
}

// Receipt asks the contract whether the log of a node, as the state after a
// height has it, has a receipt.
func (c *Contract) Receipt(ctx context.Context, height uint64, node []byte, identity canon.Hash, p ReceiptProof) (ok bool, err error) {
	proof, err := ProofOf(p.Node)
	if err != nil {
		return false, err
	}
	err = c.call(ctx, &ok, "receipt", height, NodeKey(node), proof, p.Entry, [32]byte(identity), new(big.Int).SetUint64(p.Index), words(p.Path))
	return ok, err
}

// NodeKey is the key of a node's entry.
func NodeKey(node []byte) []byte { return append([]byte{'n'}, node...) }

// What LedgerProof.check finds.
const (
	FoundNothing uint8 = iota
	FoundAbsent
	FoundPresent
)

// Proof is a proof as LedgerProof.sol takes it.
type Proof struct {
	Key   []byte
	Value [32]byte
	Steps []Step
}

// Step is one inner node above the leaf.
type Step struct {
	Bit   uint16
	Other [32]byte
}

// ProofOf brings a proof into the form of the contract.
func ProofOf(p *tree.Proof) (Proof, error) {
	out := Proof{Key: p.Key, Value: p.Value, Steps: []Step{}}
	for _, s := range p.Steps {
		if s.Bit < 0 || s.Bit > 1<<16-1 {
			return Proof{}, fmt.Errorf("%w: a step with the bit %d", tree.ErrProof, s.Bit)
		}
		out.Steps = append(out.Steps, Step{Bit: uint16(s.Bit), Other: s.Other})
	}
	return out, nil
}

func words(list []canon.Hash) [][32]byte {
	out := make([][32]byte, len(list))
	for i, h := range list {
		out[i] = h
	}
	return out
}

// Explain names the contract's own error in what a chain answered.
func Explain(a *abi.ABI, err error) error {
	var data rpc.DataError
	if !errors.As(err, &data) {
		return err
	}
	text, _ := data.ErrorData().(string)
	raw, bad := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if bad != nil || len(raw) < 4 {
		return err
	}
	for name, e := range a.Errors {
		if !bytes.Equal(e.ID[:4], raw[:4]) {
			continue
		}
		switch name {
		case "Unknown":
			return ErrUnknown
		case "Contradicted":
			return ErrContradicted
		}
		return fmt.Errorf("the contract refuses: %s: %w", name, err)
	}
	return err
}

// address is that of a key.
func address(key *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(key.PublicKey) }

// Change sends the transaction that exchanges the signers, with signatures of
// [Contract.SignChange] by enough of the present ones, in any order.
func (c *Contract) Change(opts *bind.TransactOpts, next Signers, signatures []Signature) (*types.Transaction, error) {
	set, err := c.Signers(opts.Context)
	if err != nil {
		return nil, err
	}
	epoch, err := c.Epoch(opts.Context)
	if err != nil {
		return nil, err
	}
	data, signed := set.join(c.changeDigest(epoch+1, next), signatures)
	if signed < set.Threshold {
		return nil, fmt.Errorf("anchor: %w: %d signers of the epoch %d have signed this change, want %d", ErrShort, signed, epoch, set.Threshold)
	}
	tx, err := c.bound.Transact(opts, "change", next.List, big.NewInt(int64(next.Threshold)), data)
	if err != nil {
		return nil, fmt.Errorf("anchor: exchanging the signers: %w", Explain(&c.abi, err))
	}
	return tx, nil
}

// ErrShort says that more signatures are needed.
var ErrShort = errors.New("not enough signatures")
