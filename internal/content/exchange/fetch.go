package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Fetcher fetches content.
type Fetcher struct {
	Network rpc.Network
	Sink    Sink
	Finder  Finder
	// Tokens gives the capability tokens to show a peer; nil shows none.
	Tokens func(to peer.ID) [][]byte
	Logger *slog.Logger // nil: slog.Default()
}

// Range is a part of a file: Length bytes, or what is left if there are fewer.
type Range struct {
	File           int // index in the manifest
	Offset, Length int64
}

// Whole gives the ranges of all files of a manifest.
func Whole(m *content.Manifest) ([]Range, error) {
	list := make([]Range, len(m.Files))
	for i, f := range m.Files {
		list[i] = Range{File: i, Length: f.Size}
	}
	return list, nil
}

// Progress is how far a fetch is.
type Progress struct {
	Done, Total int64 // bytes; Done counts what was there before
	Peers       int   // that serve it now
}

// Result is what came of a fetch.
type Result struct {
	Manifest  *content.Manifest
	Fetched   int64 // bytes of chunks that were written
	Duplicate int64 // bytes of chunks that came twice
	Peers     []PeerResult
}

// PeerResult is what came of a peer, those that gave most first.
type PeerResult struct {
	Peer    peer.ID `json:"peer"`
	Bytes   int64   `json:"bytes"` // good ones
	Garbage bool    `json:"garbage,omitempty"`
	Error   string  `json:"error,omitempty"` // the last one
}

// NoPeerError says that what is missing can be had from nobody, and why.
type NoPeerError struct {
	Root  content.Root
	Peers []PeerResult
	code  rpc.Code
}

func (e *NoPeerError) Error() string {
	if len(e.Peers) == 0 {
		return fmt.Sprintf("content %s: nobody is known to have it: give the link with the address of a peer that does", e.Root)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "content %s cannot be had from anybody:", e.Root)
	for _, p := range e.Peers {
		text := p.Error
		if text == "" {
			text = "it has nothing more of it"
		}
		fmt.Fprintf(&b, "\n  %s: %s", p.Peer, text)
	}
	return b.String()
}

// Unwrap gives the code that all peers' errors have, or Unavailable.
func (e *NoPeerError) Unwrap() error { return &rpc.Error{Code: e.code} }

// Fetch fetches what want says of content, from all the peers that have it, as far
// as it is not in the sink. What it got stays there when it fails, and need not be
// fetched again. progress may be nil. The result tells of the peers with an
// error, too.
func (f *Fetcher) Fetch(ctx context.Context, root content.Root, want func(*content.Manifest) ([]Range, error), progress func(Progress)) (*Result, error) {
	w := &swarm{Fetcher: f, root: root, peers: map[peer.ID]*source{}, wake: make(chan struct{}), start: time.Now(), progress: progress}
	if w.Logger == nil {
		w.Logger = slog.Default()
	}
	res, err := w.fetch(ctx, want)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return res, err
}

func (w *swarm) fetch(ctx context.Context, want func(*content.Manifest) ([]Range, error)) (*Result, error) {
	var err error
	if w.manifest, err = w.present(); err == nil && w.manifest == nil {
		err = w.race(ctx, w.getManifest)
	}
	if err != nil {
		return w.result(), err
	}
	ranges, err := want(w.manifest)
	if err != nil {
		return w.result(), err
	}
	missing, err := w.noTree(ranges)
	if err == nil && len(missing) > 0 {
		err = w.race(ctx, func(ctx context.Context, l *link) error { return w.getTrees(ctx, l, missing) })
	}
	if err == nil {
		err = w.plan(ranges)
	}
	if err == nil && !w.sched.Finished() {
		err = w.run(ctx)
	}
	return w.result(), err
}

