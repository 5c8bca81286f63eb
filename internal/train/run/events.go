package run

import (
	"time"

	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/train"
)

// Events tell what happens in a run, from its goroutine. Each may be nil.
type Events struct {
	// Stage names what is being done before, between and after the steps.
	Stage func(what string)
	// Begin is called before the first step, with all that is known then.
	Begin func(Facts)
	// Step is called after each step.
	Step func(Progress)
	// Validated is called after each validation.
	Validated func(step int, r dataset.Report, best bool)
	// Saved is called when a checkpoint is on disk.
	Saved func(step int)
	// Sample is called with something that the model wrote. If it is nil
	// nothing is written.
	Sample func(step int, text string)
	// Note is called with remarks for people.
	Note func(text string)
	// Now tells the time; nil: time.Now.
	Now func() time.Time
}

// Facts describe a run.
type Facts struct {
	Kind                 Kind
	Folder               string
	Parameters           int // that are trained
	Examples, Validation int
	Targets              int // tokens to be learned in an epoch; 0 for nets
	Steps, Done, Batch   int
	Threads              int
	Kernel               string
	Unit                 string // of the loss
}

// Progress is where a run stands after a step.
type Progress struct {
	Done, Steps int
	Record      train.StepRecord
	// Rate is how many predictions a second were learned lately.
	Rate float64
	// Left is the time that the remaining steps take at this rate.
	Left time.Duration
}

func (e *Events) stage(what string) {
	if e.Stage != nil {
		e.Stage(what)
	}
}

func (e *Events) note(text string) {
	if e.Note != nil {
		e.Note(text)
	}
}

func (e *Events) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// pace measures the speed of a run, as a mean that forgets.
type pace struct {
	seconds, count float64 // of a step, smoothed
	steps          float64 // weight of both
}

// forget is how much of the old mean a step leaves.
const forget = 0.95

func (p *pace) add(d time.Duration, predictions int) {
	p.seconds = float64(p.seconds*forget) + d.Seconds()
	p.count = float64(p.count*forget) + float64(predictions)
	p.steps = float64(p.steps*forget) + 1
}

func (p *pace) rate() float64 {
	if p.seconds <= 0 {
		return 0
	}
	return p.count / p.seconds
}

func (p *pace) left(steps int) time.Duration {
	if p.steps == 0 {
		return 0
	}
	return time.Duration(float64(p.seconds / p.steps * float64(steps) * float64(time.Second)))
}
