package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/keeper"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/wallet"
)

// LedgerConfig says how the node takes part in a ledger. Its data is in the
// node's folder.
type LedgerConfig struct {
	Genesis *ledger.Genesis
	// Light asks others for single entries, and has no chain; Ask are nodes of the
	// ledger, beside those that are found among the peers that are connected.
	Light   bool
	Ask     []Link
	Follow  bool             // never sign blocks, even if the key is a validator's
	Sync    bool             // begin with a snapshot of a peer, if there is nothing of the chain yet
	Listen  string           // host:port for other nodes of the chain; "": none may connect
	Peers   []consensus.Peer // to stay connected with
	Provide *ProviderConfig  // offers Config.Models; nil: nothing is offered
	// Models computes receipts again, for audits and disputes; nil: the node does
	// neither, and loses the disputes about its own.
	Models keeper.Models
	Audit  bool          // the node audits others; it needs a bond for that
	Bond   bool          // bond the least that is allowed, if the node has none
	Batch  time.Duration // how long receipts wait for a batch at most; 0: a minute
}

// chainFolder is where the ledger's data is, in the node's folder.
const chainFolder = "chain"

// errNoLedger is what is said of a node without one.
var errNoLedger = rpc.Errorf(rpc.FailedPrecondition, "this node takes part in no ledger: \"aval up\" starts one that does")

// IsNoLedger tells whether an error says that the node takes part in no ledger.
func IsNoLedger(err error) bool { return rpc.CodeOf(err) == rpc.FailedPrecondition }

// chain is the ledger as the node takes part in it.
type chain struct {
	node    *consensus.Node
	name    string
	genesis canon.Hash
	key     ed25519.PrivateKey

	wallet   *wallet.Wallet // of the node's account
	sessions *wallet.Book
	purses   purses
	feed     feed
}

// startLedger joins the ledger.
func (n *Node) startLedger(ctx context.Context, cfg *LedgerConfig) error {
	if cfg == nil {
		return nil
	}
	if n.folder == nil {
		return errors.New("node: a ledger needs the node's folder")
	}
	if cfg.Light {
		return nil // it starts when others can be asked
	}
	beacon, err := consensus.LedgerBeacon(n.key)
	if err != nil {
		return err
	}
	hash, err := cfg.Genesis.Hash()
	if err != nil {
		return err
	}
	join := consensus.Config{
		Dir: filepath.Join(n.folder.Path, chainFolder), Genesis: cfg.Genesis, Key: n.key, Follow: cfg.Follow,
		Listen: cfg.Listen, Peers: cfg.Peers, Beacon: beacon, Logger: n.logger,
	}
	if cfg.Sync {
		join.Sync = &consensus.Sync{}
	}
	c, err := consensus.Start(ctx, join)
	if err != nil {
		return err
	}
	n.chain = &chain{
		node: c, name: cfg.Genesis.Chain, genesis: hash, key: n.key,
		purses: purses{list: map[canon.Hash]*payment.Purse{}, busy: map[canon.Hash]bool{}},
	}
	if err := n.chain.openWallet(n.folder.Path); err != nil {
		return err
	}
	n.newKeeper(cfg)
	return n.serveLedger(cfg)
}

func (n *Node) closeLedger() error {
	if n.chain == nil {
		return nil
	}
	return n.chain.node.Close()
}

// LedgerStatus is how the ledger is, as this node sees it.
type LedgerStatus struct {
	Chain      string              `json:"chain"`
	Genesis    canon.Hash          `json:"genesis"`         // its hash
	Light      bool                `json:"light,omitempty"` // this node asks others for what it needs
	Height     uint64              `json:"height"`
	Time       time.Time           `json:"time"` // of the last block
	Root       canon.Hash          `json:"root"`
	CatchingUp bool                `json:"catching_up"`
	Halted     string              `json:"halted,omitempty"` // why no block can be made, in words
	Peers      int                 `json:"peers"`            // that are connected or, if it is light, agreed on the newest header
	Waiting    int                 `json:"waiting"`          // transactions that are in no block yet
	Validates  bool                `json:"validates"`
	Validators []ValidatorStatus   `json:"validators"`
	Beacon     ledger.BeaconStatus `json:"beacon"` // the randomness of blocks
	Account    ledger.Address      `json:"account"`
	Balance    ledger.Amount       `json:"balance"`
	Node       *ledger.Node        `json:"node,omitempty"` // this device's bond and record
}

