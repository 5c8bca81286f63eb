package lm

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// Model is a language model that is trained. Its methods are called by one
// goroutine at a time. What [Model.Params] gives is all of its state.
type Model struct {
	desc    *model.Description
	options Options
	machine *tensor.Machine
	file    *gguf.File // nil if the model began here
	header  *header    // of such a model
	vocab   int
	limit   int // positions of an example

	params    []*train.Param
	byName    map[string]*train.Param
	embedding linear
	output    linear // the embedding again if tied
	tied      bool
	norm      vector // before the output
	layers    []layer
	ropes     []rope // by model.Description.Rope
	work      work
	alpha     float32 // of the adapter
}

// layer holds the parameters of one layer; what an architecture does not have
// is zero.
type layer struct {
	window       int // positions a query sees, 0 for all
	rope         int // index into Model.ropes
	rotated      bool
	attnNorm     vector
	q, k, v, out linear
	qNorm, kNorm vector
	attnPostNorm vector
	ffnNorm      vector
	gate, up     linear
	down         linear
	ffnPostNorm  vector
}

// vector is a norm's weights or a bias.
type vector struct {
	w  []float32 // nil: there is none
	dw []float32 // nil: frozen
}

// rope is one choice of rotary angles.
type rope struct {
	parts    *model.LayerParts // of a layer that has it
	factors  []float32
	n        int       // positions whose angles are known
	cos, sin []float32 // [n][rotary/2]
}

