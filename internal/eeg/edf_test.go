package eeg_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/eeg"
)

func cz(records ...[]int32) edfFields {
	return edfFields{label: "Cz", unit: "uV", physMin: "-100", physMax: "100", digMin: "-1000", digMax: "1000", perRecord: 2, records: records}
}

func TestEDF(t *testing.T) {
	slow := edfFields{label: "Temp", unit: "degC", physMin: "0", physMax: "40", digMin: "0", digMax: "400", perRecord: 1, records: [][]int32{{365}, {370}}}
	milli := edfFields{label: "A1", unit: "mV", physMin: "-3,2768", physMax: "3,2767", digMin: "-32768", digMax: "32767", perRecord: 3, records: [][]int32{{0, 1, -32768}, {32767, 5, -5}}}
	r := read(t, buildEDF(edfOptions{records: "2", duration: "0,5"}, cz([]int32{10, -10}, []int32{1000, -1000}), slow, milli))
	if r.Format != "EDF" || !r.Start.Equal(time.Date(2021, 6, 5, 7, 8, 9, 0, time.UTC)) || r.Duration() != 1 || len(r.Warnings) != 0 {
		t.Errorf("format %s, start %v, %v s, warnings %v", r.Format, r.Start, r.Duration(), r.Warnings)
	}
	want := []eeg.Channel{
		{Name: "Cz", Unit: "uV", Rate: 4, Samples: []float32{1, -1, 100, -100}},
		{Name: "Temp", Unit: "degC", Rate: 2, Samples: []float32{36.5, 37}},
		{Name: "A1", Unit: "uV", Rate: 6, Samples: []float32{0, 0.1, -3276.8, 3276.7, 0.5, -0.5}},
	}
	for i := range want {
		want[i].Pieces = []eeg.Piece{{Rate: want[i].Rate}}
		if i == 2 { // the physical range is no exact multiple of the digital one
			for j, v := range r.Channels[2].Samples {
				if d := v - want[2].Samples[j]; d > 1e-3 || d < -1e-3 {
					t.Errorf("A1 sample %d is off by %v", j, d)
				}
			}
			continue
		}
		if d := cmp.Diff(want[i], r.Channels[i]); d != "" {
			t.Error(d)
		}
	}
}

func annotations(perRecord int, records ...string) edfFields {
	return edfFields{label: "EDF Annotations", physMin: "-1", physMax: "1", digMin: "-32768", digMax: "32767", perRecord: perRecord, annotations: records}
}

func TestEDFPlus(t *testing.T) {
	const longDate = "Startdate 05-JUN-1931 X X X"
	notes := annotations(40,
		"+0.25\x14\x14\x00+0.5\x15"+"1.5\x14Blink \xc2\xb5\x14left\x14\x00",
		"+1.25\x14\x14\x00-1\x14before\x14\x00")
	r := read(t, buildEDF(edfOptions{reserved: "EDF+C", recording: longDate, date: "05.06.31", time: "07.08.09", records: "2", duration: "1"}, cz([]int32{1, 2}, []int32{3, 4}), notes))
	if want := time.Date(1931, 6, 5, 7, 8, 9, 25e7, time.UTC); r.Format != "EDF+C" || !r.Start.Equal(want) {
		t.Errorf("format %s, start %v, want %v", r.Format, r.Start, want)
	}
	want := []eeg.Event{{Time: -1.25, Label: "before"}, {Time: 0.25, Duration: 1.5, Label: "Blink µ"}, {Time: 0.25, Duration: 1.5, Label: "left"}}
	if d := cmp.Diff(want, r.Events); d != "" {
		t.Error(d)
	}
	if len(r.Channels) != 1 || len(r.Channels[0].Pieces) != 1 {
		t.Errorf("channels %+v", r.Channels)
	}
}

