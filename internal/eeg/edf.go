package eeg

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// edfSignal is what the header says of one signal.
type edfSignal struct {
	label, unit        string
	physMin, physMax   float64
	digMin, digMax     int64
	perRecord, offset  int  // samples in a record; where they begin in it, in bytes
	annotations        bool // time stamps and texts, not samples
	channel            int  // in Recording.Channels, unless annotations
	gain, base, factor float64
}

// edfFile reads EDF (Kemp et al. 1992), EDF+ (Kemp and Olivan 2003) and
// BioSemi's BDF, which has samples of 24 bits.
type edfFile struct {
	kind     string // "EDF" or "BDF"
	plus     bool
	broken   bool // discontinuous: each record has its own time
	width    int  // bytes a sample
	duration float64
	records  int
	size     int // bytes a record
	signals  []edfSignal
	body     []byte
	rec      *Recording
}

func parseEDF(data []byte) (*Recording, error) {
	f := &edfFile{kind: "EDF", width: 2, rec: &Recording{}}
	if data[0] == 0xff {
		f.kind, f.width = "BDF", 3
	}
	if err := f.header(data); err != nil {
		return nil, err
	}
	if err := f.channels(); err != nil {
		return nil, err
	}
	if err := f.samples(); err != nil {
		return nil, err
	}
	r := f.rec
	r.Format = f.kind
	if f.plus {
		r.Format += map[bool]string{false: "+C", true: "+D"}[f.broken]
	}
	sort.SliceStable(r.Events, func(i, j int) bool { return r.Events[i].Time < r.Events[j].Time })
	return r, nil
}

func (f *edfFile) errorf(where, problem string, args ...any) error {
	return parseErrorf(f.kind, where, problem, args...)
}

// field parses a number of the header, which some programs write with a
// decimal comma, or followed by NUL.
func (f *edfFile) field(where, name string, b []byte) (float64, error) {
	s := decimal(strings.Trim(string(b), " \x00"))
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, f.errorf(where, "%s: %q is not a number", name, b)
	}
	return x, nil
}

func (f *edfFile) whole(where, name string, b []byte, least, most int64) (int64, error) {
	x, err := f.field(where, name, b)
	if err != nil {
		return 0, err
	}
	if x != math.Trunc(x) || x < float64(least) || x > float64(most) {
		return 0, f.errorf(where, "%s: %q; it must be a whole number from %d to %d", name, strings.TrimSpace(text(b)), least, most)
	}
	return int64(x), nil
}

