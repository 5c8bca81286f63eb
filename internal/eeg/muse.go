package eeg

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// museRates are the rates at which Muse headbands sample: the first ones
// (2014) by their two presets, all later ones at 256 Hz.
var museRates = []float64{256, 220, 500}

// isMuse reports whether the first line names the columns as eeg-notebooks
// does.
func isMuse(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), MaxLineBytes)], []byte("\n"))
	cols, _ := columns(string(bytes.TrimSuffix(line, []byte("\r"))))
	return len(cols) >= 2 && (cols[0] == "timestamps" || cols[0] == "timestamp")
}

// columns cuts the line of column names, and tells the separator: a comma,
// or a semicolon or tab, as spreadsheets write where the comma is decimal.
func columns(line string) (cols []string, sep string) {
	sep = ","
	for _, s := range []string{";", "\t"} {
		if strings.Contains(line, s) {
			sep = s
		}
	}
	cols = strings.Split(line, sep)
	for i, c := range cols {
		cols[i] = strings.Trim(strings.TrimSpace(c), `"`)
	}
	return cols, sep
}

// parseMuse reads the CSV files of eeg-notebooks: a time stamp (Unix time in
// seconds), the electrodes in microvolts, and one or more columns named
// Marker..., in which 0 (or nothing) is no event.
func parseMuse(data []byte) (*Recording, error) {
	rec := &Recording{Format: "Muse"}
	var cols []string
	var sep string
	var stamps []float64
	var marks []mark // event times need the rate, which needs all stamps
	err := lines("Muse", data, func(no int, line []byte) error {
		where := fmt.Sprintf("line %d", no)
		if no == 1 {
			cols, sep = columns(string(line))
			return rec.museChannels(cols)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
		fields := strings.Split(string(line), sep)
		if len(fields) != len(cols) {
			return parseErrorf("Muse", where, "%d fields, the first line names %d", len(fields), len(cols))
		}
		if (len(stamps)+1)*len(rec.Channels) > MaxSamples {
			return parseErrorf("Muse", where, "more than %d samples", MaxSamples)
		}
		ch := 0
		for i, f := range fields {
			f = strings.Trim(strings.TrimSpace(f), `"`)
			if i > 0 && isMarker(cols[i]) {
				if label, ok := markerLabel(f); ok {
					marks = append(marks, mark{row: len(stamps) - 1, label: label})
				}
				continue
			}
			x, err := strconv.ParseFloat(decimal(f), 64)
			if err != nil || i == 0 && (math.IsNaN(x) || math.IsInf(x, 0)) {
				return parseErrorf("Muse", where, "column %q: %.40q is not a number", cols[i], f)
			}
			if i == 0 {
				stamps = append(stamps, x)
				continue
			}
			rec.Channels[ch].Samples = append(rec.Channels[ch].Samples, float32(x))
			ch++
		}
		if len(marks) > MaxEvents {
			return parseErrorf("Muse", where, "more than %d events", MaxEvents)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rec, rec.museTimes(stamps, marks)
}

type mark struct {
	row   int
	label string
}

func isMarker(col string) bool { return strings.HasPrefix(strings.ToLower(col), "marker") }

// markerLabel returns the label of a marker's field: a whole number loses the
// ".0" that some programs add.
func markerLabel(f string) (label string, ok bool) {
	x, err := strconv.ParseFloat(decimal(f), 64)
	switch {
	case f == "" || err == nil && (x == 0 || math.IsNaN(x)):
		return "", false
	case err == nil && x == math.Trunc(x) && math.Abs(x) < 1<<53:
		return strconv.FormatFloat(x, 'f', -1, 64), true
	}
	return f, len(f) <= MaxNameBytes
}

func (r *Recording) museChannels(cols []string) error {
	if len(cols) > MaxChannels {
		return parseErrorf("Muse", "line 1", "%d columns, the limit is %d", len(cols), MaxChannels)
	}
	for _, c := range cols[1:] {
		if len(c) > MaxNameBytes {
			return parseErrorf("Muse", "line 1", "the name of a column is longer than %d bytes", MaxNameBytes)
		}
		if !isMarker(c) {
			r.Channels = append(r.Channels, Channel{Name: text([]byte(c)), Unit: "uV"})
		}
	}
	if len(r.Channels) == 0 {
		return parseErrorf("Muse", "line 1", "names no electrode")
	}
	return nil
}

// museTimes finds the rate and puts the events on the clock of the samples.
// Stamps of one packet of the radio are uneven, so samples count as evenly
// spaced.
func (r *Recording) museTimes(stamps []float64, marks []mark) error {
	n := len(stamps)
	if n < 2 {
		return parseErrorf("Muse", "end", "%d samples; at least 2 are needed to tell the rate", n)
	}
	rate, err := nearestRate(float64(float64(n-1)/(stamps[n-1]-stamps[0])), museRates)
	if err != nil {
		return err
	}
	r.Origin = stamps[0]
	r.Start = unixTime(stamps[0])
	for i := range r.Channels {
		r.Channels[i].Rate = rate
		r.Channels[i].whole()
	}
	for _, m := range marks {
		r.Events = append(r.Events, Event{Time: float64(float64(m.row) / rate), Label: m.label})
	}
	gap := 0.0
	for i := 1; i < n; i++ {
		gap = max(gap, stamps[i]-stamps[i-1], stamps[i-1]-stamps[i])
	}
	if gap > 1 {
		r.warnf("time stamps jump by %.1f s: samples were lost, or two recordings joined", gap)
	}
	return nil
}

// nearestRate returns the known rate within 5 % of the measured one. The
// stamps end wherever the last packet did, so that they tell the rate only
// about.
func nearestRate(measured float64, known []float64) (float64, error) {
	for _, k := range known {
		if math.Abs(measured-k) <= k/20 {
			return k, nil
		}
	}
	return 0, parseErrorf("Muse", "time stamps", "they tell a rate of %.1f Hz; Muse headbands have 256, 220 or 500", measured)
}

// unixTime converts seconds since 1970; it is zero where that is no date of
// a recording.
func unixTime(s float64) time.Time {
	if !(s > 1e8 && s < 1<<33) { // devices whose clock was not set count from 0
		return time.Time{}
	}
	whole := math.Floor(s)
	return time.Unix(int64(whole), int64(float64((s-whole)*1e9))).UTC()
}
