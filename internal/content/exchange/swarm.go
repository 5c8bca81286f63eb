package exchange

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

const (
	findEvery   = 20 * time.Second // while fewer than MaxPeers serve
	idlePoll    = 100 * time.Millisecond
	refreshTime = 5 * time.Second // until a peer without anything new is asked again what it has
	stuckTime   = time.Minute     // without a single chunk, after which a fetch fails
	maxAttempts = 5               // to reach a peer, without a chunk between them
	firstRetry  = 500 * time.Millisecond
	checkers    = 2 // goroutines that check and write the chunks of one peer
	checks      = 2 // chunks of a peer that wait to be checked
)

type piece struct{ file, index int32 }

// source is a peer that may have the content.
type source struct {
	id      peer.ID
	number  int // in the scheduler
	running bool
	serving bool
	proven  bool // it has answered well
	over    bool // not asked again
	garbage bool
	bytes   int64
	err     error
}

func (s *source) result() PeerResult {
	r := PeerResult{Peer: s.id, Bytes: s.bytes, Garbage: s.garbage}
	if s.err != nil {
		r.Error = s.err.Error()
	}
	return r
}

// swarm is one fetch.
type swarm struct {
	*Fetcher
	root     content.Root
	manifest *content.Manifest
	start    time.Time
	progress func(Progress)
	pieces   []piece

	mu        sync.Mutex
	wake      chan struct{} // closed and replaced when there may be something to ask for
	sched     *Scheduler
	peers     map[peer.ID]*source
	total     int64
	done      int64
	fetched   int64
	duplicate int64
	moved     time.Time // when the last chunk came
	own       error     // a failure on this side
}

func (w *swarm) now() time.Duration { return time.Since(w.start) }

func (w *swarm) changed() {
	close(w.wake)
	w.wake = make(chan struct{})
}

// find asks the finder for more peers.
func (w *swarm) find(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	list, err := w.Finder.Find(limited, w.root)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range list {
		if w.peers[id] == nil && id != w.Network.Self() && len(w.peers) < 4*MaxPeers {
			w.peers[id] = &source{id: id, number: len(w.peers)}
		}
	}
	if len(w.peers) == 0 && err != nil {
		return err
	}
	return ctx.Err()
}

// known is how many peers were found.
func (w *swarm) known() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.peers)
}

// candidates are the peers that may be asked: those that have answered before, then
// the others in the order in which they were found.
func (w *swarm) candidates() []*source {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*source
	for _, s := range w.peers {
		if !s.over {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *source) int {
		if a.proven != b.proven {
			if a.proven {
				return -1
			}
			return 1
		}
		return a.number - b.number
	})
	return list
}

// failed takes note of what went wrong with a peer.
func (w *swarm) failed(s *source, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.err = err
	var bad *badPeer
	if errors.As(err, &bad) {
		s.garbage, s.over = true, true
		w.Logger.Warn("content: a peer sends what it should not", "peer", s.id, "root", w.root, "error", err)
		return
	}
	switch rpc.CodeOf(err) {
	case rpc.PermissionDenied, rpc.Unauthenticated, rpc.Unimplemented, rpc.InvalidArgument:
		s.over = true
	}
}

func (w *swarm) nobody() error {
	r := w.result()
	e := &NoPeerError{Root: w.root, Peers: r.Peers, code: rpc.NotFound}
	w.mu.Lock()
	defer w.mu.Unlock()
	first := true
	for _, s := range w.peers {
		c := rpc.CodeOf(s.err)
		if !first && c != e.code || c == rpc.OK || c == rpc.Unknown {
			c = rpc.Unavailable
		}
		e.code, first = c, false
	}
	return e
}

