package operation

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// Kind says where the bytes of an [Input] come from.
type Kind uint8

// The kinds of inputs.
const (
	// Leaves are values of leaves From to To-1 of operation Op of this cell.
	Leaves Kind = iota
	// X are tiles From to To-1 of x(Layer, Position).
	X
	// KV are tiles From to To-1 of kv(Layer, Position).
	KV
	// Tokens are the ids at From to To-1 of the run, the prompt's and then the
	// drawn ones: 4 bytes each, little endian.
	Tokens
	// Tiles are tiles From to To-1 of the data of Tensor (internal/fingerprint).
	Tiles
)

// Input is something that the value of a leaf depends on: pieces From to To-1
// of a list of byte strings that someone committed to.
type Input struct {
	Kind            Kind
	Op              int    // of Leaves
	Layer, Position int    // of X and KV
	Tensor          string // of Tiles; that of an adapter is named by AdapterTensor
	From, To        int
}

// Op is an operation of a cell: a list of leaves.
type Op struct {
	Name   string
	Leaves int
}

// Plan is the canonical list of the operations of a cell. It does not change
// and is safe for concurrent use.
type Plan struct {
	ops     []op
	first   []int // place of each operation's first leaf among all, and the number of all
	tensors map[string]fingerprint.Tiling
	x, kv   layout // of the tiles of a state
	result  int    // operation whose root is that of x, or whose leaf is the token
	store   int    // operation whose root is that of kv, or -1
}

// op is one operation.
type op struct {
	name   string
	leaves int
	at     func(leaf int) int       // where a leaf's value begins among all; that of leaves is the length of all
	ask    func(l *needs, leaf int) // what the value of a leaf depends on
	eval   func(s *step)

	product *product // what Compute does in place of eval, if not nil
}

// ErrInput marks inputs of [Plan.Eval] that are not those that the leaf needs.
var ErrInput = errors.New("not the inputs of this leaf")

// maxBytes bounds the values of a cell.
const maxBytes = min(1<<44, math.MaxInt)

// Ops lists the operations, in their order.
func (p *Plan) Ops() []Op {
	list := make([]Op, len(p.ops))
	for i, o := range p.ops {
		list[i] = Op{o.name, o.leaves}
	}
	return list
}

// Leaves is the number of leaves of all operations.
func (p *Plan) Leaves() int { return p.first[len(p.ops)] }

// Flat is the place of a leaf among those of all operations.
func (p *Plan) Flat(op, leaf int) int { return p.first[op] + leaf }

// At is the operation and the leaf at a place among all leaves.
func (p *Plan) At(flat int) (op, leaf int) {
	for p.first[op+1] <= flat {
		op++
	}
	return op, flat - p.first[op]
}

// Has reports whether there is such a leaf.
func (p *Plan) Has(op, leaf int) bool {
	return op >= 0 && op < len(p.ops) && leaf >= 0 && leaf < p.ops[op].leaves
}

// Size is the length of the value of a leaf.
func (p *Plan) Size(op, leaf int) int { return p.ops[op].at(leaf+1) - p.ops[op].at(leaf) }

// State tells the operations whose roots are those of x and kv of the cell's
// state. ok is false for an output cell.
func (p *Plan) State() (x, kv int, ok bool) { return p.result, p.store, p.store >= 0 }

// Token reads the value of the last leaf of an output cell: the id chosen, or
// -1 if nothing can be chosen.
func (p *Plan) Token(value []byte) (int32, error) {
	if p.store >= 0 || len(value) != 4 {
		return 0, fmt.Errorf("%w: %d bytes are not the choice of an output cell", ErrInput, len(value))
	}
	return int32(binary.LittleEndian.Uint32(value)), nil
}

// Pieces are the lengths of the pieces of an input.
func (p *Plan) Pieces(in Input) []int {
	sizes := make([]int, in.To-in.From)
	for i := range sizes {
		one := in
		one.From, one.To = in.From+i, in.From+i+1
		sizes[i] = p.bytes(one)
	}
	return sizes
}

// bytes is the length of an input.
func (p *Plan) bytes(in Input) int {
	switch in.Kind {
	case Leaves:
		return p.ops[in.Op].at(in.To) - p.ops[in.Op].at(in.From)
	case X:
		return p.x.at(in.To) - p.x.at(in.From)
	case KV:
		return p.kv.at(in.To) - p.kv.at(in.From)
	case Tokens:
		return 4 * (in.To - in.From)
	}
	_, n := p.tensors[in.Tensor].Range(in.From, in.To)
	return int(n)
}

