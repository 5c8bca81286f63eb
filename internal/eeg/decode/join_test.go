package decode

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// TestJoin checks, from inside, that a joined net computes what it is put
// together from: each member's score over its deviation, and the score of a
// linear discriminant that sees the smoothed epoch.
func TestJoin(t *testing.T) {
	m := tensor.New(1, nil)
	defer m.Close()
	const channels, samples = 3, 21
	o := Options{Members: 2, Filters: 3, Depth: 2, Kernel: 8, Pool: 4, Second: 5}.complete()
	var list train.List
	state := uint32(1)
	for i := range 60 {
		x := make([]float32, channels*samples)
		for k := range x {
			state = state*1664525 + 1013904223
			x[k] = float32(int32(state)) / (1 << 30) // -2 to 2
			if i%2 == 1 && k%samples > 10 {
				x[k] += 0.5
			}
		}
		list = append(list, train.Example{Input: x, Label: int32(i % 2)})
	}
	j, err := newJoin(m, o, channels, samples, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, len(list))
	for i := range o.Members {
		member, err := net.New(m, o.spec(channels, samples, o.Filters, 1, nil), uint64(5+i))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range member.Params() { // biases too
			for k := range p.Data {
				p.Data[k] += 0.01
			}
		}
		scores, err := netScores(member, list)
		if err != nil {
			t.Fatal(err)
		}
		j.add(i, member, 0.5)
		for k, s := range scores {
			want[k] += 0.5 * s
		}
	}
	if err := j.addLinear(list); err != nil {
		t.Fatal(err)
	}
	features, labels := make([][]float64, len(list)), make([]int32, len(list))
	for i, e := range list {
		features[i], labels[i] = j.linear(e.Input), e.Label
	}
	lda, err := TrainLDA(features, labels)
	if err != nil {
		t.Fatal(err)
	}
	linear := make([]float64, len(list))
	for i := range linear {
		linear[i] = lda.Score(features[i])
	}
	got, err := netScores(j.net, list)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if w := want[i] + linear[i]/deviation(linear); math.Abs(got[i]-w) > 1e-4 {
			t.Errorf("epoch %d: score %v, want %v", i, got[i], w)
		}
	}
}
