package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// globalTable returns the functions that every template sees.
func (m *machine) globalTable() map[string]Value {
	t := map[string]Value{}
	for id, fn := range map[string]builtin{
		"range":           globalRange,
		"dict":            globalDict,
		"namespace":       globalNamespace,
		"cycler":          globalCycler,
		"joiner":          globalJoiner,
		"lipsum":          globalLipsum,
		"raise_exception": globalRaise,
		"strftime_now":    globalNow,
	} {
		t[id] = &function{id, fn}
	}
	return t
}

func globalRange(_ *machine, args []Value, kw []keyword) (Value, error) {
	if len(args) == 0 || len(args) > 3 || len(kw) > 0 {
		return nil, errors.New("range takes one to three integers")
	}
	var n [3]int64
	for i, v := range args {
		var ok bool
		if n[i], ok = toInt(v); !ok || n[i] > 1<<40 || n[i] < -1<<40 {
			return nil, fmt.Errorf("range takes integers, not a %s; those beyond 2^40 are not supported", typeName(v))
		}
	}
	r := rng{n[0], n[1], n[2]}
	switch len(args) {
	case 1:
		r = rng{0, n[0], 1}
	case 2:
		r.step = 1
	}
	if r.step == 0 {
		return nil, errors.New("the step of range cannot be zero")
	}
	if r.len() > maxRange {
		return nil, limitf("a range of %d items, allowed are %d", r.len(), maxRange)
	}
	return r, nil
}

// globalDict is dict(mapping or pairs, name=value...).
func globalDict(m *machine, args []Value, kw []keyword) (Value, error) {
	if len(args) > 1 {
		return nil, errors.New("dict takes one mapping or list of pairs, and names")
	}
	d := NewDict()
	if len(args) == 1 {
		if err := m.fill(d, args[0]); err != nil {
			return nil, err
		}
	}
	for _, k := range kw {
		d.Set(k.name, k.val)
	}
	return d, nil
}

func (m *machine) fill(d *Dict, from Value) error {
	if u, ok := from.(*undefined); ok {
		return u.err()
	}
	if x, ok := from.(*Dict); ok {
		from = view{'i', x}
	}
	items, err := m.list(from)
	if err != nil {
		return err
	}
	for _, item := range items {
		pair, err := m.list(item)
		if err != nil {
			return err
		}
		if len(pair) != 2 {
			return errors.New("a mapping is made of pairs")
		}
		h, err := m.hash(pair[0])
		if err != nil {
			return err
		}
		d.set(h, pair[0], pair[1])
	}
	return nil
}

func globalNamespace(m *machine, args []Value, kw []keyword) (Value, error) {
	d, err := globalDict(m, args, kw)
	if err != nil {
		return nil, err
	}
	return &namespace{d.(*Dict)}, nil
}

// cycler goes round its values.
type cycler struct {
	items []Value
	pos   int
}

func globalCycler(_ *machine, args []Value, kw []keyword) (Value, error) {
	if len(args) == 0 || len(kw) > 0 {
		return nil, errors.New("cycler needs at least one value")
	}
	return &cycler{items: args}, nil
}

func (c *cycler) attr(id string) (Value, bool, error) {
	switch id {
	case "current":
		return c.items[c.pos], true, nil
	case "next":
		return &function{id, func(*machine, []Value, []keyword) (Value, error) {
			v := c.items[c.pos]
			c.pos = (c.pos + 1) % len(c.items)
			return v, nil
		}}, true, nil
	case "reset":
		return &function{id, func(*machine, []Value, []keyword) (Value, error) {
			c.pos = 0
			return nil, nil
		}}, true, nil
	}
	return nil, false, nil
}

// globalJoiner returns a function that gives nothing when first called, its
// separator from then on.
func globalJoiner(_ *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("joiner", args, kw, 0, "sep")
	if err != nil {
		return nil, err
	}
	sep := a[0]
	if sep == nil {
		sep = ", "
	}
	used := false
	return &function{"joiner", func(*machine, []Value, []keyword) (Value, error) {
		if !used {
			used = true
			return "", nil
		}
		return sep, nil
	}}, nil
}

func globalLipsum(*machine, []Value, []keyword) (Value, error) {
	return nil, errors.New("lipsum, which makes random text, is not supported")
}

func globalRaise(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("raise_exception", args, kw, 1, "message")
	if err != nil {
		return nil, err
	}
	s, err := m.str(a[0])
	if err != nil {
		return nil, err
	}
	return nil, &RaisedError{s}
}

func globalNow(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("strftime_now", args, kw, 1, "format")
	if err != nil {
		return nil, err
	}
	format, err := textArg("strftime_now", a[0], "")
	if err != nil {
		return nil, err
	}
	return strftime(m.now, format)
}

// strftime formats a time as C's strftime does in the C locale; a dash behind
// the percent sign drops the padding.
func strftime(t time.Time, format string) (Value, error) {
	if len(format) > 1000 {
		return nil, limitf("a time format of %d bytes", len(format))
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		dash := i < len(format) && format[i] == '-'
		if dash {
			i++
		}
		if i == len(format) {
			return nil, errors.New("strftime_now: the format ends behind %")
		}
		s, ok := timeField(t, format[i])
		if !ok {
			return nil, fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		}
		if dash {
			if trimmed := strings.TrimLeft(s, "0 "); trimmed != "" {
				s = trimmed
			} else {
				s = s[len(s)-1:]
			}
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// goLayouts are the fields that Go's time package formats the same way.
var goLayouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'm': "01",
	'y': "06", 'Y': "2006", 'H': "15", 'I': "03", 'p': "PM", 'M': "04", 'S': "05", 'j': "002",
	'D': "01/02/06", 'x': "01/02/06", 'F': "2006-01-02", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04",
	'r': "03:04:05 PM", 'c': "Mon Jan _2 15:04:05 2006",
}

func timeField(t time.Time, c byte) (string, bool) {
	if layout, ok := goLayouts[c]; ok {
		return t.Format(layout), true
	}
	day, weekday := t.YearDay()-1, int(t.Weekday())
	year, week := t.ISOWeek()
	switch c {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'w':
		return strconv.Itoa(weekday), true
	case 'u':
		return strconv.Itoa((weekday+6)%7 + 1), true
	case 'U':
		return fmt.Sprintf("%02d", (day+7-weekday)/7), true
	case 'W':
		return fmt.Sprintf("%02d", (day+7-(weekday+6)%7)/7), true
	case 'V':
		return fmt.Sprintf("%02d", week), true
	case 'G':
		return strconv.Itoa(year), true
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100), true
	case 'z', 'Z': // a Python datetime without a zone prints none
		return "", true
	}
	return "", false
}
