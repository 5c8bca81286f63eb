package token

// This file holds the scanners that cut one kind of thing out of a text, for
// the pre-tokenizers that work in several stages.

// runs finds runs of characters: X+.
func runs(in func(r rune, c class) bool) scanner {
	return func(s seg, i int) (int, bool) {
		e := i
		for e < len(s.r) && in(s.r[e], s.c[e]) {
			e++
		}
		return max(e, i+1), e > i
	}
}

// ones finds single characters: X.
func ones(in func(r rune, c class) bool) scanner {
	return func(s seg, i int) (int, bool) { return i + 1, in(s.r[i], s.c[i]) }
}

// spaced finds runs with what precedes them, if it is one white space: \s?X+.
// X must not hold white space.
func spaced(in func(r rune, c class) bool) scanner {
	return func(s seg, i int) (int, bool) {
		e := i
		if s.is(i, space) {
			e++
		}
		from := e
		for e < len(s.r) && in(s.r[e], s.c[e]) {
			e++
		}
		return max(e, i+1), e > from
	}
}

// groups finds n characters at a time: X{1,n} if atMost, else X{n}.
func groups(n int, atMost bool, in func(r rune, c class) bool) scanner {
	return func(s seg, i int) (int, bool) {
		e := i
		for e < len(s.r) && e-i < n && in(s.r[e], s.c[e]) {
			e++
		}
		return max(e, i+1), e-i == n || atMost && e > i
	}
}

// trailing finds white space at the end of a piece: \s+$.
func trailing(s seg, i int) (int, bool) {
	e := s.run(i, space)
	return max(e, i+1), e > i && e == len(s.r)
}

// isNumber, isLetter and isPunct are categories.
func isNumber(_ rune, c class) bool { return c&number != 0 }
func isLetter(_ rune, c class) bool { return c&letter != 0 }
func isPunct(_ rune, c class) bool  { return c&punct != 0 }

func isDigit(r rune, _ class) bool   { return between(r, '0', '9') }
func isLineEnd(r rune, _ class) bool { return r == '\r' || r == '\n' }
func notSpace(_ rune, c class) bool  { return c&space == 0 }

// newlines cuts text into runs of newlines and runs of anything else.
func newlines(s seg, i int) (int, bool) {
	e := i + 1
	for e < len(s.r) && (s.r[e] == '\n') == (s.r[i] == '\n') {
		e++
	}
	return e, true
}

// marks is punctuation and the ASCII symbols, as the oldest pre-tokenizers
// separate them; the backquote is not always one.
func marks(backquote bool) func(r rune, c class) bool {
	return func(r rune, c class) bool {
		return c&punct != 0 || r < 0x80 && c&symbol != 0 && (backquote || r != '`')
	}
}

// cjk is the range that the DeepSeek models' first pre-tokenizers mean by
// Chinese and Korean. It runs from U+0800, so it holds more than that.
func cjk(r rune, c class) bool {
	return c&space == 0 && (between(r, 0x0800, 0x9FA5) || between(r, 0xAC00, 0xD7FF))
}

// kana is Chinese and Japanese characters.
func kana(r rune, _ class) bool { return between(r, 0x4E00, 0x9FA5) || between(r, 0x3040, 0x30FF) }

// deepseekPunct is punctuation as DeepSeek's pre-tokenizer for language models
// has it; the range from ':' to '~' holds the ASCII letters as well.
func deepseekPunct(r rune, c class) bool {
	return c&space == 0 && (between(r, '!', '/') || between(r, ':', '~') || between(r, 0xFF01, 0xFF0F) ||
		between(r, 0xFF1A, 0xFF5E) || between(r, 0x2018, 0x201F) || between(r, 0x3000, 0x3002))
}

func deepseekLetter(r rune, _ class) bool { return within(deepseekLetters, r) }

