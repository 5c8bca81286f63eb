package operation

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
)

// builder makes a plan, operation by operation.
type builder struct {
	plan     *Plan
	model    *model.Description
	adapters []Adapter
	products map[string]vector // of whole tensors, by their names
	err      error
}

func newBuilder(d *model.Description, adapters []Adapter) *builder {
	kv := layout{1, 0, 2 * d.KVHeads * d.HeadDim, storeLen, 2}
	return &builder{
		model: d, adapters: adapters, products: map[string]vector{},
		plan: &Plan{
			first: []int{0}, tensors: map[string]fingerprint.Tiling{},
			x: tiles(d.Dim), kv: kv, store: -1,
		},
	}
}

// next is the number of the operation that add is about to add.
func (b *builder) next() int { return len(b.plan.ops) }

// add appends an operation whose leaves lie as y says.
func (b *builder) add(name string, y layout, ask func(l *needs, leaf int), eval func(s *step)) int {
	if y.groups < 1 || y.n < 1 || float64(y.groups)*float64(y.n)*float64(y.size) > maxBytes {
		b.fail(fmt.Errorf("operation: %s of %d groups of %d numbers is too large", name, y.groups, y.n))
		y = layout{1, 0, 1, 1, y.size}
	}
	return b.addOp(op{name: name, leaves: y.leaves(), at: y.at, ask: ask, eval: eval})
}

func (b *builder) addOp(o op) int {
	p := b.plan
	p.ops = append(p.ops, o)
	p.first = append(p.first, p.first[len(p.ops)-1]+o.leaves)
	if p.first[len(p.ops)] < 0 {
		b.fail(fmt.Errorf("operation: the cell has too many leaves"))
	}
	return len(p.ops) - 1
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// result is the vector of n numbers from off on that an operation leaves.
func result(op int, y layout, off, n int) vector {
	return vector{Input{Kind: Leaves, Op: op}, y, off, n}
}

// vector adds an operation whose leaves are the tiles of a vector of n numbers.
func (b *builder) vector(name string, n int, ask func(l *needs, from, to int), eval func(s *step)) vector {
	y := tiles(n)
	op := b.add(name, y, func(l *needs, leaf int) {
		ask(l, leaf*tileLen, min((leaf+1)*tileLen, n))
	}, eval)
	return result(op, y, 0, n)
}

// tensor makes tiles of a part's tensor known to the plan.
func (b *builder) tensor(p model.Part) fingerprint.Tiling { return b.tiling(p.Tensor.Name, p.Tensor) }

// tiling is tensor for one that inputs call name.
func (b *builder) tiling(name string, x *gguf.Tensor) fingerprint.Tiling {
	t, err := fingerprint.TilingOf(x.Type, x.Shape)
	if err != nil {
		b.fail(err)
		return fingerprint.Tiling{Rows: 1, Cols: 1, RowBytes: 1, TileRows: 1, TileCols: 1}
	}
	b.plan.tensors[name] = t
	return t
}

// weights asks for elements from to to-1 of a vector of the model.
func (l *needs) weights(p model.Part, from, to int) {
	t := l.plan.tensors[p.Tensor.Name]
	_, size := p.Tensor.Type.Block()
	in := Input{Kind: Tiles, Tensor: p.Tensor.Name, From: t.At(0, from), To: t.At(0, to-1) + 1}
	l.add(in, from*size-int(t.Tile(in.From).Offset), (to-from)*size)
}

// float reads number i of b.
func float(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
}

// put writes number i of b. A NaN is written as the same one always, since the
// bits of it are not defined.
func put(b []byte, i int, v float32) {
	bits := math.Float32bits(v)
	if v != v {
		bits = quietNaN
	}
	binary.LittleEndian.PutUint32(b[4*i:], bits)
}

const quietNaN = 0x7fc00000

// putAll writes numbers.
func putAll(b []byte, v []float32) {
	for i, x := range v {
		put(b, i, x)
	}
}

// floats reads all numbers of b.
func floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = float(b, i)
	}
	return v
}

