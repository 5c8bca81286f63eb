package dataset

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/train"
)

// CSVOptions say what the columns of a file are.
type CSVOptions struct {
	// Label names the column with the label, or gives its number, from 1.
	// Empty means the one that is named label, class, target or y, else the
	// last one.
	Label string
	// Ignore names columns that are neither input nor label.
	Ignore []string
	// Numeric takes the label for a number to be predicted (regression) instead
	// of a class.
	Numeric bool
	// Inputs, if not nil, names the inputs in their order; a file without a
	// header, and any if they have no names (""), must have so many columns, or
	// one more for the label.
	Inputs []string
	// Unlabelled reads inputs only.
	Unlabelled bool
	// Classes, if not nil, are the classes and their order, such as those of a
	// model that exists. A label that is none of them is an error then.
	Classes []string
}

// labelNames are the columns that are taken for the label.
var labelNames = []string{"label", "class", "target", "y"}

// csvReader reads one or more files with the same columns.
type csvReader struct {
	opt    CSVOptions
	header []string // of the first file; nil if it has none
	width  int      // columns
	label  int      // column
	inputs []int    // columns
	labels []string // of the examples, in order
	set    *Set
	values int
}

// ReadCSV reads files of comma-, semicolon- or tab-separated values, a line an
// example: a label and numbers. A first line that is not all numbers names the
// columns. Classes are the different labels, in the order of numbers if all are
// numbers, else in that of bytes.
func ReadCSV(ctx context.Context, paths []string, o CSVOptions) (*Set, error) {
	r := &csvReader{opt: o, set: &Set{}}
	for _, path := range paths {
		if err := r.read(ctx, path); err != nil {
			return nil, err
		}
	}
	if len(r.set.Examples) == 0 {
		return r.set, nil
	}
	r.set.Shape = []int{len(r.inputs)}
	if r.header != nil {
		for _, c := range r.inputs {
			r.set.Columns = append(r.set.Columns, r.header[c])
		}
	}
	if !o.Unlabelled {
		r.set.Label = r.name(r.label)
	}
	if o.Numeric || o.Unlabelled {
		return r.set, nil
	}
	return r.set, r.set.setLabels(r.labels, o.Classes)
}

// setLabels numbers the labels of the examples.
func (s *Set) setLabels(labels, classes []string) error {
	if classes == nil {
		classes = classesOf(labels)
	}
	if len(classes) > MaxClasses {
		return fmt.Errorf("%w: %d different labels, the limit is %d; is the right column the label? If it is a number to be predicted, say so", ErrData, len(classes), MaxClasses)
	}
	number := map[string]int32{}
	for i, c := range classes {
		number[c] = int32(i)
	}
	for i, l := range labels {
		n, ok := number[l]
		if !ok {
			return fmt.Errorf("%w: example %d has the label %q, which is none of %q", ErrData, i+1, l, classes)
		}
		s.Examples[i].Label = n
	}
	s.Classes = classes
	return nil
}

