package eeg_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var none = math.NaN()

func TestXDF(t *testing.T) {
	x := newXDF()
	x.stream(7, "Amp", "EEG", "int16", 2, "10", `<channels><channel><label>Cz</label><unit>microvolts</unit></channel><channel><label>Pz</label><unit>mV</unit></channel></channels>`)
	x.stream(9, "Keys", "Markers", "string", 1, "0", "")
	x.stream(4, "Codes", "Markers", "int32", 1, "0", "")
	x.stream(5, "Gaze", "Gaze", "double64", 1, "0", "")
	x.samples(7, xdfSample{100, le(int16(1), int16(-2))}, xdfSample{none, le(int16(3), int16(4))})
	x.boundary()
	x.samples(9, xdfSample{100.1, le("go")})
	x.samples(4, xdfSample{100.05, le(int32(-3))})
	x.samples(5, xdfSample{100.2, le(0.25)}, xdfSample{100.9, le(0.5)})
	r := read(t, gzipped(x.Bytes()))
	if r.Format != "XDF" || r.Origin != 100 || len(r.Warnings) != 0 || r.Start.Hour() != 5 {
		t.Errorf("format %s, origin %v, start %v, warnings %v", r.Format, r.Origin, r.Start, r.Warnings)
	}
	cz := r.Channel("Cz")
	if cz == nil || cz.Unit != "uV" || cz.Stream != "Amp" || cz.Rate != 10 || !cmp.Equal(cz.Samples, []float32{1, 3}) {
		t.Errorf("Cz: %+v", cz)
	}
	if pz := r.Channel("Pz"); !cmp.Equal(pz.Samples, []float32{-2000, 4000}) || pz.Unit != "uV" {
		t.Errorf("Pz: %+v", pz)
	}
	gaze := r.Channel("Gaze 1")
	if !cmp.Equal(gaze.Samples, []float32{0.25, 0.5}) || gaze.Pieces != nil || math.Abs(gaze.Time(1)-0.9) > 1e-9 {
		t.Errorf("Gaze: %+v", gaze)
	}
	if len(r.Events) != 2 || r.Events[0].Label != "-3" || r.Events[1].Label != "go" || r.Events[1].Type != "Keys" || math.Abs(r.Events[1].Time-0.1) > 1e-9 {
		t.Errorf("events %+v", r.Events)
	}
}

func TestXDFFormats(t *testing.T) {
	for _, c := range []struct {
		format string
		value  any
		want   float32
	}{
		{"int8", int8(-5), -5},
		{"int16", int16(-300), -300},
		{"int32", int32(1 << 20), 1 << 20},
		{"int64", int64(-1 << 40), -1 << 40},
		{"float32", float32(0.5), 0.5},
		{"double64", -0.25, -0.25},
	} {
		x := newXDF()
		x.stream(1, "S", "EEG", c.format, 1, "100", "")
		x.samples(1, xdfSample{1, le(c.value)})
		if got := read(t, x.Bytes()).Channels[0].Samples[0]; got != c.want {
			t.Errorf("%s: %v, want %v", c.format, got, c.want)
		}
	}
}

// TestXDFClocks gives two streams of two computers whose clocks drift apart:
// what happened at once must come out at one time.
func TestXDFClocks(t *testing.T) {
	x := newXDF()
	x.stream(1, "A", "EEG", "float32", 1, "10", "")
	x.stream(2, "B", "Markers", "string", 1, "0", "")
	// Clock B reads 5000 + 1.001 t where clock A, the recorder's, reads t.
	for s := range 10 {
		at := 10 * float64(s)
		b := 5000 + 1.001*at
		x.clock(1, at, 0)
		x.clock(2, b, at-b)
		for i := range 10 {
			x.samples(1, xdfSample{at + float64(i)/10, le(float32(i))})
		}
	}
	x.samples(2, xdfSample{5000 + 1.001*42.5, le("now")})
	r := read(t, x.Bytes())
	if got := r.Events[0].Time; math.Abs(got-42.5) > 1e-6 {
		t.Errorf("the event is at %v, want 42.5", got)
	}
	if p := r.Channels[0].Pieces; len(p) != 10 || math.Abs(p[4].Start-40) > 1e-9 || math.Abs(p[4].Rate-10) > 1e-9 {
		t.Errorf("pieces %+v", p)
	}
}

