package net_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/google/go-cmp/cmp"
)

// nets are specs that between them have every kind of layer and every option.
var nets = map[string]net.Spec{
	"dense": {
		Input:  net.Vector(5),
		Layers: []net.Layer{{Kind: net.Dense, Units: 7, Init: net.GlorotUniform}, {Kind: net.Tanh}, {Kind: net.Dense, Units: 3, NoBias: true}},
		Loss:   net.MSE,
	},
	"long sums": {
		Input:  net.Vector(70),
		Layers: []net.Layer{{Kind: net.Dense, Units: 40}, {Kind: net.ELU}, {Kind: net.Dense, Units: 3}},
		Loss:   net.CrossEntropy,
	},
	"activations": {
		Input: net.Vector(9),
		Layers: []net.Layer{
			{Kind: net.Dense, Units: 8},
			{Kind: net.GELU},
			{Kind: net.Dense, Units: 8},
			{Kind: net.SiLU},
			{Kind: net.Dense, Units: 8},
			{Kind: net.Sigmoid},
			{Kind: net.Dense, Units: 8},
			{Kind: net.ReLU},
		},
		Loss: net.MSE,
	},
	"class weights": {
		Input:        net.Vector(4),
		Layers:       []net.Layer{{Kind: net.Dense, Units: 3}},
		Loss:         net.CrossEntropy,
		ClassWeights: []float32{1, 5, 0.5},
	},
	"conv 1d": {
		Input: net.Shape{Channels: 3, Height: 1, Width: 19},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: 4, Kernel: [2]int{1, 5}, Stride: [2]int{1, 2}},
			{Kind: net.ELU},
			{Kind: net.Conv, Filters: 6, Kernel: [2]int{1, 3}, Padding: net.Same, NoBias: true},
			{Kind: net.MaxPool, Kernel: [2]int{1, 3}, Stride: [2]int{1, 2}},
			{Kind: net.Dense, Units: 2},
		},
		Loss: net.CrossEntropy,
	},
	"conv 2d": {
		Input: net.Shape{Channels: 2, Height: 7, Width: 6},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: 4, Kernel: [2]int{3, 2}, Padding: net.Same, Stride: [2]int{2, 1}, Groups: 2},
			{Kind: net.GroupNorm, Groups: 2},
			{Kind: net.GELU},
			{Kind: net.Conv, Filters: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 3}},
			{Kind: net.RMSNorm, Epsilon: 1e-3},
			{Kind: net.AvgPool},
		},
		Loss: net.CrossEntropy,
	},
	"overlapping pools": {
		Input: net.Shape{Channels: 2, Height: 5, Width: 9},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: 2, Kernel: [2]int{1, 1}},
			{Kind: net.AvgPool, Kernel: [2]int{5, 8}, Stride: [2]int{1, 1}},
			{Kind: net.MaxPool, Kernel: [2]int{1, 2}, Stride: [2]int{1, 1}},
			{Kind: net.Dense, Units: 2},
		},
		Loss: net.CrossEntropy,
	},
	"eeg": eegSpec(8, 40, 0.25),
}

// eegSpec is a small net for signals of some electrodes and samples, in the
// manner of EEGNet (Lawhern et al. 2018): a convolution in time, one over the
// electrodes, a separable one.
func eegSpec(electrodes, samples int, dropout float32) net.Spec {
	return net.Spec{
		Input: net.Shape{Channels: 1, Height: electrodes, Width: samples},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: 4, Kernel: [2]int{1, 16}, Padding: net.Same, NoBias: true},
			{Kind: net.GroupNorm, Groups: 4},
			{Kind: net.Conv, Filters: 8, Kernel: [2]int{electrodes, 1}, Groups: 4, NoBias: true},
			{Kind: net.GroupNorm},
			{Kind: net.ELU},
			{Kind: net.AvgPool, Kernel: [2]int{1, 4}},
			{Kind: net.Dropout, Rate: dropout},
			{Kind: net.Conv, Filters: 8, Kernel: [2]int{1, 5}, Padding: net.Same, Groups: 8, NoBias: true},
			{Kind: net.Conv, Filters: 8, Kernel: [2]int{1, 1}, NoBias: true},
		},
		Loss: net.CrossEntropy,
	}
}

