package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textMethod returns a method of Python's str, bound to s, or nil.
func textMethod(s, id string) builtin {
	switch id {
	case "upper", "lower", "title", "capitalize", "swapcase", "casefold":
		return caseMethod(s, id)
	case "strip", "lstrip", "rstrip":
		return stripMethod(s, id)
	case "split", "rsplit":
		return splitMethod(s, id)
	case "startswith", "endswith":
		return affixMethod(s, id)
	case "removeprefix", "removesuffix", "partition", "rpartition":
		return partMethod(s, id)
	case "find", "rfind", "index", "rindex", "count":
		return findMethod(s, id)
	case "ljust", "rjust", "center", "zfill":
		return padMethod(s, id)
	case "splitlines":
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			a, err := bind(id, args, kw, 0, "keepends")
			if err != nil {
				return nil, err
			}
			keep, err := m.truth(a[0])
			if err != nil {
				return nil, err
			}
			return m.texts(splitLines(s, keep))
		}
	case "join":
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			a, err := bind(id, args, kw, 1, "-iterable")
			if err != nil {
				return nil, err
			}
			return m.joinTexts(s, a[0])
		}
	case "replace":
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			a, err := bind(id, args, kw, 2, "-old", "-new", "-count")
			if err != nil {
				return nil, err
			}
			return m.replace(s, a[0], a[1], a[2])
		}
	case "expandtabs":
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			a, err := bind(id, args, kw, 0, "tabsize")
			if err != nil {
				return nil, err
			}
			return m.expandTabs(s, a[0])
		}
	case "format":
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			return m.format(s, args, kw)
		}
	case "format_map":
		return formatMap(s)
	case "encode", "translate", "maketrans":
		return func(*machine, []Value, []keyword) (Value, error) {
			return nil, fmt.Errorf("the text method %s is not supported", id)
		}
	}
	if fn := textProperty(id); fn != nil {
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			if _, err := bind(id, args, kw, 0); err != nil {
				return nil, err
			}
			return fn(s), m.spend(len(s))
		}
	}
	return nil
}

// markupMethod is textMethod for markup: text arguments are escaped, and the
// text that comes back is markup.
func markupMethod(s, id string) builtin {
	fn := textMethod(s, id)
	if fn == nil {
		return nil
	}
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		args = append([]Value{}, args...)
		if id == "join" && len(args) == 1 {
			items, err := m.list(args[0])
			if err != nil {
				return nil, err
			}
			for i, v := range items {
				if items[i], err = m.escape(v); err != nil {
					return nil, err
				}
			}
			args[0] = &List{items}
		}
		for i, a := range args {
			_, isText := a.(string)
			if !isText && id != "format" {
				continue
			}
			e, err := m.escape(a)
			if err != nil {
				return nil, err
			}
			args[i] = e
		}
		v, err := fn(m, args, kw)
		switch v := v.(type) {
		case string:
			return Markup(v), err
		case *List:
			return &List{markupAll(v.items)}, err
		case Tuple:
			return Tuple(markupAll(v)), err
		}
		return v, err
	}
}

func markupAll(items []Value) []Value {
	out := make([]Value, len(items))
	for i, v := range items {
		s, _ := text(v)
		out[i] = Markup(s)
	}
	return out
}

// texts makes a list of strings.
func (m *machine) texts(list []string) (Value, error) {
	if err := m.spendItems(len(list)); err != nil {
		return nil, err
	}
	out := &List{make([]Value, len(list))}
	for i, s := range list {
		out.items[i] = s
	}
	return out, nil
}

func (m *machine) joinTexts(sep string, v Value) (Value, error) {
	items, err := m.list(v)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, item := range items {
		s, ok := text(item)
		if !ok {
			return nil, fmt.Errorf("join needs texts, item %d is a %s", i, typeName(item))
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s)
		if err := m.visit(b.Len(), 0); err != nil {
			return nil, err
		}
	}
	return b.String(), m.spend(b.Len())
}

func (m *machine) replace(s string, from, to, limit Value) (Value, error) {
	old, ok1 := text(from)
	with, ok2 := text(to)
	if !ok1 || !ok2 {
		return nil, errors.New("replace needs texts")
	}
	n, err := intArg("replace", limit, -1)
	if err != nil {
		return nil, err
	}
	found := strings.Count(s, old)
	if n >= 0 {
		found = min(found, n)
	}
	if err := m.spendTimes(found, len(with)); err != nil {
		return nil, err
	}
	if err := m.spend(len(s) + found*len(with)); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, n), nil
}

