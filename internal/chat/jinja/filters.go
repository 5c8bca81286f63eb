package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// filterTable returns the filters of text and numbers, and with
// sequenceFilters all filters.
func filterTable() map[string]builtin {
	t := map[string]builtin{
		"abs":            filterAbs,
		"attr":           filterAttr,
		"capitalize":     textFilter("capitalize"),
		"center":         filterCenter,
		"default":        filterDefault,
		"escape":         filterEscape,
		"filesizeformat": filterFileSize,
		"float":          filterFloat,
		"forceescape":    filterForceEscape,
		"format":         filterFormat,
		"indent":         filterIndent,
		"int":            filterInt,
		"lower":          textFilter("lower"),
		"replace":        filterReplace,
		"round":          filterRound,
		"safe":           filterSafe,
		"string":         filterString,
		"title":          filterTitle,
		"tojson":         filterToJSON,
		"trim":           filterTrim,
		"truncate":       filterTruncate,
		"upper":          textFilter("upper"),
		"urlencode":      filterURLEncode,
		"wordcount":      filterWordCount,
	}
	t["d"] = t["default"]
	t["e"] = t["escape"]
	sequenceFilters(t)
	return t
}

// soft is the text of a value; markup stays markup.
func (m *machine) soft(v Value) (Value, error) {
	if _, ok := text(v); ok {
		return v, nil
	}
	return m.str(v)
}

// textFilter is a filter that calls the text method of the same name.
func textFilter(id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 1, "s")
		if err != nil {
			return nil, err
		}
		return m.method(a[0], id)
	}
}

// method calls a method of a value's text.
func (m *machine) method(v Value, id string, args ...Value) (Value, error) {
	s, err := m.soft(v)
	if err != nil {
		return nil, err
	}
	fn, _, err := m.attribute(s, id)
	if err != nil {
		return nil, err
	}
	return m.call(fn, args, nil)
}

func filterTrim(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("trim", args, kw, 1, "value", "chars")
	if err != nil {
		return nil, err
	}
	return m.method(a[0], "strip", a[1])
}

func filterCenter(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("center", args, kw, 1, "value", "width")
	if err != nil {
		return nil, err
	}
	if a[1] == nil {
		a[1] = int64(80)
	}
	return m.method(a[0], "center", a[1])
}

func filterReplace(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("replace", args, kw, 3, "s", "old", "new", "count")
	if err != nil {
		return nil, err
	}
	var s [3]string
	for i := range s {
		if s[i], err = m.str(a[i]); err != nil {
			return nil, err
		}
	}
	return m.replace(s[0], s[1], s[2], a[3])
}

// filterTitle differs from the text method title: words begin behind spaces,
// hyphens and opening brackets only.
func filterTitle(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("title", args, kw, 1, "s")
	if err != nil {
		return nil, err
	}
	s, err := m.str(a[0])
	if err != nil {
		return nil, err
	}
	if err := m.spendCase(s); err != nil {
		return nil, err
	}
	splits := func(r rune) bool { return isSpace(r) || strings.ContainsRune("-({[<", r) }
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, splits)
		if n < 0 {
			n = len(s)
		}
		if n > 0 {
			size := runeSize(s)
			b.WriteString(upper(s[:size]) + lower(s[size:n]))
		}
		rest := strings.TrimLeftFunc(s[n:], splits)
		b.WriteString(s[n : len(s)-len(rest)])
		s = rest
	}
	return like(a[0], b.String()), nil
}

func filterString(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("string", args, kw, 1, "s")
	if err != nil {
		return nil, err
	}
	return m.soft(a[0])
}

