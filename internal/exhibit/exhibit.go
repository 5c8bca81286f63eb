// Package exhibit writes down, for programs, what the file of a receipt says
// and shows: the JSON of "aval receipt show --json" and of the server.
//
// Call [Of]. Fields are added, not renamed. Salts and proofs are left out, so
// that an exhibit can be read, but not checked: that takes the file.
package exhibit

import (
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/avalnetwork/aval/receipt"
)

// Exhibit is a receipt with what its file shows.
type Exhibit struct {
	ID     receipt.Hash   `json:"id"`    // hash of the receipt
	Bytes  int            `json:"bytes"` // of the receipt alone
	Claims receipt.Claims `json:"claims"`
	// Shown is what the file shows of prompt and answer; missing if nothing.
	Shown *Shown `json:"shown,omitempty"`
	// Sealed are the boxes for auditors.
	Sealed []Box `json:"sealed,omitempty"`
}

// Shown is an opening. What is not shown is missing.
type Shown struct {
	Source      *Source            `json:"source,omitempty"`
	LogitBias   map[string]float64 `json:"logit_bias,omitempty"` // by token; -1e30 bans one
	Stop        []string           `json:"stop,omitempty"`
	Grammar     *Grammar           `json:"grammar,omitempty"`
	Template    string             `json:"template,omitempty"`
	PromptIDs   []int32            `json:"prompt_ids,omitempty"`
	OutputIDs   []int32            `json:"output_ids,omitempty"`
	Text        *string            `json:"text,omitempty"`
	StopText    string             `json:"stop_text,omitempty"`
	PromptParts []Part             `json:"prompt_ranges,omitempty"`
	OutputParts []Part             `json:"output_ranges,omitempty"`
	TraceSalt   bool               `json:"trace_salt,omitempty"` // the file has it
}

// Source is a prompt as it was given.
type Source struct {
	Kind      string                     `json:"kind"` // text, chat or ids
	Text      string                     `json:"text,omitempty"`
	Messages  []Message                  `json:"messages,omitempty"`
	Tools     []string                   `json:"tools,omitempty"` // JSON
	Variables map[string]json.RawMessage `json:"variables,omitempty"`
	Date      string                     `json:"date,omitempty"`
}

// Message is one turn of a conversation.
type Message struct {
	Role       string `json:"role"`
	Content    string `json:"content"`
	Name       string `json:"name,omitempty"`
	Reasoning  string `json:"reasoning,omitempty"`
	ToolCalls  []Call `json:"tool_calls,omitempty"`
	ToolCallID string `json:"tool_call_id,omitempty"`
}

// Call is a call of a tool.
type Call struct {
	ID        string `json:"id,omitempty"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON, or what a model wrote in its place
}

// Grammar is what limited the answer.
type Grammar struct {
	Kind string `json:"kind"`
	Text string `json:"text,omitempty"`
}

// Part are some tokens that follow each other.
type Part struct {
	From int     `json:"from"`
	IDs  []int32 `json:"ids"`
}

// Box is sealed for an auditor.
type Box struct {
	Suite string `json:"suite"`
	KeyID string `json:"key_id"`
	Bytes int    `json:"bytes"`
}

// Of writes down a file.
func Of(f *receipt.File) Exhibit {
	e := Exhibit{ID: f.Receipt.Hash(), Bytes: len(f.Receipt.Bytes()), Claims: f.Receipt.Claims()}
	if f.Opening != nil {
		e.Shown = shown(f.Opening)
	}
	for _, b := range f.Sealed {
		e.Sealed = append(e.Sealed, Box{b.Suite, hex.EncodeToString(b.KeyID[:]), len(b.Data)})
	}
	return e
}

func shown(o *receipt.Opening) *Shown {
	s := &Shown{TraceSalt: o.Trace != nil, PromptParts: parts(o.PromptRanges), OutputParts: parts(o.OutputRanges)}
	if o.Source != nil {
		s.Source = source(&o.Source.Source)
	}
	if o.Bias != nil && len(o.Bias.Bias) > 0 {
		s.LogitBias = map[string]float64{}
		for id, v := range o.Bias.Bias {
			s.LogitBias[strconv.Itoa(int(id))] = max(float64(v), banned)
		}
	}
	if o.Extra != nil {
		x := &o.Extra.Extra
		s.Stop, s.Template = x.Stop, x.Template
		if x.Grammar != nil {
			s.Grammar = &Grammar{x.Grammar.Kind, x.Grammar.Text}
		}
	}
	if o.Prompt != nil {
		s.PromptIDs = o.Prompt.IDs
	}
	if o.Output != nil {
		s.OutputIDs = o.Output.IDs
	}
	if o.Text != nil {
		s.Text, s.StopText = &o.Text.Text, o.Text.StopText
	}
	return s
}

// banned stands for minus infinity, which JSON does not have.
const banned = -1e30

func parts(ranges []receipt.Range) []Part {
	var out []Part
	for _, r := range ranges {
		out = append(out, Part{r.From, r.IDs})
	}
	return out
}

func source(s *receipt.Source) *Source {
	kinds := map[receipt.SourceKind]string{receipt.SourceText: "text", receipt.SourceChat: "chat", receipt.SourceIDs: "ids"}
	out := &Source{Kind: kinds[s.Kind], Text: string(s.Text), Tools: s.Tools, Date: s.Date}
	for _, m := range s.Messages {
		to := Message{Role: m.Role, Content: m.Content, Name: m.Name, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID}
		for _, c := range m.ToolCalls {
			to.ToolCalls = append(to.ToolCalls, Call(c))
		}
		out.Messages = append(out.Messages, to)
	}
	for name, v := range s.Variables {
		if out.Variables == nil {
			out.Variables = map[string]json.RawMessage{}
		}
		out.Variables[name] = rawJSON(v)
	}
	return out
}

// rawJSON is a JSON text as such, or, if it is none, in a string.
func rawJSON(s string) json.RawMessage {
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic("exhibit: internal error: " + err.Error()) // strings can be encoded
	}
	return b
}
