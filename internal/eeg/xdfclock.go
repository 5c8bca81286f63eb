package eeg

import (
	"math"
	"slices"
)

// A clock was reset where, between two measurements of its offset, it went
// back, or the interval is longer than the median one by resetInterval, and
// the offset changed by more than resetOffset more than the median change.
const (
	resetInterval = 5.0 // seconds
	resetOffset   = 1.0 // seconds
	maxResets     = 1000
)

// xdfFit is a line through the clock offsets of one run of a clock.
type xdfFit struct {
	first, last   int     // of the measurements
	low, high     float64 // their times
	mean          float64 // of the times
	offset, drift float64 // the offset at the mean, and its change a second
}

// synchronise adds the measured offsets to the stream's time stamps, so that
// they are on the recorder's clock: between resets by a line of least squares.
func (s *xdfStream) synchronise(rec *Recording) error {
	if len(s.clocks) == 0 {
		return nil
	}
	fits := s.fits()
	if len(fits) > maxResets {
		return parseErrorf("XDF", "file", "the clock of stream %d was reset more than %d times", s.id, maxResets)
	}
	if len(fits) > 1 {
		rec.warnf("stream %d: its clock was reset %d times", s.id, len(fits)-1)
	}
	for i, t := range s.stamps {
		f := fits[0]
		best := math.Inf(1)
		for _, g := range fits {
			// The run whose measurements lie around the stamp. Where they lie
			// equally far, the one during which the sample was written.
			d := max(0, g.low-t, t-g.high)
			if d < best || d == best && s.seen[i] > g.first {
				f, best = g, d
			}
		}
		s.stamps[i] = t + (f.offset + float64(f.drift*(t-f.mean)))
	}
	return nil
}

// fits cuts the measurements at resets and fits each run.
func (s *xdfStream) fits() []xdfFit {
	c := s.clocks
	var gaps, steps []float64
	for i := 1; i < len(c); i++ {
		gaps = append(gaps, c[i].time-c[i-1].time)
		steps = append(steps, math.Abs(c[i].value-c[i-1].value))
	}
	usualGap, usualStep := median(gaps), median(steps)
	var out []xdfFit
	first := 0
	for i := 1; i <= len(c); i++ {
		if i < len(c) {
			jumped := gaps[i-1] < 0 || gaps[i-1]-usualGap > resetInterval
			if !jumped || steps[i-1]-usualStep <= resetOffset {
				continue
			}
		}
		out = append(out, fitClock(c[first:i], first))
		first = i
	}
	return out
}

func fitClock(c []xdfClock, first int) xdfFit {
	f := xdfFit{first: first, last: first + len(c) - 1, low: math.Inf(1), high: math.Inf(-1)}
	n := float64(len(c))
	for _, m := range c {
		f.low, f.high = min(f.low, m.time), max(f.high, m.time)
		f.mean += m.time
		f.offset += m.value
	}
	f.mean, f.offset = float64(f.mean/n), float64(f.offset/n)
	xx, xy := 0.0, 0.0
	for _, m := range c {
		d := m.time - f.mean
		xx += float64(d * d)
		xy += float64(d * (m.value - f.offset))
	}
	if xx > 0 {
		f.drift = float64(xy / xx)
	}
	return f
}

// median returns the middle value, of an even number the upper one.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Clone(x)
	slices.Sort(x)
	return x[len(x)/2]
}

// regular removes the jitter of a regular stream: it cuts the stamps where
// they jump by more than a second (and by two intervals), and puts each piece
// on a line of least squares.
func regular(stamps []float64, rate float64) []Piece {
	gap := max(1, float64(2/rate))
	var out []Piece
	first := 0
	for i := 1; i <= len(stamps); i++ {
		if i < len(stamps) && math.Abs(stamps[i]-stamps[i-1]) <= gap {
			continue
		}
		if i > first {
			out = append(out, fitPiece(stamps[first:i], first, rate))
		}
		first = i
	}
	return out
}

func fitPiece(t []float64, first int, rate float64) Piece {
	n := float64(len(t))
	mean := 0.0
	for _, v := range t {
		mean += v - t[0]
	}
	mean = t[0] + float64(mean/n)
	middle := float64((n - 1) / 2)
	xx, xy := 0.0, 0.0
	for i, v := range t {
		d := float64(i) - middle
		xx += float64(d * d)
		xy += float64(d * (v - mean))
	}
	p := Piece{First: first, Rate: rate}
	// A measured rate far from the nominal one tells of stamps that mean
	// something else; then only their mean is used.
	if measured := float64(xx / xy); xx > 0 && measured > rate/2 && measured < 2*rate && len(t) >= 10 {
		p.Rate = measured
	}
	p.Start = mean - float64(middle/p.Rate)
	return p
}
