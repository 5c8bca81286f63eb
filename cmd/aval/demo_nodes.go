package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

// demoNode is one of the nodes of a demo: a process of this program.
type demoNode struct {
	name  string   // as the story calls it
	roles []string // as "aval up" calls them
	price string   // of a provider
	lies  bool
	bond  ledger.Amount // of a validator, in the genesis

	app     *app // with the node's own environment
	dir     string
	key     ed25519.PublicKey
	id      peer.ID
	account ledger.Address
	port    string // host:port for other nodes of the ledger

	process *os.Process
	input   io.Closer
	ended   chan struct{} // closed when the process has ended
	log     *os.File

	mu     sync.Mutex
	remote *node.Remote
	link   node.Link
}

func (n *demoNode) has(role string) bool {
	for _, r := range n.roles {
		if r == role {
			return true
		}
	}
	return false
}

// alive tells whether the process still runs.
func (n *demoNode) alive() bool {
	if n.ended == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// demoEnv is what a node of a demo knows of the outside world: folders of its
// own, and nothing of the user's.
func demoEnv(a *app, dir string) []string {
	env := []string{
		"AVAL_KEY=" + filepath.Join(dir, "node.key"), "AVAL_MODELS=" + filepath.Join(dir, "models"),
		"HOME=" + dir, "USERPROFILE=" + dir, "LocalAppData=" + filepath.Join(dir, "cache"), "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
	}
	for _, name := range []string{"PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "AVAL_KERNEL", "GODEBUG"} {
		if v := a.getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// as is the program with another environment, which says nothing to the person.
func (a *app) as(env []string) *app {
	values := map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		values[k] = v
	}
	return &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: func(k string) string { return values[k] }}
}

// prepare makes the node's folder and its key.
func (n *demoNode) prepare(a *app, dir string) error {
	n.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	n.app = a.as(demoEnv(a, dir))
	key, err := n.app.nodeKey()
	if err != nil {
		return err
	}
	n.key = key.Public().(ed25519.PublicKey)
	n.account = ledger.AddressOf(n.key)
	n.id, err = peer.FromPublic(n.key)
	return err
}

// Ports that no system gives to connections that somebody opens: one of those
// might be taken before a node listens there.
const demoFirstPort, demoLastPort = 20_000, 32_000

// demoPorts finds free ports of the loopback interface.
func demoPorts(n int) (list []string, err error) {
	for tries := 0; len(list) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", demoFirstPort+rand.IntN(demoLastPort-demoFirstPort)))
		if err != nil && tries < 100 {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at once, so that none comes twice
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// demoGenesis is what the ledger of a demo begins with: like that of a new
// network, but for deadlines that fit into a minute, and audits of everything.
func demoGenesis(now time.Time, nodes []*demoNode, user ledger.Address) *ledger.Genesis {
	p := ledger.DefaultParams()
	p.NodeBond, p.ValidatorBond = 100*ledger.Unit, 1_000*ledger.Unit
	p.Audit.Rate, p.Audit.Auditors = 10_000, 2
	p.Audit.Delay, p.Audit.Commit, p.Audit.Each, p.Audit.Reveal, p.Audit.Settle = 2, 12, 4, 10, 30
	p.Dispute.Bond, p.Dispute.Move, p.Dispute.Total, p.Dispute.Slash = 10*ledger.Unit, 20, 200, 10_000
	g := &ledger.Genesis{Chain: "demo", Time: uint64(now.UnixMilli()), Params: &p}
	for _, n := range nodes {
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: n.account, Balance: 1_000 * ledger.Unit})
		if n.has("validator") {
			n.bond = p.ValidatorBond
			g.Validators = append(g.Validators, ledger.GenesisValidator{Key: canon.Hash(n.key), Operator: n.account, Power: 1, Bond: n.bond})
		}
	}
	g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: user, Balance: 1_000 * ledger.Unit})
	return g
}

// ledgerPeers names the validators for --ledger-peer, but for the node itself.
func ledgerPeers(nodes []*demoNode, but *demoNode) (list []string) {
	for _, n := range nodes {
		if n != but && n.has("validator") {
			list = append(list, receipt.FormatNodeKey(n.key)+"@"+n.port)
		}
	}
	return list
}

