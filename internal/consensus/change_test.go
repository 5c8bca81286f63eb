package consensus_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/light"
)

func TestValidatorsChange(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	t.Parallel()
	n := newNetwork(t, 1, 1)
	n.up(0, 1)
	first, second := validatorKey(0), validatorKey(1)
	// The operator of the first validator bonds the second and votes it in.
	proof := ledger.ProveBond(second, chain, ledger.RoleValidator, ledger.AddressOf(public(first)))
	submit(t, n.nodes[1], newTx(t, first, 0, ledger.KindCandidate, &ledger.Candidate{Key: public(second), Amount: 2000 * ledger.Unit, Proof: proof}))
	vote := func(nonce, power uint64, by ed25519.PrivateKey) {
		submit(t, n.nodes[0], newTx(t, first, nonce, ledger.KindVote, &ledger.Vote{
			Validator: public(by), Change: ledger.Change{Power: &ledger.PowerChange{Key: public(second), Power: power}},
		}))
	}
	vote(1, 10, first)
	validates := func(want bool, count int) {
		t.Helper()
		until(t, "another set of validators", 10*time.Second, func() bool {
			s := n.nodes[1].Status()
			return s.Validates == want && len(s.Validators) == count
		})
	}
	submit(t, n.nodes[0], transfer(t, first, 2)) // the change holds from the block after the next
	validates(true, 2)

	// Both are needed now.
	n.down(0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	tx := transfer(t, first, 3)
	if _, err := n.nodes[1].Submit(ctx, tx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one of two validators made a block: %v", err)
	}
	n.up(0)
	if _, err := n.nodes[1].Wait(t.Context(), ledger.TxID(tx)); err != nil {
		t.Fatal(err)
	}
	vote(4, 0, first)
	vote(5, 0, second)
	submit(t, n.nodes[0], transfer(t, first, 6))
	validates(false, 1)
	n.down(1)
	submit(t, n.nodes[0], transfer(t, first, 7))

	// Who knows the genesis follows all of that.
	_, h := root(n.nodes[0])
	if _, err := genesisTrust(t, n.genesis).Follow(h, time.Now(), 0, func(h uint64) (*light.Block, error) { return n.nodes[0].LightBlock(h) }); err != nil {
		t.Error(err)
	}
}

func TestDoubleSigning(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	t.Parallel()
	user := newKey("user")
	n := newNetwork(t, 4, 0, user)
	n.up(0, 1, 2)
	submit(t, n.nodes[0], transfer(t, user, 0))
	n.same()
	liar := validatorKey(3)
	if err := n.nodes[0].Equivocate(liar); err != nil {
		t.Fatal(err)
	}
	// The evidence is complete with the block after, and goes into one later.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		for nonce := uint64(1); ctx.Err() == nil; nonce++ {
			_, _ = n.nodes[1].Submit(ctx, transfer(t, user, nonce))
		}
	}()
	for b, err := range n.nodes[2].Blocks(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Misbehaving) == 0 {
			continue
		}
		if m := b.Misbehaving[0]; !bytes.Equal(m.Key, public(liar)) || m.Height == 0 || m.Height >= b.Height {
			t.Errorf("in block %d: %+v", b.Height, m)
		}
		break
	}
	until(t, "a validator less", 10*time.Second, func() bool { return len(n.nodes[0].Status().Validators) == 3 })
	cancel()
	state, _ := n.nodes[0].State()
	_, v, err := ledger.Entry([]byte("v"+string(public(liar))), value(t, state.Get, "v"+string(public(liar))))
	if err != nil {
		t.Fatal(err)
	}
	if val := v.(*ledger.Validator); val.Power != 0 || val.Bond != 1000*ledger.Unit {
		t.Errorf("the liar has a power of %d and a bond of %d", val.Power, val.Bond)
	}
}

func value(t *testing.T, get func(key []byte) ([]byte, bool), key string) []byte {
	t.Helper()
	v, ok := get([]byte(key))
	if !ok {
		t.Fatalf("no entry %q", key)
	}
	return v
}

