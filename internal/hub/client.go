package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client speaks to one endpoint.
type client struct {
	cfg     Config
	base    *url.URL
	follow  *http.Client // follows redirects
	single  *http.Client // does not
	onRetry func(note string)
}

func newClient(cfg Config, base *url.URL) *client {
	c := &client{cfg: cfg, base: base, onRetry: func(string) {}}
	c.follow = &http.Client{Transport: cfg.Transport, CheckRedirect: c.redirected}
	c.single = &http.Client{Transport: cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return c
}

// permanentError is one that trying again does not mend.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func permanent(format string, args ...any) error {
	return &permanentError{fmt.Errorf(format, args...)}
}

// redirected decides on each redirect. net/http would keep the Authorization
// header for subdomains and for other ports of the same host; we keep it for
// the endpoint itself alone.
func (c *client) redirected(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return permanent("more than %d redirects", maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return permanent("refused a redirect from https to %s", req.URL.Scheme)
	}
	c.authorize(req)
	return nil
}

func (c *client) authorize(req *http.Request) {
	req.Header.Del("Authorization")
	if c.cfg.Token != "" && sameOrigin(req.URL, c.base) {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" || u.Scheme != "https" && u.Scheme != "http" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// url returns the endpoint's URL of a path given in segments; a segment with
// slashes is several.
func (c *client) url(query string, segments ...string) *url.URL {
	u := *c.base
	var raw strings.Builder
	raw.WriteString(strings.TrimRight(c.base.EscapedPath(), "/"))
	for _, s := range segments {
		for _, e := range strings.Split(s, "/") {
			raw.WriteString("/" + url.PathEscape(e))
		}
	}
	u.RawPath = raw.String()
	u.Path, _ = url.PathUnescape(u.RawPath) // what PathEscape wrote can be read
	u.RawQuery = query
	return &u
}

// stream is an answer whose body ends with an error when the server stalls.
type stream struct {
	*http.Response
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // cancels when the body pauses for stall
	stall  time.Duration
}

// send makes one request. The caller closes the stream.
func (c *client) send(ctx context.Context, hc *http.Client, method string, u *url.URL, header http.Header) (*stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, &permanentError{err}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	c.authorize(req)
	st := &stream{ctx: ctx, cancel: cancel, stall: c.cfg.StallTimeout}
	st.timer = time.AfterFunc(st.stall, func() {
		cancel(fmt.Errorf("no data arrived for %v", st.stall))
	})
	st.timer.Stop()
	answer := time.AfterFunc(c.cfg.HeaderTimeout, func() {
		cancel(fmt.Errorf("the server did not answer within %v", c.cfg.HeaderTimeout))
	})
	resp, err := hc.Do(req)
	answer.Stop()
	if err != nil {
		err = st.cause(err)
		cancel(nil)
		return nil, fmt.Errorf("%s %s: %w", method, show(u), err)
	}
	st.Response = resp
	return st, nil
}

// cause replaces the error of a request that we ended by the reason for ending
// it, and strips the URL, whose query may be a secret, from others.
func (st *stream) cause(err error) error {
	if why := context.Cause(st.ctx); why != nil {
		return why
	}
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = ue.Err
	}
	if ce := (*tls.CertificateVerificationError)(nil); errors.As(err, &ce) {
		return &permanentError{err}
	}
	return err
}

func (st *stream) Read(p []byte) (int, error) {
	if why := context.Cause(st.ctx); why != nil {
		return 0, why
	}
	st.timer.Reset(st.stall)
	n, err := st.Body.Read(p)
	st.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = st.cause(err)
	}
	return n, err
}

func (st *stream) Close() error {
	st.timer.Stop()
	err := st.Body.Close()
	st.cancel(nil)
	return err
}

