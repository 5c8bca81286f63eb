package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Limits of one request.
const (
	maxMessages  = 4096 // in a conversation
	maxTools     = 256
	maxStops     = 16
	maxStopBytes = 1024
	maxPrompts   = 256 // prompts of a completion, or texts of an embedding
	maxChoices   = 16  // n
	maxTopLogp   = 20
	maxLogitBias = 1024
	maxNameBytes = 512
	maxPulls     = 4 // models fetched at the same time; as many may wait
	maxAudits    = 8 // audits that may wait; one is answered at a time
)

// Defaults of Config.
const (
	DefaultMaxConcurrent = 8
	DefaultMaxQueue      = 128
	DefaultMaxBodyBytes  = 8 << 20
	DefaultBodyTimeout   = 30 * time.Second
	DefaultWriteTimeout  = 30 * time.Second
	DefaultIdleTimeout   = 2 * time.Minute
	DefaultDrainTimeout  = 30 * time.Second
	DefaultMaxReceipts   = 4096
	DefaultReceiptBytes  = 64 << 20
)

// Config configures a Server. Backend is required; the zero value of every
// other field is useful.
type Config struct {
	Backend Backend
	// Puller serves /api/pull. nil: that answers 501.
	Puller Puller
	// Deleter serves /api/delete. nil: that answers 501.
	Deleter Deleter

	// APIKey is required of clients as "Authorization: Bearer KEY" if not
	// empty, except for / and /health.
	APIKey string
	// Origins are the web origins besides those of this machine whose pages
	// may call the server, as "https://example.org"; "*" stands for all.
	Origins []string
	// Hosts are the names besides localhost and IP addresses by which clients
	// may call a server on a loopback address; "*" stands for all. The check
	// keeps web pages from reaching the server by a name that they made
	// resolve to 127.0.0.1.
	Hosts []string

	// MaxConcurrent is how many requests generate at the same time; others
	// wait. 0: DefaultMaxConcurrent.
	MaxConcurrent int
	// MaxQueue is how many requests may wait; more are refused with 429.
	// 0: DefaultMaxQueue, negative: none.
	MaxQueue int
	// MaxBodyBytes bounds the body of a request. 0: DefaultMaxBodyBytes.
	MaxBodyBytes int64

	// BodyTimeout is how long a client may take to send its request.
	// 0: DefaultBodyTimeout.
	BodyTimeout time.Duration
	// WriteTimeout is how long one piece of a response may take to be sent;
	// then the client is given up and its generation ends.
	// 0: DefaultWriteTimeout.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection is kept for a next request.
	// 0: DefaultIdleTimeout.
	IdleTimeout time.Duration
	// DrainTimeout is how long requests may go on after Serve was told to end;
	// then they are cancelled. 0: DefaultDrainTimeout.
	DrainTimeout time.Duration

	// MaxReceipts is how many receipts of finished answers are kept in memory,
	// MaxReceiptBytes how large they may be together; those used least recently
	// are forgotten. 0: DefaultMaxReceipts and DefaultReceiptBytes. Negative:
	// answers get no receipts.
	MaxReceipts     int
	MaxReceiptBytes int64

	// Log receives one line per request and errors. nil: nothing is logged.
	Log *slog.Logger
	// Now is the clock of time stamps and durations. nil: time.Now.
	Now func() time.Time
	// Random gives seeds for requests that have none, and ids. nil: crypto/rand.
	Random func() uint64
	// Version is what /api/version answers. Clients want it to look like
	// "1.2.3". Empty: "0.0.0".
	Version string
}

// withDefaults returns a copy with the zero values filled in.
func (c Config) withDefaults() Config {
	setDefault(&c.MaxConcurrent, DefaultMaxConcurrent)
	setDefault(&c.MaxQueue, DefaultMaxQueue)
	c.MaxQueue = max(c.MaxQueue, 0)
	setDefault(&c.MaxBodyBytes, DefaultMaxBodyBytes)
	setDefault(&c.BodyTimeout, DefaultBodyTimeout)
	setDefault(&c.WriteTimeout, DefaultWriteTimeout)
	setDefault(&c.IdleTimeout, DefaultIdleTimeout)
	setDefault(&c.DrainTimeout, DefaultDrainTimeout)
	setDefault(&c.MaxReceipts, DefaultMaxReceipts)
	setDefault(&c.MaxReceiptBytes, DefaultReceiptBytes)
	setDefault(&c.Version, "0.0.0")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = randomUint64
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) validate() error {
	if c.Backend == nil {
		return errors.New("httpapi: Config.Backend is nil")
	}
	if c.MaxConcurrent < 0 || c.MaxBodyBytes < 0 || c.BodyTimeout < 0 || c.WriteTimeout < 0 ||
		c.IdleTimeout < 0 || c.DrainTimeout < 0 {
		return errors.New("httpapi: a limit or timeout of Config is negative")
	}
	for _, o := range c.Origins {
		if o == "*" {
			continue
		}
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return fmt.Errorf("httpapi: origin %q: want a scheme and a host, as https://example.org, or *", o)
		}
	}
	for _, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, "/: ") {
			return fmt.Errorf("httpapi: host %q: want a name without scheme and port, or *", h)
		}
	}
	return nil
}
