package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/train"
)

// Array is an array of an NPY file, as float32 in row-major order. Numbers of
// other types are rounded to the nearest float32.
type Array struct {
	Shape []int
	Data  []float32
	whole bool // the file has integers
}

// ReadNPY reads examples from NPY files of NumPy: inputs of shape [n, ...] and
// labels of shape [n]. Integer labels are classes, whose names are their
// numbers; with numeric, labels of shape [n] or [n, k] are numbers to be
// predicted. classes is as in [CSVOptions].
func ReadNPY(inputs, labels string, numeric bool, classes []string) (*Set, error) {
	x, err := readArray(inputs)
	if err != nil {
		return nil, err
	}
	y, err := readArray(labels)
	if err != nil {
		return nil, err
	}
	switch {
	case len(x.Shape) < 2:
		return nil, fileErrorf(inputs, 0, "the array has the shape %v; want [examples, ...]", x.Shape)
	case len(y.Shape) == 0 || y.Shape[0] != x.Shape[0]:
		return nil, fileErrorf(labels, 0, "the array has the shape %v for %d examples", y.Shape, x.Shape[0])
	case !numeric && (len(y.Shape) != 1 || !y.whole):
		return nil, fileErrorf(labels, 0, "want integers of shape [examples] as classes; or say that the label is a number to be predicted")
	case x.Shape[0] > MaxExamples:
		return nil, fileErrorf(inputs, 0, "more than %d examples; train on a part", MaxExamples)
	}
	s := &Set{Shape: x.Shape[1:]}
	if x.Shape[0] == 0 {
		return s, nil
	}
	wide, out := len(x.Data)/x.Shape[0], len(y.Data)/x.Shape[0]
	var names []string
	for i := range x.Shape[0] {
		e := train.Example{Input: x.Data[i*wide : (i+1)*wide]}
		if numeric {
			e.Target = y.Data[i*out : (i+1)*out]
		} else {
			if math.Abs(float64(y.Data[i])) > 1<<24 {
				return nil, fileErrorf(labels, 0, "label %d is beyond 2^24; number the classes from 0", i)
			}
			names = append(names, strconv.FormatFloat(float64(y.Data[i]), 'f', -1, 32))
		}
		s.Examples = append(s.Examples, e)
	}
	if numeric {
		return s, nil
	}
	return s, s.setLabels(names, classes)
}

// ReadInputs reads an NPY file of inputs without labels.
func ReadInputs(path string) (*Set, error) {
	x, err := readArray(path)
	if err != nil {
		return nil, err
	}
	if len(x.Shape) < 2 {
		return nil, fileErrorf(path, 0, "the array has the shape %v; want [examples, ...]", x.Shape)
	}
	if x.Shape[0] > MaxExamples {
		return nil, fileErrorf(path, 0, "more than %d examples; take a part", MaxExamples)
	}
	s := &Set{Shape: x.Shape[1:]}
	for i := range x.Shape[0] {
		wide := len(x.Data) / x.Shape[0]
		s.Examples = append(s.Examples, train.Example{Input: x.Data[i*wide : (i+1)*wide]})
	}
	return s, nil
}

func readArray(path string) (*Array, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > 8*MaxNumbers+maxHeader {
		return nil, fileErrorf(path, 0, "%d bytes; train on a part", info.Size())
	}
	a, err := ParseNPY(f)
	if err != nil {
		return nil, &FileError{path, 0, err}
	}
	return a, nil
}

// number describes how a type is stored.
type numberType struct {
	size  int
	whole bool
	get   func(b []byte, order binary.ByteOrder) float32
}

