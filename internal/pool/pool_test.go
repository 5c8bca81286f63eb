package pool_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/pool"
)

// TestStagesInOrder runs programs in which every chunk checks that all chunks
// of the stage before are committed, each once.
func TestStagesInOrder(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 8} {
		p := pool.New(workers)
		const stages = 40
		sizes := func(s int) int { return 1 + s*7%23 }
		var committed [2][stages]atomic.Int64
		var wrong atomic.Int64
		program := func(w *pool.Worker) {
			done := &committed[w.Slot]
			for s := range stages {
				w.Do(sizes(s), func(int) {}, func(int) {
					if s > 0 && done[s-1].Load() != int64(sizes(s-1)) {
						wrong.Add(1)
					}
					done[s].Add(1)
				})
			}
		}
		for range 300 {
			slot := p.Acquire()
			for s := range stages {
				committed[slot][s].Store(0)
			}
			p.Run(program)
			for s := range stages {
				if got := committed[slot][s].Load(); got != int64(sizes(s)) {
					t.Fatalf("%d workers: stage %d committed %d chunks of %d", workers, s, got, sizes(s))
				}
			}
		}
		p.Close()
		if wrong.Load() != 0 {
			t.Errorf("%d workers: %d chunks ran before the stage before was done", workers, wrong.Load())
		}
	}
}

// TestStuckWorker holds one worker inside a chunk: the others must finish the
// run without it.
func TestStuckWorker(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	release := make(chan struct{})
	var once, recomputed atomic.Bool
	sum := 0
	program := func(w *pool.Worker) {
		w.Do(50, func(int) {
			if w.ID != 0 && !once.Swap(true) {
				<-release
				recomputed.Store(true)
			}
			time.Sleep(100 * time.Microsecond)
		}, func(int) {})
		w.Do(1, func(int) {}, func(int) { sum++ })
	}
	if raceEnabled {
		close(release) // nobody takes the chunk over
	}
	p.Acquire()
	p.Run(program)
	if sum != 1 {
		t.Errorf("last stage committed %d times", sum)
	}
	if !raceEnabled {
		if once.Load() && recomputed.Load() {
			t.Error("the run waited for the worker that was held")
		}
		close(release)
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	var cells [64]int
	program := func(w *pool.Worker) {
		n := len(cells)
		w.Do(n, func(int) {}, func(c int) { cells[c]++ })
	}
	if a := testing.AllocsPerRun(100, func() {
		p.Acquire()
		p.Run(program)
	}); a > 0 {
		t.Errorf("a run allocates %g times", a)
	}
}

// TestSleep lets the workers fall asleep between runs.
func TestSleep(t *testing.T) {
	p := pool.New(4)
	defer p.Close()
	var n atomic.Int64
	program := func(w *pool.Worker) { w.Do(10, func(int) { runtime.Gosched() }, func(int) { n.Add(1) }) }
	for i := range 30 {
		if i%3 == 0 {
			time.Sleep(2 * time.Millisecond)
		}
		p.Acquire()
		p.Run(program)
	}
	if n.Load() != 300 {
		t.Errorf("%d chunks committed, want 300", n.Load())
	}
}
