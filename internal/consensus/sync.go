package consensus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	cmtstate "github.com/cometbft/cometbft/proto/tendermint/state"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/version"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
	cmtversion "github.com/cometbft/cometbft/version"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/light"
)

// Sync lets a node begin with a snapshot that it gets from its peers, who are
// not believed: the headers that vouch for it are followed from Trust on.
type Sync struct {
	// Trust is a header that is believed; nil: the validators of the genesis,
	// which is right as long as two thirds of those would still not lie.
	Trust *light.Trust
}

// How long a node waits for peers before it begins.
const (
	peersTime  = 15 * time.Second
	settleTime = time.Second // after the first
)

// empty says that there is nothing of the chain here but its genesis.
func (e *engine) empty() bool { return e.initial.LastBlockHeight == 0 && e.blocks.Height() == 0 }

// top is the height up to which a snapshot may be: that of the blocks, or of a
// fetched snapshot without any.
func (e *engine) top() int64 { return max(e.blocks.Height(), e.initial.LastBlockHeight) }

// fetchSnapshot brings the stores to the newest snapshot that peers have and the
// chain vouches for. Without one, blocks are fetched from the first on.
func (e *engine) fetchSnapshot(ctx context.Context) error {
	f := newFetcher(nil)
	if err := e.buildSwitch(e.initial.Version.Consensus.App, map[string]p2p.Reactor{fetchName: f}); err != nil {
		return err
	}
	defer e.disconnect()
	if err := e.startSwitch(); err != nil {
		return err
	}
	if err := e.waitForPeers(ctx); err != nil {
		return err
	}
	trust := e.cfg.Sync.Trust
	if trust == nil {
		trust = light.Genesis(e.genesis.ChainID, lightValidators(e.initial.Validators), e.cfg.Now())
	}
	offers := f.snapshots(ctx)
	for _, o := range offers {
		err := e.take(ctx, f, trust, o)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("consensus: fetching a snapshot: %w", ctx.Err())
		}
		e.cfg.Logger.Info("consensus: a snapshot of a peer is not taken", "height", o.Height, "err", err)
	}
	e.cfg.Logger.Info("consensus: no snapshot of a peer could be taken; fetching all blocks", "offers", len(offers))
	return nil
}

func (e *engine) waitForPeers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, peersTime)
	defer cancel()
	var settled <-chan time.Time
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		switch n := e.sw.Peers().Size(); {
		case n == len(e.cfg.Peers):
			return nil
		case n > 0 && settled == nil:
			settled = time.After(settleTime)
		}
		select {
		case <-settled:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("consensus: no peer could be reached for a snapshot: %w", ctx.Err())
		case <-t.C:
		}
	}
}

// take fetches one snapshot, checks it and makes it what the node begins with.
func (e *engine) take(ctx context.Context, f *fetcher, trust *light.Trust, o *offer) error {
	n := len(o.Chunks) / canon.Size
	if o.Height == 0 || o.Height > 1<<60 || n < 1 || n > maxChunks || len(o.Chunks)%canon.Size != 0 {
		return fmt.Errorf("%d chunks of height %d", n, o.Height)
	}
	// The state after the block is named by the next header. The validators that
	// the block elected are those of the one after that.
	var heads [3]*syncBlock
	for i := range heads {
		height := o.Height + uint64(i)
		next, err := trust.Follow(height, e.cfg.Now(), 0, func(h uint64) (*light.Block, error) {
			b, err := f.block(ctx, h)
			if err != nil {
				return nil, err
			}
			if h == height {
				heads[i] = b
			}
			return &b.Block, nil
		})
		if err != nil {
			return err
		}
		trust = next
	}
	state, err := e.stateAt(heads)
	if err != nil {
		return err
	}
	path := e.snaps.path(o.Height)
	part := path + ".part"
	defer func() { _ = e.cfg.FS.Remove(part) }()
	if err := e.download(ctx, f, o, part); err != nil {
		return err
	}
	_, m, err := readSnapshot(part, true)
	if err != nil {
		return err
	}
	if err := vouched(m, heads, e.genesis.ChainID); err != nil {
		return err
	}
	// A crash on the way leaves a store without a state, which is the beginning
	// again, or all of it.
	if err := e.blocks.SaveSeenCommit(int64(o.Height), commitOf(heads[0])); err != nil {
		return err
	}
	if err := errors.Join(e.cfg.FS.Rename(part, path), e.cfg.FS.SyncDir(e.snaps.dir)); err != nil {
		return err
	}
	if err := e.states.Bootstrap(state); err != nil {
		return err
	}
	e.initial = state
	return nil
}

