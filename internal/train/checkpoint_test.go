package train_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/google/go-cmp/cmp"
)

func TestCheckpointReadsAsGGUF(t *testing.T) {
	tr, l := start(t, 1, configs()["adamw"])
	steps(t, tr, new(train.Log), 2)
	data := save(t, tr)
	f, err := gguf.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	w := f.Tensor("w")
	if diff := cmp.Diff([]int{7, 3}, w.Shape); diff != "" || w.Type != gguf.F32 {
		t.Errorf("w is %v:\n%s", w.Type, diff)
	}
	c := open(t, data)
	if diff := cmp.Diff([]string{"w", "b", "optim.m.w", "optim.m.b", "optim.v.w", "optim.v.b"}, c.Names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{3, 7}, c.Shape("optim.v.w")); diff != "" || c.Shape("x") != nil {
		t.Error(diff)
	}
	got := make([]float32, 21)
	if err := c.Read("w", got); err != nil || train.TensorRoot(got) != train.TensorRoot(l.params[0].Data) {
		t.Errorf("w is %v, %v", got, err)
	}
	if c.Config != tr.Config() {
		t.Errorf("configuration %+v", c.Config)
	}
	leaves, err := c.Leaves()
	if err != nil {
		t.Fatal(err)
	}
	if d := train.FirstDifference(leaves, tr.Leaves()); d != "" {
		t.Errorf("%s differs between file and run", d)
	}
}

// rewrite makes a checkpoint with some of its parts replaced: a nil value
// removes a key.
func rewrite(t *testing.T, data []byte, keys map[string]*gguf.Value, typ gguf.Type) []byte {
	t.Helper()
	f, err := gguf.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	g := gguf.NewWriter(&buf)
	for _, k := range f.Keys() {
		v, _ := f.Value(k)
		if r, ok := keys[k]; ok {
			if r == nil {
				continue
			}
			v = *r
		}
		if err := g.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	_, size := typ.Block()
	for _, x := range f.Tensors() {
		if err := g.Declare(x.Name, typ, x.Shape...); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range f.Tensors() {
		b := make([]byte, x.Elements()*size)
		if typ == x.Type {
			if _, err := io.ReadFull(f.Reader(x), b); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.WriteTensor(x.Name, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestOpenCheckpointRefuses(t *testing.T) {
	tr, _ := start(t, 1, configs()["adamw"])
	good := save(t, tr)
	value := func(v gguf.Value) *gguf.Value { return &v }
	for want, data := range map[string][]byte{
		`not "GGUF"`:                  []byte("PK, and so on"),
		`general.architecture is ""`:  rewrite(t, good, map[string]*gguf.Value{"general.architecture": nil}, gguf.F32),
		"version 2":                   rewrite(t, good, map[string]*gguf.Value{"aval.training.version": value(gguf.ValueOf(uint32(2)))}, gguf.F32),
		"not an array of bytes":       rewrite(t, good, map[string]*gguf.Value{"aval.training.config": nil}, gguf.F32),
		"training configuration":      rewrite(t, good, map[string]*gguf.Value{"aval.training.config": value(gguf.ArrayOf([]byte{0xa0}))}, gguf.F32),
		"step 21 of a run of 20":      rewrite(t, good, map[string]*gguf.Value{"aval.training.step": value(gguf.ValueOf(uint64(21)))}, gguf.F32),
		"step 0 of":                   rewrite(t, good, map[string]*gguf.Value{"aval.training.step": nil}, gguf.F32),
		`tensor "w" is F16, want F32`: rewrite(t, good, nil, gguf.F16),
	} {
		_, err := train.OpenCheckpoint(bytes.NewReader(data), int64(len(data)))
		if !errors.Is(err, train.ErrCheckpoint) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
	// Every prefix of a checkpoint is refused, or its tensors cannot be read.
	for n := 0; n < len(good)-32; n += 7 { // the last bytes are padding
		c, err := train.OpenCheckpoint(bytes.NewReader(good[:n]), int64(n))
		if err == nil {
			_, err = c.Root()
		}
		if err == nil {
			t.Errorf("%d of %d bytes are a checkpoint", n, len(good))
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	c := configs()["adamw"]
	tr, l := start(t, 1, c)
	steps(t, tr, new(train.Log), 1)
	good := save(t, tr)
	root := tr.Root()

	other := c
	other.Seed++
	o, _ := start(t, 1, other)
	if err := tr.Restore(open(t, save(t, o))); !errors.Is(err, train.ErrCheckpoint) {
		t.Errorf("a checkpoint of another configuration: %v", err)
	}
	wide, err := train.NewTrainer(machine(t, 1), c, newLine(8, 3), points(17, 8, 3))
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Restore(open(t, save(t, wide))); err == nil || !strings.Contains(err.Error(), `"w" [3 8], want "w" [3 7]`) {
		t.Errorf("a checkpoint of other shapes: %v", err)
	}
	if tr.Root() != root {
		t.Error("a checkpoint that was refused changed the run")
	}

	// A checkpoint that is broken in its last tensor: the run stops until
	// another one restores it.
	l.params[1].Data[0] = float32(math.NaN())
	bad := save(t, tr)
	if err := tr.Restore(open(t, bad)); !errors.Is(err, train.ErrCheckpoint) {
		t.Errorf("a checkpoint with NaN: %v", err)
	}
	if _, err := tr.Step(); err == nil {
		t.Error("a run goes on with a half of a checkpoint")
	}
	if err := tr.Restore(open(t, good)); err != nil || tr.Root() != root {
		t.Errorf("the run cannot be restored: %v", err)
	}
	steps(t, tr, new(train.Log), 1)
}

func FuzzOpenCheckpoint(f *testing.F) {
	for _, c := range configs() {
		tr, _ := start(f, 1, c)
		steps(f, tr, new(train.Log), 1)
		f.Add(save(f, tr))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := train.OpenCheckpoint(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if _, err := c.Root(); err != nil {
			return
		}
		for _, name := range c.Names() {
			if c.Shape(name) == nil {
				t.Errorf("no shape of %q", name)
			}
		}
	})
}
