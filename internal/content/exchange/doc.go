// Package exchange moves content between peers. [Server] gives what a [Source]
// has to those who may have it; [Fetcher] fetches from many peers at once into a
// [Sink], and believes none of them: every chunk is checked against the root
// before it is written, and a peer that sends something else is dropped and named.
//
// It runs over the streams of any rpc.Network, on a protocol of its own, because
// chunks are large and need none of what calls have (spec/wire.md, part 6). Who
// has what to give is the caller's to find: a [Finder]. What is where on the disk
// is package library's. [Scheduler], which says who is asked for what, is a pure
// machine.
package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
)

// Protocol is the name of the streams.
const Protocol = "/aval/content/1"

// ErrMissing says that a Source does not have something, now or at all.
var ErrMissing = errors.New("this is not here")

// Source is where content is read from.
type Source interface {
	// Manifest gives the signed manifest of a root, or ErrMissing.
	Manifest(root content.Root) ([]byte, error)
	// Tree gives the tree of a file of the manifest, or ErrMissing. It must not
	// be changed.
	Tree(root content.Root, file int) (*content.Tree, error)
	// Have is a bit for each chunk of a file, the first one the highest bit of
	// the first byte.
	Have(root content.Root, file int) (bits []byte, err error)
	// Complete tells that all chunks of all files are there.
	Complete(root content.Root) bool
	// ReadChunk reads a chunk into buf, which has room for it, and checks it. It
	// returns ErrMissing if the chunk is not here or is no longer what it was.
	ReadChunk(root content.Root, file, index int, buf []byte) (n int, err error)
}

// Sink is where content is written to. What it is given has been checked. Its
// methods may be called at the same time.
type Sink interface {
	Source
	WriteManifest(root content.Root, data []byte) error
	WriteTree(root content.Root, file int, tree *content.Tree) error
	// Gather may bring chunks of a file from elsewhere on this machine, before
	// peers are asked: chosen has true for those that are wanted.
	Gather(root content.Root, file int, chosen []bool) error
	// WriteChunk writes a chunk, once or more often.
	WriteChunk(root content.Root, file, index int, data []byte) error
}

// Finder tells which peers may have content. They need not be right.
type Finder interface {
	Find(ctx context.Context, root content.Root) ([]peer.ID, error)
}

// Given is a Finder of peers that are known.
type Given []peer.ID

// Find gives them all.
func (g Given) Find(context.Context, content.Root) ([]peer.ID, error) { return g, nil }

// Limits of what peers can make a node do.
const (
	MaxRequestChunks = 256 // in one request
	MaxRequestNodes  = 64
	MaxPeers         = 16 // that one fetch is served by

	openTime  = 15 * time.Second // for the first answer
	writeTime = time.Minute      // for a peer to take one frame
	stallTime = 20 * time.Second // for the next chunk to come
	idleTime  = 2 * time.Minute  // between two requests
)
