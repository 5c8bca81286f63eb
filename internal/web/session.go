package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/issuer"
)

// Times and sizes of what lets somebody in.
const (
	sessionTime = 30 * 24 * time.Hour
	codeTime    = 10 * time.Minute // of a link
	maxCodes    = 32               // links that wait to be used
	nonceSize   = 16
	maxToken    = 256 // bytes of the file
)

// Token is the secret of a console. Who has it can make links, and everything in
// cookies is made from it: with another one nobody is let in any more.
type Token struct{ secret string }

const tokenHeader = "aval-console-1 "

// OpenToken reads the secret from a file that nobody but its owner may read, and
// makes it if there is none.
func OpenToken(path string) (Token, error) {
	t, err := readToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	err = issuer.CreatePrivate(path, tokenHeader+rand.Text()+rand.Text()+"\n")
	if err != nil && !errors.Is(err, fs.ErrExist) { // somebody else made it just now
		return Token{}, fmt.Errorf("web: the token of the console: %w", err)
	}
	return readToken(path)
}

func readToken(path string) (Token, error) {
	f, err := os.Open(path)
	if err != nil {
		return Token{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Token{}, fmt.Errorf("web: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return Token{}, fmt.Errorf("web: %s can be read by others (mode %04o): remove it, so that a new one is made", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return Token{}, fmt.Errorf("web: %w", err)
	}
	secret, ok := strings.CutPrefix(strings.TrimSpace(string(text)), tokenHeader)
	if !ok || len(secret) < 32 || len(text) > maxToken {
		return Token{}, fmt.Errorf("web: %s is not the token of a console: remove it, so that a new one is made", path)
	}
	return Token{secret}, nil
}

// Bearer is the header with which a program of the owner asks for links.
func (t Token) Bearer() string { return "Bearer " + t.secret }

func (t Token) mac(purpose string, data []byte) []byte {
	m := hmac.New(sha256.New, []byte(t.secret))
	m.Write([]byte("aval console " + purpose + "/1\x00"))
	m.Write(data)
	return m.Sum(nil)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// session is a browser that was let in.
type session struct{ nonce []byte }

// newSession makes what the cookie holds.
func (t Token) newSession(now time.Time) string {
	data := make([]byte, nonceSize, nonceSize+8)
	_, _ = rand.Read(data) // never fails
	data = binary.BigEndian.AppendUint64(data, uint64(now.Add(sessionTime).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(data, t.mac("session", data)...))
}

// session reads a cookie.
func (t Token) session(cookie string, now time.Time) (session, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil || len(raw) != nonceSize+8+sha256.Size {
		return session{}, false
	}
	data, mac := raw[:nonceSize+8], raw[nonceSize+8:]
	if !hmac.Equal(mac, t.mac("session", data)) || now.Unix() >= int64(binary.BigEndian.Uint64(data[nonceSize:])) {
		return session{}, false
	}
	return session{data[:nonceSize]}, true
}

// csrf is what the forms of a session carry.
func (t Token) csrf(s session) string {
	return base64.RawURLEncoding.EncodeToString(t.mac("form", s.nonce))
}

// codes are those of links that were not used yet.
type codes struct {
	mu   sync.Mutex
	open map[string]time.Time // until when they hold
}

// make gives a new one. The oldest makes room.
func (c *codes) make(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[string]time.Time{}
	}
	for len(c.open) >= maxCodes {
		oldest := ""
		for code, end := range c.open {
			if oldest == "" || end.Before(c.open[oldest]) {
				oldest = code
			}
		}
		delete(c.open, oldest)
	}
	code := rand.Text()
	c.open[code] = now.Add(codeTime)
	return code
}

// take uses one up.
func (c *codes) take(code string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for known, end := range c.open {
		if same(known, code) {
			delete(c.open, known)
			return now.Before(end)
		}
	}
	return false
}

// cookieName has the port, since browsers do not tell cookies apart by it.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "80"
	}
	return "aval-" + port
}

func (s *Server) letIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(r), Value: s.cfg.Token.newSession(s.cfg.Now()), Path: "/",
		MaxAge: int(sessionTime / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

func (s *Server) letOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func (s *Server) sessionOf(r *http.Request) (session, bool) {
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return session{}, false
	}
	return s.cfg.Token.session(c.Value, s.cfg.Now())
}
