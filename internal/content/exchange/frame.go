package exchange

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/rpc"
)

// A frame is its kind (one byte), the length of what follows (four bytes,
// big-endian) and that. A stream begins with frameOpen; then requests are
// answered in their order. After frameError nothing follows.
type frameKind uint8

const (
	frameOpen     frameKind = 0x01 // CBOR: version, root or name, tokens
	frameManifest frameKind = 0x02
	frameNodes    frameKind = 0x03 // file 4, level 1 (0xff: the topmost), first 4, count 2
	frameHave     frameKind = 0x04 // file 4
	frameChunks   frameKind = 0x05 // file 4, first 4, count 2

	answerOpen     frameKind = 0x81 // 1: all of the content is here, 0: not; root
	answerError    frameKind = 0x82 // code 1, retry after 4 (milliseconds), text
	answerManifest frameKind = 0x83
	answerNode     frameKind = 0x84
	answerHave     frameKind = 0x85
	answerChunk    frameKind = 0x86
	answerMissing  frameKind = 0x87 // instead of one manifest, node, have or chunk
)

const headerBytes = 5

// topLevel asks for the topmost node, whose level the asker does not know.
const topLevel = 0xff

// bounds of what follows the header, by kind.
var bounds = map[frameKind]int{
	frameOpen: rpc.MaxTokens*(rpc.MaxTokenBytes+8) + content.MaxName + 128, frameManifest: 0, frameNodes: 11, frameHave: 4, frameChunks: 10,
	answerOpen: 1 + canon.Size, answerError: 5 + rpc.MaxErrorText, answerManifest: content.MaxManifest, answerNode: content.MaxNode,
	answerHave: content.MaxFileChunks / 8, answerChunk: content.MaxChunk, answerMissing: 0,
}

func putHeader(buf []byte, k frameKind, n int) {
	buf[0] = byte(k)
	binary.BigEndian.PutUint32(buf[1:], uint32(n))
}

func appendFrame(buf []byte, k frameKind, payload []byte) []byte {
	var h [headerBytes]byte
	putHeader(h[:], k, len(payload))
	return append(append(buf, h[:]...), payload...)
}

// readHeader reads the header of a frame that is one of those expected.
func readHeader(r io.Reader, expected ...frameKind) (frameKind, int, error) {
	var h [headerBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, 0, err
	}
	k, n := frameKind(h[0]), binary.BigEndian.Uint32(h[1:])
	for _, e := range expected {
		if e == k {
			if uint64(n) > uint64(bounds[k]) {
				return 0, 0, protocolError("a frame of kind %#x has %d bytes, more than %d", h[0], n, bounds[k])
			}
			return k, int(n), nil
		}
	}
	return 0, 0, protocolError("a frame of kind %#x, which does not belong here", h[0])
}

// badPeer is an error that only a peer which does not follow the protocol causes.
type badPeer struct{ err error }

func (e *badPeer) Error() string { return e.err.Error() }
func (e *badPeer) Unwrap() error { return e.err }

func protocolError(format string, args ...any) error {
	return &badPeer{rpc.Errorf(rpc.InvalidArgument, format, args...)}
}

