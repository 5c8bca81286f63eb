package remote

import (
	"crypto/subtle"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// kept is a receipt that the peer still opens.
type kept struct {
	id     receipt.Hash
	file   *receipt.File // that shows all
	model  string
	caller peer.ID
	ticket []byte
	until  time.Time
	bytes  int64
}

// shelf keeps receipts for a while, the newest as far as there is room. It
// remembers, longer, which ones it had.
type shelf struct {
	most  int
	bytes int64
	long  time.Duration
	now   func() time.Time

	mu   sync.Mutex
	list []*kept // the oldest first
	size int64
	gone []receipt.Hash // the oldest first
}

// maxGone is how many receipts a shelf remembers that it had.
const maxGone = 4096

// put keeps a receipt, if it is not too large by itself.
func (s *shelf) put(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.until = s.now().Add(s.long)
	s.list = append(s.list, k)
	s.size += k.bytes
	s.clean()
}

// clean drops what is too old or too much. The lock is held.
func (s *shelf) clean() {
	n := 0
	for _, k := range s.list {
		if k.until.After(s.now()) && len(s.list)-n <= s.most && s.size <= s.bytes {
			break
		}
		s.size -= k.bytes
		s.gone = append(s.gone, k.id)
		n++
	}
	s.list = slices.Delete(s.list, 0, n)
	s.gone = slices.Delete(s.gone, 0, max(0, len(s.gone)-maxGone))
}

// get finds a receipt for its caller, or for who has its ticket.
func (s *shelf) get(id receipt.Hash, who peer.ID, ticket []byte) (*kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clean()
	for _, k := range s.list {
		if k.id != id {
			continue
		}
		if (who.IsZero() || k.caller != who) && subtle.ConstantTimeCompare(k.ticket, ticket) != 1 {
			break // as if it were not there
		}
		return k, nil
	}
	if slices.Contains(s.gone, id) {
		return nil, rpc.Errorf(rpc.NotFound, "the receipt %v is not kept any more: it is opened for %v after the answer, and fewer when many are made", id, s.long)
	}
	return nil, rpc.Errorf(rpc.NotFound, "this peer has no receipt %v of an answer to you", id)
}
