package operation

import (
	"encoding/binary"
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
)

// store adds the keys and values that the cell puts into the cache, f16.
func (b *builder) store(k, v vector) vector {
	y := b.plan.kv
	kd := k.n
	op := b.add("store", y, func(l *needs, leaf int) {
		from, to := leaf*storeLen, min((leaf+1)*storeLen, 2*kd)
		if from < kd {
			l.vector(k, from, min(to, kd))
		}
		if to > kd {
			l.vector(v, max(from, kd)-kd, to-kd)
		}
	}, func(s *step) {
		out := s.out
		for _, in := range s.in {
			for i := range len(in) / 4 {
				binary.LittleEndian.PutUint16(out[2*i:], kernel.ToF16Sat(float(in, i)))
			}
			out = out[len(in)/2:]
		}
	})
	b.plan.store = op
	return result(op, y, 0, y.n)
}

// gather adds copies of the keys and values of the positions lo to c.Position,
// so that those of consecutive positions lie side by side: for each key-value
// head, keys and then values, slice after slice, a leaf for each position. It
// returns where the leaf of the first position is.
func (b *builder) gather(own vector, c LayerCell, lo int) func(head, which, slice int) (self, leaf int) {
	d, kvHeads, n := b.model.HeadDim, b.model.KVHeads, c.Position-lo+1
	slices := (d + sliceLen - 1) / sliceLen
	other := vector{in: Input{Kind: KV, Layer: c.Layer}, layout: own.layout, n: own.n}
	at := func(leaf int) int {
		s := leaf / n % slices
		return (leaf/n/slices*d*n + s*sliceLen*n + leaf%n*(min(d, (s+1)*sliceLen)-s*sliceLen)) * 2
	}
	ask := func(l *needs, leaf int) {
		head, which, s := leaf/n/slices/2, leaf/n/slices%2, leaf/n%slices
		from, to := s*sliceLen, min((s+1)*sliceLen, d)
		v := own
		if p := lo + leaf%n; p < c.Position {
			v = other
			v.in.Position = p
		}
		at := (which*kvHeads + head) * d
		l.vector(v, at+from, at+to)
	}
	self := b.addOp(op{name: "gather", leaves: kvHeads * 2 * slices * n, at: at, ask: ask, eval: func(s *step) { copy(s.out, s.in[0]) }})
	return func(head, which, slice int) (int, int) { return self, ((head*2+which)*slices + slice) * n }
}

