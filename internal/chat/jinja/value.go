package jinja

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"sort"
	"strings"
)

// Value is a value of a template: nil (None), bool, int64, *big.Int (integers
// beyond int64 only), float64, string, [Markup], [Tuple], *[List], *[Dict], and
// internal types for undefined values, generators, functions and the like.
type Value = any

// Markup is text that the safe and escape filters marked as HTML: what is
// added to it gets escaped.
type Markup string

// Tuple is an immutable list.
type Tuple []Value

// List is a list; a template cannot change one.
type List struct{ items []Value }

// NewList returns a list of the items.
func NewList(items ...Value) *List { return &List{items} }

// Dict is a mapping that keeps the order in which keys were first set.
type Dict struct {
	keys  []Value
	vals  []Value
	index map[any]int
}

// NewDict returns an empty mapping.
func NewDict() *Dict { return &Dict{index: map[any]int{}} }

// Set sets the value of a key.
func (d *Dict) Set(key string, v Value) { d.set(key, key, v) }

func (d *Dict) set(hash any, key, v Value) {
	if i, ok := d.index[hash]; ok {
		d.vals[i] = v
		return
	}
	d.index[hash] = len(d.keys)
	d.keys = append(d.keys, key)
	d.vals = append(d.vals, v)
}

// Get returns the value of a key.
func (d *Dict) Get(key string) (Value, bool) { return d.get(key) }

func (d *Dict) get(hash any) (Value, bool) {
	i, ok := d.index[hash]
	if !ok {
		return nil, false
	}
	return d.vals[i], true
}

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// undefined is what a missing name or attribute gives. It prints as nothing;
// most other uses are errors with its reason.
type undefined struct{ why string }

func undefinedf(format string, args ...any) *undefined {
	return &undefined{fmt.Sprintf(format, args...)}
}

func (u *undefined) err() error { return fmt.Errorf("undefined value used: %s", u.why) }

// generator is a sequence that can be read once.
type generator struct{ next iterator }

// iterator returns the next value, or false at the end.
type iterator func() (Value, bool, error)

// rng is Python's range.
type rng struct{ start, stop, step int64 }

func (r rng) len() int64 {
	switch {
	case r.step > 0 && r.start < r.stop:
		return (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		return (r.start-r.stop-1)/-r.step + 1
	}
	return 0
}

// view is what keys(), values() and items() of a mapping give.
type view struct {
	kind byte // 'k', 'v' or 'i'
	dict *Dict
}

func (v view) at(i int) Value {
	switch v.kind {
	case 'k':
		return v.dict.keys[i]
	case 'v':
		return v.dict.vals[i]
	}
	return Tuple{v.dict.keys[i], v.dict.vals[i]}
}

// namespace is the one object whose attributes a template can assign.
type namespace struct{ attrs *Dict }

// function is a built-in function or bound method.
type function struct {
	name string
	call func(m *machine, args []Value, kw []keyword) (Value, error)
}

type keyword struct {
	name string
	val  Value
}

func text(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

func typeName(v Value) string {
	switch v.(type) {
	case nil:
		return "none"
	case bool:
		return "boolean"
	case int64, *big.Int:
		return "integer"
	case float64:
		return "float"
	case string, Markup:
		return "string"
	case Tuple:
		return "tuple"
	case *List:
		return "list"
	case *Dict:
		return "mapping"
	case *undefined:
		return "undefined value"
	case *generator:
		return "generator"
	case rng:
		return "range"
	case view:
		return "mapping view"
	case *namespace:
		return "namespace"
	case *loopState:
		return "loop"
	}
	return "function"
}

// truth is Python's bool(v).
func (m *machine) truth(v Value) (bool, error) {
	switch v := v.(type) {
	case nil, *undefined:
		return false, nil
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case float64:
		return v != 0, nil
	case *loopState:
		n, err := v.length()
		return n != 0, err
	}
	if n, ok := length(v); ok {
		return n != 0, nil
	}
	return true, nil
}

// length is Python's len(v), false where the type has none.
func length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return runeLen(v), true
	case Markup:
		return runeLen(string(v)), true
	case Tuple:
		return len(v), true
	case *List:
		return len(v.items), true
	case *Dict:
		return len(v.keys), true
	case *undefined:
		return 0, true
	case rng:
		return int(v.len()), true
	case view:
		return len(v.dict.keys), true
	}
	return 0, false
}

