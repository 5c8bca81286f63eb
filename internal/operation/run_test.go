package operation_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
)

// run is a run of a model whose cells are computed here. It is the source of
// what they depend on.
type run struct {
	t      testing.TB
	file   *gguf.File
	model  *model.Model
	tokens []int32
	prompt int
	x, kv  map[[2]int][]byte // by layer and position

	packed bool // hand out the model's matrices

	adapters []operation.Adapter
	loras    []*gguf.File // of the adapters
}

// open writes and loads a synthetic model.
func open(t testing.TB, s *testmodel.Model) *run {
	t.Helper()
	path, err := s.Write(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	return openFile(t, path)
}

func openFile(t testing.TB, path string) *run {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return loaded(t, f, nil)
}

func loaded(t testing.TB, f *gguf.File, adapters []model.Adapter) *run {
	t.Helper()
	m, err := model.Load(f, model.Options{Adapters: adapters})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return &run{t: t, file: f, model: m, x: map[[2]int][]byte{}, kv: map[[2]int][]byte{}, packed: true}
}

func find[T any](m map[[2]int]T, layer, position int) (T, error) {
	v, ok := m[[2]int{layer, position}]
	if !ok {
		return v, fmt.Errorf("no state of layer %d at position %d", layer, position)
	}
	return v, nil
}

func (r *run) X(layer, position int) ([]byte, error)  { return find(r.x, layer, position) }
func (r *run) KV(layer, position int) ([]byte, error) { return find(r.kv, layer, position) }
func (r *run) Tokens(from, to int) ([]int32, error)   { return r.tokens[from:to], nil }

func (r *run) Tensor(name string) ([]byte, error) {
	f := r.file
	if i, own, ok := operation.OfAdapter(name); ok {
		f, name = r.loras[i], own
	}
	return f.Data(f.Tensor(name)), nil
}

func (r *run) Matrices(name string) []*kernel.Matrix {
	if !r.packed {
		return nil
	}
	return r.model.Matrices(name)
}

func (r *run) layer(layer, position int) *operation.Plan {
	r.t.Helper()
	p, err := operation.PlanLayer(r.file, 0, operation.LayerCell{Layer: layer, Position: position, Token: r.tokens[position]}, r.adapters...)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *run) output(index int, params sample.Params) *operation.Plan {
	r.t.Helper()
	p, err := operation.PlanOutput(r.file, 0, operation.OutputCell{Index: index, Prompt: r.prompt, Params: params}, r.adapters...)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *run) compute(p *operation.Plan) *operation.Values {
	r.t.Helper()
	v, err := operation.Compute(p, r)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// value joins the leaves of an operation.
func value(v *operation.Values, op int) []byte {
	var b []byte
	for i := range v.Plan().Ops()[op].Leaves {
		b = append(b, v.Leaf(op, i)...)
	}
	return b
}

// cells computes the cells of positions from to to-1, and keeps their states.
func (r *run) cells(from, to int, visit func(layer, position int, v *operation.Values)) {
	for p := from; p < to; p++ {
		for l := range r.model.Config().Layers {
			v := r.compute(r.layer(l, p))
			x, kv, _ := v.Plan().State()
			r.x[[2]int{l, p}], r.kv[[2]int{l, p}] = value(v, x), value(v, kv)
			if visit != nil {
				visit(l, p, v)
			}
		}
	}
}

// logits are those of the model for all tokens.
func (r *run) logits() []float32 {
	r.t.Helper()
	s := r.model.NewSequence()
	defer s.Close()
	steps := []model.Step{{Seq: s, Tokens: r.tokens, Want: len(r.tokens)}}
	if err := r.model.Forward(steps); err != nil {
		r.t.Fatal(err)
	}
	return steps[0].Logits
}

// run has the engine read n tokens.
func (r *run) run(n int) {
	r.t.Helper()
	random := newRandom(3)
	var tokens []int32
	for range n {
		tokens = append(tokens, int32(random.IntN(r.vocab())))
	}
	r.read(tokens)
}

// read has the engine read tokens and keeps the states.
func (r *run) read(tokens []int32) {
	r.t.Helper()
	r.tokens, r.prompt = tokens, len(tokens)
	s := r.model.NewSequence()
	defer s.Close()
	var mu sync.Mutex
	steps := []model.Step{{Seq: s, Tokens: r.tokens, Want: 1, Visit: func(layer, position int, x []float32) {
		mu.Lock()
		defer mu.Unlock()
		var b []byte
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		r.x[[2]int{layer, position}] = b
	}}}
	if err := r.model.Forward(steps); err != nil {
		r.t.Fatal(err)
	}
	for l := range r.model.Config().Layers {
		for p := range r.tokens {
			r.kv[[2]int{l, p}] = s.KV(nil, l, p, p+1)
		}
	}
}

// opOf finds an operation by its name.
func opOf(t testing.TB, p *operation.Plan, name string) int {
	t.Helper()
	for i, o := range p.Ops() {
		if o.Name == name {
			return i
		}
	}
	t.Fatalf("no operation %q", name)
	return 0
}

// TestModels holds the cells of every architecture to give the logits of the
// engine, bit for bit, at every position of a text.
func TestModels(t *testing.T) {
	for _, list := range [][]testmodel.Model{testmodel.Models, testmodel.Wide} {
		for i := range list {
			t.Run(list[i].Name, func(t *testing.T) {
				t.Parallel()
				r := open(t, &list[i])
				r.tokens, r.prompt = testmodel.Text(), 1
				r.cells(0, len(r.tokens), nil)
				want := r.logits()
				for p := range r.tokens {
					v := r.compute(r.output(p, sample.Params{}))
					got := value(v, opOf(t, v.Plan(), "logits"))
					for j := range len(got) / 4 {
						if a, b := bits(got, j), math.Float32bits(want[p*testmodel.Vocab+j]); a != b {
							t.Fatalf("position %d: logit %d is %x, the engine's %x", p, j, a, b)
						}
					}
				}
			})
		}
	}
}

func bits(b []byte, i int) uint32 {
	return uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func (r *run) vocab() int { return r.model.Config().Vocab }
