package dispute

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// receiptRun is the run of a real receipt.
type receiptRun struct {
	claim  Claim
	claims receipt.Claims
}

// NewRun makes the referee's view of a receipt, whose signature it checks.
func NewRun(r receipt.Receipt) (Run, error) {
	if err := r.Verify(); err != nil {
		return nil, err
	}
	c := r.Claims()
	return &receiptRun{
		claim:  Claim{Receipt: r.Hash(), Key: c.Key, Prompt: c.PromptTokens, Drawn: c.OutputTokens, Trace: c.Trace},
		claims: c,
	}, nil
}

// NewWork is the referee's view of a receipt that somebody else than its signer
// computed again and called right: the prover is the holder of this key, who
// committed to the trace of the run (spec/trace.md, section 2). Whoever says so
// of a receipt that is false has no run that gives the receipt's tokens.
func NewWork(r receipt.Receipt, key ed25519.PublicKey, trace canon.Hash) (Run, error) {
	run, err := NewRun(r)
	if err != nil {
		return nil, err
	}
	w := run.(*receiptRun)
	w.claim.Key, w.claim.Trace = key, trace
	return w, nil
}

// JudgeFile is [Judge] of a receipt, or of a file with one: all that a third
// party needs.
func JudgeFile(file, proof []byte) (Finding, error) {
	f, err := receipt.ParseFile(file)
	if err != nil {
		return Finding{}, err
	}
	run, err := NewRun(f.Receipt)
	if err != nil {
		return Finding{}, err
	}
	return Judge(run, proof)
}

func (r *receiptRun) Claim() Claim { return r.claim }

// Description is what a cell's plan follows from, with proofs: section 3 of
// spec/dispute.md.
type Description struct {
	Model []byte // the header, by a fingerprint.Proof for HeaderRequest
	// Opening shows, of a cell of layer 0, the token; of an output cell, the
	// bias and the extra parameters if the receipt has them, and the prompt if
	// the seed depends on it. It is nil if it would show nothing.
	Opening *receipt.Opening
	// Adapters are the headers of those that the receipt names, each by a proof
	// for AdapterRequest. Without any the array ends before them.
	Adapters [][]byte
}

// The two forms of a Description.
type (
	plainDescription struct {
		_       struct{} `cbor:",toarray"`
		Model   []byte
		Opening *receipt.Opening
	}
	adaptedDescription struct {
		_        struct{} `cbor:",toarray"`
		Model    []byte
		Opening  *receipt.Opening
		Adapters [][]byte
	}
)

// Encode is the canonical encoding of a description.
func (d *Description) Encode() ([]byte, error) {
	if len(d.Adapters) == 0 {
		return canon.Marshal(&plainDescription{Model: d.Model, Opening: d.Opening})
	}
	return canon.Marshal(&adaptedDescription{Model: d.Model, Opening: d.Opening, Adapters: d.Adapters})
}

// decodeDescription reads the one for a receipt with so many adapters.
func decodeDescription(data []byte, adapters int) (*Description, error) {
	if adapters == 0 {
		var d plainDescription
		err := canon.Unmarshal(data, &d)
		return &Description{Model: d.Model, Opening: d.Opening}, err
	}
	var d adaptedDescription
	if err := canon.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if len(d.Adapters) != adapters {
		return nil, fmt.Errorf("the headers of %d adapters, the receipt names %d", len(d.Adapters), adapters)
	}
	return &Description{Model: d.Model, Opening: d.Opening, Adapters: d.Adapters}, nil
}

// AdapterRequest is what the proof of an adapter's header for a cell shows.
func AdapterRequest(c Cell) fingerprint.Request {
	q := fingerprint.Request{Keys: adapter.Keys()}
	matrices := []string{"output.weight", "token_embd.weight"}
	if !c.Output {
		q.TensorPrefixes = []string{fmt.Sprintf("blk.%d.", c.Layer)}
		matrices = nil
		if c.Layer == 0 {
			matrices = []string{"token_embd.weight"}
		}
	}
	for _, m := range matrices {
		names := adapter.Tensors(m)
		q.Tensors = append(q.Tensors, names[:]...)
	}
	return q
}

// HeaderRequest is what the proof of a model's header for a cell shows: what
// [operation.PlanLayer] and [operation.PlanOutput] read.
func HeaderRequest(arch string, c Cell) fingerprint.Request {
	q := fingerprint.Request{Keys: []string{"general.architecture"}, KeyPrefixes: []string{arch + "."}}
	if c.Output {
		q.Tensors = []string{"output.weight", "output_norm.weight", "token_embd.weight"}
		return q
	}
	q.TensorPrefixes = []string{fmt.Sprintf("blk.%d.", c.Layer)}
	q.Tensors = []string{"rope_factors_long.weight", "rope_factors_short.weight", "rope_freqs.weight"}
	if c.Layer == 0 {
		q.Tensors = append(q.Tensors, "token_embd.weight")
	}
	return q
}

