package token

// This file holds the scanners that most models' pre-tokenizers are made of.
// The patterns they implement are quoted in the notation of regular
// expressions; where a published pattern and llama.cpp's version of it differ,
// it is llama.cpp's.

// pattern describes the scanners of the family that began with GPT-4's. All are
// an alternation, in this order, of: a contraction, a word, a number,
// punctuation, white space.
type pattern struct {
	letters class // what words are made of: letter, or letter|mark
	digits  int   // most digits in a number, 0 for any
	cased   bool  // a capital begins a new word
	short   short // what becomes of contractions
	slash   bool  // slashes as well as line ends follow punctuation
	one     bool  // at most one line end or slash follows punctuation
	phrases bool  // a word goes on over single spaces
	apart   class // what punctuation excludes, besides space, letter and number
	bare    bool  // no line end follows punctuation
}

// short says what becomes of the contractions 's, 't, 're, 've, 'm, 'll and 'd.
type short uint8

const (
	shortApart short = iota // they are words of their own
	shortWith               // they belong to the word before
	shortNone               // they are nothing special
)

// scan always finds a word: every character begins one of the alternatives.
func (p *pattern) scan(s seg, i int) (int, bool) {
	if p.short == shortApart {
		if e := contraction(s, i); e > i {
			return e, true
		}
	}
	if e := p.word(s, i); e > i {
		return e, true
	}
	if s.is(i, number) {
		return p.number(s, i), true
	}
	if e := p.punct(s, i); e > i {
		return e, true
	}
	if e := lines(s, i); e > i {
		return e, true
	}
	if e := blanks(s, i); e > i {
		return e, true
	}
	return i + 1, false
}

// contraction is 's|'t|'re|'ve|'m|'ll|'d in either case.
func contraction(s seg, i int) int {
	if s.at(i) != '\'' {
		return i
	}
	return i + suffixLen(lower(s.at(i+1)), lower(s.at(i+2)))
}

// suffixLen returns the length of a contraction with its apostrophe, 0 if the
// two characters after the apostrophe begin none.
func suffixLen(a, b rune) int {
	switch {
	case a == 's', a == 't', a == 'm', a == 'd':
		return 2
	case a == 'r' && b == 'e', a == 'v' && b == 'e', a == 'l' && b == 'l':
		return 3
	}
	return 0
}

func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// lead reports whether the character at i may stand before a word and belong to
// it: [^\r\n\p{L}\p{N}].
func lead(s seg, i int) bool {
	return s.not(i, letter|number) && s.r[i] != '\r' && s.r[i] != '\n'
}

func (p *pattern) word(s seg, i int) int {
	e := i
	switch {
	case p.cased:
		e = p.casedWord(s, i)
	case p.phrases:
		e = phrase(s, i)
	case s.is(i, p.letters) || lead(s, i) && s.is(i+1, p.letters):
		e = s.run(i+1, p.letters)
	}
	if e > i && p.short == shortWith {
		e = contraction(s, e)
	}
	return e
}

// casedWord is X?U*W+|X?U+W*, where X is a lead, U a letter that is not a-z
// and W a letter that is not A-Z. Letters beyond ASCII are both.
func (p *pattern) casedWord(s seg, i int) int {
	starts := [2]int{i + 1, i}
	from := starts[:]
	if !lead(s, i) {
		from = starts[1:]
	}
	for _, at := range from {
		u := p.upperRun(s, at)
		if w := p.lowerRun(s, u); w > u {
			return w
		}
		for k := u - 1; k >= at; k-- { // give back until the last can be a W
			if !between(s.r[k], 'A', 'Z') {
				return k + 1
			}
		}
	}
	for _, at := range from {
		if u := p.upperRun(s, at); u > at {
			return u
		}
	}
	return i
}

func (p *pattern) upperRun(s seg, i int) int {
	for s.is(i, p.letters) && !between(s.r[i], 'a', 'z') {
		i++
	}
	return i
}

func (p *pattern) lowerRun(s seg, i int) int {
	for s.is(i, p.letters) && !between(s.r[i], 'A', 'Z') {
		i++
	}
	return i
}

// phrase is X?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+, X a lead.
func phrase(s seg, i int) int {
	at := i
	if !s.is(i, letter) {
		if !lead(s, i) || !s.is(i+1, letter) {
			return i
		}
		at++
	}
	for {
		at = s.run(at+1, mark)
		switch {
		case s.is(at, letter):
		case s.at(at) == ' ' && s.is(at+1, letter):
			at++
		default:
			return at
		}
	}
}

