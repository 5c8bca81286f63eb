// Package node is one device on the network, running: the mesh, the calls on it,
// who may make them, and one Close for all. [New] starts it from a [Config]
// whose zero value, but for the key, is a sensible node; [Dial] finds the one that
// runs in another process. It reads no flags and no environment, and of the disk
// only the node's folder, if it is given one.
package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/crdt/replica"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/keeper"
	ledgerservice "github.com/avalnetwork/aval/internal/ledger/service"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/private"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
	"github.com/avalnetwork/aval/internal/receiptlog/service"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// Config is what a node is made of.
type Config struct {
	Mesh mesh.Config
	// Friends may do everything. Others may ask whether the node is there and what
	// it is, and do what the owner granted them.
	Friends []peer.ID
	Version string // of the program, told to who asks
	// Folder is what the node keeps between its runs, and where commands find it
	// while it runs; nil: nothing, and nowhere. New takes it over.
	Folder *control.Folder
	// Contacts are peers to stay connected with, and Access is what is granted and
	// the tokens to show, for a node without a folder.
	Contacts []Contact
	Access   access.Book
	Content  ContentConfig
	// Models are those that others may ask, if it is granted to them; nil: none.
	Models remote.Host
	// Ledger is the one that the node takes part in; nil: none.
	Ledger *LedgerConfig
	// Receipts is how the receipts of their answers are logged; zero: they are not.
	Receipts ReceiptsConfig
	// Offer publishes them in the directory that devices share; nil: nobody is
	// told.
	Offer *Offer
}

// Node is a running node.
type Node struct {
	Mesh  *mesh.Node
	Calls *rpc.Node
	Guard *access.Guard // decides what others may do here
	// Data is the shared data, Directory a part of it.
	Data      *replica.Replica
	Directory *directory.Directory // of offered models

	folder  *control.Folder
	door    *control.Server
	private bool
	version string
	since   time.Time
	logger  *slog.Logger
	key     ed25519.PrivateKey
	end     context.CancelFunc // of what runs beside
	beside  sync.WaitGroup

	chain         *chain      // nil: the node takes part in no ledger, or asks others
	light         *lightChain // nil: the node does not ask others for a ledger
	keeper        *keeper.Keeper
	receipts      *archive.Log // nil: there is none
	host          remote.Host
	models        *remote.Server
	asks          asks
	games         games
	content       contents
	contentConfig ContentConfig

	mu       sync.Mutex
	contacts []Contact
	book     access.Book
	closed   bool
}

// open are the methods that everybody may call. All others are for friends, and
// for those to whom they are granted. Those of models, the log of receipts, shared data
// and private requests decide for each model, receipt, namespace and peer.
var open = slices.Concat([]string{"/aval.v1.NetService/Ping", "/aval.v1.NetService/About"}, inferenceMethods, service.Methods, ledgerservice.Methods, syncMethods, private.Methods)

// Rates of one peer's calls; friends are held to them, too.
const (
	callRate = 100_000 // a second
	byteRate = 4 << 30 // a second
)

