package mesh

import (
	"sync"

	"github.com/avalnetwork/aval/internal/peer"
)

// Bounds of the memory of what has come: each author costs half a kilobyte.
const (
	replayWindow = 4096 // messages of an author that may overtake one another
	maxAuthors   = 4096
)

// replays tells messages that have come before from new ones, by the numbers
// that their authors give and sign: a sliding window for each author, as IPsec
// has (RFC 6479). What is behind the window counts as old.
type replays struct {
	mu      sync.Mutex
	authors map[peer.ID]*seen
	turn    uint64
}

type seen struct {
	top  uint64
	bits [replayWindow / 64]uint64
	used uint64 // turn when it was used last
}

// fresh reports whether a number of an author is new, and remembers it.
func (r *replays) fresh(author peer.ID, number uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.authors[author]
	if s == nil {
		if len(r.authors) >= maxAuthors {
			r.forget()
		}
		s = &seen{top: number}
		r.authors[author] = s
		s.set(number)
		r.touch(s)
		return true
	}
	r.touch(s)
	switch {
	case number > s.top:
		s.advance(number)
	case s.top-number >= replayWindow || s.has(number):
		return false
	}
	s.set(number)
	return true
}

func (r *replays) touch(s *seen) {
	r.turn++
	s.used = r.turn
}

// forget drops the author that was silent longest.
func (r *replays) forget() {
	var oldest peer.ID
	least := ^uint64(0)
	for id, s := range r.authors {
		if s.used < least {
			oldest, least = id, s.used
		}
	}
	delete(r.authors, oldest)
}

// advance moves the window up to a number.
func (s *seen) advance(number uint64) {
	if number-s.top >= replayWindow {
		s.bits = [len(s.bits)]uint64{}
	} else {
		for n := s.top + 1; n <= number; n++ {
			s.bits[n/64%uint64(len(s.bits))] &^= 1 << (n % 64)
		}
	}
	s.top = number
}

func (s *seen) has(n uint64) bool { return s.bits[n/64%uint64(len(s.bits))]>>(n%64)&1 == 1 }
func (s *seen) set(n uint64)      { s.bits[n/64%uint64(len(s.bits))] |= 1 << (n % 64) }
