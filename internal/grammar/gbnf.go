package grammar

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrSyntax marks errors of [FromGBNF] that are the fault of the text.
var ErrSyntax = errors.New("grammar: bad GBNF")

// FromGBNF compiles a grammar in llama.cpp's GBNF notation. The text must
// define the rule root:
//
//	root  ::= item ("," item){0,9}   # a comment
//	item  ::= [a-z]+ | "\"" [^"\n]* "\"" |
//	          .
//
// Names are letters, digits, "-" and "_". Literals and classes know the escapes
// \" \\ \[ \] \- \^ \n \r \t \xHH \uHHHH \UHHHHHHHH. A rule ends with its line,
// unless in parentheses or at a "|". Left recursion and references to
// tokens (<think>, <[1000]>) are errors.
func FromGBNF(text string) (*Grammar, error) {
	if len(text) > maxSource {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrSyntax, len(text), maxSource)
	}
	p := &gbnf{text: text, rules: &ruleSet{}, names: map[string]int{}}
	if err := p.parse(); err != nil {
		return nil, err
	}
	root, ok := p.names["root"]
	if !ok {
		return nil, fmt.Errorf("%w: no rule is named root", ErrSyntax)
	}
	g, err := compile(p.rules, root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	g.kind, g.source = KindGBNF, text
	return g, nil
}

type gbnf struct {
	text  string
	pos   int
	rules *ruleSet
	names map[string]int
	used  []int // by rule: position of the first use
	parts int
}

// errorf is the one constructor of syntax errors.
func (p *gbnf) errorf(pos int, format string, args ...any) error {
	line := 1 + strings.Count(p.text[:pos], "\n")
	col := 1 + utf8.RuneCountInString(p.text[strings.LastIndexByte(p.text[:pos], '\n')+1:pos])
	return fmt.Errorf("%w: line %d, column %d: %s", ErrSyntax, line, col, fmt.Sprintf(format, args...))
}

// peek returns the next byte, 0 at the end. A NUL byte in the text is an error
// wherever peek's caller looks for something, so the two need not differ.
func (p *gbnf) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *gbnf) parse() error {
	if !utf8.ValidString(p.text) {
		return fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	for p.space(true); p.pos < len(p.text); p.space(true) {
		if err := p.rule(); err != nil {
			return err
		}
	}
	for i, e := range p.rules.exprs {
		if e == nil {
			return p.errorf(p.used[i], "rule %q is not defined", p.rules.names[i])
		}
	}
	return nil
}

// space skips blanks and comments, and line breaks if asked to.
func (p *gbnf) space(lines bool) {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == ' ', c == '\t', lines && (c == '\n' || c == '\r'):
			p.pos++
		case c == '#':
			for p.pos < len(p.text) && p.text[p.pos] != '\n' && p.text[p.pos] != '\r' {
				p.pos++
			}
		default:
			return
		}
	}
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// name reads a rule name and returns the rule's number.
func (p *gbnf) name() int {
	start := p.pos
	for nameByte(p.peek()) {
		p.pos++
	}
	name := p.text[start:p.pos]
	id, ok := p.names[name]
	if !ok {
		id = p.rules.add(name, nil)
		p.names[name] = id
		p.used = append(p.used, start)
	}
	return id
}

func (p *gbnf) rule() error {
	start := p.pos
	if !nameByte(p.peek()) {
		return p.errorf(start, "want the name of a rule, found %q", p.found())
	}
	id := p.name()
	if len(p.rules.names) > maxRules {
		return p.errorf(start, "more than %d rules", maxRules)
	}
	if p.rules.exprs[id] != nil {
		return p.errorf(start, "rule %q is defined twice", p.rules.names[id])
	}
	p.space(false)
	if !strings.HasPrefix(p.text[p.pos:], "::=") {
		return p.errorf(p.pos, `want "::=" after the name, found %q`, p.found())
	}
	p.pos += 3
	p.space(true)
	e, err := p.alternatives(0)
	if err != nil {
		return err
	}
	if c := p.peek(); p.pos < len(p.text) && c != '\n' && c != '\r' {
		return p.errorf(p.pos, "want the end of the line, found %q", p.found())
	}
	p.rules.exprs[id] = e
	return nil
}