// toyBeacon has a signature of each validator for a share and all of them for a
// proof: like a real one, but that proposers may leave some out.
func toyBeacon(key ed25519.PrivateKey, lies *atomic.Bool) *consensus.Beacon {
	message := func(height uint64) []byte { return binary.BigEndian.AppendUint64([]byte("toy"), height) }
	const size = ed25519.PublicKeySize + ed25519.SignatureSize
	return &consensus.Beacon{
		Extend: func(_ *ledger.Machine, height uint64) ([]byte, error) {
			return ed25519.Sign(key, message(height)), nil
		},
		VerifyShare: func(_ *ledger.Machine, height uint64, validator ed25519.PublicKey, share []byte) error {
			if !ed25519.Verify(validator, message(height), share) {
				return errors.New("not a share")
			}
			return nil
		},
		Combine: func(_ *ledger.Machine, height uint64, shares []consensus.Share) ([]byte, error) {
			var proof []byte
			for _, s := range shares {
				proof = append(append(proof, s.Validator...), s.Data...)
			}
			if lies.Load() {
				proof[len(proof)-1] ^= 1
			}
			return proof, nil
		},
		Value: func(_ *ledger.Machine, height uint64, proof []byte) (canon.Hash, error) {
			if len(proof)/size < 3 || len(proof)%size != 0 {
				return canon.Hash{}, fmt.Errorf("a proof of %d bytes", len(proof))
			}
			for p := proof; len(p) > 0; p = p[size:] {
				if !ed25519.Verify(p[:32], message(height), p[32:size]) {
					return canon.Hash{}, errors.New("a wrong signature")
				}
			}
			return canon.Sum("toy", proof), nil
		},
	}
}

func TestBeacon(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	t.Parallel()
	user := newKey("user")
	n := newNetwork(t, 4, 0, user)
	lies := make([]atomic.Bool, 4)
	for i := range n.configs {
		n.configs[i].Beacon = toyBeacon(validatorKey(i), &lies[i])
	}
	n.up(0, 1, 2, 3)
	nonce := uint64(0)
	run := func(count int) {
		for range count {
			submit(t, n.nodes[nonce%4], transfer(t, user, nonce))
			nonce++
		}
	}
	run(4)
	lies[2].Store(true) // its proposals are refused, and another's turn comes
	run(6)
	lies[2].Store(false)
	n.same()
	seen := map[canon.Hash]bool{}
	ctx, cancel := context.WithCancel(t.Context())
	_, top := root(n.nodes[0])
	for b, err := range n.nodes[0].Blocks(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if zero := b.Beacon.IsZero(); zero != (b.Height == 1) || seen[b.Beacon] {
			t.Errorf("block %d has the randomness %s", b.Height, b.Beacon)
		}
		if bytes.Equal(b.Proposer, public(validatorKey(2))) && len(b.Txs) > 0 && lies[2].Load() {
			t.Errorf("block %d is of who lied", b.Height)
		}
		seen[b.Beacon] = true
		if b.Height == top {
			break
		}
	}
	cancel()

	// No blocks while nothing happens, and a node that was away has the same.
	_, top = settle(t, n.nodes[0])
	time.Sleep(time.Second)
	if _, h := root(n.nodes[0]); h != top {
		t.Errorf("an idle chain went from height %d to %d", top, h)
	}
	n.down(1)
	run2 := func(count int) {
		for range count {
			submit(t, n.nodes[0], transfer(t, user, nonce))
			nonce++
		}
	}
	run2(3)
	n.up(1)
	run2(1)
	n.same()
}

func TestSync(t *testing.T) {
	t.Parallel()
	user := newKey("user")
	n := newNetwork(t, 4, 1, user).withBeacon()
	for i := range n.configs {
		n.configs[i].SnapshotEvery, n.configs[i].KeepBlocks = 5, 1
	}
	n.configs[4].Sync = &consensus.Sync{}
	n.up(0, 1, 2, 3)
	for i := range 4 {
		n.deal(i)
	}
	n.serves(0, 4)
	for nonce := range uint64(20) {
		submit(t, n.nodes[nonce%4], transfer(t, user, nonce))
	}
	n.same()
	began := time.Now()
	n.up(4)
	t.Logf("a fresh node after %v", time.Since(began))
	if _, err := n.nodes[4].LightBlock(1); !errors.Is(err, consensus.ErrNoBlock) {
		t.Errorf("it has the first block: %v", err)
	}
	submit(t, n.nodes[4], transfer(t, user, 20))
	n.same()
	t.Logf("in step after %v", time.Since(began))
	n.down(4)
	submit(t, n.nodes[0], transfer(t, user, 21))
	n.up(4)
	n.same()
}
