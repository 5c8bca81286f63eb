package keeper_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/keeper"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

const chainName = "keepers"

var master = receipt.Salt{3}

// network is a chain whose blocks are made by who sends something, or else by a
// free tick when nobody does anything for a while.
type network struct {
	t       testing.TB
	params  ledger.Params
	devices []*device

	mu      sync.Mutex
	m       *ledger.Machine
	now     uint64
	changed chan struct{}
	answers []*ledger.Answer
	last    time.Time
	sent    map[ledger.Kind]int // transactions that did something
	busy    atomic.Int64        // runs that are being computed, tasks that must not be overtaken

	// The tiny model, and one run of it.
	compute sync.Mutex
	model   *model.Model
	file    *gguf.File
	print   *fingerprint.Tree
	claims  receipt.Claims
	opening *receipt.Opening
	output  []int32 // ids that the model draws
}

// newNetwork has the devices' accounts; the first one makes the blocks.
func newNetwork(t testing.TB, devices int, change func(*ledger.Params)) *network {
	t.Helper()
	n := &network{t: t, now: 1_000_000, params: ledger.DefaultParams(), sent: map[ledger.Kind]int{}, changed: make(chan struct{}), last: time.Now()}
	p := &n.params
	p.NodeBond = 100 * ledger.Unit
	p.Audit.Rate = 10_000
	p.Audit.Commit, p.Audit.Each, p.Audit.Reveal, p.Audit.Settle = 30, 1, 40, 40
	p.Dispute.Move, p.Dispute.Total = 50, 1000
	if change != nil {
		change(p)
	}
	g := &ledger.Genesis{Chain: chainName, Time: 1_000_000, Params: p}
	for i := range devices {
		d := n.newDevice(i)
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: d.Account(), Balance: 10_000 * ledger.Unit})
		if i == 0 {
			g.Validators = []ledger.GenesisValidator{{Key: canon.Hash(d.id()), Operator: d.Account(), Power: 1, Bond: p.ValidatorBond}}
		}
	}
	var err error
	if n.m, err = ledger.New(g); err != nil {
		t.Fatal(err)
	}
	n.load()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { n.tick(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return n
}

// load makes the run that all receipts are of.
func (n *network) load() {
	n.t.Helper()
	path, err := testmodel.Models[0].Write(n.t.TempDir(), false)
	n.must(err)
	n.file, err = gguf.Open(path)
	n.must(err)
	n.model, err = model.Load(n.file, model.Options{})
	n.must(err)
	n.t.Cleanup(func() { n.model.Close(); n.file.Close() })
	n.print, err = fingerprint.Of(context.Background(), n.file, 0)
	n.must(err)
	n.claims = receipt.Claims{Model: n.print.Root(), Stop: receipt.StopLength, Seed: receipt.SelfSeed(1), Params: receipt.Params{MaxTokens: 4}}
	prompt, output := testmodel.Text()[:9], []int32{1, 1, 1, 1}
	for range len(output) + 1 { // the ids that the model draws, one more right each time
		n.opening, err = receipt.Commit(master, &receipt.Transcript{Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: prompt, Output: output})
		n.must(err)
		n.opening.Fill(&n.claims)
		run := n.rerun(n.claims, n.opening)
		i, wrong := run.Output()
		if wrong {
			v, ops, err := run.Cell(dispute.Cell{Output: true, Position: i})
			n.must(err)
			output[i] = int32(binary.LittleEndian.Uint32(v.Leaf(ops-1, 0)))
		}
		run.Close()
		if !wrong {
			n.output = output
			return
		}
	}
	n.t.Fatal("the model draws no ids")
}

func (n *network) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) rerun(c receipt.Claims, o *receipt.Opening) *rerun.Run {
	n.t.Helper()
	run, err := n.run(context.Background(), c, o)
	n.must(err)
	return run
}

func (n *network) run(ctx context.Context, c receipt.Claims, o *receipt.Opening) (*rerun.Run, error) {
	n.busy.Add(1)
	defer n.busy.Add(-1)
	return rerun.New(ctx, rerun.Config{
		Model: n.model, File: n.file, Print: n.print, Claims: c, Opening: o,
		Compute: func(ctx context.Context, f func(*model.Model) error) error {
			n.compute.Lock()
			defer n.compute.Unlock()
			n.busy.Add(1)
			defer n.busy.Add(-1)
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(n.model)
		},
	})
}

// lie is the run as a liar has it.
func lie(s dispute.Source) *rerun.Liar {
	return &rerun.Liar{Source: s, At: dispute.Cell{Layer: 1, Position: 4}, Op: 0, Leaf: 0}
}

