package quant

import "encoding/binary"

// Blocks of 32 weights. In all of them quant j of the first half lies in the
// low four bits of byte j, quant j of the second half in the high four.

// decodeQ4_0 reads { half d; byte q[16] }: w = d·(q − 8).
func decodeQ4_0(b []byte, y []float32) {
	d := half(b)
	q := b[2:18]
	y = y[:smallBlock]
	for j, v := range q {
		y[j] = float32(d * float32(int(v&15)-8))
		y[j+16] = float32(d * float32(int(v>>4)-8))
	}
}

// decodeQ4_1 reads { half d, m; byte q[16] }: w = d·q + m.
func decodeQ4_1(b []byte, y []float32) {
	d, m := half(b), half(b[2:])
	q := b[4:20]
	y = y[:smallBlock]
	for j, v := range q {
		y[j] = float32(d*float32(v&15)) + m
		y[j+16] = float32(d*float32(v>>4)) + m
	}
}

// decodeQ5_0 reads { half d; uint32 h; byte q[16] }: w = d·(q − 16), where bit
// j of h is the fifth bit of weight j.
func decodeQ5_0(b []byte, y []float32) {
	d := half(b)
	h := binary.LittleEndian.Uint32(b[2:])
	q := b[6:22]
	y = y[:smallBlock]
	for j, v := range q {
		y[j] = float32(d * float32(int(v&15)+int(h>>j&1)<<4-16))
		y[j+16] = float32(d * float32(int(v>>4)+int(h>>(j+16)&1)<<4-16))
	}
}

// decodeQ5_1 reads { half d, m; uint32 h; byte q[16] }: w = d·q + m.
func decodeQ5_1(b []byte, y []float32) {
	d, m := half(b), half(b[2:])
	h := binary.LittleEndian.Uint32(b[4:])
	q := b[8:24]
	y = y[:smallBlock]
	for j, v := range q {
		y[j] = float32(d*float32(int(v&15)+int(h>>j&1)<<4)) + m
		y[j+16] = float32(d*float32(int(v>>4)+int(h>>(j+16)&1)<<4)) + m
	}
}

// decodeQ8_0 reads { half d; int8 q[32] }: w = d·q.
func decodeQ8_0(b []byte, y []float32) {
	d := half(b)
	q := b[2:34]
	y = y[:smallBlock]
	for j, v := range q {
		y[j] = float32(d * float32(int8(v)))
	}
}

// levelsIQ4 are the sixteen levels of IQ4_NL and IQ4_XS, close together near 0
// where most weights are.
var levelsIQ4 = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// decodeIQ4NL reads { half d; byte q[16] }: w = d·level(q).
func decodeIQ4NL(b []byte, y []float32) {
	decodeLevels(half(b), b[2:18], y)
}

// decodeLevels reads 32 quants of four bits as levels times d.
func decodeLevels(d float32, q []byte, y []float32) {
	y = y[:smallBlock]
	q = q[:smallBlock/2]
	for j, v := range q {
		y[j] = float32(d * float32(levelsIQ4[v&15]))
		y[j+16] = float32(d * float32(levelsIQ4[v>>4]))
	}
}
