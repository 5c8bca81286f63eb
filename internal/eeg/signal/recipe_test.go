package signal_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/eeg"
	"github.com/avalnetwork/aval/internal/eeg/signal"
)

// synthetic is a recording of two channels with an event every second. Its
// numbers come from an integer generator, so that they are the same everywhere.
func synthetic(rate float64, seconds int) *eeg.Recording {
	n := int(rate) * seconds
	r := &eeg.Recording{}
	state := uint32(12345)
	for _, name := range []string{"A", "B"} {
		c := eeg.Channel{Name: name, Unit: "uV", Rate: rate, Pieces: []eeg.Piece{{Rate: rate}}}
		walk := float32(800)
		for range n {
			state = state*1664525 + 1013904223
			walk += float32(int32(state>>16)-32768) / 4096
			c.Samples = append(c.Samples, walk)
		}
		r.Channels = append(r.Channels, c)
	}
	for i := range seconds {
		r.Events = append(r.Events, eeg.Event{Time: float64(i) + 0.25, Label: []string{"1", "2", "3"}[i%3]})
	}
	return r
}

var labels = map[string]int32{"1": 0, "2": 1}

func recipe() signal.Recipe {
	return signal.Recipe{
		Channels: []string{"A", "B"}, Rate: 64, Order: 4, Low: 1, High: 30, From: -0.1, To: 0.8,
		BaselineFrom: -0.1, BaselineTo: 0, Standardise: signal.PerEpoch,
	}
}

// TestGolden holds the bits of the whole way from samples to epochs.
func TestGolden(t *testing.T) {
	causal := recipe()
	causal.Cause, causal.Notch, causal.Standardise = true, 50, signal.PerChannel
	for _, c := range []struct {
		name string
		r    signal.Recipe
		rate float64
		want string
	}{
		{"zero phase", recipe(), 256, "0e899d4ed5624dd1f50987194b27cd30"},
		{"causal", causal, 256, "defd2998a3de3f734215ea3e6a7e50ac"},
		{"from 250 Hz", recipe(), 250, "097f2fe26360c2e1ede898d6ebb4c29e"},
	} {
		e, err := c.r.Epochs(synthetic(c.rate, 12), labels)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		binary.Write(h, binary.LittleEndian, e.Data)
		if got := hex.EncodeToString(h.Sum(nil)[:16]); got != c.want {
			t.Errorf("%s: digest %s, want %s", c.name, got, c.want)
		}
	}
}

func TestEpochs(t *testing.T) {
	rec := synthetic(256, 12)
	e, err := recipe().Epochs(rec, labels)
	if err != nil {
		t.Fatal(err)
	}
	// Labels 1 2 3 1 2 3 ... : two of three count; the last one, at 11.25 s,
	// has the label 3.
	if e.Len() != 8 || e.Outside != 0 || !slices.Equal(e.Labels, []int32{0, 1, 0, 1, 0, 1, 0, 1}) || e.Channels != 2 || e.Samples != 58 {
		t.Fatalf("%d epochs of %d x %d, %d outside, labels %v", e.Len(), e.Channels, e.Samples, e.Outside, e.Labels)
	}
	for i := range e.Len() {
		sum, squares := 0.0, 0.0
		for _, v := range e.At(i) {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		if n := float64(len(e.At(i))); math.Abs(sum/n) > 1e-6 || math.Abs(squares/n-1) > 1e-5 {
			t.Errorf("epoch %d has mean %v and mean square %v", i, sum/n, squares/n)
		}
	}
	strict := recipe()
	strict.Reject = 3
	if e, _ := strict.Epochs(rec, labels); e.Rejected == 0 || e.Rejected+e.Len() != 8 {
		t.Errorf("%d epochs, %d rejected", e.Len(), e.Rejected)
	}
	early := recipe()
	early.From = -0.5
	early.BaselineFrom = -0.5
	if e, _ := early.Epochs(rec, labels); e.Outside != 1 || e.Len() != 7 {
		t.Errorf("%d epochs, %d outside", e.Len(), e.Outside)
	}
}

// TestPieces puts a gap and a missing sample into a recording: no epoch may
// reach across, and times after the gap are those of its piece.
func TestPieces(t *testing.T) {
	rec := synthetic(256, 12)
	for i := range rec.Channels {
		rec.Channels[i].Pieces = []eeg.Piece{{Rate: 256}, {First: 256 * 6, Start: 106, Rate: 256}}
	}
	rec.Channels[1].Samples[256*3+128] = float32(math.NaN()) // within the epoch of 3.25 s
	rec.Events = []eeg.Event{{Time: 3.25, Label: "1"}, {Time: 5.25, Label: "1"}, {Time: 8.25, Label: "1"}, {Time: 108.25, Label: "2"}}
	r := recipe()
	r.To = 0.7
	e, err := r.Epochs(rec, labels)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(e.Labels, []int32{0, 1}) || e.Outside != 2 || !slices.Equal(e.Times, []float64{5.25, 108.25}) {
		t.Errorf("labels %v at %v, %d outside", e.Labels, e.Times, e.Outside)
	}
	// What follows the gap does not change what comes before it.
	alone := synthetic(256, 12)
	for i := range alone.Channels {
		alone.Channels[i].Samples = alone.Channels[i].Samples[256*6:]
	}
	alone.Events = []eeg.Event{{Time: 2.25, Label: "2"}}
	a, err := r.Epochs(alone, labels)
	if err != nil || !slices.Equal(a.At(0), e.At(1)) {
		t.Errorf("the epoch after the gap differs from that of its piece alone (%v)", err)
	}
}

func TestRecipeRefuses(t *testing.T) {
	rec := synthetic(256, 2)
	rec.Channels = append(rec.Channels,
		eeg.Channel{Name: "slow", Unit: "uV", Rate: 128, Pieces: []eeg.Piece{{Rate: 128}}, Samples: make([]float32, 10)},
		eeg.Channel{Name: "gaze", Unit: "uV", Times: []float64{1}, Samples: make([]float32, 1)},
		eeg.Channel{Name: "temp", Unit: "degC", Rate: 256})
	for _, c := range []struct {
		why    string
		change func(*signal.Recipe)
	}{
		{"no channel", func(r *signal.Recipe) { r.Channels = nil }},
		{"has no channel \"C\"", func(r *signal.Recipe) { r.Channels = []string{"C"} }},
		{"not sampled together", func(r *signal.Recipe) { r.Channels = []string{"A", "slow"} }},
		{"irregularly", func(r *signal.Recipe) { r.Channels = []string{"gaze"} }},
		{"no voltage", func(r *signal.Recipe) { r.Channels = []string{"temp"} }},
		{"a rate of", func(r *signal.Recipe) { r.Rate = math.NaN() }},
		{"edges", func(r *signal.Recipe) { r.High = 200 }},
		{"epochs from", func(r *signal.Recipe) { r.To = r.From }},
		{"epochs from", func(r *signal.Recipe) { r.To = math.Inf(1) }},
		{"baseline", func(r *signal.Recipe) { r.BaselineTo = 2 }},
		{"rejection", func(r *signal.Recipe) { r.Reject = -1 }},
		{"standardise", func(r *signal.Recipe) { r.Standardise = "z" }},
		{"resampling", func(r *signal.Recipe) { r.Rate = 63.997 }},
	} {
		r := recipe()
		c.change(&r)
		if _, err := r.Epochs(rec, labels); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("got error %v, want one with %q", err, c.why)
		}
	}
}
