package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func runeLen(s string) int { return utf8.RuneCountInString(s) }

// str is Python's str(v): what {{ v }} prints.
func (m *machine) str(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case Markup:
		return string(v), nil
	case *undefined:
		return "", nil
	}
	return m.repr(v)
}

// repr is Python's repr(v).
func (m *machine) repr(v Value) (string, error) {
	var b strings.Builder
	if err := m.writeRepr(&b, v, 0); err != nil {
		return "", err
	}
	return b.String(), m.spend(b.Len())
}

func (m *machine) writeRepr(b *strings.Builder, v Value, depth int) error {
	if err := m.visit(b.Len(), depth); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case float64:
		b.WriteString(formatFloat(v))
	case string:
		writeQuoted(b, v)
	case Markup:
		b.WriteString("Markup(")
		writeQuoted(b, string(v))
		b.WriteByte(')')
	case *undefined:
		b.WriteString("Undefined")
	case Tuple:
		if len(v) == 1 {
			return m.writeSequence(b, "(", v, ",)", depth)
		}
		return m.writeSequence(b, "(", v, ")", depth)
	case *List:
		return m.writeSequence(b, "[", v.items, "]", depth)
	case *Dict:
		return m.writeDict(b, v, depth)
	case rng:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case view:
		name := map[byte]string{'k': "dict_keys([", 'v': "dict_values([", 'i': "dict_items(["}[v.kind]
		items, err := m.list(v)
		if err != nil {
			return err
		}
		return m.writeSequence(b, name, items, "])", depth)
	case *namespace:
		b.WriteString("<Namespace ")
		if err := m.writeDict(b, v.attrs, depth); err != nil {
			return err
		}
		b.WriteByte('>')
	case *macro:
		if v.def.name == "" {
			b.WriteString("<Macro anonymous>")
			return nil
		}
		b.WriteString("<Macro ")
		writeQuoted(b, v.def.name)
		b.WriteByte('>')
	case *loopState:
		n, err := v.length()
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.index+1, n)
	default:
		if !isNumber(v) {
			return fmt.Errorf("a %s has no text that is the same everywhere: it cannot be printed", typeName(v))
		}
		b.WriteString(formatInt(v))
	}
	return nil
}

func (m *machine) writeSequence(b *strings.Builder, open string, items []Value, end string, depth int) error {
	b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := m.writeRepr(b, item, depth+1); err != nil {
			return err
		}
	}
	b.WriteString(end)
	return nil
}

func (m *machine) writeDict(b *strings.Builder, d *Dict, depth int) error {
	b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := m.writeRepr(b, k, depth+1); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := m.writeRepr(b, d.vals[i], depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// writeQuoted writes Python's repr of a string: single quotes unless the text
// holds some and no double ones.
func writeQuoted(b *strings.Builder, s string) {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r != ' ' && !unicode.IsPrint(r):
			b.WriteString(asciiEscape(r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(quote)
}

// escapeHTML is markupsafe's escape.
func escapeHTML(s string) string { return htmlEscapes.Replace(s) }

var htmlEscapes = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", "\"", "&#34;")

// escape returns a value as markup, escaped unless it is markup already.
func (m *machine) escape(v Value) (Markup, error) {
	if s, ok := v.(Markup); ok {
		return s, nil
	}
	s, err := m.str(v)
	if err != nil {
		return "", err
	}
	if err := m.spend(len(s)); err != nil {
		return "", err
	}
	return Markup(escapeHTML(s)), nil
}
