package net_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// TestInt8 holds the outputs of int8 nets to what rounding can do. With scales
// of 1/127 of the largest value each weight and input is off by at most half a
// step, 0.4 %; the bound leaves room for the layers' errors to add up.
func TestInt8(t *testing.T) {
	for name, spec := range nets {
		m := machine(t, 1)
		n := newNet(t, m, spec)
		ex := examples(n, 70)
		q, err := net.Quantize(n, ex)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, got := make([]float32, 70*n.Outputs()), make([]float32, 70*n.Outputs())
		if err := n.Forward(want, ex); err != nil {
			t.Fatal(err)
		}
		if err := q.Forward(got, ex); err != nil {
			t.Fatal(err)
		}
		var off, size float64
		for i := range want {
			d := float64(want[i] - got[i])
			off += d * d
			size += float64(want[i]) * float64(want[i])
		}
		if r := math.Sqrt(off / size); !(r < 0.05) || r == 0 {
			t.Errorf("%s: the outputs are off by %.4f of their size", name, r)
		}
		loss, err := q.Evaluate(ex)
		float, _ := n.Evaluate(ex)
		if err != nil || loss.Count != 70 || math.Abs(loss.Sum-float.Sum) > 0.05*float.Sum {
			t.Errorf("%s: loss %+v, of the net %+v, %v", name, loss, float, err)
		}
		int8File(t, name, q, ex, got)
	}
}

// int8File writes and reads an int8 net, which must give the same outputs.
func int8File(t *testing.T, name string, q *net.Int8, ex []train.Example, want []float32) {
	var buf bytes.Buffer
	if err := q.Write(&buf); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	m := machine(t, 3)
	again, err := net.ReadInt8(m, bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got := make([]float32, len(want))
	if err := again.Forward(got, ex); err != nil || train.TensorRoot(got) != train.TensorRoot(want) {
		t.Errorf("%s: the net read gives other outputs: %v", name, err)
	}
	var second bytes.Buffer
	if err := again.Write(&second); err != nil || !bytes.Equal(second.Bytes(), buf.Bytes()) {
		t.Errorf("%s: written again, the file differs: %v", name, err)
	}
	if _, err := net.Read(m, bytes.NewReader(buf.Bytes()), int64(buf.Len())); err == nil {
		t.Errorf("%s: an int8 net is read as one of float32", name)
	}
}

// TestInt8Exact computes a dense layer and a convolution by hand.
func TestInt8Exact(t *testing.T) {
	m := machine(t, 1)
	for _, layer := range []net.Layer{
		{Kind: net.Dense, Units: 2},
		{Kind: net.Conv, Filters: 2, Kernel: [2]int{1, 1}},
	} {
		spec := net.Spec{Input: net.Vector(3), Layers: []net.Layer{layer}, Loss: net.MSE}
		n, err := net.New(m, &spec, 1)
		if err != nil {
			t.Fatal(err)
		}
		copy(n.Params()[0].Data, []float32{1, -0.5, 0.25, 0, 0, 0})
		copy(n.Params()[1].Data, []float32{10, 20})
		q, err := net.Quantize(n, []train.Example{{Input: []float32{2, 0, -1}}})
		if err != nil {
			t.Fatal(err)
		}
		// Codes of the weights: 127, -63.5 to the even -64, 31.75 to 32; scale
		// 1/127. Of the input 2, 5 (beyond the largest seen), -1: 127, 127 and
		// -63.5 to -64; scale 2/127.
		sum := float32(127*127 - 64*127 - 32*64)
		want := float32(sum*float32((float32(1)/127)*(float32(2)/127))) + 10
		out := make([]float32, 2)
		if err := q.Forward(out, []train.Example{{Input: []float32{2, 5, -1}}}); err != nil {
			t.Fatal(err)
		}
		if out[0] != want || out[1] != 20 {
			t.Errorf("%s: %v, want [%v 20]", layer.Kind, out, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	m := machine(f, 1)
	for _, spec := range nets {
		n := newNet(f, m, spec)
		var a, b bytes.Buffer
		q, err := net.Quantize(n, examples(n, 2))
		if err != nil {
			f.Fatal(err)
		}
		if err := n.Write(&a); err != nil {
			f.Fatal(err)
		}
		if err := q.Write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(a.Bytes())
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var buf bytes.Buffer
		if n, err := net.Read(m, bytes.NewReader(data), int64(len(data))); err == nil {
			if err := n.Write(&buf); err != nil {
				t.Errorf("a net that was read cannot be written: %v", err)
			}
		}
		if q, err := net.ReadInt8(m, bytes.NewReader(data), int64(len(data))); err == nil {
			if err := q.Write(&buf); err != nil {
				t.Errorf("an int8 net that was read cannot be written: %v", err)
			}
		}
	})
}

// small says whether a net is quickly computed.
func small(s *net.Spec) bool {
	shapes, err := s.Shapes()
	if err != nil || len(s.Layers) > 9 {
		return false
	}
	for i, l := range s.Layers {
		cost := shapes[i].Elements() * max(1, l.Units, shapes[i+1].Elements())
		cost *= max(1, l.Kernel[0]) * max(1, l.Kernel[1])
		if shapes[i].Elements() > 1e3 || shapes[i+1].Elements() > 1e3 || max(l.Kernel[0], l.Kernel[1]) > 1e3 || cost > 1e5 {
			return false
		}
	}
	return true
}

// runs makes a net of a valid spec, and trains and quantises it.
func runs(t *testing.T, m *tensor.Machine, s *net.Spec) {
	n, err := net.New(m, s, 1)
	if err != nil {
		t.Fatal(err)
	}
	ex := examples(n, 2)
	if _, err := n.Accumulate(ex, 1); err != nil {
		t.Fatal(err)
	}
	if q, err := net.Quantize(n, ex); err == nil {
		if err := q.Forward(make([]float32, 2*n.Outputs()), ex); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	m := machine(f, 1)
	for _, spec := range nets {
		b, err := spec.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := net.ParseSpec(data)
		if err != nil {
			return
		}
		if again, err := s.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x is read and written as %x, %v", data, again, err)
		}
		if small(s) {
			runs(t, m, s)
		}
	})
}
