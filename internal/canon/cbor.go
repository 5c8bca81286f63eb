package canon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Limits of a CBOR item that is read. The length of the whole is the caller's
// to bound.
const (
	maxNesting = 16
	maxItems   = 1 << 20 // of an array
	maxPairs   = 1 << 12 // of a map
)

// ErrCBOR says that bytes are not CBOR in the deterministic encoding, or not
// of the form that was asked for.
var ErrCBOR = errors.New("not canonical CBOR")

var (
	encoder = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		ShortestFloat: cbor.ShortestFloat16,
		NaNConvert:    cbor.NaNConvert7e00,
		InfConvert:    cbor.InfConvertFloat16,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode())
	decoder = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxItems,
		MaxMapPairs:       maxPairs,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("canon: internal error: " + err.Error())
	}
	return v
}

// Marshal encodes v in the deterministic encoding of RFC 8949 section 4.2.1,
// floats in their shortest form. Structs use the tags of fxamacker/cbor.
func Marshal(v any) ([]byte, error) { return encoder.Marshal(v) }

// Unmarshal decodes data into v, a pointer. Data that is not in the
// deterministic encoding is refused, and so are fields that v lacks: decoding
// and encoding again must give the same bytes.
func Unmarshal(data []byte, v any) error {
	if err := decoder.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrCBOR, err)
	}
	again, err := encoder.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCBOR, err)
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not in the deterministic encoding of RFC 8949 section 4.2", ErrCBOR)
	}
	return nil
}

// UnmarshalMax is Unmarshal for data that may be large: it first refuses data
// of more than a number of items. An item of one byte can take 32 in memory.
func UnmarshalMax(data []byte, v any, items int) error {
	if heads(data, items) > items {
		return fmt.Errorf("%w: more than %d data items", ErrCBOR, items)
	}
	return Unmarshal(data, v)
}

// heads counts data items, up to the first that is not well-formed: that is for
// the decoder to refuse. It stops above limit.
func heads(data []byte, limit int) int {
	n := 0
	for ; len(data) > 0 && n <= limit; n++ {
		major, info := data[0]>>5, data[0]&31
		data = data[1:]
		arg := uint64(info)
		if info >= 24 {
			size := 1 << (info - 24)
			if info > 27 || len(data) < size {
				return n
			}
			arg = binary.BigEndian.Uint64(append(make([]byte, 8-size, 8), data[:size]...))
			data = data[size:]
		}
		if major == 2 || major == 3 { // a byte or text string
			if arg > uint64(len(data)) {
				return n
			}
			data = data[arg:]
		}
	}
	return n
}