// attention adds the attention of the queries q, which see the positions
// before the cell's and, of its own, what it stored.
func (b *builder) attention(q, own vector, y *model.LayerParts, c LayerCell) vector {
	d, heads := b.model.HeadDim, b.model.Heads
	group := heads / b.model.KVHeads
	slices := (d + sliceLen - 1) / sliceLen
	lo := 0
	if y.Window > 0 {
		lo = max(0, c.Position+1-y.Window)
	}
	n := c.Position - lo + 1
	gathered := b.gather(own, c, lo)
	blocks := layout{1, lo, n, blockLen, 4} // of one head's positions
	wide := layout{1, lo, n, tileLen, 4}
	count, tiles := blocks.leaves(), wide.leaves()
	// span gives the positions of a leaf, counted from lo.
	span := func(y layout, i int) (from, to int) { return y.start(i), y.start(i + 1) }
	// rows asks for what was gathered of the positions of a block.
	rows := func(l *needs, head, which, slice, blk int) {
		from, to := span(blocks, blk)
		self, first := gathered(head/group, which, slice)
		l.leaves(self, first+from, first+to)
	}

	sy := layout{slices * heads, lo, n, blockLen, 4}
	scores := b.next()
	b.add("scores", sy, func(l *needs, leaf int) {
		blk, h, s := leaf%count, leaf/count%heads, leaf/count/heads
		if s > 0 {
			l.chain(scores, leaf-heads*count)
		}
		l.vector(q, h*d+s*sliceLen, h*d+min(d, (s+1)*sliceLen))
		rows(l, h, 0, s, blk)
	}, func(s *step) {
		last := s.leaf/count/heads == slices-1
		width := len(s.in[0]) / 4
		row := make([]float32, width)
		for i := range len(s.out) / 4 {
			z := float32(0)
			if s.prev != nil {
				z = float(s.prev, i)
			}
			for j := range row {
				row[j] = kernel.FromF16(binary.LittleEndian.Uint16(s.in[1][2*(i*width+j):]))
			}
			z = dotFloats(z, row, s.in[0])
			if last {
				z = float32(z * b.model.ScoreScale)
				if c := b.model.ScoreCap; c > 0 {
					z = kernel.Softcap(z, c)
				}
			}
			put(s.out, i, z)
		}
	})
	z := result(scores, sy, (slices-1)*heads*n, heads*n)

	most := b.next()
	b.add("max", records(heads*tiles, 4), func(l *needs, leaf int) {
		h, t := leaf/tiles, leaf%tiles
		if t > 0 {
			l.chain(most, leaf-1)
		}
		from, to := span(wide, t)
		l.vector(z, h*n+from, h*n+to)
	}, func(s *step) {
		m := float32(math.Inf(-1))
		if s.prev != nil {
			m = float(s.prev, 0)
		}
		for i := range len(s.in[0]) / 4 {
			if v := float(s.in[0], i); v > m {
				m = v
			}
		}
		put(s.out, 0, m)
	})

	exp := layout{1, lo, n, expLen, 4}
	ey := layout{heads, lo, n, expLen, 4}
	exps := b.add("exp", ey, func(l *needs, leaf int) {
		h := leaf / exp.leaves()
		from, to := span(exp, leaf%exp.leaves())
		l.vector(z, h*n+from, h*n+to)
		l.leaf(most, h*tiles+tiles-1)
	}, func(s *step) {
		m := float(s.in[1], 0)
		for i := range len(s.out) / 4 {
			put(s.out, i, kernel.Exp(float(s.in[0], i)-m))
		}
	})
	e := result(exps, ey, 0, heads*n)

	sums := b.next()
	b.add("exp.sums", records(heads*tiles, 4*lanes), func(l *needs, leaf int) {
		h, t := leaf/tiles, leaf%tiles
		if t > 0 {
			l.chain(sums, leaf-1)
		}
		from, to := span(wide, t)
		l.vector(e, h*n+from, h*n+to)
	}, func(s *step) {
		acc := readLanes(s.prev)
		first := lo + wide.start(s.leaf%tiles)
		for i := range len(s.in[0]) / 4 {
			acc[(first+i)%lanes] += float(s.in[0], i)
		}
		putAll(s.out, acc[:])
	})
	ty := records(heads, 4)
	total := result(b.add("exp.sum", ty, func(l *needs, h int) {
		l.leaf(sums, h*tiles+tiles-1)
	}, func(s *step) {
		acc := readLanes(s.in[0])
		put(s.out, 0, fold(&acc))
	}), ty, 0, heads)

	my := layout{count * heads, 0, d, sliceLen, 4}
	mix := b.next()
	b.add("mix", my, func(l *needs, leaf int) {
		s, h, blk := leaf%slices, leaf/slices%heads, leaf/slices/heads
		if blk > 0 {
			l.chain(mix, leaf-slices*heads)
		}
		from, to := span(blocks, blk)
		l.vector(e, h*n+from, h*n+to)
		rows(l, h, 1, s, blk)
	}, func(s *step) {
		width := len(s.out) / 4
		part := make([]float32, width)
		for i := range len(s.in[0]) / 4 {
			w := float(s.in[0], i)
			for j := range part {
				v := kernel.FromF16(binary.LittleEndian.Uint16(s.in[1][2*(i*width+j):]))
				part[j] += float32(w * v)
			}
		}
		for j, v := range part {
			sum := float32(0)
			if s.prev != nil {
				sum = float(s.prev, j)
			}
			put(s.out, j, sum+v)
		}
	})
	mixed := result(mix, my, (count-1)*heads*d, heads*d)

	return b.vector("attention", heads*d, func(l *needs, from, to int) {
		l.vector(mixed, from, to)
		l.vector(total, from/d, (to-1)/d+1)
	}, func(s *step) {
		from := s.leaf * tileLen
		for i := range len(s.out) / 4 {
			put(s.out, i, float32(float(s.in[0], i)/float(s.in[1], (from+i)/d-from/d)))
		}
	})
}
