package rpc

import (
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Messages that shrink are sent as a Zstandard frame (RFC 8878) after a byte that
// no message of protobuf begins with: zero, which would be the field 0. So a
// reader knows without being told, and what is not compressed costs nothing.
const compressedMark = 0

// Only messages from minCompressed bytes on are tried, and of those only what
// looks like text or structure: chunks of models, samples and keys do not shrink.
const (
	minCompressed = 512
	lookAt        = 1024 // bytes of a message that are looked at
	maxEntropy    = 6.5  // bits a byte; of 1,024 random bytes about 7.8 are measured
)

// maxRatio bounds by how much a frame may grow when it is read: with more, a peer
// that sends little would make others hold much. Text shrinks to a third or a
// tenth.
const maxRatio = 32

// The frames' limits: one window holds the largest message, and a frame says its
// size, so that it is known before memory is taken.
var (
	encoders = sync.Pool{New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithSingleSegment(true))
		if err != nil {
			panic("rpc: internal error: " + err.Error())
		}
		return e
	}}
	decoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic("rpc: internal error: " + err.Error())
		}
		return d
	}}
)

// compress makes of a message its compressed form, if that is shorter by a tenth
// at least and within maxRatio; else it returns nil.
func compress(msg []byte) []byte {
	if len(msg) < minCompressed || !structured(msg) {
		return nil
	}
	e := encoders.Get().(*zstd.Encoder)
	defer encoders.Put(e)
	out := e.EncodeAll(msg, append(make([]byte, 0, len(msg)*9/10+64), compressedMark))
	if len(out) > len(msg)/10*9 || len(msg) > maxRatio*(len(out)-1) {
		return nil
	}
	return out
}

// structured guesses from the bytes of a part in the middle whether a message
// shrinks.
func structured(msg []byte) bool {
	from := max(0, len(msg)/2-lookAt/2)
	part := msg[from:min(from+lookAt, len(msg))]
	var count [256]int
	for _, b := range part {
		count[b]++
	}
	bits := 0.0
	for _, c := range count {
		if c > 0 {
			p := float64(c) / float64(len(part))
			bits -= p * math.Log2(p)
		}
	}
	return bits < maxEntropy
}

// decompress reads what [compress] made, without its mark, into at most limit
// bytes.
func decompress(frame []byte, limit int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return nil, Errorf(InvalidArgument, "a compressed message is not a Zstandard frame: %w", err)
	}
	switch {
	case h.Skippable || !h.HasFCS:
		return nil, Errorf(InvalidArgument, "a compressed message does not say its size")
	case h.FrameContentSize > maxRatio*uint64(len(frame)):
		return nil, Errorf(ResourceExhausted, "a compressed message of %d bytes would grow to %d, by more than %d times", len(frame), h.FrameContentSize, maxRatio)
	case h.FrameContentSize > uint64(limit):
		return nil, Errorf(ResourceExhausted, "a message of %d bytes, at most %d are read", h.FrameContentSize, limit)
	}
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	out, err := d.DecodeAll(frame, make([]byte, 0, h.FrameContentSize))
	switch {
	case err != nil:
		return nil, Errorf(InvalidArgument, "a compressed message is damaged: %w", err)
	case uint64(len(out)) != h.FrameContentSize: // a second frame behind the first
		return nil, Errorf(InvalidArgument, "a compressed message has %d bytes, and says %d", len(out), h.FrameContentSize)
	}
	return out, nil
}
