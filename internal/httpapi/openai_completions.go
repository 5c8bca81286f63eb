package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/receipt"
)

// defaultCompletionTokens is OpenAI's limit for a completion that sets none.
const defaultCompletionTokens = 16

// job converts the request, without its prompts.
func (r *completionRequest) job() (*job, error) {
	if err := r.refused.check(); err != nil {
		return nil, err
	}
	j := &job{topLogp: -1, usageLast: r.StreamOptions != nil && r.StreamOptions.IncludeUsage}
	if err := r.sampling.apply(j); err != nil {
		return nil, err
	}
	if r.MaxTokens == nil {
		j.request.MaxTokens = defaultCompletionTokens
	}
	if r.Logprobs != nil {
		if j.topLogp = *r.Logprobs; j.topLogp < 0 || j.topLogp > maxTopLogp {
			return nil, badRequest("logprobs", "logprobs is %d, want 0 to %d", j.topLogp, maxTopLogp)
		}
		j.request.Logprobs = j.topLogp + 1
	}
	if err := r.Receipt.apply(j); err != nil {
		return nil, err
	}
	switch {
	case len(r.Prompt) == 0:
		return nil, badRequest("prompt", "prompt is missing")
	case len(r.Prompt)*j.choices > maxPrompts:
		return nil, badRequest("prompt", "%d prompts with n = %d make more than %d answers", len(r.Prompt), j.choices, maxPrompts)
	case r.Echo && r.Logprobs != nil:
		return nil, unsupported("echo", "echo together with logprobs is not supported: log probabilities are given for generated tokens only")
	}
	return j, nil
}

// promptTokens returns the tokens of a prompt and checks that they fit.
func (p prompt) promptTokens(m Model, param string) ([]int32, error) {
	ids := p.tokens
	if ids == nil {
		var err error
		if ids, err = m.Tokenize(p.text, true); err != nil {
			return nil, &apiError{
				status: http.StatusBadRequest, kind: "invalid_request_error", code: "invalid_value",
				param: param, message: err.Error(), cause: err,
			}
		}
	}
	info := m.Info()
	for i, id := range ids {
		if id < 0 || info.Vocab > 0 && int(id) >= info.Vocab {
			return nil, badRequest(param, "token %d of %s is %d, but the vocabulary has %d tokens", i, param, id, info.Vocab)
		}
	}
	return ids, checkPrompt(info, ids, param)
}

func (s *Server) handleOpenAICompletions(w http.ResponseWriter, r *http.Request) error {
	var req completionRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	j, err := req.job()
	if err != nil {
		return err
	}
	return s.use(r.Context(), recordOf(r), req.Model, req.KeepAlive.open(0), func(m Model, _ time.Duration) error {
		c := &completionRun{s: s, m: m, job: j, base: s.completionBase(recordOf(r), m)}
		var prompts []given
		for _, p := range req.Prompt {
			ids, err := p.promptTokens(m, "prompt")
			if err != nil {
				return err
			}
			echo := ""
			if req.Echo {
				echo = p.echo(m)
			}
			prompts, c.echoes = append(prompts, given{ids, issuer.Prompt{Source: p.source()}}), append(c.echoes, echo)
		}
		if err := checkParams(m.Info(), j.request.Params); err != nil {
			return err
		}
		answers, done, err := s.plan(w, m, req.Model, j, prompts)
		if err != nil {
			return err
		}
		defer done()
		c.answers = answers
		if req.Stream {
			return c.stream(r, s.newStream(w, r, openAI))
		}
		return c.whole(w, r)
	})
}

// source is the prompt for its receipt.
func (p prompt) source() receipt.Source {
	if p.tokens != nil {
		return issuer.IDs()
	}
	return issuer.Text(p.text, true)
}

