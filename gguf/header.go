package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// firstRead is how much of a file is read before anything is known about it;
// later reads double what is there. So memory for the header stays a small
// multiple of the bytes that the file really holds, whatever it claims.
const firstRead = 64 << 10

// header is a cursor over the bytes before the tensor data.
type header struct {
	r    io.ReaderAt
	size int64  // of the file
	buf  []byte // the file's first bytes, as far as read
	pos  int    // next byte to parse
	path string

	// The place errors name: "header", or the noun, number and name of a key
	// or tensor.
	noun  string
	index int
	name  string
}

// errorf is the one constructor of errors about the header's contents. at is
// the byte offset of the failing field.
func (h *header) errorf(at int, hint, format string, args ...any) *ParseError {
	return &ParseError{Path: h.path, Where: h.where(), Offset: int64(at), What: fmt.Sprintf(format, args...), Hint: hint}
}

func (h *header) where() string {
	switch {
	case h.noun == "":
		return "header"
	case h.name == "":
		return fmt.Sprintf("%s number %d", h.noun, h.index+1)
	}
	return h.noun + " " + strconv.Quote(h.name)
}

// left is the number of bytes from the cursor to the end of the file.
func (h *header) left() uint64 { return uint64(h.size - int64(h.pos)) }

// need makes the next n bytes available in buf.
func (h *header) need(n uint64) error {
	if n <= uint64(len(h.buf)-h.pos) {
		return nil
	}
	if n > h.left() {
		return h.errorf(h.pos, hintTruncated, "needs %d more bytes, the file ends after %d", n, h.left())
	}
	if n > uint64(maxHeader-h.pos) {
		return h.errorf(h.pos, hintLimit, "the header grows beyond %d bytes", maxHeader)
	}
	end := h.pos + int(n)
	for len(h.buf) < end {
		have := len(h.buf)
		grow := min(int64(max(firstRead, have)), h.size-int64(have), maxHeader-int64(have))
		next := make([]byte, have+int(grow))
		copy(next, h.buf)
		got, err := h.r.ReadAt(next[have:], int64(have))
		h.buf = next[:have+got]
		if got < int(grow) && len(h.buf) < end {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			e := h.errorf(len(h.buf), "check the disk, and that nothing writes to the file", "cannot read: %v", err)
			e.Err = err
			return e
		}
	}
	return nil
}

func (h *header) u32() (uint32, error) {
	if err := h.need(4); err != nil {
		return 0, err
	}
	x := binary.LittleEndian.Uint32(h.buf[h.pos:])
	h.pos += 4
	return x, nil
}

func (h *header) u64() (uint64, error) {
	if err := h.need(8); err != nil {
		return 0, err
	}
	x := binary.LittleEndian.Uint64(h.buf[h.pos:])
	h.pos += 8
	return x, nil
}

// str reads a string and gives its range in buf.
func (h *header) str(what string, limit int) (span, error) {
	at := h.pos
	n, err := h.u64()
	if err != nil {
		return span{}, err
	}
	if n > uint64(limit) {
		return span{}, h.errorf(at, hintLimit, "the %s is %d bytes long, the limit is %d", what, n, limit)
	}
	if err := h.need(n); err != nil {
		return span{}, err
	}
	s := span{h.pos, h.pos + int(n)}
	h.pos = s.end
	return s, nil
}

// ident reads a key or a tensor name: a string that is not empty and is
// UTF-8.
func (h *header) ident(limit int) (string, error) {
	at := h.pos
	s, err := h.str("name", limit)
	if err != nil {
		return "", err
	}
	b := h.buf[s.start:s.end]
	if len(b) == 0 {
		return "", h.errorf(at, hintDamaged, "the name is empty")
	}
	if !utf8.Valid(b) {
		return "", h.errorf(at, hintDamaged, "the name %q is not UTF-8", b)
	}
	return string(b), nil
}

// span is a range of bytes in the header.
type span struct{ start, end int }

// pending is a metadata value whose bytes are still a range of the header:
// the buffer may move until the header is read to its end.
type pending struct {
	key        string
	kind, elem Kind
	n          int
	span       span
}

// parsed is a header's contents.
type parsed struct {
	version   int
	alignment int
	keys      []string
	values    map[string]Value
	tensors   []*Tensor
	dataStart int64 // where the tensor data starts in the file
	size      int64 // of the file
}

// parse reads a header and checks all of it, the ranges of the tensors in
// the file included.
func parse(r io.ReaderAt, size int64, path string) (*parsed, error) {
	h := &header{r: r, size: size, path: path}
	p := &parsed{size: size}
	nTensors, nKeys, err := h.fixed(p)
	if err != nil {
		return nil, err
	}
	if err := h.metadata(p, nKeys); err != nil {
		return nil, err
	}
	if err := h.align(p); err != nil {
		return nil, err
	}
	if err := h.tensorInfos(p, nTensors); err != nil {
		return nil, err
	}
	if err := h.checkLayout(p); err != nil {
		return nil, err
	}
	return p, nil
}

