package quant

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// PackFormat returns the kernel format that tensors of type t are packed into.
// Packing loses nothing: codes and scales stay what the file says.
func PackFormat(t gguf.Type) (kernel.Format, error) {
	switch t {
	case gguf.F32:
		return kernel.F32, nil
	case gguf.F16:
		return kernel.F16, nil
	case gguf.BF16:
		return kernel.BF16, nil
	case gguf.Q8_0:
		return kernel.W8, nil
	case gguf.Q4_0:
		return kernel.W4, nil
	case gguf.Q4_1:
		return kernel.W4M, nil
	case gguf.Q5_0:
		return kernel.W5, nil
	case gguf.Q5_1:
		return kernel.W5M, nil
	case gguf.IQ4_NL:
		return kernel.W4T, nil
	case gguf.Q2_K:
		return kernel.K2, nil
	case gguf.Q3_K:
		return kernel.K3, nil
	case gguf.Q4_K:
		return kernel.K4, nil
	case gguf.Q5_K:
		return kernel.K5, nil
	case gguf.Q6_K:
		return kernel.K6, nil
	case gguf.IQ4_XS:
		return kernel.K4T, nil
	}
	return 0, fmt.Errorf("tensors of type %v cannot be computed with", t)
}

// Pack sets the rows of panel p of m, zero until then, from the bytes of those
// rows of type t; m has the format that [PackFormat] gives for t.
func Pack(m *kernel.Matrix, t gguf.Type, p int, src []byte) {
	first := p * kernel.Panel
	rows := min(kernel.Panel, m.Rows-first)
	size := len(src) / rows // of a row
	if m.Format.Float() {
		for r := range rows {
			m.SetFloats(first+r, src[r*size:(r+1)*size])
		}
		return
	}
	_, block := t.Block()
	pack := packers[t]
	// Block by block, so that what is written stays in the cache.
	for b := 0; b*block < size; b++ {
		for r := range rows {
			pack(m, first+r, b, src[r*size+b*block:][:block])
		}
	}
}

// packers set block or super-block b of a row.
var packers = map[gguf.Type]func(m *kernel.Matrix, row, b int, src []byte){
	gguf.Q8_0:   packQ8_0,
	gguf.Q4_0:   func(m *kernel.Matrix, row, b int, src []byte) { packNibbles(m, row, b, src[:2], nil, nil, src[2:18]) },
	gguf.IQ4_NL: func(m *kernel.Matrix, row, b int, src []byte) { packNibbles(m, row, b, src[:2], nil, nil, src[2:18]) },
	gguf.Q4_1: func(m *kernel.Matrix, row, b int, src []byte) {
		packNibbles(m, row, b, src[:2], src[2:4], nil, src[4:20])
	},
	gguf.Q5_0: func(m *kernel.Matrix, row, b int, src []byte) {
		packNibbles(m, row, b, src[:2], nil, src[2:6], src[6:22])
	},
	gguf.Q5_1: func(m *kernel.Matrix, row, b int, src []byte) {
		packNibbles(m, row, b, src[:2], src[2:4], src[4:8], src[8:24])
	},
	gguf.Q2_K:   packQ2K,
	gguf.Q3_K:   packQ3K,
	gguf.Q4_K:   packQ4K,
	gguf.Q5_K:   packQ5K,
	gguf.Q6_K:   packQ6K,
	gguf.IQ4_XS: packIQ4XS,
}

func packQ8_0(m *kernel.Matrix, row, b int, src []byte) {
	var c [8]uint32
	for g := range c {
		c[g] = binary.LittleEndian.Uint32(src[2+4*g:]) ^ 0x80808080
	}
	m.SetCodes(row, b, &c)
	m.SetScale(row, b, binary.LittleEndian.Uint16(src), 0)
}

// packNibbles packs the 32-weight types: weight l lies in the low half of byte
// l, weight l+16 in the high half; bit l of high is its fifth bit.
func packNibbles(m *kernel.Matrix, row, b int, d, dm, high, q []byte) {
	var c [8]uint32
	for j := range 4 {
		v := binary.LittleEndian.Uint32(q[4*j:])
		c[j] = v & 0x0f0f0f0f
		c[j+4] = v >> 4 & 0x0f0f0f0f
	}
	if high != nil {
		h := binary.LittleEndian.Uint32(high)
		for g := range c {
			c[g] |= spread(h>>(4*g)) << 4
		}
	}
	m.SetCodes(row, b, &c)
	offset := uint16(0)
	if dm != nil {
		offset = binary.LittleEndian.Uint16(dm)
	}
	m.SetScale(row, b, binary.LittleEndian.Uint16(d), offset)
}

// spread puts the low four bits of h into the low bits of four bytes.
func spread(h uint32) uint32 {
	return (h & 15 * 0x00204081) & 0x01010101
}

