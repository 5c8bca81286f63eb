package model

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/pool"
)

// state is the memory of a pass, shared by the workers and used again by every
// pass. A worker that was put aside may read it at any time (internal/pool), so
// nothing in it moves or shrinks.
type state struct {
	x    []float32 // [MaxBatch][dim] residual stream
	y    []float32 // [MaxBatch][dim] output of a part, before its norm
	q    []float32 // [MaxBatch][heads*headDim]
	k, v []float32 // [MaxBatch][kvHeads*headDim]
	a    []float32 // [MaxBatch][heads*headDim] attention's result
	g    []float32 // [MaxBatch][ffn] gated
	cos  [][]float32
	sin  [][]float32 // [ropes][MaxBatch][rotary/2]

	slots   [2]slot
	passes  [][2]*pass // [worker][slot]
	workers []*scratch
}

// slot is what one pass is about: it stays as it is until the pass after the
// next.
type slot struct {
	index    int       // 0 or 1
	n        int       // positions
	from, to int       // layers
	input    []float32 // [n][dim] what they begin with; nil: the embeddings of tokens
	tokens   []int32
	pos      []int32
	parts    []part
	page     []place   // of each position, where its keys and values go
	blocks   []queries // attention's chunks, a key-value head each
	out      []output
	owner    *Step // whose embedding the outputs are for, if any
	watches  []watch

	norm     *kernel.Acts // input of q, k, v; gate, up: [n][dim]
	attended *kernel.Acts // [n][heads*headDim]
	ffn      *kernel.Acts // [n][ffn]
	final    *kernel.Acts // [len(out)][dim]
}

// part is one sequence's share of the positions of a pass.
type part struct {
	views      []*kernel.Page
	first      int // position of the sequence that the first one is
	start, end int // positions of the pass
}

// place is a position within a page.
type place struct {
	data []uint16
	pos  int
}

// queries are consecutive positions of one part.
type queries struct {
	part, start, end int
}

// output is a position whose logits are wanted, or its normed state.
type output struct {
	row    int
	logits []float32
}

// watch is a position whose states are hashed, shown, or both.
type watch struct {
	row, position int
	states        []canon.Hash // of its page
	visit         func(layer, position int, x []float32)
}

// scratch is the memory of one worker.
type scratch struct {
	kernel *kernel.Scratch
	out    []float32 // products of some panels with all positions
	row    []float32 // one vector
	heads  []float32 // queries and results of attention
	x, kv  []byte    // a state
	hash   canon.Hash

	low    []float32    // products of a panel of an update with all positions
	lows   []*low       // of the products at hand
	part   kernel.Acts  // some positions of a batch
	single *kernel.Acts // one vector, for updates of the embedding
}

// queryBlock is the number of positions of an attention chunk.
const queryBlock = 32

func newState(m *Model) *state {
	c := m.config
	s := &state{
		x: make([]float32, MaxBatch*c.Dim),
		y: make([]float32, MaxBatch*c.Dim),
		q: make([]float32, MaxBatch*c.queryDim()),
		k: make([]float32, MaxBatch*c.keyDim()),
		v: make([]float32, MaxBatch*c.keyDim()),
		a: make([]float32, MaxBatch*c.queryDim()),
		g: make([]float32, MaxBatch*c.FFN),
	}
	for range c.ropes {
		s.cos = append(s.cos, make([]float32, MaxBatch*c.rotary/2))
		s.sin = append(s.sin, make([]float32, MaxBatch*c.rotary/2))
	}
	norm := kernel.NewActs(MaxBatch, c.Dim)
	attended := kernel.NewActs(MaxBatch, c.queryDim())
	ffn := kernel.NewActs(MaxBatch, c.FFN)
	for i := range s.slots {
		s.slots[i] = slot{index: i, norm: norm.Share(), attended: attended.Share(), ffn: ffn.Share(), final: norm.Share()}
	}
	m.newLows()
	widest := max(c.Dim, c.FFN, c.queryDim())
	for range m.pool.Workers() {
		sc := &scratch{
			kernel: kernel.NewScratch(),
			out:    make([]float32, 2*maxPanels*MaxBatch*kernel.Panel),
			row:    make([]float32, max(widest, c.queryDim()+2*c.keyDim())),
			heads:  make([]float32, 2*queryBlock*c.queryDim()/c.KVHeads),
			x:      make([]byte, 4*c.Dim),
			kv:     make([]byte, 4*c.keyDim()),
		}
		m.newLowScratch(sc)
		s.workers = append(s.workers, sc)
		var ps [2]*pass
		for i := range ps {
			ps[i] = &pass{model: m, state: s, slot: &s.slots[i], scratch: sc, kernel: m.kernel}
			ps[i].attended, ps[i].feedForward = s.slots[i].attended, s.slots[i].ffn
		}
		s.passes = append(s.passes, ps)
	}
	return s
}

// run is the program of every worker.
func (m *Model) run(w *pool.Worker) {
	p := m.state.passes[w.ID][w.Slot]
	p.worker = w
	p.forward()
}
