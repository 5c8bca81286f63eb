package referee_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/ethclient/simulated"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/params"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/anchor/referee"
	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/sample"
)

// run is a run of a Q8_0 model, the source of what its cells depend on.
type run struct {
	file   *gguf.File
	model  *model.Model
	print  *fingerprint.Tree
	tokens []int32
	x, kv  map[[2]int][]byte
}

func (r *run) X(layer, position int) ([]byte, error)  { return r.x[[2]int{layer, position}], nil }
func (r *run) KV(layer, position int) ([]byte, error) { return r.kv[[2]int{layer, position}], nil }
func (r *run) Tokens(from, to int) ([]int32, error)   { return r.tokens[from:to], nil }
func (r *run) Tensor(name string) ([]byte, error)     { return r.file.Data(r.file.Tensor(name)), nil }
func (r *run) Matrices(name string) []*kernel.Matrix  { return r.model.Matrices(name) }

// newRun reads three tokens with a synthetic model of a published size.
func newRun(t testing.TB, shape string) *run {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	recipe, err := quant.ParseRecipe("Q8_0")
	must(err)
	must(quant.Synthetic(t.Context(), path, shape, recipe, 1, nil))
	f, err := gguf.Open(path)
	must(err)
	t.Cleanup(func() { f.Close() })
	m, err := model.Load(f, model.Options{})
	must(err)
	t.Cleanup(func() { m.Close() })
	r := &run{file: f, model: m, tokens: []int32{5, 17, 99}, x: map[[2]int][]byte{}, kv: map[[2]int][]byte{}}
	r.print, err = fingerprint.Of(t.Context(), f, 0)
	must(err)
	s := m.NewSequence()
	defer s.Close()
	var mu sync.Mutex
	must(m.Forward([]model.Step{{Seq: s, Tokens: r.tokens, Want: 1, Visit: func(layer, position int, x []float32) {
		mu.Lock()
		defer mu.Unlock()
		var b []byte
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		r.x[[2]int{layer, position}] = b
	}}}))
	for l := range m.Config().Layers {
		for p := range r.tokens {
			r.kv[[2]int{l, p}] = s.KV(nil, l, p, p+1)
		}
	}
	return r
}

// lie is a cell in which one leaf has another value, and all hashes fit it.
type lie struct {
	*operation.Values
	op, leaf int
	value    []byte
}

func (l *lie) Leaf(op, leaf int) []byte {
	if op == l.op && leaf == l.leaf {
		return l.value
	}
	return l.Values.Leaf(op, leaf)
}

func (l *lie) Hashes(op int) []canon.Hash {
	list := slices.Clone(l.Values.Hashes(op))
	if op == l.op {
		list[l.leaf] = canon.Leaf(l.value)
	}
	return list
}

func (l *lie) Roots() []canon.Hash {
	list := slices.Clone(l.Values.Roots())
	list[l.op] = canon.Root(l.Hashes(l.op))
	return list
}

// court is a chain with the contract.
type court struct {
	t        testing.TB
	client   simulated.Client
	opts     *bind.TransactOpts
	contract *referee.Contract
	bound    *bind.BoundContract
	address  [20]byte
	commit   func() common.Hash
}

func newCourt(t testing.TB) *court {
	t.Helper()
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("a key for tests")))
	if err != nil {
		t.Fatal(err)
	}
	chain := simulated.NewBackend(types.GenesisAlloc{crypto.PubkeyToAddress(key.PublicKey): {Balance: big.NewInt(1e18)}}, simulated.WithCallGasLimit(1<<40), osaka)
	t.Cleanup(func() { chain.Close() })
	c := &court{t: t, client: chain.Client(), commit: chain.Commit}
	id, err := c.client.ChainID(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if c.opts, err = bind.NewKeyedTransactorWithChainID(key, id); err != nil {
		t.Fatal(err)
	}
	at, _, err := referee.Deploy(c.opts, c.client)
	if err != nil {
		t.Fatal(err)
	}
	chain.Commit()
	if c.contract, err = referee.Open(c.client, at); err != nil {
		t.Fatal(err)
	}
	compiled, err := anchor.Load("Tile")
	if err != nil {
		t.Fatal(err)
	}
	c.bound, c.address = bind.NewBoundContract(at, compiled.ABI, c.client, c.client, c.client), at
	return c
}

func (c *court) judge(x *referee.Case) (referee.Verdict, error) {
	return c.contract.Judge(context.Background(), x)
}

// products are the operations of a plan that the contract judges.
func products(p *operation.Plan) (list []int) {
	for op, o := range p.Ops() {
		in := p.Inputs(op, 0)
		if o.Name != "embedding" && len(in) == 2 && in[0].Kind == operation.Leaves && in[1].Kind == operation.Tiles {
			list = append(list, op)
		}
	}
	return list
}

// TestLeaves holds the contract to internal/operation: leaves of every product
// of real cells, as they are, and with one bit changed.
func TestLeaves(t *testing.T) {
	c := newCourt(t)
	r := newRun(t, "tiny")
	rng := rand.New(rand.NewPCG(1, 1))
	judged, names := 0, map[string]bool{}
	for _, plan := range []func() (*operation.Plan, error){
		func() (*operation.Plan, error) {
			return operation.PlanLayer(r.file, 0, operation.LayerCell{Layer: 1, Position: 2, Token: r.tokens[2]})
		},
		func() (*operation.Plan, error) {
			return operation.PlanOutput(r.file, 0, operation.OutputCell{Index: 0, Prompt: len(r.tokens), Params: sample.Params{}})
		},
	} {
		p, err := plan()
		if err != nil {
			t.Fatal(err)
		}
		v, err := operation.Compute(p, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range products(p) {
			leaves := p.Ops()[op].Leaves
			for _, leaf := range []int{0, rng.IntN(leaves), leaves - 1} {
				x, err := referee.Product(t.Context(), v, r.print, op, leaf)
				if err != nil {
					t.Logf("%s: %v", p.Ops()[op].Name, err)
					break
				}
				names[p.Ops()[op].Name] = true
				if got, err := c.judge(x); err != nil || !got.Right {
					t.Fatalf("%s, leaf %d of %d: %+v, %v", p.Ops()[op].Name, leaf, leaves, got, err)
				}
				lied := slices.Clone(v.Leaf(op, leaf))
				row := rng.IntN(len(lied) / 4)
				lied[4*row] ^= 1 // the last bit of a number
				x, err = referee.Product(t.Context(), &lie{v, op, leaf, lied}, r.print, op, leaf)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.judge(x)
				want := math.Float32frombits(binary.LittleEndian.Uint32(v.Leaf(op, leaf)[4*row:]))
				if err != nil || got.Right || got.Row != row || got.Computed != want || got.Committed == want {
					t.Fatalf("%s, leaf %d, a lie in row %d: %+v, %v, want %g", p.Ops()[op].Name, leaf, row, got, err, want)
				}
				judged++
			}
		}
	}
	t.Logf("%d leaves of %d operations", judged, len(names))
	if len(names) < 8 {
		t.Errorf("only the products %v were judged", names)
	}
}

// osaka gives a chain the rules that are in force, not those of forks to come,
// so that figures of gas are those of today.
func osaka(_ *node.Config, conf *ethconfig.Config) {
	rules := *params.AllDevChainProtocolChanges
	rules.BogotaTime = nil
	conf.Genesis.Config = &rules
}
