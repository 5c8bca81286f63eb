package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/hub"
	"github.com/google/go-cmp/cmp"
)

func TestRefusalsSayWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		name   string
		token  string
		status int
		code   string
		body   string
		want   []string
	}{
		{"gated", "", 401, "GatedRepo", "", []string{"GatedRepo", "accept its licence at", "/user/repo", "HF_TOKEN"}},
		{"gated, token without access", testToken, 403, "GatedRepo", "", []string{"the token has no access", "/user/repo"}},
		{"private", "", 401, "", `{"error":"Repository not found"}`, []string{"401", "Repository not found", "set HF_TOKEN"}},
		{"bad token", testToken, 401, "", "", []string{"token in HF_TOKEN was not accepted"}},
		{"forbidden", "", 403, "", "", []string{"accept its licence"}},
		{"not found", testToken, 404, "RepoNotFound", "", []string{"RepoNotFound", "check the spelling", "/user/repo"}},
		{"words for the terminal", testToken, 404, "", "{\"error\":\"a\\u001b[31mb\"}", []string{"a [31mb"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, cfg, sl, st := setup(t, map[string][]byte{q4: blob(1, 10)})
			cfg.Token = tc.token
			srv.onOrigin = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				if tc.code != "" {
					w.Header().Set("X-Error-Code", tc.code)
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
				return true
			}
			_, err := pull(t, cfg, st, repo)
			var e *hub.StatusError
			if !errors.As(err, &e) || e.Status != tc.status {
				t.Fatal(err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\ndoes not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%q must not be printed", err)
			}
			if len(sl.pauses) != 0 {
				t.Errorf("tried again after %v", sl.pauses)
			}
		})
	}
}

// TestGatedAtTheFile: a gated repository can be listed, its files not had.
func TestGatedAtTheFile(t *testing.T) {
	srv, cfg, _, st := setup(t, map[string][]byte{q4: blob(1, 10)})
	cfg.Token = ""
	srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !strings.Contains(r.URL.Path, "/resolve/") {
			return false
		}
		w.Header().Set("X-Error-Code", "GatedRepo")
		w.Header().Set("X-Error-Message", "Access to model user/repo is restricted.")
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	_, err := pull(t, cfg, st, repo)
	if err == nil || !strings.Contains(err.Error(), "restricted") || !strings.Contains(err.Error(), "accept its licence at "+srv.origin.URL+"/user/repo") {
		t.Error(err)
	}
}

func TestRetries(t *testing.T) {
	sec := func(n ...int) []time.Duration {
		var out []time.Duration
		for _, i := range n {
			out = append(out, time.Duration(i)*time.Second)
		}
		return out
	}
	for _, tc := range []struct {
		name       string
		retryAfter string
		status     int
		times      int // requests that are refused
		pauses     []time.Duration
		why        string // "" if it succeeds
	}{
		{"retry after seconds", "7", 429, 2, sec(7, 7), ""},
		{"retry after a date", today.Add(9 * time.Second).Format(http.TimeFormat), 503, 1, sec(9), ""},
		{"retry after a past date", today.Add(-time.Hour).Format(http.TimeFormat), 503, 1, sec(1), ""},
		{"nonsense", "soon", 429, 1, sec(1), ""},
		{"bad gateway", "", 502, 3, sec(1, 2, 4), ""},
		{"too often", "", 500, 9, sec(1, 2, 4), "gave up after 4 attempts"},
		{"too long a wait", "3600", 429, 9, nil, "too many requests"},
		{"not implemented", "", 418, 9, nil, "418"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := blob(1, 1000)
			srv, cfg, sl, st := setup(t, map[string][]byte{q4: data})
			left := tc.times
			srv.onOrigin = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				if left == 0 {
					return false
				}
				left--
				w.Header().Set("Retry-After", tc.retryAfter)
				w.WriteHeader(tc.status)
				return true
			}
			_, err := pull(t, cfg, st, repo)
			if (err == nil) != (tc.why == "") || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Errorf("%v; want %q", err, tc.why)
			}
			if d := cmp.Diff(tc.pauses, sl.pauses); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestExpiredAddress: the other host refuses an address that was signed too
// long ago; asking the endpoint again gives a new one.
func TestExpiredAddress(t *testing.T) {
	data := blob(1, 1000)
	srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
	srv.onCDN = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 1 {
			w.WriteHeader(http.StatusForbidden)
		}
		return n == 1
	}
	mustPull(t, cfg, st, repo, data)
}

