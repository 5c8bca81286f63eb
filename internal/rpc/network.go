package rpc

import (
	"context"
	"io"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

// Class orders traffic by how long it may wait.
type Class uint8

// The classes, the most urgent first. Each has streams of its own.
const (
	Control Class = iota // pings, disputes, votes: small and urgent
	Normal               // calls that a person waits for
	Bulk                 // content: large, and never before the others
	classes
)

// String is the name of the class in protocols and metrics.
func (c Class) String() string {
	switch c {
	case Control:
		return "control"
	case Normal:
		return "normal"
	case Bulk:
		return "bulk"
	}
	return "unknown"
}

// Stream is an ordered two-way flow of bytes to one peer, with flow control.
// Reads and writes may run at the same time; each of them once.
type Stream interface {
	io.Reader
	io.Writer
	// CloseWrite says that no more is written; the peer reads io.EOF.
	CloseWrite() error
	// Close gives up both directions in good order, Reset at once: the peer's
	// reads and writes fail.
	Close() error
	Reset() error
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// Remote is the peer, as the handshake of the connection proved.
	Remote() peer.ID
	// Relayed tells that a third party passes the bytes on, within its limits.
	Relayed() bool
}

// Network opens streams to peers and accepts theirs.
type Network interface {
	Self() peer.ID
	// Open opens a stream for a protocol. To Self it needs no network. Errors
	// have a [Code]: Unavailable if the peer cannot be reached, Unimplemented
	// if it does not speak the protocol.
	Open(ctx context.Context, to peer.ID, protocol string, class Class) (Stream, error)
	// Handle takes the streams that peers open for a protocol, each in a
	// goroutine of its own, whose number the network bounds. A nil handler
	// ends it.
	Handle(protocol string, handler func(Stream))
}
