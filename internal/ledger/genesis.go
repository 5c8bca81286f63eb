package ledger

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Genesis is what a chain begins with: accounts and validators, or the whole
// state of another chain, which Export gives.
type Genesis struct {
	Chain      string             `json:"chain"`
	Time       uint64             `json:"time"`    // milliseconds since 1970
	Version    uint64             `json:"version"` // of the rules; 0: those of this program
	Params     *Params            `json:"params,omitempty"`
	Accounts   []GenesisAccount   `json:"accounts,omitempty"`
	Validators []GenesisValidator `json:"validators,omitempty"`
	// State is a list of keys and values, base64, ascending by key. With it the
	// fields above but Chain and Time are empty.
	State [][2]string `json:"state,omitempty"`
}

// GenesisAccount is an account with a balance.
type GenesisAccount struct {
	Address Address `json:"address"`
	Balance Amount  `json:"balance"`
}

// GenesisValidator is a validator with a bond, which is minted with the rest.
type GenesisValidator struct {
	Key      canon.Hash `json:"key"` // Ed25519
	Operator Address    `json:"operator"`
	Power    uint64     `json:"power"`
	Bond     Amount     `json:"bond"`
}

// MaxGenesis bounds the file of a genesis, in bytes.
const MaxGenesis = 1 << 30

// ParseGenesis reads the JSON of a genesis. New checks what is in it.
func ParseGenesis(data []byte) (*Genesis, error) {
	g := new(Genesis)
	if len(data) > MaxGenesis {
		return nil, fmt.Errorf("ledger: a genesis of %d bytes, want at most %d", len(data), MaxGenesis)
	}
	if err := json.Unmarshal(data, g); err != nil {
		return nil, fmt.Errorf("ledger: the genesis: %w", err)
	}
	return g, nil
}

// Encode is the JSON of a genesis.
func (g *Genesis) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return append(data, '\n'), nil
}

// Hash is the SHA-256 of what Encode gives, which tells chains apart even if they
// have one name.
func (g *Genesis) Hash() (canon.Hash, error) {
	data, err := g.Encode()
	return sha256.Sum256(data), err
}

// New is the machine before the first block of a chain.
func New(g *Genesis) (*Machine, error) {
	if g.Chain == "" || len(g.Chain) > MaxChain {
		return nil, fmt.Errorf("ledger: the genesis: a chain's name of %d bytes, want 1 to %d", len(g.Chain), MaxChain)
	}
	m := &Machine{time: g.Time}
	var err error
	if len(g.State) > 0 {
		err = m.fromState(g)
	} else {
		err = m.fromAccounts(g)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: the genesis: %w", err)
	}
	if err := check(&m.state); err != nil {
		return nil, fmt.Errorf("ledger: the genesis: %w", err)
	}
	m.state.Root()
	return m, nil
}

func (m *Machine) fromAccounts(g *Genesis) error {
	e := Meta{Chain: g.Chain, Version: g.Version, Params: DefaultParams()}
	if e.Version == 0 {
		e.Version = Version
	}
	if g.Params != nil {
		e.Params = *g.Params
	}
	t := &m.state
	for _, a := range g.Accounts {
		key := tableAccount.key(a.Address[:])
		if _, ok := t.Get(key); ok {
			return fmt.Errorf("the account %s is there twice", a.Address)
		}
		save(t, key, &Account{Balance: a.Balance})
		e.Supply = plus(e.Supply, a.Balance)
	}
	for _, v := range g.Validators {
		key := tableValidator.key(v.Key[:])
		if _, ok := t.Get(key); ok {
			return fmt.Errorf("the validator %s is there twice", v.Key)
		}
		if v.Bond < e.Params.ValidatorBond {
			return fmt.Errorf("the validator %s has a bond of %d, want at least %d", v.Key, v.Bond, e.Params.ValidatorBond)
		}
		save(t, key, &Validator{Operator: v.Operator, Power: v.Power, Bond: v.Bond})
		e.Supply = plus(e.Supply, v.Bond)
	}
	save(t, tableMeta.key(), &e)
	return nil
}

