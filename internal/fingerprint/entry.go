package fingerprint

import (
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of an entry; those of package gguf, so that any file has a
// fingerprint.
const (
	maxKeys     = 1 << 16
	maxTensors  = 1 << 18
	maxKeyLen   = 1<<16 - 1
	maxNameLen  = 256
	maxElements = 1 << 26
	maxContent  = 512 << 20
)

// metaEntry is the value of a leaf of the metadata's tree.
type metaEntry struct {
	_       struct{} `cbor:",toarray"`
	Key     string
	Kind    uint32
	Elem    uint32 // of an array; else 0
	Count   uint64 // elements of an array; else 0
	Size    uint64 // bytes of the value as a file has them
	Content []byte // these bytes, or the root over their pieces
}

// tensorEntry is the value of a leaf of the tensors' tree.
type tensorEntry struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Type  uint32
	Shape []uint64
	Root  []byte // over the tiles
}

// excluded reports whether a key says how a file is laid out, not what the
// model is.
func excluded(key string) bool {
	return key == "general.alignment" || strings.HasPrefix(key, "split.")
}

// metaEntryOf makes the entry of a key.
func metaEntryOf(key string, v gguf.Value) metaEntry {
	e := metaEntry{Key: key, Kind: uint32(v.Kind()), Size: uint64(len(v.Raw()))}
	if v.Kind() == gguf.KindArray {
		e.Elem, e.Count = uint32(v.Elem()), uint64(v.Len())
	}
	if long(e.Size) {
		root := canon.Root(e.leaves(v.Raw()))
		e.Content = root[:]
	} else {
		e.Content = []byte(v.Raw())
	}
	return e
}

// check refuses what no file's entry can be.
func (e *metaEntry) check() error {
	kind := gguf.Kind(e.Kind)
	compound := kind == gguf.KindString || kind == gguf.KindArray
	switch {
	case e.Key == "" || len(e.Key) > maxKeyLen:
		return fmt.Errorf("a key of %d bytes, want 1 to %d", len(e.Key), maxKeyLen)
	case excluded(e.Key):
		return fmt.Errorf("key %q belongs to a file, not to a model", e.Key)
	case e.Count > maxElements || e.Size > maxContent:
		return fmt.Errorf("key %q: %d elements in %d bytes are more than a file can have", e.Key, e.Count, e.Size)
	case e.Content == nil:
		return fmt.Errorf("key %q: no content", e.Key)
	case !long(e.Size) && uint64(len(e.Content)) != e.Size:
		return fmt.Errorf("key %q: %d bytes of content, want %d", e.Key, len(e.Content), e.Size)
	case long(e.Size) && (!compound || len(e.Content) != canon.Size):
		return fmt.Errorf("key %q: %d bytes are not a value of kind %s with a root of %d bytes", e.Key, e.Size, kind, len(e.Content))
	case kind != gguf.KindArray && (e.Elem != 0 || e.Count != 0):
		return fmt.Errorf("key %q: elements in a value of kind %s", e.Key, kind)
	case long(e.Size) && kind == gguf.KindArray && !e.sizeFits():
		return fmt.Errorf("key %q: %d bytes of %d elements of kind %s", e.Key, e.Size, e.Count, gguf.Kind(e.Elem))
	}
	if !long(e.Size) {
		if _, err := e.value(string(e.Content)); err != nil {
			return err
		}
	}
	return nil
}

// sizeFits reports whether the elements of a long array can have its size.
func (e *metaEntry) sizeFits() bool {
	switch kind := gguf.Kind(e.Elem); {
	case e.Count == 0 || kind > gguf.KindFloat64:
		return false
	case kind == gguf.KindString:
		return e.Size >= e.Count*stringHead
	case kind == gguf.KindArray:
		return e.Size >= e.Count*arrayHead
	default:
		return e.Size == e.Count*uint64(scalarSize(kind))
	}
}

// value makes the entry's value from its bytes.
func (e *metaEntry) value(raw string) (gguf.Value, error) {
	v, err := gguf.ValueFromRaw(gguf.Kind(e.Kind), gguf.Kind(e.Elem), int(e.Count), raw)
	if err != nil {
		return v, fmt.Errorf("key %q: %w", e.Key, err)
	}
	return v, nil
}

// tensor makes the description of a tensor, or says why no file has it.
func (e *tensorEntry) tensor() (*gguf.Tensor, Tiling, error) {
	if e.Name == "" || len(e.Name) > maxNameLen {
		return nil, Tiling{}, fmt.Errorf("a name of %d bytes, want 1 to %d", len(e.Name), maxNameLen)
	}
	t := &gguf.Tensor{Name: e.Name, Type: gguf.Type(e.Type)}
	for _, d := range e.Shape {
		if !fits(d) {
			return nil, Tiling{}, fmt.Errorf("tensor %q: a dimension of %d", e.Name, d)
		}
		t.Shape = append(t.Shape, int(d))
	}
	tiling, err := TilingOf(t.Type, t.Shape)
	if err != nil {
		return nil, Tiling{}, fmt.Errorf("tensor %q: %w", e.Name, err)
	}
	if len(e.Root) != canon.Size {
		return nil, Tiling{}, fmt.Errorf("tensor %q: a root of %d bytes", e.Name, len(e.Root))
	}
	t.Size = tiling.Size()
	return t, tiling, nil
}
