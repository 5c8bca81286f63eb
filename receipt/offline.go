package receipt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
	"maps"
	"slices"
	"time"
)

// DefaultAhead is how far a signer's clock may be ahead, by default.
const DefaultAhead = 2 * time.Minute

// Options of the offline check. The zero value checks all that needs no
// knowledge from outside.
type Options struct {
	// Now is the time of the check. Zero: the receipt's time is not checked.
	Now time.Time
	// Ahead is how far the signer's clock may be ahead of Now; 0:
	// DefaultAhead.
	Ahead time.Duration
	// MaxAge refuses receipts that are older; 0: any age.
	MaxAge time.Duration
	// Expect is what the one who checks knows about the answer.
	Expect Expect
}

// Expect is what the receipt must say, each field only if it is set. One who
// sent a nonce sets it, so that a receipt of another answer does not pass.
type Expect struct {
	Model Hash
	// Adapters, empty but not nil: the model had none.
	Adapters []Adapter
	Key      ed25519.PublicKey
	Nonce    []byte
	Params   *Params
	// These are compared with the opening: the prompt as it was given and as
	// tokens, the bias (empty, not nil: none) and the extra parameters, the
	// answer.
	Source *Source
	Prompt []int32
	Bias   Bias
	Extra  *Extra
	Text   *string
	// Beacon gives the value of a round and the time from which it was known;
	// false if there is no such round.
	Beacon func(name string, round uint64) (value Hash, from time.Time, ok bool)
	// BeaconWindow is how old the round may be at the receipt's time; 0: a
	// minute. Whoever computes may choose among the rounds in it.
	BeaconWindow time.Duration
}

// DefaultBeaconWindow is how old a beacon's round may be, by default.
const DefaultBeaconWindow = time.Minute

// Offline checks a file, or a receipt alone, without the model. It never
// fails: what cannot be read is a failed check.
func Offline(data []byte, o Options) Report {
	f, err := ParseFile(data)
	if err != nil {
		return Report{[]Check{checkOf(err, CheckFile)}}
	}
	return f.Check(o)
}

// Check is [Offline] for a file that was read before.
func (f *File) Check(o Options) Report {
	var r Report
	c := f.Receipt.Claims()
	r.Add(passed(CheckForm, "%d bytes, one canonical encoding, every claim in its range", len(f.Receipt.message.raw)))
	if err := f.Receipt.Verify(); err != nil {
		r.Add(checkOf(err, CheckSignature))
		return r
	}
	r.Add(passed(CheckSignature, "by %s", FormatNodeKey(c.Key)))
	r.Add(o.checkTime(&c))
	r.Add(o.Expect.checkClaims(&c)...)
	if f.Opening != nil {
		r.Add(f.Opening.Check(&c)...)
	}
	r.Add(o.Expect.checkOpening(f.Opening)...)
	r.Add(unverified(CheckComputation, "not computed again: that needs the model and the opened ids"))
	return r
}

func (o *Options) checkTime(c *Claims) Check {
	ahead := o.Ahead
	if ahead == 0 {
		ahead = DefaultAhead
	}
	if o.Now.IsZero() {
		return unverified(CheckTime, "there is no clock to compare %d with", c.Time)
	}
	switch age := o.Now.Sub(time.Unix(c.Time, 0)); {
	case age < -ahead:
		return failed(CheckTime, "%d is %v in the future, more than the %v allowed", c.Time, -age, ahead)
	case o.MaxAge > 0 && age > o.MaxAge:
		return failed(CheckTime, "%d is %v ago, more than the %v allowed", c.Time, age, o.MaxAge)
	}
	return passed(CheckTime, "%s", time.Unix(c.Time, 0).UTC().Format(time.RFC3339))
}

func compare(name string, same bool, what string) Check {
	if same {
		return passed(name, "the expected %s", what)
	}
	return failed(name, "not the expected %s", what)
}

// checkClaims holds the claims against what is expected.
func (e *Expect) checkClaims(c *Claims) []Check {
	var checks []Check
	if !e.Model.IsZero() {
		check := compare(CheckModel, sameHash(c.Model, e.Model), "model")
		if !check.Passed() {
			check.Detail = "the receipt is for " + c.Model.String() + ", expected " + e.Model.String()
		}
		checks = append(checks, check)
	}
	if e.Adapters != nil {
		check := compare(CheckAdapters, slices.Equal(c.Adapters, e.Adapters), "adapters: "+DescribeAdapters(e.Adapters))
		if !check.Passed() {
			check.Detail = "the receipt is for the adapters " + DescribeAdapters(c.Adapters) + ", expected " + DescribeAdapters(e.Adapters)
		}
		checks = append(checks, check)
	}
	if e.Key != nil {
		check := compare(CheckSigner, e.Key.Equal(c.Key), "signer")
		if !check.Passed() {
			check.Detail = "signed by " + FormatNodeKey(c.Key) + ", expected " + FormatNodeKey(e.Key)
		}
		checks = append(checks, check)
	}
	if e.Params != nil {
		check := compare(CheckParams, c.Params == *e.Params, "parameters")
		if !check.Passed() {
			check.Detail = differ(c.Params, *e.Params)
		}
		checks = append(checks, check)
	}
	return append(checks, e.checkSeed(c))
}

