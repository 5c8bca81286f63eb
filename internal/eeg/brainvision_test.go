package eeg_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/eeg"
)

const bvHead = `Brain Vision Data Exchange Header File Version 1.0
; a comment
[Common Infos]
Codepage=UTF-8
DataFile=%s
MarkerFile=$b.vmrk
DataFormat=%s
DataOrientation=%s
NumberOfChannels=2
SamplingInterval=2000

[Binary Infos]
BinaryFormat=%s

[ASCII Infos]
DecimalSymbol=,
SkipLines=1
SkipColumns=0

[Channel Infos]
Ch1=Fp1\1left,,0.5,µV
Ch2=EMG,,0,1,mV

[Comment]
Ch1=not a key
`

const bvMarkers = `Brain Vision Data Exchange Marker File, Version 1.0
[Common Infos]
DataFile=x.eeg
[Marker Infos]
Mk1=New Segment,,1,1,0,20240506070809500000
Mk10=Comment,a\1b,4,1,0
Mk2=Stimulus,S  1,2,2,0
Mk3=New Segment,,4,1,0,20240506070812500000
`

func bvFiles(dataFile, format, orientation, binary string, data []byte) fstest.MapFS {
	head := fmt.Sprintf(bvHead, dataFile, format, orientation, binary)
	return fstest.MapFS{
		"r/x.vhdr": {Data: []byte(head)},
		"r/x.vmrk": {Data: []byte(bvMarkers)},
		"r/x.eeg":  {Data: data},
	}
}

func TestBrainVision(t *testing.T) {
	multiplexed := le(int16(1), int16(10), int16(-2), int16(20), int16(3), int16(30), int16(4), int16(40))
	vectorized := le(float32(1), float32(-2), float32(3), float32(4), float32(10), float32(20), float32(30), float32(40))
	var big []byte
	for _, v := range []uint16{1, 10, 0xfffe, 20, 3, 30, 4, 40} {
		big = binary.BigEndian.AppendUint16(big, v)
	}
	bigEndian := bvFiles("x.eeg", "BINARY", "MULTIPLEXED", "INT_16\nUseBigEndianOrder=YES", big)
	crlf := bvFiles(`C:\data\x.eeg`, "BINARY", "MULTIPLEXED", "INT_16", multiplexed)
	for _, f := range crlf {
		if strings.HasPrefix(string(f.Data), "Brain") {
			f.Data = append([]byte("\xef\xbb\xbf"), strings.ReplaceAll(string(f.Data), "\n", "\r\n")...)
		}
	}
	latin := bvFiles("x.eeg", "BINARY", "MULTIPLEXED", "INT_16", multiplexed)
	latin["r/x.vhdr"].Data = []byte(strings.ReplaceAll(string(latin["r/x.vhdr"].Data), "µ", "\xb5"))
	zipped := bvFiles("x.eeg", "BINARY", "MULTIPLEXED", "INT_16", nil)
	delete(zipped, "r/x.eeg")
	zipped["r/x.eeg.gz"] = &fstest.MapFile{Data: gzipped(multiplexed)}
	for name, files := range map[string]fstest.MapFS{
		"int16":     bvFiles("x.eeg", "BINARY", "MULTIPLEXED", "INT_16", multiplexed),
		"float32":   bvFiles("$b.eeg", "BINARY", "VECTORIZED", "IEEE_FLOAT_32", vectorized),
		"renamed":   bvFiles("y.eeg", "BINARY", "MULTIPLEXED", "INT_16", multiplexed),
		"bigendian": bigEndian, "crlf": crlf, "latin1": latin, "gzip": zipped,
		"ascii":            bvFiles("x.eeg", "ASCII", "MULTIPLEXED", "", []byte("Fp1 EMG\n1,0 10\n-2,0 20\n3 30,00\n4 40\n")),
		"ascii vectorized": bvFiles("x.eeg", "ASCII", "VECTORIZED\n", "", []byte("\n1 -2 3 4\n10 20 30 40\n")),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := eeg.OpenFS(files, "r/x.vhdr")
			if err != nil {
				t.Fatal(err)
			}
			pieces := []eeg.Piece{{Rate: 500}, {First: 3, Start: 3, Rate: 500}}
			want := []eeg.Channel{
				{Name: "Fp1,left", Unit: "uV", Rate: 500, Samples: []float32{0.5, -1, 1.5, 2}, Pieces: pieces},
				{Name: "EMG", Unit: "uV", Rate: 500, Samples: []float32{1000, 2000, 3000, 4000}, Pieces: pieces},
			}
			if d := cmp.Diff(want, r.Channels); d != "" {
				t.Error(d)
			}
			events := []eeg.Event{
				{Type: "New Segment"},
				{Time: 0.002, Duration: 0.004, Type: "Stimulus", Label: "S  1"},
				{Time: 3, Type: "New Segment"},
				{Time: 3, Type: "Comment", Label: "a,b"},
			}
			if d := cmp.Diff(events, r.Events); d != "" {
				t.Error(d)
			}
			if !r.Start.Equal(time.Date(2024, 5, 6, 7, 8, 9, 5e8, time.UTC)) || r.Format != "BrainVision" {
				t.Errorf("start %v, format %s", r.Start, r.Format)
			}
		})
	}
}

