package training

import (
	"bytes"
	"crypto/ed25519"
	"math"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Suite names, all at once, the algorithms of a training receipt: COSE with
// Ed25519, SHA-256, the arithmetic aval-training/1 and aval-numerics/1, and the
// encodings of spec/training-receipt.md. Another name is refused.
const Suite = "aval-training-receipt/1"

// Kind says what is trained.
type Kind uint8

// The kinds.
const (
	Full Kind = 0 // all parameters of a language model
	LoRA Kind = 1 // low-rank updates beside a frozen language model
	Net  Kind = 2 // a small net
)

func (k Kind) String() string {
	switch k {
	case Full:
		return "full"
	case LoRA:
		return "lora"
	case Net:
		return "net"
	}
	return "unknown"
}

// Identity says how a file is named.
type Identity uint8

// The identities.
const (
	// Fingerprint is that of a GGUF file: spec/fingerprint.md.
	Fingerprint Identity = 0
	// Bytes is canon.Sum("aval file/1", contents).
	Bytes Identity = 1
)

func (i Identity) String() string {
	if i == Fingerprint {
		return "fingerprint"
	}
	return "bytes"
}

// FileHash is the hash of a file that is named by its Bytes.
func FileHash(contents []byte) Hash { return canon.Sum("aval file/1", contents) }

// Claims are what a receipt says.
type Claims struct {
	Kind Kind
	// Base is the fingerprint of the file whose parameters the run began with
	// or kept frozen; zero: it began with random numbers.
	Base Hash
	// Setup, Config, Checkpoints and Log are commitments: see [Opening].
	Setup, Config Hash
	Data          Commitment
	Steps         int // that the run took, perhaps fewer than were configured
	Checkpoints   Commitment
	Log           Hash // of Steps records
	Result        Result
	Evaluation    *Evaluation // nil: none
	Nonce         []byte      // nil: whoever trained chose the seed
	Time          int64       // Unix seconds, by the signer's clock
	// Key is the signer's; Sign sets it.
	Key ed25519.PublicKey
}

// Commitment is to a list of things: how many, and the root of the tree over
// their salted leaves.
type Commitment struct {
	_     struct{} `cbor:",toarray"`
	Count int
	Root  Hash
}

// Result is what came of the run.
type Result struct {
	_    struct{} `cbor:",toarray"`
	Step int      // steps that are behind the exported state
	// Parameters is the root of the tree over the leaves of the parameters of
	// that state, without what the optimiser keeps.
	Parameters Hash
	Identity   Identity
	File       Hash
	// Format names how the parameters became the file, such as "q8_0".
	Format string
}

// Evaluation is the loss of the result on examples that were not trained on.
type Evaluation struct {
	_       struct{} `cbor:",toarray"`
	Data    Commitment
	Batch   int     // examples that were computed at once: it can change the last bits
	Loss    float64 // sum over all predictions, in nats for a cross-entropy
	Count   int     // of predictions
	Correct int
}

// wireClaims is the map in the payload.
type wireClaims struct {
	Suite       string      `cbor:"1,keyasint"`
	Kind        Kind        `cbor:"2,keyasint"`
	Base        []byte      `cbor:"3,keyasint,omitempty"`
	Setup       Hash        `cbor:"4,keyasint"`
	Config      Hash        `cbor:"5,keyasint"`
	Data        Commitment  `cbor:"6,keyasint"`
	Steps       int         `cbor:"7,keyasint"`
	Checkpoints Commitment  `cbor:"8,keyasint"`
	Log         Hash        `cbor:"9,keyasint"`
	Result      Result      `cbor:"10,keyasint"`
	Evaluation  *Evaluation `cbor:"11,keyasint,omitempty"`
	Nonce       []byte      `cbor:"12,keyasint,omitempty"`
	Time        uint32      `cbor:"13,keyasint"`
	Key         []byte      `cbor:"14,keyasint"`
}

// Validate reports the first claim that is out of its range, or that
// contradicts another. Sign and Parse call it.
func (c *Claims) Validate() error {
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"kind", int(c.Kind), 0, int(Net)},
		{"number of examples", c.Data.Count, 1, MaxExamples},
		{"number of steps", c.Steps, 1, MaxSteps},
		{"number of checkpoints", c.Checkpoints.Count, 2, min(MaxCheckpoints, c.Steps+1)}, // the first and the last state
		{"step of the result", c.Result.Step, 0, c.Steps},
		{"identity of the result", int(c.Result.Identity), 0, int(Bytes)},
		{"length of the format's name", len(c.Result.Format), 1, maxFormat},
	} {
		if f.v < f.lo || f.v > f.hi {
			return errorf(receipt.CheckRanges, "the %s is %d, want %d to %d", f.name, f.v, f.lo, f.hi)
		}
	}
	if e := c.Evaluation; e != nil {
		for _, f := range []struct {
			name      string
			v, lo, hi int
		}{
			{"number of validation examples", e.Data.Count, 1, MaxExamples},
			{"batch of the evaluation", e.Batch, 1, maxBatch},
			{"count of predictions", e.Count, 1, math.MaxInt32},
			{"count of right predictions", e.Correct, 0, e.Count},
		} {
			if f.v < f.lo || f.v > f.hi {
				return errorf(receipt.CheckRanges, "the %s is %d, want %d to %d", f.name, f.v, f.lo, f.hi)
			}
		}
		if math.IsNaN(e.Loss) || math.IsInf(e.Loss, 0) {
			return errorf(receipt.CheckRanges, "the loss of the evaluation is not finite")
		}
	}
	if n := len(c.Nonce); c.Nonce != nil && (n < minNonce || n > maxNonce) {
		return errorf(receipt.CheckRanges, "the nonce has %d bytes, want %d to %d", n, minNonce, maxNonce)
	}
	switch zero := c.zero(); {
	case zero != "":
		return errorf(receipt.CheckRanges, "the %s is all zeros", zero)
	case c.Kind == LoRA && c.Base.IsZero():
		return errorf(receipt.CheckRanges, "updates beside a frozen model, but there is no base model")
	case c.Time < 1 || c.Time > maxTime:
		return errorf(receipt.CheckRanges, "the time is %d, want Unix seconds from 1 to %d", c.Time, maxTime)
	}
	return nil
}

