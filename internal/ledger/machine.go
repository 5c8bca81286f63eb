package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Version is that of the rules that this program begins a new network with.
const Version = 1

// Machine is the state after a block, or within one.
type Machine struct {
	state  tree.Tree // after the last block
	height uint64    // of it
	time   uint64    // of it

	memory *memory // of what follows from bytes alone

	block *Block // the one that is happening, or nil
	work  tree.Tree
	pot   Amount // fees of the block
	out   Outcome

	powers map[canon.Hash]struct{} // validators that changed, by their key

	enrolled bool // a validator's beacon key changed in the block, or it asks again
	beacons  *beaconMemory

	games map[canon.Hash]*dispute.Referee // of open disputes, by their Head; a memory, see referee
}

// Block is what consensus says about a block.
type Block struct {
	Height      uint64     // one more than that of the last
	Time        uint64     // milliseconds since 1970, UTC; never before that of the last
	Proposer    []byte     // the key of the validator that gets the fees
	Beacon      canon.Hash // randomness of the height before, which a key of the validators gave; zero while there is none
	Misbehaving []Misbehaviour
}

// Misbehaviour is a validator that signed two blocks of one height, as
// consensus found it.
type Misbehaviour struct {
	Key    []byte
	Height uint64 // at which it did
}

// ValidatorUpdate is the power of a validator from now on; 0 takes it out.
type ValidatorUpdate struct {
	Key   []byte
	Power uint64
}

// Outcome is what came of a block, but for its transactions.
type Outcome struct {
	Root       canon.Hash
	Validators []ValidatorUpdate // that changed, in the order of their keys
	Events     []Event
}

// Height is that of the last block.
func (m *Machine) Height() uint64 { return m.height }

// Root is that of the state after the last block.
func (m *Machine) Root() canon.Hash { return m.state.Root() }

// Time is that of the last block.
func (m *Machine) Time() uint64 { return m.time }

// State is a copy of the state after the last block, for queries and proofs.
func (m *Machine) State() tree.Tree {
	m.state.Root()
	return m.state.Clone()
}

// Begin begins a block. An error says that this program cannot go on: the block
// is not the next one, or the validators voted for rules that it does not have.
func (m *Machine) Begin(b Block) error {
	if m.block != nil || b.Height != m.height+1 {
		return fmt.Errorf("ledger: block %d begins after block %d", b.Height, m.height)
	}
	if b.Time < m.time {
		return fmt.Errorf("ledger: block %d is of %d ms, before the last one, %d", b.Height, b.Time, m.time)
	}
	m.work, m.pot, m.out = m.state.Clone(), 0, Outcome{}
	m.powers, m.enrolled = map[canon.Hash]struct{}{}, false
	if err := migrate(&m.work, b.Height, upgrades); err != nil {
		return err
	}
	m.block = &b
	for _, x := range b.Misbehaving {
		m.slashDoubleSign(x)
	}
	return nil
}

// Apply applies a transaction.
func (m *Machine) Apply(data []byte) Result {
	if m.block == nil {
		panic("ledger: internal error: a transaction outside of a block")
	}
	t := m.work.Clone()
	res, keep := m.run(&t, m.block, data, false)
	if keep {
		m.work = t
		m.pot += res.Fee
	}
	return res
}

// Check says whether a transaction could pay its fee after the last block: what
// its sender still has to send before it is not known here, so a nonce that is
// not reached yet passes.
func (m *Machine) Check(data []byte) Result {
	t := m.state.Clone()
	res, _ := m.run(&t, &Block{Height: m.height + 1, Time: m.time}, data, true)
	return res
}

// End ends the block.
func (m *Machine) End() Outcome {
	if m.block == nil {
		panic("ledger: internal error: the end of no block")
	}
	m.due()
	m.regroup()
	m.payProposer()
	m.validatorUpdates()
	m.out.Root = m.work.Root()
	m.state, m.height, m.time, m.block = m.work, m.block.Height, m.block.Time, nil
	m.work = tree.Tree{}
	return m.out
}

// payProposer gives the fees to whom the proposer belongs to; without such they
// burn.
func (m *Machine) payProposer() {
	if m.pot == 0 {
		return
	}
	if v, ok := load[Validator](&m.work, tableValidator.key(m.block.Proposer)); ok {
		credit(&m.work, v.Operator, m.pot)
	} else {
		burn(&m.work, m.pot)
	}
}

// call is a transaction that is being applied.
type call struct {
	m      *Machine
	tree   *tree.Tree
	block  *Block
	chain  string
	params *Params
	id     canon.Hash
	from   Address
	device []byte // key of the device that sent it, or nil
	size   uint64 // of the transaction in bytes
	work   uint64
	limit  uint64 // of work that the fee pays
	res    *Result
	powers [][]byte // validators that it changes

	enrolled bool // it changes a validator's beacon key, or asks for another try
}

func (c *call) event(kind string, pairs ...string) {
	c.res.Events = append(c.res.Events, makeEvent(kind, pairs...))
}

func (m *Machine) event(kind string, pairs ...string) {
	m.out.Events = append(m.out.Events, makeEvent(kind, pairs...))
}

func makeEvent(kind string, pairs ...string) Event {
	e := Event{Kind: kind}
	for i := 0; i+1 < len(pairs); i += 2 {
		e.Fields = append(e.Fields, Field{pairs[i], pairs[i+1]})
	}
	return e
}