// header reads the fixed part, 256 bytes, and 256 for each signal, which are
// stored field by field.
func (f *edfFile) header(data []byte) error {
	if len(data) < 256 {
		return f.errorf("header", "the file has %d bytes, the header 256 or more", len(data))
	}
	reserved := strings.TrimSpace(text(data[192:236]))
	f.plus = strings.HasPrefix(reserved, f.kind+"+")
	f.broken = strings.HasPrefix(reserved, f.kind+"+D")
	n, err := f.whole("header", "number of signals", data[252:256], 1, MaxChannels)
	if err != nil {
		return err
	}
	size, err := f.whole("header", "header size", data[184:192], 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if want := 256 + 256*n; size != want {
		return f.errorf("header", "says it has %d bytes, but with %d signals it has %d", size, n, want)
	} else if int64(len(data)) < want {
		return f.errorf("header", "the file has %d bytes, the header %d", len(data), want)
	}
	if f.duration, err = f.field("header", "duration of a record", data[244:252]); err != nil {
		return err
	}
	if f.duration < 0 {
		return f.errorf("header", "duration of a record is negative")
	}
	records, err := f.whole("header", "number of records", data[236:244], -1, math.MaxInt32)
	if err != nil {
		return err
	}
	f.body = data[size:]
	if bytes.Count(f.body, []byte("\xef\xbf\xbd")) > len(f.body)/100 {
		return f.errorf("data", "every byte above 127 was replaced by the three of U+FFFD: the file was once copied as text; get it again as it was")
	}
	f.start(data)
	if err := f.signalHeaders(data[256:size], int(n)); err != nil {
		return err
	}
	return f.count(int(records))
}

// signalHeaders reads the columns of the second part of the header.
func (f *edfFile) signalHeaders(h []byte, n int) error {
	column := func(at, width, i int) []byte { return h[at*n+width*i : at*n+width*(i+1)] }
	for i := range n {
		s := edfSignal{
			label: strings.Trim(text(column(0, 16, i)), " \x00"),
			unit:  strings.Trim(text(column(96, 8, i)), " \x00"),
		}
		where := fmt.Sprintf("signal %d (%q)", i+1, s.label)
		per, err := f.whole(where, "samples in a record", column(216, 8, i), 0, MaxSamples)
		if err != nil {
			return err
		}
		s.perRecord, s.offset = int(per), f.size
		f.size += s.perRecord * f.width
		if f.size > MaxFileBytes {
			return f.errorf(where, "a record has more than %d bytes", int64(MaxFileBytes))
		}
		s.annotations = f.plus && s.label == f.kind+" Annotations"
		if !s.annotations {
			if err := f.calibration(&s, where, column, i); err != nil {
				return err
			}
		}
		f.signals = append(f.signals, s)
	}
	if f.size == 0 {
		return f.errorf("header", "a record has no sample")
	}
	return nil
}

// calibration reads how stored numbers become physical ones.
func (f *edfFile) calibration(s *edfSignal, where string, column func(at, width, i int) []byte, i int) error {
	var err error
	if s.physMin, err = f.field(where, "physical minimum", column(104, 8, i)); err != nil {
		return err
	}
	if s.physMax, err = f.field(where, "physical maximum", column(112, 8, i)); err != nil {
		return err
	}
	limit := int64(1) << (8*f.width - 1)
	if s.digMin, err = f.whole(where, "digital minimum", column(120, 8, i), -limit, limit-1); err != nil {
		return err
	}
	if s.digMax, err = f.whole(where, "digital maximum", column(128, 8, i), -limit, limit-1); err != nil {
		return err
	}
	if s.digMax <= s.digMin {
		return f.errorf(where, "digital maximum %d is not above the minimum %d", s.digMax, s.digMin)
	}
	if s.physMax == s.physMin {
		return f.errorf(where, "physical maximum and minimum are both %v", s.physMax)
	}
	return nil
}

// start reads when the recording began: the header's two-digit year, or the
// date that EDF+ writes in full.
func (f *edfFile) start(data []byte) {
	digits := func(b []byte) (v [3]int, ok bool) {
		for i := range v {
			n, err := strconv.Atoi(strings.TrimSpace(string(b[3*i : 3*i+2])))
			if err != nil || n < 0 {
				return v, false
			}
			v[i] = n
		}
		return v, true
	}
	d, ok := digits(data[168:176])
	t, ok2 := digits(data[176:184])
	if !ok || !ok2 {
		f.rec.warnf("the header has no valid start date and time")
		return
	}
	year := 2000 + d[2]
	if d[2] >= 85 {
		year = 1900 + d[2]
	}
	day, month := d[0], time.Month(d[1])
	if fields := strings.Fields(text(data[88:168])); f.plus && len(fields) > 1 && fields[0] == "Startdate" {
		if full, err := time.Parse("2-Jan-2006", fields[1]); err == nil {
			year, month, day = full.Date()
		}
	}
	at := time.Date(year, month, day, t[0], t[1], t[2], 0, time.UTC)
	if at.Day() != day || at.Month() != month || t[0] > 23 || t[1] > 59 || t[2] > 60 {
		f.rec.warnf("the header has no valid start date and time")
		return
	}
	f.rec.Start = at
}

// count settles how many records there are. Fewer than the header promises
// means that samples are missing, so it is refused; a recorder that did not
// end well leaves -1.
func (f *edfFile) count(promised int) error {
	there := len(f.body) / f.size
	rest := len(f.body) - there*f.size
	switch {
	case promised == -1:
		f.rec.warnf("the number of records is unknown to the header; the file holds %d", there)
		f.records = there
		return nil
	case there < promised:
		return f.errorf("data", "the file is cut off: the header promises %d records, %d are whole", promised, there)
	case there > promised || rest > 0:
		f.rec.warnf("%d bytes follow the last record that the header promises", len(f.body)-promised*f.size)
	}
	f.records = promised
	return nil
}

// channels makes a channel of every signal with samples.
func (f *edfFile) channels() error {
	total := 0
	for i := range f.signals {
		s := &f.signals[i]
		if s.annotations {
			continue
		}
		where := fmt.Sprintf("signal %d (%q)", i+1, s.label)
		if s.perRecord > 0 && !(f.duration > 0) {
			return f.errorf(where, "has samples, but records last 0 s")
		}
		if total += s.perRecord * f.records; total > MaxSamples {
			return f.errorf(where, "more than %d samples", MaxSamples)
		}
		rate := 0.0
		if s.perRecord > 0 {
			rate = float64(float64(s.perRecord) / f.duration)
		}
		if rate > MaxRate {
			return f.errorf(where, "a rate of %v Hz; the limit is %v", rate, MaxRate)
		}
		name, factor := unit(s.unit)
		s.gain = float64((s.physMax - s.physMin) / float64(s.digMax-s.digMin))
		s.base, s.factor = s.physMin, factor
		s.channel = len(f.rec.Channels)
		f.rec.Channels = append(f.rec.Channels, Channel{Name: s.label, Unit: name, Rate: rate, Samples: make([]float32, 0, s.perRecord*f.records)})
	}
	return nil
}

// samples converts the records, and gives them their times.
func (f *edfFile) samples() error {
	origin, next := 0.0, 0.0
	for k := range f.records {
		record := f.body[k*f.size : (k+1)*f.size]
		onset, err := f.annotate(k, record)
		if err != nil {
			return err
		}
		if k == 0 { // EDF+ keeps the fraction of the start second here
			origin = onset
			f.rec.Start = addSeconds(f.rec.Start, origin)
		}
		if f.broken && k > 0 && math.Abs(onset-next) < 1e-9 {
			onset = next
		}
		for i := range f.signals {
			s := &f.signals[i]
			if s.annotations {
				continue
			}
			c := &f.rec.Channels[s.channel]
			if s.perRecord > 0 && (k == 0 || f.broken && onset != next) {
				c.Pieces = append(c.Pieces, Piece{First: len(c.Samples), Start: onset - origin, Rate: c.Rate})
			}
			f.convert(c, s, record[s.offset:s.offset+s.perRecord*f.width])
		}
		next = onset + f.duration
	}
	for i := range f.rec.Events {
		f.rec.Events[i].Time -= origin
	}
	f.triggers()
	return nil
}

// convert appends stored numbers as samples (spec/eeg.md section 2).
func (f *edfFile) convert(c *Channel, s *edfSignal, b []byte) {
	for ; len(b) > 0; b = b[f.width:] {
		d := int64(int16(uint16(b[0]) | uint16(b[1])<<8))
		if f.width == 3 {
			d = int64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24) >> 8)
		}
		phys := float64(s.gain*float64(d-s.digMin)) + s.base
		c.Samples = append(c.Samples, float32(float64(phys*s.factor)))
	}
}

