package model

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/pool"
	"github.com/avalnetwork/aval/internal/trace"
)

// pass is one worker's view of a forward pass. Its methods are the stages that
// architectures compose; each is a [pool.Worker.Do]: compute into the worker's
// own memory, commit to the shared state.
type pass struct {
	model   *Model
	state   *state
	slot    *slot
	scratch *scratch
	kernel  *kernel.Kernel
	worker  *pool.Worker

	attended, feedForward *kernel.Acts // the slot's
}

// maxPanels is the most panels of a matrix that a chunk of a full batch takes;
// a chunk of a smaller one may take more, as its results take as much memory.
const maxPanels = 8

// forward is the whole pass: every worker executes it.
func (p *pass) forward() {
	m, b := p.model, p.slot
	if b.input != nil {
		p.load()
	} else {
		p.embed()
	}
	if b.from < b.to {
		p.turn()
	}
	for i := b.from; i < b.to; i++ {
		m.arch.layer(p, &m.weights.layers[i])
	}
	p.watchLast()
	p.logits()
}

// load sets x to the input of the pass.
func (p *pass) load() {
	dim, b := p.model.config.Dim, p.slot
	p.worker.Do(b.n, func(int) {}, func(i int) {
		copy(p.state.x[i*dim:], b.input[i*dim:(i+1)*dim])
	})
}

// hashState hashes the state of a watched position after a layer.
func (p *pass) hashState(layer, i int) {
	c, s, b := p.model.config, p.scratch, p.slot
	w := &b.watches[i]
	if w.states == nil {
		return
	}
	at := b.page[w.row]
	c.exportKV(s.kv, at.data, layer, at.pos)
	if s.hash = (canon.Hash{}); trace.PutX(s.x, p.state.x[w.row*c.Dim:(w.row+1)*c.Dim]) {
		s.hash = trace.State(s.x, s.kv)
	}
}

// commitState keeps the hash and shows the state.
func (p *pass) commitState(layer, i int) {
	dim, b := p.model.config.Dim, p.slot
	w := &b.watches[i]
	if w.states != nil {
		w.states[layer*kernel.PageLen+b.page[w.row].pos] = p.scratch.hash
	}
	if w.visit != nil {
		w.visit(layer, w.position, p.state.x[w.row*dim:(w.row+1)*dim])
	}
}

// watchLast hashes and shows the states after the last layer of the pass.
// Those of the others are chunks of the first products of the next layer,
// which leave x as it is: a stage of their own would be a wait of its own.
func (p *pass) watchLast() {
	last := p.slot.to - 1
	p.worker.Do(len(p.slot.watches),
		func(i int) { p.hashState(last, i) },
		func(i int) { p.commitState(last, i) })
}

// embed sets x to the embeddings of the tokens.
func (p *pass) embed() {
	c, s, b := p.model.config, p.scratch, p.slot
	e := p.model.weights.embedding
	p.worker.Do(b.n, func(i int) {
		row := s.row[:c.Dim]
		e.Row(row, int(b.tokens[i]), s.kernel)
		p.updateRow(row, int(b.tokens[i]))
		if c.embeddingScale != 1 {
			for d := range row {
				row[d] = float32(row[d] * c.embeddingScale)
			}
		}
	}, func(i int) {
		copy(p.state.x[i*c.Dim:], s.row[:c.Dim])
	})
}

// turn computes the rotary angles of the positions.
func (p *pass) turn() {
	c, s, b := p.model.config, p.scratch, p.slot
	half := c.rotary / 2
	for r := range c.ropes {
		cos, sin := p.state.cos[r], p.state.sin[r]
		p.worker.Do(b.n, func(i int) {
			c.ropes[r].angles(s.row[:half], s.row[half:2*half], int(b.pos[i]))
		}, func(i int) {
			copy(cos[i*half:], s.row[:half])
			copy(sin[i*half:], s.row[half:2*half])
		})
	}
}

