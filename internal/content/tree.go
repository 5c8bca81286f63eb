package content

import (
	"encoding/binary"
	"sort"

	"github.com/avalnetwork/aval/internal/canon"
)

// A node is its level (one byte), the number of its children (two bytes) and for
// each child its size in bytes (eight) and its hash (32); numbers are
// big-endian. The children of level 0 are chunks, others have nodes of one level
// less. All nodes of a level but the last have Fanout children, so that a list
// of chunks has one tree.
const childBytes = 8 + canon.Size

type child struct {
	size int64
	hash Hash
}

// NodeHash is the hash of a node of a tree.
func NodeHash(data []byte) Hash { return canon.Sum("aval content node/1", data) }

func nodeBytes(level int, children []child) []byte {
	out := make([]byte, 3, 3+len(children)*childBytes)
	out[0] = byte(level)
	binary.BigEndian.PutUint16(out[1:], uint16(len(children)))
	for _, c := range children {
		out = binary.BigEndian.AppendUint64(out, uint64(c.size))
		out = append(out, c.hash[:]...)
	}
	return out
}

func parseNode(data []byte) (level int, children []child, err error) {
	if len(data) < 3 || len(data) > MaxNode {
		return 0, nil, errorf("a node of %d bytes, want 3 to %d", len(data), MaxNode)
	}
	level = int(data[0])
	n := int(binary.BigEndian.Uint16(data[1:]))
	if level >= MaxLevels || n > Fanout || len(data) != 3+n*childBytes {
		return 0, nil, errorf("a node of level %d with %d children in %d bytes", level, n, len(data))
	}
	children = make([]child, n)
	for i := range children {
		at := data[3+i*childBytes:]
		size := binary.BigEndian.Uint64(at)
		if size == 0 || size > MaxFileSize {
			return 0, nil, errorf("child %d of a node has %d bytes", i, size)
		}
		children[i] = child{int64(size), Hash(at[8:childBytes])}
	}
	return level, children, nil
}

// Tree is the list of a file's chunks and the nodes above it.
type Tree struct {
	levels  [][]child // [0] are the chunks, [i+1] the nodes of level i
	offsets []int64   // of the chunks, and at the end the size of the file
	root    Hash
}

// NewTree makes the tree of a file's chunks. An empty file has none.
func NewTree(chunks []Chunk) (*Tree, error) {
	if len(chunks) > MaxFileChunks {
		return nil, errorf("a file of %d chunks, want at most %d", len(chunks), MaxFileChunks)
	}
	list := make([]child, len(chunks))
	for i, c := range chunks {
		if err := checkChunk(int64(c.Size), i == len(chunks)-1); err != nil {
			return nil, err
		}
		list[i] = child{int64(c.Size), c.Hash}
	}
	return newTree(list), nil
}

func checkChunk(size int64, last bool) error {
	if size < 1 || size > MaxChunk || size < MinCut && !last {
		return errorf("a chunk of %d bytes, want %d to %d (the last of a file: 1 to %[3]d)", size, MinCut, MaxChunk)
	}
	return nil
}

func newTree(list []child) *Tree {
	t := &Tree{levels: [][]child{list}, offsets: make([]int64, 1, len(list)+1)}
	for _, c := range list {
		t.offsets = append(t.offsets, t.Size()+c.size)
	}
	for level := 0; ; level++ {
		var above []child
		for i := 0; i == 0 || i < len(list); i += Fanout {
			part := list[i:min(i+Fanout, len(list))]
			above = append(above, child{sum(part), NodeHash(nodeBytes(level, part))})
		}
		if t.levels = append(t.levels, above); len(above) == 1 {
			t.root = above[0].hash
			return t
		}
		list = above
	}
}

// power is Fanout to the power n.
func power(n int) int64 {
	p := int64(1)
	for range n {
		p *= Fanout
	}
	return p
}

func sum(list []child) (n int64) {
	for _, c := range list {
		n += c.size
	}
	return n
}

// Root is the hash of the topmost node.
func (t *Tree) Root() Hash { return t.root }

// Size is the file's, in bytes.
func (t *Tree) Size() int64 { return t.offsets[len(t.offsets)-1] }

// Len is the number of chunks.
func (t *Tree) Len() int { return len(t.levels[0]) }

// Chunk is the chunk with an index from 0 to Len()-1.
func (t *Tree) Chunk(i int) Chunk {
	c := t.levels[0][i]
	return Chunk{c.hash, uint32(c.size)}
}

