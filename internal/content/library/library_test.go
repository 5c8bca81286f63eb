package library_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/content/library"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func id(n byte) peer.ID { return peer.FromPrivate(key(n)) }

func random(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, folder string, change ...func(*library.Config)) *library.Library {
	t.Helper()
	cfg := library.Config{Folder: folder, Logger: quiet}
	for _, c := range change {
		c(&cfg)
	}
	l, err := library.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// folderOf makes a folder with files.
func folderOf(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func share(t testing.TB, l *library.Library, dir string) library.Info {
	t.Helper()
	items, _, err := library.Walk(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := l.Share(t.Context(), library.Proposal{
		Manifest: content.Manifest{Kind: content.Data, Name: "set", Licence: "CC0-1.0"}, Items: items, Key: key(1),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func everybody(context.Context, peer.ID, content.Root, [][]byte) error { return nil }

// serve gives what a library has on a network of its own and returns a fetcher of
// another peer.
func serve(t testing.TB, s exchange.Source) (*exchange.Server, exchange.Fetcher) {
	t.Helper()
	net := memory.New()
	server := exchange.Serve(exchange.ServerConfig{Network: net.Join(id(1)), Source: s, Allow: everybody, Logger: quiet})
	t.Cleanup(func() { _ = server.Close() })
	return server, exchange.Fetcher{Network: net.Join(id(2)), Finder: exchange.Given{id(1)}, Logger: quiet}
}

// into chooses a folder.
func into(dir string) func(*content.Manifest) (string, error) {
	return func(*content.Manifest) (string, error) { return dir, nil }
}

// fetch fetches all of a content into a library.
func fetch(t testing.TB, f exchange.Fetcher, l *library.Library, root content.Root, dir string) (*exchange.Result, error) {
	t.Helper()
	d, err := l.Download(root, into(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f.Sink = d
	return f.Fetch(t.Context(), root, exchange.Whole, nil)
}

var files = map[string][]byte{"a.bin": random(1, 3<<20), "deep/er/b.bin": random(2, 100), "deep/empty": nil, "deep/c.bin": random(3, 700_000)}

func same(t testing.TB, dir string, want map[string][]byte) {
	t.Helper()
	got := map[string][]byte{}
	items, hidden, err := library.Walk(dir)
	if err != nil || len(hidden) > 0 {
		t.Fatalf("%v; hidden %v", err, hidden)
	}
	for _, it := range items {
		if got[it.Path], err = os.ReadFile(it.File); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name, data := range want {
		if !bytes.Equal(got[name], data) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestShareAndFetch(t *testing.T) {
	dir, place := folderOf(t, files), t.TempDir()
	l := open(t, place)
	info := share(t, l, dir)
	if again := share(t, l, dir); again.Root != info.Root {
		t.Errorf("sharing the same again gives %s, not %s", again.Root, info.Root)
	}
	if _, err := library.Open(library.Config{Folder: place}); !errors.Is(err, library.ErrBusy) {
		t.Errorf("a second library on the folder: %v", err)
	}
	if err := l.Close(); err != nil { // what was shared is shared after a restart
		t.Fatal(err)
	}
	l = open(t, place)
	if diff := cmp.Diff([]library.Info{info}, l.List()); diff != "" {
		t.Error(diff)
	}
	_, f := serve(t, l)
	for _, folder := range []string{"", filepath.Join(t.TempDir(), "new")} {
		mine := open(t, t.TempDir())
		if _, err := fetch(t, f, mine, info.Root, folder); err != nil {
			t.Fatal(err)
		}
		got, err := mine.Info(info.Root)
		if err != nil || !got.Complete || got.InPlace || got.Offered {
			t.Errorf("%+v, %v", got, err)
		}
		same(t, got.Place, files)
		if n := mine.Cached(); (n != info.Size) == (folder == "") {
			t.Errorf("%d bytes are in the library's own folder", n)
		}
		_, onward := serve(t, mine) // who fetched can give
		if _, err := fetch(t, onward, open(t, t.TempDir()), info.Root, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestChangedFile(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"written": func(path string) error { return os.WriteFile(path, random(9, 3<<20), 0o644) },
		"longer":  func(path string) error { return os.WriteFile(path, random(1, 3<<20+1), 0o644) },
		"removed": os.Remove,
		"written with the old time": func(path string) error {
			info, err := os.Stat(path)
			data := random(1, 3<<20)
			data[1<<20] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o644), os.Chtimes(path, time.Time{}, info.ModTime()))
		},
	} {
		dir := folderOf(t, files)
		l := open(t, t.TempDir())
		info := share(t, l, dir)
		if err := change(filepath.Join(dir, "a.bin")); err != nil {
			t.Fatal(err)
		}
		_, f := serve(t, l)
		mine := open(t, t.TempDir())
		d, err := mine.Download(info.Root, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.Sink = d
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = f.Fetch(ctx, info.Root, exchange.Whole, nil)
		cancel()
		if err == nil {
			t.Errorf("%s: the old content was fetched", name)
		}
		if got := l.List()[0].Changed; !cmp.Equal(got, []string{"a.bin"}) {
			t.Errorf("%s: %v changed", name, got)
		}
		_ = d.Close()
	}
}

func TestWalkRefuses(t *testing.T) {
	dir := folderOf(t, map[string][]byte{"a": nil, ".env": []byte("secret"), ".git/config": nil})
	items, hidden, err := library.Walk(dir)
	if err != nil || len(items) != 1 || !cmp.Equal(hidden, []string{".env", ".git"}) {
		t.Errorf("%v, hidden %v, %v", items, hidden, err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Skip("no links here")
	}
	if _, _, err := library.Walk(dir); err == nil || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("a link: %v", err)
	}
}

// TestLinksInTheWay puts links where a fetch writes; nothing beyond is touched.
func TestLinksInTheWay(t *testing.T) {
	l := open(t, t.TempDir())
	info := share(t, l, folderOf(t, files))
	_, f := serve(t, l)
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "deep")); err != nil {
		t.Skip("no links here")
	}
	if _, err := fetch(t, f, open(t, t.TempDir()), info.Root, dir); err == nil {
		t.Error("it was fetched through a link")
	}
	if list, _ := os.ReadDir(outside); len(list) > 0 {
		t.Errorf("%v were written outside", list)
	}
}

func TestOtherFileInTheWay(t *testing.T) {
	l := open(t, t.TempDir())
	info := share(t, l, folderOf(t, files))
	server, f := serve(t, l)
	dir := folderOf(t, map[string][]byte{"deep/c.bin": []byte("mine")})
	mine := open(t, t.TempDir())
	if _, err := fetch(t, f, mine, info.Root, dir); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Errorf("another file: %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "deep", "c.bin")); string(data) != "mine" {
		t.Error("the file was written over")
	}
	// The right file is taken as it is.
	if err := os.WriteFile(filepath.Join(dir, "deep", "c.bin"), files["deep/c.bin"], 0o644); err != nil {
		t.Fatal(err)
	}
	before := server.Given()
	if _, err := fetch(t, f, mine, info.Root, dir); err != nil {
		t.Fatal(err)
	}
	same(t, dir, files)
	if n := server.Given() - before; n > info.Size-700_000 {
		t.Errorf("%d bytes were fetched, with 700,000 of %d there", n, info.Size)
	}
}

// TestBase fetches a tuned model where its base is: what they share is not fetched.
func TestBase(t *testing.T) {
	base := random(4, 8<<20)
	tuned := append(append(bytes.Clone(base[:4<<20]), random(5, 500_000)...), base[4<<20:]...)
	theirs, mine := open(t, t.TempDir()), open(t, t.TempDir())
	share(t, mine, folderOf(t, map[string][]byte{"base": base}))
	dir := folderOf(t, map[string][]byte{"tuned": tuned})
	info := share(t, theirs, dir)
	server, f := serve(t, theirs)
	out := t.TempDir()
	if _, err := fetch(t, f, mine, info.Root, out); err != nil {
		t.Fatal(err)
	}
	same(t, out, map[string][]byte{"tuned": tuned})
	if server.Given() > 500_000+3*content.MaxChunk {
		t.Errorf("%d bytes were fetched for 500,000 new ones", server.Given())
	}
}

// TestOneTensor reads one tensor of a model that is elsewhere.
func TestOneTensor(t *testing.T) {
	var file bytes.Buffer
	w := gguf.NewWriter(&file)
	wanted := random(6, 1<<20)
	if err := errors.Join(
		w.Set("general.architecture", gguf.ValueOf("llama")),
		w.Declare("before", gguf.F32, 2<<20), w.Declare("wanted", gguf.F32, len(wanted)/4), w.Declare("after", gguf.F32, 2<<20),
		w.WriteTensor("before", random(7, 8<<20)), w.WriteTensor("wanted", wanted), w.WriteTensor("after", random(8, 8<<20)), w.Close(),
	); err != nil {
		t.Fatal(err)
	}
	l := open(t, t.TempDir())
	info := share(t, l, folderOf(t, map[string][]byte{"model.gguf": file.Bytes()}))
	server, f := serve(t, l)
	d, err := open(t, t.TempDir()).Download(info.Root, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f.Sink = d
	r, err := f.OpenReader(t.Context(), info.Root, "model.gguf")
	if err != nil {
		t.Fatal(err)
	}
	m, err := gguf.Parse(r, r.Size())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(wanted))
	if _, err := m.Reader(m.Tensor("wanted")).ReadAt(got, 0); err != nil || !bytes.Equal(got, wanted) {
		t.Errorf("the tensor differs: %v", err)
	}
	// The tensor's chunks are its own; the header's may be one more.
	if most := int64(len(wanted) + content.MaxChunk); server.Given() > most {
		t.Errorf("%d bytes were given for a tensor of %d, want at most %d", server.Given(), len(wanted), most)
	}
}

func TestQuota(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := open(t, t.TempDir())
	mine := open(t, t.TempDir(), func(c *library.Config) {
		c.Quota = 3 << 20
		c.Now = func() time.Time { now = now.Add(time.Second); return now }
	})
	var roots []content.Root
	for i := range 5 {
		roots = append(roots, share(t, l, folderOf(t, map[string][]byte{"f": random(byte(10+i), 1<<20)})).Root)
	}
	_, f := serve(t, l)
	must := func(i int) {
		t.Helper()
		if _, err := fetch(t, f, mine, roots[i], ""); err != nil {
			t.Fatal(err)
		}
	}
	have := func(want ...int) {
		t.Helper()
		var got []int
		for i, r := range roots {
			if _, err := mine.Info(r); err == nil {
				got = append(got, i)
			}
		}
		if !cmp.Equal(got, want) {
			t.Errorf("there are %v, want %v", got, want)
		}
	}
	must(0)
	must(1)
	must(2)
	must(0) // used again
	must(3)
	have(0, 2, 3)
	if err := mine.Pin(roots[2], true); err != nil {
		t.Fatal(err)
	}
	busy, err := mine.Download(roots[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	must(4)
	have(0, 2, 3, 4) // the pinned one does not count
	must(1)
	have(0, 1, 2, 4) // 0 is in use, though it is older than 3
	if err := mine.Remove(roots[0]); err == nil {
		t.Error("what is in use was removed")
	}
	_ = busy.Close()
	big := share(t, l, folderOf(t, map[string][]byte{"f": random(20, 4<<20)}))
	if _, err := fetch(t, f, mine, big.Root, ""); rpc.CodeOf(err) != rpc.ResourceExhausted {
		t.Errorf("more than the quota: %v", err)
	}
	if n := mine.Cached(); n != 3<<20 {
		t.Errorf("%d bytes are cached", n)
	}
}

func TestStop(t *testing.T) {
	dir := folderOf(t, files)
	l := open(t, t.TempDir())
	info := share(t, l, dir)
	if offered, public := l.Offered(info.Root); !offered || public {
		t.Errorf("offered %v, public %v", offered, public)
	}
	if err := l.Stop(info.Root); err != nil {
		t.Fatal(err)
	}
	if offered, _ := l.Offered(info.Root); offered {
		t.Error("it is offered still")
	}
	same(t, dir, files)
	if err := l.Stop(info.Root); !errors.Is(err, exchange.ErrMissing) {
		t.Errorf("stopped twice: %v", err)
	}
}

// TestMoved gives on what was fetched and then put into another place.
func TestMoved(t *testing.T) {
	l := open(t, t.TempDir())
	info := share(t, l, folderOf(t, map[string][]byte{"f": random(1, 1<<20)}))
	_, f := serve(t, l)
	mine := open(t, t.TempDir())
	if _, err := fetch(t, f, mine, info.Root, ""); err != nil {
		t.Fatal(err)
	}
	dir := folderOf(t, map[string][]byte{"right": random(1, 1<<20), "short": nil, "wrong": random(2, 1<<20)})
	if err := mine.Moved(info.Root, []string{filepath.Join(dir, "short")}); err == nil {
		t.Error("a file of another size is taken")
	}
	if err := mine.Moved(info.Root, []string{filepath.Join(dir, "right")}); err != nil {
		t.Fatal(err)
	}
	_, onward := serve(t, mine)
	if _, err := fetch(t, onward, open(t, t.TempDir()), info.Root, ""); err != nil || mine.Cached() != 0 {
		t.Errorf("%v; %d bytes are cached", err, mine.Cached())
	}
	if err := mine.Moved(info.Root, []string{filepath.Join(dir, "wrong")}); err != nil {
		t.Fatal(err)
	}
	if _, err := mine.ReadChunk(info.Root, 0, 0, make([]byte, content.MaxChunk)); !errors.Is(err, exchange.ErrMissing) {
		t.Errorf("a chunk of another file: %v", err)
	}
	if err := mine.Offer(info.Root, true); err != nil || !cmp.Equal(mine.Named("set"), []content.Root{info.Root}) {
		t.Errorf("named: %v, %v", mine.Named("set"), err)
	}
}
