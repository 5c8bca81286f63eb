package receipt

import (
	"math"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// SourceKind says in what form a prompt was given.
type SourceKind uint8

// The kinds.
const (
	SourceText SourceKind = 0 // a text
	SourceChat SourceKind = 1 // messages, for the chat template
	SourceIDs  SourceKind = 2 // token ids; there is no text
)

// Source is a prompt as it was given, before it became tokens.
type Source struct {
	Kind SourceKind `cbor:"1,keyasint"`

	// Of SourceText:

	Text         []byte `cbor:"2,keyasint,omitempty"` // maybe not UTF-8
	AddSpecial   bool   `cbor:"3,keyasint,omitempty"` // put the model's own tokens around it
	ParseSpecial bool   `cbor:"4,keyasint,omitempty"` // recognise control tokens written in it

	// Of SourceChat:

	Messages []Message `cbor:"5,keyasint,omitempty"`
	Tools    []string  `cbor:"6,keyasint,omitempty"` // each a JSON object, in the text that was given
	// Variables of the template beyond the usual ones, as JSON texts.
	Variables map[string]string `cbor:"7,keyasint,omitempty"`
	// Date that the template sees, as 2006-01-02 or 2006-01-02T15:04:05.
	Date string `cbor:"8,keyasint,omitempty"`
	// GenerationPrompt ends the prompt where the assistant's answer begins.
	GenerationPrompt bool `cbor:"9,keyasint,omitempty"`
}

// Message is one turn of a conversation.
type Message struct {
	Role       string     `cbor:"1,keyasint"`
	Content    string     `cbor:"2,keyasint,omitempty"`
	Name       string     `cbor:"3,keyasint,omitempty"` // the speaker, or the function whose result this is
	Reasoning  string     `cbor:"4,keyasint,omitempty"`
	ToolCalls  []ToolCall `cbor:"5,keyasint,omitempty"`
	ToolCallID string     `cbor:"6,keyasint,omitempty"` // the call that a message with role tool answers
}

// ToolCall is a call of a function that the assistant made.
type ToolCall struct {
	ID        string `cbor:"1,keyasint,omitempty"`
	Name      string `cbor:"2,keyasint"`
	Arguments string `cbor:"3,keyasint,omitempty"` // JSON, in the text that was given
}

// usualVariables are those that a template gets from the other fields and from
// the model. One of these names among the others would hide them from the
// template, but not from who reads the source.
var usualVariables = []string{"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"}

func (s *Source) validate() error {
	text := len(s.Text) > 0 || s.AddSpecial || s.ParseSpecial
	chat := len(s.Messages) > 0 || len(s.Tools) > 0 || len(s.Variables) > 0 || s.Date != "" || s.GenerationPrompt
	switch {
	case s.Kind > SourceIDs:
		return errorf(CheckSource, "kind %d, want 0 (text), 1 (chat) or 2 (ids)", s.Kind)
	case text && s.Kind != SourceText:
		return errorf(CheckSource, "fields of a text in a source of kind %d", s.Kind)
	case chat && s.Kind != SourceChat:
		return errorf(CheckSource, "fields of a chat in a source of kind %d", s.Kind)
	}
	size := len(s.Text) + len(s.Date)
	for _, n := range []struct {
		what  string
		count int
	}{{"messages", len(s.Messages)}, {"tools", len(s.Tools)}, {"template variables", len(s.Variables)}} {
		if n.count > MaxItems {
			return errorf(CheckSource, "%d %s, want at most %d", n.count, n.what, MaxItems)
		}
	}
	for i, m := range s.Messages {
		if len(m.ToolCalls) > MaxItems {
			return errorf(CheckSource, "message %d has %d tool calls, want at most %d", i, len(m.ToolCalls), MaxItems)
		}
		size += len(m.Role) + len(m.Content) + len(m.Name) + len(m.Reasoning) + len(m.ToolCallID)
		for _, c := range m.ToolCalls {
			size += len(c.ID) + len(c.Name) + len(c.Arguments)
		}
	}
	for _, t := range s.Tools {
		size += len(t)
	}
	for k, v := range s.Variables {
		if slices.Contains(usualVariables, k) {
			return errorf(CheckSource, "the template variable %q would take the place of what the source says", k)
		}
		size += len(k) + len(v)
	}
	if size > MaxText {
		return errorf(CheckSource, "%d bytes of text, want at most %d", size, MaxText)
	}
	return nil
}

// Bias is what is added to the logits of some tokens; -Inf bans one. It stands
// apart from [Extra], so that it can be shown alone.
type Bias map[int32]float32

// MarshalCBOR writes a map, also an empty one.
func (b Bias) MarshalCBOR() ([]byte, error) {
	if b == nil {
		b = Bias{}
	}
	return canon.Marshal(map[int32]float32(b))
}

func (b Bias) validate() error {
	if len(b) > MaxBias {
		return errorf(CheckBias, "%d tokens, want at most %d", len(b), MaxBias)
	}
	for id, v := range b {
		if id < 0 || v != v || math.IsInf(float64(v), 1) {
			return errorf(CheckBias, "one is not that of a token, or neither a finite number nor -Inf")
		}
	}
	return nil
}

// The kinds of a [Grammar].
const (
	GrammarJSON   = "json"        // any JSON; there is no text
	GrammarSchema = "json-schema" // a JSON schema
	GrammarGBNF   = "gbnf"        // a grammar
)

// Grammar limits an answer.
type Grammar struct {
	Kind string `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint,omitempty"` // as it was given
}

// Extra are the parameters that are too long for the claims. The zero value
// means none of them.
type Extra struct {
	Stop    []string `cbor:"1,keyasint,omitempty"`
	Grammar *Grammar `cbor:"2,keyasint,omitempty"`
	// Template replaces the chat template of the model's file.
	Template string `cbor:"3,keyasint,omitempty"`
}

// IsZero reports whether there are no extra parameters.
func (e *Extra) IsZero() bool {
	return len(e.Stop) == 0 && e.Grammar == nil && e.Template == ""
}

func (e *Extra) validate() error {
	if len(e.Stop) > MaxStops {
		return errorf(CheckExtra, "%d stop strings, want at most %d", len(e.Stop), MaxStops)
	}
	for i, s := range e.Stop {
		if s == "" || len(s) > MaxStop {
			return errorf(CheckExtra, "stop string %d has %d bytes, want 1 to %d", i, len(s), MaxStop)
		}
	}
	size := len(e.Template)
	if g := e.Grammar; g != nil {
		size += len(g.Text)
		switch g.Kind {
		case GrammarJSON:
			if g.Text != "" {
				return errorf(CheckExtra, "the grammar %q has no text", g.Kind)
			}
		case GrammarSchema, GrammarGBNF:
		default:
			return errorf(CheckExtra, "grammar of kind %.40q, want %q, %q or %q", g.Kind, GrammarJSON, GrammarSchema, GrammarGBNF)
		}
	}
	if size > MaxText {
		return errorf(CheckExtra, "%d bytes of text, want at most %d", size, MaxText)
	}
	return nil
}