func (m *Machine) fromState(g *Genesis) error {
	if g.Params != nil || g.Version != 0 || len(g.Accounts) > 0 || len(g.Validators) > 0 {
		return errors.New("it has a whole state and a list of accounts, validators or parameters, too")
	}
	var last []byte
	for i, e := range g.State {
		k, err1 := base64.StdEncoding.DecodeString(e[0])
		v, err2 := base64.StdEncoding.DecodeString(e[1])
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if i > 0 && slices.Compare(k, last) <= 0 {
			return fmt.Errorf("the key of entry %d is not above the one before", i)
		}
		if _, err := rowOf(k); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if len(v) > tree.MaxValue {
			return fmt.Errorf("entry %d has a value of %d bytes, want at most %d", i, len(v), tree.MaxValue)
		}
		m.state.Set(k, v)
		last = k
	}
	// The other chain's name gives way to this one's, so that no transaction
	// counts on both.
	e, ok := load0[Meta](&m.state, tableMeta.key())
	if !ok {
		return errors.New("the state has no meta entry")
	}
	e.Chain = g.Chain
	save(&m.state, tableMeta.key(), e)
	return m.rebase()
}

// rebase moves what waits for a height to the same distance from height 0.
func (m *Machine) rebase() error {
	if err := restartBeacon(&m.state); err != nil {
		return err
	}
	for range m.state.Ascend(tableDue.key([]byte{byte(byHeight)})) {
		return errors.New("the state has open games, which wait for heights of the other chain: export it when they have ended")
	}
	if e := meta(&m.state); e.Next != 0 {
		return errors.New("the state waits for an upgrade at a height of the other chain: export it after that")
	}
	return nil
}

// Export is a genesis of a chain that begins with the state after the last
// block.
func (m *Machine) Export(chain string) *Genesis {
	g := &Genesis{Chain: chain, Time: m.time}
	t := m.State()
	for k, v := range t.Ascend(nil) {
		g.State = append(g.State, [2]string{base64.StdEncoding.EncodeToString(k), base64.StdEncoding.EncodeToString(v)})
	}
	return g
}

// check finds states that no chain can have.
func check(t *tree.Tree) error {
	var sum Amount
	for k, v := range t.Ascend(nil) {
		row, err := rowOf(k)
		if err != nil {
			return err
		}
		if row.check == nil {
			if len(v) > 0 {
				return fmt.Errorf("the entry %x of the table %s has a value", k, row.name)
			}
			continue
		}
		_, held, err := row.check(v)
		if err != nil {
			return fmt.Errorf("the entry %x of the table %s: %w", k, row.name, err)
		}
		if held > MaxSupply {
			return fmt.Errorf("the entry %x of the table %s has %d, more than there can be", k, row.name, held)
		}
		if sum += held; sum > MaxSupply {
			return fmt.Errorf("all amounts are more than %d", MaxSupply)
		}
	}
	e, ok := load0[Meta](t, tableMeta.key())
	if !ok {
		return errors.New("the state has no meta entry")
	}
	if e.Supply != sum {
		return fmt.Errorf("all amounts are %d, the supply is said to be %d", sum, e.Supply)
	}
	if err := e.Params.validate(); err != nil {
		return err
	}
	if e.Version < 1 || e.Version > Version {
		return &UpgradeError{Version: e.Version, Have: Version}
	}
	total, count := uint64(0), 0
	for k, v := range each[Validator](t, tableValidator) {
		if v.Power > MaxPower {
			return fmt.Errorf("the validator %x has a power of %d, want at most %d", k[1:], v.Power, MaxPower)
		}
		if err := checkKey(k[1:]); v.Power > 0 && err != nil {
			return fmt.Errorf("the validator %x: %w", k[1:], err)
		}
		if v.Power > 0 {
			count++
			total += v.Power
		}
	}
	if count < 1 || count > MaxValidators {
		return fmt.Errorf("%d validators, want 1 to %d", count, MaxValidators)
	}
	return nil
}

// load0 is load for states that may be bad.
func load0[T any](t *tree.Tree, key []byte) (*T, bool) {
	raw, ok := t.Get(key)
	if !ok {
		return nil, false
	}
	v := new(T)
	return v, canon.Unmarshal(raw, v) == nil
}
