package content

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/avalnetwork/aval/internal/canon"
)

// Cutting is by a gear hash with normalised sizes (FastCDC: Xia et al., USENIX ATC
// 2016): a window of 64 bytes decides, so that equal stretches of two files are
// cut alike wherever they lie, and what a file shares with another is the same
// chunks. Before AvgChunk a cut needs two more zero bits, after it two fewer.
const (
	avgBits  = 18 // 2^18 = AvgChunk
	hardBits = avgBits + 2
	easyBits = avgBits - 2
)

// gear gives each byte its 64 bits: the first eight bytes, big-endian, of
// Sum("aval gear/1", byte).
var gear = func() (g [256]uint64) {
	for i := range g {
		h := canon.Sum("aval gear/1", []byte{byte(i)})
		g[i] = binary.BigEndian.Uint64(h[:])
	}
	return g
}()

// cut gives the length of the first chunk of data, which is the rest of a part or
// at least MaxChunk bytes of it.
func cut(data []byte) int {
	n := min(len(data), MaxChunk)
	if n <= MinChunk {
		return n
	}
	var h uint64
	for _, b := range data[MinChunk-64 : MinChunk] { // the window before the first place
		h = h<<1 + gear[b]
	}
	i := MinChunk
	for ; i < min(n, AvgChunk); i++ {
		h = h<<1 + gear[data[i]]
		if h>>(64-hardBits) == 0 {
			return i + 1
		}
	}
	for ; i < n; i++ {
		h = h<<1 + gear[data[i]]
		if h>>(64-easyBits) == 0 {
			return i + 1
		}
	}
	return n
}

// Chunk is a piece of a file.
type Chunk struct {
	Hash Hash
	Size int // bytes, 1 to MaxChunk
}

// File is a file as its chunks.
type File struct {
	Size   int64
	Chunks []Chunk
}

// Split cuts a file of a size. Parts are offsets at which a chunk must begin, in
// rising order: where the tensors of a model begin, so that one can be read
// alone. done, which may be nil, is told how many bytes were read.
func Split(ctx context.Context, r io.Reader, size int64, parts []int64, done func(int64)) (File, error) {
	if size < 0 || size > MaxFileSize {
		return File{}, fmt.Errorf("content: a file of %d bytes, want at most %d", size, int64(MaxFileSize))
	}
	f := File{Size: size}
	buf := make([]byte, 0, 4*MaxChunk)
	var at int64 // of buf[0] in the file
	for at < size {
		for len(parts) > 0 && parts[0] <= at {
			parts = parts[1:]
		}
		end := size
		if len(parts) > 0 {
			end = min(end, parts[0])
		}
		if want := min(int64(MaxChunk), end-at); int64(len(buf)) < want {
			if err := ctx.Err(); err != nil {
				return File{}, err
			}
			if cap(buf)-len(buf) < MaxChunk { // make room
				buf = append(make([]byte, 0, 4*MaxChunk), buf...)
			}
			n := min(int64(cap(buf)), size-at)
			was := len(buf)
			buf = buf[:n]
			if _, err := io.ReadFull(r, buf[was:]); err != nil {
				return File{}, fmt.Errorf("content: the file ends before its %d bytes: %w", size, err)
			}
		}
		n := cut(buf[:min(int64(len(buf)), end-at)])
		f.Chunks = append(f.Chunks, Chunk{ChunkHash(buf[:n]), n})
		buf, at = buf[n:], at+int64(n)
		if done != nil {
			done(at)
		}
	}
	if len(f.Chunks) > ListChunks*MaxLists {
		return File{}, fmt.Errorf("content: a file of %d chunks, want at most %d", len(f.Chunks), ListChunks*MaxLists)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || err == nil {
		return File{}, fmt.Errorf("content: the file has more than %d bytes", size)
	}
	return f, nil
}
