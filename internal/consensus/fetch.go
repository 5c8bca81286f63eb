package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cometbft/cometbft/p2p"
	gogotypes "github.com/cosmos/gogoproto/types"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/light"
)

// The protocol by which a new node asks for headers, snapshots and their chunks.
// CometBFT has one for the latter two; it needs web servers for the headers,
// waits five seconds at least, and for ever if nobody has a snapshot.
const (
	fetchName   = "AVAL-FETCH"
	askChannel  = 0x70
	tellChannel = 0x71
	maxAsk      = 64
	maxTell     = chunkSize + 1024
	maxOffers   = 8
	askTime     = 10 * time.Second
)

type fetchKind uint8

const (
	fetchBlock fetchKind = 1 + iota
	fetchOffers
	fetchChunk
)

// question asks a peer for one thing.
type question struct {
	_      struct{} `cbor:",toarray"`
	ID     uint64
	Kind   fetchKind
	Height uint64
	Index  uint32
}

// answer has the encoding of what was asked for, or nothing if it is not there.
type answer struct {
	_    struct{} `cbor:",toarray"`
	ID   uint64
	Data []byte
}

// offer is a snapshot that a peer has.
type offer struct {
	_      struct{} `cbor:",toarray"`
	Height uint64
	Hash   canon.Hash
	Chunks []byte // their hashes

	peers []p2p.Peer
}

// syncBlock is a header with whose turn it is to propose, which no header says.
type syncBlock struct {
	_          struct{} `cbor:",toarray"`
	Block      light.Block
	Priorities []int64
}

// fetcher asks peers, and answers them if it has a server.
type fetcher struct {
	p2p.BaseReactor
	serve func(q *question) []byte

	mu   sync.Mutex
	last uint64
	wait map[uint64]waiting
}

type waiting struct {
	from p2p.ID
	c    chan []byte
}

func newFetcher(serve func(q *question) []byte) *fetcher {
	f := &fetcher{serve: serve, wait: map[uint64]waiting{}}
	f.BaseReactor = *p2p.NewBaseReactor(fetchName, f)
	return f
}

// GetChannels implements [p2p.Reactor].
func (f *fetcher) GetChannels() []*p2p.ChannelDescriptor {
	return []*p2p.ChannelDescriptor{
		{ID: askChannel, Priority: 1, SendQueueCapacity: 4, RecvMessageCapacity: maxAsk, MessageType: &gogotypes.BytesValue{}},
		{ID: tellChannel, Priority: 1, SendQueueCapacity: 2, RecvMessageCapacity: maxTell, MessageType: &gogotypes.BytesValue{}},
	}
}

