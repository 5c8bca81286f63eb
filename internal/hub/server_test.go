package hub_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/hub"
	"github.com/avalnetwork/aval/internal/store"
)

const (
	repo      = "user/repo"
	commit    = "0123456789abcdef0123456789abcdef01234567"
	testToken = "hf_secret"
)

// server imitates Hugging Face: an origin that lists files and redirects to a
// second host, where the bytes are.
type server struct {
	origin, cdn *httptest.Server
	files       map[string][]byte // by path in the repository
	plain       map[string]bool   // kept in git itself, not in LFS
	pageSize    int               // entries a page, 0: all

	// Hooks answer in place of the server if they return true. n counts the
	// requests of that method to that host, from 1.
	onOrigin, onCDN func(w http.ResponseWriter, r *http.Request, n int) bool

	mu   sync.Mutex
	seen []request
}

type request struct {
	host, method, path string
	header             http.Header
}

func newServer(t testing.TB, files map[string][]byte) *server {
	t.Helper()
	s := &server{files: files, plain: map[string]bool{}}
	s.origin = httptest.NewServer(s.record("origin", http.HandlerFunc(s.serveOrigin)))
	s.cdn = httptest.NewServer(s.record("cdn", http.HandlerFunc(s.serveCDN)))
	t.Cleanup(s.origin.Close)
	t.Cleanup(s.cdn.Close)
	return s
}

func (s *server) record(host string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, request{host, r.Method, r.URL.Path, r.Header.Clone()})
		n := 0
		for _, q := range s.seen {
			if q.host == host && q.method == r.Method {
				n++
			}
		}
		hook := s.onOrigin
		if host == "cdn" {
			hook = s.onCDN
		}
		s.mu.Unlock()
		if hook == nil || !hook(w, r, n) {
			h.ServeHTTP(w, r)
		}
	})
}

// requests returns those seen with that host and method, "" for any.
func (s *server) requests(host, method string) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []request
	for _, q := range s.seen {
		if (host == "" || q.host == host) && (method == "" || q.method == method) {
			out = append(out, q)
		}
	}
	return out
}

func (s *server) forget() {
	s.mu.Lock()
	s.seen = nil
	s.mu.Unlock()
}

func sha(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

func gitID(data []byte) string {
	h := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(h[:])
}

func (s *server) serveOrigin(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/models/"+repo+"/tree/") {
		s.serveTree(w, r)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/main/")
	if !ok {
		path, ok = strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/"+commit+"/")
	}
	data, found := s.files[path]
	if !ok || !found {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":"Entry not found"}`)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if s.plain[path] {
		w.Header().Set("ETag", `"`+gitID(data)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+sha(data)+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	http.Redirect(w, r, s.cdn.URL+"/blob/"+path+"?signature=private", http.StatusFound)
}

func (s *server) serveTree(w http.ResponseWriter, r *http.Request) {
	type lfs struct {
		OID  string `json:"oid"`
		Size int    `json:"size"`
	}
	type entry struct {
		Type string `json:"type"`
		OID  string `json:"oid"`
		Size int    `json:"size"`
		Path string `json:"path"`
		LFS  *lfs   `json:"lfs,omitempty"`
	}
	out := []entry{{Type: "directory", Path: "sub"}}
	for p, data := range s.files {
		e := entry{Type: "file", OID: gitID(data), Size: len(data), Path: p}
		if !s.plain[p] {
			e.LFS = &lfs{sha(data), len(data)}
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	if s.pageSize > 0 {
		var from int
		fmt.Sscan(r.URL.Query().Get("cursor"), &from)
		to := min(from+s.pageSize, len(out))
		if to < len(out) {
			// As a mirror does: the link leads to the original.
			w.Header().Set("Link", fmt.Sprintf(`<https://huggingface.co%s?recursive=true&cursor=%d>; rel="next"`, r.URL.Path, to))
		}
		out = out[from:to]
	}
	json.NewEncoder(w).Encode(out)
}

func (s *server) serveCDN(w http.ResponseWriter, r *http.Request) {
	data, ok := s.files[strings.TrimPrefix(r.URL.Path, "/blob/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"`+sha(data)[:32]+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// cut sends the first n bytes of what the range asks for and drops the connection.
func (s *server) cut(w http.ResponseWriter, r *http.Request, n int) {
	s.serveCDN(&cutter{ResponseWriter: w, left: n}, r)
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if c.left == 0 && err == nil {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// blob returns n bytes that depend on the seed.
func blob(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	rng.Read(b)
	return b
}

// sleeper records pauses and makes none.
type sleeper struct {
	mu     sync.Mutex
	pauses []time.Duration
}

func (s *sleeper) sleep(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	s.pauses = append(s.pauses, d)
	s.mu.Unlock()
	time.Sleep(time.Millisecond) // lets others run
	return ctx.Err()
}

var today = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// setup returns a server, a configuration for it, and a store.
func setup(t testing.TB, files map[string][]byte) (*server, hub.Config, *sleeper, *store.Store) {
	t.Helper()
	srv := newServer(t, files)
	sl := &sleeper{}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	cfg := hub.Config{
		Endpoint: srv.origin.URL, Token: testToken, Attempts: 4, Transport: tr,
		Now: func() time.Time { return today }, Sleep: sl.sleep,
	}
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return srv, cfg, sl, st
}

func pull(t testing.TB, cfg hub.Config, st *store.Store, ref string) (store.Model, error) {
	t.Helper()
	r, err := hub.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return hub.Pull(context.Background(), cfg, st, r, nil)
}

// mustPull pulls and checks the contents.
func mustPull(t testing.TB, cfg hub.Config, st *store.Store, ref string, want ...[]byte) store.Model {
	t.Helper()
	m, err := pull(t, cfg, st, ref)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := st.Paths(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != len(want) {
		t.Fatalf("%d files, want %d", len(paths), len(want))
	}
	for i, p := range paths {
		if data, err := os.ReadFile(p); err != nil || !bytes.Equal(data, want[i]) {
			t.Fatalf("file %d: %d bytes, %v; want %d bytes", i, len(data), err, len(want[i]))
		}
	}
	if left := partials(t, st); len(left) != 0 {
		t.Fatalf("left over: %v", left)
	}
	return m
}

func partials(t testing.TB, st *store.Store) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(st.Root(), "partial"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func ranges(qs []request) []string {
	var out []string
	for _, q := range qs {
		out = append(out, q.header.Get("Range"))
	}
	return out
}