// annotate reads the annotations of record k and returns when it begins.
func (f *edfFile) annotate(k int, record []byte) (onset float64, err error) {
	onset = float64(float64(k) * f.duration)
	first := true
	for i, s := range f.signals {
		if !s.annotations {
			continue
		}
		where := fmt.Sprintf("record %d, signal %d", k+1, i+1)
		tals, err := parseTALs(record[s.offset : s.offset+s.perRecord*f.width])
		if err != nil {
			return 0, f.errorf(where, "%v", err)
		}
		for j, t := range tals {
			texts := t.texts
			if first && j == 0 { // the record's own time: an empty text comes first
				if len(texts) > 0 && texts[0] == "" {
					onset = t.onset
					texts = texts[1:]
				} else if f.broken {
					return 0, f.errorf(where, "the record does not begin with its time")
				}
			}
			for _, label := range texts {
				if label == "" {
					continue
				}
				if len(f.rec.Events) >= MaxEvents {
					return 0, f.errorf(where, "more than %d events", MaxEvents)
				}
				f.rec.Events = append(f.rec.Events, Event{Time: t.onset, Duration: t.duration, Label: label})
			}
		}
		if f.broken && first && len(tals) == 0 {
			return 0, f.errorf(where, "the record has no time")
		}
		first = false
	}
	return onset, nil
}

