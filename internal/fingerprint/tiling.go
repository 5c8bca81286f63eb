package fingerprint

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// The cut of a tensor's data into tiles: section 4 of spec/fingerprint.md.
const (
	floatChunk = 1024 // columns of a tile of a wide F32, F16 or BF16 tensor
	blockChunk = 6144 // of one of a quantised type
	tileBytes  = 8192 // a tile has more rows than one only up to this size
	tileRows   = 16   // and up to this number
	// maxTile is the most bytes of a tile: one row of 6144 Q8_0 elements has
	// 6528, two of 4096 bytes have 8192.
	maxTile    = tileBytes
	maxDims    = 4
	maxElement = 4 // the most bytes that an element takes
)

// Tiling says how the data of a tensor is cut into tiles. Tiles lie in the
// data one after the other, without gaps.
type Tiling struct {
	Rows, Cols int // of the tensor
	RowBytes   int
	// TileRows and TileCols are the rows and columns of a tile that does not
	// lie at the lower or right edge. One of them is 1 or Cols.
	TileRows, TileCols int
	chunkBytes         int // of one row of a tile
}

// Tile is a rectangle of a tensor, and the range of its bytes in the data.
type Tile struct {
	Row, Rows int
	Col, Cols int
	Offset    int64
	Size      int
}

// TilingOf gives the tiling of a tensor with this type and shape (ggml's
// order, as in [gguf.Tensor]). It refuses types without arithmetic in this
// module and shapes that no file can have.
func TilingOf(typ gguf.Type, shape []int) (Tiling, error) {
	elems, bytes := typ.Block()
	if elems == 0 {
		return Tiling{}, fmt.Errorf("type %s: %w", typ, gguf.ErrUnsupportedType)
	}
	bad := func(why string) (Tiling, error) {
		return Tiling{}, fmt.Errorf("a tensor of type %s has shape %v: %s", typ, shape, why)
	}
	if len(shape) < 1 || len(shape) > maxDims {
		return bad("want 1 to 4 dimensions")
	}
	n := int64(1)
	for _, d := range shape {
		if d < 1 || int64(d) > canon.MaxLeaves/n {
			return bad("too large, or a dimension that is not positive")
		}
		n *= int64(d)
	}
	if shape[0]%elems != 0 {
		return bad(fmt.Sprintf("rows are no multiple of %d", elems))
	}
	if n > math.MaxInt/maxElement {
		return bad("too large for this machine")
	}
	t := Tiling{Rows: int(n) / shape[0], Cols: shape[0], RowBytes: shape[0] / elems * bytes, TileRows: 1, TileCols: shape[0]}
	chunk := blockChunk
	if elems == 1 {
		chunk = floatChunk
	}
	if t.Cols > chunk {
		t.TileCols = chunk
	} else {
		for t.TileRows < tileRows && 2*t.TileRows*t.RowBytes <= tileBytes {
			t.TileRows *= 2
		}
	}
	t.chunkBytes = t.TileCols / elems * bytes
	return t, nil
}

// Chunks is the number of tiles side by side.
func (t Tiling) Chunks() int { return (t.Cols + t.TileCols - 1) / t.TileCols }

// Tiles is the number of tiles.
func (t Tiling) Tiles() int { return (t.Rows + t.TileRows - 1) / t.TileRows * t.Chunks() }

// At is the number of the tile that holds an element.
func (t Tiling) At(row, col int) int { return row/t.TileRows*t.Chunks() + col/t.TileCols }

// Tile is the tile of number i, from 0 on.
func (t Tiling) Tile(i int) Tile {
	if i < 0 || i >= t.Tiles() {
		panic(fmt.Sprintf("fingerprint: internal error: tile %d of %d", i, t.Tiles()))
	}
	chunks := t.Chunks()
	x := Tile{Row: i / chunks * t.TileRows, Col: i % chunks * t.TileCols}
	x.Rows, x.Cols = min(t.TileRows, t.Rows-x.Row), min(t.TileCols, t.Cols-x.Col)
	x.Offset = int64(x.Row)*int64(t.RowBytes) + int64(i%chunks)*int64(t.chunkBytes)
	x.Size = x.Rows * min(t.chunkBytes, t.RowBytes-i%chunks*t.chunkBytes)
	return x
}

// Range is the range of bytes of the tiles from to to-1.
func (t Tiling) Range(from, to int) (offset, size int64) {
	if from >= to {
		panic(fmt.Sprintf("fingerprint: internal error: tiles %d to %d", from, to))
	}
	first, last := t.Tile(from), t.Tile(to-1)
	return first.Offset, last.Offset + int64(last.Size) - first.Offset
}

// Size is the bytes of the tensor.
func (t Tiling) Size() int64 { return int64(t.Rows) * int64(t.RowBytes) }

// fits reports whether a number of a proof is one that this program can count
// to.
func fits(n uint64) bool { return n <= math.MaxInt }
