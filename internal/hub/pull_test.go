package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/hub"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/google/go-cmp/cmp"
)

const (
	q4 = "model-Q4_K_M.gguf"
	q8 = "model-Q8_0.gguf"
)

func TestPull(t *testing.T) {
	data := blob(1, 300_000)
	srv, cfg, _, st := setup(t, map[string][]byte{q4: data, q8: blob(2, 10), "README.md": []byte("hi"), "mmproj-Q4_K_M.gguf": blob(3, 10)})
	var last hub.Progress
	ref, err := hub.ParseReference("hf.co/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	m, err := hub.Pull(context.Background(), cfg, st, ref, func(p hub.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	want := store.Model{
		Name: "hf.co/user/repo:Q4_K_M", Source: srv.origin.URL + "/user/repo@" + commit, Created: today,
		Files: []store.File{{Path: q4, SHA256: sha(data), Size: int64(len(data))}},
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if last.Done != 300_000 || last.Total != 300_000 || last.Phase != hub.Downloading {
		t.Errorf("progress ended with %+v", last)
	}
	for _, q := range srv.requests("", "") {
		auth := q.header.Get("Authorization")
		if q.host == "origin" && auth != "Bearer "+testToken || q.host == "cdn" && auth != "" {
			t.Errorf("%s %s %s carries Authorization %q", q.host, q.method, q.path, auth)
		}
	}
	if got, err := st.Get("user/repo"); err != nil || got.Name != m.Name {
		t.Errorf("found as %q, %v", got.Name, err)
	}
	// Again: nothing is downloaded.
	srv.forget()
	mustPull(t, cfg, st, repo, data)
	if n := len(srv.requests("cdn", "")); n != 0 {
		t.Errorf("%d requests for a model that is there", n)
	}
	// A blob that vanished is fetched again.
	paths, err := st.Paths(m)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(paths[0])
	mustPull(t, cfg, st, repo, data)
}

func TestPullSplit(t *testing.T) {
	parts := [][]byte{blob(1, 70_000), blob(2, 50_000), blob(1, 70_000)} // two parts are equal
	files := map[string][]byte{}
	for i, p := range parts {
		files[fmt.Sprintf("Q8_0/big-Q8_0-%05d-of-00003.gguf", i+1)] = p
	}
	srv, cfg, _, st := setup(t, files)
	srv.pageSize = 1
	m := mustPull(t, cfg, st, repo+":q8_0", parts...)
	if m.Name != "hf.co/user/repo:Q8_0" || m.Files[1].Path != "big-Q8_0-00002-of-00003.gguf" {
		t.Errorf("%+v", m)
	}
	if n := len(srv.requests("cdn", "GET")); n != 2 {
		t.Errorf("%d downloads, want 2", n)
	}

	delete(files, "Q8_0/big-Q8_0-00002-of-00003.gguf")
	if _, err := pull(t, cfg, st, repo+":Q8_0"); err == nil || !strings.Contains(err.Error(), "part 2 is missing") {
		t.Error(err)
	}
}

func TestDropsAreResumed(t *testing.T) {
	data := blob(1, 100_000)
	srv, cfg, sl, st := setup(t, map[string][]byte{q4: data})
	// More drops than Attempts: each brings something, so none counts twice.
	srv.onCDN = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n <= 6 {
			srv.cut(w, r, 10_000)
		}
		return n <= 6
	}
	mustPull(t, cfg, st, repo, data)
	qs := srv.requests("cdn", "GET")
	want := []string{"", "bytes=10000-", "bytes=20000-", "bytes=30000-", "bytes=40000-", "bytes=50000-", "bytes=60000-"}
	if d := cmp.Diff(want, ranges(qs)); d != "" {
		t.Error(d)
	}
	if got, want := qs[1].header.Get("If-Range"), `"`+sha(data)[:32]+`"`; got != want {
		t.Errorf("If-Range %s, want %s", got, want)
	}
	for _, d := range sl.pauses {
		if d != time.Second {
			t.Errorf("pauses %v: a try that brought bytes begins again at 1s", sl.pauses)
			break
		}
	}
}

