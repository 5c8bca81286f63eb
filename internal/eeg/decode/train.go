package decode

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/eeg/signal"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// MaxParameters of a net.
const MaxParameters = 5000

// Options determine a net and its training, besides the epochs.
type Options struct {
	Members int `json:"members"` // nets that are trained from different seeds and joined to one; 0: 4
	Filters int `json:"filters"` // temporal filters of a member; 0: 4
	Depth   int `json:"depth"`   // spatial filters of each; 0: 2
	Kernel  int `json:"kernel"`  // length of a temporal filter in samples; 0: 16
	Pool    int `json:"pool"`    // samples that are averaged after it; 0: 4
	Second  int `json:"second"`  // length of the second, depthwise filter in pooled samples; 0: 8

	Dropout      float32 `json:"dropout"`       // [0, 0.99]
	Passes       int     `json:"passes"`        // how often a member sees each epoch; 0: 40
	Batch        int     `json:"batch"`         // 0: 64
	LearningRate float32 `json:"learning_rate"` // of AdamW; 0: 0.003
	WeightDecay  float32 `json:"weight_decay"`  //
	Seed         uint64  `json:"seed"`          // member i is a function of Seed + i
}

// complete puts the meaning of zero values in their place.
func (o Options) complete() Options {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&o.Members, 4)
	set(&o.Filters, 4)
	set(&o.Depth, 2)
	set(&o.Kernel, 16)
	set(&o.Pool, 4)
	set(&o.Second, 8)
	set(&o.Passes, 40)
	set(&o.Batch, 64)
	if o.LearningRate == 0 {
		o.LearningRate = 3e-3
	}
	return o
}

func (o Options) validate(channels, samples int) error {
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"members", o.Members, 1, 64},
		{"filters", o.Filters, 1, 64},
		{"depth", o.Depth, 1, 16},
		{"kernel", o.Kernel, 2, samples},
		{"pool", o.Pool, 1, min(samples, o.Kernel/2)}, // the linear branch needs its lags within the kernel
		{"second", o.Second, 1, samples},
		{"passes", o.Passes, 1, 10000},
		{"batch", o.Batch, 1, train.MaxBatch},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("decode: %s is %d for epochs of %d samples, want %d to %d", f.name, f.v, samples, f.lo, f.hi)
		}
	}
	if channels < 1 || channels > 64 || samples > 4096 {
		return fmt.Errorf("decode: epochs of %d channels and %d samples; at most 64 and 4096 are trained on", channels, samples)
	}
	return nil
}

// spec is a net with the given numbers of groups: temporal filters, and groups
// of filters·depth channels after them that do not see each other.
//
// It is EEGNet without batch norm, and without the pool after the second
// convolution: the last layer sees when something happened, to 1/16 s.
func (o Options) spec(channels, samples, temporal, groups int, weights []float32) *net.Spec {
	wide := temporal * o.Depth
	return &net.Spec{
		Input: net.Shape{Channels: 1, Height: channels, Width: samples},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: temporal, Kernel: [2]int{1, o.Kernel}, Padding: net.Same, NoBias: true},
			{Kind: net.Conv, Filters: wide, Kernel: [2]int{channels, 1}, Groups: temporal},
			{Kind: net.ELU},
			{Kind: net.AvgPool, Kernel: [2]int{1, o.Pool}},
			{Kind: net.Dropout, Rate: o.Dropout},
			{Kind: net.Conv, Filters: wide, Kernel: [2]int{1, o.Second}, Groups: wide, Padding: net.Same, NoBias: true},
			{Kind: net.Conv, Filters: wide, Kernel: [2]int{1, 1}, Groups: groups},
			{Kind: net.ELU},
			{Kind: net.Dropout, Rate: o.Dropout},
			{Kind: net.Dense, Units: 2},
		},
		Loss:         net.CrossEntropy,
		ClassWeights: weights,
	}
}

