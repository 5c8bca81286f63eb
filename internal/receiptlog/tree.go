package receiptlog

import (
	"fmt"
	"iter"

	"github.com/avalnetwork/aval/internal/canon"
)

// Tree is a log that grows. It keeps in memory the hashes of its right edge and
// of the tiles that were not released yet, and loads the others. It is for one
// goroutine at a time.
type Tree struct {
	size  uint64
	load  func(level int, index uint64) ([]canon.Hash, error)
	tiles map[spot][]canon.Hash
	// released: tiles below it are on disk; a multiple of TileWidth.
	released uint64
}

// spot is the place of a tile of hashes.
type spot struct {
	level int
	index uint64
}

// NewTree makes a tree of size entries, which must be a multiple of TileWidth.
// load gives the hashes of a full tile; of an empty tree it may be nil, as long
// as nothing is released.
func NewTree(size uint64, load func(level int, index uint64) ([]canon.Hash, error)) (*Tree, error) {
	if size%TileWidth != 0 || size > MaxSize {
		return nil, rangeErrorf("a tree cannot begin with %d entries", size)
	}
	t := &Tree{size: size, load: load, tiles: map[spot][]canon.Hash{}, released: size}
	// What is not in a full tile follows from full ones a level below.
	for level := 1; level <= maxLevel; level++ {
		count := size >> (level * tileHeight)
		if count%TileWidth == 0 {
			continue
		}
		at := spot{level, count / TileWidth}
		for i := at.index * TileWidth; i < count; i++ {
			below, err := t.tile(level-1, i)
			if err != nil {
				return nil, err
			}
			t.tiles[at] = append(t.tiles[at], canon.Root(below))
		}
	}
	return t, nil
}

// Size is the number of entries.
func (t *Tree) Size() uint64 { return t.size }

// Append appends the leaf of an entry.
func (t *Tree) Append(leaf canon.Hash) {
	if t.size >= MaxSize {
		panic("receiptlog: internal error: the log is full")
	}
	h := leaf
	for level, n := 0, t.size; ; level, n = level+1, n/TileWidth {
		at := spot{level, n / TileWidth}
		tile := t.tiles[at]
		if tile == nil {
			tile = make([]canon.Hash, 0, TileWidth)
		}
		tile = append(tile, h)
		t.tiles[at] = tile
		if len(tile) < TileWidth || level == maxLevel {
			break
		}
		h = canon.Root(tile)
	}
	t.size++
}

// tile is a full tile.
func (t *Tree) tile(level int, index uint64) ([]canon.Hash, error) {
	if hashes := t.tiles[spot{level, index}]; hashes != nil {
		return hashes, nil
	}
	if t.load == nil {
		return nil, rangeErrorf("the tile %d of level %d", index, level)
	}
	hashes, err := t.load(level, index)
	if err == nil && len(hashes) != TileWidth {
		err = formatErrorf("the tile %d of level %d has %d hashes", index, level, len(hashes))
	}
	return hashes, err
}

// Node is the hash of a full subtree.
func (t *Tree) Node(level int, index uint64) (canon.Hash, error) {
	if level < 0 || level > (maxLevel+1)*tileHeight || index >= t.size>>level {
		return canon.Hash{}, rangeErrorf("the node %d of level %d in a log of %d entries", index, level, t.size)
	}
	row, in := level/tileHeight, level%tileHeight
	first := index << in // of its hashes in the row of the tile
	hashes, err := t.tile(row, first/TileWidth)
	if err != nil {
		return canon.Hash{}, err
	}
	first %= TileWidth
	if last := first + 1<<in; last <= uint64(len(hashes)) {
		return canon.Root(hashes[first:last]), nil
	}
	return canon.Hash{}, fmt.Errorf("receiptlog: the tile of the node %d of level %d is too short", index, level)
}

// Root is the root of the whole tree.
func (t *Tree) Root() canon.Hash {
	h, err := Root(t, t.size)
	if err != nil { // the right edge is in memory
		panic("receiptlog: internal error: " + err.Error())
	}
	return h
}

// Hashes are those of a tile, full or not, if it is in memory.
func (t *Tree) Hashes(level int, index uint64) []canon.Hash { return t.tiles[spot{level, index}] }

// Kept are the full tiles in memory that lie below a size, in no order.
func (t *Tree) Kept(size uint64) iter.Seq[Tile] {
	return func(yield func(Tile) bool) {
		for at := range t.tiles {
			if at.end() <= size && !yield(Tile{Level: at.level, Index: at.index, Width: TileWidth}) {
				return
			}
		}
	}
}

// end is how many entries a log has at least with which the tile is full.
func (s spot) end() uint64 { return (s.index + 1) << ((s.level + 1) * tileHeight) }

// Release forgets the full tiles below a size, a multiple of TileWidth: they are
// where load finds them.
func (t *Tree) Release(size uint64) {
	if size%TileWidth != 0 || size > t.size || size < t.released {
		panic("receiptlog: internal error: tiles cannot be released so far")
	}
	t.released = size
	for at := range t.tiles {
		if at.end() <= size {
			delete(t.tiles, at)
		}
	}
}

// Released is up to where tiles were released.
func (t *Tree) Released() uint64 { return t.released }