// show is a URL as it may be printed: without its query, which may hold a
// signature.
func show(u *url.URL) string {
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// StatusError is a refusal by the server.
type StatusError struct {
	Method, URL string
	Status      int
	Code        string // the server's X-Error-Code, such as GatedRepo
	Message     string // the server's words
	Hint        string // what to do

	foreign    bool          // by another host than the endpoint, after a redirect
	retryAfter time.Duration // the wait the server asked for; 0 if none
}

func (e *StatusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		fmt.Fprintf(&b, " (%s)", e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

func (e *StatusError) temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	// A signed address that has expired is refused by the other host; the next
	// attempt asks the endpoint for a new one.
	return e.foreign && (e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized || e.Status == http.StatusGone)
}

// refusal turns an answer that is not the wanted one into an error.
func (c *client) refusal(st *stream, repo string) *StatusError {
	u := st.Request.URL
	e := &StatusError{
		Method: st.Request.Method, URL: show(u), Status: st.StatusCode, Code: printable(st.Header.Get("X-Error-Code")),
		Message: printable(st.Header.Get("X-Error-Message")), foreign: !sameOrigin(u, c.base),
	}
	if body, err := io.ReadAll(io.LimitReader(st, maxErrorBytes)); err == nil && e.Message == "" {
		var w struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &w) == nil {
			e.Message = printable(w.Error)
		}
	}
	if s := st.Header.Get("Retry-After"); s != "" {
		if n, err := strconv.ParseInt(s, 10, 32); err == nil && n >= 0 {
			e.retryAfter = time.Duration(n) * time.Second
		} else if t, err := http.ParseTime(s); err == nil {
			e.retryAfter = max(t.Sub(c.cfg.Now()), 0)
		}
	}
	e.Hint = c.hint(e, repo)
	return e
}

func (c *client) hint(e *StatusError, repo string) string {
	page := show(c.url("", repo))
	switch {
	case e.foreign:
		return ""
	case e.Code == "GatedRepo" || e.Status == http.StatusForbidden:
		if c.cfg.Token == "" {
			return "the repository is gated: accept its licence at " + page + ", then set HF_TOKEN to an access token of that account"
		}
		return "the token has no access: accept the licence at " + page + " with the token's account, and let the token read gated repositories"
	case e.Status == http.StatusUnauthorized && c.cfg.Token == "":
		return "the repository does not exist, or is private or gated: check the name, or set HF_TOKEN to an access token that may read it"
	case e.Status == http.StatusUnauthorized:
		return "the token in HF_TOKEN was not accepted: check it, and the name of the repository"
	case e.Status == http.StatusNotFound:
		return "check the spelling of the repository and the file at " + page
	case e.Status == http.StatusTooManyRequests && c.cfg.Token == "":
		return "too many requests: wait a while, or set HF_TOKEN, which raises the limit"
	case e.Status == http.StatusTooManyRequests:
		return "too many requests: wait a while"
	case e.Status >= 500:
		return "the server has a problem: try again later"
	}
	return ""
}

// printable makes a server's words fit for a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if len(s) > maxErrorDetail {
		s = strings.ToValidUTF8(s[:maxErrorDetail], "") + "..."
	}
	return strings.TrimSpace(s)
}

// temporary reports whether a request that failed so may be tried again.
func temporary(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if pe := (*permanentError)(nil); errors.As(err, &pe) {
		return false
	}
	if se := (*StatusError)(nil); errors.As(err, &se) {
		return se.temporary() && se.retryAfter <= maxRetryAfter
	}
	return true
}

// pause waits before try number failures+1: as long as the server asked for,
// else twice as long each time.
func (c *client) pause(ctx context.Context, failures int, err error) error {
	d := time.Second << min(failures-1, 10)
	if se := (*StatusError)(nil); errors.As(err, &se) && se.retryAfter > 0 {
		d = max(d, se.retryAfter)
	} else {
		d = min(d, maxBackoff)
	}
	c.onRetry(fmt.Sprintf("%v; trying again in %v", err, d))
	return c.cfg.Sleep(ctx, d)
}

// try calls do until it succeeds, fails for good, or has failed often enough.
func (c *client) try(ctx context.Context, do func() error) error {
	for failures := 1; ; failures++ {
		err := do()
		if err == nil || !temporary(ctx, err) {
			return err
		}
		if failures >= c.cfg.Attempts {
			return fmt.Errorf("gave up after %d attempts: %w", failures, err)
		}
		if err := c.pause(ctx, failures, err); err != nil {
			return err
		}
	}
}

// getJSON fetches a JSON document from the endpoint into v.
func (c *client) getJSON(ctx context.Context, repo string, u *url.URL, accept string, v any) (http.Header, error) {
	var header http.Header
	err := c.try(ctx, func() error {
		st, err := c.send(ctx, c.follow, http.MethodGet, u, http.Header{"Accept": {accept}})
		if err != nil {
			return err
		}
		defer st.Close()
		if st.StatusCode != http.StatusOK {
			return c.refusal(st, repo)
		}
		body, err := io.ReadAll(io.LimitReader(st, maxPageBytes+1))
		if err != nil {
			return fmt.Errorf("GET %s: %w", show(u), err)
		}
		if len(body) > maxPageBytes {
			return permanent("GET %s: the answer is longer than %s", show(u), Bytes(maxPageBytes))
		}
		if err := json.Unmarshal(body, v); err != nil {
			return permanent("GET %s: the answer is not the JSON we expect: %w", show(u), err)
		}
		header = st.Header
		return nil
	})
	return header, err
}
