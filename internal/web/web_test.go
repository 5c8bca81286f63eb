package web_test

import (
	"bytes"
	"context"
	"errors"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/web"
	"github.com/avalnetwork/aval/receipt"
)

func TestOnlyTheOwnerIsLetIn(t *testing.T) {
	p := open(t, web.Config{Chat: &model{answer: "It is blue."}})
	for _, path := range []string{"/", "/network", "/models", "/audits", "/ledger", "/settings", "/proof/x", "/receipt/x", "/chat/targets", "/nothing"} {
		if res, body := p.do("GET", path, "", nil); res.StatusCode != http.StatusUnauthorized || strings.Contains(body, "tiny") {
			t.Errorf("without a session, GET %s: status %d", path, res.StatusCode)
		}
	}
	for _, code := range []string{"", "AAAA", p.base} {
		if res, _ := p.do("POST", "/login", url.Values{"code": {code}}.Encode(), nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("the code %q: status %d", code, res.StatusCode)
		}
	}
	link := p.srv.Link(p.base)
	_, code, _ := strings.Cut(link, "#")
	res, _ := p.do("POST", "/login", url.Values{"code": {link}}.Encode(), nil) // the whole link will do, too
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("a link: status %d", res.StatusCode)
	}
	cookie := res.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is not for this site's requests alone: %v", cookie)
	}
	if res, _ := p.do("POST", "/login", url.Values{"code": {code}}.Encode(), nil); res.StatusCode != http.StatusForbidden {
		t.Error("a link works twice")
	}
	p.get("/")

	// A cookie that was changed, and one of another console.
	for _, value := range []string{cookie.Value[:len(cookie.Value)-2] + "AA", "AAAA", strings.Repeat("A", 400)} {
		r, _ := http.NewRequest("GET", p.base+"/", nil)
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		res, err := (&http.Client{}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("the cookie %q: status %d", value, res.StatusCode)
		}
	}

	// The owner's programs ask for links with the secret.
	if res, _ := p.do("POST", "/link", "", map[string]string{"Authorization": "Bearer wrong"}); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong secret: status %d", res.StatusCode)
	}
	_, body := p.do("POST", "/link", "", map[string]string{"Authorization": p.token.Bearer()})
	if !strings.Contains(body, p.base+"/login#") {
		t.Errorf("the right secret: %s", body)
	}
}

func TestSessionsEnd(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	p := open(t, web.Config{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	later := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	_, code, _ := strings.Cut(p.srv.Link(p.base), "#")
	later(11 * time.Minute)
	if res, _ := p.do("POST", "/login", url.Values{"code": {code}}.Encode(), nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("a link of eleven minutes ago: status %d", res.StatusCode)
	}
	p.enter()
	p.get("/")
	later(31 * 24 * time.Hour)
	if res, _ := p.do("GET", "/", "", nil); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a session of a month ago: status %d", res.StatusCode)
	}
	p.enter()
	if res, _ := p.do("POST", "/logout", "csrf="+p.csrf(), nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("leaving: status %d", res.StatusCode)
	}
	if res, _ := p.do("GET", "/", "", nil); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after leaving: status %d", res.StatusCode)
	}
}

func TestHeaders(t *testing.T) {
	p := open(t, web.Config{})
	p.enter()
	for _, path := range []string{"/", "/login", "/static/app.css", "/static/app.js", "/nothing", "/chat/targets"} {
		res, body := p.do("GET", path, "", nil)
		csp := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q is without %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: the policy is too wide: %q", path, csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			// What the policy would refuse is not written either.
			for _, bad := range []string{" style=", "<style", " onclick", "<script>", "javascript:"} {
				if strings.Contains(body, bad) {
					t.Errorf("%s has %q", path, bad)
				}
			}
		}
	}
}