// checkSeed says who chose the randomness, and whether it is the one expected.
func (e *Expect) checkSeed(c *Claims) Check {
	if e.Nonce != nil {
		switch {
		case c.Seed.Kind != SeedNonce:
			return failed(CheckSeed, "a nonce was expected, the receipt's seed is of kind %d: a replayed or other receipt", c.Seed.Kind)
		case subtle.ConstantTimeCompare(c.Seed.Nonce, e.Nonce) != 1:
			return failed(CheckSeed, "not the expected nonce: a replayed or other receipt")
		}
		return passed(CheckSeed, "from the expected nonce and the prompt")
	}
	if c.Params.Greedy() {
		return passed(CheckSeed, "without effect: the temperature is 0")
	}
	switch b := c.Seed.Beacon; c.Seed.Kind {
	case SeedSelf:
		return unverified(CheckSeed, "chosen by the signer, who may have tried several")
	case SeedNonce:
		return unverified(CheckSeed, "from a nonce of %d bytes; only whoever chose it knows whether it is theirs", len(c.Seed.Nonce))
	default:
		if e.Beacon == nil {
			return unverified(CheckSeed, "from round %d of %q; the value was not compared", b.Round, b.Name)
		}
		return e.checkBeacon(c, b)
	}
}

func (e *Expect) checkBeacon(c *Claims, b Beacon) Check {
	window := e.BeaconWindow
	if window == 0 {
		window = DefaultBeaconWindow
	}
	value, from, ok := e.Beacon(b.Name, b.Round)
	switch age := time.Unix(c.Time, 0).Sub(from); {
	case !ok:
		return failed(CheckSeed, "%q has no round %d", b.Name, b.Round)
	case !sameHash(value, b.Value):
		return failed(CheckSeed, "round %d of %q has another value", b.Round, b.Name)
	case age < 0 || age > window:
		return failed(CheckSeed, "round %d of %q is %v older than the receipt, want 0 to %v", b.Round, b.Name, age, window)
	}
	return passed(CheckSeed, "from round %d of %q and the prompt", b.Round, b.Name)
}

// checkOpening holds what is shown against what is expected. That it is shown
// rightly was checked before.
func (e *Expect) checkOpening(o *Opening) []Check {
	if o == nil {
		o = new(Opening)
	}
	var checks []Check
	hidden := func(name string) {
		checks = append(checks, unverified(name, "expected, but the receipt's file does not show it"))
	}
	if e.Source != nil {
		if o.Source == nil {
			hidden(CheckSource)
		} else {
			checks = append(checks, compare(CheckSource, sameEncoding(&o.Source.Source, e.Source), "prompt"))
		}
	}
	if e.Prompt != nil {
		switch {
		case o.Prompt == nil:
			hidden(CheckPrompt)
		case !slices.Equal(o.Prompt.IDs, e.Prompt):
			checks = append(checks, failed(CheckPrompt, "not the expected tokens: the first difference is at %d", firstDifference(o.Prompt.IDs, e.Prompt)))
		default:
			checks = append(checks, passed(CheckPrompt, "the expected %d tokens", len(e.Prompt)))
		}
	}
	if e.Bias != nil {
		if o.Bias == nil {
			hidden(CheckBias)
		} else {
			checks = append(checks, compare(CheckBias, maps.Equal(o.Bias.Bias, e.Bias), "bias"))
		}
	}
	if e.Extra != nil {
		if o.Extra == nil {
			hidden(CheckExtra)
		} else {
			checks = append(checks, compare(CheckExtra, sameEncoding(&o.Extra.Extra, e.Extra), "parameters"))
		}
	}
	if e.Text != nil {
		if o.Text == nil {
			hidden(CheckText)
		} else {
			checks = append(checks, compare(CheckText, o.Text.Text == *e.Text, "answer"))
		}
	}
	return checks
}

// sameEncoding compares what a commitment would hash.
func sameEncoding[T any](a, b *T) bool {
	x, err := encodeChecked("", a)
	if err != nil {
		return false
	}
	y, err := encodeChecked("", b)
	return err == nil && bytes.Equal(x, y)
}

func firstDifference(a, b []int32) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
