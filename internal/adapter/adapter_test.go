package adapter_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
)

// small makes an adapter of two matrices and the embedding.
func small() *adapter.Adapter {
	r := rand.New(rand.NewPCG(1, 2))
	numbers := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(int8(r.Uint32())) / 64 // exact in F16
		}
		return v
	}
	a := &adapter.Adapter{Architecture: "llama", Name: "small", Alpha: 16}
	for _, u := range []adapter.Update{
		{Name: "blk.0.attn_q.weight", Rank: 4, In: 32, Out: 48},
		{Name: "blk.1.ffn_down.weight", Rank: 1, In: 7, Out: 5},
		{Name: adapter.Embedding, Rank: 3, In: 32, Out: 64},
	} {
		u.A, u.B = numbers(u.Rank*u.In), numbers(u.Rank*u.Out)
		if u.Name == adapter.Embedding {
			u.A, u.B = u.B, u.A
		}
		a.Updates = append(a.Updates, u)
	}
	return a
}

func open(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestRoundTrip: what was written is read again, with the names, types and
// shapes that llama.cpp expects, and the bytes depend on nothing else.
func TestRoundTrip(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.F16} {
		a := small()
		a.Type = typ
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := a.Write(path); err != nil {
			t.Fatal(err)
		}
		f := open(t, path)
		got, err := adapter.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, got); diff != "" {
			t.Errorf("%v: -wrote +read\n%s", typ, diff)
		}
		shapes := map[string][]int{
			"blk.0.attn_q.weight.lora_a":   {32, 4},
			"blk.0.attn_q.weight.lora_b":   {4, 48},
			"blk.1.ffn_down.weight.lora_a": {7, 1},
			"blk.1.ffn_down.weight.lora_b": {1, 5},
			"token_embd.weight.lora_a":     {3, 64},
			"token_embd.weight.lora_b":     {3, 32},
		}
		have := map[string][]int{}
		for _, x := range f.Tensors() {
			if have[x.Name] = x.Shape; x.Type != typ {
				t.Errorf("%s has type %v, want %v", x.Name, x.Type, typ)
			}
		}
		if diff := cmp.Diff(shapes, have); diff != "" {
			t.Errorf("shapes -want +got\n%s", diff)
		}
		for key, want := range map[string]string{"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"} {
			if v, _ := f.String(key); v != want {
				t.Errorf("%s is %q, want %q", key, v, want)
			}
		}
		if v, ok := f.Value("adapter.lora.alpha"); !ok || v.Kind() != gguf.KindFloat32 {
			t.Errorf("adapter.lora.alpha is %v, want a float32", v)
		}
		again := filepath.Join(t.TempDir(), "b.gguf")
		if err := got.Write(again); err != nil {
			t.Fatal(err)
		}
		one, _ := os.ReadFile(path)
		two, _ := os.ReadFile(again)
		if string(one) != string(two) {
			t.Errorf("%v: writing what was read gives other bytes", typ)
		}
	}
}

// TestTypes reads what converters write: BF16, and Q8_0 where rows have whole
// blocks.
func TestTypes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.gguf")
	q8 := make([]byte, 34)
	binary.LittleEndian.PutUint16(q8, 0x3800) // 0.5
	for i := range 32 {
		q8[2+i] = byte(int8(i - 16))
	}
	writeFile(t, path, lora(), []tensor{
		{"w.lora_a", gguf.Q8_0, []int{32, 1}, q8},
		{"w.lora_b", gguf.BF16, []int{1, 2}, []byte{0x80, 0x3f, 0x00, 0xc0}}, // 1, -2
	})
	a, err := adapter.Read(open(t, path))
	if err != nil {
		t.Fatal(err)
	}
	u := &a.Updates[0]
	if u.A[0] != -8 || u.A[31] != 7.5 || u.B[0] != 1 || u.B[1] != -2 {
		t.Errorf("read %v and %v", u.A, u.B)
	}
	if u.Rank != 1 || u.In != 32 || u.Out != 2 {
		t.Errorf("rank %d, %d columns, %d rows", u.Rank, u.In, u.Out)
	}
}

