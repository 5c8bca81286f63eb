package lm

import (
	"math"

	"github.com/avalnetwork/aval/internal/tensor"
)

// queryBlock is how many queries of a head are computed together. They see the
// keys up to the last of them; what one of them does not see is masked.
const queryBlock = 2 * rowBlock

// span is a block of queries of a sequence, from to to-1, and the keys from low
// to high-1 that they see, counted in rows of the batch. low is at a block's
// edge, counted from the beginning of the sequence.
type span struct{ from, to, low, high int }

// spans calls f for the blocks of queries of a sequence, in their order.
func (s *sequence) spans(window int, f func(p span)) {
	for at := 0; at < s.rows; at += queryBlock {
		end := min(at+queryBlock, s.rows)
		low := 0
		if window > 0 {
			low = max(0, at+1-window) / rowBlock * rowBlock
		}
		f(span{s.first + at, s.first + end, s.first + low, s.first + end})
	}
}

// eachHead calls f for every query head of every sequence, on the threads. h
// is the query head; one is the thread's machine and w its memory.
func (m *Model) eachHead(b *batch, f func(one *tensor.Machine, w *worker, s *sequence, h int)) {
	heads := m.desc.Heads
	m.machine.For(len(b.sequences)*heads, 1, func(worker, from, to int) {
		for i := from; i < to; i++ {
			f(m.machine.One(worker), m.work.workers[worker], &b.sequences[i/heads], i%heads)
		}
	})
}

// columns returns the elements of one head in some rows of x, which has heads
// heads a row.
func (m *Model) columns(x []float32, heads, h, from, to int) tensor.Matrix {
	n := m.desc.HeadDim
	return tensor.Of(x, to, heads*n).View(from, h*n, to-from, n)
}

// attentionWeights computes the numerators e of the softmax of a span's queries into
// z, [queries][keys], and their sums. capped, if there is a cap on scores,
// receives the scores as they are after it.
func (m *Model) attentionWeights(one *tensor.Machine, z, capped, sums []float32, l *layer, a *activations, s *sequence, p span, h int) {
	d := m.desc
	group := d.Heads / d.KVHeads
	keys := p.high - p.low
	one.Mul(tensor.Of(z, p.to-p.from, keys), m.columns(a.q, d.Heads, h, p.from, p.to), m.columns(a.k, d.KVHeads, h/group, p.low, p.high).T())
	hidden := float32(math.Inf(-1))
	for i := p.from; i < p.to; i++ {
		row := z[(i-p.from)*keys:][:keys]
		first, last := 0, i-p.low+1 // what query i sees
		if l.window > 0 {
			first = max(0, last-l.window)
		}
		scale := d.ScoreScale
		if d.ScoreCap > 0 {
			one.Scale(row[first:last], scale)
			one.SoftCap(row[first:last], row[first:last], d.ScoreCap)
			copy(capped[(i-p.from)*keys+first:], row[first:last])
			scale = 1
		}
		for j := range first {
			row[j] = hidden
		}
		for j := last; j < keys; j++ {
			row[j] = hidden
		}
		sums[i-p.from] = one.Kernel().Softmax(row, scale)
	}
}

// attend sets a.a to softmax(q kT) v (spec/numerics.md, section 7).
func (m *Model) attend(l *layer, a *activations, b *batch) {
	d := m.desc
	group := d.Heads / d.KVHeads
	m.eachHead(b, func(one *tensor.Machine, w *worker, s *sequence, h int) {
		s.spans(l.window, func(p span) {
			n, keys := p.to-p.from, p.high-p.low
			z := w.scores[:n*keys]
			m.attentionWeights(one, z, w.scores[2*len(w.scores)/3:], w.sums, l, a, s, p, h)
			out := m.columns(a.a, d.Heads, h, p.from, p.to)
			one.Mul(out, tensor.Of(z, n, keys), m.columns(a.v, d.KVHeads, h/group, p.low, p.high))
			for i := range n {
				o := out.Data[i*out.Stride:][:d.HeadDim]
				for j, v := range o {
					o[j] = float32(v / w.sums[i])
				}
			}
		})
	})
}

