package content

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/avalnetwork/aval/internal/canon"
)

// Lists are the objects that name the chunks, ListChunks in each.
func (f File) Lists() (lists [][]byte) {
	for from := 0; from < len(f.Chunks); from += ListChunks {
		to := min(from+ListChunks, len(f.Chunks))
		b := make([]byte, 0, (to-from)*entryBytes)
		for _, c := range f.Chunks[from:to] {
			b = append(b, c.Hash[:]...)
			b = binary.BigEndian.AppendUint32(b, uint32(c.Size))
		}
		lists = append(lists, b)
	}
	return lists
}

// ListHash names a list.
func ListHash(list []byte) Hash { return canon.Sum(purposeList, list) }

// Node is the object that names the lists.
func (f File) Node() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(f.Size))
	for _, l := range f.Lists() {
		h := ListHash(l)
		b = append(b, h[:]...)
	}
	return b
}

// NodeHash names a node, and with it a file.
func NodeHash(node []byte) Hash { return canon.Sum(purposeNode, node) }

// ParseNode reads the object that is named want: the file's size and the hashes
// of its lists.
func ParseNode(want Hash, node []byte) (size int64, lists []Hash, err error) {
	n := len(node) - nodeHead
	if n < 0 || n%len(Hash{}) != 0 || n/len(Hash{}) > MaxLists || NodeHash(node) != want {
		return 0, nil, fmt.Errorf("content: the node of a file: %w", ErrObject)
	}
	u := binary.BigEndian.Uint64(node)
	lists = make([]Hash, n/len(Hash{}))
	for i := range lists {
		copy(lists[i][:], node[nodeHead+i*len(Hash{}):])
	}
	// Each list but the last is full, and no chunk is empty or too large.
	least := uint64(max(0, len(lists)-1))*ListChunks + uint64(min(1, len(lists)))
	if u > MaxFileSize || u < least || u > uint64(len(lists))*ListChunks*MaxChunk {
		return 0, nil, fmt.Errorf("content: a file of %d bytes in %d lists: %w", u, len(lists), ErrObject)
	}
	return int64(u), lists, nil
}

// ParseList reads the object that is named want: chunks of a file.
func ParseList(want Hash, list []byte) ([]Chunk, error) {
	if len(list) == 0 || len(list)%entryBytes != 0 || len(list)/entryBytes > ListChunks || ListHash(list) != want {
		return nil, fmt.Errorf("content: a list of chunks: %w", ErrObject)
	}
	chunks := make([]Chunk, len(list)/entryBytes)
	for i := range chunks {
		e := list[i*entryBytes:]
		copy(chunks[i].Hash[:], e)
		size := binary.BigEndian.Uint32(e[len(Hash{}):])
		if size == 0 || size > MaxChunk {
			return nil, fmt.Errorf("content: chunk %d of a list has %d bytes: %w", i, size, ErrObject)
		}
		chunks[i].Size = int(size)
	}
	return chunks, nil
}

// Join makes a file of what its node and its lists say, and holds them to one
// another.
func Join(size int64, lists [][]Chunk) (File, error) {
	f := File{Size: size}
	var sum int64
	for i, l := range lists {
		if i < len(lists)-1 && len(l) != ListChunks {
			return File{}, fmt.Errorf("content: list %d of %d has %d chunks: %w", i, len(lists), len(l), ErrObject)
		}
		for _, c := range l {
			sum += int64(c.Size)
		}
		f.Chunks = append(f.Chunks, l...)
	}
	if sum != size {
		return File{}, fmt.Errorf("content: the chunks have %d bytes and the file %d: %w", sum, size, ErrObject)
	}
	return f, nil
}

// Offsets are where the chunks begin, and at last the size.
func (f File) Offsets() []int64 {
	at := make([]int64, len(f.Chunks)+1)
	for i, c := range f.Chunks {
		at[i+1] = at[i] + int64(c.Size)
	}
	return at
}

// Covering gives the chunks, from to to-1, that hold n bytes at an offset.
func (f File) Covering(off, n int64) (from, to int) {
	at := f.Offsets()
	if n <= 0 || off < 0 || off >= f.Size {
		return 0, 0
	}
	end := min(off+n, f.Size)
	from = sort.Search(len(f.Chunks), func(i int) bool { return at[i+1] > off })
	to = sort.Search(len(f.Chunks), func(i int) bool { return at[i] >= end })
	return from, to
}
