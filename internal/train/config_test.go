package train_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/train"
)

func TestConfigRoundTrip(t *testing.T) {
	seen := map[string]string{}
	for name, c := range configs() {
		b, err := c.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := train.ParseConfig(b)
		if err != nil || got != c.Complete() {
			t.Errorf("%s: read as %+v, %v", name, got, err)
		}
		d, err := c.Digest()
		if err != nil || seen[d.String()] != "" {
			t.Errorf("%s: digest %v of %q too, %v", name, d, seen[d.String()], err)
		}
		seen[d.String()] = name
	}
}

// TestConfigOneForm: what means the same has the same bytes, and nothing but
// these is read.
func TestConfigOneForm(t *testing.T) {
	short := train.Config{Optimizer: train.SGD, Steps: 1, Batch: 3, LearningRate: 1}
	long := short
	long.MicroBatch, long.Schedule = 3, train.Constant
	a, errA := short.Marshal()
	b, errB := long.Marshal()
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("%x and %x (%v, %v) for the same run", a, b, errA, errB)
	}
	// micro_batch 3 replaced by 0.
	bad := bytes.Replace(a, []byte{4, 3, 5}, []byte{4, 0, 5}, 1)
	if bytes.Equal(a, bad) {
		t.Fatal("the encoding has another form than this test thinks")
	}
	if _, err := train.ParseConfig(bad); err == nil {
		t.Error("an encoding with a default left out is read")
	}
	if _, err := train.ParseConfig(make([]byte, 1<<11)); err == nil {
		t.Error("2048 bytes are read")
	}
}

func TestConfigRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for want, change := range map[string]func(*train.Config){
		"steps is 0":             func(c *train.Config) { c.Steps = 0 },
		"batch is":               func(c *train.Config) { c.Batch = train.MaxBatch + 1 },
		"micro_batch is":         func(c *train.Config) { c.MicroBatch = c.Batch + 1 },
		"warmup is":              func(c *train.Config) { c.Warmup = c.Steps + 1 },
		"checkpoint_every is":    func(c *train.Config) { c.CheckpointEvery = -1 },
		`optimizer is "lion"`:    func(c *train.Config) { c.Optimizer = "lion" },
		"learning_rate is 0":     func(c *train.Config) { c.LearningRate = 0 },
		"learning_rate is NaN":   func(c *train.Config) { c.LearningRate = nan },
		"min_learning_rate is":   func(c *train.Config) { c.MinLearningRate = 1 },
		"beta1 is 1":             func(c *train.Config) { c.Beta1 = 1 },
		"beta2 is NaN":           func(c *train.Config) { c.Beta2 = nan },
		"epsilon is 0":           func(c *train.Config) { c.Epsilon = 0 },
		"momentum is 0.9":        func(c *train.Config) { c.Momentum = 0.9 },
		"weight_decay is -1":     func(c *train.Config) { c.WeightDecay = -1 },
		"clip is -1":             func(c *train.Config) { c.Clip = -1 },
		"example_clip is +Inf":   func(c *train.Config) { c.ExampleClip = float32(math.Inf(1)) },
		"want 1 with example":    func(c *train.Config) { c.ExampleClip, c.MicroBatch = 1, 2 },
		`schedule is "step"`:     func(c *train.Config) { c.Schedule = "step" },
		"needs the schedule":     func(c *train.Config) { c.Schedule = "" },
		"beta1 is 0.9, want 0 t": func(c *train.Config) { c.Optimizer = train.SGD },
	} {
		c := configs()["adamw"]
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
		if _, err := c.Marshal(); err == nil {
			t.Errorf("%q is encoded", want)
		}
	}
}

// TestRate compares with the formulas as package math computes them.
func TestRate(t *testing.T) {
	c := train.Config{Steps: 110, Warmup: 10, LearningRate: 0.5, MinLearningRate: 0.1}
	for _, k := range []struct {
		schedule string
		at       func(done float64) float64
	}{
		{train.Linear, func(d float64) float64 { return 0.5 - 0.4*d }},
		{train.Cosine, func(d float64) float64 { return 0.1 + 0.4*(1+math.Cos(math.Pi*d))/2 }},
		{train.Constant, func(float64) float64 { return 0.5 }},
	} {
		c.Schedule = k.schedule
		for step := range 110 {
			want := k.at(float64(step-10) / 100)
			if step < 10 {
				want = 0.5 * float64(step+1) / 10
			}
			if got := float64(c.Rate(step)); math.Abs(got-want) > 1e-7 {
				t.Errorf("%s: step %d has rate %v, want %v", k.schedule, step, got, want)
			}
		}
	}
	c.Warmup = c.Steps // nothing but warm-up
	if got := c.Rate(109); got != 0.5 {
		t.Errorf("the last step of the warm-up has rate %v", got)
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, c := range configs() {
		b, err := c.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := train.ParseConfig(data)
		if err != nil {
			return
		}
		again, err := c.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x is read and written as %x, %v", data, again, err)
		}
	})
}
