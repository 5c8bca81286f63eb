package exchange

import (
	"sync"
	"time"
)

// burst is how many bytes may pass at once.
const burst = 256 << 10

// bucket spreads bytes over time. It has no bound if its rate is 0.
type bucket struct {
	rate float64 // bytes a second
	mu   sync.Mutex
	free time.Time // when all that was taken has been paid
}

func newBucket(rate float64) *bucket { return &bucket{rate: rate} }

// take takes n bytes and says how long to wait before they may pass. Those who
// ask later wait longer.
func (b *bucket) take(n int, now time.Time) time.Duration {
	if b.rate <= 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if oldest := now.Add(-time.Duration(burst / b.rate * float64(time.Second))); b.free.Before(oldest) {
		b.free = oldest
	}
	b.free = b.free.Add(time.Duration(float64(n) / b.rate * float64(time.Second)))
	return b.free.Sub(now)
}
