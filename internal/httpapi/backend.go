package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
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
	// Info describes the model; Context, Vocab and Dim are set.
	Info() ModelInfo
	// Render turns a conversation into tokens through the model's chat
	// template, RenderWith through another one.
	Render(in chat.Input) ([]int32, error)
	RenderWith(t *chat.Template, in chat.Input) ([]int32, error)
	// Tokenize turns text into tokens. With special, the tokens that the model
	// wants around a text are added and control tokens in it are recognised.
	Tokenize(text string, special bool) ([]int32, error)
	// Piece returns the bytes that a token adds to a text.
	Piece(id int32) []byte
	// Generate calls on for every token, in order, and ends early with the
	// error of on or of ctx. The prompt has been checked to fit.
	Generate(ctx context.Context, r engine.Request, on func(engine.Event) error) (*engine.Result, error)
	// Issuer makes the receipts of what Generate answers; nil makes none.
	Issuer() *issuer.Issuer
	// OpenTrace shows the parts of the computation that a challenge chooses,
	// computing again what the receipt in f is about; f shows everything.
	OpenTrace(ctx context.Context, f *receipt.File, c *audit.Challenge) (*trace.Opening, error)
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