// norm makes the norm of x the input of the next products.
func (p *pass) norm(w []float32) {
	c, s := p.model.config, p.scratch
	p.worker.Do(p.slot.n, func(i int) {
		p.kernel.RMSNorm(s.row[:c.Dim], p.state.x[i*c.Dim:(i+1)*c.Dim], w, c.eps)
		p.quantize(s.row[:c.Dim])
	}, func(i int) {
		p.place(p.slot.norm, i, s.row[:c.Dim])
	})
}

// quantize prepares a vector for place, as far as the products need it.
func (p *pass) quantize(x []float32) {
	if p.model.weights.quantized && len(x)%kernel.Block == 0 {
		p.kernel.Quantize(x, p.scratch.kernel)
	}
}

// place puts a vector, after quantize, into a batch.
func (p *pass) place(a *kernel.Acts, i int, x []float32) {
	if p.model.weights.quantized && len(x)%kernel.Block == 0 {
		a.SetQuantized(i, p.scratch.kernel)
	}
	if p.takesFloats(a) {
		a.SetFloat(i, x)
	}
}

// gather makes n rows of x, width elements each, a batch.
func (p *pass) gather(a *kernel.Acts, x []float32, n, width int) {
	p.worker.Do(n, func(i int) {
		p.quantize(x[i*width : (i+1)*width])
	}, func(i int) {
		p.place(a, i, x[i*width:(i+1)*width])
	})
}

// destination says where a product goes: row r of the matrix for position i to
// out[i*width+r], added to it if add, after the bias is.
type destination struct {
	m    *matrix
	out  []float32
	bias []float32
	add  bool
}

// panelsPerChunk cuts the product of a matrix with n vectors into chunks: many
// enough that the workers end at about the same time, not so many that claiming
// them costs.
func (p *pass) panelsPerChunk(m *matrix, n int) int {
	const least, most = 32 << 10, 256 << 10 // bytes of weights times vectors
	panel := m.Bytes() / m.Panels() * n
	size := min(max(m.Bytes()*n/(p.model.pool.Workers()*8), least), most)
	fewest := (m.Panels() + pool.MaxChunks/4 - 1) / (pool.MaxChunks / 4)
	return max(min(size/panel, maxPanels*MaxBatch/n), fewest, 1)
}

// products multiplies a batch with up to three matrices in one stage.
func (p *pass) products(a *kernel.Acts, ds ...destination) { p.productsAfter(-1, a, ds...) }

// productsAfter also hashes and shows the states after a layer, unless that is
// below those of the pass.
func (p *pass) productsAfter(layer int, a *kernel.Acts, ds ...destination) {
	for _, d := range ds {
		p.need(d.m)
	}
	p.lower(a)
	var chunks, per [3]int
	total := 0
	if layer >= p.slot.from {
		total = len(p.slot.watches)
	}
	states := total // they come first
	for i, d := range ds {
		per[i] = p.panelsPerChunk(d.m, a.Len())
		chunks[i] = (d.m.Panels() + per[i] - 1) / per[i]
		total += chunks[i]
	}
	// find returns the matrix of a chunk and its panels.
	find := func(c int) (d *destination, from, to int) {
		i := 0
		c -= states
		for c >= chunks[i] {
			c -= chunks[i]
			i++
		}
		return &ds[i], c * per[i], min((c+1)*per[i], ds[i].m.Panels())
	}
	n := a.Len()
	out := p.scratch.out
	p.worker.Do(total, func(c int) {
		if c < states {
			p.hashState(layer, c)
			return
		}
		d, from, to := find(c)
		p.multiply(out, d.m, from, to, a)
	}, func(c int) {
		if c < states {
			p.commitState(layer, c)
			return
		}
		d, from, to := find(c)
		for j := from; j < to; j++ {
			d.commit(out[(j-from)*n*kernel.Panel:], j, n)
		}
	})
}

