package consensus

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/blocksync"
	cmtconfig "github.com/cometbft/cometbft/config"
	cs "github.com/cometbft/cometbft/consensus"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/evidence"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	cmtstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	cmtversion "github.com/cometbft/cometbft/version"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/store"
)

// engine is CometBFT, put together from its parts: its own node.Node always
// listens, brings servers and databases that nothing here uses, and hides what
// the status needs.
type engine struct {
	cfg  *Config
	log  log.Logger
	sick func(err error)

	config   *cmtconfig.Config
	genesis  *types.GenesisDoc
	blocks   *cmtstore.BlockStore
	states   sm.Store
	conns    proxy.AppConns
	bus      *types.EventBus
	pool     *mempool.CListMempool
	evidence *evidence.Pool
	exec     *sm.BlockExecutor
	state    *cs.State
	signer   *signer
	snaps    *snapshots

	// Of nodes with peers.
	transport *p2p.MultiplexTransport
	sockets   *connections
	sw        *p2p.Switch
	consensus *cs.Reactor
	gossip    *mempool.Reactor
	catchUp   *blocksync.Reactor
	initial   sm.State

	dbs        []dbm.DB
	evidenceDB dbm.DB
}

// awayTime is how old the last block is when a node fetches blocks first.
const awayTime = time.Minute

const maxChainName = types.MaxChainIDLen

// Limits for a device.
const (
	poolTxs      = 5_000
	poolBytes    = 4 << 20
	maxInbound   = 40
	maxOutbound  = 16
	dbBlockCache = 1 << 20
	dbWrite      = 1 << 20
)

// open opens the databases and checks that they are of the same chain.
func (e *engine) open(fresh *ledger.Machine) error {
	c := cmtconfig.DefaultConfig()
	c.SetRoot(e.cfg.Dir)
	c.DBPath = "."
	c.Consensus.WalPath = filepath.Join("wal", "wal")
	// Round trips between continents fit into these; a network that is slower
	// yet gets there by the deltas.
	c.Consensus.TimeoutPropose = 800 * time.Millisecond
	c.Consensus.TimeoutProposeDelta = 250 * time.Millisecond
	c.Consensus.TimeoutPrevote = 300 * time.Millisecond
	c.Consensus.TimeoutPrevoteDelta = 200 * time.Millisecond
	c.Consensus.TimeoutPrecommit = 300 * time.Millisecond
	c.Consensus.TimeoutPrecommitDelta = 200 * time.Millisecond
	c.Consensus.TimeoutCommit = 100 * time.Millisecond
	c.Consensus.SkipTimeoutCommit = true
	c.Consensus.CreateEmptyBlocks = false
	c.Consensus.PeerGossipSleepDuration = 20 * time.Millisecond
	if e.alone() {
		// Nobody else proposes. What this node began before it was killed it may
		// not be able to go on with, and then the next round comes soon.
		c.Consensus.TimeoutPropose, c.Consensus.TimeoutProposeDelta = 50*time.Millisecond, 50*time.Millisecond
		c.Consensus.TimeoutPrevote, c.Consensus.TimeoutPrecommit = 50*time.Millisecond, 50*time.Millisecond
		c.Consensus.TimeoutCommit = 10 * time.Millisecond
	}
	c.Mempool.Size = poolTxs
	c.Mempool.MaxTxsBytes = poolBytes
	c.Mempool.MaxTxBytes = e.cfg.MaxBlock
	c.Mempool.CacheSize = 2 * poolTxs
	c.P2P.PexReactor = false
	c.P2P.AllowDuplicateIP = true // several nodes may be behind one router
	c.P2P.MaxNumInboundPeers = maxInbound
	c.P2P.MaxNumOutboundPeers = maxOutbound
	c.P2P.SendRate, c.P2P.RecvRate = 20<<20, 20<<20
	c.P2P.FlushThrottleTimeout = 5 * time.Millisecond
	e.config = c

	g := e.cfg.Genesis
	params := types.DefaultConsensusParams()
	params.Block.MaxBytes = int64(e.cfg.MaxBlock)
	params.Evidence.MaxBytes = int64(e.cfg.MaxBlock) / 8
	if e.cfg.Beacon != nil {
		params.ABCI.VoteExtensionsEnableHeight = 1
	}
	root := fresh.Root()
	e.genesis = &types.GenesisDoc{ChainID: g.Chain, GenesisTime: time.UnixMilli(int64(g.Time)).UTC(), InitialHeight: 1, ConsensusParams: params, AppHash: root[:]}
	for _, v := range fresh.Validators() {
		key := cmted25519.PubKey(v.Key)
		e.genesis.Validators = append(e.genesis.Validators, types.GenesisValidator{Address: key.Address(), PubKey: key, Power: int64(v.Power)})
	}
	if err := e.genesis.ValidateAndComplete(); err != nil {
		return fmt.Errorf("consensus: the genesis: %w", err)
	}
	begun, err := e.begun()
	if err != nil {
		return err
	}
	var dbs [3]dbm.DB
	for i, name := range []string{"blocks", "states", "evidence"} {
		if !begun {
			e.removeHalf(name)
		}
		if dbs[i], err = e.db(name); err != nil {
			return err
		}
	}
	if !begun {
		err := store.WriteFile(e.cfg.FS, e.genesisPath(), 0o600, func(w io.Writer) error {
			_, err := io.WriteString(w, e.identity())
			return err
		})
		if err != nil {
			return fmt.Errorf("consensus: %w", err)
		}
	}
	e.blocks, e.evidenceDB = cmtstore.NewBlockStore(dbs[0]), dbs[2]
	e.states = sm.NewStore(dbs[1], sm.StoreOptions{DiscardABCIResponses: true})
	if e.initial, err = e.states.LoadFromDBOrGenesisDoc(e.genesis); err != nil {
		return fmt.Errorf("consensus: the state of the chain: %w", err)
	}
	if !e.cfg.Follow {
		e.signer, err = openSigner(e.cfg.FS, filepath.Join(e.cfg.Dir, "signed"), e.cfg.Key, e.sick)
	}
	return err
}