func TestStalls(t *testing.T) {
	data := blob(1, 50_000)
	for _, where := range []string{"before the answer", "within the body", "before the listing"} {
		t.Run(where, func(t *testing.T) {
			srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
			cfg.HeaderTimeout, cfg.StallTimeout = 200*time.Millisecond, 200*time.Millisecond
			var notes []string
			hang := func(w http.ResponseWriter, r *http.Request, n int) bool {
				if n > 1 || r.Method != http.MethodGet {
					return false
				}
				if where == "within the body" {
					w.Header().Set("ETag", `"`+sha(data)[:32]+`"`)
					w.Header().Set("Content-Length", "50000")
					w.Write(data[:30_000])
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
				return true
			}
			if where == "before the listing" {
				srv.onOrigin = hang
			} else {
				srv.onCDN = hang
			}
			_, err := hub.Pull(context.Background(), cfg, st, hub.Reference{Repo: repo}, func(p hub.Progress) {
				if p.Phase == hub.Retrying {
					notes = append(notes, p.Note)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want := "the server did not answer within 200ms"
			if where == "within the body" {
				want = "no data arrived for 200ms"
				if d := cmp.Diff([]string{"", "bytes=30000-"}, ranges(srv.requests("cdn", "GET"))); d != "" {
					t.Error(d)
				}
			}
			if len(notes) == 0 || !strings.Contains(notes[0], want) {
				t.Errorf("notes %q; want %q", notes, want)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	data := blob(1, 1000)
	t.Run("renamed repository", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		cfg.Token = testToken
		srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if !strings.Contains(r.URL.Path, "old/name") {
				return false
			}
			http.Redirect(w, r, strings.Replace(r.URL.Path, "old/name", repo, 1), http.StatusTemporaryRedirect)
			return true
		}
		mustPull(t, cfg, st, "old/name", data)
		for _, q := range srv.requests("origin", "") {
			if q.header.Get("Authorization") == "" {
				t.Errorf("%s %s lost its token within the endpoint", q.method, q.path)
			}
		}
	})
	t.Run("loop", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}
		if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), "more than 10 redirects") {
			t.Error(err)
		}
	})
	t.Run("https to http", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		secure := httptest.NewTLSServer(http.HandlerFunc(srv.serveOrigin))
		defer secure.Close()
		cfg.Endpoint, cfg.Transport = secure.URL, secure.Client().Transport
		if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), "refused a redirect from https") {
			t.Error(err)
		}
	})
	t.Run("unknown certificate", func(t *testing.T) {
		_, cfg, sl, st := setup(t, nil)
		secure := httptest.NewUnstartedServer(http.NotFoundHandler())
		secure.Config.ErrorLog = log.New(io.Discard, "", 0)
		secure.StartTLS()
		defer secure.Close()
		cfg.Endpoint = secure.URL
		if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), "certificate") || len(sl.pauses) != 0 {
			t.Errorf("%v, pauses %v", err, sl.pauses)
		}
	})
}