// present is the manifest that is in the sink.
func (w *swarm) present() (*content.Manifest, error) {
	data, err := w.Sink.Manifest(w.root)
	if errors.Is(err, ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return content.ParseManifest(data, w.root)
}

// noTree gives the files of ranges whose trees are not in the sink.
func (w *swarm) noTree(ranges []Range) ([]int, error) {
	seen := map[int]bool{}
	var list []int
	for _, r := range ranges {
		if r.File < 0 || r.File >= len(w.manifest.Files) || r.Offset < 0 || r.Length < 0 {
			return nil, rpc.Errorf(rpc.InvalidArgument, "content %s has no %d bytes at %d of file %d", w.root, r.Length, r.Offset, r.File)
		}
		if seen[r.File] {
			continue
		}
		seen[r.File] = true
		if _, err := w.Sink.Tree(w.root, r.File); errors.Is(err, ErrMissing) {
			list = append(list, r.File)
		} else if err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (w *swarm) getManifest(ctx context.Context, l *link) error {
	data, m, err := l.manifest(w.root)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil || w.manifest != nil { // another was first
		return ctx.Err()
	}
	if err := w.Sink.WriteManifest(w.root, data); err != nil {
		return &ownError{err}
	}
	w.manifest = m
	return nil
}

func (w *swarm) getTrees(ctx context.Context, l *link, files []int) error {
	return l.trees(w.manifest, files, func(file int, t *content.Tree) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := w.Sink.WriteTree(w.root, file, t); err != nil {
			return &ownError{err}
		}
		return nil
	})
}

// ownError is a failure on this side, which no other peer mends.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

const (
	raceTries = 3
	raced     = 3               // peers that are asked for the same at a time
	raceDelay = 2 * time.Second // before the next one is asked, too
)

// race is raceOnce, again if it failed and others are found, or for reasons that
// may pass.
func (w *swarm) race(ctx context.Context, get func(context.Context, *link) error) error {
	if len(w.candidates()) == 0 {
		if err := w.find(ctx); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		err := w.raceOnce(ctx, get)
		var own *ownError
		if err == nil || ctx.Err() != nil || attempt == raceTries || errors.As(err, &own) {
			return err
		}
		before := w.known()
		if ferr := w.find(ctx); ferr != nil {
			return err
		}
		code := rpc.CodeOf(err)
		if w.known() == before {
			if code != rpc.Unavailable && code != rpc.ResourceExhausted || len(w.candidates()) == 0 {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(raceDelay):
			}
		}
	}
}

// raceOnce asks one peer after the other, without waiting long for those that do
// not answer, until get works with one.
func (w *swarm) raceOnce(ctx context.Context, get func(context.Context, *link) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list := w.candidates()
	results := make(chan error, len(list))
	running := 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			<-results
		}
	}()
	for next := 0; ; {
		var more <-chan time.Time
		if next < len(list) && running < raced {
			s := list[next]
			next++
			running++
			go func() { results <- w.try(ctx, s, get) }()
			more = time.After(raceDelay)
		} else if running == 0 {
			return w.nobody()
		}
		select {
		case err := <-results:
			running--
			var own *ownError
			if err == nil || errors.As(err, &own) {
				return err
			}
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *swarm) try(ctx context.Context, s *source, get func(context.Context, *link) error) error {
	l, err := w.dial(ctx, s.id, wanted{root: w.root})
	if err == nil {
		err = get(ctx, l)
		l.end()
	}
	if err != nil && ctx.Err() == nil {
		w.failed(s, err)
	}
	if err == nil {
		w.mu.Lock()
		s.proven = true
		w.mu.Unlock()
	}
	return err
}

// plan makes pieces of the chunks that are missing.
func (w *swarm) plan(ranges []Range) error {
	chosen := map[int][]bool{}
	for _, r := range ranges {
		t, err := w.tree(r.File)
		if err != nil {
			return err
		}
		if chosen[r.File] == nil {
			chosen[r.File] = make([]bool, t.Len())
		}
		from, to := t.Cover(r.Offset, r.Length)
		for i := from; i < to; i++ {
			chosen[r.File][i] = true
		}
	}
	files := make([]int, 0, len(chosen))
	for file := range chosen {
		files = append(files, file)
	}
	slices.Sort(files)
	var sizes []int64
	for _, file := range files {
		t, err := w.tree(file)
		if err != nil {
			return err
		}
		if err := w.Sink.Gather(w.root, file, chosen[file]); err != nil {
			return err
		}
		bits, err := w.Sink.Have(w.root, file)
		if err != nil {
			return err
		}
		for i, yes := range chosen[file] {
			if !yes {
				continue
			}
			size := int64(t.Chunk(i).Size)
			w.total += size
			if bit(bits, i) {
				w.done += size
				continue
			}
			if len(sizes) == content.MaxChunks {
				return rpc.Errorf(rpc.ResourceExhausted, "content %s has more than %d chunks", w.root, content.MaxChunks)
			}
			sizes = append(sizes, size)
			w.pieces = append(w.pieces, piece{int32(file), int32(i)})
		}
	}
	w.sched = NewScheduler(sizes)
	return nil
}

func (w *swarm) tree(file int) (*content.Tree, error) {
	t, err := w.Sink.Tree(w.root, file)
	if err == nil && (t.Root() != w.manifest.Files[file].Root || t.Size() != w.manifest.Files[file].Size) {
		err = rpc.Errorf(rpc.Internal, "the tree of file %d of content %s is another one", file, w.root)
	}
	return t, err
}

// bit tells whether a bit is set; those beyond the end are not.
func bit(bits []byte, i int) bool { return i/8 < len(bits) && bits[i/8]&(0x80>>(i%8)) != 0 }

func (w *swarm) result() *Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &Result{Manifest: w.manifest, Fetched: w.fetched, Duplicate: w.duplicate}
	for _, s := range w.peers {
		r.Peers = append(r.Peers, s.result())
	}
	slices.SortFunc(r.Peers, func(a, b PeerResult) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), a.Peer.Compare(b.Peer))
	})
	return r
}
