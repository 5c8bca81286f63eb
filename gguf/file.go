package gguf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A Tensor describes one tensor of a file. It belongs to the [File]; do not
// change it.
type Tensor struct {
	Name string
	Type Type
	// Shape has ggml's order: Shape[0] is the length of a row, whose elements
	// lie side by side. It has 1 to 4 entries, all positive.
	Shape []int
	// Offset is where the data starts in the data section of its part.
	Offset int64
	// Size is the bytes of data, or 0 when ggml's table has no such type.
	Size int64

	part int // index in File.parts
}

// Rows is the number of rows: the product of Shape[1:].
func (t *Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[1:] {
		n *= d
	}
	return n
}

// Elements is the number of elements: the product of Shape.
func (t *Tensor) Elements() int { return t.Shape[0] * t.Rows() }

// RowSize is the bytes of one row, or 0 when ggml's table has no such type.
func (t *Tensor) RowSize() int { return int(t.Size / int64(t.Rows())) }

// part is one file of a model; models in one file have one part.
type part struct {
	path      string
	dataStart int64
	size      int64
	data      *mapping    // the whole file, or nil if only the header was read
	reader    io.ReaderAt // for Reader; nil once closed
	closer    io.Closer   // the open file behind reader, or nil
}

// File is an open GGUF file, or all parts of a split one. Its methods may be
// called from several goroutines, Close excepted.
type File struct {
	version   int
	alignment int
	keys      []string
	values    map[string]Value
	tensors   []*Tensor
	byName    map[string]*Tensor
	parts     []part
}

// Parse reads and checks the header of a file of the given size. The header
// only: [File.Data] gives nil, [File.Reader] reads from r, tensors of any
// type are accepted, and of a split file it sees the one part.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	p, err := parse(r, size, "")
	if err != nil {
		return nil, err
	}
	f := &File{byName: make(map[string]*Tensor, len(p.tensors))}
	f.setMeta(p)
	f.parts = []part{{dataStart: p.dataStart, size: size, reader: r}}
	if err := f.addTensors(&opened{parsed: p}, 0); err != nil {
		return nil, err
	}
	return f, nil
}

// Open opens a model for computing: it maps the data where the operating
// system can (elsewhere it reads it into memory) and refuses tensors of
// unsupported types. Of a split model, path names any part; the others must
// lie beside it under their usual names ([SplitName]). Nothing may change or
// shorten the files until [File.Close].
func Open(path string) (*File, error) { return open(path, true) }

// Inspect opens a model for looking at it: as [Open], but the data is not
// mapped ([File.Data] gives nil; [File.Reader] works) and a tensor may have
// any type.
func Inspect(path string) (*File, error) { return open(path, false) }

// OpenParts is [Open] for the parts of a split model, or one file, whatever
// their names; the paths are in the order of the parts.
func OpenParts(paths ...string) (*File, error) {
	if len(paths) == 0 {
		return nil, fmt.Errorf("gguf: no file given")
	}
	return assemble(paths, nil, true)
}

func open(path string, forData bool) (*File, error) {
	o, err := openHeader(path)
	if err != nil {
		return nil, err
	}
	no, paths, err := partPaths(o)
	if err != nil {
		o.fd.Close()
		return nil, err
	}
	return assemble(paths, map[int]*opened{no: o}, forData)
}

// opened is an open file with its header.
type opened struct {
	*parsed
	path string
	fd   *os.File
}

// openHeader opens a file that can be mapped, and parses its header.
func openHeader(path string) (_ *opened, err error) {
	st, err := os.Stat(path) // before opening, which waits if it is a pipe
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, &ParseError{
			Path: path, Where: "file", Offset: -1,
			What: "is not a regular file (" + st.Mode().Type().String() + ")",
			Hint: "give the path of a .gguf file", Err: ErrNotGGUF,
		}
	}
	fd, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	defer func() {
		if err != nil {
			fd.Close()
		}
	}()
	if st, err = fd.Stat(); err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	p, err := parse(fd, st.Size(), path)
	if err != nil {
		return nil, err
	}
	return &opened{p, path, fd}, nil
}

