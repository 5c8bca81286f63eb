package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Cookies of the person's choices; the script of the pages may read them.
const (
	langCookie  = "aval-lang"
	themeCookie = "aval-theme"
	keysCookie  = "aval-keys" // "off": no shortcuts of one key
	choiceTime  = 365 * 24 * time.Hour
)

// page is what a template is given.
type page struct {
	Lang    Lang
	Theme   string // light, dark; "": as the device has it
	NoKeys  bool
	Nav     string // which entry of the navigation is meant
	Title   string
	CSRF    string
	Inside  bool
	Path    string
	Version string
	Done    string // what was done, from the page before
	Problem string // why it was not
	Data    any
	now     time.Time
}

func (s *Server) page(r *http.Request, nav string) *page {
	p := &page{Lang: chosen(r), Nav: nav, Version: s.cfg.Version, Path: r.URL.Path, now: s.cfg.Now()}
	if nav != "" {
		p.Title = p.T("nav." + nav)
	}
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		p.Theme = c.Value
	}
	if c, err := r.Cookie(keysCookie); err == nil && c.Value == "off" {
		p.NoKeys = true
	}
	if who, ok := sessionIn(r); ok {
		p.Inside, p.CSRF = true, s.cfg.Token.csrf(who)
	}
	// What was done is a key of the catalogue; nothing else is shown.
	if key := "done." + r.URL.Query().Get("done"); catalogue[key] != (phrase{}) {
		p.Done = p.T(key)
	}
	return p
}

// T is a text of the catalogue.
func (p *page) T(key string, args ...any) string { return say(p.Lang, key, args...) }

// N is a text that depends on a number, which it shows.
func (p *page) N(key string, n int) string {
	if n == 1 {
		return p.T(key+".one", "1")
	}
	return p.T(key+".many", number(p.Lang, int64(n)))
}

// The others write values in the page's language.

// Num writes a number.
func (p *page) Num(n any) string {
	switch n := n.(type) {
	case int:
		return number(p.Lang, int64(n))
	case int64:
		return number(p.Lang, n)
	case uint64:
		return number(p.Lang, int64(min(n, 1<<62)))
	}
	return "?"
}

// Size writes bytes.
func (p *page) Size(n int64) string { return size(p.Lang, n) }

// When writes a time.
func (p *page) When(t time.Time) string { return moment(p.Lang, t) }

// Ago writes how long ago a time is.
func (p *page) Ago(t time.Time) string { return long(p.Lang, max(p.now.Sub(t), 0)) }

// Long writes a duration.
func (p *page) Long(d time.Duration) string { return long(p.Lang, d) }

// Until writes how long it is to a time.
func (p *page) Until(t time.Time) string { return long(p.Lang, max(t.Sub(p.now), 0)) }

// Cut is the beginning of a long code.
func (p *page) Cut(s string) string {
	if len(s) > 16 {
		return s[:12] + "…"
	}
	return s
}

// Draw is one of the small pictures.
func (p *page) Draw(name string) template.HTML { return icon(name) }

// render writes a page.
func (s *Server) render(w http.ResponseWriter, code int, name string, p *page) {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, p); err != nil {
		s.cfg.Log.Error("a page of the console cannot be made", "page", name, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", string(p.Lang))
	w.Header().Add("Vary", "Accept-Language, Cookie")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // a browser that left does not want it
}

// part is a template as text, to be put into a page that is there.
func (s *Server) part(name string, p *page) string {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, p); err != nil {
		s.cfg.Log.Error("a part of a page cannot be made", "part", name, "error", err)
		return ""
	}
	return b.String()
}

// refuse tells why a request is not answered: as a page to a person, as JSON to the
// script.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code int, key string) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		s.json(w, code, map[string]string{"error": say(chosen(r), key)})
		return
	}
	p := s.page(r, "")
	p.Title, p.Problem = p.T("refused"), p.T(key)
	s.render(w, code, "refused", p)
}

// failed tells of an error of a source.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, nav string, err error) {
	p := s.page(r, nav)
	code := http.StatusInternalServerError
	if errors.Is(err, ErrNotThere) {
		code, p.Problem = http.StatusNotFound, p.T("notthere")
	} else {
		p.Problem = err.Error()
	}
	s.render(w, code, "refused", p)
}

func (s *Server) nothing(w http.ResponseWriter, r *http.Request) {
	s.refuse(w, r, http.StatusNotFound, "refuse.path")
}

func (s *Server) json(w http.ResponseWriter, code int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic("web: internal error: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n'))
}

// done sends the browser to a page that tells what was done, or shows there why it
// was not.
func (s *Server) done(w http.ResponseWriter, r *http.Request, nav, to, what string, err error) {
	if err != nil {
		p := s.page(r, nav)
		p.Problem = err.Error()
		s.render(w, http.StatusUnprocessableEntity, "refused", p)
		return
	}
	if what != "" {
		to += "?done=" + url.QueryEscape(what)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// login is where links lead: the script there hands in what is behind the #.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "")
	p.Title = p.T("login.title")
	s.render(w, http.StatusOK, "login", p)
}

func (s *Server) enter(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.refuse(w, r, http.StatusBadRequest, "refuse.body")
		return
	}
	code := strings.TrimSpace(r.PostFormValue("code"))
	if i := strings.LastIndexByte(code, '#'); i >= 0 { // the whole link was pasted
		code = code[i+1:]
	}
	if !s.codes.take(code, s.cfg.Now()) {
		p := s.page(r, "")
		p.Title, p.Problem = p.T("login.title"), p.T("login.used")
		s.render(w, http.StatusForbidden, "login", p)
		return
	}
	s.letIn(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// link makes a link for a program of the owner, which knows the secret.
func (s *Server) link(w http.ResponseWriter, r *http.Request) {
	if !same(r.Header.Get("Authorization"), s.cfg.Token.Bearer()) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		s.json(w, http.StatusUnauthorized, map[string]string{"error": "the token is not that of the console"})
		return
	}
	s.json(w, http.StatusOK, map[string]string{"link": s.Link("http://" + r.Host)})
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.letOut(w, r)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (s *Server) settingsPage(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "settings")
	p.Data = map[string]string{"Token": s.cfg.TokenFile}
	s.render(w, http.StatusOK, "settings", p)
}

// saveSettings keeps the person's choices in cookies, and goes back to where they
// were made.
func (s *Server) saveSettings(w http.ResponseWriter, r *http.Request) {
	for field, allowed := range map[string][]string{
		langCookie: {string(English), string(Portuguese)}, themeCookie: {"light", "dark", "auto"}, keysCookie: {"on", "off"},
	} {
		v := r.PostFormValue(strings.TrimPrefix(field, "aval-"))
		for _, a := range allowed {
			if v == a {
				http.SetCookie(w, &http.Cookie{Name: field, Value: v, Path: "/", MaxAge: int(choiceTime / time.Second), SameSite: http.SameSiteStrictMode})
			}
		}
	}
	to := r.PostFormValue("back")
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n") {
		to = "/settings"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}
