package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/types"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
)

// ErrNoBlock is the error of a height at which there is no block here: none yet,
// or none any more.
var ErrNoBlock = errors.New("consensus: no block of this height is here")

// LightBlock is the header of a height with its votes, for those who have no
// chain; of the newest block if the height is 0. Its root is that of the state
// before the block, so the state after block h is proved under header h+1, which
// comes by itself when a block changed the state.
func (n *Node) LightBlock(height uint64) (*light.Block, error) {
	if err := n.feed.err(); errors.Is(err, ErrClosed) {
		return nil, err
	}
	if height == 0 {
		height = uint64(n.engine.blocks.Height())
	}
	b, err := n.engine.syncBlock(height)
	if err != nil {
		return nil, err
	}
	return &b.Block, nil
}

// keptStates is how many states are kept for Provable: the header that names a
// state comes a block later, and may be asked for when the next one is there.
const keptStates = 4

// keepState keeps the state after the last block.
func (a *app) keepState() {
	a.past = append(a.past, a.m.State())
	if n := len(a.past) - keptStates; n > 0 {
		a.past = append(a.past[:0:0], a.past[n:]...)
	}
}

// Provable is the newest header whose state is here, with that state. It waits
// for one above a height.
func (n *Node) Provable(ctx context.Context, after uint64) (*light.Block, tree.Tree, error) {
	t := time.NewTicker(provableTick)
	defer t.Stop()
	for {
		b, state, err := n.provable(after)
		if err == nil || !errors.Is(err, ErrNoBlock) {
			return b, state, err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, tree.Tree{}, fmt.Errorf("%w: no header above height %d with its state: %w", ErrNoBlock, after, ctx.Err())
		}
	}
}

const provableTick = 20 * time.Millisecond

func (n *Node) provable(after uint64) (*light.Block, tree.Tree, error) {
	top := uint64(n.engine.blocks.Height())
	for h := top; h > after && h+keptStates > top && h > 0; h-- {
		b, err := n.LightBlock(h)
		if err != nil {
			return nil, tree.Tree{}, err
		}
		if state, ok := n.app.stateOf(b.Header.Root); ok {
			return b, state, nil
		}
	}
	return nil, tree.Tree{}, ErrNoBlock
}

// stateOf is one of the kept states.
func (a *app) stateOf(root canon.Hash) (tree.Tree, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.past {
		if a.past[i].Root() == root {
			return a.past[i].Clone(), true
		}
	}
	return tree.Tree{}, false
}

func (e *engine) syncBlock(height uint64) (*syncBlock, error) {
	h := int64(height)
	if h < max(e.blocks.Base(), 1) || h > e.blocks.Height() {
		return nil, ErrNoBlock
	}
	meta := e.blocks.LoadBlockMeta(h)
	commit := e.blocks.LoadBlockCommit(h)
	if commit == nil {
		commit = e.blocks.LoadSeenCommit(h)
	}
	if meta == nil || commit == nil {
		return nil, ErrNoBlock
	}
	set, err := e.states.LoadValidators(h)
	if err != nil {
		return nil, fmt.Errorf("consensus: the validators of height %d: %w", h, err)
	}
	out := &syncBlock{Block: light.Block{
		Header: lightHeader(&meta.Header), Round: uint32(commit.Round),
		Parts: lightParts(commit.BlockID.PartSetHeader), Validators: lightValidators(set),
	}}
	for i, s := range commit.Signatures {
		var v light.Vote
		if s.BlockIDFlag == types.BlockIDFlagCommit {
			v = light.Vote{Time: light.Time{Seconds: s.Timestamp.Unix(), Nanos: int32(s.Timestamp.Nanosecond())}, Signature: bytes.Clone(s.Signature)}
		}
		out.Block.Votes = append(out.Block.Votes, v)
		out.Priorities = append(out.Priorities, set.Validators[i].ProposerPriority)
	}
	return out, nil
}

func lightParts(p types.PartSetHeader) light.Parts {
	return light.Parts{Total: p.Total, Hash: hashOf(p.Hash)}
}

// hashOf is a hash that may be absent.
func hashOf(b []byte) (h canon.Hash) {
	copy(h[:], b)
	return h
}

func lightHeader(h *types.Header) light.Header {
	out := light.Header{
		Protocol: h.Version.Block, Application: h.Version.App, Chain: h.ChainID, Height: uint64(h.Height),
		Time: light.Time{Seconds: h.Time.Unix(), Nanos: int32(h.Time.Nanosecond())},
		Last: hashOf(h.LastBlockID.Hash), LastParts: lightParts(h.LastBlockID.PartSetHeader),
		LastVotes: hashOf(h.LastCommitHash), Data: hashOf(h.DataHash),
		Validators: hashOf(h.ValidatorsHash), NextValidators: hashOf(h.NextValidatorsHash),
		Params: hashOf(h.ConsensusHash), Root: hashOf(h.AppHash), LastResults: hashOf(h.LastResultsHash), Evidence: hashOf(h.EvidenceHash),
	}
	copy(out.Proposer[:], h.ProposerAddress)
	return out
}

func lightValidators(set *types.ValidatorSet) []light.Validator {
	out := make([]light.Validator, len(set.Validators))
	for i, v := range set.Validators {
		out[i] = light.Validator{Key: hashOf(v.PubKey.Bytes()), Power: uint64(v.VotingPower)}
	}
	return out
}