// Offset is where a chunk begins in the file; Offset(Len()) is the file's size.
func (t *Tree) Offset(i int) int64 { return t.offsets[i] }

// Cover gives the chunks from to to-1 that hold n bytes at an offset; none if
// there are no such bytes.
func (t *Tree) Cover(offset, n int64) (from, to int) {
	if offset < 0 || n <= 0 || offset >= t.Size() {
		return 0, 0
	}
	last := min(n, t.Size()-offset) + offset // n may be any number
	from = sort.Search(t.Len(), func(i int) bool { return t.offsets[i+1] > offset })
	to = sort.Search(t.Len(), func(i int) bool { return t.offsets[i+1] >= last }) + 1
	return from, to
}

// Levels is the number of levels of nodes, at least 1.
func (t *Tree) Levels() int { return len(t.levels) - 1 }

// Nodes is the number of nodes of a level.
func (t *Tree) Nodes(level int) int { return len(t.levels[level+1]) }

// Node gives the bytes of a node, or nil if there is none.
func (t *Tree) Node(level, index int) []byte {
	if level < 0 || level >= t.Levels() || index < 0 || index >= t.Nodes(level) {
		return nil
	}
	list := t.levels[level]
	return nodeBytes(level, list[index*Fanout:min((index+1)*Fanout, len(list))])
}

// Assembler takes a tree from somebody who is not trusted, from the root down. It
// knows at each moment which hash comes next, so that nothing is kept which does
// not belong to the root.
type Assembler struct {
	root  Hash
	size  int64
	level int // of the nodes that come now; -1 at the end, MaxLevels at first
	above []child
	below []child
	next  int // in above
	done  *Tree
}

// NewAssembler begins a tree with a root, of a file with a size.
func NewAssembler(root Hash, size int64) *Assembler {
	return &Assembler{root: root, size: size, level: MaxLevels, above: []child{{size, root}}}
}

// Top says that the topmost node comes next, whose level is not known.
func (a *Assembler) Top() bool { return a.level == MaxLevels }

// Next is the node that comes next, and how many come after it on its level; ok
// is false at the end.
func (a *Assembler) Next() (level, index, left int, ok bool) {
	return a.level, a.next, len(a.above) - a.next - 1, a.done == nil
}

// Add takes the node of Next. What does not belong to the root is refused, and
// may be asked for again.
func (a *Assembler) Add(data []byte) error {
	if a.done != nil {
		return errorf("a node after the end of the tree")
	}
	want := a.above[a.next]
	if len(data) > MaxNode || NodeHash(data) != want.hash {
		return errorf("node %d of level %d has another hash than its parent says", a.next, a.level)
	}
	level, children, err := parseNode(data)
	if err != nil {
		return err
	}
	last := a.next == len(a.above)-1
	switch {
	case !a.Top() && level != a.level:
		return errorf("a node of level %d among those of level %d", level, a.level)
	case len(children) == 0 && (want.size != 0 || level != 0):
		return errorf("an empty node of a file that is not")
	case len(children) < Fanout && !last:
		return errorf("node %d of level %d has %d children and is not the last", a.next, level, len(children))
	case a.Top() && level > 0 && len(children) < 2:
		return errorf("the topmost node of level %d has one child", level)
	case sum(children) != want.size: // of at most 1024 * 2^42
		return errorf("the children of node %d of level %d have %d bytes, want %d", a.next, level, sum(children), want.size)
	case len(a.below)+len(children) > MaxFileChunks:
		return errorf("a file of more than %d chunks", MaxFileChunks)
	}
	for i, c := range children {
		end := last && i == len(children)-1
		if level == 0 {
			if err := checkChunk(c.size, end); err != nil {
				return err
			}
		} else if !end && c.size < MinCut*power(level) { // so that the file's size bounds the tree's
			return errorf("child %d of a node of level %d has %d bytes", i, level, c.size)
		}
	}
	a.level = level
	a.below = append(a.below, children...)
	if a.next++; !last {
		return nil
	}
	if level > 0 {
		a.level, a.above, a.below, a.next = level-1, a.below, nil, 0
		return nil
	}
	a.done = newTree(a.below)
	if a.done.root != a.root { // the checks above leave one tree
		panic("content: internal error: an assembled tree has another root")
	}
	return nil
}

// Tree is the whole tree, or nil if nodes are missing.
func (a *Assembler) Tree() *Tree { return a.done }
