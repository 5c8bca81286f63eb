// Package aval runs language models in the GGUF format on plain CPUs, with the
// same bits on every machine.
//
// Call [Open] with the path of a model, then [Model.Generate] to continue a
// text or [Model.Chat] to answer a conversation, from as many goroutines as
// wanted, and [Model.Close] at the end:
//
//	m, err := aval.Open("model.gguf", nil)
//	if err != nil { ... }
//	defer m.Close()
//	answer, err := m.Chat(ctx, []aval.Message{{Role: "user", Content: "Hi!"}}, nil)
//
// # Determinism
//
// The answer is a function of the file, the prompt and the options: not of the
// machine, the number of threads, the requests served at the same time, or
// what was asked before. The default seed is 0, not the time.
//
// # Receipts
//
// With [Config].Key and [Options].Receipt an answer comes with a signed
// receipt, which others check: [Model.VerifyReceipt] with the model, the
// package receipt without.
//
// # What it does not do
//
// It does not download models (the command "aval pull" does), keep
// conversations, or speak HTTP ("aval serve" does). It reads no environment
// variables.
package aval

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/receipt"
)

// Config shapes a model in memory. The zero value, or nil, is useful.
type Config struct {
	// Threads computes on so many threads; 0: one for each CPU. No bit of any
	// answer depends on it.
	Threads int
	// Context is how many tokens a prompt and its answer may have together; 0:
	// what the model was trained for, but at least 512.
	Context int
	// Parallel is how many requests are computed at the same time; 0: 4.
	// Others wait.
	Parallel int
	// Kernel forces an implementation of the arithmetic, such as "generic" or
	// "avx2"; "": the fastest. No bit of any answer depends on it.
	Kernel string
	// Adapters (LoRA) change the model, in this order. They count in every
	// answer: receipts name them.
	Adapters []Adapter
	// Key signs the receipts of answers; see [LoadKey]. nil: there are none.
	Key ed25519.PrivateKey
}

// Adapter is a low-rank adapter (LoRA) in a GGUF file, as llama.cpp has them.
type Adapter struct {
	Path string
	// Scale multiplies its changes; 0: 1, as it was trained. Less than 0 turns
	// them round.
	Scale float32
}

// Options of one answer. The zero value, or nil, takes the likeliest token
// each time until the model ends its answer or the context is full.
type Options struct {
	Temperature      float32 // 0: always the likeliest token; 1: as the model says
	TopK             int     // choose among the K likeliest; 0: all
	TopP             float32 // choose among the likeliest that reach probability P; 0: all
	MinP             float32 // leave out those less than P times as likely as the likeliest; 0: none
	RepeatPenalty    float32 // more than 1: avoid tokens of the last 64; 0: do not
	FrequencyPenalty float32 // the same, subtracted for each use; 0: do not
	PresencePenalty  float32 // the same, subtracted once; 0: do not
	Seed             uint64  // chooses the random numbers
	MaxTokens        int     // end after so many; 0: when the context is full
	Stop             []string
	// Schema, a JSON schema, limits the answer to JSON that follows it.
	Schema []byte
	// Receipt, if not nil, asks for a receipt of the answer.
	Receipt *Receipt
	// Stream, if not nil, is given the answer piece by piece, whole characters
	// each. Its error ends the answer and is returned.
	Stream func(text string) error
}

// Receipt says what receipt is wanted. The zero value is one that shows prompt
// and answer.
type Receipt struct {
	// Nonce, 8 to 32 bytes from whoever will check the receipt, takes the place
	// of Options.Seed, which must be 0: the seed follows from it and the prompt,
	// so that nobody can try several. nil: the seed is whatever Options say.
	Nonce []byte
	// Trace also commits to all that the model computes, so that it can be
	// checked in parts.
	Trace bool
	// HidePrompt and HideAnswer leave these out of the receipt's file. Without
	// both nobody but an auditor can compute the answer again.
	HidePrompt, HideAnswer bool
	// Auditors can read everything, each with their own key.
	Auditors []receipt.AuditorKey
}

// Message is one turn of a conversation. Role is "system", "user" or
// "assistant".
type Message struct{ Role, Content string }

// Answer is what a model wrote.
type Answer struct {
	Text string
	// Stop says why it ended: "eos" (the model was done), "stop" (one of
	// Options.Stop), "length" (MaxTokens, or the context is full).
	Stop string
	// PromptTokens and Tokens are the ids of the whole transcript. With the
	// file they determine every number the model computed.
	PromptTokens, Tokens []int32
	// Receipt is the file of the receipt, if Options asked for one: its usual
	// name ends in .aval. [Model.VerifyReceipt] and the package receipt read it.
	Receipt []byte
}

// PromptTooLongError says that a prompt does not fit the context; it carries
// the numbers. Prompts are never cut.
type PromptTooLongError = engine.PromptTooLongError

// Model is an open model. Its methods may be called from any goroutine.
type Model struct {
	engine   *engine.Engine
	issuer   *issuer.Issuer
	signs    bool             // there is a key
	id       *issuer.Identity // of the file
	adapters []issuer.Adapter
	ctx      context.Context // ends with the model
	end      context.CancelFunc
	threads  int
}

