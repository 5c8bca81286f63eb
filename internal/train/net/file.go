package net

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// The file of a net is GGUF: the spec and what the caller adds as metadata, the
// weights as F32 tensors. That of an int8 net has its integers in metadata too,
// since GGUF has no tensors of plain int8 that this module computes with.
const (
	keyArchitecture = "general.architecture"
	architecture    = "aval-net"
	keyPrefix       = "aval.net."
	keyVersion      = keyPrefix + "version"
	fileVersion     = 1
	keySpec         = keyPrefix + "spec"

	maxMeta = 1 << 10 // keys that are not the net's own
)

// ErrFile says that a file is not that of a net.
var ErrFile = errors.New("not the file of a net")

// KeyValue is something that a net's file says besides the net, such as the
// names of its classes.
type KeyValue struct {
	Key   string
	Value gguf.Value
}

// Write writes the net as a GGUF file.
func (n *Net) Write(w io.Writer) error {
	g := gguf.NewWriter(w)
	if err := writeHead(g, n.spec, n.Meta); err != nil {
		return fmt.Errorf("writing a net: %w", err)
	}
	if err := writeParams(g, n.params); err != nil {
		return fmt.Errorf("writing a net: %w", err)
	}
	return nil
}

// writeParams writes the tensors and closes the file.
func writeParams(g *gguf.Writer, params []*train.Param) error {
	for _, p := range params {
		if err := g.Declare(p.Name, gguf.F32, reversed(p.Shape)...); err != nil {
			return err
		}
	}
	for _, p := range params {
		b := make([]byte, 0, 4*len(p.Data))
		for _, x := range p.Data {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
		if err := g.WriteTensor(p.Name, b); err != nil {
			return err
		}
	}
	return g.Close()
}

// writeHead sets the metadata.
func writeHead(g *gguf.Writer, s *Spec, meta []KeyValue) error {
	spec, err := s.Marshal()
	if err != nil {
		return err
	}
	err = errors.Join(
		g.Set(keyArchitecture, gguf.ValueOf(architecture)),
		g.Set(keyVersion, gguf.ValueOf(uint32(fileVersion))),
		g.Set(keySpec, gguf.ArrayOf(spec)),
	)
	if len(meta) > maxMeta {
		return fmt.Errorf("%d keys of metadata, want at most %d", len(meta), maxMeta)
	}
	for _, kv := range meta {
		if ownKey(kv.Key) {
			return fmt.Errorf("the key %q is the net's own", kv.Key)
		}
		err = errors.Join(err, g.Set(kv.Key, kv.Value))
	}
	return err
}

func ownKey(key string) bool { return key == keyArchitecture || strings.HasPrefix(key, keyPrefix) }

// reversed gives a shape in the order of GGUF, the row length first.
func reversed(shape []int) []int {
	out := slices.Clone(shape)
	slices.Reverse(out)
	return out
}

// Read reads a net from a file of the given size that Write wrote. m computes;
// it is the caller's to close.
func Read(m *tensor.Machine, r io.ReaderAt, size int64) (*Net, error) {
	f, n, err := readNet(m, r, size)
	if err != nil {
		return nil, err
	}
	if err := readParams(f, n.params); err != nil {
		return nil, err
	}
	return n, nil
}

// readNet reads all but the parameters of a net.
func readNet(m *tensor.Machine, r io.ReaderAt, size int64) (*gguf.File, *Net, error) {
	f, spec, meta, err := readHead(r, size)
	if err != nil {
		return nil, nil, err
	}
	n, err := build(m, spec)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	n.Meta = meta
	return f, n, nil
}

// readParams reads the tensors, which must be these and no others.
func readParams(f *gguf.File, params []*train.Param) error {
	if have := len(f.Tensors()); have != len(params) {
		return fmt.Errorf("%w: %d tensors, want %d", ErrFile, have, len(params))
	}
	for _, p := range params {
		if err := readParam(f, p); err != nil {
			return fmt.Errorf("%w: %w", ErrFile, err)
		}
	}
	return nil
}

// readHead reads the metadata.
func readHead(r io.ReaderAt, size int64) (*gguf.File, *Spec, []KeyValue, error) {
	f, err := gguf.Parse(r, size)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if a, _ := f.String(keyArchitecture); a != architecture {
		return nil, nil, nil, fmt.Errorf("%w: %s is %q, want %q", ErrFile, keyArchitecture, a, architecture)
	}
	if v, _ := f.Uint(keyVersion); v != fileVersion {
		return nil, nil, nil, fmt.Errorf("%w: version %d, want %d", ErrFile, v, fileVersion)
	}
	raw, ok := bytesOf(f, keySpec, gguf.KindUint8)
	if !ok {
		return nil, nil, nil, fmt.Errorf("%w: %s is missing or not an array of bytes", ErrFile, keySpec)
	}
	spec, err := ParseSpec([]byte(raw))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	// A net whose weights are not in the file takes no memory.
	shapes, _ := spec.Shapes()
	if weights := spec.weights(shapes); int64(weights) > size {
		return nil, nil, nil, fmt.Errorf("%w: %d bytes do not hold %d weights", ErrFile, size, weights)
	}
	var meta []KeyValue
	for _, key := range f.Keys() {
		if !ownKey(key) {
			v, _ := f.Value(key)
			meta = append(meta, KeyValue{key, v})
		}
	}
	if len(meta) > maxMeta {
		return nil, nil, nil, fmt.Errorf("%w: %d keys of metadata, want at most %d", ErrFile, len(meta), maxMeta)
	}
	return f, spec, meta, nil
}

// bytesOf gives the bytes of an array of one-byte integers.
func bytesOf(f *gguf.File, key string, elem gguf.Kind) (string, bool) {
	v, ok := f.Value(key)
	if !ok || v.Kind() != gguf.KindArray || v.Elem() != elem {
		return "", false
	}
	return v.Raw(), true
}

func readParam(f *gguf.File, p *train.Param) error {
	t := f.Tensor(p.Name)
	if t == nil {
		return fmt.Errorf("no tensor %q", p.Name)
	}
	if t.Type != gguf.F32 || !slices.Equal(reversed(t.Shape), p.Shape) {
		return fmt.Errorf("tensor %q is %v %v, want F32 %v", p.Name, t.Type, reversed(t.Shape), p.Shape)
	}
	b := make([]byte, 4*len(p.Data))
	if _, err := io.ReadFull(f.Reader(t), b); err != nil {
		return fmt.Errorf("tensor %q: %w", p.Name, err)
	}
	for i := range p.Data {
		x := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if !finite(x) {
			return fmt.Errorf("tensor %q holds a number that is not finite", p.Name)
		}
		p.Data[i] = x
	}
	return nil
}

func finite(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