func threads(n int) int {
	if n == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

// Open prepares the model of a file for training. What is trained is read into
// F32; what is not stays as it is. f must stay open until after the last
// [Model.Export]. Close the model after use.
//
// Errors are those of the file (model.FileError, model.UnknownArchitectureError),
// of the options, or of an adapter that does not fit.
func Open(f *gguf.File, o Options) (*Model, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	d, err := model.Describe(f, o.Context)
	if err != nil {
		return nil, err
	}
	if err := d.CheckTensors(f); err != nil {
		return nil, err
	}
	if o.LoRA != nil && o.LoRA.From != nil {
		if err := o.LoRA.From.Fit(f); err != nil {
			return nil, err
		}
	}
	return newModel(&Model{desc: d, options: o, file: f}, fileWeights{d, f, threads(o.Threads)})
}

// weights is where a model's numbers come from.
type weights interface {
	// floats gives all numbers of a tensor, row by row.
	floats(t *gguf.Tensor) ([]float32, error)
	// matrix packs the rows of a part.
	matrix(p model.Part) (*kernel.Matrix, error)
}

type fileWeights struct {
	d       *model.Description
	f       *gguf.File
	threads int
}

func (w fileWeights) floats(t *gguf.Tensor) ([]float32, error) { return w.d.Floats(w.f, t) }

func (w fileWeights) matrix(p model.Part) (*kernel.Matrix, error) {
	return w.d.Matrix(w.f, p, w.threads)
}

// newModel gives m its layers and starts the threads.
func newModel(m *Model, w weights) (*Model, error) {
	m.byName = map[string]*train.Param{}
	b := &builder{m: m, from: w}
	if err := b.all(); err != nil {
		return nil, err
	}
	if len(m.params) == 0 {
		return nil, fmt.Errorf("training: the model has none of the matrices %q that would be trained; name others", strings.Join(DefaultTargets, " "))
	}
	var err error
	if m.machine, err = m.options.newMachine(); err != nil {
		return nil, err
	}
	return m, nil
}

// builder makes a model's parts and keeps the first error.
type builder struct {
	m    *Model
	from weights
	err  error
	used []string // targets that have a matrix
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) all() error {
	m, d := b.m, b.m.desc
	e, err := d.Embedding()
	if err != nil {
		return err
	}
	m.vocab, m.limit = e.Rows, d.Limit
	norm, output, err := d.Output()
	if err != nil {
		return err
	}
	m.embedding = b.linear(e, model.Part{})
	if m.tied = output.Tensor == e.Tensor; m.tied {
		m.output = m.embedding
	}
	for i := range d.Layers {
		p, err := d.Layer(i)
		if err != nil {
			return err
		}
		m.layers = append(m.layers, b.layer(p))
		if b.err != nil {
			return b.err
		}
	}
	m.norm = b.vector(norm)
	if !m.tied {
		m.output = b.linear(output, model.Part{})
	}
	if b.err != nil {
		return b.err
	}
	return b.checkTargets()
}

func (b *builder) layer(p *model.LayerParts) layer {
	return layer{
		window: p.Window, rope: b.rope(p), rotated: p.Rotated,
		attnNorm: b.vector(p.AttnNorm),
		q:        b.linear(p.Q, p.QBias), k: b.linear(p.K, p.KBias), v: b.linear(p.V, p.VBias),
		qNorm: b.vector(p.QNorm), kNorm: b.vector(p.KNorm),
		out:          b.linear(p.Out, p.OutBias),
		attnPostNorm: b.vector(p.AttnPostNorm),
		ffnNorm:      b.vector(p.FFNNorm),
		gate:         b.linear(p.GateUp[0], model.Part{}), up: b.linear(p.GateUp[1], model.Part{}),
		down:        b.linear(p.Down, model.Part{}),
		ffnPostNorm: b.vector(p.FFNPostNorm),
	}
}

// rope returns the index of a layer's rotary angles.
func (b *builder) rope(p *model.LayerParts) int {
	m := b.m
	i := m.desc.Rope(p)
	for len(m.ropes) <= i {
		m.ropes = append(m.ropes, rope{})
	}
	if r := &m.ropes[i]; r.parts == nil {
		part, err := m.desc.Factors(p)
		if err != nil {
			b.fail(err)
		}
		r.parts = p
		if part.Tensor != nil && b.err == nil {
			if r.factors, err = b.from.floats(part.Tensor); err != nil {
				b.fail(err)
			}
		}
		if b.err == nil {
			if err := m.desc.CheckFactors(p, r.factors); err != nil {
				b.fail(err)
			}
		}
	}
	return i
}

// param returns the parameter that a tensor is, made when it is first asked for.
func (b *builder) param(t *gguf.Tensor) *train.Param {
	m := b.m
	if p := m.byName[t.Name]; p != nil {
		return p
	}
	data, err := b.from.floats(t)
	if err != nil {
		b.fail(err)
		return nil
	}
	shape := slices.Clone(t.Shape)
	slices.Reverse(shape)
	p := &train.Param{Name: t.Name, Shape: shape, Data: data, Grad: make([]float32, len(data)), NoDecay: len(shape) == 1}
	m.add(p)
	return p
}

func (m *Model) add(p *train.Param) {
	m.params = append(m.params, p)
	m.byName[p.Name] = p
}

func (b *builder) vector(p model.Part) vector {
	if p.Tensor == nil || b.err != nil {
		return vector{}
	}
	if b.m.options.LoRA != nil {
		w, err := b.from.floats(p.Tensor)
		if err != nil {
			b.fail(err)
		}
		return vector{w: w}
	}
	q := b.param(p.Tensor)
	if q == nil {
		return vector{}
	}
	return vector{q.Data, q.Grad}
}

// linear makes a product with some rows of a tensor.
func (b *builder) linear(p, bias model.Part) linear {
	l := linear{in: p.Cols, out: p.Rows}
	if b.err != nil {
		return l
	}
	if b.m.options.LoRA == nil {
		if q := b.param(p.Tensor); q != nil {
			l.w = tensor.Of(q.Data, p.Tensor.Rows(), p.Cols).View(p.First, 0, p.Rows, p.Cols)
			l.dw = tensor.Of(q.Grad, p.Tensor.Rows(), p.Cols).View(p.First, 0, p.Rows, p.Cols)
		}
		l.bias = b.vector(bias)
		return l
	}
	var err error
	if l.frozen, err = b.from.matrix(p); err != nil {
		b.fail(err)
		return l
	}
	l.update, l.bias = b.update(p), b.vector(bias)
	return l
}

// update makes the low-rank update of some rows of a tensor, if it has one.
func (b *builder) update(p model.Part) *update {
	a, bb, s := b.lowRank(p.Tensor)
	if a == nil {
		return nil
	}
	rank := a.Shape[0]
	return &update{
		scale: s,
		a:     tensor.Of(a.Data, rank, p.Cols), da: tensor.Of(a.Grad, rank, p.Cols),
		b:  tensor.Of(bb.Data, p.Tensor.Rows(), rank).View(p.First, 0, p.Rows, rank),
		db: tensor.Of(bb.Grad, p.Tensor.Rows(), rank).View(p.First, 0, p.Rows, rank),
	}
}

// The ends of the names of an update's parameters, as in its file.
const suffixA, suffixB = ".lora_a", ".lora_b"

// lowRank returns the parameters A [rank][in] and B [out][rank] of a tensor's
// update and its factor, made when they are first asked for.
func (b *builder) lowRank(t *gguf.Tensor) (pa, pb *train.Param, scale float32) {
	m, lora := b.m, b.m.options.LoRA
	in, out := t.Shape[0], t.Rows()
	u := adapter.Update{Name: t.Name, Rank: lora.Rank, In: in, Out: out}
	if from := lora.From; from != nil {
		i := slices.IndexFunc(from.Updates, func(u adapter.Update) bool { return u.Name == t.Name })
		if i < 0 {
			return nil, nil, 0
		}
		u, m.alpha = from.Updates[i], from.Alpha
	} else if !lora.wants(t.Name) {
		return nil, nil, 0
	} else if m.alpha = lora.Alpha; m.alpha == 0 {
		m.alpha = float32(2 * lora.Rank)
	}
	if t.Name == adapter.Embedding {
		b.fail(fmt.Errorf("training: an update of %s is not supported; train other targets", t.Name))
		return nil, nil, 0
	}
	scale = (&adapter.Adapter{Alpha: m.alpha}).Scale(&u, 1)
	if pa = m.byName[t.Name+suffixA]; pa != nil {
		return pa, m.byName[t.Name+suffixB], scale
	}
	b.used = append(b.used, t.Name)
	pa = train.NewParam(t.Name+suffixA, u.Rank, in)
	pb = train.NewParam(t.Name+suffixB, out, u.Rank)
	if lora.From != nil {
		copy(pa.Data, u.A)
		copy(pb.Data, u.B)
	} else {
		train.InitNormal(pa, lora.Seed, deviation(in))
	}
	m.add(pa)
	m.add(pb)
	return pa, pb, scale
}

// checkTargets refuses targets that the model has no matrix for: training
// without one of them would be another run than the one that was asked for.
func (b *builder) checkTargets() error {
	lora := b.m.options.LoRA
	if lora == nil {
		return nil
	}
	for _, target := range lora.Targets {
		one := &LoRA{Targets: []string{target}}
		if !slices.ContainsFunc(b.used, one.wants) {
			return fmt.Errorf("training: the model has no matrix of the target %q that can be updated; names are the middle of those of tensors, such as attn_q or ffn_down", target)
		}
	}
	if lora.From != nil && len(b.used) != len(lora.From.Updates) {
		return errors.New("training: the adapter changes a matrix that is not supported here")
	}
	return nil
}

// Config describes the model; Vocab is set.
func (m *Model) Config() model.Config {
	c := m.desc.Config
	c.Vocab = m.vocab
	return c
}

// Limit is the number of positions that an example may have: its tokens less
// one.
func (m *Model) Limit() int { return m.limit }

// Params gives the parameters in the order of the file's use: the embedding,
// layer by layer, the last norm, the output. With LoRA they are A and B of each
// update.
func (m *Model) Params() []*train.Param { return m.params }

// Machine gives the model's threads, for the optimiser's use between calls.
func (m *Model) Machine() *tensor.Machine { return m.machine }

// Close ends the threads. The model must not be used any more.
func (m *Model) Close() { m.machine.Close() }
