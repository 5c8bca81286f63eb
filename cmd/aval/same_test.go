package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/testdata"
)

// streamed posts a request for an OpenAI stream and joins its text.
func streamed(t *testing.T, url, body string) string {
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
	var text strings.Builder
	for line := range strings.Lines(string(src)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: {")
		if !ok {
			continue
		}
		var c completion
		if err := json.Unmarshal([]byte("{"+data), &c); err != nil {
			t.Fatal(err)
		}
		for _, choice := range c.Choices {
			text.WriteString(choice.Text)
		}
	}
	return text.String()
}

// TestSameAnswerEverywhere asks for the same thing on the command line and
// through each API, with every kernel, one thread and two, streamed or not,
// with and without a prefix that was read before.
func TestSameAnswerEverywhere(t *testing.T) {
	const (
		name   = "stories260K-Q4_K_M"
		prompt = "Lily and Tom went to the park. They saw a big"
	)
	file := testdata.Shared(t, "weights", "stories260K", name+".gguf")
	sampling := `"model":"` + name + `","prompt":"` + prompt + `"`
	openai := `{` + sampling + `,"temperature":0.9,"top_p":0.95,"seed":7,"max_tokens":40`
	ollama := `{` + sampling + `,"raw":true,"stream":false,"options":{"temperature":0.9,"top_k":0,"top_p":0.95,` +
		`"min_p":0,"repeat_penalty":1,"seed":7,"num_predict":40}}`
	want := ""
	same := func(who, got string) {
		t.Helper()
		if want == "" {
			want = got
		}
		if got != want || got == "" {
			t.Errorf("%s: %q, want %q", who, got, want)
		}
	}
	for _, k := range kernel.All() {
		for _, threads := range []int{1, 2} {
			who := fmt.Sprintf("%s, %d threads", k.Name(), threads)
			code, out, said := invoke(t, "", map[string]string{"AVAL_KERNEL": k.Name()}, "run", "--raw", "--json",
				"--threads", fmt.Sprint(threads), "--temperature", "0.9", "--top-k", "0", "--top-p", "0.95", "--min-p", "0",
				"--seed", "7", "--max-tokens", "40", file, prompt)
			var r runJSON
			if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil {
				t.Fatalf("%s: exit code %d, %v, says %q", who, code, err, said)
			}
			same(who+": run", r.Text)
			ts, h := newTestServer(t, serveOptions{modelOptions: modelOptions{threads: threads}, slots: 2, models: 1})
			h.options.Kernel = k.Name()
			for range 2 { // the second time with a prefix
				var c completion
				post(t, ts.URL+"/v1/completions", openai+"}", &c)
				same(who+": completions", c.Choices[0].Text)
				same(who+": stream", streamed(t, ts.URL+"/v1/completions", openai+`,"stream":true}`))
				var g struct{ Response string }
				post(t, ts.URL+"/api/generate", ollama, &g)
				same(who+": generate", g.Response)
			}
		}
	}
}