// A page of elsewhere whose name leads to this machine sends that name.
func TestRebindingIsRefused(t *testing.T) {
	p := open(t, web.Config{Hosts: []string{"console.test"}})
	p.enter()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.base, "http://"))
	for host, want := range map[string]int{
		"evil.example": 421, "evil.example:" + port: 421, "127.0.0.1.evil.example:" + port: 421, "127.0.0.1:1": 421, "127.0.0.1": 421,
		"192.168.0.1:" + port: 421, "localhost.evil.example:" + port: 421, "": 0,
		"localhost:" + port: 200, "[::1]:" + port: 200, "127.0.0.1:" + port: 200, "LOCALHOST.:" + port: 200, "console.test": 200,
	} {
		if want == 0 {
			continue // Go's client does not send it
		}
		if res, _ := p.do("GET", "/login", "", map[string]string{"Host": host}); res.StatusCode != want {
			t.Errorf("Host %q: status %d, want %d", host, res.StatusCode, want)
		}
	}
}

func TestForgedFormsAreRefused(t *testing.T) {
	p := open(t, web.Config{Chat: &model{answer: "no"}, Network: &network{}})
	p.enter()
	csrf := p.csrf()
	good := url.Values{"lang": {"pt-BR"}, "csrf": {csrf}}.Encode()
	for name, c := range map[string]struct {
		body   string
		header map[string]string
		want   int
	}{
		"own":              {good, nil, 303},
		"own, named":       {good, map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": p.base}, 303},
		"no token":         {"lang=pt-BR", nil, 403},
		"wrong token":      {"lang=pt-BR&csrf=" + strings.Repeat("A", len(csrf)), nil, 403},
		"other site":       {good, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"other port":       {good, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"other origin":     {good, map[string]string{"Origin": "http://evil.example"}, 403},
		"origin of a file": {good, map[string]string{"Origin": "null"}, 403},
		"too large":        {"csrf=" + csrf + "&x=" + strings.Repeat("x", 2<<20), nil, 413},
	} {
		if res, body := p.do("POST", "/settings", c.body, c.header); res.StatusCode != c.want {
			t.Errorf("%s: status %d, want %d\n%.300s", name, res.StatusCode, c.want, body)
		}
	}
	// A second session's token is not that of the first.
	q := open(t, web.Config{})
	q.enter()
	if res, _ := p.do("POST", "/settings", "lang=en&csrf="+q.csrf(), nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("the token of another console: status %d", res.StatusCode)
	}
	for _, path := range []string{"/chat", "/network/add", "/network/remove", "/network/ping", "/models/share", "/models/fetch", "/audits/verify", "/audits/judge", "/check/x", "/audits/dispute/x", "/logout"} {
		if res, _ := p.do("POST", path, "link=x", nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s without a token: status %d", path, res.StatusCode)
		}
	}
	// Where the settings lead back is here.
	for _, to := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "evil"} {
		res, _ := p.do("POST", "/settings", url.Values{"csrf": {csrf}, "back": {to}}.Encode(), nil)
		if got := res.Header.Get("Location"); got != "/settings" {
			t.Errorf("back %q leads to %q", to, got)
		}
	}
}

type network struct{ added string }

func (n *network) Network(context.Context) (web.NetworkView, error) {
	v := web.NetworkView{Self: "12D3Self", Short: "…Self", Link: "peer://12D3Self", Mode: "open", Since: time.Now().Add(-91*time.Minute + time.Second)}
	for i, way := range []web.Way{web.Direct, web.Relayed, web.Local, web.Nowhere} {
		v.Peers = append(v.Peers, web.Peer{
			ID: "12D3KooW" + string(way), Short: "…" + string(way[:3]), Way: way, Address: "/ip4/192.0.2.1/tcp/4710", RoundTrip: time.Duration(i) * 12 * time.Millisecond,
			Since: time.Now().Add(-time.Minute), In: 12345678, Out: 99, Agent: `<script>alert("x")</script>`, Contact: way == web.Nowhere, Offers: i,
		})
	}
	return v, nil
}
func (n *network) Add(_ context.Context, link string) error { n.added = link; return nil }
func (n *network) Remove(context.Context, string) error     { return errors.New("no such contact") }
func (n *network) Ping(context.Context, string) (time.Duration, error) {
	return 12 * time.Millisecond, nil
}

func TestNetwork(t *testing.T) {
	src := &network{}
	p := open(t, web.Config{Network: src})
	p.enter()
	body := p.get("/network")
	for _, want := range []string{"<svg", "through a relay", "local network", "not connected", "12.3 MB", "1 h 30 min", "3 offers", "&lt;script&gt;"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of the network is without %q", want)
		}
	}
	if strings.Contains(body, "<script>alert") {
		t.Error("what a peer says of itself is not escaped")
	}
	csrf := p.csrf()
	if res, _ := p.do("POST", "/network/add", url.Values{"csrf": {csrf}, "link": {" peer://abc "}}.Encode(), nil); res.StatusCode != 303 || src.added != "peer://abc" {
		t.Errorf("adding: status %d, added %q", res.StatusCode, src.added)
	}
	if res, body := p.do("POST", "/network/remove", url.Values{"csrf": {csrf}, "peer": {"x"}}.Encode(), nil); res.StatusCode != 422 || !strings.Contains(body, "no such contact") {
		t.Errorf("an error of the source: status %d\n%s", res.StatusCode, body)
	}
	if _, body := p.do("POST", "/network/ping", url.Values{"csrf": {csrf}, "peer": {"x"}}.Encode(), nil); !strings.Contains(body, "answered after 12.0 ms") {
		t.Errorf("a ping:\n%s", body)
	}
}

func TestChat(t *testing.T) {
	m := &model{answer: "It is <i>blue</i>.", ended: make(chan struct{})}
	p := open(t, web.Config{Chat: m})
	p.enter()
	last, all := p.ask("local:tiny", secretQuestion)
	id, _ := last["id"].(string)
	html, _ := last["html"].(string)
	if id == "" || last["whole"] != m.answer || !strings.Contains(html, `class="badge partly"`) || !strings.Contains(html, "/proof/"+id) {
		t.Fatalf("the end of an answer: %s", all)
	}
	if strings.Contains(html, "Dispute") {
		t.Error("an answer of this device can be disputed")
	}
	proof := p.get("/proof/" + id)
	for _, want := range []string{"Signed and unchanged, but not computed again", "It is &lt;i&gt;blue&lt;/i&gt;.", "What a receipt does not show", "Compute it again"} {
		if !strings.Contains(proof, want) {
			t.Errorf("the proof is without %q", want)
		}
	}
	res, data := p.do("GET", "/receipt/"+id, "", nil)
	if f, err := receipt.ParseFile([]byte(data)); err != nil || f.Receipt.Verify() != nil || !strings.Contains(res.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the receipt that is saved: %v", err)
	}
	// Computed again, the sign changes, in both places.
	res, part := p.do("POST", "/check/"+id, "", map[string]string{"Accept": "text/html+part", "Aval-Csrf": p.csrf()})
	if res.StatusCode != 200 || !strings.Contains(part, `class="badge valid"`) || !strings.Contains(part, "with tiny") {
		t.Errorf("after computing again: status %d\n%s", res.StatusCode, part)
	}
	if !strings.Contains(p.get("/proof/"+id), "Valid: computed again, and equal") || !strings.Contains(p.get("/audits"), "Computed again, and equal") {
		t.Error("the proof and the list do not know that it was computed again")
	}

	// What is false is said to be, whatever else holds.
	m.lie = "its token 3 is false"
	last, _ = p.ask("peer://x/far", "And now?")
	html, _ = last["html"].(string)
	if !strings.Contains(html, `class="badge invalid"`) || !strings.Contains(html, "do not believe it") {
		t.Errorf("the sign of a lie: %s", html)
	}
	if id, _ := last["id"].(string); !strings.Contains(p.get("/proof/"+id), "its token 3 is false") {
		t.Error("the proof does not say what is false")
	}

	last, _ = p.ask("broken", "Hello?")
	if last["error"] != "the model is <broken>" {
		t.Errorf("a broken model: %v", last)
	}
	for _, bad := range []string{
		`{`, `{}`, `{"target":"x","messages":[]}`, `{"target":"x","messages":[{"role":"user","content":"a"}],"more":1}`,
		`{"target":"x","messages":[{"role":"root","content":"a"},{"role":"user","content":"a"}]}`, `{"target":"x","messages":[{"role":"assistant","content":"a"}]}`,
		`{"target":"x","temperature":99,"messages":[{"role":"user","content":"a"}]}`, `{"target":"x","max_tokens":-1,"messages":[{"role":"user","content":"a"}]}`,
	} {
		if res, _ := p.do("POST", "/chat", bad, map[string]string{"Content-Type": "application/json", "Aval-Csrf": p.csrf()}); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", bad, res.StatusCode)
		}
	}
	// Neither what was asked nor what lets somebody in is in the log.
	_, code, _ := strings.Cut(p.srv.Link(p.base), "#")
	for _, secret := range []string{"safe", "blue", id, p.token.Bearer()[7:], code, p.csrf()} {
		if strings.Contains(p.logged.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if !strings.Contains(p.logged.String(), "POST /chat") {
		t.Error("the log does not have the requests at all")
	}
}

// A browser that leaves ends its answer.
func TestLeavingEndsAnAnswer(t *testing.T) {
	m := &model{answer: "It is blue.", wait: make(chan struct{}), ended: make(chan struct{})}
	p := open(t, web.Config{Chat: m})
	p.enter()
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", p.base+"/chat", strings.NewReader(`{"target":"local:tiny","messages":[{"role":"user","content":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Aval-Csrf", p.csrf())
	res, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := res.Body.Read(make([]byte, 10)); n == 0 {
		t.Fatal(err)
	}
	leave()
	select {
	case <-m.ended:
	case <-time.After(20 * time.Second):
		t.Error("the answer goes on")
	}
}

// What a source does not have is said plainly.
func TestWithoutSources(t *testing.T) {
	p := open(t, web.Config{})
	p.enter()
	for path, want := range map[string]string{
		"/": "No models can be asked here", "/network": "runs without a network", "/models": "has no models", "/ledger": "This node has no ledger running",
		"/audits": "Nothing was asked yet",
	} {
		if body := p.get(path); !strings.Contains(body, want) {
			t.Errorf("%s is without %q", path, want)
		}
	}
	if res, _ := p.do("GET", "/ledger/block/3", "", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("a block of no ledger: status %d", res.StatusCode)
	}
	csrf := p.csrf()
	for _, path := range []string{"/network/add", "/network/ping", "/models/share", "/models/fetch", "/audits/verify", "/check/x"} {
		if res, _ := p.do("POST", path, "csrf="+csrf, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s: status %d", path, res.StatusCode)
		}
	}
}

func TestLanguages(t *testing.T) {
	p := open(t, web.Config{})
	p.enter()
	for header, want := range map[string]string{
		"": "en", "pt-BR,pt;q=0.9,en;q=0.8": "pt-BR", "pt": "pt-BR", "de": "en", "de, pt;q=0.5, en;q=0.4": "pt-BR", "en;q=0.3, pt;q=0.2": "en", "*": "en",
		"pt;q=0": "en", "pt;q=x": "en", strings.Repeat("de,", 1000) + "pt": "en",
	} {
		_, body := p.do("GET", "/ledger", "", map[string]string{"Accept-Language": header})
		if !strings.Contains(body, `<html lang="`+want+`"`) {
			t.Errorf("Accept-Language %.40q: not %s", header, want)
		}
	}
	p.do("POST", "/settings", "lang=pt-BR&theme=dark&keys=off&csrf="+p.csrf(), nil)
	_, body := p.do("GET", "/ledger", "", map[string]string{"Accept-Language": "en"})
	for _, want := range []string{`<html lang="pt-BR" data-theme="dark">`, "Este nó não tem um registro rodando", `data-keys="off"`} {
		if !strings.Contains(body, want) {
			t.Errorf("after choosing, the page is without %q", want)
		}
	}
}

type audits struct{}

func (audits) Verify(_ context.Context, file []byte) (web.Result, error) {
	f, err := receipt.ParseFile(file)
	if err != nil {
		return web.Result{}, err
	}
	return web.Result{File: f, Data: file, Checks: f.Check(receipt.Options{Now: time.Now()})}, nil
}

func (audits) Judge(_ context.Context, file, proof []byte) (*web.Dispute, error) {
	if string(proof) != "proof" {
		return nil, errors.New("this is no proof")
	}
	return story(), nil
}

func (audits) Dispute(context.Context, *web.Answer, func(web.Round)) (*web.Dispute, error) {
	return story(), nil
}

func story() *web.Dispute {
	return &web.Dispute{
		ID: "d1", Receipt: strings.Repeat("ab", 32), Prover: "aval-node-xyz", Winner: "challenger", Reason: "proof of fraud", Proof: []byte("proof"),
		Rounds:    []web.Round{{0, true, "open", 200}, {1, false, "trace", 12345}, {2, true, "cell", 900}, {3, false, "statement", 800}, {4, true, "fraud", 10000}},
		Narrowing: []web.Stage{{Kind: "layer", From: 2, To: 3, Of: 6}, {Kind: "position", From: 17, To: 18, Of: 223}, {Kind: "operation", Name: "ffn_down", From: 11, To: 12, Of: 14}, {Kind: "leaf", From: 3, To: 4, Of: 24}},
		Finding:   &web.Finding{Fault: "wrong leaf", Layer: 2, Position: 17, Operation: "ffn_down", Signed: strings.Repeat("12", 32), Right: strings.Repeat("34", 32)},
	}
}

func (p *place) upload(path string, files map[string][]byte) *http.Response {
	p.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("csrf", p.csrf())
	for name, data := range files {
		f, _ := w.CreateFormFile(name, name)
		_, _ = f.Write(data)
	}
	_ = w.Close()
	res, _ := p.do("POST", path, b.String(), map[string]string{"Content-Type": w.FormDataContentType()})
	return res
}

func TestFilesHandedIn(t *testing.T) {
	p := open(t, web.Config{Audits: audits{}})
	p.enter()
	data := signed("Why?", "Because.").Data
	res := p.upload("/audits/verify", map[string][]byte{"receipt": data})
	to := res.Header.Get("Location")
	if res.StatusCode != 303 || !strings.Contains(p.get(to), "Signed and unchanged") {
		t.Errorf("a receipt: status %d, to %q", res.StatusCode, to)
	}
	for name, files := range map[string]map[string][]byte{
		"garbage": {"receipt": []byte("garbage")}, "nothing": {},
	} {
		if res := p.upload("/audits/verify", files); res.StatusCode != 422 {
			t.Errorf("%s: status %d", name, res.StatusCode)
		}
	}
	res = p.upload("/audits/judge", map[string][]byte{"receipt": data, "proof": []byte("proof")})
	page := p.get(res.Header.Get("Location"))
	for _, want := range []string{"The answer was false", "In layer 3, at position 18", "6 layers; layer 3 differs first", "24 tiles of its result; tile 4 is wrong", "<svg class=\"bisect wide\"", "shows the tile that is wrong", "12121212"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a dispute is without %q", want)
		}
	}
	if _, proof := p.do("GET", res.Header.Get("Location")+"/proof", "", nil); proof != "proof" {
		t.Errorf("the proof that is saved is %q", proof)
	}
	if res := p.upload("/audits/judge", map[string][]byte{"receipt": data, "proof": []byte("other")}); res.StatusCode != 422 {
		t.Errorf("a proof that is none: status %d", res.StatusCode)
	}
	if res := p.upload("/audits/verify", map[string][]byte{"receipt": make([]byte, 49<<20)}); res.StatusCode != 413 {
		t.Errorf("a file that is too large: status %d", res.StatusCode)
	}
}

func TestToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "console.token")
	a, err := web.OpenToken(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := web.OpenToken(path)
	if err != nil || a != b {
		t.Errorf("opened again it is another one: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode().Perm())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := web.OpenToken(path); err == nil || !strings.Contains(err.Error(), "can be read by others") {
		t.Errorf("a file that others can read: %v", err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := web.OpenToken(path); err == nil {
		t.Error("a file that holds something else is taken")
	}
	if _, err := web.New(web.Config{}); err == nil {
		t.Error("a console without a secret is made")
	}
}

// What a browser loads first is small.
func TestSmall(t *testing.T) {
	p := open(t, web.Config{Chat: &model{}})
	p.enter()
	sum := 0
	for _, path := range []string{"/", "/static/app.css", "/static/app.js", "/static/icon.svg"} {
		n := len(p.get(path))
		t.Logf("%s: %d bytes", path, n)
		sum += n
	}
	res, _ := p.do("GET", "/static/app.css", "", nil)
	if res, body := p.do("GET", "/static/app.css", "", map[string]string{"If-None-Match": res.Header.Get("ETag")}); res.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("a style sheet that the browser has: status %d, %d bytes", res.StatusCode, len(body))
	}
	if sum > 150_000 {
		t.Errorf("the first page has %d bytes, want at most 150,000", sum)
	}
}
