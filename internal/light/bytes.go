package light

import (
	"encoding/binary"

	"github.com/avalnetwork/aval/internal/canon"
)

// What is hashed and signed is protocol buffers, of which this writes the few
// messages that there are: fields that are zero are left out.

type message []byte

func (m message) uint(field int, v uint64) message {
	if v == 0 {
		return m
	}
	return binary.AppendUvarint(append(m, byte(field<<3)), v)
}

func (m message) fixed(field int, v uint64) message {
	if v == 0 {
		return m
	}
	return binary.LittleEndian.AppendUint64(append(m, byte(field<<3|1)), v)
}

// bytes writes a field even if it is empty, as a message within a message is.
func (m message) bytes(field int, v []byte) message {
	m = binary.AppendUvarint(append(m, byte(field<<3|2)), uint64(len(v)))
	return append(m, v...)
}

func (m message) hash(field int, v canon.Hash) message {
	if v.IsZero() {
		return m
	}
	return m.bytes(field, v[:])
}

func (t Time) encode() message {
	return message{}.uint(1, uint64(t.Seconds)).uint(2, uint64(int64(t.Nanos)))
}

func (p Parts) encode() message { return message{}.uint(1, uint64(p.Total)).hash(2, p.Hash) }

func blockID(hash canon.Hash, p Parts) message {
	return message{}.hash(1, hash).bytes(2, p.encode())
}

// Hash is the identity of a header: the root of the tree of its fields.
func (h *Header) Hash() canon.Hash {
	fields := []message{
		message{}.uint(1, h.Protocol).uint(2, h.Application),
		message{}.bytes(1, []byte(h.Chain)),
		message{}.uint(1, h.Height),
		h.Time.encode(),
		blockID(h.Last, h.LastParts),
		message{}.hash(1, h.LastVotes),
		message{}.hash(1, h.Data),
		message{}.hash(1, h.Validators),
		message{}.hash(1, h.NextValidators),
		message{}.hash(1, h.Params),
		message{}.hash(1, h.Root),
		message{}.hash(1, h.LastResults),
		message{}.hash(1, h.Evidence),
		message{}.bytes(1, h.Proposer[:]),
	}
	leaves := make([]canon.Hash, len(fields))
	for i, f := range fields {
		leaves[i] = canon.Leaf(f)
	}
	return canon.Root(leaves)
}

// setHash is the hash of validators in their order.
func setHash(vals []Validator) canon.Hash {
	leaves := make([]canon.Hash, len(vals))
	for i, v := range vals {
		leaves[i] = canon.Leaf(message{}.bytes(1, message{}.bytes(1, v.Key[:])).uint(2, v.Power))
	}
	return canon.Root(leaves)
}

// precommit is the kind of the votes that make a block final.
const precommit = 2

// signBytes is what a validator signs when it votes for a block.
func (b *Block) signBytes(id canon.Hash, v *Vote) []byte {
	m := message{}.uint(1, precommit).fixed(2, b.Header.Height).fixed(3, uint64(b.Round)).
		bytes(4, blockID(id, b.Parts)).bytes(5, v.Time.encode()).bytes(6, []byte(b.Header.Chain))
	return append(binary.AppendUvarint(nil, uint64(len(m))), m...)
}
