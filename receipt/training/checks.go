package training

import (
	"crypto/subtle"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Hash is a SHA-256 hash.
type Hash = canon.Hash

// The names of the checks, in the order in which they are made. Those of the
// signed form are the constants of package receipt: file, form, algorithm,
// headers, payload, claims, suite, ranges, key, signature, time, signer.
const (
	CheckBase        = "base"             // the expected base model
	CheckData        = "data"             // the expected data; the examples given
	CheckResult      = "result"           // the expected result; what the final parameters give
	CheckNonce       = "nonce"            // the expected one
	CheckSetup       = "setup"            // what was trained, on what
	CheckConfig      = "configuration"    // the hyper-parameters and the seed
	CheckCheckpoints = "checkpoints"      // the list of their roots
	CheckLog         = "step log"         // the records of all steps
	CheckLogRange    = "step range"       // those of some
	CheckPointRange  = "checkpoint range" // some of the checkpoints
	CheckValidation  = "validation data"  // the examples that the evaluation used

	// These are made by computing again (internal/audit/replay).
	CheckRates       = "learning rates" // those of the log are those of the configuration
	CheckStart       = "start"          // the state that the steps begin with
	CheckSteps       = "steps"          // each record is what the step computes
	CheckState       = "state"          // the state that the steps lead to
	CheckEvaluation  = "evaluation"     // the loss on the validation data
	CheckComputation = receipt.CheckComputation
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func errorf(check, format string, args ...any) error {
	return &receipt.Error{Check: check, Detail: fmt.Sprintf(format, args...)}
}

func passed(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Valid, Detail: fmt.Sprintf(format, args...)}
}

func failed(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Invalid, Detail: fmt.Sprintf(format, args...)}
}

func unverified(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Unverified, Detail: fmt.Sprintf(format, args...)}
}

// checkOf is the failed check of an error of this package or of receipt.
func checkOf(err error, otherwise string) receipt.Check {
	if e, ok := err.(*receipt.Error); ok {
		detail := e.Detail
		if e.Err != nil {
			detail += ": " + e.Err.Error()
		}
		return receipt.Check{Name: e.Check, Verdict: receipt.Invalid, Detail: detail}
	}
	return receipt.Check{Name: otherwise, Verdict: receipt.Invalid, Detail: err.Error()}
}

func sameHash(a, b Hash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
