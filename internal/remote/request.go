package remote

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/receipt"
)

// Request is one answer that is wanted. Only Text or Messages is required.
type Request struct {
	// Model is the name at the peer; "" if the peer offers one only.
	Model string
	// Root, if not zero, is the fingerprint that the model must have: no answer of
	// another one passes.
	Root receipt.Hash
	// Text is the prompt, without a template; with Messages it is empty.
	Text     string
	Messages []chat.Message // role, content and reasoning count
	Date     string         // for templates that tell it; may be empty
	NoThink  bool           // asks the template for an answer without thinking
	// Params draw the tokens. Seed counts without a nonce only; a logit bias
	// cannot be asked for.
	Params    sample.Params
	MaxTokens int // 0: the most that the peer gives
	Stop      []string
	Grammar   *grammar.Grammar
	// Nonce, 8 to 32 bytes, makes the seed, so that nobody chooses it. nil: the
	// seed is that of Params.
	Nonce []byte
	// Receipt asks for one; Trace for one that commits to the whole run.
	Receipt, Trace bool

	session receipt.Hash // that pays; zero: none
}

// requestErrorf is the error of a request that nobody answers.
func requestErrorf(format string, args ...any) error {
	return rpc.Errorf(rpc.InvalidArgument, format, args...)
}

// input is the conversation.
func (r *Request) input() chat.Input {
	in := chat.Input{Messages: r.Messages, AddGenerationPrompt: true, Date: r.Date}
	if r.NoThink {
		in.Extra = map[string]any{"enable_thinking": false}
	}
	return in
}

// source is the prompt as a receipt has it.
func (r *Request) source() (receipt.Source, error) {
	if len(r.Messages) == 0 {
		return issuer.Text(r.Text, true), nil
	}
	return issuer.Chat(r.input())
}

// seed is the nonce's, or nil.
func (r *Request) seed() (*receipt.Seed, error) {
	if len(r.Nonce) == 0 {
		return nil, nil
	}
	seed, err := issuer.Nonce(r.Nonce)
	if err != nil {
		return nil, requestErrorf("%w", err)
	}
	return seed, nil
}

// Seed is that of the receipts of answers to r.
func (r *Request) Seed() (receipt.Seed, error) {
	seed, err := r.seed()
	if err != nil || seed == nil {
		return receipt.SelfSeed(r.Params.Seed), err
	}
	return *seed, nil
}

// engine is the request as an engine takes it; prompt are its tokens.
func (r *Request) engine(prompt []int32, maxTokens int) engine.Request {
	return engine.Request{Prompt: prompt, Params: r.Params, MaxTokens: maxTokens, Stop: r.Stop, Grammar: r.Grammar, Trace: r.Trace}
}

// validate refuses what no peer answers. Both sides call it.
func (r *Request) validate() error {
	size := len(r.Text)
	for _, m := range r.Messages {
		size += len(m.Role) + len(m.Content) + len(m.Reasoning)
		if m.Name != "" || len(m.ToolCalls) > 0 || m.ToolCallID != "" {
			return requestErrorf("a message with a name or with calls of tools: a peer cannot be asked that")
		}
	}
	switch {
	case len(r.Messages) > 0 && r.Text != "":
		return requestErrorf("a text and messages: a prompt is one of them")
	case len(r.Messages) > MaxMessages:
		return requestErrorf("%d messages, a peer takes at most %d", len(r.Messages), MaxMessages)
	case size == 0:
		return requestErrorf("the prompt is empty")
	case size > MaxPrompt:
		return requestErrorf("the prompt has %d bytes, a peer takes at most %d", size, MaxPrompt)
	case len(r.Model) > maxName:
		return requestErrorf("the name of the model has %d bytes, want at most %d", len(r.Model), maxName)
	case len(r.Stop) > receipt.MaxStops:
		return requestErrorf("%d stop strings, want at most %d", len(r.Stop), receipt.MaxStops)
	case r.MaxTokens < 0 || r.MaxTokens > MaxTokens:
		return requestErrorf("an answer of %d tokens, want at most %d", r.MaxTokens, MaxTokens)
	case len(r.Date) > maxName:
		return requestErrorf("the date has %d bytes", len(r.Date))
	case r.Trace && !r.Receipt:
		return requestErrorf("a trace is part of a receipt: ask for both")
	case len(r.Params.LogitBias) > 0:
		return requestErrorf("a peer cannot be asked with a logit bias")
	}
	for i, s := range r.Stop {
		if s == "" || len(s) > receipt.MaxStop {
			return requestErrorf("stop string %d has %d bytes, want 1 to %d", i, len(s), receipt.MaxStop)
		}
	}
	if r.Grammar != nil {
		if _, text := r.Grammar.Source(); len(text) > MaxGrammar {
			return requestErrorf("the grammar has %d bytes, want at most %d", len(text), MaxGrammar)
		}
	}
	if _, err := r.seed(); err != nil {
		return err
	}
	if err := r.Params.Validate(); err != nil {
		return requestErrorf("%w", err)
	}
	return nil
}

