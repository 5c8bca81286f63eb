package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
)

func (s *Server) handleOllamaChat(w http.ResponseWriter, r *http.Request) error {
	start := s.cfg.Now()
	var req ollamaChatRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	j, err := req.job()
	if err != nil {
		return err
	}
	run := &ollamaRun{s: s, job: j, chat: true, start: start, onlyLoad: len(req.Messages) == 0}
	return run.answer(w, r, &req.ollamaCommon, func(m Model) (given, error) { return s.prepare(m, j) })
}

func (s *Server) handleOllamaGenerate(w http.ResponseWriter, r *http.Request) error {
	start := s.cfg.Now()
	var req ollamaGenerateRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	j, err := req.job()
	if err != nil {
		return err
	}
	run := &ollamaRun{s: s, job: j, start: start, onlyLoad: req.Prompt == ""}
	return run.answer(w, r, &req.ollamaCommon, func(m Model) (given, error) {
		if !req.Raw {
			return s.prepare(m, j)
		}
		p := prompt{text: req.Prompt}
		ids, err := p.promptTokens(m, "prompt")
		if err != nil {
			return given{}, err
		}
		return given{ids, issuer.Prompt{Source: p.source()}}, checkParams(m.Info(), j.request.Params)
	})
}

// ollamaRun answers one request for chat or generate.
type ollamaRun struct {
	s        *Server
	m        Model
	job      *job
	one      *answer
	chat     bool
	onlyLoad bool // there is no prompt: the client wants the model loaded, or unloaded
	start    time.Time
	load     time.Duration
}

func (o *ollamaRun) answer(w http.ResponseWriter, r *http.Request, req *ollamaCommon, prepare func(Model) (given, error)) error {
	rec := recordOf(r)
	if o.onlyLoad && req.KeepAlive != nil && *req.KeepAlive == 0 {
		if loaded, err := o.s.isLoaded(r.Context(), req.Model); err != nil {
			return err
		} else if !loaded { // do not load it to unload it
			o.s.writeJSON(w, http.StatusOK, o.loadOrUnload(req.Model, "unload"))
			return nil
		}
	}
	return o.s.use(r.Context(), rec, req.Model, req.KeepAlive.open(or(req.Options.NumCtx, 0)), func(m Model, load time.Duration) error {
		o.m, o.load = m, load
		streamed := or(req.Stream, true)
		if o.onlyLoad {
			reason := "load"
			if req.KeepAlive != nil && *req.KeepAlive == 0 {
				reason = "unload"
			}
			o.s.writeJSON(w, http.StatusOK, o.loadOrUnload(m.Info().Name, reason))
			return nil
		}
		p, err := prepare(m)
		if err != nil {
			return err
		}
		answers, done, err := o.s.plan(w, m, req.Model, o.job, []given{p})
		if err != nil {
			return err
		}
		defer done()
		o.one = &answers[0]
		if streamed {
			return o.stream(r.Context(), rec, o.s.newStream(w, r, ollama))
		}
		return o.whole(r.Context(), rec, w)
	})
}

// isLoaded reports whether a model, which must exist, is in memory.
func (s *Server) isLoaded(ctx context.Context, name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	d, err := s.cfg.Backend.Describe(ctx, name)
	if err != nil {
		return false, err
	}
	loaded, err := s.cfg.Backend.Loaded(ctx)
	return slices.ContainsFunc(loaded, func(m LoadedModel) bool { return m.Name == d.Name }), err
}

// loadOrUnload is the answer to a request without a prompt.
func (o *ollamaRun) loadOrUnload(name, reason string) ollamaResponse {
	out := o.named(name, "", "", nil)
	out.Done, out.DoneReason = true, reason
	return out
}

// piece is a part of an answer.
func (o *ollamaRun) piece(thinking, content string, lp []tokenLogprob) ollamaResponse {
	return o.named(o.m.Info().Name, thinking, content, lp)
}

func (o *ollamaRun) named(model, thinking, content string, lp []tokenLogprob) ollamaResponse {
	out := ollamaResponse{Model: model, CreatedAt: o.s.cfg.Now().UTC(), Logprobs: lp}
	if o.chat {
		out.Message = &ollamaMessage{Role: "assistant", Content: content, Thinking: thinking}
	} else {
		out.Response, out.Thinking = &content, thinking
	}
	return out
}

// generate hands out the pieces of the answer and returns what comes with the
// last one.
func (o *ollamaRun) generate(ctx context.Context, rec *record, on func(thinking, content string, calls []chat.ToolCall, lp []tokenLogprob) error) (string, *ollamaStats, error) {
	reply := newReply(o.job.tools, false, endsInThought(o.m, o.one.request.Prompt))
	if len(o.job.render.Messages) == 0 {
		reply.state = replyContent // a raw prompt gets its answer raw
	}
	res, t, err := o.s.generate(ctx, o.m, o.one.request, func(e engine.Event) error {
		var lp []tokenLogprob
		if o.job.topLogp >= 0 && e.Token >= 0 {
			lp = []tokenLogprob{convertLogprob(o.m.Piece, e, o.job.topLogp)}
		}
		thinking, content := reply.add(e.Text)
		if thinking == "" && content == "" && lp == nil {
			return nil
		}
		return on(thinking, content, nil, lp)
	})
	rec.prompt, rec.output = t.promptTokens, t.outputTokens
	if err != nil {
		return "", nil, err
	}
	o.s.finishReceipt(o.one, res)
	thinking, content, calls := reply.end()
	if len(calls) > 0 && strings.TrimSpace(content) == "" {
		content = ""
	}
	if thinking != "" || content != "" || len(calls) > 0 {
		if err := on(thinking, content, calls, nil); err != nil {
			return "", nil, err
		}
	}
	return doneReason(res.Stop), &ollamaStats{
		TotalDuration: o.s.cfg.Now().Sub(o.start), LoadDuration: o.load,
		PromptEvalCount: t.promptTokens, PromptEvalDuration: t.prompt,
		EvalCount: t.outputTokens, EvalDuration: t.generate,
	}, nil
}

func (o *ollamaRun) stream(ctx context.Context, rec *record, st *stream) error {
	reason, stats, err := o.generate(ctx, rec, func(thinking, content string, calls []chat.ToolCall, lp []tokenLogprob) error {
		p := o.piece(thinking, content, lp)
		if len(calls) > 0 {
			p.Message.ToolCalls = ollamaCalls(calls)
		}
		return st.send(p)
	})
	if err != nil {
		return err
	}
	end := o.piece("", "", nil)
	end.Done, end.DoneReason, end.ollamaStats = true, reason, stats
	return st.send(end)
}

func (o *ollamaRun) whole(ctx context.Context, rec *record, w http.ResponseWriter) error {
	var (
		thinking, content strings.Builder
		calls             []chat.ToolCall
		logprobs          []tokenLogprob
	)
	reason, stats, err := o.generate(ctx, rec, func(th, co string, ca []chat.ToolCall, lp []tokenLogprob) error {
		thinking.WriteString(th)
		content.WriteString(co)
		calls, logprobs = append(calls, ca...), append(logprobs, lp...)
		return nil
	})
	if err != nil {
		return err
	}
	out := o.piece(thinking.String(), content.String(), logprobs)
	if len(calls) > 0 {
		out.Message.ToolCalls = ollamaCalls(calls)
		out.Message.Content = strings.TrimSpace(out.Message.Content)
	}
	out.Done, out.DoneReason, out.ollamaStats = true, reason, stats
	o.s.writeJSON(w, http.StatusOK, out)
	return nil
}
