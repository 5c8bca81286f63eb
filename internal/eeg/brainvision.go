package eeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
)

// isBrainVision reports whether a header of Brain Products' format begins:
// "Brain Vision Data Exchange Header File Version 1.0", or later spellings.
func isBrainVision(head []byte) bool {
	line := strings.ToLower(string(head[:min(len(head), 80)]))
	return strings.HasPrefix(line, "brain") && strings.Contains(line, "header file")
}

// ini holds the keys of a file by lower-case section and key.
type ini map[string]map[string]string

func (f ini) get(section, key string) string { return f[section][key] }

// parseINI reads "[section]", "key=value" and comments after a semicolon. It
// stops at the section for people, [Comment].
func parseINI(data []byte) (ini, error) {
	if len(data) > MaxHeaderBytes {
		return nil, parseErrorf("BrainVision", "header", "longer than %d bytes", MaxHeaderBytes)
	}
	out := ini{}
	section := ""
	err := lines("BrainVision", data, func(no int, b []byte) error {
		line := strings.TrimSpace(text(b))
		switch {
		case no == 1, line == "", line[0] == ';', section == "comment":
		case line[0] == '[' && line[len(line)-1] == ']':
			section = strings.ToLower(line[1 : len(line)-1])
			if out[section] == nil {
				out[section] = map[string]string{}
			}
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil // free text, as in [User Infos]
			}
			if section == "" {
				return parseErrorf("BrainVision", fmt.Sprintf("line %d", no), "a key before the first section")
			}
			out[section][strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
		return nil
	})
	return out, err
}

type brainVision struct {
	rec      *Recording
	head     ini
	name     string // of the header, to expand $b
	interval float64
	scale    []float64 // of each channel: from stored numbers to Unit
	beside   func(base string) ([]byte, error)
}

func parseBrainVision(data []byte, name string, beside func(base string) ([]byte, error)) (*Recording, error) {
	head, err := parseINI(data)
	if err != nil {
		return nil, err
	}
	f := &brainVision{rec: &Recording{Format: "BrainVision"}, head: head, name: name, beside: beside}
	if err := f.channels(); err != nil {
		return nil, err
	}
	if err := f.samples(); err != nil {
		return nil, err
	}
	return f.rec, f.markers()
}

func (f *brainVision) errorf(where, problem string, args ...any) error {
	return parseErrorf("BrainVision", where, problem, args...)
}

func (f *brainVision) channels() error {
	common := f.head["common infos"]
	n, err := strconv.Atoi(common["numberofchannels"])
	if err != nil || n < 1 || n > MaxChannels {
		return f.errorf("[Common Infos]", "NumberOfChannels=%.20s; use 1 to %d", common["numberofchannels"], MaxChannels)
	}
	f.interval, err = strconv.ParseFloat(decimal(common["samplinginterval"]), 64)
	if err != nil || !(f.interval >= 1e6/MaxRate) || f.interval > 1e12 {
		return f.errorf("[Common Infos]", "SamplingInterval=%.20s; it is in microseconds", common["samplinginterval"])
	}
	if t := common["datatype"]; t != "" && !strings.EqualFold(t, "TIMEDOMAIN") {
		return f.errorf("[Common Infos]", "DataType=%.40s; only TIMEDOMAIN is read", t)
	}
	rate := float64(1e6 / f.interval)
	for i := range n {
		key := fmt.Sprintf("ch%d", i+1)
		fields := strings.Split(f.head.get("channel infos", key), ",")
		for len(fields) < 4 {
			fields = append(fields, "")
		}
		// A resolution with a decimal comma makes one field more than the
		// format has: name, reference, "0", "5", unit.
		if len(fields) >= 5 && allDigits(fields[2]) && allDigits(fields[3]) {
			fields = append(fields[:2], append([]string{fields[2] + "." + fields[3]}, fields[4:]...)...)
		}
		scale := 1.0
		if r := strings.TrimSpace(fields[2]); r != "" {
			scale, err = strconv.ParseFloat(r, 64)
			if err != nil || !finite(scale) || scale == 0 {
				return f.errorf("[Channel Infos] "+key, "the resolution %.20q is not a number", fields[2])
			}
		}
		stored := strings.TrimSpace(fields[3])
		if stored == "" {
			stored = "µV" // the specification's default
		}
		name := strings.ReplaceAll(strings.TrimSpace(fields[0]), `\1`, ",")
		if name == "" {
			name = strconv.Itoa(i + 1)
		}
		if len(name) > MaxNameBytes || len(stored) > MaxNameBytes {
			return f.errorf("[Channel Infos] "+key, "a name is longer than %d bytes", MaxNameBytes)
		}
		u, factor := unit(stored)
		f.rec.Channels = append(f.rec.Channels, Channel{Name: name, Unit: u, Rate: rate})
		f.scale = append(f.scale, float64(scale*factor))
	}
	return nil
}

func allDigits(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// file reads one of the files that the header names. Only its last element
// counts: what the header says of folders was true on another machine, and
// must not lead out of this folder.
func (f *brainVision) file(key string) ([]byte, error) {
	name := f.head.get("common infos", key)
	if name == "" {
		return nil, nil
	}
	base := f.name
	if i := strings.LastIndexByte(base, '.'); i >= 0 {
		base = base[:i]
	}
	name = strings.ReplaceAll(name, "$b", base)
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if name == "" || name == "." || name == ".." {
		return nil, f.errorf("[Common Infos]", "%s names no file", key)
	}
	data, err := f.beside(name)
	if errors.Is(err, fs.ErrNotExist) { // the files may have been renamed together
		renamed := base + name[max(0, strings.LastIndexByte(name, '.')):]
		if again, e := f.beside(renamed); renamed != name && e == nil {
			f.rec.warnf("the header names %q, which is not there; %q was read", name, renamed)
			return again, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the header names %q: %w", name, err)
	}
	return data, nil
}

func (f *brainVision) samples() error {
	data, err := f.file("datafile")
	if err != nil {
		return err
	}
	if f.head.get("common infos", "datafile") == "" {
		return f.errorf("[Common Infos]", "it has no DataFile")
	}
	vectorized := false
	switch o := strings.ToUpper(f.head.get("common infos", "dataorientation")); o {
	case "", "MULTIPLEXED":
	case "VECTORIZED":
		vectorized = true
	default:
		return f.errorf("[Common Infos]", "DataOrientation=%.20s; use MULTIPLEXED or VECTORIZED", o)
	}
	switch d := strings.ToUpper(f.head.get("common infos", "dataformat")); d {
	case "", "BINARY":
		err = f.binary(data, vectorized)
	case "ASCII":
		err = f.ascii(data, vectorized)
	default:
		err = f.errorf("[Common Infos]", "DataFormat=%.20s; use BINARY or ASCII", d)
	}
	if err != nil {
		return err
	}
	if want := f.head.get("common infos", "datapoints"); want != "" && want != strconv.Itoa(len(f.rec.Channels[0].Samples)) {
		return f.errorf("data", "DataPoints=%.20s, but the file has %d a channel", want, len(f.rec.Channels[0].Samples))
	}
	for i := range f.rec.Channels {
		f.rec.Channels[i].whole()
	}
	return nil
}

func (f *brainVision) binary(data []byte, vectorized bool) error {
	var order binary.ByteOrder = binary.LittleEndian
	if strings.EqualFold(f.head.get("binary infos", "usebigendianorder"), "yes") {
		order = binary.BigEndian
	}
	var width int
	var number func(b []byte) float64
	switch kind := strings.ToUpper(f.head.get("binary infos", "binaryformat")); kind {
	case "", "INT_16":
		width, number = 2, func(b []byte) float64 { return float64(int16(order.Uint16(b))) }
	case "UINT_16":
		width, number = 2, func(b []byte) float64 { return float64(order.Uint16(b)) }
	case "INT_32":
		width, number = 4, func(b []byte) float64 { return float64(int32(order.Uint32(b))) }
	case "IEEE_FLOAT_32", "FLOAT_32":
		width, number = 4, func(b []byte) float64 { return float64(math.Float32frombits(order.Uint32(b))) }
	case "IEEE_FLOAT_64":
		width, number = 8, func(b []byte) float64 { return math.Float64frombits(order.Uint64(b)) }
	default:
		return f.errorf("[Binary Infos]", "BinaryFormat=%.20s; known are INT_16, UINT_16, INT_32 and IEEE_FLOAT_32", kind)
	}
	if off := f.head.get("channel infos", "dataoffset") + f.head.get("binary infos", "dataoffset"); off != "" {
		n, err := strconv.Atoi(off)
		if err != nil || n < 0 || n > len(data) {
			return f.errorf("[Binary Infos]", "DataOffset=%.20s", off)
		}
		data = data[n:]
	}
	chs := f.rec.Channels
	frame := width * len(chs)
	n := len(data) / frame
	if len(data)%frame != 0 {
		return f.errorf("data", "%d bytes are not a whole number of points of %d channels: the file is cut off, or its format is another", len(data), len(chs))
	}
	if n*len(chs) > MaxSamples {
		return f.errorf("data", "more than %d samples", MaxSamples)
	}
	for c := range chs {
		chs[c].Samples = make([]float32, n)
		for i := range n {
			at := i*frame + c*width
			if vectorized {
				at = (c*n + i) * width
			}
			chs[c].Samples[i] = float32(float64(number(data[at:]) * f.scale[c]))
		}
	}
	return nil
}

// ascii reads numbers as text: a line for each point, or, vectorized, for
// each channel, after its name.
func (f *brainVision) ascii(data []byte, vectorized bool) error {
	infos := f.head["ascii infos"]
	skipLines, skipColumns := 0, 0
	for key, v := range map[string]*int{"skiplines": &skipLines, "skipcolumns": &skipColumns} {
		if s := infos[key]; s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				return f.errorf("[ASCII Infos]", "%s=%.20s", key, s)
			}
			*v = n
		}
	}
	chs := f.rec.Channels
	comma := infos["decimalsymbol"] == ","
	row, total := 0, 0
	err := lines("BrainVision", data, func(no int, line []byte) error {
		if no <= skipLines || len(bytes.TrimSpace(line)) == 0 {
			return nil
		}
		fields := strings.FieldsFunc(string(line), func(r rune) bool {
			return r == ' ' || r == '\t' || r == ';' || r == ',' && !comma
		})
		where := fmt.Sprintf("data, line %d", no)
		if len(fields) < skipColumns || vectorized && row >= len(chs) {
			return f.errorf(where, "the line is one too many, or too short")
		}
		fields = fields[skipColumns:]
		if !vectorized && len(fields) != len(chs) {
			return f.errorf(where, "%d numbers for %d channels", len(fields), len(chs))
		}
		if total += len(fields); total > MaxSamples {
			return f.errorf(where, "more than %d samples", MaxSamples)
		}
		for i, s := range fields {
			c := i
			if vectorized {
				c = row
			}
			x, err := strconv.ParseFloat(decimal(s), 64)
			if err != nil {
				return f.errorf(where, "%.40q is not a number", s)
			}
			chs[c].Samples = append(chs[c].Samples, float32(float64(x*f.scale[c])))
		}
		row++
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range chs {
		if len(c.Samples) != len(chs[0].Samples) {
			return f.errorf("data", "channels %q and %q have %d and %d points", chs[0].Name, c.Name, len(chs[0].Samples), len(c.Samples))
		}
	}
	return nil
}

// markers reads the marker file: type, description, position (from 1), size,
// channel, and for a new segment its date.
func (f *brainVision) markers() error {
	data, err := f.file("markerfile")
	if err != nil || data == nil {
		return err
	}
	m, err := parseINI(data)
	if err != nil {
		return err
	}
	points := len(f.rec.Channels[0].Samples)
	infos := m["marker infos"]
	if len(infos) > MaxEvents {
		return f.errorf("[Marker Infos]", "more than %d events", MaxEvents)
	}
	var segments []bvSegment
	for _, key := range markerKeys(infos) {
		fields := strings.Split(infos[key], ",")
		if len(fields) < 3 {
			return f.errorf("[Marker Infos] "+key, "%d fields; type, description and position are needed", len(fields))
		}
		pos, err := strconv.Atoi(strings.TrimSpace(fields[2]))
		if err != nil || pos < 0 || pos > points+1 {
			return f.errorf("[Marker Infos] "+key, "position %.20q; the data has points 1 to %d", fields[2], points)
		}
		at := max(pos-1, 0) // some programs count from 0
		size := 0
		if len(fields) > 3 {
			size, _ = strconv.Atoi(strings.TrimSpace(fields[3]))
		}
		e := Event{
			Type:  strings.ReplaceAll(strings.TrimSpace(fields[0]), `\1`, ","),
			Label: strings.ReplaceAll(strings.TrimSpace(fields[1]), `\1`, ","),
			Time:  float64(float64(at) * f.interval / 1e6),
		}
		if len(e.Label) > MaxNameBytes || len(e.Type) > MaxNameBytes {
			return f.errorf("[Marker Infos] "+key, "longer than %d bytes", MaxNameBytes)
		}
		if size > 1 && size <= points {
			e.Duration = float64(float64(size) * f.interval / 1e6)
		}
		if strings.EqualFold(e.Type, "New Segment") {
			s := bvSegment{at: at}
			if len(fields) > 5 {
				s.date = bvDate(strings.TrimSpace(fields[5]))
			}
			segments = append(segments, s)
		}
		f.rec.Events = append(f.rec.Events, e)
	}
	f.segments(segments)
	sort.SliceStable(f.rec.Events, func(i, j int) bool { return f.rec.Events[i].Time < f.rec.Events[j].Time })
	return nil
}

// markerKeys returns Mk1, Mk2, ... in the order of their numbers.
func markerKeys(infos map[string]string) []string {
	var keys []string
	for k := range infos {
		if strings.HasPrefix(k, "mk") && allDigits(k[2:]) {
			keys = append(keys, k)
		}
	}
	sort.Slice(keys, func(i, j int) bool { // shorter numbers are smaller
		a, b := keys[i], keys[j]
		return len(a) < len(b) || len(a) == len(b) && a < b
	})
	return keys
}

type bvSegment struct {
	at   int
	date time.Time
}

// bvDate reads YYYYMMDDhhmmss and six digits of microseconds.
func bvDate(s string) time.Time {
	if len(s) != 20 || !allDigits(s) || s[:8] == "00000000" {
		return time.Time{}
	}
	t, err := time.Parse("20060102150405.000000", s[:14]+"."+s[14:])
	if err != nil {
		return time.Time{}
	}
	return t
}

// segments cuts the channels where a new segment begins after the first
// point: nothing was recorded in between. Where both segments have dates the
// gap is known; else the later one follows at once.
func (f *brainVision) segments(list []bvSegment) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].at < list[j].at })
	chs := f.rec.Channels
	if len(chs[0].Samples) == 0 {
		return
	}
	rate := chs[0].Rate
	pieces := []Piece{{Rate: rate}}
	var began time.Time
	for _, s := range list {
		if s.at == 0 {
			began = s.date
			f.rec.Start = s.date
			continue
		}
		last := pieces[len(pieces)-1]
		if s.at == last.First || s.at >= len(chs[0].Samples) {
			continue
		}
		start := last.Start + float64(float64(s.at-last.First)/rate)
		if !began.IsZero() && !s.date.IsZero() {
			start = max(start, float64(float64(s.date.Sub(began))/1e9))
		}
		pieces = append(pieces, Piece{First: s.at, Start: start, Rate: rate})
	}
	for i := range chs {
		chs[i].Pieces = pieces
	}
	if len(pieces) > 1 {
		for i := range f.rec.Events {
			at := int(math.Floor(float64(f.rec.Events[i].Time*rate) + 0.5))
			f.rec.Events[i].Time = chs[0].Time(at)
		}
	}
}
