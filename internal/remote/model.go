package remote

import (
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Model is one that a peer offers, as the peer describes it.
type Model struct {
	Name         string
	Root         receipt.Hash // fingerprint of its file; zero: not known yet
	Architecture string
	Parameters   uint64
	Quantization string
	Context      int    // tokens of a prompt and its answer together
	Numerics     string // version of the arithmetic
	Chat         bool   // has a template for conversations
	Receipts     bool   // answers get receipts, and traces
	MaxTokens    int    // of one answer
	Paid         bool   // answers for payment only
}

func (m *Model) wire() *wire.OfferedModel {
	out := &wire.OfferedModel{
		Name: m.Name, Architecture: m.Architecture, Parameters: m.Parameters, Quantization: m.Quantization,
		Context: uint32(m.Context), Numerics: m.Numerics, Chat: m.Chat, Receipts: m.Receipts, MaxTokens: uint32(m.MaxTokens), Paid: m.Paid,
	}
	if !m.Root.IsZero() {
		out.Root = m.Root[:]
	}
	return out
}

// modelOf reads what a peer says of a model.
func modelOf(in *wire.OfferedModel) (Model, error) {
	if in == nil {
		return Model{}, rpc.Errorf(rpc.DataLoss, "the peer does not say which model answers")
	}
	for _, s := range []string{in.Name, in.Architecture, in.Quantization, in.Numerics} {
		if len(s) > maxName || !utf8.ValidString(s) {
			return Model{}, rpc.Errorf(rpc.DataLoss, "what the peer says of a model has a text of %d bytes, want at most %d of UTF-8", len(s), maxName)
		}
	}
	m := Model{
		Name: in.Name, Architecture: in.Architecture, Parameters: in.Parameters, Quantization: in.Quantization,
		Context: int(in.Context), Numerics: in.Numerics, Chat: in.Chat, Receipts: in.Receipts, MaxTokens: int(in.MaxTokens), Paid: in.Paid,
	}
	var err error
	m.Root, err = hashOf(in.Root)
	return m, err
}

// hashOf reads a hash; no bytes are the zero hash.
func hashOf(b []byte) (h receipt.Hash, err error) {
	if len(b) != 0 && len(b) != len(h) {
		return h, rpc.Errorf(rpc.InvalidArgument, "a hash of %d bytes, want %d", len(b), len(h))
	}
	copy(h[:], b)
	return h, nil
}
