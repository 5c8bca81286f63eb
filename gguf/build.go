package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Scalar lists the Go types that are kinds of metadata values.
type Scalar interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64 | bool | string
}

// ValueOf makes the metadata value of x, with the kind that x's Go type
// names: ValueOf(uint32(7)), ValueOf("llama"), ValueOf(true).
func ValueOf[T Scalar](x T) Value {
	kind, raw := appendScalar(nil, x)
	return Value{kind: kind, raw: string(raw)}
}

// ArrayOf makes an array of the kind that the Go type names:
// ArrayOf([]string{"a", "b"}), ArrayOf([]float32{0.5}). Beware that []byte is
// an array of uint8.
func ArrayOf[T Scalar](list []T) Value {
	var zero T
	elem, _ := appendScalar(nil, zero)
	raw := make([]byte, 0, len(list)*elem.minSize())
	for _, x := range list {
		if s, ok := any(x).(string); ok {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(len(s)))
		}
		_, raw = appendScalar(raw, x)
	}
	return Value{kind: KindArray, elem: elem, n: len(list), raw: string(raw)}
}

// ArrayOfValues makes an array from values that all have the kind elem; it is
// the way to arrays of arrays, and to arrays whose kind is known only when
// the program runs.
func ArrayOfValues(elem Kind, list ...Value) (Value, error) {
	if !elem.valid() {
		return Value{}, fmt.Errorf("gguf: array element %s does not exist", elem)
	}
	var raw []byte
	for i, v := range list {
		if v.kind != elem {
			return Value{}, fmt.Errorf("gguf: array of %s: element %d is %s", elem, i, v.kind)
		}
		switch elem {
		case KindString:
			raw = binary.LittleEndian.AppendUint64(raw, uint64(len(v.raw)))
		case KindArray:
			raw = v.appendArrayHead(raw)
		}
		raw = append(raw, v.raw...)
	}
	a := Value{kind: KindArray, elem: elem, n: len(list), raw: string(raw)}
	if d := a.depth(); d > maxArrayDepth {
		return Value{}, fmt.Errorf("gguf: arrays are nested %d deep, the limit is %d", d, maxArrayDepth)
	}
	return a, nil
}

// appendScalar appends x's bytes, for a string without its length.
func appendScalar(b []byte, x any) (Kind, []byte) {
	le := binary.LittleEndian
	switch x := x.(type) {
	case uint8:
		return KindUint8, append(b, x)
	case int8:
		return KindInt8, append(b, uint8(x))
	case uint16:
		return KindUint16, le.AppendUint16(b, x)
	case int16:
		return KindInt16, le.AppendUint16(b, uint16(x))
	case uint32:
		return KindUint32, le.AppendUint32(b, x)
	case int32:
		return KindInt32, le.AppendUint32(b, uint32(x))
	case uint64:
		return KindUint64, le.AppendUint64(b, x)
	case int64:
		return KindInt64, le.AppendUint64(b, uint64(x))
	case float32:
		return KindFloat32, le.AppendUint32(b, math.Float32bits(x))
	case float64:
		return KindFloat64, le.AppendUint64(b, math.Float64bits(x))
	case bool:
		if x {
			return KindBool, append(b, 1)
		}
		return KindBool, append(b, 0)
	case string:
		return KindString, append(b, x...)
	}
	panic(fmt.Sprintf("gguf: internal error: %T is no scalar", x))
}

// appendArrayHead appends an array's element kind and count.
func (v Value) appendArrayHead(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(v.elem))
	return binary.LittleEndian.AppendUint64(b, uint64(v.n))
}

// depth is 0 for what is no array, 1 for an array of scalars, and so on.
func (v Value) depth() int {
	if v.kind != KindArray {
		return 0
	}
	deepest := 0
	if v.elem == KindArray {
		for _, e := range v.All() {
			deepest = max(deepest, e.depth())
		}
	}
	return 1 + deepest
}

// check says why no reader with this package's limits would take the value.
func (v Value) check() error {
	switch v.kind {
	case KindString:
		if len(v.raw) > maxStringLen {
			return fmt.Errorf("string of %d bytes, the limit is %d", len(v.raw), maxStringLen)
		}
	case KindArray:
		if v.n > maxArrayLen {
			return fmt.Errorf("array of %d elements, the limit is %d", v.n, maxArrayLen)
		}
		if v.elem == KindString || v.elem == KindArray {
			for i, e := range v.All() {
				if err := e.check(); err != nil {
					return fmt.Errorf("element %d: %w", i, err)
				}
			}
		}
	default:
		if len(v.raw) != v.kind.size() {
			return fmt.Errorf("the zero Value holds nothing: make one with ValueOf")
		}
	}
	return nil
}

// encodedSize is the bytes that appendTo appends.
func (v Value) encodedSize() int {
	switch v.kind {
	case KindString:
		return 4 + stringHead + len(v.raw)
	case KindArray:
		return 4 + arrayHead + len(v.raw)
	}
	return 4 + len(v.raw)
}

// appendTo appends the kind and the value as a file has them.
func (v Value) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(v.kind))
	switch v.kind {
	case KindString:
		b = binary.LittleEndian.AppendUint64(b, uint64(len(v.raw)))
	case KindArray:
		b = v.appendArrayHead(b)
	}
	return append(b, v.raw...)
}