func (r *receiptRun) facts(proof []byte, root receipt.Hash) (*fingerprint.Facts, error) {
	p, err := fingerprint.Decode(proof)
	if err != nil {
		return nil, err
	}
	return p.Verify(root)
}

// minContext is the context of models whose files name less, unless the
// receipt says otherwise (spec/receipt.md, section 3).
const minContext = 512

// Context is the number of positions that a sequence of a receipt's run may
// have, as package model takes it: 0 for what the file names.
func Context(c *receipt.Claims, h model.Metadata) int {
	if n := c.Params.Context; n != 0 {
		return n
	}
	var arch string
	if v, ok := h.Value("general.architecture"); ok {
		arch, _ = v.Text()
	}
	if v, ok := h.Value(arch + ".context_length"); ok {
		if n, ok := v.Uint(); ok && n < minContext {
			return minContext
		}
	}
	return 0
}

// Plan is that of package operation.
func (r *receiptRun) Plan(c Cell, description []byte) (Plan, Shape, error) {
	if len(description) > maxDescription {
		return nil, Shape{}, fmt.Errorf("%d bytes, want at most %d", len(description), maxDescription)
	}
	d, err := decodeDescription(description, len(r.claims.Adapters))
	if err != nil {
		return nil, Shape{}, err
	}
	facts, err := r.facts(d.Model, r.claims.Model)
	if err != nil {
		return nil, Shape{}, err
	}
	all := []*fingerprint.Facts{facts}
	var adapters []operation.Adapter
	for i, a := range r.claims.Adapters {
		own, err := r.facts(d.Adapters[i], a.File)
		if err != nil {
			return nil, Shape{}, fmt.Errorf("adapter %d: %w", i, err)
		}
		all = append(all, own)
		adapters = append(adapters, operation.Adapter{Header: own, Scale: a.Scale})
	}
	p, shape, err := r.plan(c, facts, d, adapters)
	// A question that a proof leaves open was answered as if there were no
	// such thing. Nothing that followed from that counts.
	for _, f := range all {
		if open := f.Err(); open != nil {
			return nil, Shape{}, open
		}
	}
	if err != nil {
		return nil, Shape{}, err
	}
	return p, shape, nil
}

func (r *receiptRun) plan(c Cell, h model.Header, d *Description, adapters []operation.Adapter) (*operation.Plan, Shape, error) {
	context := Context(&r.claims, h)
	m, err := model.Describe(h, context)
	if err != nil {
		return nil, Shape{}, err
	}
	if n := r.claim.Positions(); n > m.Limit {
		return nil, Shape{}, fmt.Errorf("%w: %d positions, the model has at most %d", ErrImpossible, n, m.Limit)
	}
	tiles := func(numbers, size int) int { return (numbers*size + trace.Tile - 1) / trace.Tile }
	s := m.StateShape()
	shape := Shape{m.Layers, tiles(s.X, 4), tiles(s.KV, 2)}
	if c.Output {
		p, err := r.output(c, h, context, m, d, adapters)
		return p, shape, err
	}
	p, err := r.layer(c, h, context, m, d, adapters)
	return p, shape, err
}

func (r *receiptRun) layer(c Cell, h model.Header, context int, m *model.Description, d *Description, adapters []operation.Adapter) (*operation.Plan, error) {
	cell := operation.LayerCell{Layer: c.Layer, Position: c.Position}
	if c.Layer == 0 {
		id, err := r.ids(c.Position, c.Position+1, d.Opening)
		if err != nil {
			return nil, err
		}
		e, err := m.Embedding()
		if err != nil {
			return nil, err
		}
		if int(id[0]) >= e.Rows {
			return nil, fmt.Errorf("%w: token %d is not in the vocabulary of %d", ErrImpossible, id[0], e.Rows)
		}
		cell.Token = id[0]
	} else if d.Opening != nil {
		return nil, errors.New("an opening that is not needed")
	}
	return operation.PlanLayer(h, context, cell, adapters...)
}

func (r *receiptRun) output(c Cell, h model.Header, context int, m *model.Description, d *Description, adapters []operation.Adapter) (*operation.Plan, error) {
	o, err := r.parameters(d.Opening)
	if err != nil {
		return nil, err
	}
	cell := operation.OutputCell{Index: c.Position, Prompt: r.claim.Prompt, Params: SampleParams(&r.claims, o)}
	cell.Masked = o.Extra != nil && o.Extra.Extra.Grammar != nil
	_, matrix, err := m.Output()
	if err != nil {
		return nil, err
	}
	for id := range cell.Params.LogitBias {
		if int(id) >= matrix.Rows {
			return nil, fmt.Errorf("%w: a bias of token %d, the vocabulary has %d", ErrImpossible, id, matrix.Rows)
		}
	}
	return operation.PlanOutput(h, context, cell, adapters...)
}

