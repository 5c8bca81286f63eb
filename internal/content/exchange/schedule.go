package exchange

import (
	"slices"
	"time"
)

// How much is asked of a peer at a time: what it gives in pipelineTime, within
// these bounds.
const (
	pipelineTime = 500 * time.Millisecond
	minPipeline  = 1 << 20  // bytes
	maxPipeline  = 16 << 20 // bytes
	maxHolders   = 2        // peers that one piece is asked of at the same time
	sampleTime   = 50 * time.Millisecond
)

// Scheduler says which pieces are asked of which peer. Each peer has as many
// requests open as its measured bandwidth fills for a while. When none are left
// to ask for, those that a slow peer still owes are asked of a faster one, too,
// if that one will be first. It has no clock: now is the time since any moment,
// and never goes back.
type Scheduler struct {
	sizes   []int64
	holders [][]int // of each piece, peers that are asked for it
	done    []bool
	left    int
	queue   []int // pieces nobody is asked for, ascending from queue[first]
	first   int
	peers   map[int]*asked
}

// asked is a peer and what it owes.
type asked struct {
	has    func(piece int) bool
	lacks  map[int]bool
	owes   []int // in the order in which they were asked for
	bytes  int64 // of owes
	rate   float64
	since  time.Duration // when the measurement of rate began
	sample int64         // bytes since then
	last   time.Duration // when it gave something last, or began to owe
}

// NewScheduler begins with pieces of these sizes in bytes.
func NewScheduler(sizes []int64) *Scheduler {
	s := &Scheduler{
		sizes: sizes, holders: make([][]int, len(sizes)), done: make([]bool, len(sizes)),
		left: len(sizes), queue: make([]int, len(sizes)), peers: map[int]*asked{},
	}
	for i := range s.queue {
		s.queue[i] = i
	}
	return s
}

// Join adds a peer that has some pieces; nil: all.
func (s *Scheduler) Join(peer int, has func(piece int) bool, now time.Duration) {
	s.Leave(peer)
	if has == nil {
		has = func(int) bool { return true }
	}
	s.peers[peer] = &asked{has: has, lacks: map[int]bool{}, last: now, since: now}
}

// Leave takes a peer away; what it owes is asked of others.
func (s *Scheduler) Leave(peer int) {
	p := s.peers[peer]
	if p == nil {
		return
	}
	delete(s.peers, peer)
	for _, piece := range p.owes {
		s.release(peer, piece)
	}
}

// release takes a peer from a piece, which is queued again if nobody else holds it.
func (s *Scheduler) release(peer, piece int) {
	s.holders[piece] = slices.DeleteFunc(s.holders[piece], func(h int) bool { return h == peer })
	if s.done[piece] || len(s.holders[piece]) > 0 {
		return
	}
	at, found := slices.BinarySearch(s.queue[s.first:], piece)
	if found {
		return
	}
	if at == 0 && s.first > 0 {
		s.first--
		s.queue[s.first] = piece
		return
	}
	s.queue = slices.Insert(s.queue, s.first+at, piece)
}

// Finished tells that all pieces are done.
func (s *Scheduler) Finished() bool { return s.left == 0 }

// Idle tells that a peer owes nothing.
func (s *Scheduler) Idle(peer int) bool { return s.peers[peer] == nil || len(s.peers[peer].owes) == 0 }

// Owes is the piece that a peer must give next.
func (s *Scheduler) Owes(peer int) (piece int, ok bool) {
	p := s.peers[peer]
	if p == nil || len(p.owes) == 0 {
		return 0, false
	}
	return p.owes[0], true
}

// Rate is the bandwidth of a peer, bytes a second; 0: not known.
func (s *Scheduler) Rate(peer int) float64 {
	if p := s.peers[peer]; p != nil {
		return p.rate
	}
	return 0
}

func (p *asked) pipeline() int64 {
	return min(max(int64(p.rate*pipelineTime.Seconds()), minPipeline), maxPipeline)
}

// Next gives pieces to ask a peer for now, at most some, in their order.
func (s *Scheduler) Next(peer, most int, now time.Duration) []int {
	p := s.peers[peer]
	if p == nil {
		return nil
	}
	var out []int
	full := p.pipeline()
	// Three quarters are full enough, so that requests come in runs and not one by
	// one.
	if len(p.owes) > 0 && p.bytes > 3*full/4 {
		return nil
	}
	for i := s.first; i < len(s.queue) && len(out) < most && (len(p.owes) == 0 || p.bytes < full); {
		piece := s.queue[i]
		if !p.has(piece) || p.lacks[piece] {
			i++
			continue
		}
		if i == s.first {
			s.first++
			i++
		} else {
			s.queue = slices.Delete(s.queue, i, i+1)
		}
		s.ask(peer, p, piece, now)
		out = append(out, piece)
	}
	if len(out) == 0 && len(p.owes) == 0 {
		if piece, ok := s.rescue(peer, p, now); ok {
			s.ask(peer, p, piece, now)
			out = append(out, piece)
		}
	}
	return out
}

