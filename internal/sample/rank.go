package sample

import (
	"math"
	"slices"

	"github.com/avalnetwork/aval/internal/kernel"
)

// A key is a logit's bits, rearranged so that unsigned comparison of keys is
// comparison of the logits, with -0 equal to +0.

// Both ways are free of branches, which would be guessed wrong half the time.

func keyOf(z float32) uint32 {
	b := math.Float32bits(z + 0) // -0 becomes +0
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

func logitOf(key uint32) float32 {
	return math.Float32frombits(key ^ (uint32(int32(^key)>>31) | 1<<31))
}

// candidates are the tokens still in the running, in ascending order of id.
// All three slices have one element per candidate.
type candidates struct {
	ids     []int32
	keys    []uint32
	weights []uint64
	hist    [4096]uint64 // scratch of cut
	kernel  *kernel.Kernel
	block   [512]float32          // scratch of weigh
	parts   [kernel.Panel]float32 // the same
}

func (c *candidates) reset() {
	c.ids, c.keys, c.weights = c.ids[:0], c.keys[:0], c.weights[:0]
}

func (c *candidates) add(id int32, z float32) {
	c.ids = append(c.ids, id)
	c.keys = append(c.keys, keyOf(z))
}

// all makes every token a candidate whose logit is more than -Inf, and returns
// the largest logit.
func (c *candidates) all(z []float32) (float32, error) {
	c.ids = slices.Grow(c.ids[:0], len(z))[:len(z)]
	c.keys = slices.Grow(c.keys[:0], len(z))[:len(z)]
	ids, keys := c.ids, c.keys
	none := float32(math.Inf(-1))
	top, n := none, 0
	for i, v := range z {
		if !(v <= top) { // larger, or NaN
			if v != v {
				return 0, nanError(i)
			}
			top = v
		}
		ids[n], keys[n] = int32(i), keyOf(v)
		if v > none {
			n++
		}
	}
	c.truncate(n)
	return top, nil
}

// cut keeps the shortest prefix, in rank order (larger logit first, then lower
// id), whose weights sum to at least need, which must be positive; all if the
// sum is less. If count is set, each weight counts as one.
//
// It finds the last kept key digit by digit, twelve, twelve and eight bits,
// by the weight in each digit's bucket: three passes whatever the values are.
// Integer weights make the order of summing immaterial.
func (c *candidates) cut(need uint64, count bool) {
	var last uint32
	for _, digit := range [...]struct{ shift, bits uint }{{20, 12}, {8, 12}, {0, 8}} {
		hist := c.hist[:1<<digit.bits]
		clear(hist)
		above := digit.shift + digit.bits // bits already decided; 32 at first, a shift that gives 0
		for i, k := range c.keys {
			if k>>above != last>>above {
				continue
			}
			w := uint64(1)
			if !count {
				w = c.weights[i]
			}
			hist[k>>digit.shift&uint32(len(hist)-1)] += w
		}
		b := len(hist) - 1
		for ; b >= 0 && hist[b] < need; b-- {
			need -= hist[b]
		}
		if b < 0 {
			return // the sum is less than need
		}
		last |= uint32(b) << digit.shift
	}
	c.keepFrom(last, need, count)
}

// keepFrom drops candidates below the key last, and of those with that key all
// but the first whose weights reach need.
func (c *candidates) keepFrom(last uint32, need uint64, count bool) {
	n := 0
	for i, k := range c.keys {
		if k < last {
			continue
		}
		w := uint64(1)
		if !count {
			w = c.weights[i]
		}
		if k == last {
			if need == 0 {
				continue
			}
			need -= min(need, w)
		}
		c.move(n, i, count)
		n++
	}
	c.truncate(n)
}

func (c *candidates) move(to, from int, count bool) {
	c.ids[to], c.keys[to] = c.ids[from], c.keys[from]
	if !count {
		c.weights[to] = c.weights[from]
	}
}

func (c *candidates) truncate(n int) {
	c.ids, c.keys = c.ids[:n], c.keys[:n]
	if len(c.weights) > n {
		c.weights = c.weights[:n]
	}
}
