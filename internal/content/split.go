package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// The rolling hash is a gear hash: h = 2h + gear[byte], modulo 2^64, so that its
// high bits depend on the last 64 bytes. A chunk ends after a byte where those
// of the mask are zero. Before Average the mask has two bits more than the
// logarithm of Average, after it two fewer, which keeps sizes near it
// ("normalized chunking": Xia et al., FastCDC, USENIX ATC 2016).
const (
	gearWindow = 64
	maskBefore = uint64(1<<20-1) << 44
	maskAfter  = uint64(1<<16-1) << 48
)

// gear has a number for each byte: the first eight bytes, big-endian, of
// Sum("aval content gear/1", byte).
var gear = func() (t [256]uint64) {
	for i := range t {
		h := canon.Sum("aval content gear/1", []byte{byte(i)})
		t[i] = binary.BigEndian.Uint64(h[:8])
	}
	return t
}()

// end says where the first chunk of data ends: data has what is left of the
// file, or MaxChunk bytes of it. forced is how far the next place is at
// which a chunk should end, or 0.
func end(data []byte, forced int) int {
	limit, stop := len(data), len(data)
	if forced > 0 && forced < limit {
		// A chunk that ended shortly before would make the place unreachable.
		limit, stop = forced, forced-MinCut
	}
	if stop <= MinChunk {
		return limit
	}
	var h uint64
	for _, b := range data[MinChunk-gearWindow : MinChunk] {
		h = h<<1 + gear[b]
	}
	middle := min(stop, Average)
	for i, b := range data[MinChunk:middle] {
		if h = h<<1 + gear[b]; h&maskBefore == 0 {
			return MinChunk + i + 1
		}
	}
	if stop > Average {
		for i, b := range data[Average:stop] {
			if h = h<<1 + gear[b]; h&maskAfter == 0 {
				return Average + i + 1
			}
		}
	}
	return limit
}

// Split cuts what r gives into chunks and calls each with them in their order;
// the bytes are valid until each returns. size is how many bytes there must be.
// cuts are offsets, ascending, at which chunks should end, as [Cuts] gives them;
// one that would make a chunk of fewer than MinCut bytes is passed over.
func Split(r io.Reader, size int64, cuts []int64, each func(data []byte) error) error {
	if size < 0 || size > MaxFileSize {
		return errorf("a file of %d bytes, want 0 to %d", size, int64(MaxFileSize))
	}
	buf := make([]byte, 4*MaxChunk)
	lo, hi := 0, 0 // what is read and not cut yet
	at := int64(0) // offset of lo
	for at < size {
		if want := min(size-at, MaxChunk); int64(hi-lo) < want {
			copy(buf, buf[lo:hi])
			lo, hi = 0, hi-lo
			n, err := io.ReadAtLeast(r, buf[hi:min(int64(len(buf)), size-at)], int(want)-hi)
			hi += n
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("content: the file ends %d bytes before the %d that it had: it changes while it is read", size-at-int64(hi), size)
			}
			if err != nil {
				return fmt.Errorf("content: %w", err)
			}
		}
		for len(cuts) > 0 && cuts[0] < at+MinCut {
			cuts = cuts[1:]
		}
		data, forced := buf[lo:min(hi, lo+MaxChunk)], 0
		if len(cuts) > 0 && cuts[0] < at+int64(len(data)) {
			forced = int(cuts[0] - at)
		}
		n := end(data, forced)
		if err := each(data[:n]); err != nil {
			return err
		}
		lo, at = lo+n, at+int64(n)
	}
	return nil
}

// Cuts gives the offsets at which the tensors of a GGUF file begin, ascending;
// nil of another file.
func Cuts(r io.ReaderAt, size int64) []int64 {
	f, err := gguf.Parse(r, size)
	if err != nil {
		return nil // any file can be shared
	}
	var list []int64
	for _, t := range f.Tensors() {
		if s := f.Reader(t); s != nil {
			_, at, _ := s.Outer()
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
