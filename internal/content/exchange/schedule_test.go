package exchange_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/content/exchange"
)

// model is a peer of the simulation below.
type model struct {
	rate  float64 // bytes a second
	dies  time.Duration
	owes  []int
	ready time.Duration // when the piece at the head is there
	gone  bool
}

// TestSchedulerFinishes drives the scheduler with peers of any rates, some of
// which die, come later or lack pieces: each piece is done once, never asked of
// more than two, never of one that lacks it, and the end is reached whenever one
// honest peer stays.
func TestSchedulerFinishes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.Int64Range(1, 1<<20), 0, 300).Draw(rt, "sizes")
		s := exchange.NewScheduler(sizes)
		n := rapid.IntRange(1, 6).Draw(rt, "peers")
		peers := make([]*model, n)
		now := time.Duration(0)
		for i := range peers {
			p := &model{rate: rapid.Float64Range(1e4, 1e8).Draw(rt, "rate")}
			var has func(int) bool
			if i > 0 { // the first one stays and has everything
				if rapid.Bool().Draw(rt, "dies") {
					p.dies = time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(rt, "when"))
				}
				if rapid.Bool().Draw(rt, "lacks") {
					has = func(piece int) bool { return piece%3 != i%3 }
				}
			}
			peers[i] = p
			s.Join(i, has, now)
		}
		count, holders := make([]int, len(sizes)), make([]int, len(sizes))
		liar := rapid.IntRange(0, n).Draw(rt, "liar") // says Missing at times
		for steps := 0; !s.Finished(); steps++ {
			if steps > 100_000 {
				rt.Fatal("no end")
			}
			for i, p := range peers {
				if p.gone {
					continue
				}
				if p.dies > 0 && now >= p.dies {
					s.Leave(i)
					for _, piece := range p.owes {
						holders[piece]--
					}
					p.gone, p.owes = true, nil
					continue
				}
				for _, piece := range s.Next(i, 64, now) {
					if i > 0 && holders[piece] >= 2 {
						rt.Fatalf("piece %d is asked of a third peer", piece)
					}
					if len(p.owes) == 0 {
						p.ready = now + time.Duration(float64(sizes[piece])/p.rate*1e9)
					}
					holders[piece]++
					p.owes = append(p.owes, piece)
				}
			}
			at := -1
			for i, p := range peers {
				if !p.gone && len(p.owes) > 0 && (at < 0 || p.ready < peers[at].ready) {
					at = i
				}
			}
			if at < 0 {
				if s.Stuck() {
					rt.Fatal("stuck, with a peer that has everything")
				}
				rt.Fatal("nobody is asked for anything, and it is not finished")
			}
			p := peers[at]
			now = max(now, p.ready)
			piece := p.owes[0]
			if owed, ok := s.Owes(at); !ok || owed != piece {
				rt.Fatalf("peer %d owes %d, the scheduler says %d", at, piece, owed)
			}
			p.owes = p.owes[1:]
			holders[piece]--
			if at > 0 && at == liar && piece%5 == 0 {
				s.Missing(at, piece, now)
			} else if s.Done(at, piece, now) {
				count[piece]++
			}
			if len(p.owes) > 0 {
				p.ready = now + time.Duration(float64(sizes[p.owes[0]])/p.rate*1e9)
			}
		}
		for piece, c := range count {
			if c != 1 {
				rt.Fatalf("piece %d was done %d times", piece, c)
			}
		}
	})
}

// TestSchedulerTime holds the end to a time: peers of very different rates finish
// near the sum of their rates, and a peer that stops without dying does not hold
// up the rest.
func TestSchedulerTime(t *testing.T) {
	for _, c := range []struct {
		name  string
		rates []float64
		most  float64 // times the ideal
	}{
		{"alike", []float64{25e6, 25e6, 25e6, 25e6}, 1.02},
		{"unlike", []float64{50e6, 10e6, 5e6, 1e6}, 1.05},
		{"one stops", []float64{25e6, 25e6, 25e6, 0}, 1.05},
	} {
		sizes := make([]int64, 500_000_000/(256<<10))
		sum, total := 0.0, 0.0
		for i := range sizes {
			sizes[i] = 256 << 10
			total += float64(sizes[i])
		}
		s := exchange.NewScheduler(sizes)
		peers := make([]*model, len(c.rates))
		for i, r := range c.rates {
			peers[i] = &model{rate: r}
			sum += r
			s.Join(i, nil, 0)
		}
		const tick = time.Millisecond
		now := time.Duration(0)
		for ; !s.Finished() && now < time.Hour; now += tick {
			for i, p := range peers {
				for _, piece := range s.Next(i, 64, now) {
					if len(p.owes) == 0 {
						p.ready = now
					}
					p.owes = append(p.owes, piece)
				}
				for len(p.owes) > 0 && p.rate > 0 {
					took := time.Duration(float64(sizes[p.owes[0]]) / p.rate * 1e9)
					if p.ready+took > now {
						break
					}
					p.ready += took
					s.Done(i, p.owes[0], now)
					p.owes = p.owes[1:]
				}
			}
		}
		ideal := total / sum
		if got := now.Seconds() / ideal; got > c.most {
			t.Errorf("%s: %.2f s, %.3f times the ideal, want at most %.2f", c.name, now.Seconds(), got, c.most)
		}
	}
}
