package operation

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
)

// Adapter is a low-rank adapter that changed the model of a run
// (spec/numerics.md, section 8.3).
type Adapter struct {
	// Header is that of its file, or what someone proved of it: the keys that
	// adapter.Keys names, and the tensors of adapter.Tensors of the matrices of
	// the cell.
	Header adapter.Header
	Scale  float32 // that it was used with
}

// adapterMark begins the names of tensors of adapters among inputs. No
// architecture has a tensor whose name begins so.
const adapterMark = "@"

// AdapterTensor is how inputs call a tensor of adapter i, counted from 0.
func AdapterTensor(i int, name string) string { return adapterMark + strconv.Itoa(i) + "/" + name }

// OfAdapter tells whether an input's tensor is that of an adapter, of which, and
// its name there.
func OfAdapter(tensor string) (i int, name string, ok bool) {
	rest, ok := strings.CutPrefix(tensor, adapterMark)
	number, name, cut := strings.Cut(rest, "/")
	i, err := strconv.Atoi(number)
	return i, name, ok && cut && err == nil && i >= 0
}

// change is the update that one adapter makes of a tensor.
type change struct {
	*adapter.Pair
	adapter int
	scale   float32 // what B A is multiplied by
}

// pairs lists the updates of a tensor.
func (b *builder) pairs(t *gguf.Tensor) []change {
	var list []change
	for i, a := range b.adapters {
		p, err := adapter.Lookup(a.Header, t)
		if err != nil {
			b.fail(fmt.Errorf("adapter %d: %w", i, err))
			return nil
		}
		if p == nil {
			continue
		}
		s := p.Scale(a.Scale)
		if v := float64(s); math.IsNaN(v) || math.IsInf(v, 0) {
			b.fail(fmt.Errorf("adapter %d: with the scale %v its update of %s is multiplied by %v, want a finite number", i, a.Scale, t.Name, s))
			return nil
		}
		list = append(list, change{p, i, s})
	}
	return list
}

// addScaled adds y + s * u.
func (b *builder) addScaled(name string, y, u vector, s float32) vector {
	return b.vector(name, y.n, func(l *needs, from, to int) {
		l.vector(y, from, to)
		l.vector(u, from, to)
	}, func(t *step) {
		for i := range len(t.out) / 4 {
			put(t.out, i, float(t.in[0], i)+float32(s*float(t.in[1], i)))
		}
	})
}
