package httpapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/avalnetwork/aval/internal/engine"
)

// metrics are the server's counters, in a registry of their own.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	tokens     *prometheus.CounterVec
	firstToken prometheus.Histogram
	speed      prometheus.Histogram
	stops      *prometheus.CounterVec
}

func newMetrics(g *gate) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aval_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "aval_http_request_duration_seconds", Help: "Time from a request to the end of its answer.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
		}, []string{"route"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aval_tokens_total", Help: "Tokens read (prompt), not read again because they were in memory (reused), and written (output).",
		}, []string{"kind"}),
		firstToken: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "aval_time_to_first_token_seconds", Help: "Time from the start of a generation, which may wait in the engine, to its first token.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}),
		speed: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "aval_output_tokens_per_second", Help: "Speed of a generation after its first token.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500},
		}),
		stops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aval_generations_total", Help: "Finished generations, by the reason why they ended.",
		}, []string{"stop"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.tokens, m.firstToken, m.speed, m.stops,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "aval_requests_running", Help: "Requests that hold a slot.",
		}, func() float64 { return float64(g.running()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "aval_requests_queued", Help: "Requests that wait for a slot.",
		}, func() float64 { return float64(g.queued()) }),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *metrics) request(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

// generation counts one finished generation. A cancelled one has its tokens
// counted too.
func (m *metrics) generation(t timing, stop engine.StopReason) {
	m.tokens.WithLabelValues("prompt").Add(float64(t.promptTokens - t.reused))
	m.tokens.WithLabelValues("reused").Add(float64(t.reused))
	m.tokens.WithLabelValues("output").Add(float64(t.outputTokens))
	m.stops.WithLabelValues(string(stop)).Inc()
	if t.outputTokens > 0 {
		m.firstToken.Observe((t.queued + t.prompt).Seconds())
	}
	if t.outputTokens > 1 && t.generate > 0 {
		m.speed.Observe(float64(t.outputTokens-1) / t.generate.Seconds())
	}
}
