package tamper_test

import (
	"math"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/receipt"
)

var (
	notANumber       = float32(math.NaN())
	negativeZero     = float32(math.Copysign(0, -1))
	negativeInfinity = float32(math.Inf(-1))
)

// rounds are those of a public beacon: one every 30 seconds, round 100 at the
// time of the receipts.
func rounds(name string, round uint64) (receipt.Hash, time.Time, bool) {
	if name != "drand" || round > 102 {
		return receipt.Hash{}, time.Time{}, false
	}
	return receipt.Hash{byte(round), 7}, now.Add(time.Duration(int64(round)-100) * 30 * time.Second), true
}

// drawnBy is a story whose seed is a round of the beacon.
func drawnBy(name string, round uint64, value receipt.Hash) ask {
	return with(story(), func(q *ask) { q.seed = receipt.BeaconSeed(name, round, value) })
}

// seeded is an answer that is right for its seed, checked by who knows the
// beacon.
func seeded(q ask, detail string) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, q).forged(t).at(detail)
		f.expect.Beacon = rounds
		return f
	}
}

// dated is an answer at another time.
func dated(seconds int64, maxAge time.Duration, detail string) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.claims.Time += seconds
		f := r.forged(t).at(detail)
		f.maxAge = maxAge
		return f
	}
}

// drawnWith is a lie about the seed: the claims have that of q, the tokens were
// drawn with another one.
func drawnWith(q ask, other receipt.Seed) forger {
	return func(t *testing.T, w *world) *forged {
		right, r := w.answer(t, q), w.answer(t, with(q, func(q *ask) { q.seed = other }))
		r.claims.Seed = q.seed
		f := r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
		f.expect.Beacon = rounds
		return f
	}
}

var seedLies = []lie{
	{name: "a replayed receipt, with the nonce of another request", offline: receipt.CheckSeed, forge: seeded(with(story(), func(q *ask) {
		q.seed = receipt.NonceSeed([]byte("an older nonce 16"))
	}), "not the expected nonce: a replayed or other receipt").mine()},
	{name: "the beginning of the nonce only", offline: receipt.CheckSeed, forge: seeded(with(story(), func(q *ask) {
		q.seed = receipt.NonceSeed(nonce[:12])
	}), "not the expected nonce").mine()},
	{name: "a seed of the signer's own instead of the nonce", offline: receipt.CheckSeed, forge: seeded(with(story(), func(q *ask) {
		q.seed = receipt.SelfSeed(5)
	}), "a nonce was expected").mine()},
	{name: "a beacon instead of the nonce", offline: receipt.CheckSeed, forge: seeded(drawnBy("drand", 100, receipt.Hash{100, 7}), "a nonce was expected").mine()},
	{name: "another nonce at temperature 0, where it decides nothing", offline: receipt.CheckSeed, forge: seeded(with(greedy(), func(q *ask) {
		q.seed = receipt.NonceSeed([]byte("an older nonce 16"))
	}), "not the expected nonce").mine()},
	{name: "my nonce claimed, another seed used", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drawnWith(story(), receipt.SelfSeed(5))},
	{name: "the best of many seeds, under my nonce", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: ground},
	{name: "a seed of the signer's own claimed, another one used", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drawnWith(with(story(), func(q *ask) {
		q.seed = receipt.SelfSeed(5)
	}), receipt.SelfSeed(6))},
	{name: "a round of the beacon claimed, another one used", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drawnWith(drawnBy("drand", 100, receipt.Hash{100, 7}), receipt.BeaconSeed("drand", 99, receipt.Hash{99, 7}))},
	{name: "the value of another round", offline: receipt.CheckSeed, forge: seeded(drawnBy("drand", 100, receipt.Hash{99, 7}), `round 100 of "drand" has another value`)},
	{name: "a value that the beacon never had", offline: receipt.CheckSeed, forge: seeded(drawnBy("drand", 100, receipt.Hash{1, 2, 3}), "has another value")},
	{name: "a round that is not there yet", offline: receipt.CheckSeed, forge: seeded(drawnBy("drand", 103, receipt.Hash{103, 7}), "has no round 103")},
	{name: "a round that came after the receipt", offline: receipt.CheckSeed, forge: seeded(drawnBy("drand", 102, receipt.Hash{102, 7}), "older than the receipt, want 0 to 1m0s")},
	{name: "a round that was long known", offline: receipt.CheckSeed, forge: seeded(drawnBy("drand", 90, receipt.Hash{90, 7}), "is 5m0s older than the receipt")},
	{name: "a beacon that nobody knows", offline: receipt.CheckSeed, forge: seeded(drawnBy("my own", 1, receipt.Hash{1}), `"my own" has no round 1`)},
	{name: "a time in the future", offline: receipt.CheckTime, forge: dated(3600, 0, "in the future")},
	{name: "a time just beyond what clocks may differ", offline: receipt.CheckTime, forge: dated(121, 0, "2m1s in the future")},
	{name: "an old receipt", offline: receipt.CheckTime, forge: dated(-3601, time.Hour, "1h0m1s ago")},
	{name: "no time", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[9] = uint64(0) }, "the time is 0")},
	{name: "a nonce too short to be unpredictable", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[4] = []any{uint64(1), []byte("short")}
	}, "the nonce has 5 bytes, want 8 to 32")},
	{name: "a seed of an unknown kind", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) {
		c[4] = []any{uint64(3), []byte("a new kind of seed")}
	}, "the seed is not")},
}

// mine checks with the nonce that was sent.
func (forge forger) mine() forger {
	return func(t *testing.T, w *world) *forged {
		f := forge(t, w)
		f.expect.Nonce = nonce
		return f
	}
}

// ground is the best answer, by the liar's taste, of those that it tried: the
// salts, the time and the seed are all its own. It claims the nonce of the one
// who asks, and that is what the tokens must come from.
func ground(t *testing.T, w *world) *forged {
	q := story()
	right := w.answer(t, q)
	var best *run
	for i := range uint64(20) {
		r := w.answer(t, with(q, func(q *ask) { q.seed = receipt.SelfSeed(i) }))
		if best == nil || r.transcript.Text < best.transcript.Text {
			best = r
		}
	}
	best.claims.Seed = q.seed
	return best.forged(t).at(changed(t, right.transcript.Output, best.transcript.Output))
}

// TestSeedsCannotBeGround holds that nothing the signer chooses enters the
// seed: neither salts nor time nor key.
func TestSeedsCannotBeGround(t *testing.T) {
	w := newWorld(t)
	q := story()
	ids := idsOf(t, w.engine, &q)
	want := q.seed.Derive(ids)
	r := w.answer(t, q)
	r.trace = false
	for i := range byte(8) {
		r.claims.Time--
		o, err := receipt.Commit(receipt.Salt{i}, &r.transcript)
		if err != nil {
			t.Fatal(err)
		}
		o.Fill(&r.claims)
		s, err := receipt.Sign(r.claims, keyOf(i))
		if err != nil {
			t.Fatal(err)
		}
		r.claims.Key = nil
		if got := s.Claims().Seed.Derive(o.Prompt.IDs); got != want {
			t.Errorf("with another salt, time and key the seed is %d, want %d", got, want)
		}
	}
	if q.seed.Derive(ids[1:]) == want {
		t.Error("another prompt has the same seed")
	}
}
