package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/rpc"
)

var since = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func echo(_ context.Context, in json.RawMessage) (any, error) { return in, nil }

func serve(t *testing.T, path string, methods map[string]control.Method) *control.Folder {
	t.Helper()
	f, err := control.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Serve(methods, since)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// short is a folder whose socket has a name that is short enough.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "aval")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "node")
}

func TestCall(t *testing.T) {
	paths := map[string]string{"socket": short(t), "port": filepath.Join(short(t), strings.Repeat("long", 30))}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			serve(t, path, map[string]control.Method{
				"echo": echo,
				"deny": func(context.Context, json.RawMessage) (any, error) {
					return nil, rpc.Errorf(rpc.PermissionDenied, "not you")
				},
				"plain":  func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("it broke") },
				"wide":   func(context.Context, json.RawMessage) (any, error) { return strings.Repeat("x", 33<<20), nil },
				"number": func(context.Context, json.RawMessage) (any, error) { return 1, nil },
			})
			c, err := control.Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Process != os.Getpid() || !c.Since.Equal(since) {
				t.Errorf("process %d since %v", c.Process, c.Since)
			}
			var out map[string]int
			if err := c.Call(t.Context(), "echo", map[string]int{"a": 7}, &out); err != nil || out["a"] != 7 {
				t.Errorf("echo: %v, %v", out, err)
			}
			for method, want := range map[string]string{
				"deny": "permission denied: not you", "plain": "it broke", "wide": "more than", "none": "another version", "number": "read the answer",
			} {
				if err := c.Call(t.Context(), method, nil, &out); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", method, err, want)
				}
			}
			if err := c.Call(t.Context(), "deny", nil, nil); rpc.CodeOf(err) != rpc.PermissionDenied {
				t.Errorf("the code is lost: %v", err)
			}
			if err := c.Call(t.Context(), "echo", strings.Repeat("x", 5<<20), nil); rpc.CodeOf(err) != rpc.InvalidArgument {
				t.Errorf("a long request: %v", err)
			}
		})
	}
}

// TestCallEnds holds that a method ends when its caller goes away, and that the
// door closes soon although one does not.
func TestCallEnds(t *testing.T) {
	path := short(t)
	f, err := control.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	s, err := f.Serve(map[string]control.Method{"wait": func(ctx context.Context, _ json.RawMessage) (any, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil, ctx.Err()
	}}, since)
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if err := c.Call(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up: %v", err)
	}
	<-ended
	failed := make(chan error, 1)
	go func() { failed <- c.Call(t.Context(), "wait", nil, nil) }()
	<-began
	start := time.Now()
	_ = s.Close()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a call to a node that ended: %v", err)
	}
	<-ended
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// TestFolder holds that a folder has one holder, and what it leaves behind does
// no harm.
func TestFolder(t *testing.T) {
	path := short(t)
	if _, err := control.Dial(t.Context(), path); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("before the start: %v", err)
	}
	f := serve(t, path, map[string]control.Method{"echo": echo})
	var running *control.RunningError
	if _, err := control.Open(path); !errors.As(err, &running) || running.Process != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(running.Process)) {
		t.Errorf("a second holder: %v", err)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{"": 0o700, "control.json": 0o600, "control.sock": 0o600, "version": 0o600} {
			if info, err := os.Stat(filepath.Join(f.Path, name)); err != nil || info.Mode().Perm() != want {
				t.Errorf("%q: %v, %v, want %v", name, info, err, want)
			}
		}
	}

	left := short(t)
	dead, err := control.Open(left)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"control.json": `{"network":"unix","address":"control.sock"}`, "control.sock": ""} {
		if err := dead.WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	dead.Close()
	if _, err := control.Dial(t.Context(), left); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("a node that died: %v", err)
	}
	serve(t, left, map[string]control.Method{"echo": echo})
	if c, err := control.Dial(t.Context(), left); err != nil {
		t.Errorf("started again: %v", err)
	} else {
		c.Close()
	}

	later := short(t)
	old, err := control.Open(later)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(old.WriteFile("version", []byte("aval-node-folder 2\n")), old.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Open(later); err == nil || !strings.Contains(err.Error(), "aval-node-folder 2") {
		t.Errorf("a later version: %v", err)
	}

	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Open(used); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("a folder of something else: %v", err)
	}
	if list, err := os.ReadDir(used); err != nil || len(list) != 1 {
		t.Errorf("it was changed: %v, %v", list, err)
	}
}

// TestStrangers holds that who does not know the token gets nothing, and that a
// changed file sends no token elsewhere.
func TestStrangers(t *testing.T) {
	path := filepath.Join(short(t), strings.Repeat("long", 30)) // so that it is a port
	f := serve(t, path, map[string]control.Method{"echo": echo})
	text, err := os.ReadFile(filepath.Join(path, "control.json"))
	if err != nil {
		t.Fatal(err)
	}
	var door struct{ Address, Token string }
	if err := json.Unmarshal(text, &door); err != nil || len(door.Token) < 26 {
		t.Fatalf("%s, %v", text, err)
	}
	for _, token := range []string{"", "x", door.Token[1:], door.Token + "x"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+door.Address+"/echo", strings.NewReader("1"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("the token %q is taken", token)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err == nil {
		defer l.Close()
		elsewhere := strings.Replace(string(text), door.Address, l.Addr().String(), 1)
		if err := f.WriteFile("control.json", []byte(elsewhere)); err != nil {
			t.Fatal(err)
		}
		if _, err := control.Dial(t.Context(), path); err == nil {
			t.Error("an address elsewhere is dialled")
		}
	}
	for _, text := range []string{"", "{}", `{"network":"udp"}`, strings.Repeat(" ", 1<<20)} {
		if err := f.WriteFile("control.json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := control.Dial(t.Context(), path); err == nil {
			t.Errorf("%.20q is dialled", text)
		}
	}
}
