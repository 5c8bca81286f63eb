package eeg

import (
	"fmt"
	"math"
	"sort"
	"time"
	"unicode/utf8"
)

// Recording is what a file holds. Times are seconds since its first sample.
type Recording struct {
	Format   string    // "EDF", "EDF+C", "EDF+D", "BDF", "BDF+C", "BDF+D", "XDF", "BrainVision", "OpenBCI", "Muse"
	Start    time.Time // of the first sample, in the file's own (often unstated) time zone as UTC; zero: the file does not say
	Origin   float64   // what the file's own clock read at time 0: Unix time for Muse and OpenBCI, the recorder's clock for XDF, else 0
	Channels []Channel
	Events   []Event // by time; events of the same time in the file's order

	// Warnings are deviations from the format that do not make the samples
	// doubtful, such as a footer that is missing.
	Warnings []string
}

// Channel is one signal.
type Channel struct {
	Name    string
	Unit    string    // "uV" for everything that was a voltage; else what the file says
	Stream  string    // XDF: the name of its stream; else ""
	Rate    float64   // nominal samples a second; 0: irregular, see Times
	Samples []float32 // in Unit
	Pieces  []Piece   // of a regular channel that is not empty: at least one, by First; the first begins with sample 0
	Times   []float64 // of an irregular channel: one for each sample; else nil
}

// Piece is a run of evenly spaced samples, up to the next piece.
type Piece struct {
	First int     // index of its first sample
	Start float64 // time of that sample in seconds
	Rate  float64 // samples a second as measured; the nominal rate where nothing was measured
}

// Event is a marker, an annotation or a trigger.
type Event struct {
	Time     float64 // seconds
	Duration float64 // seconds; 0 where the file gives none
	Label    string  // the text, or the number as decimal
	Type     string  // BrainVision: the marker's type; XDF: the name of its stream; else ""
}

// ParseError says which file was refused, where and why. It is the input's
// fault.
type ParseError struct {
	Format  string // as in Recording, without what follows a "+"
	Where   string // such as "line 12" or "signal 3 (\"Cz\")"
	Problem string // what is wrong, and what to do if there is something to do
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("eeg: %s file: %s: %s", e.Format, e.Where, e.Problem)
}

func parseErrorf(format, where, problem string, args ...any) error {
	return &ParseError{Format: format, Where: where, Problem: fmt.Sprintf(problem, args...)}
}

// Channel returns the first channel of that name, or nil.
func (r *Recording) Channel(name string) *Channel {
	for i := range r.Channels {
		if r.Channels[i].Name == name {
			return &r.Channels[i]
		}
	}
	return nil
}

func (r *Recording) warnf(format string, args ...any) {
	if len(r.Warnings) < MaxWarnings {
		r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
	}
}

// Time returns the time of sample i in seconds.
func (c *Channel) Time(i int) float64 {
	if c.Times != nil {
		return c.Times[i]
	}
	after := sort.Search(len(c.Pieces), func(k int) bool { return c.Pieces[k].First > i })
	p := c.Pieces[after-1]
	return p.Start + float64(float64(i-p.First)/p.Rate)
}

// Index returns the sample nearest to time t of a regular channel, and the
// piece [from, to) that it lies in; ok is false where no sample lies within
// half a sampling interval of t. A tie goes to the later sample.
func (c *Channel) Index(t float64) (i, from, to int, ok bool) {
	for k, p := range c.Pieces {
		from, to = p.First, len(c.Samples)
		if k+1 < len(c.Pieces) {
			to = c.Pieces[k+1].First
		}
		at := math.Floor(float64((t-p.Start)*p.Rate) + 0.5)
		if at >= 0 && at < float64(to-from) {
			return from + int(at), from, to, true
		}
	}
	return 0, 0, 0, false
}

// Duration returns the time from the first sample to one interval after the
// last, of the channel that ends last.
func (r *Recording) Duration() float64 {
	end := 0.0
	for i := range r.Channels {
		c := &r.Channels[i]
		if n := len(c.Samples); n > 0 {
			t := c.Time(n - 1)
			if c.Rate > 0 {
				t += float64(1 / c.Pieces[len(c.Pieces)-1].Rate)
			}
			end = max(end, t)
		}
	}
	return end
}

// whole gives a regular channel its only piece.
func (c *Channel) whole() {
	if len(c.Samples) > 0 {
		c.Pieces = []Piece{{Rate: c.Rate}}
	}
}

// microvolts maps names of units of voltage to what they are in microvolts.
// The micro sign has two code points.
var microvolts = map[string]float64{
	"uV": 1, "µV": 1, "μV": 1, "UV": 1, "uv": 1, "microvolt": 1, "microvolts": 1, "Microvolt": 1, "Microvolts": 1,
	"nV": 1e-3, "nanovolt": 1e-3, "nanovolts": 1e-3,
	"mV": 1e3, "millivolt": 1e3, "millivolts": 1e3, "Millivolt": 1e3, "Millivolts": 1e3,
	"V": 1e6, "volt": 1e6, "volts": 1e6, "Volt": 1e6, "Volts": 1e6,
}

// unit returns the unit and scale in which samples of a stored unit are kept
// (spec/eeg.md section 2).
func unit(stored string) (name string, scale float64) {
	if s, ok := microvolts[stored]; ok {
		return "uV", s
	}
	return stored, 1
}

// text returns b as UTF-8: as it is where it is valid, else read as
// Windows-1252's common part, Latin-1, in which older recorders write.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}
