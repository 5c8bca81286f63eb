package ledger

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// table is the first byte of the keys of one kind of entry. spec/ledger.md,
// part 4, lists them.
type table byte

const (
	tableMeta        table = 'g' // one entry: Meta
	tableAccount     table = 'a' // address
	tableDevice      table = 'd' // address, key
	tableValidator   table = 'v' // key
	tableProposal    table = 'p' // hash of the change
	tableNode        table = 'n' // key
	tableUnbonding   table = 'u' // kind of bond, key, time of release, number
	tableOffer       table = 'o' // key of the node, model
	tableModel       table = 'm' // root
	tableAttestation table = 't' // subject, kind, account
	tableSession     table = 's' // hash of the transaction that opened it
	tableDue         table = 'q' // clock, time or height, kind, key of what is due
	tableAuditor     table = 'j' // key of the node
	tableAudit       table = 'k' // key of the node, size of its log
	tableDemand      table = 'b' // as of the audit, place in it, key of the auditor
	tablePlant       table = 'l' // commitment
	tableMissing     table = 'w' // key of the node, receipt
	tableDispute     table = 'x' // id
	tableMove        table = 'y' // id of the dispute, number of the message
	tableDocket      table = 'f' // kind of docket, and what it is of
	tableBeacon      table = 'r' // one entry: Beacon
	tableDealing     table = 'i' // place of the dealer
	tableEnrolled    table = 'h' // key of the validator; and its beacon key
)

// tables says what the values of each table are. An import checks every entry.
var tables = []tableRow{
	{tableMeta, "meta", entry[Meta], 0, 0},
	{tableAccount, "account", entry[Account], 32, 32},
	{tableDevice, "device", entry[Device], 64, 64},
	{tableValidator, "validator", entry[Validator], 32, 32},
	{tableProposal, "proposal", entry[Proposal], 32, 32},
	{tableNode, "node", entry[Node], 32, 32},
	{tableUnbonding, "unbonding", entry[Unbonding], 49, 49},
	{tableOffer, "offer", entry[Offer], 64, 64},
	{tableModel, "model", entry[Model], 32, 32},
	{tableAttestation, "attestation", entry[Attestation], 65, 64 + maxKindName},
	{tableSession, "session", entry[Session], 32, 32},
	{tableDue, "due", nil, 10, 127},
	{tableAuditor, "auditor", entry[Auditor], 32, 32},
	{tableAudit, "audit", entry[Audit], 40, 40},
	{tableDemand, "demand", entry[Demanded], 73, 73},
	{tablePlant, "plant", entry[Plant], 32, 32},
	{tableMissing, "missing", entry[Missed], 64, 64},
	{tableDispute, "dispute", entry[Dispute], 32, 32},
	{tableMove, "move", entry[Move], 40, 40},
	{tableDocket, "docket", entry[Docket], 33, 65},
	{tableBeacon, "beacon", entry[Beacon], 0, 0},
	{tableDealing, "dealing", entry[BeaconDealing], 1, 1},
	{tableEnrolled, "enrolled", entry[Enrolled], 32, 48},
}

type tableRow struct {
	table table
	name  string
	// check reads a value and gives what the entry holds of the supply; nil:
	// the values are empty.
	check    func(value []byte) (any, Amount, error)
	min, max int // bytes of the key after the first
}

// holder is an entry that a part of the supply is in.
type holder interface{ held() Amount }

func entry[T any](value []byte) (any, Amount, error) {
	v := new(T)
	if err := canon.Unmarshal(value, v); err != nil {
		return nil, 0, err
	}
	if h, ok := any(v).(holder); ok {
		return v, h.held(), nil
	}
	return v, 0, nil
}

// Entry reads an entry of the state: the name of its table and its value, a
// pointer to a struct of this package, or nil where the key says all.
func Entry(key, value []byte) (table string, v any, err error) {
	row, err := rowOf(key)
	if err != nil {
		return "", nil, err
	}
	if row.check == nil {
		return row.name, nil, nil
	}
	v, _, err = row.check(value)
	return row.name, v, err
}

func rowOf(key []byte) (*tableRow, error) {
	for i := range tables {
		r := &tables[i]
		if len(key) > 0 && key[0] == byte(r.table) {
			if n := len(key) - 1; n < r.min || n > r.max {
				return nil, fmt.Errorf("ledger: a key of %d bytes in the table %s", len(key), r.name)
			}
			return r, nil
		}
	}
	return nil, fmt.Errorf("ledger: the key %x is of no table", key)
}

func (t table) key(parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	k := append(make([]byte, 0, n), byte(t))
	for _, p := range parts {
		k = append(k, p...)
	}
	return k
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// load reads an entry.
func load[T any](t *tree.Tree, key []byte) (*T, bool) {
	raw, ok := t.Get(key)
	if !ok {
		return nil, false
	}
	return decode[T](key, raw), true
}

func decode[T any](key, raw []byte) *T {
	v := new(T)
	if err := canon.Unmarshal(raw, v); err != nil {
		// Import checks entries, and nothing else writes them.
		panic(fmt.Sprintf("ledger: internal error: the entry %x: %v", key, err))
	}
	return v
}

func save(t *tree.Tree, key []byte, v any) {
	raw, err := canon.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("ledger: internal error: the entry %x: %v", key, err))
	}
	t.Set(key, raw)
}

// each lists the entries of a table whose keys go on with a prefix.
func each[T any](t *tree.Tree, of table, prefix ...[]byte) iter.Seq2[[]byte, *T] {
	return func(yield func([]byte, *T) bool) {
		for k, raw := range t.Ascend(of.key(prefix...)) {
			if !yield(k, decode[T](k, raw)) {
				return
			}
		}
	}
}

// Meta is what there is once.
type Meta struct {
	Chain   string `cbor:"1,keyasint" json:"chain"`
	Version uint64 `cbor:"2,keyasint" json:"version"` // of the rules
	Supply  Amount `cbor:"3,keyasint" json:"supply"`  // of all amounts in the state
	Params  Params `cbor:"4,keyasint" json:"params"`
	// Next is a version that the validators voted for, and the height from
	// which it holds.
	Next   uint64 `cbor:"5,keyasint,omitempty" json:"next,omitempty"`
	NextAt uint64 `cbor:"6,keyasint,omitempty" json:"next_at,omitempty"`
	// Serial counts what needs a number of its own.
	Serial uint64 `cbor:"7,keyasint,omitempty" json:"serial,omitempty"`
}

func meta(t *tree.Tree) *Meta {
	m, ok := load[Meta](t, tableMeta.key())
	if !ok {
		panic("ledger: internal error: a state without its meta entry")
	}
	return m
}

// serial is a number that no other thing of this chain has.
func serial(t *tree.Tree) uint64 {
	m := meta(t)
	m.Serial++
	save(t, tableMeta.key(), m)
	return m.Serial
}
