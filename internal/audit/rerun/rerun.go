// Package rerun computes the run of a receipt again, with the model, and keeps
// what a party of a dispute needs to know of it: a [Run] is a dispute.Source
// and a dispute.Witness.
//
// Call [New] with the model loaded for the receipt's context
// (dispute.Context), and an opening that shows the ids. It reads all ids in
// passes as large as the engine's, so it takes as long as reading a prompt of
// that length; [Run.Output] then says which drawn token is not the model's.
// Nothing here decides anything: that is for package dispute.
package rerun

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// Config says what to compute and with what.
type Config struct {
	Model *model.Model // with the context of the receipt
	// Compute lets f work with the model while nobody else does, as that of an
	// engine; nil: nobody else uses the model.
	Compute func(ctx context.Context, f func(*model.Model) error) error
	File    *gguf.File        // that the model was loaded from, still open
	Print   *fingerprint.Tree // of the file; nil: nothing is proved of the model, as a prover does not
	// Adapters are those that the model was loaded with, in its order, at the
	// scales of the claims.
	Adapters []Adapter
	// Claims are those of the receipt.
	Claims receipt.Claims
	// Opening shows at least receipt.IDs of the receipt.
	Opening *receipt.Opening
	// Keep is how many bytes of x may be kept, so that it need not be computed
	// again for a cell. 0: 256 MiB. What is drawn from is always kept.
	Keep int
}

// Adapter is the file of an adapter, still open, and its fingerprint.
type Adapter struct {
	File  *gguf.File
	Print *fingerprint.Tree
}

// operations are the adapters as plans take them.
func (c *Config) operations() []operation.Adapter {
	var list []operation.Adapter
	for i, a := range c.Adapters {
		list = append(list, operation.Adapter{Header: a.File, Scale: c.Claims.Adapters[i].Scale})
	}
	return list
}

// ImpossibleError says that no run can be what the receipt says. The
// description of the cell ([Describe]) shows it: dispute.Impossible makes a
// proof of it.
type ImpossibleError struct {
	Cell   dispute.Cell
	Detail string
}

func (e *ImpossibleError) Error() string { return "rerun: " + e.Detail }

// Run is a run that was computed again. Its methods are called by one
// goroutine at a time; Close frees its memory. [Run.X], [Run.KV] and what else
// an operation.Source has are for the operations, which compute with the model.
type Run struct {
	ctx    context.Context // nothing is computed after its end
	cfg    Config
	ids    []int32 // prompt, then drawn
	params sample.Params
	masked bool
	limit  int // positions of the receipt's context, for plans

	seq    *model.Sequence
	states [][]canon.Hash
	output int // first wrong one, or -1

	cell  dispute.Cell // computed last
	last  *operation.Values
	x, kv map[[2]int][]byte // by layer and position; kv only if computed cell by cell
	kept  []float32         // x, [layers from first on][positions][dim]
	first int
}

const (
	outputs = 32        // positions whose logits are held at a time
	pass    = 256       // positions that are computed at one go: others who use the model wait
	keep    = 256 << 20 // Config.Keep by default
)

var errNoPrint = errors.New("rerun: nothing can be proved of the model without the tree of its fingerprint")

