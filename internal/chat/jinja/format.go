package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is how one value is formatted, by % or by format().
type spec struct {
	fill  rune
	align byte // '<', '>', '^', '=' or 0
	sign  byte // '+', ' ' or 0
	alt   bool
	width int
	group byte // ',', '_' or 0
	prec  int  // -1 where there is none
	verb  byte // 0 where there is none
	zero  bool // fill and align come from a 0 before the width
}

// fit pads a formatted value to its width. body is the number or text behind
// its sign.
func (m *machine) fit(sp spec, sign, body string) (string, error) {
	n := sp.width - runeLen(sign) - runeLen(body)
	if n <= 0 {
		return sign + body, m.spend(len(body))
	}
	if err := m.spendTimes(n, 4); err != nil {
		return "", err
	}
	if err := m.spend(len(body)); err != nil {
		return "", err
	}
	fill := func(n int) string { return strings.Repeat(string(sp.fill), n) }
	switch sp.align {
	case '<':
		return sign + body + fill(n), nil
	case '^':
		return fill(n/2) + sign + body + fill(n-n/2), nil
	case '=':
		return sign + fill(n) + body, nil
	}
	return fill(n) + sign + body, nil
}

func (m *machine) formatText(sp spec, s string) (string, error) {
	if sp.prec >= 0 && sp.prec < runeLen(s) {
		s = string([]rune(s)[:sp.prec])
	}
	return m.fit(sp, "", s)
}

func signOf(sp spec, negative bool) string {
	switch {
	case negative:
		return "-"
	case sp.sign != 0:
		return string(sp.sign)
	}
	return ""
}

// formatInt formats an integer with at least so many digits.
func (m *machine) formatInt(sp spec, i *big.Int, digits int) (string, error) {
	base := map[byte]int{'b': 2, 'o': 8, 'x': 16, 'X': 16}[sp.verb]
	if base == 0 {
		base = 10
	}
	s := new(big.Int).Abs(i).Text(base)
	if n := digits - len(s); n > 0 {
		if err := m.spend(n); err != nil {
			return "", err
		}
		s = strings.Repeat("0", n) + s
	}
	if sp.group != 0 {
		size := 3
		if base != 10 {
			size = 4
		}
		s = grouped(s, string(sp.group), size)
	}
	sign := signOf(sp, i.Sign() < 0)
	if sp.alt && base != 10 {
		sign += "0" + string(sp.verb)
	}
	if sp.verb == 'X' {
		s = strings.ToUpper(s)
	}
	return m.fit(sp, sign, s)
}

func grouped(s, sep string, size int) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && (len(s)-i)%size == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// maxPrecision is more than any float has digits.
const maxPrecision = 1100

// formatFloat formats a float; verb 0 is repr, or g with a precision.
func (m *machine) formatFloat(sp spec, f float64) (string, error) {
	if sp.prec > maxPrecision {
		return "", limitf("a precision of %d digits", sp.prec)
	}
	prec := sp.prec
	if prec < 0 {
		prec = 6
	}
	verb := sp.verb
	var s string
	switch {
	case f != f || f-f != 0: // NaN and infinities
		s = strings.TrimPrefix(formatFloat(f), "-")
	case verb == '%':
		s = strconv.FormatFloat(f*100, 'f', prec, 64) + "%"
	case verb == 0 && sp.prec < 0:
		s = formatFloat(f)
	case verb == 'g' || verb == 'G' || verb == 0:
		s = general(f, max(1, prec), sp.alt)
		if verb == 0 && !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
	default:
		s = strconv.FormatFloat(f, verb|0x20, prec, 64)
	}
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	if verb >= 'A' && verb <= 'Z' {
		s = strings.ToUpper(s)
	}
	if sp.group != 0 {
		whole := len(s) - len(strings.TrimLeft(s, "0123456789"))
		s = grouped(s[:whole], string(sp.group), 3) + s[whole:]
	}
	return m.fit(sp, signOf(sp, negative), s)
}

