package operation

import "github.com/avalnetwork/aval/internal/canon"

// Run is what the length of proofs depends on beside the plan.
type Run struct {
	Layers, Positions int // of the tree of states
	Tensors           int // of the model
}

// What an item of a proof takes in the formats that carry them, about.
const (
	hashBytes   = canon.Size + 2 // a hash, as CBOR
	saltBytes   = 16 + 2         // that of an id
	entryBytes  = 128            // the entry of a tensor
	headerBytes = 2*hashBytes + 16
)

// Evidence is about how many bytes show the inputs of a leaf to someone who
// has the roots of the cell, the run and the model: the inputs and a Merkle
// proof for each. What several inputs share is counted for each.
func (p *Plan) Evidence(op, leaf int, r Run) int {
	hashes := 0
	total := 0
	path := func(n, from, to int) { hashes += canon.RangeLen(n, from, to) }
	for _, in := range p.Inputs(op, leaf) {
		total += p.bytes(in)
		switch in.Kind {
		case Leaves:
			path(p.ops[in.Op].leaves, in.From, in.To)
			path(len(p.ops), in.Op, in.Op+1)
		case X, KV:
			y := p.x
			if in.Kind == KV {
				y = p.kv
			}
			path(y.leaves(), in.From, in.To)
			hashes++ // the root of the other vector of the state
			path(r.Positions, in.Position, in.Position+1)
			path(r.Layers, in.Layer, in.Layer+1)
		case Tokens:
			total += saltBytes * (in.To - in.From)
			path(r.Positions+1, in.From, in.To)
		case Tiles:
			total += entryBytes + headerBytes
			path(p.tensors[in.Tensor].Tiles(), in.From, in.To)
			path(r.Tensors, r.Tensors/2, r.Tensors/2+1)
		}
	}
	return total + hashes*hashBytes
}