func TestScale(t *testing.T) {
	u := &adapter.Update{Rank: 3}
	for _, c := range []struct{ alpha, scale, want float32 }{
		{16, 1, float32(16) / 3},
		{16, 0.1, float32(float32(0.1)*16) / 3},
		{0, 0.5, 0.5},
		{6, -1, -2},
	} {
		if got := (&adapter.Adapter{Alpha: c.alpha}).Scale(u, c.scale); got != c.want {
			t.Errorf("alpha %v, scale %v: %v, want %v", c.alpha, c.scale, got, c.want)
		}
	}
}

type tensor struct {
	name  string
	typ   gguf.Type
	shape []int
	data  []byte
}

// lora is the metadata of an adapter.
func lora() map[string]gguf.Value {
	return map[string]gguf.Value{
		"general.architecture": gguf.ValueOf("llama"),
		"general.type":         gguf.ValueOf("adapter"),
		"adapter.type":         gguf.ValueOf("lora"),
		"adapter.lora.alpha":   gguf.ValueOf(float32(8)),
	}
}

func writeFile(t testing.TB, path string, keys map[string]gguf.Value, list []tensor) {
	t.Helper()
	w, err := gguf.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for k, v := range keys {
		err = errors.Join(err, w.Set(k, v))
	}
	for _, x := range list {
		err = errors.Join(err, w.Declare(x.name, x.typ, x.shape...))
	}
	for _, x := range list {
		err = errors.Join(err, w.WriteTensor(x.name, x.data))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
}

func floats(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// TestRefused: each bad file is refused, and the error names what is wrong.
func TestRefused(t *testing.T) {
	good := []tensor{
		{"w.lora_a", gguf.F32, []int{2, 1}, floats(1, 2)},
		{"w.lora_b", gguf.F32, []int{1, 2}, floats(3, 4)},
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		name  string
		key   string
		value any
		list  []tensor
		want  string
	}{
		{"a model", "general.type", "model", good, `general.type is not "adapter"`},
		{"another kind", "adapter.type", "dora", good, `adapter.type is "dora"`},
		{"no architecture", "general.architecture", "", good, "general.architecture is empty"},
		{"alpha is no number", "adapter.lora.alpha", "many", good, "adapter.lora.alpha"},
		{"alpha is NaN", "adapter.lora.alpha", nan, good, "adapter.lora.alpha"},
		{"tokens that invoke", "adapter.alora.invocation_tokens", []uint32{1}, good, "invocation_tokens"},
		{"nothing", "", nil, nil, "changes 0 matrices"},
		{"no B", "", nil, good[:1], "tensor w has .lora_a but no .lora_b"},
		{"no A", "", nil, good[1:], "tensor w has .lora_b but no .lora_a"},
		{"a norm", "", nil, append(good[:2:2], tensor{"blk.0.attn_norm.weight", gguf.F32, []int{1}, floats(1)}), "tensor blk.0.attn_norm.weight is neither"},
		{"ranks differ", "", nil, []tensor{good[0], {"w.lora_b", gguf.F32, []int{2, 1}, floats(3, 4)}}, "w.lora_b has shape [2 1]"},
		{"three dimensions", "", nil, []tensor{{"w.lora_a", gguf.F32, []int{2, 1, 1}, floats(1, 2)}, good[1]}, "two dimensions"},
		{"rank too high", "", nil, []tensor{
			{"w.lora_a", gguf.F32, []int{1, 1025}, floats(make([]float32, 1025)...)},
			{"w.lora_b", gguf.F32, []int{1025, 1}, floats(make([]float32, 1025)...)},
		}, "rank 1025, want 1 to 1024"},
		{"NaN in A", "", nil, []tensor{{"w.lora_a", gguf.F32, []int{2, 1}, floats(1, nan)}, good[1]}, "w.lora_a holds a NaN"},
		{"infinity in B", "", nil, []tensor{good[0], {"w.lora_b", gguf.F16, []int{1, 2}, []byte{0, 0, 0, 0xfc}}}, "w.lora_b holds a NaN or an infinity"},
		{"a type that is none of ours", "", nil, []tensor{{"w.lora_a", gguf.Q4_0, []int{32, 1}, make([]byte, 18)}, good[1]}, "w.lora_a has type Q4_0"},
	} {
		keys := lora()
		switch v := c.value.(type) {
		case string:
			keys[c.key] = gguf.ValueOf(v)
		case float32:
			keys[c.key] = gguf.ValueOf(v)
		case []uint32:
			keys[c.key] = gguf.ArrayOf(v)
		}
		path := filepath.Join(t.TempDir(), "a.gguf")
		writeFile(t, path, keys, c.list)
		_, err := adapter.Read(open(t, path))
		var ours *adapter.FileError
		if !errors.As(err, &ours) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// TestWriteRefused: what Read would refuse is not written.
func TestWriteRefused(t *testing.T) {
	for name, spoil := range map[string]func(a *adapter.Adapter){
		"NaN":            func(a *adapter.Adapter) { a.Updates[0].B[3] = float32(math.NaN()) },
		"a number short": func(a *adapter.Adapter) { a.Updates[1].A = a.Updates[1].A[1:] },
		"twice":          func(a *adapter.Adapter) { a.Updates[1].Name = a.Updates[0].Name },
		"no type":        func(a *adapter.Adapter) { a.Type = gguf.Q4_0 },
		"too large":      func(a *adapter.Adapter) { a.Type, a.Updates[0].A[0] = gguf.F16, 70000 },
		"alpha":          func(a *adapter.Adapter) { a.Alpha = float32(math.Inf(1)) },
	} {
		a := small()
		spoil(a)
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := a.Write(path); err == nil {
			t.Errorf("%s: written", name)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: left a file", name)
		}
	}
}

// TestFit compares an adapter with models that lack what it changes.
func TestFit(t *testing.T) {
	row := func(in, out int) []byte { return make([]byte, 4*in*out) }
	model := func(arch string, list ...tensor) *gguf.File {
		path := filepath.Join(t.TempDir(), "m.gguf")
		writeFile(t, path, map[string]gguf.Value{"general.architecture": gguf.ValueOf(arch)}, list)
		return open(t, path)
	}
	q := tensor{"blk.0.attn_q.weight", gguf.F32, []int{32, 48}, row(32, 48)}
	down := tensor{"blk.1.ffn_down.weight", gguf.F32, []int{7, 5}, row(7, 5)}
	embd := tensor{"token_embd.weight", gguf.F32, []int{32, 64}, row(32, 64)}
	out := tensor{"output.weight", gguf.F32, []int{32, 64}, row(32, 64)}
	turned := tensor{"blk.1.ffn_down.weight", gguf.F32, []int{5, 7}, row(7, 5)}
	vector := tensor{"blk.1.ffn_down.weight", gguf.F32, []int{7}, row(7, 1)}
	a := small()
	if err := a.Fit(model("llama", q, down, embd, out)); err != nil {
		t.Error(err)
	}
	for want, base := range map[string]*gguf.File{
		`is "llama", the model's is "qwen2"`:                            model("qwen2", q, down, embd, out),
		"blk.0.attn_q.weight does not exist in the model":               model("llama", down, embd, out),
		"blk.1.ffn_down.weight has 5 columns and 7 rows in the model":   model("llama", q, turned, embd, out),
		"blk.1.ffn_down.weight is no matrix in the model":               model("llama", q, vector, embd, out),
		"token_embd.weight is changed, but the model uses it for its o": model("llama", q, down, embd),
	} {
		if err := a.Fit(base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// FuzzRead: whatever the file, Read returns an adapter that can be written
// again, or an error.
func FuzzRead(f *testing.F) {
	dir := f.TempDir()
	a := small()
	if err := a.Write(filepath.Join(dir, "a.gguf")); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(filepath.Join(dir, "a.gguf"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("GGUF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Parse(strings.NewReader(string(data)), int64(len(data)))
		if err != nil {
			return
		}
		a, err := adapter.Read(file)
		if err != nil {
			return
		}
		a.Type = gguf.F32
		for i := range a.Updates {
			if len(a.Updates[i].Name) > 50 {
				return // read from other programs, never written
			}
		}
		if err := a.Encode(gguf.NewWriter(&strings.Builder{})); err != nil {
			t.Errorf("read, but not written: %v", err)
		}
	})
}
