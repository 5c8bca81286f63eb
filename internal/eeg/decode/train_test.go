package decode_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/eeg/decode"
	"github.com/avalnetwork/aval/internal/eeg/signal"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// synthetic makes standardised-looking epochs of 2 channels and 16 samples in
// which class 1 has a bump, at a place that moves. The numbers come from an
// integer generator, so that they are the same everywhere.
func synthetic(seed uint32, n int) *signal.Epochs {
	e := &signal.Epochs{Channels: 2, Samples: 16}
	next := func() int32 {
		seed = seed*1664525 + 1013904223
		return int32(seed>>20) - 2048 // -2048 to 2047
	}
	for i := range n {
		label := int32(i % 2)
		place := int(uint32(next()) % 4)
		for c := range 2 {
			for s := range 16 {
				v := float32(next()) / 2048
				if label == 1 && s >= 4+place && s < 8+place {
					v += 0.75 - 1.25*float32(c)
				}
				e.Data = append(e.Data, v)
			}
		}
		e.Labels = append(e.Labels, label)
		e.Times = append(e.Times, float64(i))
	}
	return e
}

func options() decode.Options {
	return decode.Options{Members: 2, Filters: 2, Kernel: 8, Pool: 2, Second: 4, Dropout: 0.25, Passes: 6, Batch: 16, WeightDecay: 0.05, Seed: 7}
}

func machine(t testing.TB, threads int, k *kernel.Kernel) *tensor.Machine {
	m := tensor.New(threads, k)
	t.Cleanup(m.Close)
	return m
}

// TestTrainGolden holds the bits of a whole training, on every kernel and with
// several numbers of threads.
func TestTrainGolden(t *testing.T) {
	const want = "18527376db5ddd12f842157b6e0a0d2e"
	for _, k := range kernel.All() {
		for _, threads := range []int{1, 3} {
			n, err := decode.Train(machine(t, threads, k), options(), synthetic(1, 80), synthetic(2, 40))
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			for _, p := range n.Params() {
				binary.Write(h, binary.LittleEndian, p.Data)
			}
			if got := hex.EncodeToString(h.Sum(nil)[:16]); got != want {
				t.Errorf("%s with %d threads: digest %s, want %s", k.Name(), threads, got, want)
			}
		}
	}
}

// TestTrainLearns finds a bump of which every sample is below the noise, and
// loses little by int8.
func TestTrainLearns(t *testing.T) {
	m := machine(t, 1, nil)
	c := classifier(t, m)
	test := synthetic(99, 200)
	area := func(c *decode.Classifier) float64 {
		s, err := c.Scores(test)
		if err != nil {
			t.Fatal(err)
		}
		a, err := decode.Area([]decode.Group{{Labels: test.Labels, Scores: s}})
		if err != nil {
			t.Fatal(err)
		}
		return a.Value
	}
	small, err := c.Quantize(synthetic(1, 80))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := area(c), area(small); a < 0.75 || b < a-0.02 {
		t.Errorf("areas %v, with int8 %v", a, b)
	}
}

func classifier(t testing.TB, m *tensor.Machine) *decode.Classifier {
	t.Helper()
	n, err := decode.Train(m, options(), synthetic(1, 80), synthetic(2, 40))
	if err != nil {
		t.Fatal(err)
	}
	return &decode.Classifier{
		Name: "bump", Net: n, Events: [2]string{"1", "2"}, Classes: [2]string{"flat", "bump"},
		Recipe: signal.Recipe{Channels: []string{"A", "B"}, Rate: 16, From: 0, To: 1, Standardise: signal.PerEpoch},
	}
}

