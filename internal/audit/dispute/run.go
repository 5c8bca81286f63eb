package dispute

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/operation"
)

// Cell is one step of a run: what a layer computed at a position, or the
// choice of one output token.
type Cell struct {
	Output   bool // the choice of output token Position; Layer is 0
	Layer    int
	Position int // of a layer's cell: 0 ... N-1; of an output cell: 0 ... D-1
}

func (c Cell) String() string {
	if c.Output {
		return fmt.Sprintf("output %d", c.Position)
	}
	return fmt.Sprintf("layer %d, position %d", c.Layer, c.Position)
}

// Claim is what a receipt says, as far as the game itself reads it.
type Claim struct {
	Receipt canon.Hash        // the receipt's identity
	Key     ed25519.PublicKey // that signed it: the prover's
	Prompt  int               // prompt tokens, P
	Drawn   int               // drawn tokens, D
	Trace   canon.Hash        // the trace commitment; zero if the receipt has none
}

// Positions is the number of positions that the model computed, N: the last
// token drawn is never read.
func (c Claim) Positions() int { return c.Prompt + c.Drawn - 1 }

// Shape is what the trees of a model's states look like.
type Shape struct {
	Layers int
	X, KV  int // tiles of the vectors
}

// ErrImpossible says that no run can be what a receipt says, such as one of
// more positions than the model has.
var ErrImpossible = errors.New("dispute: the receipt's run is impossible")

// Run is the referee's view of what a receipt claims: commitments and rules,
// no model. Its methods are functions of their arguments.
type Run interface {
	Claim() Claim
	// Plan lists what a cell computes. The description is the part of the
	// model, of the parameters and of the ids that says so, with proofs, which
	// are checked against the receipt. The cell is one of the run, but for its
	// layer, which Plan checks. ErrImpossible says that there is no such run.
	Plan(cell Cell, description []byte) (Plan, Shape, error)
	// Tokens are the ids from to to-1 of the prompt and then the drawn ones, 4
	// bytes each, little endian, by an opening that is checked against the
	// receipt's commitments.
	Tokens(from, to int, opening []byte) ([]byte, error)
	// Tiles are tiles from to to-1 of a tensor, by a proof that is checked
	// against the receipt's model.
	Tiles(tensor string, from, to int, proof []byte) ([]byte, error)
}

// Plan is what one cell computes, leaf by leaf; an [operation.Plan] is one.
type Plan interface {
	// Ops is the cell's list of operations, in the order of its tree.
	Ops() []operation.Op
	// Inputs lists what a leaf depends on.
	Inputs(op, leaf int) []operation.Input
	// Pieces are the lengths of the pieces of an input.
	Pieces(operation.Input) []int
	// State gives the operations whose roots are a layer cell's x root and kv
	// root. The last operation of an output cell, for which ok is false, has
	// one leaf, the id.
	State() (x, kv int, ok bool)
	// Eval computes a leaf from its inputs, the pieces of each one after the
	// other. It fails only if no run that is right has such inputs.
	Eval(op, leaf int, inputs [][]byte) ([]byte, error)
}

// Values are the values of the leaves of a cell; [operation.Values] are such.
type Values interface {
	Leaf(op, leaf int) []byte
	Hashes(op int) []canon.Hash
}

// Source is what a prover knows: its run, as it committed to it.
type Source interface {
	// States is the hashed leaves of the tree of each layer.
	States() ([][]canon.Hash, error)
	// Cell is the values of a cell, and how many operations it has.
	Cell(Cell) (v Values, ops int, err error)
}

// Witness is what a challenger knows: its own run of the receipt's ids, and
// the model.
type Witness interface {
	Source
	// Output is the first output token that is not what its cell computes.
	Output() (i int, wrong bool)
	// State is x and kv of one cell.
	State(layer, position int) (x, kv []byte, err error)
	// Description is the one that Run.Plan takes.
	Description(Cell) ([]byte, error)
	// Opening is the one that Run.Tokens takes.
	Opening(from, to int) ([]byte, error)
	// Tiles is the proof that Run.Tiles takes.
	Tiles(tensor string, from, to int) ([]byte, error)
}
