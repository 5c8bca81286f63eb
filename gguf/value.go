package gguf

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a metadata value, with the format's numbers.
type Kind uint32

// The kinds of metadata values.
const (
	KindUint8   Kind = 0
	KindInt8    Kind = 1
	KindUint16  Kind = 2
	KindInt16   Kind = 3
	KindUint32  Kind = 4
	KindInt32   Kind = 5
	KindFloat32 Kind = 6
	KindBool    Kind = 7
	KindString  Kind = 8
	KindArray   Kind = 9
	KindUint64  Kind = 10
	KindInt64   Kind = 11
	KindFloat64 Kind = 12
)

var kindNames = [...]string{
	"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32",
	"bool", "string", "array", "uint64", "int64", "float64",
}

// String gives the kind's name, such as "uint32".
func (k Kind) String() string {
	if k.valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

func (k Kind) valid() bool { return k <= KindFloat64 }

// size gives the bytes of a scalar of a fixed size, 0 for strings and arrays.
func (k Kind) size() int {
	switch k {
	case KindUint8, KindInt8, KindBool:
		return 1
	case KindUint16, KindInt16:
		return 2
	case KindUint32, KindInt32, KindFloat32:
		return 4
	case KindUint64, KindInt64, KindFloat64:
		return 8
	}
	return 0
}

// minSize gives the fewest bytes that an array element of this kind takes.
func (k Kind) minSize() int {
	switch k {
	case KindString:
		return stringHead
	case KindArray:
		return arrayHead
	}
	return k.size()
}

const (
	stringHead = 8     // length
	arrayHead  = 4 + 8 // element kind, count
)

// A Value is one typed metadata value. The zero Value is uint8 0 without
// bytes, and no file holds it; Values come from a [File] or from the
// constructors ([ValueOf], [ArrayOf], [ArrayOfValues]). Two Values are == when
// they have the same kind and the same bytes.
type Value struct {
	kind Kind
	elem Kind   // of an array
	n    int    // elements of an array
	raw  string // the bytes as the file has them: little endian; a string without its length; an array without element kind and count
}

// Kind tells the value's type.
func (v Value) Kind() Kind { return v.kind }

// Elem tells the type of an array's elements; for other kinds it is
// meaningless.
func (v Value) Elem() Kind { return v.elem }

// Len is the number of elements of an array, and 0 for other kinds.
func (v Value) Len() int { return v.n }

// le reads a little-endian number of len(s) bytes, at most 8.
func le(s string) uint64 {
	var x uint64
	for i := len(s) - 1; i >= 0; i-- {
		x = x<<8 | uint64(s[i])
	}
	return x
}

// signed reads s as a two's-complement number of its own width.
func signed(s string) int64 {
	shift := 64 - 8*len(s)
	return int64(le(s)<<shift) >> shift
}

// integer reads an integer of kind k; ok is false when k is none, or when the
// number is above the largest int64.
func integer(k Kind, raw string) (x int64, ok bool) {
	switch k {
	case KindUint8, KindUint16, KindUint32, KindUint64:
		u := le(raw)
		return int64(u), u <= math.MaxInt64
	case KindInt8, KindInt16, KindInt32, KindInt64:
		return signed(raw), true
	}
	return 0, false
}

// Uint gives an integer of any width that is not negative.
func (v Value) Uint() (uint64, bool) {
	if v.kind == KindUint64 {
		return le(v.raw), true
	}
	x, ok := integer(v.kind, v.raw)
	return uint64(x), ok && x >= 0
}

// Int gives an integer of any width that an int64 can hold.
func (v Value) Int() (int64, bool) { return integer(v.kind, v.raw) }

// Float gives a float32 or float64 exactly, or an integer (rounded to nearest
// above 2⁵³).
func (v Value) Float() (float64, bool) {
	switch v.kind {
	case KindFloat32:
		return float64(math.Float32frombits(uint32(le(v.raw)))), true
	case KindFloat64:
		return math.Float64frombits(le(v.raw)), true
	case KindUint64:
		return float64(le(v.raw)), true
	}
	x, ok := v.Int()
	return float64(x), ok
}

// Bool gives a bool.
func (v Value) Bool() (value, ok bool) {
	if v.kind != KindBool {
		return false, false
	}
	return le(v.raw) != 0, true
}

// Text gives a string. Its bytes are as the file has them; the format asks
// for UTF-8, and nothing here enforces it.
func (v Value) Text() (string, bool) {
	if v.kind != KindString {
		return "", false
	}
	return v.raw, true
}

// Strings gives an array of strings.
func (v Value) Strings() ([]string, bool) {
	if v.kind != KindArray || v.elem != KindString {
		return nil, false
	}
	list := make([]string, 0, v.n)
	for raw := v.raw; len(raw) >= stringHead; {
		n := int(le(raw[:stringHead]))
		list = append(list, raw[stringHead:stringHead+n])
		raw = raw[stringHead+n:]
	}
	return list, true
}

// Ints gives an array of integers of any width, or of bools (as 0 and 1). It
// fails when an element does not fit.
func (v Value) Ints() ([]int64, bool) {
	if v.kind != KindArray {
		return nil, false
	}
	kind := v.elem
	if kind == KindBool {
		kind = KindUint8
	}
	switch kind {
	case KindFloat32, KindFloat64, KindString, KindArray:
		return nil, false
	}
	size := kind.size()
	list := make([]int64, v.n)
	for i := range list {
		x, ok := integer(kind, v.raw[i*size:(i+1)*size])
		if !ok {
			return nil, false
		}
		list[i] = x
	}
	return list, true
}

// Floats gives an array of float32, or of float64 rounded to float32.
func (v Value) Floats() ([]float32, bool) {
	if v.kind != KindArray || (v.elem != KindFloat32 && v.elem != KindFloat64) {
		return nil, false
	}
	list := make([]float32, v.n)
	for i := range list {
		if v.elem == KindFloat32 {
			list[i] = math.Float32frombits(uint32(le(v.raw[4*i : 4*i+4])))
		} else {
			list[i] = float32(math.Float64frombits(le(v.raw[8*i : 8*i+8])))
		}
	}
	return list, true
}

// All goes through the elements of an array of any kind, arrays of arrays
// included. For other kinds it yields nothing.
func (v Value) All() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		raw := v.raw
		for i := range v.n {
			var e Value
			e, raw = splitElem(v.elem, raw)
			if !yield(i, e) {
				return
			}
		}
	}
}

