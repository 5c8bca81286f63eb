package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Matrix is a matrix of weights packed in panels of sixteen rows. The rows
// that fill the last panel are zero. Rows are outputs, columns are inputs: a
// product of a vector with it has Rows elements.
type Matrix struct {
	Rows, Cols int
	Format     Format
	data       []byte // panels, one after the other
	panel      int    // bytes of one
}

// NewMatrix returns a zero matrix to be filled by [Matrix.SetFloats],
// [Matrix.SetCodes] and the Set methods of scales, a panel at a time; different
// panels may be filled at the same time. buf is used for its memory if it has
// [MatrixBytes] of it.
func NewMatrix(f Format, rows, cols int, buf []byte) (*Matrix, error) {
	if f >= formats || rows <= 0 || cols <= 0 || cols%f.Granule() != 0 {
		return nil, fmt.Errorf("no %v matrix of %d rows by %d columns: columns must be a positive multiple of %d", f, rows, cols, f.Granule())
	}
	m := &Matrix{Rows: rows, Cols: cols, Format: f, panel: f.panelBytes(cols)}
	n := m.panel * m.Panels()
	if len(buf) < n {
		buf = make([]byte, n)
	}
	m.data = buf[:n:n]
	return m, nil
}

// MatrixBytes returns the memory that a matrix takes.
func MatrixBytes(f Format, rows, cols int) int {
	return f.panelBytes(cols) * ((rows + Panel - 1) / Panel)
}

// Panels returns the number of panels, ceil(Rows/16).
func (m *Matrix) Panels() int { return (m.Rows + Panel - 1) / Panel }

// Bytes returns the memory that the matrix takes.
func (m *Matrix) Bytes() int { return len(m.data) }

func (m *Matrix) panelData(p int) []byte { return m.data[p*m.panel : (p+1)*m.panel] }

// SetFloats sets one row of an F32, F16 or BF16 matrix from its little-endian
// bytes.
func (m *Matrix) SetFloats(row int, src []byte) {
	p, r := m.panelData(row/Panel), row%Panel
	if m.Format == F32 {
		for c := range m.Cols {
			copy(p[(c*Panel+r)*4:][:4], src[c*4:])
		}
		return
	}
	for c := range m.Cols {
		copy(p[(c*Panel+r)*2:][:2], src[c*2:])
	}
}

// SetCodes sets block b of one row of a quantised matrix, which must have been
// zero: 32 codes as the format stores them, that is non-negative and below 2 to
// the format's bits, four to a word, the first in the low byte.
func (m *Matrix) SetCodes(row, b int, codes *[8]uint32) {
	l := &layouts[m.Format]
	pb := planeBytes[l.planes]
	group, _, _ := l.group(m.panelData(row/Panel), b/groupBlocks, m.Cols/Block)
	p := group[b%groupBlocks*pb+row%Panel*4:][:pb-row%Panel*4]
	put := binary.LittleEndian.PutUint32
	const nibble, pair, bit = 0x0f0f0f0f, 0x03030303, 0x01010101
	high, rest := 4, 0 // bits of a code below those that lie apart, and where these begin
	switch l.planes {
	case bytePlane:
		for g, c := range codes {
			put(p[g*64:], c)
		}
		return
	case pairs, pairsBit:
		high = 2
		for h := range 2 {
			c := codes[4*h : 4*h+4]
			put(p[h*64:], c[0]&pair|c[1]&pair<<2|c[2]&pair<<4|c[3]&pair<<6)
		}
		rest = 128
	default:
		for j := range 4 {
			put(p[j*64:], codes[j]&nibble|codes[j+4]&nibble<<4)
		}
		rest = 256
	}
	switch l.planes {
	case nibblesBit, pairsBit:
		v := uint32(0)
		for g, c := range codes {
			v |= c >> high & bit << g
		}
		put(p[rest:], v)
	case nibbles2:
		for h := range 2 {
			c := codes[4*h : 4*h+4]
			put(p[rest+h*64:], c[0]>>4&pair|c[1]>>4&pair<<2|c[2]>>4&pair<<4|c[3]>>4&pair<<6)
		}
	}
}

// scalesOf returns the scales of the group of the panel that holds block b of
// row.
func (m *Matrix) scalesOf(row, b int) []byte {
	_, scales, _ := layouts[m.Format].group(m.panelData(row/Panel), b/groupBlocks, m.Cols/Block)
	return scales
}

// SetScale sets the binary16 scale, and for a format with offsets the offset,
// of block b of one row of a one-level format.
func (m *Matrix) SetScale(row, b int, scale, offset uint16) {
	s, r := m.scalesOf(row, b), row%Panel
	b %= groupBlocks
	if layouts[m.Format].scaling == scale16 {
		binary.LittleEndian.PutUint16(s[b*32+r*2:], scale)
		return
	}
	binary.LittleEndian.PutUint16(s[b*64+r*2:], scale)
	binary.LittleEndian.PutUint16(s[b*64+32+r*2:], offset)
}

// SetSuper sets the scales of super-block b (256 columns) of one row of a
// two-level format: d, and m for a format with offsets, in binary16; scales
// and offsets hold one integer a block or, for the formats of half blocks, a
// half block (8 or 16). Offsets count downward: the offset is -(m * offset).
func (m *Matrix) SetSuper(row, b int, d, dm uint16, scales, offsets []int8) {
	r := row % Panel
	sc := layouts[m.Format].scaling
	s := m.scalesOf(row, b*groupBlocks)
	binary.LittleEndian.PutUint16(s[r*2:], d)
	s = s[32:]
	if sc == scaleK || sc == scaleK2 {
		binary.LittleEndian.PutUint16(s[r*2:], dm)
		s = s[32:]
	}
	for i, v := range scales {
		switch sc {
		case scaleK:
			s[i*32+r] = byte(v)
			s[i*32+16+r] = byte(offsets[i])
		case scaleK2:
			s[i*16+r] = byte(v)&15 | byte(offsets[i])<<4
		default:
			s[i*16+r] = byte(v)
		}
	}
}

// Row writes the weights of one row as float32, each rounded once:
// scale * code, plus the offset where the format has one. dst has Cols
// elements, scratch at least [Matrix.RowScratch] bytes.
func (m *Matrix) Row(dst []float32, row int, s *Scratch) {
	p, r := m.panelData(row/Panel), row%Panel
	switch m.Format {
	case F32:
		for c := range m.Cols {
			dst[c] = math.Float32frombits(binary.LittleEndian.Uint32(p[(c*Panel+r)*4:]))
		}
		return
	case F16:
		for c := range m.Cols {
			dst[c] = FromF16(binary.LittleEndian.Uint16(p[(c*Panel+r)*2:]))
		}
		return
	case BF16:
		for c := range m.Cols {
			dst[c] = FromBF16(binary.LittleEndian.Uint16(p[(c*Panel+r)*2:]))
		}
		return
	}
	l := &layouts[m.Format]
	nb := m.Cols / Block
	for g := 0; g*groupBlocks < nb; g++ {
		codes, scales, n := l.group(p, g, nb)
		unpackGeneric(l, s.codes[:n*512], codes)
		scalesGeneric(l, s.scales, s.offsets, scales, n)
		for c := range n * Block {
			// One scale a block, or one a half block.
			i := c / Block * Panel
			if l.half {
				i = c / (Block / 2) * Panel
			}
			w := float32(s.scales[i+r] * float32(int(s.codes[c/4*64+r*4+c%4])-128))
			if l.offset {
				w += s.offsets[i+r]
			}
			dst[g*superBlock+c] = w
		}
	}
}
