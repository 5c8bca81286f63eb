package kernel

import "unsafe"

// Softmax replaces scores by exp(s_i * scale - m), with m the largest of the
// products, and returns the sum of the results (spec/numerics.md, section 7).
// len(s) is a multiple of 16. A position that is not seen holds minus infinity
// and becomes +0; at least one must be seen.
func (k *Kernel) Softmax(s []float32, scale float32) float32 {
	if len(s)%Panel != 0 {
		panic("kernel: internal error: scores are not whole panels")
	}
	return k.softmax(&s[0], Panel, len(s)/Panel, scale)
}

// Weights writes the weights of panel p of m as float32, [16][m.Cols]: the
// numbers that [Matrix.Row] gives, several rows at the price of one. Rows that
// only fill the last panel are zero.
func (k *Kernel) Weights(dst []float32, m *Matrix, p int, s *Scratch) {
	if len(dst) < Panel*m.Cols {
		panic("kernel: internal error: no room for a panel of weights")
	}
	data := m.panelData(p)
	switch m.Format {
	case F32:
		src := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), m.Cols*Panel)
		for r := range Panel {
			row := dst[r*m.Cols:][:m.Cols]
			for c := range row {
				row[c] = src[c*Panel+r]
			}
		}
		return
	case F16, BF16:
		widen := FromF16
		if m.Format == BF16 {
			widen = FromBF16
		}
		src := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(data))), m.Cols*Panel)
		for r := range Panel {
			row := dst[r*m.Cols:][:m.Cols]
			for c := range row {
				row[c] = widen(src[c*Panel+r])
			}
		}
		return
	}
	l := &layouts[m.Format]
	nb := m.Cols / Block
	for g := 0; g*groupBlocks < nb; g++ {
		codes, scales, n := l.group(data, g, nb)
		k.unpack[l.planes](&s.codes[0], &codes[0], n, byte(128-l.zero))
		k.scales[l.scaling](&s.scales[0], &s.offsets[0], &scales[0], n)
		for b := range n {
			for r := range Panel {
				l.blockRow(dst[r*m.Cols+g*superBlock+b*Block:][:Block], s, b, r)
			}
		}
	}
}

// blockRow writes block b of row r of the group of blocks that is unpacked in
// s.
func (l *layout) blockRow(dst []float32, s *Scratch, b, r int) {
	d, codes := (*[Block]float32)(dst), (*[512]byte)(s.codes[b*512:])
	if !l.half {
		widen(d, codes, r, 0, 8, s.scales[b*Panel+r])
		if l.offset {
			shift(d[:], s.offsets[b*Panel+r])
		}
		return
	}
	for h := range 2 {
		i := (b*2+h)*Panel + r
		widen(d, codes, r, h*4, h*4+4, s.scales[i])
		if l.offset {
			shift(d[h*Block/2:][:Block/2], s.offsets[i])
		}
	}
}

// widen writes scale * code for the column groups from to to-1 of row r.
func widen(d *[Block]float32, codes *[512]byte, r, from, to int, scale float32) {
	for g := from; g < to; g++ {
		i, j := (g*64+r*4)&508, g*4&28
		d[j] = float32(scale * float32(int32(codes[i])-128))
		d[j+1] = float32(scale * float32(int32(codes[i+1])-128))
		d[j+2] = float32(scale * float32(int32(codes[i+2])-128))
		d[j+3] = float32(scale * float32(int32(codes[i+3])-128))
	}
}

func shift(d []float32, offset float32) {
	for c := range d {
		d[c] += offset
	}
}
