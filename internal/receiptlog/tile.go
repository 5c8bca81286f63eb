package receiptlog

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
)

// Sizes of tiles, as C2SP tlog-tiles has them.
const (
	tileHeight = 8
	// TileWidth is the number of hashes in a full tile, and of entries in a full
	// bundle.
	TileWidth = 1 << tileHeight
	maxLevel  = 40 / tileHeight // of tiles, for MaxSize entries
	// entrySize is that of an entry in a bundle: its length in two bytes, and the
	// identity of a receipt.
	entrySize = 2 + canon.Size
)

// Tile names a piece of a log: hashes of a level, which are those of the tree's
// level 8*Level, or, if Entries is set, the entries themselves.
type Tile struct {
	Entries bool
	Level   int    // of tiles; 0 with Entries
	Index   uint64 // among the tiles of the level
	Width   int    // how many of its hashes or entries are there; TileWidth: all
}

// Path is the name of the tile's file, with slashes: "tile/0/x001/234.p/5".
func (t Tile) Path() string {
	name := fmt.Sprintf("%03d", t.Index%1000)
	for n := t.Index / 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	level := "entries"
	if !t.Entries {
		level = strconv.Itoa(t.Level)
	}
	name = "tile/" + level + "/" + name
	if t.Width != TileWidth {
		name += fmt.Sprintf(".p/%d", t.Width)
	}
	return name
}

// ParseTilePath reads what [Tile.Path] writes, and nothing else.
func ParseTilePath(path string) (Tile, error) {
	t := Tile{Width: TileWidth}
	bad := formatErrorf("%.100q is no path of a tile", path)
	level, rest, _ := strings.Cut(strings.TrimPrefix(path, "tile/"), "/")
	if level == "entries" {
		t.Entries = true
	} else if n, err := strconv.Atoi(level); err == nil {
		t.Level = n
	}
	if name, width, ok := strings.Cut(rest, ".p/"); ok {
		n, err := strconv.Atoi(width)
		if err != nil || n < 1 || n >= TileWidth {
			return Tile{}, bad
		}
		rest, t.Width = name, n
	}
	for _, part := range strings.Split(rest, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "x"), 10, 16)
		if err != nil || n > 999 || t.Index > MaxSize {
			return Tile{}, bad
		}
		t.Index = 1000*t.Index + n
	}
	if t.Level < 0 || t.Level > maxLevel || t.Index > MaxSize || t.Path() != path { // the one way to write it
		return Tile{}, bad
	}
	return t, nil
}

// Tiles are those that a log of newSize entries has and one of oldSize did not
// have, partial ones among them: of hashes on all levels, and of entries.
func Tiles(oldSize, newSize uint64) []Tile {
	var list []Tile
	add := func(entries bool, level int, had, has uint64) {
		for n := had / TileWidth; n*TileWidth < has; n++ {
			if width := min(has-n*TileWidth, TileWidth); n*TileWidth+width > had {
				list = append(list, Tile{entries, level, n, int(width)})
			}
		}
	}
	add(true, 0, oldSize, newSize)
	for level := range maxLevel + 1 {
		add(false, level, oldSize>>(level*tileHeight), newSize>>(level*tileHeight))
	}
	return list
}

// Partial are the tiles of a log of this size that are not full.
func Partial(size uint64) []Tile {
	var list []Tile
	if width := size % TileWidth; width > 0 {
		list = append(list, Tile{Entries: true, Index: size / TileWidth, Width: int(width)})
	}
	for level := range maxLevel + 1 {
		if count := size >> (level * tileHeight); count%TileWidth > 0 {
			list = append(list, Tile{Level: level, Index: count / TileWidth, Width: int(count % TileWidth)})
		}
	}
	return list
}

// EncodeTile writes the hashes of a tile one after the other.
func EncodeTile(hashes []canon.Hash) []byte {
	b := make([]byte, 0, canon.Size*len(hashes))
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// DecodeTile reads the hashes of a tile that has so many.
func DecodeTile(data []byte, width int) ([]canon.Hash, error) {
	if width < 1 || width > TileWidth || len(data) != width*canon.Size {
		return nil, formatErrorf("a tile of %d hashes with %d bytes", width, len(data))
	}
	hashes := make([]canon.Hash, width)
	for i := range hashes {
		hashes[i] = canon.Hash(data[i*canon.Size:])
	}
	return hashes, nil
}

// EncodeEntries writes a bundle of entries, each with its length before it.
func EncodeEntries(receipts []canon.Hash) []byte {
	b := make([]byte, 0, entrySize*len(receipts))
	for i := range receipts {
		b = binary.BigEndian.AppendUint16(b, canon.Size)
		b = append(b, receipts[i][:]...)
	}
	return b
}

// DecodeEntries reads a bundle of so many entries.
func DecodeEntries(data []byte, width int) ([]canon.Hash, error) {
	if width < 1 || width > TileWidth || len(data) != width*entrySize {
		return nil, formatErrorf("a bundle of %d entries with %d bytes", width, len(data))
	}
	receipts := make([]canon.Hash, width)
	for i := range receipts {
		e := data[i*entrySize:]
		if n := binary.BigEndian.Uint16(e); n != canon.Size {
			return nil, formatErrorf("an entry of %d bytes, want %d", n, canon.Size)
		}
		receipts[i] = canon.Hash(e[2:])
	}
	return receipts, nil
}
