package decode

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// The layers with weights, by their places in [Options.spec].
const (
	temporalLayer = 0
	spatialLayer  = 1
	secondLayer   = 5
	mixLayer      = 6
	denseLayer    = 9
)

// The linear branch goes through the same two activations as the members. ELU
// leaves positive values alone, so its channels are shifted to where they are
// positive: an epoch is standardised, and in it values below -8 standard
// deviations are artefacts. The scale brings them into the range of the
// members' values, which share their int8 scale.
const (
	linearScale = 0.25
	linearShift = 8 * linearScale
)

// join is a net that holds the members side by side, in groups that do not see
// each other, and beside them the linear branch.
type join struct {
	o                 Options
	channels, samples int
	pooled            int // samples after the pool
	net               *net.Net
	params            map[string][]float32
	temporal          int // filters of the linear branch: each lag, as often as all its electrodes need
}

func newJoin(m *tensor.Machine, o Options, channels, samples int, weights []float32) (*join, error) {
	j := &join{o: o, channels: channels, samples: samples, pooled: samples / o.Pool}
	// Each lag needs a channel for each electrode; a temporal filter gives
	// depth of them, and the groups of the mixing layer have filters·depth.
	perLag := (channels + o.Depth - 1) / o.Depth
	j.temporal = (o.Pool*perLag + o.Filters - 1) / o.Filters * o.Filters
	temporal := o.Members*o.Filters + j.temporal
	n, err := net.New(m, o.spec(channels, samples, temporal, temporal/o.Filters, weights), 0)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if n.Size() > MaxParameters {
		return nil, fmt.Errorf("decode: the net has %d parameters, the limit is %d: use fewer members or filters", n.Size(), MaxParameters)
	}
	j.net, j.params = n, byName(n)
	for _, p := range j.params {
		clear(p)
	}
	return j, nil
}

func byName(n *net.Net) map[string][]float32 {
	out := map[string][]float32{}
	for _, p := range n.Params() {
		out[p.Name] = p.Data
	}
	return out
}

func weight(layer int) string { return fmt.Sprintf("layers.%d.weight", layer) }
func bias(layer int) string   { return fmt.Sprintf("layers.%d.bias", layer) }

// add copies a member to its place and scales its outputs.
func (j *join) add(i int, member *net.Net, scale float64) {
	from := byName(member)
	for _, layer := range []int{temporalLayer, spatialLayer, secondLayer, mixLayer} {
		for _, name := range []string{weight(layer), bias(layer)} {
			copy(j.params[name][i*len(from[name]):], from[name])
		}
	}
	wide := j.o.Filters * j.o.Depth * j.pooled // inputs of the member's last layer
	all := len(j.params[weight(denseLayer)]) / 2
	for out := range 2 {
		dst := j.params[weight(denseLayer)][out*all+i*wide:]
		for k, v := range from[weight(denseLayer)][out*wide : (out+1)*wide] {
			dst[k] = float32(float64(v) * scale)
		}
		j.params[bias(denseLayer)][out] += float32(float64(from[bias(denseLayer)][out]) * scale)
	}
}

// addLinear fits a linear discriminant to what the linear branch carries to
// the last layer, and adds it to the outputs: its scores get the standard
// deviation 1, as the mean of the members would have if they agreed.
//
// The branch carries the mean of each window of the pool, at every lag: the
// epoch at its full rate, smoothed.
func (j *join) addLinear(list train.List) error {
	features := make([][]float64, len(list))
	labels := make([]int32, len(list))
	for i, e := range list {
		features[i], labels[i] = j.linear(e.Input), e.Label
	}
	lda, err := TrainLDA(features, labels)
	if err != nil {
		return err
	}
	scores := make([]float64, len(list))
	for i, f := range features {
		scores[i] = lda.Score(f)
	}
	// The difference of the two outputs is the score: each takes half.
	half := float64(0.5 / deviation(scores))
	dense, shift := j.params[weight(denseLayer)], j.params[bias(denseLayer)]
	all := len(dense) / 2
	constant := float64(half * lda.Bias)
	at := 0
	for lag := range j.o.Pool {
		for c := range j.channels {
			channel := j.pass(lag, c)
			for w := range j.pooled {
				v := float64(float64(half*lda.Weights[at]) / linearScale)
				dense[channel*j.pooled+w] = float32(-v)
				dense[all+channel*j.pooled+w] = float32(v)
				constant -= float64(v * linearShift)
				at++
			}
		}
	}
	shift[0] -= float32(constant)
	shift[1] += float32(constant)
	return nil
}

// pass sets the filters that carry one electrode at one lag through to the
// last layer, and returns the channel there.
func (j *join) pass(lag, electrode int) int {
	o := j.o
	perLag := (j.channels + o.Depth - 1) / o.Depth
	filter := o.Members*o.Filters + lag*perLag + electrode/o.Depth
	channel := filter*o.Depth + electrode%o.Depth
	j.params[weight(temporalLayer)][filter*o.Kernel+(o.Kernel-1)/2+lag] = 1
	j.params[weight(spatialLayer)][channel*j.channels+electrode] = linearScale
	j.params[bias(spatialLayer)][channel] = linearShift
	j.params[weight(secondLayer)][channel*o.Second+(o.Second-1)/2] = 1
	group := o.Filters * o.Depth
	j.params[weight(mixLayer)][channel*group+channel%group] = 1
	return channel
}

// linear returns what the linear branch carries, without shift and scale: lag
// by lag, electrode by electrode. Beyond the epoch's end there are zeros.
func (j *join) linear(x []float32) []float64 {
	out := make([]float64, 0, j.o.Pool*j.channels*j.pooled)
	for lag := range j.o.Pool {
		for c := range j.channels {
			row := x[c*j.samples : (c+1)*j.samples]
			for w := range j.pooled {
				s := 0.0
				for k := range j.o.Pool {
					if t := w*j.o.Pool + k + lag; t < len(row) {
						s += float64(row[t])
					}
				}
				out = append(out, float64(s/float64(j.o.Pool)))
			}
		}
	}
	return out
}
