package control

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/rpc"
)

// Limits of the door. Those who come are the owner's own commands.
const (
	maxRequest  = 4 << 20  // bytes: a long prompt
	maxAnswer   = 32 << 20 // bytes: a long receipt
	maxCalls    = 64       // at a time
	maxSocket   = 100      // characters of a socket's path: macOS takes 103, Linux 107
	headerTime  = 5 * time.Second
	closingTime = 2 * time.Second
)

// Method answers a call: JSON in, and what becomes JSON out. ctx ends when the
// caller goes away.
type Method func(ctx context.Context, in json.RawMessage) (any, error)

// Server serves the methods of the folder's node.
type Server struct {
	http   *http.Server
	folder *Folder
	done   chan struct{}
}

// failure is what a call that failed answers.
type failure struct {
	Code rpc.Code `json:"code"`
	Text string   `json:"text"`
}

// Serve opens the door. now is when the node began.
func (f *Folder) Serve(methods map[string]Method, now time.Time) (*Server, error) {
	d := door{Network: "unix", Address: socketFile, Token: rand.Text(), Process: os.Getpid(), Since: now}
	path := filepath.Join(f.Path, socketFile)
	if runtime.GOOS == "windows" || len(path) > maxSocket {
		d.Network, path = "tcp", "127.0.0.1:0"
	}
	l, err := net.Listen(d.Network, path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if d.Network == "tcp" {
		d.Address = l.Addr().String()
	} else if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	text, err := json.Marshal(d)
	if err == nil {
		err = f.WriteFile(doorFile, append(text, '\n'))
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	s := &Server{folder: f, done: make(chan struct{})}
	s.http = &http.Server{Handler: handler(methods, d.Token), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, MaxHeaderBytes: 8 << 10}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends with Close
	}()
	return s, nil
}

func handler(methods map[string]Method, token string) http.Handler {
	places := make(chan struct{}, maxCalls)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			answer(w, nil, rpc.Errorf(rpc.Unauthenticated, "the token is not that of the running node"))
			return
		}
		m, ok := methods[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok || r.Method != http.MethodPost {
			answer(w, nil, rpc.Errorf(rpc.Unimplemented, "the running node does not know %.40q: it is another version of the program; end it and start it again", r.URL.Path))
			return
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			answer(w, nil, rpc.Errorf(rpc.ResourceExhausted, "more than %d commands are waiting for the running node", maxCalls))
			return
		}
		var in json.RawMessage
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
			answer(w, nil, rpc.Errorf(rpc.InvalidArgument, "%w", err))
			return
		}
		out, err := m(r.Context(), in)
		answer(w, out, err)
	})
}

func answer(w http.ResponseWriter, out any, err error) {
	if err == nil {
		var text []byte
		if text, err = json.Marshal(out); err == nil && len(text) <= maxAnswer {
			_, _ = w.Write(text) // a caller that went away does not want it
			return
		}
		if err == nil {
			err = rpc.Errorf(rpc.ResourceExhausted, "the answer has %d bytes, more than %d", len(text), maxAnswer)
		}
	}
	f := failure{rpc.CodeOf(err), err.Error()}
	var e *rpc.Error
	if errors.As(err, &e) && err.Error() == e.Error() {
		f.Text = e.Text
	}
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(f)
}

// Close closes the door. Calls that run are given a moment, then ended.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	for _, name := range []string{doorFile, socketFile} {
		_ = os.Remove(filepath.Join(s.folder.Path, name)) // the listener may have
	}
	return err
}
