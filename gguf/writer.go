package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Writer writes a version 3 file. The order of calls: [Writer.Set] and
// [Writer.Declare] in any order, then for every declared tensor, in the order
// of declaration, [Writer.Start] and its bytes by [Writer.Write] (or both at
// once by [Writer.WriteTensor]), then [Writer.Close]. The same calls give the
// same bytes. A Writer is for one goroutine.
type Writer struct {
	w       io.Writer
	file    *tempFile // from Create, else nil
	keys    []string
	values  map[string]Value
	tensors []*Tensor
	names   map[string]bool
	bytes   int64 // of the header, without padding

	started bool  // the header is written; nothing can be set any more
	next    int   // tensors[next] is the first that is not complete
	open    bool  // tensors[next] was started
	left    int64 // bytes that tensors[next] still needs
	err     error // the first failed write; nothing works after it
	closed  bool
}

// headerBytes is the size of magic, version and the two counts.
const headerBytes = 4 + 4 + 8 + 8

// NewWriter writes a file to w, in order and without seeking. Close does not
// close w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, values: make(map[string]Value), names: make(map[string]bool), bytes: headerBytes}
}

// Create writes a file at path. It grows under a temporary name beside it,
// and takes its place, complete and synced, when [Writer.Close] succeeds;
// call [Writer.Abort] (after Close it does nothing) to remove what an error
// left.
func Create(path string) (*Writer, error) {
	t, err := newTempFile(path)
	if err != nil {
		return nil, fmt.Errorf("gguf: create %s: %w", path, err)
	}
	w := NewWriter(t.buf)
	w.file = t
	return w, nil
}

// Set gives a metadata key a value. Keys stand in the file in the order in
// which they were first set; setting one again replaces its value.
// general.alignment is obeyed; it must be uint32.
func (w *Writer) Set(key string, v Value) error {
	if err := w.changeable(); err != nil {
		return fmt.Errorf("gguf: set %q: %w", key, err)
	}
	if err := checkIdent(key, maxKeyLen); err != nil {
		return fmt.Errorf("gguf: set %q: %w", key, err)
	}
	if err := v.check(); err != nil {
		return fmt.Errorf("gguf: set %q: %w", key, err)
	}
	if key == keyAlignment {
		if _, why := alignmentOf(v); why != "" {
			return fmt.Errorf("gguf: set %q: %s", key, why)
		}
	}
	grow := int64(v.encodedSize())
	old, replace := w.values[key]
	if replace {
		grow -= int64(old.encodedSize())
	} else {
		grow += int64(stringHead + len(key))
		if len(w.keys) == maxKeys {
			return fmt.Errorf("gguf: set %q: the limit is %d keys", key, maxKeys)
		}
	}
	if w.bytes+grow > maxHeader {
		return fmt.Errorf("gguf: set %q: the header grows beyond %d bytes", key, maxHeader)
	}
	w.bytes += grow
	w.values[key] = v
	if !replace {
		w.keys = append(w.keys, key)
	}
	return nil
}

// SetFrom sets all metadata of f in f's order, except the split.* keys, which
// describe f's division into parts and not the model.
func (w *Writer) SetFrom(f *File) error {
	for _, key := range f.keys {
		if strings.HasPrefix(key, "split.") {
			continue
		}
		if err := w.Set(key, f.values[key]); err != nil {
			return err
		}
	}
	return nil
}

// Declare announces a tensor. shape has ggml's order: the row length first,
// and it must be a multiple of the type's block. Only supported types can be
// written.
func (w *Writer) Declare(name string, t Type, shape ...int) error {
	if err := w.declare(name, t, shape); err != nil {
		return fmt.Errorf("gguf: declare tensor %q: %w", name, err)
	}
	return nil
}

