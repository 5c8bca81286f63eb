package eeg

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// openBCI reads the text files that the OpenBCI GUI writes: lines that begin
// with % tell the number of channels and the rate; since version 5 a line
// then names the columns.
type openBCI struct {
	rec      *Recording
	channels int
	rate     float64
	cols     []string // names of the columns; nil before version 5
	exg      []int    // columns of the channels
	marker   int      // column, or -1
	stamp    int      // column of the time stamp, or -1
	rows     int
	last     int // sample index of the last row
	lost     int
}

func parseOpenBCI(data []byte) (*Recording, error) {
	f := &openBCI{rec: &Recording{Format: "OpenBCI"}, marker: -1, stamp: -1, last: -1}
	err := lines("OpenBCI", data, func(no int, b []byte) error {
		line := strings.TrimSpace(text(b))
		where := fmt.Sprintf("line %d", no)
		switch {
		case line == "":
			return nil
		case line[0] == '%':
			return f.head(where, line[1:])
		case f.exg == nil:
			if err := f.begin(where); err != nil {
				return err
			}
			if c := line[0]; c < '0' || c > '9' {
				return f.names(where, line)
			}
		}
		return f.row(where, b)
	})
	if err != nil {
		return nil, err
	}
	if f.rows == 0 {
		return nil, parseErrorf("OpenBCI", "end", "the file has no samples")
	}
	if f.lost > 0 {
		f.rec.warnf("%d samples were lost on the way from the board; those that came count as evenly spaced", f.lost)
	}
	for i := range f.rec.Channels {
		f.rec.Channels[i].whole()
	}
	return f.rec, nil
}

// head reads "Number of channels = 8" and "Sample Rate = 250.0 Hz".
func (f *openBCI) head(where, line string) error {
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return nil
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	switch {
	case strings.EqualFold(key, "Number of channels"):
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > MaxChannels {
			return parseErrorf("OpenBCI", where, "%.20q channels; use 1 to %d", value, MaxChannels)
		}
		f.channels = n
	case strings.EqualFold(key, "Sample Rate"):
		r, err := strconv.ParseFloat(decimal(strings.TrimSuffix(value, "Hz")), 64)
		if err != nil || !(r > 0) || r > MaxRate {
			return parseErrorf("OpenBCI", where, "a rate of %.20q", value)
		}
		f.rate = r
	}
	return nil
}

// begin makes the channels, which follow the sample index.
func (f *openBCI) begin(where string) error {
	if f.channels == 0 || f.rate == 0 {
		return parseErrorf("OpenBCI", where, "samples begin before the number of channels and the rate are told")
	}
	for i := range f.channels {
		f.exg = append(f.exg, i+1)
		f.rec.Channels = append(f.rec.Channels, Channel{Name: strconv.Itoa(i + 1), Unit: "uV", Rate: f.rate})
	}
	return nil
}

// names finds the columns by their names.
func (f *openBCI) names(where, line string) error {
	f.cols = strings.Split(line, ",")
	f.exg = f.exg[:0]
	for i, c := range f.cols {
		c = strings.TrimSpace(c)
		if len(c) > MaxNameBytes {
			return parseErrorf("OpenBCI", where, "the name of a column is longer than %d bytes", MaxNameBytes)
		}
		switch l := strings.ToLower(c); {
		case strings.HasPrefix(l, "exg channel"), strings.HasPrefix(l, "eeg channel"):
			if len(f.exg) < f.channels {
				f.rec.Channels[len(f.exg)].Name = c
			}
			f.exg = append(f.exg, i)
		case strings.HasPrefix(l, "marker"):
			f.marker = i
		case l == "timestamp":
			f.stamp = i
		}
	}
	if len(f.exg) != f.channels {
		return parseErrorf("OpenBCI", where, "the header tells %d channels, %d columns are named EXG Channel", f.channels, len(f.exg))
	}
	return nil
}

func (f *openBCI) row(where string, line []byte) error {
	fields, err := f.fields(where, line)
	if err != nil {
		return err
	}
	if (f.rows+1)*f.channels > MaxSamples {
		return parseErrorf("OpenBCI", where, "more than %d samples", MaxSamples)
	}
	for i, col := range f.exg {
		x, err := strconv.ParseFloat(decimal(fields[col]), 64)
		if err != nil {
			return parseErrorf("OpenBCI", where, "channel %d: %.40q is not a number", i+1, fields[col])
		}
		f.rec.Channels[i].Samples = append(f.rec.Channels[i].Samples, float32(x))
	}
	if f.stamp >= 0 && f.rows == 0 {
		if t, err := strconv.ParseFloat(decimal(fields[f.stamp]), 64); err == nil && finite(t) {
			if t > 1e11 { // milliseconds
				t = float64(t / 1000)
			}
			f.rec.Origin, f.rec.Start = t, unixTime(t)
		}
	}
	if f.marker >= 0 {
		if label, ok := markerLabel(strings.TrimSpace(fields[f.marker])); ok {
			if len(f.rec.Events) >= MaxEvents {
				return parseErrorf("OpenBCI", where, "more than %d events", MaxEvents)
			}
			f.rec.Events = append(f.rec.Events, Event{Time: float64(float64(f.rows) / f.rate), Label: label})
		}
	}
	f.follow(fields[0])
	f.rows++
	return nil
}

// fields cuts a line. With a decimal comma a line has more commas than
// columns; the GUI puts a space after those that part columns, at least up to
// the channels.
func (f *openBCI) fields(where string, line []byte) ([]string, error) {
	s := strings.TrimSpace(string(line))
	fields := strings.Split(s, ",")
	want := f.channels + 1
	if f.cols != nil {
		want = len(f.cols)
	}
	if f.cols != nil && len(fields) > want || f.cols == nil && strings.Count(s, ".") == 0 && len(fields) > 2*f.channels {
		fields = strings.Split(s, ", ")
		if f.cols != nil && len(fields) != want { // what follows the channels is not told apart
			f.marker, f.stamp = -1, -1
			want = f.exg[len(f.exg)-1] + 2 // a separator must follow the last channel
		}
	}
	if len(fields) < want || len(bytes.TrimSpace(line)) == 0 {
		return nil, parseErrorf("OpenBCI", where, "%d fields; %d are needed", len(fields), want)
	}
	return fields, nil
}

// follow watches the sample index, which counts to 255 on Cyton boards, or
// to 200 on Ganglion ones, and begins again; with a Daisy module, which has
// more than 8 channels, it counts by twos.
func (f *openBCI) follow(field string) {
	x, err := strconv.ParseFloat(decimal(field), 64)
	if err != nil || x != math.Trunc(x) || x < 0 || x > 1<<20 {
		return
	}
	i, step := int(x), 1
	if f.channels > 8 {
		step = 2
	}
	if f.last >= 0 && i > f.last {
		f.lost += (i - f.last - 1) / step
	}
	f.last = i
}
