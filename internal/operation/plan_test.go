package operation_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
)

// evidence is what a referee is shown: it finds the bytes of an input by itself,
// piece by piece, from what the parties committed to.
func (r *run) evidence(v *operation.Values, in operation.Input) []byte {
	r.t.Helper()
	sizes := v.Plan().Pieces(in)
	var b []byte
	for i := in.From; i < in.To; i++ {
		var piece []byte
		switch in.Kind {
		case operation.Leaves:
			piece = v.Leaf(in.Op, i)
		case operation.X, operation.KV:
			piece, _ = r.X(in.Layer, in.Position)
			if in.Kind == operation.KV {
				piece, _ = r.KV(in.Layer, in.Position)
			}
			piece = piece[i*trace.Tile : min((i+1)*trace.Tile, len(piece))]
		case operation.Tokens:
			piece = binary.LittleEndian.AppendUint32(nil, uint32(r.tokens[i]))
		case operation.Tiles:
			t := r.file.Tensor(in.Tensor)
			tiling, err := fingerprint.TilingOf(t.Type, t.Shape)
			if err != nil {
				r.t.Fatal(err)
			}
			x := tiling.Tile(i)
			piece = r.file.Data(t)[x.Offset : x.Offset+int64(x.Size)]
		}
		if len(piece) != sizes[i-in.From] {
			r.t.Fatalf("piece %d of %+v has %d bytes, the plan says %d", i, in, len(piece), sizes[i-in.From])
		}
		b = append(b, piece...)
	}
	return b
}

// referee evaluates leaves of a cell from evidence, every leaf or the first
// and the last few of each operation, and holds them to be those of v.
func (r *run) referee(v *operation.Values, every bool) {
	r.t.Helper()
	p := v.Plan()
	flat := 0
	for op, o := range p.Ops() {
		for leaf := range o.Leaves {
			if p.Flat(op, leaf) != flat {
				r.t.Fatalf("leaf %d of %s is number %d, want %d", leaf, o.Name, p.Flat(op, leaf), flat)
			}
			if a, b := p.At(flat); a != op || b != leaf {
				r.t.Fatalf("number %d is leaf %d of operation %d, want %d of %d", flat, b, a, leaf, op)
			}
			flat++
			if !every && leaf > 2 && leaf < o.Leaves-3 && leaf%37 != 0 {
				continue
			}
			var inputs [][]byte
			for _, in := range p.Inputs(op, leaf) {
				if in.From >= in.To {
					r.t.Fatalf("leaf %d of %s needs nothing of %+v", leaf, o.Name, in)
				}
				if in.Kind == operation.Leaves && p.Flat(in.Op, in.To-1) >= p.Flat(op, leaf) {
					r.t.Fatalf("leaf %d of %s needs %+v, which comes later", leaf, o.Name, in)
				}
				inputs = append(inputs, r.evidence(v, in))
			}
			got, err := p.Eval(op, leaf, inputs)
			if err != nil {
				r.t.Fatalf("leaf %d of %s: %v", leaf, o.Name, err)
			}
			if len(got) != p.Size(op, leaf) || !bytes.Equal(got, v.Leaf(op, leaf)) {
				r.t.Fatalf("leaf %d of %s is %x by itself, %x in the cell", leaf, o.Name, got, v.Leaf(op, leaf))
			}
		}
	}
	if flat != p.Leaves() {
		r.t.Fatalf("%d leaves, the plan says %d", flat, p.Leaves())
	}
}

// TestStates holds the cells of a long text, at the borders of pages, blocks
// and windows, to end in the states of the engine, and each leaf of them to be
// what a referee computes from its evidence.
func TestStates(t *testing.T) {
	positions := []int{0, 1, 30, 31, 32, 33, 255, 256, 257, 290}
	for _, list := range [][]testmodel.Model{testmodel.Models, testmodel.Wide} {
		for i := range list {
			t.Run(list[i].Name, func(t *testing.T) {
				r := open(t, &list[i])
				r.run(positions[len(positions)-1] + 1)
				layers := r.model.Config().Layers
				for _, p := range positions {
					for l := range layers {
						if layers > 10 && (l+p)%20 != 0 || testing.Short() && (l+p)%3 != 0 {
							continue
						}
						v := r.compute(r.layer(l, p))
						x, kv, ok := v.Plan().State()
						roots := v.Roots()
						if wantX, wantKV := trace.VectorRoot(r.x[[2]int{l, p}]), trace.VectorRoot(r.kv[[2]int{l, p}]); !ok || roots[x] != wantX || roots[kv] != wantKV {
							t.Fatalf("layer %d, position %d: another state than the engine's", l, p)
						}
						if p == 33 || p == 257 {
							r.referee(v, l == 1 && p == 33)
						}
						r.packed = false
						if plain := r.compute(r.layer(l, p)); plain.Root() != v.Root() {
							t.Fatalf("layer %d, position %d: the kernels and plain Go differ", l, p)
						}
						r.packed = true
					}
				}
			})
		}
	}
}

