// Package metrics counts what happens, for those who watch a program from
// outside (Prometheus). [New] makes a [Registry]; its methods make the counters,
// and [Registry.Handler] serves them. It decides nothing about who may look.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds metrics. Names are those of Prometheus: aval_ before all,
// _total behind what only grows, and a unit.
type Registry struct{ r *prometheus.Registry }

// New is a registry with what Go and the operating system know of the process.
func New() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{r}
}

// Handler serves the metrics in the text format of Prometheus.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.r, promhttp.HandlerOpts{})
}

// Counter only grows.
type Counter struct{ v *prometheus.CounterVec }

// Counter makes a counter, one number for each combination of values of its
// labels. A name that is there already is a mistake of the program.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.r.MustRegister(c)
	return &Counter{c}
}

// Add adds to the number of some values of the labels.
func (c *Counter) Add(n float64, values ...string) { c.v.WithLabelValues(values...).Add(n) }

// Histogram counts values by how large they are.
type Histogram struct{ v *prometheus.HistogramVec }

// Histogram makes a histogram; buckets are their upper bounds, ascending.
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.r.MustRegister(h)
	return &Histogram{h}
}

// Observe counts a value.
func (h *Histogram) Observe(n float64, values ...string) { h.v.WithLabelValues(values...).Observe(n) }

// Gauge tells a number that is asked for whenever somebody looks.
func (r *Registry) Gauge(name, help string, value func() float64) {
	r.r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// Reading is a number with the values of its labels.
type Reading struct {
	Value  float64
	Labels []string
}

// Gauges tells numbers with labels that are asked for whenever somebody looks.
func (r *Registry) Gauges(name, help string, labels []string, values func() []Reading) {
	r.r.MustRegister(&gauges{prometheus.NewDesc(name, help, labels, nil), values})
}

type gauges struct {
	desc   *prometheus.Desc
	values func() []Reading
}

func (g *gauges) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	for _, v := range g.values() {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v.Value, v.Labels...)
	}
}

// Part is one of the numbers of something, with its name and what it is.
type Part[T any] struct {
	Name, Help string
	Of         func(T) float64
}

// Parts tells several numbers of one thing, which is asked for once whenever
// somebody looks.
func Parts[T any](r *Registry, whole func() T, parts ...Part[T]) {
	c := &collected[T]{whole: whole, parts: parts}
	for _, p := range parts {
		c.descs = append(c.descs, prometheus.NewDesc(p.Name, p.Help, nil, nil))
	}
	r.r.MustRegister(c)
}

type collected[T any] struct {
	whole func() T
	parts []Part[T]
	descs []*prometheus.Desc
}

func (c *collected[T]) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

func (c *collected[T]) Collect(ch chan<- prometheus.Metric) {
	v := c.whole()
	for i, p := range c.parts {
		ch <- prometheus.MustNewConstMetric(c.descs[i], prometheus.GaugeValue, p.Of(v))
	}
}
