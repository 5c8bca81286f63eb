package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Low-rank adapters (spec/numerics.md, section 8.3). An update y = y + s * (B (A x))
// of a matrix is computed in two steps: the vectors A x of all matrices with the
// same input are a stage of their own, before that of the products; what B makes
// of them is added to each panel of the product right after it was computed.

// MaxAdapters is the most adapters that a model takes.
const MaxAdapters = 8

// Adapter is an adapter with the scale that it is used with: 1 is what it was
// trained for.
type Adapter struct {
	LoRA  *adapter.Adapter
	Scale float32
}

// fit reports why an adapter cannot be used with a model.
func (a *Adapter) fit(f *gguf.File) error {
	if err := a.LoRA.CheckScale(a.Scale); err != nil {
		return fmt.Errorf("adapter with the scale %v: %w", a.Scale, err)
	}
	return a.LoRA.Fit(f)
}

// matrix is a matrix of weights with the updates that adapters make.
type matrix struct {
	*kernel.Matrix
	updates []update
}

// update is what one adapter adds to the products with one matrix, or with the
// rows of a tensor that are one.
type update struct {
	low   *low
	b     *kernel.Matrix // [rows][rank]
	scale float32
}

// low is the first half of an update, A x: the same for all matrices that are
// rows of one tensor.
type low struct {
	a    *kernel.Matrix  // [rank][cols]
	acts [2]*kernel.Acts // A x of the positions of a pass, for each slot: [n][rank]
}

// rowUpdate is what one adapter adds to the embeddings of tokens.
type rowUpdate struct {
	a     *kernel.Matrix // [vocab][rank]
	b     *kernel.Matrix // [dim][rank]
	scale float32
}

// of returns what B A of an update is multiplied by.
func (a *Adapter) of(u *adapter.Update) float32 { return a.LoRA.Scale(u, a.Scale) }

// find returns the update of a tensor, or nil.
func (a *Adapter) find(name string) *adapter.Update {
	for i := range a.LoRA.Updates {
		if u := &a.LoRA.Updates[i]; u.Name == name {
			return u
		}
	}
	return nil
}

// updates packs what adapters add to rows first to first+n-1 of a tensor.
func (l *loader) updates(name string, first, n int) []update {
	if name == adapter.Embedding {
		return nil // rowUpdates
	}
	known, had := l.lows[name]
	var out []update
	for i := range l.adapters {
		a := &l.adapters[i]
		u := a.find(name)
		if u == nil {
			continue
		}
		if !had {
			known = append(known, &low{a: l.small(u.A, u.Rank, u.In)})
		}
		b := l.small(u.B[first*u.Rank:(first+n)*u.Rank], n, u.Rank)
		out = append(out, update{low: known[len(out)], b: b, scale: a.of(u)})
	}
	l.lows[name] = known
	return out
}

// rowUpdates packs what adapters add to embeddings.
func (l *loader) rowUpdates(vocab, dim int) []rowUpdate {
	var out []rowUpdate
	for i := range l.adapters {
		a := &l.adapters[i]
		if u := a.find(adapter.Embedding); u != nil {
			out = append(out, rowUpdate{a: l.small(u.A, vocab, u.Rank), b: l.small(u.B, dim, u.Rank), scale: a.of(u)})
		}
	}
	return out
}

// small packs a matrix of an adapter: as F16 if that loses nothing.
func (l *loader) small(v []float32, rows, cols int) *kernel.Matrix {
	format, width := kernel.F16, 2
	for _, x := range v {
		if math.Float32bits(kernel.FromF16(kernel.ToF16Sat(x))) != math.Float32bits(x) {
			format, width = kernel.F32, 4
			break
		}
	}
	size := kernel.MatrixBytes(format, rows, cols)
	if !l.packing {
		l.total += arenaSize(size)
		return nil
	}
	m, err := kernel.NewMatrix(format, rows, cols, l.arena.take(size))
	if err != nil {
		panic("model: internal error: matrix of an adapter: " + err.Error())
	}
	row := make([]byte, cols*width)
	for r := range rows {
		for c, x := range v[r*cols : (r+1)*cols] {
			if format == kernel.F16 {
				binary.LittleEndian.PutUint16(row[2*c:], kernel.ToF16Sat(x))
			} else {
				binary.LittleEndian.PutUint32(row[4*c:], math.Float32bits(x))
			}
		}
		m.SetFloats(r, row)
	}
	return m
}

// groups calls f with the matrices of each layer, and with that of the output.
func (w *weights) groups(f func(layer int, ms ...*matrix)) {
	for i := range w.layers {
		l := &w.layers[i]
		f(i, l.wq, l.wk, l.wv, l.wo, l.gate, l.up, l.down)
	}
	f(len(w.layers), w.output)
}

