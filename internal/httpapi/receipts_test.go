package httpapi_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/httpapi/fake"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

const receiptType = "application/vnd.aval.receipt+cbor"

// ask sends a request and returns the answer.
func ask(s *httpapi.Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, request(method, path, body, header...))
	return w
}

// receiptsOf fetches the receipts that an answer names.
func receiptsOf(t *testing.T, s *httpapi.Server, w *httptest.ResponseRecorder) []*receipt.File {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var files []*receipt.File
	for id := range strings.SplitSeq(w.Header().Get("Aval-Receipt"), ",") {
		got := ask(s, "GET", "/v1/receipts/"+id, "")
		if got.Code != http.StatusOK || got.Header().Get("Content-Type") != receiptType {
			t.Fatalf("receipt %s: status %d, %s: %s", id, got.Code, got.Header().Get("Content-Type"), got.Body)
		}
		f, err := receipt.ParseFile(got.Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if again := ask(s, "GET", "/v1/receipts/"+id, ""); !bytes.Equal(again.Body.Bytes(), got.Body.Bytes()) {
			t.Errorf("receipt %s is another the second time", id)
		}
		files = append(files, f)
	}
	return files
}

func chatBody(text, more string) string {
	return `{"model":"fake:1b","messages":[{"role":"user","content":"` + text + `"}]` + more + `}`
}

// TestReceipts holds that every kind of answer gets a receipt of what was
// asked, what was answered and how.
func TestReceipts(t *testing.T) {
	ids := func(s string) []int32 {
		out := make([]int32, len(s))
		for i := range len(s) {
			out[i] = int32(s[i])
		}
		return out
	}
	chat := func(text string) receipt.Source {
		return receipt.Source{
			Kind: receipt.SourceChat, GenerationPrompt: true,
			Messages: []receipt.Message{{Role: "user", Content: text}},
		}
	}
	text := func(s string) receipt.Source {
		return receipt.Source{Kind: receipt.SourceText, Text: []byte(s), AddSpecial: true, ParseSpecial: true}
	}
	tests := []struct {
		name, path, body string
		source           receipt.Source
		prompt, output   string // output without the token that ends it
		eos              bool
		params           receipt.Params
		extra            receipt.Extra
		bias             receipt.Bias
	}{
		{
			name: "chat", path: "/v1/chat/completions", body: chatBody("say Hé", ""), source: chat("say Hé"),
			prompt: "user: say Hé\nassistant:", output: "Hé", eos: true, params: receipt.Params{Temperature: 1, Context: fake.Context},
		},
		{
			name: "streamed chat", path: "/v1/chat/completions",
			body:   chatBody("say a§b", `,"stream":true,"stop":"§","logit_bias":{"7":-2},"temperature":0,"top_p":0.5`),
			source: chat("say a§b"), prompt: "user: say a§b\nassistant:", output: "a",
			params: receipt.Params{TopP: 0.5, Context: fake.Context, Extra: true, Bias: true},
			extra:  receipt.Extra{Stop: []string{"§"}}, bias: receipt.Bias{7: -2},
		},
		{
			name: "schema", path: "/v1/chat/completions",
			body:   chatBody("x", `,"response_format":{"type":"json_object"}`),
			source: chat("x"), prompt: "user: x\nassistant:", output: `{"name":"get_weather","arguments":{"city":"Paris"}}`, eos: true,
			params: receipt.Params{Temperature: 1, Context: fake.Context, Extra: true},
			extra:  receipt.Extra{Grammar: &receipt.Grammar{Kind: receipt.GrammarJSON}},
		},
		{
			name: "completion", path: "/v1/completions", body: `{"model":"fake:1b","prompt":"say abc","max_tokens":2}`,
			source: text("say abc"), prompt: "say abc", output: "ab",
			params: receipt.Params{Temperature: 1, MaxTokens: 2, Context: fake.Context},
		},
		{
			name: "completion of tokens", path: "/v1/completions", body: `{"model":"fake:1b","prompt":[115,97,121,32,97],"stream":true}`,
			source: receipt.Source{Kind: receipt.SourceIDs}, prompt: "say a", output: "a", eos: true,
			params: receipt.Params{Temperature: 1, MaxTokens: 16, Context: fake.Context},
		},
		{
			name: "ollama chat", path: "/api/chat",
			body: chatBody("say a", ""), source: chat("say a"), prompt: "user: say a\nassistant:", output: "a", eos: true,
			params: receipt.Params{Temperature: 0.8, TopK: 40, TopP: 0.9, RepeatPenalty: 1.1, Context: fake.Context},
		},
		{
			name: "ollama template", path: "/api/generate",
			body:   `{"model":"fake:1b","prompt":"say a","template":"{{ messages }}","options":{"temperature":0,"repeat_penalty":1}}`,
			source: chat("say a"), prompt: "template: other\nuser: say a\nassistant:", output: "a", eos: true,
			params: receipt.Params{TopK: 40, TopP: 0.9, Context: fake.Context, Extra: true},
			extra:  receipt.Extra{Template: "{{ messages }}"},
		},
		{
			name: "ollama raw", path: "/api/generate", body: `{"model":"fake:1b","prompt":"say a","raw":true,"stream":false,"options":{"repeat_last_n":7}}`,
			source: text("say a"), prompt: "say a", output: "a", eos: true,
			params: receipt.Params{Temperature: 0.8, TopK: 40, TopP: 0.9, RepeatPenalty: 1.1, RepeatLastN: 7, Context: fake.Context},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, fake.Config(fake.New()))
			files := receiptsOf(t, s, ask(s, "POST", tt.path, tt.body))
			if len(files) != 1 {
				t.Fatalf("%d receipts", len(files))
			}
			prompt := ids(tt.prompt)
			checks := files[0].Check(receipt.Options{Now: fake.Time, Expect: receipt.Expect{
				Model: receipt.Hash{31: 1}, Key: fake.Key.Public().(ed25519.PublicKey), Params: &tt.params,
				Source: &tt.source, Prompt: prompt, Extra: &tt.extra, Bias: tt.bias, Text: &tt.output,
			}})
			for _, c := range checks.Checks {
				if !c.Passed() && c.Name != receipt.CheckSeed && c.Name != receipt.CheckComputation {
					t.Error(c)
				}
			}
			drawn := ids(tt.output)
			if tt.eos {
				drawn = append(drawn, 0)
			}
			if diff := cmp.Diff(drawn, files[0].Opening.Output.IDs); diff != "" {
				t.Errorf("drawn (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReceiptSeeds holds that each answer's receipt has the seed that the model
// got.
func TestReceiptSeeds(t *testing.T) {
	f := fake.New()
	s := newServer(t, fake.Config(f))
	for i, file := range receiptsOf(t, s, ask(s, "POST", "/v1/chat/completions", chatBody("x", `,"seed":7,"n":3`))) {
		if seed := file.Receipt.Claims().Seed; !cmp.Equal(seed, receipt.SelfSeed(7+uint64(i))) {
			t.Errorf("choice %d: seed %+v", i, seed)
		}
	}
	w := ask(s, "POST", "/v1/completions", `{"model":"fake:1b","prompt":["seed a","seed b"],"receipt":{"nonce":"0011223344556677"}}`)
	for i, file := range receiptsOf(t, s, w) {
		want := receipt.NonceSeed([]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77})
		if seed := file.Receipt.Claims().Seed; !cmp.Equal(seed, want) {
			t.Errorf("prompt %d: seed %+v", i, seed)
		}
		prompt := file.Opening.Prompt.IDs
		if !slices.ContainsFunc(f.Requests(), func(r engine.Request) bool {
			return slices.Equal(r.Prompt, prompt) && r.Params.Seed == want.Derive(prompt)
		}) {
			t.Errorf("prompt %d: no request had the derived seed", i)
		}
	}
}

func TestReceiptPrivacy(t *testing.T) {
	secret, err := receipt.NewAuditorSecret(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		privacy string
		shows   receipt.Part
	}{
		{"open", receipt.Whole &^ receipt.PartTrace},
		{"prompt", receipt.WholeOutput},
		{"output", receipt.WholePrompt},
		{"hidden", 0},
	} {
		s := newServer(t, fake.Config(fake.New()))
		f := receiptsOf(t, s, ask(s, "POST", "/v1/chat/completions",
			chatBody("hello", `,"receipt":{"privacy":"`+tt.privacy+`","auditor":"`+secret.Public().String()+`"}`)))[0]
		var shows receipt.Part
		if f.Opening != nil {
			shows = f.Opening.Parts()
		}
		if shows != tt.shows {
			t.Errorf("%s: the file shows %b, want %b", tt.privacy, shows, tt.shows)
		}
		o, err := receipt.Unseal(f.Sealed[0], f.Receipt.Hash(), secret)
		if err != nil {
			t.Fatal(err)
		}
		f.Opening = o
		if checks := f.Check(receipt.Options{Now: fake.Time}); checks.Failed() != nil || o.Text.Text != "Hello!" {
			t.Errorf("%s: what was sealed: %v", tt.privacy, &checks)
		}
	}
}

// TestReceiptLater asks for a receipt too early, and for those that will never
// be.
func TestReceiptLater(t *testing.T) {
	f := fake.New()
	f.Started, f.Release = make(chan struct{}), make(chan struct{})
	s := newServer(t, fake.Config(f))
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	get := func(id string) (int, string, string) {
		w := ask(s, "GET", "/v1/receipts/"+id, "")
		var e struct{ Error struct{ Code string } }
		_ = json.Unmarshal(w.Body.Bytes(), &e) // of a receipt there is no code
		return w.Code, e.Error.Code, w.Header().Get("Retry-After")
	}
	start := func() (*http.Response, string) {
		done := make(chan *http.Response, 1)
		go func() {
			resp, err := http.Post(srv.URL+"/v1/chat/completions", "application/json", strings.NewReader(chatBody("hello", `,"stream":true`)))
			if err != nil {
				t.Error(err)
			}
			done <- resp
		}()
		<-f.Started
		resp := <-done // the header is there, the answer is not
		return resp, resp.Header.Get("Aval-Receipt")
	}

	resp, id := start()
	if code, name, retry := get(id); code != http.StatusConflict || name != "receipt_pending" || retry == "" {
		t.Errorf("while the answer is written: %d %s, retry after %q", code, name, retry)
	}
	f.Release <- struct{}{}
	waitFor(t, "the receipt", func() bool { code, _, _ := get(id); return code == http.StatusOK })
	resp.Body.Close()

	resp, id = start()
	resp.Body.Close() // the client goes away
	waitFor(t, "the end of the receipt", func() bool {
		code, name, _ := get(id)
		return code == http.StatusNotFound && name == "no_receipt"
	})

	f.Started = nil
	if w := ask(s, "POST", "/v1/chat/completions", chatBody("say fail", "")); w.Header().Get("Aval-Receipt") != "" {
		t.Errorf("a failed answer names a receipt")
	}
}

// smallFile is a model file without tensors.
func smallFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.gguf")
	w, err := gguf.Create(path)
	if err == nil {
		err = errors.Join(w.Set("general.architecture", gguf.ValueOf("none")), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReceiptNeedsIdentity(t *testing.T) {
	f := fake.New()
	var err error
	if f.Identity, err = issuer.Identify(smallFile(t)); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, fake.Config(f))
	id := ask(s, "POST", "/v1/chat/completions", chatBody("hello", "")).Header().Get("Aval-Receipt")
	if w := ask(s, "GET", "/v1/receipts/"+id, ""); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "fingerprint") {
		t.Errorf("before the fingerprint is there: %d %s", w.Code, w.Body)
	}
	f.Identity.Compute(t.Context(), "", 1)
	if w := ask(s, "GET", "/v1/receipts/"+id, ""); w.Code != http.StatusOK {
		t.Errorf("after: %d %s", w.Code, w.Body)
	}
}

// TestReceiptShelf holds that receipts are forgotten by number and by size, and
// that one which is asked for stays.
func TestReceiptShelf(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  func(*httpapi.Config)
	}{
		{"number", func(c *httpapi.Config) { c.MaxReceipts = 3 }},
		{"bytes", func(c *httpapi.Config) { c.MaxReceiptBytes = 3 * 2500 }},
	} {
		cfg := fake.Config(fake.New())
		tt.cfg(&cfg)
		s := newServer(t, cfg)
		var ids []string
		has := func(id string) bool { return ask(s, "GET", "/v1/receipts/"+id, "").Code == http.StatusOK }
		for range 6 {
			ids = append(ids, ask(s, "POST", "/v1/chat/completions", chatBody("hello", "")).Header().Get("Aval-Receipt"))
			if !has(ids[0]) {
				t.Fatalf("%s: the receipt that is asked for is gone", tt.name)
			}
		}
		var kept []bool
		for _, id := range ids {
			kept = append(kept, has(id))
		}
		if diff := cmp.Diff([]bool{true, false, false, false, true, true}, kept); diff != "" {
			t.Errorf("%s: kept (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestReceiptAsJSON(t *testing.T) {
	s := newServer(t, fake.Config(fake.New()))
	id := ask(s, "POST", "/v1/chat/completions", chatBody("hello", "")).Header().Get("Aval-Receipt")
	w := ask(s, "GET", "/v1/receipts/"+id, "", "Accept", "application/json")
	var got struct {
		ID     receipt.Hash
		Claims struct{ Stop string }
		Shown  struct{ Text string }
		File   []byte
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	f, err := receipt.ParseFile(got.File)
	if err != nil {
		t.Fatal(err)
	}
	if h := f.Receipt.Hash(); h != got.ID || got.Claims.Stop != "eos" || got.Shown.Text != "Hello!" {
		t.Errorf("got %s", w.Body)
	}
	if w := ask(s, "GET", "/v1/receipts/"+id, "", "Accept", receiptType+", application/json"); w.Header().Get("Content-Type") != receiptType {
		t.Errorf("a client that names the file's type gets %s", w.Header().Get("Content-Type"))
	}
}

// TestReceiptsAreGuarded holds that receipts need the key, are shown to pages
// that may call, and never logged.
func TestReceiptsAreGuarded(t *testing.T) {
	var log bytes.Buffer
	cfg := fake.Config(fake.New())
	cfg.APIKey, cfg.Log = "secret", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newServer(t, cfg)
	key := []string{"Authorization", "Bearer secret", "Origin", "http://localhost:3000"}
	w := ask(s, "POST", "/v1/chat/completions", chatBody("say swordfish", ""), key...)
	id := w.Header().Get("Aval-Receipt")
	if !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), "Aval-Receipt") {
		t.Error("pages do not see the header")
	}
	if w := ask(s, "GET", "/v1/receipts/"+id, ""); w.Code != http.StatusUnauthorized {
		t.Errorf("without the key: %d", w.Code)
	}
	if w := ask(s, "GET", "/v1/receipts/"+id, "", key...); w.Code != http.StatusOK {
		t.Errorf("with the key: %d", w.Code)
	}
	for _, secret := range []string{id, "swordfish"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q: %s", secret, &log)
		}
	}
}

func TestNoReceipts(t *testing.T) {
	for _, no := range []func(*fake.Backend, *httpapi.Config){
		func(f *fake.Backend, _ *httpapi.Config) { f.NoIssuer = true },
		func(_ *fake.Backend, c *httpapi.Config) { c.MaxReceipts = -1 },
	} {
		f := fake.New()
		cfg := fake.Config(f)
		no(f, &cfg)
		s := newServer(t, cfg)
		w := ask(s, "POST", "/v1/chat/completions", chatBody("hello", ""))
		if h := w.Header(); w.Code != http.StatusOK || h.Get("Aval-Receipt") != "" || h.Get("Aval-Seed") == "" {
			t.Errorf("status %d, header %v", w.Code, h)
		}
		if w := ask(s, "POST", "/v1/chat/completions", chatBody("hello", `,"receipt":{}`)); w.Code != http.StatusBadRequest {
			t.Errorf("one that asks for a receipt: status %d", w.Code)
		}
	}
}

// TestReceiptAudit asks the server to show parts of a computation.
func TestReceiptAudit(t *testing.T) {
	s := newServer(t, fake.Config(fake.New()))
	w := ask(s, "POST", "/v1/chat/completions", chatBody("hello", `,"receipt":{"trace":true}`))
	id, f := w.Header().Get("Aval-Receipt"), receiptsOf(t, s, w)[0]
	claims := f.Receipt.Claims()
	plain := ask(s, "POST", "/v1/chat/completions", chatBody("hello", "")).Header().Get("Aval-Receipt")
	hidden := map[string]string{}
	for _, privacy := range []string{"prompt", "output", "hidden"} {
		w := ask(s, "POST", "/v1/chat/completions", chatBody("hello", `,"receipt":{"trace":true,"privacy":"`+privacy+`"}`))
		hidden[privacy] = w.Header().Get("Aval-Receipt")
	}
	challenge := func(c audit.Challenge) string {
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	right := challenge(audit.Challenge{Receipt: f.Receipt.Hash(), Layers: 3, Outputs: 1})
	w = ask(s, "POST", "/v1/receipts/"+id+"/audit", right)
	o, err := trace.Decode(w.Body.Bytes())
	if w.Code != http.StatusOK || err != nil {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	if err := o.Verify(claims.Trace, trace.Shape{X: 1, KV: 1}); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		name, id, body string
		status         int
		says           string
	}{
		{"another receipt's", id, challenge(audit.Challenge{Layers: 1}), 400, "another receipt"},
		{"no trace", plain, right, 400, "no trace"},
		{"the prompt is hidden", hidden["prompt"], right, 403, "hides"},
		{"the answer is hidden", hidden["output"], right, 403, "hides"},
		{"both are hidden", hidden["hidden"], right, 403, "hides"},
		{"garbage", id, "{}", 400, "challenge"},
		{"too long", id, strings.Repeat("x", 1000), 400, "bytes"},
		{"unknown", "rcpt-1", right, 404, "no receipt has this id"},
	} {
		if w := ask(s, "POST", "/v1/receipts/"+tt.id+"/audit", tt.body); w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: status %d, %s", tt.name, w.Code, w.Body)
		}
	}
}