// splitElem cuts the first element of kind k off an array's bytes, which
// were checked when the Value was made.
func splitElem(k Kind, raw string) (e Value, rest string) {
	switch k {
	case KindString:
		n := stringHead + int(le(raw[:stringHead]))
		return Value{kind: k, raw: raw[stringHead:n]}, raw[n:]
	case KindArray:
		e = Value{kind: k, elem: Kind(le(raw[:4])), n: int(le(raw[4:arrayHead]))}
		body := raw[arrayHead:]
		rest = body
		for range e.n {
			if size := e.elem.size(); size > 0 {
				rest = rest[size*e.n:]
				break
			}
			_, rest = splitElem(e.elem, rest)
		}
		e.raw = body[:len(body)-len(rest)]
		return e, rest
	}
	return Value{kind: k, raw: raw[:k.size()]}, raw[k.size():]
}

// maxShown bounds the elements and bytes that String shows.
const (
	maxShown      = 8
	maxShownBytes = 120
)

// String gives the value as text for people: numbers as they are, strings
// quoted, long strings and arrays cut with their length.
func (v Value) String() string {
	switch v.kind {
	case KindArray:
		var b strings.Builder
		fmt.Fprintf(&b, "%s[%d]{", v.elem, v.n)
		for i, e := range v.All() {
			if i > 0 {
				b.WriteString(", ")
			}
			if i == maxShown {
				b.WriteString("…")
				break
			}
			b.WriteString(e.String())
		}
		return b.String() + "}"
	case KindString:
		if len(v.raw) > maxShownBytes {
			return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(strings.ToValidUTF8(v.raw[:maxShownBytes], "")), len(v.raw))
		}
		return strconv.Quote(v.raw)
	case KindBool:
		b, _ := v.Bool()
		return strconv.FormatBool(b)
	case KindFloat32:
		x, _ := v.Float()
		return strconv.FormatFloat(x, 'g', -1, 32)
	case KindFloat64:
		x, _ := v.Float()
		return strconv.FormatFloat(x, 'g', -1, 64)
	case KindUint64:
		return strconv.FormatUint(le(v.raw), 10)
	}
	x, _ := v.Int()
	return strconv.FormatInt(x, 10)
}