// vouched compares a state with the headers.
func vouched(m *ledger.Machine, heads [3]*syncBlock, chain string) error {
	h := &heads[0].Block.Header
	ms := uint64(max(h.Time.Go().UnixMilli(), 0))
	if m.Height() != h.Height || m.Chain() != chain || m.Root() != heads[1].Block.Header.Root || m.Time() != ms {
		return fmt.Errorf("the snapshot is of height %d and time %d of the chain %q with the root %s, the headers say %d, %d, %q and %s",
			m.Height(), m.Time(), m.Chain(), m.Root(), h.Height, ms, chain, heads[1].Block.Header.Root)
	}
	return nil
}

// download fetches the chunks to a file.
func (e *engine) download(ctx context.Context, f *fetcher, o *offer, path string) (err error) {
	w, err := e.cfg.FS.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for i := range len(o.Chunks) / canon.Size {
		want := canon.Hash(o.Chunks[i*canon.Size:][:canon.Size])
		data, err := f.chunk(ctx, o, uint32(i), func(data []byte) bool { return sha256.Sum256(data) == want })
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return w.Sync()
}

// stateAt is what CometBFT knows after the first of three blocks.
func (e *engine) stateAt(heads [3]*syncBlock) (sm.State, error) {
	var sets [3]*types.ValidatorSet
	for i, b := range heads {
		var vals []*types.Validator
		if len(b.Priorities) != len(b.Block.Validators) {
			return sm.State{}, fmt.Errorf("%d priorities of %d validators", len(b.Priorities), len(b.Block.Validators))
		}
		for j, v := range b.Block.Validators {
			val := types.NewValidator(cmted25519.PubKey(v.Key[:]), int64(v.Power))
			val.ProposerPriority = b.Priorities[j]
			vals = append(vals, val)
		}
		set, err := types.ValidatorSetFromExistingValidators(vals)
		if err != nil {
			return sm.State{}, err
		}
		sets[i] = set
	}
	last, next := &heads[0].Block, &heads[1].Block.Header
	return sm.State{
		Version: cmtstate.Version{
			Consensus: cmtproto.Consensus{Block: next.Protocol, App: next.Application},
			Software:  cmtversion.TMCoreSemVer,
		},
		ChainID: e.genesis.ChainID, InitialHeight: e.genesis.InitialHeight,
		LastBlockHeight: int64(last.Header.Height), LastBlockTime: last.Header.Time.Go(),
		LastBlockID:    commitOf(heads[0]).BlockID,
		LastValidators: sets[0], Validators: sets[1], NextValidators: sets[2],
		LastHeightValidatorsChanged: int64(last.Header.Height) + 2,
		ConsensusParams:             *e.genesis.ConsensusParams, LastHeightConsensusParamsChanged: e.genesis.InitialHeight,
		AppHash: slices.Clone(next.Root[:]), LastResultsHash: slices.Clone(next.LastResults[:]),
	}, nil
}

// commitOf is the votes for a block as CometBFT keeps them.
func commitOf(s *syncBlock) *types.Commit {
	b := &s.Block
	id := b.Header.Hash()
	c := &types.Commit{
		Height: int64(b.Header.Height), Round: int32(b.Round),
		BlockID: types.BlockID{Hash: id[:], PartSetHeader: types.PartSetHeader{Total: b.Parts.Total, Hash: slices.Clone(b.Parts.Hash[:])}},
	}
	for i, v := range b.Votes {
		sig := types.NewCommitSigAbsent()
		if len(v.Signature) > 0 {
			sig = types.CommitSig{BlockIDFlag: types.BlockIDFlagCommit, ValidatorAddress: cmted25519.PubKey(b.Validators[i].Key[:]).Address(), Timestamp: v.Time.Go(), Signature: v.Signature}
		}
		c.Signatures = append(c.Signatures, sig)
	}
	return c
}

// shuffled is the peers in some order, so that one that lies is not always
// asked first.
func shuffled(peers []p2p.Peer) []p2p.Peer {
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers
}