func TestFile(t *testing.T) {
	m := machine(t, 1, nil)
	c := classifier(t, m)
	small, err := c.Quantize(synthetic(1, 80))
	if err != nil {
		t.Fatal(err)
	}
	test := synthetic(99, 20)
	for _, c := range []*decode.Classifier{c, small} {
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
		back, err := decode.Read(m, bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if back.Name != c.Name || back.Events != c.Events || back.Classes != c.Classes || !cmp.Equal(back.Recipe, c.Recipe) {
			t.Errorf("read %+v", back)
		}
		want, err := c.Scores(test)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := back.Scores(test); err != nil || !slices.Equal(got, want) {
			t.Errorf("other scores after reading, %v", err)
		}
		for _, n := range []int{0, 10, 200, b.Len() / 2} {
			if _, err := decode.Read(m, bytes.NewReader(b.Bytes()[:n]), int64(n)); !errors.Is(err, decode.ErrFile) {
				t.Errorf("cut to %d bytes: %v", n, err)
			}
		}
	}
	wrong := *c
	wrong.Recipe.To = 2
	var b bytes.Buffer
	if err := wrong.Write(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := decode.Read(m, bytes.NewReader(b.Bytes()), int64(b.Len())); !errors.Is(err, decode.ErrFile) {
		t.Errorf("a recipe that does not fit: %v", err)
	}
	if _, err := c.Scores(&signal.Epochs{Channels: 1, Samples: 3, Data: make([]float32, 3), Labels: []int32{0}}); err == nil {
		t.Error("epochs of another shape were accepted")
	}
}

func TestTrainRefuses(t *testing.T) {
	m := machine(t, 1, nil)
	odd := synthetic(1, 10)
	odd.Labels[3] = 2
	same := synthetic(1, 10)
	clear(same.Labels)
	other := synthetic(1, 10)
	other.Samples, other.Channels = 2, 16
	big := options()
	big.Members = 60
	wide := options()
	wide.Pool = 8
	for _, c := range []struct {
		why  string
		o    decode.Options
		sets []*signal.Epochs
	}{
		{"no epochs", options(), nil},
		{"label 2", options(), []*signal.Epochs{odd}},
		{"10 and 0 epochs", options(), []*signal.Epochs{same}},
		{"epochs of", options(), []*signal.Epochs{synthetic(1, 10), other}},
		{"the limit is 5000", big, []*signal.Epochs{synthetic(1, 10)}},
		{"pool is 8", wide, []*signal.Epochs{synthetic(1, 10)}},
	} {
		if _, err := decode.Train(m, c.o, c.sets...); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("got error %v, want one with %q", err, c.why)
		}
	}
}

// TestMeasure checks that the tested recording is not trained on: labels that
// are coin tosses cannot be guessed, except by who has seen them.
func TestMeasure(t *testing.T) {
	var recs []decode.Recording
	for i := range 5 {
		e := synthetic(uint32(10+i), 40)
		for j := range e.Labels {
			e.Labels[j] = int32(j / 2 % 2) // unrelated to the bump
		}
		recs = append(recs, decode.Recording{Person: []string{"a", "a", "b", "b", "c"}[i], Epochs: e, Microvolts: e})
	}
	o := options()
	o.Members, o.Passes = 1, 20
	for name, f := range map[string]func(*tensor.Machine, decode.Options, []decode.Recording) ([]decode.Result, error){
		"within": decode.WithinPersons, "across": decode.AcrossPersons,
	} {
		results, err := f(machine(t, 1, nil), o, recs)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"within": 2, "across": 3}[name]; len(results) != want {
			t.Errorf("%s: %d persons, want %d", name, len(results), want)
		}
		for _, r := range results {
			// Of 20 or 40 pairs of classes; a leak would give nearly 1.
			if r.Net.Value > 0.85 || r.LDA.Value > 0.85 || r.Raw != r.LDA {
				t.Errorf("%s: %+v", name, r)
			}
			if d := r.Net.Value - r.LDA.Value - r.More.Value; d > 1e-9 || d < -1e-9 {
				t.Errorf("%s: the difference is off by %v", name, d)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	m := machine(f, 1, nil)
	o := options()
	o.Members, o.Passes = 1, 1
	n, err := decode.Train(m, o, synthetic(1, 20))
	if err != nil {
		f.Fatal(err)
	}
	c := &decode.Classifier{Net: n, Recipe: signal.Recipe{Channels: []string{"A", "B"}, Rate: 16, To: 1}}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode.Read(m, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		e := &signal.Epochs{Channels: len(c.Recipe.Channels), Samples: c.Recipe.Samples()}
		e.Data = make([]float32, e.Channels*e.Samples)
		e.Labels = []int32{0}
		if _, err := c.Scores(e); err != nil {
			t.Fatal(err)
		}
	})
}