// echo is the text of a prompt.
func (p prompt) echo(m Model) string {
	if p.tokens == nil {
		return p.text
	}
	var b strings.Builder
	for _, id := range p.tokens {
		b.Write(m.Piece(id))
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

func (s *Server) completionBase(rec *record, m Model) completionResponse {
	return completionResponse{
		ID: "cmpl-" + rec.id, Object: "text_completion", Created: s.cfg.Now().Unix(),
		Model: m.Info().Name, Fingerprint: fingerprint(m.Info()),
	}
}

// completionRun answers one request for completions. Answer i belongs to
// prompt i/n.
type completionRun struct {
	s       *Server
	m       Model
	job     *job
	answers []answer
	echoes  []string // of the prompts
	base    completionResponse
	mu      sync.Mutex // guards the stream and used
	used    usage
}

// answer generates answer i and hands out its pieces, the echo first.
func (c *completionRun) answer(ctx context.Context, i int, on func(text string, lp *completionLogprobs) error) (finish string, err error) {
	a := &c.answers[i]
	p, choice := i/c.job.choices, i%c.job.choices
	if c.echoes[p] != "" {
		if err := on(c.echoes[p], nil); err != nil {
			return "", err
		}
	}
	offset := utf8.RuneCountInString(c.echoes[p])
	res, t, err := c.s.generate(ctx, c.m, a.request, func(e engine.Event) error {
		var lp *completionLogprobs
		if c.job.topLogp >= 0 && e.Token >= 0 {
			lp = completionLogprob(convertLogprob(c.m.Piece, e, c.job.topLogp), offset)
		}
		offset += utf8.RuneCountInString(e.Text)
		if e.Text == "" && lp == nil {
			return nil
		}
		return on(e.Text, lp)
	})
	c.mu.Lock()
	c.used.add(t, choice == 0)
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	c.s.finishReceipt(a, res)
	return finishReason(res.Stop, false), nil
}

func completionLogprob(t tokenLogprob, offset int) *completionLogprobs {
	return &completionLogprobs{
		Tokens: []string{t.Token}, TokenLogprobs: []float64{t.Logprob},
		TopLogprobs: []topLogprobs{t.Top}, TextOffset: []int{offset},
	}
}

func (l *completionLogprobs) append(m *completionLogprobs) {
	l.Tokens = append(l.Tokens, m.Tokens...)
	l.TokenLogprobs = append(l.TokenLogprobs, m.TokenLogprobs...)
	l.TopLogprobs = append(l.TopLogprobs, m.TopLogprobs...)
	l.TextOffset = append(l.TextOffset, m.TextOffset...)
}

// whole answers in one piece.
func (c *completionRun) whole(w http.ResponseWriter, r *http.Request) error {
	defer func() { c.used.record(recordOf(r)) }()
	choices := make([]completionChoice, len(c.answers))
	err := each(r.Context(), len(choices), func(ctx context.Context, i int) error {
		var text strings.Builder
		var all *completionLogprobs
		if c.job.topLogp >= 0 {
			all = &completionLogprobs{Tokens: []string{}, TokenLogprobs: []float64{}, TopLogprobs: []topLogprobs{}, TextOffset: []int{}}
		}
		finish, err := c.answer(ctx, i, func(s string, lp *completionLogprobs) error {
			text.WriteString(s)
			if lp != nil {
				all.append(lp)
			}
			return nil
		})
		choices[i] = completionChoice{Text: text.String(), Index: i, Logprobs: all, FinishReason: &finish}
		return err
	})
	if err != nil {
		return err
	}
	out := c.base
	out.Choices, out.Usage = choices, &c.used
	c.s.writeJSON(w, http.StatusOK, out)
	return nil
}

// stream answers piece by piece.
func (c *completionRun) stream(r *http.Request, st *stream) error {
	defer func() { c.used.record(recordOf(r)) }()
	err := each(r.Context(), len(c.answers), func(ctx context.Context, i int) error {
		send := func(text string, lp *completionLogprobs, finish *string) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			out := c.base
			out.Choices = []completionChoice{{Text: text, Index: i, Logprobs: lp, FinishReason: finish}}
			return st.send(out)
		}
		finish, err := c.answer(ctx, i, func(text string, lp *completionLogprobs) error { return send(text, lp, nil) })
		if err != nil {
			return err
		}
		return send("", nil, &finish)
	})
	if err != nil {
		return err
	}
	if c.job.usageLast {
		last := c.base
		last.Choices, last.Usage = []completionChoice{}, &c.used
		if err := st.send(last); err != nil {
			return err
		}
	}
	return st.done()
}
