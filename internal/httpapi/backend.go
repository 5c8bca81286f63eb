package httpapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/sample"
)

// Backend is the set of models that a server offers.
type Backend interface {
	// Models lists what Open would find, in a stable order.
	Models(ctx context.Context) ([]ModelInfo, error)
	// Describe tells about one model without loading its weights.
	Describe(ctx context.Context, name string) (*ModelDetails, error)
	// Open returns a model that is ready to generate, and loads it first if
	// need be. The caller closes it; a closed model may stay in memory.
	// An unknown name is an error that wraps ErrModelNotFound.
	Open(ctx context.Context, name string, opt OpenOptions) (Model, error)
	// Loaded lists the models in memory, in a stable order.
	Loaded(ctx context.Context) ([]LoadedModel, error)
}

// OpenOptions say how a model is wanted. The zero value is fine.
type OpenOptions struct {
	// Context is the context size that the client asked for, 0 for the
	// server's. It is a wish: Model.Info says what there is.
	Context int
	// KeepAlive is how long the model stays in memory after its last use: nil
	// for the server's default, negative for ever, 0 not at all.
	KeepAlive *time.Duration
}

// Model is a loaded language model. Its methods may be called concurrently.
type Model interface {
	Info() ModelInfo
	// Render applies the chat template and tokenizes the result. Errors mean
	// that the template refused the messages.
	Render(in RenderInput) ([]int32, error)
	// Tokenize turns text into tokens. With special, the tokens that the model
	// wants around a text are added and control tokens in it are recognised.
	Tokenize(text string, special bool) ([]int32, error)
	// Piece returns the bytes that a token adds to a text.
	Piece(id int32) []byte
	// Generate calls on for every token, in order, from one goroutine at a
	// time, and ends early with the error of on or of ctx. The prompt has been
	// checked to fit.
	Generate(ctx context.Context, r Request, on func(Event) error) (*Result, error)
	// Embed returns the embedding of a text of at least one token.
	Embed(ctx context.Context, ids []int32) ([]float32, error)
	// Close gives the model back. It does not end generations.
	Close()
}

// ModelInfo describes a model in a list.
type ModelInfo struct {
	Name         string // "smollm2:135m-q8_0"
	Digest       string // hex SHA-256 of the file
	Size         int64  // bytes
	Modified     time.Time
	Architecture string // "llama"
	Parameters   string // "135M"; may be empty
	Quantization string // "Q8_0"; may be empty
	Context      int    // tokens that fit; of a model that is not loaded, those it was trained for
	Trained      int    // tokens that the model was trained for; 0 if not known
	Vocab        int    // 0 if not known without loading
	Dim          int    // length of an embedding; 0 if not known without loading
	Capabilities []string
}

// ModelDetails is what Describe tells on top of the list.
type ModelDetails struct {
	ModelInfo
	Template string
	License  string
	System   string
	Metadata []KeyValue // the file's metadata in file order, long arrays left out
}

// KeyValue is one metadata entry; Value is a string, bool, number or slice.
type KeyValue struct {
	Key   string
	Value any
}

// LoadedModel is a model in memory.
type LoadedModel struct {
	ModelInfo
	Memory  int64     // bytes
	Expires time.Time // zero if never
}

// RenderInput is a conversation to be turned into a prompt.
type RenderInput struct {
	Messages []Message
	Tools    []Tool
	Template string         // overrides the model's own if not empty
	Extra    map[string]any // further variables of the template, as enable_thinking
}

// Request is one generation.
type Request struct {
	Prompt    []int32
	Params    sample.Params
	MaxTokens int      // 0: until the context is full
	Stop      []string // generation ends before the first of these
	Format    Format
	Logprobs  int // 0: none; n: the token's own and the n-1 most probable ones
}

// Format constrains the text that is generated.
type Format struct {
	JSON   bool   // any JSON object
	Schema []byte // a JSON schema; nil for none
}

// Event is one generated token.
type Event struct {
	Token   int32  // -1 for text that follows the last token
	Text    string // whole characters that became certain with this token, may be empty
	Logprob float64
	Top     []sample.Logprob
}

// StopReason says why a generation ended.
type StopReason string

// The reasons.
const (
	StopEOS       StopReason = "eos"
	StopString    StopReason = "stop"
	StopLength    StopReason = "length"
	StopCancelled StopReason = "cancelled"
)

// Result is a finished generation.
type Result struct {
	IDs  []int32
	Text string
	Stop StopReason
	// Reused is how many tokens of the prompt were still in memory.
	Reused int
}

// Puller fetches models. It is optional.
type Puller interface {
	// Pull fetches a model by name and reports its progress to on, whose error
	// ends it.
	Pull(ctx context.Context, name string, on func(PullStatus) error) error
}

// PullStatus is one step of a fetch.
type PullStatus struct {
	Status    string // "pulling manifest", "verifying sha256 digest", …
	Digest    string // "sha256:…" while a file is fetched
	Total     int64
	Completed int64
}

// Deleter removes models. It is optional.
type Deleter interface {
	// Delete removes a model by name, or returns an error that wraps
	// ErrModelNotFound.
	Delete(ctx context.Context, name string) error
}

// ErrModelNotFound says that no model has the name asked for.
var ErrModelNotFound = errors.New("model not found")

// BadRequestError is an error of a Model that is the fault of the request.
type BadRequestError struct {
	Param string // the field of the request, may be empty
	Err   error
}

func (e *BadRequestError) Error() string { return e.Err.Error() }
func (e *BadRequestError) Unwrap() error { return e.Err }

// PromptTooLongError refuses a prompt that does not fit.
type PromptTooLongError struct {
	Prompt  int // tokens of the prompt
	Context int // tokens that fit, prompt and answer together
	Trained int // tokens that the model was trained for; 0 if not known
}

func (e *PromptTooLongError) Error() string {
	what := fmt.Sprintf("the prompt has %d tokens and the context holds %d, of which the answer needs at least one; "+
		"nothing was cut: shorten the prompt by %d or more", e.Prompt, e.Context, e.Prompt+1-e.Context)
	if e.Trained == 0 || e.Prompt < e.Trained {
		what += fmt.Sprintf(", or serve the model with a context of %d or more", e.Prompt+1)
	}
	return what
}
