package eeg_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/eeg"
	"github.com/avalnetwork/aval/internal/testdata"
)

// TestShared reads files that other programs wrote. Their samples are health
// data or of unknown origin, so only what describes them is looked at.
func TestShared(t *testing.T) {
	type facts struct {
		file, format      string
		channels, samples int // of the first channel
		rate              float64
		events            int
		label             string // of the first event
		start             string
	}
	for _, f := range []facts{
		{"formats/mne_test.edf", "EDF+C", 139, 3072, 512, 5, "start", "2014-04-29T22:19:44Z"},
		{"formats/mne_test_uneven_samp.edf", "EDF", 2, 11000, 100, 0, "", "2000-07-13T12:05:48Z"},
		{"formats/pyedflib_test_subsecond.edf", "EDF+C", 1, 89344, 128, 4, "XLSpike", "2020-01-24T04:05:56.3945312Z"},
		{"formats/mne_test.bdf", "BDF", 73, 2048, 2048, 1, "128", "2013-08-01T13:21:46Z"},
		{"formats/pyedflib_test_generator.bdf", "BDF+C", 5, 30000, 1000, 0, "", "2000-01-01T00:00:00Z"},
		{"formats/mne_test.vhdr", "BrainVision", 32, 7900, 1000, 14, "", "2013-11-13T16:14:03.794232Z"},
		{"formats/minimal.xdf", "XDF", 3, 9, 10, 9, "<?xml", ""},
		{"formats/clock_resets.xdf", "XDF", 8, 27815, 100, 175, "", ""},
		{"openbci/OpenBCI_GUI-v6-blinks-jawClench-alpha.txt.gz", "OpenBCI", 8, 22490, 250, 0, "", "2019-05-15T16:00:53.328999996Z"},
		{"p300/subject1_session1_data_2017-02-04-15_45_13.csv.gz", "Muse", 5, 30732, 256, 197, "1", "2017-02-04T15:45:15.48300004Z"},
		{"ssvep/subject4_session1_data_2018-04-22-15.00.15.csv.gz", "Muse", 5, 15372, 256, 17, "1", ""},
	} {
		t.Run(filepath.Base(f.file), func(t *testing.T) {
			r, err := eeg.Open(testdata.Shared(t, append([]string{"eeg"}, strings.Split(f.file, "/")...)...))
			if err != nil {
				t.Fatal(err)
			}
			c := &r.Channels[0]
			if r.Format != f.format || len(r.Channels) != f.channels || len(c.Samples) != f.samples || c.Rate != f.rate || len(r.Events) != f.events {
				t.Errorf("%s, %d channels of %d samples at %v Hz, %d events; want %+v", r.Format, len(r.Channels), len(c.Samples), c.Rate, len(r.Events), f)
			}
			if len(r.Events) > 0 && !strings.HasPrefix(r.Events[0].Label, f.label) {
				t.Errorf("the first event is %q, want %q", r.Events[0].Label, f.label)
			}
			start := ""
			if !r.Start.IsZero() {
				start = r.Start.Format(time.RFC3339Nano)
			}
			if start != f.start {
				t.Errorf("start %q, want %q", start, f.start)
			}
			consistent(t, r)
		})
	}
}

// TestSharedRanges checks that the samples of instruments with a known test
// signal have its size.
func TestSharedRanges(t *testing.T) {
	for _, c := range []struct {
		file, channel string
		low, high     float32
	}{
		{"pyedflib_test_generator.bdf", "sine 5Hz", -1000.1, 1000.1},
		{"pyedflib_test_generator.bdf", "square 13Hz", -1000.1, 1000.1},
		{"mne_test_uneven_samp.edf", "3Hz +5/-5 V", -5.2e6, 5.2e6},
	} {
		r, err := eeg.Open(testdata.Shared(t, "eeg", "formats", c.file))
		if err != nil {
			t.Fatal(err)
		}
		ch := r.Channel(c.channel)
		low, high := ch.Samples[0], ch.Samples[0]
		for _, v := range ch.Samples {
			low, high = min(low, v), max(high, v)
		}
		if low < c.low || high > c.high || low > c.low*0.9 || high < c.high*0.9 {
			t.Errorf("%s: %q goes from %v to %v, want about %v to %v", c.file, c.channel, low, high, c.low, c.high)
		}
	}
}

// TestSharedReset checks the time line of a stream whose computer was
// started again in the middle of the recording.
func TestSharedReset(t *testing.T) {
	r, err := eeg.Open(testdata.Shared(t, "eeg", "formats", "clock_resets.xdf"))
	if err != nil {
		t.Fatal(err)
	}
	p := r.Channels[0].Pieces
	if len(p) != 2 || p[1].Start < r.Channels[0].Time(p[1].First-1) || len(r.Warnings) != 2 {
		t.Errorf("pieces %+v, warnings %v", p, r.Warnings)
	}
}
