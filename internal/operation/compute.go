package operation

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Source hands out what a cell depends on and does not compute itself. The
// bytes stay as they are.
type Source interface {
	// X is x(layer, position) as bytes: f32, little endian.
	X(layer, position int) ([]byte, error)
	// KV is kv(layer, position): f16, little endian.
	KV(layer, position int) ([]byte, error)
	// Tokens are the ids from to to-1 of the run.
	Tokens(from, to int) ([]int32, error)
	// Tensor is the data of a tensor of the model.
	Tensor(name string) ([]byte, error)
	// Matrices are the rows of a tensor as the kernels take them, one matrix
	// after the other; nil if they are not at hand.
	Matrices(name string) []*kernel.Matrix
}

// Values are the values of all leaves of a cell. What they hash they keep, so
// one goroutine may use them at a time.
type Values struct {
	plan   *Plan
	ops    [][]byte // the leaves of an operation, one after the other
	hashes [][]canon.Hash
	roots  []canon.Hash
}

// Compute computes a cell.
func Compute(p *Plan, src Source) (*Values, error) {
	v := &Values{plan: p}
	r := &reader{
		values: v, src: src, kernel: kernel.Best(),
		states: map[Input][]byte{}, tensors: map[string][]byte{}, acts: map[actsKey]*kernel.Acts{},
	}
	for i, o := range p.ops {
		v.ops = append(v.ops, make([]byte, o.at(o.leaves)))
		if done, err := r.multiply(i); err != nil {
			return nil, err
		} else if done {
			continue
		}
		if err := r.leaves(i); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// reader finds inputs.
type reader struct {
	values  *Values
	src     Source
	kernel  *kernel.Kernel
	states  map[Input][]byte // vectors of states, by their input without tiles
	tensors map[string][]byte
	acts    map[actsKey]*kernel.Acts
}

// leaves computes an operation leaf by leaf.
func (r *reader) leaves(op int) error {
	p := r.values.plan
	var l needs
	var inputs [][]byte
	for leaf := range p.ops[op].leaves {
		p.needsOf(&l, op, leaf)
		inputs = inputs[:0]
		for _, n := range l.list {
			b, err := r.input(n.Input)
			if err != nil {
				return err
			}
			inputs = append(inputs, b)
		}
		p.eval(r.values.Leaf(op, leaf), op, leaf, &l, inputs)
	}
	return nil
}

// input returns the bytes of an input.
func (r *reader) input(in Input) ([]byte, error) {
	p := r.values.plan
	switch in.Kind {
	case Leaves:
		o := &p.ops[in.Op]
		return r.values.ops[in.Op][o.at(in.From):o.at(in.To)], nil
	case X, KV:
		y, get := p.x, r.src.X
		if in.Kind == KV {
			y, get = p.kv, r.src.KV
		}
		from, to := y.at(in.From), y.at(in.To)
		in.From, in.To = 0, 0
		b, ok := r.states[in]
		if !ok {
			var err error
			if b, err = get(in.Layer, in.Position); err != nil {
				return nil, err
			}
			if want := y.n * y.size; len(b) != want {
				return nil, fmt.Errorf("operation: the state of layer %d at position %d has a vector of %d bytes, want %d", in.Layer, in.Position, len(b), want)
			}
			r.states[in] = b
		}
		return b[from:to], nil
	case Tokens:
		ids, err := r.src.Tokens(in.From, in.To)
		if err != nil {
			return nil, err
		}
		if len(ids) != in.To-in.From {
			return nil, fmt.Errorf("operation: %d ids, want those at positions %d to %d", len(ids), in.From, in.To-1)
		}
		b := make([]byte, 0, 4*len(ids))
		for _, id := range ids {
			b = binary.LittleEndian.AppendUint32(b, uint32(id))
		}
		return b, nil
	}
	data, err := r.tensor(in.Tensor)
	if err != nil {
		return nil, err
	}
	from, size := p.tensors[in.Tensor].Range(in.From, in.To)
	return data[from : from+size], nil
}

func (r *reader) tensor(name string) ([]byte, error) {
	data, ok := r.tensors[name]
	if !ok {
		var err error
		if data, err = r.src.Tensor(name); err != nil {
			return nil, err
		}
		if want := r.values.plan.tensors[name].Size(); int64(len(data)) != want {
			return nil, fmt.Errorf("operation: tensor %s has %d bytes, want %d", name, len(data), want)
		}
		r.tensors[name] = data
	}
	return data, nil
}

// Leaf is the value of a leaf.
func (v *Values) Leaf(op, leaf int) []byte {
	o := &v.plan.ops[op]
	return v.ops[op][o.at(leaf):o.at(leaf+1):o.at(leaf+1)]
}

// Plan is the plan of the cell.
func (v *Values) Plan() *Plan { return v.plan }

// Hashes are the hashes of the leaves of an operation.
func (v *Values) Hashes(op int) []canon.Hash {
	if v.hashes == nil {
		v.hashes = make([][]canon.Hash, len(v.ops))
	}
	if v.hashes[op] == nil {
		list := make([]canon.Hash, v.plan.ops[op].leaves)
		share(len(list), 1024, func(from, to int) {
			for i := from; i < to; i++ {
				list[i] = canon.Leaf(v.Leaf(op, i))
			}
		})
		v.hashes[op] = list
	}
	return v.hashes[op]
}

// Roots are the roots of the operations.
func (v *Values) Roots() []canon.Hash {
	if v.roots == nil {
		for op := range v.ops {
			v.roots = append(v.roots, canon.Root(v.Hashes(op)))
		}
	}
	return v.roots
}

// Root is the root of the cell.
func (v *Values) Root() canon.Hash { return CellRoot(v.Roots()) }
