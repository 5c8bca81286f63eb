package dispute_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/trace"
)

// The toy is a computation with every kind of input that a real one has, where
// each leaf is a hash of its coordinates and inputs, stretched. It has a model
// of random tiles, ids under salts, and a receipt that is only a hash.

const (
	toyX       = trace.Tile + 8  // bytes of x: two tiles
	toyKV      = trace.Tile + 20 // bytes of kv
	toyWeights = 30              // bytes of a tile of the model
	toyVocab   = 8
	toyChunk   = 4 // positions of a chain's leaf
)

// toyModel is a model: what the description says, and tiles.
type toyModel struct {
	layers int
	tiles  [][]byte
}

type toyDescription struct {
	_      struct{} `cbor:",toarray"`
	Layers int
	Tiles  int
	Root   canon.Hash // of the tiles
}

func newToyModel(r *rand.Rand, layers int) *toyModel {
	m := &toyModel{layers: layers}
	for range 3 + r.IntN(8) {
		m.tiles = append(m.tiles, randomBytes(r, toyWeights))
	}
	return m
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (m *toyModel) hashed() []canon.Hash {
	var h []canon.Hash
	for _, t := range m.tiles {
		h = append(h, canon.Leaf(t))
	}
	return h
}

func (m *toyModel) description() []byte {
	return must(canon.Marshal(&toyDescription{Layers: m.layers, Tiles: len(m.tiles), Root: canon.Root(m.hashed())}))
}

func (m *toyModel) root() canon.Hash { return canon.Leaf(m.description()) }

type toyTileProof struct {
	_     struct{} `cbor:",toarray"`
	Value []byte
	Path  []canon.Hash
}

func (m *toyModel) weights(i int) []byte {
	return must(canon.Marshal(&toyTileProof{Value: m.tiles[i], Path: canon.Range(m.hashed(), i, i+1)}))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// toyRun is the receipt.
type toyRun struct {
	claim dispute.Claim
	model canon.Hash
	ids   canon.Hash // root of the tree over salted ids
	tiles canon.Hash // of the model; the description has it too
	count int        // of the tiles
	param byte       // goes into every leaf of an output cell
}

func (r *toyRun) Claim() dispute.Claim { return r.claim }

type toyIDs struct {
	_     struct{} `cbor:",toarray"`
	Salts [][]byte
	IDs   []int32
	Path  []canon.Hash
}

func saltedID(salt []byte, id int32) canon.Hash {
	return canon.Leaf(binary.LittleEndian.AppendUint32(bytes.Clone(salt), uint32(id)))
}

func (r *toyRun) Tokens(from, to int, opening []byte) ([]byte, error) {
	var o toyIDs
	if err := canon.Unmarshal(opening, &o); err != nil {
		return nil, err
	}
	if len(o.IDs) != to-from || len(o.Salts) != len(o.IDs) {
		return nil, errors.New("another number of ids")
	}
	var leaves []canon.Hash
	for i, id := range o.IDs {
		if len(o.Salts[i]) != 16 {
			return nil, errors.New("a salt of another length")
		}
		leaves = append(leaves, saltedID(o.Salts[i], id))
	}
	root, err := canon.RangeRoot(r.claim.Prompt+r.claim.Drawn, from, leaves, o.Path)
	if err != nil {
		return nil, err
	}
	if root != r.ids {
		return nil, errors.New("not ids of the receipt")
	}
	return idBytes(o.IDs), nil
}

func idBytes(ids []int32) (b []byte) {
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return b
}

func (r *toyRun) Plan(c dispute.Cell, description []byte) (dispute.Plan, dispute.Shape, error) {
	if canon.Leaf(description) != r.model {
		return nil, dispute.Shape{}, errors.New("of another model")
	}
	var d toyDescription
	if err := canon.Unmarshal(description, &d); err != nil {
		return nil, dispute.Shape{}, err
	}
	if c.Layer >= d.Layers {
		return nil, dispute.Shape{}, errors.New("no such layer")
	}
	return &toyPlan{r, c, d}, dispute.Shape{Layers: d.Layers, X: 2, KV: 2}, nil
}

func (r *toyRun) Tiles(_ string, from, to int, proof []byte) ([]byte, error) {
	var t toyTileProof
	if err := canon.Unmarshal(proof, &t); err != nil {
		return nil, err
	}
	if len(t.Value) != toyWeights || to != from+1 {
		return nil, errors.New("a tile of another size")
	}
	root, err := canon.RangeRoot(r.count, from, []canon.Hash{canon.Leaf(t.Value)}, t.Path)
	if err != nil {
		return nil, err
	}
	if root != r.tiles {
		return nil, errors.New("not a tile of the model")
	}
	return t.Value, nil
}

// toyPlan is the plan of a cell.
type toyPlan struct {
	run  *toyRun
	cell dispute.Cell
	toyDescription
}

// The operations of a layer's cell: the input, a chain over it, kv, the copies
// of kv up to here, a chain over chunks of them, one leaf a tile of the model, x.
// Of an output cell: one leaf a tile of the model, a chain over the ids so far,
// the token.
func (p *toyPlan) Ops() []operation.Op {
	if p.cell.Output {
		return []operation.Op{
			{Name: "logits", Leaves: p.Tiles},
			{Name: "history", Leaves: (p.at() + toyChunk) / toyChunk},
			{Name: "token", Leaves: 1},
		}
	}
	n := p.cell.Position + 1
	return []operation.Op{
		{Name: "input", Leaves: 2},
		{Name: "mix", Leaves: 2},
		{Name: "store", Leaves: 2},
		{Name: "gather", Leaves: n},
		{Name: "sum", Leaves: (n + toyChunk - 1) / toyChunk},
		{Name: "product", Leaves: p.Tiles},
		{Name: "x", Leaves: 2},
	}
}

func (p *toyPlan) State() (x, kv int, ok bool) { return 6, 2, !p.cell.Output }

func (p *toyPlan) at() int {
	if p.cell.Output {
		return p.run.claim.Prompt - 1 + p.cell.Position
	}
	return p.cell.Position
}

func earlier(op, from, to int) operation.Input {
	return operation.Input{Kind: operation.Leaves, Op: op, From: from, To: to}
}

func tokens(from, to int) operation.Input {
	return operation.Input{Kind: operation.Tokens, From: from, To: to}
}

func (p *toyPlan) Inputs(op, leaf int) (needs []operation.Input) {
	weights := operation.Input{Kind: operation.Tiles, From: leaf, To: leaf + 1, Tensor: "tiles"}
	x := func(layer, from, to int) operation.Input {
		return operation.Input{Kind: operation.X, From: from, To: to, Layer: layer, Position: p.at()}
	}
	if p.cell.Output {
		switch op {
		case 0:
			return []operation.Input{x(p.Layers-1, leaf%2, 2), weights}
		case 1:
			if leaf > 0 {
				needs = append(needs, earlier(1, leaf-1, leaf))
			}
			return append(needs, tokens(leaf*toyChunk, min(p.at()+1, leaf*toyChunk+toyChunk)))
		}
		return []operation.Input{earlier(0, 0, p.Tiles), earlier(1, p.at()/toyChunk, p.at()/toyChunk+1)}
	}
	n := p.cell.Position + 1
	switch op {
	case 0:
		if p.cell.Layer == 0 {
			return []operation.Input{tokens(p.cell.Position, p.cell.Position+1)}
		}
		return []operation.Input{x(p.cell.Layer-1, 0, leaf+1)}
	case 1:
		needs = append(needs, earlier(0, leaf, leaf+1))
		if leaf > 0 {
			needs = append(needs, earlier(1, leaf-1, leaf))
		}
		return needs
	case 2:
		return []operation.Input{earlier(1, 1, 2), {Kind: operation.Tiles, From: 0, To: 1, Tensor: "tiles"}}
	case 3:
		if leaf == p.cell.Position {
			return []operation.Input{earlier(2, 0, 2)}
		}
		return []operation.Input{{Kind: operation.KV, Layer: p.cell.Layer, Position: leaf, From: leaf % 2, To: leaf%2 + 1}}
	case 4:
		if leaf > 0 {
			needs = append(needs, earlier(4, leaf-1, leaf))
		}
		return append(needs, earlier(3, leaf*toyChunk, min(n, leaf*toyChunk+toyChunk)))
	case 5:
		sum := (n - 1) / toyChunk
		return []operation.Input{earlier(4, sum, sum+1), weights}
	}
	return []operation.Input{earlier(0, leaf, leaf+1), earlier(5, 0, p.Tiles)}
}

// size is the length of a leaf.
func (p *toyPlan) size(op, leaf int) int {
	switch {
	case p.cell.Output && op == 2:
		return 4
	case !p.cell.Output && (op == 0 || op == 6):
		return []int{trace.Tile, toyX - trace.Tile}[leaf]
	case !p.cell.Output && op == 2:
		return []int{trace.Tile, toyKV - trace.Tile}[leaf]
	}
	return 32
}

func (p *toyPlan) Pieces(in operation.Input) (sizes []int) {
	for i := in.From; i < in.To; i++ {
		switch in.Kind {
		case operation.Leaves:
			sizes = append(sizes, p.size(in.Op, i))
		case operation.X:
			sizes = append(sizes, []int{trace.Tile, toyX - trace.Tile}[i])
		case operation.KV:
			sizes = append(sizes, []int{trace.Tile, toyKV - trace.Tile}[i])
		case operation.Tokens:
			sizes = append(sizes, 4)
		default:
			sizes = append(sizes, toyWeights)
		}
	}
	return sizes
}

func (p *toyPlan) Eval(op, leaf int, inputs [][]byte) ([]byte, error) {
	for i, in := range p.Inputs(op, leaf) {
		size := 0
		for _, n := range p.Pieces(in) {
			size += n
		}
		if len(inputs[i]) != size {
			return nil, errors.New("an input of another length")
		}
	}
	parts := append([][]byte{fmt.Append(nil, p.cell.Output, op, leaf)}, inputs...)
	if p.cell.Output {
		parts = append(parts, []byte{p.run.param})
	}
	h := canon.Sum("toy", parts...)
	if p.cell.Output && op == 2 {
		return binary.LittleEndian.AppendUint32(nil, uint32(h[0]%toyVocab)), nil
	}
	return stretch(h, p.size(op, leaf)), nil
}

func stretch(h canon.Hash, size int) []byte {
	return bytes.Repeat(h[:], size/32+1)[:size]
}

// toyParty computes a run and is the source and the witness of a party. Faults
// make it wrong.
type toyParty struct {
	run    *toyRun
	model  *toyModel
	ids    []int32  // prompt, then drawn
	salts  [][]byte // of the ids
	layers int
	x, kv  [][][]byte // [layer][position]
	states [][]canon.Hash
	output int // first wrong output, or -1

	// fault changes the value of a leaf, before others use it.
	fault func(c dispute.Cell, op, leaf int, v []byte) []byte
	// shown changes what is shown of a cell, after it was computed.
	shown func(c dispute.Cell, values toyValues) toyValues
}

// toyValues are the values of a cell.
type toyValues [][][]byte

func (v toyValues) Leaf(op, leaf int) []byte { return v[op][leaf] }
func (v toyValues) Hashes(op int) (h []canon.Hash) {
	for _, b := range v[op] {
		h = append(h, canon.Leaf(b))
	}
	return h
}

func (t *toyParty) Cell(c dispute.Cell) (dispute.Values, int, error) {
	v, err := t.compute(c)
	if err == nil && t.shown != nil {
		v = t.shown(c, v)
	}
	return v, len(v), err
}

// compute computes the values of a cell.
func (t *toyParty) compute(c dispute.Cell) (toyValues, error) {
	p := &toyPlan{t.run, c, toyDescription{Layers: t.layers, Tiles: len(t.model.tiles)}}
	var values toyValues
	for op, o := range p.Ops() {
		values = append(values, nil)
		for leaf := range o.Leaves {
			var in [][]byte
			for _, n := range p.Inputs(op, leaf) {
				in = append(in, t.input(n, values))
			}
			v, err := p.Eval(op, leaf, in)
			if err != nil {
				return nil, err
			}
			if t.fault != nil {
				v = t.fault(c, op, leaf, v)
			}
			values[op] = append(values[op], v)
		}
	}
	return values, nil
}

func (t *toyParty) input(n operation.Input, values toyValues) []byte {
	switch n.Kind {
	case operation.Leaves:
		return bytes.Join(values[n.Op][n.From:n.To], nil)
	case operation.X:
		return tilesOf(t.x[n.Layer][n.Position], n.From, n.To)
	case operation.KV:
		return tilesOf(t.kv[n.Layer][n.Position], n.From, n.To)
	case operation.Tokens:
		return idBytes(t.ids[n.From:n.To])
	}
	return t.model.tiles[n.From]
}

func tilesOf(v []byte, from, to int) []byte { return v[from*trace.Tile : min(len(v), to*trace.Tile)] }

// computeAll computes all states, and the tokens if their number is not yet
// that of the run.
func (t *toyParty) computeAll() {
	c := t.run.claim
	t.x, t.kv, t.states, t.output = nil, nil, nil, -1
	for range t.layers {
		t.x, t.kv, t.states = append(t.x, nil), append(t.kv, nil), append(t.states, nil)
	}
	for p := range c.Positions() {
		for l := range t.layers {
			v := must(t.compute(dispute.Cell{Layer: l, Position: p}))
			x, kv := bytes.Join(v[6], nil), bytes.Join(v[2], nil)
			t.x[l], t.kv[l] = append(t.x[l], x), append(t.kv[l], kv)
			t.states[l] = append(t.states[l], trace.State(x, kv))
		}
		i := p - c.Prompt + 1
		if i < 0 {
			continue
		}
		v := must(t.compute(dispute.Cell{Output: true, Position: i}))
		id := int32(binary.LittleEndian.Uint32(v[2][0]))
		if len(t.ids) == c.Prompt+i {
			t.ids = append(t.ids, id)
		} else if t.ids[c.Prompt+i] != id && t.output < 0 {
			t.output = i
		}
	}
}

func (t *toyParty) States() ([][]canon.Hash, error) { return t.states, nil }
func (t *toyParty) Output() (int, bool)             { return t.output, t.output >= 0 }
func (t *toyParty) State(l, p int) (x, kv []byte, err error) {
	return t.x[l][p], t.kv[l][p], nil
}

func (t *toyParty) Description(dispute.Cell) ([]byte, error) { return t.model.description(), nil }

func (t *toyParty) Tiles(_ string, from, _ int) ([]byte, error) { return t.model.weights(from), nil }

func (t *toyParty) saltedIDs() []canon.Hash {
	var h []canon.Hash
	for i, id := range t.ids {
		h = append(h, saltedID(t.salts[i], id))
	}
	return h
}

func (t *toyParty) Opening(from, to int) ([]byte, error) {
	return canon.Marshal(&toyIDs{Salts: t.salts[from:to], IDs: t.ids[from:to], Path: canon.Range(t.saltedIDs(), from, to)})
}

// toyKey is a key pair from a seed.
func toyKey(r *rand.Rand) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize))
}

