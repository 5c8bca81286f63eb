package fingerprint

import (
	"fmt"
	"sync"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// Facts are what a verified proof shows of a model. Value, Bool, String and
// Tensor answer as those of a gguf.File do, so that whatever reads the
// configuration of a model can read it from a proof. A proof shows only what
// was asked of it: a question that it leaves open is answered as if there were
// no such thing, and Err says so afterwards. Methods may be called from
// several goroutines.
type Facts struct {
	root     canon.Hash
	keys     known[metaEntry]
	names    known[tensorFact]
	contents map[int][]content // by place of the entry
	tiles    map[int][]tiles

	mu  sync.Mutex
	err error
}

type tensorFact struct {
	info   *gguf.Tensor
	tiling Tiling
	root   canon.Hash
}

// tiles is a run of tiles.
type tiles struct {
	from int
	data [][]byte
}

// open notes a question that the proof leaves open.
func (f *Facts) open(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = fmt.Errorf("fingerprint: the proof does not show "+format, args...)
	}
}

// Err tells of the first question that the proof left open, or nil if the
// answers so far are those of the file.
func (f *Facts) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Root is the identity of the model.
func (f *Facts) Root() canon.Hash { return f.root }

// Value finds a metadata value by its key. Keys that say how a file is laid
// out (general.alignment, split.*) are not there.
func (f *Facts) Value(key string) (gguf.Value, bool) {
	place, e, ok, sure := f.keys.lookup(key)
	switch {
	case !sure:
		f.open("whether there is a key %q", key)
		return gguf.Value{}, false
	case !ok:
		return gguf.Value{}, false
	}
	if !long(e.Size) {
		v, err := e.value(string(e.Content))
		return v, err == nil // it was checked
	}
	for _, c := range f.contents[place] {
		if c.whole {
			return c.value, true
		}
	}
	f.open("the whole value of %q, %d bytes", key, e.Size)
	return gguf.Value{}, false
}

// String gives the string under key.
func (f *Facts) String(key string) (string, bool) {
	if v, ok := f.Value(key); ok {
		return v.Text()
	}
	return "", false
}

// Bool gives the bool under key.
func (f *Facts) Bool(key string) (value, ok bool) {
	if v, ok := f.Value(key); ok {
		return v.Bool()
	}
	return false, false
}

// Len is the number of elements of the array under key, which it tells even if
// the proof shows no element; elem is their kind.
func (f *Facts) Len(key string) (n int, elem gguf.Kind, ok bool) {
	_, e, ok, sure := f.keys.lookup(key)
	if !sure {
		f.open("whether there is a key %q", key)
	}
	if !ok || gguf.Kind(e.Kind) != gguf.KindArray {
		return 0, 0, false
	}
	return int(e.Count), gguf.Kind(e.Elem), true
}

// Elements gives the elements from to to-1 of the array under key; ok is false
// if there are no such elements.
func (f *Facts) Elements(key string, from, to int) ([]gguf.Value, bool) {
	n, _, ok := f.Len(key)
	if !ok || from < 0 || from >= to || to > n {
		return nil, false
	}
	place, e, _, _ := f.keys.lookup(key)
	runs := f.contents[place]
	if !long(e.Size) {
		v, _ := f.Value(key)
		runs = []content{{from: 0, to: n, value: v}}
	}
	for _, c := range runs {
		if from < c.from || to > c.to {
			continue
		}
		var list []gguf.Value
		for i, x := range c.value.All() {
			if i += c.from; i >= to {
				break
			} else if i >= from {
				list = append(list, x)
			}
		}
		return list, true
	}
	f.open("elements %d to %d of %q", from, to-1, key)
	return nil, false
}

// Keys gives the metadata keys that the proof shows, in order.
func (f *Facts) Keys() []string {
	var keys []string
	for _, s := range f.keys.spans {
		keys = append(keys, s.names...)
	}
	return keys
}

// HasKeys reports whether the proof shows all keys that begin with prefix.
func (f *Facts) HasKeys(prefix string) bool { return f.keys.all(prefix) }

// Tensor finds a tensor by name; nil if there is none. Its Offset is 0: a
// model is not a file.
func (f *Facts) Tensor(name string) *gguf.Tensor {
	_, t, ok, sure := f.names.lookup(name)
	if !sure {
		f.open("whether there is a tensor %q", name)
	}
	if !ok {
		return nil
	}
	return t.info
}

// Tensors gives the tensors that the proof shows, in the order of their names.
func (f *Facts) Tensors() []*gguf.Tensor {
	var list []*gguf.Tensor
	for _, s := range f.names.spans {
		for _, t := range s.entries {
			list = append(list, t.info)
		}
	}
	return list
}

// HasTensors reports whether the proof shows all tensors whose names begin
// with prefix.
func (f *Facts) HasTensors(prefix string) bool { return f.names.all(prefix) }

// Tile gives the bytes of a tile; ok is false if there is none of this number.
func (f *Facts) Tile(tensor string, i int) ([]byte, bool) {
	place, t, ok, sure := f.names.lookup(tensor)
	if !sure {
		f.open("whether there is a tensor %q", tensor)
	}
	if !ok || i < 0 || i >= t.tiling.Tiles() {
		return nil, false
	}
	for _, x := range f.tiles[place] {
		if i >= x.from && i < x.from+len(x.data) {
			return x.data[i-x.from], true
		}
	}
	f.open("tile %d of %q", i, tensor)
	return nil, false
}
