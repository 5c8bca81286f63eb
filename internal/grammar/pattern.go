package grammar

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
)

// Regular expressions of the keyword pattern: those of ECMA-262 that mean the
// same in Go's regexp/syntax, without word boundaries, and with anchors only
// at the ends of an alternative.

// pattern is a regular expression over the characters of a string, not yet
// written as JSON.
type pattern struct {
	text string // in Go's syntax
	alts []anchored
	re   *regexp.Regexp // of text, once asked for
}

type anchored struct {
	re         *syntax.Regexp
	head, tail bool // nothing may stand before, after
}

func parsePattern(text string) (*pattern, error) {
	if len(text) > 10_000 {
		return nil, errors.New("pattern of more than 10,000 bytes")
	}
	re, err := syntax.Parse(goSyntax(text), syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w (lookahead and back references are not supported)", text, err)
	}
	p := &pattern{text: goSyntax(text)}
	if err := p.split(re); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", text, err)
	}
	return p, nil
}

// goSyntax rewrites \uXXXX, which Go does not know, as \x{XXXX}.
func goSyntax(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		if text[i+1] == 'u' && i+6 <= len(text) {
			b.WriteString(`\x{` + text[i+2:i+6] + `}`)
			i += 5
			continue
		}
		b.WriteString(text[i : i+2])
		i++
	}
	return b.String()
}

// split takes the anchors off the alternatives of an expression.
func (p *pattern) split(re *syntax.Regexp) error {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpAlternate {
		for _, sub := range re.Sub {
			if err := p.split(sub); err != nil {
				return err
			}
		}
		return nil
	}
	a := anchored{re: re}
	subs := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		subs = re.Sub
	}
	for len(subs) > 0 && (subs[0].Op == syntax.OpBeginText || subs[0].Op == syntax.OpBeginLine) {
		a.head, subs = true, subs[1:]
	}
	for n := len(subs); n > 0 && (subs[n-1].Op == syntax.OpEndText || subs[n-1].Op == syntax.OpEndLine); n = len(subs) {
		a.tail, subs = true, subs[:n-1]
	}
	a.re = &syntax.Regexp{Op: syntax.OpConcat, Sub: subs}
	if err := supported(a.re, 0); err != nil {
		return err
	}
	p.alts = append(p.alts, a)
	return nil
}

