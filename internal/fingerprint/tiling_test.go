package fingerprint_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

func TestTilingOf(t *testing.T) {
	for _, c := range []struct {
		typ   gguf.Type
		shape []int
		rows  int // of a tile
		cols  int
		tiles int
		size  int // of the first
		last  int
	}{
		{gguf.F32, []int{1}, 16, 1, 1, 4, 4},
		{gguf.F32, []int{1024}, 2, 1024, 1, 4096, 4096},
		{gguf.F32, []int{1025}, 1, 1024, 2, 4096, 4},
		{gguf.F32, []int{2048, 3}, 1, 1024, 6, 4096, 4096},
		{gguf.F16, []int{1024, 9}, 4, 1024, 3, 8192, 2048},
		{gguf.BF16, []int{1000, 9}, 4, 1000, 3, 8000, 2000},
		{gguf.F16, []int{64, 33}, 16, 64, 3, 2048, 128},
		{gguf.Q8_0, []int{896, 4864}, 8, 896, 608, 7616, 7616},
		{gguf.Q8_0, []int{2048, 5}, 2, 2048, 3, 4352, 2176},
		{gguf.Q8_0, []int{6144, 2}, 1, 6144, 2, 6528, 6528},
		{gguf.Q8_0, []int{6176, 2}, 1, 6144, 4, 6528, 34},
		{gguf.Q8_0, []int{18944, 3584}, 1, 6144, 4 * 3584, 6528, 544},
		{gguf.Q4_0, []int{4864, 896}, 2, 4864, 448, 5472, 5472},
		{gguf.Q4_K, []int{14336, 4096}, 1, 6144, 3 * 4096, 3456, 1152},
		{gguf.Q6_K, []int{256, 2, 3, 5}, 16, 256, 2, 3360, 2940},
		{gguf.IQ4_XS, []int{4096, 2}, 2, 4096, 1, 4352, 4352},
		{gguf.Q2_K, []int{256}, 16, 256, 1, 84, 84},
	} {
		x, err := fingerprint.TilingOf(c.typ, c.shape)
		if err != nil {
			t.Error(err)
			continue
		}
		got := []int{x.TileRows, x.TileCols, x.Tiles(), x.Tile(0).Size, x.Tile(x.Tiles() - 1).Size}
		if diff := cmp.Diff([]int{c.rows, c.cols, c.tiles, c.size, c.last}, got); diff != "" {
			t.Errorf("%s %v: rows, columns, tiles, sizes: %s", c.typ, c.shape, diff)
		}
	}
}

// TestTilesCoverTensor compares, for every type and many shapes, the tiles
// with a walk over all elements.
func TestTilesCoverTensor(t *testing.T) {
	for _, typ := range gguf.Types() {
		elems, bytes := typ.Block()
		for _, blocks := range []int{1, 2, 3, 23, 24, 25, 48, 49, 191, 192, 193, 1023, 1024, 1025, 2500} {
			if blocks*elems > 20000 {
				continue
			}
			for _, rows := range []int{1, 2, 15, 16, 17, 33} {
				x, err := fingerprint.TilingOf(typ, []int{blocks * elems, rows})
				if err != nil {
					t.Fatal(err)
				}
				if x.Size() != int64(rows*blocks*bytes) {
					t.Fatalf("%s %d x %d: %d bytes", typ, rows, blocks, x.Size())
				}
				if err := coverTensor(x, elems, bytes); err != nil {
					t.Errorf("%s, %d rows of %d blocks: %v", typ, rows, blocks, err)
				}
			}
		}
	}
}

func coverTensor(x fingerprint.Tiling, elems, bytes int) error {
	end := int64(0)
	blocks := 0
	for i := range x.Tiles() {
		tile := x.Tile(i)
		if tile.Offset != end {
			return fmt.Errorf("tile %d starts at %d, the one before ends at %d", i, tile.Offset, end)
		}
		end += int64(tile.Size)
		if tile.Size < 1 || tile.Size > 8192 || tile.Size != tile.Rows*tile.Cols/elems*bytes {
			return fmt.Errorf("tile %d of %d x %d has %d bytes", i, tile.Rows, tile.Cols, tile.Size)
		}
		if offset, size := x.Range(i, i+1); offset != tile.Offset || size != int64(tile.Size) {
			return fmt.Errorf("tile %d has the range %d, %d", i, offset, size)
		}
		at := tile.Offset // a tile's rows follow each other
		for r := tile.Row; r < tile.Row+tile.Rows; r++ {
			for c := tile.Col; c < tile.Col+tile.Cols; c += elems {
				if x.At(r, c) != i || x.At(r, c+elems-1) != i {
					return fmt.Errorf("element %d, %d is not said to be in tile %d", r, c, i)
				}
				if want := int64(r)*int64(x.RowBytes) + int64(c/elems*bytes); at != want {
					return fmt.Errorf("element %d, %d lies at byte %d of the tile's, want %d", r, c, at, want)
				}
				at += int64(bytes)
				blocks++
			}
		}
	}
	if want := x.Rows * x.Cols / elems; blocks != want || end != x.Size() {
		return fmt.Errorf("tiles hold %d blocks and %d bytes, want %d and %d", blocks, end, want, x.Size())
	}
	return nil
}

func TestTilingOfRefuses(t *testing.T) {
	for _, c := range []struct {
		typ   gguf.Type
		shape []int
	}{
		{9, []int{32}},
		{24, []int{32}},
		{77, []int{32}},
		{gguf.F32, nil},
		{gguf.F32, []int{}},
		{gguf.F32, []int{1, 1, 1, 1, 1}},
		{gguf.F32, []int{0}},
		{gguf.F32, []int{3, 0}},
		{gguf.F32, []int{-1}},
		{gguf.F32, []int{3, -1, -1}},
		{gguf.Q8_0, []int{33}},
		{gguf.Q4_K, []int{128}},
		{gguf.F32, []int{1 << 40, 2}},
		{gguf.F32, []int{1 << 62, 1 << 62}},
		{gguf.F32, []int{1 << 32, 1 << 32, 1 << 32, 1 << 32}},
	} {
		if _, err := fingerprint.TilingOf(c.typ, c.shape); err == nil {
			t.Errorf("%s %v is accepted", c.typ, c.shape)
		} else if elems, _ := c.typ.Block(); elems == 0 && !errors.Is(err, gguf.ErrUnsupportedType) {
			t.Errorf("%s: %v", c.typ, err)
		}
	}
	if _, err := fingerprint.TilingOf(gguf.F32, []int{1 << 40}); err != nil {
		t.Errorf("the largest tensor: %v", err)
	}
}
