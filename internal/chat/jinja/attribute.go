package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// attribute returns what Python's getattr gives in the sandbox: the methods of
// text, lists and mappings that change nothing, and the attributes of the
// template's own objects. Methods that would change a value, and Python's
// internals, are undefined values that fail when used.
func (m *machine) attribute(v Value, id string) (Value, bool, error) {
	var fn builtin
	var unsafe []string
	switch v := v.(type) {
	case string:
		fn = textMethod(v, id)
	case Markup:
		fn = markupMethod(string(v), id)
	case *Dict:
		fn = dictMethod(v, id)
		unsafe = []string{"clear", "pop", "popitem", "setdefault", "update"}
	case *List:
		fn = sequenceMethod(v.items, id)
		unsafe = []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}
		if id == "copy" {
			fn = func(*machine, []Value, []keyword) (Value, error) { return v, nil }
		}
	case Tuple:
		if x, ok := groupAttr(v, id); ok {
			return x, true, nil
		}
		fn = sequenceMethod(v, id)
	case rng:
		if x, ok := map[string]int64{"start": v.start, "stop": v.stop, "step": v.step}[id]; ok {
			return x, true, nil
		}
		items, err := m.list(v)
		if err != nil {
			return nil, false, err
		}
		fn = sequenceMethod(items, id)
	case *namespace:
		x, ok := v.attrs.Get(id)
		return x, ok, nil
	case *loopState:
		return v.attr(id)
	case *macro:
		return v.attr(id)
	case *cycler:
		return v.attr(id)
	}
	if fn != nil {
		return &function{id, fn}, true, nil
	}
	if slices.Contains(unsafe, id) {
		return undefinedf("%s.%s would change a value, which templates may not", typeName(v), id), true, nil
	}
	return nil, false, nil
}

func (mac *macro) attr(id string) (Value, bool, error) {
	switch id {
	case "name":
		if mac.def.name == "" {
			return nil, true, nil
		}
		return mac.def.name, true, nil
	case "arguments":
		var names Tuple
		for _, p := range mac.def.params {
			names = append(names, p)
		}
		return names, true, nil
	case "catch_kwargs":
		return mac.def.kwargs, true, nil
	case "catch_varargs":
		return mac.def.varargs, true, nil
	case "caller":
		return mac.def.caller, true, nil
	}
	return nil, false, nil
}

func dictMethod(d *Dict, id string) builtin {
	switch id {
	case "get":
		return func(m *machine, args []Value, kw []keyword) (Value, error) {
			a, err := bind("get", args, kw, 1, "-key", "-default")
			if err != nil {
				return nil, err
			}
			h, err := m.hash(a[0])
			if err != nil {
				return nil, err
			}
			if v, ok := d.get(h); ok {
				return v, nil
			}
			return a[1], nil
		}
	case "keys", "values", "items":
		return func(_ *machine, args []Value, kw []keyword) (Value, error) {
			_, err := bind(id, args, kw, 0)
			return view{id[0], d}, err
		}
	case "copy":
		return func(_ *machine, args []Value, kw []keyword) (Value, error) {
			_, err := bind(id, args, kw, 0)
			return d, err // no template can tell: it changes no mapping
		}
	}
	return nil
}

func sequenceMethod(items []Value, id string) builtin {
	if id != "index" && id != "count" {
		return nil
	}
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind(id, args, kw, 1, "-value", "-start", "-stop")
		if err != nil {
			return nil, err
		}
		r, err := sliceRange(len(items), a[1], a[2], nil)
		if err != nil {
			return nil, err
		}
		n := int64(0)
		for i := range r.len() {
			same, err := m.equal(items[r.start+i], a[0])
			if err != nil {
				return nil, err
			}
			if same && id == "index" {
				return r.start + i, nil
			}
			if same {
				n++
			}
		}
		if id == "index" {
			return nil, fmt.Errorf("index: the value is not in the list")
		}
		return n, nil
	}
}

// bind matches the arguments of a built-in function with its parameters, as
// Python does. A name that starts with "-" cannot be used as a keyword. What is
// not given is nil.
func bind(fn string, args []Value, kw []keyword, required int, params ...string) ([]Value, error) {
	if len(args) > len(params) {
		return nil, fmt.Errorf("%s takes at most %d arguments, given are %d", fn, len(params), len(args))
	}
	out := make([]Value, len(params))
	given := make([]bool, len(params))
	for i, v := range args {
		out[i], given[i] = v, true
	}
	for _, k := range kw {
		i := slices.Index(params, k.name)
		if i < 0 || given[i] {
			return nil, fmt.Errorf("%s has no free parameter %q", fn, k.name)
		}
		out[i], given[i] = k.val, true
	}
	for i, ok := range given[:required] {
		if !ok {
			return nil, fmt.Errorf("%s needs its argument %s", fn, strings.TrimPrefix(params[i], "-"))
		}
	}
	return out, nil
}

// textArg returns an argument that must be text, def where it is absent.
func textArg(fn string, v Value, def string) (string, error) {
	if v == nil {
		return def, nil
	}
	s, ok := text(v)
	if !ok {
		return "", fmt.Errorf("%s needs text, not a %s", fn, typeName(v))
	}
	return s, nil
}

// intArg returns an argument that must be an integer, def where it is absent.
// It is clamped to ±2^30, beyond every limit of size.
func intArg(fn string, v Value, def int) (int, error) {
	if v == nil {
		return def, nil
	}
	if b, ok := toBig(v); ok {
		if i, ok := toInt(v); ok {
			return int(max(-1<<30, min(i, 1<<30))), nil
		}
		return b.Sign() << 30, nil
	}
	return 0, fmt.Errorf("%s needs an integer, not a %s", fn, typeName(v))
}
