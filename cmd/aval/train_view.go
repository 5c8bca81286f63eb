package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/train/run"
)

// trainView shows a run: on a terminal as a bar with samples above it, else as
// a line now and then.
type trainView struct {
	app    *app
	kind   run.Kind
	folder string
	facts  run.Facts
	bar    *progressbar.ProgressBar
	spins  bool    // the bar is one for an unknown number
	loss   float64 // smoothed
	lines  time.Time
}

// lineEvery is how often a run that has no terminal tells where it is.
const lineEvery = 30 * time.Second

func (v *trainView) events() run.Events {
	e := run.Events{Begin: v.begin, Step: v.step, Validated: v.validated, Note: func(s string) { v.say("%s", s) }}
	if v.app.errTerminal {
		e.Sample, e.Stage = v.sample, v.stage
	}
	return e
}

// stage names what takes a moment outside of the steps.
func (v *trainView) stage(what string) {
	if v.bar == nil {
		v.bar, v.spins = v.newBar(-1), true
	}
	v.bar.Describe(what)
}

// stop takes the bar away. One for an unknown number spins by itself until it
// is told its end.
func (v *trainView) stop() {
	if v.bar == nil {
		return
	}
	if v.spins {
		v.bar.ChangeMax(1)
		_ = v.bar.Set(1)
		v.spins = false
	}
	_ = v.bar.Clear() // a bar that cannot be drawn is no reason to stop
}

// newBar makes a bar for so many steps, or one for an unknown number.
func (v *trainView) newBar(steps int) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(v.app.err), progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
}

// say writes a line without disturbing the bar.
func (v *trainView) say(format string, args ...any) {
	if v.bar != nil {
		_ = v.bar.Clear() // a bar that cannot be drawn is no reason to stop
	}
	v.app.note(format, args...)
}

func (v *trainView) begin(f run.Facts) {
	v.facts = f
	what := fmt.Sprintf("%d examples", f.Examples)
	if f.Targets > 0 {
		what += fmt.Sprintf(" (%s tokens)", count(int64(f.Targets)))
	}
	v.say("training %s parameters on %s, %d for validation: %d steps of %d on %d threads (%s)",
		count(int64(f.Parameters)), what, f.Validation, f.Steps, f.Batch, f.Threads, f.Kernel)
	if f.Done > 0 {
		v.say("going on after step %d", f.Done)
	}
	if v.app.errTerminal {
		v.stop()
		v.bar = v.newBar(f.Steps)
	}
	v.lines = time.Now()
}

func (v *trainView) step(p run.Progress) {
	loss := p.Record.Loss.Mean()
	if v.loss == 0 {
		v.loss = loss
	}
	v.loss += float64((loss - v.loss) * 0.1)
	state := fmt.Sprintf("loss %.3f, %s, %s left", v.loss, v.speed(p.Rate), duration(p.Left))
	if v.bar != nil {
		v.bar.Describe(shortest(v.app.errWidth(),
			fmt.Sprintf("step %d/%d, %s", p.Done, p.Steps, state),
			fmt.Sprintf("step %d/%d, loss %.3f, %s left", p.Done, p.Steps, v.loss, duration(p.Left)),
			fmt.Sprintf("%d/%d, loss %.3f", p.Done, p.Steps, v.loss)))
		_ = v.bar.Set(p.Done)
		return
	}
	if now := time.Now(); now.Sub(v.lines) >= lineEvery {
		v.lines = now
		v.say("step %d of %d: %s", p.Done, p.Steps, state)
	}
}

func (v *trainView) speed(rate float64) string {
	unit := "examples/s"
	if v.facts.Targets > 0 {
		unit = "tokens/s"
	}
	if rate < 10 {
		return fmt.Sprintf("%.1f %s", rate, unit)
	}
	return fmt.Sprintf("%.0f %s", rate, unit)
}

func (v *trainView) validated(step int, r dataset.Report, best bool) {
	mark := ""
	if best {
		mark = ", the best so far"
	}
	v.say("step %d of %d: validation %s%s", step, v.facts.Steps, r, mark)
}

// sample shows what the model writes, made safe for a terminal.
func (v *trainView) sample(step int, text string) {
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7F || 0x80 <= r && r < 0xA0 {
			return -1
		}
		return r
	}, text)
	v.say("  | %s", strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  | "))
}

// end takes the bar away.
func (v *trainView) end() { v.stop() }

// barRoom is what a bar takes of a line beside its description: the percentage
// and the ends of the bar.
const barRoom = 12

// shortest is the first of the descriptions that a line of a terminal has room
// for, or the last one: a line that is wrapped cannot be taken away again. A
// width of 0 is not known.
func shortest(width int, descriptions ...string) string {
	for _, d := range descriptions {
		if width == 0 || len(d)+barRoom <= width {
			return d
		}
	}
	return descriptions[len(descriptions)-1]
}

// duration writes a time for people: the two largest units.
func duration(d time.Duration) string {
	switch s := int(d.Seconds()); {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d min", s/60, s%60)
	default:
		return fmt.Sprintf("%d:%02d h", s/3600, s%3600/60)
	}
}