func (m *machine) expandTabs(s string, size Value) (Value, error) {
	n, err := intArg("expandtabs", size, 8)
	if err != nil {
		return nil, err
	}
	n = max(0, n)
	if err := m.spendTimes(strings.Count(s, "\t"), n); err != nil {
		return nil, err
	}
	if err := m.spend(len(s)); err != nil {
		return nil, err
	}
	var b strings.Builder
	col := 0
	for _, r := range s {
		switch {
		case r == '\t' && n > 0:
			b.WriteString(strings.Repeat(" ", n-col%n))
			col += n - col%n
		case r == '\t':
		default:
			b.WriteRune(r)
			col++
			if r == '\n' || r == '\r' {
				col = 0
			}
		}
	}
	return b.String(), nil
}

func stripMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 0, "-chars")
		if err != nil {
			return nil, err
		}
		if a[0] == nil {
			return stripText(s, id, isSpace), m.spend(len(s))
		}
		chars, err := textArg(id, a[0], "")
		if err != nil {
			return nil, err
		}
		return stripText(s, id, inSet(chars)), m.spend(len(s) + len(chars))
	}
}

func inSet(chars string) func(rune) bool {
	set := map[rune]bool{}
	for _, r := range chars {
		set[r] = true
	}
	return func(r rune) bool { return set[r] }
}

func stripText(s, id string, in func(rune) bool) string {
	if id != "rstrip" {
		s = strings.TrimLeftFunc(s, in)
	}
	if id != "lstrip" {
		s = strings.TrimRightFunc(s, in)
	}
	return s
}

func splitMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 0, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		n, err := intArg(id, a[1], -1)
		if err != nil {
			return nil, err
		}
		if err := m.spend(len(s)); err != nil {
			return nil, err
		}
		if n < 0 {
			n = len(s) + 1
		}
		if a[0] == nil {
			return m.texts(splitSpace(s, n, id == "rsplit"))
		}
		sep, err := textArg(id, a[0], "")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, errors.New("split needs a separator that is not empty")
		}
		if id == "split" {
			return m.texts(strings.SplitN(s, sep, n+1))
		}
		return m.texts(rsplit(s, sep, n))
	}
}

func rsplit(s, sep string, n int) []string {
	var out []string
	for ; n > 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		out = append(out, s[i+len(sep):])
		s = s[:i]
	}
	out = append(out, s)
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// splitSpace splits at runs of whitespace, at most n times, from the left or
// from the right.
func splitSpace(s string, n int, right bool) []string {
	out := []string{}
	notSpace := func(r rune) bool { return !isSpace(r) }
	for {
		if right {
			s = strings.TrimRightFunc(s, isSpace)
		} else {
			s = strings.TrimLeftFunc(s, isSpace)
		}
		if s == "" {
			break
		}
		if n == 0 {
			out = append(out, s)
			break
		}
		n--
		if right {
			t := strings.TrimRightFunc(s, notSpace)
			out = append(out, s[len(t):])
			s = t
		} else {
			t := strings.TrimLeftFunc(s, notSpace)
			out = append(out, s[:len(s)-len(t)])
			s = t
		}
	}
	if right {
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return out
}

// splitLines splits at Python's line ends.
func splitLines(s string, keep bool) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		end := i + n
		switch r {
		case '\r':
			if end < len(s) && s[end] == '\n' {
				end++
			}
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		default:
			i = end
			continue
		}
		if keep {
			out = append(out, s[start:end])
		} else {
			out = append(out, s[start:i])
		}
		i, start = end, end
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

func affixMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 1, "-affix", "-start", "-end")
		if err != nil {
			return nil, err
		}
		part, _, err := m.window(s, a[1], a[2])
		if err != nil {
			return nil, err
		}
		list, ok := a[0].(Tuple)
		if !ok {
			list = Tuple{a[0]}
		}
		for _, v := range list {
			x, ok := text(v)
			if !ok {
				return nil, fmt.Errorf("%s needs text or a tuple of texts, not a %s", id, typeName(v))
			}
			if part == nil {
				continue
			}
			if id == "startswith" && strings.HasPrefix(*part, x) || id == "endswith" && strings.HasSuffix(*part, x) {
				return true, nil
			}
		}
		return false, nil
	}
}

// window returns s[start:end] and the position of its start, nil where the
// start lies behind the end of s.
func (m *machine) window(s string, start, end Value) (*string, int, error) {
	if start == nil && end == nil {
		return &s, 0, nil
	}
	runes, err := m.runes(s)
	if err != nil {
		return nil, 0, err
	}
	if i, ok := toInt(start); ok && i > int64(len(runes)) {
		return nil, 0, nil
	}
	r, err := sliceRange(len(runes), start, end, nil)
	if err != nil {
		return nil, 0, err
	}
	if r.start > r.stop {
		return nil, 0, nil
	}
	part := string(runes[r.start:r.stop])
	return &part, int(r.start), nil
}

func findMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 1, "-sub", "-start", "-end")
		if err != nil {
			return nil, err
		}
		sub, ok := text(a[0])
		if !ok {
			return nil, fmt.Errorf("%s needs text, not a %s", id, typeName(a[0]))
		}
		if err := m.spend(len(s)); err != nil {
			return nil, err
		}
		part, from, err := m.window(s, a[1], a[2])
		if err != nil {
			return nil, err
		}
		at := -1
		switch {
		case part == nil && id == "count":
			return int64(0), nil
		case part == nil:
		case id == "count":
			return int64(strings.Count(*part, sub)), nil
		case id[0] == 'r':
			at = strings.LastIndex(*part, sub)
		default:
			at = strings.Index(*part, sub)
		}
		if at >= 0 {
			return int64(from + runeLen((*part)[:at])), nil
		}
		if id == "index" || id == "rindex" {
			return nil, fmt.Errorf("%s: the text is not found", id)
		}
		return int64(-1), nil
	}
}

func partMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 1, "-text")
		if err != nil {
			return nil, err
		}
		x, ok := text(a[0])
		if !ok {
			return nil, fmt.Errorf("%s needs text, not a %s", id, typeName(a[0]))
		}
		if err := m.spend(len(s)); err != nil {
			return nil, err
		}
		switch id {
		case "removeprefix":
			return strings.TrimPrefix(s, x), nil
		case "removesuffix":
			return strings.TrimSuffix(s, x), nil
		}
		if x == "" {
			return nil, fmt.Errorf("%s needs a separator that is not empty", id)
		}
		if id == "partition" {
			if i := strings.Index(s, x); i >= 0 {
				return Tuple{s[:i], x, s[i+len(x):]}, nil
			}
			return Tuple{s, "", ""}, nil
		}
		if i := strings.LastIndex(s, x); i >= 0 {
			return Tuple{s[:i], x, s[i+len(x):]}, nil
		}
		return Tuple{"", "", s}, nil
	}
}

func padMethod(s, id string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		params := []string{"-width", "-fill"}
		if id == "zfill" {
			params = params[:1]
		}
		a, err := bind(id, args, kw, 1, params...)
		if err != nil {
			return nil, err
		}
		width, err := intArg(id, a[0], 0)
		if err != nil {
			return nil, err
		}
		if a[0] == nil {
			return nil, fmt.Errorf("%s needs an integer", id)
		}
		fill := " "
		if id == "zfill" {
			fill = "0"
		} else if fill, err = textArg(id, a[1], fill); err != nil {
			return nil, err
		}
		if runeLen(fill) != 1 {
			return nil, fmt.Errorf("%s needs a fill of one character", id)
		}
		return m.pad(s, id, width, fill)
	}
}

// pad fills text up to a width.
func (m *machine) pad(s, how string, width int, fill string) (Value, error) {
	n := width - runeLen(s)
	if n <= 0 {
		return s, nil
	}
	if err := m.spendTimes(n, len(fill)); err != nil {
		return nil, err
	}
	if err := m.spend(len(s)); err != nil {
		return nil, err
	}
	switch how {
	case "ljust":
		return s + strings.Repeat(fill, n), nil
	case "zfill":
		if s != "" && (s[0] == '-' || s[0] == '+') {
			return s[:1] + strings.Repeat(fill, n) + s[1:], nil
		}
	case "center":
		left := n/2 + n&width&1
		return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left), nil
	}
	return strings.Repeat(fill, n) + s, nil
}

// textProperty returns one of the is... methods of text, or nil.
func textProperty(id string) func(string) bool {
	every := func(in func(rune) bool) func(string) bool {
		return func(s string) bool {
			return s != "" && strings.IndexFunc(s, func(r rune) bool { return !in(r) }) < 0
		}
	}
	switch id {
	case "isascii":
		return func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0 }
	case "isprintable":
		return func(s string) bool {
			return strings.IndexFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) < 0
		}
	case "isspace":
		return every(isSpace)
	case "isalpha":
		return every(unicode.IsLetter)
	case "isalnum":
		return every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	case "isdecimal":
		return every(unicode.IsDigit)
	case "isdigit":
		return every(isDigit)
	case "isnumeric":
		return every(unicode.IsNumber)
	case "isidentifier":
		return func(s string) bool {
			r, _ := utf8.DecodeRuneInString(s)
			return every(isWord)(s) && (r == '_' || unicode.IsLetter(r))
		}
	case "isupper":
		return func(s string) bool { return oneCase(s, isUpper, isLower) }
	case "islower":
		return func(s string) bool { return oneCase(s, isLower, isUpper) }
	case "istitle":
		return isTitle
	}
	return nil
}

// isDigit adds the superscripts and the like to the decimal digits.
func isDigit(r rune) bool {
	switch {
	case unicode.IsDigit(r), r == 0xb2, r == 0xb3, r == 0xb9, r == 0x2070:
		return true
	case r >= 0x2074 && r <= 0x2079, r >= 0x2080 && r <= 0x2089, r >= 0x2460 && r <= 0x2468:
		return true
	}
	return false
}
