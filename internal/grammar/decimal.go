package grammar

import (
	"fmt"
	"strconv"
	"strings"
)

// decimal is an exact number: sign, digits before and after the point, without
// superfluous zeros. Zero has int "0", no fraction and no sign.
type decimal struct {
	neg       bool
	int, frac string
}

// parseDecimal reads a JSON number.
func parseDecimal(text string) (decimal, error) {
	d := decimal{}
	s := text
	if strings.HasPrefix(s, "-") {
		d.neg, s = true, s[1:]
	}
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		if exp, err = strconv.Atoi(s[i+1:]); err != nil || exp > maxDigits || exp < -maxDigits {
			return d, fmt.Errorf("number %.40s has an exponent beyond %d", text, maxDigits)
		}
		s = s[:i]
	}
	d.int, d.frac, _ = strings.Cut(s, ".")
	if len(s) > maxDigits {
		return d, fmt.Errorf("number %.40s... has more than %d digits", text, maxDigits)
	}
	for ; exp > 0; exp-- {
		if d.frac == "" {
			d.frac = "0"
		}
		d.int, d.frac = d.int+d.frac[:1], d.frac[1:]
	}
	for ; exp < 0; exp++ {
		if d.int == "" {
			d.int = "0"
		}
		d.int, d.frac = d.int[:len(d.int)-1], d.int[len(d.int)-1:]+d.frac
	}
	d.int = strings.TrimLeft(d.int, "0")
	d.frac = strings.TrimRight(d.frac, "0")
	if d.int == "" {
		d.int = "0"
	}
	d.neg = d.neg && !(d.int == "0" && d.frac == "")
	return d, nil
}

func (d decimal) isZero() bool { return d.int == "0" && d.frac == "" }

func (d decimal) negated() decimal {
	d.neg = !d.neg && !d.isZero()
	return d
}

// compare returns -1, 0 or 1.
func (d decimal) compare(e decimal) int {
	if d.neg != e.neg {
		if d.neg {
			return -1
		}
		return 1
	}
	c := len(d.int) - len(e.int)
	if c == 0 {
		c = strings.Compare(d.int, e.int)
	}
	if c == 0 {
		c = strings.Compare(d.frac, e.frac) // no trailing zeros
	}
	if d.neg {
		c = -c
	}
	return min(1, max(-1, c))
}

// nextInt returns the integer digits of the number after (by = 1) or before
// (by = -1) the one with these digits; it must not go below zero.
func nextInt(digits string, by int) string {
	b := []byte(digits)
	i := len(b) - 1
	for ; i >= 0; i-- {
		if by > 0 && b[i] != '9' {
			b[i]++
			break
		}
		if by < 0 && b[i] != '0' {
			b[i]--
			break
		}
		b[i] = byte('0' + (9-9*by)/2) // 9 becomes 0, 0 becomes 9
	}
	if i < 0 && by > 0 {
		return "1" + string(b)
	}
	if s := strings.TrimLeft(string(b), "0"); s != "" {
		return s
	}
	return "0"
}

// bound is one end of a range.
type bound struct {
	decimal
	open bool // the number itself is not in the range
}

// span is the range of a number, nil for no bound.
type span struct{ low, high *bound }

// tighten adds another range's bounds.
func (s *span) tighten(o span) {
	if o.low != nil {
		if c := 1; s.low != nil {
			if c = o.low.compare(s.low.decimal); c > 0 || (c == 0 && o.low.open) {
				s.low = o.low
			}
		} else {
			s.low = o.low
		}
	}
	if o.high != nil {
		if s.high == nil {
			s.high = o.high
		} else if c := o.high.compare(s.high.decimal); c < 0 || (c == 0 && o.high.open) {
			s.high = o.high
		}
	}
}

func (s span) has(d decimal) bool {
	if s.low != nil {
		if c := d.compare(s.low.decimal); c < 0 || (c == 0 && s.low.open) {
			return false
		}
	}
	if s.high != nil {
		if c := d.compare(s.high.decimal); c > 0 || (c == 0 && s.high.open) {
			return false
		}
	}
	return true
}

// negated is the range of the numbers -x.
func (s span) negated() span {
	var n span
	if s.high != nil {
		n.low = &bound{s.high.negated(), s.high.open}
	}
	if s.low != nil {
		n.high = &bound{s.low.negated(), s.low.open}
	}
	return n
}

// expr is the numbers in the range, written without exponent; without fraction
// if integers is set.
func (s span) expr(integers bool) *expr {
	zero := decimal{int: "0"}
	pos, neg := s, s.negated()
	pos.tighten(span{low: &bound{decimal: zero}})
	neg.tighten(span{low: &bound{decimal: zero, open: true}})
	return alt(pos.positive(integers), seq(lit("-"), neg.positive(integers)))
}