// readPayload reads n bytes, into buf if there is room. It takes memory as the
// bytes come.
func readPayload(r io.Reader, n int, buf []byte) ([]byte, error) {
	if n <= cap(buf) {
		_, err := io.ReadFull(r, buf[:n])
		return buf[:n], err
	}
	const step = 1 << 20
	out := make([]byte, 0, min(n, step))
	for len(out) < n {
		k := min(n-len(out), step)
		out = append(out, make([]byte, k)...)
		if _, err := io.ReadFull(r, out[len(out)-k:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type openRequest struct {
	Version uint64   `cbor:"1,keyasint"`
	Root    []byte   `cbor:"2,keyasint,omitempty"`
	Tokens  [][]byte `cbor:"3,keyasint,omitempty"`
	Name    string   `cbor:"4,keyasint,omitempty"` // instead of the root
}

// wanted is what a stream is opened for: a root, or a name if that is zero.
type wanted struct {
	root content.Root
	name string
}

func marshalOpen(w wanted, tokens [][]byte) ([]byte, error) {
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	o := &openRequest{Version: 1, Tokens: tokens, Name: w.name}
	if w.name == "" {
		o.Root = w.root[:]
	}
	return canon.Marshal(o)
}

func checkTokens(tokens [][]byte) error {
	if len(tokens) > rpc.MaxTokens {
		return rpc.Errorf(rpc.InvalidArgument, "%d capability tokens, want at most %d", len(tokens), rpc.MaxTokens)
	}
	for _, t := range tokens {
		if len(t) > rpc.MaxTokenBytes {
			return rpc.Errorf(rpc.InvalidArgument, "a capability token has %d bytes, want at most %d", len(t), rpc.MaxTokenBytes)
		}
	}
	return nil
}

func parseOpen(data []byte) (w wanted, tokens [][]byte, err error) {
	var o openRequest
	if err := canon.UnmarshalMax(data, &o, rpc.MaxTokens+16); err != nil {
		return w, nil, protocolError("the first frame: %w", err)
	}
	byRoot := len(o.Root) == canon.Size && o.Name == ""
	byName := len(o.Root) == 0 && o.Name != "" && len(o.Name) <= content.MaxName
	if o.Version != 1 || !byRoot && !byName {
		return w, nil, protocolError("version %d, a root of %d bytes and a name of %d, want version 1 and a root of %d or a name of at most %d", o.Version, len(o.Root), len(o.Name), canon.Size, content.MaxName)
	}
	if err := checkTokens(o.Tokens); err != nil {
		return w, nil, &badPeer{err}
	}
	if byRoot {
		w.root = content.Root(o.Root)
	}
	w.name = o.Name
	return w, o.Tokens, nil
}

// request asks for a run of chunks or nodes of a file.
type request struct {
	kind        frameKind
	file        int
	level       int // of nodes
	from, count int
}

func (r request) append(buf []byte) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(r.file))
	switch r.kind {
	case frameManifest:
		p = nil
	case frameNodes:
		p = append(p, byte(r.level))
		fallthrough
	case frameChunks:
		p = binary.BigEndian.AppendUint32(p, uint32(r.from))
		p = binary.BigEndian.AppendUint16(p, uint16(r.count))
	}
	return appendFrame(buf, r.kind, p)
}

func parseRequest(k frameKind, p []byte) (request, error) {
	r := request{kind: k}
	if len(p) != bounds[k] {
		return r, protocolError("a request of kind %#x has %d bytes, want %d", byte(k), len(p), bounds[k])
	}
	if k == frameManifest {
		return r, nil
	}
	file := binary.BigEndian.Uint32(p)
	if file >= content.MaxFiles {
		return r, protocolError("a request for file %d, want at most %d", file, content.MaxFiles-1)
	}
	r.file, p = int(file), p[4:]
	most := MaxRequestChunks
	switch k {
	case frameHave:
		return r, nil
	case frameNodes:
		r.level, p, most = int(p[0]), p[1:], MaxRequestNodes
	}
	from := binary.BigEndian.Uint32(p)
	r.count = int(binary.BigEndian.Uint16(p[4:]))
	if from >= content.MaxFileChunks || r.count < 1 || r.count > most {
		return r, protocolError("a request for %d things from %d, want 1 to %d from less than %d", r.count, from, most, content.MaxFileChunks)
	}
	r.from = int(from)
	return r, nil
}

// errorFrame tells a peer of an error.
func errorFrame(err error) []byte {
	text := err.Error()
	if e, ok := err.(*rpc.Error); ok {
		text = e.Text
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	for len(text) > rpc.MaxErrorText {
		_, n := utf8.DecodeLastRuneInString(text[:rpc.MaxErrorText+1])
		text = text[:rpc.MaxErrorText+1-n]
	}
	p := []byte{byte(rpc.CodeOf(err))}
	p = binary.BigEndian.AppendUint32(p, uint32(min(max(rpc.RetryAfter(err), 0), time.Hour).Milliseconds()))
	return appendFrame(nil, answerError, append(p, text...))
}

// parseError reads the error of a peer.
func parseError(p []byte) error {
	if len(p) < 5 || p[0] == byte(rpc.OK) || p[0] > byte(rpc.Unauthenticated) {
		return protocolError("an error that is none")
	}
	retry := time.Duration(binary.BigEndian.Uint32(p[1:])) * time.Millisecond
	return &rpc.Error{Code: rpc.Code(p[0]), Text: clean(string(p[5:])), RetryAfter: min(retry, time.Hour)}
}

// clean makes what a stranger says safe for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// readAnswer reads the next answer, of the kind expected. The result is nil for
// one that is missing. An error that the peer tells is an *rpc.Error.
func readAnswer(r io.Reader, expected frameKind, buf []byte) ([]byte, error) {
	k, n, err := readHeader(r, expected, answerMissing, answerError)
	if err != nil {
		return nil, err
	}
	p, err := readPayload(r, n, buf)
	switch {
	case err != nil:
		return nil, err
	case k == answerError:
		return nil, parseError(p)
	case k == answerMissing:
		return nil, nil
	case p == nil:
		return []byte{}, nil
	}
	return p, nil
}

func (k frameKind) String() string { return fmt.Sprintf("%#x", byte(k)) }