func (p *pattern) number(s seg, i int) int {
	e := i + 1
	for s.is(e, number) && (p.digits == 0 || e-i < p.digits) {
		e++
	}
	return e
}

// punct is " ?" and characters that are neither white space nor letters nor
// numbers, then line ends.
func (p *pattern) punct(s seg, i int) int {
	excluded := space | letter | number | p.apart
	at := i
	if s.at(i) == ' ' {
		at++
	}
	e := s.runNot(at, excluded)
	if e == at {
		return i
	}
	for tail := func(r rune) bool { return r == '\r' || r == '\n' || p.slash && r == '/' }; !p.bare && tail(s.at(e)); e++ {
		if p.one {
			return e + 1
		}
	}
	return e
}

// lines is \s*[\r\n]+: white space up to the last line end in it.
func lines(s seg, i int) int {
	end := i
	for e := i; s.is(e, space); e++ {
		if s.r[e] == '\r' || s.r[e] == '\n' {
			end = e + 1
		}
	}
	return end
}

// blanks is \s+(?!\S)|\s+: white space, but the last of several belongs to what
// follows.
func blanks(s seg, i int) int {
	e := s.run(i, space)
	if e-i > 1 && e < len(s.r) {
		return e - 1
	}
	return e
}

// powers cuts a piece that is white space without line ends into pieces of 512,
// 256, ... 2 or 1, and leaves other pieces alone.
func powers(s seg, i int) (int, bool) {
	last := len(s.r) - 1
	if !s.is(last, space) || s.r[last] == '\r' || s.r[last] == '\n' {
		return len(s.r), true
	}
	for k := 512; k > 1; k /= 2 {
		if i+k <= len(s.r) {
			return i + k, true
		}
	}
	return i + 1, true
}

// gpt2Words is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2Words(s seg, i int) (int, bool) {
	if s.r[i] == '\'' {
		if n := suffixLen(s.at(i+1), s.at(i+2)); n > 0 {
			return i + n, true
		}
	}
	at := i
	if s.r[i] == ' ' {
		at++
	}
	switch {
	case s.is(at, letter):
		return s.run(at, letter), true
	case s.is(at, number):
		return s.run(at, number), true
	case s.not(at, space):
		return s.runNot(at, space|letter|number), true
	}
	return blanks(s, i), true
}

// deepseekWords is [!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
// ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+, the first set being ASCII
// punctuation. Numbers are in none of these.
func deepseekWords(s seg, i int) (int, bool) {
	if s.r[i] < 0x80 && s.is(i, punct|symbol) && asciiLetter(s.at(i+1)) {
		e := i + 2
		for asciiLetter(s.at(e)) {
			e++
		}
		return e, true
	}
	x := s.not(i, letter|punct|symbol) && s.r[i] != '\r' && s.r[i] != '\n'
	if s.is(i, letter|mark) || x && s.is(i+1, letter|mark) {
		return s.run(i+1, letter|mark), true
	}
	at := i
	if s.r[i] == ' ' {
		at++
	}
	if e := s.run(at, punct|symbol); e > at {
		for s.at(e) == '\r' || s.at(e) == '\n' {
			e++
		}
		return e, true
	}
	if e := lines(s, i); e > i {
		return e, true
	}
	if e := blanks(s, i); e > i {
		return e, true
	}
	return i + 1, false
}

func asciiLetter(r rune) bool { return between(r, 'a', 'z') || between(r, 'A', 'Z') }

// kimiWords is the GPT-4 pattern with runs of Chinese characters as words of
// their own and contractions at the end of words.
func kimiWords(s seg, i int) (int, bool) {
	if isHan(s.r[i]) {
		e := i + 1
		for isHan(s.at(e)) {
			e++
		}
		return e, true
	}
	at := i
	if lead(s, i) {
		at++
	}
	if e := at; s.is(e, letter) && !isHan(s.r[e]) {
		for s.is(e, letter) && !isHan(s.r[e]) {
			e++
		}
		return contraction(s, e), true
	}
	p := pattern{digits: 3}
	if s.is(i, number) {
		return p.number(s, i), true
	}
	if e := p.punct(s, i); e > i {
		return e, true
	}
	if e := lines(s, i); e > i {
		return e, true
	}
	if e := blanks(s, i); e > i {
		return e, true
	}
	return i + 1, false
}
