package consensus

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"time"

	cmtmath "github.com/cometbft/cometbft/libs/math"
	cmtlight "github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/light"
)

// TestLightAgrees compares internal/light with CometBFT's light client, about
// true headers and about ones that were changed.
func TestLightAgrees(t *testing.T) {
	seed := sha256.Sum256([]byte("validator"))
	key := ed25519.NewKeyFromSeed(seed[:])
	owner := ledger.AddressOf(key.Public().(ed25519.PublicKey))
	g := &ledger.Genesis{
		Chain: "compare", Time: uint64(time.Now().UnixMilli()),
		Accounts:   []ledger.GenesisAccount{{Address: owner, Balance: 1000 * ledger.Unit}},
		Validators: []ledger.GenesisValidator{{Key: canon.Hash(key.Public().(ed25519.PublicKey)), Operator: owner, Power: 7, Bond: 1000 * ledger.Unit}},
	}
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Genesis: g, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for nonce := range uint64(3) {
		b, err := ledger.NewBody(g.Chain, owner, nonce, ledger.Unit, ledger.KindBurn, &ledger.Burn{Amount: 1})
		if err != nil {
			t.Fatal(err)
		}
		tx, err := b.Sign(ledger.Single(key.Public().(ed25519.PublicKey)), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Submit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	first, second, third := n.signedBlock(t, 1), n.signedBlock(t, 2), n.signedBlock(t, 3)
	b1, err := n.LightBlock(1)
	if err != nil {
		t.Fatal(err)
	}
	if got := b1.Header.Hash(); string(got[:]) != string(first.Hash()) {
		t.Fatalf("the hash of the header is %s, want %s", got, first.Hash())
	}
	trust, err := light.Genesis(g.Chain, b1.Validators, now).Verify(b1, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		from   *types.LightBlock
		change func(b *light.Block, c *types.LightBlock)
		stands bool
	}{
		{"the next", second, func(*light.Block, *types.LightBlock) {}, true},
		{"a later one", third, func(*light.Block, *types.LightBlock) {}, true},
		{"another root", second, func(b *light.Block, c *types.LightBlock) { b.Header.Root[0] ^= 1; c.AppHash[0] ^= 1 }, false},
		{"another signature", third, func(b *light.Block, c *types.LightBlock) {
			b.Votes[0].Signature[0] ^= 1
			c.Commit.Signatures[0].Signature = b.Votes[0].Signature
		}, false},
		{"another round", second, func(b *light.Block, c *types.LightBlock) { b.Round++; c.Commit.Round++ }, false},
		{"another time of a vote", second, func(b *light.Block, c *types.LightBlock) {
			b.Votes[0].Time.Nanos ^= 1
			c.Commit.Signatures[0].Timestamp = b.Votes[0].Time.Go()
		}, false},
		{"another power", third, func(b *light.Block, c *types.LightBlock) {
			b.Validators[0].Power++
			c.ValidatorSet.Validators[0].VotingPower++
		}, false},
		{"another chain", second, func(b *light.Block, c *types.LightBlock) { b.Header.Chain = "other"; c.ChainID = "other" }, false},
		{"other parts", third, func(b *light.Block, c *types.LightBlock) {
			b.Parts.Total++
			c.Commit.BlockID.PartSetHeader.Total++
		}, false},
	} {
		c := n.signedBlock(t, test.from.Height)
		b, err := n.LightBlock(uint64(test.from.Height))
		if err != nil {
			t.Fatal(err)
		}
		test.change(b, c)
		_, ours := trust.Verify(b, now.Add(time.Second), 0)
		theirs := cmtlight.Verify(first.SignedHeader, first.ValidatorSet, c.SignedHeader, c.ValidatorSet, Period, now.Add(time.Second), light.Clock, cmtmath.Fraction{Numerator: 1, Denominator: 3})
		if (ours == nil) != test.stands || (theirs == nil) != test.stands {
			t.Errorf("%s: we say %v, CometBFT says %v", test.name, ours, theirs)
		}
	}
	if _, err := trust.Verify(b1, now.Add(Period+time.Minute), 0); err == nil {
		t.Error("what is too old is trusted")
	}
}

// Period is that of both in the comparison.
const Period = light.Period

func (n *Node) signedBlock(t *testing.T, height int64) *types.LightBlock {
	t.Helper()
	meta, commit := n.engine.blocks.LoadBlockMeta(height), n.engine.blocks.LoadBlockCommit(height)
	if commit == nil {
		commit = n.engine.blocks.LoadSeenCommit(height)
	}
	set, err := n.engine.states.LoadValidators(height)
	if err != nil || meta == nil || commit == nil {
		t.Fatalf("block %d: %v", height, err)
	}
	return &types.LightBlock{SignedHeader: &types.SignedHeader{Header: &meta.Header, Commit: commit.Clone()}, ValidatorSet: set}
}