// wire is the request on its way.
func (r *Request) wire() *wire.AnswerRequest {
	p := r.Params
	out := &wire.AnswerRequest{
		Model: r.Model, Text: r.Text, MaxTokens: uint32(r.MaxTokens), Stop: r.Stop, Nonce: r.Nonce, Receipt: r.Receipt, Trace: r.Trace,
		Sampling: &wire.Sampling{
			Temperature: p.Temperature, TopK: uint32(min(p.TopK, math.MaxInt32)), TopP: p.TopP, MinP: p.MinP, RepeatPenalty: p.RepeatPenalty,
			FrequencyPenalty: p.FrequencyPenalty, PresencePenalty: p.PresencePenalty, RepeatLastN: int32(min(p.RepeatLastN, math.MaxInt32)), Seed: p.Seed,
		},
	}
	if !r.Root.IsZero() {
		out.Root = r.Root[:]
	}
	if !r.session.IsZero() {
		out.Session = r.session[:]
	}
	if len(r.Messages) > 0 {
		out.Chat = &wire.Conversation{Date: r.Date, NoThink: r.NoThink}
		for _, m := range r.Messages {
			out.Chat.Messages = append(out.Chat.Messages, &wire.ConversationMessage{Role: m.Role, Content: m.Content, Reasoning: m.Reasoning})
		}
	}
	if r.Grammar != nil {
		kind, text := r.Grammar.Source()
		out.Grammar = &wire.OutputGrammar{Kind: string(kind), Text: text}
	}
	return out
}

// requestOf reads a request that came.
func requestOf(in *wire.AnswerRequest) (*Request, error) {
	s := in.Sampling
	if s == nil {
		s = &wire.Sampling{}
	}
	if s.TopK > math.MaxInt32 {
		return nil, requestErrorf("top_k is %d, want at most %d", s.TopK, math.MaxInt32)
	}
	if in.MaxTokens > MaxTokens {
		return nil, requestErrorf("an answer of %d tokens, want at most %d", in.MaxTokens, MaxTokens)
	}
	r := &Request{
		Model: in.Model, Text: in.Text, MaxTokens: int(in.MaxTokens), Stop: in.Stop, Nonce: in.Nonce, Receipt: in.Receipt, Trace: in.Trace,
		Params: sample.Params{
			Temperature: s.Temperature, TopK: int(s.TopK), TopP: s.TopP, MinP: s.MinP, RepeatPenalty: s.RepeatPenalty,
			FrequencyPenalty: s.FrequencyPenalty, PresencePenalty: s.PresencePenalty, RepeatLastN: int(s.RepeatLastN), Seed: s.Seed,
		},
	}
	var err error
	if r.Root, err = hashOf(in.Root); err != nil {
		return nil, err
	}
	if r.session, err = hashOf(in.Session); err != nil {
		return nil, err
	}
	if c := in.Chat; c != nil {
		if len(c.Messages) == 0 || len(c.Messages) > MaxMessages {
			return nil, requestErrorf("%d messages, want 1 to %d", len(c.Messages), MaxMessages)
		}
		r.Date, r.NoThink = c.Date, c.NoThink
		for _, m := range c.Messages {
			r.Messages = append(r.Messages, chat.Message{Role: m.GetRole(), Content: m.GetContent(), Reasoning: m.GetReasoning()})
		}
	}
	if g := in.Grammar; g != nil {
		if r.Grammar, err = grammarOf(g.Kind, g.Text); err != nil {
			return nil, err
		}
	}
	return r, r.validate()
}

func grammarOf(kind, text string) (g *grammar.Grammar, err error) {
	if len(text) > MaxGrammar {
		return nil, requestErrorf("the grammar has %d bytes, want at most %d", len(text), MaxGrammar)
	}
	switch kind {
	case receipt.GrammarJSON:
		g = grammar.JSON()
	case receipt.GrammarSchema:
		g, err = grammar.FromJSONSchema([]byte(text))
	case receipt.GrammarGBNF:
		g, err = grammar.FromGBNF(text)
	default:
		err = fmt.Errorf("grammar of kind %.40q", kind)
	}
	if err != nil {
		return nil, requestErrorf("the grammar: %w", err)
	}
	return g, nil
}

// MarshalBinary gives the request as it travels.
func (r *Request) MarshalBinary() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	return wire.Marshal(r.wire())
}

// UnmarshalBinary reads what MarshalBinary gives.
func (r *Request) UnmarshalBinary(data []byte) error {
	in := &wire.AnswerRequest{}
	if err := wire.Unmarshal(data, in); err != nil {
		return requestErrorf("the request cannot be read: %w", err)
	}
	out, err := requestOf(in)
	if err == nil {
		*r = *out
	}
	return err
}
