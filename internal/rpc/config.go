package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

// Config is how a node makes and serves calls. All but Network may be zero.
type Config struct {
	Network Network
	// Authorize decides whether a call is served, before its first message is
	// read. Nil refuses everybody but the node itself.
	Authorize func(ctx context.Context, c *Call) error
	// Tokens gives the capability tokens to send to a peer; nil sends none.
	Tokens func(to peer.ID) [][]byte
	// Observe is told of each call that ended, on both sides; it must not
	// wait. Nil tells nobody.
	Observe func(Event)
	Logger  *slog.Logger // nil: slog.Default()

	// MaxMessage bounds a message, in bytes; 0 means 4 MiB.
	MaxMessage int
	// MaxCalls bounds the calls that one peer has open here, in each class, and
	// those that this node has open at one peer; 0 means 192, which fills a way
	// of 150 ms with 1,280 calls a second. Of the classes Control and Bulk, and of
	// peers behind a relay, an eighth: a connection of QUIC has 256 streams.
	MaxCalls int
	// MaxServed bounds the calls that all peers together have open here; 0
	// means 2,048.
	MaxServed int
	// CallRate is how many calls a second a peer may make, on average; 0 means
	// no bound. Twice as many may come at once.
	CallRate float64
	// ByteRate is how many bytes a second a peer may send, on average; 0 means
	// no bound. More is read later.
	ByteRate float64
	// Memory bounds the bytes of messages that have come from one peer and are
	// not read by a handler yet; 0 means 16 MiB, but at least twice MaxMessage.
	Memory int64
	// Timeout bounds a unary call whose caller gives no deadline; 0 means one
	// minute. StreamTimeout does so for streaming calls, and is the most that a
	// caller can ask for; 0 means one hour.
	Timeout, StreamTimeout time.Duration
	// Idle is how long a stream without a call is kept; 0 means one minute.
	Idle time.Duration
}

func (c *Config) validate() error {
	switch {
	case c.Network == nil:
		return fmt.Errorf("rpc: no network is given")
	case c.MaxMessage < 0 || c.MaxMessage > 64<<20:
		return fmt.Errorf("rpc: messages of %d bytes, want at most 64 MiB", c.MaxMessage)
	case c.MaxCalls < 0 || c.MaxServed < 0 || c.CallRate < 0 || c.ByteRate < 0 || c.Memory < 0 || c.Timeout < 0 || c.StreamTimeout < 0 || c.Idle < 0:
		return fmt.Errorf("rpc: a limit is less than zero")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	defaultTo(&c.MaxMessage, 4<<20)
	defaultTo(&c.MaxCalls, 192)
	defaultTo(&c.MaxServed, 2048)
	defaultTo(&c.Memory, 16<<20)
	c.Memory = max(c.Memory, int64(2*c.MaxMessage))
	defaultTo(&c.Timeout, time.Minute)
	defaultTo(&c.StreamTimeout, time.Hour)
	defaultTo(&c.Idle, time.Minute)
	return nil
}

// lanes is how many calls of a class may be open between two peers.
func (c *Config) lanes(class Class) int {
	if class == Normal {
		return c.MaxCalls
	}
	return max(1, c.MaxCalls/8)
}

func defaultTo[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Limits are those of one method, where they differ from the node's.
type Limits struct {
	MaxMessage int           // bytes that a message to the method may have; 0: the node's
	MaxCalls   int           // calls of the method that all peers have open; 0: no bound
	CallRate   float64       // calls of the method a second, from one peer; 0: no bound
	Timeout    time.Duration // the most a call may take; 0: what the caller says, within the node's
}

// Event tells of a call that ended.
type Event struct {
	Peer    peer.ID
	Method  string
	Class   Class
	Served  bool // by this node; else it called
	Relayed bool
	Code    Code
	Took    time.Duration
	In, Out int64 // bytes of messages that this node read and wrote
}
