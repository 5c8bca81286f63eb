package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 10 * time.Second
)

// Server answers HTTP requests. Make one with New.
type Server struct {
	cfg     Config
	gate    *gate // of requests that compute
	pulls   *gate
	audits  *gate
	metrics *counters
	shelf   *shelf // of receipts
	handler http.Handler
	closing atomic.Bool
	// stop ends when running requests must end too.
	stop       context.Context
	cancelStop context.CancelFunc
}

// New checks the configuration and returns a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg.withDefaults()}
	s.gate = newGate(s.cfg.MaxConcurrent, s.cfg.MaxQueue)
	s.pulls = newGate(maxPulls, maxPulls)
	s.audits = newGate(1, maxAudits)
	s.metrics = newCounters(s.gate)
	s.shelf = newShelf(s.cfg.MaxReceipts, s.cfg.MaxReceiptBytes)
	s.stop, s.cancelStop = context.WithCancel(context.Background())
	s.handler = s.outer(s.routes())
	return s, nil
}

// Handler returns the whole server as a handler, for use without Serve.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers requests on the listener until ctx ends, then lets running
// requests finish for Config.DrainTimeout and cancels those that remain. It
// closes the listener. A server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		// Bodies and writes get their deadlines one by one, since an answer
		// may take minutes while each of its pieces must not.
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("httpapi: serve: %w", err)
	case <-ctx.Done():
	}
	s.closing.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	err := srv.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		s.cfg.Log.Warn("cancelling the requests that still run", "after", s.cfg.DrainTimeout)
		s.cancelStop()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		err = srv.Shutdown(last)
	}
	s.cancelStop()
	return errors.Join(err, srv.Close())
}

// lastWords is how long cancelled requests have to tell their clients so.
const lastWords = 2 * time.Second

// route is one endpoint.
type route struct {
	pattern string
	dialect dialect
	handle  func(w http.ResponseWriter, r *http.Request) error
}

// table lists the endpoints.
func (s *Server) table() []route {
	return []route{
		{"GET /{$}", ollama, s.handleRoot},
		{"GET /health", openAI, s.handleHealth},
		{"GET /metrics", openAI, s.handleMetrics},

		{"POST /v1/chat/completions", openAI, s.handleOpenAIChat},
		{"POST /v1/completions", openAI, s.handleOpenAICompletions},
		{"POST /v1/embeddings", openAI, s.handleOpenAIEmbeddings},
		{"GET /v1/models", openAI, s.handleOpenAIModels},
		{"GET /v1/models/{id...}", openAI, s.handleOpenAIModel},

		{"GET /v1/receipts/{id}", openAI, s.handleReceipt},
		{"POST /v1/receipts/{id}/audit", openAI, s.handleReceiptAudit},

		{"POST /api/chat", ollama, s.handleOllamaChat},
		{"POST /api/generate", ollama, s.handleOllamaGenerate},
		{"POST /api/embed", ollama, s.handleOllamaEmbed},
		{"POST /api/embeddings", ollama, s.handleOllamaEmbeddings},
		{"GET /api/tags", ollama, s.handleOllamaTags},
		{"GET /api/ps", ollama, s.handleOllamaPS},
		{"POST /api/show", ollama, s.handleOllamaShow},
		{"POST /api/pull", ollama, s.handleOllamaPull},
		{"DELETE /api/delete", ollama, s.handleOllamaDelete},
		{"GET /api/version", ollama, s.handleOllamaVersion},
		{"POST /api/create", ollama, s.handleOllamaUnsupported},
		{"POST /api/copy", ollama, s.handleOllamaUnsupported},
		{"POST /api/push", ollama, s.handleOllamaUnsupported},
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.table() {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
			recordOf(r).route = rt.pattern
			s.run(w, r, rt)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		recordOf(r).route = "unknown"
		s.fail(w, r, dialectOf(r), s.noRoute(mux, w, r))
	})
	return mux
}

// noRoute tells a wrong method from a wrong path.
func (s *Server) noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) error {
	allowed := ""
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
			allowed += ", " + method
		}
	}
	if allowed == "" {
		return &apiError{
			status: http.StatusNotFound, kind: "invalid_request_error", code: "unknown_url",
			message: fmt.Sprintf("no endpoint %s %s", r.Method, r.URL.Path),
		}
	}
	w.Header().Set("Allow", allowed[2:])
	return &apiError{
		status: http.StatusMethodNotAllowed, kind: "invalid_request_error", code: "method_not_allowed",
		message: fmt.Sprintf("%s does not take %s, but %s", r.URL.Path, r.Method, allowed[2:]),
	}
}

// run calls an endpoint under a context that also ends with the server.
func (s *Server) run(w http.ResponseWriter, r *http.Request, rt route) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stop, func() { cancel(errClosing) })()
	r = r.WithContext(ctx)
	if err := rt.handle(w, r); err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errClosing) && errors.Is(err, context.Canceled) {
			err = cause
		}
		s.fail(w, r, rt.dialect, err)
	}
}

// fail answers with an error, if the answer has not begun yet.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, d dialect, err error) {
	e := toAPIError(err)
	rec := recordOf(r)
	rec.err = e
	if e.status == http.StatusInternalServerError {
		s.cfg.Log.Error("internal error", "id", rec.id, "route", rec.route, "err", e.cause)
	}
	if rec.stream != nil && rec.stream.begun {
		rec.stream.fail(e)
		return
	}
	w.Header().Del("Aval-Receipt") // there will be none
	s.writeError(w, d, e)
}

// randomUint64 is the default of Config.Random.
func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
