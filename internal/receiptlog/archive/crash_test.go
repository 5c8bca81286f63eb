package archive_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
	"github.com/avalnetwork/aval/internal/store/errfs"
)

var killed = flag.String("killed", "", "folder that TestKilled's child writes to")

// copyFolder copies a folder of a log that nobody has.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestTorn cuts the file short at every byte of the last write, and fills it with
// other bytes: what was acknowledged before is there, and the log goes on.
func TestTorn(t *testing.T) {
	folder := t.TempDir()
	l := open(t, folder, config())
	all := entries(0, 5, 40)
	add(t, l, all[:3])
	l.Close()
	seg := filepath.Join("receipts", fmt.Sprintf("%020d.seg", 0))
	before, err := os.ReadFile(filepath.Join(folder, seg))
	if err != nil {
		t.Fatal(err)
	}
	l = open(t, folder, config())
	add(t, l, all[3:5])
	l.Close()
	after, err := os.ReadFile(filepath.Join(folder, seg))
	if err != nil {
		t.Fatal(err)
	}
	for n := len(before); n <= len(after); n++ {
		for _, zeros := range []int{0, len(after) - n} {
			cut := append(slices.Clone(after[:n]), make([]byte, zeros)...)
			copied := copyFolder(t, folder)
			if err := os.WriteFile(filepath.Join(copied, seg), cut, 0o600); err != nil {
				t.Fatal(err)
			}
			var told bytes.Buffer
			cfg := config()
			cfg.FS = &errfs.FS{} // whose syncs are fast
			cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
			l := open(t, copied, cfg)
			want := all[:3]
			if n == len(after) || bytes.Equal(cut, after) {
				want = all
			}
			holds(t, l, want, 0)
			if cutShort := len(want) == 3 && len(cut) > len(before); cutShort != strings.Contains(told.String(), "cut the last write short") {
				t.Fatalf("cut at %d: the owner is told %q", n, told.String())
			}
			add(t, l, entries(100, 101, 40))
			l.Close()
			l = open(t, copied, cfg)
			holds(t, l, append(slices.Clone(want), entry(100, 40)), 0)
			l.Close()
		}
	}
}

