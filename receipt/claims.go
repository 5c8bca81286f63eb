package receipt

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
)

// A suite names, all at once, the algorithms of a receipt: COSE with Ed25519,
// SHA-256, the numerics aval-numerics/1, the sampling and the encodings of
// spec/receipt.md. Another name is refused.
const (
	Suite = "aval/1"
	// SuiteAdapters is that of answers by a model with adapters, and of no
	// others.
	SuiteAdapters = "aval/2"
)

// Hash is a SHA-256 hash.
type Hash = canon.Hash

// Stop says why an answer ended.
type Stop uint8

// The reasons.
const (
	StopEOS    Stop = 0 // the model ended its turn
	StopString Stop = 1 // a stop string
	StopLength Stop = 2 // MaxTokens, or the context is full
)

func (s Stop) String() string {
	switch s {
	case StopEOS:
		return "eos"
	case StopString:
		return "stop"
	case StopLength:
		return "length"
	}
	return "unknown"
}

// Claims are what a receipt says.
type Claims struct {
	Model  Hash // fingerprint of the model's file
	Params Params
	Seed   Seed
	// Transcript commits to the prompt and the answer; Trace, unless zero, to
	// everything that the model computed ([TraceCommitment]).
	Transcript Hash
	Trace      Hash
	// PromptTokens are those that the model read before the first draw,
	// OutputTokens those drawn, the one that ended the model's turn included.
	PromptTokens int
	OutputTokens int
	Stop         Stop
	Time         int64 // Unix seconds, by the signer's clock
	// Key is the signer's; Sign sets it.
	Key    ed25519.PublicKey
	Ledger *LedgerRef
	// Adapters changed the model, in this order; nil: none.
	Adapters []Adapter
}

// Adapter is a low-rank adapter that changed the model.
type Adapter struct {
	_     struct{} `cbor:",toarray"`
	File  Hash     // fingerprint of its file
	Scale float32  // that it was used with: finite, not 0; 1 is what it was trained for
}

// String is the beginning of the fingerprint and the scale.
func (a Adapter) String() string {
	return fmt.Sprintf("%.16v… at scale %v", a.File.String(), a.Scale)
}

// Suite is the name of the algorithms that such claims need.
func (c *Claims) Suite() string {
	if len(c.Adapters) > 0 {
		return SuiteAdapters
	}
	return Suite
}

// LedgerRef is a block that the signer knew.
type LedgerRef struct {
	_      struct{} `cbor:",toarray"`
	Chain  string   // name, at most 32 bytes
	Height uint64
	Block  Hash
}

// wireClaims is the map in the payload.
type wireClaims struct {
	Suite   string     `cbor:"1,keyasint"`
	Model   Hash       `cbor:"2,keyasint"`
	Params  Params     `cbor:"3,keyasint"`
	Seed    []any      `cbor:"4,keyasint"`
	Commits []byte     `cbor:"5,keyasint"` // transcript, then the trace if there is one
	Prompt  uint32     `cbor:"6,keyasint"`
	Output  uint32     `cbor:"7,keyasint"`
	Stop    uint8      `cbor:"8,keyasint"`
	Time    uint32     `cbor:"9,keyasint"`
	Key     []byte     `cbor:"10,keyasint"`
	Ledger  *LedgerRef `cbor:"11,keyasint,omitempty"`
	// Adapters are there with SuiteAdapters, and only then.
	Adapters []Adapter `cbor:"12,keyasint,omitempty"`
}

