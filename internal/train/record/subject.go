package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// Examples is train.Data whose examples have canonical bytes: equal bytes mean
// equal examples, and other bytes another example.
type Examples interface {
	train.Data
	Bytes(i int) ([]byte, error)
}

// Subject is what a run was made of.
type Subject struct {
	Machine *tensor.Machine
	// Learner has the starting parameters when a check begins.
	Learner train.Learner
	// Data are the examples to train on and Validation those to evaluate on, in
	// the order of the run; nil: not at hand.
	Data, Validation Examples
	// Decode makes an example of its canonical bytes; nil: it cannot be done.
	Decode func(canonical []byte) (train.Example, error)
	// Export writes the file that the learner's parameters, as they are now,
	// give in a format; nil: it cannot be done.
	Export func(path, format string) error
	// Release gives back what the subject holds; may be nil.
	Release func() error
}

// Close releases the subject.
func (s *Subject) Close() error {
	if s.Release == nil {
		return nil
	}
	return s.Release()
}

// Artefact names the file of a result.
type Artefact struct {
	Identity training.Identity
	Hash     training.Hash
}

// maxArtefact bounds a file that is not GGUF, which is read whole.
const maxArtefact = 1 << 30

// FileOf names a file: a GGUF file by its fingerprint, another by its bytes.
func FileOf(ctx context.Context, path string) (Artefact, error) {
	f, err := gguf.Open(path)
	var parse *gguf.ParseError
	switch {
	case errors.As(err, &parse):
		return bytesOf(path)
	case err != nil:
		return Artefact{}, err
	}
	defer f.Close()
	tree, err := fingerprint.Of(ctx, f, 0)
	if err != nil {
		return Artefact{}, fmt.Errorf("%s: %w", path, err)
	}
	return Artefact{training.Fingerprint, tree.Root()}, nil
}

func bytesOf(path string) (Artefact, error) {
	f, err := os.Open(path)
	if err != nil {
		return Artefact{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxArtefact+1))
	if err != nil {
		return Artefact{}, err
	}
	if len(b) > maxArtefact {
		return Artefact{}, fmt.Errorf("%s has more than %d bytes, which is the limit of a file that is not GGUF", path, maxArtefact)
	}
	return Artefact{training.Bytes, training.FileHash(b)}, nil
}

// Commit is the commitment to examples under a salt.
func Commit(salt receipt.Salt, e Examples) (training.Commitment, error) {
	leaves, err := training.ExampleLeaves(salt, e.Len(), e.Bytes)
	if err != nil {
		return training.Commitment{}, err
	}
	return training.Commit(leaves), nil
}

// optimiser is how the names of what an optimiser keeps begin (spec/training.md).
const optimiser = "optim."

// Roots are the root of a whole state, and of its parameters alone.
func Roots(leaves []train.StateLeaf) (state, parameters canon.Hash) {
	var all, params canon.Builder
	for i, l := range leaves {
		all.Add(l.Hash)
		if i > 0 && !strings.HasPrefix(l.Name, optimiser) { // the first is configuration and step
			params.Add(l.Hash)
		}
	}
	return all.Root(), params.Root()
}
