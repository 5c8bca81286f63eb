package rpc

import (
	"errors"
	"fmt"
	"io"
)

// Piece is a message of an answer that comes in pieces: the first says how many
// bytes all have together.
type Piece interface {
	GetTotal() uint64
	GetData() []byte
}

// ErrPieces marks pieces that are not what they were said to be.
var ErrPieces = errors.New("not the pieces that were announced")

// Gather reads all pieces, of at most so many bytes; progress may be nil. What is
// not as announced is an ErrPieces; other errors are of the call.
func Gather[P Piece](most uint64, receive func() (P, error), progress func(done, total int64)) ([]byte, error) {
	var data []byte
	total := uint64(0)
	for first := true; first || uint64(len(data)) < total; first = false {
		in, err := receive()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: %d bytes came, and %d were said", ErrPieces, len(data), total)
		}
		if err != nil {
			return nil, err
		}
		if first {
			if total = in.GetTotal(); total == 0 || total > most {
				return nil, fmt.Errorf("%w: %d bytes are to come, at most %d are read", ErrPieces, total, most)
			}
		}
		piece := in.GetData()
		if len(piece) == 0 || uint64(len(data)+len(piece)) > total {
			return nil, fmt.Errorf("%w: more than %d bytes came, or nothing", ErrPieces, total)
		}
		data = append(data, piece...)
		if progress != nil {
			progress(int64(len(data)), int64(total))
		}
	}
	return data, nil
}

// pieceSize is how many bytes of an answer go into one message.
const pieceSize = 48 << 10

// Scatter sends an answer in pieces, as Gather reads them: send gets each, and the
// length of all with the first, 0 with the others.
func Scatter(data []byte, send func(piece []byte, total uint64) error) error {
	total := uint64(len(data))
	for first := true; first || len(data) > 0; first = false {
		n := min(pieceSize, len(data))
		if err := send(data[:n], total); err != nil {
			return err
		}
		data, total = data[n:], 0
	}
	return nil
}