// TestOutputs holds every leaf of output cells of whole models to be what a
// referee computes from its evidence.
func TestOutputs(t *testing.T) {
	for _, list := range [][]testmodel.Model{testmodel.Models, testmodel.Wide} {
		for i := range list {
			t.Run(list[i].Name, func(t *testing.T) {
				r := open(t, &list[i])
				r.run(20)
				r.prompt = 18
				r.tokens = append(r.tokens, 7)
				for index, params := range []sample.Params{
					{RepeatPenalty: 1.5},
					{Temperature: 0.7, TopK: 20, TopP: 0.9, MinP: 0.01, FrequencyPenalty: 0.5, RepeatLastN: -1, LogitBias: map[int32]float32{5: 2}, Seed: 9},
				} {
					v := r.compute(r.output(index, params))
					r.referee(v, true)
					r.packed = false
					if plain := r.compute(r.output(index, params)); plain.Root() != v.Root() {
						t.Fatal("the kernels and plain Go differ")
					}
					r.packed = true
				}
			})
		}
	}
}

// TestFacts holds a plan made from a proof of the header to be that of the
// file, and the proof to need what the comments say and nothing else.
func TestFacts(t *testing.T) {
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			r := open(t, s)
			tree, err := fingerprint.Of(t.Context(), r.file, 0)
			if err != nil {
				t.Fatal(err)
			}
			arch, _ := r.file.String("general.architecture")
			same := func(tensors, prefixes []string, plan func(h model.Header) (*operation.Plan, error)) {
				t.Helper()
				proof, err := tree.Prove(t.Context(), fingerprint.Request{
					Keys: []string{"general.architecture"}, KeyPrefixes: []string{arch + "."}, Tensors: tensors, TensorPrefixes: prefixes,
				})
				if err != nil {
					t.Fatal(err)
				}
				facts, err := proof.Verify(tree.Root())
				if err != nil {
					t.Fatal(err)
				}
				got, err := plan(facts)
				if err != nil {
					t.Fatal(err)
				}
				if err := facts.Err(); err != nil {
					t.Fatal(err)
				}
				want, err := plan(r.file)
				if err != nil {
					t.Fatal(err)
				}
				if a, b := fmt.Sprint(got.Ops()), fmt.Sprint(want.Ops()); a != b {
					t.Errorf("%s by the proof, %s by the file", a, b)
				}
			}
			for l := range min(3, r.model.Config().Layers) {
				tensors, prefixes := operation.LayerTensors(arch, l)
				same(tensors, prefixes, func(h model.Header) (*operation.Plan, error) {
					return operation.PlanLayer(h, 0, operation.LayerCell{Layer: l, Position: 9, Token: 3})
				})
			}
			same(operation.OutputTensors(), nil, func(h model.Header) (*operation.Plan, error) {
				return operation.PlanOutput(h, 0, operation.OutputCell{Prompt: 4})
			})
		})
	}
}

// TestEvalRefuses holds inputs that are not those of a leaf to be errors.
func TestEvalRefuses(t *testing.T) {
	r := open(t, &testmodel.Models[0])
	r.run(3)
	v := r.compute(r.layer(0, 2))
	p := v.Plan()
	for _, at := range [][2]int{{-1, 0}, {len(p.Ops()), 0}, {0, -1}, {0, p.Ops()[0].Leaves}} {
		if _, err := p.Eval(at[0], at[1], nil); !errors.Is(err, operation.ErrInput) || p.Inputs(at[0], at[1]) != nil {
			t.Errorf("leaf %d of operation %d: %v, want ErrInput and no inputs", at[1], at[0], err)
		}
	}
	for op := range p.Ops() {
		var inputs [][]byte
		for _, in := range p.Inputs(op, 0) {
			inputs = append(inputs, r.evidence(v, in))
		}
		refused := func(what string, inputs [][]byte) {
			if _, err := p.Eval(op, 0, inputs); !errors.Is(err, operation.ErrInput) {
				t.Errorf("%s: %s: %v, want ErrInput", p.Ops()[op].Name, what, err)
			}
		}
		refused("none", nil)
		refused("one more", append(inputs[:len(inputs):len(inputs)], nil))
		for i, in := range inputs {
			for _, changed := range [][]byte{nil, in[1:], append(in[:len(in):len(in)], 0)} {
				list := append([][]byte(nil), inputs...)
				list[i] = changed
				refused(fmt.Sprintf("%d bytes in place of %d", len(changed), len(in)), list)
			}
		}
	}
	// The token of the plan is that of the evidence.
	var inputs [][]byte
	for _, in := range p.Inputs(0, 0) {
		inputs = append(inputs, r.evidence(v, in))
	}
	inputs[0] = binary.LittleEndian.AppendUint32(nil, uint32(r.tokens[2]+1))
	if _, err := p.Eval(0, 0, inputs); !errors.Is(err, operation.ErrInput) {
		t.Errorf("another token: %v, want ErrInput", err)
	}
}