// OutputParts is what the Opening of the [Description] of an output cell shows.
func OutputParts(c *receipt.Claims) (p receipt.Part) {
	if c.Params.Bias {
		p |= receipt.PartBias
	}
	if c.Params.Extra {
		p |= receipt.PartExtra
	}
	if !c.Params.Greedy() && c.Seed.Kind != receipt.SeedSelf {
		p |= receipt.PartPrompt
	}
	return p
}

// parameters checks the opening of an output cell.
func (r *receiptRun) parameters(o *receipt.Opening) (*receipt.Opening, error) {
	want := OutputParts(&r.claims)
	if o == nil {
		o = &receipt.Opening{}
		if want != 0 {
			return nil, errors.New("the opening of the parameters is missing")
		}
		return o, nil
	}
	if o.Parts() != want || want == 0 || len(o.PromptRanges)+len(o.OutputRanges) > 0 {
		return nil, errors.New("the opening shows other parts than those that are needed")
	}
	return o, r.opened(o)
}

// opened checks whatever an opening shows against the receipt.
func (r *receiptRun) opened(o *receipt.Opening) error {
	for _, c := range o.Check(&r.claims) {
		if !c.Passed() {
			return fmt.Errorf("the opening: %s", c)
		}
	}
	return nil
}

// SampleParams is how a run draws its tokens. The opening shows what
// [OutputParts] names.
func SampleParams(c *receipt.Claims, o *receipt.Opening) sample.Params {
	p := sample.Params{
		Temperature: c.Params.Temperature, TopK: c.Params.TopK, TopP: c.Params.TopP, MinP: c.Params.MinP,
		RepeatPenalty: c.Params.RepeatPenalty, FrequencyPenalty: c.Params.FrequencyPenalty,
		PresencePenalty: c.Params.PresencePenalty, RepeatLastN: c.Params.RepeatLastN,
	}
	if o.Bias != nil {
		p.LogitBias = o.Bias.Bias
	}
	if !c.Params.Greedy() {
		var prompt []int32
		if o.Prompt != nil {
			prompt = o.Prompt.IDs
		}
		p.Seed = c.Seed.Derive(prompt)
	}
	return p
}

// Tokens opens ids: those asked for, in a range of the prompt, or of the drawn
// ids, or one of each.
func (r *receiptRun) Tokens(from, to int, opening []byte) ([]byte, error) {
	var o receipt.Opening
	if err := canon.Unmarshal(opening, &o); err != nil {
		return nil, err
	}
	ids, err := r.ids(from, to, &o)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return b, nil
}

func (r *receiptRun) ids(from, to int, o *receipt.Opening) ([]int32, error) {
	if o == nil || o.Parts() != 0 {
		return nil, errors.New("want an opening of ranges of ids, and of nothing else")
	}
	var ids []int32
	for _, part := range []struct {
		ranges []receipt.Range
		from   int
		to     int
	}{
		{o.PromptRanges, from, min(to, r.claim.Prompt)},
		{o.OutputRanges, max(from-r.claim.Prompt, 0), to - r.claim.Prompt},
	} {
		want := 0
		if part.from < part.to {
			want = 1
		}
		if len(part.ranges) != want {
			return nil, fmt.Errorf("%d ranges of ids, want %d", len(part.ranges), want)
		}
		for _, x := range part.ranges {
			if x.From != part.from || len(x.IDs) != part.to-part.from {
				return nil, fmt.Errorf("%d ids from %d on, want %d from %d on", len(x.IDs), x.From, part.to-part.from, part.from)
			}
			ids = append(ids, x.IDs...)
		}
	}
	return ids, r.opened(o)
}

// Tiles opens tiles of the model, or of an adapter.
func (r *receiptRun) Tiles(tensor string, from, to int, proof []byte) ([]byte, error) {
	root := r.claims.Model
	if i, name, ok := operation.OfAdapter(tensor); ok {
		if i >= len(r.claims.Adapters) {
			return nil, fmt.Errorf("the receipt has no adapter %d", i)
		}
		root, tensor = r.claims.Adapters[i].File, name
	}
	facts, err := r.facts(proof, root)
	if err != nil {
		return nil, err
	}
	var b []byte
	for i := from; i < to; i++ {
		tile, ok := facts.Tile(tensor, i)
		if !ok {
			return nil, errors.Join(fmt.Errorf("tile %d is not shown", i), facts.Err())
		}
		b = append(b, tile...)
	}
	return b, nil
}
