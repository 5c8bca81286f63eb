// Package exchange moves the objects of package content between peers: [Serve]
// gives them to peers that may have them, [Fetch] gets them from several peers at
// once, checks each against the hash that names it, and drops peers that lie. It
// runs on plain streams of an rpc.Network, not on calls, so that bytes are copied
// once; it keeps nothing on disk (package library does).
package exchange

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/content"
)

// Protocol is what the streams speak (spec/wire.md, part 6).
const Protocol = "/aval/content/1"

// Limits of the wire.
const (
	MaxTokens     = 8       // capability tokens of a request
	MaxTokenBytes = 8 << 10 // of each
	MaxAsked      = 512     // objects of a request
	maxRequest    = 128 << 10
	headBytes     = 5 // before an object: status, length
)

// Times. Who is slower is given up.
const (
	idle       = 2 * time.Minute  // without a request, after which the server ends a stream
	whole      = 30 * time.Second // for a request to come whole, once it has begun
	objectTime = time.Minute      // for an object to be taken
	answerTime = time.Minute      // for an object to come
)

// status says what an answer is.
type status byte

const (
	statusOK      status = iota // the object follows
	statusMissing               // it is not here
	statusDenied                // the peer may not have it; the stream ends
	statusBusy                  // the peer has too much open; the stream ends
)

func (s status) String() string {
	switch s {
	case statusOK:
		return "ok"
	case statusMissing:
		return "the peer does not have it"
	case statusDenied:
		return "the peer does not let this device have it"
	case statusBusy:
		return "the peer has too many transfers open"
	}
	return fmt.Sprintf("status %d", byte(s))
}

// request asks for objects of what a root names.
type request struct {
	Root   []byte   `cbor:"1,keyasint"`
	Tokens [][]byte `cbor:"2,keyasint"`
	Hashes []byte   `cbor:"3,keyasint"` // 32 bytes each
}

// appendRequest appends the frame of a request.
func appendRequest(b []byte, root content.Root, tokens [][]byte, hashes []content.Hash) ([]byte, error) {
	if len(hashes) == 0 || len(hashes) > MaxAsked || len(tokens) > MaxTokens {
		return nil, fmt.Errorf("content: a request for %d objects with %d tokens", len(hashes), len(tokens))
	}
	r := request{Root: root[:], Tokens: tokens}
	if tokens == nil {
		r.Tokens = [][]byte{}
	}
	for _, h := range hashes {
		r.Hashes = append(r.Hashes, h[:]...)
	}
	data, err := canon.Marshal(&r)
	if err != nil {
		return nil, err
	}
	if len(data) > maxRequest {
		return nil, fmt.Errorf("content: a request of %d bytes, want at most %d", len(data), maxRequest)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...), nil
}

// readRequest reads a frame. The error is io.EOF if there is none.
func readRequest(r io.Reader, begun func()) (root content.Root, tokens [][]byte, hashes []content.Hash, err error) {
	fail := func(format string, args ...any) (content.Root, [][]byte, []content.Hash, error) {
		return content.Root{}, nil, nil, fmt.Errorf("content: a request "+format, args...)
	}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return content.Root{}, nil, nil, err
	}
	begun()
	if _, err := io.ReadFull(r, head[1:]); err != nil {
		return fail("is cut: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxRequest {
		return fail("of %d bytes, want at most %d", n, maxRequest)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return fail("is cut: %w", err)
	}
	var q request
	if err := canon.Unmarshal(data, &q); err != nil {
		return fail("cannot be read: %w", err)
	}
	if len(q.Root) != len(root) || len(q.Tokens) > MaxTokens || len(q.Hashes) == 0 || len(q.Hashes)%len(content.Hash{}) != 0 || len(q.Hashes) > MaxAsked*len(content.Hash{}) {
		return fail("has a root of %d bytes, %d tokens and %d bytes of hashes", len(q.Root), len(q.Tokens), len(q.Hashes))
	}
	for _, t := range q.Tokens {
		if len(t) > MaxTokenBytes {
			return fail("has a token of %d bytes", len(t))
		}
	}
	for b := q.Hashes; len(b) > 0; b = b[len(content.Hash{}):] {
		hashes = append(hashes, content.Hash(b[:len(content.Hash{})]))
	}
	return content.Root(q.Root), q.Tokens, hashes, nil
}

// appendAnswer appends the head of an answer; the object's bytes follow.
func appendAnswer(b []byte, s status, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(s)), uint32(n))
}

// readAnswer reads an object into buf, whose capacity is enough for the largest.
func readAnswer(r io.Reader, buf []byte) (status, []byte, error) {
	var head [headBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if s := status(head[0]); s != statusOK {
		if n != 0 || s > statusBusy {
			return 0, nil, fmt.Errorf("content: an answer of status %d with %d bytes", head[0], n)
		}
		return s, nil, nil
	}
	if n > content.MaxObject {
		return 0, nil, fmt.Errorf("content: an object of %d bytes, want at most %d", n, content.MaxObject)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, fmt.Errorf("content: an object is cut: %w", io.ErrUnexpectedEOF)
	}
	return statusOK, buf[:n], nil
}
