package jinja

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// sortKeys returns the keys to sort items by: the attributes of a path list,
// texts in lower case unless case matters.
func (m *machine) sortKey(path Value, caseful bool) (func(Value) (Value, error), error) {
	paths := []Value{path}
	if s, ok := text(path); ok {
		paths = nil
		for p := range strings.SplitSeq(s, ",") {
			paths = append(paths, p)
		}
	}
	var gets []func(Value) (Value, error)
	for _, p := range paths {
		get, err := m.getter(p, nil)
		if err != nil {
			return nil, err
		}
		gets = append(gets, get)
	}
	return func(v Value) (Value, error) {
		var key Tuple
		for _, get := range gets {
			k, err := get(v)
			if err != nil {
				return nil, err
			}
			if k, err = m.fold(k, caseful); err != nil {
				return nil, err
			}
			key = append(key, k)
		}
		return key, nil
	}, nil
}

func (m *machine) fold(v Value, caseful bool) (Value, error) {
	if s, ok := text(v); ok && !caseful {
		return lower(s), m.spendCase(s)
	}
	return v, nil
}

// sorted sorts items by keys, stable also in reverse.
func (m *machine) sorted(items []Value, key func(Value) (Value, error), reverse bool) ([]Value, error) {
	type pair struct{ key, item Value }
	pairs := make([]pair, len(items))
	for i, item := range items {
		k, err := key(item)
		if err != nil {
			return nil, err
		}
		pairs[i] = pair{k, item}
	}
	var failed error
	sort.SliceStable(pairs, func(i, j int) bool {
		if failed != nil {
			return false
		}
		if reverse {
			i, j = j, i
		}
		less, err := m.less(pairs[i].key, pairs[j].key)
		failed = err
		return less
	})
	out := make([]Value, len(pairs))
	for i, p := range pairs {
		out[i] = p.item
	}
	return out, failed
}

func filterSort(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("sort", args, kw, 1, "value", "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	reverse, err := m.truth(a[1])
	if err != nil {
		return nil, err
	}
	caseful, err := m.truth(a[2])
	if err != nil {
		return nil, err
	}
	key, err := m.sortKey(a[3], caseful)
	if err != nil {
		return nil, err
	}
	items, err = m.sorted(items, key, reverse)
	return &List{items}, err
}

func filterDictSort(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("dictsort", args, kw, 1, "value", "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	if u, ok := a[0].(*undefined); ok {
		return nil, u.err()
	}
	d, ok := a[0].(*Dict)
	if !ok {
		return nil, fmt.Errorf("needs a mapping, not a %s", typeName(a[0]))
	}
	caseful, err := m.truth(a[1])
	if err != nil {
		return nil, err
	}
	by, err := textArg("dictsort", a[2], "key")
	if err != nil {
		return nil, err
	}
	pos := slices.Index([]string{"key", "value"}, by)
	if pos < 0 {
		return nil, errors.New("sorts by key or value")
	}
	reverse, err := m.truth(a[3])
	if err != nil {
		return nil, err
	}
	items, err := m.list(view{'i', d})
	if err != nil {
		return nil, err
	}
	items, err = m.sorted(items, func(v Value) (Value, error) {
		return m.fold(v.(Tuple)[pos], caseful)
	}, reverse)
	return &List{items}, err
}

func filterUnique(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("unique", args, kw, 1, "value", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	caseful, err := m.truth(a[1])
	if err != nil {
		return nil, err
	}
	get, err := m.getter(a[2], nil)
	if err != nil {
		return nil, err
	}
	next, err := iterate(a[0])
	if err != nil {
		return nil, err
	}
	seen := map[any]bool{}
	return m.lazily(&generator{next}, func(item Value) (Value, bool, error) {
		k, err := get(item)
		if err != nil {
			return nil, false, err
		}
		if k, err = m.fold(k, caseful); err != nil {
			return nil, false, err
		}
		h, err := m.hash(k)
		if err != nil {
			return nil, false, err
		}
		fresh := !seen[h]
		seen[h] = true
		return item, fresh, nil
	}), nil
}

// extremeFilter is min (sign -1) or max (sign 1); the first of equals wins.
func extremeFilter(sign int) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind("the filter", args, kw, 1, "value", "case_sensitive", "attribute")
		if err != nil {
			return nil, err
		}
		caseful, err := m.truth(a[1])
		if err != nil {
			return nil, err
		}
		get, err := m.getter(a[2], nil)
		if err != nil {
			return nil, err
		}
		items, err := m.list(a[0])
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefinedf("the sequence is empty"), nil
		}
		var best, bestKey Value
		for i, item := range items {
			k, err := get(item)
			if err != nil {
				return nil, err
			}
			if k, err = m.fold(k, caseful); err != nil {
				return nil, err
			}
			better := i == 0
			if !better {
				x, y := k, bestKey
				if sign > 0 {
					x, y = y, x
				}
				if better, err = m.less(x, y); err != nil {
					return nil, err
				}
			}
			if better {
				best, bestKey = item, k
			}
		}
		return best, nil
	}
}

// groupAttr names the parts of a pair that groupby made.
func groupAttr(t Tuple, id string) (Value, bool) {
	if len(t) != 2 {
		return nil, false
	}
	if _, ok := t[1].(*List); !ok {
		return nil, false
	}
	switch id {
	case "grouper":
		return t[0], true
	case "list":
		return t[1], true
	}
	return nil, false
}

func filterGroupBy(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("groupby", args, kw, 2, "value", "attribute", "default", "case_sensitive")
	if err != nil {
		return nil, err
	}
	caseful, err := m.truth(a[3])
	if err != nil {
		return nil, err
	}
	get, err := m.getter(a[1], a[2])
	if err != nil {
		return nil, err
	}
	key := func(v Value) (Value, error) {
		k, err := get(v)
		if err != nil {
			return nil, err
		}
		return m.fold(k, caseful)
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	if items, err = m.sorted(items, key, false); err != nil {
		return nil, err
	}
	out := &List{}
	var last Value
	for i, item := range items {
		k, err := key(item)
		if err != nil {
			return nil, err
		}
		same := false
		if i > 0 {
			if same, err = m.equal(k, last); err != nil {
				return nil, err
			}
		}
		if !same {
			shown, err := get(item)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, Tuple{shown, &List{}})
		}
		group := out.items[len(out.items)-1].(Tuple)[1].(*List)
		group.items = append(group.items, item)
		last = k
	}
	return out, nil
}
