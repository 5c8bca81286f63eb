package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// percent is Python's text % value.
func (m *machine) percent(s string, arg Value) (string, error) {
	args, isTuple := arg.(Tuple)
	if !isTuple {
		args = Tuple{arg}
	}
	dict, _ := arg.(*Dict)
	next := 0
	take := func() (Value, error) {
		if next >= len(args) {
			return nil, errors.New("%: not enough values for the format")
		}
		next++
		return args[next-1], nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '%' {
			b.WriteByte(s[i])
			i++
			continue
		}
		i++
		if i < len(s) && s[i] == '%' {
			b.WriteByte('%')
			i++
			continue
		}
		src := take
		if i < len(s) && s[i] == '(' {
			end := strings.IndexByte(s[i:], ')')
			if end < 0 || dict == nil {
				return "", errors.New("%: a named value needs a mapping")
			}
			key := s[i+1 : i+end]
			v, ok := dict.Get(key)
			if !ok {
				return "", fmt.Errorf("%%: the mapping has no key %.80q", key)
			}
			next = len(args)
			src = func() (Value, error) { return v, nil }
			i += end + 1
		}
		sp, n, err := percentSpec(s[i:], take)
		if err != nil {
			return "", err
		}
		i += n
		v, err := src()
		if err != nil {
			return "", err
		}
		text, err := m.percentValue(sp, v)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		if err := m.visit(b.Len(), 0); err != nil {
			return "", err
		}
	}
	// Python lets a mapping, or what looks like one, go unused.
	switch arg.(type) {
	case *Dict, *List, rng, *undefined:
		next = len(args)
	}
	if next < len(args) {
		return "", errors.New("%: not all values were used")
	}
	return b.String(), m.spend(b.Len())
}

// percentSpec reads what stands between % and the end of a conversion.
func percentSpec(s string, take func() (Value, error)) (spec, int, error) {
	sp := spec{fill: ' ', align: '>', prec: -1}
	i := 0
	for ; i < len(s) && strings.IndexByte("-+ #0", s[i]) >= 0; i++ {
		switch s[i] {
		case '-':
			sp.align = '<'
		case '0':
			if sp.align != '<' {
				sp.fill, sp.align = '0', '='
			}
		case '#':
			sp.alt = true
		case '+':
			sp.sign = '+'
		case ' ':
			if sp.sign == 0 {
				sp.sign = ' '
			}
		}
	}
	number := func() (int, error) {
		if i < len(s) && s[i] == '*' {
			i++
			v, err := take()
			if err != nil {
				return 0, err
			}
			return intArg("%", v, 0)
		}
		from := i
		for i < len(s) && digit(s[i]) {
			i++
		}
		return smallInt(s[from:i])
	}
	var err error
	if sp.width, err = number(); err != nil {
		return sp, 0, err
	}
	if sp.width < 0 {
		sp.align, sp.width = '<', -sp.width
	}
	if i < len(s) && s[i] == '.' {
		i++
		if sp.prec, err = number(); err != nil {
			return sp, 0, err
		}
		sp.prec = max(0, sp.prec)
	}
	for i < len(s) && (s[i] == 'l' || s[i] == 'L' || s[i] == 'h') {
		i++
	}
	if i == len(s) {
		return sp, 0, errors.New("%: the format ends too early")
	}
	sp.verb = s[i]
	return sp, i + 1, nil
}

// smallInt reads a width or precision; nothing is zero.
func smallInt(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > maxOutput {
		return 0, limitf("a width of %.20s", s)
	}
	return n, nil
}

func (m *machine) percentValue(sp spec, v Value) (string, error) {
	switch sp.verb {
	case 's', 'r', 'a':
		s, err := m.str(v)
		if sp.verb != 's' {
			s, err = m.repr(v)
		}
		if err != nil {
			return "", err
		}
		if sp.align == '=' {
			sp.fill, sp.align = ' ', '>'
		}
		return m.formatText(sp, s)
	case 'c':
		if n, ok := toInt(v); ok && utf8.ValidRune(rune(n)) && n <= utf8.MaxRune {
			return m.formatText(sp, string(rune(n)))
		}
		if s, ok := text(v); ok && runeLen(s) == 1 {
			return m.formatText(sp, s)
		}
		return "", errors.New("%c needs a character")
	case 'd', 'i', 'u', 'o', 'x', 'X':
		if u, ok := v.(*undefined); ok {
			return "", u.err()
		}
		if f, ok := v.(float64); ok && strings.IndexByte("diu", sp.verb) >= 0 {
			i, err := floatToInt(f)
			if err != nil {
				return "", err
			}
			v = i
		}
		i, ok := toBig(v)
		if !ok {
			return "", fmt.Errorf("%%%c needs a number, not a %s", sp.verb, typeName(v))
		}
		if strings.IndexByte("iu", sp.verb) >= 0 {
			sp.verb = 'd'
		}
		digits := sp.prec
		sp.prec = -1
		return m.formatInt(sp, i, digits)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if u, ok := v.(*undefined); ok {
			return "", u.err()
		}
		if !isNumber(v) {
			return "", fmt.Errorf("%%%c needs a number, not a %s", sp.verb, typeName(v))
		}
		f, err := toFloat(v)
		if err != nil {
			return "", err
		}
		return m.formatFloat(sp, f)
	}
	return "", fmt.Errorf("%%%c is not a format", sp.verb)
}
