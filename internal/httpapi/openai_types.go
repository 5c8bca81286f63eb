package httpapi

import "encoding/json"

// The JSON of OpenAI's API, as far as it is served. Fields that cannot change
// the output, as user or metadata, are not listed and ignored.

// sampling are the fields that chat and plain completions share. top_k, min_p,
// repeat_penalty and repeat_last_n are known from local servers.
type sampling struct {
	Temperature      *float32           `json:"temperature"`
	TopP             *float32           `json:"top_p"`
	TopK             *int               `json:"top_k"`
	MinP             *float32           `json:"min_p"`
	RepeatPenalty    *float32           `json:"repeat_penalty"`
	RepeatLastN      *int               `json:"repeat_last_n"`
	FrequencyPenalty *float32           `json:"frequency_penalty"`
	PresencePenalty  *float32           `json:"presence_penalty"`
	LogitBias        map[string]float32 `json:"logit_bias"`
	Seed             *int64             `json:"seed"`
	Stop             stringList         `json:"stop"`
	MaxTokens        *int               `json:"max_tokens"`
	N                *int               `json:"n"`
	ResponseFormat   *responseFormat    `json:"response_format"`
}

// refused are the fields that would change the output and are not supported.
type refused struct {
	Audio         json.RawMessage `json:"audio"`
	BestOf        json.RawMessage `json:"best_of"`
	Functions     json.RawMessage `json:"functions"`
	FunctionCall  json.RawMessage `json:"function_call"`
	Grammar       json.RawMessage `json:"grammar"`
	Mirostat      json.RawMessage `json:"mirostat"`
	Suffix        json.RawMessage `json:"suffix"`
	TypicalP      json.RawMessage `json:"typical_p"`
	WebSearchOpts json.RawMessage `json:"web_search_options"`
}

type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
	Schema json.RawMessage `json:"schema"` // beside json_object, as some local servers take it
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatRequest struct {
	sampling
	refused
	Model               string            `json:"model"`
	Messages            []chatMessage     `json:"messages"`
	Stream              bool              `json:"stream"`
	StreamOptions       *streamOptions    `json:"stream_options"`
	MaxCompletionTokens *int              `json:"max_completion_tokens"`
	Logprobs            bool              `json:"logprobs"`
	TopLogprobs         *int              `json:"top_logprobs"`
	Tools               []json.RawMessage `json:"tools"`
	ToolChoice          json.RawMessage   `json:"tool_choice"`
	ParallelToolCalls   *bool             `json:"parallel_tool_calls"`
	Modalities          []string          `json:"modalities"`
	ReasoningEffort     *string           `json:"reasoning_effort"`
	TemplateArgs        map[string]any    `json:"chat_template_kwargs"`
	KeepAlive           *keepAlive        `json:"keep_alive"`
	Receipt             *receiptRequest   `json:"receipt"`
}

type chatMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"` // a string, null, or an array of parts
	Name       string          `json:"name"`
	ToolCalls  []chatToolCall  `json:"tool_calls"`
	ToolCallID string          `json:"tool_call_id"`
	Reasoning  string          `json:"reasoning_content"`
}

type contentPart struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
}

type chatToolCall struct {
	Index    *int             `json:"index,omitempty"` // in streams only
	ID       string           `json:"id"`
	Type     string           `json:"type"`
	Function chatFunctionCall `json:"function"`
}

type chatFunctionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON in a string
}

type usage struct {
	PromptTokens     int           `json:"prompt_tokens"`
	CompletionTokens int           `json:"completion_tokens"`
	TotalTokens      int           `json:"total_tokens"`
	Details          *usageDetails `json:"prompt_tokens_details,omitempty"`
}

type usageDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

type chatResponse struct {
	ID          string       `json:"id"`
	Object      string       `json:"object"` // chat.completion or chat.completion.chunk
	Created     int64        `json:"created"`
	Model       string       `json:"model"`
	Fingerprint string       `json:"system_fingerprint,omitempty"`
	Choices     []chatChoice `json:"choices"`
	Usage       *usage       `json:"usage,omitempty"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      *chatAnswer   `json:"message,omitempty"`
	Delta        *chatDelta    `json:"delta,omitempty"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type chatAnswer struct {
	Role      string         `json:"role"`
	Content   *string        `json:"content"`
	Reasoning string         `json:"reasoning_content,omitempty"`
	Refusal   *string        `json:"refusal"`
	ToolCalls []chatToolCall `json:"tool_calls,omitempty"`
}

type chatDelta struct {
	Role      string         `json:"role,omitempty"`
	Content   *string        `json:"content,omitempty"`
	Reasoning string         `json:"reasoning_content,omitempty"`
	ToolCalls []chatToolCall `json:"tool_calls,omitempty"`
}

type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
	Refusal []tokenLogprob `json:"refusal"`
}