// Receive implements [p2p.Reactor]. Each peer is answered before the next of its
// questions is read.
func (f *fetcher) Receive(e p2p.Envelope) {
	raw, ok := e.Message.(*gogotypes.BytesValue)
	if !ok {
		return
	}
	switch e.ChannelID {
	case askChannel:
		var q question
		if err := canon.Unmarshal(raw.Value, &q); err != nil {
			f.Switch.StopPeerForError(e.Src, err)
			return
		}
		if f.serve == nil {
			return
		}
		data, err := canon.Marshal(&answer{ID: q.ID, Data: f.serve(&q)})
		if err == nil {
			e.Src.Send(p2p.Envelope{ChannelID: tellChannel, Message: &gogotypes.BytesValue{Value: data}})
		}
	case tellChannel:
		var a answer
		if err := canon.Unmarshal(raw.Value, &a); err != nil {
			f.Switch.StopPeerForError(e.Src, err)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if w, ok := f.wait[a.ID]; ok && w.from == e.Src.ID() {
			delete(f.wait, a.ID)
			w.c <- a.Data
		}
	}
}

var errNothing = errors.New("no peer has it")

// ask asks one peer.
func (f *fetcher) ask(ctx context.Context, p p2p.Peer, q question) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c := make(chan []byte, 1)
	f.mu.Lock()
	f.last++
	q.ID = f.last
	f.wait[q.ID] = waiting{p.ID(), c}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.wait, q.ID)
	}()
	data, err := canon.Marshal(&q)
	if err != nil {
		return nil, err
	}
	if !p.Send(p2p.Envelope{ChannelID: askChannel, Message: &gogotypes.BytesValue{Value: data}}) {
		return nil, errors.New("the peer does not take the question")
	}
	select {
	case data := <-c:
		return data, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// any asks peers until one has an answer that will do.
func (f *fetcher) any(ctx context.Context, peers []p2p.Peer, q question, ok func(data []byte) bool) ([]byte, error) {
	err := errNothing
	for _, p := range shuffled(slices.Clone(peers)) {
		data, err2 := f.ask(ctx, p, q)
		switch {
		case err2 != nil:
			err = err2
		case len(data) > 0 && ok(data):
			return data, nil
		case len(data) > 0:
			err = fmt.Errorf("the peer %s gave something else", p.ID())
		}
	}
	return nil, err
}

func (f *fetcher) block(ctx context.Context, height uint64) (*syncBlock, error) {
	var b *syncBlock
	_, err := f.any(ctx, f.Switch.Peers().Copy(), question{Kind: fetchBlock, Height: height}, func(data []byte) bool {
		var x syncBlock
		if len(data) > light.MaxBlock || canon.UnmarshalMax(data, &x, maxBlockItems) != nil || x.Block.Header.Height != height {
			return false
		}
		b = &x
		return true
	})
	return b, err
}

// maxBlockItems bounds the items of a header with its votes.
const maxBlockItems = 8 << 10

func (f *fetcher) chunk(ctx context.Context, o *offer, i uint32, ok func(data []byte) bool) ([]byte, error) {
	return f.any(ctx, o.peers, question{Kind: fetchChunk, Height: o.Height, Index: i}, ok)
}

// snapshots are those that peers have, the newest first.
func (f *fetcher) snapshots(ctx context.Context) []*offer {
	var all []*offer
	for _, p := range f.Switch.Peers().Copy() {
		data, err := f.ask(ctx, p, question{Kind: fetchOffers})
		var list []offer
		if err != nil || len(data) == 0 || canon.UnmarshalMax(data, &list, 4*maxOffers+1) != nil || len(list) > maxOffers {
			continue
		}
	next:
		for _, o := range list {
			for _, have := range all {
				if have.Height == o.Height && have.Hash == o.Hash && slices.Equal(have.Chunks, o.Chunks) {
					have.peers = append(have.peers, p)
					continue next
				}
			}
			o.peers = []p2p.Peer{p}
			all = append(all, &o)
		}
	}
	slices.SortStableFunc(all, func(a, b *offer) int {
		return compare(int64(b.Height), int64(a.Height), int64(len(b.peers)), int64(len(a.peers)))
	})
	return all
}

// snapshotServer answers what peers ask.
func (e *engine) snapshotServer() func(q *question) []byte {
	return func(q *question) []byte {
		var v any
		switch q.Kind {
		case fetchBlock:
			b, err := e.syncBlock(q.Height)
			if err != nil {
				return nil
			}
			v = b
		case fetchOffers:
			v = e.snaps.offers(uint64(e.blocks.Height()))
		case fetchChunk:
			data, err := e.snaps.readChunk(q.Height, q.Index)
			if err != nil {
				return nil // it was dropped just now
			}
			return data
		default:
			return nil
		}
		data, err := canon.Marshal(v)
		if err != nil {
			return nil
		}
		return data
	}
}

// offers are the snapshots for others, who need the headers of the two blocks
// after one.
func (s *snapshots) offers(top uint64) []offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []offer{}
	for _, x := range s.list {
		if x.height+2 <= top {
			out = append(out, offer{Height: x.height, Hash: x.hash, Chunks: x.chunks})
		}
	}
	return out
}
