package consensus

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cryptoenc "github.com/cometbft/cometbft/crypto/encoding"
	"github.com/cometbft/cometbft/types"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
)

// The versions of the application in every header. Nodes with and without a
// beacon do not understand each other's blocks.
const (
	appVersion       = 1
	appVersionBeacon = 2
)

// maxBlockWork bounds the work of a block but for its last transaction. A unit
// is about a microsecond.
const maxBlockWork = 1 << 20

// staleTime is how far a block's time may be behind the clock for a proposer to
// put transactions into it. The time of a block is that of the votes for the
// one before, so the first block after a pause is made empty.
const staleTime = 10 * time.Second

// app lets the ledger happen as CometBFT says.
type app struct {
	abci.BaseApplication

	chain    string
	beacon   *Beacon
	maxBlock int64
	now      func() time.Time
	log      *slog.Logger
	snaps    *snapshots
	feed     *feed
	keep     uint64 // blocks

	mu   sync.Mutex
	m    *ledger.Machine // after the last block
	next *execution      // of a block that may come
	turn map[sender]uint64
}

// sender is an account, or a device of it: who counts transactions.
type sender struct {
	account ledger.Address
	device  [ed25519.PublicKeySize]byte
}

// execution is a block that was tried on a fork of the machine.
type execution struct {
	key     canon.Hash // of everything that it depends on
	machine *ledger.Machine
	block   *Block
	out     ledger.Outcome
	work    uint64
	ticked  bool // it has the one transaction that nobody pays for
	refused int  // entries that a block may not have
	skip    int  // 1 if the first entry is the beacon's
}

// Info implements [abci.Application].
func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	root := a.m.Root()
	return &abci.ResponseInfo{AppVersion: a.version(), LastBlockHeight: int64(a.m.Height()), LastBlockAppHash: root[:]}, nil
}

func (a *app) version() uint64 {
	if a.beacon != nil {
		return appVersionBeacon
	}
	return appVersion
}

// InitChain implements [abci.Application].
func (a *app) InitChain(_ context.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m.Height() != 0 || req.ChainId != a.chain {
		return nil, fmt.Errorf("consensus: the chain %q begins, and there is a state of %q at height %d", req.ChainId, a.chain, a.m.Height())
	}
	root := a.m.Root()
	return &abci.ResponseInitChain{AppHash: root[:], Validators: updates(a.m.Validators())}, nil
}

func updates(vals []ledger.ValidatorUpdate) []abci.ValidatorUpdate {
	out := make([]abci.ValidatorUpdate, 0, len(vals))
	for _, v := range vals {
		key, err := cryptoenc.PubKeyToProto(cmted25519.PubKey(v.Key))
		if err != nil {
			panic(fmt.Sprintf("consensus: internal error: a validator's key: %v", err))
		}
		out = append(out, abci.ValidatorUpdate{PubKey: key, Power: int64(v.Power)})
	}
	return out
}

// CheckTx implements [abci.Application]. It lets a sender's transactions in by
// their turn only: those that cannot go into a block yet would fill the pool,
// and nobody pays for them.
func (a *app) CheckTx(_ context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	res := a.check(req.Tx)
	if req.Type == abci.CheckTxType_Recheck && res.Code != ledger.CodeOK {
		a.feed.drop(res)
	}
	return &abci.ResponseCheckTx{Code: uint32(res.Code), Log: res.Detail}, nil
}

func (a *app) check(tx []byte) ledger.Result {
	if int64(len(tx)) > a.maxTx() {
		return ledger.Result{ID: ledger.TxID(tx), Code: ledger.CodeTooLarge, Detail: fmt.Sprintf("a transaction of %d bytes, and a block has room for %d", len(tx), a.maxTx())}
	}
	res := a.m.Check(tx)
	if res.Code != ledger.CodeOK || bytes.Equal(tx, a.m.FreeTick()) {
		return res
	}
	account, device, nonce, err := a.m.Sender(tx)
	if err != nil {
		panic(fmt.Sprintf("consensus: internal error: a transaction that was checked: %v", err))
	}
	from := sender{account: account}
	copy(from.device[:], device)
	turn, ok := a.turn[from]
	if !ok {
		turn = a.m.Nonce(account, device)
	}
	if nonce != turn {
		res.Code, res.Detail = ledger.CodeNonce, fmt.Sprintf("the nonce %d, want %d after those that wait", nonce, turn)
		return res
	}
	a.turn[from] = turn + 1
	return res
}

// maxTx is what fits into a block beside the header and the votes.
func (a *app) maxTx() int64 { return a.maxBlock / 2 }

