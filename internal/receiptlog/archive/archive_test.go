package archive_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
)

var (
	key    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	public = key.Public().(ed25519.PublicKey)
)

// entry is the made-up receipt number i, of about n bytes.
func entry(i, n int) receiptlog.Entry {
	b := make([]byte, n/2+i%(n/2+1))
	rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}).Read(b)
	return receiptlog.Entry{Receipt: canon.Sum("test receipt", binary.BigEndian.AppendUint64(nil, uint64(i)), b), File: b}
}

func entries(from, to, n int) []receiptlog.Entry {
	var list []receiptlog.Entry
	for i := from; i < to; i++ {
		list = append(list, entry(i, n))
	}
	return list
}

func root(from []receiptlog.Entry) canon.Hash {
	var b canon.Builder
	for _, e := range from {
		b.Add(receiptlog.Leaf(e.Receipt))
	}
	return b.Root()
}

// config is that of small segments, so that there are many.
func config() archive.Config {
	return archive.Config{Key: key, SegmentEntries: 512, Logger: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, folder string, cfg archive.Config) *archive.Log {
	t.Helper()
	l, err := archive.Open(folder, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func add(t testing.TB, l *archive.Log, list []receiptlog.Entry) {
	t.Helper()
	want := l.Size()
	if first, err := l.Append(t.Context(), list...); err != nil || first != want {
		t.Fatalf("append: %d, %v; want %d", first, err, want)
	}
}

// holds checks that a log has these receipts, all files unless some were dropped,
// and that proofs of it hold.
func holds(t testing.TB, l *archive.Log, want []receiptlog.Entry, kept int) {
	t.Helper()
	size, head := l.Head()
	if int(size) != len(want) || head != root(want) {
		t.Fatalf("%d entries and the root %v, want %d and %v", size, head, len(want), root(want))
	}
	for i := 0; i < len(want); i += 1 + len(want)/40 {
		e, err := l.File(uint64(i))
		switch {
		case i < kept && !errors.Is(err, receiptlog.ErrDropped):
			t.Fatalf("the dropped receipt %d: %v", i, err)
		case i >= kept && (err != nil || e.Receipt != want[i].Receipt || !bytes.Equal(e.File, want[i].File)):
			t.Fatalf("the receipt %d: %v", i, err)
		}
		if id, err := l.Receipt(uint64(i)); err != nil || id != want[i].Receipt {
			t.Fatalf("the entry %d: %v, %v", i, id, err)
		}
		at, err := l.Find(want[i].Receipt)
		if err != nil || at != uint64(i) {
			t.Fatalf("the receipt %d is found at %d: %v", i, at, err)
		}
		proof, err := l.Inclusion(size, at)
		if err == nil {
			err = receiptlog.VerifyInclusion(head, size, at, receiptlog.Leaf(want[i].Receipt), proof)
		}
		if err != nil {
			t.Fatalf("the proof of %d: %v", i, err)
		}
		old, err := l.Root(at)
		if err != nil {
			t.Fatal(err)
		}
		proof, err = l.Consistency(at, size)
		if err == nil {
			err = receiptlog.VerifyConsistency(at, old, size, head, proof)
		}
		if err != nil {
			t.Fatalf("%d to %d: %v", at, size, err)
		}
	}
}

func TestLog(t *testing.T) {
	folder := t.TempDir()
	l := open(t, folder, config())
	var all []receiptlog.Entry
	for _, n := range []int{1, 254, 2, 300, 1000, 5, 3000} { // across tiles and segments
		more := entries(len(all), len(all)+n, 60)
		add(t, l, more)
		all = append(all, more...)
		holds(t, l, all, 0)
		if n%2 == 0 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, folder, config())
			holds(t, l, all, 0)
		}
	}
	for name, err := range map[string]error{
		"find":     second(l.Find(canon.Hash{1})),
		"file":     second(l.File(l.Size())),
		"proof":    second(l.Inclusion(l.Size(), l.Size())),
		"past":     second(l.Consistency(l.Size(), 1)),
		"root":     second(l.Root(l.Size() + 1)),
		"sign far": second(l.Checkpoint(l.Size() + 1)),
	} {
		if !errors.Is(err, receiptlog.ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, list := range map[string][]receiptlog.Entry{"none": nil, "large": {{File: make([]byte, archive.MaxFile+1)}}, "many": make([]receiptlog.Entry, archive.MaxEntries+1)} {
		if _, err := l.Append(t.Context(), list...); err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	if _, err := archive.Open(folder, config()); !errors.Is(err, archive.ErrBusy) {
		t.Errorf("opened twice: %v", err)
	}

	kept, err := l.Drop(1500)
	if err != nil || kept != 1024 {
		t.Fatalf("dropped up to %d: %v", kept, err)
	}
	holds(t, l, all, 1024)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), all[0]); !errors.Is(err, archive.ErrClosed) {
		t.Errorf("appended to a closed log: %v", err)
	}
	l = open(t, folder, config())
	holds(t, l, all, 1024)
	if before, err := l.Before(time.Now().Add(time.Hour)); err != nil || before != 4096 && before != 3584 {
		t.Errorf("all are old, up to %d: %v", before, err)
	}
	if before, err := l.Before(time.Now().Add(-time.Hour)); err != nil || before != 1024 {
		t.Errorf("only what was dropped is old, not up to %d: %v", before, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestTogether appends from many goroutines; each gets its own place.
func TestTogether(t *testing.T) {
	l := open(t, t.TempDir(), config())
	places := make([]canon.Hash, 1600)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				pair := entries(100*g+2*i, 100*g+2*i+2, 40)
				at, err := l.Append(context.Background(), pair...)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				places[at], places[at+1] = pair[0].Receipt, pair[1].Receipt
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, id := range places {
		if e, err := l.File(uint64(i)); err != nil || e.Receipt != id {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

func TestCheckpoints(t *testing.T) {
	folder := t.TempDir()
	l := open(t, folder, config())
	all := entries(0, 1300, 40)
	add(t, l, all)
	if _, note := l.Latest(); note != nil {
		t.Error("signed before anybody asked")
	}
	for _, size := range []uint64{0, 1, 700, 1300} {
		note, err := l.Checkpoint(size)
		if err != nil {
			t.Fatal(err)
		}
		c, err := receiptlog.ParseCheckpoint(public, note)
		if err != nil || c.Size != size || c.Root != root(all[:size]) {
			t.Fatalf("%+v, %v", c, err)
		}
		if again, err := l.Checkpoint(size); err != nil || !bytes.Equal(again, note) {
			t.Errorf("signed again otherwise: %v", err)
		}
		readByOthers(t, folder, all[:size])
	}
	l.Close()
	l = open(t, folder, config())
	if _, err := l.Checkpoint(1299); !errors.Is(err, archive.ErrSigned) {
		t.Errorf("signed a smaller one: %v", err)
	}
	if c, note := l.Latest(); c.Size != 1300 || note == nil {
		t.Errorf("the latest is of %d", c.Size)
	}
	if err := l.Agrees(700, root(all[:700])); err != nil {
		t.Error(err)
	}
	for _, err := range []error{l.Agrees(1301, canon.Hash{}), l.Agrees(700, canon.Hash{})} {
		if !errors.Is(err, archive.ErrLost) {
			t.Errorf("agrees with another log: %v", err)
		}
	}
	l.Close()

	// Tiles that a power cut took come back with the next opening.
	if err := os.RemoveAll(filepath.Join(folder, "tile", "0", "005.p")); err != nil {
		t.Fatal(err)
	}
	l = open(t, folder, config())
	readByOthers(t, folder, all)
	l.Close()
	other := config()
	other.Key = ed25519.NewKeyFromSeed(make([]byte, 32))
	if _, err := archive.Open(folder, other); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("opened with another key: %v", err)
	}
}

// readByOthers reads the folder with the Go team's packages for such logs.
func readByOthers(t *testing.T, folder string, all []receiptlog.Entry) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := receiptlog.KeyText(public)
	v, err := note.NewVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(data, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	want := root(all)
	if lines[1] != fmt.Sprint(len(all)) || lines[2] != tlog.Hash(want).String() {
		t.Fatalf("the checkpoint says %q", n.Text)
	}
	r := tlog.TileHashReader(tlog.Tree{N: int64(len(all)), Hash: tlog.Hash(want)}, tiles(folder))
	for i := range all {
		if i%97 != 0 && i != len(all)-1 {
			continue
		}
		proof, err := tlog.ProveRecord(int64(len(all)), int64(i), r)
		if err != nil {
			t.Fatalf("%d of %d: %v", i, len(all), err)
		}
		tile := receiptlog.Tile{Entries: true, Index: uint64(i / 256), Width: min(256, len(all)-i/256*256)}
		data, err := os.ReadFile(filepath.Join(folder, tile.Path()))
		if err != nil {
			full := receiptlog.Tile{Entries: true, Index: tile.Index, Width: 256}
			data, err = os.ReadFile(filepath.Join(folder, full.Path()))
			data = data[:min(len(data), 34*tile.Width)]
		}
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := receiptlog.DecodeEntries(data, tile.Width)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, int64(len(all)), tlog.Hash(want), int64(i), tlog.RecordHash(bundle[i%256][:])); err != nil {
			t.Fatal(err)
		}
	}
}

type tiles string

func (tiles) Height() int { return 8 }

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) ReadTiles(list []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range list {
		path := filepath.Join(string(folder), strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		data, err := os.ReadFile(path)
		if err != nil && tile.W < 256 { // a client may take the full tile instead
			data, err = os.ReadFile(path[:strings.Index(path, ".p/")])
			data = data[:min(len(data), 32*tile.W)]
		}
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// BenchmarkCallers measures receipts that many give one by one.
func BenchmarkCallers(b *testing.B) {
	for _, callers := range []int{8, 64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := open(b, b.TempDir(), archive.Config{Key: key})
			e := entry(0, 1000)
			count := 0
			for b.Loop() {
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range 16 {
							if _, err := l.Append(b.Context(), e); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				count += 16 * callers
			}
			b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "receipts/s")
		})
	}
}

// BenchmarkAppend measures receipts of the usual size, kept, hashed and under a
// root, by calls of so many each.
func BenchmarkAppend(b *testing.B) {
	list := make([]receiptlog.Entry, 4096)
	for i := range list {
		list[i] = entry(i, 1000) // 750 bytes on average
	}
	for _, n := range []int{1, 64, 1024, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := open(b, b.TempDir(), archive.Config{Key: key})
			b.SetBytes(0)
			count := 0
			for b.Loop() {
				if _, err := l.Append(b.Context(), list[:n]...); err != nil {
					b.Fatal(err)
				}
				l.Head()
				count += n
			}
			if _, err := l.Checkpoint(l.Size()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(count)/b.Elapsed().Seconds(), "receipts/s")
		})
	}
}