// classesOf lists the different labels in their order.
func classesOf(labels []string) []string {
	classes := slices.Clone(labels)
	slices.Sort(classes)
	classes = slices.Compact(classes)
	numbers := map[string]float64{}
	for _, c := range classes {
		v, err := strconv.ParseFloat(c, 64)
		if err != nil || math.IsNaN(v) {
			return classes
		}
		numbers[c] = v
	}
	slices.SortStableFunc(classes, func(a, b string) int {
		switch x, y := numbers[a], numbers[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return classes
}

func (r *csvReader) read(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := skipMark(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	in := &lineGuard{from: io.LimitReader(f, MaxFile+1)}
	c := csv.NewReader(in)
	c.ReuseRecord, c.FieldsPerRecord, c.TrimLeadingSpace = true, -1, true
	if c.Comma, err = separator(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(path, err)
		}
		line, _ := c.FieldPos(0)
		if first {
			isHeader, err := r.begin(fields)
			if err != nil {
				return &FileError{path, line, err}
			}
			if isHeader {
				continue
			}
		}
		if err := r.add(fields); err != nil {
			return &FileError{path, line, err}
		}
	}
}

// byteOrderMark is what some programs write in front of UTF-8.
const byteOrderMark = "\ufeff"

// skipMark goes past a byte order mark at the beginning of a file.
func skipMark(f *os.File) error {
	buf := make([]byte, len(byteOrderMark))
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(buf[:n]) == byteOrderMark {
		_, err = f.Seek(int64(n), io.SeekStart)
		return err
	}
	return nil
}

func csvError(path string, err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return &FileError{path, p.Line, p.Err}
	}
	return &FileError{path, 0, err}
}

// separator looks which of the usual ones the first line has most of.
func separator(f *os.File) (rune, error) {
	buf := make([]byte, 1<<16)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	best, most := ',', 0
	for _, c := range ",;\t" {
		if k := strings.Count(line, string(c)); k > most {
			best, most = c, k
		}
	}
	return best, nil
}

// lineGuard bounds the length of lines and of the file.
type lineGuard struct {
	from       io.Reader
	line, size int
}

func (g *lineGuard) Read(p []byte) (int, error) {
	n, err := g.from.Read(p)
	for _, c := range p[:n] {
		if c == '\n' {
			g.line = 0
		} else if g.line++; g.line > MaxLine {
			return 0, fmt.Errorf("a line has more than %d bytes", MaxLine)
		}
	}
	if g.size += n; g.size > MaxFile {
		return 0, fmt.Errorf("more than %d bytes; split the file", MaxFile)
	}
	return n, err
}

// begin looks at the first line of a file and reports whether it names columns.
func (r *csvReader) begin(fields []string) (header bool, err error) {
	for _, f := range fields {
		if _, err := strconv.ParseFloat(strings.TrimSpace(f), 32); err != nil {
			header = true
		}
	}
	// Labels that are words look like names: a header has no numbers at all.
	if header && slices.ContainsFunc(fields, func(f string) bool { _, err := strconv.ParseFloat(strings.TrimSpace(f), 32); return err == nil }) {
		header = false
	}
	if r.width != 0 { // a further file
		if header && r.header != nil && !slices.Equal(fields, r.header) {
			return header, fmt.Errorf("the columns %q are not those of the first file, %q", fields, r.header)
		}
		return header, nil
	}
	if len(fields) > MaxColumns {
		return header, fmt.Errorf("%d columns, the limit is %d", len(fields), MaxColumns)
	}
	r.width = len(fields)
	if header {
		r.header = slices.Clone(fields)
		for i := range r.header {
			r.header[i] = strings.TrimSpace(r.header[i])
		}
	}
	if r.label, err = r.findLabel(); err != nil {
		return header, err
	}
	for _, name := range r.opt.Ignore {
		if !slices.Contains(r.header, name) {
			return header, fmt.Errorf("there is no column %q to ignore; the columns are %q", name, r.header)
		}
	}
	if r.opt.Inputs != nil && r.header != nil && !slices.Contains(r.opt.Inputs, "") {
		for _, name := range r.opt.Inputs {
			i := slices.Index(r.header, name)
			if i < 0 {
				return header, fmt.Errorf("there is no column %q; the columns are %q", name, r.header)
			}
			r.inputs = append(r.inputs, i)
		}
		return header, nil
	}
	for i := range r.width {
		if i != r.label && !(r.header != nil && slices.Contains(r.opt.Ignore, r.header[i])) {
			r.inputs = append(r.inputs, i)
		}
	}
	if n := len(r.opt.Inputs); r.opt.Unlabelled && n > 0 && len(r.inputs) == n+1 {
		r.inputs = r.inputs[:n] // the last one is the label
	}
	if len(r.inputs) == 0 {
		return header, errors.New("no column is left for the input; want a label and at least one number to a line")
	}
	return header, nil
}

func (r *csvReader) findLabel() (int, error) {
	if r.opt.Unlabelled {
		return -1, nil
	}
	if want := r.opt.Label; want != "" {
		if i := slices.Index(r.header, want); i >= 0 {
			return i, nil
		}
		if n, err := strconv.Atoi(want); err == nil && n >= 1 && n <= r.width {
			return n - 1, nil
		}
		return 0, fmt.Errorf("there is no column %q; the columns are %q", want, r.header)
	}
	for _, name := range labelNames {
		if i := slices.IndexFunc(r.header, func(h string) bool { return strings.EqualFold(h, name) }); i >= 0 {
			return i, nil
		}
	}
	return r.width - 1, nil
}

func (r *csvReader) add(fields []string) error {
	if len(fields) != r.width {
		return fmt.Errorf("%d columns, the first line has %d", len(fields), r.width)
	}
	if r.values += len(r.inputs); r.values > MaxNumbers || len(r.set.Examples) == MaxExamples {
		return fmt.Errorf("more than %d examples or %d values in all; train on a part", MaxExamples, MaxNumbers)
	}
	e := train.Example{Input: make([]float32, len(r.inputs))}
	for k, c := range r.inputs {
		v, err := r.number(fields, c)
		if err != nil {
			return err
		}
		e.Input[k] = v
	}
	if r.opt.Unlabelled {
		r.set.Examples = append(r.set.Examples, e)
		return nil
	}
	label := strings.TrimSpace(fields[r.label])
	switch {
	case label == "":
		return errors.New("the label is empty")
	case r.opt.Numeric:
		v, err := r.number(fields, r.label)
		if err != nil {
			return err
		}
		e.Target = []float32{v}
	default:
		r.labels = append(r.labels, strings.Clone(label))
	}
	r.set.Examples = append(r.set.Examples, e)
	return nil
}

// number reads a field as the float32 that is nearest to it.
func (r *csvReader) number(fields []string, c int) (float32, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(fields[c]), 32)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("column %s has %.40q, want a finite number; fill it in, leave out the line, or ignore the column", r.name(c), fields[c])
	}
	return float32(v), nil
}

// name is that of a column for people: quoted, or its number.
func (r *csvReader) name(c int) string {
	if r.header != nil {
		return strconv.Quote(r.header[c])
	}
	return strconv.Itoa(c + 1)
}
