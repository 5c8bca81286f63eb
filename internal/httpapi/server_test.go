package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/httpapi/fake"
)

// waitFor waits for what another goroutine is about to do.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func newServer(t testing.TB, cfg httpapi.Config) *httpapi.Server {
	t.Helper()
	s, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// local is the address that a request to a loopback server arrives at.
var local = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 11434}

func request(method, path, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:11434"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
}

func TestAdmission(t *testing.T) {
	tests := []struct {
		name   string
		change func(*httpapi.Config)
		method string
		path   string
		header []string
		status int
		allow  string // Access-Control-Allow-Origin
	}{
		{name: "plain", status: 200},
		{name: "address as host", header: []string{"Host", "127.0.0.1:11434"}, status: 200},
		{name: "IPv6 host", header: []string{"Host", "[::1]:11434"}, status: 200},
		{name: "subdomain of localhost", header: []string{"Host", "aval.localhost"}, status: 200},
		{name: "rebound name", header: []string{"Host", "evil.example:11434"}, status: 403},
		{name: "name that begins like ours", header: []string{"Host", "localhost.evil.example"}, status: 403},
		{
			name: "allowed name", header: []string{"Host", "box.lan"}, status: 200,
			change: func(c *httpapi.Config) { c.Hosts = []string{"box.lan"} },
		},
		{
			name: "any name", header: []string{"Host", "box.lan"}, status: 200,
			change: func(c *httpapi.Config) { c.Hosts = []string{"*"} },
		},
		{name: "local page", header: []string{"Origin", "http://localhost:3000"}, status: 200, allow: "http://localhost:3000"},
		{name: "local page by address", header: []string{"Origin", "http://127.0.0.1:3000"}, status: 200, allow: "http://127.0.0.1:3000"},
		{name: "foreign page", header: []string{"Origin", "https://evil.example"}, status: 403},
		{name: "page that begins like ours", header: []string{"Origin", "http://localhost.evil.example"}, status: 403},
		{name: "page without origin", header: []string{"Origin", "null"}, status: 403},
		{
			name: "allowed page", header: []string{"Origin", "https://app.example"}, status: 200, allow: "https://app.example",
			change: func(c *httpapi.Config) { c.Origins = []string{"https://app.example"} },
		},
		{
			name: "any page", header: []string{"Origin", "https://app.example"}, status: 200, allow: "https://app.example",
			change: func(c *httpapi.Config) { c.Origins = []string{"*"} },
		},
		{
			name: "preflight", method: "OPTIONS", header: []string{"Origin", "http://localhost:3000", "Access-Control-Request-Headers", "authorization"},
			status: 204, allow: "http://localhost:3000",
			change: func(c *httpapi.Config) { c.APIKey = "secret" },
		},
		{name: "foreign preflight", method: "OPTIONS", header: []string{"Origin", "https://evil.example"}, status: 403},
		{name: "no key", status: 401, change: func(c *httpapi.Config) { c.APIKey = "secret" }},
		{
			name: "key", header: []string{"Authorization", "Bearer secret"}, status: 200,
			change: func(c *httpapi.Config) { c.APIKey = "secret" },
		},
		{
			name: "part of the key", header: []string{"Authorization", "Bearer secre"}, status: 401,
			change: func(c *httpapi.Config) { c.APIKey = "secret" },
		},
		{
			name: "other scheme", header: []string{"Authorization", "Basic secret"}, status: 401,
			change: func(c *httpapi.Config) { c.APIKey = "secret" },
		},
		{name: "health needs no key", path: "/health", status: 200, change: func(c *httpapi.Config) { c.APIKey = "secret" }},
		{name: "metrics need the key", path: "/metrics", status: 401, change: func(c *httpapi.Config) { c.APIKey = "secret" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := fake.Config(fake.New())
			if tt.change != nil {
				tt.change(&cfg)
			}
			if tt.method == "" {
				tt.method = "GET"
			}
			if tt.path == "" {
				tt.path = "/v1/models"
			}
			w := httptest.NewRecorder()
			newServer(t, cfg).Handler().ServeHTTP(w, request(tt.method, tt.path, "", tt.header...))
			if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != tt.status || got != tt.allow {
				t.Errorf("status %d, allowed origin %q, want %d and %q\n%s", w.Code, got, tt.status, tt.allow, w.Body)
			}
		})
	}
}

