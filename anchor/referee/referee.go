// Package referee makes the case of one leaf of a product with an 8-bit matrix
// for the contract Tile, which judges it on another chain: [Product] gathers the
// claim and its evidence from what a party committed to (spec/trace.md, section
// 4), [Open] and [Contract.Judge] ask the contract.
//
// The contract computes the leaf again to the bit. It does not make the plan of
// the cell: whoever relies on a judgement compares the claim with the plan, and
// the root of the cell with the statement that the prover signed.
package referee

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/operation"
)

// ErrLeaf says that a leaf is not of the kind that the contract judges: of a
// product of codes with a tensor of type Q8_0 of the model.
var ErrLeaf = errors.New("the contract judges leaves of products with Q8_0 tensors of the model only")

// Cell is what a party committed to in a cell: the values of all leaves.
type Cell interface {
	Plan() *operation.Plan
	Roots() []canon.Hash        // of the operations
	Hashes(op int) []canon.Hash // of the leaves of one
	Leaf(op, leaf int) []byte
}

// Claim and Evidence are the structs of Tile.sol.
type Claim struct {
	Model      [32]byte
	Cell       [32]byte
	Operations uint64
	Codes      uint64
	Product    uint64
	Leaf       uint64
	Tensor     string
	Rows       uint64
	Cols       uint64
}

// Evidence shows inputs and value of the leaf of a [Claim].
type Evidence struct {
	Metadata    [32]byte
	Keys        uint64
	Tensors     uint64
	Place       uint64
	TensorPath  [][32]byte
	Data        [32]byte
	Tile        []byte
	TilePath    [][32]byte
	Codes       []byte
	CodesRange  [][32]byte
	CodesPath   [][32]byte
	State       []byte
	StatePath   [][32]byte
	Value       []byte
	ValuePath   [][32]byte
	ProductPath [][32]byte
}

// Case is a claim with its evidence.
type Case struct {
	Claim    Claim
	Evidence Evidence
}

// Product makes the case of a leaf of an operation.
func Product(ctx context.Context, cell Cell, model *fingerprint.Tree, op, leaf int) (*Case, error) {
	p := cell.Plan()
	if !p.Has(op, leaf) {
		return nil, fmt.Errorf("referee: no leaf %d of operation %d", leaf, op)
	}
	var codes, tile, state *operation.Input
	for _, in := range p.Inputs(op, leaf) {
		switch {
		case in.Kind == operation.Leaves && in.Op == op:
			state = &in
		case in.Kind == operation.Leaves && codes == nil:
			codes = &in
		case in.Kind == operation.Tiles && tile == nil:
			tile = &in
		default:
			return nil, fmt.Errorf("referee: %w", ErrLeaf)
		}
	}
	if codes == nil || tile == nil {
		return nil, fmt.Errorf("referee: %w", ErrLeaf)
	}
	c := &Case{}
	if err := c.weights(ctx, model, tile); err != nil {
		return nil, err
	}
	roots := cell.Roots()
	ops := make([]canon.Hash, len(roots))
	for i, r := range roots {
		ops[i] = canon.Leaf(r[:])
	}
	c.Claim.Cell = operation.CellRoot(roots)
	c.Claim.Operations = uint64(len(roots))
	c.Claim.Codes, c.Claim.Product, c.Claim.Leaf = uint64(codes.Op), uint64(op), uint64(leaf)
	e := &c.Evidence
	for i := codes.From; i < codes.To; i++ {
		e.Codes = append(e.Codes, cell.Leaf(codes.Op, i)...)
	}
	e.CodesRange = words(canon.Range(cell.Hashes(codes.Op), codes.From, codes.To))
	e.CodesPath = words(inclusion(ops, codes.Op))
	if state != nil {
		e.State = cell.Leaf(op, state.From)
		e.StatePath = words(inclusion(cell.Hashes(op), state.From))
	}
	e.Value = cell.Leaf(op, leaf)
	e.ValuePath = words(inclusion(cell.Hashes(op), leaf))
	e.ProductPath = words(inclusion(ops, op))
	return c, nil
}

// The parts of a proof of one tile (spec/fingerprint.md, section 5).
type (
	proof struct {
		Meta    side  `cbor:"1,keyasint"`
		Tensors side  `cbor:"2,keyasint"`
		Tiles   []run `cbor:"4,keyasint"`
	}
	side struct {
		_     struct{} `cbor:",toarray"`
		Count uint64
		Root  []byte
		Spans []span
	}
	span struct {
		_       struct{} `cbor:",toarray"`
		From    uint64
		Entries [][]byte
		Hashes  []byte
	}
	run struct {
		_      struct{} `cbor:",toarray"`
		Place  uint64
		From   uint64
		Data   []byte
		Hashes []byte
	}
	entry struct {
		_     struct{} `cbor:",toarray"`
		Name  string
		Type  uint32
		Shape []uint64
		Root  []byte
	}
)

