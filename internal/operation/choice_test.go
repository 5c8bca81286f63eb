package operation_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
)

// choice is the source of an output cell that begins with its logits.
type choice struct {
	logits  []float32
	history []int32
}

func (c choice) X(int, int) ([]byte, error) {
	var b []byte
	for _, v := range c.logits {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b, nil
}
func (c choice) KV(int, int) ([]byte, error)          { return nil, errors.New("no state") }
func (c choice) Tokens(from, to int) ([]int32, error) { return c.history[from:to], nil }
func (c choice) Tensor(string) ([]byte, error)        { return nil, errors.New("no tensor") }
func (c choice) Matrices(string) []*kernel.Matrix     { return nil }

// drawn is what the cell chooses.
func (c choice) drawn(t testing.TB, logitCap float32, prompt int, params sample.Params) int32 {
	t.Helper()
	p, err := operation.PlanChoice(len(c.logits), logitCap, operation.OutputCell{Index: len(c.history) - prompt, Prompt: prompt, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	v, err := operation.Compute(p, c)
	if err != nil {
		t.Fatal(err)
	}
	last := len(p.Ops()) - 1
	id, err := p.Token(v.Leaf(last, 0))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// randomLogits makes logits of many kinds: spread out, close together, with
// ties, zeros of both signs, and without any difference.
func randomLogits(r *rand.Rand, vocab int) []float32 {
	z := make([]float32, vocab)
	kind := r.IntN(5)
	for i := range z {
		switch v := float32(r.NormFloat64()); kind {
		case 0:
			z[i] = 4 * v
		case 1:
			z[i] = float32(math.Round(float64(2 * v))) // many ties, and -0
		case 2:
			z[i] = 0.01 * v
		case 3:
			z[i] = float32(r.IntN(2)) * 20
		case 4:
			z[i] = float32(math.Copysign(0, float64(v)))
		}
	}
	return z
}

// randomParams makes parameters, each of them often off.
func randomParams(r *rand.Rand, vocab int) sample.Params {
	some := func(list ...float32) float32 { return list[r.IntN(len(list))] }
	p := sample.Params{
		Temperature:      some(0, 0.3, 1, 1.7, 100),
		TopK:             []int{0, 0, 1, 2, 40, vocab - 1, vocab, vocab + 1}[r.IntN(8)],
		TopP:             some(0, 0, 1, 0.5, 0.95, 1e-9, 0.99999994),
		MinP:             some(0, 0, 0.05, 1, 1e-6),
		RepeatPenalty:    some(0, 1, 1.1, 0.5, 100),
		FrequencyPenalty: some(0, 0, 0.2, -1, 100),
		PresencePenalty:  some(0, 0, 0.4, -2),
		RepeatLastN:      []int{0, -1, 1, 7, 600, 1 << 30}[r.IntN(6)],
		Seed:             r.Uint64(),
	}
	if r.IntN(3) == 0 {
		p.LogitBias = map[int32]float32{}
		for range 1 + r.IntN(20) {
			p.LogitBias[int32(r.IntN(vocab))] = some(-1, 3.5, float32(math.Inf(-1)), 100, math.MaxFloat32)
		}
	}
	return p
}

// TestChoice holds output cells to choose what the sampler chooses.
func TestChoice(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 400
	}
	for i := range n {
		r := newRandom(uint64(i))
		vocab := []int{1, 2, 60, 512, 513, 1300, 2100}[r.IntN(7)]
		c := choice{logits: randomLogits(r, vocab)}
		prompt := 1 + r.IntN(40)
		if r.IntN(10) == 0 {
			prompt = 3000
		}
		for range prompt + r.IntN(100) {
			c.history = append(c.history, int32(r.IntN(min(vocab, 1+r.IntN(300)))))
		}
		params := randomParams(r, vocab)
		s, err := sample.New(params, vocab)
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.Sample(c.logits, c.history, len(c.history)-prompt, nil)
		if errors.Is(err, sample.ErrNoCandidate) {
			want = -1
		} else if err != nil {
			t.Fatal(err)
		}
		if got := c.drawn(t, 0, prompt, params); got != want {
			t.Fatalf("case %d: %d, the sampler chooses %d (vocabulary %d, %+v)", i, got, want, vocab, params)
		}
	}
}

// TestChoiceFails holds that a logit that is not finite leaves nothing to
// choose, wherever it is and whatever bias it has.
func TestChoiceFails(t *testing.T) {
	const vocab = 1300
	inf := float32(math.Inf(1))
	for _, bad := range []float32{float32(math.NaN()), inf, -inf} {
		for _, at := range []int{0, 511, 512, vocab - 1} {
			for _, params := range []sample.Params{
				{},
				{Temperature: 1},
				{Temperature: 1, TopK: 3, TopP: 0.9, MinP: 0.1},
				{Temperature: 0.5, TopP: 0.9, LogitBias: map[int32]float32{int32(at): -inf}},
				{LogitBias: map[int32]float32{int32(at): -inf}},
			} {
				c := choice{logits: randomLogits(newRandom(1), vocab), history: []int32{0}}
				c.logits[at] = bad
				if got := c.drawn(t, 0, 1, params); got != -1 {
					t.Errorf("logit %d is %v, %+v: chose %d", at, bad, params, got)
				}
			}
		}
	}
	// A ban of every token, with a bias for each.
	params := sample.Params{Temperature: 1, TopK: 5, LogitBias: map[int32]float32{}}
	for i := range int32(60) {
		params.LogitBias[i] = -inf
	}
	c := choice{logits: make([]float32, 60), history: []int32{0}}
	for _, t0 := range []float32{0, 1} {
		params.Temperature = t0
		if got := c.drawn(t, 0, 1, params); got != -1 {
			t.Errorf("all banned, temperature %v: chose %d", t0, got)
		}
	}
}

// TestChoiceCap holds that a cap is on the logits before the bias.
func TestChoiceCap(t *testing.T) {
	c := choice{logits: []float32{100, 90, -3}, history: []int32{0}}
	capped := make([]float32, 3)
	for i, z := range c.logits {
		capped[i] = kernel.Softcap(z, 5)
	}
	params := sample.Params{LogitBias: map[int32]float32{2: 10}}
	if got, want := c.drawn(t, 5, 1, params), int32(2); got != want {
		t.Errorf("chose %d, want %d of %v", got, want, capped)
	}
	p, _ := operation.PlanChoice(3, 5, operation.OutputCell{Prompt: 1})
	v, err := operation.Compute(p, c)
	if err != nil {
		t.Fatal(err)
	}
	var got []float32
	for i := range 3 {
		got = append(got, math.Float32frombits(bits(v.Leaf(opOf(t, p, "logits"), 0), i)))
	}
	if !slices.Equal(got, capped) {
		t.Errorf("logits %v, want %v", got, capped)
	}
}