// numberTypes are the dtypes that are read, without their byte order.
var numberTypes = map[string]numberType{
	"f4": {4, false, func(b []byte, o binary.ByteOrder) float32 { return math.Float32frombits(o.Uint32(b)) }},
	"f8": {8, false, func(b []byte, o binary.ByteOrder) float32 { return float32(math.Float64frombits(o.Uint64(b))) }},
	"i1": {1, true, func(b []byte, _ binary.ByteOrder) float32 { return float32(int8(b[0])) }},
	"u1": {1, true, func(b []byte, _ binary.ByteOrder) float32 { return float32(b[0]) }},
	"b1": {1, true, func(b []byte, _ binary.ByteOrder) float32 { return float32(b[0]) }},
	"i2": {2, true, func(b []byte, o binary.ByteOrder) float32 { return float32(int16(o.Uint16(b))) }},
	"u2": {2, true, func(b []byte, o binary.ByteOrder) float32 { return float32(o.Uint16(b)) }},
	"i4": {4, true, func(b []byte, o binary.ByteOrder) float32 { return float32(int32(o.Uint32(b))) }},
	"u4": {4, true, func(b []byte, o binary.ByteOrder) float32 { return float32(o.Uint32(b)) }},
	"i8": {8, true, func(b []byte, o binary.ByteOrder) float32 { return float32(int64(o.Uint64(b))) }},
	"u8": {8, true, func(b []byte, o binary.ByteOrder) float32 { return float32(o.Uint64(b)) }},
}

// npyHeader is the header's Python dictionary as numpy.save writes it.
var npyHeader = regexp.MustCompile(`^\{'descr': '([<>|=])([a-z][0-9]+)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \}\s*$`)

// ParseNPY reads an array in the NPY format, versions 1 to 3 (NumPy's
// numpy/lib/format.py).
func ParseNPY(r io.Reader) (*Array, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:10]); err != nil || string(head[:6]) != "\x93NUMPY" {
		return nil, errors.New("not an NPY file")
	}
	size := int(binary.LittleEndian.Uint16(head[8:]))
	switch head[6] {
	case 1:
	case 2, 3:
		if _, err := io.ReadFull(r, head[10:]); err != nil {
			return nil, errors.New("the NPY file ends in its header")
		}
		size = int(binary.LittleEndian.Uint32(head[8:]))
	default:
		return nil, fmt.Errorf("version %d of the NPY format; known are 1 to 3", head[6])
	}
	if size > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes; the limit is %d", size, maxHeader)
	}
	header := make([]byte, size)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, errors.New("the NPY file ends in its header")
	}
	m := npyHeader.FindSubmatch(header)
	if m == nil {
		return nil, fmt.Errorf("cannot read the header %.200q; save a plain array of numbers with numpy.save", header)
	}
	kind, ok := numberTypes[string(m[2])]
	switch {
	case !ok:
		return nil, fmt.Errorf("numbers of type %s; save them as float32, float64 or integers", m[2])
	case string(m[3]) == "True":
		return nil, errors.New("the array is in Fortran order; save numpy.ascontiguousarray of it")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if m[1][0] == '>' {
		order = binary.BigEndian
	}
	a := &Array{whole: kind.whole}
	n, err := a.setShape(string(m[4]))
	if err != nil {
		return nil, err
	}
	return a, a.read(r, n, kind, order)
}

// setShape reads "2, 3" and returns the number of elements.
func (a *Array) setShape(list string) (int, error) {
	n := 1
	for _, part := range strings.Split(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		d, err := strconv.Atoi(part)
		if err != nil || d < 0 || d > MaxNumbers || n*d > MaxNumbers {
			return 0, fmt.Errorf("the shape (%.60s) has more than %d numbers; train on a part", list, MaxNumbers)
		}
		n *= d
		if len(a.Shape) == 32 {
			return 0, errors.New("more than 32 dimensions")
		}
		a.Shape = append(a.Shape, d)
	}
	return n, nil
}

// read reads n numbers; memory grows with what is really there.
func (a *Array) read(r io.Reader, n int, kind numberType, order binary.ByteOrder) error {
	buf := make([]byte, min(n, 1<<15)*kind.size)
	for left := n; left > 0; {
		part := buf[:min(left*kind.size, len(buf))]
		if got, err := io.ReadFull(r, part); err != nil {
			return fmt.Errorf("the file ends after %d of %d numbers", len(a.Data)+got/kind.size, n)
		}
		for i := 0; i < len(part); i += kind.size {
			v := kind.get(part[i:], order)
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("number %d is %v; want finite numbers", len(a.Data), v)
			}
			a.Data = append(a.Data, v)
		}
		left -= len(part) / kind.size
	}
	return nil
}
