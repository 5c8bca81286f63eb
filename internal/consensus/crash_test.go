package consensus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/store"
)

// childDir names the folder of a child that is going to be killed.
const childDir = "AVAL_CONSENSUS_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func crashConfig(dir string) consensus.Config {
	b, err := consensus.LedgerBeacon(validatorKey(0))
	if err != nil {
		panic(err)
	}
	return consensus.Config{Dir: dir, Genesis: newGenesis(1, newKey("user")), Key: validatorKey(0), SnapshotEvery: 7, Beacon: b}
}

// child commits transactions, and says so, until it is killed.
func child(dir string) error {
	n, err := consensus.Start(context.Background(), crashConfig(dir))
	if err != nil {
		return err
	}
	var t testing.T // of newTx alone, which does not fail
	user := newKey("user")
	maker, err := ledger.NewBeaconMaker(validatorKey(0))
	if err != nil {
		return err
	}
	for nonce := nonceOf(n, user); ; nonce++ {
		if tx, err := nextBeacon(n, maker, validatorKey(0)); err != nil {
			return err
		} else if tx != nil {
			if _, err := n.Submit(context.Background(), tx); err != nil {
				return err
			}
		}
		if _, err := n.Submit(context.Background(), transfer(&t, user, nonce)); err != nil {
			return err
		}
		fmt.Println(nonce)
	}
}

func nonceOf(n *consensus.Node, key []byte) (nonce uint64) {
	n.View(func(m *ledger.Machine) { nonce = m.Nonce(ledger.AddressOf(key[32:]), nil) })
	return nonce
}

func TestKilled(t *testing.T) {
	t.Parallel()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	last := -1
	for round := range rounds {
		started := false
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// In every third round it is killed while it starts, or soon after.
		wait := func() time.Duration { return time.Duration(rnd.IntN(300)) * time.Millisecond }
		kill := time.AfterFunc(wait(), func() { _ = cmd.Process.Kill() })
		if round%3 > 0 {
			kill.Reset(20 * time.Second)
		}
		for lines.Scan() {
			if round%3 > 0 && !started {
				started = true
				kill.Reset(wait())
			}
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Error(err)
			}
		}
		kill.Stop()
		err = cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child ended by itself: %v\n%s", err, errs.String())
		}
	}
	n := start(t, crashConfig(dir))
	nonce := nonceOf(n, newKey("user"))
	if int(nonce) <= last {
		t.Errorf("the account has sent %d transactions, and number %d was acknowledged", nonce, last)
	}
	t.Logf("%d transactions acknowledged", last+1)
	for i := range uint64(16) { // so that there are two snapshots, however slow the machine
		submit(t, n, transfer(t, newKey("user"), nonce+i))
	}
	t.Logf("the beacon is %+v", beaconStatus(n)) // whether there was time to make a key is chance
	got, height := settle(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	// The newest snapshot damaged: the one before does. None at all: the blocks.
	for _, damage := range []func(files []string) error{
		func(f []string) error { return flip(f[len(f)-1]) },
		func(f []string) error {
			for _, x := range f {
				if err := os.Remove(x); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
		if err != nil || len(files) < 2 {
			t.Fatalf("snapshots %v, %v", files, err)
		}
		if err := damage(files); err != nil {
			t.Fatal(err)
		}
		n := start(t, crashConfig(dir))
		if r, h := root(n); r != got || h != height {
			t.Errorf("the root is %s at height %d, want %s at %d", r, h, got, height)
		}
		submit(t, n, transfer(t, newKey("user"), nonceOf(n, newKey("user"))))
		got, height = settle(t, n)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// flip changes one byte in the middle of a file.
func flip(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return os.WriteFile(path, data, 0o600)
}

// settle waits for the block that has the root of the last change.
func settle(t testing.TB, n *consensus.Node) (r canon.Hash, height uint64) {
	t.Helper()
	until(t, "an idle chain", 5*time.Second, func() bool {
		a, h := root(n)
		b, err := n.LightBlock(h)
		if err != nil {
			return false
		}
		r, height = a, h
		return b.Header.Root == a
	})
	return r, height
}

// fullDisk is a disk on which nothing can be written for a while.
type fullDisk struct {
	store.OS
	full atomic.Bool
}

func (d *fullDisk) OpenFile(name string, flag int, perm os.FileMode) (store.Handle, error) {
	if d.full.Load() && flag&os.O_CREATE != 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return d.OS.OpenFile(name, flag, perm)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	user := newKey("user")
	disk := &fullDisk{}
	n := start(t, consensus.Config{Dir: t.TempDir(), Genesis: newGenesis(1, user), Key: validatorKey(0), FS: disk, SnapshotEvery: 2})
	submit(t, n, transfer(t, user, 0))
	disk.full.Store(true)
	tx := transfer(t, user, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := n.Submit(ctx, tx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a transaction on a full disk: %v", err)
	}
	if s := n.Status(); !strings.Contains(s.Halted, "no space left") {
		t.Errorf("the status on a full disk: %q", s.Halted)
	}
	disk.full.Store(false)
	if _, err := n.Wait(t.Context(), ledger.TxID(tx)); err != nil {
		t.Error(err)
	}
	if s := n.Status(); s.Halted != "" {
		t.Errorf("the status with space again: %q", s.Halted)
	}
}

// TestFullVolume fills a real file system, if it may mount one.
func TestFullVolume(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	dir := t.TempDir()
	if err := mount(dir); err != nil {
		t.Skip("no file system can be mounted here: ", err)
	}
	t.Cleanup(func() { _ = unmount(dir) })
	user := newKey("user")
	cfg := consensus.Config{Dir: filepath.Join(dir, "chain"), Genesis: newGenesis(1, user), Key: validatorKey(0)}
	n := start(t, cfg)
	submit(t, n, transfer(t, user, 0))
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(f, zeros{}) // until the disk is full
	f.Close()
	acknowledged := uint64(1)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := n.Submit(ctx, transfer(t, user, acknowledged))
		cancel()
		if err != nil {
			t.Log(err)
			break
		}
		acknowledged++
	}
	if s := n.Status(); s.Halted == "" {
		t.Error("the status does not say that the disk is full")
	} else {
		t.Log(s.Halted)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	_ = n.Close()
	n = start(t, cfg)
	if nonce := nonceOf(n, user); nonce < acknowledged {
		t.Errorf("%d transactions are there, %d were acknowledged", nonce, acknowledged)
	}
	submit(t, n, transfer(t, user, nonceOf(n, user)))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