func (s *Scheduler) ask(peer int, p *asked, piece int, now time.Duration) {
	if len(p.owes) == 0 {
		p.last, p.since, p.sample = now, now, 0
	}
	p.owes = append(p.owes, piece)
	p.bytes += s.sizes[piece]
	s.holders[piece] = append(s.holders[piece], peer)
}

// rescue finds the piece that would come last, if this peer, which is idle, would
// bring it earlier.
func (s *Scheduler) rescue(peer int, p *asked, now time.Duration) (best int, ok bool) {
	var worst time.Duration
	for id, other := range s.peers {
		if id == peer {
			continue
		}
		ahead := int64(0)
		for _, piece := range other.owes {
			ahead += s.sizes[piece]
			if s.done[piece] || len(s.holders[piece]) >= maxHolders || !p.has(piece) || p.lacks[piece] {
				continue
			}
			theirs := other.arrival(ahead, s.sizes[other.owes[0]], now)
			mine := p.arrival(s.sizes[piece], s.sizes[piece], now)
			if mine >= theirs-theirs/5 || theirs < worst || ok && theirs == worst && piece > best {
				continue
			}
			best, worst, ok = piece, theirs, true
		}
	}
	return best, ok
}

// never is later than anything that is expected.
const never = 24 * time.Hour

// arrival is in how much time a peer will have given so many bytes. A peer that
// is silent for longer than its rate explains is as slow as that.
func (p *asked) arrival(bytes, next int64, now time.Duration) time.Duration {
	rate := p.rate
	if len(p.owes) > 0 {
		if silent := (now - p.last).Seconds(); silent > 0.1 {
			slow := float64(next) / silent
			if rate == 0 || slow < rate {
				rate = slow
			}
		}
	}
	if rate <= 0 {
		if len(p.owes) == 0 { // it has not been tried, which it should be
			return time.Second
		}
		return never
	}
	return min(time.Duration(float64(bytes)/rate*float64(time.Second)), never)
}

// Done takes note that a peer gave the piece it owed next. fresh tells that
// nobody gave it before.
func (s *Scheduler) Done(peer, piece int, now time.Duration) (fresh bool) {
	p := s.settle(peer, piece)
	if p != nil {
		p.last = now
		if p.sample += s.sizes[piece]; now-p.since >= sampleTime {
			rate := float64(p.sample) / (now - p.since).Seconds()
			if p.rate > 0 {
				rate = 0.7*p.rate + 0.3*rate
			}
			p.rate, p.since, p.sample = rate, now, 0
		}
	}
	if s.done[piece] {
		return false
	}
	s.done[piece] = true
	s.left--
	if at, found := slices.BinarySearch(s.queue[s.first:], piece); found { // it came from a peer that had left
		s.queue = slices.Delete(s.queue, s.first+at, s.first+at+1)
	}
	return true
}

// Missing takes note that a peer has not the piece it owed next.
func (s *Scheduler) Missing(peer, piece int, now time.Duration) {
	if p := s.settle(peer, piece); p != nil {
		p.lacks[piece], p.last = true, now
	}
	s.release(peer, piece)
}

func (s *Scheduler) settle(peer, piece int) *asked {
	p := s.peers[peer]
	if p == nil {
		return nil
	}
	at := slices.Index(p.owes, piece)
	if at < 0 {
		return nil
	}
	p.owes = slices.Delete(p.owes, at, at+1)
	p.bytes -= s.sizes[piece]
	s.holders[piece] = slices.DeleteFunc(s.holders[piece], func(h int) bool { return h == peer })
	return p
}

// Stuck tells that no peer has what is left, so that others must be found.
func (s *Scheduler) Stuck() bool {
	for piece, done := range s.done {
		if done || len(s.holders[piece]) > 0 {
			continue
		}
		if !s.possible(piece) {
			return true
		}
	}
	return false
}

func (s *Scheduler) possible(piece int) bool {
	for _, p := range s.peers {
		if p.has(piece) && !p.lacks[piece] {
			return true
		}
	}
	return false
}
