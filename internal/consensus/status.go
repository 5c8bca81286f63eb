package consensus

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	cstypes "github.com/cometbft/cometbft/consensus/types"
	"github.com/cometbft/cometbft/types"

	"github.com/avalnetwork/aval/internal/canon"
)

// Status is how a node is.
type Status struct {
	Chain      string
	Height     uint64
	Time       uint64 // of the last block, milliseconds since 1970
	Root       canon.Hash
	CatchingUp bool // it does not take part yet, as it has not all blocks
	Peers      int  // that are connected
	Waiting    int  // transactions that are in no block yet
	Validates  bool // it signs blocks
	Validators []Validator
	// Halted says, in words, why no block can be made; it is empty if one can, or
	// none is needed.
	Halted string
}

// Validator is one that signs the next block.
type Validator struct {
	Key   ed25519.PublicKey
	Power uint64
}

// A block that takes this long may be waiting for somebody.
const stuckTime = 2 * time.Second

// progress is since when a block is being made.
type progress struct {
	height int64
	since  time.Time
}

// Status is how the node is now.
func (n *Node) Status() Status {
	var s Status
	n.app.mu.Lock()
	s.Chain, s.Height, s.Time, s.Root = n.app.chain, n.app.m.Height(), n.app.m.Time(), n.app.m.Root()
	n.app.mu.Unlock()
	e := n.engine
	s.Waiting = e.pool.Size()
	n.mu.Lock()
	rs, failure, sick, p := n.round, n.failure, n.sick, n.progress
	n.mu.Unlock()
	own := n.cfg.Key.Public().(ed25519.PublicKey)
	for _, v := range rs.Validators.Validators {
		key := ed25519.PublicKey(bytes.Clone(v.PubKey.Bytes()))
		s.Validators = append(s.Validators, Validator{Key: key, Power: uint64(v.VotingPower)})
		s.Validates = s.Validates || e.signer != nil && bytes.Equal(key, own)
	}
	if e.sw != nil {
		s.Peers = e.sw.Peers().Size()
		s.CatchingUp = n.catchingUp()
	}
	switch {
	case failure != "":
		s.Halted = failure
	case sick != nil:
		s.Halted = sick.Error()
	case s.CatchingUp && s.Peers == 0:
		s.Halted = "no other node can be reached"
	case !s.CatchingUp && e.sw != nil && p.height == rs.Height && n.cfg.Now().Sub(p.since) > stuckTime:
		s.Halted = missing(rs)
	}
	return s
}

// missing says whose votes a round waits for, or nothing if it has enough.
func missing(rs *cstypes.RoundState) string {
	votes := rs.Votes.Prevotes(rs.Round)
	if rs.Step >= cstypes.RoundStepPrecommit {
		votes = rs.Votes.Precommits(rs.Round)
	}
	if votes == nil {
		return ""
	}
	var away []string
	var power int64
	for i, v := range rs.Validators.Validators {
		if votes.GetByIndex(int32(i)) == (*types.Vote)(nil) {
			away = append(away, fmt.Sprintf("%.4x", v.PubKey.Bytes()))
			power += v.VotingPower
		}
	}
	total := rs.Validators.TotalVotingPower()
	if 3*power < total { // more than two thirds are there
		return ""
	}
	return fmt.Sprintf("no block can be made while validators with a third of the power or more are missing; %d of %d are, with %d %% of it: %s", len(away), rs.Validators.Size(), 100*power/total, strings.Join(away, ", "))
}

// observe keeps the progress for Status.
func (n *Node) observe(ctx context.Context) {
	t := time.NewTicker(stuckTime / 8)
	defer t.Stop()
	for {
		n.look()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look takes the state of the round from consensus, which may take long if that
// waits for the disk.
func (n *Node) look() {
	rs := n.engine.state.GetRoundState()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.round = rs
	p := &n.progress
	switch idle := rs.Step <= cstypes.RoundStepNewRound && rs.Round == 0; {
	case idle:
		*p = progress{}
	case p.height != rs.Height || p.since.IsZero():
		*p = progress{height: rs.Height, since: n.cfg.Now()}
	}
}
