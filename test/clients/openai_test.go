package clients_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"github.com/avalnetwork/aval/internal/httpapi/fake"
	"github.com/avalnetwork/aval/receipt"
)

// The tests of this file talk to the server through OpenAI's own client for Go.

func newClient(t *testing.T, opts ...option.RequestOption) (openai.Client, *fake.Backend) {
	t.Helper()
	f := fake.New()
	opts = append([]option.RequestOption{
		option.WithBaseURL(serve(t, f) + "/v1"), option.WithAPIKey(key), option.WithMaxRetries(0),
	}, opts...)
	return openai.NewClient(opts...), f
}

func user(text string) []openai.ChatCompletionMessageParamUnion {
	return []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("be brief"), openai.UserMessage(text)}
}

func TestClientChat(t *testing.T) {
	client, f := newClient(t)
	got, err := client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "fake:1b", Messages: user("say Hello"), Seed: openai.Int(7), Temperature: openai.Float(0),
		Logprobs: openai.Bool(true), TopLogprobs: openai.Int(2),
		Stop: openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"§"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := got.Choices[0]
	if c.Message.Content != "Hello" || c.FinishReason != "stop" || got.Usage.CompletionTokens != 5 || got.Model != "fake:1b" {
		t.Errorf("got %s", got.RawJSON())
	}
	if lp := c.Logprobs.Content; len(lp) != 5 || lp[0].Token != "H" || lp[0].Logprob != -0.25 || len(lp[0].TopLogprobs) != 2 {
		t.Errorf("log probabilities: %+v", lp)
	}
	if r := last(t, f.Requests()); r.Params.Seed != 7 || r.Params.Temperature != 0 || !cmp.Equal(r.Stop, []string{"§"}) {
		t.Errorf("the model got %+v", r)
	}
}

func TestClientChatStream(t *testing.T) {
	client, _ := newClient(t)
	stream := client.Chat.Completions.NewStreaming(t.Context(), openai.ChatCompletionNewParams{
		Model: "fake:1b", Messages: user("say Grüße, 世界"), N: openai.Int(2),
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	})
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("piece does not fit: %s", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(acc.Choices) != 2 || acc.Usage.CompletionTokens != 2*int64(len("Grüße, 世界")) {
		t.Errorf("%d choices, usage %+v", len(acc.Choices), acc.Usage)
	}
	for _, c := range acc.Choices {
		if c.Message.Content != "Grüße, 世界" || c.FinishReason != "stop" {
			t.Errorf("choice %d: %q, %s", c.Index, c.Message.Content, c.FinishReason)
		}
	}
}

var weatherTool = openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
	Name: "get_weather",
	Parameters: shared.FunctionParameters{
		"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}},
	},
})

func TestClientTools(t *testing.T) {
	client, f := newClient(t)
	params := openai.ChatCompletionNewParams{
		Model: "fake:1b", Tools: []openai.ChatCompletionToolUnionParam{weatherTool},
		Messages: user("say <tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>"),
		ToolChoice: openai.ChatCompletionToolChoiceOptionUnionParam{
			OfFunctionToolChoice: &openai.ChatCompletionNamedToolChoiceParam{
				Function: openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "get_weather"},
			},
		},
	}
	got, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	calls := got.Choices[0].Message.ToolCalls
	if len(calls) != 1 || got.Choices[0].FinishReason != "tool_calls" {
		t.Fatalf("got %s", got.RawJSON())
	}
	call := calls[0].AsFunction()
	if call.Function.Name != "get_weather" || call.Function.Arguments != `{"city":"Paris"}` || call.ID == "" {
		t.Errorf("call: %+v", call)
	}

	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if stream.Err() != nil || len(acc.Choices) != 1 || len(acc.Choices[0].Message.ToolCalls) != 1 {
		t.Fatalf("stream: %v, %+v", stream.Err(), acc.Choices)
	}

	params.Messages = append(params.Messages, got.Choices[0].Message.ToParam(), openai.ToolMessage("12 °C", call.ID))
	params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{}
	if _, err := client.Chat.Completions.New(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	in := last(t, f.Renders())
	if len(in.Messages) != 4 || len(in.Tools) != 1 {
		t.Fatalf("the template got %+v", in)
	}
	if m := in.Messages[2]; len(m.ToolCalls) != 1 || m.ToolCalls[0].Name != "get_weather" || string(m.ToolCalls[0].Arguments) != `{"city":"Paris"}` {
		t.Errorf("the template got the call %+v", m)
	}
	if m := in.Messages[3]; m.Role != "tool" || m.Content != "12 °C" || m.ToolCallID != call.ID {
		t.Errorf("the template got the result %+v", m)
	}
}

