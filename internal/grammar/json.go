package grammar

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Expressions for JSON text. A jsonRules collects the rules they share.

// Digits that a generated number may have: all that encoding/json writes for
// 64-bit integers and floats, and not so many that a model could go on for
// ever.
const (
	maxIntDigits  = 21
	maxFracDigits = 24
)

type jsonRules struct {
	rules  *ruleSet
	named  map[string]int
	escape map[string]int // rules for sets of escaped characters
}

func newJSONRules() *jsonRules {
	return &jsonRules{rules: &ruleSet{}, named: map[string]int{}, escape: map[string]int{}}
}

// shared returns the rule of a name, made when it is first asked for. make may
// refer to the rule itself.
func (j *jsonRules) shared(name string, make func() *expr) *expr {
	id, ok := j.named[name]
	if !ok {
		id = j.rules.add(name, nil)
		j.named[name] = id
		j.rules.exprs[id] = make()
	}
	return ref(id)
}

var (
	digit   = chars('0', '9')
	nonzero = chars('1', '9')
	hex     = chars('0', '9', 'a', 'f', 'A', 'F')
)

// gap is the optional whitespace inside brackets and after commas.
func (j *jsonRules) gap() *expr {
	return j.shared("gap", func() *expr {
		return alt(lit(""), lit(" "), seq(lit("\n"), repeat(chars(' ', ' ', '\t', '\t'), 0, 20)))
	})
}

func (j *jsonRules) comma() *expr { return seq(lit(","), j.gap()) }
func (j *jsonRules) colon() *expr { return seq(lit(":"), optional(lit(" "))) }