func TestEDFDiscontinuous(t *testing.T) {
	notes := annotations(30, "+0\x14\x14\x00", "+1\x14\x14\x00", "+7.5\x14\x14\x00+7.6\x14stop\x14\x00")
	r := read(t, buildEDF(edfOptions{reserved: "EDF+D", records: "3", duration: "1"}, cz([]int32{1, 2}, []int32{3, 4}, []int32{5, 6}), notes))
	c := &r.Channels[0]
	if d := cmp.Diff([]eeg.Piece{{Rate: 2}, {First: 4, Start: 7.5, Rate: 2}}, c.Pieces); d != "" {
		t.Error(d)
	}
	if c.Time(3) != 1.5 || c.Time(5) != 8 || r.Duration() != 8.5 || r.Format != "EDF+D" {
		t.Errorf("times %v %v, duration %v, %s", c.Time(3), c.Time(5), r.Duration(), r.Format)
	}
	if i, from, to, ok := c.Index(7.6); !ok || i != 4 || from != 4 || to != 6 {
		t.Errorf("Index(7.6) = %d %d %d %v", i, from, to, ok)
	}
	if _, _, _, ok := c.Index(5); ok {
		t.Error("Index found a sample within a gap")
	}
}

func TestBDF(t *testing.T) {
	status := edfFields{label: "Status", unit: "Boolean", physMin: "-8388608", physMax: "8388607", digMin: "-8388608", digMax: "8388607", perRecord: 4, records: [][]int32{{-8388608, 0x10005, 0x10005, 0}, {7, 8, 0, 0}}}
	wide := edfFields{label: "A1", unit: "uV", physMin: "-262144", physMax: "262144", digMin: "-8388608", digMax: "8388607", perRecord: 4, records: [][]int32{{-8388608, 8388607, 0, -1}, {1, 2, 3, 4}}}
	r := read(t, buildEDF(edfOptions{bdf: true, reserved: "24BIT", records: "-1", duration: "1"}, wide, status))
	s := r.Channels[0].Samples
	if s[0] != -262144 || s[1] != 262144 || len(s) != 8 || r.Format != "BDF" || len(r.Warnings) != 1 {
		t.Errorf("samples %v, format %s, warnings %v", s, r.Format, r.Warnings)
	}
	want := []eeg.Event{{Time: 0.25, Label: "5"}, {Time: 1, Label: "7"}, {Time: 1.25, Label: "8"}}
	if d := cmp.Diff(want, r.Events); d != "" {
		t.Error(d)
	}
}

func TestEDFRefuses(t *testing.T) {
	o := edfOptions{records: "2", duration: "1"}
	good := buildEDF(o, cz([]int32{1, 2}, []int32{3, 4}))
	with := func(at int, s string) []byte {
		b := bytes.Clone(good)
		copy(b[at:], s)
		return b
	}
	for _, c := range []struct {
		name, why string
		data      []byte
	}{
		{"short header", "the header 256 or more", good[:200]},
		{"short signal headers", "the header 512", good[:500]},
		{"cut off", "promises 2 records, 1 are whole", good[:len(good)-1]},
		{"no signals", "number of signals", with(252, "0   ")},
		{"many signals", "with 99 signals it has 25600", with(252, "99  ")},
		{"header size", "header", with(184, "768     ")},
		{"number", "is not a number", with(244, "one     ")},
		{"digital range", "not above the minimum", with(256+120, "5000    ")},
		{"physical range", "are both", with(256+104, "100     ")},
		{"huge record", "0 are whole", with(256+216, "99999999")},
		{"zero duration", "records last 0 s", with(244, "0       ")},
		{"copied as text", "U+FFFD", append(good[:512:512], strings.Repeat("\xef\xbf\xbd", 40)...)},
		{"bad annotation", "no sign", buildEDF(edfOptions{reserved: "EDF+C", records: "1", duration: "1"}, annotations(20, "0\x14\x14\x00"))},
		{"time missing", "has no time", buildEDF(edfOptions{reserved: "EDF+D", records: "1", duration: "1"}, annotations(20, ""))},
	} {
		t.Run(c.name, func(t *testing.T) { refuse(t, c.data, c.why) })
	}
}