// receiptOf is a receipt of a device, of the n-th moment; a false one has another
// last id than the model draws, and the trace of a liar.
func (n *network) receiptOf(d *device, at int, false_ bool) *receipt.File {
	n.t.Helper()
	c, opening := n.claims, n.opening
	if false_ {
		output := slices.Clone(n.output)
		output[len(output)-1] ^= 1
		var err error
		opening, err = receipt.Commit(master, &receipt.Transcript{Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: testmodel.Text()[:9], Output: output})
		n.must(err)
		opening.Fill(&c)
	}
	c.Time = int64(1_700_000_000 + at)
	run := n.rerun(c, opening)
	defer run.Close()
	var s dispute.Source = run
	if false_ {
		s = lie(run)
	}
	states, err := s.States()
	n.must(err)
	tree, err := trace.NewTree(slices.Concat(states...), len(states), len(states[0]))
	n.must(err)
	c.Trace = tree.Commitment(opening.Trace[:])
	r, err := receipt.Sign(c, d.key)
	n.must(err)
	return &receipt.File{Receipt: r, Opening: opening}
}

// block makes a block. Its caller holds mu.
func (n *network) block(txs ...[]byte) (results []ledger.Result) {
	n.now += 1000
	h := n.m.Height() + 1
	b := ledger.Block{Height: h, Time: n.now, Proposer: n.devices[0].id(), Beacon: canon.Sum("aval test beacon", binary.BigEndian.AppendUint64(nil, h))}
	if err := n.m.Begin(b); err != nil {
		panic(err)
	}
	for _, tx := range txs {
		res := n.m.Apply(tx)
		results = append(results, res)
		if _, body, err := ledger.DecodeTx(tx); err == nil && res.Code == ledger.CodeOK {
			n.sent[body.Kind]++
			if p, err := body.Payload(); err == nil {
				if a, ok := p.(*ledger.Answer); ok {
					n.answers = append(n.answers, a)
				}
			}
		}
	}
	n.m.End()
	close(n.changed)
	n.changed, n.last = make(chan struct{}), time.Now()
	return results
}

// tick makes free ticks while nobody computes or sends.
func (n *network) tick(ctx context.Context) {
	const quiet = 25 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
		n.mu.Lock()
		if n.busy.Load() == 0 && time.Since(n.last) > quiet {
			if tx := n.m.FreeTick(); tx != nil {
				n.block(tx)
			}
		}
		n.mu.Unlock()
	}
}

func (n *network) state() tree.Tree {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.m.State()
}

// until waits for something to be so.
func (n *network) until(what string, so func(t *tree.Tree) bool) {
	n.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		t := n.state()
		if so(&t) {
			return
		}
		if time.Now().After(end) {
			var said []string
			for _, d := range n.devices {
				said = append(said, d.said.String())
			}
			n.t.Fatalf("not in time: %s\n%s", what, strings.Join(said, "--\n"))
		}
	}
}

func (n *network) node(d *device) *ledger.Node {
	t := n.state()
	x, ok := ledger.NodeAt(&t, d.id())
	if !ok {
		return &ledger.Node{}
	}
	return x
}

// transactions counts all that did something.
func (n *network) transactions() (sum int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.sent {
		sum += x
	}
	return sum
}

func (n *network) count(kind ledger.Kind) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[kind]
}

// device is a node with its account, its log, and its keeper.
type device struct {
	*network
	name   int
	key    ed25519.PrivateKey
	folder string
	log    *archive.Log
	said   *lines

	// What tests change.
	liar                 bool                                      // it proves with the liar's run
	deny                 atomic.Bool                               // it shows nothing to auditors
	noModel              atomic.Bool                               // it serves no model any more
	refuse               func(kind ledger.Kind, payload any) error // a transaction does not get out
	change               func(kind ledger.Kind, payload any)       // what is sent is other than the keeper wants
	behind               atomic.Bool                               // it is catching up
	config               func(*keeper.Config)
	proves, checks, both atomic.Int64
	most                 atomic.Int64

	keeper *keeper.Keeper
	stop   func()
}

func (n *network) newDevice(i int) *device {
	seed := canon.Sum("aval test device", []byte{byte(i)})
	d := &device{network: n, name: i, key: ed25519.NewKeyFromSeed(seed[:]), folder: n.t.TempDir(), said: &lines{}}
	n.devices = append(n.devices, d)
	return d
}

func (d *device) id() ed25519.PublicKey { return d.key.Public().(ed25519.PublicKey) }

// keep opens a log of receipts for the device.
func (d *device) keepLog() {
	d.t.Helper()
	var err error
	d.log, err = archive.Open(d.t.TempDir(), archive.Config{Key: d.key, Logger: slog.New(slog.DiscardHandler)})
	d.must(err)
	d.t.Cleanup(func() { d.log.Close() })
}

func (d *device) append(files ...*receipt.File) {
	d.t.Helper()
	for _, f := range files {
		data, err := f.Marshal()
		d.must(err)
		_, err = d.log.Append(d.t.Context(), receiptlog.Entry{Receipt: f.Receipt.Hash(), File: data})
		d.must(err)
	}
}