func supported(re *syntax.Regexp, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("nested more than %d deep", maxNesting)
	}
	switch re.Op {
	case syntax.OpBeginText, syntax.OpBeginLine, syntax.OpEndText, syntax.OpEndLine:
		return errors.New(`"^" and "$" are supported only at the ends`)
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return errors.New(`\b and \B are not supported`)
	}
	for _, sub := range re.Sub {
		if err := supported(sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// expr is the pattern between quotes.
func (p *pattern) expr(j *jsonRules) *expr {
	var alts []*expr
	for _, a := range p.alts {
		e := regexExpr(j, a.re)
		if !a.head {
			e = seq(star(j.char()), e)
		}
		if !a.tail {
			e = seq(e, star(j.char()))
		}
		alts = append(alts, e)
	}
	return seq(lit(`"`), alt(alts...), lit(`"`))
}

func regexExpr(j *jsonRules, re *syntax.Regexp) *expr {
	subs := func() []*expr {
		out := make([]*expr, len(re.Sub))
		for i, s := range re.Sub {
			out[i] = regexExpr(j, s)
		}
		return out
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return lit("")
	case syntax.OpNoMatch:
		return nothing()
	case syntax.OpLiteral:
		var parts []*expr
		for _, r := range re.Rune {
			parts = append(parts, j.charOf(foldSet(r, re.Flags)))
		}
		return seq(parts...)
	case syntax.OpCapture, syntax.OpConcat:
		return seq(subs()...)
	case syntax.OpAlternate:
		return alt(subs()...)
	}
	if low, high, ok := repetition(re); ok {
		if set, ok := charSet(re.Sub[0]); ok && high > 1 {
			// A rule, so that counting does not copy it.
			return repeat(j.shared("class "+fmt.Sprint(set), func() *expr { return j.charOf(set) }), low, high)
		}
		return repeat(regexExpr(j, re.Sub[0]), low, high)
	}
	if set, ok := charSet(re); ok {
		return j.charOf(set)
	}
	panic("grammar: internal error: regular expression operator " + re.Op.String())
}

// repetition tells how often an operator repeats its operand.
func repetition(re *syntax.Regexp) (low, high int, ok bool) {
	switch re.Op {
	case syntax.OpStar:
		return 0, -1, true
	case syntax.OpPlus:
		return 1, -1, true
	case syntax.OpQuest:
		return 0, 1, true
	case syntax.OpRepeat:
		return re.Min, re.Max, true
	}
	return 0, 0, false
}

// charSet is the set of an expression that matches one character.
func charSet(re *syntax.Regexp) (runeSet, bool) {
	switch re.Op {
	case syntax.OpCharClass:
		var rs []runeRange
		for i := 0; i+1 < len(re.Rune); i += 2 {
			rs = append(rs, runeRange{re.Rune[i], re.Rune[i+1]})
		}
		return newRuneSet(rs), true
	case syntax.OpAnyChar:
		return anyRune(), true
	case syntax.OpAnyCharNotNL:
		return newRuneSet([]runeRange{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).not(), true
	case syntax.OpLiteral:
		if len(re.Rune) == 1 {
			return foldSet(re.Rune[0], re.Flags), true
		}
	case syntax.OpCapture:
		return charSet(re.Sub[0])
	}
	return nil, false
}

// foldSet is a character, with those that differ only in case if asked for.
func foldSet(r rune, flags syntax.Flags) runeSet {
	rs := []runeRange{{r, r}}
	if flags&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			rs = append(rs, runeRange{f, f})
		}
	}
	return newRuneSet(rs)
}

// matches reports whether a text matches.
func (p *pattern) matches(text string) (bool, error) {
	if p.re == nil {
		re, err := regexp.Compile(p.text)
		if err != nil {
			return false, fmt.Errorf("pattern %q: %w", p.text, err)
		}
		p.re = re
	}
	return p.re.MatchString(text), nil
}

// lengths are the fewest and most characters that a pattern matches; high is
// -1 if there is no limit.
func (p *pattern) lengths() (low, high int) {
	low = -1
	for _, a := range p.alts {
		l, h := regexLengths(a.re)
		if !a.head || !a.tail {
			h = -1
		}
		if low < 0 || l < low {
			low = l
		}
		if h < 0 || high < 0 {
			high = -1
		} else {
			high = max(high, h)
		}
	}
	return max(low, 0), high
}

// maxLength stands for all larger lengths; a repetition of it, at most 1,000
// times in Go's syntax, fits 32 bits.
const maxLength = 1 << 20

func regexLengths(re *syntax.Regexp) (low, high int) {
	if l, h, ok := repetition(re); ok {
		sl, sh := regexLengths(re.Sub[0])
		low, high = sl*l, -1
		if h >= 0 && sh >= 0 {
			high = sh * h
		}
		return min(low, maxLength), min(high, maxLength)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune), len(re.Rune)
	case syntax.OpCapture, syntax.OpConcat:
		for _, s := range re.Sub {
			l, h := regexLengths(s)
			low += l
			if h < 0 || high < 0 {
				high = -1
			} else {
				high += h
			}
		}
		return min(low, maxLength), min(high, maxLength)
	case syntax.OpAlternate:
		low = -1
		for _, s := range re.Sub {
			l, h := regexLengths(s)
			if low < 0 || l < low {
				low = l
			}
			if h < 0 || high < 0 {
				high = -1
			} else {
				high = max(high, h)
			}
		}
		return max(low, 0), high
	case syntax.OpEmptyMatch, syntax.OpNoMatch:
		return 0, 0
	}
	return 1, 1
}

