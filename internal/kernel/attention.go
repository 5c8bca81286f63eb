package kernel

import (
	"encoding/binary"
	"math"
)

// PageLen is the number of positions of a [Page].
const PageLen = 256

// Page holds the keys and values of [PageLen] positions, binary16, for every
// layer and key-value head, one after the other, [KVSize] numbers each. Keys
// lie [16 panels][dim][16 positions], values [dim/16][256 positions][16], so
// that both are panels for the product of a tile. A new page is zero, and what
// is stored is finite.
type Page struct {
	Data []uint16
}

// KVSize returns the numbers that one head of one layer takes in a page.
func KVSize(dim int) int { return PageLen * (dim + roundUp(dim, Panel)) }

// Store puts the key and the value of one position of one head into kv, its
// [KVSize] numbers of a page; pos is the position within the page.
func Store(kv []uint16, pos int, key, value []float32) {
	dim := len(key)
	k := kv[pos/Panel*dim*Panel+pos%Panel:]
	for d, x := range key {
		k[d*Panel] = ToF16Sat(x)
	}
	v := kv[PageLen*dim:]
	for d, x := range value {
		v[(d/Panel*PageLen+pos)*Panel+d%Panel] = ToF16Sat(x)
	}
}

// Export writes the key and the value of a position, which Store put into kv,
// as f16, little endian; key and value have two bytes an element.
func Export(key, value []byte, kv []uint16, pos int) {
	dim := len(key) / 2
	k := kv[pos/Panel*dim*Panel+pos%Panel:]
	for d := range dim {
		binary.LittleEndian.PutUint16(key[2*d:], k[d*Panel])
	}
	v := kv[PageLen*dim:]
	for d := range dim {
		binary.LittleEndian.PutUint16(value[2*d:], v[(d/Panel*PageLen+pos)*Panel+d%Panel])
	}
}

// Import puts into kv what Export gave of positions from pos on, all of one
// panel. They must be finite.
func Import(kv []uint16, pos int, keys, values [][]byte) {
	if len(keys) == 0 {
		return
	}
	dim := len(keys[0]) / 2
	k := kv[pos/Panel*dim*Panel+pos%Panel:]
	i := 0
	for ; i+4 <= len(keys); i += 4 {
		importFour(k[i:], keys[i], keys[i+1], keys[i+2], keys[i+3])
	}
	for ; i < len(keys); i++ {
		for d := range dim {
			k[d*Panel+i] = binary.LittleEndian.Uint16(keys[i][2*d:])
		}
	}
	v := kv[PageLen*dim:]
	for i, value := range values {
		for d := 0; d < dim; d += Panel {
			dst := v[(d/Panel*PageLen+pos+i)*Panel:][:min(Panel, dim-d)]
			src := value[2*d:][:2*len(dst)]
			for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
				putFour(dst, binary.LittleEndian.Uint64(src))
			}
			for e := range dst {
				dst[e] = binary.LittleEndian.Uint16(src[2*e:])
			}
		}
	}
}

// importFour puts the keys of four positions side by side into a panel.
func importFour(dst []uint16, a, b, c, e []byte) {
	const even = 0x0000ffff_0000ffff
	n := len(a)
	b, c, e = b[:n], c[:n], e[:n]
	d := 0 // bytes, of two an element
	for ; d+8 <= n; d += 8 {
		// A matrix of four by four elements is turned: pairs, then pairs of pairs.
		w, x := binary.LittleEndian.Uint64(a[d:]), binary.LittleEndian.Uint64(b[d:])
		y, z := binary.LittleEndian.Uint64(c[d:]), binary.LittleEndian.Uint64(e[d:])
		w, x = w&even|x&even<<16, w>>16&even|x&^even
		y, z = y&even|z&even<<16, y>>16&even|z&^even
		at := dst[d/2*Panel:][:3*Panel+4]
		putFour(at, w&math.MaxUint32|y<<32)
		putFour(at[Panel:], x&math.MaxUint32|z<<32)
		putFour(at[2*Panel:], w>>32|y&^math.MaxUint32)
		putFour(at[3*Panel:], x>>32|z&^math.MaxUint32)
	}
	for ; d < n; d += 2 {
		for i, s := range [4][]byte{a, b, c, e} {
			dst[d/2*Panel+i] = binary.LittleEndian.Uint16(s[d:])
		}
	}
}

// putFour sets four elements to the parts of w, the lowest one first.
func putFour(dst []uint16, w uint64) {
	_ = dst[3]
	dst[0], dst[1], dst[2], dst[3] = uint16(w), uint16(w>>16), uint16(w>>32), uint16(w>>48)
}

