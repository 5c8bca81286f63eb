package signal

import (
	"fmt"
	"math"
	"slices"

	"github.com/avalnetwork/aval/internal/eeg"
)

// Limits of a [Recipe].
const (
	MaxEpochSamples  = 1 << 16 // of one channel of one epoch
	MaxEpochsSamples = 1 << 27 // of all epochs of a recording
)

// Ways to standardise an epoch.
const (
	InMicrovolts = ""        // not at all
	PerChannel   = "channel" // each channel to mean 0 and variance 1
	PerEpoch     = "epoch"   // each channel to mean 0, all together to variance 1: what one electrode has more than another is kept
)

// Recipe says how a recording becomes epochs. Two recipes that are equal give
// equal bits. Its JSON form is part of a published classifier.
type Recipe struct {
	Channels []string `json:"channels"` // names, in the order of the result; all of one rate
	Rate     float64  `json:"rate"`     // samples a second of the result

	Order int     `json:"order"`            // of the Butterworth band-pass; 0: no band-pass
	Low   float64 `json:"low"`              // its edges in Hz
	High  float64 `json:"high"`             //
	Notch float64 `json:"notch,omitempty"`  // frequency to remove before, in Hz; 0: none
	Cause bool    `json:"causal,omitempty"` // filter causally, for streams; else forward and backward

	From float64 `json:"from"` // start of an epoch in seconds after its event; may be negative
	To   float64 `json:"to"`   // its end

	BaselineFrom float64 `json:"baseline_from,omitempty"` // the mean of this part, in seconds after the event, is subtracted;
	BaselineTo   float64 `json:"baseline_to,omitempty"`   // none where the two are equal. It must lie in the epoch

	Reject      float64 `json:"reject,omitempty"`      // an epoch with a value beyond ± this (µV) is left out; 0: none is
	Standardise string  `json:"standardise,omitempty"` // one of the constants above
}

// Epochs are pieces of a recording, one for each event.
type Epochs struct {
	Channels, Samples int       // of each epoch
	Data              []float32 // epoch by epoch, in it channel by channel
	Labels            []int32   // what the event was
	Times             []float64 // when it was, in seconds
	Rejected          int       // events left out for their amplitude
	Outside           int       // events left out since the epoch does not lie in one run of samples
}

// Len returns the number of epochs.
func (e *Epochs) Len() int { return len(e.Labels) }

// At returns epoch i.
func (e *Epochs) At(i int) []float32 {
	n := e.Channels * e.Samples
	return e.Data[i*n : (i+1)*n]
}

// Samples returns the number of samples of each channel of an epoch.
func (r Recipe) Samples() int {
	return int(math.Floor(float64((r.To-r.From)*r.Rate) + 0.5))
}

func (r Recipe) validate() error {
	switch n := r.Samples(); {
	case len(r.Channels) == 0:
		return fmt.Errorf("signal: the recipe names no channel")
	case !(r.Rate > 0) || r.Rate > eeg.MaxRate:
		return fmt.Errorf("signal: a rate of %v Hz for epochs; use more than 0", r.Rate)
	case !(math.Abs(r.From) < 3600) || !(math.Abs(r.To) < 3600) || n < 1 || n > MaxEpochSamples:
		return fmt.Errorf("signal: epochs from %v to %v s have %d samples at %v Hz; use 1 to %d", r.From, r.To, n, r.Rate, MaxEpochSamples)
	case r.BaselineFrom != r.BaselineTo && !(r.From <= r.BaselineFrom && r.BaselineFrom < r.BaselineTo && r.BaselineTo <= r.To):
		return fmt.Errorf("signal: the baseline from %v to %v s does not lie in the epoch", r.BaselineFrom, r.BaselineTo)
	case r.Reject < 0 || math.IsNaN(r.Reject):
		return fmt.Errorf("signal: rejection beyond %v uV; use 0 for none", r.Reject)
	case !slices.Contains([]string{InMicrovolts, PerChannel, PerEpoch}, r.Standardise):
		return fmt.Errorf("signal: unknown way to standardise %q", r.Standardise)
	}
	return nil
}