// Validate reports the first claim that is out of its range, or that
// contradicts another. Sign and Parse call it.
func (c *Claims) Validate() error {
	if err := c.Params.validate(); err != nil {
		return err
	}
	if err := c.Seed.validate(); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		v    int
	}{{"prompt", c.PromptTokens}, {"output", c.OutputTokens}} {
		if f.v < 1 || f.v > MaxIDs {
			return errorf(CheckRanges, "%d %s tokens, want 1 to %d", f.v, f.name, MaxIDs)
		}
	}
	total := c.PromptTokens + c.OutputTokens
	atMax := c.Params.MaxTokens > 0 && c.OutputTokens == c.Params.MaxTokens
	switch p := c.Params; {
	case p.MaxTokens > 0 && c.OutputTokens > p.MaxTokens:
		return errorf(CheckRanges, "%d output tokens, but max_tokens is %d", c.OutputTokens, p.MaxTokens)
	case p.Context > 0 && total > p.Context:
		return errorf(CheckRanges, "%d prompt and %d output tokens, but the context is %d", c.PromptTokens, c.OutputTokens, p.Context)
	case c.Stop > StopLength:
		return errorf(CheckRanges, "stop reason %d, want 0 (eos), 1 (stop string) or 2 (length)", c.Stop)
	case c.Stop == StopEOS && p.IgnoreEOS:
		return errorf(CheckRanges, "the answer ended with the model's turn, but ignore_eos is set")
	case c.Stop == StopString && !p.Extra:
		return errorf(CheckRanges, "the answer ended with a stop string, but there is no extra that could hold one")
	case c.Stop == StopLength && !atMax && p.Context > 0 && total != p.Context:
		return errorf(CheckRanges, "the answer ended for its length at %d tokens, but max_tokens is %d and %d positions of %d are used",
			c.OutputTokens, p.MaxTokens, total, p.Context)
	case c.Time < 1 || c.Time > maxTime:
		return errorf(CheckRanges, "the time is %d, want Unix seconds from 1 to %d", c.Time, maxTime)
	case c.Model.IsZero() || c.Transcript.IsZero():
		return errorf(CheckRanges, "the model or the transcript is all zeros")
	}
	if err := validAdapters(c.Adapters); err != nil {
		return err
	}
	if c.Ledger != nil {
		return validName("chain", c.Ledger.Chain)
	}
	return nil
}

func validAdapters(list []Adapter) error {
	if len(list) > MaxAdapters {
		return errorf(CheckRanges, "%d adapters, the limit is %d", len(list), MaxAdapters)
	}
	for i, a := range list {
		if s := float64(a.Scale); a.File.IsZero() || s == 0 || math.IsNaN(s) || math.IsInf(s, 0) {
			return errorf(CheckRanges, "adapter %d is all zeros, or its scale is 0 or not finite", i)
		}
	}
	return nil
}

// DescribeAdapters lists adapters in a few words for a person.
func DescribeAdapters(list []Adapter) string {
	if len(list) == 0 {
		return "none"
	}
	var parts []string
	for _, a := range list {
		parts = append(parts, a.String())
	}
	return strings.Join(parts, ", ")
}

// encode gives the payload.
func (c *Claims) encode() ([]byte, error) {
	w := wireClaims{
		Suite: c.Suite(), Model: c.Model, Params: c.Params, Seed: c.Seed.wire(), Commits: c.Transcript[:],
		Prompt: uint32(c.PromptTokens), Output: uint32(c.OutputTokens), Stop: uint8(c.Stop),
		Time: uint32(c.Time), Key: c.Key, Ledger: c.Ledger, Adapters: c.Adapters,
	}
	if !c.Trace.IsZero() {
		w.Commits = append(w.Commits[:canon.Size:canon.Size], c.Trace[:]...)
	}
	return canon.Marshal(&w)
}

// decodeClaims reads a payload.
func decodeClaims(payload []byte) (Claims, error) {
	var w wireClaims
	if err := canon.Unmarshal(payload, &w); err != nil {
		return Claims{}, &Error{CheckClaims, "the payload", err}
	}
	if w.Suite != Suite && w.Suite != SuiteAdapters {
		return Claims{}, errorf(CheckSuite, "%.40q is unknown, want %q or %q: a newer program may know it", w.Suite, Suite, SuiteAdapters)
	}
	if n := len(w.Adapters); (n > 0) != (w.Suite == SuiteAdapters) {
		return Claims{}, errorf(CheckSuite, "%d adapters do not go with the suite %q: it is %q with adapters, %q without", n, w.Suite, SuiteAdapters, Suite)
	}
	if n := len(w.Key); n != ed25519.PublicKeySize {
		return Claims{}, errorf(CheckClaims, "the key has %d bytes, want %d", n, ed25519.PublicKeySize)
	}
	c := Claims{
		Model: w.Model, Params: w.Params, PromptTokens: int(w.Prompt), OutputTokens: int(w.Output),
		Stop: Stop(w.Stop), Time: int64(w.Time), Key: w.Key, Ledger: w.Ledger, Adapters: slices.Clip(w.Adapters),
	}
	switch len(w.Commits) {
	case 2 * canon.Size:
		if c.Trace = Hash(w.Commits[canon.Size:]); c.Trace.IsZero() {
			return Claims{}, errorf(CheckClaims, "the trace is all zeros; leave it out if there is none")
		}
		fallthrough
	case canon.Size:
		c.Transcript = Hash(w.Commits[:canon.Size])
	default:
		return Claims{}, errorf(CheckClaims, "the commitments have %d bytes, want 32, or 64 with a trace", len(w.Commits))
	}
	var err error
	if c.Seed, err = seedOf(w.Seed); err != nil {
		return Claims{}, err
	}
	return c, c.Validate()
}
