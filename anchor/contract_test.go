package anchor_test

import (
	"crypto/ecdsa"
	"encoding/binary"
	"math/big"
	"os"
	"slices"
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
	"github.com/avalnetwork/aval/internal/canon"
)

const ledger = "aval-test"

// world is a chain in memory, on which one key has money.
type world struct {
	*testing.T
	chain  *simulated.Backend
	client simulated.Client
	key    *ecdsa.PrivateKey
	opts   *bind.TransactOpts
}

// key number n, always the same.
func keyOf(n int) *ecdsa.PrivateKey {
	h := crypto.Keccak256(binary.BigEndian.AppendUint64([]byte("a key for tests"), uint64(n)))
	k, err := crypto.ToECDSA(h)
	if err != nil {
		panic(err)
	}
	return k
}

func addressOf(k *ecdsa.PrivateKey) common.Address { return crypto.PubkeyToAddress(k.PublicKey) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, key: keyOf(0)}
	w.chain = simulated.NewBackend(types.GenesisAlloc{
		addressOf(w.key): {Balance: new(big.Int).Exp(big.NewInt(10), big.NewInt(24), nil)},
	}, simulated.WithCallGasLimit(1<<40), osaka)
	t.Cleanup(func() { w.chain.Close() })
	w.client = w.chain.Client()
	id, err := w.client.ChainID(t.Context())
	w.must(err)
	w.opts, err = bind.NewKeyedTransactorWithChainID(w.key, id)
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// keys are n signers' keys in the order of their addresses.
func keys(from, n int) []*ecdsa.PrivateKey {
	var list []*ecdsa.PrivateKey
	for i := range n {
		list = append(list, keyOf(from+i))
	}
	slices.SortFunc(list, func(a, b *ecdsa.PrivateKey) int { return addressOf(a).Cmp(addressOf(b)) })
	return list
}

func signersOf(threshold int, list []*ecdsa.PrivateKey) anchor.Signers {
	s := anchor.Signers{Threshold: threshold}
	for _, k := range list {
		s.List = append(s.List, addressOf(k))
	}
	return s
}

// deploy puts an anchor on the chain.
func (w *world) deploy(s anchor.Signers) *anchor.Contract {
	w.Helper()
	at, tx, err := anchor.Deploy(w.opts, w.client, ledger, s)
	w.must(err)
	w.mined(tx)
	c, err := anchor.Open(w.Context(), w.client, at)
	w.must(err)
	if c.Ledger != ledger {
		w.Fatalf("the ledger is %q", c.Ledger)
	}
	return c
}

// mined commits a block, with a transaction that must succeed.
func (w *world) mined(tx *types.Transaction) *types.Receipt {
	w.Helper()
	w.chain.Commit()
	r, err := w.client.TransactionReceipt(w.Context(), tx.Hash())
	w.must(err)
	if r.Status != types.ReceiptStatusSuccessful {
		w.Fatalf("the transaction %s failed", tx.Hash())
	}
	return r
}

// other deploys a contract without arguments.
func (w *world) other(c *anchor.Compiled) *bind.BoundContract {
	w.Helper()
	_, tx, bound, err := bind.DeployContract(w.opts, c.ABI, c.Code, w.client)
	w.must(err)
	w.mined(tx)
	return bound
}

// probe deploys the contract that calls the libraries.
func (w *world) probe() *bind.BoundContract {
	w.Helper()
	data, err := os.ReadFile("testdata/Probe.json")
	w.must(err)
	c, err := anchor.ParseCompiled(data)
	w.must(err)
	return w.other(c)
}

// ask calls a method of a contract that has several results.
func (w *world) ask(c *bind.BoundContract, method string, args ...any) ([]any, error) {
	var out []any
	err := c.Call(&bind.CallOpts{Context: w.Context()}, &out, method, args...)
	return out, err
}

func (w *world) asked(c *bind.BoundContract, method string, args ...any) []any {
	w.Helper()
	out, err := w.ask(c, method, args...)
	w.must(err)
	return out
}

func state(height uint64, root byte) anchor.State {
	return anchor.State{Chain: ledger, Height: height, Root: canon.Hash{root}}
}

// osaka gives a chain the rules that are in force, not those of forks to come,
// so that figures of gas are those of today.
func osaka(_ *node.Config, conf *ethconfig.Config) {
	rules := *params.AllDevChainProtocolChanges
	rules.BogotaTime = nil
	conf.Genesis.Config = &rules
}