// toyGame is a receipt and all that both sides know of it.
type toyGame struct {
	run        *toyRun
	prover     *toyParty
	proverKey  ed25519.PrivateKey
	salt       []byte // of the trace, nil if the receipt has none
	challenger *toyParty
	key        ed25519.PrivateKey // the challenger's
}

type toyShape struct {
	layers, prompt, drawn int
	trace                 bool // the receipt has a trace commitment
}

// newToyGame makes a receipt of a run that the fault makes wrong, if there is
// one. tamper changes the prover before it signs. The challenger computes the
// receipt's ids again, without faults.
func newToyGame(r *rand.Rand, s toyShape, fault func(*toyParty) func(dispute.Cell, int, int, []byte) []byte, tamper func(*toyParty)) *toyGame {
	g := &toyGame{proverKey: toyKey(r), key: toyKey(r)}
	model := newToyModel(r, s.layers)
	g.run = &toyRun{model: model.root(), tiles: canon.Root(model.hashed()), count: len(model.tiles), param: byte(r.Uint32())}
	c := &g.run.claim
	c.Prompt, c.Drawn, c.Key = s.prompt, s.drawn, g.proverKey.Public().(ed25519.PublicKey)
	p := &toyParty{run: g.run, model: model, layers: s.layers}
	for range s.prompt {
		p.ids = append(p.ids, int32(r.IntN(toyVocab)))
	}
	for range s.prompt + s.drawn {
		p.salts = append(p.salts, randomBytes(r, 16))
	}
	if fault != nil {
		p.fault = fault(p)
	}
	p.computeAll()
	if tamper != nil {
		tamper(p)
	}
	g.prover = p
	g.run.ids = canon.Root(p.saltedIDs())
	if s.trace {
		g.salt = randomBytes(r, 16)
		c.Trace = toyCommitment(g.salt, p.states)
	}
	c.Receipt = canon.Sum("toy receipt", g.run.model[:], g.run.ids[:], c.Key, []byte{g.run.param}, c.Trace[:])
	g.challenger = &toyParty{run: g.run, model: model, layers: s.layers, ids: p.ids, salts: p.salts}
	g.challenger.computeAll()
	return g
}

func toyCommitment(salt []byte, states [][]canon.Hash) canon.Hash {
	var roots []canon.Hash
	for _, l := range states {
		roots = append(roots, canon.Root(l))
	}
	n := 0
	if len(states) > 0 {
		n = len(states[0])
	}
	return trace.Commitment(salt, trace.RootOf(roots), len(states), n)
}

func (g *toyGame) terms(fanout int) dispute.Terms {
	return dispute.Terms{Challenger: g.key.Public().(ed25519.PublicKey), Move: 20, Total: 100, Fanout: fanout}
}
