package replay

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// Offline makes the checks that need neither examples nor models: those of
// package training, and what follows from the configuration.
func Offline(f *training.File, o training.Options) receipt.Report {
	r := f.Check(o)
	if r.Failed() != nil || f.Opening == nil || f.Opening.Config == nil {
		return r
	}
	config, err := train.ParseConfig(f.Opening.Config.Config)
	if err != nil {
		r.Add(invalid(training.CheckConfig, "no run can have it: %v", err))
		return r
	}
	if n, bad := checkRates(f.Opening, config); bad != "" {
		r.Add(invalid(training.CheckRates, "%s", bad))
	} else if n > 0 {
		r.Add(valid(training.CheckRates, "those of %d steps follow from the configuration", n))
	}
	return r
}

// checkRates compares the learning rates that are shown with those that the
// configuration gives. A log with other rates is of another run.
func checkRates(o *training.Opening, config train.Config) (n int, bad string) {
	check := func(entries []training.Entry) {
		for _, e := range entries {
			r, err := e.Record()
			if err != nil || bad != "" {
				return
			}
			if want := config.Rate(r.Step); math.Float32bits(want) != math.Float32bits(r.LearningRate) {
				bad = fmt.Sprintf("step %d: the log says %v, the configuration gives %v", r.Step, r.LearningRate, want)
				return
			}
			n++
		}
	}
	if o.Log != nil {
		check(o.Log.Entries)
	}
	for i := range o.LogRanges {
		check(o.LogRanges[i].Entries)
	}
	return n, bad
}

func valid(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Valid, Detail: fmt.Sprintf(format, args...)}
}

func invalid(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Invalid, Detail: fmt.Sprintf(format, args...)}
}

func unverified(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Unverified, Detail: fmt.Sprintf(format, args...)}
}
