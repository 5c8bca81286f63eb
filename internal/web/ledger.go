package web

import (
	"context"
	"time"
)

// Ledger reads the ledger. Everything that it gives is a copy.
type Ledger interface {
	Status(ctx context.Context) (LedgerStatus, error)
	// Blocks are those before a height, the latest first; 0: the latest.
	Blocks(ctx context.Context, before uint64, most int) ([]Block, error)
	// Block has its transactions. ErrNotThere: there is none of this height.
	Block(ctx context.Context, height uint64) (*Block, error)
	Tx(ctx context.Context, hash string) (*Tx, error)
	Account(ctx context.Context, address string) (*Account, error)
	// Entry is what the state has at a key, or that it has nothing there, with the
	// proof of either.
	Entry(ctx context.Context, key string) (*Entry, error)
	Nodes(ctx context.Context) ([]NodeRecord, error)
	Disputes(ctx context.Context) ([]Dispute, error)
}

// LedgerStatus is how far the ledger is.
type LedgerStatus struct {
	Chain      string
	Height     uint64
	Root       string // of the state, the application hash
	Time       time.Time
	Validators int
	Catching   bool   // it is still catching up with others
	Halted     string // why no block can be made, in words
	Account    string // of this device
	Balance    string
}

// Block is a block.
type Block struct {
	Height   uint64
	Time     time.Time
	Hash     string
	Root     string // of the state after it
	Proposer string
	Count    int // transactions
	Txs      []Tx
	Events   []Event // of its beginning and end
}

// Tx is a transaction.
type Tx struct {
	Hash   string
	Height uint64
	Index  int
	Kind   string
	From   string // address
	Nonce  uint64
	Fee    string
	Bytes  int
	Known  bool // what came of it
	OK     bool
	Error  string
	Fields []Field // what it says
	Events []Event
}

// Field is a name and a value.
type Field struct{ Name, Value string }

// Event is something that a transaction or a block did.
type Event struct {
	Kind   string
	Fields []Field
}

// Account is an account.
type Account struct {
	Address, Balance string
	Nonce            uint64
	Entry            *Entry // the account in the state, with its proof
}

// Entry is a place of the state.
type Entry struct {
	Key     string
	Table   string
	Present bool
	Value   []byte
	Fields  []Field // what it says
	Height  uint64
	Root    string
	Proof   []byte
	// Siblings are the hashes from the entry to the root, as the proof has them.
	Siblings []string
	Checked  bool // the proof was checked against the root here
}

// NodeRecord is what the ledger knows of a node.
type NodeRecord struct {
	Key, Account string
	Bond         string
	Validator    bool
	Power        int64
	Audited      uint64
	Failed       uint64
	Slashed      string
	Offers       int
}