// fixed reads magic, version and the two counts.
func (h *header) fixed(p *parsed) (tensors, keys uint64, err error) {
	if err := h.checkMagic(); err != nil {
		return 0, 0, err
	}
	h.pos = len(magic)
	version, err := h.u32()
	if err != nil {
		return 0, 0, err
	}
	switch {
	case version&0xffff == 0 && version != 0:
		return 0, 0, h.errorf(4, "convert the model again for a little-endian machine", "the file is big endian, which is not supported")
	case version < minVersion:
		return 0, 0, h.errorf(4, "convert the model again with a current tool", "version %d is not supported, only %d and %d are", version, minVersion, maxVersion)
	case version > maxVersion:
		return 0, 0, h.errorf(4, "the file needs a newer version of this program", "version %d is not supported, only %d and %d are", version, minVersion, maxVersion)
	}
	p.version = int(version)
	if tensors, err = h.u64(); err != nil {
		return 0, 0, err
	}
	if keys, err = h.u64(); err != nil {
		return 0, 0, err
	}
	if tensors > maxTensors {
		return 0, 0, h.errorf(8, hintLimit, "%d tensors, the limit is %d", tensors, maxTensors)
	}
	if keys > maxKeys {
		return 0, 0, h.errorf(16, hintLimit, "%d metadata keys, the limit is %d", keys, maxKeys)
	}
	return tensors, keys, nil
}

func (h *header) checkMagic() error {
	const hint = "give a file whose name ends in .gguf, or convert the model to GGUF"
	var e *ParseError
	if h.size < int64(len(magic)) {
		e = h.errorf(0, hint, "the file has %d bytes, fewer than %q", h.size, magic)
	} else if err := h.need(uint64(len(magic))); err != nil {
		return err
	} else if got := h.buf[:len(magic)]; string(got) != magic {
		e = h.errorf(0, hint, "the first bytes are %q, not %q", got, magic)
	} else {
		return nil
	}
	e.Err = ErrNotGGUF
	return e
}

// metadata reads all keys and values.
func (h *header) metadata(p *parsed, count uint64) error {
	var list []pending
	seen := make(map[string]bool)
	h.noun = "key"
	for i := range count {
		h.index, h.name = int(i), ""
		at := h.pos
		key, err := h.ident(maxKeyLen)
		if err != nil {
			return err
		}
		h.name = key
		if seen[key] {
			return h.errorf(at, hintDamaged, "the key appears twice")
		}
		seen[key] = true
		v, err := h.value()
		if err != nil {
			return err
		}
		v.key = key
		list = append(list, v)
	}
	// One copy of the header holds the bytes of all values.
	text := string(h.buf[:h.pos])
	p.keys = make([]string, len(list))
	p.values = make(map[string]Value, len(list))
	for i, v := range list {
		p.keys[i] = v.key
		p.values[v.key] = Value{kind: v.kind, elem: v.elem, n: v.n, raw: text[v.span.start:v.span.end]}
	}
	h.noun = ""
	return nil
}

// value reads a kind and a value of it.
func (h *header) value() (v pending, err error) {
	at := h.pos
	kind, err := h.u32()
	if err != nil {
		return v, err
	}
	v.kind = Kind(kind)
	switch {
	case !v.kind.valid():
		return v, h.errorf(at, hintDamaged, "value kind %d does not exist", kind)
	case v.kind == KindString:
		v.span, err = h.str("string", maxStringLen)
	case v.kind == KindArray:
		v.elem, v.n, v.span, err = h.array(1)
	default:
		v.span.start = h.pos
		err = h.scalars(v.kind, 1)
		v.span.end = h.pos
	}
	return v, err
}

// array reads an array's element kind, count and elements; span covers the
// elements.
func (h *header) array(depth int) (elem Kind, n int, s span, err error) {
	at := h.pos
	if depth > maxArrayDepth {
		return 0, 0, s, h.errorf(at, hintLimit, "arrays are nested more than %d deep", maxArrayDepth)
	}
	kind, err := h.u32()
	if err != nil {
		return 0, 0, s, err
	}
	elem = Kind(kind)
	if !elem.valid() {
		return 0, 0, s, h.errorf(at, hintDamaged, "array element kind %d does not exist", kind)
	}
	count, err := h.u64()
	if err != nil {
		return 0, 0, s, err
	}
	if count > maxArrayLen {
		return 0, 0, s, h.errorf(at, hintLimit, "an array has %d elements, the limit is %d", count, maxArrayLen)
	}
	if least := count * uint64(elem.minSize()); least > h.left() {
		return 0, 0, s, h.errorf(at, hintTruncated, "an array of %d %s needs %d more bytes, the file ends after %d", count, elem, least, h.left())
	}
	n = int(count)
	s.start = h.pos
	switch elem {
	case KindString:
		for range n {
			if _, err := h.str("string", maxStringLen); err != nil {
				return 0, 0, s, err
			}
		}
	case KindArray:
		for range n {
			if _, _, _, err := h.array(depth + 1); err != nil {
				return 0, 0, s, err
			}
		}
	default:
		if err := h.scalars(elem, n); err != nil {
			return 0, 0, s, err
		}
	}
	s.end = h.pos
	return elem, n, s, nil
}