// PrepareProposal implements [abci.Application]: it takes what can be applied.
func (a *app) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var txs [][]byte
	var size int64
	fits := func(tx []byte) bool {
		n := types.ComputeProtoSizeForTxs([]types.Tx{tx})
		if size+n > req.MaxTxBytes {
			return false
		}
		size += n
		txs = append(txs, tx)
		return true
	}
	e := a.begin(uint64(req.Height), req.Time, req.ProposerAddress, req.Misbehavior)
	if a.beacon != nil && req.Height > 1 {
		proof, err := a.combine(req)
		if err == nil && (len(proof) > maxProof || !fits(encodeProof(proof))) {
			err = fmt.Errorf("consensus: a proof of randomness of %d bytes does not fit into a block", len(proof))
		}
		if err == nil {
			e.block.Beacon, _, err = a.beacon.split(a.m, uint64(req.Height), txs)
		}
		if err != nil { // others will refuse this, and one of them proposes
			a.log.Warn("consensus: no proposal of this validator", "height", req.Height, "err", err)
			return &abci.ResponsePrepareProposal{}, nil
		}
		e.skip = 1
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	if req.Height == 1 || a.now().Sub(req.Time) < staleTime {
		for _, tx := range req.Txs {
			if e.work >= maxBlockWork {
				break
			}
			before := size
			if !fits(tx) {
				continue
			}
			if !e.apply(tx) { // it leaves no trace
				txs, size = txs[:len(txs)-1], before
				e.forget()
			}
		}
	}
	e.end(execKey(req.Height, req.Time, req.ProposerAddress, req.Misbehavior, txs))
	a.next = e
	return &abci.ResponsePrepareProposal{Txs: txs}, nil
}

// combine makes the proof of randomness from the votes for the last block.
func (a *app) combine(req *abci.RequestPrepareProposal) ([]byte, error) {
	keys := a.validatorKeys()
	var shares []Share
	for _, v := range req.LocalLastCommit.Votes {
		if key := keys[address(v.Validator.Address)]; key != nil && len(v.VoteExtension) > 0 {
			shares = append(shares, Share{Validator: key, Data: v.VoteExtension})
		}
	}
	proof, err := a.beacon.Combine(a.m, uint64(req.Height)-1, shares)
	if err != nil {
		return nil, fmt.Errorf("consensus: the randomness of height %d from %d shares: %w", req.Height-1, len(shares), err)
	}
	return proof, nil
}