func (w *Writer) declare(name string, t Type, shape []int) error {
	if err := w.changeable(); err != nil {
		return err
	}
	if err := checkIdent(name, maxWriteNameLen); err != nil {
		return err
	}
	if w.names[name] {
		return errors.New("declared twice")
	}
	if len(w.tensors) == maxTensors {
		return fmt.Errorf("the limit is %d tensors", maxTensors)
	}
	if e, _ := t.Block(); e == 0 {
		return fmt.Errorf("%w %s", ErrUnsupportedType, t)
	}
	if len(shape) < 1 || len(shape) > maxDims {
		return fmt.Errorf("has %d dimensions, must have 1 to %d", len(shape), maxDims)
	}
	size, why := tensorSize(t, shape)
	if why != "" {
		return errors.New(why)
	}
	info := int64(stringHead + len(name) + 4 + 8*len(shape) + 4 + 8)
	if w.bytes+info > maxHeader {
		return fmt.Errorf("the header grows beyond %d bytes", maxHeader)
	}
	offset := int64(0)
	if n := len(w.tensors); n > 0 {
		// Unpadded here; the alignment may still change.
		offset = w.tensors[n-1].Offset + w.tensors[n-1].Size
	}
	if offset > maxFile-size {
		return fmt.Errorf("the file grows beyond %d bytes", int64(maxFile))
	}
	w.bytes += info
	w.names[name] = true
	w.tensors = append(w.tensors, &Tensor{Name: name, Type: t, Shape: slices.Clone(shape), Size: size, Offset: offset})
	return nil
}

// changeable says why metadata and tensors can no longer be added.
func (w *Writer) changeable() error {
	switch {
	case w.err != nil:
		return w.err
	case w.closed:
		return errors.New("the writer is closed")
	case w.started:
		return errors.New("tensor data has begun, the header is written")
	}
	return nil
}

// checkIdent says what is wrong with a key or a tensor name.
func checkIdent(s string, limit int) error {
	switch {
	case s == "":
		return errors.New("the name is empty")
	case len(s) > limit:
		return fmt.Errorf("the name has %d bytes, the limit is %d", len(s), limit)
	case !utf8.ValidString(s):
		return errors.New("the name is not UTF-8")
	}
	return nil
}

// alignment is what general.alignment says so far.
func (w *Writer) alignment() int {
	if v, ok := w.values[keyAlignment]; ok {
		a, _ := alignmentOf(v) // Set checked it
		return a
	}
	return defaultAlignment
}

// Size is the bytes of the whole file as declared so far.
func (w *Writer) Size() int64 {
	a := w.alignment()
	n := pad(w.bytes, a)
	for _, t := range w.tensors {
		n += pad(t.Size, a)
	}
	return n
}

// Pending names the declared tensors that are not complete, in the order in
// which their data must come.
func (w *Writer) Pending() []string {
	names := make([]string, 0, len(w.tensors)-w.next)
	for _, t := range w.tensors[w.next:] {
		names = append(names, t.Name)
	}
	return names
}

// Start begins the data of the next declared tensor, which must be name. The
// one before must be complete.
func (w *Writer) Start(name string) error {
	if err := w.start(name); err != nil {
		return fmt.Errorf("gguf: tensor %q: %w", name, err)
	}
	return nil
}

func (w *Writer) start(name string) error {
	switch {
	case w.err != nil:
		return w.err
	case w.closed:
		return errors.New("the writer is closed")
	case w.open:
		return fmt.Errorf("the tensor %q still needs %d bytes", w.tensors[w.next].Name, w.left)
	case w.next == len(w.tensors):
		return errors.New("all declared tensors are written")
	case w.tensors[w.next].Name != name:
		return fmt.Errorf("the next declared tensor is %q", w.tensors[w.next].Name)
	}
	if err := w.writeHeader(); err != nil {
		return err
	}
	w.open, w.left = true, w.tensors[w.next].Size
	return nil
}

// Write appends bytes to the started tensor. It refuses more than the tensor
// takes, and writes nothing then.
func (w *Writer) Write(p []byte) (int, error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case !w.open:
		return 0, errors.New("gguf: no tensor is started: call Start first")
	case int64(len(p)) > w.left:
		return 0, fmt.Errorf("gguf: tensor %q: %d bytes given, it takes %d more", w.tensors[w.next].Name, len(p), w.left)
	}
	n, err := w.w.Write(p)
	w.left -= int64(n)
	if err != nil {
		return n, w.fail(err)
	}
	if w.left > 0 {
		return n, nil
	}
	size := w.tensors[w.next].Size
	w.open = false
	w.next++
	return n, w.zeros(pad(size, w.alignment()) - size)
}