func TestListings(t *testing.T) {
	data := blob(1, 1000)
	const api = "/api/models/" + repo
	t.Run("pages", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{"a-Q2_K.gguf": blob(2, 5), "b.txt": nil, q4: data, "z-Q8_0.gguf": blob(3, 5)})
		srv.pageSize = 1
		mustPull(t, cfg, st, repo, data)
		n := 0
		for _, q := range srv.requests("origin", "GET") {
			if q.path == api+"/tree/main" {
				n++
			}
		}
		if n != 5 {
			t.Errorf("%d pages, want 5", n)
		}
	})
	refuse := func(name, why string, answer func(w http.ResponseWriter, r *http.Request)) {
		t.Run(name, func(t *testing.T) {
			srv, cfg, _, st := setup(t, map[string][]byte{q4: data, "x?.gguf": data})
			srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if strings.HasPrefix(r.URL.Path, api+"/tree/") {
					answer(w, r)
					return true
				}
				return false
			}
			if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%v; want %q", err, why)
			}
		})
	}
	refuse("endless", "more than 200 pages", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+r.URL.Path+`>; rel="next"`)
		fmt.Fprint(w, "[]")
	})
	refuse("too long", "longer than 16 MB", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(bytes.Repeat([]byte(" "), 17<<20))
	})
	refuse("not JSON", "not the JSON we expect", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	refuse("no models", "no GGUF model", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"type":"file","path":"model.safetensors","size":1}]`)
	})
	refuse("paths out of the repository", "no GGUF model", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"type":"file","path":"../x.gguf","size":1},{"type":"file","path":"/x.gguf","size":1},{"type":"file","path":"a\\x.gguf","size":1}]`)
	})
	refuse("not a file name", "not allowed", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"type":"file","path":"x?.gguf","size":1000,"lfs":{"oid":"%s","size":1000}}]`, sha(data))
	})
	refuse("disagrees with the file", "disagree on size or SHA-256", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"type":"file","path":"%s","size":7,"lfs":{"oid":"%s","size":7}}]`, q4, sha(data))
	})

	t.Run("changed between listing and HEAD", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.URL.Path != api+"/tree/main" {
				return false
			}
			old := &server{files: map[string][]byte{q4: blob(7, 900)}}
			old.serveTree(w, r)
			return true
		}
		mustPull(t, cfg, st, repo, data)
	})
	// Servers that speak part of the API only.
	for name, only := range map[string]func(srv *server, w http.ResponseWriter, r *http.Request) bool{
		"refs and commits": func(srv *server, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == api+"/refs" {
				fmt.Fprintf(w, `{"branches":[{"name":"dev","targetCommit":"%s"},{"name":"main","targetCommit":"%s"}]}`, strings.Repeat("f", 40), commit)
				return true
			}
			return r.URL.Path != api+"/tree/main" && !strings.Contains(r.URL.Path, "/resolve/main/") && srv.answer(w, r)
		},
		"description": func(srv *server, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == api {
				fmt.Fprintf(w, `{"siblings":[{"rfilename":"README.md"},{"rfilename":"%s"}]}`, q4)
				return true
			}
			return !strings.HasPrefix(r.URL.Path, "/api") && srv.answer(w, r)
		},
		"registry": func(_ *server, w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/v2/" + repo + "/manifests/latest":
				fmt.Fprintf(w, `{"layers":[{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:%s","size":3},
					{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:%s","size":1000}]}`, sha(nil), sha(data))
			case "/v2/" + repo + "/blobs/sha256:" + sha(data):
				w.Write(data)
			default:
				return false
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
			srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if !only(srv, w, r) {
					http.NotFound(w, r)
				}
				return true
			}
			mustPull(t, cfg, st, repo, data)
		})
	}
	t.Run("no HEAD", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodHead
		}
		mustPull(t, cfg, st, repo, data)
	})
	t.Run("kept in git", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{"tiny.gguf": data})
		srv.plain["tiny.gguf"] = true
		if m := mustPull(t, cfg, st, repo, data); m.Name != "hf.co/user/repo:latest" {
			t.Errorf("stored as %s", m.Name)
		}
	})
	t.Run("kept in git, other bytes", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{"tiny.gguf": data})
		srv.plain["tiny.gguf"] = true
		srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/resolve/") {
				w.Write(blob(5, 1000))
				return true
			}
			return false
		}
		if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), "expected "+gitID(data)) {
			t.Error(err)
		}
	})
	t.Run("no hash at all", func(t *testing.T) {
		srv, cfg, _, st := setup(t, map[string][]byte{q4: data})
		srv.onOrigin = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if r.Method == http.MethodHead {
				return true
			}
			fmt.Fprintf(w, `[{"type":"file","path":"%s","size":1000}]`, q4)
			return true
		}
		if _, err := pull(t, cfg, st, repo); err == nil || !strings.Contains(err.Error(), "does not tell its SHA-256") {
			t.Error(err)
		}
	})
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) bool {
	s.serveOrigin(w, r)
	return true
}
