package web_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/web"
	"github.com/avalnetwork/aval/receipt"
)

const secretQuestion = "What is the colour of the <b>safe</b>?"

// model answers what it is told to, with a receipt that is signed truly.
type model struct {
	answer string
	wait   chan struct{} // if not nil, the answer waits in its middle
	lie    string
	ended  chan struct{} // closed when an answer was given up
}

func (m *model) Targets(context.Context) ([]web.Target, error) {
	return []web.Target{{ID: "local:tiny", Name: "tiny", Talks: true, Receipts: true}, {ID: "peer://x/far", Name: "far", Peer: "x", Short: "…abcd"}}, nil
}

func (m *model) Ask(ctx context.Context, q web.Question, on func(web.Step) error) (*web.Answer, error) {
	if q.Target == "broken" {
		return nil, errors.New("the model is <broken>")
	}
	half := len(m.answer) / 2
	if err := on(web.Step{Phase: web.Writing, Text: m.answer[:half]}); err != nil {
		return nil, err
	}
	if m.wait != nil {
		select {
		case <-m.wait:
		case <-ctx.Done():
			close(m.ended)
			return nil, ctx.Err()
		}
	}
	if err := on(web.Step{Text: m.answer[half:], Checked: 3}); err != nil {
		return nil, err
	}
	last := q.Messages[len(q.Messages)-1].Content
	a := &web.Answer{Target: web.Target{ID: q.Target, Name: "tiny"}, Question: last, Text: m.answer, Tokens: 7, Took: time.Second}
	if strings.HasPrefix(q.Target, "peer:") {
		a.Target.Peer, a.Target.Short = "x", "…abcd"
	}
	a.Result = signed(last, m.answer)
	a.Lie = m.lie
	return a, nil
}

func (m *model) Check(_ context.Context, a *web.Answer) (web.Result, error) {
	r := a.Result
	r.Model = "tiny"
	r.Checks.Add(receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid})
	return r, nil
}

func signed(question, text string) web.Result {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceChat, GenerationPrompt: true, Messages: []receipt.Message{{Role: "user", Content: question}}},
		Prompt: []int32{1, 2, 3}, Output: []int32{4, 5, 6, 2}, Text: text,
	})
	if err != nil {
		panic(err)
	}
	c := receipt.Claims{Model: receipt.Hash{1, 2, 3}, Params: receipt.Params{Temperature: 0.8, MaxTokens: 100}, Seed: receipt.SelfSeed(7), Time: time.Now().Unix()}
	o.Fill(&c)
	r, err := receipt.Sign(c, key)
	if err != nil {
		panic(err)
	}
	f := &receipt.File{Receipt: r, Opening: o}
	data, err := f.Marshal()
	if err != nil {
		panic(err)
	}
	return web.Result{File: f, Data: data, Checks: f.Check(receipt.Options{Now: time.Now()})}
}

// place is a console that listens, and a browser before it.
type place struct {
	t      *testing.T
	srv    *web.Server
	base   string
	token  web.Token
	client *http.Client
	logged *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func open(t *testing.T, cfg web.Config) *place {
	t.Helper()
	p := &place{t: t, logged: &safeBuffer{}}
	var err error
	if p.token, err = web.OpenToken(filepath.Join(t.TempDir(), "console.token")); err != nil {
		t.Fatal(err)
	}
	cfg.Token = p.token
	cfg.Log = slog.New(slog.NewTextHandler(p.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if p.srv, err = web.New(cfg); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.base = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.srv.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p
}

// enter lets the browser in.
func (p *place) enter() {
	p.t.Helper()
	_, code, _ := strings.Cut(p.srv.Link(p.base), "#")
	res, _ := p.do("POST", "/login", url.Values{"code": {code}}.Encode(), nil)
	if res.StatusCode != http.StatusSeeOther {
		p.t.Fatalf("a new link gave status %d", res.StatusCode)
	}
}

func (p *place) do(method, path, body string, header map[string]string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		if k == "Host" {
			r.Host = v
		}
		r.Header.Set(k, v)
	}
	res, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, string(data)
}

func (p *place) get(path string) string {
	p.t.Helper()
	res, body := p.do("GET", path, "", nil)
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("GET %s: status %d\n%s", path, res.StatusCode, body)
	}
	return body
}

var csrfMeta = regexp.MustCompile(`<meta name="csrf" content="([^"]+)">`)

func (p *place) csrf() string {
	p.t.Helper()
	m := csrfMeta.FindStringSubmatch(p.get("/settings"))
	if m == nil {
		p.t.Fatal("the page has no token for forms")
	}
	return m[1]
}

// ask asks and gives the last line that came.
func (p *place) ask(target, question string) (last map[string]any, all string) {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{"target": target, "messages": []map[string]string{{"role": "user", "content": question}}})
	if err != nil {
		p.t.Fatal(err)
	}
	_, all = p.do("POST", "/chat", string(body), map[string]string{"Content-Type": "application/json", "Accept": "application/json", "Aval-Csrf": p.csrf()})
	lines := strings.Split(strings.TrimSpace(all), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		p.t.Fatalf("%v\n%s", err, all)
	}
	return last, all
}