// WriteTensor writes the whole data of the next declared tensor, which must
// be name.
func (w *Writer) WriteTensor(name string, data []byte) error {
	if err := w.Start(name); err != nil {
		return err
	}
	if int64(len(data)) != w.left {
		return fmt.Errorf("gguf: tensor %q: %d bytes given, it takes %d", name, len(data), w.left)
	}
	_, err := w.Write(data)
	return err
}

// fail keeps the first error of the underlying writer: what it wrote is
// unknown, so nothing can follow.
func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("gguf: write: %w", err)
	return w.err
}

func (w *Writer) zeros(n int64) error {
	if n == 0 {
		return nil
	}
	if _, err := w.w.Write(make([]byte, n)); err != nil {
		return w.fail(err)
	}
	return nil
}

// writeHeader writes everything before the tensor data, once.
func (w *Writer) writeHeader() error {
	if w.started {
		return nil
	}
	w.started = true
	le := binary.LittleEndian
	b := make([]byte, 0, w.bytes)
	b = append(b, magic...)
	b = le.AppendUint32(b, maxVersion)
	b = le.AppendUint64(b, uint64(len(w.tensors)))
	b = le.AppendUint64(b, uint64(len(w.keys)))
	for _, key := range w.keys {
		b = appendString(b, key)
		b = w.values[key].appendTo(b)
	}
	a := w.alignment()
	offset := int64(0)
	for _, t := range w.tensors {
		t.Offset = offset
		offset += pad(t.Size, a)
		b = appendString(b, t.Name)
		b = le.AppendUint32(b, uint32(len(t.Shape)))
		for _, d := range t.Shape {
			b = le.AppendUint64(b, uint64(d))
		}
		b = le.AppendUint32(b, uint32(t.Type))
		b = le.AppendUint64(b, uint64(t.Offset))
	}
	if int64(len(b)) != w.bytes {
		panic(fmt.Sprintf("gguf: internal error: a header of %d bytes was counted as %d", len(b), w.bytes))
	}
	if _, err := w.w.Write(b); err != nil {
		return w.fail(err)
	}
	return w.zeros(pad(w.bytes, a) - w.bytes)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// Close completes the file. It fails when a declared tensor lacks data, and
// then a file from [Create] does not appear.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	err := w.finish()
	w.closed = true
	if w.file == nil {
		return err
	}
	if err != nil {
		w.file.remove()
		return err
	}
	if err := w.file.commit(); err != nil {
		return fmt.Errorf("gguf: write: %w", err)
	}
	return nil
}

func (w *Writer) finish() error {
	if w.err != nil {
		return w.err
	}
	if w.next < len(w.tensors) {
		return fmt.Errorf("gguf: close: the tensor %q and %d after it lack data", w.tensors[w.next].Name, len(w.tensors)-w.next-1)
	}
	return w.writeHeader()
}

// Abort gives up the file; one from [Create] is removed. After Close it does
// nothing.
func (w *Writer) Abort() {
	if !w.closed && w.file != nil {
		w.file.remove()
	}
	w.closed = true
}

// tempFile is a file that appears under its name when it is complete.
type tempFile struct {
	path string
	fd   *os.File
	buf  *bufio.Writer
}

// writeBuffer spares a system call for every row of a tensor.
const writeBuffer = 1 << 20

func newTempFile(path string) (*tempFile, error) {
	fd, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	return &tempFile{path: path, fd: fd, buf: bufio.NewWriterSize(fd, writeBuffer)}, nil
}

// commit puts the file under its name, or removes it.
func (t *tempFile) commit() error {
	err := t.buf.Flush()
	if err == nil {
		err = t.fd.Chmod(0o644) // CreateTemp gives 0600, and models are shared
	}
	if err == nil {
		err = t.fd.Sync()
	}
	if e := t.fd.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(t.fd.Name(), t.path)
	}
	if err != nil {
		os.Remove(t.fd.Name())
	}
	return err
}

func (t *tempFile) remove() {
	t.fd.Close()
	os.Remove(t.fd.Name())
}
