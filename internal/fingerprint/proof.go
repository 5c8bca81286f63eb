package fingerprint

import (
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of a proof. Other parts of it are bounded by its length.
const (
	// MaxProof bounds a proof in bytes. The largest whole tokenizers published
	// take 15 MB.
	MaxProof = 64 << 20
	maxSpans = 1 << 10 // of entries, in each of the two trees
	maxRuns  = 1 << 16 // runs of pieces, or of tiles
)

var (
	// ErrProof marks a proof that is none: not encoded as it must be, out of
	// order, incomplete, or of something that no file can hold.
	ErrProof = errors.New("not a valid proof of a model's parts")
	// ErrRoot marks a proof that belongs to another model than the one asked
	// about, or was changed.
	ErrRoot = errors.New("the proof leads to another model")
)

// Proof shows parts of a model. It comes from [Tree.Prove] or [Decode].
type Proof struct{ wire wireProof }

// wireProof is the encoding of section 5 of spec/fingerprint.md.
type wireProof struct {
	Meta     wireSide  `cbor:"1,keyasint"`
	Tensors  wireSide  `cbor:"2,keyasint"`
	Contents []wireRun `cbor:"3,keyasint,omitempty"`
	Tiles    []wireRun `cbor:"4,keyasint,omitempty"`
}

// wireSide is one of the two trees of a model.
type wireSide struct {
	_     struct{} `cbor:",toarray"`
	Count uint64   // entries of the tree
	Root  []byte   // of the tree; empty if spans lead to it
	Spans []wireSpan
}

// wireSpan is a run of neighbouring entries.
type wireSpan struct {
	_       struct{} `cbor:",toarray"`
	From    uint64   // place of the first
	Entries [][]byte
	Hashes  []byte // of the range of entries, one after the other
}

// wireRun is a run of pieces of a long value, or of tiles.
type wireRun struct {
	_      struct{} `cbor:",toarray"`
	Place  uint64   // of the entry
	From   uint64   // number of the first
	Data   []byte   // of all of them
	Hashes []byte   // of the range
}

// refuse is the one constructor of errors about a proof that is none.
func refuse(format string, args ...any) error {
	return fmt.Errorf("fingerprint: %w: %w", ErrProof, fmt.Errorf(format, args...))
}

// Encode gives the proof's bytes: deterministic CBOR.
func (p *Proof) Encode() ([]byte, error) {
	b, err := canon.Marshal(&p.wire)
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	if len(b) > MaxProof {
		return nil, fmt.Errorf("fingerprint: the proof has %d bytes, the limit is %d: ask for less at a time", len(b), MaxProof)
	}
	return b, nil
}

// Decode reads what [Proof.Encode] writes. The proof is not verified yet.
func Decode(data []byte) (*Proof, error) {
	if len(data) > MaxProof {
		return nil, refuse("%d bytes, the limit is %d", len(data), MaxProof)
	}
	p := &Proof{}
	if err := canon.Unmarshal(data, &p.wire); err != nil {
		return nil, refuse("%w", err)
	}
	if err := p.wire.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// check bounds the numbers of parts, and refuses CBOR's null, which would be a
// second way to write an empty list.
func (w *wireProof) check() error {
	for _, s := range []*wireSide{&w.Meta, &w.Tensors} {
		if s.Root == nil || s.Spans == nil {
			return refuse("a side without root or spans")
		}
		if len(s.Spans) > maxSpans {
			return refuse("%d spans, the limit is %d", len(s.Spans), maxSpans)
		}
		for _, x := range s.Spans {
			if x.Entries == nil || x.Hashes == nil {
				return refuse("a span without entries or hashes")
			}
		}
	}
	if len(w.Contents) > maxRuns || len(w.Tiles) > maxRuns {
		return refuse("%d runs of pieces and %d of tiles, the limit is %d", len(w.Contents), len(w.Tiles), maxRuns)
	}
	for _, x := range slices.Concat(w.Contents, w.Tiles) {
		if x.Data == nil || x.Hashes == nil {
			return refuse("a run without data or hashes")
		}
	}
	return nil
}

// join writes hashes one after the other.
func join(hashes []canon.Hash) []byte {
	b := make([]byte, 0, len(hashes)*canon.Size)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// split reads what join writes.
func split(b []byte) ([]canon.Hash, error) {
	if len(b)%canon.Size != 0 {
		return nil, fmt.Errorf("%d bytes of hashes of %d bytes", len(b), canon.Size)
	}
	hashes := make([]canon.Hash, len(b)/canon.Size)
	for i := range hashes {
		hashes[i] = canon.Hash(b[i*canon.Size:])
	}
	return hashes, nil
}
