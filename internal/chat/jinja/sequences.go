package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func sequenceFilters(t map[string]builtin) {
	t["length"] = filterLength
	t["count"] = filterLength
	t["first"] = filterFirst
	t["last"] = filterLast
	t["list"] = filterList
	t["items"] = filterItems
	t["join"] = filterJoin
	t["reverse"] = filterReverse
	t["batch"] = filterBatch
	t["slice"] = filterSlice
	t["sum"] = filterSum
	t["map"] = filterMap
	t["select"] = selectFilter(true, false)
	t["reject"] = selectFilter(false, false)
	t["selectattr"] = selectFilter(true, true)
	t["rejectattr"] = selectFilter(false, true)
	t["sort"] = filterSort
	t["dictsort"] = filterDictSort
	t["unique"] = filterUnique
	t["min"] = extremeFilter(-1)
	t["max"] = extremeFilter(1)
	t["groupby"] = filterGroupBy
}

func filterLength(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("length", args, kw, 1, "-obj")
	if err != nil {
		return nil, err
	}
	if l, ok := a[0].(*loopState); ok {
		n, err := l.length()
		return int64(n), err
	}
	n, ok := length(a[0])
	if !ok {
		return nil, fmt.Errorf("a %s has no length", typeName(a[0]))
	}
	if s, ok := text(a[0]); ok {
		return int64(n), m.spend(len(s) / 8)
	}
	return int64(n), nil
}

func filterFirst(_ *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("first", args, kw, 1, "seq")
	if err != nil {
		return nil, err
	}
	next, err := iterate(a[0])
	if err != nil {
		return nil, err
	}
	v, ok, err := next()
	if err == nil && !ok {
		v = undefinedf("the sequence is empty")
	}
	return v, err
}

func filterLast(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("last", args, kw, 1, "seq")
	if err != nil {
		return nil, err
	}
	n, ok := length(a[0])
	if !ok {
		return nil, fmt.Errorf("a %s cannot be read from its end", typeName(a[0]))
	}
	if n == 0 {
		return undefinedf("the sequence is empty"), nil
	}
	if s, ok := text(a[0]); ok {
		r, err := m.runes(s)
		if err != nil {
			return nil, err
		}
		return string(r[n-1]), nil
	}
	return itemAt(a[0], n-1), nil
}