// TestHostOutside does not check names when the connection did not come in on
// a loopback address.
func TestHostOutside(t *testing.T) {
	r := request("GET", "/v1/models", "", "Host", "box.example")
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80})))
	w := httptest.NewRecorder()
	newServer(t, fake.Config(fake.New())).Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestConfig(t *testing.T) {
	f := fake.New()
	for _, tt := range []struct {
		cfg  httpapi.Config
		want string
	}{
		{httpapi.Config{}, "Backend"},
		{httpapi.Config{Backend: f, MaxConcurrent: -1}, "negative"},
		{httpapi.Config{Backend: f, Origins: []string{"example.org"}}, "origin"},
		{httpapi.Config{Backend: f, Origins: []string{"https://example.org/x"}}, "origin"},
		{httpapi.Config{Backend: f, Hosts: []string{"box.lan:80"}}, "host"},
	} {
		if _, err := httpapi.New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one about %q", err, tt.want)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	cfg := fake.Config(fake.New())
	cfg.MaxBodyBytes = 100
	s := newServer(t, cfg)
	for _, body := range []string{
		`{"model": "` + strings.Repeat("x", 200) + `"}`,
		`{"model": "x"}` + strings.Repeat(" ", 200),
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, request("POST", "/v1/chat/completions", body))
		if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "longer than 100 bytes") {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
}

// TestLogsAreDiscreet looks for anything of a request's content in the log,
// for answers, refusals, failures and panics.
func TestLogsAreDiscreet(t *testing.T) {
	var log bytes.Buffer
	cfg := fake.Config(fake.New())
	cfg.APIKey = "hush-key"
	cfg.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newServer(t, cfg)
	for _, body := range []string{
		`{"model": "fake:1b", "messages": [{"role": "user", "content": "say hush-answer"}]}`,
		`{"model": "fake:1b", "messages": [{"role": "user", "content": "hush-prompt"}, {"role": "hush-role"}]}`,
		`{"model": "fake:1b", "messages": "hush-type"}`,
		`{"model": "fake:1b", "messages": [{"role": "user", "content": "hush"}, {"role": "user", "content": "say panic"}]}`,
		`{"model": "fake:1b", "messages": [{"role": "user", "content": "hush"}, {"role": "user", "content": "say fail"}]}`,
		`hush`,
	} {
		s.Handler().ServeHTTP(httptest.NewRecorder(), request("POST", "/v1/chat/completions?hush=1", body, "Authorization", "Bearer hush-key"))
	}
	s.Handler().ServeHTTP(httptest.NewRecorder(), request("GET", "/hush", "", "Authorization", "Bearer hush-wrong", "Origin", "http://hush"))
	if strings.Contains(log.String(), "hush") {
		t.Errorf("the log holds content:\n%s", log.String())
	}
	if n := strings.Count(log.String(), `"msg":"request"`); n != 7 {
		t.Errorf("%d lines for 7 requests:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "panic in a handler") || !strings.Contains(log.String(), `"output_tokens":11`) {
		t.Errorf("the log lacks something:\n%s", log.String())
	}
}

func TestMetrics(t *testing.T) {
	s := newServer(t, fake.Config(fake.New()))
	chat := `{"model": "fake:1b", "messages": [{"role": "user", "content": "say abc"}]}`
	s.Handler().ServeHTTP(httptest.NewRecorder(), request("POST", "/v1/chat/completions", chat))
	s.Handler().ServeHTTP(httptest.NewRecorder(), request("GET", "/a/b/c", ""))
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, request("GET", "/metrics", ""))
	for _, line := range []string{
		`aval_http_requests_total{route="POST /v1/chat/completions",status="200"} 1`,
		`aval_http_requests_total{route="unknown",status="404"} 1`,
		`aval_tokens_total{kind="output"} 3`,
		`aval_tokens_total{kind="prompt"} 21`,
		`aval_tokens_total{kind="reused"} 3`,
		`aval_generations_total{stop="eos"} 1`,
		`aval_time_to_first_token_seconds_count 1`,
		`aval_requests_running 0`,
		`aval_requests_queued 0`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// TestQueue fills the slots and the queue; the next request is refused at once,
// and one that leaves the queue makes room.
func TestQueue(t *testing.T) {
	f := fake.New()
	f.Started, f.Release = make(chan struct{}), make(chan struct{})
	cfg := fake.Config(f)
	cfg.MaxConcurrent, cfg.MaxQueue = 2, 1
	s := newServer(t, cfg)
	chat := `{"model": "fake:1b", "prompt": "say abc"}`
	var wg sync.WaitGroup
	send := func(ctx context.Context, want int) {
		wg.Go(func() {
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, request("POST", "/v1/completions", chat).WithContext(ctx))
			if w.Code != want {
				t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
			}
		})
	}
	queued := func(n int) {
		waitFor(t, fmt.Sprintf("%d requests to wait", n), func() bool {
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, request("GET", "/health", ""))
			return strings.Contains(w.Body.String(), fmt.Sprintf(`"queued":%d`, n))
		})
	}
	send(t.Context(), 200)
	send(t.Context(), 200)
	<-f.Started
	<-f.Started
	ctx, cancel := context.WithCancel(t.Context())
	send(ctx, 499)
	queued(1)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, request("POST", "/v1/completions", chat))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, headers %v: %s", w.Code, w.Header(), w.Body)
	}
	cancel()
	queued(0)
	send(t.Context(), 200)
	queued(1)
	close(f.Release)
	<-f.Started
	wg.Wait()
}

