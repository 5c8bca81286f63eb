package lm

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// Accumulate adds the gradient of the sum of the losses of the examples, times
// scale, to Grad of every parameter. The loss of a target is its negative
// log-likelihood in nats. An example has 2 to Limit+1 tokens of the vocabulary;
// others, and a loss that is not finite, are errors. How examples are cut into
// micro-batches changes no bit of the gradient.
func (m *Model) Accumulate(examples []train.Example, scale float32) (train.Loss, error) {
	b, err := m.newBatch(examples)
	if err != nil || b.rows == 0 {
		return train.Loss{}, err
	}
	m.reserve(b, true)
	w := &m.work
	m.forward(b)
	loss, err := m.head(b, scale, true)
	if err != nil {
		return loss, err
	}
	lowest, below := m.reach()
	for i := len(m.layers) - 1; i >= lowest; i-- {
		if m.options.Recompute {
			m.forwardLayer(&m.layers[i], w.kept[i], nil, w.inputs[i], b)
		}
		m.backwardLayer(&m.layers[i], w.kept[i], w.inputs[i], b, below || i > lowest)
	}
	if m.embedding.trained() {
		m.embeddingBack(b)
	}
	return loss, nil
}

// Evaluate returns the sum of the losses of the examples, computing no
// gradient: of the same bits as Accumulate's.
func (m *Model) Evaluate(examples []train.Example) (train.Loss, error) {
	b, err := m.newBatch(examples)
	if err != nil || b.rows == 0 {
		return train.Loss{}, err
	}
	m.reserve(b, false)
	m.forward(b)
	return m.head(b, 0, false)
}

// Logits returns the logits of every position that a list of tokens has but the
// last: what Accumulate compares with tokens[1:], [len(tokens)-1][vocab].
func (m *Model) Logits(tokens []int32) ([]float32, error) {
	b, err := m.newBatch([]train.Example{{Tokens: tokens}})
	if err != nil {
		return nil, err
	}
	m.reserve(b, false)
	m.forward(b)
	out := make([]float32, 0, b.rows*m.vocab)
	m.eachLogits(b, true, func(first, n int) { out = append(out, m.work.logits[:n*m.vocab]...) })
	return out[:(len(tokens)-1)*m.vocab], nil
}

// forward computes the layers.
func (m *Model) forward(b *batch) {
	w := &m.work
	m.embed(w.inputs[0], b)
	for i := range m.layers {
		m.forwardLayer(&m.layers[i], w.kept[i], w.inputs[i+1], w.inputs[i], b)
	}
}

// eachLogits computes the logits of n rows from first on at a time, with their
// normed states in the same rows of work.h, and calls f. Unless all are wanted
// it leaves out blocks of rows without a target.
func (m *Model) eachLogits(b *batch, all bool, f func(first, n int)) {
	w, dim := &m.work, m.desc.Dim
	x := w.inputs[len(m.layers)]
	m.rmsNorm(w.h, x, m.norm, b.rows, dim)
	step := len(w.losses)
	for at := 0; at < b.rows; {
		n := 0
		for at+n < b.rows && n < step && (all || b.hasTarget(at+n)) {
			n += rowBlock
		}
		if n == 0 {
			at += rowBlock
			continue
		}
		m.project(w.h[at*dim:], n, []*linear{&m.output}, [][]float32{w.logits})
		if limit := m.desc.LogitCap; limit > 0 {
			z := w.logits[:n*m.vocab]
			m.machine.SoftCap(z, z, limit)
		}
		f(at, n)
		at += n
	}
}

// head computes the losses and, if back, begins the way back: work.dx gets the
// gradient of the last layer's result.
func (m *Model) head(b *batch, scale float32, back bool) (train.Loss, error) {
	w, dim := &m.work, m.desc.Dim
	var loss train.Loss
	all := back && m.keepsLogits()
	if back && !all {
		clear(w.dh[:b.rows*dim])
	}
	m.eachLogits(b, all, func(at, n int) {
		targets, z := b.targets[at:at+n], w.logits[:n*m.vocab]
		m.machine.For(n, max(1, 1<<14/m.vocab), func(_, from, to int) {
			for r := from; r < to; r++ {
				w.correct[r] = targets[r] >= 0 && tensor.Argmax(z[r*m.vocab:][:m.vocab]) == int(targets[r])
			}
		})
		var dz, capped []float32
		if back {
			if dz = z; m.desc.LogitCap > 0 {
				capped = append(capped, z...)
			}
		}
		m.machine.SoftmaxCrossEntropy(w.losses, dz, z, targets, n, m.vocab, scale)
		for r, t := range targets {
			if t >= 0 {
				loss.Sum += float64(w.losses[r])
				loss.Count++
				if w.correct[r] {
					loss.Correct++
				}
			}
		}
		if back {
			m.uncap(dz, capped)
			m.outputBack(at, n)
		}
	})
	if math.IsNaN(loss.Sum) || math.IsInf(loss.Sum, 0) {
		return loss, fmt.Errorf("%w: the loss of a micro-batch is not a finite number; lower the learning rate or clip the gradient", train.ErrDiverged)
	}
	if back {
		clear(w.dx[:b.rows*dim])
		m.normBack(w.dx, w.dh, w.inputs[len(m.layers)], m.norm, b.rows, dim)
	}
	return loss, nil
}

// uncap multiplies the gradients of capped logits by the derivative of the cap.
func (m *Model) uncap(dz, capped []float32) {
	limit := m.desc.LogitCap
	m.machine.For(len(capped), 1<<14, func(_, from, to int) {
		for i := from; i < to; i++ {
			t := float32(capped[i] / limit)
			dz[i] = float32(dz[i] * (1 - float32(t*t)))
		}
	})
}

// outputBack goes back through the last product for n rows from at on, whose
// gradients are in work.logits. A tied embedding waits for embeddingBack.
func (m *Model) outputBack(at, n int) {
	w, dim := &m.work, m.desc.Dim
	if m.keepsLogits() {
		m.machine.Mul(tensor.Of(w.dh[at*dim:], n, dim), tensor.Of(w.logits, n, m.vocab), m.output.w)
		return
	}
	m.projectBack(w.dh[at*dim:], w.h[at*dim:], n, []*linear{&m.output}, [][]float32{w.logits})
}

// embeddingBack adds the gradients of the embedding: sequence by sequence, the
// part of the output if it is tied, then the rows that were looked up.
func (m *Model) embeddingBack(b *batch) {
	w, dim := &m.work, m.desc.Dim
	if scale := m.desc.EmbeddingScale; scale != 1 {
		m.machine.Scale(w.dx[:b.rows*dim], scale)
	}
	if m.tied {
		m.rmsNorm(w.h, w.inputs[len(m.layers)], m.norm, b.rows, dim)
	}
	for _, s := range b.sequences {
		if m.tied {
			dz := tensor.Of(w.logits[s.first*m.vocab:], s.rows, m.vocab)
			m.machine.MulAdd(m.embedding.dw, dz.T(), tensor.Of(w.h[s.first*dim:], s.rows, dim))
		}
		n := s.rows
		for n > 0 && b.tokens[s.first+n-1] < 0 {
			n--
		}
		m.machine.GatherBackward(m.embedding.dw.Data, w.dx[s.first*dim:], b.tokens[s.first:s.first+n], dim)
	}
}
