package operation_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
)

var table = flag.Bool("table", false, "print what a referee is shown and how long it takes, a row for each operation")

// large describes a model by its header alone.
type large struct {
	name, arch                   string
	layers, dim, heads, kv, head int
	ffn, vocab                   int
	typ                          gguf.Type
	biases, untied               bool
}

// The three shapes that speed is measured on, and others that are extreme in
// something.
var (
	measured = []large{
		{"135M", "llama", 30, 576, 9, 3, 64, 1536, 49152, gguf.Q8_0, false, false},
		{"0.5B", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, gguf.Q8_0, true, false},
		{"1.1B", "llama", 22, 2048, 32, 4, 64, 5632, 32000, gguf.Q8_0, false, true},
	}
	extremes = []large{
		{"llama 8B", "llama", 32, 4096, 32, 8, 128, 14336, 1 << 18, gguf.Q8_0, false, true},
		{"llama 70B", "llama", 80, 8192, 64, 8, 128, 28672, 1 << 18, gguf.Q8_0, false, true},
		{"qwen3", "qwen3", 64, 5120, 64, 8, 128, 25600, 1 << 18, gguf.Q8_0, true, true},
		{"gemma2", "gemma2", 46, 4608, 32, 16, 128, 36864, 1 << 18, gguf.Q8_0, false, false},
		{"gemma3", "gemma3", 62, 5376, 32, 16, 256, 21504, 1 << 18, gguf.Q8_0, false, false},
		{"phi3", "phi3", 40, 5120, 40, 10, 128, 17920, 1 << 18, gguf.Q8_0, false, true},
		{"narrow heads", "llama", 24, 2048, 64, 64, 24, 8192, 1 << 18, gguf.Q8_0, true, true},
		{"odd heads", "qwen2", 24, 3072, 16, 16, 192, 9216, 1 << 18, gguf.Q8_0, true, true},
	}
)

func (m *large) Value(key string) (gguf.Value, bool) {
	values := map[string]int{
		"block_count": m.layers, "context_length": 1 << 17, "embedding_length": m.dim, "feed_forward_length": m.ffn,
		"attention.head_count": m.heads, "attention.head_count_kv": m.kv, "attention.key_length": m.head,
		"attention.value_length": m.head,
	}
	if key == "general.architecture" {
		return gguf.ValueOf(m.arch), true
	}
	v, ok := values[strings.TrimPrefix(key, m.arch+".")]
	return gguf.ValueOf(uint32(v)), ok
}

func (m *large) Tensor(name string) *gguf.Tensor {
	q, kv := m.heads*m.head, m.kv*m.head
	shapes := map[string][]int{
		"attn_norm.weight": {m.dim}, "ffn_norm.weight": {m.dim}, "attn_q.weight": {m.dim, q}, "attn_k.weight": {m.dim, kv},
		"attn_v.weight": {m.dim, kv}, "attn_output.weight": {q, m.dim}, "ffn_gate.weight": {m.dim, m.ffn},
		"ffn_up.weight": {m.dim, m.ffn}, "ffn_down.weight": {m.ffn, m.dim}, "attn_q_norm.weight": {m.head}, "attn_k_norm.weight": {m.head},
		"post_attention_norm.weight": {m.dim}, "post_ffw_norm.weight": {m.dim}, "attn_qkv.weight": {m.dim, q + 2*kv},
		"rope_freqs.weight": {m.head / 2}, "rope_factors_long.weight": {m.head / 2}, "rope_factors_short.weight": {m.head / 2},
		"token_embd.weight": {m.dim, m.vocab}, "output_norm.weight": {m.dim},
	}
	if m.biases {
		shapes["attn_q.bias"], shapes["attn_k.bias"], shapes["attn_v.bias"] = []int{q}, []int{kv}, []int{kv}
	}
	if m.untied {
		shapes["output.weight"] = []int{m.dim, m.vocab}
	}
	if m.arch == "phi3" {
		shapes["ffn_up.weight"] = []int{m.dim, 2 * m.ffn}
	}
	if i := strings.IndexByte(strings.TrimPrefix(name, "blk."), '.'); strings.HasPrefix(name, "blk.") {
		name = strings.TrimPrefix(name, "blk.")[i+1:]
	}
	shape := shapes[name]
	if shape == nil {
		return nil
	}
	t := &gguf.Tensor{Name: name, Type: gguf.F32, Shape: shape}
	if len(shape) == 2 {
		if t.Type = m.typ; m.typ == gguf.F16 && name == "attn_k.weight" {
			t.Type = gguf.F32
		}
	}
	return t
}