// needs collects the inputs of a leaf.
type needs struct {
	plan *Plan
	list []need
	prev bool // the first one is the state that a chain goes on from
}

// need is an input and the part of its bytes that the leaf looks at.
type need struct {
	Input
	skip, size int
	want       []byte // what the bytes must be, if not nil
}

// step is the evaluation of a leaf.
type step struct {
	leaf int
	prev []byte   // the state that a chain goes on from, nil at its start
	in   [][]byte // the parts of the inputs
	out  []byte   // the value
}

func (l *needs) add(in Input, skip, size int) {
	l.list = append(l.list, need{Input: in, skip: skip, size: size})
}

// chain asks for the leaf of op itself that this one goes on from. It must be
// the first thing that a leaf needs.
func (l *needs) chain(op, leaf int) {
	l.leaf(op, leaf)
	l.prev = true
}

func (l *needs) leaf(op, leaf int) { l.leaves(op, leaf, leaf+1) }

func (l *needs) leaves(op, from, to int) {
	in := Input{Kind: Leaves, Op: op, From: from, To: to}
	l.add(in, 0, l.plan.bytes(in))
}

// vector asks for numbers from to to-1 of v.
func (l *needs) vector(v vector, from, to int) {
	y := v.layout
	in := v.in
	in.From, in.To = y.find(v.off+from), y.find(v.off+to-1)+1
	l.add(in, (v.off+from)*y.size-y.at(in.From), (to-from)*y.size)
}

// needsOf lists what a leaf needs.
func (p *Plan) needsOf(l *needs, op, leaf int) {
	*l = needs{plan: p, list: l.list[:0]}
	p.ops[op].ask(l, leaf)
}

// Inputs lists what the value of a leaf depends on; nil if there is no such
// leaf. Leaves among them are before it.
func (p *Plan) Inputs(op, leaf int) []Input {
	if !p.Has(op, leaf) {
		return nil
	}
	var l needs
	p.needsOf(&l, op, leaf)
	list := make([]Input, len(l.list))
	for i, n := range l.list {
		list[i] = n.Input
	}
	return list
}

// Eval computes the value of a leaf from the bytes of its inputs, the pieces of
// each one after the other. It is defined for all bytes of the right lengths:
// if it fails, the leaf does not exist or the inputs are not its.
func (p *Plan) Eval(op, leaf int, inputs [][]byte) ([]byte, error) {
	if !p.Has(op, leaf) {
		return nil, fmt.Errorf("%w: there is no leaf %d of operation %d", ErrInput, leaf, op)
	}
	var l needs
	p.needsOf(&l, op, leaf)
	if len(inputs) != len(l.list) {
		return nil, fmt.Errorf("%w: leaf %d of %s takes %d inputs, not %d", ErrInput, leaf, p.ops[op].name, len(l.list), len(inputs))
	}
	for i, n := range l.list {
		if want := p.bytes(n.Input); len(inputs[i]) != want {
			return nil, fmt.Errorf("%w: input %d of leaf %d of %s has %d bytes, want %d", ErrInput, i, leaf, p.ops[op].name, len(inputs[i]), want)
		}
		if n.want != nil && !bytes.Equal(n.want, inputs[i]) {
			return nil, fmt.Errorf("%w: the plan is of token %x, not %x", ErrInput, n.want, inputs[i])
		}
	}
	out := make([]byte, p.Size(op, leaf))
	p.eval(out, op, leaf, &l, inputs)
	return out, nil
}

func (p *Plan) eval(out []byte, op, leaf int, l *needs, inputs [][]byte) {
	s := step{leaf: leaf, out: out}
	for i, n := range l.list {
		s.in = append(s.in, inputs[i][n.skip:n.skip+n.size])
	}
	if l.prev {
		s.prev, s.in = s.in[0], s.in[1:]
	}
	p.ops[op].eval(&s)
}

// CellRoot is the root of a cell, from those of its operations.
func CellRoot(ops []canon.Hash) canon.Hash {
	var b canon.Builder
	for _, h := range ops {
		b.Add(canon.Leaf(h[:]))
	}
	return b.Root()
}