func filterList(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("list", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	items, err := m.list(a[0])
	return &List{items}, err
}

func filterItems(_ *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("items", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	switch v := a[0].(type) {
	case *undefined:
		return &generator{iterateText("")}, nil
	case *Dict:
		next, err := iterate(view{'i', v})
		return &generator{next}, err
	}
	return &generator{func() (Value, bool, error) {
		return nil, false, fmt.Errorf("a %s has no items", typeName(a[0]))
	}}, nil
}

func filterJoin(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("join", args, kw, 1, "value", "d", "attribute")
	if err != nil {
		return nil, err
	}
	sep := ""
	if len(args) > 1 || a[1] != nil {
		if sep, err = m.str(a[1]); err != nil {
			return nil, err
		}
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	get, err := m.getter(a[2], nil)
	if err != nil {
		return nil, err
	}
	texts := &List{make([]Value, len(items))}
	for i, item := range items {
		v, err := get(item)
		if err != nil {
			return nil, err
		}
		if texts.items[i], err = m.str(v); err != nil {
			return nil, err
		}
	}
	return m.joinTexts(sep, texts)
}

func filterReverse(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("reverse", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	if s, ok := text(a[0]); ok {
		r, err := m.runes(s)
		if err != nil {
			return nil, err
		}
		slices.Reverse(r)
		return like(a[0], string(r)), nil
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	slices.Reverse(items)
	if _, ok := a[0].(*generator); ok {
		return &List{items}, nil
	}
	next, err := iterate(&List{items})
	return &generator{next}, err
}

// chunks makes a generator of lists.
func chunks(list [][]Value) Value {
	i := 0
	return &generator{func() (Value, bool, error) {
		if i == len(list) {
			return nil, false, nil
		}
		i++
		return &List{list[i-1]}, true, nil
	}}
}

func filterBatch(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("batch", args, kw, 2, "value", "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	n, err := intArg("batch", a[1], 0)
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, errors.New("needs a positive size")
	}
	out := slices.Collect(slices.Chunk(items, n))
	if len(out) > 0 && a[2] != nil {
		last := slices.Clone(out[len(out)-1])
		if err := m.spendItems(n); err != nil {
			return nil, err
		}
		for len(last) < n {
			last = append(last, a[2])
		}
		out[len(out)-1] = last
	}
	return chunks(out), nil
}

func filterSlice(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("slice", args, kw, 2, "value", "slices", "fill_with")
	if err != nil {
		return nil, err
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	n, err := intArg("slice", a[1], 0)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errZero
	}
	if err := m.spendItems(max(n, 0)); err != nil {
		return nil, err
	}
	var out [][]Value
	for i := range max(n, 0) {
		size := len(items) / n
		if i < len(items)%n {
			size++
		}
		from := i*(len(items)/n) + min(i, len(items)%n)
		part := slices.Clone(items[from : from+size])
		if a[2] != nil && i >= len(items)%n {
			part = append(part, a[2])
		}
		out = append(out, part)
	}
	return chunks(out), nil
}

func filterSum(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("sum", args, kw, 1, "iterable", "attribute", "start")
	if err != nil {
		return nil, err
	}
	get, err := m.getter(a[1], nil)
	if err != nil {
		return nil, err
	}
	sum := a[2]
	if sum == nil {
		sum = int64(0)
	}
	if _, ok := text(sum); ok {
		return nil, errors.New("cannot sum texts")
	}
	items, err := m.list(a[0])
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		v, err := get(item)
		if err != nil {
			return nil, err
		}
		if sum, err = m.operate("+", sum, v); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// getter returns a function that follows a path such as "function.name" or 0;
// none gives the item itself.
func (m *machine) getter(path, def Value) (func(Value) (Value, error), error) {
	var keys []Value
	switch p := path.(type) {
	case nil:
	case string:
		keys = pathKeys(p)
	case Markup:
		keys = pathKeys(string(p))
	default:
		keys = []Value{path}
	}
	return func(v Value) (Value, error) {
		for _, k := range keys {
			var err error
			if v, err = m.getitem(v, k); err != nil {
				return nil, err
			}
			if _, ok := v.(*undefined); ok && def != nil {
				v = def
			}
		}
		return v, nil
	}, nil
}

func pathKeys(path string) []Value {
	var keys []Value
	for part := range strings.SplitSeq(path, ".") {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil && digit(part[0]) {
			keys = append(keys, n)
		} else {
			keys = append(keys, part)
		}
	}
	return keys
}

// lazily makes a generator whose set-up and items are computed when asked for.
func (m *machine) lazily(v Value, each func(Value) (Value, bool, error)) Value {
	var next iterator
	return &generator{func() (Value, bool, error) {
		if m.depth++; m.depth > maxEvalDepth {
			return nil, false, limitf("generators are nested deeper than %d", maxEvalDepth)
		}
		defer func() { m.depth-- }()
		if next == nil {
			some, err := m.truth(v)
			if err != nil {
				return nil, false, err
			}
			if next = iterateText(""); some {
				if next, err = iterate(v); err != nil {
					return nil, false, err
				}
			}
		}
		for {
			item, ok, err := next()
			if err != nil || !ok {
				return nil, false, err
			}
			if err := m.step(); err != nil {
				return nil, false, err
			}
			out, keep, err := each(item)
			if err != nil || keep {
				return out, keep, err
			}
		}
	}}
}

func filterMap(m *machine, args []Value, kw []keyword) (Value, error) {
	if len(args) == 0 {
		return nil, errors.New("needs a sequence")
	}
	if len(args) == 1 && len(kw) > 0 {
		a, err := bind("map", nil, kw, 1, "attribute", "default")
		if err != nil {
			return nil, err
		}
		get, err := m.getter(a[0], a[1])
		if err != nil {
			return nil, err
		}
		return m.lazily(args[0], func(v Value) (Value, bool, error) {
			v, err := get(v)
			return v, true, err
		}), nil
	}
	return m.lazily(args[0], func(v Value) (Value, bool, error) {
		if len(args) < 2 {
			return nil, false, errors.New("needs the name of a filter")
		}
		id, err := textArg("map", args[1], "")
		if err != nil {
			return nil, false, err
		}
		v, err = m.callFilter(id, append([]Value{v}, args[2:]...), kw)
		return v, true, err
	}), nil
}

// selectFilter keeps the items for which a test is as wanted.
func selectFilter(want, byAttr bool) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		if len(args) == 0 {
			return nil, errors.New("needs a sequence")
		}
		rest := args[1:]
		return m.lazily(args[0], func(item Value) (Value, bool, error) {
			v, rest := item, rest
			if byAttr {
				if len(rest) == 0 {
					return nil, false, errors.New("needs the name of an attribute")
				}
				get, err := m.getter(rest[0], nil)
				if err != nil {
					return nil, false, err
				}
				if v, err = get(item); err != nil {
					return nil, false, err
				}
				rest = rest[1:]
			}
			if len(rest) > 0 {
				id, err := textArg("select", rest[0], "")
				if err != nil {
					return nil, false, err
				}
				if v, err = m.callTest(id, append([]Value{v}, rest[1:]...), kw); err != nil {
					return nil, false, err
				}
			}
			yes, err := m.truth(v)
			return item, yes == want, err
		}), nil
	}
}