func TestGivesUpAndResumesLater(t *testing.T) {
	data := blob(1, 50_000)
	srv, cfg, sl, st := setup(t, map[string][]byte{q4: data})
	srv.onCDN = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 1 {
			srv.cut(w, r, 20_000)
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	_, err := pull(t, cfg, st, repo)
	if err == nil || !strings.Contains(err.Error(), "20000 of 50000 bytes are kept") || !strings.Contains(err.Error(), "502") {
		t.Fatal(err)
	}
	if strings.Contains(err.Error(), "private") {
		t.Errorf("the error shows a signed address: %v", err)
	}
	if d := cmp.Diff([]time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, sl.pauses); d != "" {
		t.Error(d)
	}
	srv.onCDN = nil
	srv.forget()
	mustPull(t, cfg, st, repo, data)
	if d := cmp.Diff([]string{"bytes=20000-"}, ranges(srv.requests("cdn", "GET"))); d != "" {
		t.Error(d)
	}
}

func TestCancelKeepsThePartial(t *testing.T) {
	data := blob(1, 2_000_000)
	srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := hub.Pull(ctx, cfg, st, hub.Reference{Repo: repo}, func(p hub.Progress) {
		if p.Done > 500_000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	have := st.PartialSize(store.File{SHA256: sha(data)})
	if have <= 500_000 {
		t.Fatalf("%d bytes kept", have)
	}
	srv.forget()
	mustPull(t, cfg, st, repo, data)
	if have == int64(len(data)) {
		t.Skip("all bytes had arrived when the cancellation took effect")
	}
	if d := cmp.Diff([]string{fmt.Sprintf("bytes=%d-", have)}, ranges(srv.requests("cdn", "GET"))); d != "" {
		t.Error(d)
	}
}

// TestRestarts covers the servers that do not go on where we were.
func TestRestarts(t *testing.T) {
	data := blob(1, 60_000)
	for _, tc := range []struct {
		name   string
		again  bool // the second answer is of no use, a third brings the file
		second func(srv *server, w http.ResponseWriter, r *http.Request) bool
	}{
		{"ignores ranges", false, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Write(data)
			return true
		}},
		{"etag changed", false, func(srv *server, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("ETag", `"other"`)
			r.Header.Del("Range") // as a server must, the validator being another
			srv.serveCDN(&fixedETag{w}, r)
			return true
		}},
		{"etag changed, range served", true, func(srv *server, w http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("If-Range")
			srv.serveCDN(&fixedETag{w}, r)
			return true
		}},
		{"range not satisfiable", true, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}},
		{"another range", true, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 5-59999/60000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[5:])
			return true
		}},
		{"no content range", true, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[20_000:])
			return true
		}},
		{"wrong bytes for the range", true, func(_ *server, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 20000-59999/60000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[:40_000])
			return true
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
			srv.onCDN = func(w http.ResponseWriter, r *http.Request, n int) bool {
				switch n {
				case 1:
					srv.cut(w, r, 20_000)
					return true
				case 2:
					return tc.second(srv, w, r)
				}
				return false
			}
			mustPull(t, cfg, st, repo, data)
			want := []string{"", "bytes=20000-"} // the second answer is all of the file
			if tc.again {
				want = append(want, "")
			}
			if d := cmp.Diff(want, ranges(srv.requests("cdn", "GET"))); d != "" {
				t.Error(d)
			}
		})
	}
}

type fixedETag struct{ http.ResponseWriter }

func (f *fixedETag) WriteHeader(code int) {
	f.Header().Set("ETag", `"other"`)
	f.ResponseWriter.WriteHeader(code)
}