// New starts a node. ctx bounds the start alone.
func New(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{
		folder: cfg.Folder, private: cfg.Mesh.PrivateNetwork != nil, version: cfg.Version, since: time.Now(),
		logger: cfg.Mesh.Logger, key: cfg.Mesh.Key, contacts: slices.Clone(cfg.Contacts), book: cfg.Access,
	}
	if n.logger == nil {
		n.logger = slog.Default()
	}
	if err := n.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, cfg Config) (err error) {
	if n.folder != nil {
		if n.contacts, err = ReadContacts(n.folder.Path); err != nil {
			return err
		}
		if n.book, err = ReadAccess(n.folder.Path); err != nil {
			return err
		}
	}
	ready := make(chan struct{})
	cfg.Mesh.Met = func(id peer.ID) {
		select {
		case <-ready:
			n.Data.Meet(id)
		default:
		}
	}
	if n.Mesh, err = mesh.New(ctx, cfg.Mesh); err != nil {
		return err
	}
	n.Guard = access.NewGuard(n.Mesh.Self(), open, cfg.Friends)
	n.Guard.Load(n.book)
	n.Calls, err = rpc.New(rpc.Config{
		Network: n.Mesh, Logger: cfg.Mesh.Logger, CallRate: callRate, ByteRate: byteRate,
		Authorize: n.Guard.Authorize, Tokens: n.Guard.Tokens,
	})
	if err == nil {
		err = probe.Register(n.Calls, probe.Info{Version: cfg.Version, Observed: n.observed})
	}
	if err == nil {
		err = n.startReceipts(cfg.Receipts)
	}
	if err == nil { // before anybody may ask about it
		err = n.startLedger(ctx, cfg.Ledger)
	}
	if err == nil {
		err = n.startModels(cfg.Models, cfg.Receipts)
	}
	if err == nil {
		err = n.startData()
	}
	if err != nil {
		return err
	}
	n.Calls.Start()
	close(ready)
	for _, id := range n.connected() { // meanwhile
		n.Data.Meet(id)
	}
	if err := n.startContent(cfg); err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	n.end = end
	if n.Mesh.Mode() != doctor.Alone {
		n.beside.Go(func() { n.keep(running) })
	}
	n.beside.Go(func() { n.announceContent(running) })
	if cfg.Offer != nil && cfg.Models != nil {
		n.beside.Go(func() { n.offer(running, *cfg.Offer) })
	}
	if cfg.Ledger != nil && cfg.Ledger.Light {
		if err := n.startLight(running, cfg.Ledger); err != nil {
			return err
		}
	}
	n.startKeeper(running)
	if n.chain != nil && !cfg.Ledger.Follow {
		n.beside.Go(func() { n.makeBeacon(running) })
	}
	if n.chain != nil && cfg.Ledger.Provide != nil && cfg.Models != nil {
		n.beside.Go(func() { n.provide(running, *cfg.Ledger.Provide) })
	}
	if n.receipts != nil {
		n.beside.Go(func() { n.dropReceipts(running, cfg.Receipts.Keep) })
	}
	if n.folder != nil {
		n.door, err = n.folder.Serve(n.methods(), n.since)
	}
	return err
}

// observed is from where a peer comes.
func (n *Node) observed(id peer.ID) string {
	p, _ := n.Mesh.Peer(id)
	return p.Address
}

// How much the doctor asks others.
const (
	clocks      = 8
	clockAnswer = 3 * time.Second
)

// Examine says how the node is connected and what could be better. It asks some
// of the peers for their clocks.
func (n *Node) Examine(ctx context.Context) doctor.Report {
	return doctor.Examine(n.observations(ctx))
}

// Explain says why a peer can or cannot be reached.
func (n *Node) Explain(ctx context.Context, id peer.ID) doctor.Summary {
	return doctor.Explain(n.observations(ctx), id)
}

func (n *Node) observations(ctx context.Context) doctor.Observations {
	o := n.Mesh.Observations()
	ctx, cancel := context.WithTimeout(ctx, clockAnswer)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	peers := n.Mesh.Peers()
	for _, p := range peers[:min(clocks, len(peers))] {
		wg.Go(func() {
			about, err := probe.About(ctx, n.Calls.To(p.ID, rpc.Control))
			if err != nil {
				return
			}
			mu.Lock()
			o.Clock = append(o.Clock, doctor.ClockSample{By: p.ID, Offset: about.Ahead})
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.SortFunc(o.Clock, func(a, b doctor.ClockSample) int { return a.By.Compare(b.By) })
	return o
}

// Close ends the node: first the door, so that nothing new is asked, then what
// runs beside, the calls and the network; at last others may have the folder.
func (n *Node) Close() error {
	n.mu.Lock()
	closed := n.closed
	n.closed = true
	n.mu.Unlock()
	if closed {
		return nil
	}
	var list []error
	if n.door != nil {
		list = append(list, n.door.Close())
	}
	if n.end != nil {
		n.end()
	}
	n.endGames()
	n.beside.Wait()
	list = append(list, n.closeLedger(), n.closeContent(), n.closeData())
	if n.Calls != nil {
		list = append(list, n.Calls.Close())
	}
	if n.Mesh != nil {
		list = append(list, n.Mesh.Close())
	}
	if n.receipts != nil {
		list = append(list, n.receipts.Close())
	}
	if n.folder != nil {
		list = append(list, n.folder.Close())
	}
	return errors.Join(list...)
}