// commit writes the products of panel j with n positions.
func (d *destination) commit(out []float32, j, n int) {
	width := d.m.Rows
	first := j * kernel.Panel
	rows := min(kernel.Panel, width-first)
	for i := range n {
		src := out[i*kernel.Panel:][:rows]
		dst := d.out[i*width+first:][:rows]
		switch {
		case d.bias != nil && d.add:
			for r, b := range d.bias[first:][:rows] {
				dst[r] += src[r] + b
			}
		case d.bias != nil:
			for r, b := range d.bias[first:][:rows] {
				dst[r] = src[r] + b
			}
		case d.add:
			for r := range dst {
				dst[r] += src[r]
			}
		default:
			copy(dst, src)
		}
	}
}

// projectQKV sets q, k and v.
func (p *pass) projectQKV(l *layer) {
	s := p.state
	p.productsAfter(l.index-1, p.slot.norm,
		destination{m: l.wq, out: s.q, bias: l.bq},
		destination{m: l.wk, out: s.k, bias: l.bk},
		destination{m: l.wv, out: s.v, bias: l.bv})
}

// rotateAndStore norms (where the layer does) and turns q and k, and stores k
// and v in the cache.
func (p *pass) rotateAndStore(l *layer) {
	c, s, b := p.model.config, p.scratch, p.slot
	qd, kd, half := c.queryDim(), c.keyDim(), c.rotary/2
	size := kernel.KVSize(c.HeadDim)
	p.worker.Do(b.n, func(i int) {
		row := s.row[:qd+kd]
		copy(row, p.state.q[i*qd:(i+1)*qd])
		copy(row[qd:], p.state.k[i*kd:(i+1)*kd])
		cos, sin := p.state.cos[l.rope][i*half:(i+1)*half], p.state.sin[l.rope][i*half:(i+1)*half]
		for h := range c.Heads + c.KVHeads {
			x := row[h*c.HeadDim : (h+1)*c.HeadDim]
			w := l.qNorm
			if h >= c.Heads {
				w = l.kNorm
			}
			if w != nil {
				p.kernel.RMSNorm(x, x, w, c.eps)
			}
			if !l.noRope {
				rotate(x, cos, sin, c.interleaved)
			}
		}
	}, func(i int) {
		copy(p.state.q[i*qd:], s.row[:qd])
		at := b.page[i]
		for h := range c.KVHeads {
			kv := at.data[(l.index*c.KVHeads+h)*size:]
			d := h * c.HeadDim
			kernel.Store(kv, at.pos, s.row[qd+d:qd+d+c.HeadDim], p.state.v[i*kd+d:i*kd+d+c.HeadDim])
		}
	})
}

// attend makes softmax(q kT) v the input of the next product.
func (p *pass) attend(l *layer) {
	c, s, b := p.model.config, p.scratch, p.slot
	group := c.Heads / c.KVHeads
	wide := group * c.HeadDim // of the heads that share a key-value head
	qd := c.queryDim()
	heads := kernel.Heads{Dim: c.HeadDim, Group: group, Scale: c.scoreScale, Softcap: c.scoreCap, Window: l.window}
	size := kernel.KVSize(c.HeadDim)
	p.worker.Do(len(b.blocks)*c.KVHeads, func(chunk int) {
		// The last queries see the most positions: begin with them.
		block, h := b.blocks[len(b.blocks)-1-chunk/c.KVHeads], chunk%c.KVHeads
		n := block.end - block.start
		q, out := s.heads[:n*wide], s.heads[len(s.heads)/2:][:n*wide]
		for i := range n {
			copy(q[i*wide:(i+1)*wide], p.state.q[(block.start+i)*qd+h*wide:])
		}
		pt := &b.parts[block.part]
		p.kernel.Attend(out, q, &heads, pt.views, (l.index*c.KVHeads+h)*size, pt.first+block.start-pt.start, s.kernel)
	}, func(chunk int) {
		block, h := b.blocks[len(b.blocks)-1-chunk/c.KVHeads], chunk%c.KVHeads
		out := s.heads[len(s.heads)/2:]
		for i := range block.end - block.start {
			copy(p.state.a[(block.start+i)*qd+h*wide:][:wide], out[i*wide:])
		}
	})
	p.gather(b.attended, p.state.a, b.n, qd)
}

