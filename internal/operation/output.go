package operation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
)

// OutputCell is the choice of a token.
type OutputCell struct {
	Index  int // of the token among those drawn
	Prompt int // ids of the prompt
	// Params are those of the receipt, its seed among them.
	Params sample.Params
	// Masked says that a grammar limits the choice, which no plan covers.
	Masked bool
}

// ErrMasked says that a grammar decides which tokens may be chosen. That takes
// the whole vocabulary, so no leaf of it is small: such a step is checked by
// repeating it.
var ErrMasked = errors.New("operation: a grammar limits this token, which a referee cannot decide: repeat the step instead")

// OutputTensors names the tensors that [PlanOutput] asks a header for, beside
// the keys of [LayerTensors].
func OutputTensors() []string {
	return []string{"output.weight", "output_norm.weight", "token_embd.weight"}
}

// PlanOutput makes the plan of an output cell; context and
// adapters are those of [PlanLayer].
func PlanOutput(header model.Header, context int, c OutputCell, adapters ...Adapter) (*Plan, error) {
	if c.Masked {
		return nil, ErrMasked
	}
	d, err := describe(header, context)
	if err != nil {
		return nil, err
	}
	position := c.Prompt - 1 + c.Index
	if c.Prompt < 1 || c.Index < 0 || position < 0 || position >= d.Limit {
		return nil, fmt.Errorf("operation: no token %d after a prompt of %d: sequences have at most %d positions", c.Index, c.Prompt, d.Limit)
	}
	norm, matrix, err := d.Output()
	if err != nil {
		return nil, err
	}
	if err := c.Params.Validate(); err != nil {
		return nil, err
	}
	for id := range c.Params.LogitBias {
		if int(id) >= matrix.Rows {
			return nil, fmt.Errorf("%w: logit_bias of token %d, but the vocabulary has %d tokens", sample.ErrParams, id, matrix.Rows)
		}
	}
	b := newBuilder(d, adapters)
	x := vector{in: Input{Kind: X, Layer: d.Layers - 1, Position: position}, layout: tiles(d.Dim), n: d.Dim}
	h := b.activations("output_norm", b.norm("output_norm", x, norm), matrix)
	b.choose(b.product("output", matrix, h), c)
	return b.done()
}

// choose adds the choice from the products with the output matrix.
func (b *builder) choose(y vector, c OutputCell) {
	if z := b.logits(y, c); c.Params.Temperature == 0 {
		b.greedy(z)
	} else {
		b.draw(z, c)
	}
	b.plan.result = b.next() - 1
}

// logits adds what becomes of the products: the cap of the model, the bias and
// the penalties of the request. A logit that is not finite, from which nothing
// may be chosen, becomes NaN.
func (b *builder) logits(y vector, c OutputCell) vector {
	p := &c.Params
	var counts vector
	if p.Penalises() {
		counts = b.counts(y.n, c)
	}
	ids := make([]int32, 0, len(p.LogitBias))
	for id := range p.LogitBias {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return b.vector("logits", y.n, func(l *needs, from, to int) {
		l.vector(y, from, to)
		if p.Penalises() {
			l.vector(counts, from, to)
		}
	}, func(s *step) {
		first := s.leaf * tileLen
		bias, _ := slices.BinarySearch(ids, int32(first))
		for i := range len(s.out) / 4 {
			z := float(s.in[0], i)
			if b.model.LogitCap > 0 {
				z = kernel.Softcap(z, b.model.LogitCap)
			}
			finite := z-z == 0
			if bias < len(ids) && int(ids[bias]) == first+i {
				if v := p.LogitBias[ids[bias]]; v < -math.MaxFloat32 {
					z = v
				} else {
					z += v
				}
				bias++
			}
			if p.Penalises() {
				if n := int32(binary.LittleEndian.Uint32(s.in[1][4*i:])); n > 0 {
					z = p.Penalise(z, n)
				}
			}
			if !finite {
				z = float32(math.NaN())
			}
			put(s.out, i, z)
		}
	})
}

// counts adds how often each token occurs in the window of the penalties: the
// ids in leaves, then a count for each token as a chain over them.
func (b *builder) counts(vocab int, c OutputCell) vector {
	history := c.Prompt + c.Index
	n := c.Params.Window(history)
	wy := layout{1, 0, n, windowLen, 4}
	window := result(b.add("window", wy, func(l *needs, leaf int) {
		from, to := history-n+leaf*windowLen, history-n+min((leaf+1)*windowLen, n)
		l.add(Input{Kind: Tokens, From: from, To: to}, 0, 4*(to-from))
	}, func(s *step) { copy(s.out, s.in[0]) }), wy, 0, n)

	chunks := (n + countLen - 1) / countLen
	y := layout{chunks, 0, vocab, tileLen, 4}
	per := y.perGroup()
	self := b.next()
	b.add("counts", y, func(l *needs, leaf int) {
		chunk := leaf / per
		if chunk > 0 {
			l.chain(self, leaf-per)
		}
		l.vector(window, chunk*countLen, min((chunk+1)*countLen, n))
	}, func(s *step) {
		copy(s.out, s.prev)
		first := s.leaf % per * tileLen
		for in := s.in[0]; len(in) > 0; in = in[4:] {
			if i := int(binary.LittleEndian.Uint32(in)) - first; i >= 0 && i < len(s.out)/4 {
				add32(s.out[4*i:], 1)
			}
		}
	})
	return result(self, y, (chunks-1)*vocab, vocab)
}

func add32(b []byte, n uint32) {
	binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)+n)
}

// token adds the leaf that is the result: the id in the last four bytes of the
// last leaf of a chain.
func (b *builder) token(chain int) {
	b.add("token", records(1, 4), func(l *needs, _ int) {
		l.leaf(chain, b.plan.ops[chain].leaves-1)
	}, func(s *step) {
		copy(s.out, s.in[0][len(s.in[0])-4:])
	})
}

// greedy adds the choice of the largest logit, of several the first: a chain
// with the largest so far and its id, -1 for none. After a NaN it stays NaN
// and none.
func (b *builder) greedy(z vector) {
	self := b.next()
	b.add("greedy", records((z.n+tileLen-1)/tileLen, 8), func(l *needs, leaf int) {
		if leaf > 0 {
			l.chain(self, leaf-1)
		}
		l.vector(z, leaf*tileLen, min((leaf+1)*tileLen, z.n))
	}, func(s *step) {
		best, id := float32(math.Inf(-1)), int32(-1)
		if s.prev != nil {
			best, id = float(s.prev, 0), int32(binary.LittleEndian.Uint32(s.prev[4:]))
		}
		for i := range len(s.in[0]) / 4 {
			switch v := float(s.in[0], i); {
			case v != v:
				best, id = v, -1
			case v > best:
				best, id = v, int32(s.leaf*tileLen+i)
			}
		}
		put(s.out, 0, best)
		binary.LittleEndian.PutUint32(s.out[4:], uint32(id))
	})
	b.token(self)
}