// TestLoad sends many requests at once: each gets its own answer, whatever the
// others get, and nothing is left behind.
func TestLoad(t *testing.T) {
	f := fake.New()
	cfg := fake.Config(f)
	cfg.MaxConcurrent, cfg.MaxQueue = 4, 1000
	srv := httptest.NewServer(newServer(t, cfg).Handler())
	defer srv.Close()
	var wg sync.WaitGroup
	var canceled atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			text := fmt.Sprintf("answer %d %s", i, strings.Repeat("ä", i%50))
			body := fmt.Sprintf(`{"model": "fake:1b", "stream": true, "messages": [{"role": "user", "content": "say %s"}]}`, text)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, "POST", srv.URL+"/v1/chat/completions", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := srv.Client().Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if i%5 == 4 { // leave early
				if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
					t.Error(err)
				}
				canceled.Add(1)
				return
			}
			if got := streamText(t, resp.Body); got != text {
				t.Errorf("answer %q, want %q", got, text)
			}
		})
	}
	wg.Wait()
	waitFor(t, "all models to be closed", func() bool { return f.Opened.Load() == 0 && f.Running.Load() == 0 })
	if canceled.Load() != 40 {
		t.Errorf("%d left early, want 40", canceled.Load())
	}
}

// streamText joins the content of a stream of OpenAI's.
func streamText(t *testing.T, r io.Reader) string {
	var text string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Errorf("%s: %v", data, err)
			return text
		}
		for _, c := range chunk.Choices {
			text += c.Delta.Content
		}
	}
	return text
}

// pipes is a listener whose connections live in memory, so that time in a
// synctest bubble can pass while they wait.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return local }

func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	select {
	case p.conns <- server:
	case <-p.closed:
		t.Fatal("the server does not listen any more")
	}
	return client
}

// post writes a request for a stream to a connection.
func post(t *testing.T, c net.Conn, content string) {
	t.Helper()
	body := fmt.Sprintf(`{"model": "fake:1b", "stream": true, "messages": [{"role": "user", "content": %q}]}`, content)
	if _, err := fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		t.Error(err)
	}
}

// TestSlowReader sends a request and does not read the answer. After the write
// timeout the server gives the client up.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New()
		cfg := fake.Config(f)
		cfg.WriteTimeout = 10 * time.Second
		ln := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- newServer(t, cfg).Serve(ctx, ln) }()
		c := ln.dial(t)
		post(t, c, "count")
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if n := f.Running.Load(); n != 1 {
			t.Errorf("%d generations after 9 seconds, want 1", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if running, open := f.Running.Load(), f.Opened.Load(); running != 0 || open != 0 {
			t.Errorf("%d generations and %d open models after 11 seconds, want none", running, open)
		}
		c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestSlowSender begins a request and does not send its body.
func TestSlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := fake.Config(fake.New())
		cfg.BodyTimeout = 10 * time.Second
		ln := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- newServer(t, cfg).Serve(ctx, ln) }()
		c := ln.dial(t)
		start := time.Now()
		fmt.Fprint(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
		answer, _ := bufio.NewReader(c).ReadString('\n')
		if waited := time.Since(start); waited != 10*time.Second || !strings.Contains(answer, "408") {
			t.Errorf("after %v: %q", waited, answer)
		}
		c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestLongAnswer takes longer than any timeout before its first token.
func TestLongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New()
		f.Started, f.Release = make(chan struct{}), make(chan struct{})
		ln := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- newServer(t, fake.Config(f)).Serve(ctx, ln) }()
		c := ln.dial(t)
		for range 2 { // the second on the same connection
			go post(t, c, "say slow")
			r := bufio.NewReader(c)
			go func() {
				<-f.Started
				time.Sleep(time.Hour)
				f.Release <- struct{}{}
			}()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := streamText(t, resp.Body); got != "slow" {
				t.Errorf("answer %q", got)
			}
			time.Sleep(time.Minute)
		}
		c.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestShutdown ends the server while two answers are being made: one that is
// ready in time, and one that would go on for ever.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New()
		f.Started, f.Release = make(chan struct{}), make(chan struct{})
		cfg := fake.Config(f)
		cfg.DrainTimeout = time.Minute
		ln := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- newServer(t, cfg).Serve(ctx, ln) }()
		answers := make(chan string, 2)
		start := func() {
			c := ln.dial(t)
			go post(t, c, "say abc")
			go func() {
				b, err := io.ReadAll(c)
				if err != nil && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				answers <- string(b)
			}()
			<-f.Started
		}
		start()
		start()
		cancel()
		time.Sleep(30 * time.Second)
		f.Release <- struct{}{}
		if a := <-answers; !strings.Contains(a, "[DONE]") {
			t.Errorf("the answer that was ready in time: %s", a)
		}
		begin := time.Now()
		if a := <-answers; !strings.Contains(a, "shutting_down") || strings.Contains(a, "[DONE]") {
			t.Errorf("the answer that was not: %s", a)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < 29*time.Second || took > 33*time.Second {
			t.Errorf("the server ended %v later", took)
		}
		if f.Opened.Load() != 0 {
			t.Error("a model is still open")
		}
	})
}