// weights adds the tile and what leads from it to the model.
func (c *Case) weights(ctx context.Context, model *fingerprint.Tree, in *operation.Input) error {
	if _, _, ok := operation.OfAdapter(in.Tensor); ok || in.To != in.From+1 {
		return fmt.Errorf("referee: %w", ErrLeaf)
	}
	shown, err := model.Prove(ctx, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: in.Tensor, From: in.From, To: in.To}}})
	if err != nil {
		return fmt.Errorf("referee: %w", err)
	}
	data, err := shown.Encode()
	if err != nil {
		return fmt.Errorf("referee: %w", err)
	}
	var p proof
	if err := canon.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("referee: a proof of the model: %w", err)
	}
	if len(p.Meta.Root) != canon.Size || len(p.Tensors.Spans) != 1 || len(p.Tensors.Spans[0].Entries) != 1 || len(p.Tiles) != 1 {
		return errors.New("referee: a proof of one tile shows something else")
	}
	s, tile := p.Tensors.Spans[0], p.Tiles[0]
	var t entry
	if err := canon.Unmarshal(s.Entries[0], &t); err != nil {
		return fmt.Errorf("referee: the entry of the tensor %s: %w", in.Tensor, err)
	}
	if gguf.Type(t.Type) != gguf.Q8_0 || len(t.Shape) != 2 {
		return fmt.Errorf("referee: the tensor %s: %w", in.Tensor, ErrLeaf)
	}
	tiling, err := fingerprint.TilingOf(gguf.Q8_0, []int{int(t.Shape[0]), int(t.Shape[1])})
	if err != nil {
		return fmt.Errorf("referee: the tensor %s: %w", in.Tensor, err)
	}
	c.Claim.Model, c.Claim.Tensor = model.Root(), t.Name
	c.Claim.Cols, c.Claim.Rows = t.Shape[0], t.Shape[1]
	e := &c.Evidence
	e.Metadata, e.Keys, e.Tensors, e.Place = [32]byte(p.Meta.Root), p.Meta.Count, p.Tensors.Count, s.From
	e.TensorPath = words(upwards(int(p.Tensors.Count), int(s.From), hashes(s.Hashes)))
	e.Data, e.Tile = [32]byte(t.Root), tile.Data
	e.TilePath = words(upwards(tiling.Tiles(), in.From, hashes(tile.Hashes)))
	return nil
}

func hashes(b []byte) []canon.Hash {
	list := make([]canon.Hash, len(b)/canon.Size)
	for i := range list {
		copy(list[i][:], b[i*canon.Size:])
	}
	return list
}

// inclusion is the proof of one leaf as RFC 9162 has it: from the leaf upwards.
func inclusion(leaves []canon.Hash, i int) []canon.Hash {
	return upwards(len(leaves), i, canon.Range(leaves, i, i+1))
}

// upwards brings the range proof of leaf i of n, which is from left to right,
// into the order from the leaf to the root.
func upwards(n, i int, list []canon.Hash) []canon.Hash {
	if n == 1 {
		return nil
	}
	half := 1
	for 2*half < n {
		half *= 2
	}
	if i < half {
		last := len(list) - 1
		return append(upwards(half, i, list[:last]), list[last])
	}
	return append(upwards(n-half, i-half, list[1:]), list[0])
}

func words(list []canon.Hash) [][32]byte {
	out := make([][32]byte, len(list))
	for i, h := range list {
		out[i] = h
	}
	return out
}

// Verdict is what the contract says of a leaf.
type Verdict struct {
	Right bool
	// If it is not right: the first row of the leaf that is wrong, what was
	// committed for it, and what it is.
	Row                 int
	Committed, Computed float32
}

// Deploy sends the transaction that creates the contract. It has no state and
// no owner: one serves everybody on a chain.
func Deploy(opts *bind.TransactOpts, backend bind.ContractBackend) (common.Address, *types.Transaction, error) {
	c, err := anchor.Load("Tile")
	if err != nil {
		return common.Address{}, nil, err
	}
	at, tx, _, err := bind.DeployContract(opts, c.ABI, c.Code, backend)
	if err != nil {
		return common.Address{}, nil, fmt.Errorf("referee: deploying: %w", err)
	}
	return at, tx, nil
}

// Contract is a Tile that is on a chain.
type Contract struct {
	bound    *bind.BoundContract
	compiled *anchor.Compiled
}

// Open takes a contract that is on a chain.
func Open(backend bind.ContractBackend, at common.Address) (*Contract, error) {
	c, err := anchor.Load("Tile")
	if err != nil {
		return nil, err
	}
	return &Contract{bound: bind.NewBoundContract(at, c.ABI, backend, backend, backend), compiled: c}, nil
}

// Judge asks the contract, which costs nothing. An error says that the evidence
// does not show what the claim needs.
func (c *Contract) Judge(ctx context.Context, x *Case) (v Verdict, err error) {
	var out []any
	if err := c.bound.Call(&bind.CallOpts{Context: ctx}, &out, "judge", x.Claim, x.Evidence); err != nil {
		return v, fmt.Errorf("referee: judging: %w", anchor.Explain(&c.compiled.ABI, err))
	}
	// The types follow from the ABI that is compiled in.
	v.Right, v.Row = out[0].(bool), int(out[1].(*big.Int).Int64())
	v.Committed, v.Computed = math.Float32frombits(out[2].(uint32)), math.Float32frombits(out[3].(uint32))
	return v, nil
}

// Call is the data of a transaction or of a call from another contract.
func Call(x *Case) ([]byte, error) {
	c, err := anchor.Load("Tile")
	if err != nil {
		return nil, err
	}
	data, err := c.ABI.Pack("judge", x.Claim, x.Evidence)
	if err != nil {
		return nil, fmt.Errorf("referee: %w", err)
	}
	return data, nil
}
