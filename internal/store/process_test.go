package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/store"
)

// The test binary runs itself as a worker that changes a store until it is killed.
const (
	envWorkerRoot = "AVAL_TEST_STORE_WORKER"
	envWorkerSeed = "AVAL_TEST_STORE_SEED"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(envWorkerRoot); root != "" {
		seed, _ := strconv.ParseUint(os.Getenv(envWorkerSeed), 10, 64)
		fmt.Fprintln(os.Stderr, work(root, seed, 1<<30, func() { fmt.Println("step") }))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// payload is the content of the k-th test file: a few of them, so that models
// share blobs, and long enough that a kill may fall inside a write.
func payload(k int) string { return strings.Repeat(fmt.Sprintf("payload %d ", k), 20000+1000*k) }

// work makes steps random changes to the store under root.
func work(root string, seed uint64, steps int, did func()) error {
	s, err := store.Open(root)
	if err != nil {
		return err
	}
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(seed, 1))
	src, err := os.MkdirTemp(filepath.Dir(root), "src")
	if err != nil {
		return err
	}
	for range steps {
		name := fmt.Sprintf("m%d", rng.IntN(3))
		var err error
		switch rng.IntN(6) {
		case 0:
			_, err = s.Remove(name)
		case 1:
			_, err = s.Prune()
		case 2:
			_, err = s.List()
		default:
			files := 1 + rng.IntN(2)
			path := ""
			for i := range files {
				path = filepath.Join(src, fmt.Sprintf("f-%05d-of-%05d.gguf", i+1, files))
				if err := os.WriteFile(path, []byte(payload(rng.IntN(4))), 0o644); err != nil {
					return err
				}
			}
			_, err = s.Import(ctx, name, path, day, nil)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		did()
	}
	return nil
}

// TestKilledProcesses kills two processes that share a store at random points.
func TestKilledProcesses(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Skipf("the test binary cannot be run again: %v", err)
	}
	root := filepath.Join(t.TempDir(), "store")
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	rng := rand.New(rand.NewPCG(7, 7))
	steps := 0
	for round := range rounds {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for w := range 2 {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), envWorkerRoot+"="+root, envWorkerSeed+"="+strconv.Itoa(100*round+w))
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Skipf("the test binary cannot be run again: %v", err)
			}
			after, wait := 1+rng.IntN(8), time.Duration(rng.IntN(8000))*time.Microsecond
			wg.Go(func() {
				seen := 0
				for sc := bufio.NewScanner(out); seen < after && sc.Scan(); seen++ {
				}
				time.Sleep(wait) // so that the kill falls somewhere inside a step
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				mu.Lock()
				defer mu.Unlock()
				steps += seen
				if seen < after || stderr.Len() > 0 {
					t.Errorf("worker ended by itself after %d steps: %s", seen, stderr.String())
				}
			})
		}
		wg.Wait()
		s, err := store.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		models, err := s.List()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, m := range models {
			if err := s.Verify(context.Background(), m, nil); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if round%3 == 2 {
			checkWhole(t, s)
		}
	}
	if steps == 0 {
		t.Error("no worker got anything done")
	}
}

// TestGoroutines shares a root between several Stores in one process.
func TestGoroutines(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			if err := work(root, uint64(w), 15, func() {}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s, err := store.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	checkWhole(t, s)
}

// TestStageExcludes: at most one holds a file, though each one who lets go
// removes the lock file.
func TestStageExcludes(t *testing.T) {
	s := open(t)
	f := fileOf("f", "contents")
	var holders, held atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				g, err := s.Stage(f)
				if errors.Is(err, store.ErrBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if holders.Add(1) != 1 {
					t.Error("two hold the same file")
				}
				held.Add(1)
				holders.Add(-1)
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if held.Load() == 0 {
		t.Error("nobody ever held the file")
	}
}