// attendBack is the way back through [Model.attend]: from da, the gradient of
// a.a, it sets dq, dk and dv. With P = e / E, D the sum of da times a over the
// elements of a head, and ds = P (da vT - D):
//
//	dq = scale ds k,  dk = scale dsT q,  dv = PT da
//
// where ds is multiplied by the derivative of the cap before the scale, if
// there is one. The sums of dk and dv go over the queries of one head; those of
// heads that share a key-value head are added in the order of the heads.
func (m *Model) attendBack(l *layer, a *activations, b *batch) {
	d, w := m.desc, &m.work
	group := d.Heads / d.KVHeads
	wide := d.Heads * d.HeadDim
	m.eachHead(b, func(one *tensor.Machine, own *worker, s *sequence, h int) {
		third := len(own.scores) / 3
		for i := s.first; i < s.first+s.rows; i++ {
			clear(w.dkh[i*wide+h*d.HeadDim:][:d.HeadDim])
			clear(w.dvh[i*wide+h*d.HeadDim:][:d.HeadDim])
		}
		s.spans(l.window, func(p span) {
			n, keys := p.to-p.from, p.high-p.low
			z, ds, capped := own.scores[:n*keys], own.scores[third:][:n*keys], own.scores[2*third:]
			m.attentionWeights(one, z, capped, own.sums, l, a, s, p, h)
			da := m.columns(w.da, d.Heads, h, p.from, p.to)
			out := m.columns(a.a, d.Heads, h, p.from, p.to)
			v := m.columns(a.v, d.KVHeads, h/group, p.low, p.high)
			one.Mul(tensor.Of(ds, n, keys), da, v.T())
			for i := range n {
				dot := tensor.Dot(da.Data[i*da.Stride:][:d.HeadDim], out.Data[i*out.Stride:][:d.HeadDim])
				m.scoresBack(ds[i*keys:][:keys], z[i*keys:][:keys], capped[i*keys:], own.sums[i], dot)
			}
			q := m.columns(a.q, d.Heads, h, p.from, p.to)
			k := m.columns(a.k, d.KVHeads, h/group, p.low, p.high)
			scores := tensor.Of(ds, n, keys)
			one.Mul(m.columns(w.dq, d.Heads, h, p.from, p.to), scores, k)
			one.MulAdd(m.columns(w.dkh, d.Heads, h, p.low, p.high), scores.T(), q)
			one.MulAdd(m.columns(w.dvh, d.Heads, h, p.low, p.high), tensor.Of(z, n, keys).T(), da)
		})
	})
	m.foldHeads(w.dk, w.dkh, b.rows)
	m.foldHeads(w.dv, w.dvh, b.rows)
}

// scoresBack turns e into P, and the gradient of P, in ds, into that of the
// score before its scale.
func (m *Model) scoresBack(ds, e, capped []float32, sum, dot float32) {
	limit, scale := m.desc.ScoreCap, m.desc.ScoreScale
	for j, x := range e {
		if x == 0 { // not seen, or too small to matter
			ds[j] = 0
			continue
		}
		p := float32(x / sum)
		e[j] = p
		g := float32(p * (ds[j] - dot))
		if limit > 0 {
			t := float32(capped[j] / limit)
			g = float32(g * (1 - float32(t*t)))
		}
		ds[j] = float32(g * scale)
	}
}

// foldHeads adds the query heads of each key-value head, in their order.
func (m *Model) foldHeads(dst, src []float32, rows int) {
	d := m.desc
	n, group := d.HeadDim, d.Heads/d.KVHeads
	m.machine.For(rows, 16, func(_, from, to int) {
		for i := from * d.KVHeads; i < to*d.KVHeads; i++ {
			x, y := src[i*group*n:][:group*n], dst[i*n:][:n]
			copy(y, x)
			for x = x[n:]; len(x) > 0; x = x[n:] {
				for j, v := range x[:n] {
					y[j] += v
				}
			}
		}
	})
}
