package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
)

func (s *Server) handleOpenAIChat(w http.ResponseWriter, r *http.Request) error {
	var req chatRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	j, err := req.job()
	if err != nil {
		return err
	}
	return s.use(r.Context(), recordOf(r), req.Model, req.KeepAlive.open(0), func(m Model, _ time.Duration) error {
		p, err := s.prepare(m, j)
		if err != nil {
			return err
		}
		answers, done, err := s.plan(w, m, req.Model, j, []given{p})
		if err != nil {
			return err
		}
		defer done()
		c := &chatRun{s: s, m: m, job: j, answers: answers, base: s.chatBase(recordOf(r), m)}
		if req.Stream {
			return c.stream(r, s.newStream(w, r, openAI))
		}
		return c.whole(w, r)
	})
}

// prepare renders the prompt and checks that it fits.
func (s *Server) prepare(m Model, j *job) (given, error) {
	in := j.render
	in.AddGenerationPrompt = true
	p := given{prompt: issuer.Prompt{Template: j.template}}
	var err error
	if j.template != nil {
		p.ids, err = m.RenderWith(j.template, in)
	} else {
		p.ids, err = m.Render(in)
	}
	if err != nil {
		return p, &apiError{
			status: http.StatusBadRequest, kind: "invalid_request_error", code: "template_error",
			param: "messages", message: strings.TrimPrefix(err.Error(), engine.ErrRequest.Error()+": "), cause: err,
		}
	}
	if p.prompt.Source, err = issuer.Chat(in); err != nil {
		return p, err
	}
	if err := checkParams(m.Info(), j.request.Params); err != nil {
		return p, err
	}
	return p, checkPrompt(m.Info(), p.ids, "messages")
}

// chatBase fills in what all pieces of an answer share.
func (s *Server) chatBase(rec *record, m Model) chatResponse {
	return chatResponse{
		ID: "chatcmpl-" + rec.id, Created: s.cfg.Now().Unix(), Model: m.Info().Name, Fingerprint: fingerprint(m.Info()),
	}
}

// fingerprint names the file that computes, which with the seed and the
// request determines the answer.
func fingerprint(info ModelInfo) string {
	if info.Digest == "" {
		return ""
	}
	return "aval-" + info.Digest[:min(12, len(info.Digest))]
}

// chatRun answers one request for chat.
type chatRun struct {
	s       *Server
	m       Model
	job     *job
	answers []answer
	base    chatResponse
	mu      sync.Mutex // guards the stream and used
	used    usage
}

// choice generates choice i. It hands out pieces and returns what the last
// one needs.
func (c *chatRun) choice(ctx context.Context, i int, on func(thinking, content string, lp []tokenLogprob) error) (*chatEnd, error) {
	a := &c.answers[i]
	reply := newReply(c.job.tools, c.job.forced, endsInThought(c.m, a.request.Prompt))
	res, t, err := c.s.generate(ctx, c.m, a.request, func(e engine.Event) error {
		var lp []tokenLogprob
		if c.job.topLogp >= 0 && e.Token >= 0 {
			lp = []tokenLogprob{convertLogprob(c.m.Piece, e, c.job.topLogp)}
		}
		thinking, content := reply.add(e.Text)
		if thinking == "" && content == "" && lp == nil {
			return nil
		}
		return on(thinking, content, lp)
	})
	c.count(t)
	if err != nil {
		return nil, err
	}
	c.s.finishReceipt(a, res)
	end := &chatEnd{}
	end.thinking, end.content, end.calls = reply.end()
	if c.job.oneCall && len(end.calls) > 1 {
		end.calls = end.calls[:1]
	}
	end.finish = finishReason(res.Stop, len(end.calls) > 0)
	return end, nil
}

// chatEnd is what is certain only at the end of an answer.
type chatEnd struct {
	thinking, content string
	calls             []chat.ToolCall
	finish            string
}

// endsInThought reports whether a template has opened the model's thoughts.
func endsInThought(m Model, prompt []int32) bool {
	const enough = 8 // tokens that hold the mark and a line break
	var tail []byte
	for _, id := range prompt[max(0, len(prompt)-enough):] {
		tail = append(tail, m.Piece(id)...)
	}
	return strings.HasSuffix(strings.TrimRight(string(tail), " \n"), thinkBegin)
}

// count adds one generation to the usage of the request.
func (c *chatRun) count(t timing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used.add(t, c.used.PromptTokens == 0)
}

