package dispute

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/trace"
)

const (
	maxLayers     = 1 << 10
	maxPositions  = 1 << 21 // a prompt and an answer of receipt.MaxIDs each
	maxOperations = 1 << 10
	saltSize      = 16
)

// TraceStatement opens the root of the tree of states that a prover stands by.
// If the receipt has a trace commitment, the salt opens it. If not, the
// prover's signature makes it a statement about that receipt; an honest prover
// makes only one.
type TraceStatement struct {
	_         struct{} `cbor:",toarray"`
	Salt      []byte   // 16 bytes, or none
	Root      canon.Hash
	Layers    int
	Positions int
	Signature []byte // 64 bytes, or none
}

// digest is what the prover signs.
func (t *TraceStatement) digest(c Claim) canon.Hash {
	return canon.Sum("aval trace statement/1", c.Receipt[:], t.Root[:], u64(uint64(t.Layers)), u64(uint64(t.Positions)))
}

// commitment is the trace commitment of a receipt.
func (t *TraceStatement) commitment() canon.Hash {
	return trace.Commitment(t.Salt, t.Root, t.Layers, t.Positions)
}

// check says whether the prover of the receipt stands by the statement.
func (t *TraceStatement) check(c Claim, w *Work) error {
	switch {
	case t.Layers < 1 || t.Layers > maxLayers:
		return fmt.Errorf("a trace of %d layers, want 1 to %d", t.Layers, maxLayers)
	case t.Positions < 1 || t.Positions > maxPositions:
		return fmt.Errorf("a trace of %d positions, want 1 to %d", t.Positions, maxPositions)
	case !c.Trace.IsZero() && (len(t.Salt) != saltSize || t.Signature != nil):
		return errors.New("the receipt has a trace commitment: want its salt of 16 bytes and no signature")
	case c.Trace.IsZero() && (t.Salt != nil || len(t.Signature) != ed25519.SignatureSize):
		return errors.New("the receipt has no trace commitment: want a signature of 64 bytes and no salt")
	case !c.Trace.IsZero():
		w.Hashes++
		if t.commitment() != c.Trace {
			return errors.New("the salt, root, layers and positions are not what the receipt's trace commits to")
		}
	default:
		if d := t.digest(c); !w.verify(c.Key, d, t.Signature) {
			return errors.New("the statement of the trace is not signed by the receipt's key")
		}
	}
	return nil
}

// CellStatement is the roots of a cell's operations that a prover stands by. An
// honest prover makes only one for a cell.
type CellStatement struct {
	_         struct{} `cbor:",toarray"`
	Roots     Hashes
	Signature []byte
}

// root is the cell's root.
func (s *CellStatement) root() canon.Hash { return operation.CellRoot(s.Roots.List()) }

// digest is what the prover signs.
func (s *CellStatement) digest(c Claim, cell Cell) canon.Hash {
	kind := []byte{0}
	if cell.Output {
		kind[0] = 1
	}
	root := s.root()
	return canon.Sum("aval cell statement/1", c.Receipt[:], kind, u64(uint64(cell.Layer)), u64(uint64(cell.Position)), root[:])
}

// check says whether the prover of the receipt stands by the statement.
func (s *CellStatement) check(c Claim, cell Cell, w *Work) error {
	n := len(s.Roots) / canon.Size
	if n < 1 || n > maxOperations || !s.Roots.whole() {
		return fmt.Errorf("a cell with %d bytes of roots, want 1 to %d of %d", len(s.Roots), maxOperations, canon.Size)
	}
	w.Hashes += 2 * n
	if d := s.digest(c, cell); !w.verify(c.Key, d, s.Signature) {
		return fmt.Errorf("the statement of the cell (%s) is not signed by the receipt's key", cell)
	}
	return nil
}

// Work counts what a referee did.
type Work struct {
	Bytes      int // of messages and proofs read
	Hashes     int // of nodes and leaves of the prover's trees, computed
	Signatures int // verified
	Leaves     int // evaluated
}

func (w *Work) verify(key ed25519.PublicKey, digest canon.Hash, signature []byte) bool {
	w.Signatures++
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(key, digest[:], signature)
}

// rangeRoot is canon.RangeRoot, counted.
func (w *Work) rangeRoot(n, from int, leaves []canon.Hash, proof Hashes) (canon.Hash, error) {
	if !proof.whole() {
		return canon.Hash{}, fmt.Errorf("%d bytes are not hashes", len(proof))
	}
	w.Hashes += len(leaves) + len(proof)/canon.Size
	return canon.RangeRoot(n, from, leaves, proof.List())
}
