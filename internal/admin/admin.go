// Package admin shows the operator of a node how it is, over HTTP: /health,
// /metrics in the text format of Prometheus and, if asked for, /debug/pprof.
// [Listen] begins to serve, [Server.Close] ends it. It changes nothing and knows
// no passwords, so it belongs on a loopback address or behind a firewall.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/avalnetwork/aval/internal/metrics"
)

// Config says what is shown.
type Config struct {
	Address string // host and port to listen on; port 0 takes a free one
	Metrics *metrics.Registry
	// Health gives what /health shows, as JSON, and whether all is well; else the
	// status is 503. It must answer at once.
	Health func() (status any, well bool)
	// Profile serves /debug/pprof, which shows the inside of the program.
	Profile bool
	Logger  *slog.Logger // nil: slog.Default()
}

// Limits of a request.
const (
	headerTime = 5 * time.Second
	idleTime   = time.Minute
	writeTime  = 3 * time.Minute // a profile takes a while
	headerSize = 16 << 10
)

// Server is what listens.
type Server struct {
	address net.Addr
	srv     *http.Server
	done    chan error
}

// Listen begins to serve.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("admin: listen on %s: %w", cfg.Address, err)
	}
	s := &Server{address: ln.Addr(), done: make(chan error, 1), srv: &http.Server{
		Handler: handler(cfg), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: headerSize, ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}}
	go func() { s.done <- s.srv.Serve(ln) }()
	return s, nil
}

// Address is where it listens.
func (s *Server) Address() string { return s.address.String() }

// Close ends it, with whatever it is sending.
func (s *Server) Close() error {
	err := s.srv.Close()
	if end := <-s.done; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

func handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		status, well := any(struct {
			Status string `json:"status"`
		}{"ok"}), true
		if cfg.Health != nil {
			status, well = cfg.Health()
		}
		w.Header().Set("Content-Type", "application/json")
		if !well {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(status) // who asked may be gone
	})
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics.Handler())
	}
	if cfg.Profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return onlyHere(mux)
}

// onlyHere answers what comes to a loopback address only if it is asked for by
// such a name: the page of a stranger, opened in the operator's browser, asks
// for its own name, even if that leads here (DNS rebinding).
func onlyHere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if local != nil && loopback(local.String()) && !loopback(r.Host) {
			http.Error(w, "ask for localhost or 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
