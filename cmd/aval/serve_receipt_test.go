package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/receipt"
)

// fetchReceipt asks for an answer and then for its receipt, which it writes to
// a file.
func fetchReceipt(t *testing.T, url, path, body string) (id, file string) {
	t.Helper()
	resp, err := http.Post(url+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v: %s", path, resp.StatusCode, err, text)
	}
	id = resp.Header.Get("Aval-Receipt")
	for {
		resp, err := http.Get(url + "/v1/receipts/" + id)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err != nil:
			t.Fatal(err)
		case resp.StatusCode == http.StatusConflict: // the fingerprint is still being computed
			time.Sleep(10 * time.Millisecond)
		case resp.StatusCode != http.StatusOK:
			t.Fatalf("receipt %q: %d: %s", id, resp.StatusCode, data)
		default:
			file = filepath.Join(t.TempDir(), "x.aval")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return id, file
		}
	}
}

// decodeInto reads the JSON that a command printed.
func decodeInto(t *testing.T, out, said string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("%v in %q; says %q", err, out, said)
	}
}

// age makes a file old.
func age(t *testing.T, path string) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// verified runs verify and returns its verdict, and the check that failed.
func verified(t *testing.T, args ...string) (verdict receipt.Verdict, failed string) {
	t.Helper()
	code, out, said := invoke(t, "", nil, append([]string{"verify", "--json"}, args...)...)
	var j verifyJSON
	decodeInto(t, out, said, &j)
	if want := map[receipt.Verdict]int{receipt.Valid: exitValid, receipt.Invalid: exitInvalid, receipt.Unverified: exitUnverified}[j.Verdict]; code != want {
		t.Errorf("%q: %s, exit code %d", args, j.Verdict, code)
	}
	for _, c := range j.Checks {
		if c.Verdict == receipt.Invalid {
			return j.Verdict, c.Name + ": " + c.Detail
		}
	}
	return j.Verdict, ""
}

// TestServedReceipts holds that what a server answers, in all its ways, is
// found valid by whoever has the model.
func TestServedReceipts(t *testing.T) {
	ts, _ := newTestServer(t, serveOptions{slots: 2, models: 1})
	model := testdata.Shared(t, "weights", "stories260K", "stories260K-Q4_K_M.gguf")
	const m = `"model":"stories260K-Q4_K_M"`
	for _, c := range []struct{ name, path, body string }{
		{"completion", "/v1/completions", `{` + m + `,"prompt":"Once upon a time","seed":3}`},
		{"streamed completion with a nonce", "/v1/completions", `{` + m + `,"prompt":"One day","stream":true,"max_tokens":30,"receipt":{"nonce":"0011223344556677"}}`},
		{"tokens", "/v1/completions", `{` + m + `,"prompt":[1,403,407],"logit_bias":{"300":-100,"13":5},"presence_penalty":0.5}`},
		{"chat with a schema", "/v1/chat/completions", `{` + m + `,"messages":[{"role":"system","content":"Be \u00ff brief."},{"role":"user","content":"Hi"}],"max_tokens":60,
			"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}}}}`},
		{"chat with a tool", "/v1/chat/completions", `{` + m + `,"messages":[{"role":"user","content":"Hi"},
			{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"z\":1,\"a\":2}"}}]},{"role":"tool","tool_call_id":"1","content":"7"}],
			"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"integer"}}}}}],
			"chat_template_kwargs":{"enable_thinking":false,"n":1.5},"max_tokens":20,"stop":["."," and"]}`},
		{"ollama chat", "/api/chat", `{` + m + `,"messages":[{"role":"user","content":"Hi"}],"options":{"num_predict":20}}`},
		{"ollama template", "/api/generate", `{` + m + `,"prompt":"Hi","template":"{{ messages[0].content }} there","stream":false,"options":{"num_predict":20,"temperature":0}}`},
		{"ollama raw", "/api/generate", `{` + m + `,"prompt":"Hi","raw":true,"options":{"num_predict":20,"repeat_last_n":3}}`},
	} {
		_, file := fetchReceipt(t, ts.URL, c.path, c.body)
		if verdict, failed := verified(t, "--model", model, file); verdict != receipt.Valid {
			t.Errorf("%s: %s: %s", c.name, verdict, failed)
		}
	}
}

// TestServedAudit checks a receipt by a sample that the server opens.
func TestServedAudit(t *testing.T) {
	ts, _ := newTestServer(t, serveOptions{slots: 2, models: 1})
	model := testdata.Shared(t, "weights", "stories260K", "stories260K-f32.gguf")
	ask := func(more string) (url, file string) {
		id, file := fetchReceipt(t, ts.URL, "/v1/completions",
			`{"model":"stories260K-f32","prompt":"Once upon a time","max_tokens":40,"receipt":{"trace":true`+more+`}}`)
		return ts.URL + "/v1/receipts/" + id, file
	}
	url, file := ask(`,"nonce":"0011223344556677"`)
	if verdict, failed := verified(t, "--model", model, "--prover", url, "--nonce", "0011223344556677", file); verdict != receipt.Valid {
		t.Errorf("%s: %s", verdict, failed)
	}
	otherURL, _ := ask("")
	code, _, said := invoke(t, "", nil, "verify", "--model", model, "--prover", otherURL, file)
	if code != exitUnverified || !strings.Contains(said, "the prover refuses") {
		t.Errorf("the prover of another receipt: exit code %d, says %q", code, said)
	}
}

// TestServedAdapter holds that a server with an adapter answers as the command
// does, with receipts that name it.
func TestServedAdapter(t *testing.T) {
	model := testdata.Shared(t, "weights", "stories260K", "stories260K-Q4_K_M.gguf")
	base, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	lora := filepath.Join(t.TempDir(), "lora.gguf")
	if err := randomAdapter(base, 3).Write(lora); err != nil {
		t.Fatal(err)
	}
	o := serveOptions{slots: 2, models: 1}
	o.lora = []string{lora + "=0.75"}
	ts, _ := serveFiles(t, o, model)
	const body = `{"model":"stories260K-Q4_K_M","prompt":"Once upon a time","temperature":0,"max_tokens":24,"receipt":{"trace":true}}`
	var c completion
	post(t, ts.URL+"/v1/completions", body, &c)
	code, out, said := invoke(t, "", nil, "run", "--raw", "--temperature", "0", "--max-tokens", "24", "--lora", lora+"=0.75", model, "Once upon a time")
	if code != exitOK || strings.TrimSuffix(out, "\n") != c.Choices[0].Text {
		t.Errorf("the server answers %q, the command %q; says %q", c.Choices[0].Text, out, said)
	}
	id, file := fetchReceipt(t, ts.URL, "/v1/completions", body)
	for _, with := range [][]string{
		{"--lora", lora},
		{"--lora", lora + "=0.75", "--prover", ts.URL + "/v1/receipts/" + id},
	} {
		if verdict, failed := verified(t, append(append([]string{"--model", model}, with...), file)...); verdict != receipt.Valid {
			t.Errorf("%q: %s: %s", with, verdict, failed)
		}
	}
	if verdict, failed := verified(t, "--model", model, "--lora", lora+"=1", file); verdict != receipt.Invalid || !strings.Contains(failed, "adapters: ") {
		t.Errorf("with another scale: %s: %s", verdict, failed)
	}
}
