package model_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/testmodel"
)

// adaptersOf are two adapters of a model, one of more than a block of ranks, one
// of F16 numbers.
func adaptersOf(s *testmodel.Model) []model.Adapter {
	one := s.Adapter("one", 5, 3, 0.3)
	two := s.Adapter("two", 41, 0, 0.2, "attn", "ffn_down", "token_embd")
	for _, u := range two.Updates {
		for _, v := range [][]float32{u.A, u.B} {
			for i, x := range v {
				v[i] = kernel.FromF16(kernel.ToF16Sat(x))
			}
		}
	}
	two.Type = gguf.F16
	return []model.Adapter{{LoRA: one, Scale: 1}, {LoRA: two, Scale: -0.7}}
}

// adapted are the digests of the logits of the text with both adapters.
var adapted = map[string]string{
	"llama":          "aa6c6187ed74b019b6f791dcd7952cd909aa558d296a02896a43772951017fe3",
	"llama-linear":   "cf42bc00298dee845b8a95b9f1ecb7ac33d29fbbe5987995fcd5ff0d59e75c1b",
	"llama-yarn":     "0652921b6fa9f090527edd0eb44c02c5e261470f2a83a511b7ff43f1432f888d",
	"qwen2":          "0f81df299bc895df3012b91ac89cbbb2dea280b519fbba0a405c2edb2701fcc4",
	"qwen2-yarn":     "abedf3766bd104c63006b72eab844b5c42f7a48167dfcd3736667d16b268952b",
	"qwen3":          "583cc78f18086056e9152225646fdb0fa90272d6f61a25094361fc554a3b9202",
	"gemma2":         "fce455f3580b10252eb1e17df39ffb7ce619911cba2ff1cd831a1027c2c77ce9",
	"gemma3":         "7c6ac6b3e47717bf9873b41fe8bd3da2448fd06da618752888fc949d81ab2a39",
	"gemma3-default": "bddc21afd5360bf659ee5d3ed8b3f9052ff5624a59f4d249dbbb834cd788a535",
	"gemma3-wide":    "d6bcf51d909329feb80a00e7b3a53ad469fab200f9dfa93e93610d594ab1441f",
	"gemma2-largest": "14321c33f8510920625ee3cdb58bde8b04810d918e20a39e730bae0e25511939",
	"gemma3-largest": "550f82a02aae5d6ee32c1259cefc57c035fed52184c2ce7cb7d6dff9d6796a40",
	"phi3-short":     "7a76a3cdea53c25c4dac3342a44bd0520cfd52d7d89118494ca9ad77d472e0f6",
	"phi3-long":      "275bc3b05b5e102d01454d397b0f98a748a07ca525b49793410fed3cdb20dedb",
	"smollm3":        "57efac03c9d93682301f54d2d3f7ee8fa0c8536544b0e8f0e058951484403263",
}

// TestAdapters holds the bits of every architecture with adapters to be the same
// for every kernel, number of threads and cut, those of the trace included.
func TestAdapters(t *testing.T) {
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			path, list := write(t, s, dir, false), adaptersOf(s)
			root := ""
			for _, k := range kernel.All() {
				for threads, chunk := range map[int]int{1: len(text), 2: 1, 5: 13} {
					if k.Name() == "generic" && threads != 5 {
						continue // slow
					}
					logits, trace := tracedOf(t, path, model.Options{Threads: threads, Kernel: k.Name(), Adapters: list}, text, chunk)
					if got := digestOf(logits); got != adapted[s.Name] {
						t.Fatalf("%s, %d threads, chunks of %d: digest %q, want %q", k.Name(), threads, chunk, got, adapted[s.Name])
					}
					if root == "" {
						root = trace
					}
					if trace != root || trace == s.Trace {
						t.Fatalf("%s, %d threads, chunks of %d: trace %q, want %q and not that without adapters", k.Name(), threads, chunk, trace, root)
					}
				}
			}
		})
	}
}

