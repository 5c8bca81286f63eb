package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/demo"
)

// demoStages are the parts of a demo, for its bar.
const demoStages = 8

// demoView tells a demo while it happens: a line for each step and, on a terminal,
// a line below them that moves.
type demoView struct {
	app   *app
	began time.Time
	done  chan struct{}
	group sync.WaitGroup

	mu    sync.Mutex
	at    int
	what  string
	over  bool
	spins int
}

func newDemoView(a *app, began time.Time) *demoView {
	v := &demoView{app: a, began: began, done: make(chan struct{}), what: "making keys"}
	if a.errTerminal {
		v.group.Go(v.spin)
	}
	return v
}

var demoSpinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (v *demoView) spin() {
	for {
		select {
		case <-v.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
		v.mu.Lock()
		v.spins++
		v.draw()
		v.mu.Unlock()
	}
}

// draw draws the line that moves.
func (v *demoView) draw() {
	if !v.app.errTerminal || v.over {
		return
	}
	line := fmt.Sprintf("%c %s%s %4.0f s  %s", demoSpinner[v.spins%len(demoSpinner)], strings.Repeat("━", 2*v.at), strings.Repeat("┄", 2*(demoStages-v.at)), time.Since(v.began).Seconds(), v.what)
	if w := v.app.errWidth(); w > 0 {
		line = clipTo(line, w-1)
	}
	fmt.Fprintf(v.app.err, "\r\x1b[K%s", line)
}

// stage says what is going on now, and how far the story is.
func (v *demoView) stage(at int, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.at, v.what = max(at, v.at), fmt.Sprintf(format, args...)
	v.draw()
}

var demoSigns = map[demo.Mark]string{demo.Plain: " ", demo.Good: "✓", demo.Bad: "✗", demo.Mind: "!"}

// say writes the line of a step.
func (v *demoView) say(s demo.Step) {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear, colour, plain := "", "", ""
	if v.app.errTerminal {
		clear = "\r\x1b[K"
		if v.app.getenv("NO_COLOR") == "" {
			switch s.Mark {
			case demo.Good:
				colour, plain = "\x1b[32m", "\x1b[0m"
			case demo.Bad:
				colour, plain = "\x1b[31m", "\x1b[0m"
			case demo.Mind:
				colour, plain = "\x1b[33m", "\x1b[0m"
			}
		}
	}
	fmt.Fprintf(v.app.err, "%s%5.1f s %s%s%s %s\n", clear, s.At, colour, demoSigns[s.Mark], plain, s.Text)
	v.draw()
}

// end takes the line away. It may be called twice.
func (v *demoView) end() {
	v.mu.Lock()
	if v.over {
		v.mu.Unlock()
		return
	}
	v.over = true
	close(v.done)
	if v.app.errTerminal {
		fmt.Fprint(v.app.err, "\r\x1b[K")
	}
	v.mu.Unlock()
	v.group.Wait()
}
