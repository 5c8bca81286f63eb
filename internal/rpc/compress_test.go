package rpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// noise are bytes that do not shrink.
func noise(n int) []byte {
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		out = append(out, h[:]...)
	}
	return out[:n]
}

// text are words in no order.
func text(n int) []byte {
	words := strings.Fields("the answer that a model gives on a device of which nobody knows whether it is true can be checked by another")
	var out []byte
	for _, b := range noise(n) {
		out = append(append(out, words[int(b)%len(words)]...), ' ')
	}
	return out[:n]
}

func TestCompress(t *testing.T) {
	for _, c := range []struct {
		name    string
		msg     []byte
		shrinks bool
	}{
		{"text", text(4000), true},
		{"a long text", text(1 << 20), true},
		{"noise", noise(1 << 20), false},
		{"noise that begins with text", append(text(1000), noise(1<<20)...), false},
		{"a short text", text(minCompressed - 1), false},
		{"zeros, which would grow too much", make([]byte, 1<<20), false},
		{"nothing", nil, false},
	} {
		short := compress(c.msg)
		if (short != nil) != c.shrinks {
			t.Errorf("%s: %d bytes of %d", c.name, len(short), len(c.msg))
		}
		if short == nil {
			continue
		}
		if back, err := decompress(short[1:], len(c.msg)); err != nil || !bytes.Equal(back, c.msg) {
			t.Errorf("%s: %d bytes come back, %v", c.name, len(back), err)
		}
		if _, err := decompress(short[1:], len(c.msg)-1); CodeOf(err) != ResourceExhausted {
			t.Errorf("%s: over the limit: %v", c.name, err)
		}
		for _, bad := range [][]byte{short[1 : len(short)-1], slices.Concat(short[1:], short[1:]), append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, short[1:]...)} {
			if back, err := decompress(bad, 1<<22); err == nil {
				t.Errorf("%s: a damaged frame gives %d bytes", c.name, len(back))
			}
		}
	}
}

// A frame that is nearly nothing and would be much.
func TestBomb(t *testing.T) {
	bomb := encoders.New().(interface{ EncodeAll(src, dst []byte) []byte }).EncodeAll(make([]byte, 4<<20), nil)
	if _, err := decompress(bomb, 4<<20); CodeOf(err) != ResourceExhausted || !strings.Contains(err.Error(), "32 times") {
		t.Errorf("%d bytes: %v", len(bomb), err)
	}
}

// A message of protobuf is never taken for a compressed one.
func TestMark(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &wire.PingRequest{Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload")}
		data, err := proto.Marshal(m)
		if err != nil || len(data) > 0 && data[0] == compressedMark {
			t.Fatalf("%x, %v", data, err)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	f.Add(compress(text(4000))[1:])
	f.Add(compress(text(700))[1:])
	f.Fuzz(func(t *testing.T, frame []byte) {
		out, err := decompress(frame, 1<<20)
		if err == nil && (len(out) > 1<<20 || len(out) > maxRatio*len(frame)) {
			t.Errorf("%d bytes of %d", len(out), len(frame))
		}
	})
}