// widen reads weights of a type: any one, whole blocks.
func widen(t gguf.Type, b []byte) []float32 {
	elems, size := t.Block()
	v := make([]float32, len(b)/size*elems)
	if err := quant.Dequantize(t, b, v); err != nil {
		panic("operation: internal error: " + err.Error())
	}
	return v
}

// fold adds sixteen partial sums in a fixed tree.
func fold(s *[lanes]float32) float32 {
	for h := lanes / 2; h > 0; h /= 2 {
		for i := range h {
			s[i] += s[i+h]
		}
	}
	return s[0]
}

// sumSquares adds the squares of numbers to partial sums.
func sumSquares(s *[lanes]float32, x []byte) {
	for i := range len(x) / 4 {
		v := float(x, i)
		s[i%lanes] += float32(v * v)
	}
}

// normScale is what a norm multiplies with.
func normScale(s *[lanes]float32, n int, eps float32) float32 {
	mean := float32(fold(s) / float32(n))
	return float32(1 / float32(math.Sqrt(float64(mean+eps))))
}

// readLanes reads partial sums; there are none yet if b is nil.
func readLanes(b []byte) (s [lanes]float32) {
	if b != nil {
		for i := range s {
			s[i] = float(b, i)
		}
	}
	return s
}

// norm adds norm(x, w): the sums of squares as a chain, the scale, the result.
func (b *builder) norm(name string, x vector, w model.Part) vector {
	n, eps := x.n, b.model.Epsilon
	b.tensor(w)
	count := (n + tileLen - 1) / tileLen
	sums := b.next()
	b.add(name+".squares", records(count, 4*lanes), func(l *needs, leaf int) {
		if leaf > 0 {
			l.chain(sums, leaf-1)
		}
		l.vector(x, leaf*tileLen, min((leaf+1)*tileLen, n))
	}, func(s *step) {
		acc := readLanes(s.prev)
		sumSquares(&acc, s.in[0])
		putAll(s.out, acc[:])
	})
	scale := b.add(name+".scale", records(1, 4), func(l *needs, _ int) {
		l.leaf(sums, count-1)
	}, func(s *step) {
		acc := readLanes(s.in[0])
		put(s.out, 0, normScale(&acc, n, eps))
	})
	return b.vector(name, n, func(l *needs, from, to int) {
		l.vector(x, from, to)
		l.leaf(scale, 0)
		l.weights(w, from, to)
	}, func(s *step) {
		r := float(s.in[1], 0)
		for i, v := range widen(w.Tensor.Type, s.in[2]) {
			put(s.out, i, float32(float32(float(s.in[0], i)*r)*v))
		}
	})
}

// sum adds x + y, a residual or a bias.
func (b *builder) sum(name string, x, y vector) vector {
	return b.vector(name, x.n, func(l *needs, from, to int) {
		l.vector(x, from, to)
		l.vector(y, from, to)
	}, func(s *step) {
		for i := range len(s.out) / 4 {
			put(s.out, i, float(s.in[0], i)+float(s.in[1], i))
		}
	})
}

// bias adds y + w, where the model has w.
func (b *builder) bias(name string, y vector, w model.Part) vector {
	if w.Tensor == nil {
		return y
	}
	b.tensor(w)
	return b.vector(name, y.n, func(l *needs, from, to int) {
		l.vector(y, from, to)
		l.weights(w, from, to)
	}, func(s *step) {
		for i, v := range widen(w.Tensor.Type, s.in[1]) {
			put(s.out, i, float(s.in[0], i)+v)
		}
	})
}

// gated adds act(gate) * up.
func (b *builder) gated(gate, up vector) vector {
	act := kernel.SiLU
	if b.model.Gate == kernel.GateGELU {
		act = kernel.GELU
	}
	return b.vector("ffn", gate.n, func(l *needs, from, to int) {
		l.vector(gate, from, to)
		l.vector(up, from, to)
	}, func(s *step) {
		for i := range len(s.out) / 4 {
			put(s.out, i, float32(act(float(s.in[0], i))*float(s.in[1], i)))
		}
	})
}