// ProcessProposal implements [abci.Application]. What it says depends on the
// state and the block alone.
func (a *app) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reject := func(format string, args ...any) (*abci.ResponseProcessProposal, error) {
		a.log.Warn("consensus: a proposal is refused", "height", req.Height, "why", fmt.Sprintf(format, args...))
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	e, err := a.execute(req.Height, req.Time, req.ProposerAddress, req.Misbehavior, req.Txs)
	if err != nil {
		return reject("%v", err)
	}
	if e.refused > 0 {
		return reject("%d of its %d transactions could not be applied", e.refused, len(req.Txs))
	}
	if n := len(e.block.Results); n > 1 && e.work-e.block.Results[n-1].Work >= maxBlockWork {
		return reject("its work is %d", e.work)
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// FinalizeBlock implements [abci.Application].
func (a *app) FinalizeBlock(_ context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, err := a.execute(req.Height, req.Time, req.ProposerAddress, req.Misbehavior, req.Txs)
	if err != nil {
		return nil, err
	}
	res := &abci.ResponseFinalizeBlock{AppHash: e.out.Root[:], ValidatorUpdates: updates(e.out.Validators), TxResults: make([]*abci.ExecTxResult, e.skip, len(req.Txs))}
	if e.skip == 1 {
		res.TxResults[0] = &abci.ExecTxResult{}
	}
	for _, r := range e.block.Results {
		res.TxResults = append(res.TxResults, &abci.ExecTxResult{Code: uint32(r.Code), GasUsed: int64(r.Work)})
	}
	return res, nil
}

// Commit implements [abci.Application].
func (a *app) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == nil || a.next.block.Height != a.m.Height()+1 {
		return nil, errors.New("consensus: internal error: the end of no block")
	}
	e := a.next
	a.m, a.next = e.machine, nil
	clear(a.turn) // checking again what waits counts anew
	a.snaps.consider(a.m, e.block.size)
	a.feed.add(e.block)
	// The header of the oldest snapshot's block is needed by who fetches that.
	retain := min(a.snaps.oldest(), a.m.Height()-min(a.keep, a.m.Height()))
	return &abci.ResponseCommit{RetainHeight: int64(retain)}, nil
}

// ExtendVote implements [abci.Application].
func (a *app) ExtendVote(_ context.Context, req *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	share, err := a.beacon.Extend(a.m, uint64(req.Height))
	if err == nil && len(share) > maxShare {
		err = fmt.Errorf("a share of %d bytes, want at most %d", len(share), maxShare)
	}
	if err != nil { // a vote without it may do
		a.log.Warn("consensus: no share of the randomness", "height", req.Height, "err", err)
		share = nil
	}
	return &abci.ResponseExtendVote{VoteExtension: share}, nil
}

// VerifyVoteExtension implements [abci.Application].
func (a *app) VerifyVoteExtension(_ context.Context, req *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.validatorKeys()[address(req.ValidatorAddress)]
	err := errors.New("consensus: a share of somebody who is no validator")
	if key != nil && len(req.VoteExtension) <= maxShare {
		err = a.beacon.VerifyShare(a.m, uint64(req.Height), key, req.VoteExtension)
	}
	status := abci.ResponseVerifyVoteExtension_ACCEPT
	if err != nil {
		a.log.Info("consensus: a vote is refused for its share", "height", req.Height, "err", err)
		status = abci.ResponseVerifyVoteExtension_REJECT
	}
	return &abci.ResponseVerifyVoteExtension{Status: status}, nil
}

// begin makes an execution of a block whose transactions are to come.
func (a *app) begin(height uint64, at time.Time, proposer []byte, bad []abci.Misbehavior) *execution {
	keys := a.validatorKeys()
	b := &Block{Height: height, Time: uint64(max(at.UnixMilli(), 0)), Proposer: keys[address(proposer)]}
	for _, x := range bad {
		key := keys[address(x.Validator.Address)]
		if x.Type != abci.MisbehaviorType_DUPLICATE_VOTE && x.Type != abci.MisbehaviorType_LIGHT_CLIENT_ATTACK || key == nil {
			continue // it left, with its bond
		}
		b.Misbehaving = append(b.Misbehaving, ledger.Misbehaviour{Key: key, Height: uint64(x.Height)})
	}
	return &execution{machine: a.m.Fork(), block: b}
}

func address(b []byte) (a [20]byte) {
	copy(a[:], b)
	return a
}

// validatorKeys are the keys of all validators in the state, with power or
// without, by their address. It comes from the state alone, so that all nodes
// give the ledger the same.
func (a *app) validatorKeys() map[[20]byte]ed25519.PublicKey {
	t := a.m.State()
	out := map[[20]byte]ed25519.PublicKey{}
	for k := range t.Ascend([]byte{'v'}) {
		if key := k[1:]; len(key) == ed25519.PublicKeySize {
			sum := sha256.Sum256(key)
			out[address(sum[:])] = bytes.Clone(key)
		}
	}
	return out
}

// execute tries a block, unless it was tried just before.
func (a *app) execute(height int64, at time.Time, proposer []byte, bad []abci.Misbehavior, txs [][]byte) (*execution, error) {
	key := execKey(height, at, proposer, bad, txs)
	if a.next != nil && a.next.key == key {
		return a.next, nil
	}
	e := a.begin(uint64(height), at, proposer, bad)
	value, rest, err := a.beacon.split(a.m, uint64(height), txs)
	if err != nil {
		return nil, err
	}
	e.block.Beacon, e.skip = value, len(txs)-len(rest)
	if err := e.start(); err != nil {
		return nil, err
	}
	for _, tx := range rest {
		if !e.apply(tx) {
			e.refused++
		}
	}
	e.end(key)
	a.next = e
	return e, nil
}

func execKey(height int64, at time.Time, proposer []byte, bad []abci.Misbehavior, txs [][]byte) canon.Hash {
	h := sha256.New()
	var buf [8]byte
	num := func(n int64) {
		binary.BigEndian.PutUint64(buf[:], uint64(n))
		h.Write(buf[:])
	}
	str := func(b []byte) {
		num(int64(len(b)))
		h.Write(b)
	}
	num(height)
	num(at.UnixNano())
	str(proposer)
	num(int64(len(bad)))
	for _, x := range bad {
		num(int64(x.Type))
		str(x.Validator.Address)
		num(x.Height)
	}
	for _, tx := range txs {
		str(tx)
	}
	return canon.Hash(h.Sum(nil))
}

func (e *execution) start() error {
	b := e.block
	return e.machine.Begin(ledger.Block{Height: b.Height, Time: b.Time, Proposer: b.Proposer, Beacon: b.Beacon, Misbehaving: b.Misbehaving})
}

// apply says whether a transaction may stand in a block: it paid for that, or is
// the tick, of which one is enough. What may not has changed nothing.
func (e *execution) apply(tx []byte) bool {
	r := e.machine.Apply(tx)
	e.block.Txs = append(e.block.Txs, tx)
	e.block.Results = append(e.block.Results, r)
	e.block.size += len(tx)
	e.work += r.Work
	if r.Fee > 0 {
		return true
	}
	tick := r.Code == ledger.CodeOK && !e.ticked
	e.ticked = e.ticked || tick
	return tick
}

// forget takes back the last transaction, which changed nothing.
func (e *execution) forget() {
	b, n := e.block, len(e.block.Txs)-1
	b.size -= len(b.Txs[n])
	e.work -= b.Results[n].Work
	b.Txs, b.Results = b.Txs[:n], b.Results[:n]
}

func (e *execution) end(key canon.Hash) {
	e.out = e.machine.End()
	e.key, e.block.Root, e.block.Events = key, e.out.Root, e.out.Events
}