// Heads describes the attention of one key-value head.
type Heads struct {
	Dim     int     // elements of a head
	Group   int     // query heads that share the key-value head
	Scale   float32 // of the scores
	Softcap float32 // scores become cap * tanh(score / cap); 0 for none
	Window  int     // positions a query sees, itself included; 0 for all
}

// Attend computes softmax(q k^T * scale) v for the queries of consecutive
// positions that share one key-value head. q and out are [n][Group][Dim]; the
// first query stands at position pos and sees positions 0 to pos, the next one
// more. pages hold the keys and values from position 0 on, those of this layer
// and head at off.
func (k *Kernel) Attend(out, q []float32, h *Heads, pages []*Page, off, pos int, s *Scratch) {
	dim := h.Dim
	dp := (dim + Panel - 1) / Panel
	rows := len(q) / dim
	for r0 := 0; r0 < rows; {
		t := tileSize(rows - r0)
		first, last := pos+r0/h.Group, pos+(r0+t-1)/h.Group
		start := 0 // panel of the first position seen, at a block's edge
		if h.Window > 0 {
			start = max(0, first+1-h.Window) / Block * 2
		}
		panels := last/Panel + 1 - start
		s.reserve(t, panels, dp)
		packQueries(s.query, q[r0*dim:], t, dim)

		for p := range panels {
			page := pages[(start+p)/(PageLen/Panel)].Data[off:]
			keys := &page[(start+p)%(PageLen/Panel)*dim*Panel]
			k.tileF16(t, &s.scores[p*t*Panel], keys, &s.query[0], dim, 0)
		}
		var sums [maxTile]float32
		for i := range t {
			hi := pos + (r0+i)/h.Group + 1
			lo := 0
			if h.Window > 0 {
				lo = max(0, hi-h.Window)
			}
			scale := h.Scale
			if h.Softcap > 0 {
				softcap(s.scores[i*Panel:], t*Panel, lo-start*Panel, hi-start*Panel, scale, h.Softcap)
				scale = 1
			}
			mask(s.scores[i*Panel:], t*Panel, 0, lo-start*Panel)
			mask(s.scores[i*Panel:], t*Panel, hi-start*Panel, panels*Panel)
			sums[i] = k.softmax(&s.scores[i*Panel], t*Panel, panels, scale)
		}
		for p := 0; p < panels; {
			in := (start + p) % (PageLen / Panel) // panel in its page
			n := min(PageLen/Panel-in, panels-p)
			values := pages[(start+p)/(PageLen/Panel)].Data[off+PageLen*dim:]
			for d := range dp {
				k.tileF16(t, &s.heads[d*t*Panel], &values[(d*PageLen+in*Panel)*Panel], &s.scores[p*t*Panel], n*Panel, p)
			}
			p += n
		}
		for i := range t {
			o := out[(r0+i)*dim:][:dim]
			for d := range o {
				o[d] = float32(s.heads[(d/Panel*t+i)*Panel+d%Panel] / sums[i])
			}
		}
		r0 += t
	}
}

// reserve makes room for the scores of t queries over panels positions.
func (s *Scratch) reserve(t, panels, dp int) {
	if len(s.scores) < maxTile*panels*Panel {
		s.scores = alignedFloats(maxTile * roundUp(panels, PageLen/Panel) * 2 * Panel)
	}
	if len(s.query) < maxTile*dp*Panel {
		s.query = alignedFloats(maxTile * dp * Panel)
		s.heads = alignedFloats(maxTile * dp * Panel)
	}
}

// packQueries lays out t queries as a tile, [dim/16][t][16].
func packQueries(dst, q []float32, t, dim int) {
	for i := range t {
		for d := 0; d < dim; d += Panel {
			x := dst[(d/Panel*t+i)*Panel:][:Panel]
			clear(x[copy(x, q[i*dim+d:(i+1)*dim]):])
		}
	}
}

// mask sets the scores of positions lo to hi to minus infinity.
func mask(s []float32, stride, lo, hi int) {
	for p := lo; p < hi; p++ {
		s[p/Panel*stride+p%Panel] = float32(math.Inf(-1))
	}
}

func softcap(s []float32, stride, lo, hi int, scale, limit float32) {
	for p := max(lo, 0); p < hi; p++ {
		e := &s[p/Panel*stride+p%Panel]
		*e = Softcap(float32(*e*scale), limit)
	}
}

// Softcap returns limit * tanh(x / limit).
func Softcap(x, limit float32) float32 {
	return float32(limit * Tanh(float32(x/limit)))
}
