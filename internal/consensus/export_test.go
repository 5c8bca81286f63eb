package consensus

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

// Round tells how far consensus is, for tests that fail.
func (n *Node) Round() string {
	rs := n.engine.state.GetRoundState()
	return fmt.Sprintf("%d/%d/%d waits %v peers %d: %v", rs.Height, rs.Round, rs.Step, n.catchingUp(), n.Status().Peers, rs.Votes.StringIndented("  "))
}

// Equivocate lets a validator vote for two blocks of the height that comes, as
// this node hears it from a peer.
func (n *Node) Equivocate(key ed25519.PrivateKey) error {
	rs := n.engine.state.GetRoundState()
	address := cmted25519.PubKey(key.Public().(ed25519.PublicKey)).Address()
	i, _ := rs.Validators.GetByAddress(address)
	for b := range 2 {
		hash := sha256.Sum256([]byte{byte(b)})
		v := &types.Vote{
			Type: cmtproto.PrevoteType, Height: rs.Height, Round: rs.Round, Timestamp: time.Now(),
			BlockID:          types.BlockID{Hash: hash[:], PartSetHeader: types.PartSetHeader{Total: 1, Hash: hash[:]}},
			ValidatorAddress: address, ValidatorIndex: i,
		}
		v.Signature = ed25519.Sign(key, types.VoteSignBytes(n.app.chain, v.ToProto()))
		if _, err := n.engine.state.AddVote(v, "liar"); err != nil {
			return err
		}
	}
	return nil
}