// TestAdaptersCompany holds the logits of a text that is longer than a pass, with
// an adapter, to be the same however it is cut, beside other sequences, and after
// forks and cuts.
func TestAdaptersCompany(t *testing.T) {
	text := slices.Concat(storyPrompt, slices.Repeat(story, 7))[:400]
	for _, file := range []string{"stories260K-p192-Q8_0.gguf", "stories260K-F16.gguf"} {
		f, err := gguf.Open(testdata.Shared(t, "weights", "stories260K", file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		list := []model.Adapter{{LoRA: randomOf(f, 20), Scale: 0.01}, {LoRA: randomOf(f, 3, "attn_v", "ffn_down"), Scale: 0.05}}
		var want []float32
		for threads, chunk := range map[int]int{1: 400, 2: 31, 7: 300} {
			m, err := model.Load(f, model.Options{Threads: threads, Context: 512, Adapters: list})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			s := m.NewSequence()
			got := forward(t, m, s, text, chunk)
			s.Close()
			if want == nil {
				want = got
			}
			if n := equalBits(got, want); n != 0 {
				t.Errorf("%s, %d threads, chunks of %d: %d logits differ", file, threads, chunk, n)
			}
			if threads == 7 {
				company(t, m, text, want, 24)
			}
		}
	}
}

// TestAdaptersSecond compares with the second implementation.
func TestAdaptersSecond(t *testing.T) {
	second := testdata.Second(t, "second.py")
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		if s.Layers > 40 {
			continue // slow, and nothing new in them
		}
		t.Run(s.Name, func(t *testing.T) {
			args := []string{"--context", "512"}
			for j, a := range adaptersOf(s) {
				path := filepath.Join(dir, fmt.Sprintf("%s-lora%d.gguf", s.Name, j))
				if err := a.LoRA.Write(path); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--lora", strconv.FormatFloat(float64(a.Scale), 'g', -1, 32), path)
			}
			args = append(args, write(t, s, dir, false))
			for _, id := range text {
				args = append(args, strconv.Itoa(int(id)))
			}
			if got := second(t, args...); got != adapted[s.Name] {
				t.Errorf("the second implementation gives %s, want %s", got, adapted[s.Name])
			}
		})
	}
}

// merged writes the model of s in F32, with the updates added in float64.
func merged(t *testing.T, s *testmodel.Model, dir string, list []model.Adapter) string {
	t.Helper()
	f, err := gguf.Open(write(t, s, dir, true))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path := filepath.Join(dir, s.Name+"-merged.gguf")
	w, err := gguf.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	err = w.SetFrom(f)
	for _, x := range f.Tensors() {
		err = errors.Join(err, w.Declare(x.Name, x.Type, x.Shape...))
	}
	for _, x := range f.Tensors() {
		v := make([]float32, x.Elements())
		err = errors.Join(err, quant.Dequantize(x.Type, f.Data(x), v))
		for _, a := range list {
			for i := range a.LoRA.Updates {
				if u := &a.LoRA.Updates[i]; u.Name == x.Name {
					addProduct(v, u, float64(a.LoRA.Scale(u, a.Scale)))
				}
			}
		}
		var data []byte
		for _, x := range v {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
		err = errors.Join(err, w.WriteTensor(x.Name, data))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// addProduct adds s B A to a matrix.
func addProduct(w []float32, u *adapter.Update, s float64) {
	for i := range u.Out {
		for c := range u.In {
			sum := 0.0
			for k := range u.Rank {
				if u.Name == adapter.Embedding {
					sum += float64(float64(u.A[i*u.Rank+k]) * float64(u.B[c*u.Rank+k]))
				} else {
					sum += float64(float64(u.B[i*u.Rank+k]) * float64(u.A[k*u.In+c]))
				}
			}
			w[i*u.In+c] += float32(s * sum)
		}
	}
}

// TestAdaptersMeaning holds a model with adapters to be, but for roundings, the
// model with s B A added to its weights, and far from the model without.
func TestAdaptersMeaning(t *testing.T) {
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		if s.Layers > 40 {
			continue // roundings grow from layer to layer
		}
		t.Run(s.Name, func(t *testing.T) {
			list := adaptersOf(s)
			want := logitsOf(t, merged(t, s, dir, list), model.Options{}, text, len(text))
			path := write(t, s, dir, true)
			got := logitsOf(t, path, model.Options{Adapters: list}, text, len(text))
			without := logitsOf(t, path, model.Options{}, text, len(text))
			worst, change := 0.0, 0.0
			for i := range got {
				worst = max(worst, math.Abs(float64(got[i]-want[i])))
				change = max(change, math.Abs(float64(without[i]-want[i])))
			}
			// Keys and values are rounded to 11 bits, where a last bit of the
			// sums before may turn one.
			if worst > 0.02 || change < 20*worst {
				t.Errorf("logits differ by up to %.4f from those of merged weights, which differ by %.4f from those without adapters", worst, change)
			}
		})
	}
}

// peers are the mean negative log-likelihoods of the text that llama.cpp
// (3f545bec, keys and values in F16, flash attention off) finds with the plain
// models and both adapters. For qwen2-yarn it does not read the betas.
var peers = map[string]float64{
	"llama": 7.012835, "llama-linear": 5.570677, "llama-yarn": 7.553121, "qwen2": 5.502594, "qwen3": 5.968832,
	"gemma2": 4.500279, "gemma3": 5.670111, "gemma3-default": 4.754343, "gemma3-wide": 4.573491,
	"phi3-short": 7.033445, "phi3-long": 5.757762, "smollm3": 5.425290,
}

// TestAdaptersPeer holds adapters to mean here what they mean to llama.cpp.
func TestAdaptersPeer(t *testing.T) {
	dir, text := folder(t), testmodel.Text()
	seen := 0
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		want, ok := peers[s.Name]
		if !ok {
			continue
		}
		seen++
		got := nllOf(logitsOf(t, write(t, s, dir, true), model.Options{Adapters: adaptersOf(s)}, text, len(text)), text)
		if math.Abs(got-want) > 1e-3 {
			t.Errorf("%s: negative log-likelihood %.6f, want %.6f", s.Name, got, want)
		}
	}
	if seen != len(peers) {
		t.Errorf("%d of %d models are there", seen, len(peers))
	}
}

// TestAdaptersCells holds single cells, and outputs from given states, to be
// those of the whole pass.
func TestAdaptersCells(t *testing.T) {
	text := testmodel.Text()
	s := &testmodel.Models[12] // phi3, with fused matrices
	f, err := gguf.Open(write(t, s, t.TempDir(), false))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := model.Load(f, model.Options{Threads: 2, Adapters: adaptersOf(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := m.Config()
	seq := m.NewSequence()
	v, logits := visited(t, m, seq, text)
	for layer := range c.Layers {
		part := m.NewSequence()
		if err := part.SetKV(layer, 0, each(seq.KV(nil, layer, 0, len(text)), len(text))...); err != nil {
			t.Fatal(err)
		}
		cells := &model.Cells{Layer: layer, Positions: []int{3, 17, 39}}
		for _, p := range cells.Positions {
			if layer == 0 {
				cells.Tokens = append(cells.Tokens, text[p])
			} else {
				cells.X = append(cells.X, v.x[[2]int{layer - 1, p}]...)
			}
		}
		x, err := m.Cells(part, cells)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range cells.Positions {
			if n := equalBits(x[i*c.Dim:(i+1)*c.Dim], v.x[[2]int{layer, p}]); n != 0 {
				t.Errorf("layer %d, position %d: %d numbers differ", layer, p, n)
			}
		}
	}
	out := make([]float32, 2*c.Vocab)
	if err := m.Outputs(out, slices.Concat(v.x[[2]int{c.Layers - 1, 5}], v.x[[2]int{c.Layers - 1, 38}])); err != nil {
		t.Fatal(err)
	}
	if n := equalBits(out[:c.Vocab], logits[5*c.Vocab:6*c.Vocab]) + equalBits(out[c.Vocab:], logits[38*c.Vocab:39*c.Vocab]); n != 0 {
		t.Errorf("%d logits differ", n)
	}
}

// TestAdaptersRefused names adapters that no model takes.
func TestAdaptersRefused(t *testing.T) {
	s := &testmodel.Models[1] // tied
	f, err := gguf.Open(write(t, s, t.TempDir(), false))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	good := func() model.Adapter { return model.Adapter{LoRA: s.Adapter("a", 4, 8, 0.1), Scale: 1} }
	with := func(change func(a *model.Adapter)) []model.Adapter {
		a := good()
		change(&a)
		return []model.Adapter{a}
	}
	for want, list := range map[string][]model.Adapter{
		"scale 0: want":          with(func(a *model.Adapter) { a.Scale = 0 }),
		"scale NaN: want":        with(func(a *model.Adapter) { a.Scale = float32(math.NaN()) }),
		"too large for its alph": with(func(a *model.Adapter) { a.Scale = math.MaxFloat32 }),
		"9 adapters, the limit":  make([]model.Adapter, 9),
		"does not exist":         with(func(a *model.Adapter) { a.LoRA.Updates[0].Name = "blk.7.attn_q.weight" }),
		"its update 5 and 96":    with(func(a *model.Adapter) { a.LoRA.Updates[0].In = 5 }),
		`is "gemma2"`:            with(func(a *model.Adapter) { a.LoRA.Architecture = "gemma2" }),
		"uses it for its output": with(func(a *model.Adapter) {
			a.LoRA.Updates = append(a.LoRA.Updates, adapter.Update{Name: adapter.Embedding, Rank: 1, In: 96, Out: testmodel.Vocab})
		}),
	} {
		if _, err := model.Load(f, model.Options{Adapters: list}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestAdaptedDecodeDoesNotAllocate: a step with adapters costs no garbage either.
func TestAdaptedDecodeDoesNotAllocate(t *testing.T) {
	f, err := gguf.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-p192-Q8_0.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := model.Load(f, model.Options{Threads: 2, Context: 512, Adapters: []model.Adapter{{LoRA: randomOf(f, 8), Scale: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	steps := []model.Step{{Seq: m.NewSequence(), Tokens: []int32{5}, Want: 1}}
	step := func() {
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(200, step); n > 0 {
		t.Errorf("a decode step allocates %g times", n)
	}
}
