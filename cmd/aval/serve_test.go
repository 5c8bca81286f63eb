package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/testdata"
)

// newTestServer serves two files of a small real model.
func newTestServer(t *testing.T, o serveOptions) (*httptest.Server, *host) {
	t.Helper()
	return serveFiles(t, o,
		testdata.Shared(t, "weights", "stories260K", "stories260K-f32.gguf"),
		testdata.Shared(t, "weights", "stories260K", "stories260K-Q4_K_M.gguf"))
}

func serveFiles(t *testing.T, o serveOptions, files ...string) (*httptest.Server, *host) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: func(k string) string {
		return map[string]string{"AVAL_MODELS": dir, "AVAL_KEY": filepath.Join(dir, "node.key")}[k]
	}}
	h, err := a.newHost(&o, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	srv, err := httpapi.New(httpapi.Config{Backend: h, Puller: h, Deleter: h, MaxConcurrent: 16})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(srv.Handler())
	t.Cleanup(ts.Close)
	return ts, h
}

func post(t *testing.T, url, body string, into any) int {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	src, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(src, into); err != nil {
		t.Fatalf("%s: %v in %q", url, err, src)
	}
	return resp.StatusCode
}

type completion struct {
	Choices []struct {
		Text         string
		FinishReason string `json:"finish_reason"`
		Message      struct{ Content string }
	}
	Error struct{ Message string }
}

// TestServeUnderLoad asks for the same things at the same time, of two models
// of which one fits, and wants the answers that each gets alone.
func TestServeUnderLoad(t *testing.T) {
	ts, _ := newTestServer(t, serveOptions{slots: 3, models: 1, keepAlive: time.Minute})
	bodies := []string{
		`{"model":"stories260K-f32","prompt":"Once upon a time","max_tokens":20,"temperature":0}`,
		`{"model":"stories260K-Q4_K_M","prompt":"One day","max_tokens":25,"seed":3}`,
		`{"model":"stories260K-f32","prompt":"Lily","max_tokens":15,"seed":1,"stop":["."]}`,
	}
	want := make([]string, len(bodies))
	for i, b := range bodies {
		var c completion
		if code := post(t, ts.URL+"/v1/completions", b, &c); code != 200 || len(c.Choices) != 1 {
			t.Fatalf("request %d: status %d, %+v", i, code, c)
		}
		want[i] = c.Choices[0].Text
	}
	if !strings.HasPrefix(want[0], ", there was a little girl named Lily.") {
		t.Errorf("got %q", want[0])
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			var c completion
			code := post(t, ts.URL+"/v1/completions", bodies[i%len(bodies)], &c)
			if code != 200 || c.Choices[0].Text != want[i%len(want)] {
				t.Errorf("request %d: status %d, %+v, want %q", i, code, c, want[i%len(want)])
			}
		})
	}
	wg.Wait()
}

func TestServeRefuses(t *testing.T) {
	ts, _ := newTestServer(t, serveOptions{modelOptions: modelOptions{context: 32}, slots: 1, models: 1})
	var c completion
	code := post(t, ts.URL+"/v1/completions",
		`{"model":"stories260K-f32","prompt":"`+strings.Repeat("Once upon a time ", 30)+`"}`, &c)
	if code != 400 || !strings.Contains(c.Error.Message, "32") {
		t.Errorf("a prompt that does not fit: status %d, %q", code, c.Error.Message)
	}
	if code := post(t, ts.URL+"/v1/completions", `{"model":"nobody","prompt":"x"}`, &c); code != 404 {
		t.Errorf("an unknown model: status %d", code)
	}
}

