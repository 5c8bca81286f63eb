package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/report"
)

//go:embed static templates
var files embed.FS

// Config is what a console is made of. Token is required; a source that is nil has
// a page that says so.
type Config struct {
	Token Token
	// Hosts are the names, besides those of the loopback interface, by which
	// browsers may call the server.
	Hosts   []string
	Chat    Chat
	Audits  Audits
	Network Network
	Models  Models
	Ledger  Ledger
	Version string
	// TokenFile is where the secret is, to be told.
	TokenFile string
	Log       *slog.Logger     // nil: nothing is logged
	Now       func() time.Time // nil: time.Now
}

// ErrNotThere says that a source has nothing of a name.
var ErrNotThere = errors.New("there is no such thing")

// Server serves the console.
type Server struct {
	cfg     Config
	codes   codes
	kept    kept
	jobs    jobs
	pages   *template.Template
	style   []byte
	handler http.Handler
	running context.Context // ends with Close
	end     context.CancelFunc
	beside  sync.WaitGroup
}

// New makes a console that does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.Token.secret == "" {
		return nil, errors.New("web: Config.Token is missing: OpenToken gives one")
	}
	for _, h := range cfg.Hosts {
		if h == "" || h != strings.ToLower(h) || strings.ContainsAny(h, "/: *") {
			return nil, fmt.Errorf("web: host %q: want a name in lower case, without scheme and port", h)
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, pages: template.Must(template.New("").Funcs(template.FuncMap{"entry": pair}).ParseFS(files, "templates/*.html")), style: styleSheet()}
	s.running, s.end = context.WithCancel(context.Background())
	s.handler = s.outer(s.routes())
	return s, nil
}

// entryPair is what the template of an entry is given.
type entryPair struct {
	Page  *page
	Entry *Entry
}

func pair(p *page, e *Entry) entryPair { return entryPair{p, e} }

// Handler is the whole console.
func (s *Server) Handler() http.Handler { return s.handler }

// Link is a way in for one browser, once, for some minutes; base is the address of
// the server. What is behind the # stays in the browser.
func (s *Server) Link(base string) string {
	return strings.TrimSuffix(base, "/") + "/login#" + url.PathEscape(s.codes.make(s.cfg.Now()))
}

// Serve answers on a listener of the loopback interface until ctx ends.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		s.Close()
		return fmt.Errorf("web: serve: %w", err)
	case <-ctx.Done():
	}
	s.end() // answers that are being written end
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	err := srv.Shutdown(limited)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	s.Close()
	return err
}

// Close ends what runs beside the pages.
func (s *Server) Close() {
	s.end()
	s.beside.Wait()
}

func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /static/{name}": s.static,
		"GET /login":         s.login,
		"POST /login":        s.enter,
		"POST /link":         s.link,
	} {
		m.HandleFunc(pattern, h)
	}
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /{$}":                   s.chatPage,
		"GET /chat/targets":          s.targets,
		"POST /chat":                 s.ask,
		"GET /badge/{id}":            s.badge,
		"GET /proof/{id}":            s.proof,
		"GET /receipt/{id}":          s.receipt,
		"POST /check/{id}":           s.check,
		"GET /network":               s.networkPage,
		"GET /network/live":          s.networkLive,
		"POST /network/add":          s.addPeer,
		"POST /network/remove":       s.removePeer,
		"POST /network/ping":         s.pingPeer,
		"GET /models":                s.modelsPage,
		"GET /models/jobs":           s.modelJobs,
		"POST /models/share":         s.share,
		"POST /models/unshare":       s.unshare,
		"POST /models/fetch":         s.fetch,
		"GET /audits":                s.auditsPage,
		"POST /audits/verify":        s.verify,
		"POST /audits/judge":         s.judge,
		"POST /audits/dispute/{id}":  s.dispute,
		"GET /dispute/{id}":          s.disputePage,
		"GET /dispute/{id}/proof":    s.disputeProof,
		"GET /ledger":                s.ledgerPage,
		"GET /ledger/block/{height}": s.blockPage,
		"GET /ledger/find/{hash}":    s.findPage,
		"GET /ledger/tx/{hash}":      s.txPage,
		"GET /ledger/account/{id}":   s.accountPage,
		"GET /ledger/entry":          s.entryPage,
		"GET /settings":              s.settingsPage,
		"POST /settings":             s.saveSettings,
		"POST /logout":               s.logout,
		"GET /":                      s.nothing,
	} {
		m.HandleFunc(pattern, s.inside(h))
	}
	return m
}

// styleSheet is the one of reports, so that what they show looks alike here, with
// its colours for those who choose them whatever their device says, and our own.
func styleSheet() []byte {
	own, err := files.ReadFile("static/app.css")
	if err != nil {
		panic("web: internal error: " + err.Error())
	}
	_, rest, ok := strings.Cut(report.Style, ":root {")
	light, rest, ok2 := strings.Cut(rest, "}")
	_, rest, ok3 := strings.Cut(rest, ":root {")
	dark, _, ok4 := strings.Cut(rest, "}")
	if !ok || !ok2 || !ok3 || !ok4 || !strings.Contains(dark, "--paper") {
		panic("web: internal error: the style of reports has changed its form")
	}
	return []byte(report.Style + "\n:root[data-theme=light] {" + light + " color-scheme: light; }\n:root[data-theme=dark] {" + dark + " color-scheme: dark; }\n" + string(own))
}

// staticFiles are what /static serves; styles are made.
var staticFiles = map[string]string{
	"app.js":   "text/javascript; charset=utf-8",
	"app.css":  "text/css; charset=utf-8",
	"icon.svg": "image/svg+xml",
}

func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind, ok := staticFiles[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	data := s.style
	if name != "app.css" {
		var err error
		if data, err = files.ReadFile("static/" + name); err != nil {
			http.NotFound(w, r)
			return
		}
	}
	sum := sha256.Sum256(data)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache") // there is a new program now and then
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}