// ValidatorStatus is one that makes blocks.
type ValidatorStatus struct {
	Key   string `json:"key"`
	Power uint64 `json:"power"`
}

// LedgerStatus tells how the ledger is.
func (n *Node) LedgerStatus(ctx context.Context) (LedgerStatus, error) {
	if n.light != nil {
		return n.light.status(ctx)
	}
	if n.chain == nil {
		return LedgerStatus{}, errNoLedger
	}
	s := n.chain.node.Status()
	out := LedgerStatus{
		Chain: s.Chain, Genesis: n.chain.genesis, Height: s.Height, Time: time.UnixMilli(int64(s.Time)), Root: s.Root, CatchingUp: s.CatchingUp, Halted: s.Halted,
		Peers: s.Peers, Waiting: s.Waiting, Validates: s.Validates, Account: n.chain.Account(),
	}
	for _, v := range s.Validators {
		out.Validators = append(out.Validators, ValidatorStatus{hex.EncodeToString(v.Key), v.Power})
	}
	n.chain.node.View(func(m *ledger.Machine) {
		out.Beacon = m.Beacon()
		out.Balance = m.Account(out.Account).Balance
		out.Node = m.Node(n.key.Public().(ed25519.PublicKey))
	})
	return out, nil
}

// Entry is an entry of the ledger's state.
type Entry struct {
	Key   string `json:"key"`   // hexadecimal
	Table string `json:"table"` // of spec/ledger.md
	Value any    `json:"value,omitempty"`
}

// EntriesRequest asks for the entries of a table, or those whose keys begin with
// a prefix.
type EntriesRequest struct {
	Table  string `json:"table,omitempty"`
	Prefix string `json:"prefix,omitempty"` // hexadecimal, of the whole key
	Limit  int    `json:"limit,omitempty"`  // 0: maxEntries
}

// maxEntries bounds one answer.
const maxEntries = 1000