// TestXDFReset restarts the computer of a stream in the middle.
func TestXDFReset(t *testing.T) {
	x := newXDF()
	x.stream(1, "A", "Markers", "string", 1, "0", "")
	for i := range 10 {
		at := 1000 + 5*float64(i)
		x.clock(1, at, 50)
		x.samples(1, xdfSample{at + 1, le("first")})
	}
	for i := range 10 { // the clock now begins at 3; the recorder's goes on
		at := 3 + 5*float64(i)
		x.clock(1, at, 1157)
		x.samples(1, xdfSample{at + 1, le("second")})
	}
	r := read(t, x.Bytes())
	for i, e := range r.Events {
		want := 5 * float64(i)
		if i >= 10 {
			want = 3 + 1157 - 1050 + 5*float64(i-10)
		}
		if math.Abs(e.Time-want) > 1e-9 || (e.Label == "second") != (i >= 10) {
			t.Errorf("event %d %q at %v, want %v", i, e.Label, e.Time, want)
		}
	}
	if len(r.Events) != 20 || len(r.Warnings) != 1 {
		t.Errorf("%d events, warnings %v", len(r.Events), r.Warnings)
	}
}

func TestXDFDamage(t *testing.T) {
	build := func() *xdfBuilder {
		x := newXDF()
		x.stream(1, "A", "EEG", "int16", 1, "10", "")
		x.samples(1, xdfSample{1, le(int16(1))}, xdfSample{none, le(int16(2))})
		return x
	}
	x := build()
	x.WriteString("\x04\xff\xff\xff\x7f\x03\x00garbage") // a length beyond the file
	x.boundary()
	x.samples(1, xdfSample{1.2, le(int16(3))})
	r := read(t, x.Bytes())
	if !cmp.Equal(r.Channels[0].Samples, []float32{1, 2, 3}) || len(r.Warnings) != 1 {
		t.Errorf("after damage: %v, warnings %v", r.Channels[0].Samples, r.Warnings)
	}
	x = build()
	whole := x.Len()
	x.samples(1, xdfSample{1.2, le(int16(3))})
	for n := whole + 1; n < x.Len(); n++ {
		r := read(t, x.Bytes()[:n])
		if len(r.Channels[0].Samples) != 2 || len(r.Warnings) != 1 {
			t.Errorf("cut at %d: %d samples, warnings %v", n, len(r.Channels[0].Samples), r.Warnings)
		}
	}
}

func TestXDFRefuses(t *testing.T) {
	for _, c := range []struct {
		name, why string
		build     func(x *xdfBuilder)
	}{
		{"no stream", "no stream", func(*xdfBuilder) {}},
		{"unknown stream", "stream 3 has no header", func(x *xdfBuilder) { x.samples(3) }},
		{"second header", "second header", func(x *xdfBuilder) {
			x.stream(1, "A", "", "int8", 1, "1", "")
			x.stream(1, "A", "", "int8", 1, "1", "")
		}},
		{"format", "unknown sample format", func(x *xdfBuilder) { x.stream(1, "A", "", "int24", 1, "1", "") }},
		{"channels", "0\" channels", func(x *xdfBuilder) { x.stream(1, "A", "", "int8", 0, "1", "") }},
		{"rate", "a rate of", func(x *xdfBuilder) { x.stream(1, "A", "", "int8", 1, "-1", "") }},
		{"not XML", "not XML", func(x *xdfBuilder) { x.chunk(2, []byte("\x01\x00\x00\x00<info")) }},
		{"too many samples", "samples in", func(x *xdfBuilder) {
			x.stream(1, "A", "", "int8", 1, "1", "")
			x.chunk(3, []byte("\x01\x00\x00\x00\x04\xff\xff\xff\xff"))
		}},
		{"short sample", "unexpected EOF", func(x *xdfBuilder) {
			x.stream(1, "A", "", "int32", 1, "1", "")
			x.samples(1, xdfSample{1, le(int8(1))})
		}},
		{"stamp", "time stamp", func(x *xdfBuilder) {
			x.stream(1, "A", "", "int32", 1, "1", "")
			x.samples(1, xdfSample{math.Inf(1), le(int32(1))})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newXDF()
			c.build(x)
			refuse(t, x.Bytes(), c.why)
		})
	}
}
