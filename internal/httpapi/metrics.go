package httpapi

import (
	"strconv"
	"time"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/metrics"
)

// counters are what the server counts, in a registry of their own.
type counters struct {
	registry   *metrics.Registry
	requests   *metrics.Counter
	duration   *metrics.Histogram
	tokens     *metrics.Counter
	firstToken *metrics.Histogram
	speed      *metrics.Histogram
	stops      *metrics.Counter
}

func newCounters(g *gate) *counters {
	r := metrics.New()
	r.Gauge("aval_requests_running", "Requests that hold a slot.", func() float64 { return float64(g.running()) })
	r.Gauge("aval_requests_queued", "Requests that wait for a slot.", func() float64 { return float64(g.queued()) })
	return &counters{
		registry: r,
		requests: r.Counter("aval_http_requests_total", "Requests answered, by route and status.", "route", "status"),
		duration: r.Histogram("aval_http_request_duration_seconds", "Time from a request to the end of its answer.",
			[]float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}, "route"),
		tokens: r.Counter("aval_tokens_total", "Tokens read (prompt), not read again because they were in memory (reused), and written (output).", "kind"),
		firstToken: r.Histogram("aval_time_to_first_token_seconds", "Time from the start of a generation, which may wait in the engine, to its first token.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}),
		speed: r.Histogram("aval_output_tokens_per_second", "Speed of a generation after its first token.",
			[]float64{1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500}),
		stops: r.Counter("aval_generations_total", "Finished generations, by the reason why they ended.", "stop"),
	}
}

func (m *counters) request(route string, status int, took time.Duration) {
	m.requests.Add(1, route, strconv.Itoa(status))
	m.duration.Observe(took.Seconds(), route)
}

// generation counts one finished generation. A cancelled one has its tokens
// counted too.
func (m *counters) generation(t timing, stop engine.StopReason) {
	m.tokens.Add(float64(t.promptTokens-t.reused), "prompt")
	m.tokens.Add(float64(t.reused), "reused")
	m.tokens.Add(float64(t.outputTokens), "output")
	m.stops.Add(1, string(stop))
	if t.outputTokens > 0 {
		m.firstToken.Observe((t.queued + t.prompt).Seconds())
	}
	if t.outputTokens > 1 && t.generate > 0 {
		m.speed.Observe(float64(t.outputTokens-1) / t.generate.Seconds())
	}
}
