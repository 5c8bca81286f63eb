package jinja

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// operate applies an arithmetic operator.
func (m *machine) operate(op string, a, b Value) (Value, error) {
	if isNumber(a) && isNumber(b) {
		return arithmetic(op, a, b)
	}
	if op == "%" {
		if s, ok := text(a); ok {
			out, err := m.percent(s, b)
			return like(a, out), err
		}
	}
	if isView(a) || isView(b) {
		return nil, errViews
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*undefined); ok {
			return nil, u.err()
		}
	}
	switch op {
	case "+":
		return m.add(a, b)
	case "*":
		if n, ok := toInt(b); ok {
			return m.repeat(a, n)
		}
		if n, ok := toInt(a); ok {
			return m.repeat(b, n)
		}
	}
	return nil, fmt.Errorf("%s %s %s is not possible", typeName(a), op, typeName(b))
}

// like returns text as markup if v is markup.
func like(v Value, s string) Value {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}

func (m *machine) add(a, b Value) (Value, error) {
	x, ok1 := text(a)
	y, ok2 := text(b)
	if ok1 && ok2 {
		_, aMark := a.(Markup)
		_, bMark := b.(Markup)
		if aMark || bMark {
			ea, err := m.escape(a)
			if err != nil {
				return nil, err
			}
			eb, err := m.escape(b)
			return ea + eb, err
		}
		if err := m.spend(len(x) + len(y)); err != nil {
			return nil, err
		}
		return x + y, nil
	}
	switch x := a.(type) {
	case *List:
		if y, ok := b.(*List); ok {
			items, err := m.join(x.items, y.items)
			return &List{items}, err
		}
	case Tuple:
		if y, ok := b.(Tuple); ok {
			items, err := m.join(x, y)
			return Tuple(items), err
		}
	}
	return nil, fmt.Errorf("%s + %s is not possible", typeName(a), typeName(b))
}

func (m *machine) join(a, b []Value) ([]Value, error) {
	if err := m.spendItems(len(a) + len(b)); err != nil {
		return nil, err
	}
	return append(append(make([]Value, 0, len(a)+len(b)), a...), b...), nil
}

func (m *machine) spendItems(n int) error {
	if n > maxItems {
		return limitf("a list of %d items, allowed are %d", n, maxItems)
	}
	return m.spend(n * 16)
}

// repeat is value * n.
func (m *machine) repeat(v Value, n int64) (Value, error) {
	n = max(0, min(n, maxOutput+1))
	if s, ok := text(v); ok {
		if err := m.spendTimes(int(n), len(s)); err != nil {
			return nil, err
		}
		return like(v, strings.Repeat(s, int(n))), nil
	}
	var items []Value
	switch v := v.(type) {
	case *List:
		items = v.items
	case Tuple:
		items = v
	default:
		return nil, fmt.Errorf("%s * integer is not possible", typeName(v))
	}
	if err := m.spendTimes(int(n), 16*len(items)); err != nil {
		return nil, err
	}
	out := make([]Value, 0, len(items)*int(n))
	for range n {
		out = append(out, items...)
		if len(items) == 0 {
			break
		}
	}
	if _, ok := v.(Tuple); ok {
		return Tuple(out), nil
	}
	return &List{out}, nil
}

// errViews refuses Python's set operations on keys() and items().
var errViews = errors.New("set operations on the views of a mapping are not supported")

func isView(v Value) bool {
	_, ok := v.(view)
	return ok
}

// equal is a == b.
func (m *machine) equal(a, b Value) (bool, error) { return m.equalAt(a, b, 0) }

func (m *machine) equalAt(a, b Value, depth int) (bool, error) {
	if err := m.visit(0, depth); err != nil {
		return false, err
	}
	if isNumber(a) && isNumber(b) {
		order, ok := compareNumbers(a, b)
		return ok && order == 0, nil
	}
	x, ok1 := text(a)
	y, ok2 := text(b)
	if ok1 && ok2 {
		return x == y, m.spend(min(len(x), len(y)))
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok, nil
	case *List:
		if y, ok := b.(*List); ok {
			return m.equalItems(x.items, y.items, depth)
		}
	case Tuple:
		if y, ok := b.(Tuple); ok {
			return m.equalItems(x, y, depth)
		}
	case *Dict:
		if y, ok := b.(*Dict); ok {
			return m.equalDicts(x, y, depth)
		}
	case rng:
		y, ok := b.(rng)
		return ok && x.len() == y.len() && (x.len() == 0 || x.start == y.start && (x.len() == 1 || x.step == y.step)), nil
	case view:
		return false, errViews
	case *generator, *namespace, *function, *macro, *loopState:
		return a == b, nil
	}
	return false, nil
}