// deepseekLetters are the letters of scripts that have capitals.
var deepseekLetters = []interval{
	{0x41, 0x5A},
	{0x61, 0x7A},
	{0xB5, 0xB5},
	{0xC0, 0xD6},
	{0xD8, 0xF6},
	{0xF8, 0x1BA},
	{0x1BC, 0x1BF},
	{0x1C4, 0x293},
	{0x295, 0x2AF},
	{0x370, 0x373},
	{0x376, 0x377},
	{0x37B, 0x37D},
	{0x37F, 0x37F},
	{0x386, 0x386},
	{0x388, 0x38A},
	{0x38C, 0x38C},
	{0x38E, 0x3A1},
	{0x3A3, 0x3F5},
	{0x3F7, 0x481},
	{0x48A, 0x52F},
	{0x531, 0x556},
	{0x10A0, 0x10C5},
	{0x13A0, 0x13F5},
	{0x13F8, 0x13FD},
	{0x1C90, 0x1CBA},
	{0x1CBD, 0x1CBF},
	{0x1D00, 0x1D2B},
	{0x1D6B, 0x1D77},
	{0x1D79, 0x1D9A},
	{0x1E00, 0x1F15},
	{0x1F18, 0x1F1D},
	{0x1F20, 0x1F45},
	{0x1F48, 0x1F4D},
	{0x1F50, 0x1F57},
	{0x1F59, 0x1F59},
	{0x1F5B, 0x1F5B},
	{0x1F5D, 0x1F5D},
	{0x1F5F, 0x1F7D},
	{0x1F80, 0x1FB4},
	{0x1FB6, 0x1FBC},
	{0x1FBE, 0x1FBE},
	{0x1FC2, 0x1FC4},
	{0x1FC6, 0x1FCC},
	{0x1FD0, 0x1FD3},
	{0x1FD6, 0x1FDB},
	{0x1FE0, 0x1FEC},
	{0x1FF2, 0x1FF4},
	{0x1FF6, 0x1FFC},
	{0x2102, 0x2102},
	{0x2107, 0x2107},
	{0x210A, 0x2113},
	{0x2115, 0x2115},
	{0x2119, 0x211D},
	{0x2124, 0x2124},
	{0x2126, 0x2126},
	{0x2128, 0x2128},
	{0x212A, 0x212D},
	{0x212F, 0x2134},
	{0x2139, 0x2139},
	{0x213C, 0x213F},
	{0x2145, 0x2149},
	{0x214E, 0x214E},
	{0x2183, 0x2184},
	{0x2C00, 0x2C7B},
	{0x2C7E, 0x2CE4},
	{0x2CEB, 0x2CEE},
	{0x2CF2, 0x2CF3},
	{0xA640, 0xA66D},
	{0xA680, 0xA69B},
	{0xA722, 0xA76F},
	{0xA771, 0xA787},
	{0xA78B, 0xA78E},
	{0xAB70, 0xABBF},
	{0xFB00, 0xFB06},
	{0xFB13, 0xFB17},
	{0xFF21, 0xFF3A},
	{0xFF41, 0xFF5A},
	{0x10400, 0x1044F},
	{0x104B0, 0x104D3},
	{0x104D8, 0x104FB},
	{0x10C80, 0x10CB2},
	{0x10CC0, 0x10CF2},
	{0x118A0, 0x118DF},
	{0x1E900, 0x1E943},
}

// bloomWords finds words of the pre-tokenizers of BLOOM and its relatives: all
// that is neither white space nor one of a few marks, and a space before it.
func bloomWords(s seg, i int) (int, bool) {
	in := func(at int) bool {
		if !s.not(at, space) {
			return false
		}
		switch s.r[at] {
		case '(', '|', '.', ',', '!', '?', ')', '…', '。', '，', '、', '।', '۔', '،':
			return false
		}
		return true
	}
	e := i
	if s.r[i] == ' ' {
		e++
	}
	from := e
	for in(e) {
		e++
	}
	return max(e, i+1), e > from
}

