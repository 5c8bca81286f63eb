package gguf

import (
	"encoding/binary"
	"fmt"
)

// Raw gives the value's bytes as a file has them, little endian: a string
// without its length, an array without element kind and count.
func (v Value) Raw() string { return v.raw }

// ValueFromRaw makes the value that has this kind and these bytes, of an array
// also this element kind and count (0 for other kinds). It is the way back
// from [Value.Kind], [Value.Elem], [Value.Len] and [Value.Raw], and refuses
// what no file could hold.
func ValueFromRaw(kind, elem Kind, n int, raw string) (Value, error) {
	v := Value{kind: kind, elem: elem, n: n, raw: raw}
	fail := func(format string, args ...any) (Value, error) {
		return Value{}, fmt.Errorf("gguf: value of kind %s: %s", kind, fmt.Sprintf(format, args...))
	}
	switch {
	case !kind.valid():
		return fail("the kind does not exist")
	case kind != KindArray && (elem != 0 || n != 0):
		return fail("has elements, %d of kind %s", n, elem)
	case kind == KindString && len(raw) > maxStringLen:
		return fail("%d bytes, the limit is %d", len(raw), maxStringLen)
	case kind == KindString:
		return v, nil
	case kind == KindArray && n < 0:
		return fail("has %d elements", n)
	}
	h := &header{}
	if kind == KindArray {
		h.buf = binary.LittleEndian.AppendUint32(make([]byte, 0, arrayHead+len(raw)), uint32(elem))
		h.buf = binary.LittleEndian.AppendUint64(h.buf, uint64(n))
	}
	h.buf = append(h.buf, raw...) // all of it, so that the header never reads
	h.size = int64(len(h.buf))
	var err error
	if kind == KindArray {
		_, _, _, err = h.array(1)
	} else {
		err = h.scalars(kind, 1)
	}
	if e, ok := err.(*ParseError); ok {
		return fail("%s", e.What)
	}
	if h.left() != 0 {
		return fail("%d bytes too many", h.left())
	}
	return v, nil
}
