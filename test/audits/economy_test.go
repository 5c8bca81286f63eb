package audits_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/ledger"
)

// choose is the logarithm of the binomial coefficient.
func choose(n, k int) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	a, _ := math.Lgamma(float64(n) + 1)
	b, _ := math.Lgamma(float64(k) + 1)
	c, _ := math.Lgamma(float64(n-k) + 1)
	return a - b - c
}

// drawn is how many receipts of a batch are audited.
func (s setting) drawn() int {
	p := s.params().Audit
	return int(p.Drawn(uint64(s.batch)))
}

// hit is the probability that one of some receipts of a batch is drawn.
func (s setting) hit(some int) float64 {
	return 1 - math.Exp(choose(s.batch-some, s.drawn())-choose(s.batch, s.drawn()))
}

// honest is the probability that one of the two auditors of a batch works.
func (s setting) honest() float64 {
	return 1 - math.Exp(choose(s.bribed, 2)-choose(s.auditors, 2))
}

// found is the probability that a batch costs the liar its bond.
func (s setting) found() float64 { return s.hit(s.lies) * s.honest() }

// waiting gives the range in which the number of trials lies until the last of
// some successes, each of probability p, but for a probability of miss on either
// side: the negative binomial distribution, summed.
func waiting(successes int, p, miss float64) (low, high int) {
	if p > 1-1e-12 {
		return successes, successes
	}
	sum := 0.0
	low = -1
	for t := successes; ; t++ {
		sum += math.Exp(choose(t-1, successes-1) + float64(successes)*math.Log(p) + float64(t-successes)*math.Log1p(-p))
		if low < 0 && sum > miss {
			low = t
		}
		if 1-sum < miss {
			return low, t
		}
	}
}

// falseRejection is the probability with which a run of the simulation with
// other seeds would be called wrong though the formula is right, on either side
// of each row. There are fewer than 50 rows.
const falseRejection = 1e-9

// row is a strategy, and how often it was played to its end.
type row struct {
	setting
	runs int
}

// liars are providers that cheat.
var liars = []row{
	{setting{rate: 500, batch: 20, auditors: 3, lies: 1}, 40},
	{setting{rate: 500, batch: 20, auditors: 3, lies: 5}, 40},
	{setting{rate: 500, batch: 20, auditors: 3, lies: 20}, 20},
	{setting{rate: 500, batch: 100, auditors: 3, lies: 10}, 40},
	{setting{rate: 500, batch: 100, auditors: 4, bribed: 2, lies: 10}, 40},
	{setting{rate: 500, batch: 100, auditors: 4, bribed: 3, lies: 10}, 40},
	{setting{rate: 2000, batch: 20, auditors: 3, lies: 1}, 40},
	{setting{rate: 100, batch: 100, auditors: 3, lies: 10}, 40},
}

// outcome is what came of a row.
type outcome struct {
	batches int // of all runs
	slashed ledger.Amount
}

// play plays a liar until it is found, runs times.
func (r row) play(t *testing.T) (o outcome) {
	t.Helper()
	for seed := range r.runs {
		n := newNetwork(t, r.setting, uint64(seed)+1)
		for n.node(n.provider).Record.Failed == 0 {
			n.answers()
			n.audit()
			o.batches++
		}
		p := n.node(n.provider)
		if p.Record.Failed != 1 || p.Bond+p.Record.Slashed != providerBond || p.Held != 0 {
			t.Fatalf("seed %d: the liar is %+v", seed, p)
		}
		o.slashed += p.Record.Slashed
		for i, a := range n.auditors {
			if x := n.node(a); x.Record.Slashed != 0 || x.Held != 0 {
				t.Fatalf("seed %d: auditor %d is %+v", seed, i, x)
			}
		}
	}
	return o
}

// played are the outcomes of the rows, which are played once.
var played = map[row]outcome{}

func (r row) result(t *testing.T) outcome {
	t.Helper()
	o, ok := played[r]
	if !ok {
		o = r.play(t)
		played[r] = o
	}
	return o
}

