// Package pool runs one program on several workers, stage by stage, so that a
// busy machine slows it as little as possible. Call [New], then [Pool.Run].
//
// Every worker executes the same straight-line program. A stage ([Worker.Do])
// is a number of chunks that the workers claim one by one, first of a share of
// their own, then of the others'; the stage ends when all are committed. There
// is no leader: a worker that the operating system has put aside is overtaken by the others,
// which do its chunks and go on, and finds every stage done when it returns.
//
// That also covers the chunk it held. Chunks are functions of their inputs, so
// a worker with nothing left to do computes a chunk that somebody else holds
// once more. Computing writes to the worker's own memory alone; whoever
// finishes first commits, once. What a worker that comes late has read by then
// may belong to a later stage: its result is thrown away. (The race detector
// would report such a read, so under it no chunk is computed twice.)
package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// MaxChunks is the largest number of chunks of a stage.
	MaxChunks = 1 << 14

	chunkBits = 24

	// spins before a worker computes a chunk that another one holds, before
	// it lets other goroutines run, and before it sleeps between two runs;
	// a spin is a pause instruction, 10 to 50 ns.
	helpSpins  = 1000
	yieldSpins = 500
	sleepSpins = 8000
)

// Pool is a set of workers. Its methods are called by one goroutine at a time.
type Pool struct {
	workers []*Worker

	claims []claim       // of the share of each worker
	count  atomic.Int64  // chunks of the current stage committed
	stage  atomic.Uint64 // the current stage
	states []atomic.Uint64

	run    atomic.Uint64 // number of the current run
	jobs   [2]job        // of the current run and the one before, by run & 1
	closed atomic.Bool
	wg     sync.WaitGroup
}

// claim is stage << chunkBits | chunks claimed of one worker's share, alone in
// its cache line.
type claim struct {
	atomic.Uint64
	_ [56]byte
}

// job is what the workers execute in a run.
type job struct {
	program func(w *Worker)
	start   uint64 // its first stage
}

// Worker is one of the workers of a pool.
type Worker struct {
	// ID is its number, from 0; the pool has [Pool.Workers] of them.
	ID int
	// Slot is 0 or 1, the value that [Pool.Acquire] returned for this run.
	Slot int

	pool   *Pool
	stage  uint64        // that its next Do is
	in     atomic.Uint64 // run that it is in, 0 if none
	asleep atomic.Bool
	wake   chan struct{}
}

// New starts a pool of n workers, the caller of Run among them.
func New(n int) *Pool {
	p := &Pool{states: make([]atomic.Uint64, MaxChunks)}
	p.claims = make([]claim, max(n, 1))
	p.begin(1)
	for i := range max(n, 1) {
		w := &Worker{ID: i, pool: p, wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		if i > 0 {
			p.wg.Add(1)
			go w.loop()
		}
	}
	return p
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return len(p.workers) }

// Close ends the workers. No run may be under way.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	for _, w := range p.workers[1:] {
		w.wakeUp()
	}
	p.wg.Wait()
}

// Acquire prepares the next run and returns its slot, 0 and 1 in turn. A worker
// that was put aside may still be in the last run, and refer to what belongs
// to its slot, but none is in an older one.
func (p *Pool) Acquire() (slot int) {
	next := p.run.Load() + 1
	for _, w := range p.workers[1:] {
		for i := 0; ; i++ {
			if in := w.in.Load(); in == 0 || in+1 >= next {
				break
			}
			Spin(i)
		}
	}
	return int(next & 1)
}

// Run executes program on every worker and returns when all its stages are
// done. [Pool.Acquire] must have been called before.
func (p *Pool) Run(program func(w *Worker)) {
	next := p.run.Load() + 1
	j := &p.jobs[next&1]
	j.program, j.start = program, p.stage.Load()
	lead := p.workers[0]
	lead.Slot, lead.stage = int(next&1), j.start
	p.run.Store(next)
	for _, w := range p.workers[1:] {
		w.wakeUp()
	}
	program(lead)
}

func (w *Worker) wakeUp() {
	if w.asleep.Swap(false) {
		w.wake <- struct{}{}
	}
}

