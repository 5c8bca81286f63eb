package tensor

import (
	"sync"
	"sync/atomic"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/pool"
)

const (
	// piecesPerThread is how many pieces of work a thread finds, so that one
	// that is held up leaves its share to the others.
	piecesPerThread = 4
	// sleepSpins is how long a thread waits for work before it sleeps.
	sleepSpins = 4000
)

// Machine computes with a number of threads; bits never depend on it. Its
// methods are called by one goroutine at a time, and not from inside the
// function of [Machine.For]: there, [Machine.One] gives each thread a machine
// of its own.
type Machine struct {
	kernel *kernel.Kernel
	ones   []*Machine // a machine of one thread for each thread; ones[0] of such a machine is itself
	work   scratch
	mul    product // the one under way

	// The work of one For. It changes only while no helper is inside.
	job struct {
		f         func(worker, from, to int)
		n, pieces int
		next      atomic.Int64 // piece to be claimed
	}
	busy    atomic.Bool   // whether For is under way
	open    atomic.Bool   // whether there is work to take
	inside  atomic.Int64  // helpers that look at the work
	calls   atomic.Uint64 // counts the For calls with helpers
	closed  atomic.Bool
	helpers []*helper
	wg      sync.WaitGroup
}

// helper is a goroutine that takes part in the work.
type helper struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// New returns a machine of some threads, the caller's among them, that uses
// the functions of k, or of [kernel.Best] if k is nil. Close it after use.
func New(threads int, k *kernel.Kernel) *Machine {
	if k == nil {
		k = kernel.Best()
	}
	m := newOne(k)
	threads = max(threads, 1)
	if threads == 1 {
		return m
	}
	m.ones = nil // and the one of m itself is not used
	for range threads {
		m.ones = append(m.ones, newOne(k))
	}
	for i := 1; i < threads; i++ {
		h := &helper{wake: make(chan struct{}, 1)}
		m.helpers = append(m.helpers, h)
		m.wg.Add(1)
		go m.help(h, i)
	}
	return m
}

func newOne(k *kernel.Kernel) *Machine {
	m := &Machine{kernel: k}
	m.ones = []*Machine{m}
	m.work.tile = make([]float32, kernel.ProductRows*kernel.ProductCols)
	for i := range m.work.units {
		m.work.units[i] = 1
	}
	m.mul.init(m)
	return m
}

// Close ends the threads. No method may be under way.
func (m *Machine) Close() {
	if m.closed.Swap(true) {
		return
	}
	for _, h := range m.helpers {
		h.rouse()
	}
	m.wg.Wait()
}

// Threads returns the number of threads.
func (m *Machine) Threads() int { return len(m.ones) }

// Kernel returns the kernel whose functions are used.
func (m *Machine) Kernel() *kernel.Kernel { return m.kernel }

// One returns the machine of one thread that worker may use inside the
// function of [Machine.For].
func (m *Machine) One(worker int) *Machine { return m.ones[worker] }

// For runs f on ranges from, to that are disjoint, cover [0,n) and are each at
// least grain long (or all there is), on the threads, and returns when all are
// done. worker is in [0, Threads()); a worker runs one range at a time. How
// [0,n) is cut depends on the number of threads, so no result may depend on
// the cut.
func (m *Machine) For(n, grain int, f func(worker, from, to int)) {
	pieces := min(n/max(grain, 1), len(m.ones)*piecesPerThread)
	if len(m.ones) == 1 || pieces <= 1 {
		if n > 0 {
			f(0, 0, n)
		}
		return
	}
	if m.busy.Swap(true) {
		panic("tensor: internal error: a machine is used from inside of its For")
	}
	j := &m.job
	j.f, j.n, j.pieces = f, n, pieces
	j.next.Store(0)
	m.open.Store(true)
	m.calls.Add(1)
	for _, h := range m.helpers[:min(len(m.helpers), pieces-1)] {
		h.rouse()
	}
	m.take(0)
	m.open.Store(false)
	for i := 0; m.inside.Load() != 0; i++ {
		pool.Spin(i)
	}
	j.f = nil
	m.busy.Store(false)
}

// take computes pieces of the work until none is left.
func (m *Machine) take(worker int) {
	j := &m.job
	for {
		i := int(j.next.Add(1)) - 1
		if i >= j.pieces {
			return
		}
		j.f(worker, i*j.n/j.pieces, (i+1)*j.n/j.pieces)
	}
}

func (h *helper) rouse() {
	if h.asleep.Swap(false) {
		h.wake <- struct{}{}
	}
}

// help is the life of a helper.
func (m *Machine) help(h *helper, worker int) {
	defer m.wg.Done()
	last := uint64(0)
	for {
		for i := 0; m.calls.Load() == last && !m.closed.Load(); i++ {
			if i < sleepSpins {
				pool.Spin(i)
				continue
			}
			h.asleep.Store(true)
			// Either the one who rouses sees asleep, or this sees the news.
			if m.calls.Load() == last && !m.closed.Load() || !h.asleep.Swap(false) {
				<-h.wake
			}
			i = 0
		}
		if m.closed.Load() {
			return
		}
		last = m.calls.Load()
		// For changes the work only when nobody is inside: whoever finds it
		// open after saying so may look.
		m.inside.Add(1)
		if m.open.Load() {
			m.take(worker)
		}
		m.inside.Add(-1)
	}
}

// scratch is working memory that grows to what is needed and stays.
type scratch struct {
	sums, row []float32
	a, b      []float32 // packed parts of matrices
	tile      []float32 // [kernel.ProductRows][kernel.ProductCols]

	exps, quotients [chunk]float32 // of an activation
	units           [chunk]float32 // ones
}

// grow returns n elements of working memory, whose content is anything.
func grow(buf *[]float32, n int) []float32 {
	if len(*buf) < n {
		*buf = make([]float32, n)
	}
	return (*buf)[:n]
}

// rowsFor returns how many rows of some elements are worth a thread's while,
// where an element costs about as much as some additions.
func rowsFor(dim, cost int) int { return max(1, 1<<14/max(1, dim*cost)) }
