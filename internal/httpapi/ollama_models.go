package httpapi

import (
	"context"
	"net/http"
	"time"
)

// never is when a model expires that stays loaded for ever, for clients that
// want a date.
var never = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *Server) handleOllamaTags(w http.ResponseWriter, r *http.Request) error {
	models, err := s.cfg.Backend.Models(r.Context())
	if err != nil {
		return err
	}
	out := ollamaTags{Models: make([]ollamaModel, len(models))}
	for i, m := range models {
		out.Models[i] = ollamaModel{
			Name: m.Name, Model: m.Name, ModifiedAt: m.Modified.UTC(), Size: m.Size, Digest: m.Digest, Details: convertDetails(m),
		}
	}
	s.writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) handleOllamaPS(w http.ResponseWriter, r *http.Request) error {
	models, err := s.cfg.Backend.Loaded(r.Context())
	if err != nil {
		return err
	}
	out := ollamaPS{Models: make([]ollamaLoaded, len(models))}
	for i, m := range models {
		l := ollamaLoaded{
			Name: m.Name, Model: m.Name, Size: m.Memory, Digest: m.Digest, Details: convertDetails(m.ModelInfo),
			ExpiresAt: m.Expires.UTC(), ContextLength: m.Context,
		}
		if m.Expires.IsZero() {
			l.ExpiresAt = never
		}
		out.Models[i] = l
	}
	s.writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) handleOllamaShow(w http.ResponseWriter, r *http.Request) error {
	var req ollamaName
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	if err := checkName(req.name()); err != nil {
		return err
	}
	d, err := s.cfg.Backend.Describe(r.Context(), req.name())
	if err != nil {
		return err
	}
	out := ollamaShow{
		License: d.License, Modelfile: "FROM " + d.Name + "\n", Template: d.Template, System: d.System,
		Details: convertDetails(d.ModelInfo), ModelInfo: d.Metadata, Capabilities: d.Capabilities, ModifiedAt: d.Modified.UTC(),
	}
	if out.Capabilities == nil {
		out.Capabilities = []string{"completion"}
	}
	s.writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) handleOllamaVersion(w http.ResponseWriter, _ *http.Request) error {
	s.writeJSON(w, http.StatusOK, struct {
		Version string `json:"version"`
	}{s.cfg.Version})
	return nil
}

func (s *Server) handleOllamaDelete(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Deleter == nil {
		return notImplemented("this server does not delete models")
	}
	var req ollamaName
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	if err := checkName(req.name()); err != nil {
		return err
	}
	recordOf(r).model = req.name()
	if err := s.cfg.Deleter.Delete(r.Context(), req.name()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) handleOllamaPull(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Puller == nil {
		return notImplemented("this server does not fetch models")
	}
	var req ollamaName
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	if err := checkName(req.name()); err != nil {
		return err
	}
	rec := recordOf(r)
	rec.model = req.name()
	leave, err := s.pulls.enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	if !or(req.Stream, true) {
		if err := s.pull(r.Context(), req.name(), func(ollamaPullStatus) error { return nil }); err != nil {
			return err
		}
		s.writeJSON(w, http.StatusOK, ollamaPullStatus{Status: "success"})
		return nil
	}
	st := s.newStream(w, r, ollama)
	if err := s.pull(r.Context(), req.name(), func(p ollamaPullStatus) error { return st.send(p) }); err != nil {
		return err
	}
	return st.send(ollamaPullStatus{Status: "success"})
}

func (s *Server) pull(ctx context.Context, name string, on func(ollamaPullStatus) error) error {
	err := s.cfg.Puller.Pull(ctx, name, func(p PullStatus) error { return on(ollamaPullStatus(p)) })
	if err != nil && toAPIError(err).status == http.StatusInternalServerError {
		// Most often the other server's fault or the network's, so it is told whole.
		return &apiError{status: http.StatusInternalServerError, kind: "server_error", code: "pull_failed", message: err.Error(), cause: err}
	}
	return err
}

// handleOllamaUnsupported answers for what Ollama's registry and Modelfiles
// need.
func (s *Server) handleOllamaUnsupported(_ http.ResponseWriter, r *http.Request) error {
	return notImplemented("%s is not supported by this server", r.URL.Path)
}

// handleOllamaEmbed refuses texts that do not fit unless the client itself
// asks for truncation. (Ollama cuts them by default.)
func (s *Server) handleOllamaEmbed(w http.ResponseWriter, r *http.Request) error {
	start := s.cfg.Now()
	var req ollamaEmbedRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	rec := recordOf(r)
	return s.use(r.Context(), rec, req.Model, req.KeepAlive.open(or(req.Options.NumCtx, 0)), func(m Model, load time.Duration) error {
		if req.Truncate {
			if err := truncate(m, req.Input); err != nil {
				return err
			}
		}
		vectors, tokens, err := s.embed(r.Context(), m, req.Input, "input", req.Dimensions)
		if err != nil {
			return err
		}
		rec.prompt = tokens
		s.writeJSON(w, http.StatusOK, ollamaEmbedResponse{
			Model: m.Info().Name, Embeddings: vectors, TotalDuration: s.cfg.Now().Sub(start), LoadDuration: load, PromptEvalCount: tokens,
		})
		return nil
	})
}

// truncate replaces texts that do not fit by their first tokens.
func truncate(m Model, texts promptList) error {
	limit := m.Info().Context - 1
	for i, p := range texts {
		if p.tokens != nil || limit < 1 {
			continue
		}
		ids, err := m.Tokenize(p.text, true)
		if err != nil {
			return badRequest("input", "%v", err)
		}
		if len(ids) > limit {
			texts[i].tokens = ids[:limit]
		}
	}
	return nil
}

// handleOllamaEmbeddings is the older form of handleOllamaEmbed.
func (s *Server) handleOllamaEmbeddings(w http.ResponseWriter, r *http.Request) error {
	var req ollamaEmbeddingRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	rec := recordOf(r)
	return s.use(r.Context(), rec, req.Model, req.KeepAlive.open(or(req.Options.NumCtx, 0)), func(m Model, _ time.Duration) error {
		out := ollamaEmbeddingResponse{Embedding: []float32{}}
		if req.Prompt != "" { // without one, the client wants the model loaded
			vectors, tokens, err := s.embed(r.Context(), m, promptList{{text: req.Prompt}}, "prompt", nil)
			if err != nil {
				return err
			}
			rec.prompt = tokens
			out.Embedding = vectors[0]
		}
		s.writeJSON(w, http.StatusOK, out)
		return nil
	})
}
