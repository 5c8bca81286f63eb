package ledger

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// memory is what a machine remembers of bytes that it has read before: what
// Check saw, Apply need not see again. It remembers pure functions and changes no
// result. A fork has the same memory.
type memory struct {
	read map[canon.Hash]*decoded
	raw  []byte // of the meta entry, as it was read last
	meta *Meta
}

// maxRead bounds the transactions that are remembered, and largeRead the bytes of
// one that is.
const (
	maxRead   = 1 << 14
	largeRead = 4 << 10
)

// decoded is a transaction whose form is right.
type decoded struct {
	tx       *Tx
	body     *Body
	signer   Address // account of its policy
	verified bool    // its signatures are right
}

// verify checks the signatures, once.
func (d *decoded) verify() error {
	if d.verified {
		return nil
	}
	if err := d.tx.verify(); err != nil {
		return err
	}
	d.verified = true
	return nil
}

// read reads a transaction, its body and, to know that it can be read, its
// content.
func (m *Machine) read(id canon.Hash, data []byte) (*decoded, error) {
	r := m.remembered()
	if d, ok := r.read[id]; ok {
		return d, nil
	}
	tx, body, err := DecodeTx(data)
	if err != nil {
		return nil, err
	}
	if _, err := body.payload(); err != nil {
		return nil, err
	}
	d := &decoded{tx: tx, body: body, signer: tx.Policy.Address()}
	if len(data) <= largeRead {
		if len(r.read) >= maxRead {
			clear(r.read)
		}
		r.read[id] = d
	}
	return d, nil
}

// remembered is the machine's memory.
func (m *Machine) remembered() *memory {
	if m.memory == nil {
		m.memory = &memory{read: map[canon.Hash]*decoded{}}
	}
	return m.memory
}

// metaOf is meta for those who change nothing of it.
func (m *Machine) metaOf(t *tree.Tree) *Meta {
	r := m.remembered()
	raw, ok := t.Get(tableMeta.key())
	if !ok || r.meta == nil || len(raw) != len(r.raw) || &raw[0] != &r.raw[0] {
		r.meta, r.raw = meta(t), raw // values in a tree never change
	}
	return r.meta
}

// Sender is who sends a transaction, and as which: its account, the key of a
// device of it or nil, and the nonce.
func (m *Machine) Sender(data []byte) (account Address, device []byte, nonce uint64, err error) {
	d, err := m.read(TxID(data), data)
	if err != nil {
		return account, nil, 0, err
	}
	if d.signer != d.body.Account {
		device = d.tx.Policy.Keys[0]
	}
	return d.body.Account, device, d.body.Nonce, nil
}
