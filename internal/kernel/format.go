package kernel

import "fmt"

const (
	// Panel is the number of rows of a matrix that are packed together.
	Panel = 16
	// Block is the number of columns that share a scale, and the length of
	// the partial sums of floating-point products.
	Block = 32
	// superBlock is the number of columns that share the outer scale of the
	// two-level formats.
	superBlock = 256
)

// Format says how a [Matrix] holds its weights. The quantised formats differ
// in the bits of a code and in the form of the scales; all mean the same:
// weight = scale * code + offset, with code an integer in [-128, 127], once
// per block of 32 columns or per half block.
type Format uint8

// The formats, and the GGUF types that pack into them.
const (
	F32  Format = iota // F32
	F16                // F16
	BF16               // BF16
	W8                 // Q8_0
	W4                 // Q4_0
	W4M                // Q4_1: with an offset
	W4T                // IQ4_NL: codes through a table
	W5                 // Q5_0
	W5M                // Q5_1
	K2                 // Q2_K: two-level scales and offsets, per half block
	K3                 // Q3_K: two-level scales, per half block
	K4                 // Q4_K: two-level scales and offsets
	K5                 // Q5_K
	K6                 // Q6_K: two-level scales, per half block
	K4T                // IQ4_XS: two-level scales, codes through a table
	formats
)

// planes is the way in which the codes of a block of a panel (8 groups of 16
// rows by 4 columns, 64 bytes a group) are cut into bits.
type planes uint8

const (
	bytePlane  planes = iota // 8 groups of bytes, code + 128
	nibbles                  // 4 x 64 bytes: byte i of j holds groups j (low) and j+4 (high)
	nibblesBit               // nibbles, then 64 bytes: bit g of byte i is bit 4 of group g
	nibbles2                 // nibbles, then 2 x 64 bytes: bits 2g.. of byte i of h are bits 4-5 of group 4h+g
	pairs                    // 2 x 64 bytes: bits 2g.. of byte i of h are group 4h+g
	pairsBit                 // pairs, then 64 bytes: bit g of byte i is bit 2 of group g
	table4                   // as nibbles, through codeTable
	planeKinds
)

// scaling is the form in which a panel holds its scales; d, m are binary16,
// sixteen rows side by side.
type scaling uint8

const (
	scale16  scaling = iota // a block: d
	scale16M                // a block: d, m (offset)
	scaleK                  // a super-block: d, m; 8 blocks of 16 bytes scale, 16 bytes offset: d*s, -(m*o)
	scaleK16                // a super-block: d; 16 half blocks of 16 signed bytes
	scaleK2                 // a super-block: d, m; 16 half blocks of 16 bytes, scale low nibble, offset high
	scaleKT                 // a super-block: d; 8 blocks of 16 signed bytes
	scalingKinds
)

// layout is what a format is made of.
type layout struct {
	name    string
	planes  planes
	scaling scaling
	zero    int  // code = stored bits - zero
	half    bool // scales are per half block
	offset  bool // has offsets
}

var layouts = [formats]layout{
	F32:  {name: "F32"},
	F16:  {name: "F16"},
	BF16: {name: "BF16"},
	W8:   {"W8", bytePlane, scale16, 128, false, false},
	W4:   {"W4", nibbles, scale16, 8, false, false},
	W4M:  {"W4M", nibbles, scale16M, 0, false, true},
	W4T:  {"W4T", table4, scale16, 0, false, false},
	W5:   {"W5", nibblesBit, scale16, 16, false, false},
	W5M:  {"W5M", nibblesBit, scale16M, 0, false, true},
	K2:   {"K2", pairs, scaleK2, 0, true, true},
	K3:   {"K3", pairsBit, scaleK16, 4, true, false},
	K4:   {"K4", nibbles, scaleK, 0, false, true},
	K5:   {"K5", nibblesBit, scaleK, 0, false, true},
	K6:   {"K6", nibbles2, scaleK16, 32, true, false},
	K4T:  {"K4T", table4, scaleKT, 0, false, false},
}

// codeTable is the code book of the non-linear 4-bit formats (ggml's IQ4_NL),
// each value plus 128.
var codeTable = [16]byte{
	128 - 127, 128 - 104, 128 - 83, 128 - 65, 128 - 49, 128 - 35, 128 - 22, 128 - 10,
	128 + 1, 128 + 13, 128 + 25, 128 + 38, 128 + 53, 128 + 69, 128 + 89, 128 + 113,
}

// planeBytes is the size of the codes of a block of a panel.
var planeBytes = [planeKinds]int{512, 256, 320, 384, 128, 192, 256}

// String returns the name of the format.
func (f Format) String() string {
	if f < formats {
		return layouts[f].name
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// Float says whether the weights are floating-point numbers, not codes.
func (f Format) Float() bool { return f <= BF16 }

// Granule is the number that the columns of a matrix must be a multiple of.
func (f Format) Granule() int {
	switch {
	case f.Float():
		return 1
	case layouts[f].scaling >= scaleK:
		return superBlock
	}
	return Block
}

// bytes is the size of the scales of nb blocks of a panel.
func (s scaling) bytes(nb int) int {
	switch s {
	case scale16:
		return nb * 32
	case scale16M:
		return nb * 64
	case scaleK, scaleK2:
		return nb / 8 * (64 + 256)
	case scaleK16:
		return nb / 8 * (32 + 256)
	default: // scaleKT
		return nb / 8 * (32 + 128)
	}
}

// A panel of codes is a row of groups of eight blocks, the last one perhaps
// shorter: first the codes of the group's blocks, then their scales, then
// nothing up to a multiple of 64 bytes. So it is read as one stream.
const groupBlocks = superBlock / Block

// groupBytes is the size of a group of n blocks.
func (l *layout) groupBytes(n int) int {
	return roundUp(n*planeBytes[l.planes]+l.scaling.bytes(n), 64)
}

// group returns group g of a panel of nb blocks: its codes, its scales and the
// number of its blocks.
func (l *layout) group(panel []byte, g, nb int) (codes, scales []byte, n int) {
	n = min(groupBlocks, nb-g*groupBlocks)
	b := panel[g*l.groupBytes(groupBlocks):]
	size := n * planeBytes[l.planes]
	return b[:size], b[size : size+l.scaling.bytes(n)], n
}

// panelBytes is the size of a panel of sixteen rows of cols columns.
func (f Format) panelBytes(cols int) int {
	switch f {
	case F32:
		return cols * Panel * 4
	case F16, BF16:
		return cols * Panel * 2
	}
	l, nb := &layouts[f], cols/Block
	n := nb / groupBlocks * l.groupBytes(groupBlocks)
	if rest := nb % groupBlocks; rest > 0 {
		n += l.groupBytes(rest)
	}
	return n
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }
