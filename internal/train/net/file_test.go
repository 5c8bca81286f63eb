package net_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/train/net"
)

// altered is a file with some of its keys replaced (removed by nil) and its
// tensors in another type.
func altered(t *testing.T, data []byte, typ gguf.Type, keys map[string]*gguf.Value) []byte {
	t.Helper()
	f, err := gguf.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	g := gguf.NewWriter(&buf)
	for _, k := range f.Keys() {
		v, _ := f.Value(k)
		r, ok := keys[k]
		if ok && r != nil {
			v = *r
		}
		if !ok || r != nil {
			err = errors.Join(err, g.Set(k, v))
		}
	}
	for _, x := range f.Tensors() {
		err = errors.Join(err, g.Declare(x.Name, typ, x.Shape...))
	}
	_, size := typ.Block()
	for _, x := range f.Tensors() {
		b := make([]byte, x.Elements()*size)
		if typ == x.Type {
			_, e := io.ReadFull(f.Reader(x), b)
			err = errors.Join(err, e)
		}
		err = errors.Join(err, g.WriteTensor(x.Name, b))
	}
	if err := errors.Join(err, g.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestReadRefuses(t *testing.T) {
	m := machine(t, 1)
	n := newNet(t, m, nets["eeg"])
	var file, nan, small bytes.Buffer
	q, err := net.Quantize(n, examples(n, 3))
	if err == nil {
		err = errors.Join(n.Write(&file), q.Write(&small))
	}
	n.Params()[0].Data[1] = float32(math.NaN())
	if err := errors.Join(err, n.Write(&nan)); err != nil {
		t.Fatal(err)
	}
	value := func(v gguf.Value) map[string]*gguf.Value { return map[string]*gguf.Value{"aval.net.spec": &v} }
	otherSpec := nets["dense"]
	spec, err := otherSpec.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	huge := net.Spec{Input: net.Vector(1 << 12), Layers: []net.Layer{{Kind: net.Dense, Units: 1 << 12}}, Loss: net.MSE}
	hugeSpec, err := huge.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	two := gguf.ValueOf(uint32(2))
	for want, data := range map[string][]byte{
		`general.architecture is ""`: altered(t, file.Bytes(), gguf.F32, map[string]*gguf.Value{"general.architecture": nil}),
		"version 2":                  altered(t, file.Bytes(), gguf.F32, map[string]*gguf.Value{"aval.net.version": &two}),
		"is missing or not":          altered(t, file.Bytes(), gguf.F32, value(gguf.ValueOf("x"))),
		"not canonical CBOR":         altered(t, file.Bytes(), gguf.F32, value(gguf.ArrayOf([]byte{1}))),
		"tensors, want 3":            altered(t, file.Bytes(), gguf.F32, value(gguf.ArrayOf(spec))),
		"do not hold 16777216":       altered(t, file.Bytes(), gguf.F32, value(gguf.ArrayOf(hugeSpec))),
		"is F16":                     altered(t, file.Bytes(), gguf.F16, nil),
		"is not finite":              nan.Bytes(),
		"the first bytes":            []byte("not a net, not a net"),
	} {
		_, err := net.Read(m, bytes.NewReader(data), int64(len(data)))
		if !errors.Is(err, net.ErrFile) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
	codes := gguf.ArrayOf([]int8{-128})
	inf := gguf.ValueOf(float32(math.Inf(1)))
	for want, keys := range map[string]map[string]*gguf.Value{
		"1 codes":       {"aval.net.int8.0.codes": &codes},
		"0 codes":       {"aval.net.int8.2.codes": nil},
		"0 scales":      {"aval.net.int8.0.scales": nil},
		"scales, want":  {"aval.net.int8.0.input": nil},
		"is not finite": {"aval.net.int8.0.input": &inf},
		"1 biases":      {"aval.net.int8.0.bias": ptr(gguf.ArrayOf([]float32{1}))},
	} {
		data := altered(t, small.Bytes(), gguf.F32, keys)
		_, err := net.ReadInt8(m, bytes.NewReader(data), int64(len(data)))
		if !errors.Is(err, net.ErrFile) || !strings.Contains(err.Error(), want) {
			t.Errorf("int8, %q: error %v", want, err)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// TestMeta: what a net's file says besides comes back from both kinds of files,
// and cannot take the place of the net's own keys.
func TestMeta(t *testing.T) {
	m := machine(t, 1)
	n := newNet(t, m, nets["dense"])
	n.Meta = []net.KeyValue{{Key: "aval.net.spec", Value: gguf.ValueOf("x")}}
	if err := n.Write(io.Discard); err == nil {
		t.Error("a key of the net's own is written")
	}
	n.Meta = []net.KeyValue{{Key: "a", Value: gguf.ValueOf("x")}, {Key: "b", Value: gguf.ValueOf(true)}}
	q, err := net.Quantize(n, examples(n, 3))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := q.Write(&buf); err != nil {
		t.Fatal(err)
	}
	again, err := net.ReadInt8(m, bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if meta := again.Meta(); len(meta) != 2 || meta[0] != n.Meta[0] || meta[1] != n.Meta[1] {
		t.Errorf("metadata %v, want %v", meta, n.Meta)
	}
	if again.Spec().Loss != net.MSE || n.Size() != 5*7+7+7*3 {
		t.Errorf("loss %q, %d weights", again.Spec().Loss, n.Size())
	}
	if _, err := net.Quantize(n, nil); err == nil {
		t.Error("a net is quantised without examples")
	}
}