// general is C's %.{prec}g.
func general(f float64, prec int, keepZeros bool) string {
	s := strconv.FormatFloat(f, 'e', prec-1, 64)
	e := strings.IndexByte(s, 'e')
	exp, _ := strconv.Atoi(s[e+1:])
	tail := s[e:]
	if exp < -4 || exp >= prec {
		s = s[:e]
	} else {
		s, tail = strconv.FormatFloat(f, 'f', prec-1-exp, 64), ""
	}
	if !keepZeros && strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s + tail
}

// format is Python's text.format(*args, **kw).
func (m *machine) format(s string, args []Value, kw []keyword) (Value, error) {
	out, err := m.formatFields(s, args, kw, &counter{}, 0)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func formatMap(s string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind("format_map", args, kw, 1, "-mapping")
		if err != nil {
			return nil, err
		}
		d, ok := a[0].(*Dict)
		if !ok {
			return nil, fmt.Errorf("format_map needs a mapping, not a %s", typeName(a[0]))
		}
		for i, k := range d.keys {
			if id, ok := text(k); ok {
				kw = append(kw, keyword{id, d.vals[i]})
			}
		}
		return m.format(s, nil, kw)
	}
}

// counter numbers the fields without a name; explicit numbers exclude it.
type counter struct {
	next     int
	explicit bool
}

func (m *machine) formatFields(s string, args []Value, kw []keyword, c *counter, depth int) (string, error) {
	if depth > 1 {
		return "", errors.New("format: fields are nested too deeply")
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		ch := s[i]
		doubled := i+1 < len(s) && s[i+1] == ch
		switch {
		case ch != '{' && ch != '}':
			b.WriteByte(ch)
			i++
		case doubled:
			b.WriteByte(ch)
			i += 2
		case ch == '}':
			return "", errors.New("format: a single } must be written }}")
		default:
			end := fieldEnd(s[i:])
			if end < 0 {
				return "", errors.New("format: a field is not closed")
			}
			text, err := m.formatField(s[i+1:i+end], args, kw, c, depth)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i += end + 1
		}
		if err := m.visit(b.Len(), 0); err != nil {
			return "", err
		}
	}
	return b.String(), m.spend(b.Len())
}

// fieldEnd returns where the field that opens at s[0] is closed.
func fieldEnd(s string) int {
	level := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			level++
		case '}':
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}

func (m *machine) formatField(field string, args []Value, kw []keyword, c *counter, depth int) (string, error) {
	id, format, _ := strings.Cut(field, ":")
	id, conv, hasConv := strings.Cut(id, "!")
	v, err := m.fieldValue(id, args, kw, c)
	if err != nil {
		return "", err
	}
	if hasConv {
		switch conv {
		case "s":
			v, err = m.str(v)
		case "r":
			v, err = m.repr(v)
		default:
			err = fmt.Errorf("format: conversion !%.20s is not supported", conv)
		}
		if err != nil {
			return "", err
		}
	}
	if format != "" {
		if format, err = m.formatFields(format, args, kw, c, depth+1); err != nil {
			return "", err
		}
	}
	return m.formatValue(v, format)
}

