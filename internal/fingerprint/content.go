package fingerprint

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// Long values are bound by the root of a tree over pieces, so that entries
// stay small and a piece can be proved alone: section 3 of spec/fingerprint.md.
const (
	shortBytes    = 1024 // of a value that stands in its entry
	pieceElements = 64   // of a long array, in a piece
	pieceBytes    = 4096 // of a long string
	maxDepth      = 4    // of arrays within arrays

	stringHead = 8     // length
	arrayHead  = 4 + 8 // element kind, count
)

// long reports whether a value of this many bytes is bound by a root.
func long(size uint64) bool { return size > shortBytes }

// pieces is the number of pieces of a long value.
func (e *metaEntry) pieces() int {
	if gguf.Kind(e.Kind) == gguf.KindString {
		return (int(e.Size) + pieceBytes - 1) / pieceBytes
	}
	return (int(e.Count) + pieceElements - 1) / pieceElements
}

// leaves hashes the pieces of the whole value.
func (e *metaEntry) leaves(raw string) []canon.Hash {
	pieces, err := e.cut(0, []byte(raw))
	if err != nil {
		panic("fingerprint: internal error: " + err.Error())
	}
	return leavesOf(pieces)
}

func leavesOf(pieces [][]byte) []canon.Hash {
	leaves := make([]canon.Hash, len(pieces))
	for i, p := range pieces {
		leaves[i] = canon.Leaf(p)
	}
	return leaves
}

// cut divides bytes of a long value into its pieces from from on. They must
// end where a piece does.
func (e *metaEntry) cut(from int, b []byte) ([][]byte, error) {
	var pieces [][]byte
	for all := e.pieces(); len(b) > 0; from++ {
		if from >= all {
			return nil, fmt.Errorf("%d bytes after the last of %d pieces", len(b), all)
		}
		size, err := e.pieceSize(from, b)
		if err != nil {
			return nil, fmt.Errorf("piece %d: %w", from, err)
		}
		pieces, b = append(pieces, b[:size:size]), b[size:]
	}
	return pieces, nil
}

// pieceSize is the bytes of piece number i, with which b begins.
func (e *metaEntry) pieceSize(i int, b []byte) (int, error) {
	if gguf.Kind(e.Kind) == gguf.KindString {
		size := min(pieceBytes, int(e.Size)-i*pieceBytes)
		if size > len(b) {
			return 0, fmt.Errorf("%d bytes, want %d", len(b), size)
		}
		return size, nil
	}
	n := min(pieceElements, e.Count-uint64(i)*pieceElements)
	return elementsSize(gguf.Kind(e.Elem), n, b, 1)
}

// elementsSize is the bytes of n elements of a kind, with which b begins.
func elementsSize(kind gguf.Kind, n uint64, b []byte, depth int) (int, error) {
	if size := scalarSize(kind); size > 0 {
		if n > uint64(len(b)/size) {
			return 0, fmt.Errorf("%d bytes are too few for %d of %s", len(b), n, kind)
		}
		return int(n) * size, nil
	}
	if depth > maxDepth {
		return 0, fmt.Errorf("arrays are nested more than %d deep", maxDepth)
	}
	at := 0
	for range n { // each takes some bytes, or fails
		size, err := elementSize(kind, b[at:], depth)
		if err != nil {
			return 0, err
		}
		at += size
	}
	return at, nil
}

// elementSize is the bytes of one string or array.
func elementSize(kind gguf.Kind, b []byte, depth int) (int, error) {
	switch {
	case kind == gguf.KindString && len(b) >= stringHead:
		if n := binary.LittleEndian.Uint64(b); n <= uint64(len(b)-stringHead) {
			return stringHead + int(n), nil
		}
	case kind == gguf.KindArray && len(b) >= arrayHead:
		elem, n := gguf.Kind(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint64(b[4:])
		size, err := elementsSize(elem, n, b[arrayHead:], depth+1)
		return arrayHead + size, err
	}
	return 0, fmt.Errorf("%d bytes hold no %s", len(b), kind)
}

// scalarSize is the bytes of a value of a kind, or 0 for strings, arrays and
// what does not exist.
func scalarSize(kind gguf.Kind) int {
	switch kind {
	case gguf.KindUint8, gguf.KindInt8, gguf.KindBool:
		return 1
	case gguf.KindUint16, gguf.KindInt16:
		return 2
	case gguf.KindUint32, gguf.KindInt32, gguf.KindFloat32:
		return 4
	case gguf.KindUint64, gguf.KindInt64, gguf.KindFloat64:
		return 8
	}
	return 0
}

// content is a run of elements of a long array, or a whole long value.
type content struct {
	from, to int // elements of an array
	whole    bool
	value    gguf.Value
}

// contentOf reads pieces of a long value, which cut divided.
func (e *metaEntry) contentOf(from int, pieces [][]byte, data []byte) (content, error) {
	c := content{from: from * pieceElements, whole: len(pieces) == e.pieces()}
	if c.whole && uint64(len(data)) != e.Size {
		return c, fmt.Errorf("key %q: %d bytes, want %d", e.Key, len(data), e.Size)
	}
	run := *e
	if gguf.Kind(e.Kind) == gguf.KindArray {
		c.to = min(c.from+len(pieces)*pieceElements, int(e.Count))
		run.Count = uint64(c.to - c.from)
	} else if !c.whole {
		return c, fmt.Errorf("key %q: a string is shown as a whole", e.Key)
	}
	var err error
	c.value, err = run.value(string(data))
	return c, err
}