// TestLiars: a provider that lies loses half its bond after as many answers as
// the formula says, whoever helps it.
func TestLiars(t *testing.T) {
	if testing.Short() {
		t.Skip("plays some hundred games")
	}
	for _, r := range liars {
		o := r.result(t)
		low, high := waiting(r.runs, r.found(), falseRejection)
		if o.batches < low || o.batches > high {
			t.Errorf("%+v: %d runs took %d batches, the formula says %d to %d", r.setting, r.runs, o.batches, low, high)
		}
		if want := ledger.Amount(r.runs) * providerBond / 2; o.slashed != want {
			t.Errorf("%+v: they lost %d, want %d", r.setting, o.slashed, want)
		}
	}
}

// TestProfit: with a third of the gain at which the table says that lying begins
// to pay, liars end with a loss, and with three times of it with a profit. Runs
// are enough for that if the range of TestLiars is within these factors.
func TestProfit(t *testing.T) {
	if testing.Short() {
		t.Skip("plays some hundred games")
	}
	for _, r := range liars {
		mean := float64(r.runs) / r.found()
		if low, high := waiting(r.runs, r.found(), falseRejection); float64(high) >= 3*mean || float64(low) <= mean/3 {
			t.Fatalf("%+v: %d runs are too few to tell", r.setting, r.runs)
		}
		o := r.result(t)
		even := r.found() * float64(providerBond) / 2 / float64(r.lies)
		for _, factor := range []float64{1.0 / 3, 3} {
			profit := factor*even*float64(r.lies*o.batches) - float64(o.slashed)
			if profit > 0 != (factor > 1) {
				t.Errorf("%+v: a gain of %.0f a lie gives %.0f", r.setting, factor*even, profit)
			}
		}
	}
}

// lazies are auditors of whom none works, in front of planted receipts.
var lazies = []row{
	{setting{rate: 500, batch: 20, auditors: 2, bribed: 2, plants: 2}, 40},
	{setting{rate: 2000, batch: 50, auditors: 2, bribed: 2, plants: 1}, 40},
	{setting{rate: 2000, batch: 50, auditors: 2, bribed: 1, plants: 1}, 40},
}

// playLazy plays until an auditor loses a part of its bond.
func (r row) playLazy(t *testing.T) (o outcome) {
	t.Helper()
	for seed := range r.runs {
		n := newNetwork(t, r.setting, uint64(seed)+1)
		for n.node(n.auditors[0]).Record.Slashed == 0 {
			n.answers()
			n.audit()
			o.batches++
		}
		for i, a := range n.auditors {
			x := n.node(a)
			if lazy := i < r.bribed; lazy != (x.Record.Slashed > 0) || lazy && x.Record.Slashed < auditorBond/2 {
				t.Fatalf("seed %d: auditor %d is %+v", seed, i, x)
			}
		}
		if p := n.node(n.provider); p.Record.Slashed != 0 {
			t.Fatalf("seed %d: the planter is %+v", seed, p)
		}
		o.slashed += n.node(n.auditors[0]).Record.Slashed
	}
	return o
}

func (r row) lazyResult(t *testing.T) outcome {
	t.Helper()
	o, ok := played[r]
	if !ok {
		o = r.playLazy(t)
		played[r] = o
	}
	return o
}

// TestLazyAuditors: auditors who call everything right, alone or all together,
// lose half their bond after as many audits as the formula says; one who works
// loses nothing, nor who plants.
func TestLazyAuditors(t *testing.T) {
	if testing.Short() {
		t.Skip("plays some hundred games")
	}
	for _, r := range lazies {
		o := r.lazyResult(t)
		low, high := waiting(r.runs, r.hit(r.plants), falseRejection)
		if o.batches < low || o.batches > high {
			t.Errorf("%+v: %d runs took %d audits, the formula says %d to %d", r.setting, r.runs, o.batches, low, high)
		}
	}
}