// zero names a hash that is all zeros.
func (c *Claims) zero() string {
	list := []struct {
		name string
		h    Hash
	}{
		{"setup", c.Setup},
		{"configuration", c.Config},
		{"data", c.Data.Root},
		{"root of the checkpoints", c.Checkpoints.Root},
		{"root of the log", c.Log},
		{"root of the parameters", c.Result.Parameters},
		{"file of the result", c.Result.File},
	}
	for _, f := range list {
		if f.h.IsZero() {
			return f.name
		}
	}
	if c.Evaluation != nil && c.Evaluation.Data.Root.IsZero() {
		return "validation data"
	}
	return ""
}

// encode gives the payload.
func (c *Claims) encode() ([]byte, error) {
	w := wireClaims{
		Suite: Suite, Kind: c.Kind, Setup: c.Setup, Config: c.Config, Data: c.Data, Steps: c.Steps,
		Checkpoints: c.Checkpoints, Log: c.Log, Result: c.Result, Evaluation: c.Evaluation, Nonce: c.Nonce,
		Time: uint32(c.Time), Key: c.Key,
	}
	if !c.Base.IsZero() {
		w.Base = c.Base[:]
	}
	return canon.Marshal(&w)
}

// decodeClaims reads a payload.
func decodeClaims(payload []byte) (Claims, error) {
	// The name of the suite stands first: another one has other claims.
	if name, ok := suiteOf(payload); ok && name != Suite {
		return Claims{}, errorf(receipt.CheckSuite, "%.40q is unknown, want %q: a newer program may know it", name, Suite)
	}
	var w wireClaims
	if err := canon.Unmarshal(payload, &w); err != nil {
		return Claims{}, &receipt.Error{Check: receipt.CheckClaims, Detail: "the payload", Err: err}
	}
	if n := len(w.Key); n != ed25519.PublicKeySize {
		return Claims{}, errorf(receipt.CheckClaims, "the key has %d bytes, want %d", n, ed25519.PublicKeySize)
	}
	c := Claims{
		Kind: w.Kind, Setup: w.Setup, Config: w.Config, Data: w.Data, Steps: w.Steps, Checkpoints: w.Checkpoints,
		Log: w.Log, Result: w.Result, Evaluation: w.Evaluation, Nonce: w.Nonce, Time: int64(w.Time), Key: w.Key,
	}
	if w.Base != nil {
		if len(w.Base) != canon.Size {
			return Claims{}, errorf(receipt.CheckClaims, "the base has %d bytes, want %d", len(w.Base), canon.Size)
		}
		if c.Base = Hash(w.Base); c.Base.IsZero() {
			return Claims{}, errorf(receipt.CheckClaims, "the base is all zeros; leave it out if there is none")
		}
	}
	return c, c.Validate()
}

// suiteOf reads the first entry of a payload: the map's head, key 1, a short
// text.
func suiteOf(payload []byte) (string, bool) {
	if len(payload) < 3 || payload[0]>>5 != 5 || payload[0]&31 >= 24 || payload[1] != 1 || payload[2]>>5 != 3 {
		return "", false
	}
	n, rest := int(payload[2]&31), payload[3:]
	if n == 24 && len(rest) > 0 {
		n, rest = int(rest[0]), rest[1:]
	} else if n > 24 {
		return "", false
	}
	if n > len(rest) {
		return "", false
	}
	return string(rest[:n]), true
}

func (c *Claims) clone() Claims {
	out := *c
	out.Key, out.Nonce = slices.Clone(c.Key), bytes.Clone(c.Nonce)
	if c.Evaluation != nil {
		e := *c.Evaluation
		out.Evaluation = &e
	}
	return out
}
