package dataset

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/internal/train"
)

// JSONLOptions say how lines of JSON become examples.
type JSONLOptions struct {
	TextOptions
	// Template renders conversations, and pairs of a prompt and its response,
	// as the model reads them when it is used. Without it, conversations are
	// refused, and of a pair the response follows the prompt at once.
	Template *chat.Template
}

// row is a line. Other keys than these are left alone.
type row struct {
	text, prompt, response *string
	messages               []chat.Message
}

// ReadJSONL reads files with one JSON object to a line, of one of the forms
//
//	{"text": "..."}                           all of it is learned, cut as by [ReadText]
//	{"prompt": "...", "response": "..."}      the response is learned
//	{"messages": [{"role": "...", "content": "..."}, ...]}
//
// Of messages the assistant's are learned, each as the model is to give it after
// what stands before, with the token that ends its turn. Where a template writes
// earlier turns otherwise than the last one, only the last answer is learned.
// Empty lines are skipped.
func ReadJSONL(ctx context.Context, paths []string, o JSONLOptions) (*Set, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Set{}
	for _, path := range paths {
		err := eachLine(ctx, path, func(no int, line []byte) error {
			if len(bytes.TrimSpace(line)) == 0 {
				return nil
			}
			if err := s.addLine(ctx, line, &o); err != nil {
				return &FileError{path, no, err}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// eachLine calls do with each line of a file, numbered from 1.
func eachLine(ctx context.Context, path string, do func(no int, line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, MaxFile+1))
	lines.Buffer(make([]byte, 1<<16), MaxLine)
	no, size := 0, int64(0)
	for lines.Scan() {
		no++
		if size += int64(len(lines.Bytes())) + 1; size > MaxFile {
			return fileErrorf(path, no, "the file has more than %d bytes; split it", MaxFile)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		line := lines.Bytes()
		if no == 1 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		if err := do(no, line); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fileErrorf(path, no+1, "the line has more than %d bytes; cut it into several", MaxLine)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (s *Set) addLine(ctx context.Context, line []byte, o *JSONLOptions) error {
	r, err := parseRow(line)
	if err != nil {
		return err
	}
	switch {
	case r.text != nil:
		if strings.TrimSpace(*r.text) == "" {
			s.Dropped++
			return nil
		}
		ids, err := o.encode(ctx, *r.text)
		if err != nil {
			return err
		}
		return s.addWindows(ids, &o.TextOptions)
	case r.prompt != nil && o.Template == nil:
		return s.addPair(*r.prompt, *r.response, o)
	case r.prompt != nil:
		r.messages = []chat.Message{{Role: "user", Content: *r.prompt}, {Role: "assistant", Content: *r.response}}
	}
	return s.addConversation(r.messages, o)
}

// parseRow reads a line and says what is wrong with it.
func parseRow(line []byte) (row, error) {
	var (
		r      row
		fields map[string]json.RawMessage
	)
	if !utf8.Valid(line) {
		return r, errors.New("not UTF-8; convert the file")
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		return r, fmt.Errorf("not a JSON object: %w", err)
	}
	var forms []string
	for _, f := range []struct {
		name string
		to   any
	}{{"text", &r.text}, {"prompt", &r.prompt}, {"response", &r.response}, {"messages", &r.messages}} {
		raw, ok := fields[f.name]
		if !ok {
			continue
		}
		forms = append(forms, f.name)
		var err error
		if f.name == "messages" {
			r.messages, err = parseMessages(raw)
		} else {
			err = json.Unmarshal(raw, f.to)
			if err == nil && bytes.Equal(raw, []byte("null")) {
				err = errors.New("null")
			}
		}
		if err != nil {
			return r, fmt.Errorf("%q: %w", f.name, err)
		}
	}
	switch form := strings.Join(forms, " "); form {
	case "text", "prompt response", "messages":
		return r, nil
	case "":
		return r, fmt.Errorf(`want "text", or "prompt" and "response", or "messages"; the keys are %q`, slices.Sorted(maps.Keys(fields)))
	default:
		return r, fmt.Errorf(`want "text", or "prompt" and "response", or "messages", and only one of these forms; there is %q among the keys %q`, forms, slices.Sorted(maps.Keys(fields)))
	}
}

// message is a message as the OpenAI API writes it.
type message struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	Name      string          `json:"name"`
	Reasoning string          `json:"reasoning_content"`
	ToolCalls []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string          `json:"name"`
			Arguments json.RawMessage `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	ToolCallID string `json:"tool_call_id"`
}

func parseMessages(raw json.RawMessage) ([]chat.Message, error) {
	var list []message
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > MaxMessages {
		return nil, fmt.Errorf("%d messages, want 1 to %d", len(list), MaxMessages)
	}
	var out []chat.Message
	answers := 0
	for i, m := range list {
		c := chat.Message{Role: m.Role, Name: m.Name, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID}
		for _, t := range m.ToolCalls {
			c.ToolCalls = append(c.ToolCalls, chat.ToolCall{ID: t.ID, Name: t.Function.Name, Arguments: t.Function.Arguments})
		}
		if m.Role == "" {
			return nil, fmt.Errorf("message %d has no role", i+1)
		}
		var err error
		if c.Content, err = contentText(m.Content); err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		if m.Role == "assistant" {
			answers++
		}
		out = append(out, c)
	}
	if answers == 0 {
		return nil, errors.New(`no message has the role "assistant", so there is nothing to learn`)
	}
	return out, nil
}

// contentText reads a content: a text, none, or a list of parts that are text.
func contentText(raw json.RawMessage) (string, error) {
	var text string
	if len(raw) == 0 || json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return "", errors.New("the content is not text")
	}
	for _, p := range parts {
		if p.Type != "text" {
			return "", fmt.Errorf("a part of the content is %q; only text can be learned", p.Type)
		}
		text += p.Text
	}
	return text, nil
}

// addPair adds a response that follows its prompt at once, and ends.
func (s *Set) addPair(prompt, response string, o *JSONLOptions) error {
	tok := o.Tokenizer
	before, err := tok.Encode(prompt, token.EncodeOptions{AddSpecial: true})
	if err != nil {
		return err
	}
	if n := len(before); n > 0 && tok.AddsEOS() && before[n-1] == tok.EOS() {
		before = before[:n-1]
	}
	ids, err := tok.Encode(prompt+response, token.EncodeOptions{AddSpecial: true})
	if err != nil {
		return err
	}
	if n := len(ids); tok.EOS() >= 0 && (n == 0 || !tok.AddsEOS() || ids[n-1] != tok.EOS()) {
		ids = append(ids, tok.EOS())
	}
	return s.addMasked(ids, []span{{common(before, ids), len(ids)}}, o)
}

// span is tokens from..to-1.
type span struct{ from, to int }

// addConversation adds a conversation up to its last answer.
func (s *Set) addConversation(messages []chat.Message, o *JSONLOptions) error {
	if o.Template == nil {
		return errors.New("the model has no chat template, so it cannot read messages; give one, or data with \"text\" or \"prompt\"")
	}
	var answers []int
	for i, m := range messages {
		if m.Role == "assistant" {
			answers = append(answers, i)
		}
	}
	last := answers[len(answers)-1]
	all, err := o.render(messages[:last+1], false)
	if err != nil {
		return err
	}
	ids, err := chat.Encode(o.Tokenizer, all)
	if err != nil {
		return err
	}
	var spans []span
	empty := false
	for _, i := range answers {
		prompt, err := o.render(messages[:i], true)
		if err != nil {
			return err
		}
		answer, err := o.render(messages[:i+1], false)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(answer, prompt) || !strings.HasPrefix(all, answer) {
			continue // the template writes this turn otherwise later on
		}
		before, err := chat.Encode(o.Tokenizer, prompt)
		if err != nil {
			return err
		}
		after, err := chat.Encode(o.Tokenizer, answer)
		if err != nil {
			return err
		}
		sp := span{common(before, ids), common(after, ids)}
		sp.to = o.turnEnd(ids, sp)
		if sp.from >= sp.to {
			empty = true
			continue
		}
		if i == last && !o.Tokenizer.EOG(ids[sp.to-1]) && o.Tokenizer.EOS() >= 0 {
			ids = append(ids[:sp.to], o.Tokenizer.EOS())
			sp.to++
		}
		spans = append(spans, sp)
	}
	switch {
	case len(spans) == 0 && empty:
		s.Dropped++
		return nil
	case len(spans) == 0:
		return errors.New("the chat template does not write an answer as what follows its prompt; give another template")
	}
	return s.addMasked(ids, spans, o)
}

func (o *JSONLOptions) render(messages []chat.Message, open bool) (string, error) {
	in := chat.Input{Messages: messages, AddGenerationPrompt: open}
	in.SetTokens(o.Tokenizer)
	return o.Template.Render(in)
}

// turnEnd is the end of a span without what a template writes after the token
// that ends the turn, such as a line end: generation stops before it.
func (o *JSONLOptions) turnEnd(ids []int32, sp span) int {
	for i := sp.to; i > sp.from; i-- {
		if o.Tokenizer.EOG(ids[i-1]) {
			return i
		}
	}
	return sp.to
}

// common is how many tokens two lists begin with alike.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// addMasked adds an example of which the spans are learned, as far as it goes
// into the context. Nothing after the last span is kept.
func (s *Set) addMasked(ids []int32, spans []span, o *JSONLOptions) error {
	ids = ids[:spans[len(spans)-1].to]
	if len(ids) > o.Context+1 {
		ids = ids[:o.Context+1]
		s.Cut++
	}
	if len(ids) < 2 {
		s.Dropped++
		return nil
	}
	mask := make([]bool, len(ids)-1)
	for _, sp := range spans {
		for i := max(sp.from, 1); i < min(sp.to, len(ids)); i++ {
			mask[i-1] = true
		}
	}
	return s.add(train.Example{Tokens: slices.Clone(ids), Mask: mask})
}

// EachText calls do with all text of each line of a JSONL file, as one that is
// to learn a vocabulary wants it: the contents, with line ends between them.
func EachText(ctx context.Context, path string, do func(text []byte) error) error {
	return eachLine(ctx, path, func(no int, line []byte) error {
		if len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
		r, err := parseRow(line)
		if err != nil {
			return &FileError{path, no, err}
		}
		var text []byte
		add := func(s string) {
			if s != "" {
				text = append(append(text, s...), '\n')
			}
		}
		for _, s := range []*string{r.text, r.prompt, r.response} {
			if s != nil {
				add(*s)
			}
		}
		for _, m := range r.messages {
			add(m.Content)
		}
		return do(text)
	})
}