func packQ2K(m *kernel.Matrix, row, b int, src []byte) {
	var scales, offsets [16]int8
	for s := range 16 {
		scales[s], offsets[s] = int8(src[s]&15), int8(src[s]>>4)
	}
	packPairs(m, row, b, src[16:80], nil)
	le := binary.LittleEndian
	m.SetSuper(row, b, le.Uint16(src[80:]), le.Uint16(src[82:]), scales[:], offsets[:])
}

func packQ3K(m *kernel.Matrix, row, b int, src []byte) {
	var scales [16]int8
	for s := range 16 {
		scales[s] = int8(scaleQ3K(src[96:108], s)) - 32
	}
	packPairs(m, row, b, src[32:96], src[:32])
	m.SetSuper(row, b, binary.LittleEndian.Uint16(src[108:]), 0, scales[:], nil)
}

// packPairs packs the codes of Q2_K and Q3_K: weight 128h+32j+l lies in bits
// 2j.. of byte 32h+l; bit 4h+j of high[l] is its third bit.
func packPairs(m *kernel.Matrix, row, b int, q, high []byte) {
	for i := range 8 { // blocks of 32
		var c [8]uint32
		for g := range c {
			c[g] = binary.LittleEndian.Uint32(q[i/4*32+4*g:]) >> (i % 4 * 2) & 0x03030303
			if high != nil {
				c[g] |= binary.LittleEndian.Uint32(high[4*g:]) >> i & 0x01010101 << 2
			}
		}
		m.SetCodes(row, 8*b+i, &c)
	}
}

func packQ4K(m *kernel.Matrix, row, b int, src []byte) { packK45(m, row, b, src, nil, src[16:144]) }

func packQ5K(m *kernel.Matrix, row, b int, src []byte) {
	packK45(m, row, b, src, src[16:48], src[48:176])
}

// packK45 packs Q4_K and Q5_K: weight 64j+l lies in the low half of byte
// 32j+l, weight 64j+32+l in the high half; bit i of high[l] is the fifth bit
// of weight 32i+l.
func packK45(m *kernel.Matrix, row, b int, src, high, q []byte) {
	var scales, offsets [8]int8
	for i := range 8 {
		s, o := scaleMin(src[4:16], i)
		scales[i], offsets[i] = int8(s), int8(o)
		var c [8]uint32
		for g := range c {
			c[g] = binary.LittleEndian.Uint32(q[i/2*32+4*g:]) >> (i % 2 * 4) & 0x0f0f0f0f
			if high != nil {
				c[g] |= binary.LittleEndian.Uint32(high[4*g:]) >> i & 0x01010101 << 4
			}
		}
		m.SetCodes(row, 8*b+i, &c)
	}
	le := binary.LittleEndian
	m.SetSuper(row, b, le.Uint16(src), le.Uint16(src[2:]), scales[:], offsets[:])
}

// packQ6K packs Q6_K: of run h of 128 weights, weight 32j+l has its low four
// bits in byte 64h+32(j%2)+l, low half if j < 2, and its high two in bits 2j..
// of byte 128+32h+l.
func packQ6K(m *kernel.Matrix, row, b int, src []byte) {
	var scales [16]int8
	for s := range scales {
		scales[s] = int8(src[192+s])
	}
	for i := range 8 {
		h, j := i/4, i%4
		var c [8]uint32
		for g := range c {
			low := binary.LittleEndian.Uint32(src[64*h+32*(j%2)+4*g:]) >> (j / 2 * 4) & 0x0f0f0f0f
			high := binary.LittleEndian.Uint32(src[128+32*h+4*g:]) >> (2 * j) & 0x03030303
			c[g] = low | high<<4
		}
		m.SetCodes(row, 8*b+i, &c)
	}
	m.SetSuper(row, b, binary.LittleEndian.Uint16(src[208:]), 0, scales[:], nil)
}

// packIQ4XS packs IQ4_XS: half d, two bytes of high scale bits, four of low
// ones, then for each block of 32 the bytes of Q4_0.
func packIQ4XS(m *kernel.Matrix, row, b int, src []byte) {
	high := binary.LittleEndian.Uint16(src[2:])
	var scales [8]int8
	for i := range scales {
		low := src[4+i/2] >> (i % 2 * 4) & 15
		scales[i] = int8(low|byte(high>>(2*i)&3)<<4) - 32
		var c [8]uint32
		for j := range 4 {
			v := binary.LittleEndian.Uint32(src[8+16*i+4*j:])
			c[j] = v & 0x0f0f0f0f
			c[j+4] = v >> 4 & 0x0f0f0f0f
		}
		m.SetCodes(row, 8*b+i, &c)
	}
	m.SetSuper(row, b, binary.LittleEndian.Uint16(src), 0, scales[:], nil)
}