func TestClientResponseFormat(t *testing.T) {
	client, _ := newClient(t)
	schema := map[string]any{"type": "object", "properties": map[string]any{"x": map[string]any{"type": "integer"}}, "required": []string{"x"}, "additionalProperties": false}
	got, err := client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "fake:1b", Messages: user("hello"),
		ResponseFormat: openai.ChatCompletionNewParamsResponseFormatUnion{
			OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
				JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "x", Schema: schema, Strict: openai.Bool(true)},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Choices[0].Message.Content != `{"x":1}` {
		t.Errorf("content %q", got.Choices[0].Message.Content)
	}
}

func TestClientCompletions(t *testing.T) {
	client, _ := newClient(t)
	params := openai.CompletionNewParams{
		Model: "fake:1b", Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"say one", "say two"}},
		Logprobs: openai.Int(1), MaxTokens: openai.Int(100),
	}
	got, err := client.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Choices) != 2 || got.Choices[0].Text != "one" || got.Choices[1].Text != "two" {
		t.Errorf("got %s", got.RawJSON())
	}
	if lp := got.Choices[0].Logprobs; !cmp.Equal(lp.Tokens, []string{"o", "n", "e"}) || lp.TopLogprobs[1]["n"] != -0.25 || lp.TextOffset[2] != 2 {
		t.Errorf("log probabilities: %+v", lp)
	}
	params.Prompt = openai.CompletionNewParamsPromptUnion{OfString: openai.String("say three")}
	stream := client.Completions.NewStreaming(t.Context(), params)
	text := ""
	for stream.Next() {
		text += stream.Current().Choices[0].Text
	}
	if err := stream.Err(); err != nil || text != "three" {
		t.Errorf("stream: %q, %v", text, err)
	}
}

func TestClientEmbeddings(t *testing.T) {
	client, _ := newClient(t)
	for _, format := range []openai.EmbeddingNewParamsEncodingFormat{"float", ""} {
		got, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
			Model: "fake:1b", EncodingFormat: format,
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"ab", "abc"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Data) != 2 || len(got.Data[1].Embedding) != 4 || got.Data[1].Index != 1 || got.Usage.PromptTokens != 5 {
			t.Errorf("got %s", got.RawJSON())
		}
	}
}

func TestClientModels(t *testing.T) {
	client, _ := newClient(t)
	list, err := client.Models.List(t.Context())
	if err != nil || len(list.Data) != 1 || list.Data[0].ID != "fake:1b" {
		t.Errorf("list: %+v, %v", list, err)
	}
	one, err := client.Models.Get(t.Context(), "fake:1b")
	if err != nil || one.ID != "fake:1b" || one.Created != fake.Time.Unix() {
		t.Errorf("one: %+v, %v", one, err)
	}
}