// positive is the same for a range whose low bound is zero or more.
func (s span) positive(integers bool) *expr {
	top := strings.Repeat("9", maxIntDigits)
	if len(s.low.int) > maxIntDigits {
		return nothing()
	}
	if s.high != nil && s.high.neg {
		return nothing()
	}
	if integers {
		low, high := s.low.int, top
		if s.low.frac != "" || s.low.open {
			low = nextInt(low, 1)
		}
		if s.high != nil && len(s.high.int) <= maxIntDigits {
			high = s.high.int
			if s.high.open && s.high.frac == "" {
				if high == "0" {
					return nothing()
				}
				high = nextInt(high, -1)
			}
		}
		return intRange(low, high)
	}
	high := s.high
	if high == nil || len(high.int) > maxIntDigits {
		high = &bound{decimal: decimal{int: top, frac: strings.Repeat("9", maxFracDigits)}}
	}
	if s.low.compare(high.decimal) > 0 {
		return nothing()
	}
	if s.low.int == high.int {
		return seq(lit(high.int), fraction(s.low, high))
	}
	alts := []*expr{seq(lit(s.low.int), fraction(s.low, nil)), seq(lit(high.int), fraction(nil, high))}
	if from, to := nextInt(s.low.int, 1), nextInt(high.int, -1); atMost(from, to) {
		alts = append(alts, seq(intRange(from, to), fraction(nil, nil)))
	}
	return alt(alts...)
}

// atMost compares digits: a is b or less.
func atMost(a, b string) bool { return len(a) < len(b) || (len(a) == len(b) && a <= b) }

// intRange is the integers from low to high, both digits without sign.
func intRange(low, high string) *expr {
	if !atMost(low, high) {
		return nothing()
	}
	var alts []*expr
	full := 0 // first length of a run of lengths that are wholly in the range
	for n := len(low); n <= len(high); n++ {
		from, to := "1"+strings.Repeat("0", n-1), strings.Repeat("9", n)
		if n == len(low) {
			from = low
		}
		if n == len(high) {
			to = high
		}
		if n > 1 && from == "1"+strings.Repeat("0", n-1) && to == strings.Repeat("9", n) {
			if full == 0 {
				full = n
			}
			if n < len(high) {
				continue
			}
			alts = append(alts, seq(nonzero, repeat(digit, full-1, n-1)))
			continue
		}
		if full > 0 {
			alts = append(alts, seq(nonzero, repeat(digit, full-1, n-2)))
			full = 0
		}
		alts = append(alts, digitRange(from, to))
	}
	return alt(alts...)
}

// digitRange is the digit strings from low to high, of the same length.
func digitRange(low, high string) *expr {
	n := len(low)
	if n == 0 {
		return lit("")
	}
	if low == strings.Repeat("0", n) && high == strings.Repeat("9", n) {
		return repeat(digit, n, n)
	}
	l, h := rune(low[0]), rune(high[0])
	if l == h {
		return seq(lit(low[:1]), digitRange(low[1:], high[1:]))
	}
	zeros, nines := strings.Repeat("0", n-1), strings.Repeat("9", n-1)
	var alts []*expr
	if low[1:] != zeros {
		alts = append(alts, seq(lit(low[:1]), digitRange(low[1:], nines)))
		l++
	}
	if high[1:] != nines {
		alts = append(alts, seq(lit(high[:1]), digitRange(zeros, high[1:])))
		h--
	}
	if l <= h {
		alts = append(alts, seq(chars(l, h), repeat(digit, n-1, n-1)))
	}
	return alt(alts...)
}

// fraction is what may follow the integer digits of a bound: nothing, or a
// point and digits, that keep the number on the right side of the bounds given.
func fraction(low, high *bound) *expr {
	f := fractions{low: low, high: high}
	digits := f.digits(0, low != nil, high != nil, true)
	if f.mayEnd(0, low != nil, high != nil) {
		return optional(seq(lit("."), digits))
	}
	return seq(lit("."), digits)
}

type fractions struct{ low, high *bound }

// mayEnd reports whether a number may end after i digits that equal those of
// the low bound, the high bound, or both.
func (f fractions) mayEnd(i int, onLow, onHigh bool) bool {
	if onLow && (i < len(f.low.frac) || f.low.open) {
		return false
	}
	return !onHigh || i < len(f.high.frac) || !f.high.open
}

// digits is the digits from place i on; at least one, if first is set.
func (f fractions) digits(i int, onLow, onHigh, first bool) *expr {
	left := maxFracDigits - i
	if left <= 0 {
		return nothing()
	}
	if !onLow && !onHigh {
		if first {
			return repeat(digit, 1, left)
		}
		return repeat(digit, 0, left)
	}
	lo, hi := rune('0'), rune('9')
	if onLow && i < len(f.low.frac) {
		lo = rune(f.low.frac[i])
	}
	if onHigh {
		hi = '0'
		if i < len(f.high.frac) {
			hi = rune(f.high.frac[i])
		}
	}
	if lo > hi {
		return nothing()
	}
	var alts []*expr
	next := func(d rune, low, high bool) {
		rest := f.digits(i+1, low, high, false)
		if f.mayEnd(i+1, low, high) {
			rest = optional(rest)
		}
		alts = append(alts, seq(lit(string(d)), rest))
	}
	if onLow && onHigh && lo == hi {
		next(lo, true, true)
		return alt(alts...)
	}
	if onLow {
		next(lo, true, false)
		lo++
	}
	if onHigh {
		next(hi, false, true)
		hi--
	}
	if lo <= hi {
		alts = append(alts, seq(chars(lo, hi), repeat(digit, 0, left-1)))
	}
	return alt(alts...)
}