// run fetches all pieces.
func (w *swarm) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	w.moved = time.Now()
	w.tell()
	ended := make(chan struct{}, 4*MaxPeers)
	searched := make(chan error, 1)
	var searching bool
	var began time.Time // of the last search
	var searchErr error
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		finished, own, moved := w.sched.Finished(), w.own, w.moved
		active := 0
		for _, s := range w.peers {
			if s.running {
				active++
			}
		}
		wake := w.wake
		w.mu.Unlock()
		switch {
		case own != nil:
			return own
		case finished:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(moved) > stuckTime:
			return w.nobody()
		}
		if !searching && active < MaxPeers && (began.IsZero() || time.Since(began) > findEvery) {
			searching, began = true, time.Now()
			running.Go(func() { searched <- w.find(ctx) })
		}
		for _, s := range w.candidates() {
			w.mu.Lock()
			begin := !s.running && !s.over && active < MaxPeers
			s.running = s.running || begin
			w.mu.Unlock()
			if !begin {
				continue
			}
			active++
			running.Go(func() {
				w.keep(ctx, s)
				w.mu.Lock()
				s.running, s.over = false, true
				w.mu.Unlock()
				ended <- struct{}{}
			})
		}
		if active == 0 && !searching {
			if searchErr != nil {
				return searchErr
			}
			return w.nobody()
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-ended:
		case searchErr = <-searched:
			searching = false
		case <-wake:
		}
	}
}