// youtuScripts separates Korean, Chinese punctuation, Bopomofo, and Chinese and
// Japanese from each other and from the rest.
func youtuScripts(s seg, i int) (int, bool) {
	for _, in := range []func(r rune) bool{
		func(r rune) bool { return between(r, 0xAC00, 0xD7A3) || between(r, 0x3131, 0x318E) },
		func(r rune) bool {
			switch r {
			case '！', '…', '“', '”', '‘', '’', '—', '：', '；', '，':
				return true
			}
			return between(r, 0x3001, 0x303F) || between(r, 0xFE30, 0xFE4F)
		},
		func(r rune) bool { return between(r, 0x3105, 0x312F) },
		func(r rune) bool { return kana(r, 0) },
	} {
		e := i
		for e < len(s.r) && in(s.r[e]) {
			e++
		}
		if e > i {
			return e, true
		}
	}
	return i + 1, false
}

// asianScripts is the second stage of the AFMoE pre-tokenizer. llama.cpp's
// range of compatibility ideographs begins at U+8C48 where U+F900 was meant.
func asianScripts(r rune, c class) bool {
	return c&space == 0 && within(asian, r)
}

var asian = []interval{
	{0x0E40, 0x0EFF},
	{0x1000, 0x109F},
	{0x1100, 0x11FF},
	{0x1780, 0x17FF},
	{0x2F00, 0x2FDF},
	{0x3040, 0x30FF},
	{0x3400, 0x4DBF},
	{0x4E00, 0xFAFF},
	{0xFF65, 0xFF9F},
}

// thousands cuts numbers into groups of three from their end. What comes before
// a number stays in one part with the number's first group.
func thousands(s seg, emit func(end int)) {
	done := 0
	for i := 0; i < len(s.r); {
		i = s.runNot(i, number)
		e := s.run(i, number)
		if n := (e - i) % 3; n > 0 {
			i += n
			done = i
			emit(i)
		}
		for ; i < e; emit(i) {
			i += 3
			done = i
		}
	}
	if done < len(s.r) {
		emit(len(s.r))
	}
}

// threes cuts before every group of three ASCII digits, counted from the end of
// each run of them.
func threes(s seg, emit func(end int)) {
	for i := 0; i < len(s.r); {
		e := i
		for isDigit(s.at(e), 0) {
			e++
		}
		for ; i < e; i++ {
			if (e-i)%3 == 0 && i > 0 {
				emit(i)
			}
		}
		for i < len(s.r) && !isDigit(s.r[i], 0) {
			i++
		}
	}
	emit(len(s.r))
}

// asciiPunct is punctuation and all ASCII symbols.
func asciiPunct(r rune, c class) bool { return marks(true)(r, c) }

// sentinels finds <sentinel:[0-9]+>.
func sentinels(s seg, i int) (int, bool) {
	e := literal(s, i, "<sentinel:")
	if e == i {
		return i + 1, false
	}
	from := e
	for isDigit(s.at(e), 0) {
		e++
	}
	if e == from || s.at(e) != '>' {
		return e, false
	}
	return e + 1, true
}

// images finds IMGIMG[A-I]{1,4}Z.
func images(s seg, i int) (int, bool) {
	e := literal(s, i, "IMGIMG")
	if e == i {
		return i + 1, false
	}
	from := e
	for between(s.at(e), 'A', 'I') && e-from < 4 {
		e++
	}
	if e == from || s.at(e) != 'Z' {
		return i + 1, false
	}
	return e + 1, true
}

// chameleonSpace finds a tab, a newline, four spaces or two.
func chameleonSpace(s seg, i int) (int, bool) {
	if s.r[i] == '\t' || s.r[i] == '\n' {
		return i + 1, true
	}
	for _, spaces := range []string{"    ", "  "} {
		if e := literal(s, i, spaces); e > i {
			return e, true
		}
	}
	return i + 1, false
}

// literal returns the end of an ASCII text at i, or i if it is not there.
func literal(s seg, i int, text string) int {
	for k := 0; k < len(text); k++ {
		if s.at(i+k) != rune(text[k]) {
			return i
		}
	}
	return i + len(text)
}
