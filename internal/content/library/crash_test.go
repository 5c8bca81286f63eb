package library_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/content/library"
	"github.com/avalnetwork/aval/internal/rpc/memory"
)

// The test binary runs itself as a process that fetches until it is killed.
const envFetcher = "AVAL_TEST_CONTENT_FETCHER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envFetcher); dir != "" {
		if err := fetchSlowly(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fetchSlowly fetches what the library in dir/theirs shares into dir/mine and
// dir/out, and says how far it is.
func fetchSlowly(dir string) error {
	theirs, err := library.Open(library.Config{Folder: filepath.Join(dir, "theirs")})
	if err != nil {
		return err
	}
	defer theirs.Close()
	mine, err := library.Open(library.Config{Folder: filepath.Join(dir, "mine")})
	if err != nil {
		return err
	}
	defer mine.Close()
	root := theirs.List()[0].Root
	net := memory.New()
	server := exchange.Serve(exchange.ServerConfig{Network: net.Join(id(1)), Source: theirs, Allow: everybody, Rate: 32 << 20})
	defer server.Close()
	d, err := mine.Download(root, into(filepath.Join(dir, "out")))
	if err != nil {
		return err
	}
	defer d.Close()
	f := exchange.Fetcher{Network: net.Join(id(2)), Sink: d, Finder: exchange.Given{id(1)}}
	res, err := f.Fetch(context.Background(), root, exchange.Whole, func(p exchange.Progress) { fmt.Println("done", p.Done) })
	if err == nil {
		fmt.Println("fetched", res.Fetched)
	}
	return err
}

// TestKill kills the process that fetches, again and again, with no chance to
// finish anything. Each goes on where the last one was, and at the end the files
// are right.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	want := map[string][]byte{"a": random(1, 9<<20), "b/c": random(2, 3<<20), "b/d": random(3, 5), "e": nil}
	l, err := library.Open(library.Config{Folder: filepath.Join(dir, "theirs"), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	info := share(t, l, folderOf(t, want))
	_ = l.Close()
	const step = 2 << 20
	reached := int64(0)
	for round := 0; ; round++ {
		if round > 20 {
			t.Fatal("no end")
		}
		first, last, fetched := run(t, dir, reached+step)
		if first < reached {
			t.Fatalf("round %d begins with %d bytes, although %d were there", round, first, reached)
		}
		if fetched >= 0 {
			if fetched > info.Size-reached {
				t.Errorf("the last round fetched %d bytes of %d, with %d there", fetched, info.Size, reached)
			}
			if round < 2 {
				t.Errorf("it ended in round %d, before it was killed twice", round)
			}
			break
		}
		reached = last
	}
	same(t, filepath.Join(dir, "out"), want)
}

// run fetches in a process of its own and kills it when it has so many bytes. It
// gives the first and the last number that it told, and at the end what it
// fetched, or -1.
func run(t *testing.T, dir string, until int64) (first, last, fetched int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envFetcher+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, fetched = -1, -1
	killed := false
	for s := bufio.NewScanner(out); s.Scan(); {
		var n int64
		if _, err := fmt.Sscanf(s.Text(), "done %d", &n); err == nil {
			if first < 0 {
				first = n
			}
			last = n
			if n >= until && !killed {
				killed = true
				_ = cmd.Process.Kill()
			}
		} else if text, ok := strings.CutPrefix(s.Text(), "fetched "); ok {
			fetched, _ = strconv.ParseInt(text, 10, 64)
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatal(err)
	}
	return first, last, fetched
}