func TestClientErrors(t *testing.T) {
	long := strings.Repeat("x", fake.Context)
	tests := []struct {
		name    string
		model   string
		text    string
		secret  string
		status  int
		code    string
		message string
	}{
		{"unknown model", "other", "hello", key, 404, "model_not_found", `model "other": model not found`},
		{"wrong key", "fake:1b", "hello", "wrong", 401, "invalid_api_key", "Authorization"},
		{"prompt too long", "fake:1b", long, key, 400, "context_length_exceeded", "the prompt has 1034 tokens and the context holds 1000"},
		{"exactly too long", "fake:1b", long[:966], key, 400, "context_length_exceeded", "the prompt has 1000 tokens and the context holds 1000"},
		{"template", "fake:1b", "refuse", key, 400, "template_error", "roles must alternate"},
		{"failure", "fake:1b", "say fail", key, 500, "internal_error", "told to fail"},
	}
	for _, tt := range tests {
		for _, streamed := range []bool{false, true} {
			name := tt.name
			if streamed {
				name += " streamed"
			}
			t.Run(name, func(t *testing.T) {
				client, _ := newClient(t, option.WithAPIKey(tt.secret))
				params := openai.ChatCompletionNewParams{Model: tt.model, Messages: user(tt.text)}
				var err error
				if streamed {
					s := client.Chat.Completions.NewStreaming(t.Context(), params)
					for s.Next() {
						t.Errorf("a piece: %s", s.Current().RawJSON())
					}
					err = s.Err()
				} else {
					_, err = client.Chat.Completions.New(t.Context(), params)
				}
				var api *openai.Error
				if !errors.As(err, &api) {
					t.Fatalf("error %v", err)
				}
				if api.StatusCode != tt.status || api.Code != tt.code || !strings.Contains(api.Message, tt.message) {
					t.Errorf("status %d, code %s, message %q", api.StatusCode, api.Code, api.Message)
				}
			})
		}
	}
}

// TestClientCancels leaves in the middle of a stream: the generation ends and
// its slot is free again.
func TestClientCancels(t *testing.T) {
	client, f := newClient(t)
	f.Started, f.Release = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{Model: "fake:1b", Messages: user("count")})
	<-f.Started
	if !stream.Next() {
		t.Fatalf("no piece before the answer is complete: %v", stream.Err())
	}
	if n := f.Running.Load(); n != 1 {
		t.Fatalf("%d generations run, want 1", n)
	}
	cancel()
	for stream.Next() {
	}
	if !errors.Is(stream.Err(), context.Canceled) {
		t.Errorf("error %v", stream.Err())
	}
	for range 2000 {
		if f.Running.Load() == 0 && f.Opened.Load() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("waited in vain for the generation to end")
}

// TestClientReceipt reads the id of the receipt from the header, fetches the
// file and checks it.
func TestClientReceipt(t *testing.T) {
	client, _ := newClient(t)
	nonce := []byte("for this one")
	for _, stream := range []bool{false, true} {
		var resp *http.Response
		params := openai.ChatCompletionNewParams{Model: "fake:1b", Messages: user("say Hello")}
		opts := []option.RequestOption{
			option.WithResponseInto(&resp),
			option.WithJSONSet("receipt", map[string]any{"nonce": hex.EncodeToString(nonce)}),
		}
		if stream {
			s := client.Chat.Completions.NewStreaming(t.Context(), params, opts...)
			for s.Next() {
				if resp.Header.Get("Aval-Receipt") == "" {
					t.Fatal("a piece came before the id of the receipt")
				}
			}
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
		} else if _, err := client.Chat.Completions.New(t.Context(), params, opts...); err != nil {
			t.Fatal(err)
		}
		path := "receipts/" + resp.Header.Get("Aval-Receipt")
		var file []byte
		if err := client.Get(t.Context(), path, nil, &file, option.WithHeader("Accept", "application/vnd.aval.receipt+cbor")); err != nil {
			t.Fatal(err)
		}
		answer := "Hello"
		report := receipt.Offline(file, receipt.Options{Now: fake.Time, Expect: receipt.Expect{
			Key: fake.Key.Public().(ed25519.PublicKey), Nonce: nonce, Text: &answer,
		}})
		for _, c := range report.Checks {
			if !c.Passed() && c.Name != receipt.CheckComputation {
				t.Errorf("stream %t: %s", stream, c)
			}
		}
		var shown struct {
			Shown struct{ Text string }
			File  []byte
		}
		if err := client.Get(t.Context(), path, nil, &shown); err != nil { // the client asks for JSON
			t.Fatal(err)
		}
		if shown.Shown.Text != answer || !bytes.Equal(shown.File, file) {
			t.Errorf("stream %t: as JSON %+v", stream, shown)
		}
	}
}