// draws are parameters that need every operation of an output cell.
var draws = sample.Params{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1, RepeatLastN: -1}

// plans are the cells of the first two layers and an output, at a position.
func (m *large) plans(t testing.TB, position int) []*operation.Plan {
	t.Helper()
	var list []*operation.Plan
	for l := range 2 {
		p, err := operation.PlanLayer(m, 0, operation.LayerCell{Layer: l, Position: position})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	p, err := operation.PlanOutput(m, 0, operation.OutputCell{Prompt: position, Index: 1, Params: draws})
	if err != nil {
		t.Fatal(err)
	}
	return append(list, p)
}

// some calls f for the first and last leaves of an operation and some between.
func some(n int, f func(leaf int)) {
	for i := range n {
		if i > 3 && i < n-4 && i%(n/16+1) != 0 {
			continue
		}
		f(i)
	}
}

// maxEvidence is what evidence is held to, with the proof of the header that
// comes beside it: 2,129 bytes for the largest of the small models.
const (
	maxEvidence = 16 << 10
	headerProof = 3 << 10
)

// TestEvidence holds what a referee is shown of any leaf to its limit.
func TestEvidence(t *testing.T) {
	for _, m := range append(measured, extremes...) {
		for _, typ := range gguf.Types() {
			m.typ = typ
			if elems, _ := typ.Block(); m.dim%elems != 0 || m.ffn%elems != 0 || m.heads*m.head%elems != 0 {
				continue
			}
			run := operation.Run{Layers: m.layers, Positions: 1 << 17, Tensors: 1000}
			for _, p := range m.plans(t, 1<<17-2) {
				for op, o := range p.Ops() {
					worst := 0
					some(o.Leaves, func(leaf int) { worst = max(worst, p.Evidence(op, leaf, run)) })
					if worst > maxEvidence-headerProof {
						t.Errorf("%s, %v: a leaf of %s takes %d bytes, want at most %d", m.name, typ, o.Name, worst, maxEvidence-headerProof)
					}
				}
			}
		}
	}
}

// TestTable prints the table of docs/benchmarks.md.
func TestTable(t *testing.T) {
	if !*table {
		t.Skip("prints a table; ask for it with -table")
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, m := range append(measured, extremes...) {
		run := operation.Run{Layers: m.layers, Positions: 4096, Tensors: 400}
		position := 570
		for i, p := range m.plans(t, position) {
			if i == 0 {
				continue // layer 1, which differs in the embedding alone
			}
			fmt.Fprintf(w, "\n%s, %s\toperation\tleaves\tbytes of a value\tevidence\ttime\n", m.name, []string{"", "layer", "output"}[i])
			for op, o := range p.Ops() {
				worst, size := 0, 0
				var slowest time.Duration
				some(o.Leaves, func(leaf int) {
					worst, size = max(worst, p.Evidence(op, leaf, run)), max(size, p.Size(op, leaf))
					slowest = max(slowest, evalTime(t, p, op, leaf))
				})
				fmt.Fprintf(w, "\t%s\t%d\t%d\t%d\t%v\n", o.Name, o.Leaves, size, worst, slowest.Round(100*time.Nanosecond))
			}
		}
	}
}

// evalTime is the shortest of several evaluations of a leaf from random bytes.
func evalTime(t testing.TB, p *operation.Plan, op, leaf int) time.Duration {
	t.Helper()
	random := newRandom(1)
	var inputs [][]byte
	for _, in := range p.Inputs(op, leaf) {
		n := 0
		for _, size := range p.Pieces(in) {
			n += size
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32()) & 0x3f // small positive numbers
		}
		if in.Kind == operation.Tokens {
			clear(b)
		}
		inputs = append(inputs, b)
	}
	best := time.Hour
	for range 5 {
		start := time.Now()
		if _, err := p.Eval(op, leaf, inputs); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	return best
}
