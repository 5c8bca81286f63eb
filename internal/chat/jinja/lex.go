package jinja

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokNumber // val holds an int64, *big.Int or float64
	tokOp
)

func (k tokenKind) String() string {
	return [...]string{"end of template", "text", "{{", "}}", "{%", "%}", "name", "string", "number", "operator"}[k]
}

type token struct {
	kind tokenKind
	text string
	val  Value
	line int
}

func (t token) String() string {
	if t.kind == tokName || t.kind == tokOp {
		return fmt.Sprintf("%q", t.text)
	}
	return t.kind.String()
}

// The number syntax of jinja2: digits may be grouped by single underscores.
var (
	floatRE = regexp.MustCompile(`^(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+\-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)`)
	intRE   = regexp.MustCompile(`^(?:0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[0-9a-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
	rawRE   = regexp.MustCompile(`^\{%([-+]?)[\s\v]*raw[\s\v]*(-%\}[\s\v]*|%\})`)
	endRE   = regexp.MustCompile(`\{%([-+]?)[\s\v]*endraw[\s\v]*(\+%\}|-%\}[\s\v]*|%\}\n?)`)
)

// Longer operators first.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

type lexer struct {
	src       string
	pos       int
	line      int
	lineStart bool // the last thing read ended a line
	tokens    []token
}

// lex splits a template into tokens. Whitespace control happens here: what "-"
// and the trim_blocks and lstrip_blocks settings remove never becomes a token.
func lex(src string) ([]token, error) {
	src = strings.ReplaceAll(src, "\r\n", "\n")
	src = strings.ReplaceAll(src, "\r", "\n")
	src = strings.TrimSuffix(src, "\n")
	l := &lexer{src: src, line: 1, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(tokEOF, "", nil)
	return l.tokens, nil
}

func (l *lexer) emit(kind tokenKind, text string, val Value) {
	l.tokens = append(l.tokens, token{kind, text, val, l.line})
}

// advance moves to end, counting lines.
func (l *lexer) advance(end int) {
	l.line += strings.Count(l.src[l.pos:end], "\n")
	l.lineStart = end > 0 && l.src[end-1] == '\n'
	l.pos = end
}

// root reads text up to and including the next tag.
func (l *lexer) root() error {
	start := nextTag(l.src, l.pos)
	if start < 0 {
		l.data(l.src[l.pos:])
		l.advance(len(l.src))
		return nil
	}
	text := l.src[l.pos:start]
	if m := rawRE.FindStringSubmatchIndex(l.src[start:]); m != nil {
		l.data(l.strip(text, l.src[start+m[2]:start+m[3]], true))
		l.advance(start + m[1])
		return l.raw()
	}
	sign := ""
	body := start + 2
	if body < len(l.src) && (l.src[body] == '-' || l.src[body] == '+') {
		sign = l.src[body : body+1]
		body++
	}
	kind := l.src[start+1]
	l.data(l.strip(text, sign, kind != '{'))
	l.advance(body)
	switch kind {
	case '#':
		return l.comment()
	case '{':
		l.emit(tokVarBegin, "", nil)
		return l.tag(tokVarEnd)
	default:
		l.emit(tokBlockBegin, "", nil)
		return l.tag(tokBlockEnd)
	}
}

func nextTag(s string, from int) int {
	for i := from; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

func (l *lexer) data(text string) {
	if text != "" {
		l.emit(tokData, text, nil)
	}
}

// strip applies the whitespace control of a tag to the text before it.
func (l *lexer) strip(text, sign string, block bool) string {
	if sign == "-" {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == "+" || !block {
		return text
	}
	from := strings.LastIndexByte(text, '\n') + 1
	if (from > 0 || l.lineStart) && strings.TrimFunc(text[from:], isSpace) == "" {
		return text[:from]
	}
	return text
}

func (l *lexer) comment() error {
	if l.pos == len(l.src) {
		return nil
	}
	i := strings.Index(l.src[l.pos:], "#}")
	if i < 0 {
		return syntaxf(l.line, "a comment is not closed: add #}")
	}
	end := l.pos + i + 2
	l.advance(l.closed(end, i > 0 && l.src[end-3] == '-', i > 0 && l.src[end-3] == '+'))
	return nil
}

// closed returns where the text after a block or comment tag goes on.
func (l *lexer) closed(end int, minus, plus bool) int {
	switch {
	case minus:
		return l.skipSpace(end)
	case !plus && end < len(l.src) && l.src[end] == '\n':
		return end + 1
	}
	return end
}

func (l *lexer) skipSpace(i int) int {
	return len(l.src) - len(strings.TrimLeftFunc(l.src[i:], isSpace))
}

func (l *lexer) raw() error {
	if l.pos == len(l.src) {
		return nil
	}
	m := endRE.FindStringSubmatchIndex(l.src[l.pos:])
	if m == nil {
		return syntaxf(l.line, "a raw block is not closed: add {%% endraw %%}")
	}
	l.data(l.strip(l.src[l.pos:l.pos+m[0]], l.src[l.pos+m[2]:l.pos+m[3]], true))
	l.advance(l.pos + m[1])
	return nil
}

// tag reads the tokens of one tag up to its end.
func (l *lexer) tag(end tokenKind) error {
	var open []byte
	for {
		if l.pos >= len(l.src) {
			return nil // the parser reports what is missing
		}
		if len(open) == 0 && l.tagEnd(end) {
			return nil
		}
		if err := l.expr(&open); err != nil {
			return err
		}
	}
}

func (l *lexer) tagEnd(end tokenKind) bool {
	rest := l.src[l.pos:]
	mark := "%}"
	if end == tokVarEnd {
		mark = "}}"
	}
	minus := strings.HasPrefix(rest, "-"+mark)
	plus := end == tokBlockEnd && strings.HasPrefix(rest, "+"+mark)
	if !minus && !plus && !strings.HasPrefix(rest, mark) {
		return false
	}
	l.emit(end, "", nil)
	after := l.pos + len(mark)
	if minus || plus {
		after++
	}
	if end == tokBlockEnd || minus {
		after = l.closed(after, minus, plus)
	}
	l.advance(after)
	return true
}

// expr reads one token inside a tag.
func (l *lexer) expr(open *[]byte) error {
	if after := l.skipSpace(l.pos); after > l.pos {
		l.advance(after)
		return nil
	}
	rest := l.src[l.pos:]
	switch r, _ := utf8.DecodeRuneInString(rest); {
	case r >= '0' && r <= '9':
		return l.number(rest)
	case isWord(r):
		n := strings.IndexFunc(rest, func(r rune) bool { return !isWord(r) })
		if n < 0 {
			n = len(rest)
		}
		if r != '_' && !unicode.IsLetter(r) {
			return syntaxf(l.line, "invalid character in the name %q", rest[:n])
		}
		l.emit(tokName, rest[:n], nil)
		l.advance(l.pos + n)
		return nil
	case r == '\'' || r == '"':
		return l.str(rest)
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			if err := balance(open, op[0]); err != nil {
				return syntaxf(l.line, "%w", err)
			}
			l.emit(tokOp, op, nil)
			l.advance(l.pos + len(op))
			return nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return syntaxf(l.line, "unexpected character %q", r)
}

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Mc, r)
}

func balance(open *[]byte, op byte) error {
	switch op {
	case '(':
		*open = append(*open, ')')
	case '[':
		*open = append(*open, ']')
	case '{':
		*open = append(*open, '}')
	case ')', ']', '}':
		n := len(*open)
		if n == 0 {
			return fmt.Errorf("unexpected %q", op)
		}
		if want := (*open)[n-1]; want != op {
			return fmt.Errorf("unexpected %q where %q closes the bracket", op, want)
		}
		*open = (*open)[:n-1]
	}
	return nil
}

func (l *lexer) number(rest string) error {
	afterDot := l.pos > 0 && l.src[l.pos-1] == '.'
	if m := floatRE.FindString(rest); m != "" && !afterDot {
		f, err := strconv.ParseFloat(strings.ReplaceAll(m, "_", ""), 64)
		if err != nil && f == 0 {
			return syntaxf(l.line, "number %q: %w", m, err)
		}
		l.emit(tokNumber, m, f)
		l.advance(l.pos + len(m))
		return nil
	}
	m := intRE.FindString(rest)
	if len(m) > maxIntBits {
		return at(l.line, limitf("an integer of %d digits", len(m)))
	}
	i, ok := new(big.Int).SetString(strings.ReplaceAll(m, "_", ""), 0)
	if !ok || i.BitLen() > maxIntBits {
		return syntaxf(l.line, "integer of %d digits is not valid", len(m))
	}
	l.emit(tokNumber, m, fromBig(i))
	l.advance(l.pos + len(m))
	return nil
}

func (l *lexer) str(rest string) error {
	quote := rest[0]
	i := 1
	for ; i < len(rest) && rest[i] != quote; i++ {
		if rest[i] == '\\' {
			i++
		}
	}
	if i >= len(rest) {
		return syntaxf(l.line, "a string is not closed: add %c", quote)
	}
	s, err := unescape(rest[1:i])
	if err != nil {
		return syntaxf(l.line, "%w", err)
	}
	l.emit(tokString, s, nil)
	l.advance(l.pos + i + 1)
	return nil
}

var simpleEscapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"",
	'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape decodes a string literal's body as Python's unicode-escape codec
// does after its non-ASCII characters were written as escapes.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		i++
		c := s[i] // the lexer never ends a string behind a backslash
		if text, ok := simpleEscapes[c]; ok {
			b.WriteString(text)
			i++
			continue
		}
		n, err := numericEscape(&b, s[i:])
		if err != nil {
			return "", err
		}
		i += n
	}
	return b.String(), nil
}

// numericEscape writes what the escape after a backslash stands for and
// returns its length.
func numericEscape(b *strings.Builder, s string) (int, error) {
	size, skip, base := 0, 1, 16
	switch c := s[0]; {
	case c == 'x':
		size = 2
	case c == 'u':
		size = 4
	case c == 'U':
		size = 8
	case c == 'N':
		return 0, fmt.Errorf(`escape \N is not supported: write the character or \u`)
	case c >= '0' && c <= '7':
		base, skip = 8, 0
		for size < 3 && size < len(s) && s[size] >= '0' && s[size] <= '7' {
			size++
		}
	case c >= utf8.RuneSelf:
		r, n := utf8.DecodeRuneInString(s)
		b.WriteByte('\\')
		b.WriteString(asciiEscape(r)[1:])
		return n, nil
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
		return 1, nil
	}
	if len(s) < skip+size {
		return 0, fmt.Errorf(`escape \%s is too short`, s)
	}
	n, err := strconv.ParseUint(s[skip:skip+size], base, 32)
	if err != nil || !utf8.ValidRune(rune(n)) || n > unicode.MaxRune {
		return 0, fmt.Errorf(`escape \%s is not a character`, s[:skip+size])
	}
	b.WriteRune(rune(n))
	return skip + size, nil
}

// asciiEscape writes a character as \xhh, \uhhhh or \Uhhhhhhhh.
func asciiEscape(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// isSpace is Python's str.isspace, which is also what \s matches there.
func isSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1c && r <= ' ', r == 0x85:
		return true
	case r < 0x80:
		return false
	}
	return unicode.Is(unicode.Z, r)
}
