package receipt

import (
	"fmt"
	"strings"
)

// Verdict is what checks say together.
type Verdict string

// The verdicts.
const (
	// Valid: every check passed.
	Valid Verdict = "valid"
	// Invalid: at least one check failed.
	Invalid Verdict = "invalid"
	// Unverified: none failed, but something could not be checked.
	Unverified Verdict = "unverified"
)

// Check is one check and what came of it.
type Check struct {
	// Name says what was checked; see the constants.
	Name string `json:"name"`
	// Verdict is Valid if the check passed, Unverified if it could not be made.
	Verdict Verdict `json:"verdict"`
	// Detail says what was compared and where it differs. It never shows what
	// an opening hides.
	Detail string `json:"detail,omitempty"`
}

// Passed reports whether the check passed.
func (c Check) Passed() bool { return c.Verdict == Valid }

// String is one line for a person.
func (c Check) String() string {
	if c.Detail == "" {
		return string(c.Verdict) + ": " + c.Name
	}
	return string(c.Verdict) + ": " + c.Name + ": " + c.Detail
}

// The names of the checks of this package, in the order in which they are
// made. Vectors and other programs use them.
const (
	CheckFile        = "file"         // the container: canonical, within its limits
	CheckForm        = "form"         // COSE_Sign1 in its only encoding
	CheckAlgorithm   = "algorithm"    // the protected header names EdDSA and nothing else
	CheckHeaders     = "headers"      // the unprotected header is empty
	CheckPayload     = "payload"      // the claims are in the message
	CheckClaims      = "claims"       // canonical CBOR, all claims there, none unknown
	CheckSuite       = "suite"        // the named algorithms are known
	CheckRanges      = "ranges"       // every claim within its range, and they agree
	CheckKey         = "key"          // the public key is a good one
	CheckSignature   = "signature"    // it is the key's, over these claims
	CheckTime        = "time"         // not from the future, not too old
	CheckModel       = "model"        // the expected one
	CheckAdapters    = "adapters"     // the expected ones, in their order
	CheckSigner      = "signer"       // the expected one
	CheckParams      = "parameters"   // the expected ones
	CheckSeed        = "seed"         // the expected nonce or beacon
	CheckTranscript  = "transcript"   // the parts of the opening are the receipt's
	CheckSource      = "source"       // the prompt as it was given
	CheckBias        = "bias"         // the logit bias
	CheckExtra       = "extra"        // stop strings, grammar, template
	CheckPrompt      = "prompt ids"   // the tokens of the prompt
	CheckOutput      = "output ids"   // the tokens drawn
	CheckText        = "text"         // the answer
	CheckStop        = "stop"         // the reason agrees with the stop text
	CheckPromptRange = "prompt range" // some tokens of the prompt
	CheckOutputRange = "output range" // some tokens drawn
	CheckTrace       = "trace"        // the trace salt is that of a trace
	CheckSeal        = "seal"         // a sealed box
	CheckComputation = "computation"  // the model gives this answer; not of this package
)

// Report is a list of checks, in the order in which they were made.
type Report struct {
	Checks []Check `json:"checks"`
}

// Add appends checks. One replaces an unverified check of the same name, so
// that an audit fills in what was left open before.
func (r *Report) Add(checks ...Check) {
next:
	for _, c := range checks {
		for i, old := range r.Checks {
			if old.Name == c.Name && old.Verdict == Unverified {
				r.Checks[i] = c
				continue next
			}
		}
		r.Checks = append(r.Checks, c)
	}
}

// Verdict is Invalid if a check failed, else Unverified if one could not be
// made or there is none, else Valid.
func (r *Report) Verdict() Verdict {
	v := Valid
	for _, c := range r.Checks {
		switch c.Verdict {
		case Valid:
		case Unverified:
			v = Unverified
		default:
			return Invalid
		}
	}
	if len(r.Checks) == 0 {
		return Unverified
	}
	return v
}

// Failed is the first check that failed, or nil.
func (r *Report) Failed() *Check {
	for i := range r.Checks {
		if v := r.Checks[i].Verdict; v != Valid && v != Unverified {
			return &r.Checks[i]
		}
	}
	return nil
}

// String is a line for each check.
func (r *Report) String() string {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintln(&b, c)
	}
	return b.String()
}

// Error says which check refused bytes or values, and where.
type Error struct {
	Check  string // one of the Check constants
	Detail string // what was found, and what was wanted
	Err    error  // the cause, or nil
}

func (e *Error) Error() string {
	s := "receipt: " + e.Check + ": " + e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func errorf(check, format string, args ...any) error {
	return &Error{Check: check, Detail: fmt.Sprintf(format, args...)}
}

func passed(name, format string, args ...any) Check {
	return Check{name, Valid, fmt.Sprintf(format, args...)}
}

func failed(name, format string, args ...any) Check {
	return Check{name, Invalid, fmt.Sprintf(format, args...)}
}

func unverified(name, format string, args ...any) Check {
	return Check{name, Unverified, fmt.Sprintf(format, args...)}
}

// checkOf is the failed check of an error of this package.
func checkOf(err error, otherwise string) Check {
	if e, ok := err.(*Error); ok {
		detail := e.Detail
		if e.Err != nil {
			detail += ": " + e.Err.Error()
		}
		return Check{e.Check, Invalid, detail}
	}
	return Check{otherwise, Invalid, err.Error()}
}
