package httpapi

import (
	"encoding/json"
	"time"
)

// The JSON of Ollama's API, as far as it is served.

// ollamaOptions are the options of Ollama that change the output. Options
// about hardware, as num_gpu or num_thread, are ignored.
type ollamaOptions struct {
	NumPredict       *int       `json:"num_predict"`
	NumCtx           *int       `json:"num_ctx"`
	Temperature      *float32   `json:"temperature"`
	TopK             *int       `json:"top_k"`
	TopP             *float32   `json:"top_p"`
	MinP             *float32   `json:"min_p"`
	RepeatPenalty    *float32   `json:"repeat_penalty"`
	RepeatLastN      *int       `json:"repeat_last_n"`
	FrequencyPenalty *float32   `json:"frequency_penalty"`
	PresencePenalty  *float32   `json:"presence_penalty"`
	Seed             *int64     `json:"seed"`
	Stop             stringList `json:"stop"`
	Mirostat         *float32   `json:"mirostat"`
	TypicalP         *float32   `json:"typical_p"`
	TFSZ             *float32   `json:"tfs_z"`
}

// ollamaCommon are the fields that chat and generate share.
type ollamaCommon struct {
	Model       string          `json:"model"`
	Stream      *bool           `json:"stream"` // true if missing
	Format      json.RawMessage `json:"format"` // "", "json" or a schema
	Options     ollamaOptions   `json:"options"`
	KeepAlive   *keepAlive      `json:"keep_alive"`
	Think       json.RawMessage `json:"think"` // true, false, or "low" to "high"
	Logprobs    bool            `json:"logprobs"`
	TopLogprobs int             `json:"top_logprobs"`
	Receipt     *receiptRequest `json:"receipt"`
}

type ollamaChatRequest struct {
	ollamaCommon
	Messages []ollamaMessage   `json:"messages"`
	Tools    []json.RawMessage `json:"tools"`
}

type ollamaGenerateRequest struct {
	ollamaCommon
	Prompt   string   `json:"prompt"`
	Suffix   string   `json:"suffix"`
	System   string   `json:"system"`
	Template string   `json:"template"`
	Raw      bool     `json:"raw"`
	Context  []int32  `json:"context"`
	Images   []string `json:"images"`
}

type ollamaMessage struct {
	Role       string           `json:"role"`
	Content    string           `json:"content"`
	Thinking   string           `json:"thinking,omitempty"`
	Images     []string         `json:"images,omitempty"`
	ToolCalls  []ollamaToolCall `json:"tool_calls,omitempty"`
	ToolName   string           `json:"tool_name,omitempty"`
	ToolCallID string           `json:"tool_call_id,omitempty"`
}

type ollamaToolCall struct {
	ID       string `json:"id,omitempty"`
	Function struct {
		Index     int             `json:"index,omitempty"`
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"` // an object
	} `json:"function"`
}

// ollamaResponse is an answer of chat or generate, or a piece of one.
type ollamaResponse struct {
	Model      string         `json:"model"`
	CreatedAt  time.Time      `json:"created_at"`
	Message    *ollamaMessage `json:"message,omitempty"`  // chat
	Response   *string        `json:"response,omitempty"` // generate
	Thinking   string         `json:"thinking,omitempty"` // generate
	Logprobs   []tokenLogprob `json:"logprobs,omitempty"`
	Done       bool           `json:"done"`
	DoneReason string         `json:"done_reason,omitempty"`
	*ollamaStats
}

// ollamaStats ends an answer. Durations are in nanoseconds.
type ollamaStats struct {
	TotalDuration      time.Duration `json:"total_duration"`
	LoadDuration       time.Duration `json:"load_duration"`
	PromptEvalCount    int           `json:"prompt_eval_count"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration"`
	EvalCount          int           `json:"eval_count"`
	EvalDuration       time.Duration `json:"eval_duration"`
}

// ollamaName names a model; old clients say name.
type ollamaName struct {
	Model  string `json:"model"`
	Name   string `json:"name"`
	Stream *bool  `json:"stream"`
}

func (n ollamaName) name() string {
	if n.Model != "" {
		return n.Model
	}
	return n.Name
}

type ollamaDetails struct {
	ParentModel       string   `json:"parent_model"`
	Format            string   `json:"format"`
	Family            string   `json:"family"`
	Families          []string `json:"families"`
	ParameterSize     string   `json:"parameter_size"`
	QuantizationLevel string   `json:"quantization_level"`
}

type ollamaModel struct {
	Name       string        `json:"name"`
	Model      string        `json:"model"`
	ModifiedAt time.Time     `json:"modified_at"`
	Size       int64         `json:"size"`
	Digest     string        `json:"digest"`
	Details    ollamaDetails `json:"details"`
}

type ollamaTags struct {
	Models []ollamaModel `json:"models"`
}

type ollamaLoaded struct {
	Name          string        `json:"name"`
	Model         string        `json:"model"`
	Size          int64         `json:"size"`
	Digest        string        `json:"digest"`
	Details       ollamaDetails `json:"details"`
	ExpiresAt     time.Time     `json:"expires_at"`
	SizeVRAM      int64         `json:"size_vram"` // 0: this is a CPU engine
	ContextLength int           `json:"context_length"`
}

type ollamaPS struct {
	Models []ollamaLoaded `json:"models"`
}

type ollamaShow struct {
	License      string        `json:"license,omitempty"`
	Modelfile    string        `json:"modelfile"`
	Parameters   string        `json:"parameters"`
	Template     string        `json:"template"`
	System       string        `json:"system,omitempty"`
	Details      ollamaDetails `json:"details"`
	ModelInfo    metadata      `json:"model_info"`
	Capabilities []string      `json:"capabilities"`
	ModifiedAt   time.Time     `json:"modified_at"`
}

// metadata is a JSON object in the order of the file.
type metadata []KeyValue

// MarshalJSON writes the object.
func (m metadata) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, kv := range m {
		key, err := encode(kv.Key)
		if err != nil {
			return nil, err
		}
		value, err := encode(kv.Value)
		if err != nil { // NaN or infinity, which a damaged file may hold
			value = []byte("null")
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}

type ollamaPullStatus struct {
	Status    string `json:"status"`
	Digest    string `json:"digest,omitempty"`
	Total     int64  `json:"total,omitempty"`
	Completed int64  `json:"completed,omitempty"`
}

type ollamaEmbedRequest struct {
	Model      string        `json:"model"`
	Input      promptList    `json:"input"`
	Truncate   bool          `json:"truncate"` // Ollama's default is true; see handleOllamaEmbed
	Dimensions *int          `json:"dimensions"`
	Options    ollamaOptions `json:"options"`
	KeepAlive  *keepAlive    `json:"keep_alive"`
}

type ollamaEmbedResponse struct {
	Model           string        `json:"model"`
	Embeddings      [][]float32   `json:"embeddings"`
	TotalDuration   time.Duration `json:"total_duration"`
	LoadDuration    time.Duration `json:"load_duration"`
	PromptEvalCount int           `json:"prompt_eval_count"`
}

type ollamaEmbeddingRequest struct {
	Model     string        `json:"model"`
	Prompt    string        `json:"prompt"`
	Options   ollamaOptions `json:"options"`
	KeepAlive *keepAlive    `json:"keep_alive"`
}

type ollamaEmbeddingResponse struct {
	Embedding []float32 `json:"embedding"`
}