// start runs a new keeper on the device's folder.
func (d *device) start() {
	d.t.Helper()
	cfg := keeper.Config{
		Key: d.key, Chain: d, Folder: d.folder, Models: d, Peers: d, Audit: d.log == nil, Bond: true,
		Every: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(d.said, nil)),
	}
	if d.log != nil {
		cfg.Log = d.log
	}
	if d.config != nil {
		d.config(&cfg)
	}
	k := keeper.New(cfg)
	k.Hurry(5 * time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { k.Run(ctx); close(done) }()
	var once sync.Once
	d.mu.Lock()
	d.keeper = k
	d.mu.Unlock()
	d.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case <-done:
			case <-time.After(30 * time.Second):
				panic("the keeper does not end with its context")
			}
		})
	}
	d.t.Cleanup(d.stop)
}

// bonded starts devices and waits until all are nodes, and auditors.
func (n *network) start(devices ...*device) {
	n.t.Helper()
	for _, d := range devices {
		d.start()
	}
	n.until("all are nodes", func(t *tree.Tree) bool {
		for _, d := range devices {
			if x, ok := ledger.NodeAt(t, d.id()); !ok || x.Bond == 0 || d.log == nil && !ledger.IsAuditor(t, d.id()) {
				return false
			}
		}
		return true
	})
}

// Of keeper.Chain.

func (d *device) State() (tree.Tree, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.m.State(), d.m.Height()
}

func (d *device) Send(ctx context.Context, kind ledger.Kind, payload any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		if err := d.refuse(kind, payload); err != nil {
			return err
		}
	}
	if d.change != nil {
		d.change(kind, payload)
	}
	policy := ledger.Single(d.id())
	a := policy.Address()
	b, err := ledger.NewBody(chainName, a, d.m.Nonce(a, nil), d.m.Account(a).Balance, kind, payload)
	if err != nil {
		return err
	}
	b.MaxFee = min(b.MaxFee/2, 100*ledger.Unit) // what is not needed comes back
	tx, err := b.Sign(policy, d.key)
	if err != nil {
		return err
	}
	if res := d.block(tx)[0]; res.Code != ledger.CodeOK {
		return fmt.Errorf("%s: %s", res.Code, res.Detail)
	}
	return nil
}

func (d *device) Account() ledger.Address { return ledger.AddressOf(d.id()) }
func (d *device) Name() string            { return chainName }
func (d *device) Ready() bool             { return !d.behind.Load() }

func (d *device) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *device) Answers() []*ledger.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.answers)
}

// Of keeper.Peers.

func (d *device) Receipt(_ context.Context, node ed25519.PublicKey, size uint64, root canon.Hash, index uint64) (*receipt.File, []canon.Hash, error) {
	i := slices.IndexFunc(d.devices, func(x *device) bool { return bytes.Equal(x.id(), node) })
	if i < 0 || d.devices[i].log == nil {
		return nil, nil, errors.New("there is no such node")
	}
	x := d.devices[i]
	d.mu.Lock()
	k := x.keeper
	d.mu.Unlock()
	if x.deny.Load() || k == nil || !k.Serves(d.id(), index) {
		return nil, nil, errors.New("the node shows nothing")
	}
	proof, err := x.log.Inclusion(size, index)
	if err != nil {
		return nil, nil, err
	}
	e, err := x.log.File(index)
	if err != nil {
		return nil, nil, err
	}
	if err := receiptlog.VerifyInclusion(root, size, index, receiptlog.Leaf(e.Receipt), proof); err != nil {
		return nil, nil, err
	}
	f, err := receipt.ParseFile(e.File)
	return f, proof, err
}

// Of keeper.Models.

type source struct {
	dispute.Source
	close func()
}

func (s *source) Close() { s.close() }

func (d *device) Prove(ctx context.Context, f *receipt.File) (keeper.Source, error) {
	if d.noModel.Load() {
		return nil, fmt.Errorf("%w: it was taken off", keeper.ErrNoModel)
	}
	d.proves.Add(1)
	run, err := d.run(ctx, f.Receipt.Claims(), f.Opening)
	if err != nil {
		return nil, err
	}
	if d.liar {
		return &source{lie(run), run.Close}, nil
	}
	return run, nil
}

func (d *device) Check(ctx context.Context, f *receipt.File) (keeper.Witness, []byte, error) {
	d.checks.Add(1)
	d.both.Add(1)
	defer d.both.Add(-1)
	if n := d.both.Load(); n > d.most.Load() {
		d.most.Store(n)
	}
	run, err := d.run(ctx, f.Receipt.Claims(), f.Opening)
	if err != nil {
		return nil, nil, err
	}
	return run, nil, nil
}

// lines is what was logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
