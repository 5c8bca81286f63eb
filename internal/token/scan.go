package token

import (
	"unicode/utf8"
)

// seg is a stretch of text as characters and their classes.
type seg struct {
	r []rune
	c []class
}

// is reports whether the character at i exists and has one of the classes.
func (s seg) is(i int, set class) bool { return i < len(s.c) && s.c[i]&set != 0 }

// not reports whether the character at i exists and has none of the classes.
func (s seg) not(i int, set class) bool { return i < len(s.c) && s.c[i]&set == 0 }

// at returns the character at i, or -1 beyond the end.
func (s seg) at(i int) rune {
	if i < len(s.r) {
		return s.r[i]
	}
	return -1
}

// run returns the end of the run of these classes at i.
func (s seg) run(i int, set class) int {
	for i < len(s.c) && s.c[i]&set != 0 {
		i++
	}
	return i
}

// runNot returns the end of the run without these classes at i.
func (s seg) runNot(i int, set class) int {
	for i < len(s.c) && s.c[i]&set == 0 {
		i++
	}
	return i
}

// A stage cuts a piece of text: it calls emit with the end of each part, in
// order, the last being the end of the piece. It never sees beyond its piece.
type stage func(s seg, emit func(end int))

// A scanner looks for a word that begins exactly at i. It returns the word's
// end and true; or false and the next place where a word may begin, which lets
// a scanner that has looked far ahead in vain skip what it has seen, so that
// the whole walk stays linear.
type scanner func(s seg, i int) (next int, ok bool)

// each is the stage that finds a scanner's words from left to right. What lies
// between two words is a part too.
func each(scan scanner) stage {
	return func(s seg, emit func(end int)) {
		gap := 0 // start of what no word has covered
		for i := 0; i < len(s.r); {
			next, ok := scan(s, i)
			if !ok {
				i = max(next, i+1)
				continue
			}
			if i > gap {
				emit(i)
			}
			emit(next)
			i, gap = next, next
		}
		if gap < len(s.r) {
			emit(len(s.r))
		}
	}
}

// splitter cuts text into words by stages: the first cuts the text, the second
// each part that the first left, and so on.
type splitter struct {
	stages []stage

	runes  []rune
	class  []class
	bounds []int32 // ends of the parts
	spare  []int32
}

// load takes valid UTF-8.
func (p *splitter) load(text string) {
	table := classes()
	p.runes, p.class = p.runes[:0], p.class[:0]
	for _, r := range text {
		p.runes = append(p.runes, r)
		p.class = append(p.class, table[r])
	}
}

// words calls yield with each word of the text, in order; together they are
// the text. Empty text has no words.
func (p *splitter) words(text string, yield func(word string)) {
	p.load(text)
	p.bounds = append(p.bounds[:0], int32(len(p.runes)))
	for _, cut := range p.stages {
		p.apply(cut)
	}
	start, r := 0, 0
	for _, b := range p.bounds {
		end := start
		for ; r < int(b); r++ {
			end += utf8.RuneLen(p.runes[r])
		}
		if end > start {
			yield(text[start:end])
		}
		start = end
	}
}

// apply cuts all parts by one stage.
func (p *splitter) apply(cut stage) {
	out := p.spare[:0]
	base := 0
	emit := func(end int) { out = append(out, int32(base+end)) }
	for _, b := range p.bounds {
		cut(seg{p.runes[base:b], p.class[base:b]}, emit)
		base = int(b)
	}
	p.spare, p.bounds = p.bounds, out
}
