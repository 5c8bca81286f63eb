package gguf

import (
	"fmt"
	"strings"
)

// Type is the element type of a tensor, with ggml's numbers.
type Type uint32

// The types this module computes with. A K type packs 256 elements in a
// block, the other quantised types 32.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
)

// typeInfo describes one of ggml's types: its name, the elements of a block
// and the bytes they take.
type typeInfo struct {
	name         string
	elems, bytes int
	supported    bool
}

// typeTable is indexed by the type's number. An empty row is a number that
// ggml has retired or never given.
var typeTable = [...]typeInfo{
	F32:  {"F32", 1, 4, true},
	F16:  {"F16", 1, 2, true},
	Q4_0: {"Q4_0", 32, 2 + 16, true},
	Q4_1: {"Q4_1", 32, 2 + 2 + 16, true},
	Q5_0: {"Q5_0", 32, 2 + 4 + 16, true},
	Q5_1: {"Q5_1", 32, 2 + 2 + 4 + 16, true},
	Q8_0: {"Q8_0", 32, 2 + 32, true},
	9:    {"Q8_1", 32, 2 + 2 + 32, false},
	// The K types: scales of 16 or 32 elements, and the low and high bits.
	Q2_K:   {"Q2_K", 256, 16 + 64 + 2 + 2, true},
	Q3_K:   {"Q3_K", 256, 32 + 64 + 12 + 2, true},
	Q4_K:   {"Q4_K", 256, 2 + 2 + 12 + 128, true},
	Q5_K:   {"Q5_K", 256, 2 + 2 + 12 + 32 + 128, true},
	Q6_K:   {"Q6_K", 256, 128 + 64 + 16 + 2, true},
	15:     {"Q8_K", 256, 4 + 256 + 32, false},
	16:     {"IQ2_XXS", 256, 2 + 64, false},
	17:     {"IQ2_XS", 256, 2 + 64 + 8, false},
	18:     {"IQ3_XXS", 256, 2 + 64 + 32, false},
	19:     {"IQ1_S", 256, 2 + 32 + 16, false},
	IQ4_NL: {"IQ4_NL", 32, 2 + 16, true},
	21:     {"IQ3_S", 256, 2 + 64 + 32 + 8 + 4, false},
	22:     {"IQ2_S", 256, 2 + 64 + 16, false},
	IQ4_XS: {"IQ4_XS", 256, 2 + 2 + 4 + 128, true},
	24:     {"I8", 1, 1, false},
	25:     {"I16", 1, 2, false},
	26:     {"I32", 1, 4, false},
	27:     {"I64", 1, 8, false},
	28:     {"F64", 1, 8, false},
	29:     {"IQ1_M", 256, 32 + 16 + 8, false},
	BF16:   {"BF16", 1, 2, true},
	34:     {"TQ1_0", 256, 48 + 4 + 2, false},
	35:     {"TQ2_0", 256, 64 + 2, false},
	39:     {"MXFP4", 32, 1 + 16, false},
	40:     {"NVFP4", 64, 4 + 32, false},
	41:     {"Q1_0", 128, 2 + 16, false},
	42:     {"Q2_0", 64, 2 + 16, false},
}

// info gives the table's row, or an empty one for a number it does not have.
func (t Type) info() typeInfo {
	if int64(t) < int64(len(typeTable)) {
		return typeTable[t]
	}
	return typeInfo{}
}

// String gives ggml's name, such as "Q4_K", or "type 77" for a number that
// has none.
func (t Type) String() string {
	if name := t.info().name; name != "" {
		return name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block gives the number of elements in a block and the bytes a block takes:
// 32, 18 for Q4_0; 1, 4 for F32; 0, 0 for a type this module does not
// compute with.
func (t Type) Block() (elems, bytes int) {
	if i := t.info(); i.supported {
		return i.elems, i.bytes
	}
	return 0, 0
}

// ParseType finds a type by its name, in any case. It knows every name that
// [Type.String] gives, supported or not; ask [Type.Block] for the difference.
func ParseType(s string) (Type, bool) {
	for t, i := range typeTable {
		if i.name != "" && strings.EqualFold(i.name, s) {
			return Type(t), true
		}
	}
	return 0, false
}

// Types lists the supported types in the order of their numbers.
func Types() []Type {
	var list []Type
	for t, i := range typeTable {
		if i.supported {
			list = append(list, Type(t))
		}
	}
	return list
}

// typeNames is Types as text, for messages.
func typeNames() string {
	names := make([]string, 0, len(typeTable))
	for _, t := range Types() {
		names = append(names, t.String())
	}
	return strings.Join(names, ", ")
}
