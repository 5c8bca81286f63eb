package dispute

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Fault is what a proof of fraud says is wrong.
type Fault uint8

// The faults.
const (
	WrongLeaf    Fault = iota + 1 // a leaf of a cell is not the function of its inputs
	WrongClosing                  // a cell's outputs are not the committed state, or not the receipt's token
	WrongCell                     // the statement has another number of operations than the cell
	WrongTrace                    // the trace has other layers than the model, or other positions than the receipt
	TwoTraces                     // the prover signed two traces for one receipt
	TwoCells                      // the prover signed two statements of one cell
	WrongRun                      // no run can be what the receipt says
)

func (f Fault) String() string {
	switch f {
	case WrongLeaf:
		return "wrong leaf"
	case WrongClosing:
		return "wrong result of a cell"
	case WrongCell:
		return "wrong number of operations"
	case WrongTrace:
		return "wrong size of the trace"
	case TwoTraces:
		return "two traces"
	case TwoCells:
		return "two statements of one cell"
	case WrongRun:
		return "impossible run"
	}
	return fmt.Sprintf("fault %d", uint8(f))
}

// Finding is what a proof of fraud showed.
type Finding struct {
	Fault     Fault
	Cell      Cell   // but of WrongTrace and TwoTraces
	Operation int    // of WrongLeaf
	Name      string // of the operation
	Leaf      int
	Want      canon.Hash // of WrongLeaf: the right leaf, hashed
	Got       canon.Hash // and the committed one
}

func (f Finding) String() string {
	switch f.Fault {
	case WrongTrace, TwoTraces:
		return f.Fault.String()
	case WrongLeaf:
		return fmt.Sprintf("%s, operation %d (%s), leaf %d: committed to %.8s…, its inputs give %.8s…", f.Cell, f.Operation, f.Name, f.Leaf, f.Got, f.Want)
	}
	return fmt.Sprintf("%s: %s", f.Cell, f.Fault)
}

// Proof is a proof that the prover of a receipt committed to something wrong.
// With the receipt it stands alone. [Judge] checks it.
type Proof struct {
	Fault       Fault           `cbor:"1,keyasint"`
	Trace       *TraceStatement `cbor:"2,keyasint,omitempty"` // but of TwoCells and WrongRun
	OtherTrace  *TraceStatement `cbor:"3,keyasint,omitempty"` // of TwoTraces
	Output      bool            `cbor:"4,keyasint,omitempty"` // which cell
	Layer       int             `cbor:"5,keyasint,omitempty"`
	Position    int             `cbor:"6,keyasint,omitempty"`
	Cell        *CellStatement  `cbor:"7,keyasint,omitempty"`
	OtherCell   *CellStatement  `cbor:"8,keyasint,omitempty"`  // of TwoCells
	Description []byte          `cbor:"9,keyasint,omitempty"`  // but of TwoTraces and TwoCells
	Operation   int             `cbor:"10,keyasint,omitempty"` // of WrongLeaf
	Leaf        int             `cbor:"11,keyasint,omitempty"`
	Hash        *canon.Hash     `cbor:"12,keyasint,omitempty"` // the committed leaf, hashed
	Path        Hashes          `cbor:"13,keyasint,omitempty"` // from it to its operation's root
	Inputs      []Input         `cbor:"14,keyasint,omitempty"` // one for each need
	State       *StateProof     `cbor:"15,keyasint,omitempty"` // of WrongClosing of a layer's cell
	Token       []byte          `cbor:"16,keyasint,omitempty"` // of WrongClosing of an output cell: the opening
}

// Input is an input of a leaf, with its proof.
type Input struct {
	_       struct{}    `cbor:",toarray"`
	Value   []byte      // of leaves and tiles of states: the pieces, one after the other
	Proof   Hashes      // of those: from the pieces to the root of the operation, or of the vector
	State   *StateProof // of tiles of states
	Opening []byte      // of tokens and tiles of the model, which it shows
}

// StateProof shows one state of the trace.
type StateProof struct {
	_ struct{} `cbor:",toarray"`
	// Beside is what the state is computed with: for a tile of x the root of
	// kv, for a tile of kv the root of x, for a closing the state itself,
	// hashed.
	Beside    canon.Hash
	Positions Hashes // from the state to its layer's root
	Layers    Hashes // from the layer to the trace's root
}

func (p *Proof) cell() Cell { return Cell{p.Output, p.Layer, p.Position} }

// Encode is the bytes of a proof: canonical CBOR, at most [MaxProof].
func (p *Proof) Encode() ([]byte, error) { return encode(p, MaxProof) }

// DecodeProof reads what Encode writes. It checks the form only.
func DecodeProof(data []byte) (*Proof, error) {
	p := &Proof{}
	return p, decode(data, p, MaxProof)
}