// identity tells chains apart. It is kept beside the data that came of one.
func (e *engine) identity() string {
	return fmt.Sprintf("%s\n%x\n%d\n", e.genesis.ChainID, []byte(e.genesis.AppHash), e.genesis.GenesisTime.UnixMilli())
}

func (e *engine) genesisPath() string { return filepath.Join(e.cfg.Dir, "genesis") }

// begun says that a first start made the databases.
func (e *engine) begun() (bool, error) {
	have, err := os.ReadFile(e.genesisPath())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("consensus: %w", err)
	case string(have) != e.identity():
		return false, fmt.Errorf("consensus: the folder %s has the data of another chain; use another folder, or the genesis that it began with", e.cfg.Dir)
	}
	return true, nil
}

// removeHalf removes a database that the first start did not finish making: it
// lacks the file without which it cannot be opened.
func (e *engine) removeHalf(name string) {
	dir := filepath.Join(e.cfg.Dir, name+".db")
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); errors.Is(err, os.ErrNotExist) {
		_ = os.RemoveAll(dir)
	}
}

func (e *engine) db(name string) (dbm.DB, error) {
	db, err := dbm.NewGoLevelDBWithOpts(name, e.cfg.Dir, &opt.Options{BlockCacheCapacity: dbBlockCache, WriteBuffer: dbWrite, OpenFilesCacheCapacity: 64})
	if err != nil {
		return nil, fmt.Errorf("consensus: the database %s: %w", filepath.Join(e.cfg.Dir, name+".db"), err)
	}
	guarded := &database{DB: db}
	e.dbs = append(e.dbs, guarded)
	return guarded, nil
}

// alone says that no other node takes part: there is nobody to ask for blocks.
func (e *engine) alone() bool { return e.cfg.Listen == "" && len(e.cfg.Peers) == 0 }

