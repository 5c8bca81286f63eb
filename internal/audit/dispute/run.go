package dispute

import (
	"crypto/ed25519"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
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
	Trace   *canon.Hash       // the trace commitment, if the receipt has one
}

// Positions is the number of positions that the model computed, N: the last
// token drawn is never read.
func (c Claim) Positions() int { return c.Prompt + c.Drawn - 1 }

// at is the position whose x a cell reads.
func (c Claim) at(cell Cell) int {
	if cell.Output {
		return c.Prompt - 1 + cell.Position
	}
	return cell.Position
}

// Run is the referee's view of what a receipt claims: commitments and rules,
// no model. Its methods are functions of their arguments.
type Run interface {
	Claim() Claim
	// Token is the id at a position of the prompt and then of the drawn ids,
	// by an opening that is checked against the receipt's commitments.
	Token(position int, opening []byte) (int32, error)
	// Plan lists what a cell computes. The description is the part of the
	// model that says so, with its proof, which is checked against the
	// receipt's model root. The cell is one of the run, but for its layer,
	// which Plan checks.
	Plan(cell Cell, description []byte) (Plan, error)
}

// Plan is what one cell computes, leaf by leaf.
type Plan interface {
	// Layers is the number of layers that the model has.
	Layers() int
	// Operations is the cell's list of operations, in the order of its tree.
	Operations() []Operation
	// Closing gives the operations whose roots are a layer cell's x root and
	// kv root. The last operation of an output cell has one leaf, the id.
	Closing() (x, kv int)
	// Needs lists the inputs of a leaf.
	Needs(operation, leaf int) ([]Need, error)
	// Weights is the tile that n names, by a proof that is checked against
	// the receipt's model root.
	Weights(n Need, proof []byte) ([]byte, error)
	// Eval computes a leaf from its inputs, for each of the needs the values:
	// one, or as many as leaves that it names. It fails only if no run that
	// is right has such inputs.
	Eval(operation, leaf int, inputs [][][]byte) ([]byte, error)
}

// Operation is a part of a plan: a list of leaves.
type Operation struct {
	Name   string
	Leaves int
}

// Kind tells the kinds of inputs.
type Kind uint8

// The kinds of inputs of a leaf.
const (
	Earlier Kind = iota + 1 // leaves From ... To-1 of operation Operation of the same cell
	X                       // tile Tile of Tiles of x, at the cell's position, after layer Layer
	KV                      // tile Tile of Tiles of kv, of layer Layer at Position
	Token                   // the id at Position, as 4 bytes, little endian
	Weights                 // tile Tile of tensor Tensor
)

// Need names one input of a leaf.
type Need struct {
	Kind        Kind
	Operation   int
	From, To    int
	Layer       int
	Position    int
	Tile, Tiles int
	Tensor      string
}

// Source is what a prover knows: its run, as it committed to it.
type Source interface {
	// States is the hashed leaves of the tree of each layer.
	States() ([][]canon.Hash, error)
	// Cell is the values of the leaves of each of a cell's operations.
	Cell(Cell) ([][][]byte, error)
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
	// Opening is the one that Run.Token takes.
	Opening(position int) ([]byte, error)
	// Weights is the proof that Plan.Weights takes.
	Weights(Cell, Need) ([]byte, error)
}