// add adds a generation; the prompt counts with the first of its choices.
func (u *usage) add(t timing, first bool) {
	if u.Details == nil {
		u.Details = &usageDetails{}
	}
	if first {
		u.PromptTokens += t.promptTokens
		u.Details.CachedTokens += t.reused
	}
	u.CompletionTokens += t.outputTokens
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
}

func (u *usage) record(rec *record) {
	rec.prompt, rec.output = u.PromptTokens, u.CompletionTokens
}

func (c *chatRun) newCallID() string { return fmt.Sprintf("call_%016x", c.s.cfg.Random()) }

// whole answers in one piece.
func (c *chatRun) whole(w http.ResponseWriter, r *http.Request) error {
	defer func() { c.used.record(recordOf(r)) }()
	choices := make([]chatChoice, c.job.choices)
	err := each(r.Context(), c.job.choices, func(ctx context.Context, i int) error {
		var thinking, content strings.Builder
		var logprobs *chatLogprobs
		if c.job.topLogp >= 0 {
			logprobs = &chatLogprobs{Content: []tokenLogprob{}}
		}
		end, err := c.choice(ctx, i, func(th, co string, lp []tokenLogprob) error {
			thinking.WriteString(th)
			content.WriteString(co)
			if logprobs != nil {
				logprobs.Content = append(logprobs.Content, lp...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		text := content.String() + end.content
		answer := &chatAnswer{
			Role: "assistant", Content: &text, Reasoning: thinking.String() + end.thinking,
			ToolCalls: convertCalls(end.calls, c.newCallID, false),
		}
		if len(end.calls) > 0 {
			if text = strings.TrimSpace(text); text == "" {
				answer.Content = nil
			}
		}
		choices[i] = chatChoice{Index: i, Message: answer, Logprobs: logprobs, FinishReason: &end.finish}
		return nil
	})
	if err != nil {
		return err
	}
	out := c.base
	out.Object, out.Choices, out.Usage = "chat.completion", choices, &c.used
	c.s.writeJSON(w, http.StatusOK, out)
	return nil
}

// stream answers piece by piece.
func (c *chatRun) stream(r *http.Request, st *stream) error {
	defer func() { c.used.record(recordOf(r)) }()
	c.base.Object = "chat.completion.chunk"
	err := each(r.Context(), c.job.choices, func(ctx context.Context, i int) error { return c.streamChoice(ctx, st, i) })
	if err != nil {
		return err
	}
	if c.job.usageLast {
		last := c.base
		last.Choices, last.Usage = []chatChoice{}, &c.used
		if err := st.send(last); err != nil {
			return err
		}
	}
	return st.done()
}

func (c *chatRun) streamChoice(ctx context.Context, st *stream, i int) error {
	begun := false
	send := func(d chatDelta, lp []tokenLogprob, finish *string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !begun {
			begun = true
			empty := ""
			if err := st.send(c.chunk(i, chatDelta{Role: "assistant", Content: &empty}, nil, nil)); err != nil {
				return err
			}
		}
		return st.send(c.chunk(i, d, lp, finish))
	}
	end, err := c.choice(ctx, i, func(thinking, content string, lp []tokenLogprob) error {
		return send(textDelta(thinking, content), lp, nil)
	})
	if err != nil {
		return err
	}
	if end.thinking != "" || (end.content != "" && (len(end.calls) == 0 || strings.TrimSpace(end.content) != "")) {
		if err := send(textDelta(end.thinking, end.content), nil, nil); err != nil {
			return err
		}
	}
	for _, call := range convertCalls(end.calls, c.newCallID, true) {
		if err := send(chatDelta{ToolCalls: []chatToolCall{call}}, nil, nil); err != nil {
			return err
		}
	}
	return send(chatDelta{}, nil, &end.finish)
}

func textDelta(thinking, content string) chatDelta {
	d := chatDelta{Reasoning: thinking}
	if content != "" {
		d.Content = &content
	}
	return d
}

// chunk is one piece of a stream.
func (c *chatRun) chunk(i int, d chatDelta, lp []tokenLogprob, finish *string) chatResponse {
	out := c.base
	choice := chatChoice{Index: i, Delta: &d, FinishReason: finish}
	if lp != nil {
		choice.Logprobs = &chatLogprobs{Content: lp}
	}
	out.Choices = []chatChoice{choice}
	return out
}
