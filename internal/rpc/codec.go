package rpc

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"storj.io/drpc"
)

// codec writes and reads the messages of one call, within a bound.
type codec struct {
	drpc.Encoding
	limit   int
	shrink  bool    // messages that get shorter by it are compressed
	begun   bool    // to write
	failed  bool    // to write
	stale   bool    // the stream had ended before anything was written
	buf     *[]byte // to write into; nil: what drpc gives
	in, out int64
}

// buffers are for messages of streaming calls on their way out: drpc has one for
// each call, which is of no use to the next one. Larger ones are not kept.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxKept = 1 << 20

// send writes a message to a stream.
func (c *codec) send(s drpc.Stream, msg drpc.Message) error {
	c.buf = buffers.Get().(*[]byte)
	err := s.MsgSend(msg, c) // when it returns, the message is in the transport's buffers
	if cap(*c.buf) <= maxKept {
		buffers.Put(c.buf)
	}
	c.buf = nil
	return err
}

// MarshalAppend appends the message to buf; drpc uses it to keep its buffer.
func (c *codec) MarshalAppend(buf []byte, msg drpc.Message) ([]byte, error) {
	c.begun = true
	if c.buf != nil {
		buf = (*c.buf)[:0]
	}
	before := len(buf)
	var err error
	if m, ok := msg.(proto.Message); ok {
		buf, err = proto.MarshalOptions{}.MarshalAppend(buf, m)
	} else {
		var data []byte
		data, err = c.Encoding.Marshal(msg)
		buf = append(buf, data...)
	}
	if err != nil {
		c.failed = true
		return nil, Errorf(Internal, "write a message: %w", err)
	}
	if n := len(buf) - before; n > c.limit {
		c.failed = true
		return nil, Errorf(ResourceExhausted, "a message of %d bytes, at most %d may be sent", n, c.limit)
	}
	if c.shrink {
		if short := compress(buf[before:]); short != nil {
			buf = append(buf[:before], short...)
		}
	}
	c.out += int64(len(buf) - before)
	if c.buf != nil {
		*c.buf = buf
	}
	return buf, nil
}

// Marshal is MarshalAppend to nothing.
func (c *codec) Marshal(msg drpc.Message) ([]byte, error) { return c.MarshalAppend(nil, msg) }

// Unmarshal reads a message.
func (c *codec) Unmarshal(data []byte, msg drpc.Message) error {
	c.in += int64(len(data))
	if len(data) > c.limit {
		return Errorf(ResourceExhausted, "a message of %d bytes, at most %d are read", len(data), c.limit)
	}
	if len(data) > 0 && data[0] == compressedMark {
		var err error
		if data, err = decompress(data[1:], c.limit); err != nil {
			return err
		}
	}
	if err := c.Encoding.Unmarshal(data, msg); err != nil {
		return Errorf(InvalidArgument, "a message is not %T: %v", msg, fmt.Sprintf("%.200s", err))
	}
	return nil
}
