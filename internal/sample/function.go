package sample

// The steps of spec/sampling.md as functions, for those who repeat a single
// one of them.

// Key maps a logit to an integer in the order of the ranks: a larger logit has
// a larger key, and -0 that of +0. Tokens of the same key rank by their ids.
func Key(z float32) uint32 { return keyOf(z) }

// Weight is W_t(z) of section 5, with m the largest logit.
func Weight(z, m, t float32) uint64 { return weight(z, m, t) }

// Relative is E_t(z) of section 5.
func Relative(z, m, t float32) float32 { return relative(z, m, t) }

// Share is what the weights of the first ranks must sum to at least, to hold
// the share p of total (section 4, step 4).
func Share(total uint64, p float32) uint64 { return share(total, p) }

// Point is x of section 4, step 6: what the seed draws for the token of this
// index among weights that sum to total.
func Point(seed uint64, index int, total uint64) uint64 {
	var s source
	return scale(s.number(seed, uint64(index)), total)
}

// Penalises reports whether the penalties of p change any logit.
func (p *Params) Penalises() bool { return p.penalises() }

// Window is the number of tokens at the end of a history of n that the
// penalties look at.
func (p *Params) Window(n int) int {
	switch last := p.RepeatLastN; {
	case last == 0:
		return min(n, DefaultRepeatLastN)
	case last < 0:
		return n
	default:
		return min(n, last)
	}
}

// Penalise changes the logit of a token that occurs n > 0 times in the window
// (section 3, step 2).
func (p *Params) Penalise(z float32, n int32) float32 { return p.penalise(z, n) }
