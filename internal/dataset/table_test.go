package dataset_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/train"
)

func TestCSV(t *testing.T) {
	list := func(rows ...train.Example) train.List { return rows }
	ex := func(label int32, in ...float32) train.Example { return train.Example{Input: in, Label: label} }
	for _, c := range []struct {
		name, text string
		o          dataset.CSVOptions
		want       dataset.Set
	}{
		{
			"a header, label last", "a,b,kind\n1,2.5,x\n-3e2,4,y\n5,6,x\n",
			dataset.CSVOptions{},
			dataset.Set{
				Examples: list(ex(0, 1, 2.5), ex(1, -300, 4), ex(0, 5, 6)), Shape: []int{2},
				Classes: []string{"x", "y"}, Columns: []string{"a", "b"}, Label: `"kind"`,
			},
		},
		{
			"a named label, semicolons", "Label;a;b\n10;1;2\n9;3;4\n",
			dataset.CSVOptions{},
			dataset.Set{Examples: list(ex(1, 1, 2), ex(0, 3, 4)), Shape: []int{2}, Classes: []string{"9", "10"}, Columns: []string{"a", "b"}, Label: `"Label"`},
		},
		{
			"no header, tabs", "1\t2\t0\n3\t4\t1\n",
			dataset.CSVOptions{},
			dataset.Set{Examples: list(ex(0, 1, 2), ex(1, 3, 4)), Shape: []int{2}, Classes: []string{"0", "1"}, Label: "3"},
		},
		{
			"chosen columns", "id,a,b,c\nr1,1,2,u\nr2,3,4,v\n",
			dataset.CSVOptions{Label: "c", Ignore: []string{"id"}},
			dataset.Set{Examples: list(ex(0, 1, 2), ex(1, 3, 4)), Shape: []int{2}, Classes: []string{"u", "v"}, Columns: []string{"a", "b"}, Label: `"c"`},
		},
		{
			"a number to predict", "a,y\n1,0.5\n2,0.25\n",
			dataset.CSVOptions{Numeric: true},
			dataset.Set{
				Examples: list(train.Example{Input: []float32{1}, Target: []float32{0.5}}, train.Example{Input: []float32{2}, Target: []float32{0.25}}),
				Shape:    []int{1}, Columns: []string{"a"}, Label: `"y"`,
			},
		},
		{
			"given classes, label by number", "q,1\nr,2\n",
			dataset.CSVOptions{Label: "1", Classes: []string{"r", "q"}},
			dataset.Set{Examples: list(ex(1, 1), ex(0, 2)), Shape: []int{1}, Classes: []string{"r", "q"}, Label: "1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := dataset.ReadCSV(t.Context(), []string{file(t, "x.csv", c.text)}, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, s); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestByteOrderMark reads files as Windows programs write them: a mark in front,
// whether the first line is quoted, names columns or not.
func TestByteOrderMark(t *testing.T) {
	for _, text := range []string{"a,b\n1,x\n2,y\n", "\"a\",\"b\"\n1,x\n2,y\n", "1,x\n2,y\n"} {
		want, err := dataset.ReadCSV(t.Context(), []string{file(t, "x.csv", text)}, dataset.CSVOptions{})
		if err != nil {
			t.Fatal(err)
		}
		marked := file(t, "marked.csv", "\ufeff"+strings.ReplaceAll(text, "\n", "\r\n"))
		got, err := dataset.ReadCSV(t.Context(), []string{marked}, dataset.CSVOptions{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", text, err, diff)
		}
		if _, err := dataset.ReadCSV(t.Context(), []string{file(t, "x.csv", text), marked}, dataset.CSVOptions{}); err != nil {
			t.Errorf("%q: as a further file: %v", text, err)
		}
	}
}

// TestInputsWithoutNames takes columns in their order for a net that knows no
// names, whatever the file calls them.
func TestInputsWithoutNames(t *testing.T) {
	for _, text := range []string{"a,b\n1,2\n", "1,2\n", "a,b,kind\n1,2,x\n"} {
		s, err := dataset.ReadCSV(t.Context(), []string{file(t, "x.csv", text)}, dataset.CSVOptions{Inputs: make([]string, 2), Unlabelled: true})
		if err != nil || s.Len() != 1 || !cmp.Equal(s.Examples[0].Input, []float32{1, 2}) {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func TestCSVRefuses(t *testing.T) {
	for _, c := range []struct {
		text, says string
		o          dataset.CSVOptions
	}{
		{"a,b\n1,x\nfoo,y\n", `line 3: column "a" has "foo"`, dataset.CSVOptions{}},
		{"1,2,0\n3,1\n", "line 2: 2 columns, the first line has 3", dataset.CSVOptions{}},
		{"a,b\n1,\n", "line 2: the label is empty", dataset.CSVOptions{}},
		{"a,b\nNaN,1\n", "finite", dataset.CSVOptions{}},
		{"a,b\n1e39,1\n", "finite", dataset.CSVOptions{}},
		{"a,b\n1,\"x\n", "line 2", dataset.CSVOptions{}},
		{"a,b\n1,x\n", `no column "c"`, dataset.CSVOptions{Label: "c"}},
		{"a,b\n1,x\n", `no column "c" to ignore`, dataset.CSVOptions{Ignore: []string{"c"}}},
		{"a\nx\n", "no column is left", dataset.CSVOptions{}},
		{"a,b\n1,x\n", "none of", dataset.CSVOptions{Classes: []string{"y"}}},
		{"a,b\n1,x\n", `column "b"`, dataset.CSVOptions{Numeric: true}},
		{"1,2\n" + strings.Repeat("3", dataset.MaxLine+1) + ",4\n", "a line has more than", dataset.CSVOptions{}},
	} {
		_, err := dataset.ReadCSV(t.Context(), []string{file(t, "x.csv", c.text)}, c.o)
		if !errors.Is(err, dataset.ErrData) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%.30q: %v, want it to say %q", c.text, err, c.says)
		}
	}
}

// npy writes an array as numpy.save does.
func npy(version byte, descr, shape string, fortran string, data any, order binary.ByteOrder) []byte {
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }", descr, fortran, shape)
	pre := 10
	if version > 1 {
		pre = 12
	}
	for (pre+len(header)+1)%64 != 0 {
		header += " "
	}
	header += "\n"
	b := append([]byte("\x93NUMPY"), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	b = append(b, header...)
	var body bytes.Buffer
	_ = binary.Write(&body, order, data) // a buffer does not fail
	return append(b, body.Bytes()...)
}

func TestParseNPY(t *testing.T) {
	for _, c := range []struct {
		version byte
		descr   string
		data    any
		order   binary.ByteOrder
	}{
		{1, "<f4", []float32{1, -2, 3, 4, 5, 6}, binary.LittleEndian},
		{2, "<f8", []float64{1, -2, 3, 4, 5, 6}, binary.LittleEndian},
		{3, ">f8", []float64{1, -2, 3, 4, 5, 6}, binary.BigEndian},
		{1, "|i1", []int8{1, -2, 3, 4, 5, 6}, binary.LittleEndian},
		{1, "<i2", []int16{1, -2, 3, 4, 5, 6}, binary.LittleEndian},
		{1, ">i4", []int32{1, -2, 3, 4, 5, 6}, binary.BigEndian},
		{1, "<i8", []int64{1, -2, 3, 4, 5, 6}, binary.LittleEndian},
	} {
		a, err := dataset.ParseNPY(bytes.NewReader(npy(c.version, c.descr, "2, 3", "False", c.data, c.order)))
		if err != nil {
			t.Errorf("%s: %v", c.descr, err)
			continue
		}
		if diff := cmp.Diff([]float32{1, -2, 3, 4, 5, 6}, a.Data); diff != "" || !cmp.Equal(a.Shape, []int{2, 3}) {
			t.Errorf("%s: shape %v, %s", c.descr, a.Shape, diff)
		}
	}
	le := binary.LittleEndian
	for _, c := range []struct {
		data []byte
		says string
	}{
		{nil, "not an NPY file"},
		{[]byte("PK\x03\x04123456"), "not an NPY file"},
		{npy(4, "<f4", "1,", "False", []float32{1}, le), "version 4"},
		{npy(1, "<f4", "2, 3", "True", []float32{1, 2, 3, 4, 5, 6}, le), "Fortran"},
		{npy(1, "<c8", "1,", "False", []float32{1, 2}, le), "type c8"},
		{npy(1, "<f4", "7,", "False", []float32{1, 2}, le), "ends after 2 of 7"},
		{npy(1, "<f4", "1,", "False", []float32{float32(math.NaN())}, le), "finite"},
		{npy(1, "<f4", "99999, 99999", "False", []float32{1}, le), "train on a part"},
		{npy(1, "<f4", "1,", "Maybe", []float32{1}, le), "cannot read the header"},
	} {
		if _, err := dataset.ParseNPY(bytes.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want it to say %q", err, c.says)
		}
	}
}

func TestReadNPY(t *testing.T) {
	le := binary.LittleEndian
	x := file(t, "x.npy", string(npy(1, "<f4", "3, 2, 2", "False", []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, le)))
	y := file(t, "y.npy", string(npy(1, "<i8", "3,", "False", []int64{10, 2, 10}, le)))
	z := file(t, "z.npy", string(npy(1, "<f4", "3, 1", "False", []float32{0.5, 1, 2}, le)))
	short := file(t, "short.npy", string(npy(1, "<i8", "2,", "False", []int64{1, 2}, le)))
	s, err := dataset.ReadNPY(x, y, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || !cmp.Equal(s.Shape, []int{2, 2}) || !cmp.Equal(s.Classes, []string{"2", "10"}) ||
		!cmp.Equal(s.Examples[1], train.Example{Input: []float32{5, 6, 7, 8}}) || s.Examples[2].Label != 1 {
		t.Errorf("%+v", s)
	}
	s, err = dataset.ReadNPY(x, z, true, nil)
	if err != nil || !cmp.Equal(s.Examples[2].Target, []float32{2}) {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range []struct{ x, y, says string }{
		{x, z, "want integers"},
		{x, short, "shape [2] for 3"},
		{y, y, "want [examples, ...]"},
	} {
		if _, err := dataset.ReadNPY(c.x, c.y, false, nil); !errors.Is(err, dataset.ErrData) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want it to say %q", err, c.says)
		}
	}
}

func FuzzParseNPY(f *testing.F) {
	f.Add(npy(1, "<f4", "2, 3", "False", []float32{1, -2, 3, 4, 5, 6}, binary.LittleEndian))
	f.Add(npy(3, "|u1", "", "False", []byte{1}, binary.LittleEndian))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := dataset.ParseNPY(bytes.NewReader(data))
		if err != nil {
			return
		}
		n := 1
		for _, d := range a.Shape {
			n *= d
		}
		if len(a.Data) != n {
			t.Errorf("shape %v with %d numbers", a.Shape, len(a.Data))
		}
	})
}

func FuzzReadCSV(f *testing.F) {
	f.Add("a,b,kind\n1,2.5,x\n-3e2,4,y\n", "", false)
	f.Add("1;2\n\"3\";4\n", "2", true)
	f.Fuzz(func(t *testing.T, text, label string, numeric bool) {
		path := filepath.Join(t.TempDir(), "x.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := dataset.ReadCSV(t.Context(), []string{path}, dataset.CSVOptions{Label: label, Numeric: numeric})
		if err != nil {
			return
		}
		for _, e := range s.Examples {
			if len(e.Input) != s.Shape[0] || int(e.Label) >= max(len(s.Classes), 1) {
				t.Errorf("%+v of shape %v", e, s.Shape)
			}
		}
	})
}

func FuzzReadJSONL(f *testing.F) {
	f.Add(`{"text": "The cat"}`)
	f.Add(`{"prompt": "The cat", "response": " sat"}`)
	f.Add(`{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}]}`)
	tok := tokenizer(f, "<s>")
	tmpl, err := chat.Parse(chat.ChatML)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, template := range []*chat.Template{nil, tmpl} {
			s, err := dataset.ReadJSONL(t.Context(), []string{path}, dataset.JSONLOptions{
				TextOptions: dataset.TextOptions{Tokenizer: tok, Context: 16}, Template: template,
			})
			if err != nil {
				if !errors.Is(err, dataset.ErrData) {
					t.Error(err)
				}
				continue
			}
			for _, e := range s.Examples {
				if len(e.Tokens) > 17 || e.Targets() == 0 || e.Mask != nil && len(e.Mask) != len(e.Tokens)-1 {
					t.Errorf("%+v", e)
				}
			}
		}
	})
}

func FuzzParseCanonical(f *testing.F) {
	f.Add(dataset.Canonical(&train.Example{Tokens: []int32{1, 2}, Mask: []bool{true}}))
	f.Add(dataset.Canonical(&train.Example{Input: []float32{1}, Label: 4}))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := dataset.ParseCanonical(data)
		if err == nil && !bytes.Equal(dataset.Canonical(&e), data) {
			t.Errorf("%x comes back as %x", data, dataset.Canonical(&e))
		}
	})
}
