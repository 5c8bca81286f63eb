package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"

	"github.com/avalnetwork/aval/anchor"
)

// program is the command with what it may touch.
type program struct {
	out, err io.Writer
	getenv   func(string) string
	now      func() time.Time
	dial     func(ctx context.Context, url string) (anchor.Backend, error)
}

// command is one subcommand: a line about it, examples, its flags, and what it
// does with them and with the other arguments.
type command struct {
	name, args, short, examples string
	flags                       func(f *flag.FlagSet, o *options)
	run                         func(p *program, ctx context.Context, o *options, args []string) error
}

var errUsage = errors.New("wrong usage")

func commands() []command {
	return []command{
		{"key", "FILE", "makes a key of an account or a signer and prints its address", "aval-anchor key signer.key", nil, (*program).key},
		{"deploy", "", "puts a contract on a chain", `aval-anchor deploy --rpc http://127.0.0.1:8545 --key payer.key \
  --ledger aval-main --signers 0xA...,0xB...,0xC... --threshold 2`, flagsDeploy, (*program).deploy},
		{"sign", "", "signs the newest state of the ledger, for others to post", `aval-anchor sign --rpc http://127.0.0.1:8545 --contract 0x... \
  --state http://127.0.0.1:7777/state --signer signer.key > mine.json`, flagsSign, (*program).sign},
		{"post", "", "posts new states as they come, until it is stopped", `aval-anchor post --rpc http://127.0.0.1:8545 --contract 0x... --key payer.key \
  --state http://127.0.0.1:7777/state --signer signer.key \
  --attestations https://other.example/mine.json --every 100
aval-anchor post ... --once            # one state, and an end`, flagsPost, (*program).post},
		{"status", "", "tells what a contract has", "aval-anchor status --rpc http://127.0.0.1:8545 --contract 0x...", flagsStatus, (*program).status},
		{"verify", "FILE", "checks a proof against the root that is anchored", "aval-anchor verify --rpc http://127.0.0.1:8545 --contract 0x... proof.json", flagsContract, (*program).verify},
		{"change", "", "exchanges the signers, by signatures of the present ones", `aval-anchor change --rpc http://127.0.0.1:8545 --contract 0x... \
  --signers 0xA...,0xD... --threshold 2 --signer mine.key   # prints a signature
aval-anchor change ... --signer mine.key --signature 1f... --key payer.key`, flagsChange, (*program).change},
	}
}

func (p *program) run(ctx context.Context, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		p.help(p.out)
		return 0
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		f := flag.NewFlagSet(c.name, flag.ContinueOnError)
		f.SetOutput(p.err)
		f.Usage = func() {
			fmt.Fprintf(p.err, "aval-anchor %s [flags] %s\n\nIt %s.\n\n", c.name, c.args, c.short)
			f.PrintDefaults()
			fmt.Fprintf(p.err, "\nExamples:\n\n%s\n", c.examples)
		}
		o := &options{getenv: p.getenv}
		if c.flags != nil {
			c.flags(f, o)
		}
		err := f.Parse(args[1:])
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		if err != nil {
			return 2
		}
		want := 0
		if c.args != "" {
			want = 1
		}
		if f.NArg() != want {
			f.Usage()
			return 2
		}
		err = c.run(p, ctx, o, f.Args())
		switch {
		case err == nil:
			return 0
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return 0 // stopped, as asked
		}
		fmt.Fprintln(p.err, "aval-anchor:", err)
		if errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	fmt.Fprintf(p.err, "aval-anchor: no command %q\n\n", args[0])
	p.help(p.err)
	return 2
}