// TestPlanRefuses holds cells that do not exist to be errors.
func TestPlanRefuses(t *testing.T) {
	r := open(t, &testmodel.Models[0])
	for _, c := range []operation.LayerCell{
		{Layer: -1}, {Layer: 3}, {Position: -1}, {Position: 512}, {Token: -1}, {Token: testmodel.Vocab},
	} {
		if _, err := operation.PlanLayer(r.file, 0, c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	for _, c := range []operation.OutputCell{
		{}, {Prompt: 1, Index: -1}, {Prompt: 513}, {Prompt: 1, Index: 512},
		{Prompt: 1, Params: sample.Params{TopP: 2}},
		{Prompt: 1, Params: sample.Params{LogitBias: map[int32]float32{testmodel.Vocab: 1}}},
	} {
		if _, err := operation.PlanOutput(r.file, 0, c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if _, err := operation.PlanOutput(r.file, 0, operation.OutputCell{Prompt: 1, Masked: true}); !errors.Is(err, operation.ErrMasked) {
		t.Errorf("a grammar: %v, want ErrMasked", err)
	}
	if _, err := operation.PlanLayer(r.file, -1, operation.LayerCell{}); err == nil {
		t.Error("a negative context: no error")
	}
}

// TestCorruption holds any change of any single leaf to be found by evaluating
// that leaf, and to change the root.
func TestCorruption(t *testing.T) {
	r := open(t, &testmodel.Models[0])
	r.run(40)
	v := r.compute(r.layer(1, 39))
	p, root := v.Plan(), v.Root()
	for op, o := range p.Ops() {
		roots := append([]canon.Hash(nil), v.Roots()...)
		hashes := append([]canon.Hash(nil), v.Hashes(op)...)
		for leaf := range o.Leaves {
			value := bytes.Clone(v.Leaf(op, leaf))
			value[leaf%len(value)] ^= 1 << (leaf % 8)
			var inputs [][]byte
			for _, in := range p.Inputs(op, leaf) {
				inputs = append(inputs, r.evidence(v, in))
			}
			if got, err := p.Eval(op, leaf, inputs); err != nil || bytes.Equal(got, value) {
				t.Fatalf("leaf %d of %s: a change of it is not found: %v", leaf, o.Name, err)
			}
			right := hashes[leaf]
			hashes[leaf] = canon.Leaf(value)
			roots[op] = canon.Root(hashes)
			if operation.CellRoot(roots) == root {
				t.Fatalf("leaf %d of %s: a change of it leaves the root as it is", leaf, o.Name)
			}
			hashes[leaf] = right
		}
	}
}

// FuzzEval evaluates leaves of any plan from any bytes: nothing may panic, and
// the result has the length that the plan says.
func FuzzEval(f *testing.F) {
	var headers []model.Header
	for _, list := range [][]testmodel.Model{testmodel.Models, testmodel.Wide} {
		for i := range list {
			path, err := list[i].Write(f.TempDir(), false)
			if err != nil {
				f.Fatal(err)
			}
			file, err := gguf.Open(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Cleanup(func() { file.Close() })
			headers = append(headers, file)
		}
	}
	for i := range headers {
		f.Add(uint(i), 1, 300, uint64(i), []byte{1, 2, 3}, false)
		f.Add(uint(i), 0, 40, uint64(77), []byte{0xff, 0xc0, 0x7f}, true)
	}
	f.Fuzz(func(t *testing.T, header uint, layer, position int, seed uint64, pattern []byte, output bool) {
		h, random := headers[header%uint(len(headers))], newRandom(seed)
		p, err := operation.PlanLayer(h, 0, operation.LayerCell{Layer: layer, Position: position, Token: int32(seed % testmodel.Vocab)})
		if output {
			p, err = operation.PlanOutput(h, 0, operation.OutputCell{Index: layer, Prompt: position, Params: randomParams(random, testmodel.Vocab)})
		}
		if err != nil {
			t.Skip()
		}
		for range 50 {
			op, leaf := p.At(random.IntN(p.Leaves()))
			var inputs [][]byte
			for _, in := range p.Inputs(op, leaf) {
				n := 0
				for _, size := range p.Pieces(in) {
					n += size
				}
				b := make([]byte, n)
				for i := range b {
					if b[i] = byte(random.Uint32()); len(pattern) > 0 && random.IntN(3) > 0 {
						b[i] = pattern[i%len(pattern)]
					}
				}
				if in.Kind == operation.Tokens && !output {
					binary.LittleEndian.PutUint32(b, uint32(seed%testmodel.Vocab))
				}
				inputs = append(inputs, b)
			}
			got, err := p.Eval(op, leaf, inputs)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != p.Size(op, leaf) {
				t.Fatalf("%d bytes, the plan says %d", len(got), p.Size(op, leaf))
			}
		}
	})
}