// tal is a time-stamped annotation list of EDF+.
type tal struct {
	onset, duration float64
	texts           []string
}

// parseTALs reads lists of the form
//
//	+onset [0x15 duration] 0x14 text 0x14 text 0x14 ... 0x14 0x00
//
// which fill a record's space for annotations; unused bytes are 0.
func parseTALs(b []byte) ([]tal, error) {
	var out []tal
	for len(b) > 0 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		end := slices.Index(b, 0)
		if end < 0 {
			end = len(b) // the last list may fill the space
		}
		list := b[:end]
		b = b[end:]
		parts := strings.Split(string(list), "\x14")
		if len(parts) < 2 {
			return nil, fmt.Errorf("an annotation without the byte 20 after its time")
		}
		var t tal
		var err error
		onset, duration, has := strings.Cut(parts[0], "\x15")
		if onset == "" || onset[0] != '+' && onset[0] != '-' {
			return nil, fmt.Errorf("the time %.20q of an annotation has no sign", onset)
		}
		if t.onset, err = seconds(onset); err != nil {
			return nil, err
		}
		if has {
			if t.duration, err = seconds(duration); err != nil || t.duration < 0 {
				return nil, fmt.Errorf("the duration %.20q of an annotation is not a number of seconds", duration)
			}
		}
		for _, p := range parts[1 : len(parts)-1] { // nothing follows the last byte 20
			if len(p) > MaxNameBytes {
				return nil, fmt.Errorf("an annotation is longer than %d bytes", MaxNameBytes)
			}
			t.texts = append(t.texts, text([]byte(p)))
		}
		out = append(out, t)
	}
	return out, nil
}

func seconds(s string) (float64, error) {
	x, err := strconv.ParseFloat(decimal(s), 64)
	if err != nil || math.Abs(x) > 1e10 || math.IsNaN(x) {
		return 0, fmt.Errorf("%.20q is not a number of seconds", s)
	}
	return x, nil
}

// triggers makes events of BioSemi's status channel: one whenever the lower
// 16 of its 24 bits change to something but 0. Bits above are the amplifier's.
func (f *edfFile) triggers() {
	if f.kind != "BDF" {
		return
	}
	for i := range f.signals {
		s := &f.signals[i]
		if s.annotations || s.label != "Status" || s.perRecord == 0 {
			continue
		}
		c := &f.rec.Channels[s.channel]
		before := uint32(0)
		for k := range f.records {
			b := f.body[k*f.size+s.offset:]
			for j := range s.perRecord {
				code := uint32(b[3*j]) | uint32(b[3*j+1])<<8
				if code != before && code != 0 && len(f.rec.Events) < MaxEvents {
					f.rec.Events = append(f.rec.Events, Event{Time: c.Time(k*s.perRecord + j), Label: strconv.Itoa(int(code))})
				}
				before = code
			}
		}
	}
}

func addSeconds(t time.Time, s float64) time.Time {
	if t.IsZero() || !(math.Abs(s) < 1e9) {
		return t
	}
	return t.Add(time.Duration(math.Floor(float64(s*1e9) + 0.5)))
}
