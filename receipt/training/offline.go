package training

import (
	"bytes"
	"crypto/ed25519"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

// Options of the offline check. The zero value checks all that needs no
// knowledge from outside.
type Options struct {
	// Now is the time of the check. Zero: the receipt's time is not checked.
	Now time.Time
	// Ahead is how far the signer's clock may be ahead of Now; 0:
	// receipt.DefaultAhead.
	Ahead time.Duration
	// MaxAge refuses receipts that are older; 0: any age.
	MaxAge time.Duration
	Expect Expect
}

// Expect is what the receipt must say, each field only if it is set. Whoever
// ordered a run sets the nonce, so that a receipt of another run does not pass.
type Expect struct {
	Base   Hash
	Key    ed25519.PublicKey
	Nonce  []byte
	Result Hash // of the file
	Data   Hash // root of the examples
	Config *Config
}

// Offline checks a file, or a receipt alone, without data and models. It never
// fails: what cannot be read is a failed check.
func Offline(data []byte, o Options) receipt.Report {
	f, err := ParseFile(data)
	if err != nil {
		return receipt.Report{Checks: []receipt.Check{checkOf(err, receipt.CheckFile)}}
	}
	return f.Check(o)
}

// Check is [Offline] for a file that was read before.
func (f *File) Check(o Options) receipt.Report {
	var r receipt.Report
	c := f.Receipt.Claims()
	r.Add(passed(receipt.CheckForm, "%d bytes, one canonical encoding, every claim in its range", len(f.Receipt.raw)))
	if err := f.Receipt.Verify(); err != nil {
		r.Add(checkOf(err, receipt.CheckSignature))
		return r
	}
	r.Add(passed(receipt.CheckSignature, "by %s", receipt.FormatNodeKey(c.Key)))
	r.Add(o.checkTime(&c))
	r.Add(o.Expect.check(&c, f.Opening)...)
	if f.Opening != nil {
		r.Add(f.Opening.Check(&c)...)
	}
	r.Add(unverified(CheckComputation, "no step was computed again: that needs the examples, and the base model if there is one"))
	return r
}

func (o *Options) checkTime(c *Claims) receipt.Check {
	ahead := o.Ahead
	if ahead == 0 {
		ahead = receipt.DefaultAhead
	}
	if o.Now.IsZero() {
		return unverified(receipt.CheckTime, "there is no clock to compare %d with", c.Time)
	}
	switch age := o.Now.Sub(time.Unix(c.Time, 0)); {
	case age < -ahead:
		return failed(receipt.CheckTime, "%d is %v in the future, more than the %v allowed", c.Time, -age, ahead)
	case o.MaxAge > 0 && age > o.MaxAge:
		return failed(receipt.CheckTime, "%d is %v ago, more than the %v allowed", c.Time, age, o.MaxAge)
	}
	return passed(receipt.CheckTime, "%s", time.Unix(c.Time, 0).UTC().Format(time.RFC3339))
}

// check holds claims and opening against what is expected.
func (e *Expect) check(c *Claims, o *Opening) []receipt.Check {
	var checks []receipt.Check
	compare := func(name string, want, got Hash) {
		switch {
		case want.IsZero():
		case sameHash(want, got):
			checks = append(checks, passed(name, "the expected one"))
		default:
			checks = append(checks, failed(name, "the receipt is for %v, expected %v", got, want))
		}
	}
	compare(CheckBase, e.Base, c.Base)
	compare(CheckData, e.Data, c.Data.Root)
	compare(CheckResult, e.Result, c.Result.File)
	if e.Key != nil {
		if e.Key.Equal(c.Key) {
			checks = append(checks, passed(receipt.CheckSigner, "the expected signer"))
		} else {
			checks = append(checks, failed(receipt.CheckSigner, "signed by %s, expected %s", receipt.FormatNodeKey(c.Key), receipt.FormatNodeKey(e.Key)))
		}
	}
	if e.Nonce != nil {
		if bytes.Equal(e.Nonce, c.Nonce) {
			checks = append(checks, passed(CheckNonce, "the expected one: the seed was not the signer's to choose"))
		} else {
			checks = append(checks, failed(CheckNonce, "not the expected one: a replayed or other receipt"))
		}
	}
	if e.Config != nil {
		if o == nil || o.Config == nil {
			return append(checks, unverified(CheckConfig, "expected, but the receipt's file does not show it"))
		}
		got, err := ParseConfig(o.Config.Config)
		if d := got.differ(*e.Config); err == nil && d != "" {
			checks = append(checks, failed(CheckConfig, "%s", d))
		}
	}
	return checks
}
