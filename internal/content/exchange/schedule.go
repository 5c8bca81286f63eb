package exchange

import (
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

// schedule decides which peer is asked for which chunk. It is a state machine
// without clock and goroutines: what it is told and asked says what time it is.
// Chunks go to peers in their order; a peer has as much open as it delivers in
// half a second, so that fast peers get more; when every chunk is asked for, one
// that a slow or silent peer holds is asked of a fast one, too.
type schedule struct {
	sizes  []int
	state  []chunkState
	next   int // no chunk before it is unasked
	again  []int
	left   int // chunks that have not arrived
	peers  map[peer.ID]*source
	wasted int64 // bytes that arrived twice
}

type chunkState struct {
	done   bool
	asked  int // of how many peers it is open
	failed map[peer.ID]bool
}

// source is a peer that delivers.
type source struct {
	open  []int // chunks, in the order in which they were asked for
	bytes int   // of open
	// What arrived, and in how long, the last seconds counting most: chunks come
	// in heaps, so that one alone says nothing.
	got, busy float64
	last      time.Duration // when something was asked for with nothing open, or arrived
}

// What is open at a peer, in bytes.
const (
	firstOpen = 1 << 20
	leastOpen = 512 << 10
	mostOpen  = 16 << 20
	openTime  = 0.5 // seconds of its rate
)

// maxCopies bounds the peers of which one chunk is open.
const maxCopies = 2

func newSchedule(sizes []int) *schedule {
	return &schedule{sizes: sizes, state: make([]chunkState, len(sizes)), left: len(sizes), peers: map[peer.ID]*source{}}
}

// have says that a chunk is here already.
func (s *schedule) have(i int) {
	if !s.state[i].done {
		s.state[i].done = true
		s.left--
	}
}

func (s *schedule) join(p peer.ID) {
	if s.peers[p] == nil {
		s.peers[p] = &source{}
	}
}

// leave takes a peer away; what was open of it is free again.
func (s *schedule) leave(p peer.ID) {
	w := s.peers[p]
	if w == nil {
		return
	}
	for _, i := range w.open {
		s.release(i)
	}
	delete(s.peers, p)
}

func (s *schedule) release(i int) {
	if s.state[i].asked--; s.state[i].asked == 0 && !s.state[i].done {
		s.again = append(s.again, i)
	}
}

// memory is after how many seconds what arrived counts half.
const memory = 2.0

// rate is what a peer delivers, in bytes a second; 0 if that is not known yet.
func (w *source) rate() float64 {
	if w.busy < 0.01 {
		return 0
	}
	return w.got / w.busy
}

// room is how many more bytes may be asked of a peer.
func (w *source) room() int {
	most := firstOpen
	if r := w.rate(); r > 0 {
		most = min(max(int(r*openTime), leastOpen), mostOpen)
	}
	return most - w.bytes
}

// ask gives the chunks to ask a peer for now, at most n.
func (s *schedule) ask(p peer.ID, n int, now time.Duration) (list []int) {
	w := s.peers[p]
	if w == nil {
		return nil
	}
	for len(list) < n && w.room() > 0 {
		i := s.pick(p, now)
		if i < 0 {
			break
		}
		if len(w.open) == 0 {
			w.last = now
		}
		s.state[i].asked++
		w.open = append(w.open, i)
		w.bytes += s.sizes[i]
		list = append(list, i)
	}
	return list
}

// pick chooses a chunk for a peer; -1 if there is none.
func (s *schedule) pick(p peer.ID, now time.Duration) int {
	for k := 0; k < len(s.again); k++ {
		i := s.again[k]
		if s.state[i].done || s.state[i].asked > 0 {
			s.again = append(s.again[:k], s.again[k+1:]...)
			k--
			continue
		}
		if !s.state[i].failed[p] {
			s.again = append(s.again[:k], s.again[k+1:]...)
			return i
		}
	}
	for ; s.next < len(s.sizes); s.next++ {
		if c := &s.state[s.next]; !c.done && c.asked == 0 && c.failed == nil {
			s.next++
			return s.next - 1
		}
	}
	return s.rescue(p, now)
}

// rescue chooses a chunk that another peer holds for longer than this one needs.
func (s *schedule) rescue(p peer.ID, now time.Duration) int {
	me := s.peers[p]
	best, longest := -1, 0.0
	for id, w := range s.peers {
		if id == p {
			continue
		}
		waited := (now - w.last).Seconds()
		before := 0
		for _, i := range w.open {
			before += s.sizes[i]
			c := &s.state[i]
			if c.done || c.asked >= maxCopies || c.failed[p] {
				continue
			}
			theirs := waited // who has delivered nothing yet may never do
			if r := w.rate(); r > 0 {
				theirs = max(float64(before)/r-waited, waited)
			}
			mine := 0.0
			if r := me.rate(); r > 0 {
				mine = float64(me.bytes+s.sizes[i]) / r
			}
			// Of equal ones the first, so that the choice does not hang on the
			// order of a map.
			if gain := theirs - 1.5*mine; gain > 0.05 && (gain > longest || gain == longest && i < best) {
				best, longest = i, gain
			}
		}
	}
	return best
}

// arrived says that a chunk came whole from a peer. first tells whether it is
// needed: it was not here yet.
func (s *schedule) arrived(p peer.ID, i int, now time.Duration) (first bool) {
	first = !s.state[i].done
	if first {
		s.state[i].done = true
		s.left--
	} else {
		s.wasted += int64(s.sizes[i])
	}
	s.closed(p, i, now, true)
	return first
}

// missing says that a peer does not have a chunk.
func (s *schedule) missing(p peer.ID, i int, now time.Duration) {
	c := &s.state[i]
	if c.failed == nil {
		c.failed = map[peer.ID]bool{}
	}
	c.failed[p] = true
	s.closed(p, i, now, false)
}

// closed takes a chunk off what is open of a peer.
func (s *schedule) closed(p peer.ID, i int, now time.Duration, counts bool) {
	w := s.peers[p]
	if w == nil {
		return
	}
	for k, o := range w.open {
		if o != i {
			continue
		}
		w.open = append(w.open[:k], w.open[k+1:]...)
		w.bytes -= s.sizes[i]
		s.release(i)
		break
	}
	if counts {
		took := (now - w.last).Seconds()
		keep := memory / (memory + took)
		w.got, w.busy = w.got*keep+float64(s.sizes[i]), w.busy*keep+took
	}
	w.last = now
}

// stuck tells that chunks are left which no peer has.
func (s *schedule) stuck() bool {
	if s.left == 0 {
		return false
	}
	for i := range s.state {
		c := &s.state[i]
		if c.done {
			continue
		}
		if c.asked > 0 {
			return false
		}
		for p := range s.peers {
			if !c.failed[p] {
				return false
			}
		}
	}
	return true
}