// spend meters work before it is done.
func (c *call) spend(work uint64) error {
	if work > c.limit-c.work {
		c.work = c.limit
		return fail(CodeWork, "more work than the fee pays, %d units; allow a higher fee", c.limit)
	}
	c.work += work
	return nil
}

// debit takes an amount from the sender.
func (c *call) debit(n Amount) error { return debit(c.tree, c.from, c.device, n) }

func debit(t *tree.Tree, from Address, device []byte, n Amount) error {
	acc := account(t, from)
	if acc.Balance < n {
		return fail(CodeFunds, "the account has %d, and this takes %d", acc.Balance, n)
	}
	if device != nil {
		key := tableDevice.key(from[:], device)
		d, _ := load[Device](t, key)
		if d.Limit < n {
			return fail(CodeFunds, "the device may spend %d more, and this takes %d", d.Limit, n)
		}
		d.Limit -= n
		save(t, key, d)
	}
	acc.Balance -= n
	save(t, tableAccount.key(from[:]), acc)
	return nil
}

// run applies a transaction to a tree, whose state is to be kept if it says so.
// The fee is in nobody's account then.
func (m *Machine) run(t *tree.Tree, b *Block, data []byte, check bool) (res Result, keep bool) {
	res.ID = TxID(data)
	if is, err := tick(t, b.Height, data); is {
		if err != nil {
			res.failed(err)
		}
		return res, err == nil
	}
	r, err := m.read(res.ID, data)
	if err != nil {
		res.failed(err)
		return res, false
	}
	body := r.body
	e := m.metaOf(t)
	params := &e.Params
	c := &call{m: m, tree: t, block: b, chain: e.Chain, params: params, id: res.ID, from: body.Account, size: uint64(len(data)), res: &res}
	if err := c.admit(r, uint64(len(data)), check); err != nil {
		res.failed(err)
		return res, false
	}
	if check {
		res.Work = c.work
		return res, false
	}
	p, err := body.payload()
	if err != nil { // read saw that it can be read
		panic("ledger: internal error: " + err.Error())
	}
	paid := t.Clone() // the fee at most, and the nonce
	if err := p.apply(c); err != nil {
		*t = paid
		res.failed(err)
	} else {
		for _, k := range c.powers {
			m.powers[canon.Hash(k)] = struct{}{}
		}
		m.enrolled = m.enrolled || c.enrolled
	}
	res.Work = c.work
	res.Fee = params.fee(uint64(len(data)), c.work)
	refund(t, c.from, c.device, body.MaxFee-res.Fee)
	return res, true
}

func refund(t *tree.Tree, a Address, device []byte, n Amount) {
	credit(t, a, n)
	if device == nil || n == 0 {
		return
	}
	key := tableDevice.key(a[:], device)
	if d, ok := load[Device](t, key); ok {
		d.Limit += n
		save(t, key, d)
	}
}

// admit checks everything that has to be right before a transaction may cost
// its sender something, counts it, and takes the highest fee.
func (c *call) admit(r *decoded, size uint64, check bool) error {
	tx, b := r.tx, r.body
	c.work = tx.intrinsic()
	switch {
	case b.Chain != c.chain:
		return fail(CodeChain, "for the chain %q, this is %q", b.Chain, c.chain)
	case b.Until != 0 && b.Until < c.block.Time:
		return fail(CodeExpired, "until %d ms, this is %d", b.Until, c.block.Time)
	case b.MaxFee > MaxSupply || b.MaxFee < c.params.fee(size, c.work):
		return fail(CodeFee, "it offers a fee of %d, its %d bytes and %d signatures cost %d", b.MaxFee, size, len(tx.Signatures), c.params.fee(size, c.work))
	}
	c.limit = c.params.workFor(b.MaxFee, size)
	acc := account(c.tree, b.Account)
	nonce := &acc.Nonce
	var d *Device
	if r.signer != b.Account {
		var ok bool
		if len(tx.Policy.Keys) == 1 {
			c.device = tx.Policy.Keys[0]
			d, ok = load[Device](c.tree, tableDevice.key(b.Account[:], c.device))
		}
		switch {
		case !ok:
			return fail(CodeSignature, "who signs is neither the account %s nor a device of it", b.Account)
		case d.Expires < c.block.Time:
			return fail(CodeSignature, "the device may sign until %d ms, this is %d", d.Expires, c.block.Time)
		case b.Kind.row().traits&byDevice == 0:
			return fail(CodeSignature, "a device may not send a %s", b.Kind)
		}
		nonce = &d.Nonce
	}
	if b.Nonce < *nonce || b.Nonce > *nonce && !check {
		return fail(CodeNonce, "the nonce %d, want %d", b.Nonce, *nonce)
	}
	if err := r.verify(); err != nil {
		return err
	}
	if *nonce++; d != nil {
		save(c.tree, tableDevice.key(b.Account[:], c.device), d)
	} else {
		save(c.tree, tableAccount.key(b.Account[:]), acc)
	}
	if err := c.debit(b.MaxFee); err != nil {
		return fail(CodeFee, "the fee: %w", errors.Unwrap(err))
	}
	return nil
}

// proved checks a signature of a key that is not the sender's: that who holds
// it agrees to what is signed.
func (c *call) proved(key, signature []byte, msg canon.Hash) error {
	if err := c.spend(sigWork); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return fail(CodeRefused, "%w", err)
	}
	if !ed25519.Verify(key, msg[:], signature) {
		return fail(CodeRefused, "the key %x did not sign this", key)
	}
	return nil
}
