package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// policy forbids the pages everything but their own style sheet, script, pictures
// and server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers are those of every answer.
var headers = map[string]string{
	"Content-Security-Policy":      policy,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
	"Cache-Control":                "no-store",
}

// Limits of one request.
const (
	maxBody       = 1 << 20  // bytes
	maxUpload     = 48 << 20 // of a receipt with its proof
	bodyTime      = 30 * time.Second
	writeTime     = 30 * time.Second // of one piece
	maxHeader     = 16 << 10
	headerTime    = 10 * time.Second
	idleTime      = 2 * time.Minute
	closeTime     = 3 * time.Second
	maxAtATime    = 64 // requests
	csrfField     = "csrf"
	csrfHeader    = "Aval-Csrf"
	formMediaType = "application/x-www-form-urlencoded"
)

// status remembers what was answered, for the log.
type status struct {
	http.ResponseWriter
	code int
}

func (w *status) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *status) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *status) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// outer is what happens to every request before its page.
func (s *Server) outer(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusForbidden, "refuse.foreign")
	}))
	inner := foreign.Handler(next)
	places := make(chan struct{}, maxAtATime)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		begin := s.cfg.Now()
		w := &status{ResponseWriter: rw}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				s.cfg.Log.Error("panic in a page of the console", "route", r.Pattern, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
				if w.code == 0 {
					http.Error(w, "internal error", http.StatusInternalServerError)
				}
			}
			// Neither the path nor the query: both may say what was asked.
			s.cfg.Log.Debug("console", "method", r.Method, "route", r.Pattern, "status", w.code, "took", s.cfg.Now().Sub(begin))
		}()
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "too many requests at a time", http.StatusServiceUnavailable)
			return
		}
		if !s.named(r) {
			s.refuse(w, r, http.StatusMisdirectedRequest, "refuse.host")
			return
		}
		limitBody(w, r)
		inner.ServeHTTP(w, r)
	})
}

// limitBody bounds a request's size and the time in which it must come.
func limitBody(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(writeTime)) // pages that take longer set their own
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime))
	most := int64(maxBody)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		most = maxUpload
	}
	r.Body = &body{http.MaxBytesReader(w, r.Body, most), rc}
}

// body lifts the deadline when everything was read: while an answer is written, it
// would look like a browser that left.
type body struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// named says whether a request calls the server by a name of its own: a page whose
// name resolves to this machine sends that one (DNS rebinding).
func (s *Server) named(r *http.Request) bool {
	name, port := r.Host, ""
	if h, p, err := net.SplitHostPort(r.Host); err == nil {
		name, port = h, p
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if slices.Contains(s.cfg.Hosts, name) {
		return true
	}
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !samePort(addr, port) {
		return false
	}
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

func samePort(addr net.Addr, port string) bool {
	_, own, err := net.SplitHostPort(addr.String())
	return err != nil || own == port || own == "80" && port == ""
}

type sessionKey struct{}

// inside lets those in who were let in before, and takes forms of this session
// only.
func (s *Server) inside(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.sessionOf(r)
		if !ok {
			s.refuse(w, r, http.StatusUnauthorized, "refuse.session")
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !s.ownForm(w, r, who) {
			return
		}
		next(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, who)))
	}
}

// ownForm says whether a form is of a page that this session was given.
func (s *Server) ownForm(w http.ResponseWriter, r *http.Request, who session) bool {
	given := r.Header.Get(csrfHeader)
	if given == "" {
		// Reading the form reads the body, within its bounds. (Of a form without files
		// ParseMultipartForm tells no error.)
		err := r.ParseForm()
		if err == nil {
			err = r.ParseMultipartForm(1 << 20)
		}
		if err != nil && err != http.ErrNotMultipart {
			s.refuse(w, r, http.StatusRequestEntityTooLarge, "refuse.body")
			return false
		}
		given = r.PostFormValue(csrfField)
	}
	if !same(given, s.cfg.Token.csrf(who)) {
		s.refuse(w, r, http.StatusForbidden, "refuse.form")
		return false
	}
	return true
}

func sessionIn(r *http.Request) (session, bool) {
	who, ok := r.Context().Value(sessionKey{}).(session)
	return who, ok
}