// scalars skips n values of a fixed size and checks bools, for which the
// specification allows 0 and 1 only.
func (h *header) scalars(k Kind, n int) error {
	size := uint64(n) * uint64(k.size())
	if err := h.need(size); err != nil {
		return err
	}
	if k == KindBool {
		for i, b := range h.buf[h.pos : h.pos+int(size)] {
			if b > 1 {
				return h.errorf(h.pos+i, hintDamaged, "a bool is the byte %d, neither 0 nor 1", b)
			}
		}
	}
	h.pos += int(size)
	return nil
}

// align takes general.alignment from the metadata.
func (h *header) align(p *parsed) error {
	p.alignment = defaultAlignment
	v, ok := p.values[keyAlignment]
	if !ok {
		return nil
	}
	a, why := alignmentOf(v)
	if why != "" {
		h.noun, h.name = "key", keyAlignment
		e := h.errorf(0, hintDamaged, "%s", why)
		e.Offset = -1
		return e
	}
	p.alignment = a
	return nil
}

// alignmentOf reads general.alignment's value, or says what is wrong with it.
func alignmentOf(v Value) (a int, why string) {
	if v.kind != KindUint32 {
		return 0, fmt.Sprintf("is %s, must be uint32", v.kind)
	}
	x, _ := v.Uint()
	if x < minAlignment || x > maxAlignment || x&(x-1) != 0 {
		return 0, fmt.Sprintf("is %d, must be a power of two from %d to %d", x, minAlignment, maxAlignment)
	}
	return int(x), ""
}

func (h *header) tensorInfos(p *parsed, count uint64) error {
	seen := make(map[string]bool)
	h.noun = "tensor"
	for i := range count {
		h.index, h.name = int(i), ""
		at := h.pos
		name, err := h.ident(maxNameLen)
		if err != nil {
			return err
		}
		h.name = name
		if seen[name] {
			return h.errorf(at, hintDamaged, "the tensor appears twice")
		}
		seen[name] = true
		t, err := h.tensor(p)
		if err != nil {
			return err
		}
		t.Name = name
		p.tensors = append(p.tensors, t)
	}
	h.noun = ""
	return nil
}

// tensor reads what follows a tensor's name.
func (h *header) tensor(p *parsed) (*Tensor, error) {
	at := h.pos
	dims, err := h.u32()
	if err != nil {
		return nil, err
	}
	if dims > maxDims {
		return nil, h.errorf(at, hintDamaged, "has %d dimensions, the limit is %d", dims, maxDims)
	}
	t := &Tensor{Shape: make([]int, 0, maxDims)}
	for range dims {
		d, err := h.u64()
		if err != nil {
			return nil, err
		}
		if d > math.MaxInt {
			return nil, h.errorf(at, hintDamaged, "has a dimension of %d", d)
		}
		t.Shape = append(t.Shape, int(d))
	}
	if dims == 0 {
		t.Shape = append(t.Shape, 1) // a single number
	}
	typ, err := h.u32()
	if err != nil {
		return nil, err
	}
	t.Type = Type(typ)
	size, why := tensorSize(t.Type, t.Shape)
	if why != "" {
		return nil, h.errorf(at, hintDamaged, "%s", why)
	}
	t.Size = size
	at = h.pos
	offset, err := h.u64()
	if err != nil {
		return nil, err
	}
	if offset%uint64(p.alignment) != 0 {
		return nil, h.errorf(at, hintDamaged, "its data starts at %d, which is not a multiple of the alignment %d", offset, p.alignment)
	}
	if offset > uint64(h.size) || t.Size > h.size-int64(offset) {
		return nil, h.errorf(at, hintTruncated, "its data needs bytes %d to %d of the data section, the whole file has %d", offset, offset+uint64(t.Size), h.size)
	}
	t.Offset = int64(offset)
	return t, nil
}

// tensorSize computes the bytes of a tensor, or says what is wrong with its
// shape. A type without a known block size gives 0. A dimension of 0, which
// ggml tolerates, is refused: no model has an empty tensor, and every user of
// a shape would have to expect it.
func tensorSize(typ Type, shape []int) (size int64, why string) {
	elems := int64(1)
	for _, d := range shape {
		if d <= 0 {
			return 0, fmt.Sprintf("has the shape %v, every dimension must be positive", shape)
		}
		if int64(d) > math.MaxInt/elems {
			return 0, fmt.Sprintf("has the shape %v, which is too many elements for this machine", shape)
		}
		elems *= int64(d)
	}
	info := typ.info()
	if info.elems == 0 {
		return 0, ""
	}
	if shape[0]%info.elems != 0 {
		return 0, fmt.Sprintf("has rows of %d elements, which %s (blocks of %d) does not divide", shape[0], typ, info.elems)
	}
	blocks := elems / int64(info.elems)
	if blocks > math.MaxInt/int64(info.bytes) {
		return 0, fmt.Sprintf("has the shape %v, which is too many bytes for this machine", shape)
	}
	return blocks * int64(info.bytes), ""
}
