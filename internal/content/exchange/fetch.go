package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Source is a peer to ask, with the capability tokens to show it.
type Source struct {
	Peer   peer.ID
	Tokens [][]byte
}

// Config says what to fetch, and from whom.
type Config struct {
	Network rpc.Network
	Root    content.Root // what the objects belong to
	Sources []Source
	// More gives further sources while the fetch runs; nil: there are none. It is
	// closed when no more come.
	More <-chan Source
}

// Item is an object to fetch.
type Item struct {
	Hash content.Hash
	Size int // bytes; 0 if that is not known
	// Check says whether these are the bytes; a peer that sends others lies. Nil
	// means that it is a chunk.
	Check func(data []byte) error
}

// Chunks makes items of chunks.
func Chunks(list []content.Chunk) []Item {
	items := make([]Item, len(list))
	for i, c := range list {
		items[i] = Item{Hash: c.Hash, Size: c.Size}
	}
	return items
}

func (i *Item) check(data []byte) error {
	switch {
	case i.Check != nil:
		return i.Check(data)
	case len(data) != i.Size || content.ChunkHash(data) != i.Hash:
		return content.ErrObject
	}
	return nil
}

// Part is what one peer did in a fetch.
type Part struct {
	Peer    peer.ID `json:"peer"`
	Objects int     `json:"objects"`
	Bytes   int64   `json:"bytes"`
	Lied    bool    `json:"lied,omitempty"`  // it sent something else than what it was asked for
	Error   string  `json:"error,omitempty"` // why it was left
}

// Report is what came of a fetch.
type Report struct {
	Parts  []Part `json:"peers"`
	Wasted int64  `json:"wasted_bytes"` // that arrived twice
}

// ErrLied says that a peer sent something else than what it was asked for.
var ErrLied = errors.New("the peer sent something else than what it was asked for")

// How often a peer is tried without a result before it is left, and the wait
// between two tries, which doubles.
const (
	attempts  = 4
	againWait = 500 * time.Millisecond
)

// fetch is one that runs.
type fetch struct {
	cfg   Config
	items []Item
	put   func(i int, data []byte) error
	start time.Time

	mu      sync.Mutex
	sched   *schedule
	changed chan struct{} // closed and made anew when there may be something to ask for
	parts   map[peer.ID]*Part
	working int  // peers
	coming  bool // More may give others
	err     error
	ctx     context.Context
	stop    context.CancelFunc
	// hopeless is that nobody can give what is left.
	hopeless bool
}