func TestBadLeftoverIsReplaced(t *testing.T) {
	data := blob(1, 40_000)
	for _, n := range []int{100, len(data), len(data) + 1} {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		bad := filepath.Join(st.Root(), "partial", "sha256-"+sha(data)+".partial")
		if err := os.WriteFile(bad, blob(9, n), 0o644); err != nil {
			t.Fatal(err)
		}
		mustPull(t, cfg, st, repo, data)
		if last := srv.requests("cdn", "GET"); last[len(last)-1].header.Get("Range") != "" {
			t.Errorf("leftover of %d bytes: ranges %v", n, ranges(last))
		}
	}
}

func TestWrongBytes(t *testing.T) {
	data, other := blob(1, 40_000), blob(2, 40_000)
	for _, tc := range []struct {
		name, why string
		gets      int
		serve     func(w http.ResponseWriter)
	}{
		{"hash", "sha256 is " + sha(other) + ", expected " + sha(data), 1, func(w http.ResponseWriter) { w.Write(other) }},
		{"length announced", "size is 39999 bytes, expected 40000", 1, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "39999")
			w.Write(data[1:])
		}},
		{"too long", "more than the expected 40000 bytes", 1, func(w http.ResponseWriter) {
			w.(http.Flusher).Flush() // no Content-Length
			w.Write(append(data[:len(data):len(data)], 1))
		}},
		{"too short", "the answer ended at byte 30000 of 40000", 4, func(w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			w.Write(data[:30_000])
		}},
		{"a page of text", "size is 5 bytes, expected 40000", 1, func(w http.ResponseWriter) { w.Write([]byte("sorry")) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
			srv.onCDN = func(w http.ResponseWriter, _ *http.Request, _ int) bool { tc.serve(w); return true }
			_, err := pull(t, cfg, st, repo)
			if err == nil || !strings.Contains(err.Error(), tc.why) || !strings.Contains(err.Error(), q4) {
				t.Fatalf("%v; want an error saying %q", err, tc.why)
			}
			if n := len(srv.requests("cdn", "GET")); n != tc.gets {
				t.Errorf("%d requests, want %d", n, tc.gets)
			}
			if left := partials(t, st); tc.name != "too short" && len(left) != 0 {
				t.Errorf("bad bytes are kept: %v", left)
			}
			if models, err := st.List(); err != nil || len(models) != 0 {
				t.Errorf("%v, %v", models, err)
			}
		})
	}
}

func TestTwoPullsAtOnce(t *testing.T) {
	data := blob(1, 1_000_000)
	srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			own, err := store.Open(st.Root()) // as another process would
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := hub.Pull(context.Background(), cfg, own, hub.Reference{Repo: repo}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(srv.requests("cdn", "GET")); n != 1 {
		t.Errorf("downloaded %d times", n)
	}
	mustPull(t, cfg, st, repo, data)
}

func TestNoSpace(t *testing.T) {
	srv, cfg, _, st := setup(t, map[string][]byte{q4: blob(1, 5000)})
	cfg.FreeSpace = func() (int64, bool) { return 4999, true }
	_, err := pull(t, cfg, st, repo)
	var e *hub.SpaceError
	if !errors.As(err, &e) || e.Need != 5000 || e.Free != 4999 || e.Dir != st.Root() {
		t.Error(err)
	}
	if n := len(srv.requests("cdn", "")); n != 0 {
		t.Errorf("%d requests for bytes that have no room", n)
	}
}

func TestConfigRefuses(t *testing.T) {
	_, good, _, st := setup(t, nil)
	for _, change := range []func(*hub.Config){
		func(c *hub.Config) { c.Endpoint = "ftp://x" },
		func(c *hub.Config) { c.Endpoint = "huggingface.co" },
		func(c *hub.Config) { c.Endpoint = "https://user:pass@x" },
		func(c *hub.Config) { c.Token = "a\nb" },
		func(c *hub.Config) { c.Attempts = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), "hub: ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for _, r := range []hub.Reference{{}, {Repo: "x"}, {Repo: "a/../b"}, {Repo: "a/b", Tag: "x/y"}, {Repo: "a/b:c", Tag: "d"}} {
		if _, err := hub.Pull(context.Background(), good, st, r, nil); err == nil {
			t.Errorf("pulled %+v", r)
		}
	}
}