// start brings the ledger to the last block and lets the chain go on.
func (e *engine) start(ctx context.Context, a *app) error {
	e.conns = proxy.NewAppConns(proxy.NewConnSyncLocalClientCreator(a), proxy.NopMetrics())
	e.conns.SetLogger(e.log)
	if err := e.conns.Start(); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	e.bus = types.NewEventBus()
	e.bus.SetLogger(e.log)
	if err := e.bus.Start(); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	if err := e.handshake(ctx); err != nil {
		return err
	}
	state, err := e.states.Load()
	if err != nil {
		return fmt.Errorf("consensus: the state of the chain: %w", err)
	}
	if e.evidence, err = evidence.NewPool(e.evidenceDB, e.states, e.blocks); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	e.evidence.SetLogger(e.log)
	e.pool = mempool.NewCListMempool(e.config.Mempool, e.conns.Mempool(), state.LastBlockHeight, mempool.WithPreCheck(sm.TxPreCheck(state)), mempool.WithPostCheck(sm.TxPostCheck(state)))
	e.pool.SetLogger(e.log)
	e.pool.EnableTxsAvailable()
	e.exec = sm.NewBlockExecutor(e.states, e.log, e.conns.Consensus(), e.pool, e.evidence, e.blocks, sm.BlockExecutorWithBlockTimeTolerance(e.config.Consensus.BlockTimeTolerance))
	// After a crash between a fetched snapshot and the first block, the state is
	// at a height at which there are no blocks.
	bare := int64(0)
	if e.blocks.Height() == 0 {
		bare = state.LastBlockHeight
	}
	e.state = cs.NewState(e.config.Consensus, state.Copy(), e.exec, e.blocks, e.pool, e.evidence, cs.OfflineStateSyncHeight(bare))
	e.state.SetLogger(e.log)
	if e.signer != nil {
		e.state.SetPrivValidator(e.signer)
	}
	if e.alone() {
		e.state.SetEventBus(e.bus)
		e.exec.SetEventBus(types.NopEventBus{}) // blocks are told by the app
		if err := e.state.Start(); err != nil {
			return fmt.Errorf("consensus: %w", err)
		}
		return nil
	}
	return e.connect(state, bare)
}

func (e *engine) handshake(ctx context.Context) (err error) {
	defer func() { // CometBFT panics when what it finds cannot be
		if r := recover(); r != nil {
			err = fmt.Errorf("consensus: the data in %s cannot be: %v", e.cfg.Dir, r)
		}
	}()
	h := cs.NewHandshaker(e.states, e.initial, e.blocks, e.genesis)
	h.SetLogger(e.log)
	if err := h.HandshakeWithContext(ctx, e.conns); err != nil {
		return fmt.Errorf("consensus: applying the blocks in %s: %w", e.cfg.Dir, err)
	}
	return nil
}

// connect starts what nodes with peers have.
func (e *engine) connect(state sm.State, bare int64) error {
	var address []byte
	if e.signer != nil {
		address = cmted25519.PubKey(e.signer.public()).Address()
	}
	// A node that was away for a moment gets what it missed within consensus, a
	// second earlier than by fetching blocks first.
	waits := !e.onlyValidator(state) && e.cfg.Now().Sub(state.LastBlockTime) > awayTime
	e.gossip = mempool.NewReactor(e.config.Mempool, e.pool, waits)
	e.catchUp = blocksync.NewReactor(waits, false, state.Copy(), e.exec, e.blocks, address, bare, blocksync.NopMetrics())
	e.consensus = cs.NewReactor(e.state, waits)
	e.consensus.SetEventBus(e.bus)
	e.exec.SetEventBus(types.NopEventBus{})
	evidenceReactor := evidence.NewReactor(e.evidence)
	evidenceReactor.SetLogger(e.log)
	err := e.buildSwitch(state.Version.Consensus.App, map[string]p2p.Reactor{
		"MEMPOOL": e.gossip, "BLOCKSYNC": e.catchUp, "CONSENSUS": e.consensus, "EVIDENCE": evidenceReactor,
		fetchName: newFetcher(e.snapshotServer()),
	})
	if err != nil {
		return err
	}
	if e.cfg.Listen != "" {
		addr, err := p2p.NewNetAddressString(p2p.IDAddressString(e.sw.NodeInfo().ID(), e.cfg.Listen))
		if err == nil {
			err = e.transport.Listen(*addr)
		}
		if err != nil {
			return fmt.Errorf("consensus: listening on %s: %w", e.cfg.Listen, err)
		}
	}
	return e.startSwitch()
}

