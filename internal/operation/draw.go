package operation

import (
	"encoding/binary"
	"math"

	"github.com/avalnetwork/aval/internal/sample"
)

// drawing is the choice at a temperature above 0: chains over the tiles of the
// logits. The candidates that the filters leave are not listed; whether a token
// is one follows from its logit, its id and the last leaves of the chains.
type drawing struct {
	*builder
	params sample.Params
	z      vector
	tiles  int
	set    candidates
}

// candidates tells who is left.
type candidates struct {
	top  int     // chain whose last leaf is the largest logit
	cuts []int   // chains whose last leaves are cuts
	minP float32 // 0: not yet
}

// A cut keeps tokens of a larger key, and those of its key up to an id. As a
// leaf it is the key, how much is still to be kept, and the id.
const (
	cutKey, cutNeed, cutID, cutBytes = 0, 4, 12, 16
	digits                           = 4 // of a key, a byte each
)

// draw adds sections 4.1 and 4.3 to 4.6 of spec/sampling.md.
func (b *builder) draw(z vector, c OutputCell) {
	d := &drawing{builder: b, params: c.Params, z: z, tiles: (z.n + tileLen - 1) / tileLen}
	p := &d.params
	d.largest()
	if p.TopK > 0 {
		d.cut("top_k", 4, func(z, top float32) uint64 { return 1 }, func(total uint64) uint64 { return min(uint64(p.TopK), total) })
	}
	if p.TopP > 0 && p.TopP < 1 {
		d.cut("top_p", 8, func(z, top float32) uint64 { return sample.Weight(z, top, 1) }, func(total uint64) uint64 { return sample.Share(total, p.TopP) })
	}
	d.set.minP = p.MinP
	d.pick(c.Index)
}

func getInt(b []byte) uint64    { return binary.LittleEndian.Uint64(b) }
func putInt(b []byte, n uint64) { binary.LittleEndian.PutUint64(b, n) }

// scan adds a chain over the tiles of the logits, with a state of size bytes;
// ask adds to what a leaf needs, before the tile.
func (d *drawing) scan(name string, size int, ask func(l *needs, leaf int), eval func(s *step)) int {
	self := d.next()
	return d.add(name, records(d.tiles, size), func(l *needs, leaf int) {
		if leaf > 0 {
			l.chain(self, leaf-1)
		}
		ask(l, leaf)
		l.vector(d.z, leaf*tileLen, min((leaf+1)*tileLen, d.z.n))
	}, eval)
}

// last asks for the last leaf of a chain.
func (d *drawing) last(l *needs, chain int) { l.leaf(chain, d.tiles-1) }

// ask asks for what each needs.
func (d *drawing) ask(l *needs, set candidates) {
	d.last(l, set.top)
	for _, c := range set.cuts {
		d.last(l, c)
	}
}

// each calls f for the candidates of a tile, in the order of their ids. The
// inputs of the leaf begin with those of ask and end with the tile.
func (set candidates) each(s *step, f func(id int, z, top float32)) {
	top, tile := float(s.in[0], 0), s.in[len(s.in)-1]
	for i := range len(tile) / 4 {
		id, z := s.leaf*tileLen+i, float(tile, i)
		kept := z > float32(math.Inf(-1))
		for j := range set.cuts {
			kept = kept && keeps(s.in[1+j], z, id)
		}
		if kept && (set.minP == 0 || sample.Relative(z, top, 1) >= set.minP) {
			f(id, z, top)
		}
	}
}

func keeps(cut []byte, z float32, id int) bool {
	key, least := sample.Key(z), binary.LittleEndian.Uint32(cut[cutKey:])
	return key > least || key == least && id <= int(int32(binary.LittleEndian.Uint32(cut[cutID:])))
}

// largest adds the chain of the largest logit. After a NaN it stays NaN, and
// nothing has any weight beside that.
func (d *drawing) largest() {
	d.set.top = d.scan("top", 4, func(*needs, int) {}, func(s *step) {
		m := float32(math.Inf(-1))
		if s.prev != nil {
			m = float(s.prev, 0)
		}
		for i := range len(s.in[0]) / 4 {
			if v := float(s.in[0], i); v > m || v != v {
				m = v
			}
		}
		put(s.out, 0, m)
	})
}