func (m *machine) fieldValue(id string, args []Value, kw []keyword, c *counter) (Value, error) {
	first := id
	if i := strings.IndexAny(id, ".["); i >= 0 {
		first = id[:i]
	}
	rest := id[len(first):]
	var v Value
	n, numErr := strconv.Atoi(first)
	if first == "" {
		if c.explicit {
			return nil, errors.New("format: numbered and unnumbered fields cannot be mixed")
		}
		n, numErr = c.next, nil
		c.next++
	} else if numErr == nil {
		if c.next > 0 {
			return nil, errors.New("format: numbered and unnumbered fields cannot be mixed")
		}
		c.explicit = true
	}
	found := false
	if numErr == nil {
		if found = n >= 0 && n < len(args); found {
			v = args[n]
		}
	} else {
		for _, k := range kw {
			if k.name == first {
				v, found = k.val, true
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("format: there is no value for field %.80q", first)
	}
	return m.fieldPath(v, rest)
}

// fieldPath follows .name and [key] behind the name of a field.
func (m *machine) fieldPath(v Value, path string) (Value, error) {
	for path != "" {
		var err error
		if path[0] == '.' {
			end := strings.IndexAny(path[1:], ".[")
			if end < 0 {
				end = len(path) - 1
			}
			v, err = m.getattr(v, path[1:1+end])
			path = path[1+end:]
		} else {
			end := strings.IndexByte(path, ']')
			if path[0] != '[' || end < 0 {
				return nil, errors.New("format: a field's name is not valid")
			}
			var key Value = path[1:end]
			if n, numErr := strconv.ParseInt(path[1:end], 10, 64); numErr == nil && n >= 0 {
				key = n
			}
			v, err = m.getitem(v, key)
			path = path[end+1:]
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

// formatValue is Python's format(v, spec).
func (m *machine) formatValue(v Value, format string) (string, error) {
	if format == "" {
		return m.str(v)
	}
	sp, err := parseSpec(format)
	if err != nil {
		return "", err
	}
	bad := fmt.Errorf("format: %.40q does not fit a %s", format, typeName(v))
	if s, ok := text(v); ok {
		if sp.zero {
			sp.align = '<'
		}
		if sp.verb != 0 && sp.verb != 's' || sp.sign != 0 || sp.alt || sp.group != 0 || sp.align == '=' {
			return "", bad
		}
		if sp.align == 0 {
			sp.align = '<'
		}
		return m.formatText(sp, s)
	}
	if !isNumber(v) {
		return "", bad
	}
	if sp.align == 0 {
		sp.align = '>'
	}
	if i, ok := toBig(v); ok && strings.IndexByte("\x00bdoxX", sp.verb) >= 0 {
		if sp.prec >= 0 || sp.group == ',' && strings.IndexByte("\x00d", sp.verb) < 0 {
			return "", bad
		}
		if sp.group != 0 && sp.fill == '0' && sp.align == '=' {
			return "", errors.New("format: zero padding with groups is not supported")
		}
		return m.formatInt(sp, i, 0)
	}
	if strings.IndexByte("\x00eEfFgG%", sp.verb) < 0 {
		return "", bad
	}
	if sp.group != 0 && sp.fill == '0' && sp.align == '=' {
		return "", errors.New("format: zero padding with groups is not supported")
	}
	f, err := toFloat(v)
	if err != nil {
		return "", err
	}
	return m.formatFloat(sp, f)
}

// parseSpec reads [[fill]align][sign][#][0][width][group][.precision][type].
func parseSpec(s string) (spec, error) {
	sp := spec{fill: ' ', prec: -1}
	r, n := utf8.DecodeRuneInString(s)
	isAlign := func(i int) bool { return i < len(s) && strings.IndexByte("<>^=", s[i]) >= 0 }
	i := 0
	if isAlign(n) {
		sp.fill, sp.align, i = r, s[n], n+1
	} else if isAlign(0) {
		sp.align, i = s[0], 1
	}
	peek := func(set string) bool { return i < len(s) && strings.IndexByte(set, s[i]) >= 0 }
	if peek("+- ") {
		if s[i] != '-' {
			sp.sign = s[i]
		}
		i++
	}
	if peek("#") {
		sp.alt = true
		i++
	}
	if peek("0") {
		if sp.align == 0 {
			sp.fill, sp.align, sp.zero = '0', '=', true
		}
		i++
	}
	number := func() (int, error) {
		from := i
		for i < len(s) && digit(s[i]) {
			i++
		}
		return smallInt(s[from:i])
	}
	var err error
	if sp.width, err = number(); err != nil {
		return sp, err
	}
	if peek(",_") {
		sp.group = s[i]
		i++
	}
	if peek(".") {
		i++
		if !peek("0123456789") {
			return sp, errors.New("format: the precision is missing")
		}
		if sp.prec, err = number(); err != nil {
			return sp, err
		}
	}
	if i < len(s) {
		sp.verb = s[i]
		i++
	}
	if i < len(s) {
		return sp, fmt.Errorf("format: %.40q is not valid", s)
	}
	return sp, nil
}
