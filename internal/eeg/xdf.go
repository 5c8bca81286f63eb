package eeg

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Tags of chunks (XDF specification, github.com/sccn/xdf).
const (
	xdfFileHeader = iota + 1
	xdfStreamHeader
	xdfSamples
	xdfClockOffset
	xdfBoundary
	xdfStreamFooter
)

// xdfUUID is the content of a boundary chunk, by which a reader finds its way
// back after damage.
var xdfUUID = []byte("\x43\xa5\x46\xdc\xcb\xf5\x41\x0f\xb3\x0e\xd5\x46\x73\x83\xcb\xe4")

// xdfWidths are the sizes of sample formats in bytes; 0: text.
var xdfWidths = map[string]int{"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "double64": 8, "string": 0}

// xdfInfo is what we use of the XML of headers and footers.
type xdfInfo struct {
	Name     string  `xml:"name"`
	Type     string  `xml:"type"`
	Count    string  `xml:"channel_count"`
	Rate     string  `xml:"nominal_srate"`
	Format   string  `xml:"channel_format"`
	DateTime string  `xml:"datetime"`
	Samples  *string `xml:"sample_count"`
	Channels []struct {
		Label string `xml:"label"`
		Unit  string `xml:"unit"`
	} `xml:"desc>channels>channel"`
}

// xdfStream is one stream as it is read.
type xdfStream struct {
	id       uint32
	info     xdfInfo
	count    int // channels
	rate     float64
	width    int
	channels []Channel  // of numbers
	texts    [][]string // of strings: one for each sample
	stamps   []float64  // one for each sample; the stream's clock
	seen     []int      // for each sample: how many clock offsets stood before it
	last     float64    // the last stamp
	clocks   []xdfClock
}

// xdfClock is one measurement: value is to be added to the stream's clock.
type xdfClock struct{ time, value float64 }

type xdfFile struct {
	rec     *Recording
	streams []*xdfStream // in the order of their headers
	byID    map[uint32]*xdfStream
	samples int
}

func parseXDF(data []byte) (*Recording, error) {
	f := &xdfFile{rec: &Recording{Format: "XDF"}, byID: map[uint32]*xdfStream{}}
	for at := 4; at < len(data); {
		tag, body, next, err := xdfChunk(data, at)
		if err == nil {
			if err = f.chunk(tag, body, at); err != nil {
				return nil, err
			}
			at = next
			continue
		}
		// Damaged, or cut off: go on after the next boundary, if there is one.
		i := bytes.Index(data[at:], xdfUUID)
		if i < 0 {
			f.rec.warnf("the file ends within the chunk at byte %d: %v", at, err)
			break
		}
		f.rec.warnf("the chunk at byte %d is damaged (%v); reading goes on after the boundary at byte %d", at, err, at+i)
		at += i + len(xdfUUID)
	}
	if len(f.streams) == 0 {
		return nil, parseErrorf("XDF", "file", "it has no stream")
	}
	return f.rec, f.finish()
}

// xdfChunk cuts the chunk that begins at data[at]: the size of its length
// (1, 4 or 8), its length, its tag, its content.
func xdfChunk(data []byte, at int) (tag int, body []byte, next int, err error) {
	n, rest, err := xdfVarlen(data[at:])
	if err != nil {
		return 0, nil, 0, err
	}
	if n < 2 || n > uint64(len(rest)) {
		return 0, nil, 0, fmt.Errorf("a length of %d, where %d bytes are left", n, len(rest))
	}
	tag = int(binary.LittleEndian.Uint16(rest))
	if tag < xdfFileHeader || tag > xdfStreamFooter {
		return 0, nil, 0, fmt.Errorf("the unknown tag %d", tag)
	}
	return tag, rest[2:n], len(data) - len(rest) + int(n), nil
}

// xdfVarlen reads a number of 1, 4 or 8 bytes, preceded by how many it has.
func xdfVarlen(b []byte) (n uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	size := int(b[0])
	if size != 1 && size != 4 && size != 8 {
		return 0, nil, fmt.Errorf("a length of %d bytes, where 1, 4 or 8 are allowed", size)
	}
	if b = b[1:]; len(b) < size {
		return 0, nil, io.ErrUnexpectedEOF
	}
	var wide [8]byte
	copy(wide[:], b[:size])
	return binary.LittleEndian.Uint64(wide[:]), b[size:], nil
}

func (f *xdfFile) chunk(tag int, body []byte, at int) error {
	where := fmt.Sprintf("chunk at byte %d", at)
	switch tag {
	case xdfBoundary:
		return nil
	case xdfFileHeader:
		info, err := xdfXML(body)
		if err != nil {
			f.rec.warnf("the file header is not XML: %v", err)
		} else if t, err := time.Parse("2006-01-02T15:04:05Z0700", strings.TrimSpace(info.DateTime)); err == nil {
			f.rec.Start = t.UTC()
		}
		return nil
	}
	if len(body) < 4 {
		return parseErrorf("XDF", where, "too short for the number of its stream")
	}
	id := binary.LittleEndian.Uint32(body)
	body = body[4:]
	s := f.byID[id]
	if tag == xdfStreamHeader {
		if s != nil {
			return parseErrorf("XDF", where, "a second header of stream %d", id)
		}
		return f.header(id, body, where)
	}
	if s == nil {
		return parseErrorf("XDF", where, "stream %d has no header yet", id)
	}
	switch tag {
	case xdfSamples:
		if err := f.samplesOf(s, body); err != nil {
			return parseErrorf("XDF", where, "stream %d: %v", id, err)
		}
	case xdfClockOffset:
		if len(body) != 16 {
			return parseErrorf("XDF", where, "a clock offset of %d bytes, where 20 are needed", len(body)+4)
		}
		c := xdfClock{float(body), float(body[8:])}
		if !finite(c.time) || !finite(c.value) {
			return parseErrorf("XDF", where, "a clock offset is not finite")
		}
		s.clocks = append(s.clocks, c)
	case xdfStreamFooter:
		info, err := xdfXML(body)
		if err != nil {
			f.rec.warnf("the footer of stream %d is not XML: %v", id, err)
		} else if info.Samples != nil && strings.TrimSpace(*info.Samples) != strconv.Itoa(len(s.stamps)) {
			f.rec.warnf("stream %d has %d samples, its footer says %.20s", id, len(s.stamps), *info.Samples)
		}
	}
	return nil
}

func float(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }

func finite(x float64) bool { return x-x == 0 }

func xdfXML(b []byte) (xdfInfo, error) {
	var info xdfInfo
	if len(b) > MaxHeaderBytes {
		return info, fmt.Errorf("longer than %d bytes", MaxHeaderBytes)
	}
	d := xml.NewDecoder(strings.NewReader(text(bytes.TrimRight(b, "\x00"))))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	err := d.Decode(&info)
	return info, err
}

func (f *xdfFile) header(id uint32, body []byte, where string) error {
	info, err := xdfXML(body)
	if err != nil {
		return parseErrorf("XDF", where, "the header of stream %d is not XML: %v", id, err)
	}
	s := &xdfStream{id: id, info: info}
	s.count, err = strconv.Atoi(strings.TrimSpace(info.Count))
	if err != nil || s.count < 1 || s.count > MaxChannels {
		return parseErrorf("XDF", where, "stream %d: %.20q channels; use 1 to %d", id, info.Count, MaxChannels)
	}
	if r := strings.TrimSpace(info.Rate); r != "" {
		s.rate, err = strconv.ParseFloat(decimal(r), 64)
		if err != nil || !(s.rate >= 0) || s.rate > MaxRate {
			return parseErrorf("XDF", where, "stream %d: a rate of %.20q Hz", id, info.Rate)
		}
	}
	width, known := xdfWidths[strings.TrimSpace(info.Format)]
	if !known {
		return parseErrorf("XDF", where, "stream %d: the unknown sample format %.20q", id, info.Format)
	}
	s.width = width
	if len(f.streams) >= MaxStreams {
		return parseErrorf("XDF", where, "more than %d streams", MaxStreams)
	}
	if width > 0 {
		for i := range s.count {
			c := Channel{Name: fmt.Sprintf("%s %d", info.Name, i+1), Stream: info.Name, Rate: s.rate}
			stored := ""
			if i < len(info.Channels) {
				if l := strings.TrimSpace(info.Channels[i].Label); l != "" {
					c.Name = l
				}
				stored = strings.TrimSpace(info.Channels[i].Unit)
			}
			if len(c.Name) > MaxNameBytes || len(stored) > MaxNameBytes {
				return parseErrorf("XDF", where, "stream %d: a name is longer than %d bytes", id, MaxNameBytes)
			}
			c.Unit, _ = unit(stored)
			s.channels = append(s.channels, c)
		}
	}
	f.streams = append(f.streams, s)
	f.byID[id] = s
	return nil
}

// samplesOf reads a chunk of samples: their number, then for each whether it
// has a time stamp (8 or 0 bytes), the stamp, and the values.
func (f *xdfFile) samplesOf(s *xdfStream, b []byte) error {
	n, b, err := xdfVarlen(b)
	if err != nil {
		return err
	}
	if n > uint64(len(b)) { // each has at least the byte before its stamp
		return fmt.Errorf("%d samples in %d bytes", n, len(b))
	}
	if f.samples += int(n) * s.count; f.samples > MaxSamples {
		return fmt.Errorf("more than %d samples", MaxSamples)
	}
	for range n {
		if len(b) == 0 {
			return io.ErrUnexpectedEOF
		}
		stamped := b[0]
		b = b[1:]
		switch {
		case stamped == 8 && len(b) >= 8:
			s.last = float(b)
			b = b[8:]
			if !finite(s.last) {
				return fmt.Errorf("a time stamp is not finite")
			}
		case stamped == 0 && s.rate > 0: // left out where it follows from the rate
			s.last += float64(1 / s.rate)
		case stamped != 0:
			return fmt.Errorf("a time stamp of %d bytes, where %d are left", stamped, len(b))
		}
		s.stamps = append(s.stamps, s.last)
		s.seen = append(s.seen, len(s.clocks))
		if b, err = s.values(b); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes follow the last sample", len(b))
	}
	return nil
}

func (s *xdfStream) values(b []byte) ([]byte, error) {
	if s.width == 0 {
		var list []string
		for range s.count {
			n, rest, err := xdfVarlen(b)
			if err != nil {
				return nil, err
			}
			if n > uint64(len(rest)) || n > MaxNameBytes {
				return nil, fmt.Errorf("a text of %d bytes; %d are left, the limit is %d", n, len(rest), MaxNameBytes)
			}
			list = append(list, text(rest[:n]))
			b = rest[n:]
		}
		s.texts = append(s.texts, list)
		return b, nil
	}
	if len(b) < s.width*s.count {
		return nil, io.ErrUnexpectedEOF
	}
	for i := range s.channels {
		c := &s.channels[i]
		x := xdfNumber(s.info.Format, b)
		if i < len(s.info.Channels) {
			_, factor := unit(strings.TrimSpace(s.info.Channels[i].Unit))
			x = float64(x * factor)
		}
		c.Samples = append(c.Samples, float32(x))
		b = b[s.width:]
	}
	return b, nil
}

func xdfNumber(format string, b []byte) float64 {
	le := binary.LittleEndian
	switch strings.TrimSpace(format) {
	case "int8":
		return float64(int8(b[0]))
	case "int16":
		return float64(int16(le.Uint16(b)))
	case "int32":
		return float64(int32(le.Uint32(b)))
	case "int64":
		return float64(int64(le.Uint64(b)))
	case "float32":
		return float64(math.Float32frombits(le.Uint32(b)))
	}
	return float(b)
}

// finish brings all streams to one clock and makes channels and events.
func (f *xdfFile) finish() error {
	origin := math.Inf(1)
	for _, s := range f.streams {
		if err := s.synchronise(f.rec); err != nil {
			return err
		}
		for _, t := range s.stamps {
			origin = min(origin, t)
		}
	}
	if math.IsInf(origin, 1) {
		origin = 0
	}
	f.rec.Origin = origin
	for _, s := range f.streams {
		for i := range s.stamps {
			s.stamps[i] -= origin
		}
		if s.width == 0 || s.rate == 0 && strings.EqualFold(strings.TrimSpace(s.info.Type), "markers") {
			if err := f.events(s); err != nil {
				return err
			}
			continue
		}
		pieces := []Piece(nil)
		if s.rate > 0 {
			pieces = regular(s.stamps, s.rate)
		}
		for _, c := range s.channels {
			if s.rate > 0 {
				c.Pieces = pieces
			} else {
				c.Times = s.stamps
			}
			f.rec.Channels = append(f.rec.Channels, c)
		}
	}
	if len(f.rec.Channels) > MaxChannels {
		return parseErrorf("XDF", "file", "more than %d channels", MaxChannels)
	}
	sort.SliceStable(f.rec.Events, func(i, j int) bool { return f.rec.Events[i].Time < f.rec.Events[j].Time })
	return nil
}

// events makes an event of each sample of a stream of texts or markers; the
// channels of one sample are joined by a space.
func (f *xdfFile) events(s *xdfStream) error {
	for i, t := range s.stamps {
		var list []string
		if s.width == 0 {
			list = slices.Clone(s.texts[i])
		}
		for _, c := range s.channels {
			list = append(list, strconv.FormatFloat(float64(c.Samples[i]), 'f', -1, 32))
		}
		if len(f.rec.Events) >= MaxEvents {
			return parseErrorf("XDF", "file", "more than %d events", MaxEvents)
		}
		f.rec.Events = append(f.rec.Events, Event{Time: t, Label: strings.Join(list, " "), Type: s.info.Name})
	}
	return nil
}
