package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/service"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/receipt"
)

func newLedgerCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "ledger COMMAND",
		Short: "Look into the ledger; send transactions",
		Long: `Ledger asks the node that runs on this machine ("aval up") about the ledger it takes
part in: who has what, who offers which model under which bond, what was proved
wrong. Amounts are in units, with up to six digits behind the point; in JSON they
are whole millionths of a unit.
` + exitHelp,
		Example: "  aval ledger query account\n  aval ledger pay 1f6e... 2.5\n  aval ledger validators",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newLedgerPayCommand(a), newLedgerTxCommand(a), newLedgerQueryCommand(a), newLedgerProofCommand(a), newLedgerVerifyCommand(a),
		newLedgerValidatorsCommand(a), newLedgerAuditsCommand(a), newLedgerGenesisCommand(a), newLedgerNewCommand(a), newLedgerExportCommand(a))
	return c
}

// onLedger calls f with the running node.
func (a *app) onLedger(ctx context.Context, f func(r *node.Remote) error) error {
	r, err := a.mustRun(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return f(r)
}

// sendTx sends a transaction of the node's account, whose content is JSON.
func (a *app) sendTx(ctx context.Context, kind ledger.Kind, content []byte, asJSON bool) error {
	return a.onLedger(ctx, func(r *node.Remote) error {
		s, err := r.LedgerSend(ctx, node.SendRequest{Kind: kind.String(), Payload: content})
		if err != nil {
			return err
		}
		return a.tellSent(s, asJSON)
	})
}

// tellSent says what came of a transaction.
func (a *app) tellSent(s node.Sent, asJSON bool) error {
	if asJSON {
		if err := a.printJSON(s); err != nil {
			return err
		}
		return s.Err()
	}
	if err := s.Err(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "%s in block %d, for %s units\n", s.ID, s.Height, units(s.Fee))
	return err
}

func newLedgerPayCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "pay [flags] ACCOUNT AMOUNT", Short: "Pay units to an account", Args: cobra.ExactArgs(2),
		Long:    "Pay moves units from this device's account to another, and waits until that is in a\nblock.\n" + exitHelp,
		Example: "  aval ledger pay 1f6e0c...  2.5",
		RunE: func(c *cobra.Command, args []string) error {
			var to ledger.Address
			if err := to.UnmarshalText([]byte(args[0])); err != nil {
				return usageErrorf("the account %s: %w", clip(args[0]), err)
			}
			amount, err := parseUnits(args[1])
			if err != nil {
				return usageError{err}
			}
			payload, err := json.Marshal(ledger.Transfer{To: to, Amount: amount})
			if err != nil {
				return err
			}
			return a.sendTx(c.Context(), ledger.KindTransfer, payload, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newLedgerTxCommand(a *app) *cobra.Command {
	var asJSON bool
	var names []string
	for _, k := range ledger.Kinds() {
		names = append(names, k.String())
	}
	c := &cobra.Command{
		Use: "tx [flags] KIND [CONTENT]", Short: "Send any transaction of this device's account", Args: cobra.RangeArgs(1, 2),
		Long: `Tx signs a transaction with this device's key and waits until it is in a block.
CONTENT is JSON, or @FILE with it; spec/ledger.md lists the fields. Byte strings are
base64. KIND is one of
  ` + strings.Join(names, ", ") + "\n" + exitHelp,
		Example: "  aval ledger tx burn '{\"amount\": 1000000}'\n  aval ledger tx model @model.json",
		RunE: func(c *cobra.Command, args []string) error {
			kind, ok := ledger.KindNamed(args[0])
			if !ok {
				return usageErrorf("there is no transaction %s: want one of %s", clip(args[0]), strings.Join(names, ", "))
			}
			content := []byte("{}")
			if len(args) == 2 {
				content = []byte(args[1])
				if path, ok := strings.CutPrefix(args[1], "@"); ok {
					var err error
					if content, err = os.ReadFile(path); err != nil {
						return err
					}
				}
			}
			if err := json.Unmarshal(content, kind.Payload()); err != nil {
				return usageErrorf("the content of a %s: %w", kind, err)
			}
			return a.sendTx(c.Context(), kind, content, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newLedgerQueryCommand(a *app) *cobra.Command {
	var prefix string
	var limit int
	c := &cobra.Command{
		Use: "query [flags] TABLE", Short: "List entries of the ledger as JSON", Args: cobra.ExactArgs(1),
		Long:    "Query prints the entries of a table, in the order of their keys, as JSON. TABLE is one of\n  " + strings.Join(ledger.Tables(), ", ") + "\n" + exitHelp,
		Example: "  aval ledger query account\n  aval ledger query node --limit 10",
		RunE: func(c *cobra.Command, args []string) error {
			if _, ok := ledger.Table(args[0]); !ok {
				return usageErrorf("there is no table %s: want one of %s", clip(args[0]), strings.Join(ledger.Tables(), ", "))
			}
			return a.onLedger(c.Context(), func(r *node.Remote) error {
				list, err := r.LedgerEntries(c.Context(), node.EntriesRequest{Table: args[0], Prefix: prefix, Limit: limit})
				if err != nil {
					return err
				}
				return a.printJSON(list)
			})
		},
	}
	c.Flags().StringVar(&prefix, "prefix", "", "only keys that go on so behind the table's first byte, in hexadecimal")
	c.Flags().IntVar(&limit, "limit", 0, "how many at most")
	c.Flags().Bool("json", true, "print JSON, which it does in any case")
	_ = c.Flags().MarkHidden("json")
	return c
}

// proofJSON is what "aval ledger proof" prints.
type proofJSON struct {
	node.EntryProof
	Holds bool `json:"holds"` // this program checked it
}

func newLedgerProofCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "proof KEY", Short: "Prove that an entry is, or is not, in the ledger's state", Args: cobra.ExactArgs(1),
		Long: `Proof prints what shows to anybody who knows the genesis that there is an entry with
the key, in hexadecimal as "aval ledger query" prints it, or that there is none: the
path to the root of the state, and the header of the next block, which names the
root, with the votes of the validators. "aval ledger verify" checks it.
` + exitHelp,
		Example: "  aval ledger proof 6e1f6e0c... > proof.json",
		RunE: func(c *cobra.Command, args []string) error {
			return a.onLedger(c.Context(), func(r *node.Remote) error {
				p, err := r.LedgerProof(c.Context(), args[0])
				if err != nil {
					return err
				}
				return a.tellProof(args[0], p)
			})
		},
	}
	c.Flags().Bool("json", true, "print JSON, which it does in any case")
	_ = c.Flags().MarkHidden("json")
	return c
}

func (a *app) tellProof(key string, p node.EntryProof) error {
	proof, err := tree.DecodeProof(p.Proof)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(key)
	if err != nil {
		return err
	}
	value, there, err := proof.Verify(p.Root, raw)
	if err != nil {
		return err
	}
	return a.printJSON(proofJSON{p, there == (p.Entry != nil) && (!there || value == canon.Hash(sha256.Sum256(p.Value)))})
}

// maxEntryProof bounds the file of an entry's proof, in bytes.
const maxEntryProof = 4 << 20

func newLedgerVerifyCommand(a *app) *cobra.Command {
	var genesis string
	var asJSON bool
	c := &cobra.Command{
		Use: "verify [flags] FILE", Short: "Check what \"aval ledger proof\" printed", Args: cobra.ExactArgs(1),
		Long: `Verify checks a proof with the genesis of the ledger alone: that more than two thirds
of the validators signed the header, and that the entry is, or is not, in the state
that it names. It asks nobody. The validators must still be those of the genesis, or
a third of them; and it cannot tell whether the entry changed since.
` + exitHelp,
		Example: "  aval ledger verify proof.json\n  aval ledger verify proof.json --genesis clinic.json",
		RunE: func(_ *cobra.Command, args []string) error {
			g, err := a.genesisOf(genesis)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			data, err := io.ReadAll(io.LimitReader(f, maxEntryProof+1))
			if err != nil {
				return err
			}
			if len(data) > maxEntryProof {
				return fmt.Errorf("%s: it has more than %d bytes", args[0], maxEntryProof)
			}
			v, err := service.VerifyFile(g, data, time.Now())
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				return a.printJSON(v)
			}
			what := "has no entry " + v.Key
			if v.Value != nil {
				text, err := json.Marshal(v.Value)
				if err != nil {
					return err
				}
				what = fmt.Sprintf("has the entry %s of the table %s: %s", v.Key, v.Table, text)
			}
			_, err = fmt.Fprintf(a.out, "the ledger %s, after block %d, %s\nsigned by its validators at %s\n", v.Chain, v.Height, what, v.Time.Format(time.RFC3339))
			return err
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "FILE with the genesis (default: that of this device's node)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// genesisOf reads the genesis in a file, or that of this device's node.
func (a *app) genesisOf(path string) (*ledger.Genesis, error) {
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		g, err := ledger.ParseGenesis(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return g, nil
	}
	folder, err := a.nodeFolder()
	if err != nil {
		return nil, err
	}
	g, err := node.ReadGenesis(folder)
	if err == nil && g == nil {
		err = errors.New("this node is in no ledger: give its genesis (--genesis FILE)")
	}
	return g, err
}

func newLedgerValidatorsCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "validators [flags]", Short: "Show who makes blocks", Args: cobra.NoArgs,
		Long:    "Validators lists the keys that make blocks, with their power.\n" + exitHelp,
		Example: "  aval ledger validators",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.onLedger(c.Context(), func(r *node.Remote) error {
				s, err := r.LedgerStatus(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(nonNil(s.Validators))
				}
				var total uint64
				for _, v := range s.Validators {
					total += v.Power
				}
				for _, v := range s.Validators {
					fmt.Fprintf(a.out, "%s  %d of %d\n", v.Key, v.Power, total)
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newLedgerGenesisCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "genesis", Short: "Print the genesis of the ledger, for others to take part", Args: cobra.NoArgs,
		Long:    "Genesis prints what the ledger of this node began with. Another device takes part in it\nwith \"aval up --genesis FILE\".\n" + exitHelp,
		Example: "  aval ledger genesis > clinic.json",
		RunE: func(*cobra.Command, []string) error {
			folder, err := a.nodeFolder()
			if err != nil {
				return err
			}
			g, err := node.ReadGenesis(folder)
			if err != nil {
				return err
			}
			if g == nil {
				return fmt.Errorf("this node is in no ledger yet: \"aval up\" begins one")
			}
			data, err := g.Encode()
			if err != nil {
				return err
			}
			_, err = a.out.Write(data)
			return err
		},
	}
	return c
}

func newLedgerExportCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "export CHAIN", Short: "Print a genesis with the state of now, for a new chain", Args: cobra.ExactArgs(1),
		Long: `Export prints the genesis of a chain that begins with the state after the last block
of this one. CHAIN is its name; nothing signed for one of them counts on the other.
A state with open disputes or audits is refused when it is imported: wait for their
end.
` + exitHelp,
		Example: "  aval ledger export clinic-2 > clinic-2.json",
		RunE: func(c *cobra.Command, args []string) error {
			return a.onLedger(c.Context(), func(r *node.Remote) error {
				g, err := r.LedgerGenesis(c.Context(), args[0])
				if err != nil {
					return err
				}
				data, err := g.Encode()
				if err != nil {
					return err
				}
				_, err = a.out.Write(data)
				return err
			})
		},
	}
	return c
}

func newLedgerNewCommand(a *app) *cobra.Command {
	var validators, accounts []string
	var supply, paramsFile string
	c := &cobra.Command{
		Use: "new [flags] CHAIN", Short: "Write the genesis of a new ledger that several devices run", Args: cobra.ExactArgs(1),
		Long: `New prints the genesis of a ledger whose blocks are made by the devices named: each
--validator is the key that "aval key" prints there. All have the same power, and
each has a bond and an equal part of the supply in the account of its key. --account
gives units to further accounts, out of the supply. --params names a file of JSON with
the rules that are not to be the usual ones, by the names that "aval ledger query meta"
shows: fees, bonds, deadlines. A ledger of four goes on when one of them fails.
` + exitHelp,
		Example: `  aval ledger new clinic --validator aval-node-1... --validator aval-node-1... > clinic.json
  aval up --genesis clinic.json --ledger-listen 0.0.0.0:26656 --ledger-peer aval-node-1...@192.0.2.1:26656`,
		RunE: func(_ *cobra.Command, args []string) error {
			total, err := parseUnits(supply)
			if err != nil {
				return usageErrorf("--supply: %w", err)
			}
			params, err := readParams(paramsFile)
			if err != nil {
				return err
			}
			g, err := newGenesis(args[0], validators, accounts, total, params)
			if err != nil {
				return err
			}
			if _, err := ledger.New(g); err != nil {
				return usageError{err}
			}
			data, err := g.Encode()
			if err != nil {
				return err
			}
			_, err = a.out.Write(data)
			return err
		},
	}
	c.Flags().StringArrayVar(&validators, "validator", nil, "KEY of a device that makes blocks; again for more")
	c.Flags().StringArrayVar(&accounts, "account", nil, "ACCOUNT=AMOUNT in units; again for more")
	c.Flags().StringVar(&supply, "supply", "1000000000", "all units that there will ever be")
	c.Flags().StringVar(&paramsFile, "params", "", "FILE with the rules that differ, such as {\"node_bond\": 5000000}")
	return c
}

// maxParams bounds the file of rules, in bytes.
const maxParams = 64 << 10

// readParams are the usual rules, changed by a file; nil without one.
func readParams(path string) (*ledger.Params, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := ledger.DefaultParams()
	d := json.NewDecoder(io.LimitReader(f, maxParams))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, usageErrorf("--params %s: %w", path, err)
	}
	return &p, nil
}

// newGenesis shares the supply among validators, but for what accounts are given.
func newGenesis(chain string, validators, accounts []string, supply ledger.Amount, params *ledger.Params) (*ledger.Genesis, error) {
	if len(validators) == 0 {
		return nil, usageErrorf("a ledger needs at least one --validator: the key that \"aval key\" prints on its device")
	}
	g := &ledger.Genesis{Chain: chain, Time: uint64(time.Now().UnixMilli()), Params: params}
	rest := supply
	for _, s := range accounts {
		name, amount, ok := strings.Cut(s, "=")
		var to ledger.Address
		if err := to.UnmarshalText([]byte(name)); !ok || err != nil {
			return nil, usageErrorf("--account %s: want ACCOUNT=AMOUNT", clip(s))
		}
		n, err := parseUnits(amount)
		if err != nil {
			return nil, usageErrorf("--account %s: %w", clip(s), err)
		}
		if n > rest {
			return nil, usageErrorf("--account: the accounts have more than the supply of %s units", units(supply))
		}
		rest -= n
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: to, Balance: n})
	}
	bond := ledger.DefaultParams().ValidatorBond
	if params != nil {
		bond = params.ValidatorBond
	}
	part := rest / ledger.Amount(len(validators))
	if part < 2*bond {
		return nil, usageErrorf("the supply leaves %s units for each validator, which has a bond of %s: want twice that at least", units(part), units(bond))
	}
	for _, s := range validators {
		key, err := receipt.ParseNodeKey(s)
		if err != nil {
			return nil, usageErrorf("--validator %s: %w", clip(s), err)
		}
		a := ledger.AddressOf(key)
		g.Validators = append(g.Validators, ledger.GenesisValidator{Key: canon.Hash(key), Operator: a, Power: 1, Bond: bond})
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: a, Balance: part - bond})
	}
	return g, nil
}
