package net

import (
	"fmt"
	"io"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// int8Key names a part of a quantised layer in the metadata.
func int8Key(index int, what string) string {
	return fmt.Sprintf("%sint8.%d.%s", keyPrefix, index, what)
}

// Write writes the net as a GGUF file: the weights of the layers that are not
// quantised as F32 tensors, the codes and scales of the others as metadata.
func (q *Int8) Write(w io.Writer) error {
	if err := q.write(gguf.NewWriter(w)); err != nil {
		return fmt.Errorf("writing an int8 net: %w", err)
	}
	return nil
}

func (q *Int8) write(g *gguf.Writer) error {
	if err := writeHead(g, q.net.spec, q.net.Meta); err != nil {
		return err
	}
	var params []*train.Param
	for i, l := range q.net.layers {
		s := q.layers[i]
		if s == nil {
			params = append(params, l.params()...)
			continue
		}
		for _, kv := range []KeyValue{
			{int8Key(i, "codes"), gguf.ArrayOf(s.codes)},
			{int8Key(i, "scales"), gguf.ArrayOf(s.scales)},
			{int8Key(i, "input"), gguf.ValueOf(s.input)},
			{int8Key(i, "bias"), gguf.ArrayOf(s.bias)},
		} {
			if err := g.Set(kv.Key, kv.Value); err != nil {
				return err
			}
		}
	}
	return writeParams(g, params)
}

// ReadInt8 reads an int8 net from a file of the given size that Int8.Write
// wrote. m computes; it is the caller's to close.
func ReadInt8(m *tensor.Machine, r io.ReaderAt, size int64) (*Int8, error) {
	f, n, err := readNet(m, r, size)
	if err != nil {
		return nil, err
	}
	q := &Int8{net: n, layers: map[int]*quantised{}}
	var params []*train.Param
	for i, l := range n.layers {
		a := weightsOf(l)
		if a == nil {
			params = append(params, l.params()...)
			continue
		}
		if q.layers[i], err = readQuantised(f, i, a); err != nil {
			return nil, fmt.Errorf("%w: layer %d: %w", ErrFile, i, err)
		}
	}
	if err := readParams(f, params); err != nil {
		return nil, err
	}
	return q, nil
}

func readQuantised(f *gguf.File, index int, a *affine) (*quantised, error) {
	filters := a.weight.Shape[0]
	s := new(quantised)
	raw, ok := bytesOf(f, int8Key(index, "codes"), gguf.KindInt8)
	if !ok || len(raw) != len(a.weight.Data) || len(raw)/filters > maxTaps {
		return nil, fmt.Errorf("%d codes, want %d and at most %d a filter", len(raw), len(a.weight.Data), maxTaps)
	}
	s.codes = make([]int8, len(raw))
	for i := range s.codes {
		if s.codes[i] = int8(raw[i]); s.codes[i] == -128 {
			return nil, fmt.Errorf("code %d is -128, want -127 to 127", i)
		}
	}
	s.scales, _ = f.Floats(int8Key(index, "scales"))
	input, ok := f.Float(int8Key(index, "input"))
	s.input = float32(input)
	if len(s.scales) != filters || !ok {
		return nil, fmt.Errorf("%d scales, want %d and one of the input", len(s.scales), filters)
	}
	bias, _ := f.Floats(int8Key(index, "bias"))
	if a.bias != nil {
		s.bias = bias
	}
	if len(bias) != len(s.bias) || a.bias != nil && len(bias) != filters {
		return nil, fmt.Errorf("%d biases, want one for each of %d filters or none, as the spec says", len(bias), filters)
	}
	for _, x := range append(append([]float32{s.input}, s.scales...), s.bias...) {
		if !finite(x) {
			return nil, fmt.Errorf("a scale or a bias is not finite")
		}
	}
	return s, nil
}
