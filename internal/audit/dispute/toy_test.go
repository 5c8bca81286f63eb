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
)

// The toy is a computation with every kind of input that a real one has, where
// each leaf is a hash of its coordinates and inputs, stretched. It has a model
// of random tiles, ids under salts, and a receipt that is only a hash.

const (
	toyTile  = 2048
	toyX     = toyTile + 8  // bytes of x: two tiles
	toyKV    = toyTile + 20 // bytes of kv
	toyVocab = 8
	toyChunk = 4 // positions of a chain's leaf
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
		m.tiles = append(m.tiles, randomBytes(r, 30))
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

func (m *toyModel) weights(n dispute.Need) []byte {
	return must(canon.Marshal(&toyTileProof{Value: m.tiles[n.Tile], Path: canon.Range(m.hashed(), n.Tile, n.Tile+1)}))
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
	param byte       // goes into every leaf of an output cell
}

func (r *toyRun) Claim() dispute.Claim { return r.claim }

type toyID struct {
	_    struct{} `cbor:",toarray"`
	Salt []byte
	ID   int32
	Path []canon.Hash
}

func saltedID(salt []byte, id int32) canon.Hash {
	return canon.Leaf(binary.LittleEndian.AppendUint32(bytes.Clone(salt), uint32(id)))
}

func (r *toyRun) Token(i int, opening []byte) (int32, error) {
	var o toyID
	if err := canon.Unmarshal(opening, &o); err != nil {
		return 0, err
	}
	if len(o.Salt) != 16 {
		return 0, errors.New("a salt of another length")
	}
	root, err := canon.RangeRoot(r.claim.Prompt+r.claim.Drawn, i, []canon.Hash{saltedID(o.Salt, o.ID)}, o.Path)
	if err != nil {
		return 0, err
	}
	if root != r.ids {
		return 0, errors.New("not an id of the receipt")
	}
	return o.ID, nil
}

func (r *toyRun) Plan(c dispute.Cell, description []byte) (dispute.Plan, error) {
	if canon.Leaf(description) != r.model {
		return nil, errors.New("of another model")
	}
	var d toyDescription
	if err := canon.Unmarshal(description, &d); err != nil {
		return nil, err
	}
	if c.Layer >= d.Layers {
		return nil, errors.New("no such layer")
	}
	return &toyPlan{r, c, d}, nil
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
func (p *toyPlan) Operations() []dispute.Operation {
	if p.cell.Output {
		return []dispute.Operation{
			{"logits", p.Tiles},
			{"history", (p.at() + toyChunk) / toyChunk},
			{"token", 1},
		}
	}
	n := p.cell.Position + 1
	return []dispute.Operation{
		{"input", 2},
		{"mix", 2},
		{"store", 2},
		{"gather", n},
		{"sum", (n + toyChunk - 1) / toyChunk},
		{"product", p.Tiles},
		{"x", 2},
	}
}

func (p *toyPlan) Layers() int          { return p.toyDescription.Layers }
func (p *toyPlan) Closing() (x, kv int) { return 6, 2 }
func (p *toyPlan) at() int {
	if p.cell.Output {
		return p.run.claim.Prompt - 1 + p.cell.Position
	}
	return p.cell.Position
}

func earlier(op, from, to int) dispute.Need {
	return dispute.Need{Kind: dispute.Earlier, Operation: op, From: from, To: to}
}

func (p *toyPlan) Needs(op, leaf int) (needs []dispute.Need, err error) {
	weights := dispute.Need{Kind: dispute.Weights, Tile: leaf, Tensor: "tiles"}
	x := func(tile, layer int) dispute.Need {
		return dispute.Need{Kind: dispute.X, Tile: tile, Tiles: 2, Layer: layer}
	}
	if p.cell.Output {
		switch op {
		case 0:
			return []dispute.Need{x(leaf%2, p.Layers()-1), weights}, nil
		case 1:
			if leaf > 0 {
				needs = append(needs, earlier(1, leaf-1, leaf))
			}
			for i := leaf * toyChunk; i <= min(p.at(), leaf*toyChunk+toyChunk-1); i++ {
				needs = append(needs, dispute.Need{Kind: dispute.Token, Position: i})
			}
			return needs, nil
		}
		return []dispute.Need{earlier(0, 0, p.Tiles), earlier(1, p.at()/toyChunk, p.at()/toyChunk+1)}, nil
	}
	n := p.cell.Position + 1
	switch op {
	case 0:
		if p.cell.Layer == 0 {
			return []dispute.Need{{Kind: dispute.Token, Position: p.cell.Position}}, nil
		}
		return []dispute.Need{x(leaf, p.cell.Layer-1)}, nil
	case 1:
		needs = append(needs, earlier(0, leaf, leaf+1))
		if leaf > 0 {
			needs = append(needs, earlier(1, leaf-1, leaf))
		}
		return needs, nil
	case 2:
		return []dispute.Need{earlier(1, 1, 2), {Kind: dispute.Weights, Tile: 0, Tensor: "tiles"}}, nil
	case 3:
		if leaf == p.cell.Position {
			return []dispute.Need{earlier(2, 0, 2)}, nil
		}
		return []dispute.Need{{Kind: dispute.KV, Layer: p.cell.Layer, Position: leaf, Tile: leaf % 2, Tiles: 2}}, nil
	case 4:
		if leaf > 0 {
			needs = append(needs, earlier(4, leaf-1, leaf))
		}
		return append(needs, earlier(3, leaf*toyChunk, min(n, leaf*toyChunk+toyChunk))), nil
	case 5:
		sum := (n - 1) / toyChunk
		return []dispute.Need{earlier(4, sum, sum+1), weights}, nil
	}
	return []dispute.Need{earlier(0, leaf, leaf+1), earlier(5, 0, p.Tiles)}, nil
}

func (p *toyPlan) Weights(n dispute.Need, proof []byte) ([]byte, error) {
	var t toyTileProof
	if err := canon.Unmarshal(proof, &t); err != nil {
		return nil, err
	}
	root, err := canon.RangeRoot(p.Tiles, n.Tile, []canon.Hash{canon.Leaf(t.Value)}, t.Path)
	if err != nil {
		return nil, err
	}
	if root != p.Root {
		return nil, errors.New("not a tile of the model")
	}
	return t.Value, nil
}

func (p *toyPlan) Eval(op, leaf int, inputs [][][]byte) ([]byte, error) {
	parts := [][]byte{fmt.Append(nil, p.cell.Output, op, leaf)}
	if p.cell.Output {
		parts = append(parts, []byte{p.run.param})
	}
	for _, in := range inputs {
		parts = append(parts, in...)
	}
	h := canon.Sum("toy", parts...)
	size := 32
	switch {
	case p.cell.Output && op == 2:
		return binary.LittleEndian.AppendUint32(nil, uint32(h[0]%toyVocab)), nil
	case !p.cell.Output && op == 0, !p.cell.Output && op == 6:
		size = []int{toyTile, toyX - toyTile}[leaf]
	case !p.cell.Output && op == 2:
		size = []int{toyTile, toyKV - toyTile}[leaf]
	}
	return stretch(h, size), nil
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
	shown func(c dispute.Cell, values [][][]byte) [][][]byte
}

// cell computes the values of a cell.
func (t *toyParty) Cell(c dispute.Cell) ([][][]byte, error) {
	v, err := t.compute(c)
	if err == nil && t.shown != nil {
		v = t.shown(c, v)
	}
	return v, err
}

func (t *toyParty) compute(c dispute.Cell) ([][][]byte, error) {
	p := &toyPlan{t.run, c, toyDescription{Layers: t.layers, Tiles: len(t.model.tiles)}}
	var values [][][]byte
	for op, o := range p.Operations() {
		values = append(values, nil)
		for leaf := range o.Leaves {
			needs, err := p.Needs(op, leaf)
			if err != nil {
				return nil, err
			}
			var in [][][]byte
			for _, n := range needs {
				in = append(in, t.need(p, n, values))
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

func (t *toyParty) need(p *toyPlan, n dispute.Need, values [][][]byte) [][]byte {
	switch n.Kind {
	case dispute.Earlier:
		return values[n.Operation][n.From:n.To]
	case dispute.X:
		return [][]byte{tileOf(t.x[n.Layer][p.at()], n.Tile)}
	case dispute.KV:
		return [][]byte{tileOf(t.kv[n.Layer][n.Position], n.Tile)}
	case dispute.Token:
		return [][]byte{binary.LittleEndian.AppendUint32(nil, uint32(t.ids[n.Position]))}
	}
	return [][]byte{t.model.tiles[n.Tile]}
}

func tileOf(v []byte, tile int) []byte { return v[tile*toyTile : min(len(v), (tile+1)*toyTile)] }

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
			rx, rkv := canon.VectorRoot(x, toyTile), canon.VectorRoot(kv, toyTile)
			t.states[l] = append(t.states[l], canon.Leaf(append(rx[:], rkv[:]...)))
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
func (t *toyParty) Weights(_ dispute.Cell, n dispute.Need) ([]byte, error) {
	return t.model.weights(n), nil
}

func (t *toyParty) saltedIDs() []canon.Hash {
	var h []canon.Hash
	for i, id := range t.ids {
		h = append(h, saltedID(t.salts[i], id))
	}
	return h
}

func (t *toyParty) Opening(i int) ([]byte, error) {
	return canon.Marshal(&toyID{Salt: t.salts[i], ID: t.ids[i], Path: canon.Range(t.saltedIDs(), i, i+1)})
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
	g.run = &toyRun{model: model.root(), param: byte(r.Uint32())}
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
	var trace canon.Hash
	if s.trace {
		g.salt = randomBytes(r, 16)
		trace = toyCommitment(g.salt, p.states)
		c.Trace = &trace
	}
	c.Receipt = canon.Sum("toy receipt", g.run.model[:], g.run.ids[:], c.Key, []byte{g.run.param}, trace[:])
	g.challenger = &toyParty{run: g.run, model: model, layers: s.layers, ids: p.ids, salts: p.salts}
	g.challenger.computeAll()
	return g
}

func toyCommitment(salt []byte, states [][]canon.Hash) canon.Hash {
	var roots []canon.Hash
	for _, l := range states {
		root := canon.Root(l)
		roots = append(roots, canon.Leaf(root[:]))
	}
	root, n := canon.Root(roots), 0
	if len(states) > 0 {
		n = len(states[0])
	}
	u64 := func(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	return canon.Sum("aval trace/1", salt, root[:], u64(len(states)), u64(n))
}

func (g *toyGame) terms(fanout int) dispute.Terms {
	return dispute.Terms{Challenger: g.key.Public().(ed25519.PublicKey), Move: 20, Total: 100, Fanout: fanout}
}