func (p *program) help(w io.Writer) {
	fmt.Fprint(w, "aval-anchor posts application hashes of a ledger to a contract on an EVM chain.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, `
aval-anchor COMMAND -h has the flags, with examples. It exits with 0 if all is
well, 1 if something failed or a proof does not stand, 2 for wrong usage.

Keys are files of 64 hexadecimal digits that nobody else may read, or the
environment variables AVAL_ANCHOR_KEY (pays) and AVAL_ANCHOR_SIGNER (signs).
`)
}

// options are the flags of all commands.
type options struct {
	getenv func(string) string

	rpc, contract, key   string
	ledger               string
	signers              string
	threshold            int
	state                string
	signer, places, by   texts
	journal              string
	every, confirmations uint64
	gwei                 float64
	interval, patience   time.Duration
	once                 bool
}

// texts is a flag that may be given more than once.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, ",") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

func flagsRPC(f *flag.FlagSet, o *options) {
	f.StringVar(&o.rpc, "rpc", "", "JSON-RPC `URL` of a node of the chain")
}

func flagsContract(f *flag.FlagSet, o *options) {
	flagsRPC(f, o)
	f.StringVar(&o.contract, "contract", "", "`address` of the contract")
}

func flagsKey(f *flag.FlagSet, o *options) {
	f.StringVar(&o.key, "key", "", "`file` with the key that pays (AVAL_ANCHOR_KEY)")
}

func flagsSigners(f *flag.FlagSet, o *options) {
	f.StringVar(&o.signers, "signers", "", "`addresses` of the signers, with commas between them")
	f.IntVar(&o.threshold, "threshold", 0, "how many of them must sign a root; more than half")
}

func flagsDeploy(f *flag.FlagSet, o *options) {
	flagsRPC(f, o)
	flagsKey(f, o)
	flagsSigners(f, o)
	f.StringVar(&o.ledger, "ledger", "", "chain `id` of the ledger, as its genesis has it")
}

func flagsStatus(f *flag.FlagSet, o *options) {
	flagsContract(f, o)
	f.StringVar(&o.state, "state", "", "`file` or URL on this machine with the newest state of the ledger, to compare")
}

func flagsSign(f *flag.FlagSet, o *options) {
	flagsContract(f, o)
	f.StringVar(&o.state, "state", "", "`file` or URL on this machine with the newest state of the ledger:\n{\"chain\": ID, \"height\": NUMBER, \"root\": HEX}")
	f.Var(&o.signer, "signer", "`file` with the key that signs (AVAL_ANCHOR_SIGNER); may be given more than once")
}

func flagsPost(f *flag.FlagSet, o *options) {
	flagsSign(f, o)
	flagsKey(f, o)
	f.Var(&o.places, "attestations", "`file` or URL with what others signed; may be given more than once")
	f.StringVar(&o.journal, "journal", "aval-anchor.json", "`file` that keeps the transaction under way; one for each key")
	f.Uint64Var(&o.every, "every", 1, "post heights that are this many above the latest")
	f.Uint64Var(&o.confirmations, "confirmations", 12, "blocks on top before a transaction is done")
	f.Float64Var(&o.gwei, "max-gwei", 100, "the most that a unit of gas may cost, tip included")
	f.DurationVar(&o.interval, "interval", 15*time.Second, "time between two looks")
	f.DurationVar(&o.patience, "patience", 2*time.Minute, "time before the price of a transaction is raised")
	f.BoolVar(&o.once, "once", false, "end when the newest state is anchored")
}

func flagsChange(f *flag.FlagSet, o *options) {
	flagsContract(f, o)
	flagsKey(f, o)
	flagsSigners(f, o)
	f.Var(&o.signer, "signer", "`file` with the key of a present signer (AVAL_ANCHOR_SIGNER); may be given more than once")
	f.Var(&o.by, "signature", "what another signer got from this command, in `hex`; may be given more than once")
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// open reads the contract that the flags name.
func (p *program) open(ctx context.Context, o *options) (*anchor.Contract, anchor.Backend, error) {
	backend, err := p.chain(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if !common.IsHexAddress(o.contract) {
		return nil, nil, usage("--contract %q is not an address", o.contract)
	}
	c, err := anchor.Open(ctx, backend, common.HexToAddress(o.contract))
	if err != nil {
		return nil, nil, err
	}
	return c, backend, nil
}

func (p *program) chain(ctx context.Context, o *options) (anchor.Backend, error) {
	if o.rpc == "" {
		return nil, usage("--rpc is missing")
	}
	backend, err := p.dial(ctx, o.rpc)
	if err != nil {
		return nil, fmt.Errorf("the chain's node: %w", err)
	}
	return backend, nil
}

// payer is the key that pays.
func (o *options) payer() (*ecdsa.PrivateKey, error) {
	if o.key != "" {
		return anchor.ReadKey(o.key)
	}
	if text := o.getenv("AVAL_ANCHOR_KEY"); text != "" {
		return anchor.ParseKey(text)
	}
	return nil, usage("no key: give --key, or AVAL_ANCHOR_KEY")
}

// signKeys are the keys that sign, maybe none.
func (o *options) signKeys() (list []*ecdsa.PrivateKey, err error) {
	for _, path := range o.signer {
		k, err := anchor.ReadKey(path)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	if text := o.getenv("AVAL_ANCHOR_SIGNER"); text != "" && len(list) == 0 {
		k, err := anchor.ParseKey(text)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// set is what --signers and --threshold name.
func (o *options) set() (s anchor.Signers, err error) {
	for _, text := range strings.Split(o.signers, ",") {
		if !common.IsHexAddress(text) {
			return s, usage("--signers: %q is not an address", text)
		}
		s.List = append(s.List, common.HexToAddress(text))
	}
	slices.SortFunc(s.List, common.Address.Cmp)
	if len(slices.Compact(slices.Clone(s.List))) < len(s.List) {
		return s, usage("--signers has an address twice")
	}
	if s.Threshold = o.threshold; s.Threshold > len(s.List) || 2*s.Threshold <= len(s.List) {
		return s, usage("--threshold %d of %d signers: want more than half of them, and no more than there are", o.threshold, len(s.List))
	}
	return s, nil
}

// transactor signs transactions of the key that pays.
func (o *options) transactor(ctx context.Context, backend anchor.Backend) (*bind.TransactOpts, error) {
	key, err := o.payer()
	if err != nil {
		return nil, err
	}
	id, err := backend.ChainID(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the chain for its id: %w", err)
	}
	opts, err := bind.NewKeyedTransactorWithChainID(key, id)
	if err != nil {
		return nil, err
	}
	opts.Context = ctx
	return opts, nil
}