func machine(t testing.TB, threads int) *tensor.Machine {
	m := tensor.New(threads, nil)
	t.Cleanup(m.Close)
	return m
}

func newNet(t testing.TB, m *tensor.Machine, s net.Spec) *net.Net {
	t.Helper()
	n, err := net.New(m, &s, 7)
	if err != nil {
		t.Fatal(err)
	}
	// Biases and norms of other values than those they begin with.
	for _, p := range n.Params() {
		if strings.HasSuffix(p.Name, "bias") || len(p.Shape) == 1 {
			noise := make([]float32, len(p.Data))
			train.NewRandom(3, p.Name, 0).Normal(noise, 0.3)
			for i, x := range noise {
				p.Data[i] += x
			}
		}
	}
	return n
}

// examples makes random examples for a net.
func examples(n *net.Net, count int) []train.Example {
	out := make([]train.Example, count)
	r := train.NewRandom(5, "examples", 0)
	for i := range out {
		e := &out[i]
		e.Input = make([]float32, n.Spec().Input.Elements())
		r.Normal(e.Input, 1)
		e.Target = make([]float32, n.Outputs())
		r.Normal(e.Target, 1)
		e.Label = int32(r.Below(uint64(n.Outputs())))
		e.Draw = r.Uint64()
	}
	return out
}

// TestForward compares the outputs and the loss with those of the twin. float32
// has 24 bits; the sums here have at most some hundred terms of size about 1, so
// that 1e-4 leaves room for their rounding and is far below any slip.
func TestForward(t *testing.T) {
	for name, spec := range nets {
		t.Run(name, func(t *testing.T) {
			n := newNet(t, machine(t, 1), spec)
			ex := examples(n, 5)
			out := make([]float32, 5*n.Outputs())
			if err := n.Forward(out, ex); err != nil {
				t.Fatal(err)
			}
			twin := newTwin(n)
			for i := range ex {
				for j, want := range twin.outputs(&ex[i], false) {
					if got := out[i*n.Outputs()+j]; math.Abs(float64(got)-want) > 1e-4*(1+math.Abs(want)) {
						t.Errorf("example %d, output %d: %v, want %v", i, j, got, want)
					}
				}
			}
			loss, err := n.Evaluate(ex)
			if err != nil {
				t.Fatal(err)
			}
			if want := twin.loss(ex, false); math.Abs(loss.Sum-want) > 1e-4*(1+want) || loss.Count != 5 {
				t.Errorf("loss %v of %d, want %v of 5", loss.Sum, loss.Count, want)
			}
		})
	}
}

// TestGradients compares every element of the gradient with the central
// difference of the twin's loss. With a step of 1e-5 in float64 its own error is
// about 1e-10 from the third derivative and 1e-11 from rounding, so that the
// tolerance is that of float32 alone.
func TestGradients(t *testing.T) {
	const h, scale = 1e-5, 0.25
	for name, spec := range nets {
		t.Run(name, func(t *testing.T) {
			n := newNet(t, machine(t, 1), spec)
			ex := examples(n, 3)
			if _, err := n.Accumulate(ex, scale); err != nil {
				t.Fatal(err)
			}
			twin := newTwin(n)
			for _, p := range n.Params() {
				w := twin.params[p.Name]
				size := 0.0 // of the gradient, which errors go with
				for _, g := range p.Grad {
					size = max(size, math.Abs(float64(g)))
				}
				if size == 0 {
					t.Errorf("%s has no gradient", p.Name)
				}
				for i := 0; i < len(w); i += 1 + len(w)/60 {
					at := w[i]
					w[i] = at + h
					above := twin.loss(ex, true)
					w[i] = at - h
					below := twin.loss(ex, true)
					w[i] = at
					want := scale * (above - below) / (2 * h)
					if got := float64(p.Grad[i]); math.Abs(got-want) > 1e-4*(size+math.Abs(want))+1e-7 {
						t.Errorf("%s[%d]: %v, want %v", p.Name, i, got, want)
					}
				}
			}
		})
	}
}

