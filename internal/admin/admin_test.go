package admin_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/admin"
	"github.com/avalnetwork/aval/internal/metrics"
)

func TestServer(t *testing.T) {
	well := true
	s, err := admin.Listen(t.Context(), admin.Config{
		Address: "127.0.0.1:0", Metrics: metrics.New(),
		Health: func() (any, bool) { return map[string]int{"height": 7}, well },
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, host string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	for _, c := range []struct {
		path, host string
		status     int
		text       string
	}{
		{"/health", "", 200, `"height": 7`},
		{"/metrics", "", 200, "go_goroutines"},
		{"/metrics", "localhost:1", 200, "go_goroutines"},
		{"/metrics", "evil.example", 403, "localhost"},
		{"/debug/pprof/", "", 404, ""},
		{"/", "", 404, ""},
	} {
		status, body := get(c.path, c.host)
		if status != c.status || !strings.Contains(body, c.text) {
			t.Errorf("%s asked for as %q: %d %q, want %d with %q", c.path, c.host, status, body, c.status, c.text)
		}
	}
	well = false
	if status, _ := get("/health", ""); status != 503 {
		t.Errorf("an ill node has the status %d", status)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + s.Address() + "/health"); err == nil {
		t.Error("it answers after its end")
	}

	s, err = admin.Listen(t.Context(), admin.Config{Address: "127.0.0.1:0", Profile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if status, body := get("/debug/pprof/", ""); status != 200 || !strings.Contains(body, "goroutine") {
		t.Errorf("the profiles: %d %q", status, body)
	}
	if status, body := get("/health", ""); status != 200 || !strings.Contains(body, "ok") {
		t.Errorf("health: %d %q", status, body)
	}
}
