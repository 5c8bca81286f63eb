package demo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/receipt"
)

// Leaf is the one step that was shown to be wrong, with its numbers.
type Leaf struct {
	Layers     int      `json:"layers"`    // of the model
	Positions  int      `json:"positions"` // of the run
	Layer      int      `json:"layer"`
	Position   int      `json:"position"`
	Operations []string `json:"operations"` // of the cell
	Operation  int      `json:"operation"`
	Leaves     int      `json:"leaves"` // of the operation
	Leaf       int      `json:"leaf"`
	Name       string   `json:"name"` // of the operation
	Right      string   `json:"right"`
	Signed     string   `json:"signed"` // hash of the leaf, as it was signed

	// A product with a tile of a matrix has these, too.
	Tensor  string    `json:"tensor,omitempty"`
	Row     int       `json:"row,omitempty"`
	Rows    int       `json:"rows,omitempty"`
	Cols    int       `json:"cols,omitempty"`
	Weights []float32 `json:"-"` // of the tile, as the model has them
	Used    []float32 `json:"-"` // as the liar's file has them
	Values  []float32 `json:"values,omitempty"`
	// Claimed are the values with the liar's weights. Their hash is the one that it
	// signed: without that they are left out.
	Claimed []float32 `json:"claimed,omitempty"`
}

// ErrNoLeaf says that a proof of fraud is of something other than a leaf.
var ErrNoLeaf = errors.New("demo: the proof is not of a leaf of a layer")

// ReadLeaf shows what a proof of fraud is about. It judges it again. The liar's
// model is what its owner used in place of the true one; nil: it is not known.
func ReadLeaf(file, proof []byte, liar *gguf.File) (*Leaf, error) {
	f, err := receipt.ParseFile(file)
	if err != nil {
		return nil, err
	}
	finding, err := dispute.JudgeFile(f.Receipt.Bytes(), proof)
	if err != nil {
		return nil, err
	}
	if finding.Fault != dispute.WrongLeaf || finding.Cell.Output {
		return nil, ErrNoLeaf
	}
	p, err := dispute.DecodeProof(proof)
	if err != nil {
		return nil, err
	}
	run, err := dispute.NewRun(f.Receipt)
	if err != nil {
		return nil, err
	}
	plan, _, err := run.Plan(finding.Cell, p.Description)
	if err != nil {
		return nil, err
	}
	ops := plan.Ops()
	l := &Leaf{
		Layers: p.Trace.Layers, Positions: p.Trace.Positions, Layer: finding.Cell.Layer, Position: finding.Cell.Position,
		Operation: finding.Operation, Leaves: ops[finding.Operation].Leaves, Leaf: finding.Leaf, Name: finding.Name,
		Right: finding.Want.String(), Signed: finding.Got.String(),
	}
	for _, o := range ops {
		l.Operations = append(l.Operations, o.Name)
	}
	return l, l.compute(run, plan, p, liar)
}

// compute computes the leaf with the model's weights, and with the liar's.
func (l *Leaf) compute(run dispute.Run, plan dispute.Plan, p *dispute.Proof, liar *gguf.File) error {
	needs := plan.Inputs(l.Operation, l.Leaf)
	values := make([][]byte, len(needs))
	tile := -1
	for i, n := range needs {
		var err error
		switch n.Kind {
		case operation.Tokens:
			values[i], err = run.Tokens(n.From, n.To, p.Inputs[i].Opening)
		case operation.Tiles:
			values[i], err = run.Tiles(n.Tensor, n.From, n.To, p.Inputs[i].Opening)
			tile = i
		default:
			values[i] = p.Inputs[i].Value
		}
		if err != nil {
			return err
		}
	}
	out, err := plan.Eval(l.Operation, l.Leaf, values)
	if err != nil {
		return err
	}
	if l.Values = numbers(out); tile < 0 || liar == nil {
		return nil
	}
	n := needs[tile]
	t := liar.Tensor(n.Tensor)
	if t == nil {
		return fmt.Errorf("demo: the liar's model has no tensor %s", n.Tensor)
	}
	tiling, err := fingerprint.TilingOf(t.Type, t.Shape)
	if err != nil {
		return err
	}
	at := tiling.Tile(n.From)
	used := make([]byte, at.Size)
	if _, err := liar.Reader(t).ReadAt(used, at.Offset); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	l.Tensor, l.Row, l.Rows, l.Cols = n.Tensor, at.Row, at.Rows, at.Cols
	l.Weights, l.Used = make([]float32, at.Rows*at.Cols), make([]float32, at.Rows*at.Cols)
	if err := errors.Join(quant.Dequantize(t.Type, values[tile], l.Weights), quant.Dequantize(t.Type, used, l.Used)); err != nil {
		return err
	}
	values[tile] = used
	if out, err = plan.Eval(l.Operation, l.Leaf, values); err != nil {
		return err
	}
	if canon.Leaf(out).String() == l.Signed {
		l.Claimed = numbers(out)
	}
	return nil
}

// numbers reads little-endian floats.
func numbers(b []byte) []float32 {
	list := make([]float32, len(b)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return list
}
