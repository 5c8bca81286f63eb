package dispute

import (
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
)

// header describes a model of a published size by its header alone.
type header struct {
	name, arch                               string
	layers, dim, heads, kv, head, ffn, vocab int
}

var published = []header{
	{"0.5B", "qwen2", 24, 896, 14, 2, 64, 4864, 151936},
	{"1.1B", "llama", 22, 2048, 32, 4, 64, 5632, 32000},
	{"135M", "llama", 30, 576, 9, 3, 64, 1536, 49152},
	{"8B", "llama", 32, 4096, 32, 8, 128, 14336, 128256},
	{"70B", "llama", 80, 8192, 64, 8, 128, 28672, 128256},
}

func (m *header) Value(key string) (gguf.Value, bool) {
	if key == "general.architecture" {
		return gguf.ValueOf(m.arch), true
	}
	v, ok := map[string]int{
		"block_count": m.layers, "context_length": 1 << 17, "embedding_length": m.dim, "feed_forward_length": m.ffn,
		"attention.head_count": m.heads, "attention.head_count_kv": m.kv,
	}[strings.TrimPrefix(key, m.arch+".")]
	return gguf.ValueOf(uint32(v)), ok
}

func (m *header) Tensor(name string) *gguf.Tensor {
	q, kv := m.heads*m.head, m.kv*m.head
	if i := strings.LastIndex(strings.TrimSuffix(name, ".weight"), "."); i >= 0 {
		shape, ok := map[string][]int{
			"attn_norm": {m.dim}, "ffn_norm": {m.dim}, "attn_q": {m.dim, q}, "attn_k": {m.dim, kv}, "attn_v": {m.dim, kv},
			"attn_output": {q, m.dim}, "ffn_gate": {m.dim, m.ffn}, "ffn_up": {m.dim, m.ffn}, "ffn_down": {m.ffn, m.dim},
		}[strings.TrimSuffix(name, ".weight")[i+1:]]
		if ok && len(shape) == 2 {
			return &gguf.Tensor{Name: name, Type: gguf.Q8_0, Shape: shape}
		} else if ok {
			return &gguf.Tensor{Name: name, Type: gguf.F32, Shape: shape}
		}
		return nil
	}
	switch name {
	case "token_embd.weight":
		return &gguf.Tensor{Name: name, Type: gguf.Q8_0, Shape: []int{m.dim, m.vocab}}
	case "output_norm.weight":
		return &gguf.Tensor{Name: name, Type: gguf.F32, Shape: []int{m.dim}}
	}
	return nil
}

// rounds is the number of messages of the challenger in a game that the prover
// draws out as long as it can.
func (m *header) rounds(t *testing.T, positions int) int {
	t.Helper()
	layer, err := operation.PlanLayer(m, 0, operation.LayerCell{Layer: m.layers - 1, Position: positions - 1})
	if err != nil {
		t.Fatal(err)
	}
	params := sample.Params{Temperature: 1, TopK: 40, TopP: 0.9, MinP: 0.1, RepeatPenalty: 1.1, RepeatLastN: -1}
	output, err := operation.PlanOutput(m, 0, operation.OutputCell{Index: 511, Prompt: positions - 511, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	sizes := func(p *operation.Plan) (n []int) {
		for _, op := range p.Ops() {
			n = append(n, op.Leaves)
		}
		return n
	}
	// Open and the questions below it, the cell and those below it, the proof.
	inTrace := descend(maxFanout, slices.Repeat([]int{positions}, m.layers)...)
	return inTrace + max(descend(maxFanout, sizes(layer)...), descend(maxFanout, sizes(output)...)) + 1
}

// TestRounds is the table of section 7 of spec/dispute.md.
func TestRounds(t *testing.T) {
	for i, want := range [][]int{ // positions: 611, 4096, 32768, 131072
		{5, 5, 5, 6},
		{5, 5, 5, 7},
		{5, 5, 5, 6},
		{5, 5, 5, 7},
		{5, 5, 6, 7},
	} {
		m := &published[i]
		var got []int
		for _, n := range []int{611, 4096, 1 << 15, 1 << 17} {
			got = append(got, m.rounds(t, n))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d rounds, want %d", m.name, got, want)
		}
		if got[0] > 6 {
			t.Errorf("%s: %d rounds for an answer of 512 tokens, want at most 6", m.name, got[0])
		}
	}
}
