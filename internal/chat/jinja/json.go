package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"sort"
	"strings"
	"unicode/utf16"
)

// ParseJSON reads one JSON text as Python's json.loads does: mappings keep
// their order, integers are exact, a repeated key keeps its first place and
// its last value.
func ParseJSON(data []byte) (Value, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeJSON(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("JSON at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("JSON at byte %d: more than one value", dec.InputOffset())
	}
	return v, nil
}

func decodeJSON(dec *json.Decoder, depth int) (Value, error) {
	if depth > maxValueDepth {
		return nil, limitf("JSON is nested deeper than %d", maxValueDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Number:
		return decodeNumber(string(tok))
	case json.Delim:
		if tok == '[' {
			return decodeList(dec, depth)
		}
		return decodeDict(dec, depth)
	}
	return tok, nil // nil, bool or string
}

func decodeNumber(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := parseFloat(s)
		return f, err
	}
	v, err := parseInt(s, 10)
	if err != nil {
		return nil, err
	}
	if b, ok := v.(*big.Int); ok {
		return checkBig(b)
	}
	return v, nil
}

func decodeList(dec *json.Decoder, depth int) (Value, error) {
	list := &List{}
	for dec.More() {
		v, err := decodeJSON(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list.items = append(list.items, v)
	}
	_, err := dec.Token()
	return list, err
}

func decodeDict(dec *json.Decoder, depth int) (Value, error) {
	dict := NewDict()
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeJSON(dec, depth+1)
		if err != nil {
			return nil, err
		}
		dict.Set(key.(string), v)
	}
	_, err := dec.Token()
	return dict, err
}

// dumper is Python's json.dumps.
type dumper struct {
	m         *machine
	b         strings.Builder
	ascii     bool
	indent    string
	multiline bool
	comma     string
	colon     string
	sortKeys  bool
}

func (d *dumper) newline(depth int) error {
	if !d.multiline {
		return nil
	}
	if err := d.m.spendTimes(depth, len(d.indent)); err != nil {
		return err
	}
	d.b.WriteByte('\n')
	d.b.WriteString(strings.Repeat(d.indent, depth))
	return nil
}

func (d *dumper) dump(v Value, depth int) error {
	if err := d.m.visit(d.b.Len(), depth); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		d.b.WriteString("null")
	case bool:
		fmt.Fprint(&d.b, v)
	case float64:
		d.b.WriteString(jsonFloat(v))
	case string:
		return d.quote(v)
	case Markup:
		return d.quote(string(v))
	case Tuple:
		return d.array(v, depth)
	case *List:
		return d.array(v.items, depth)
	case *Dict:
		return d.object(v, depth)
	default:
		if !isNumber(v) {
			return fmt.Errorf("a %s cannot be written as JSON", typeName(v))
		}
		d.b.WriteString(formatInt(v))
	}
	return nil
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return formatFloat(f)
}

func (d *dumper) array(items []Value, depth int) error {
	if len(items) == 0 {
		d.b.WriteString("[]")
		return nil
	}
	d.b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			d.b.WriteString(d.comma)
		}
		if err := d.newline(depth + 1); err != nil {
			return err
		}
		if err := d.dump(item, depth+1); err != nil {
			return err
		}
	}
	if err := d.newline(depth); err != nil {
		return err
	}
	d.b.WriteByte(']')
	return nil
}

func (d *dumper) object(dict *Dict, depth int) error {
	if len(dict.keys) == 0 {
		d.b.WriteString("{}")
		return nil
	}
	order := make([]int, len(dict.keys))
	for i := range order {
		order[i] = i
	}
	if d.sortKeys {
		var failed error
		sort.SliceStable(order, func(i, j int) bool {
			less, err := d.m.less(dict.keys[order[i]], dict.keys[order[j]])
			failed = errors.Join(failed, err)
			return less
		})
		if failed != nil {
			return failed
		}
	}
	d.b.WriteByte('{')
	for n, i := range order {
		if n > 0 {
			d.b.WriteString(d.comma)
		}
		if err := d.newline(depth + 1); err != nil {
			return err
		}
		key, err := jsonKey(dict.keys[i])
		if err != nil {
			return err
		}
		if err := d.quote(key); err != nil {
			return err
		}
		d.b.WriteString(d.colon)
		if err := d.dump(dict.vals[i], depth+1); err != nil {
			return err
		}
	}
	if err := d.newline(depth); err != nil {
		return err
	}
	d.b.WriteByte('}')
	return nil
}

func jsonKey(k Value) (string, error) {
	switch k := k.(type) {
	case string:
		return k, nil
	case Markup:
		return string(k), nil
	case nil:
		return "null", nil
	case bool:
		return fmt.Sprint(k), nil
	case float64:
		return jsonFloat(k), nil
	}
	if !isNumber(k) {
		return "", fmt.Errorf("a %s cannot be a key in JSON", typeName(k))
	}
	return formatInt(k), nil
}

func (d *dumper) quote(s string) error {
	if err := d.m.spend(len(s)); err != nil {
		return err
	}
	d.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			d.b.WriteByte('\\')
			d.b.WriteRune(r)
		case r == '\n':
			d.b.WriteString(`\n`)
		case r == '\r':
			d.b.WriteString(`\r`)
		case r == '\t':
			d.b.WriteString(`\t`)
		case r == '\f':
			d.b.WriteString(`\f`)
		case r == '\b':
			d.b.WriteString(`\b`)
		case r < ' ' || d.ascii && r > '~' && r < 0x10000:
			fmt.Fprintf(&d.b, `\u%04x`, r)
		case d.ascii && r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&d.b, `\u%04x\u%04x`, hi, lo)
		default:
			d.b.WriteRune(r)
		}
	}
	d.b.WriteByte('"')
	return nil
}

// filterToJSON is the tojson filter of the transformers library.
func filterToJSON(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("tojson", args, kw, 1, "value", "ensure_ascii", "indent", "separators", "sort_keys")
	if err != nil {
		return nil, err
	}
	d := dumper{m: m, comma: ", ", colon: ": "}
	if d.ascii, err = m.truth(a[1]); err != nil {
		return nil, err
	}
	if d.sortKeys, err = m.truth(a[4]); err != nil {
		return nil, err
	}
	if err := d.setIndent(a[2]); err != nil {
		return nil, err
	}
	if a[3] != nil {
		sep, err := m.list(a[3])
		if err != nil {
			return nil, err
		}
		var ok1, ok2 bool
		if len(sep) == 2 {
			d.comma, ok1 = text(sep[0])
			d.colon, ok2 = text(sep[1])
		}
		if !ok1 || !ok2 {
			return nil, errors.New("tojson: separators must be two strings")
		}
	}
	if err := d.dump(a[0], 0); err != nil {
		return nil, err
	}
	if err := m.visit(d.b.Len(), 0); err != nil {
		return nil, err
	}
	return d.b.String(), nil
}

func (d *dumper) setIndent(v Value) error {
	if v == nil {
		return nil
	}
	d.multiline = true
	d.comma = ","
	if s, ok := text(v); ok {
		d.indent = s
		return nil
	}
	n, ok := toInt(v)
	if !ok {
		return fmt.Errorf("indent must be an integer or text, not a %s", typeName(v))
	}
	if n > 1000 {
		return limitf("an indent of %d", n)
	}
	d.indent = strings.Repeat(" ", max(0, int(n)))
	return nil
}