func filterSafe(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("safe", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	s, err := m.str(a[0])
	return Markup(s), err
}

func filterEscape(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("escape", args, kw, 1, "-s")
	if err != nil {
		return nil, err
	}
	if a[0] == nil {
		return Markup("None"), nil
	}
	return m.escape(a[0])
}

func filterForceEscape(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("forceescape", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	s, err := m.str(a[0])
	if err != nil {
		return nil, err
	}
	return m.escape(s)
}

func filterDefault(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("default", args, kw, 1, "value", "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	_, missing := a[0].(*undefined)
	if !missing {
		strict, err := m.truth(a[2])
		if err != nil {
			return nil, err
		}
		yes, err := m.truth(a[0])
		if err != nil || yes || !strict {
			return a[0], err
		}
	}
	if len(args) < 2 && (len(kw) == 0 || kw[0].name != "default_value" && kw[len(kw)-1].name != "default_value") {
		return "", nil
	}
	return a[1], nil
}

func filterAttr(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("attr", args, kw, 2, "obj", "name")
	if err != nil {
		return nil, err
	}
	id, err := textArg("attr", a[1], "")
	if err != nil {
		return nil, err
	}
	if u, ok := a[0].(*undefined); ok {
		return nil, u.err()
	}
	if v, ok, err := m.attribute(a[0], id); ok || err != nil {
		return v, err
	}
	return undefinedf("%s has no attribute %.80q", typeName(a[0]), id), nil
}

func filterFormat(m *machine, args []Value, kw []keyword) (Value, error) {
	if len(args) == 0 || len(args) > 1 && len(kw) > 0 {
		return nil, errors.New("takes values either by position or by name")
	}
	s, err := m.soft(args[0])
	if err != nil {
		return nil, err
	}
	var arg Value = Tuple(args[1:])
	if len(kw) > 0 {
		d := NewDict()
		for _, k := range kw {
			d.Set(k.name, k.val)
		}
		arg = d
	}
	return m.operate("%", s, arg)
}

func filterIndent(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("indent", args, kw, 1, "s", "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	if u, ok := a[0].(*undefined); ok {
		return nil, u.err()
	}
	s, ok := text(a[0])
	if !ok {
		return nil, fmt.Errorf("needs text, not a %s", typeName(a[0]))
	}
	first, err := m.truth(a[2])
	if err != nil {
		return nil, err
	}
	blank, err := m.truth(a[3])
	if err != nil {
		return nil, err
	}
	in, isText := text(a[1])
	if !isText {
		width, err := intArg("indent", a[1], 4)
		if err != nil {
			return nil, err
		}
		if width > 1000 {
			return nil, limitf("an indent of %d", width)
		}
		in = strings.Repeat(" ", max(0, width))
	}
	lines := splitLines(s+"\n", false)
	if err := m.spendTimes(len(lines), len(in)); err != nil {
		return nil, err
	}
	if err := m.spend(len(s) + len(in)*len(lines)); err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == 0 && first || i > 0 && (blank || line != "") {
			b.WriteString(in)
		}
		b.WriteString(line)
	}
	return like(a[0], b.String()), nil
}

func filterTruncate(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("truncate", args, kw, 1, "s", "length", "killwords", "end", "leeway")
	if err != nil {
		return nil, err
	}
	length, err := intArg("truncate", a[1], 255)
	if err != nil {
		return nil, err
	}
	kill, err := m.truth(a[2])
	if err != nil {
		return nil, err
	}
	end, err := textArg("truncate", a[3], "...")
	if err != nil {
		return nil, err
	}
	leeway, err := intArg("truncate", a[4], 5)
	if err != nil {
		return nil, err
	}
	if length < runeLen(end) || leeway < 0 {
		return nil, errors.New("the length must hold the end, and the leeway cannot be negative")
	}
	if _, isUndefined := a[0].(*undefined); isUndefined {
		return a[0], nil
	}
	s, ok := text(a[0])
	if !ok {
		return nil, fmt.Errorf("a %s is not supported", typeName(a[0]))
	}
	runes, err := m.runes(s)
	if err != nil {
		return nil, err
	}
	if len(runes) <= length+leeway {
		return a[0], nil
	}
	cut := string(runes[:length-runeLen(end)])
	if !kill {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return like(a[0], cut+end), nil
}

func filterWordCount(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("wordcount", args, kw, 1, "s")
	if err != nil {
		return nil, err
	}
	s, err := m.str(a[0])
	if err != nil {
		return nil, err
	}
	notWord := func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) }
	return int64(len(strings.FieldsFunc(s, notWord))), m.spend(len(s))
}

// filterURLEncode quotes text, or the pairs of a mapping for a query.
func filterURLEncode(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("urlencode", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	_, isText := text(a[0])
	if isText || !isIterable(a[0]) {
		s, err := m.str(a[0])
		if err != nil {
			return nil, err
		}
		return urlQuote(s, "/"), m.spend(3 * len(s))
	}
	if _, ok := a[0].(*undefined); ok {
		return "", nil
	}
	d := NewDict()
	if err := m.fill(d, a[0]); err != nil {
		return nil, err
	}
	var pairs []string
	for i, k := range d.keys {
		key, err := m.str(k)
		if err != nil {
			return nil, err
		}
		val, err := m.str(d.vals[i])
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, urlQuote(key, " ")+"="+urlQuote(val, " "))
	}
	out := strings.ReplaceAll(strings.Join(pairs, "&"), " ", "+")
	return out, m.spend(3 * len(out))
}

func urlQuote(s, safe string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if digit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("_.-~"+safe, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func filterAbs(_ *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("abs", args, kw, 1, "-x")
	if err != nil {
		return nil, err
	}
	if f, ok := a[0].(float64); ok {
		return math.Abs(f), nil
	}
	i, ok := toBig(a[0])
	if !ok {
		return nil, fmt.Errorf("needs a number, not a %s", typeName(a[0]))
	}
	return fromBig(new(big.Int).Abs(i)), nil
}

func floatToInt(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errors.New("not a finite number")
	}
	i, _ := new(big.Float).SetFloat64(f).Int(nil)
	return fromBig(i), nil
}

func filterInt(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("int", args, kw, 1, "value", "default", "base")
	if err != nil {
		return nil, err
	}
	base, err := intArg("int", a[2], 10)
	if err != nil {
		return nil, err
	}
	switch v := a[0].(type) {
	case *undefined:
		return nil, v.err()
	case float64:
		return floatToInt(v) // an infinity is an error in Python, too
	case string, Markup:
		s, _ := text(v)
		if err := m.spend(len(s)); err != nil {
			return nil, err
		}
		if i, err := parseInt(s, int64(base)); err == nil {
			return i, nil
		}
		if f, err := parseFloat(s); err == nil && !math.IsNaN(f) {
			return floatToInt(f)
		}
	}
	if i, ok := toBig(a[0]); ok {
		return fromBig(i), nil
	}
	if a[1] == nil && len(args) < 2 {
		return int64(0), nil
	}
	return a[1], nil
}

func filterFloat(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("float", args, kw, 1, "value", "default")
	if err != nil {
		return nil, err
	}
	if u, ok := a[0].(*undefined); ok {
		return nil, u.err()
	}
	if isNumber(a[0]) {
		return toFloat(a[0])
	}
	if s, ok := text(a[0]); ok {
		if f, err := parseFloat(s); err == nil {
			return f, m.spend(len(s))
		}
	}
	if a[1] == nil && len(args) < 2 {
		return 0.0, nil
	}
	return a[1], nil
}

func filterRound(_ *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("round", args, kw, 1, "value", "precision", "method")
	if err != nil {
		return nil, err
	}
	prec, err := intArg("round", a[1], 0)
	if err != nil {
		return nil, err
	}
	how, err := textArg("round", a[2], "common")
	if err != nil {
		return nil, err
	}
	if prec < 0 || prec > 300 {
		return nil, errors.New("a precision below 0 or above 300 is not supported")
	}
	if u, ok := a[0].(*undefined); ok {
		return nil, u.err()
	}
	if !isNumber(a[0]) {
		return nil, fmt.Errorf("needs a number, not a %s", typeName(a[0]))
	}
	if how == "common" {
		f, ok := a[0].(float64)
		if !ok {
			i, _ := toBig(a[0])
			return fromBig(i), nil
		}
		return strconv.ParseFloat(strconv.FormatFloat(f, 'f', prec, 64), 64)
	}
	return roundTo(a[0], prec, how)
}

func roundTo(v Value, prec int, how string) (Value, error) {
	scale := fromBig(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(prec)), nil))
	x, err := arithmetic("*", v, scale)
	if err != nil {
		return nil, err
	}
	if f, ok := x.(float64); ok {
		switch how {
		case "ceil":
			f = math.Ceil(f)
		case "floor":
			f = math.Floor(f)
		default:
			return nil, errors.New("the method must be common, ceil or floor")
		}
		if x, err = floatToInt(f); err != nil {
			return nil, err
		}
	} else if how != "ceil" && how != "floor" {
		return nil, errors.New("the method must be common, ceil or floor")
	}
	return arithmetic("/", x, scale)
}

func filterFileSize(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("filesizeformat", args, kw, 1, "value", "binary")
	if err != nil {
		return nil, err
	}
	v, err := filterFloat(m, []Value{a[0], nil}, nil)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fmt.Errorf("needs a number, not a %s", typeName(a[0]))
	}
	binary, err := m.truth(a[1])
	if err != nil {
		return nil, err
	}
	size, base, suffix := v.(float64), 1000.0, "B"
	if binary {
		base, suffix = 1024, "iB"
	}
	if size == 1 {
		return "1 Byte", nil
	}
	if size < base {
		i, err := floatToInt(size)
		if err != nil {
			return nil, err
		}
		return formatInt(i) + " Bytes", nil
	}
	unit := base
	var letter byte
	for i, c := range []byte("kMGTPEZY") {
		unit *= base
		letter = c
		if size < unit || i == 7 {
			break
		}
	}
	if binary && letter == 'k' {
		letter = 'K'
	}
	return fmt.Sprintf("%.1f %c%s", float64(base*size)/unit, letter, suffix), nil
}