// buildSwitch makes the side of this node that speaks with others.
func (e *engine) buildSwitch(version uint64, reactors map[string]p2p.Reactor) error {
	own := p2p.NodeKey{PrivKey: cmted25519.PrivKey(e.cfg.Key)}
	listen := e.cfg.Listen
	if listen == "" {
		listen = "0.0.0.0:0" // said to peers, who do not use it
	}
	info := p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(cmtversion.P2PProtocol, cmtversion.BlockProtocol, version),
		DefaultNodeID:   own.ID(), Network: e.genesis.ChainID, Version: cmtversion.TMCoreSemVer,
		Moniker: "aval", ListenAddr: listen,
	}
	for _, r := range reactors {
		for _, ch := range r.GetChannels() {
			info.Channels = append(info.Channels, ch.ID)
		}
	}
	if err := info.Validate(); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	conns := p2p.MConnConfig(e.config.P2P)
	conns.PingInterval, conns.PongTimeout = 10*time.Second, 5*time.Second // a peer may lose its power
	e.transport = p2p.NewMultiplexTransport(info, own, conns)
	e.sockets = &connections{}
	p2p.MultiplexTransportConnFilters(e.sockets.note)(e.transport)
	p2p.MultiplexTransportMaxIncomingConnections(maxInbound)(e.transport)
	e.sw = p2p.NewSwitch(e.config.P2P, e.transport)
	e.sw.SetLogger(e.log)
	for name, r := range reactors {
		r.SetLogger(e.log)
		e.sw.AddReactor(name, r)
	}
	e.sw.SetNodeInfo(info)
	e.sw.SetNodeKey(&own)
	e.sw.SetAddrBook(noBook{})
	ids := make([]string, len(e.cfg.Peers))
	for i, p := range e.cfg.Peers {
		ids[i] = string(peerID(p.Key))
	}
	err := errors.Join(e.sw.AddPersistentPeers(e.peers()), e.sw.AddUnconditionalPeerIDs(ids))
	if err != nil {
		return fmt.Errorf("consensus: the peers: %w", err)
	}
	return nil
}

func (e *engine) peers() []string {
	peers := make([]string, len(e.cfg.Peers))
	for i, p := range e.cfg.Peers {
		peers[i] = p2p.IDAddressString(peerID(p.Key), p.Address)
	}
	return peers
}

func (e *engine) startSwitch() error {
	if err := e.sw.Start(); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	for i, addr := range e.peers() {
		go e.dial(addr, bytes.Compare(e.cfg.Key.Public().(ed25519.PublicKey), e.cfg.Peers[i].Key) < 0)
	}
	return nil
}

// dial connects with a peer, and again for ever. Of two that start together one
// is late, since each would refuse the other's connection for its own.
func (e *engine) dial(peer string, late bool) {
	addr, err := p2p.NewNetAddressString(peer)
	if err != nil {
		e.cfg.Logger.Warn("consensus: a peer's address", "err", err)
		return
	}
	if late {
		time.Sleep(300 * time.Millisecond)
	}
	if err := e.sw.DialPeerWithAddress(addr); err != nil {
		e.log.Debug("dialling", "peer", addr, "err", err) // it goes on by itself
	}
}

// onlyValidator says that this node can make blocks without anybody.
func (e *engine) onlyValidator(state sm.State) bool {
	if e.signer == nil || state.Validators.Size() != 1 {
		return false
	}
	address, _ := state.Validators.GetByIndex(0)
	return bytes.Equal(address, cmted25519.PubKey(e.signer.public()).Address())
}

// peerID is how CometBFT names the node of a key.
func peerID(key []byte) p2p.ID {
	sum := sha256.Sum256(key)
	return p2p.ID(hex.EncodeToString(sum[:20]))
}

// close stops everything that was started, and closes the databases.
func (e *engine) close() {
	if e.signer != nil {
		close(e.signer.quit)
	}
	e.disconnect()
	if e.state != nil && e.state.IsRunning() { // alone
		_ = e.state.Stop()
		e.state.Wait()
	}
	if e.bus != nil && e.bus.IsRunning() {
		_ = e.bus.Stop()
	}
	if e.conns != nil && e.conns.IsRunning() {
		_ = e.conns.Stop()
	}
	for _, db := range e.dbs {
		_ = db.Close()
	}
	e.dbs = nil
}

// disconnect ends what speaks with peers, and so all reactors and consensus. The
// transport goes first: a peer that comes to a switch that stops is forgotten.
func (e *engine) disconnect() {
	if e.transport == nil {
		return
	}
	_ = e.transport.Close()
	if e.sw.IsRunning() {
		_ = e.sw.Stop()
	}
	e.sockets.close()
	e.transport = nil
}

// noBook is the address book of a node that only connects to whom it is told.
type noBook struct{}

func (noBook) AddAddress(*p2p.NetAddress, *p2p.NetAddress) error { return nil }
func (noBook) AddPrivateIDs([]string)                            {}
func (noBook) AddOurAddress(*p2p.NetAddress)                     {}
func (noBook) OurAddress(*p2p.NetAddress) bool                   { return false }
func (noBook) MarkGood(p2p.ID)                                   {}
func (noBook) RemoveAddress(*p2p.NetAddress)                     {}
func (noBook) HasAddress(*p2p.NetAddress) bool                   { return false }
func (noBook) Save()                                             {}