// found is what stands at the current position, for a message.
func (p *gbnf) found() string {
	if p.pos >= len(p.text) {
		return "end of text"
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return string(r)
}

// alternatives parses a | b | c; at depth 0 it ends with the line.
func (p *gbnf) alternatives(depth int) (*expr, error) {
	if depth > maxNesting {
		return nil, p.errorf(p.pos, "groups nested more than %d deep", maxNesting)
	}
	var alts []*expr
	for {
		s, err := p.sequence(depth)
		if err != nil {
			return nil, err
		}
		alts = append(alts, s)
		end := p.pos
		p.space(true) // a line may also begin with "|"
		if p.peek() != '|' {
			if depth == 0 {
				p.pos = end
			}
			break
		}
		p.pos++
		p.space(true)
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return alt(alts...), nil
}

func (p *gbnf) sequence(depth int) (*expr, error) {
	var items []*expr
	for {
		e, err := p.item(depth)
		if err != nil {
			return nil, err
		}
		if e == nil {
			break
		}
		if p.parts++; p.parts > maxExprs {
			return nil, p.errorf(p.pos, "more than %d parts", maxExprs)
		}
		p.space(depth > 0)
		for strings.IndexByte("*+?{", p.peek()) >= 0 && p.pos < len(p.text) {
			if e, err = p.repetition(e); err != nil {
				return nil, err
			}
			p.space(depth > 0)
		}
		items = append(items, e)
	}
	if len(items) == 1 {
		return items[0], nil
	}
	return seq(items...), nil
}

// item parses what a repetition can follow; nil if there is none.
func (p *gbnf) item(depth int) (*expr, error) {
	switch c := p.peek(); {
	case p.pos >= len(p.text):
		return nil, nil
	case c == '"':
		return p.literal()
	case c == '[':
		return p.class()
	case c == '.':
		p.pos++
		return class(anyRune()), nil
	case nameByte(c):
		return ref(p.name()), nil
	case c == '(':
		open := p.pos
		p.pos++
		p.space(true)
		e, err := p.alternatives(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.peek() != ')' {
			return nil, p.errorf(p.pos, `want ")" for the "(" at byte %d, found %q`, open, p.found())
		}
		p.pos++
		return e, nil
	case c == '<', c == '!':
		return nil, p.errorf(p.pos, "references to tokens are not supported")
	case c == '*', c == '+', c == '?', c == '{':
		return nil, p.errorf(p.pos, "%q has nothing to repeat", string(c))
	}
	return nil, nil
}

func (p *gbnf) literal() (*expr, error) {
	open := p.pos
	var b strings.Builder
	for p.pos++; p.peek() != '"'; {
		r, err := p.char(open)
		if err != nil {
			return nil, err
		}
		b.WriteRune(r)
	}
	p.pos++
	return lit(b.String()), nil
}

func (p *gbnf) class() (*expr, error) {
	open := p.pos
	p.pos++
	negated := p.peek() == '^'
	if negated {
		p.pos++
	}
	var ranges []runeRange
	for p.peek() != ']' {
		lo, err := p.char(open)
		if err != nil {
			return nil, err
		}
		hi := lo
		if p.peek() == '-' && p.pos+1 < len(p.text) && p.text[p.pos+1] != ']' {
			p.pos++
			at := p.pos
			if hi, err = p.char(open); err != nil {
				return nil, err
			}
			if hi < lo {
				return nil, p.errorf(at, "range %q-%q is backwards", string(lo), string(hi))
			}
		}
		ranges = append(ranges, runeRange{lo, hi})
	}
	p.pos++
	set := newRuneSet(ranges)
	if negated {
		set = set.not()
	}
	if len(set) == 0 {
		return nil, p.errorf(open, "class matches no character")
	}
	return class(set), nil
}

// char reads a character of a literal or class that begins at open.
func (p *gbnf) char(open int) (rune, error) {
	if p.pos >= len(p.text) {
		return 0, p.errorf(open, "%q is not closed", p.text[open:open+1])
	}
	start := p.pos
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	p.pos += n
	if r != '\\' {
		return r, nil
	}
	digits := 0
	c := p.peek()
	p.pos++
	switch c {
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case '\\', '"', '[', ']', '-', '^':
		return rune(c), nil
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		return 0, p.errorf(start, `unknown escape; known are \" \\ \[ \] \- \^ \n \r \t \xHH \uHHHH \UHHHHHHHH`)
	}
	v := rune(0)
	for range digits {
		d := strings.IndexByte("0123456789abcdef", p.peek()|0x20)
		if d < 0 || p.pos >= len(p.text) || v > utf8.MaxRune {
			return 0, p.errorf(start, `\%c needs %d hexadecimal digits, at most 10FFFF`, c, digits)
		}
		v = v<<4 | rune(d)
		p.pos++
	}
	if !utf8.ValidRune(v) {
		return 0, p.errorf(start, "U+%04X is not a character", v)
	}
	return v, nil
}

func (p *gbnf) repetition(e *expr) (*expr, error) {
	start := p.pos
	c := p.peek()
	p.pos++
	switch c {
	case '*':
		return star(e), nil
	case '+':
		return repeat(e, 1, -1), nil
	case '?':
		return optional(e), nil
	}
	low, err := p.number()
	if err != nil {
		return nil, err
	}
	high := low
	if p.peek() == ',' {
		p.pos++
		p.space(false)
		high = -1
		if p.peek() != '}' {
			if high, err = p.number(); err != nil {
				return nil, err
			}
		}
	}
	if p.peek() != '}' {
		return nil, p.errorf(p.pos, `want "}", found %q`, p.found())
	}
	p.pos++
	if high >= 0 && high < low {
		return nil, p.errorf(start, "{%d,%d}: the second number is less than the first", low, high)
	}
	return repeat(e, low, high), nil
}

func (p *gbnf) number() (int, error) {
	p.space(false)
	start, n := p.pos, 0
	for '0' <= p.peek() && p.peek() <= '9' {
		if n > (maxRepeat-9)/10 {
			return 0, p.errorf(start, "repetition of more than %d", maxRepeat)
		}
		n = n*10 + int(p.peek()-'0')
		p.pos++
	}
	if p.pos == start {
		return 0, p.errorf(start, "want a number, found %q", p.found())
	}
	p.space(false)
	return n, nil
}
