package ledger

import (
	"encoding/hex"

	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Account is what belongs to an address.
type Account struct {
	Balance Amount `cbor:"1,keyasint" json:"balance"`
	Nonce   uint64 `cbor:"2,keyasint" json:"nonce"` // transactions sent
}

func (a *Account) held() Amount { return a.Balance }

func account(t *tree.Tree, a Address) *Account {
	if acc, ok := load[Account](t, tableAccount.key(a[:])); ok {
		return acc
	}
	return &Account{}
}

func credit(t *tree.Tree, a Address, n Amount) {
	if n == 0 {
		return
	}
	acc := account(t, a)
	acc.Balance += n // all amounts together are at most MaxSupply
	save(t, tableAccount.key(a[:]), acc)
}

// Device is a key that may spend for an account, up to a limit.
type Device struct {
	Limit   Amount `cbor:"1,keyasint" json:"limit"`   // that is left
	Expires uint64 `cbor:"2,keyasint" json:"expires"` // in milliseconds since 1970
	Nonce   uint64 `cbor:"3,keyasint" json:"nonce"`   // transactions sent
	// Grant is the nonce of the transaction that set the limit: what comes back
	// later of what was spent under another limit does not count for this one.
	Grant uint64 `cbor:"4,keyasint" json:"grant"`
}

// Transfer moves an amount to another account.
type Transfer struct {
	To     Address `cbor:"1,keyasint"`
	Amount Amount  `cbor:"2,keyasint"`
}

func (m *Transfer) apply(c *call) error {
	if m.Amount == 0 {
		return fail(CodeRefused, "nothing to transfer")
	}
	if err := c.debit(m.Amount); err != nil {
		return err
	}
	credit(c.tree, m.To, m.Amount)
	c.event("transfer", "from", c.from.String(), "to", m.To.String(), "amount", m.Amount.String())
	return nil
}

// Burn destroys an amount.
type Burn struct {
	Amount Amount `cbor:"1,keyasint"`
}

func (m *Burn) apply(c *call) error {
	if m.Amount == 0 {
		return fail(CodeRefused, "nothing to burn")
	}
	if err := c.debit(m.Amount); err != nil {
		return err
	}
	burn(c.tree, m.Amount)
	c.event("burn", "from", c.from.String(), "amount", m.Amount.String())
	return nil
}

// burn takes an amount, which was taken from where it was, out of the supply.
func burn(t *tree.Tree, n Amount) {
	if n == 0 {
		return
	}
	m := meta(t)
	m.Supply -= n
	save(t, tableMeta.key(), m)
}

// Authorise lets a device's key transfer and open sessions for the account, up
// to a limit that fees count against, until a time in milliseconds since 1970. It replaces what the key
// was allowed before; a limit of 0 ends it.
type Authorise struct {
	Key     []byte `cbor:"1,keyasint"`
	Limit   Amount `cbor:"2,keyasint"`
	Expires uint64 `cbor:"3,keyasint"`
}

func (m *Authorise) apply(c *call) error {
	if err := checkKey(m.Key); err != nil {
		return fail(CodeRefused, "the device's key: %w", err)
	}
	if AddressOf(m.Key) == c.from {
		return fail(CodeRefused, "the device's key is the account's own")
	}
	key := tableDevice.key(c.from[:], m.Key)
	d, ok := load[Device](c.tree, key)
	if !ok {
		d = &Device{}
	}
	// The entry stays when the limit ends: its nonce keeps old transactions
	// from counting again.
	d.Limit, d.Expires, d.Grant = min(m.Limit, MaxSupply), m.Expires, account(c.tree, c.from).Nonce-1
	save(c.tree, key, d)
	c.event("authorise", "account", c.from.String(), "key", hex.EncodeToString(m.Key), "limit", d.Limit.String())
	return nil
}
