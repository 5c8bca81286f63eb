package model

import (
	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Header is what a file says before its weights: a [gguf.File], or what someone
// proved of one. Tensor returns nil for one that the file does not have; of
// what it returns, name, type and shape are looked at.
type Header interface {
	Metadata
	Tensor(name string) *gguf.Tensor
}

// Description is a model without its weights: all numbers that decide what is
// computed. Of the header it reads the key general.architecture and those that
// begin with the architecture's name and a dot; its methods say what tensors
// they read.
type Description struct {
	Config                     // Vocab is 0: it is the rows of Embedding
	Limit          int         // positions that a sequence may have
	Epsilon        float32     // of the norms
	EmbeddingScale float32     // of the embeddings, 1 for none
	ScoreScale     float32     // of the scores of attention
	ScoreCap       float32     // of the scores, 0 for none
	LogitCap       float32     // of the logits, 0 for none
	Gate           kernel.Gate // of the feed-forward layer
	Rotary         int         // elements of a head that are rotated

	config *config
	arch   *architecture
	header Header
}

// Part is rows First to First+Rows-1 of a tensor of Cols columns; a vector is
// one row. The zero Part is one that the model does not have.
type Part struct {
	Tensor            *gguf.Tensor
	First, Rows, Cols int
}

// LayerParts says which tensors a layer has.
type LayerParts struct {
	Window  int  // positions a query sees, 0 for all
	Rotated bool // queries and keys are

	AttnNorm, QNorm, KNorm, AttnPostNorm, FFNNorm, FFNPostNorm Part
	Q, K, V, Out                                               Part
	QBias, KBias, VBias, OutBias                               Part
	GateUp                                                     [2]Part // of the feed-forward layer
	Down                                                       Part

	rope int
}

// Describe reads the metadata of h. context is that of [Options].
func Describe(h Header, context int) (*Description, error) {
	arch, c, err := configOf(h, context)
	if err != nil {
		return nil, err
	}
	return &Description{
		Config: c.Config, Limit: c.limit, Epsilon: c.eps, EmbeddingScale: c.embeddingScale, ScoreScale: c.scoreScale,
		ScoreCap: c.scoreCap, LogitCap: c.logitCap, Gate: c.gate, Rotary: c.rotary,
		config: c, arch: arch, header: shaped{h},
	}, nil
}

// shaped has no tensors without a shape, which no file has but a proof may
// claim.
type shaped struct{ Header }

func (h shaped) Tensor(name string) *gguf.Tensor {
	if t := h.Header.Tensor(name); t != nil && len(t.Shape) > 0 {
		return t
	}
	return nil
}

// describe runs the loader's own code on stand-ins for the weights.
func (d *Description) describe(walk func(l *loader)) (*loader, error) {
	c := *d.config
	l := &loader{header: d.header, config: &c, parts: map[any]Part{}, used: map[string]bool{}}
	walk(l)
	return l, l.err
}

func (l *loader) matrixPart(m *matrix) Part {
	if m == nil {
		return Part{}
	}
	return l.parts[m]
}

func (l *loader) vectorPart(v []float32) Part {
	if len(v) == 0 {
		return Part{}
	}
	return l.parts[&v[0]]
}

// Embedding returns token_embd.weight, the one tensor that it reads.
func (d *Description) Embedding() (Part, error) {
	var w weights
	l, err := d.describe(func(l *loader) { l.embedding(&w) })
	return l.matrixPart(w.embedding), err
}

// Output returns what follows the layers: a norm, and the matrix whose product
// is the logits. It reads output_norm.weight, output.weight and
// token_embd.weight.
func (d *Description) Output() (norm, output Part, err error) {
	var w weights
	l, err := d.describe(func(l *loader) {
		if l.embedding(&w); l.err == nil {
			l.output(&w)
		}
	})
	return l.vectorPart(w.norm), l.matrixPart(w.output), err
}

// Layer returns the parts of layer i. It reads tensors whose names begin with
// blk.i and a dot.
func (d *Description) Layer(i int) (*LayerParts, error) {
	var y layer
	l, err := d.describe(func(l *loader) { y = d.arch.tensors(l, i) })
	if err != nil {
		return nil, err
	}
	c := d.config.layers[i]
	return &LayerParts{
		Window: c.window, Rotated: !c.noRope, rope: c.rope,
		AttnNorm: l.vectorPart(y.attnNorm), AttnPostNorm: l.vectorPart(y.attnPostNorm),
		FFNNorm: l.vectorPart(y.ffnNorm), FFNPostNorm: l.vectorPart(y.ffnPostNorm),
		QNorm: l.vectorPart(y.qNorm), KNorm: l.vectorPart(y.kNorm),
		Q: l.matrixPart(y.wq), K: l.matrixPart(y.wk), V: l.matrixPart(y.wv), Out: l.matrixPart(y.wo),
		QBias: l.vectorPart(y.bq), KBias: l.vectorPart(y.bk), VBias: l.vectorPart(y.bv), OutBias: l.vectorPart(y.bo),
		GateUp: [2]Part{l.matrixPart(y.gate), l.matrixPart(y.up)}, Down: l.matrixPart(y.down),
	}, nil
}

// Factors returns the vector that divides the rotary frequencies of a layer,
// if there is one. It reads the tensor rope_freqs.weight, or in phi3
// rope_factors_long.weight or rope_factors_short.weight.
func (d *Description) Factors(p *LayerParts) (Part, error) {
	var v []float32
	l, err := d.describe(func(l *loader) { v = l.factors(&d.config.ropes[p.rope]) })
	return l.vectorPart(v), err
}

// Angles returns the cosines and sines by which a layer rotates the pairs of a
// head at a position; factors are the numbers of [Description.Factors].
func (d *Description) Angles(p *LayerParts, factors []float32, position int) (cos, sin []float32) {
	r := d.config.ropes[p.rope]
	r.frequencies(d.Rotary, factors)
	cos, sin = make([]float32, d.Rotary/2), make([]float32, d.Rotary/2)
	r.angles(cos, sin, position)
	return cos, sin
}

// Rotate turns the pairs of one head in place.
func (d *Description) Rotate(x, cos, sin []float32) { rotate(x, cos, sin, d.config.interleaved) }

// Matrices returns the rows of a tensor as the model has them packed, one
// matrix after the other; nil if it has none of this name.
func (m *Model) Matrices(tensor string) []*kernel.Matrix {
	return m.packed[tensor]
}