func (m *machine) equalItems(x, y []Value, depth int) (bool, error) {
	if len(x) != len(y) {
		return false, nil
	}
	for i := range x {
		if same, err := m.equalAt(x[i], y[i], depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (m *machine) equalDicts(x, y *Dict, depth int) (bool, error) {
	if x == y {
		return true, nil
	}
	if x.Len() != y.Len() {
		return false, nil
	}
	for i, k := range x.keys {
		h, err := m.hash(k)
		if err != nil {
			return false, err
		}
		v, ok := y.get(h)
		if !ok {
			return false, nil
		}
		if same, err := m.equalAt(x.vals[i], v, depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (m *machine) less(a, b Value) (bool, error) { return m.compare("<", a, b) }

// compare applies a comparison operator.
func (m *machine) compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==":
		return m.equal(a, b)
	case "!=":
		same, err := m.equal(a, b)
		return !same, err
	case "in":
		return m.contains(b, a)
	case "not in":
		in, err := m.contains(b, a)
		return !in, err
	}
	order, ok, err := m.order(op, a, b, 0)
	if err != nil || !ok {
		return false, err
	}
	switch op {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	}
	return order >= 0, nil
}

// order returns the sign of a - b; NaN has none.
func (m *machine) order(op string, a, b Value, depth int) (sign int, ok bool, err error) {
	if err := m.visit(0, depth); err != nil {
		return 0, false, err
	}
	if isNumber(a) && isNumber(b) {
		sign, ok = compareNumbers(a, b)
		return sign, ok, nil
	}
	x, ok1 := text(a)
	y, ok2 := text(b)
	if ok1 && ok2 {
		return strings.Compare(x, y), true, m.spend(min(len(x), len(y)))
	}
	switch x := a.(type) {
	case *List:
		if y, ok := b.(*List); ok {
			return m.orderItems(op, x.items, y.items, depth)
		}
	case Tuple:
		if y, ok := b.(Tuple); ok {
			return m.orderItems(op, x, y, depth)
		}
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*undefined); ok {
			return 0, false, u.err()
		}
	}
	if isView(a) && isView(b) {
		return 0, false, errViews
	}
	return 0, false, fmt.Errorf("%s %s %s is not possible", typeName(a), op, typeName(b))
}

func (m *machine) orderItems(op string, x, y []Value, depth int) (int, bool, error) {
	for i := range min(len(x), len(y)) {
		same, err := m.equalAt(x[i], y[i], depth+1)
		if err != nil {
			return 0, false, err
		}
		if !same {
			return m.order(op, x[i], y[i], depth+1)
		}
	}
	return len(x) - len(y), true, nil
}

// contains is x in v.
func (m *machine) contains(v, x Value) (bool, error) {
	if s, ok := text(v); ok {
		sub, ok := text(x)
		if !ok {
			return false, fmt.Errorf("%s in string is not possible", typeName(x))
		}
		return strings.Contains(s, sub), m.spend(len(s))
	}
	if keys, ok := v.(view); ok && keys.kind == 'k' {
		v = keys.dict
	}
	if d, ok := v.(*Dict); ok {
		h, err := m.hash(x)
		if err != nil {
			return false, err
		}
		_, ok := d.get(h)
		return ok, nil
	}
	next, err := iterate(v)
	if err != nil {
		return false, fmt.Errorf("%s in %s is not possible", typeName(x), typeName(v))
	}
	for {
		item, ok, err := next()
		if err != nil || !ok {
			return false, err
		}
		if same, err := m.equal(item, x); err != nil || same {
			return same, err
		}
	}
}

// index resolves an index that may be negative.
func index(i int64, n int) (int, bool) {
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

// getitem is v[key], undefined where there is no such item.
func (m *machine) getitem(v, key Value) (Value, error) {
	if u, ok := v.(*undefined); ok {
		return nil, u.err()
	}
	if d, ok := v.(*Dict); ok {
		if h, err := m.hash(key); err == nil {
			if x, ok := d.get(h); ok {
				return x, nil
			}
		}
	} else if i, ok := toInt(key); ok {
		if x, ok, err := m.itemAt(v, i); ok || err != nil {
			return x, err
		}
	}
	id, ok := text(key)
	if !ok {
		return undefinedf("%s has no such element", typeName(v)), nil
	}
	if x, ok, err := m.attribute(v, id); ok || err != nil {
		return x, err
	}
	return undefinedf("%s has no element %.80q", typeName(v), id), nil
}

func (m *machine) itemAt(v Value, i int64) (Value, bool, error) {
	switch v := v.(type) {
	case string, Markup:
		s, _ := text(v)
		c, ok := runeAt(s, i)
		return like(v, c), ok, m.spend(len(s))
	case *List, Tuple, rng:
		size, _ := length(v)
		if n, ok := index(i, size); ok {
			return itemAt(v, n), true, nil
		}
	}
	return nil, false, nil
}

// runeAt returns a character by its index, from the end if negative.
func runeAt(s string, i int64) (string, bool) {
	for ; i < -1 && s != ""; i++ {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	if i < 0 {
		_, n := utf8.DecodeLastRuneInString(s)
		return s[len(s)-n:], n > 0
	}
	for ; i > 0 && s != ""; i-- {
		s = s[runeSize(s):]
	}
	return s[:runeSize(s)], s != ""
}

func (m *machine) runes(s string) ([]rune, error) {
	if err := m.spend(len(s)); err != nil {
		return nil, err
	}
	return []rune(s), nil
}

// getattr is v.name, undefined where there is neither attribute nor item.
func (m *machine) getattr(v Value, id string) (Value, error) {
	if u, ok := v.(*undefined); ok {
		if id == "__class__" {
			return undefinedf("%s is Python's own", id), nil
		}
		return nil, u.err()
	}
	if x, ok, err := m.attribute(v, id); ok || err != nil {
		return x, err
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(id); ok {
			return x, nil
		}
	}
	return undefinedf("%s has no attribute %.80q", typeName(v), id), nil
}

// slice is v[from:to:step].
func (m *machine) slice(v, from, to, step Value) (Value, error) {
	if u, ok := v.(*undefined); ok {
		return nil, u.err()
	}
	n, ok := length(v)
	switch v.(type) {
	case string, Markup, *List, Tuple, rng:
	default:
		ok = false
	}
	if !ok {
		return nil, fmt.Errorf("a %s cannot be sliced", typeName(v))
	}
	r, err := sliceRange(n, from, to, step)
	if err != nil {
		return nil, err
	}
	if s, ok := text(v); ok {
		runes, err := m.runes(s)
		if err != nil {
			return nil, err
		}
		out := make([]rune, 0, r.len())
		for i := range r.len() {
			out = append(out, runes[r.start+i*r.step])
		}
		return like(v, string(out)), nil
	}
	if x, ok := v.(rng); ok {
		return rng{x.start + r.start*x.step, x.start + r.stop*x.step, x.step * r.step}, nil
	}
	size := int(r.len())
	if err := m.spendItems(size); err != nil {
		return nil, err
	}
	out := make([]Value, 0, size)
	for i := range r.len() {
		out = append(out, itemAt(v, int(r.start+i*r.step)))
	}
	if _, ok := v.(Tuple); ok {
		return Tuple(out), nil
	}
	return &List{out}, nil
}

// sliceRange is Python's slice(from, to, step).indices(n).
func sliceRange(n int, from, to, step Value) (rng, error) {
	r := rng{step: 1}
	bad := errors.New("the bounds of a slice must be integers or none")
	size := int64(n)
	if step != nil {
		s, ok := toInt(step)
		if !ok {
			return r, bad
		}
		if s == 0 {
			return r, errors.New("the step of a slice cannot be zero")
		}
		r.step = max(-size-1, min(s, size+1))
	}
	low, high := int64(0), size
	if r.step < 0 {
		low, high = -1, size-1
	}
	clamp := func(v Value, def int64) (int64, bool) {
		if v == nil {
			return def, true
		}
		i, ok := toInt(v)
		if i < 0 {
			i = max(i, -size-1) + size
		}
		return max(low, min(i, high)), ok
	}
	var ok1, ok2 bool
	if r.step > 0 {
		r.start, ok1 = clamp(from, low)
		r.stop, ok2 = clamp(to, high)
	} else {
		r.start, ok1 = clamp(from, high)
		r.stop, ok2 = clamp(to, low)
	}
	if !ok1 || !ok2 {
		return r, bad
	}
	return r, nil
}