// assemble makes a File of all its parts; have holds those that are open
// already, by their place. It closes everything when it fails.
func assemble(paths []string, have map[int]*opened, forData bool) (_ *File, err error) {
	f := &File{byName: make(map[string]*Tensor)}
	defer func() {
		if err != nil {
			f.Close()
			for _, o := range have {
				o.fd.Close()
			}
		}
	}()
	for i, path := range paths {
		o := have[i]
		if o == nil {
			if o, err = openHeader(path); err != nil {
				return nil, err
			}
		}
		delete(have, i)
		f.parts = append(f.parts, part{path: path, dataStart: o.dataStart, size: o.size, reader: o.fd, closer: o.fd})
		if err := checkPart(o, i, len(paths)); err != nil {
			return nil, err
		}
		if i == 0 {
			f.setMeta(o.parsed)
		}
		if err := f.addTensors(o, i); err != nil {
			return nil, err
		}
	}
	if err := f.checkSplitTotal(); err != nil {
		return nil, err
	}
	if !forData {
		return f, nil
	}
	if err := f.checkTypes(); err != nil {
		return nil, err
	}
	for i := range f.parts {
		if err := f.parts[i].load(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// setMeta takes over what the first part says about the whole model.
func (f *File) setMeta(p *parsed) {
	f.version, f.alignment, f.keys, f.values = p.version, p.alignment, p.keys, p.values
}

// load maps the part's file (or reads it). The descriptor stays open: Reader
// reads the file, not the mapping, and so leaves no page behind.
func (p *part) load() error {
	m, err := newMapping(p.closer.(*os.File), p.size)
	if err != nil {
		return fmt.Errorf("gguf: %s: cannot map %d bytes: %w", p.path, p.size, err)
	}
	p.data = m
	return nil
}

// Close unmaps the data: slices from [File.Data] must not be used any more.
// Metadata stays valid.
func (f *File) Close() error {
	var first error
	for i := range f.parts {
		p := &f.parts[i]
		var err error
		if p.data != nil {
			err = p.data.close()
		}
		if p.closer != nil {
			err = errors.Join(err, p.closer.Close())
		}
		p.data, p.reader, p.closer = nil, nil, nil
		if err != nil && first == nil {
			first = fmt.Errorf("gguf: close %s: %w", p.path, err)
		}
	}
	return first
}

// Version is the format's version, 2 or 3.
func (f *File) Version() int { return f.version }

// Alignment is the alignment of tensor data in bytes.
func (f *File) Alignment() int { return f.alignment }

// Size is the bytes on disk of all parts.
func (f *File) Size() int64 {
	var n int64
	for _, p := range f.parts {
		n += p.size
	}
	return n
}

// Paths gives the files in order of the parts; a file that [Parse] read has
// the path "".
func (f *File) Paths() []string {
	list := make([]string, len(f.parts))
	for i, p := range f.parts {
		list[i] = p.path
	}
	return list
}

// Tensors gives all tensors in the order of the file.
func (f *File) Tensors() []*Tensor { return slices.Clone(f.tensors) }

// Tensor finds a tensor by name; nil if there is none.
func (f *File) Tensor(name string) *Tensor { return f.byName[name] }

// Data gives a tensor's bytes, t.Size of them, read-only (writing to them
// crashes the program where they are mapped) and valid until [File.Close].
// It is nil when the file was not opened with [Open], is closed, or does not
// own t.
func (f *File) Data(t *Tensor) []byte {
	if t == nil || f.byName[t.Name] != t {
		return nil
	}
	p := &f.parts[t.part]
	if p.data == nil {
		return nil
	}
	start := p.dataStart + t.Offset
	return p.data.bytes[start : start+t.Size : start+t.Size]
}

// Reader reads a tensor's bytes; it works for files from [Open], [Inspect]
// and [Parse] until they are closed. It is nil when Data would have nothing
// to read from.
func (f *File) Reader(t *Tensor) *io.SectionReader {
	if t == nil || f.byName[t.Name] != t || f.parts[t.part].reader == nil {
		return nil
	}
	p := &f.parts[t.part]
	return io.NewSectionReader(p.reader, p.dataStart+t.Offset, t.Size)
}

// Release tells the operating system that the pages of t are not needed for
// now, so that resident memory shrinks; reading them again reads the file
// again. It does nothing where there is no such advice.
func (f *File) Release(t *Tensor) {
	if t == nil || f.byName[t.Name] != t {
		return
	}
	if p := &f.parts[t.part]; p.data != nil {
		p.data.release(p.dataStart+t.Offset, t.Size)
	}
}

// Keys gives the metadata keys in the order of the file; of a split model,
// those of the first part.
func (f *File) Keys() []string { return slices.Clone(f.keys) }

// Value finds a metadata value by its key.
func (f *File) Value(key string) (Value, bool) {
	v, ok := f.values[key]
	return v, ok
}

// String gives the string under key; ok is false when there is none.
func (f *File) String(key string) (string, bool) { return get(f, key, Value.Text) }

// Uint gives the integer of any width under key, if it is not negative.
func (f *File) Uint(key string) (uint64, bool) { return get(f, key, Value.Uint) }

// Int gives the integer of any width under key.
func (f *File) Int(key string) (int64, bool) { return get(f, key, Value.Int) }

// Float gives the float32, float64 or integer under key.
func (f *File) Float(key string) (float64, bool) { return get(f, key, Value.Float) }

// Bool gives the bool under key.
func (f *File) Bool(key string) (value, ok bool) { return get(f, key, Value.Bool) }

// Strings gives the array of strings under key.
func (f *File) Strings(key string) ([]string, bool) { return get(f, key, Value.Strings) }

// Ints gives the array of integers of any width, or of bools, under key.
func (f *File) Ints(key string) ([]int64, bool) { return get(f, key, Value.Ints) }

// Floats gives the array of float32 or float64 under key.
func (f *File) Floats(key string) ([]float32, bool) { return get(f, key, Value.Floats) }

// get applies one of Value's accessors to the value under key.
func get[T any](f *File, key string, as func(Value) (T, bool)) (x T, ok bool) {
	v, ok := f.values[key]
	if !ok {
		return x, false
	}
	return as(v)
}