// LedgerEntries lists entries of the state, in the order of their keys.
func (n *Node) LedgerEntries(ctx context.Context, r EntriesRequest) ([]Entry, error) {
	if n.chain == nil && n.light == nil {
		return nil, errNoLedger
	}
	prefix, err := hex.DecodeString(r.Prefix)
	if err != nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "the prefix %q is not hexadecimal", r.Prefix)
	}
	if r.Table != "" {
		first, ok := ledger.Table(r.Table)
		if !ok {
			return nil, rpc.Errorf(rpc.InvalidArgument, "there is no table %q", r.Table)
		}
		prefix = append([]byte{first}, prefix...)
	}
	if n.light != nil {
		return n.light.entries(ctx, prefix)
	}
	limit := maxEntries
	if r.Limit > 0 && r.Limit < limit {
		limit = r.Limit
	}
	t, _ := n.chain.node.State()
	list := []Entry{}
	for k, raw := range t.Ascend(prefix) {
		if len(list) == limit {
			break
		}
		e, err := entryOf(k, raw)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func entryOf(key, raw []byte) (Entry, error) {
	table, v, err := ledger.Entry(key, raw)
	return Entry{hex.EncodeToString(key), table, v}, err
}

// EntryProof is an entry, or that there is none, with what shows it to anybody who
// knows the genesis.
type EntryProof struct {
	Key    string     `json:"key"`             // hexadecimal
	Entry  *Entry     `json:"entry"`           // nil: there is none
	Value  []byte     `json:"value,omitempty"` // as it is in the state
	Proof  []byte     `json:"proof"`           // spec/ledger.md, part 3
	Root   canon.Hash `json:"root"`
	Height uint64     `json:"height"` // of the block that led to the root
	// Block is the next header, which names the root, with its votes
	// (spec/light.md), and Genesis the hash of the chain's.
	Block   []byte     `json:"block"`
	Genesis canon.Hash `json:"genesis"`
}

// headerTime is how long a proof waits for the header that names the newest state.
const headerTime = 5 * time.Second

// named is the newest state that a header names, with that header.
func (c *chain) named(ctx context.Context) (*light.Block, tree.Tree, error) {
	state, height := c.node.State()
	limited, cancel := context.WithTimeout(ctx, headerTime)
	defer cancel()
	b, t, err := c.node.Provable(limited, 0)
	if err == nil && t.Root() == state.Root() {
		return b, t, nil
	}
	if b, t, err = c.node.Provable(limited, height); err == nil {
		return b, t, nil
	}
	return c.node.Provable(ctx, 0) // the chain stands still
}

// LedgerProof proves what there is about a key, given in hexadecimal.
func (n *Node) LedgerProof(ctx context.Context, key string) (EntryProof, error) {
	if n.chain == nil && n.light == nil {
		return EntryProof{}, errNoLedger
	}
	k, err := hex.DecodeString(key)
	if err != nil || len(k) == 0 || len(k) > tree.MaxKey {
		return EntryProof{}, rpc.Errorf(rpc.InvalidArgument, "the key %q is not 1 to %d bytes in hexadecimal", key, tree.MaxKey)
	}
	if n.light != nil {
		return n.light.proof(ctx, k)
	}
	b, t, err := n.chain.named(ctx)
	if err != nil {
		return EntryProof{}, err
	}
	out := EntryProof{Key: key, Root: t.Root(), Height: b.Header.Height - 1, Genesis: n.chain.genesis}
	if out.Block, err = b.Encode(); err != nil {
		return out, err
	}
	if out.Proof, err = t.Prove(k).Encode(); err != nil {
		return out, err
	}
	if raw, ok := t.Get(k); ok {
		e, err := entryOf(k, raw)
		if err != nil {
			return out, err
		}
		out.Entry, out.Value = &e, raw
	}
	return out, nil
}

// SendRequest is a transaction of the node's own account.
type SendRequest struct {
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"` // JSON of the kind's struct
}

// Sent is what came of a transaction.
type Sent struct {
	ID     canon.Hash     `json:"id"`
	Height uint64         `json:"height"`
	Code   string         `json:"code"`
	Detail string         `json:"detail,omitempty"`
	Fee    ledger.Amount  `json:"fee"`
	Events []ledger.Event `json:"events,omitempty"`
}

// LedgerSend signs a transaction with the node's key, and waits until it is in a
// block.
func (n *Node) LedgerSend(ctx context.Context, r SendRequest) (Sent, error) {
	if n.chain == nil && n.light == nil {
		return Sent{}, errNoLedger
	}
	kind, ok := ledger.KindNamed(r.Kind)
	if !ok {
		return Sent{}, rpc.Errorf(rpc.InvalidArgument, "there is no transaction %q", r.Kind)
	}
	payload := kind.Payload()
	if err := json.Unmarshal(r.Payload, payload); err != nil {
		return Sent{}, rpc.Errorf(rpc.InvalidArgument, "the content of a %s: %w", r.Kind, err)
	}
	if n.light != nil {
		return n.light.send(ctx, kind, payload)
	}
	return n.chain.send(ctx, kind, payload)
}

// send is LedgerSend of a payload.
func (c *chain) send(ctx context.Context, kind ledger.Kind, payload any) (Sent, error) {
	done, err := c.wallet.Send(ctx, kind, payload)
	if errors.As(err, new(*wallet.Failed)) {
		err = nil // Sent says so
	}
	return sent(done), err
}

// LedgerSubmit passes on a transaction that somebody signed, and waits until it is
// in a block.
func (n *Node) LedgerSubmit(ctx context.Context, tx []byte) (Sent, error) {
	if n.light != nil {
		return n.light.submit(ctx, tx)
	}
	if n.chain == nil {
		return Sent{}, errNoLedger
	}
	done, err := n.chain.Submit(ctx, tx)
	return sent(done), err
}

func sent(r ledger.Done) Sent {
	return Sent{ID: r.ID, Height: r.Height, Code: r.Code.String(), Detail: r.Detail, Fee: r.Fee, Events: r.Events}
}

// Err is why the transaction did nothing, or nil.
func (s Sent) Err() error {
	if s.Code == ledger.CodeOK.String() {
		return nil
	}
	return fmt.Errorf("the transaction failed: %s: %s", s.Code, s.Detail)
}

// LedgerGenesis is a genesis of a chain that begins with the state of this one.
func (n *Node) LedgerGenesis(_ context.Context, name string) (*ledger.Genesis, error) {
	if n.chain == nil {
		return nil, n.noLedger()
	}
	var g *ledger.Genesis
	n.chain.node.View(func(m *ledger.Machine) { g = m.Export(name) })
	return g, nil
}

// ledgerMethods are what commands may ask about the ledger.
func (n *Node) ledgerMethods() map[string]control.Method {
	return map[string]control.Method{
		"ledger-status":  method(func(ctx context.Context, _ struct{}) (LedgerStatus, error) { return n.LedgerStatus(ctx) }),
		"ledger-entries": method(n.LedgerEntries),
		"ledger-proof":   method(n.LedgerProof),
		"ledger-send":    method(n.LedgerSend),
		"ledger-submit":  method(n.LedgerSubmit),
		"ledger-export":  method(n.LedgerGenesis),
	}
}

// LedgerStatus is Node.LedgerStatus.
func (r *Remote) LedgerStatus(ctx context.Context) (out LedgerStatus, err error) {
	err = r.client.Call(ctx, "ledger-status", struct{}{}, &out)
	return out, err
}

// LedgerEntries is Node.LedgerEntries.
func (r *Remote) LedgerEntries(ctx context.Context, in EntriesRequest) (out []Entry, err error) {
	err = r.client.Call(ctx, "ledger-entries", in, &out)
	return out, err
}

// LedgerProof is Node.LedgerProof.
func (r *Remote) LedgerProof(ctx context.Context, key string) (out EntryProof, err error) {
	err = r.client.Call(ctx, "ledger-proof", key, &out)
	return out, err
}

// LedgerSend is Node.LedgerSend.
func (r *Remote) LedgerSend(ctx context.Context, in SendRequest) (out Sent, err error) {
	err = r.client.Call(ctx, "ledger-send", in, &out)
	return out, err
}

// LedgerSubmit is Node.LedgerSubmit.
func (r *Remote) LedgerSubmit(ctx context.Context, tx []byte) (out Sent, err error) {
	err = r.client.Call(ctx, "ledger-submit", tx, &out)
	return out, err
}

// LedgerGenesis is Node.LedgerGenesis.
func (r *Remote) LedgerGenesis(ctx context.Context, name string) (out *ledger.Genesis, err error) {
	err = r.client.Call(ctx, "ledger-export", name, &out)
	return out, err
}

// genesisFile is in the chain's folder.
const genesisFile = "genesis.json"

// Supply of a chain that a node begins for itself, and the bond of its one
// validator.
const (
	ownSupply = 1_000_000_000 * ledger.Unit
	ownBond   = 1_000_000 * ledger.Unit
)

// OwnGenesis begins a chain of this device alone: it makes all blocks, and its
// account has everything.
func OwnGenesis(key ed25519.PrivateKey, now time.Time) *ledger.Genesis {
	public := key.Public().(ed25519.PublicKey)
	a := ledger.AddressOf(public)
	return &ledger.Genesis{
		Chain: "home-" + hex.EncodeToString(public[:4]), Time: uint64(now.UnixMilli()),
		Accounts:   []ledger.GenesisAccount{{Address: a, Balance: ownSupply}},
		Validators: []ledger.GenesisValidator{{Key: canon.Hash(public), Operator: a, Power: 1, Bond: ownBond}},
	}
}

// ReadGenesis reads the genesis of the chain in a node's folder; nil if it is in
// none yet.
func ReadGenesis(folder string) (*ledger.Genesis, error) {
	data, err := os.ReadFile(filepath.Join(folder, chainFolder, genesisFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ledger.ParseGenesis(data)
}

// WriteGenesis lets a node's folder be in a chain. It may be in that one already,
// but in no other.
func WriteGenesis(f *control.Folder, g *ledger.Genesis) error {
	data, err := g.Encode()
	if err != nil {
		return err
	}
	path := filepath.Join(f.Path, chainFolder, genesisFile)
	old, err := os.ReadFile(path)
	if err == nil {
		if bytes.Equal(old, data) {
			return nil
		}
		return fmt.Errorf("this node is in another chain, whose data is in %s: move that folder away to leave it", filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return store.WriteFile(store.OS{}, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
