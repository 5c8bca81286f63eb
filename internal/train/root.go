package train

import (
	"encoding/binary"

	"github.com/avalnetwork/aval/internal/canon"
)

// tile is the number of elements of a tensor that are hashed together.
const tile = 1 << 14

// StateLeaf is one leaf of the tree over the state of a run.
type StateLeaf struct {
	Name string // of the tensor; HeadLeaf for the first
	Hash canon.Hash
}

// HeadLeaf is the name of the leaf that binds the configuration and the number
// of steps.
const HeadLeaf = "configuration and step"

// Leaves are the leaves of the tree over all that determines the rest of the
// run besides the data: the configuration and the steps that are behind, the
// parameters in their order, the state of the optimiser.
func (t *Trainer) Leaves() []StateLeaf {
	out := []StateLeaf{headLeaf(t.encoded, t.done)}
	for _, s := range t.tensors() {
		out = append(out, tensorLeaf(s, t.machine.For))
	}
	return out
}

// Root is the root of the tree over Leaves.
func (t *Trainer) Root() canon.Hash { return leavesRoot(t.Leaves()) }

func leavesRoot(leaves []StateLeaf) canon.Hash {
	var b canon.Builder
	for _, l := range leaves {
		b.Add(l.Hash)
	}
	return b.Root()
}

func headLeaf(config []byte, step int) StateLeaf {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(step))
	return StateLeaf{HeadLeaf, canon.Sum("aval training state/1", config, b[:])}
}

// tensorLeaf hashes the name, the shape and the root over the tiles of a tensor.
func tensorLeaf(s stateTensor, run parallel) StateLeaf {
	var shape []byte
	for _, d := range s.shape {
		shape = binary.LittleEndian.AppendUint64(shape, uint64(d))
	}
	root := tensorRoot(s.data, run)
	return StateLeaf{s.name, canon.Sum("aval training tensor/1", []byte(s.name), shape, root[:])}
}

// TensorRoot is the root of the tree over the tiles of 16,384 elements of a
// tensor, the last one maybe shorter, as little-endian bytes.
func TensorRoot(x []float32) canon.Hash { return tensorRoot(x, inTurn) }

// parallel is the form of tensor.Machine.For.
type parallel = func(n, grain int, f func(worker, from, to int))

func inTurn(n, _ int, f func(worker, from, to int)) { f(0, 0, n) }

func tensorRoot(x []float32, run parallel) canon.Hash {
	leaves := make([]canon.Hash, (len(x)+tile-1)/tile)
	run(len(leaves), 1, func(_, from, to int) {
		var buf [4 * tile]byte
		for i := from; i < to; i++ {
			leaves[i] = canon.Leaf(floatBytes(buf[:], x[i*tile:min((i+1)*tile, len(x))]))
		}
	})
	return canon.Root(leaves)
}

// FirstDifference names the first leaf that differs between two states, or that
// only one of them has; "" if they are equal.
func FirstDifference(a, b []StateLeaf) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return b[i].Name
		case i >= len(b) || a[i] != b[i]:
			return a[i].Name
		}
	}
	return ""
}
