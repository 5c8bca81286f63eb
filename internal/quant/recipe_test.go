package quant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
)

func recipe(t testing.TB, name string) quant.Recipe {
	t.Helper()
	r, err := quant.ParseRecipe(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseRecipe(t *testing.T) {
	if r := recipe(t, "q4_k_m"); r.Name != "Q4_K_M" || r.FileType != 15 {
		t.Errorf("q4_k_m is %+v", r)
	}
	_, err := quant.ParseRecipe("Q4_K_XL")
	const want = `quant: unknown recipe "Q4_K_XL": use one of F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_1, Q5_0, Q4_K_M, Q4_1, Q4_0`
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// model lists the tensors of a small transformer, in the order in which
// published files often have layers: 0 1 10 11 2.
func model(layers, dim, ffn int, tied bool) []*gguf.Tensor {
	list := []*gguf.Tensor{{Name: "token_embd.weight", Type: gguf.F16, Shape: []int{dim, 1000}}}
	if !tied {
		list = append(list, &gguf.Tensor{Name: "output.weight", Type: gguf.F16, Shape: []int{dim, 1000}})
	}
	var blocks []string
	for l := range layers {
		blocks = append(blocks, fmt.Sprintf("blk.%d.", l))
	}
	slices.Sort(blocks)
	for _, b := range blocks {
		list = append(list,
			&gguf.Tensor{Name: b + "attn_norm.weight", Type: gguf.F32, Shape: []int{dim}},
			&gguf.Tensor{Name: b + "attn_q.weight", Type: gguf.F16, Shape: []int{dim, dim}},
			&gguf.Tensor{Name: b + "attn_q.bias", Type: gguf.F32, Shape: []int{dim}},
			&gguf.Tensor{Name: b + "attn_v.weight", Type: gguf.F16, Shape: []int{dim, dim}},
			&gguf.Tensor{Name: b + "ffn_down.weight", Type: gguf.F16, Shape: []int{ffn, dim}},
		)
	}
	return list
}

// TestTypes compares with the choices of llama.cpp's llama-quantize.
func TestTypes(t *testing.T) {
	for _, test := range []struct {
		recipe                         string
		dim, ffn                       int
		tied                           bool
		embedding, output, q, v, vMore string
		down, downMore                 string
	}{
		{recipe: "F32", dim: 512, ffn: 1024, embedding: "F32", output: "F32", q: "F32", v: "F32", vMore: "F32", down: "F32", downMore: "F32"},
		{recipe: "F16", dim: 512, ffn: 1024, embedding: "F16", output: "F16", q: "F16", v: "F16", vMore: "F16", down: "F16", downMore: "F16"},
		{recipe: "BF16", dim: 500, ffn: 1003, embedding: "BF16", output: "BF16", q: "BF16", v: "BF16", vMore: "BF16", down: "BF16", downMore: "BF16"},
		{recipe: "Q8_0", dim: 512, ffn: 1024, embedding: "Q8_0", output: "Q8_0", q: "Q8_0", v: "Q8_0", vMore: "Q8_0", down: "Q8_0", downMore: "Q8_0"},
		{recipe: "Q4_0", dim: 512, ffn: 1024, embedding: "Q4_0", output: "Q6_K", q: "Q4_0", v: "Q4_0", vMore: "Q4_0", down: "Q4_0", downMore: "Q4_0"},
		{recipe: "Q4_0", dim: 512, ffn: 1024, tied: true, embedding: "Q6_K", q: "Q4_0", v: "Q4_0", vMore: "Q4_0", down: "Q4_0", downMore: "Q4_0"},
		{recipe: "Q4_0", dim: 576, ffn: 1536, tied: true, embedding: "Q8_0", q: "Q4_0", v: "Q4_0", vMore: "Q4_0", down: "Q4_0", downMore: "Q4_0"},
		{recipe: "Q4_K_M", dim: 512, ffn: 1024, embedding: "Q4_K", output: "Q6_K", q: "Q4_K", v: "Q4_K", vMore: "Q6_K", down: "Q4_K", downMore: "Q6_K"},
		{recipe: "Q4_K_M", dim: 512, ffn: 1024, tied: true, embedding: "Q6_K", q: "Q4_K", v: "Q4_K", vMore: "Q6_K", down: "Q4_K", downMore: "Q6_K"},
		{recipe: "Q4_K_M", dim: 576, ffn: 1536, tied: true, embedding: "Q8_0", q: "Q5_0", v: "Q5_0", vMore: "Q8_0", down: "Q4_K", downMore: "Q6_K"},
		{recipe: "Q4_K_M", dim: 64, ffn: 172, embedding: "Q5_0", output: "Q8_0", q: "Q5_0", v: "Q5_0", vMore: "Q8_0", down: "F16", downMore: "F16"},
		{recipe: "Q5_K_M", dim: 576, ffn: 1536, embedding: "Q5_1", output: "Q8_0", q: "Q5_1", v: "Q5_1", vMore: "Q8_0", down: "Q5_K", downMore: "Q6_K"},
		{recipe: "Q6_K", dim: 576, ffn: 1536, embedding: "Q8_0", output: "Q8_0", q: "Q8_0", v: "Q8_0", vMore: "Q8_0", down: "Q6_K", downMore: "Q6_K"},
	} {
		t.Run(fmt.Sprintf("%s/%d/%d/%t", test.recipe, test.dim, test.ffn, test.tied), func(t *testing.T) {
			const layers = 22
			// The first and last eighth, and every third between, of 22.
			more := []int{0, 1, 4, 7, 10, 13, 16, 19, 20, 21}
			tensors := model(layers, test.dim, test.ffn, test.tied)
			types := recipe(t, test.recipe).Types(layers, tensors)
			for i, tensor := range tensors {
				var layer int
				name := tensor.Name
				if n, _ := fmt.Sscanf(name, "blk.%d.", &layer); n == 1 {
					_, name, _ = strings.Cut(strings.TrimPrefix(name, "blk."), ".")
				}
				want := map[string]string{
					"token_embd.weight": test.embedding,
					"output.weight":     test.output,
					"attn_norm.weight":  "F32",
					"attn_q.bias":       "F32",
					"attn_q.weight":     test.q,
					"attn_v.weight":     test.v,
					"ffn_down.weight":   test.down,
				}
				if slices.Contains(more, layer) {
					want["attn_v.weight"], want["ffn_down.weight"] = test.vMore, test.downMore
				}
				if diff := cmp.Diff(want[name], types[i].String()); diff != "" {
					t.Errorf("type of %s (-want +got):\n%s", tensor.Name, diff)
				}
			}
		})
	}
}

// TestTypesByName holds which tensors stay as they are.
func TestTypesByName(t *testing.T) {
	for _, test := range []struct {
		name  string
		shape []int
		want  string
	}{
		{"blk.0.attn_norm.weight", []int{256}, "F32"},
		{"blk.0.attn_q_norm.weight", []int{256, 4}, "F32"},
		{"blk.0.attn_q.bias", []int{256}, "F32"},
		{"blk.0.attn_q.weight", []int{256, 256}, "Q4_K"},
		{"blk.0.attn_q.weight", []int{256, 1}, "F32"}, // a vector in spite of its shape
		{"blk.0.attn_qkv.weight", []int{256, 768}, "Q6_K"},
		{"blk.0.ffn_gate_inp.weight", []int{256, 8}, "F32"},
		{"blk.0.ffn_up_exps.weight", []int{256, 64, 8}, "Q4_K"},
		{"position_embd.weight", []int{256, 512}, "F32"},
		{"token_types.weight", []int{256, 2}, "F32"},
		{"rope_freqs.weight", []int{32}, "F32"},
		{"output.weight", []int{256, 512}, "Q6_K"},
		{"blk.x.attn_k.weight", []int{256, 512}, "Q4_K"},
	} {
		tensors := []*gguf.Tensor{{Name: test.name, Type: gguf.F32, Shape: test.shape}}
		got := recipe(t, "Q4_K_M").Types(1, tensors)[0].String()
		if got != test.want {
			t.Errorf("%s %v becomes %s, want %s", test.name, test.shape, got, test.want)
		}
	}
}
