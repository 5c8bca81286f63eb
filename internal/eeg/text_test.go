package eeg_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/eeg"
)

const muse = `timestamps,TP9,AF7,Right AUX,Marker0
1700000000.000,-44.922,27.832,0,0
1700000000.004,1,2,3,1
1700000000.008,1e1,-2.5,nan,0
1700000000.01171875,0,0,0,2.0
`

func TestMuse(t *testing.T) {
	want := []eeg.Channel{
		{Name: "TP9", Samples: []float32{-44.922, 1, 10, 0}},
		{Name: "AF7", Samples: []float32{27.832, 2, -2.5, 0}},
		{Name: "Right AUX", Samples: []float32{0, 3, float32(math.NaN()), 0}},
	}
	for i := range want {
		want[i].Unit, want[i].Rate, want[i].Pieces = "uV", 256, []eeg.Piece{{Rate: 256}}
	}
	semicolon := strings.ReplaceAll(strings.ReplaceAll(muse, ",", ";"), ".", ",")
	quoted := strings.Replace(muse, "timestamps,TP9", `"timestamps","TP9"`, 1)
	for name, text := range map[string]string{
		"plain": muse, "crlf": strings.ReplaceAll(muse, "\n", "\r\n"), "bom": "\xef\xbb\xbf" + muse,
		"cr": strings.ReplaceAll(muse, "\n", "\r"), "semicolon": semicolon, "quoted": quoted,
		"tab": strings.ReplaceAll(muse, ",", "\t"), "blank line": muse + "\n", "no end": strings.TrimSpace(muse),
		"gzip": string(gzipped([]byte(muse))),
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, []byte(text))
			nan := cmp.Comparer(func(a, b float32) bool { return a == b || a != a && b != b })
			if d := cmp.Diff(want, r.Channels, nan); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]eeg.Event{{Time: 1. / 256, Label: "1"}, {Time: 3. / 256, Label: "2"}}, r.Events); d != "" {
				t.Error(d)
			}
			if r.Format != "Muse" || r.Origin != 1.7e9 || !r.Start.Equal(time.Unix(1.7e9, 0)) {
				t.Errorf("%s, origin %v, start %v", r.Format, r.Origin, r.Start)
			}
		})
	}
	for _, c := range [][2]string{
		{"timestamps,Marker\n1,0\n", "names no electrode"},
		{"timestamps,TP9\n1,0\n", "at least 2"},
		{"timestamps,TP9\n1,0\n2,0\n", "rate of 1.0 Hz"},
		{"timestamps,TP9\n1,0,5\n", "3 fields, the first line names 2"},
		{"timestamps,TP9\n1,x\n", "line 2: column \"TP9\""},
		{"timestamps,TP9\nnan,1\n", "not a number"},
	} {
		refuse(t, []byte(c[0]), c[1])
	}
}

const openBCI6 = `%OpenBCI Raw EXG Data
%Number of channels = 2
%Sample Rate = 250 Hz
%Board = OpenBCI_GUI$BoardCytonSerial
Sample Index, EXG Channel 0, EXG Channel 1, Accel Channel 0, Other, Timestamp, Marker Channel, Timestamp (Formatted)
254, 1.50, -2.25, 0.040,0, 1557936053329,0, 12:00:53.329
255, 3.00, 4.00, 0.040,0, 1557936053333,7.0, 12:00:53.333
0, 5.00, -6.00, 0.040,0, 1557936053337,0, 12:00:53.337
3, 7.00, 8.00, 0.040,0, 1557936053337,0, 12:00:53.337
`