// TestDamage changes what was acknowledged: that is told and never cut away.
func TestDamage(t *testing.T) {
	folder := t.TempDir()
	l := open(t, folder, config())
	all := entries(0, 1300, 40)
	for i := 0; i < len(all); i += 100 {
		add(t, l, all[i:i+100])
	}
	if _, err := l.Checkpoint(1200); err != nil {
		t.Fatal(err)
	}
	l.Close()
	at := func(first int, ext string) string {
		return filepath.Join("receipts", fmt.Sprintf("%020d%s", first, ext))
	}
	change := func(name string, f func(b []byte) []byte) func(string) error {
		return func(folder string) error {
			b, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(folder, name), f(b), 0o600)
		}
	}
	flip := func(where int) func([]byte) []byte {
		return func(b []byte) []byte { b[where] ^= 1; return b }
	}
	remove := func(name string) func(string) error {
		return func(folder string) error { return os.Remove(filepath.Join(folder, name)) }
	}
	for name, c := range map[string]struct {
		do   func(folder string) error
		want error
	}{
		"a byte of an early receipt":  {change(at(1024, ".seg"), flip(100)), archive.ErrDamaged},
		"the segment's beginning":     {change(at(1024, ".seg"), flip(3)), archive.ErrDamaged},
		"signed receipts are cut off": {change(at(1024, ".seg"), func(b []byte) []byte { return b[:len(b)/2] }), archive.ErrLost},
		"the last segment is gone":    {remove(at(1024, ".seg")), archive.ErrLost},
		"an index":                    {change(at(512, ".index"), flip(2)), archive.ErrDamaged},
		"an index is short":           {change(at(512, ".index"), func(b []byte) []byte { return b[:len(b)-1] }), archive.ErrDamaged},
		"an early index is gone":      {remove(at(0, ".index")), archive.ErrDamaged},
		"a tile":                      {change("tile/0/002", flip(9)), archive.ErrDamaged},
		"a tile is gone":              {remove("tile/0/003"), archive.ErrDamaged},
		"the checkpoint":              {change("checkpoint", flip(30)), archive.ErrDamaged},
		"the checkpoint's signature":  {change("checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("\n1200\n"), []byte("\n1199\n"), 1) }), archive.ErrDamaged},
	} {
		copied := copyFolder(t, folder)
		if err := c.do(copied); err != nil {
			t.Fatal(err)
		}
		l, err := archive.Open(copied, config())
		if err == nil {
			l.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// A receipt of a sealed segment is read only when somebody asks for it.
	copied := copyFolder(t, folder)
	if err := change(at(0, ".seg"), flip(60+28+5))(copied); err != nil {
		t.Fatal(err)
	}
	l = open(t, copied, config())
	if _, err := l.File(0); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("a changed receipt is given: %v", err)
	}
}

// TestFaults makes every operation on the disk fail, once as an error and once as
// a power cut: what was acknowledged and signed is there when the log is opened
// again, and nothing else was signed.
func TestFaults(t *testing.T) {
	step := 7
	if testing.Short() {
		step = 19
	}
	run := func(fs *errfs.FS, folder string) (acked int, signed []byte) {
		cfg := config()
		cfg.SegmentEntries, cfg.FS = 256, fs
		l, err := archive.Open(folder, cfg)
		if err != nil {
			return 0, nil
		}
		defer l.Close()
		for tries := 0; acked < 640 && tries < 20; tries++ {
			// A failed one may have appended some, if it filled a segment.
			from := int(l.Size())
			if _, err := l.Append(context.Background(), entries(from, from+80, 20)...); err != nil {
				continue
			}
			acked = from + 80
			if note, err := l.Checkpoint(uint64(acked - 3)); err == nil {
				signed = note
			}
		}
		return acked, signed
	}
	count := &errfs.FS{}
	if acked, _ := run(count, t.TempDir()); acked != 640 {
		t.Fatalf("%d receipts without a fault", acked)
	}
	for _, crash := range []bool{false, true} {
		for at := 1 + rand.IntN(step); at <= count.Count(); at += step {
			folder := filepath.Join(t.TempDir(), "log")
			acked, signed := run(&errfs.FS{FailAt: at, Crash: crash}, folder)
			cfg := config()
			cfg.SegmentEntries, cfg.FS = 256, &errfs.FS{} // whose syncs are fast
			l, err := archive.Open(folder, cfg)
			if err != nil {
				t.Fatalf("operation %d, crash %v: %v", at, crash, err)
			}
			// What was not acknowledged may be there, too, if it is what was given.
			size := int(l.Size())
			if size < acked || size > 720 {
				t.Fatalf("operation %d, crash %v: %d receipts, %d were acknowledged", at, crash, size, acked)
			}
			holds(t, l, entries(0, size, 20), 0)
			if signed != nil {
				c, err := receiptlog.ParseCheckpoint(public, signed)
				if err != nil || l.Agrees(c.Size, c.Root) != nil {
					t.Fatalf("operation %d, crash %v: the log is not the one that was signed: %v", at, crash, err)
				}
				if latest, _ := l.Latest(); latest.Size < c.Size {
					t.Fatalf("operation %d, crash %v: %d were signed, the log remembers %d", at, crash, c.Size, latest.Size)
				}
			}
			l.Close()
		}
	}
}

// TestKilled kills a process that appends and signs, again and again, at whatever
// it is doing: all it told of is there, and never two logs were signed.
func TestKilled(t *testing.T) {
	cfg := config()
	if *killed != "" {
		l, err := archive.Open(*killed, cfg)
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		for i := int(l.Size()); ; {
			n := 1 + i%7
			if _, err := l.Append(context.Background(), entries(i, i+n, 100)...); err != nil {
				fmt.Println("failed", err)
				os.Exit(1)
			}
			i += n
			fmt.Println("acked", i)
			if i%5 == 0 {
				note, err := l.Checkpoint(uint64(i))
				if err != nil {
					fmt.Println("failed", err)
					os.Exit(1)
				}
				fmt.Printf("signed %x\n", note)
			}
		}
	}
	folder := filepath.Join(t.TempDir(), "log")
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	acked := 0
	var notes [][]byte
	for round := range rounds {
		c := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-killed="+folder)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(20+rand.IntN(300))*time.Millisecond, func() { _ = c.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			what, rest, _ := strings.Cut(lines.Text(), " ")
			switch what {
			case "acked":
				_, _ = fmt.Sscan(rest, &acked)
			case "signed":
				var note []byte
				if _, err := fmt.Sscanf(rest, "%x", &note); err == nil {
					notes = append(notes, note)
				}
			case "failed":
				t.Fatal(rest)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		timer.Stop()
		_ = c.Wait()
		l, err := archive.Open(folder, cfg)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if size := int(l.Size()); size < acked {
			t.Fatalf("round %d: %d receipts, %d were acknowledged", round, size, acked)
		}
		holds(t, l, entries(0, int(l.Size()), 100), 0)
		for _, note := range notes {
			c, err := receiptlog.ParseCheckpoint(public, note)
			if err == nil {
				err = l.Agrees(c.Size, c.Root)
			}
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked == 0 || len(notes) == 0 {
		t.Fatalf("%d receipts and %d checkpoints: nothing was tested", acked, len(notes))
	}
}

// TestQuestionsAreNoBatches tears a write whose receipt has a whole batch of another
// log in it: who asks cannot make a crash look like damage.
func TestQuestionsAreNoBatches(t *testing.T) {
	folder, other := t.TempDir(), t.TempDir()
	seg := filepath.Join("receipts", fmt.Sprintf("%020d.seg", 0))
	l := open(t, other, config())
	add(t, l, entries(0, 1, 40))
	head, err := os.Stat(filepath.Join(other, seg))
	if err != nil {
		t.Fatal(err)
	}
	add(t, l, entries(1, 3, 40)) // the receipt 1 follows the first here, too
	l.Close()
	batch, err := os.ReadFile(filepath.Join(other, seg))
	if err != nil {
		t.Fatal(err)
	}
	l = open(t, folder, config())
	add(t, l, entries(0, 1, 40))
	add(t, l, []receiptlog.Entry{{Receipt: canon.Hash{1}, File: append(batch[head.Size():], make([]byte, 100)...)}})
	l.Close()
	path := filepath.Join(folder, seg)
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-50)
	}
	if err != nil {
		t.Fatal(err)
	}
	l = open(t, folder, config())
	holds(t, l, entries(0, 1, 40), 0)
}