// Train trains a net on epochs with labels 0 and 1; spec/eeg.md section 8
// says how. m computes; it is the caller's to close. The same epochs and
// options give the same bits with any number of threads.
func Train(m *tensor.Machine, o Options, sets ...*signal.Epochs) (*net.Net, error) {
	o = o.complete()
	if len(sets) == 0 {
		return nil, fmt.Errorf("decode: no epochs to train on")
	}
	channels, samples := sets[0].Channels, sets[0].Samples
	if err := o.validate(channels, samples); err != nil {
		return nil, err
	}
	list, count, err := examples(sets)
	if err != nil {
		return nil, err
	}
	if count[0] < 2 || count[1] < 2 {
		return nil, fmt.Errorf("decode: %d and %d epochs of the two classes; at least 2 of each are needed", count[0], count[1])
	}
	weights := []float32{ // so that both classes weigh the same
		float32(len(list)) / float32(2*count[0]),
		float32(len(list)) / float32(2*count[1]),
	}
	j, err := newJoin(m, o, channels, samples, weights)
	if err != nil {
		return nil, err
	}
	for i := range o.Members {
		member, err := o.member(m, list, i, o.spec(channels, samples, o.Filters, 1, weights))
		if err != nil {
			return nil, fmt.Errorf("decode: member %d: %w", i, err)
		}
		scores, err := netScores(member, list)
		if err != nil {
			return nil, err
		}
		j.add(i, member, float64(1/float64(float64(o.Members)*deviation(scores))))
	}
	if err := j.addLinear(list); err != nil {
		return nil, err
	}
	return j.net, nil
}

// member trains one net.
func (o Options) member(m *tensor.Machine, list train.List, i int, spec *net.Spec) (*net.Net, error) {
	n, err := net.New(m, spec, o.Seed+uint64(i))
	if err != nil {
		return nil, err
	}
	c := train.DefaultConfig(train.AdamW)
	c.Seed = o.Seed + uint64(i)
	c.Batch = min(o.Batch, len(list))
	c.Steps = max(1, o.Passes*len(list)/c.Batch)
	c.Warmup = c.Steps / 20
	c.LearningRate, c.WeightDecay = o.LearningRate, o.WeightDecay
	t, err := train.NewTrainer(m, c, n, list)
	if err != nil {
		return nil, err
	}
	for t.Done() < c.Steps {
		if _, err := t.Step(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// examples puts the epochs of all sets one after the other.
func examples(sets []*signal.Epochs) (list train.List, count [2]int, err error) {
	for _, e := range sets {
		if e.Channels != sets[0].Channels || e.Samples != sets[0].Samples {
			return nil, count, fmt.Errorf("decode: epochs of %d x %d and of %d x %d", e.Channels, e.Samples, sets[0].Channels, sets[0].Samples)
		}
		for i := range e.Len() {
			l := e.Labels[i]
			if l != 0 && l != 1 {
				return nil, count, fmt.Errorf("decode: an epoch with label %d; labels are 0 and 1", l)
			}
			count[l]++
			list = append(list, train.Example{Input: e.At(i), Label: l})
		}
	}
	return list, count, nil
}

// forwarder is a net, or one of int8.
type forwarder interface {
	Forward(out []float32, examples []train.Example) error
}

// netScores returns by how much the second output exceeds the first.
func netScores(n forwarder, list train.List) ([]float64, error) {
	out := make([]float32, 2*len(list))
	if err := n.Forward(out, list); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	s := make([]float64, len(list))
	for i := range s {
		s[i] = float64(out[2*i+1]) - float64(out[2*i])
	}
	return s, nil
}

// deviation returns the standard deviation of scores, and 1 for those that
// are all equal.
func deviation(x []float64) float64 {
	mean := 0.0
	for _, v := range x {
		mean += v
	}
	mean = float64(mean / float64(len(x)))
	s := 0.0
	for _, v := range x {
		d := v - mean
		s += float64(d * d)
	}
	if s == 0 {
		return 1
	}
	return math.Sqrt(float64(s / float64(len(x))))
}
