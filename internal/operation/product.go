package operation

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
)

// activations are a vector that matrices are multiplied with.
type activations struct {
	vector vector
	codes  int // operation that quantised it, or -1
}

// codesBytes is the size of the codes of a block of 32, and its scale.
const codesBytes = block + 4

// activations adds the quantised form of x, if one of the matrices needs it.
func (b *builder) activations(name string, x vector, matrices ...model.Part) activations {
	a := activations{x, -1}
	for _, m := range matrices {
		if quantised(m.Tensor.Type) {
			y := layout{1, 0, x.n / block, tileLen / block, codesBytes}
			a.codes = b.add(name+".codes", y, func(l *needs, leaf int) {
				l.vector(x, leaf*tileLen, min((leaf+1)*tileLen, x.n))
			}, func(s *step) { quantise(s.out, s.in[0]) })
			break
		}
	}
	return a
}

func quantised(t gguf.Type) bool {
	elems, _ := t.Block()
	return elems > 1
}

// quantise writes the codes of a tile, then its scales.
func quantise(out, x []byte) {
	n := len(x) / 4
	for at := 0; at < n; at += block {
		top := uint32(0) // of |x|, as bits
		for i := at; i < at+block; i++ {
			top = max(top, math.Float32bits(float(x, i))&^(1<<31))
		}
		most := math.Float32frombits(top)
		scale, inverse := float32(0), float32(0)
		switch {
		case top >= 0x7f800000: // infinite or NaN
			scale = math.Float32frombits(quietNaN)
		case most >= 0x1p-100:
			scale, inverse = float32(most/127), float32(127/most)
		}
		for i := at; i < at+block; i++ {
			code := int8(0)
			if inverse != 0 {
				code = int8(math.RoundToEven(float64(float32(float(x, i) * inverse))))
			}
			out[i] = byte(code)
		}
		put(out[n:], at/block, scale)
	}
}

// product is a matrix and what it is multiplied with.
type product struct {
	part  model.Part // the whole tensor
	acts  activations
	cols  int // that a leaf goes over
	parts int // leaves one after the other that go over a row
}

// product adds the product of a matrix with a vector, and what adapters add to
// it. A tensor that holds several matrices is multiplied once, for all that are
// asked for one after the other.
func (b *builder) product(name string, m model.Part, a activations) vector {
	whole, ok := b.products[m.Tensor.Name]
	if !ok {
		if m.Rows != b.tensor(m).Rows {
			parts := strings.Split(m.Tensor.Name, ".")
			name = parts[max(0, len(parts)-2)]
		}
		whole = b.multiply(name, m.Tensor.Name, m.Tensor, a)
		for _, p := range b.pairs(m.Tensor) {
			low := b.multiply(name+".lora_a", AdapterTensor(p.adapter, p.A.Name), p.A, activations{a.vector, -1})
			high := b.multiply(name+".lora_b", AdapterTensor(p.adapter, p.B.Name), p.B, activations{low, -1})
			whole = b.addScaled(name+".lora", whole, high, p.scale)
		}
		b.products[m.Tensor.Name] = whole
	}
	whole.off, whole.n = whole.off+m.First, m.Rows
	return whole
}

// multiply adds the product of a whole tensor with a vector. A leaf holds the
// sums of the rows of one tile of the tensor over some columns; it goes on from
// the leaf of the same rows and the columns before. The leaves of the last
// columns are the result. Without codes a quantised type counts as the numbers
// that it stands for.
func (b *builder) multiply(name, tensor string, x *gguf.Tensor, a activations) vector {
	t, typ := b.tiling(tensor, x), x.Type
	codes := a.codes >= 0 && quantised(typ)
	p := &product{part: model.Part{Tensor: x, Rows: t.Rows, Cols: t.Cols}, acts: a, cols: floatCols}
	if codes {
		p.cols = quantCols
	}
	p.parts = (t.Cols + p.cols - 1) / p.cols
	y := layout{p.parts, 0, t.Rows, t.TileRows, 4}
	groups := y.perGroup()
	self := b.next()
	b.add(name, y, func(l *needs, leaf int) {
		g, from := leaf%groups, leaf/groups*p.cols
		to := min(from+p.cols, t.Cols)
		if from > 0 {
			l.chain(self, leaf-groups)
		}
		if codes {
			l.leaves(a.codes, from/tileLen, (to+tileLen-1)/tileLen)
		} else {
			l.vector(a.vector, from, to)
		}
		l.tile(tensor, t.At(g*t.TileRows, from))
	}, func(s *step) {
		from := s.leaf / groups * p.cols
		to := min(from+p.cols, t.Cols)
		rows := len(s.out) / 4
		// Of each row of the tile, the bytes of these columns.
		elems, size := typ.Block()
		stride := len(s.in[1]) / rows
		skip := from % t.TileCols / elems * size
		for r := range rows {
			sum := float32(0)
			if s.prev != nil {
				sum = float(s.prev, r)
			}
			w := s.in[1][r*stride+skip:][:(to-from)/elems*size]
			if codes {
				sum = dotCodes(sum, typ, w, s.in[0])
			} else {
				sum = dotFloats(sum, widen(typ, w), s.in[0])
			}
			put(s.out, r, sum)
		}
	})
	if tensor == x.Name { // of the model
		b.plan.ops[self].product = p
	}
	return result(self, y, (p.parts-1)*t.Rows, t.Rows)
}

// tile asks for a whole tile of a tensor.
func (l *needs) tile(name string, i int) {
	in := Input{Kind: Tiles, Tensor: name, From: i, To: i + 1}
	l.add(in, 0, l.plan.bytes(in))
}

// dotFloats goes on with the sum of a row over columns of weights w: a partial
// sum for each block of 32.
func dotFloats(sum float32, w []float32, x []byte) float32 {
	for len(w) > 0 {
		n := min(block, len(w))
		part := float32(0)
		for c, v := range w[:n] {
			part += float32(v * float(x, c))
		}
		sum += part
		w, x = w[n:], x[4*n:]
	}
	return sum
}

// dotCodes goes on with the sum of a row over columns of quantised weights w,
// unit by unit. acts are tiles of codes.
func dotCodes(sum float32, typ gguf.Type, w, acts []byte) float32 {
	elems, size := typ.Block()
	var u quant.Units
	blocks := len(acts) / codesBytes
	for c := 0; len(w) > 0; c, w = c+elems, w[size:] {
		u.Decode(typ, w[:size])
		unit := elems / u.N
		for i := range u.N {
			at := c + i*unit
			tile := at / tileLen
			n := min(tileLen/block, blocks-tile*tileLen/block) // blocks of this tile
			t := acts[tile*tileLen/block*codesBytes:]
			dot, total := int32(0), int32(0)
			for j := range unit {
				q := int32(int8(t[at%tileLen+j]))
				dot += int32(u.Codes[i*unit+j]) * q
				total += q
			}
			scale := math.Float32frombits(binary.LittleEndian.Uint32(t[n*block+at%tileLen/block*4:]))
			sum += float32(float32(float32(dot)*u.Scales[i]) * scale)
			if u.Offset {
				sum += float32(u.Offsets[i] * float32(scale*float32(total)))
			}
		}
	}
	return sum
}