type tokenLogprob struct {
	Token   string         `json:"token"`
	Logprob float64        `json:"logprob"`
	Bytes   []int          `json:"bytes"`
	Top     []tokenLogprob `json:"top_logprobs,omitzero"` // nil in an alternative, maybe empty otherwise
}

type completionRequest struct {
	sampling
	refused
	Model         string          `json:"model"`
	Prompt        promptList      `json:"prompt"`
	Stream        bool            `json:"stream"`
	StreamOptions *streamOptions  `json:"stream_options"`
	Echo          bool            `json:"echo"`
	Logprobs      *int            `json:"logprobs"`
	KeepAlive     *keepAlive      `json:"keep_alive"`
	Receipt       *receiptRequest `json:"receipt"`
}

type completionResponse struct {
	ID          string             `json:"id"`
	Object      string             `json:"object"` // text_completion, also in streams
	Created     int64              `json:"created"`
	Model       string             `json:"model"`
	Fingerprint string             `json:"system_fingerprint,omitempty"`
	Choices     []completionChoice `json:"choices"`
	Usage       *usage             `json:"usage,omitempty"`
}

type completionChoice struct {
	Text         string              `json:"text"`
	Index        int                 `json:"index"`
	Logprobs     *completionLogprobs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
}

// completionLogprobs has one element per token in each list.
type completionLogprobs struct {
	Tokens        []string      `json:"tokens"`
	TokenLogprobs []float64     `json:"token_logprobs"`
	TopLogprobs   []topLogprobs `json:"top_logprobs"`
	TextOffset    []int         `json:"text_offset"` // in characters
}

type embeddingRequest struct {
	Model          string     `json:"model"`
	Input          promptList `json:"input"`
	EncodingFormat string     `json:"encoding_format"`
	Dimensions     *int       `json:"dimensions"`
	KeepAlive      *keepAlive `json:"keep_alive"`
}

type embeddingResponse struct {
	Object string          `json:"object"`
	Data   []embeddingData `json:"data"`
	Model  string          `json:"model"`
	Usage  embeddingUsage  `json:"usage"`
}

type embeddingData struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // []float32, or their bytes in base64
}

type embeddingUsage struct {
	PromptTokens int `json:"prompt_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

type modelList struct {
	Object string        `json:"object"`
	Data   []openAIModel `json:"data"`
}

type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// stringList is a JSON string, an array of strings, or null.
type stringList []string

// UnmarshalJSON accepts the three forms.
func (l *stringList) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*l = []string{""}
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// promptList is a text, tokens, or an array of either.
type promptList []prompt

// prompt is a text, or tokens if they are not nil.
type prompt struct {
	text   string
	tokens []int32
}

// UnmarshalJSON accepts the four forms.
func (l *promptList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil && len(b) > 0 && b[0] == '"' {
		*l = promptList{{text: one}}
		return nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal(b, &items); err != nil {
		return badRequest("", "a prompt or input is neither a string nor an array")
	}
	if len(items) > 0 && items[0][0] != '"' && items[0][0] != '[' {
		items = []json.RawMessage{b} // tokens of a single prompt
	}
	if len(items) > maxPrompts {
		return badRequest("", "%d prompts or inputs, want at most %d", len(items), maxPrompts)
	}
	for i, raw := range items {
		var p prompt
		var err error
		if raw[0] == '"' {
			err = json.Unmarshal(raw, &p.text)
		} else {
			p.tokens = []int32{}
			err = json.Unmarshal(raw, &p.tokens)
		}
		if err != nil {
			return badRequest("", "prompt or input %d is neither a string nor an array of token ids", i)
		}
		*l = append(*l, p)
	}
	return nil
}

// topLogprobs is a JSON object of tokens and their log probabilities that
// keeps its order. Of tokens with the same text the first counts.
type topLogprobs []tokenLogprob

// MarshalJSON writes the object.
func (t topLogprobs) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	seen := map[string]bool{}
	for _, alt := range t {
		if seen[alt.Token] {
			continue
		}
		key, err := encode(alt.Token)
		if err != nil {
			return nil, err
		}
		value, err := encode(alt.Logprob)
		if err != nil {
			return nil, err
		}
		if len(seen) > 0 {
			out = append(out, ',')
		}
		seen[alt.Token] = true
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}