// newLows finds the first halves of all updates and gives their results memory.
// Those of one layer lie side by side, and all layers use the same.
func (m *Model) newLows() {
	var places [][]*low // of each layer, and last of the output
	var ranks []int     // the largest at each place
	m.weights.groups(func(layer int, ms ...*matrix) {
		var own []*low
		for _, w := range ms {
			for i := range w.updates {
				x := w.updates[i].low
				if slices.Contains(own, x) {
					continue
				}
				if own = append(own, x); len(own) > len(ranks) {
					ranks = append(ranks, 0)
				}
				ranks[len(own)-1] = max(ranks[len(own)-1], x.a.Rows)
			}
		}
		places = append(places, own)
	})
	acts := make([]*kernel.Acts, len(ranks))
	for i, rank := range ranks {
		acts[i] = kernel.NewActs(MaxBatch, rank)
	}
	for _, own := range places {
		for i, x := range own {
			x.acts = [2]*kernel.Acts{acts[i].Share(), acts[i].Share()}
		}
	}
	for _, own := range places[:len(places)-1] {
		m.lows = append(m.lows, own...)
	}
	m.outputLows = places[len(places)-1]
	w := &m.weights
	w.lowFinal = len(m.outputLows) > 0
	for i := range w.layers {
		l := &w.layers[i]
		w.lowNorm = w.lowNorm || updated(l.wq, l.wk, l.wv, l.gate, l.up)
		w.lowAttended = w.lowAttended || updated(l.wo)
		w.lowFFN = w.lowFFN || updated(l.down)
	}
}

// updated reports whether adapters change one of some matrices.
func updated(ms ...*matrix) bool {
	return slices.ContainsFunc(ms, func(m *matrix) bool { return len(m.updates) > 0 })
}

// takesFloats reports whether some product takes a batch as float numbers.
func (p *pass) takesFloats(a *kernel.Acts) bool {
	w := &p.model.weights
	switch {
	case w.floats:
		return true
	case a == p.slot.norm:
		return w.lowNorm
	case a == p.slot.attended:
		return w.lowAttended
	case a == p.slot.ffn:
		return w.lowFFN
	}
	return w.lowFinal
}

// newLowScratch gives a worker what it needs for updates.
func (m *Model) newLowScratch(s *scratch) {
	s.low = make([]float32, MaxBatch*kernel.Panel)
	rank := 0
	for i := range m.weights.rows {
		rank = max(rank, m.weights.rows[i].a.Cols)
	}
	if rank > 0 {
		s.single = kernel.NewActs(1, rank)
	}
}

// resetLows makes room for the positions of a pass.
func (m *Model) resetLows(b *slot) {
	for _, x := range m.lows {
		x.acts[b.index].Reset(b.n, x.a.Rows)
	}
	for _, x := range m.outputLows {
		x.acts[b.index].Reset(max(len(b.out), 1), x.a.Rows)
	}
}

// need notes the updates of a matrix for the next lower.
func (p *pass) need(m *matrix) {
	for i := range m.updates {
		if x := m.updates[i].low; !slices.Contains(p.scratch.lows, x) {
			p.scratch.lows = append(p.scratch.lows, x)
		}
	}
}

// lower computes A x of the updates that were noted, for all vectors of a batch.
func (p *pass) lower(a *kernel.Acts) {
	s := p.scratch
	if len(s.lows) == 0 {
		return
	}
	n, panels := a.Len(), 0
	for _, x := range s.lows {
		panels += x.a.Panels()
	}
	// A rank is few rows: positions are shared out too where there are many.
	parts := max(4*p.model.pool.Workers()/panels, 1)
	size := max((n+parts-1)/parts, 2*kernel.PartSize)
	size = (size + kernel.PartSize - 1) / kernel.PartSize * kernel.PartSize
	parts = (n + size - 1) / size
	// find returns the update of a chunk, its panel, and the positions.
	find := func(c int) (x *low, panel, from, to int) {
		from = c % parts * size
		panel = c / parts
		i := 0
		for panel >= s.lows[i].a.Panels() {
			panel -= s.lows[i].a.Panels()
			i++
		}
		return s.lows[i], panel, from, min(from+size, n)
	}
	p.worker.Do(panels*parts, func(c int) {
		x, panel, from, to := find(c)
		a.Part(&s.part, from, to)
		p.kernel.Mul(s.low, x.a, panel, &s.part, s.kernel)
	}, func(c int) {
		x, panel, from, to := find(c)
		x.acts[p.slot.index].SetPanel(panel, from, s.low[:(to-from)*kernel.Panel])
	})
	s.lows = s.lows[:0]
}

// multiply sets out to the products of panels from to to-1 of a matrix with a
// batch, updates included: lower must have been there.
func (p *pass) multiply(out []float32, m *matrix, from, to int, a *kernel.Acts) {
	s, n := p.scratch, a.Len()*kernel.Panel
	for j := from; j < to; j++ {
		p.kernel.Mul(out[(j-from)*n:], m.Matrix, j, a, s.kernel)
	}
	for i := range m.updates {
		u := &m.updates[i]
		p.kernel.MulAddScaled(out, s.low, u.b, from, to, u.low.acts[p.slot.index], u.scale, s.kernel)
	}
}

// updateRow adds the updates of the embedding of a token to it.
func (p *pass) updateRow(row []float32, token int) {
	s := p.scratch
	for i := range p.model.weights.rows {
		u := &p.model.weights.rows[i]
		u.a.Row(s.low[:u.a.Cols], token, s.kernel)
		s.single.Reset(1, u.a.Cols)
		s.single.SetFloat(0, s.low[:u.a.Cols])
		for j := range u.b.Panels() {
			p.kernel.Mul(s.low, u.b, j, s.single, s.kernel)
			part := row[j*kernel.Panel : min((j+1)*kernel.Panel, len(row))]
			p.kernel.AddScaled(part, s.low, u.scale)
		}
	}
}