// char is any character of a string. An escaped surrogate must have its
// partner, so the text always decodes to Unicode.
func (j *jsonRules) char() *expr {
	other := alt(
		seq(chars('0', '9', 'a', 'c', 'e', 'f', 'A', 'C', 'E', 'F'), hex, hex, hex),
		seq(chars('d', 'd', 'D', 'D'), chars('0', '7'), hex, hex),
		seq(chars('d', 'd', 'D', 'D'), chars('8', '9', 'a', 'b', 'A', 'B'), hex, hex,
			lit(`\u`), chars('d', 'd', 'D', 'D'), chars('c', 'f', 'C', 'F'), hex, hex),
	)
	return alt(class(rawChars()), seq(lit(`\`), alt(class(escapeLetters()), seq(lit("u"), other))))
}

// charRule is the same as a rule, for counting.
func (j *jsonRules) charRule() *expr { return j.shared("char", j.char) }

// rawChars are the characters that may stand for themselves in a string.
func rawChars() runeSet {
	return newRuneSet([]runeRange{{0, 0x1f}, {'"', '"'}, {'\\', '\\'}}).not()
}

const (
	escapeOf = "\"\\/\b\f\n\r\t" // written as a backslash and
	escapeBy = `"\/bfnrt`        // the letter at the same place
)

func escapeLetters() runeSet {
	var rs []runeRange
	for _, r := range escapeBy {
		rs = append(rs, runeRange{r, r})
	}
	return newRuneSet(rs)
}

// mayEscape are the characters that must be escaped and those that
// encoding/json escapes although they need not be.
func mayEscape() runeSet {
	return newRuneSet([]runeRange{
		{0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {'<', '<'}, {'>', '>'}, {'&', '&'}, {0x2028, 0x2029},
	})
}

// charOf is one character of a set, in a string: as itself if it can be, and
// escaped if it is one of mayEscape or has a short escape.
func (j *jsonRules) charOf(set runeSet) *expr {
	var alts []*expr
	if raw := set.and(rawChars()); len(raw) > 0 {
		alts = append(alts, class(raw))
	}
	var letters []runeRange
	for i, r := range escapeOf {
		if set.has(r) {
			letters = append(letters, runeRange{rune(escapeBy[i]), rune(escapeBy[i])})
		}
	}
	escaped := set.and(mayEscape())
	if len(letters) == 0 && len(escaped) == 0 {
		return alt(alts...)
	}
	key := fmt.Sprint(letters, escaped)
	id, ok := j.escape[key]
	if !ok {
		id = j.rules.add("escape", escapesOf(letters, escaped))
		j.escape[key] = id
	}
	return alt(append(alts, ref(id))...)
}

func escapesOf(letters []runeRange, escaped runeSet) *expr {
	var alts []*expr
	if len(letters) > 0 {
		alts = append(alts, class(newRuneSet(letters)))
	}
	// \uXXXX, characters with the same first three digits together
	var last []runeRange
	prefix := rune(-1)
	flush := func() {
		if len(last) == 0 {
			return
		}
		parts := []*expr{lit("u")}
		for _, c := range fmt.Sprintf("%03x", prefix) {
			parts = append(parts, class(hexRange(c, c)))
		}
		var ds []runeRange
		for _, r := range last {
			ds = append(ds, hexRange(r.lo, r.hi)...)
		}
		alts = append(alts, seq(append(parts, class(newRuneSet(ds)))...))
		last = nil
	}
	for _, r := range escaped {
		for c := r.lo; c <= r.hi; c++ {
			if c>>4 != prefix {
				flush()
				prefix = c >> 4
			}
			d := rune("0123456789abcdef"[c&15])
			last = append(last, runeRange{d, d})
		}
	}
	flush()
	return seq(lit(`\`), alt(alts...))
}

// hexRange is a range of hexadecimal digits within 0-9 or a-f, in both cases.
func hexRange(lo, hi rune) runeSet {
	if lo >= 'a' {
		return runeSet{{lo - 'a' + 'A', hi - 'a' + 'A'}, {lo, hi}}
	}
	return runeSet{{lo, hi}}
}

// stringOf is a string that decodes to exactly this text.
func (j *jsonRules) stringOf(text string) *expr {
	parts := []*expr{lit(`"`)}
	plain := strings.Builder{}
	flush := func() {
		if plain.Len() > 0 {
			parts = append(parts, lit(plain.String()))
			plain.Reset()
		}
	}
	for _, r := range text {
		if r != '/' && (mayEscape().has(r) || strings.ContainsRune(escapeOf, r)) {
			flush()
			parts = append(parts, j.charOf(singleRune(r)))
			continue
		}
		plain.WriteRune(r)
	}
	flush()
	return seq(append(parts, lit(`"`))...)
}

// str is any string.
func (j *jsonRules) str() *expr {
	return j.shared("string", func() *expr { return seq(lit(`"`), star(j.char()), lit(`"`)) })
}

// sized is a string of low to high characters, high < 0 for no limit.
func (j *jsonRules) sized(low, high int) *expr {
	switch {
	case low == 0 && high < 0:
		return j.str()
	case low == 1 && high < 0:
		return seq(lit(`"`), repeat(j.char(), 1, -1), lit(`"`))
	}
	return seq(lit(`"`), repeat(j.charRule(), low, high), lit(`"`))
}

// keyExcept is any property name but those given. Where the text is still the
// beginning of one of them, escapes that need not be are not allowed, so that
// no name can be written in disguise.
func (j *jsonRules) keyExcept(names []string) *expr {
	if len(names) == 0 {
		return j.str()
	}
	rest := j.shared("rest of a name", func() *expr { return seq(star(j.char()), lit(`"`)) })
	var below func(names []string) *expr
	below = func(names []string) *expr {
		var alts []*expr
		var firsts []runeRange
		byFirst := map[rune][]string{}
		ends := false
		for _, n := range names {
			if n == "" {
				ends = true
				continue
			}
			r, size := utf8.DecodeRuneInString(n)
			if byFirst[r] == nil {
				firsts = append(firsts, runeRange{r, r})
			}
			byFirst[r] = append(byFirst[r], n[size:])
		}
		for _, f := range firsts {
			alts = append(alts, seq(j.charOf(runeSet{f}), below(byFirst[f.lo])))
		}
		if !ends {
			alts = append(alts, lit(`"`))
		}
		alts = append(alts, seq(j.charOf(newRuneSet(firsts).not()), rest))
		return alt(alts...)
	}
	return seq(lit(`"`), below(names))
}

// integer is any integer.
func (j *jsonRules) integer() *expr {
	return j.shared("integer", func() *expr {
		return seq(optional(lit("-")), alt(lit("0"), seq(nonzero, repeat(digit, 0, maxIntDigits-1))))
	})
}

// number is any number that fits a float64: one integer digit where the
// exponent has three digits.
func (j *jsonRules) number() *expr {
	return j.shared("number", func() *expr {
		integer := alt(lit("0"), seq(nonzero, repeat(digit, 0, maxIntDigits-1)))
		fraction := optional(seq(lit("."), repeat(digit, 1, maxFracDigits)))
		e := chars('e', 'e', 'E', 'E')
		plus := optional(lit("+"))
		return seq(optional(lit("-")), alt(
			seq(integer, fraction, optional(seq(e, alt(
				seq(lit("-"), repeat(digit, 1, 3)),
				seq(plus, repeat(digit, 1, 2)),
			)))),
			seq(digit, fraction, e, plus, alt(
				seq(chars('1', '2'), digit, digit),
				seq(lit("30"), chars('0', '7')),
			)),
		))
	})
}

func boolean() *expr { return alt(lit("true"), lit("false")) }

// any is any JSON value.
func (j *jsonRules) any() *expr {
	return j.shared("value", func() *expr {
		return alt(j.anyObject(), j.anyArray(), j.str(), j.number(), boolean(), lit("null"))
	})
}

func (j *jsonRules) anyObject() *expr {
	return j.shared("object", func() *expr { return j.brackets("{", j.mapOf(j.str(), j.any()), true, "}") })
}

func (j *jsonRules) anyArray() *expr {
	return j.shared("array", func() *expr {
		return j.brackets("[", seq(j.any(), star(seq(j.comma(), j.any()))), true, "]")
	})
}

// mapOf is one or more properties.
func (j *jsonRules) mapOf(key, val *expr) *expr {
	property := j.rules.add("property", seq(key, j.colon(), val))
	return seq(ref(property), star(seq(j.comma(), ref(property))))
}

// brackets puts a content, which may be missing if empty is set, between two
// brackets. A nil content is always missing.
func (j *jsonRules) brackets(open string, content *expr, empty bool, end string) *expr {
	if content == nil {
		return seq(lit(open), j.gap(), lit(end))
	}
	content = seq(content, j.gap())
	if empty {
		content = optional(content)
	}
	return seq(lit(open), j.gap(), content, lit(end))
}

// constant is exactly the given value, apart from whitespace and from how
// strings and numbers are written.
func (j *jsonRules) constant(v *value) *expr {
	switch v.kind {
	case kindNull:
		return lit("null")
	case kindBool:
		return lit(strconv.FormatBool(v.bool))
	case kindNumber:
		return constantNumber(v)
	case kindString:
		return j.stringOf(v.text)
	}
	open, end := "[", "]"
	if v.kind == kindObject {
		open, end = "{", "}"
	}
	if len(v.vals) == 0 {
		return j.brackets(open, nil, true, end)
	}
	var parts []*expr
	for i, e := range v.vals {
		if i > 0 {
			parts = append(parts, j.comma())
		}
		if v.kind == kindObject {
			parts = append(parts, j.stringOf(v.keys[i]), j.colon())
		}
		parts = append(parts, j.constant(e))
	}
	return j.brackets(open, seq(parts...), false, end)
}

// constantNumber is a number as the schema has it, or as encoding/json writes
// the same one.
func constantNumber(v *value) *expr {
	if f, err := strconv.ParseFloat(v.text, 64); err == nil {
		b, err := json.Marshal(f)
		if err == nil && string(b) != v.text && v.equal(&value{kind: kindNumber, text: string(b)}) {
			return alt(lit(v.text), lit(string(b)))
		}
	}
	return lit(v.text)
}

// JSON returns the grammar of any JSON object.
func JSON() *Grammar {
	j := newJSONRules()
	root := j.anyObject().rule
	g, err := compile(j.rules, root)
	if err != nil {
		panic("grammar: internal error: JSON grammar: " + err.Error())
	}
	g.kind = KindJSON
	return g
}