func TestServeFormats(t *testing.T) {
	ts, _ := newTestServer(t, serveOptions{slots: 2, models: 1})
	var c completion
	code := post(t, ts.URL+"/v1/chat/completions", `{"model":"stories260K-f32","temperature":0,"max_tokens":60,
		"messages":[{"role":"user","content":"Hi"}],
		"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}}}}`, &c)
	if code != 200 {
		t.Fatalf("status %d, %+v", code, c)
	}
	var v struct{ OK *bool }
	if err := json.Unmarshal([]byte(c.Choices[0].Message.Content), &v); err != nil || v.OK == nil {
		t.Errorf("got %q: %v", c.Choices[0].Message.Content, err)
	}
	var embedded struct {
		Data []struct{ Embedding []float32 }
	}
	if code := post(t, ts.URL+"/v1/embeddings", `{"model":"stories260K-f32","input":"Hi"}`, &embedded); code != 200 || len(embedded.Data[0].Embedding) != 64 {
		t.Errorf("embedding: status %d, %+v", code, embedded)
	}
	var tags struct{ Models []struct{ Name string } }
	resp, err := http.Get(ts.URL + "/api/tags")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&tags); err != nil || len(tags.Models) != 2 {
		t.Errorf("tags: %+v, %v", tags, err)
	}
}

// watched tells when somebody begins to wait for it.
type watched struct {
	context.Context
	waits chan struct{}
	once  sync.Once
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waits) })
	return w.Context.Done()
}

// TestHostWakes has a request wait for the place of a model that is in use. The
// place is free when its user leaves, whether the model would stay for ever, for
// a while or not at all.
func TestHostWakes(t *testing.T) {
	for _, keep := range []time.Duration{-1, 0, time.Hour} {
		t.Run(keep.String(), func(t *testing.T) {
			_, h := newTestServer(t, serveOptions{slots: 1, models: 1, keepAlive: keep})
			first, err := h.Open(t.Context(), "stories260K-f32", httpapi.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			w := &watched{Context: ctx, waits: make(chan struct{})}
			opened := make(chan error)
			go func() {
				m, err := h.Open(w, "stories260K-Q4_K_M", httpapi.OpenOptions{})
				if err == nil {
					m.Close()
				}
				opened <- err
			}()
			<-w.waits
			first.Close()
			if err := <-opened; err != nil {
				t.Errorf("the second model was not opened: %v", err)
			}
		})
	}
}

// TestHostEvicts makes room: the model that nobody has used for longest goes
// first, whether it was to stay for ever or not, and one in use never.
func TestHostEvicts(t *testing.T) {
	h := &host{loaded: map[string]*hosted{}, most: 2, changed: make(chan struct{})}
	now := time.Now()
	for name, m := range map[string]hosted{
		"old":  {used: now.Add(-time.Hour), keep: time.Minute, expires: now.Add(time.Minute)},
		"new":  {used: now.Add(-time.Minute), keep: -1},
		"busy": {used: now.Add(-2 * time.Hour), keep: -1, users: 1},
	} {
		m.name = name
		h.loaded[name] = &m
	}
	for _, want := range []string{"old", "new"} {
		if !h.evict() || h.loaded[want] != nil {
			t.Fatalf("%q is still there", want)
		}
	}
	if h.evict() || h.loaded["busy"] == nil {
		t.Error("a model in use was unloaded")
	}
}

// TestHostUnloads checks that a model goes when its time is over and that one
// in use stays.
func TestHostUnloads(t *testing.T) {
	_, h := newTestServer(t, serveOptions{slots: 1, models: 1, keepAlive: -1})
	never := time.Duration(0)
	m, err := h.Open(t.Context(), "stories260K-f32", httpapi.OpenOptions{KeepAlive: &never})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := h.Open(ctx, "stories260K-Q4_K_M", httpapi.OpenOptions{}); err == nil {
		t.Error("a second model was loaded where one fits")
	}
	m.Close()
	m.Close() // twice is once
	if loaded, _ := h.Loaded(t.Context()); len(loaded) != 0 {
		t.Errorf("still loaded: %+v", loaded)
	}
	m, err = h.Open(t.Context(), "stories260K-Q4_K_M", httpapi.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if loaded, _ := h.Loaded(t.Context()); len(loaded) != 1 || loaded[0].Name != "stories260K-Q4_K_M" {
		t.Errorf("loaded: %+v", loaded)
	}
}
