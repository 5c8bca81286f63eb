package main

// The rules of output:
//
//   - What was asked for goes to standard output and nothing else does: an
//     answer, a table, or with --json exactly one JSON value and a newline.
//   - Everything said to the person goes to standard error: errors with the
//     prefix "aval: ", speeds, progress.
//   - Progress bars and the interactive prompt appear only where standard error
//     or the terminal is there to see them; a pipe never gets a control sequence.
//   - An error says what to do next, and the exit code says its kind (root.go).
//   - The JSON shapes are the structs named ...JSON beside each command. Fields
//     are added, not renamed.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// app is what the commands may touch of the outside world.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	inTerminal, outTerminal, errTerminal bool

	temporary []string // folders to remove at the end
	closers   []func() // to be called at the end
}

func newApp() *app {
	return &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		inTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// errWidth is the width of the terminal that standard error is, or 0.
func (a *app) errWidth() int {
	if f, ok := a.err.(*os.File); ok && a.errTerminal {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			return w
		}
	}
	return 0
}

// fail reports an error to the person.
func (a *app) fail(err error) {
	fmt.Fprintf(a.err, "aval: %s\n", strings.TrimSpace(err.Error()))
}

// note tells the person something that is not an error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}

// printJSON writes the one JSON value of a command.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printRow writes the one JSON value of a command without indentation, for
// values with long lists of numbers.
func (a *app) printRow(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows of tab-separated cells in columns.
func (a *app) table(rows ...string) error {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	return w.Flush()
}

// progress returns a function that shows how far something is, and one that
// ends the display. Where standard error is no terminal both do nothing.
func (a *app) progress(what string) (show func(done, total int64), end func()) {
	return a.bar(what, true)
}

// counting is progress of things other than bytes.
func (a *app) counting(what string) (show func(done, total int), end func()) {
	bar, end := a.bar(what, false)
	return func(done, total int) { bar(int64(done), int64(total)) }, end
}

func (a *app) bar(what string, bytes bool) (show func(done, total int64), end func()) {
	if !a.errTerminal {
		return func(int64, int64) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	show = func(done, total int64) {
		if bar == nil {
			bar = progressbar.NewOptions64(total,
				progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(what),
				progressbar.OptionShowBytes(bytes), progressbar.OptionSetWidth(30),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
				progressbar.OptionSetPredictTime(true))
		}
		if bar.GetMax64() != total {
			bar.ChangeMax64(total)
		}
		_ = bar.Set64(done) // a bar that cannot be drawn is no reason to stop
	}
	return show, func() {
		if bar != nil {
			_ = bar.Clear()
		}
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// count writes a number of parameters for people.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1fB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0fM", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0fK", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}

// quoteLine makes text fit into one line of a table.
func quoteLine(s string) string {
	q := fmt.Sprintf("%q", s)
	return q[1 : len(q)-1]
}
