package quant

import "encoding/binary"

// Super-blocks of 256 weights: sub-blocks of 16 or 32 with small integer
// scales, and one or two binary16 numbers that scale those.

// decodeQ2K reads { byte scales[16]; byte q[64]; half d, dmin }: sixteen
// sub-blocks of 16 with w = (d·s)·q − dmin·m; s is the low and m the high half
// of a scale byte. Each run of 128 weights has 32 bytes of quants, and quarter
// j of the run lies in bits 2j and 2j+1 of them.
func decodeQ2K(b []byte, y []float32) {
	d, dmin := half(b[80:]), half(b[82:])
	for s := range 16 {
		scale := b[s]
		dl, ml := float32(d*float32(scale&15)), float32(dmin*float32(scale>>4))
		q, shift := quarter(b[16:80], s)
		out := y[16*s : 16*s+16]
		for l, v := range q {
			out[l] = float32(dl*float32(v>>shift&3)) - ml
		}
	}
}

// quarter returns the sixteen bytes, and the shift in them, that hold two bits
// of each weight of sub-block s in the layout of Q2_K and Q3_K.
func quarter(q []byte, s int) ([]byte, int) {
	at := s/8*32 + s%2*16
	return q[at : at+16], s % 8 / 2 * 2
}

// decodeQ3K reads { byte high[32]; byte q[64]; byte scales[12]; half d }:
// sixteen sub-blocks of 16 with w = (d·(s − 32))·(q − 4). The low two bits of q
// are laid out as in Q2_K; bit k of high[l] is the third bit of weight 32k+l.
func decodeQ3K(b []byte, y []float32) {
	d := half(b[108:])
	for s := range 16 {
		dl := float32(d * float32(int(scaleQ3K(b[96:108], s))-32))
		q, shift := quarter(b[32:96], s)
		high := b[s%2*16 : s%2*16+16]
		out := y[16*s : 16*s+16]
		for l, v := range q {
			out[l] = float32(dl * float32(int(v>>shift&3)+int(high[l]>>(s/2)&1)<<2-4))
		}
	}
}

// scaleQ3K reads scale s of six bits: the low four in nibbles of the first
// eight bytes, the high two in the last four bytes.
func scaleQ3K(scales []byte, s int) byte {
	low := scales[s%8] >> (s / 8 * 4) & 15
	return low | scales[8+s%4]>>(s/4*2)&3<<4
}

// scaleMin reads scale and minimum s of eight, six bits each in twelve bytes,
// the layout of Q4_K and Q5_K: the first four of either are the low six bits of
// a byte, the other four are a nibble and the two bits left over above.
func scaleMin(p []byte, s int) (scale, minimum byte) {
	if s < 4 {
		return p[s] & 63, p[s+4] & 63
	}
	return p[s+4]&15 | p[s-4]>>6<<4, p[s+4]>>4 | p[s]>>6<<4
}

// decodeQ4K reads { half d, dmin; byte scales[12]; byte q[128] }: eight
// sub-blocks of 32 with w = (d·s)·q − dmin·m. Sub-blocks 2k and 2k+1 are the
// low and high halves of the same 32 bytes.
func decodeQ4K(b []byte, y []float32) {
	d, dmin := half(b), half(b[2:])
	for s := range 8 {
		scale, minimum := scaleMin(b[4:16], s)
		dl, ml := float32(d*float32(scale)), float32(dmin*float32(minimum))
		q := b[16+s/2*32 : 16+s/2*32+32]
		out := y[32*s : 32*s+32]
		shift := s % 2 * 4
		for l, v := range q {
			out[l] = float32(dl*float32(v>>shift&15)) - ml
		}
	}
}

// decodeQ5K reads { half d, dmin; byte scales[12]; byte high[32]; byte q[128] }:
// as Q4_K, with bit s of high[l] as the fifth bit of weight l of sub-block s.
func decodeQ5K(b []byte, y []float32) {
	d, dmin := half(b), half(b[2:])
	high := b[16:48]
	for s := range 8 {
		scale, minimum := scaleMin(b[4:16], s)
		dl, ml := float32(d*float32(scale)), float32(dmin*float32(minimum))
		q := b[48+s/2*32 : 48+s/2*32+32]
		out := y[32*s : 32*s+32]
		shift := s % 2 * 4
		for l, v := range q {
			out[l] = float32(dl*float32(v>>shift&15+high[l]>>s&1<<4)) - ml
		}
	}
}

// decodeQ6K reads { byte low[128]; byte high[64]; int8 scales[16]; half d }:
// sixteen sub-blocks of 16 with w = (d·s)·(q − 32). Each run of 128 weights has
// 64 bytes of low and 32 of high: quarter k of it takes nibble k/2 of the low
// bytes from 32(k%2), and bits 2k and 2k+1 of the high bytes.
func decodeQ6K(b []byte, y []float32) {
	d := half(b[208:])
	for s := range 16 {
		dl := float32(d * float32(int8(b[192+s])))
		low, high, nibble, pair := partsQ6K(b, s)
		out := y[16*s : 16*s+16]
		for l, v := range low {
			out[l] = float32(dl * float32(int(v>>nibble&15|high[l]>>pair&3<<4)-32))
		}
	}
}

// partsQ6K returns the sixteen low and high bytes of sub-block s of Q6_K and
// the shifts in them.
func partsQ6K(b []byte, s int) (low, high []byte, nibble, pair int) {
	run, k, odd := s/8, s%8/2, s%2*16
	at := run*64 + k%2*32 + odd
	return b[at : at+16], b[128+run*32+odd : 128+run*32+odd+16], k / 2 * 4, 2 * k
}

// decodeIQ4XS reads { half d; uint16 high; byte low[4]; byte q[128] }: eight
// sub-blocks of 32 with w = (d·(s − 32))·level(q); a scale has four bits in low
// and two in high.
func decodeIQ4XS(b []byte, y []float32) {
	d := half(b)
	high := binary.LittleEndian.Uint16(b[2:])
	for s := range 8 {
		scale := int(b[4+s/2]>>(s%2*4)&15) | int(high>>(2*s)&3)<<4
		decodeLevels(float32(d*float32(scale-32)), b[8+16*s:24+16*s], y[32*s:])
	}
}