// limit returns the pattern with a length of low to high characters (-1: no
// limit). It can do so if the pattern implies it, or if it is one repeated
// character class.
func (p *pattern) limit(low, high int) (*pattern, bool) {
	l, h := p.lengths()
	if l >= low && (high < 0 || (h >= 0 && h <= high)) {
		return p, true
	}
	if len(p.alts) != 1 || !p.alts[0].head || !p.alts[0].tail {
		return nil, false
	}
	re := p.alts[0].re
	for (re.Op == syntax.OpConcat || re.Op == syntax.OpCapture) && len(re.Sub) == 1 {
		re = re.Sub[0]
	}
	rl, rh, ok := repetition(re)
	if !ok {
		return nil, false
	}
	if _, ok := charSet(re.Sub[0]); !ok {
		return nil, false
	}
	low = max(low, rl)
	if high < 0 || (rh >= 0 && rh < high) {
		high = rh
	}
	if high >= 0 && high < low {
		return &pattern{}, true // matches nothing
	}
	return &pattern{alts: []anchored{{
		re:   &syntax.Regexp{Op: syntax.OpRepeat, Sub: re.Sub, Min: low, Max: high},
		head: true, tail: true,
	}}}, true
}

// Parts of formats. A date is checked for its month's length, February's also
// for leap years.
const (
	reDate = `([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))` +
		`|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)`
	reTime     = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	reOctet    = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	reGroup    = `[0-9a-fA-F]{1,4}`
	reLabel    = `[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?`
	reAtom     = `[a-zA-Z0-9_%+-]{1,64}`
	reClock    = `T([0-9]{1,9}H([0-9]{1,9}M([0-9]{1,9}S)?)?|[0-9]{1,9}M([0-9]{1,9}S)?|[0-9]{1,9}S)`
	reCalendar = `([0-9]{1,9}Y([0-9]{1,9}M([0-9]{1,9}D)?)?|[0-9]{1,9}M([0-9]{1,9}D)?|[0-9]{1,9}D)`
)

// formatText returns the regular expression of a value of the keyword format,
// the empty text if it is not known.
func formatText(name string) string {
	switch name {
	case "date":
		return reDate
	case "time":
		return reTime
	case "date-time":
		return reDate + "T" + reTime
	case "uuid":
		return `[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`
	case "ipv4":
		return `(` + reOctet + `\.){3}` + reOctet
	case "ipv6":
		return ipv6Text()
	case "hostname":
		return reLabel + `(\.` + reLabel + `){0,8}`
	case "email":
		return reAtom + `(\.` + reAtom + `){0,8}@` + reLabel + `(\.` + reLabel + `){1,8}`
	case "uri":
		return `[a-zA-Z][a-zA-Z0-9+.-]{0,30}:[a-zA-Z0-9._~:/?#@!$&'()*+,;=%-]+`
	case "duration":
		return `P([0-9]{1,9}W|` + reCalendar + `(` + reClock + `)?|` + reClock + `)`
	}
	return ""
}

// ipv6Text lists where the "::" of an address may stand (RFC 4291, section 2.2).
func ipv6Text() string {
	g := reGroup
	alts := []string{`(` + g + `:){7}` + g, `(` + g + `:){1,7}:`, `:(:` + g + `){1,7}`, `::`}
	for before := 1; before <= 6; before++ {
		alts = append(alts, fmt.Sprintf(`(%s:){%d}(:%s){1,%d}`, g, before, g, 7-before))
	}
	return `(` + strings.Join(alts, `|`) + `)`
}

// isAnnotation reports whether a format says nothing that a grammar could hold,
// or something about numbers.
func isAnnotation(format string) bool {
	switch format {
	case "password", "binary", "byte", "path", "file-path", "directory-path",
		"int32", "int64", "uint32", "uint64", "float", "double":
		return true
	}
	return false
}

// formatPattern returns the pattern of a format, nil if it is an annotation.
func formatPattern(name string) (*pattern, error) {
	if isAnnotation(name) {
		return nil, nil
	}
	re := formatText(name)
	if re == "" {
		return nil, fmt.Errorf("format %q is not supported; use pattern, or leave it out", name)
	}
	p, err := parsePattern("^(" + re + ")$")
	if err != nil {
		panic("grammar: internal error: format " + name + ": " + err.Error())
	}
	return p, nil
}
