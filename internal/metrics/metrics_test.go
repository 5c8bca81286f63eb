package metrics_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/metrics"
)

func TestHandler(t *testing.T) {
	r := metrics.New()
	c := r.Counter("aval_test_total", "Tests.", "kind")
	c.Add(2, "a")
	c.Add(1, "a")
	h := r.Histogram("aval_test_seconds", "Times.", []float64{1, 2})
	h.Observe(1.5)
	n := 4.0
	r.Gauge("aval_test_size", "A size.", func() float64 { return n })
	r.Gauges("aval_test_peers", "Peers.", []string{"way"}, func() []metrics.Reading {
		return []metrics.Reading{{Value: 3, Labels: []string{"relay"}}}
	})
	asked := 0
	metrics.Parts(r, func() int { asked++; return 6 },
		metrics.Part[int]{Name: "aval_test_whole", Help: "It.", Of: func(n int) float64 { return float64(n) }},
		metrics.Part[int]{Name: "aval_test_half", Help: "A half.", Of: func(n int) float64 { return float64(n) / 2 }})
	n = 5
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`aval_test_total{kind="a"} 3`, `aval_test_seconds_bucket{le="1"} 0`, `aval_test_seconds_bucket{le="2"} 1`,
		"aval_test_size 5", "aval_test_whole 6", "aval_test_half 3", `aval_test_peers{way="relay"} 3`, "go_goroutines ",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("there is no %s", want)
		}
	}
	if asked != 1 {
		t.Errorf("what has two parts was asked for %d times", asked)
	}
}
