package grammar

import (
	"slices"
	"unicode/utf8"
)

// A runeSet is a set of Unicode scalar values: sorted, disjoint, not adjacent
// ranges, surrogates excluded.
type runeSet []runeRange

type runeRange struct{ lo, hi rune }

const (
	surrogateLow  = 0xd800
	surrogateHigh = 0xdfff
)

func singleRune(r rune) runeSet { return runeSet{{r, r}} }

func anyRune() runeSet {
	return runeSet{{0, surrogateLow - 1}, {surrogateHigh + 1, utf8.MaxRune}}
}

// newRuneSet sorts and joins ranges and leaves out surrogates.
func newRuneSet(ranges []runeRange) runeSet {
	rs := slices.Clone(ranges)
	slices.SortFunc(rs, func(a, b runeRange) int { return int(a.lo) - int(b.lo) })
	var joined runeSet
	for _, r := range rs {
		if n := len(joined); n > 0 && r.lo <= joined[n-1].hi+1 {
			joined[n-1].hi = max(joined[n-1].hi, r.hi)
			continue
		}
		joined = append(joined, r)
	}
	return joined.and(anyRune())
}

func (s runeSet) not() runeSet {
	var out []runeRange
	next := rune(0)
	for _, r := range s {
		if r.lo > next {
			out = append(out, runeRange{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, runeRange{next, utf8.MaxRune})
	}
	return runeSet(out).and(anyRune())
}

func (s runeSet) and(t runeSet) runeSet {
	var out runeSet
	for i, j := 0, 0; i < len(s) && j < len(t); {
		lo, hi := max(s[i].lo, t[j].lo), min(s[i].hi, t[j].hi)
		if lo <= hi {
			out = append(out, runeRange{lo, hi})
		}
		if s[i].hi < t[j].hi {
			i++
		} else {
			j++
		}
	}
	return out
}

func (s runeSet) has(r rune) bool {
	for _, x := range s {
		if x.lo <= r && r <= x.hi {
			return true
		}
	}
	return false
}

// byteRange is one step of a UTF-8 sequence.
type byteRange struct{ lo, hi byte }

// utf8Sequences calls yield with sequences of byte ranges that together match
// exactly the UTF-8 of the set.
func (s runeSet) utf8Sequences(yield func([]byteRange)) {
	for _, r := range s {
		lo := r.lo
		for _, limit := range [...]rune{0x7f, 0x7ff, 0xffff, utf8.MaxRune} {
			if lo > limit || lo > r.hi {
				continue
			}
			splitUTF8(lo, min(limit, r.hi), yield)
			lo = limit + 1
		}
	}
}

// splitUTF8 handles lo to hi of one encoded length: it splits where a
// continuation byte does not run over its whole range below equal prefixes.
func splitUTF8(lo, hi rune, yield func([]byteRange)) {
	for i := 1; i < utf8.RuneLen(hi); i++ {
		m := rune(1)<<(6*i) - 1
		if lo&^m == hi&^m {
			continue
		}
		if lo&m != 0 {
			splitUTF8(lo, lo|m, yield)
			splitUTF8(lo|m+1, hi, yield)
			return
		}
		if hi&m != m {
			splitUTF8(lo, hi&^m-1, yield)
			splitUTF8(hi&^m, hi, yield)
			return
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	seq := make([]byteRange, len(a))
	for i := range a {
		seq[i] = byteRange{a[i], b[i]}
	}
	yield(seq)
}