// loop executes the runs that come, until the pool closes.
func (w *Worker) loop() {
	p := w.pool
	defer p.wg.Done()
	last := uint64(0)
	for {
		for i := 0; p.run.Load() == last && !p.closed.Load(); i++ {
			if i < sleepSpins {
				Spin(i)
				continue
			}
			w.asleep.Store(true)
			// Either the one who wakes sees asleep, or this sees the news.
			if p.run.Load() == last && !p.closed.Load() || !w.asleep.Swap(false) {
				<-w.wake
			}
			i = 0
		}
		if p.closed.Load() {
			return
		}
		// Say which run this is before looking at its job: Acquire then keeps
		// the job as it is. If that came too late, there is a newer one.
		last = p.run.Load()
		w.in.Store(last)
		if p.run.Load() != last {
			last--
			w.in.Store(0)
			continue
		}
		j := &p.jobs[last&1]
		w.Slot, w.stage = int(last&1), j.start
		j.program(w)
		w.in.Store(0)
	}
}

// Do is one stage of the program: n chunks, at most [MaxChunks]. For each,
// compute(c) runs, perhaps more than once and on stale inputs, and writes to
// memory of this worker alone; then commit(c) runs exactly once, on the worker
// whose result counts. Do returns when the stage is done, and every worker
// must call it with the same n.
func (w *Worker) Do(n int, compute, commit func(c int)) {
	p := w.pool
	if n <= 0 {
		return
	}
	if n > MaxChunks {
		panic("pool: internal error: too many chunks")
	}
	k := w.stage
	w.stage++
	if len(p.workers) == 1 {
		for c := range n {
			compute(c)
			commit(c)
		}
		p.stage.Store(w.stage)
		return
	}
	for {
		c, ok := p.next(w.ID, k, n)
		if !ok {
			break
		}
		compute(c)
		p.finish(k, c, n, commit)
	}
	help := n - 1
	for i := 1; p.stage.Load() <= k; i++ {
		if i%helpSpins != 0 || recompute == 0 {
			Spin(i)
			continue
		}
		// Somebody holds a chunk for long: find one and compute it too.
		for ; help >= 0; help-- {
			if p.states[help].Load()>>1 != k {
				compute(help)
				p.finish(k, help, n, commit)
				break
			}
		}
	}
}

// next claims a chunk of stage k for worker id. Each worker begins with a share
// of its own, so that what it reads runs on from chunk to chunk, and then takes
// from the others'.
func (p *Pool) next(id int, k uint64, n int) (int, bool) {
	workers := len(p.claims)
	for i := range workers {
		owner := (id + i) % workers
		start, end := owner*n/workers, (owner+1)*n/workers
		for {
			v := p.claims[owner].Load()
			if v>>chunkBits != k {
				return 0, false
			}
			c := start + int(v&(1<<chunkBits-1))
			if c >= end {
				break
			}
			if p.claims[owner].CompareAndSwap(v, v+1) {
				return c, true
			}
		}
	}
	return 0, false
}

// begin opens stage k.
func (p *Pool) begin(k uint64) {
	for i := range p.claims {
		p.claims[i].Store(k << chunkBits)
	}
	p.stage.Store(k)
}

// finish commits chunk c of stage k unless somebody has. A chunk's state is
// the last stage in which it was committed, times 2, plus 1 once that is over.
func (p *Pool) finish(k uint64, c, n int, commit func(c int)) {
	s := p.states[c].Load()
	if s>>1 >= k || p.stage.Load() != k || !p.states[c].CompareAndSwap(s, k<<1) {
		return
	}
	commit(c)
	p.states[c].Store(k<<1 | 1)
	if p.count.Add(1) == int64(n) {
		p.count.Store(0)
		p.begin(k + 1)
	}
}

// Spin waits a moment, 10 to 50 ns; i counts the spins of one wait, which lets
// other goroutines run from time to time.
func Spin(i int) {
	if i%yieldSpins == yieldSpins-1 {
		runtime.Gosched()
		return
	}
	pause()
}