// Epochs cuts an epoch around every event whose label is a key of labels,
// whose value it gets.
func (r Recipe) Epochs(rec *eeg.Recording, labels map[string]int32) (*Epochs, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	chs, err := r.pick(rec)
	if err != nil {
		return nil, err
	}
	filters, err := r.filters(chs[0].Rate)
	if err != nil {
		return nil, err
	}
	runs := finiteRuns(chs)
	clean := make([][][]float64, len(runs)) // run, channel, sample at r.Rate
	for i, run := range runs {
		for _, c := range chs {
			x, err := r.clean(c.Samples[run.from:run.to], c.Rate, filters)
			if err != nil {
				return nil, err
			}
			clean[i] = append(clean[i], x)
		}
	}
	out := &Epochs{Channels: len(chs), Samples: r.Samples()}
	buf := make([]float32, out.Channels*out.Samples)
	for _, ev := range rec.Events {
		label, wanted := labels[ev.Label]
		if !wanted {
			continue
		}
		view, ok := r.locate(ev.Time, runs, clean)
		switch {
		case !ok:
			out.Outside++
		case !r.finish(buf, view):
			out.Rejected++
		case len(out.Data)+len(buf) > MaxEpochsSamples:
			return nil, fmt.Errorf("signal: the epochs of the recording have more than %d samples", MaxEpochsSamples)
		default:
			out.Data = append(out.Data, buf...)
			out.Labels = append(out.Labels, label)
			out.Times = append(out.Times, ev.Time)
		}
	}
	return out, nil
}

// pick finds the recipe's channels, which must have been sampled together.
func (r Recipe) pick(rec *eeg.Recording) ([]*eeg.Channel, error) {
	var chs []*eeg.Channel
	for _, name := range r.Channels {
		c := rec.Channel(name)
		switch {
		case c == nil:
			return nil, fmt.Errorf("signal: the recording has no channel %q", name)
		case !(c.Rate > 0):
			return nil, fmt.Errorf("signal: channel %q is sampled irregularly", name)
		case c.Unit != "uV":
			return nil, fmt.Errorf("signal: channel %q is in %q, which is no voltage", name, c.Unit)
		case len(chs) > 0 && (c.Rate != chs[0].Rate || len(c.Samples) != len(chs[0].Samples) || !slices.Equal(c.Pieces, chs[0].Pieces)):
			return nil, fmt.Errorf("signal: channels %q and %q were not sampled together", name, chs[0].Name)
		}
		chs = append(chs, c)
	}
	return chs, nil
}

func (r Recipe) filters(rate float64) (Sections, error) {
	var s Sections
	if r.Notch != 0 {
		n, err := Notch(r.Notch, 30, rate)
		if err != nil {
			return nil, err
		}
		s = append(s, n...)
	}
	if r.Order != 0 {
		b, err := BandPass(r.Order, r.Low, r.High, rate)
		if err != nil {
			return nil, err
		}
		s = append(s, b...)
	}
	return s, nil
}

// clean filters one run of one channel and brings it to the recipe's rate.
func (r Recipe) clean(samples []float32, rate float64, filters Sections) ([]float64, error) {
	x := make([]float64, len(samples))
	for i, v := range samples {
		x[i] = float64(v)
	}
	switch {
	case len(filters) == 0:
	case r.Cause:
		filters.Causal(x)
	default:
		filters.ZeroPhase(x, r.pad(rate))
	}
	up, down := int(math.Floor(float64(r.Rate*1000)+0.5)), int(math.Floor(float64(rate*1000)+0.5))
	if up == 0 || down == 0 {
		return nil, fmt.Errorf("signal: rates below 0.001 Hz cannot be changed")
	}
	return Resample(x, up, down)
}

