package canon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

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

// Reader reads canonical CBOR item by item, for data that is too large to be
// decoded into values and encoded again. After the first item that is not what
// was asked for, or not in the deterministic encoding, every further one reads
// as nothing; [Reader.End] gives the error.
type Reader struct {
	rest  []byte
	items int // that may follow
	limit int
	err   error
}

// NewReader reads data, of which strings are parts, of at most a number of
// items. An item of one byte can take 32 in memory.
func NewReader(data []byte, items int) *Reader {
	return &Reader{rest: data, items: items, limit: items}
}

// End gives the first error; data after the last item is one.
func (r *Reader) End() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail("%d bytes after the end", len(r.rest))
	}
	return r.err
}

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrCBOR}, args...)...)
	}
	r.rest = nil
}

// The major types of RFC 8949 section 3.1 that Reader knows.
const (
	majorUint  = 0
	majorBytes = 2
	majorArray = 4
	majorMap   = 5
)

// head reads the head of an item.
func (r *Reader) head(major byte) uint64 {
	switch {
	case r.err != nil:
		return 0
	case r.items == 0:
		r.fail("more than %d data items", r.limit)
		return 0
	case len(r.rest) == 0:
		r.fail("it ends before its last item")
		return 0
	case r.rest[0]>>5 != major:
		r.fail("an item of type %d, want %d", r.rest[0]>>5, major)
		return 0
	}
	r.items--
	info := r.rest[0] & 31
	if info < 24 {
		r.rest = r.rest[1:]
		return uint64(info)
	}
	size := 1 << (info - 24)
	if info > 27 || len(r.rest) < 1+size {
		r.fail("a head that is cut, or of no known length")
		return 0
	}
	arg, least := uint64(0), uint64(24)
	for _, b := range r.rest[1 : 1+size] {
		arg = arg<<8 | uint64(b)
	}
	if size > 1 {
		least = 1 << (4 * size) // what half of the bytes cannot say
	}
	if arg < least {
		r.fail("a number is longer than it need be")
		return 0
	}
	r.rest = r.rest[1+size:]
	return arg
}

// Uint reads an unsigned number that an int has room for.
func (r *Reader) Uint() int {
	n := r.head(majorUint)
	if n > math.MaxInt {
		r.fail("the number %d is too large", n)
		return 0
	}
	return int(n)
}

// Array reads the head of an array and gives the number of its items, no more
// than may follow.
func (r *Reader) Array() int {
	n := r.head(majorArray)
	switch {
	case n > uint64(r.items):
		r.fail("more than %d data items", r.limit)
		return 0
	case n > uint64(len(r.rest)):
		r.fail("it ends before its last item")
		return 0
	}
	return int(n)
}

// Bytes reads a byte string, which is a part of the data.
func (r *Reader) Bytes() []byte {
	n := r.head(majorBytes)
	if n > uint64(len(r.rest)) {
		r.fail("it ends within a byte string")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Hash reads a byte string of [Size] bytes.
func (r *Reader) Hash() (h Hash) {
	if b := r.Bytes(); len(b) != Size {
		r.fail("a byte string of %d bytes, want %d", len(b), Size)
	} else {
		copy(h[:], b)
	}
	return h
}

// Tuple reads the head of an array of n items.
func (r *Reader) Tuple(n int) {
	if got := r.Array(); got != n {
		r.fail("an array of %d items, want %d", got, n)
	}
}

// Map reads the head of a map of n pairs.
func (r *Reader) Map(n int) {
	if got := r.head(majorMap); got != uint64(n) {
		r.fail("a map of %d pairs, want %d", got, n)
	}
}

// Key reads a key of a map, which must be this one.
func (r *Reader) Key(key int) {
	if got := r.Uint(); got != key {
		r.fail("the key %d of a map, want %d", got, key)
	}
}