// at returns an item of a value that has a length.
func itemAt(v Value, i int) Value {
	switch v := v.(type) {
	case Tuple:
		return v[i]
	case *List:
		return v.items[i]
	case *Dict:
		return v.keys[i]
	case rng:
		return v.start + int64(i)*v.step
	case view:
		return v.at(i)
	}
	panic("jinja: internal error: itemAt of " + typeName(v))
}

// iterate is Python's iter(v).
func iterate(v Value) (iterator, error) {
	if s, ok := text(v); ok {
		return iterateText(s), nil
	}
	if g, ok := v.(*generator); ok {
		return g.next, nil
	}
	n, ok := length(v)
	if !ok {
		return nil, fmt.Errorf("%s cannot be iterated over", typeName(v))
	}
	i := 0
	return func() (Value, bool, error) {
		if i >= n {
			return nil, false, nil
		}
		i++
		return itemAt(v, i-1), true, nil
	}, nil
}

func iterateText(s string) iterator {
	rest := s
	return func() (Value, bool, error) {
		if rest == "" {
			return nil, false, nil
		}
		n := runeSize(rest)
		c := rest[:n]
		rest = rest[n:]
		return c, true, nil
	}
}

func runeSize(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i]&0xc0 != 0x80 {
			return i
		}
	}
	return len(s)
}

// list is Python's list(v).
func (m *machine) list(v Value) ([]Value, error) {
	next, err := iterate(v)
	if err != nil {
		return nil, err
	}
	var out []Value
	for {
		item, ok, err := next()
		if err != nil || !ok {
			return out, err
		}
		if len(out) >= maxItems {
			return nil, limitf("a list of more than %d items", maxItems)
		}
		if err := m.step(); err != nil {
			return nil, err
		}
		out = append(out, item)
	}
}

type (
	tupleKey  string
	otherKey  struct{ what string }
	bigIntKey string
)

// hash returns a Go map key that is equal for values that Python's mappings
// take for the same key.
func (m *machine) hash(v Value) (any, error) { return m.hashAt(v, 0) }

func (m *machine) hashAt(v Value, depth int) (any, error) {
	switch v := v.(type) {
	case nil:
		return otherKey{"none"}, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case int64, string:
		return v, nil
	case Markup:
		return string(v), nil
	case *big.Int:
		return bigIntKey(v.String()), nil
	case float64:
		if i := int64(v); float64(i) == v && math.Abs(v) < 1<<62 {
			return i, nil
		}
		return v, nil
	case *undefined:
		return otherKey{"undefined"}, nil
	case Tuple:
		var b strings.Builder
		for _, item := range v {
			if err := m.visit(b.Len(), depth); err != nil {
				return nil, err
			}
			h, err := m.hashAt(item, depth+1)
			if err != nil {
				return nil, err
			}
			s := fmt.Sprint(h)
			fmt.Fprintf(&b, "%T %d %s", h, len(s), s)
		}
		return tupleKey(b.String()), m.spend(b.Len())
	case *List, *Dict, view, *generator:
		return nil, fmt.Errorf("a %s cannot be a key or a set member", typeName(v))
	}
	return nil, fmt.Errorf("a %s as a key is not supported", typeName(v))
}

// FromGo turns plain Go data into a value: nil, booleans, numbers, text, JSON
// text, slices and maps of these (a map's keys are sorted, since Go's maps have
// no order; use [ParseJSON] to keep one). Values pass through.
func FromGo(v any) (Value, error) { return fromGo(v, 0) }

func fromGo(v any, depth int) (Value, error) {
	if depth > maxValueDepth {
		return nil, limitf("a value is nested deeper than %d", maxValueDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, *List, *Dict, *big.Int:
		return v, nil
	case string:
		return strings.ToValidUTF8(v, "\ufffd"), nil
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case float32:
		return float64(v), nil
	case json.RawMessage:
		return ParseJSON(v)
	case json.Number:
		return ParseJSON([]byte(v))
	case []string:
		list := &List{}
		for _, s := range v {
			list.items = append(list.items, strings.ToValidUTF8(s, "\ufffd"))
		}
		return list, nil
	case []any:
		list := &List{}
		for _, item := range v {
			x, err := fromGo(item, depth+1)
			if err != nil {
				return nil, err
			}
			list.items = append(list.items, x)
		}
		return list, nil
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		dict := NewDict()
		for _, k := range keys {
			x, err := fromGo(v[k], depth+1)
			if err != nil {
				return nil, err
			}
			dict.Set(strings.ToValidUTF8(k, "\ufffd"), x)
		}
		return dict, nil
	}
	return nil, fmt.Errorf("a template variable of Go type %T is not supported: pass JSON", v)
}