// flags are those of "aval up" for a node.
func (n *demoNode) flags(nodes []*demoNode, genesis, model string) []string {
	args := []string{
		"up", "--while-input", "--no-discovery", "--network", "lan", "--listen", "/ip4/127.0.0.1/tcp/0", "--genesis", genesis, "--ledger-listen", n.port, "--batch", "1s",
	}
	for _, p := range ledgerPeers(nodes, n) {
		args = append(args, "--ledger-peer", p)
	}
	for _, r := range n.roles {
		args = append(args, "--role", r)
	}
	if n.has("provider") {
		args = append(args, "--price", n.price, "--serve", model)
	}
	return args
}

// start starts the node's process.
func (n *demoNode) start(program string, args []string) error {
	out, err := os.Create(filepath.Join(n.dir, "log.txt"))
	if err != nil {
		return err
	}
	c := exec.Command(program, args...)
	c.Dir, c.Env, c.Stdout, c.Stderr = n.dir, demoEnvOf(n), out, out
	if n.input, err = c.StdinPipe(); err == nil {
		err = c.Start()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s cannot be started: %w", n.name, err), out.Close())
	}
	n.process, n.log, n.ended = c.Process, out, make(chan struct{})
	go func() {
		_ = c.Wait() // how it ended is in its log
		close(n.ended)
	}()
	return nil
}

func demoEnvOf(n *demoNode) []string {
	var env []string
	for _, k := range []string{
		"AVAL_KEY", "AVAL_MODELS", "HOME", "USERPROFILE", "LocalAppData", "XDG_CACHE_HOME",
		"PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "AVAL_KERNEL", "GODEBUG",
	} {
		if v := n.app.getenv(k); v != "" {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// stop ends the process, in good order if it does so soon.
func (n *demoNode) stop() {
	if n.process == nil {
		return
	}
	_ = n.input.Close() // it ends with its input
	select {
	case <-n.ended:
	case <-time.After(3 * time.Second):
		_ = n.process.Kill()
		<-n.ended
	}
	if n.remote != nil {
		_ = n.remote.Close()
	}
	_ = n.log.Close()
}

// lastWords are the last lines that the process wrote.
func (n *demoNode) lastWords() string {
	data, _ := os.ReadFile(filepath.Join(n.dir, "log.txt"))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// errGone says that a node of a demo has ended.
var errGone = errors.New("the node has ended")

// dial asks the node's door, as soon as it is open.
func (n *demoNode) dial(ctx context.Context) (*node.Remote, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.remote == nil {
		folder, err := n.app.nodeFolder()
		if err != nil {
			return nil, err
		}
		if r, err := node.Dial(ctx, folder); err == nil {
			if s, err := r.Status(ctx); err == nil && len(s.Link.Addresses) > 0 {
				n.remote, n.link = r, s.Link
				break
			}
			_ = r.Close()
		}
		if !n.alive() {
			return nil, fmt.Errorf("%s: %w: %s", n.name, errGone, n.lastWords())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if !n.alive() {
		return nil, fmt.Errorf("%s: %w", n.name, errGone)
	}
	return n.remote, nil
}

// tamper makes the model that the liar serves: the true one, whose fingerprint
// the program notes, and then half of one matrix is zeroed in place, in a way that
// leaves no trace in the file's size and times. No program is changed: it believes
// its note.
func (n *demoNode) tamper(ctx context.Context, program, tensor string) (path string, err error) {
	path = filepath.Join(n.dir, models.MiniName+".gguf")
	then := time.Now().Add(-time.Hour)
	if err := os.WriteFile(path, []byte(models.Mini()), 0o600); err != nil {
		return "", err
	}
	if err := os.Chtimes(path, then, then); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, program, "run", "--receipt", filepath.Join(n.dir, "noted.aval"), "--max-tokens", "1", path, "It")
	c.Dir, c.Env = n.dir, demoEnvOf(n)
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("noting the fingerprint of the true model: %w: %s", err, out)
	}
	data := []byte(models.Mini())
	f, err := gguf.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", err
	}
	t := f.Tensor(tensor)
	if t == nil {
		return "", fmt.Errorf("the built-in model has no tensor %s", tensor)
	}
	matrix := make([]byte, t.Size)
	if _, err := f.Reader(t).ReadAt(matrix, 0); err != nil {
		return "", err
	}
	at := bytes.Index(data, matrix)
	for row := range t.Rows() { // the middle half of the columns
		clear(data[at+row*t.RowSize():][t.RowSize()/4 : t.RowSize()*3/4])
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil { // the same inode
		return "", err
	}
	return path, os.Chtimes(path, info.ModTime(), info.ModTime())
}

// ownProgram is the file of this program.
func ownProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("the nodes of the demo are processes of this program, whose file is not known on %s: %w", runtime.GOOS, err)
	}
	return path, nil
}
