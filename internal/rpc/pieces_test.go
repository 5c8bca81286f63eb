package rpc_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// TestPieces: what is sent in pieces is read as it was, and what is not as
// announced is an error.
func TestPieces(t *testing.T) {
	for _, n := range []int{0, 1, 48<<10 - 1, 48 << 10, 48<<10 + 1, 200_000} {
		data := bytes.Repeat([]byte{7}, n)
		var sent []*wire.OpenResponse
		err := rpc.Scatter(data, func(piece []byte, total uint64) error {
			sent = append(sent, &wire.OpenResponse{Data: piece, Total: total})
			return nil
		})
		if err != nil || len(sent) != max(1, (n+48<<10-1)/(48<<10)) {
			t.Fatalf("%d bytes in %d pieces: %v", n, len(sent), err)
		}
		receive := func(list []*wire.OpenResponse) func() (*wire.OpenResponse, error) {
			return func() (*wire.OpenResponse, error) {
				if len(list) == 0 {
					return nil, io.EOF
				}
				in := list[0]
				list = list[1:]
				return in, nil
			}
		}
		var done int64
		got, err := rpc.Gather(1<<20, receive(sent), func(d, _ int64) { done = d })
		switch {
		case n == 0:
			if !errors.Is(err, rpc.ErrPieces) {
				t.Errorf("nothing at all: %v", err)
			}
			continue
		case err != nil || !bytes.Equal(got, data) || done != int64(n):
			t.Errorf("%d bytes came back as %d, told %d: %v", n, len(got), done, err)
		}
		for name, list := range map[string][]*wire.OpenResponse{
			"too few":   sent[:len(sent)-1],
			"too large": append([]*wire.OpenResponse{{Data: data[:1], Total: 1<<20 + 1}}, sent...),
			"too many":  {{Data: append(bytes.Clone(data), 1), Total: uint64(n)}},
			"empty":     {{Total: uint64(n)}},
		} {
			if _, err := rpc.Gather(1<<20, receive(list), nil); !errors.Is(err, rpc.ErrPieces) {
				t.Errorf("%d bytes, %s: %v", n, name, err)
			}
		}
	}
	broken := errors.New("broken")
	if _, err := rpc.Gather(1, func() (*wire.OpenResponse, error) { return nil, broken }, nil); !errors.Is(err, broken) || errors.Is(err, rpc.ErrPieces) {
		t.Errorf("a broken call: %v", err)
	}
	if err := rpc.Scatter([]byte{1}, func([]byte, uint64) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a broken call: %v", err)
	}
}
