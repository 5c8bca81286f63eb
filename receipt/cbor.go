package receipt

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// encodeChecked gives the canonical encoding of v, after making sure that it
// can be read again.
func encodeChecked[T any](check string, v *T) ([]byte, error) {
	b, err := canon.Marshal(v)
	if err == nil {
		err = decode(b, new(T))
	}
	if err != nil {
		return nil, &Error{check, "cannot be encoded; text must be UTF-8", err}
	}
	return b, nil
}

// decode is canon.Unmarshal for what may be large.
func decode(data []byte, v any) error {
	if n := heads(data); n > maxHeads {
		return fmt.Errorf("more than %d data items", maxHeads)
	}
	return canon.Unmarshal(data, v)
}

// heads counts data items, up to the first that is not well-formed: that is for
// the decoder to refuse. It stops above maxHeads.
func heads(data []byte) int {
	n := 0
	for ; len(data) > 0 && n <= maxHeads; n++ {
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