// Open loads the model in a GGUF file; of a split one, path names any part.
func Open(path string, c *Config) (*Model, error) {
	if c == nil {
		c = &Config{}
	}
	m := &Model{threads: c.Threads}
	if err := m.open(path, c); err != nil {
		m.forget()
		return nil, fmt.Errorf("aval: open: %w", err)
	}
	m.ctx, m.end = context.WithCancel(context.Background())
	// Without a key it signs nothing, but knows what the model is.
	m.issuer = issuer.New(issuer.Config{Key: c.Key, Model: m.id, Adapters: m.adapters, Context: m.engine.Context()})
	m.signs = c.Key != nil
	return m, nil
}

func (m *Model) open(path string, c *Config) error {
	var err error
	if m.id, err = issuer.Identify(path); err != nil {
		return err
	}
	opt := engine.Options{Threads: c.Threads, Context: c.Context, Slots: c.Parallel, Kernel: c.Kernel}
	for _, a := range c.Adapters {
		if a.Scale == 0 {
			a.Scale = 1
		}
		lora, err := m.readAdapter(a)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		opt.Adapters = append(opt.Adapters, model.Adapter{LoRA: lora, Scale: a.Scale})
	}
	m.engine, err = engine.Open(path, opt)
	return err
}

// readAdapter takes note of an adapter's file and reads it.
func (m *Model) readAdapter(a Adapter) (*adapter.Adapter, error) {
	id, err := issuer.Identify(a.Path)
	if err != nil {
		return nil, err
	}
	m.adapters = append(m.adapters, issuer.Adapter{File: id, Scale: a.Scale})
	f, err := gguf.Open(a.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the numbers are copied
	return adapter.Read(f)
}

// forget gives up the identities that were not computed.
func (m *Model) forget() {
	if m.id != nil {
		m.id.Close()
	}
	for _, a := range m.adapters {
		a.File.Close()
	}
}

// Close waits for the answers in progress and frees the model.
func (m *Model) Close() error {
	m.end()
	m.forget()
	return m.engine.Close()
}

// Context is how many tokens a prompt and its answer may have together.
func (m *Model) Context() int { return m.engine.Context() }

// Generate continues a text as it is, without a chat template. Control tokens
// written in it, such as "<|im_start|>", are recognised.
func (m *Model) Generate(ctx context.Context, prompt string, o *Options) (*Answer, error) {
	ids, err := m.engine.Tokenize(prompt, true)
	if err != nil {
		return nil, fmt.Errorf("aval: %w", err)
	}
	return m.answer(ctx, ids, issuer.Text(prompt, true), o)
}

// Chat answers the last message of a conversation, through the chat template
// that the model carries.
func (m *Model) Chat(ctx context.Context, messages []Message, o *Options) (*Answer, error) {
	in := chat.Input{AddGenerationPrompt: true}
	for _, msg := range messages {
		in.Messages = append(in.Messages, chat.Message{Role: msg.Role, Content: msg.Content})
	}
	ids, err := m.engine.Render(in)
	if err != nil {
		return nil, fmt.Errorf("aval: %w", err)
	}
	source, err := issuer.Chat(in)
	if err != nil {
		return nil, fmt.Errorf("aval: %w", err)
	}
	return m.answer(ctx, ids, source, o)
}

func (m *Model) answer(ctx context.Context, prompt []int32, source receipt.Source, o *Options) (*Answer, error) {
	if o == nil {
		o = &Options{}
	}
	r := engine.Request{
		Prompt: prompt, MaxTokens: o.MaxTokens, Stop: o.Stop,
		Params: sample.Params{
			Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, MinP: o.MinP, Seed: o.Seed,
			RepeatPenalty: o.RepeatPenalty, FrequencyPenalty: o.FrequencyPenalty, PresencePenalty: o.PresencePenalty,
		},
	}
	if o.Schema != nil {
		g, err := grammar.FromJSONSchema(o.Schema)
		if err != nil {
			return nil, fmt.Errorf("aval: schema: %w", err)
		}
		r.Grammar = g
	}
	var draft *issuer.Draft
	if o.Receipt != nil {
		var err error
		if draft, err = m.draft(&r, source, o); err != nil {
			return nil, fmt.Errorf("aval: receipt: %w", err)
		}
	}
	res, err := m.engine.Generate(ctx, r, func(ev engine.Event) error {
		if o.Stream == nil || ev.Text == "" {
			return nil
		}
		return o.Stream(ev.Text)
	})
	if err != nil {
		return nil, fmt.Errorf("aval: %w", err)
	}
	a := &Answer{Text: res.Text, Stop: string(res.Stop), PromptTokens: res.PromptIDs, Tokens: res.IDs}
	if draft != nil {
		draft.Finish(res)
		if a.Receipt, err = m.finish(ctx, draft); err != nil {
			return nil, fmt.Errorf("aval: receipt: %w", err)
		}
	}
	return a, nil
}