// cut adds what keeps the first of the candidates in the order of their ranks,
// until their weights sum to what need makes of the sum of all. It finds the
// key of the last one byte by byte: a chain of histograms, then the byte; and
// at last, among the candidates of that key, its id.
func (d *drawing) cut(name string, width int, weight func(z, top float32) uint64, need func(total uint64) uint64) {
	set := d.set
	prefix := -1
	for digit := range digits {
		shift := 24 - 8*digit
		before := prefix
		histogram := d.scan(name+".histogram", width*buckets, func(l *needs, _ int) {
			d.ask(l, set)
			if before >= 0 {
				l.leaf(before, 0)
			}
		}, func(s *step) {
			copy(s.out, s.prev)
			known := uint32(0)
			if before >= 0 {
				known = binary.LittleEndian.Uint32(s.in[len(s.in)-2])
			}
			set.each(s, func(_ int, z, top float32) {
				key := sample.Key(z)
				if digit > 0 && key>>(shift+8) != known>>(shift+8) {
					return
				}
				at := s.out[int(key>>shift&(buckets-1))*width:]
				if width == 4 {
					add32(at, uint32(weight(z, top)))
				} else {
					putInt(at, getInt(at)+weight(z, top))
				}
			})
		})
		prefix = d.add(name+".digit", records(1, cutID), func(l *needs, _ int) {
			d.last(l, histogram)
			if before >= 0 {
				l.leaf(before, 0)
			}
		}, func(s *step) {
			var counts [buckets]uint64
			total := uint64(0)
			for i := range counts {
				if counts[i] = uint64(binary.LittleEndian.Uint32(s.in[0][i*width:])); width == 8 {
					counts[i] = getInt(s.in[0][i*width:])
				}
				total += counts[i]
			}
			key, left := uint32(0), uint64(0)
			if before >= 0 {
				key, left = binary.LittleEndian.Uint32(s.in[1]), getInt(s.in[1][cutNeed:])
			} else {
				left = need(total)
			}
			i := buckets - 1
			for ; i > 0 && counts[i] < left; i-- {
				left -= counts[i]
			}
			binary.LittleEndian.PutUint32(s.out, key|uint32(i)<<shift)
			putInt(s.out[cutNeed:], left)
		})
	}
	d.set.cuts = append(d.set.cuts[:len(d.set.cuts):len(d.set.cuts)], d.scan(name, cutBytes, func(l *needs, _ int) {
		d.ask(l, set)
		l.leaf(prefix, 0)
	}, func(s *step) {
		binary.LittleEndian.PutUint32(s.out[cutID:], math.MaxUint32) // -1, none
		copy(s.out, s.in[len(s.in)-2])
		copy(s.out, s.prev)
		least, left := binary.LittleEndian.Uint32(s.out), getInt(s.out[cutNeed:])
		set.each(s, func(id int, z, top float32) {
			if sample.Key(z) == least && left > 0 {
				left -= min(left, weight(z, top))
				binary.LittleEndian.PutUint32(s.out[cutID:], uint32(id))
			}
		})
		putInt(s.out[cutNeed:], left)
	}))
}

// pick adds the draw: the sums of the weights up to each tile, the point that
// the seed gives, and the chain that finds the candidate whose weight reaches
// beyond it.
func (d *drawing) pick(index int) {
	set, p := d.set, &d.params
	sums := d.scan("weights", 8, func(l *needs, _ int) { d.ask(l, set) }, func(s *step) {
		copy(s.out, s.prev)
		total := getInt(s.out)
		set.each(s, func(_ int, z, top float32) { total += sample.Weight(z, top, p.Temperature) })
		putInt(s.out, total)
	})
	point := d.add("point", records(1, 8), func(l *needs, _ int) { d.last(l, sums) }, func(s *step) {
		putInt(s.out, sample.Point(p.Seed, index, getInt(s.in[0])))
	})
	d.token(d.scan("pick", 4, func(l *needs, leaf int) {
		d.ask(l, set)
		l.leaf(point, 0)
		if leaf > 0 {
			l.leaf(sums, leaf-1)
		}
	}, func(s *step) {
		if s.prev != nil && int32(binary.LittleEndian.Uint32(s.prev)) >= 0 {
			copy(s.out, s.prev)
			return
		}
		at := 1 + len(set.cuts)
		x, sum := getInt(s.in[at]), uint64(0)
		if s.leaf > 0 {
			sum = getInt(s.in[at+1])
		}
		found := int32(-1)
		set.each(s, func(id int, z, top float32) {
			if sum += sample.Weight(z, top, p.Temperature); found < 0 && sum > x {
				found = int32(id)
			}
		})
		binary.LittleEndian.PutUint32(s.out, uint32(found))
	}))
}