// New computes the run of a receipt. The context is for all that the run will
// compute.
func New(ctx context.Context, cfg Config) (*Run, error) {
	c, o := &cfg.Claims, cfg.Opening
	if cfg.Compute == nil {
		m := cfg.Model
		cfg.Compute = func(ctx context.Context, f func(*model.Model) error) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(m)
		}
	}
	if cfg.Print != nil && cfg.Print.Root() != c.Model {
		return nil, fmt.Errorf("rerun: the file is the model %.8s…, the receipt's is %.8s…", cfg.Print.Root(), c.Model)
	}
	if len(cfg.Adapters) != len(c.Adapters) {
		return nil, fmt.Errorf("rerun: %d adapters, the receipt's are %s", len(cfg.Adapters), receipt.DescribeAdapters(c.Adapters))
	}
	for i, a := range cfg.Adapters {
		if root := a.Print.Root(); root != c.Adapters[i].File {
			return nil, fmt.Errorf("rerun: adapter %d is %.8s…, the receipt's is %.8s…", i, root, c.Adapters[i].File)
		}
	}
	want := receipt.PartPrompt | receipt.PartOutput | dispute.OutputParts(c)
	if o == nil || o.Parts()&want != want {
		return nil, errors.New("rerun: the opening does not show all ids and parameters")
	}
	for _, check := range o.Select(want).Check(c) {
		if !check.Passed() {
			return nil, fmt.Errorf("rerun: the opening: %s", check)
		}
	}
	r := &Run{
		ctx: ctx, cfg: cfg, ids: append(o.Prompt.IDs[:len(o.Prompt.IDs):len(o.Prompt.IDs)], o.Output.IDs...),
		params: dispute.SampleParams(c, o), masked: o.Extra != nil && o.Extra.Extra.Grammar != nil,
		limit: dispute.Context(c, cfg.File), output: -1, x: map[[2]int][]byte{},
	}
	if err := r.possible(); err != nil {
		return nil, err
	}
	if err := r.compute(func() error { r.seq = cfg.Model.NewSequence(); return nil }); err != nil {
		return nil, err
	}
	if err := r.forward(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close frees the memory of the run.
func (r *Run) Close() { // a closed engine has no memory to give back
	_ = r.cfg.Compute(context.WithoutCancel(r.ctx), func(*model.Model) error { r.seq.Close(); return nil })
}

// compute lets f work with the model.
func (r *Run) compute(f func() error) error {
	return r.cfg.Compute(r.ctx, func(*model.Model) error { return f() })
}

// positions is N of spec/trace.md.
func (r *Run) positions() int { return len(r.ids) - 1 }

// possible says whether the model can do at all what the receipt says.
func (r *Run) possible() error {
	vocab, limit := r.cfg.Model.Config().Vocab, r.cfg.Model.Limit()
	if n := r.positions(); n > limit {
		return &ImpossibleError{dispute.Cell{}, fmt.Sprintf("%d positions, the model has at most %d", n, limit)}
	}
	for i, id := range r.ids[:r.positions()] {
		if int(id) >= vocab {
			return &ImpossibleError{dispute.Cell{Position: i}, fmt.Sprintf("token %d at %d is not in the vocabulary of %d", id, i, vocab)}
		}
	}
	for id := range r.params.LogitBias {
		if int(id) >= vocab {
			return &ImpossibleError{dispute.Cell{Output: true}, fmt.Sprintf("a bias of token %d, the vocabulary has %d", id, vocab)}
		}
	}
	return nil
}

// forward reads all ids and draws the tokens again.
func (r *Run) forward() error {
	m, prompt := r.cfg.Model, r.cfg.Claims.PromptTokens
	vocab := m.Config().Vocab
	r.keep()
	steps := []model.Step{{Seq: r.seq, Trace: true, Visit: func(layer, position int, x []float32) {
		copy(r.xOf(layer, position), x)
	}}}
	step := func() error { return m.Forward(steps) }
	for at := 0; at < prompt-1; at += pass {
		steps[0].Tokens = r.ids[at:min(at+pass, prompt-1)]
		if err := r.compute(step); err != nil {
			return err
		}
	}
	sampler, err := sample.New(r.params, vocab)
	if err != nil {
		return err
	}
	for at := prompt - 1; at < r.positions(); at += outputs {
		s := &steps[0]
		s.Tokens = r.ids[at:min(at+outputs, r.positions())]
		s.Want = len(s.Tokens)
		if err := r.compute(step); err != nil {
			return err
		}
		for k := range s.Tokens {
			if r.output >= 0 || r.masked {
				break
			}
			i, logits := at+k+1, s.Logits[k*vocab:(k+1)*vocab] // i: where the token stands
			id, err := sampler.Sample(logits, r.ids[:i], i-prompt, nil)
			if err != nil || id != r.ids[i] || !finite(logits) {
				r.output = i - prompt
			}
		}
	}
	var tree *trace.Tree
	err = r.compute(func() (err error) { tree, err = r.seq.Trace(); return err })
	if notFinite := (*trace.NotFiniteError)(nil); errors.As(err, &notFinite) {
		return r.cells()
	} else if err != nil {
		return err
	}
	for l := range tree.Layers() {
		r.states = append(r.states, tree.Layer(l))
	}
	return nil
}

// keep makes room for x: of all layers if that is not too much, else of the
// last one, from which tokens are drawn.
func (r *Run) keep() {
	c := r.cfg.Model.Config()
	r.first = c.Layers - 1
	limit := r.cfg.Keep
	if limit == 0 {
		limit = keep
	}
	if c.Layers*r.positions()*c.Dim*4 <= limit {
		r.first = 0
	}
	r.kept = make([]float32, (c.Layers-r.first)*r.positions()*c.Dim)
}

// xOf is where x of a layer and position is kept; empty if it is not.
func (r *Run) xOf(layer, position int) []float32 {
	if layer < r.first {
		return nil
	}
	dim := r.cfg.Model.Config().Dim
	at := ((layer-r.first)*r.positions() + position) * dim
	return r.kept[at : at+dim]
}

// finite reports whether all logits are finite. From others nothing is drawn
// (spec/trace.md, section 4).
func finite(logits []float32) bool {
	for _, z := range logits {
		if z-z != 0 {
			return false
		}
	}
	return true
}

// cells computes all states cell by cell, by the operations that a referee
// evaluates. They are defined also where a number is not finite, which no
// honest run goes beyond, but a prover may say that it did.
func (r *Run) cells() error {
	layers := r.cfg.Model.Config().Layers
	r.states, r.kv = make([][]canon.Hash, layers), map[[2]int][]byte{}
	for p := range r.positions() {
		for l := range layers {
			plan, err := r.plan(dispute.Cell{Layer: l, Position: p})
			if err != nil {
				return err
			}
			v, err := r.values(plan)
			if err != nil {
				return err
			}
			x, kv, _ := plan.State()
			at := [2]int{l, p}
			r.x[at], r.kv[at] = join(v, x), join(v, kv)
			r.states[l] = append(r.states[l], trace.State(r.x[at], r.kv[at]))
		}
	}
	return nil
}

// join is the value of a whole operation.
func join(v *operation.Values, op int) (b []byte) {
	for i := range v.Plan().Ops()[op].Leaves {
		b = append(b, v.Leaf(op, i)...)
	}
	return b
}

// States is that of dispute.Source.
func (r *Run) States() ([][]canon.Hash, error) { return r.states, nil }

// Output is the first drawn token that is not the one that the model and the
// parameters lead to. A token that a grammar limits is not looked at.
func (r *Run) Output() (i int, wrong bool) { return r.output, r.output >= 0 }

// Cell is that of dispute.Source.
func (r *Run) Cell(c dispute.Cell) (dispute.Values, int, error) {
	if r.last == nil || r.cell != c {
		p, err := r.plan(c)
		if err != nil {
			return nil, 0, err
		}
		v, err := r.values(p)
		if err != nil {
			return nil, 0, err
		}
		r.cell, r.last = c, v
	}
	return r.last, len(r.last.Plan().Ops()), nil
}

// values computes a cell.
func (r *Run) values(p *operation.Plan) (v *operation.Values, err error) {
	err = r.compute(func() (err error) { v, err = operation.Compute(p, r); return err })
	return v, err
}

func (r *Run) plan(c dispute.Cell) (*operation.Plan, error) {
	if c.Output {
		return operation.PlanOutput(r.cfg.File, r.limit, operation.OutputCell{
			Index: c.Position, Prompt: r.cfg.Claims.PromptTokens, Params: r.params, Masked: r.masked,
		}, r.cfg.operations()...)
	}
	return operation.PlanLayer(r.cfg.File, r.limit, operation.LayerCell{Layer: c.Layer, Position: c.Position, Token: r.ids[c.Position]}, r.cfg.operations()...)
}

// Operations is what a cell computes; nil if there is no such cell.
func (r *Run) Operations(c dispute.Cell) []operation.Op {
	p, err := r.plan(c)
	if err != nil {
		return nil
	}
	return p.Ops()
}

// State is that of dispute.Witness.
func (r *Run) State(layer, position int) (x, kv []byte, err error) {
	err = r.compute(func() (err error) {
		if x, err = r.X(layer, position); err == nil {
			kv, err = r.KV(layer, position)
		}
		return err
	})
	return x, kv, err
}

// X is that of operation.Source. What was not kept is computed again: the
// layers up to this one at the position.
func (r *Run) X(layer, position int) ([]byte, error) {
	at := [2]int{layer, position}
	if b, ok := r.x[at]; ok {
		return b, nil
	}
	x := r.xOf(layer, position)
	if x != nil {
		layer = -1 // nothing to compute
	}
	for l := range layer + 1 {
		c := model.Cells{Layer: l, Positions: []int{position}, X: x}
		if l == 0 {
			c.Tokens = r.ids[position : position+1]
		}
		var err error
		if x, err = r.cfg.Model.Cells(r.seq, &c); err != nil {
			return nil, err
		}
	}
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	r.x[at] = b
	return b, nil
}

// KV is that of operation.Source.
func (r *Run) KV(layer, position int) ([]byte, error) {
	if r.kv != nil {
		return r.kv[[2]int{layer, position}], nil
	}
	return r.seq.KV(nil, layer, position, position+1), nil
}

// Tokens is that of operation.Source.
func (r *Run) Tokens(from, to int) ([]int32, error) { return r.ids[from:to], nil }

// Tensor is that of operation.Source.
func (r *Run) Tensor(name string) ([]byte, error) {
	f := r.cfg.File
	if i, own, ok := operation.OfAdapter(name); ok && i < len(r.cfg.Adapters) {
		f, name = r.cfg.Adapters[i].File, own
	}
	t := f.Tensor(name)
	if t == nil {
		return nil, fmt.Errorf("rerun: there is no tensor %s", name)
	}
	return f.Data(t), nil
}

// Matrices is that of operation.Source.
func (r *Run) Matrices(name string) []*kernel.Matrix { return r.cfg.Model.Matrices(name) }

// Description is that of dispute.Witness.
func (r *Run) Description(c dispute.Cell) ([]byte, error) { return Describe(r.cfg, c) }

// Describe makes the description of a cell, which says what it computes. It
// needs no run, of the model only the header, and no drawn ids but for a cell of
// layer 0.
func Describe(cfg Config, c dispute.Cell) ([]byte, error) {
	if cfg.Print == nil {
		return nil, errNoPrint
	}
	header, err := prove(cfg.Print, dispute.HeaderRequest(cfg.Model.Config().Arch, c))
	if err != nil {
		return nil, err
	}
	d := dispute.Description{Model: header}
	for _, a := range cfg.Adapters {
		own, err := prove(a.Print, dispute.AdapterRequest(c))
		if err != nil {
			return nil, err
		}
		d.Adapters = append(d.Adapters, own)
	}
	switch parts := dispute.OutputParts(&cfg.Claims); {
	case c.Output && parts != 0:
		d.Opening = cfg.Opening.Select(parts)
	case !c.Output && c.Layer == 0:
		if d.Opening, err = ranges(cfg, c.Position, c.Position+1); err != nil {
			return nil, err
		}
	}
	return d.Encode()
}

// ranges opens ids of the run.
func ranges(cfg Config, from, to int) (*receipt.Opening, error) {
	o, prompt := cfg.Opening, cfg.Claims.PromptTokens
	part := &receipt.Opening{Digests: o.Digests}
	if from < prompt {
		x, err := o.PromptRange(from, min(to, prompt))
		if err != nil {
			return nil, err
		}
		part.PromptRanges = []receipt.Range{x}
	}
	if to > prompt {
		x, err := o.OutputRange(max(from-prompt, 0), to-prompt)
		if err != nil {
			return nil, err
		}
		part.OutputRanges = []receipt.Range{x}
	}
	return part, nil
}

// Opening is that of dispute.Witness.
func (r *Run) Opening(from, to int) ([]byte, error) {
	o, err := ranges(r.cfg, from, to)
	if err != nil {
		return nil, err
	}
	return canon.Marshal(o)
}

// Tiles is that of dispute.Witness.
func (r *Run) Tiles(tensor string, from, to int) ([]byte, error) {
	tree := r.cfg.Print
	if i, name, ok := operation.OfAdapter(tensor); ok && i < len(r.cfg.Adapters) {
		tree, tensor = r.cfg.Adapters[i].Print, name
	}
	if tree == nil {
		return nil, errNoPrint
	}
	return prove(tree, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: tensor, From: from, To: to}}})
}

func prove(tree *fingerprint.Tree, q fingerprint.Request) ([]byte, error) {
	p, err := tree.Prove(context.Background(), q)
	if err != nil {
		return nil, err
	}
	return p.Encode()
}