// TestGradientsAdd holds Accumulate to adding: two examples one after the other
// give about the gradient of both at once.
func TestGradientsAdd(t *testing.T) {
	n := newNet(t, machine(t, 1), nets["conv 2d"])
	ex := examples(n, 2)
	grads := func(batches ...[]train.Example) []float32 {
		var out []float32
		for _, p := range n.Params() {
			clear(p.Grad)
		}
		for _, b := range batches {
			if _, err := n.Accumulate(b, 1); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range n.Params() {
			out = append(out, p.Grad...)
		}
		return out
	}
	both, apart := grads(ex), grads(ex[:1], ex[1:])
	for i := range both {
		if math.Abs(float64(both[i]-apart[i])) > 1e-5*(1+math.Abs(float64(both[i]))) {
			t.Errorf("element %d: %v at once, %v one by one", i, both[i], apart[i])
		}
	}
}

// bits is a digest of what a batch leaves: outputs, loss and gradients.
func bits(t *testing.T, m *tensor.Machine, spec net.Spec) string {
	n := newNet(t, m, spec)
	ex := examples(n, 11)
	loss, err := n.Accumulate(ex, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	var all []float32
	for _, p := range n.Params() {
		all = append(all, p.Grad...)
	}
	out := make([]float32, len(ex)*n.Outputs())
	if err := n.Forward(out, ex); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(math.Float64bits(loss.Sum), train.TensorRoot(all), train.TensorRoot(out))
}

// TestSameBits holds the bits to those of one thread and the plain Go kernel.
func TestSameBits(t *testing.T) {
	for name, spec := range nets {
		reference, err := kernel.Named("generic")
		if err != nil {
			t.Fatal(err)
		}
		one := tensor.New(1, reference)
		want := bits(t, one, spec)
		one.Close()
		for i, k := range kernel.All() {
			for _, threads := range threadCounts(i) {
				m := tensor.New(threads, k)
				if got := bits(t, m, spec); got != want {
					t.Errorf("%s: kernel %v, %d threads: other bits", name, k, threads)
				}
				m.Close()
			}
		}
	}
}

// TestEvaluateCut holds the loss to not depending on how examples are cut.
func TestEvaluateCut(t *testing.T) {
	n := newNet(t, machine(t, 1), nets["eeg"])
	ex := examples(n, 131)
	want, err := n.Evaluate(ex)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 64, 100, 131} {
		a, _ := n.Evaluate(ex[:cut])
		b, _ := n.Evaluate(ex[cut:])
		a.Add(b)
		if a.Count != want.Count || a.Correct != want.Correct || math.Abs(a.Sum-want.Sum) > 1e-9 {
			t.Errorf("cut at %d: %+v, want %+v", cut, a, want)
		}
	}
	for _, e := range []train.Example{{Input: ex[0].Input[1:]}, {Input: ex[0].Input, Label: -1}, {Input: ex[0].Input, Label: 1 << 20}} {
		if _, err := n.Evaluate([]train.Example{e}); err == nil {
			t.Errorf("an example that does not fit is accepted: %d numbers, class %d", len(e.Input), e.Label)
		}
	}
}

func TestFile(t *testing.T) {
	for name, spec := range nets {
		m := machine(t, 1)
		n := newNet(t, m, spec)
		n.Meta = []net.KeyValue{{Key: "aval.classes", Value: gguf.ArrayOf([]string{"yes", "no"})}}
		var buf bytes.Buffer
		if err := n.Write(&buf); err != nil {
			t.Fatal(err)
		}
		again, err := net.Read(m, bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(n.Spec(), again.Spec()); diff != "" {
			t.Errorf("%s: the spec differs:\n%s", name, diff)
		}
		if len(again.Meta) != 1 || again.Meta[0] != n.Meta[0] {
			t.Errorf("%s: metadata %v, want %v", name, again.Meta, n.Meta)
		}
		for i, p := range n.Params() {
			if train.TensorRoot(p.Data) != train.TensorRoot(again.Params()[i].Data) {
				t.Errorf("%s: %s differs after reading", name, p.Name)
			}
		}
		if _, err := net.ReadInt8(m, bytes.NewReader(buf.Bytes()), int64(buf.Len())); err == nil {
			t.Errorf("%s: read as an int8 net", name)
		}
	}
}

func TestSpecRefuses(t *testing.T) {
	in := net.Shape{Channels: 4, Height: 3, Width: 8}
	ok := net.Layer{Kind: net.Dense, Units: 2}
	for want, s := range map[string]net.Spec{
		"0 layers":                 {Input: in, Loss: net.MSE},
		"input of shape":           {Input: net.Shape{Channels: 4, Height: 3}, Layers: []net.Layer{ok}, Loss: net.MSE},
		"kind is unknown":          {Input: in, Layers: []net.Layer{{Kind: "attention"}}, Loss: net.MSE},
		"loss is":                  {Input: in, Layers: []net.Layer{ok}},
		"needs one for each":       {Input: in, Layers: []net.Layer{{Kind: net.Dense, Units: 1}}, Loss: net.CrossEntropy},
		"class weights for":        {Input: in, Layers: []net.Layer{ok}, Loss: net.CrossEntropy, ClassWeights: []float32{1}},
		"weight of class 1":        {Input: in, Layers: []net.Layer{ok}, Loss: net.CrossEntropy, ClassWeights: []float32{1, -1}},
		"class weights with":       {Input: in, Layers: []net.Layer{ok}, Loss: net.MSE, ClassWeights: []float32{1, 1}},
		"units is 0":               {Input: in, Layers: []net.Layer{{Kind: net.Dense}}, Loss: net.MSE},
		"a field is set":           {Input: in, Layers: []net.Layer{{Kind: net.ReLU, Rate: 0.5}}, Loss: net.MSE},
		"rate is":                  {Input: in, Layers: []net.Layer{{Kind: net.Dropout, Rate: 1}}, Loss: net.MSE},
		"3 groups do not divide":   {Input: in, Layers: []net.Layer{{Kind: net.GroupNorm, Groups: 3}}, Loss: net.MSE},
		"4 groups do not divide":   {Input: in, Layers: []net.Layer{{Kind: net.Conv, Filters: 6, Kernel: [2]int{1, 1}, Groups: 4}}, Loss: net.MSE},
		"kernel 9 is larger":       {Input: in, Layers: []net.Layer{{Kind: net.MaxPool, Kernel: [2]int{1, 9}}}, Loss: net.MSE},
		"kernel 0 and stride":      {Input: in, Layers: []net.Layer{{Kind: net.Conv, Filters: 1}}, Loss: net.MSE},
		"padding is":               {Input: in, Layers: []net.Layer{{Kind: net.Conv, Filters: 1, Kernel: [2]int{1, 1}, Padding: "full"}}, Loss: net.MSE},
		"init is":                  {Input: in, Layers: []net.Layer{{Kind: net.Dense, Units: 1, Init: "zero"}}, Loss: net.MSE},
		"epsilon is":               {Input: in, Layers: []net.Layer{{Kind: net.RMSNorm, Epsilon: 2}}, Loss: net.MSE},
		"weights: [1048576":        {Input: net.Vector(1 << 20), Layers: []net.Layer{{Kind: net.Dense, Units: 1 << 20}}, Loss: net.MSE},
		"elements of all windows":  {Input: net.Shape{Channels: 1, Height: 1 << 12, Width: 1 << 12}, Layers: []net.Layer{{Kind: net.Conv, Filters: 1, Kernel: [2]int{9, 9}}}, Loss: net.MSE},
		"multiply to more":         {Input: in, Layers: []net.Layer{{Kind: net.Conv, Filters: 1, Kernel: [2]int{1 << 24, 1 << 24}, Padding: net.Same}}, Loss: net.MSE},
		"output of shape":          {Input: net.Shape{Channels: 1, Height: 1 << 12, Width: 1 << 12}, Layers: []net.Layer{{Kind: net.Conv, Filters: 9, Kernel: [2]int{1, 1}}}, Loss: net.MSE},
		"more than 268435456 weig": {Input: net.Vector(1 << 14), Layers: []net.Layer{{Kind: net.Dense, Units: 1 << 14}, {Kind: net.Dense, Units: 1 << 14}}, Loss: net.MSE},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
}
