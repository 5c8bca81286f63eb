package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// record collects what is logged and counted about one request.
type record struct {
	id     string
	route  string
	model  string
	prompt int // tokens
	output int // tokens
	err    *apiError
	stream *stream
}

type recordKey struct{}

// recordOf returns the record of a request that came through outer.
func recordOf(r *http.Request) *record {
	rec, ok := r.Context().Value(recordKey{}).(*record)
	if !ok {
		panic("httpapi: internal error: request without a record")
	}
	return rec
}

// statusWriter remembers the status for the log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// outer is what happens to every request before and after its endpoint.
func (s *Server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := s.cfg.Now()
		rec := &record{id: fmt.Sprintf("%016x", s.cfg.Random()), route: "refused"}
		r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
		w := &statusWriter{ResponseWriter: rw}
		defer func() {
			if v := recover(); v != nil {
				s.recovered(w, r, v)
			}
			s.finish(w, r, rec, s.cfg.Now().Sub(start))
		}()
		s.limitBody(w, r)
		if err := s.admit(w, r); err != nil {
			s.fail(w, r, dialectOf(r), err)
			return
		}
		if r.Method == http.MethodOptions {
			rec.route = "preflight"
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// recovered turns a panic of a handler into a log line and, if nothing was
// sent yet, status 500.
func (s *Server) recovered(w *statusWriter, r *http.Request, v any) {
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.cfg.Log.Error("panic in a handler", "id", recordOf(r).id, "route", recordOf(r).route,
		"panic", panicText(v), "stack", string(debug.Stack()))
	e := &apiError{
		status: http.StatusInternalServerError, kind: "server_error", code: "internal_error",
		message: "internal error; the server's log says more under id " + recordOf(r).id,
	}
	recordOf(r).err = e
	switch st := recordOf(r).stream; {
	case st != nil && st.begun:
		st.fail(e)
	case w.status == 0:
		s.writeError(w, dialectOf(r), e)
	}
}

// panicText describes a panic. A value that is not of a kind which we or the
// runtime make could hold anything, also a prompt.
func panicText(v any) string {
	switch v := v.(type) {
	case runtime.Error:
		return v.Error()
	case string:
		return v
	}
	return fmt.Sprintf("value of type %T", v)
}

// finish counts and logs a request. The line holds no prompt, output or key.
func (s *Server) finish(w *statusWriter, r *http.Request, rec *record, took time.Duration) {
	status := w.status
	if rec.err != nil {
		status = rec.err.status
	}
	s.metrics.request(rec.route, status, took)
	attrs := []any{"id", rec.id, "method", r.Method, "route", rec.route, "status", status, "took", took}
	if rec.model != "" {
		attrs = append(attrs, "model", rec.model, "prompt_tokens", rec.prompt, "output_tokens", rec.output)
	}
	if rec.err != nil {
		attrs = append(attrs, "code", rec.err.code, "param", rec.err.param)
	}
	s.cfg.Log.Info("request", attrs...)
}

// limitBody bounds the size of the request's body and the time to read it.
func (s *Server) limitBody(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	// A previous request on this connection may have left a write deadline.
	// Not every ResponseWriter has deadlines; those without need none.
	_ = rc.SetWriteDeadline(time.Time{})
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout))
	r.Body = &bodyReader{ReadCloser: http.MaxBytesReader(w, r.Body, s.cfg.MaxBodyBytes), rc: rc}
}

// bodyReader lifts the read deadline at the end of the body: while the answer
// is made, a deadline on the connection would look like a client that left.
type bodyReader struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// admit refuses requests that may not reach an endpoint.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) error {
	if s.closing.Load() {
		w.Header().Set("Connection", "close")
		return errClosing
	}
	if err := s.checkHost(r); err != nil {
		return err
	}
	if err := s.checkOrigin(w, r); err != nil {
		return err
	}
	open := r.URL.Path == "/" || r.URL.Path == "/health" || r.Method == http.MethodOptions
	if s.cfg.APIKey != "" && !open && !keyMatches(r.Header.Get("Authorization"), s.cfg.APIKey) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return &apiError{
			status: http.StatusUnauthorized, kind: "authentication_error", code: "invalid_api_key",
			message: "wrong or missing API key; send it as the header Authorization: Bearer KEY",
		}
	}
	return nil
}

// keyMatches compares in a time that tells nothing about the key.
func keyMatches(header, key string) bool {
	scheme, got, _ := strings.Cut(header, " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(got))), sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// checkHost defends a server on a loopback address against DNS rebinding: a
// page whose own name resolves to 127.0.0.1 sends that name as Host.
func (s *Server) checkHost(r *http.Request) error {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if addr == nil {
		return nil
	}
	local, err := netip.ParseAddrPort(addr.String())
	if err != nil || !local.Addr().Unmap().IsLoopback() {
		return nil
	}
	name := hostName(r.Host)
	if isLocalName(name) || slices.Contains(s.cfg.Hosts, name) || slices.Contains(s.cfg.Hosts, "*") {
		return nil
	}
	return &apiError{
		status: http.StatusForbidden, kind: "invalid_request_error", code: "host_not_allowed",
		message: fmt.Sprintf("this server listens on a loopback address and does not answer to the name %q; "+
			"use localhost or an IP address, or allow the name in the server's settings", name),
	}
}

// hostName returns the lower-case name of "name:port".
func hostName(hostport string) string {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

// isLocalName reports whether a Host cannot be a foreign DNS name: an IP
// address, or localhost (RFC 6761 §6.3), or none (HTTP/1.0).
func isLocalName(name string) bool {
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// checkOrigin refuses calls from foreign web pages and answers CORS for the
// others. Requests of programs carry no Origin.
func (s *Server) checkOrigin(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if !s.originAllowed(origin, r.Host) {
		return &apiError{
			status: http.StatusForbidden, kind: "invalid_request_error", code: "origin_not_allowed",
			message: fmt.Sprintf("web pages of %q may not call this server; allow the origin in the server's settings", origin),
		}
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Aval-Receipt, Aval-Seed, Retry-After")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Max-Age", "600")
		if want := r.Header.Get("Access-Control-Request-Headers"); want != "" {
			h.Set("Access-Control-Allow-Headers", want)
		}
	}
	return nil
}

func (s *Server) originAllowed(origin, host string) bool {
	if slices.Contains(s.cfg.Origins, "*") || slices.Contains(s.cfg.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, host) {
		return true // same origin; the host was checked before
	}
	name := hostName(u.Host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// dialectOf says how to phrase an error before the endpoint is known.
func dialectOf(r *http.Request) dialect {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		return ollama
	}
	return openAI
}
