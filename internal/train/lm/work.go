package lm

import (
	"github.com/avalnetwork/aval/internal/kernel"
)

// work is the memory of a micro-batch. It grows to the largest one and holds
// nothing from one call to the next.
type work struct {
	rows    int
	back    bool           // there is memory for the way back
	inputs  [][]float32    // [layers+1][rows][dim] of each layer; the last is the result
	kept    []*activations // of each layer; with Options.Recompute all the same
	h       []float32      // [rows][dim] normed input of a product
	y       []float32      // [rows][dim] output of a part
	gated   []float32      // [rows][ffn]
	low     []float32      // [2][rows][rank]
	wide    []float32      // [rows][widest output with an update]
	inv     []float32      // [rows][heads] factors of norms
	acts    *kernel.Acts
	workers []*worker

	logits  []float32 // [logitRows][vocab]
	losses  []float32 // [logitRows]
	correct []bool    // [logitRows]

	dx         []float32 // [rows][dim] of the residual stream
	dh, dy     []float32 // [rows][dim]
	dgate, dup []float32 // [rows][ffn]
	dq         []float32 // [rows][heads*headDim]
	da         []float32 // [rows][heads*headDim]
	dk, dv     []float32 // [rows][kvHeads*headDim]
	dkh, dvh   []float32 // [rows][heads*headDim] a query head's part of dk and dv
	unpacked   []float32 // rows of a frozen matrix
}

// activations are what the way back needs of a layer besides its input.
type activations struct {
	q0, k0 []float32 // [rows][..] before the norms of heads, where there are
	q      []float32 // [rows][heads*headDim] turned
	k, v   []float32 // [rows][kvHeads*headDim] turned, rounded to f16
	a      []float32 // [rows][heads*headDim] attention's result
	y1, y2 []float32 // [rows][dim] before the norms after a part, where there are
	mid    []float32 // [rows][dim] the residual stream between the parts
	g, u   []float32 // [rows][ffn]
}

// worker is the memory of one thread.
type worker struct {
	kernel *kernel.Scratch
	panel  []float32 // [actRows][kernel.Panel]
	scores []float32 // [3][queryBlock][rows of the longest sequence]
	sums   []float32 // [queryBlock]
}

// logitBytes bounds the memory of logits, unless their gradient must be kept.
const logitBytes = 64 << 20

// reserve makes room for a micro-batch.
func (m *Model) reserve(b *batch, back bool) {
	w := &m.work
	longest := 0
	for _, s := range b.sequences {
		longest = max(longest, s.rows)
	}
	m.turn(longest)
	if len(w.workers) == 0 {
		for range m.machine.Threads() {
			w.workers = append(w.workers, &worker{
				kernel: kernel.NewScratch(),
				panel:  make([]float32, actRows*kernel.Panel),
				sums:   make([]float32, queryBlock),
			})
		}
	}
	for _, x := range w.workers {
		if len(x.scores) < 3*queryBlock*longest {
			x.scores = make([]float32, 3*queryBlock*longest)
		}
	}
	if b.rows <= w.rows && (w.back || !back) {
		return
	}
	// What there was is given up first: it may be most of the memory.
	*w = work{rows: max(b.rows, w.rows), back: back || w.back, workers: w.workers}
	m.allocate(w.rows, w.back)
}

func (m *Model) allocate(rows int, back bool) {
	w, c := &m.work, m.desc.Config
	qd, kd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	room := func(n int) []float32 { return make([]float32, rows*n) }
	rank, wide, frozen := 0, 0, false
	m.eachLinear(func(l *linear) {
		frozen = frozen || !l.trained()
		if l.update != nil {
			rank = max(rank, l.update.a.Rows)
			if l != &m.output {
				wide = max(wide, l.out)
			}
		}
	})
	w.h, w.y, w.gated = room(c.Dim), room(c.Dim), room(c.FFN)
	w.low, w.inv = room(2*rank), room(c.Heads)
	n := m.logitRows(rows, back)
	w.logits, w.losses, w.correct = make([]float32, n*m.vocab), make([]float32, n), make([]bool, n)
	w.wide = room(wide)
	if m.output.update != nil {
		w.wide = make([]float32, max(rows*wide, n*m.vocab))
	}
	if frozen {
		w.acts = kernel.NewActs(min(rows, actRows), max(c.Dim, c.FFN, qd))
	}
	keep := func() *activations {
		a := &activations{
			q: room(qd), k: room(kd), v: room(kd), a: room(qd), mid: room(c.Dim), g: room(c.FFN), u: room(c.FFN),
		}
		if m.layers[0].qNorm.w != nil {
			a.q0, a.k0 = room(qd), room(kd)
		}
		if m.layers[0].attnPostNorm.w != nil {
			a.y1, a.y2 = room(c.Dim), room(c.Dim)
		}
		return a
	}
	w.inputs, w.kept = nil, nil
	for i := range c.Layers + 1 {
		if back || i < 2 {
			w.inputs = append(w.inputs, room(c.Dim))
		} else {
			w.inputs = append(w.inputs, w.inputs[i-2])
		}
		if i == 0 || back && !m.options.Recompute {
			w.kept = append(w.kept, keep())
		} else {
			w.kept = append(w.kept, w.kept[0])
		}
	}
	if !back {
		return
	}
	w.dx, w.dh, w.dy = room(c.Dim), room(c.Dim), room(c.Dim)
	w.dgate, w.dup = room(c.FFN), room(c.FFN)
	w.dq, w.da, w.dk, w.dv = room(qd), room(qd), room(kd), room(kd)
	w.dkh, w.dvh = room(qd), room(qd)
	if frozen {
		w.unpacked = make([]float32, max(frozenBytes/4, rowBlock*max(c.Dim, c.FFN, qd)))
	}
}

// eachLinear calls f for every matrix.
func (m *Model) eachLinear(f func(l *linear)) {
	f(&m.embedding)
	for i := range m.layers {
		l := &m.layers[i]
		for _, x := range []*linear{&l.q, &l.k, &l.v, &l.out, &l.gate, &l.up, &l.down} {
			f(x)
		}
	}
	f(&m.output)
}

// keepsLogits tells whether the gradient of all logits must wait for the end
// (see [Model.embeddingBack]).
func (m *Model) keepsLogits() bool { return m.tied && m.embedding.trained() }

// logitRows is how many rows of logits are computed at a time.
func (m *Model) logitRows(rows int, back bool) int {
	if back && m.keepsLogits() {
		return rows
	}
	return min(rows, max(rowBlock, logitBytes/4/m.vocab/rowBlock*rowBlock))
}