// addProduct adds the product of a batch with a matrix to x.
func (p *pass) addProduct(m *matrix, bias []float32, a *kernel.Acts) {
	p.products(a, destination{m: m, out: p.state.x, bias: bias, add: true})
}

// product sets y to the product of a batch with a matrix.
func (p *pass) product(m *matrix, bias []float32, a *kernel.Acts) {
	p.products(a, destination{m: m, out: p.state.y, bias: bias})
}

// addNormed adds the norm of y to x.
func (p *pass) addNormed(w []float32) {
	c, s := p.model.config, p.scratch
	p.worker.Do(p.slot.n, func(i int) {
		p.kernel.RMSNorm(s.row[:c.Dim], p.state.y[i*c.Dim:(i+1)*c.Dim], w, c.eps)
	}, func(i int) {
		x := p.state.x[i*c.Dim : (i+1)*c.Dim]
		for d, v := range s.row[:c.Dim] {
			x[d] += v
		}
	})
}

// gated makes act(h Wgate) * (h Wup) the input of the next product.
func (p *pass) gated(l *layer, g kernel.Gate) {
	b, n := p.slot, p.slot.n
	p.need(l.gate)
	p.need(l.up)
	p.lower(b.norm)
	ffn := l.gate.Rows
	per := p.panelsPerChunk(l.gate, n)
	gate := p.scratch.out
	up := gate[len(gate)/2:]
	chunks := (l.gate.Panels() + per - 1) / per
	p.worker.Do(chunks, func(c int) {
		from, to := c*per, min((c+1)*per, l.gate.Panels())
		// One matrix after the other, so that reading runs on.
		p.multiply(gate, l.gate, from, to, b.norm)
		p.multiply(up, l.up, from, to, b.norm)
		size := (to - from) * n * kernel.Panel
		p.kernel.Gate(g, gate[:size], gate[:size], up[:size])
	}, func(c int) {
		d := destination{m: l.gate, out: p.state.g}
		for j := c * per; j < min((c+1)*per, l.gate.Panels()); j++ {
			d.commit(gate[(j-c*per)*n*kernel.Panel:], j, n)
		}
	})
	p.gather(b.ffn, p.state.g, n, ffn)
}

// logits computes the outputs that are wanted: the normed state of their
// positions goes to y, its product with the output matrix to the caller.
func (p *pass) logits() {
	c, s, b := p.model.config, p.scratch, p.slot
	w := &p.model.weights
	p.worker.Do(len(b.out), func(i int) {
		row := b.out[i].row
		p.kernel.RMSNorm(s.row[:c.Dim], p.state.x[row*c.Dim:(row+1)*c.Dim], w.norm, c.eps)
		p.quantize(s.row[:c.Dim])
	}, func(i int) {
		copy(p.state.y[i*c.Dim:], s.row[:c.Dim])
		p.place(b.final, i, s.row[:c.Dim])
	})
	if len(b.out) == 0 || b.out[0].logits == nil {
		return
	}
	n, m := len(b.out), w.output
	p.need(m)
	p.lower(b.final)
	per := p.panelsPerChunk(m, n)
	p.worker.Do((m.Panels()+per-1)/per, func(chunk int) {
		p.multiply(s.out, m, chunk*per, min((chunk+1)*per, m.Panels()), b.final)
		if c.logitCap > 0 {
			out := s.out[:per*n*kernel.Panel]
			for i := range out {
				out[i] = kernel.Softcap(out[i], c.logitCap)
			}
		}
	}, func(chunk int) {
		for j := chunk * per; j < min((chunk+1)*per, m.Panels()); j++ {
			first := j * kernel.Panel
			for i, o := range b.out {
				copy(o.logits[first:min(first+kernel.Panel, m.Rows)], s.out[((j-chunk*per)*n+i)*kernel.Panel:])
			}
		}
	})
}
