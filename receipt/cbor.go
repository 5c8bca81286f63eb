package receipt

import (
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
func decode(data []byte, v any) error { return canon.UnmarshalMax(data, v, maxHeads) }
