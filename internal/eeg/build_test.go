package eeg_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/eeg"
)

// The builders below write small files of each format from their
// specifications, so that every expected sample is known.

// edfFields is one signal of an EDF or BDF file.
type edfFields struct {
	label, unit                        string
	physMin, physMax, digMin, digMax   string
	perRecord                          int
	records                            [][]int32 // digital values; of annotations none
	annotations                        []string  // of each record, without padding
	transducer, prefilter, reservedEnd string
}

type edfOptions struct {
	bdf        bool
	reserved   string // "EDF+C", ...
	recording  string
	date, time string
	records    string
	duration   string
}

func pad(s string, n int) string {
	if len(s) > n {
		panic("field too long: " + s)
	}
	return s + strings.Repeat(" ", n-len(s))
}

func buildEDF(o edfOptions, signals ...edfFields) []byte {
	var b bytes.Buffer
	width := 2
	version := pad("0", 8)
	if o.bdf {
		version, width = "\xffBIOSEMI", 3
	}
	if o.date == "" {
		o.date, o.time = "05.06.21", "07.08.09"
	}
	b.WriteString(version + pad("X X X X", 80) + pad(o.recording, 80) + o.date + o.time)
	b.WriteString(pad(fmt.Sprint(256+256*len(signals)), 8) + pad(o.reserved, 44) + pad(o.records, 8) + pad(o.duration, 8) + pad(fmt.Sprint(len(signals)), 4))
	column := func(n int, f func(s edfFields) string) {
		for _, s := range signals {
			b.WriteString(pad(f(s), n))
		}
	}
	column(16, func(s edfFields) string { return s.label })
	column(80, func(s edfFields) string { return s.transducer })
	column(8, func(s edfFields) string { return s.unit })
	column(8, func(s edfFields) string { return s.physMin })
	column(8, func(s edfFields) string { return s.physMax })
	column(8, func(s edfFields) string { return s.digMin })
	column(8, func(s edfFields) string { return s.digMax })
	column(80, func(s edfFields) string { return s.prefilter })
	column(8, func(s edfFields) string { return fmt.Sprint(s.perRecord) })
	column(32, func(s edfFields) string { return s.reservedEnd })
	n := 0
	for _, s := range signals {
		n = max(n, len(s.records), len(s.annotations))
	}
	for k := range n {
		for _, s := range signals {
			if s.annotations != nil {
				text := make([]byte, s.perRecord*width)
				copy(text, s.annotations[k])
				b.Write(text)
				continue
			}
			for _, v := range s.records[k] {
				var w [4]byte
				binary.LittleEndian.PutUint32(w[:], uint32(v))
				b.Write(w[:width])
			}
		}
	}
	return b.Bytes()
}

// xdfBuilder writes an XDF file chunk by chunk.
type xdfBuilder struct{ bytes.Buffer }

func newXDF() *xdfBuilder {
	x := &xdfBuilder{}
	x.WriteString("XDF:")
	x.chunk(1, []byte(`<?xml version="1.0"?><info><version>1.0</version><datetime>2024-05-06T07:08:09+0200</datetime></info>`))
	return x
}

func (x *xdfBuilder) chunk(tag uint16, content []byte) {
	x.WriteByte(4)
	binary.Write(x, binary.LittleEndian, uint32(len(content)+2))
	binary.Write(x, binary.LittleEndian, tag)
	x.Write(content)
}

func (x *xdfBuilder) stream(id uint32, name, kind, format string, channels int, rate string, desc string) {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = fmt.Appendf(b, `<?xml version="1.0"?><info><name>%s</name><type>%s</type><channel_count>%d</channel_count><nominal_srate>%s</nominal_srate><channel_format>%s</channel_format><desc>%s</desc></info>`, name, kind, channels, rate, format, desc)
	x.chunk(2, b)
}

func (x *xdfBuilder) clock(id uint32, time, value float64) {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(time))
	x.chunk(4, binary.LittleEndian.AppendUint64(b, math.Float64bits(value)))
}

func (x *xdfBuilder) boundary() {
	x.chunk(5, []byte("\x43\xa5\x46\xdc\xcb\xf5\x41\x0f\xb3\x0e\xd5\x46\x73\x83\xcb\xe4"))
}

// xdfSample has a stamp (NaN: none) and encoded values.
type xdfSample struct {
	stamp  float64
	values []byte
}

func (x *xdfBuilder) samples(id uint32, list ...xdfSample) {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = append(b, 1, byte(len(list)))
	for _, s := range list {
		if math.IsNaN(s.stamp) {
			b = append(b, 0)
		} else {
			b = append(b, 8)
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.stamp))
		}
		b = append(b, s.values...)
	}
	x.chunk(3, b)
}

func le(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if s, ok := v.(string); ok {
			b.WriteByte(1)
			b.WriteByte(byte(len(s)))
			b.WriteString(s)
			continue
		}
		binary.Write(&b, binary.LittleEndian, v)
	}
	return b.Bytes()
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

func read(t *testing.T, data []byte) *eeg.Recording {
	t.Helper()
	r, err := eeg.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refuse requires an error that says why.
func refuse(t *testing.T, data []byte, why string) {
	t.Helper()
	_, err := eeg.Read(bytes.NewReader(data))
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("got error %v, want one with %q", err, why)
	}
}