// pad is three periods of the lowest frequency that passes, in samples.
func (r Recipe) pad(rate float64) int {
	low := 1.0
	if r.Order != 0 {
		low = r.Low
	}
	return int(math.Min(float64(1<<20), math.Floor(float64(float64(3*rate)/low))))
}

// run is an unbroken stretch [from, to) of samples that are all finite.
type run struct {
	from, to int
	start    float64 // time of the first sample in seconds
	speed    float64 // measured rate over nominal rate
}

func finiteRuns(chs []*eeg.Channel) []run {
	var runs []run
	n := len(chs[0].Samples)
	pieces := chs[0].Pieces
	open, speed := false, 1.0
	for i := 0; i < n; i++ {
		starts := len(pieces) > 0 && pieces[0].First == i
		if starts {
			speed = float64(pieces[0].Rate / chs[0].Rate)
			pieces = pieces[1:]
		}
		finite := true
		for _, c := range chs {
			v := c.Samples[i]
			finite = finite && v-v == 0
		}
		switch {
		case finite && (starts || !open):
			runs = append(runs, run{i, i + 1, chs[0].Time(i), speed})
		case finite:
			runs[len(runs)-1].to = i + 1
		}
		open = finite
	}
	return runs
}

// locate returns the samples of the epoch of an event at time t, by channel.
func (r Recipe) locate(t float64, runs []run, clean [][][]float64) ([][]float64, bool) {
	offset := int(math.Floor(float64(r.From*r.Rate) + 0.5))
	for i, run := range runs {
		at := math.Floor(float64((t-run.start)*float64(r.Rate*run.speed)) + 0.5)
		n := len(clean[i][0])
		if at < 0 || at >= float64(n) {
			continue
		}
		first := int(at) + offset
		last := first + r.Samples()
		if first < 0 || last > n {
			return nil, false
		}
		var view [][]float64
		for _, x := range clean[i] {
			view = append(view, x[first:last])
		}
		return view, true
	}
	return nil, false
}

// finish subtracts the baseline, judges the amplitude and standardises; dst
// gets the epoch channel by channel. It reports whether the epoch is kept.
func (r Recipe) finish(dst []float32, view [][]float64) bool {
	n := r.Samples()
	x := make([]float64, 0, len(dst))
	for _, v := range view {
		x = append(x, v...)
	}
	b0 := int(math.Floor(float64((r.BaselineFrom-r.From)*r.Rate) + 0.5))
	b1 := int(math.Floor(float64((r.BaselineTo-r.From)*r.Rate) + 0.5))
	for c := range view {
		v := x[c*n : (c+1)*n]
		if r.BaselineFrom != r.BaselineTo && b0 < min(b1, n) {
			shift(v, mean(v[b0:min(b1, n)]))
		}
		for _, u := range v {
			if r.Reject > 0 && math.Abs(u) > r.Reject {
				return false
			}
		}
	}
	if r.Standardise != InMicrovolts {
		part := n
		if r.Standardise == PerEpoch {
			part = len(x)
		}
		for c := range view {
			v := x[c*n : (c+1)*n]
			shift(v, mean(v))
		}
		for i := 0; i < len(x); i += part {
			divide(x[i : i+part])
		}
	}
	for i, u := range x {
		dst[i] = float32(u)
	}
	return true
}

func mean(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return float64(s / float64(len(x)))
}

func shift(x []float64, by float64) {
	for i := range x {
		x[i] -= by
	}
}

// divide scales x, of mean 0, to variance 1; what is constant stays 0.
func divide(x []float64) {
	s := 0.0
	for _, v := range x {
		s += float64(v * v)
	}
	sd := math.Sqrt(float64(s / float64(len(x))))
	if sd == 0 {
		return
	}
	for i := range x {
		x[i] = float64(x[i] / sd)
	}
}