// keep fetches from one peer until nothing more can be had from it.
func (w *swarm) keep(ctx context.Context, s *source) {
	wait := firstRetry
	for attempt := 0; attempt < maxAttempts && ctx.Err() == nil; {
		w.mu.Lock()
		before := s.bytes
		w.mu.Unlock()
		err := w.session(ctx, s)
		if ctx.Err() != nil || err == nil {
			return
		}
		var own *ownError
		if errors.As(err, &own) {
			w.mu.Lock()
			w.own = err
			w.changed()
			w.mu.Unlock()
			return
		}
		pause := wait
		switch {
		case errors.Is(err, errNothing): // it may get more
			pause = refreshTime
		default:
			w.failed(s, err)
			wait *= 2
			attempt++
			pause = max(pause, min(rpc.RetryAfter(err), stuckTime/2))
		}
		w.mu.Lock()
		over, gave := s.over, s.bytes > before
		w.mu.Unlock()
		if over {
			return
		}
		if gave {
			attempt, wait = 0, firstRetry
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// errNothing says that a peer has nothing of what is missing, at the moment.
var errNothing = errors.New("it has nothing of what is missing")

// session fetches over one stream. A nil error means that there is nothing left
// to fetch from anybody.
func (w *swarm) session(ctx context.Context, s *source) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := w.dial(ctx, s.id, wanted{root: w.root})
	if err != nil {
		return err
	}
	defer l.end()
	has, err := w.ask(l)
	if err != nil {
		return w.plain(ctx, err)
	}
	w.mu.Lock()
	w.sched.Join(s.number, has, w.now())
	s.serving, s.err = true, nil
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.sched.Leave(s.number)
		s.serving = false
		w.changed()
		w.mu.Unlock()
	}()

	in := make(chan arrived, checks)
	settled := make(chan struct{}, 1) // a chunk was checked, so that another can be asked for
	failed := make(chan error, checkers)
	var checking sync.WaitGroup
	for range checkers {
		checking.Go(func() {
			for a := range in {
				err := w.take(s, a)
				buffers.Put(a.buf)
				select {
				case settled <- struct{}{}:
				default:
				}
				if err != nil {
					failed <- err
					cancel() // which ends the stream, and so the reading
					for a := range in {
						buffers.Put(a.buf)
					}
					return
				}
			}
		})
	}
	err = w.pump(ctx, l, s, in, settled)
	close(in)
	checking.Wait()
	select {
	case err = <-failed: // which is why the stream ended
		return err
	default:
	}
	if err != nil && !errors.Is(err, errNothing) {
		err = w.plain(ctx, err)
	}
	return err
}

// ask learns what a peer has.
func (w *swarm) ask(l *link) (has func(piece int) bool, err error) {
	if l.complete {
		return nil, nil
	}
	bits := map[int32][]byte{}
	for _, p := range w.pieces {
		if _, ok := bits[p.file]; ok {
			continue
		}
		t, err := w.tree(int(p.file))
		if err != nil {
			return nil, &ownError{err}
		}
		if bits[p.file], err = l.have(int(p.file), t.Len()); err != nil {
			return nil, err
		}
	}
	return func(i int) bool { return bit(bits[w.pieces[i].file], int(w.pieces[i].index)) }, nil
}

// arrived is a chunk that is to be checked; nil data if the peer lacks it.
type arrived struct {
	piece int
	data  []byte
	buf   *[content.MaxChunk]byte
}

var buffers = sync.Pool{New: func() any { return new([content.MaxChunk]byte) }}

// pump asks for chunks and reads them.
func (w *swarm) pump(ctx context.Context, l *link, s *source, in chan<- arrived, settled <-chan struct{}) error {
	var expected []int
	var idle time.Time
	for {
		w.mu.Lock()
		if w.sched.Finished() {
			w.mu.Unlock()
			return nil
		}
		list := w.sched.Next(s.number, MaxRequestChunks, w.now())
		owes := !w.sched.Idle(s.number)
		wake := w.wake
		w.mu.Unlock()
		if len(list) > 0 {
			idle = time.Time{}
			expected = append(expected, list...)
			if err := l.write(w.requests(list)); err != nil {
				return err
			}
		}
		if len(expected) == 0 {
			switch {
			case owes: // what is being checked
			case idle.IsZero():
				idle = time.Now()
			case !l.complete && time.Since(idle) > refreshTime:
				return errNothing
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wake:
			case <-settled:
			case <-time.After(idlePoll): // a peer may turn out to be slow
			}
			continue
		}
		buf := buffers.Get().(*[content.MaxChunk]byte)
		data, err := l.read(answerChunk, buf[:])
		if err != nil {
			buffers.Put(buf)
			return err
		}
		select {
		case in <- arrived{expected[0], data, buf}:
		case <-ctx.Done():
			buffers.Put(buf)
			return ctx.Err()
		}
		expected = expected[1:]
	}
}

// requests makes runs of pieces.
func (w *swarm) requests(list []int) (out []byte) {
	for i := 0; i < len(list); {
		first := w.pieces[list[i]]
		n := 1
		for i+n < len(list) && n < MaxRequestChunks && w.pieces[list[i+n]] == (piece{first.file, first.index + int32(n)}) {
			n++
		}
		out = request{kind: frameChunks, file: int(first.file), from: int(first.index), count: n}.append(out)
		i += n
	}
	return out
}

// take checks a chunk and writes it.
func (w *swarm) take(s *source, a arrived) error {
	p := w.pieces[a.piece]
	if a.data == nil {
		w.mu.Lock()
		w.sched.Missing(s.number, a.piece, w.now())
		w.changed()
		w.mu.Unlock()
		return nil
	}
	t, err := w.tree(int(p.file))
	if err != nil {
		return &ownError{err}
	}
	if want := t.Chunk(int(p.index)); len(a.data) != int(want.Size) || content.ChunkHash(a.data) != want.Hash {
		return protocolError("chunk %d of %q is not what its hash says", p.index, w.manifest.Files[p.file].Path)
	}
	if err := w.Sink.WriteChunk(w.root, int(p.file), int(p.index), a.data); err != nil {
		return &ownError{err}
	}
	size := int64(len(a.data))
	w.mu.Lock()
	defer w.mu.Unlock()
	s.bytes += size
	w.moved = time.Now()
	if !w.sched.Done(s.number, a.piece, w.now()) {
		w.duplicate += size
		return nil
	}
	w.done += size
	w.fetched += size
	if w.sched.Finished() { // that there is room for more is told by settled
		w.changed()
	}
	w.tellLocked()
	return nil
}

func (w *swarm) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tellLocked()
}

func (w *swarm) tellLocked() {
	if w.progress == nil {
		return
	}
	p := Progress{Done: w.done, Total: w.total}
	for _, s := range w.peers {
		if s.serving {
			p.Peers++
		}
	}
	w.progress(p)
}