// Fetch gets objects. put takes each one, checked, once; it may be called by
// several goroutines at the same time, and its error ends the fetch. Objects for
// which have tells true are here already; have may be nil. The error says of every
// peer why it could not give what is missing.
func Fetch(ctx context.Context, cfg Config, items []Item, have func(i int) bool, put func(i int, data []byte) error) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sizes := make([]int, len(items))
	for i := range items {
		if sizes[i] = items[i].Size; sizes[i] == 0 {
			sizes[i] = 64 << 10
		}
	}
	f := &fetch{
		cfg: cfg, items: items, put: put, start: time.Now(), sched: newSchedule(sizes), changed: make(chan struct{}),
		parts: map[peer.ID]*Part{}, coming: cfg.More != nil, ctx: ctx, stop: cancel,
	}
	for i := range items {
		if have != nil && have(i) {
			f.sched.have(i)
		}
	}
	if f.sched.left == 0 {
		return Report{}, nil
	}
	var wg sync.WaitGroup
	for _, s := range cfg.Sources {
		f.join(ctx, &wg, s)
	}
	if cfg.More != nil {
		wg.Go(func() {
			for {
				select {
				case s, ok := <-cfg.More:
					if !ok {
						f.noMore()
						return
					}
					f.join(ctx, &wg, s)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	f.mu.Lock()
	f.judge()
	f.mu.Unlock()
	<-ctx.Done()
	wg.Wait()
	return f.report(context.Cause(ctx))
}

// maxSources bounds the peers of one fetch.
const maxSources = 32

// join takes a source in, unless it is known.
func (f *fetch) join(ctx context.Context, wg *sync.WaitGroup, s Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.parts[s.Peer] != nil || f.working >= maxSources || ctx.Err() != nil {
		return
	}
	f.parts[s.Peer] = &Part{Peer: s.Peer}
	f.sched.join(s.Peer)
	f.working++
	wg.Go(func() {
		err := f.work(ctx, s)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sched.leave(s.Peer)
		if f.working--; err != nil && ctx.Err() == nil {
			f.parts[s.Peer].Error = err.Error()
		}
		f.judge()
		f.tell()
	})
}

func (f *fetch) noMore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.coming = false
	f.judge()
}

// judge ends the fetch if all is here, or if nobody can give the rest. The caller
// has the lock.
func (f *fetch) judge() {
	if f.ctx.Err() != nil {
		return
	}
	f.hopeless = f.sched.left > 0 && !f.coming && (f.working == 0 || f.sched.stuck())
	if f.sched.left == 0 || f.err != nil || f.hopeless {
		f.stop()
	}
}

// tell wakes those that wait for something to ask for. The caller has the lock.
func (f *fetch) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// report says what came of it.
func (f *fetch) report(cause error) (Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := Report{Wasted: f.sched.wasted}
	var why []string
	for _, p := range f.parts {
		r.Parts = append(r.Parts, *p)
	}
	slices.SortFunc(r.Parts, func(a, b Part) int { return a.Peer.Compare(b.Peer) })
	for _, p := range r.Parts {
		if p.Error != "" {
			why = append(why, fmt.Sprintf("peer %s: %s", p.Peer.Short(), p.Error))
		}
	}
	switch {
	case f.err != nil:
		return r, f.err
	case f.sched.left == 0:
		return r, nil
	case !f.hopeless:
		return r, cause // the caller gave up
	case len(r.Parts) == 0:
		return r, rpc.Errorf(rpc.Unavailable, "no peer is known that has it")
	}
	if len(why) == 0 {
		why = []string{"no peer has them"}
	}
	return r, rpc.Errorf(rpc.Unavailable, "%d of %d pieces could not be had: %s", f.sched.left, len(f.items), strings.Join(why, "; "))
}

func (f *fetch) now() time.Duration { return time.Since(f.start) }

// work gets what it can from one peer. A nil error means that there is no more to
// get.
func (f *fetch) work(ctx context.Context, s Source) error {
	wait := againWait
	for try := 1; ; try++ {
		before := f.got(s.Peer)
		err := f.session(ctx, s)
		if f.got(s.Peer) > before {
			try, wait = 1, againWait
		}
		code := rpc.CodeOf(err)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrLied) || code == rpc.PermissionDenied || code == rpc.Unimplemented || try == attempts {
			return err
		}
		f.mu.Lock()
		f.sched.leave(s.Peer) // what was open is asked of others meanwhile
		f.tell()
		f.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		wait *= 2
		f.mu.Lock()
		f.sched.join(s.Peer)
		f.mu.Unlock()
	}
}

func (f *fetch) got(id peer.ID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parts[id].Objects
}

// readAhead is how many objects of a stream wait to be checked.
const readAhead = 3

// answer is one that came on a stream.
type answer struct {
	i      int
	status status
	data   []byte
}

// session asks on one stream until nothing is left. What comes is checked and put
// away beside it, so that the next object is read meanwhile.
func (f *fetch) session(ctx context.Context, s Source) (err error) {
	stream, err := f.cfg.Network.Open(ctx, s.Peer, Protocol, rpc.Bulk)
	if err != nil {
		return err
	}
	defer stream.Reset()
	defer context.AfterFunc(ctx, func() { _ = stream.Reset() })()
	answers, free := make(chan answer, readAhead), make(chan []byte, readAhead+2)
	for range cap(free) {
		free <- nil
	}
	taken := make(chan error, 1)
	go func() {
		var failed error
		for a := range answers {
			if failed == nil {
				if failed = f.take(s.Peer, a.i, a.status, a.data); failed != nil {
					_ = stream.Reset()
				}
			}
			free <- a.data
		}
		taken <- failed
	}()
	defer func() {
		close(answers)
		if failed := <-taken; failed != nil {
			err = failed
		}
	}()
	return f.ask(ctx, s, stream, answers, free)
}

// ask sends requests and reads answers.
func (f *fetch) ask(ctx context.Context, s Source, stream rpc.Stream, answers chan<- answer, free <-chan []byte) error {
	in := bufio.NewReaderSize(stream, 64<<10)
	var frame []byte
	var open []int // asked for on this stream, in order
	tokens := s.Tokens
	for {
		f.mu.Lock()
		list := f.sched.ask(s.Peer, MaxAsked, f.now())
		changed := f.changed
		f.mu.Unlock()
		if len(list) > 0 {
			hashes := make([]content.Hash, len(list))
			for k, i := range list {
				hashes[k] = f.items[i].Hash
			}
			var err error
			if frame, err = appendRequest(frame[:0], f.cfg.Root, tokens, hashes); err != nil {
				return err
			}
			tokens = nil // once is enough
			open = append(open, list...)
			_ = stream.SetWriteDeadline(time.Now().Add(whole))
			if _, err := stream.Write(frame); err != nil {
				return fmt.Errorf("the connection broke: %w", err)
			}
		}
		if len(open) == 0 {
			timer := time.NewTimer(time.Second) // a peer that is slow now may need help
			select {
			case <-changed:
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
			timer.Stop()
			continue
		}
		buf := <-free
		if buf = buf[:cap(buf)]; len(buf) == 0 {
			buf = make([]byte, content.MaxObject)
		}
		_ = stream.SetReadDeadline(time.Now().Add(answerTime))
		status, data, err := readAnswer(in, buf)
		if err != nil {
			return fmt.Errorf("the connection broke: %w", err)
		}
		answers <- answer{open[0], status, data}
		open = open[1:]
	}
}

// take handles one answer.
func (f *fetch) take(id peer.ID, i int, s status, data []byte) error {
	switch s {
	case statusDenied:
		return rpc.Errorf(rpc.PermissionDenied, "%s", s)
	case statusBusy:
		return rpc.Errorf(rpc.ResourceExhausted, "%s", s)
	case statusMissing:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sched.missing(id, i, f.now())
		f.judge()
		f.tell()
		return nil
	}
	if err := f.items[i].check(data); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.parts[id].Lied = true
		return fmt.Errorf("%w: %w", ErrLied, err)
	}
	f.mu.Lock()
	first := f.sched.arrived(id, i, f.now())
	p := f.parts[id]
	p.Objects++
	p.Bytes += int64(len(data))
	f.mu.Unlock()
	var err error
	if first {
		err = f.put(i, data)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err == nil {
		f.err = err
	}
	f.judge()
	return nil
}