func TestOpenBCI(t *testing.T) {
	want := [][]float32{{1.5, 3, 5, 7}, {-2.25, 4, -6, 8}}
	older := "%OpenBCI Raw EEG Data\r\n%Number of channels = 2\r\n%Sample Rate = 250.0 Hz\r\n%First Column = SampleIndex\r\n" +
		"254, 1.50, -2.25, 0.00, 12:00:00.000, 1500000000000\r\n255, 3.00, 4.00, 0.00, 12:00:00.000, 1500000000000\r\n0, 5.00, -6.00, 0.00, 12:00:00.000, 1500000000000\r\n3, 7.00, 8.00, 0.00, 12:00:00.000, 1500000000000\r\n"
	comma := openBCI6
	for _, v := range []string{"1.50", "2.25", "3.00", "4.00", "5.00", "6.00", "7.00", "8.00", "0.040", "53.3"} {
		comma = strings.ReplaceAll(comma, v, strings.Replace(v, ".", ",", 1))
	}
	for name, text := range map[string]string{"v6": openBCI6, "bom crlf": "\xef\xbb\xbf" + strings.ReplaceAll(openBCI6, "\n", "\r\n"), "v4": older, "comma": comma} {
		t.Run(name, func(t *testing.T) {
			r := read(t, []byte(text))
			if len(r.Channels) != 2 || r.Format != "OpenBCI" {
				t.Fatalf("%s with %d channels", r.Format, len(r.Channels))
			}
			for i, c := range r.Channels {
				if d := cmp.Diff(want[i], c.Samples); d != "" || c.Rate != 250 || c.Unit != "uV" {
					t.Errorf("channel %d at %v Hz in %s: %s", i, c.Rate, c.Unit, d)
				}
			}
			if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "2 samples were lost") {
				t.Errorf("warnings %v", r.Warnings)
			}
			if strings.HasPrefix(name, "v6") {
				if d := cmp.Diff([]eeg.Event{{Time: 0.004, Label: "7"}}, r.Events); d != "" || math.Abs(r.Origin-1557936053.329) > 1e-6 {
					t.Error(d, r.Origin)
				}
			}
		})
	}
	for _, c := range [][2]string{
		{"%OpenBCI\n1, 2\n", "before the number of channels"},
		{"%OpenBCI\n%Number of channels = 0\n", "channels"},
		{"%OpenBCI\n%Number of channels = 1\n%Sample Rate = x Hz\n", "a rate of"},
		{"%OpenBCI\n%Number of channels = 1\n%Sample Rate = 250 Hz\n", "no samples"},
		{"%OpenBCI\n%Number of channels = 2\n%Sample Rate = 250 Hz\nSample Index, EXG Channel 0\n", "1 columns"},
		{"%OpenBCI\n%Number of channels = 2\n%Sample Rate = 250 Hz\n0, 1.0\n", "2 fields"},
		{"%OpenBCI\n%Number of channels = 1\n%Sample Rate = 250 Hz\n0, one\n", "not a number"},
	} {
		refuse(t, []byte(c[0]), c[1])
	}
}

func TestUnknown(t *testing.T) {
	for _, data := range []string{"", "hello\nworld\n", "\x00\x01\x02", "a,b\n1,2\n"} {
		if _, err := eeg.Read(strings.NewReader(data)); !errors.Is(err, eeg.ErrUnknownFormat) {
			t.Errorf("%q: %v", data, err)
		}
	}
	refuse(t, []byte("\x1f\x8bnot gzip at all"), "gzip")
	refuse(t, gzipped([]byte(muse))[:60], "unexpected EOF")
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(muse))
	f.Add([]byte(openBCI6))
	f.Add(gzipped([]byte("timestamps,a\n1,2\n")))
	f.Add(buildEDF(edfOptions{records: "1", duration: "1"}, cz([]int32{1, 2})))
	f.Add(buildEDF(edfOptions{reserved: "EDF+D", records: "2", duration: "1"}, cz([]int32{1, 2}, []int32{3, 4}), annotations(20, "+0\x14\x14\x00+1\x151\x14a\x14\x00", "+5\x14\x14\x00")))
	f.Add(buildEDF(edfOptions{bdf: true, records: "-1", duration: "1"}, edfFields{label: "Status", physMin: "-1", physMax: "1", digMin: "-5", digMax: "5", perRecord: 2, records: [][]int32{{0, 5}}}))
	x := newXDF()
	x.stream(1, "A", "EEG", "int16", 1, "10", "<channels><channel><label>Cz</label></channel></channels>")
	x.stream(2, "B", "Markers", "string", 1, "0", "")
	x.samples(1, xdfSample{1, le(int16(1))}, xdfSample{none, le(int16(2))})
	x.samples(2, xdfSample{1, le("go")})
	x.clock(1, 5, 1)
	x.clock(1, 15, 1.5)
	x.boundary()
	f.Add(x.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := eeg.Read(bytes.NewReader(data))
		if err == nil {
			consistent(t, r)
		}
	})
}
