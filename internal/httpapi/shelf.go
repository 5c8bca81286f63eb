package httpapi

import (
	"container/list"
	"fmt"
	"sync"

	"github.com/avalnetwork/aval/internal/issuer"
)

// shelf keeps the receipts of answers for a while, in memory. It forgets those
// that nobody has asked for longest.
type shelf struct {
	mu       sync.Mutex
	entries  map[string]*shelved
	order    list.List // of finished entries; the one used last is in front
	bytes    int64
	most     int   // finished entries
	mostSize int64 // their bytes
}

// shelved is the place of one answer's receipt. While the answer is written it
// is bounded by the gate, not by the shelf.
type shelved struct {
	id    string
	model string // name that the client gave
	draft *issuer.Draft
	state shelfState
	size  int64
	place *list.Element // nil while the answer is written
}

type shelfState int

const (
	shelfWriting shelfState = iota // the answer is being written
	shelfDone                      // the draft is finished
	shelfNone                      // the answer failed or was cancelled
)

func newShelf(most int, mostSize int64) *shelf {
	return &shelf{entries: map[string]*shelved{}, most: most, mostSize: mostSize}
}

// add makes the place of an answer that will be written.
func (s *shelf) add(id, model string, d *issuer.Draft) *shelved {
	e := &shelved{id: id, model: model, draft: d}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[id] = e
	return e
}

// settle ends the writing of an answer. Only the first call counts.
func (s *shelf) settle(e *shelved, state shelfState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.state != shelfWriting {
		return
	}
	e.state = state
	if state == shelfDone {
		e.size = e.draft.Size()
	} else {
		e.draft = nil
	}
	s.bytes += e.size
	e.place = s.order.PushFront(e)
	for s.order.Len() > s.most || s.bytes > s.mostSize {
		last := s.order.Back()
		old := s.order.Remove(last).(*shelved)
		s.bytes -= old.size
		delete(s.entries, old.id)
	}
}

// find looks a receipt up. Its model's name may be used without the lock.
func (s *shelf) find(id string) (e *shelved, state shelfState, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok = s.entries[id]
	if !ok {
		return nil, 0, false
	}
	if e.place != nil {
		s.order.MoveToFront(e.place)
	}
	return e, e.state, true
}

// newReceiptID names a receipt before there is one. Whoever knows the name
// can have the receipt, so it cannot be guessed.
func (s *Server) newReceiptID() string {
	return fmt.Sprintf("rcpt-%016x%016x", s.cfg.Random(), s.cfg.Random())
}