func TestBrainVisionRefuses(t *testing.T) {
	data := le(int16(1), int16(2))
	change := func(from, to string) fstest.MapFS {
		f := bvFiles("x.eeg", "BINARY", "MULTIPLEXED", "INT_16", data)
		for _, name := range []string{"r/x.vhdr", "r/x.vmrk"} {
			f[name].Data = []byte(strings.Replace(string(f[name].Data), from, to, 1))
		}
		f["r/x.vmrk"].Data = []byte(strings.ReplaceAll(string(f["r/x.vmrk"].Data), ",4,1", ",1,1"))
		return f
	}
	for _, c := range []struct {
		name, why string
		files     fstest.MapFS
	}{
		{"channels", "NumberOfChannels", change("NumberOfChannels=2", "NumberOfChannels=-1")},
		{"interval", "SamplingInterval", change("Interval=2000", "Interval=0")},
		{"orientation", "DataOrientation", change("MULTIPLEXED", "DIAGONAL")},
		{"format", "BinaryFormat", change("INT_16", "INT_12")},
		{"resolution", "resolution", change(",0.5,", ",half,")},
		{"domain", "TIMEDOMAIN", change("NumberOf", "DataType=FREQUENCYDOMAIN\nNumberOf")},
		{"points", "DataPoints", change("NumberOf", "DataPoints=7\nNumberOf")},
		{"partial", "cut off", change("=2\n", "=3\n")},
		{"position", "position", change("S  1,2", "S  1,99")},
		{"folder", "names no file", change("DataFile=x.eeg", "DataFile=a/..")},
		{"missing", "file does not exist", change("MarkerFile=$b.vmrk", "MarkerFile=../other.mrk")},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := eeg.OpenFS(c.files, "r/x.vhdr")
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got error %v, want one with %q", err, c.why)
			}
		})
	}
	refuse(t, []byte(bvHead), "open the .vhdr by its name")
}

func FuzzBrainVision(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(bvHead, "x.eeg", "BINARY", "MULTIPLEXED", "INT_16")), []byte(bvMarkers), make([]byte, 16))
	f.Add([]byte(fmt.Sprintf(bvHead, "x.eeg", "ASCII", "VECTORIZED", "")), []byte(bvMarkers), []byte("a 1,5\nb 2\n"))
	f.Fuzz(func(t *testing.T, head, markers, data []byte) {
		r, err := eeg.OpenFS(oneFolder{"x.vhdr": head, "x.vmrk": markers, "x.eeg": data}, "x.vhdr")
		if err == nil {
			consistent(t, r)
		}
	})
}

// oneFolder is a file system that fails the test's purpose, staying in one
// folder, by refusing every path.
type oneFolder map[string][]byte

func (o oneFolder) Open(name string) (fs.File, error) {
	m := fstest.MapFS{}
	for k, v := range o {
		m[k] = &fstest.MapFile{Data: v}
	}
	if strings.ContainsAny(name, "/") {
		panic("a path leads out of the folder: " + name)
	}
	return m.Open(name)
}

// consistent checks what every recording promises.
func consistent(t *testing.T, r *eeg.Recording) {
	t.Helper()
	for i := range r.Channels {
		c := &r.Channels[i]
		n := len(c.Samples)
		switch {
		case c.Times != nil:
			if len(c.Times) != n {
				t.Fatalf("%d times for %d samples", len(c.Times), n)
			}
		case n > 0 && (len(c.Pieces) == 0 || c.Pieces[0].First != 0):
			t.Fatalf("pieces %+v of %d samples", c.Pieces, n)
		}
		for k, p := range c.Pieces {
			if p.First >= n || k > 0 && p.First <= c.Pieces[k-1].First || !(p.Rate > 0) || math.IsNaN(p.Start) {
				t.Fatalf("pieces %+v of %d samples", c.Pieces, n)
			}
		}
		if n > 0 {
			c.Time(n - 1)
		}
	}
	for i, e := range r.Events {
		if math.IsNaN(e.Time) || i > 0 && e.Time < r.Events[i-1].Time {
			t.Fatalf("event %d at %v", i, e.Time)
		}
	}
	r.Duration()
}
