package quant

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/gguf"
)

// Units is one block of a quantised type as spec/numerics.md section 2 has it:
// units of consecutive weights, each weight code * scale + offset.
type Units struct {
	N       int // units; all are equally long
	Codes   [superBlock]int8
	Scales  [superBlock / 16]float32
	Offsets [superBlock / 16]float32
	Offset  bool // offsets are part of the type
}

// Decode takes a block of type t apart.
func (u *Units) Decode(t gguf.Type, b []byte) {
	u.N, u.Offset = 1, false
	switch t {
	case gguf.Q8_0:
		u.Scales[0] = half(b)
		for i := range smallBlock {
			u.Codes[i] = int8(b[2+i])
		}
	case gguf.Q4_0:
		u.Scales[0] = half(b)
		u.nibbles(0, b[2:18], 0, -8)
	case gguf.Q4_1:
		u.Scales[0], u.Offsets[0], u.Offset = half(b), half(b[2:]), true
		u.nibbles(0, b[4:20], 0, 0)
	case gguf.Q5_0:
		u.Scales[0] = half(b)
		u.nibbles(0, b[6:22], binary.LittleEndian.Uint32(b[2:]), -16)
	case gguf.Q5_1:
		u.Scales[0], u.Offsets[0], u.Offset = half(b), half(b[2:]), true
		u.nibbles(0, b[8:24], binary.LittleEndian.Uint32(b[4:]), 0)
	case gguf.IQ4_NL:
		u.Scales[0] = half(b)
		u.levels(0, b[2:18])
	case gguf.Q2_K:
		u.N, u.Offset = 16, true
		d, dmin := half(b[80:]), half(b[82:])
		for s := range u.N {
			u.scaleMin(s, d, dmin, b[s]&15, b[s]>>4)
			q, shift := quarter(b[16:80], s)
			for l, v := range q {
				u.Codes[16*s+l] = int8(v >> shift & 3)
			}
		}
	case gguf.Q3_K:
		u.N = 16
		d := half(b[108:])
		for s := range u.N {
			u.Scales[s] = float32(d * float32(int(scaleQ3K(b[96:108], s))-32))
			q, shift := quarter(b[32:96], s)
			for l, v := range q {
				u.Codes[16*s+l] = int8(v>>shift&3) + int8(b[s%2*16+l]>>(s/2)&1)<<2 - 4
			}
		}
	case gguf.Q4_K, gguf.Q5_K:
		u.fours(t, b)
	case gguf.Q6_K:
		u.N = 16
		d := half(b[208:])
		for s := range u.N {
			u.Scales[s] = float32(d * float32(int8(b[192+s])))
			low, high, nibble, pair := partsQ6K(b, s)
			for l, v := range low {
				u.Codes[16*s+l] = int8(v>>nibble&15|high[l]>>pair&3<<4) - 32
			}
		}
	case gguf.IQ4_XS:
		u.N = 8
		d, high := half(b), binary.LittleEndian.Uint16(b[2:])
		for s := range u.N {
			scale := int(b[4+s/2]>>(s%2*4)&15) | int(high>>(2*s)&3)<<4
			u.Scales[s] = float32(d * float32(scale-32))
			u.levels(smallBlock*s, b[8+16*s:24+16*s])
		}
	default:
		panic(fmt.Sprintf("quant: internal error: no units in type %v", t))
	}
}

// fours takes a block of Q4_K or Q5_K apart.
func (u *Units) fours(t gguf.Type, b []byte) {
	u.N, u.Offset = 8, true
	d, dmin := half(b), half(b[2:])
	q := b[16:]
	if t == gguf.Q5_K {
		q = b[48:]
	}
	for s := range u.N {
		scale, minimum := scaleMin(b[4:16], s)
		u.scaleMin(s, d, dmin, scale, minimum)
		for l := range smallBlock {
			c := q[s/2*32+l] >> (s % 2 * 4) & 15
			if t == gguf.Q5_K {
				c |= b[16+l] >> s & 1 << 4
			}
			u.Codes[smallBlock*s+l] = int8(c)
		}
	}
}

// scaleMin sets the scale and the offset of a unit.
func (u *Units) scaleMin(s int, d, dmin float32, scale, minimum byte) {
	u.Scales[s] = float32(d * float32(scale))
	u.Offsets[s] = -float32(dmin * float32(minimum))
}

// nibbles reads 32 codes of four bits, the fifth bit of each in high, and adds
// zero.
func (u *Units) nibbles(at int, q []byte, high uint32, zero int8) {
	for j, v := range q {
		u.Codes[at+j] = int8(v&15|byte(high>>j&1)<<4) + zero
		u.Codes[at+j+16] = int8(v>>4|byte(high>>(j+16)&1)<<4) + zero
	}
}

// levels reads 32 codes of four bits through the table of the IQ4 types.
func (u *Units) levels(at int, q []byte) {
	for j, v := range q {
		u.Codes[at+j] = levelsIQ4[v&15]
		u.Codes[at+j+16] = levelsIQ4[v>>4]
	}
}
