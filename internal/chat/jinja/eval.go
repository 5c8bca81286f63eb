package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// eval evaluates an expression.
func (m *machine) eval(x expr, sc *scope) (Value, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	if m.depth++; m.depth > maxEvalDepth {
		return nil, limitf("it is nested deeper than %d", maxEvalDepth)
	}
	defer func() { m.depth-- }()
	switch x := x.(type) {
	case *constant:
		return x.val, nil
	case *name:
		return m.lookup(sc, x.id), nil
	case *attr:
		v, err := m.eval(x.x, sc)
		if err != nil {
			return nil, err
		}
		return m.getattr(v, x.name)
	case *item:
		return m.evalItem(x, sc)
	case *call:
		return m.evalCall(x, sc)
	case *filter:
		v, err := m.eval(x.x, sc)
		if err != nil {
			return nil, err
		}
		return m.applyFilter(x, v, sc)
	case *test:
		return m.evalTest(x, sc)
	case *unary:
		return m.evalUnary(x, sc)
	case *binary:
		return m.evalBinary(x, sc)
	case *compare:
		return m.evalCompare(x, sc)
	case *concat:
		return m.evalConcat(x, sc)
	case *ternary:
		return m.evalTernary(x, sc)
	case *tupleLit:
		items, err := m.evalAll(x.items, sc)
		return Tuple(items), err
	case *listLit:
		items, err := m.evalAll(x.items, sc)
		return &List{items}, err
	case *dictLit:
		return m.evalDict(x, sc)
	}
	panic(fmt.Sprintf("jinja: internal error: expression %T", x))
}

func (m *machine) evalAll(list []expr, sc *scope) ([]Value, error) {
	out := make([]Value, 0, len(list))
	for _, x := range list {
		v, err := m.eval(x, sc)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (m *machine) evalDict(x *dictLit, sc *scope) (Value, error) {
	d := NewDict()
	for i := range x.keys {
		k, err := m.eval(x.keys[i], sc)
		if err != nil {
			return nil, err
		}
		v, err := m.eval(x.vals[i], sc)
		if err != nil {
			return nil, err
		}
		h, err := m.hash(k)
		if err != nil {
			return nil, err
		}
		d.set(h, k, v)
	}
	return d, nil
}

func (m *machine) evalItem(x *item, sc *scope) (Value, error) {
	v, err := m.eval(x.x, sc)
	if err != nil {
		return nil, err
	}
	s, ok := x.index.(*slicing)
	if !ok {
		key, err := m.eval(x.index, sc)
		if err != nil {
			return nil, err
		}
		return m.getitem(v, key)
	}
	var bound [3]Value
	for i, b := range []expr{s.from, s.to, s.step} {
		if b == nil {
			continue
		}
		if bound[i], err = m.eval(b, sc); err != nil {
			return nil, err
		}
	}
	return m.slice(v, bound[0], bound[1], bound[2])
}

func (m *machine) evalArgs(a *arguments, sc *scope) ([]Value, []keyword, error) {
	args, err := m.evalAll(a.pos, sc)
	if err != nil {
		return nil, nil, err
	}
	var kw []keyword
	for _, k := range a.kw {
		v, err := m.eval(k.x, sc)
		if err != nil {
			return nil, nil, err
		}
		kw = append(kw, keyword{k.name, v})
	}
	if a.rest != nil {
		v, err := m.eval(a.rest, sc)
		if err != nil {
			return nil, nil, err
		}
		more, err := m.list(v)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, more...)
	}
	if a.kwRest != nil {
		v, err := m.eval(a.kwRest, sc)
		if err != nil {
			return nil, nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, nil, fmt.Errorf("** needs a mapping, not a %s", typeName(v))
		}
		for i, k := range d.keys {
			id, ok := text(k)
			if !ok {
				return nil, nil, fmt.Errorf("** needs a mapping with text keys")
			}
			kw = append(kw, keyword{id, d.vals[i]})
		}
	}
	for i, k := range kw {
		if slices.ContainsFunc(kw[:i], func(o keyword) bool { return o.name == k.name }) {
			return nil, nil, fmt.Errorf("argument %q is given twice", k.name)
		}
	}
	return args, kw, m.spend(len(kw) * len(kw))
}

func (m *machine) evalCall(x *call, sc *scope, extra ...keyword) (Value, error) {
	fn, err := m.eval(x.fn, sc)
	if err != nil {
		return nil, err
	}
	args, kw, err := m.evalArgs(&x.args, sc)
	if err != nil {
		return nil, err
	}
	return m.call(fn, args, append(kw, extra...))
}

func (m *machine) call(fn Value, args []Value, kw []keyword) (Value, error) {
	switch fn := fn.(type) {
	case *function:
		return fn.call(m, args, kw)
	case *macro:
		return m.callMacro(fn, args, kw)
	case *loopState:
		if fn.recurse == nil || len(args) != 1 || len(kw) > 0 {
			return nil, fmt.Errorf("loop can be called with one value in a loop marked recursive")
		}
		return fn.recurse(args[0])
	case *undefined:
		return nil, fn.err()
	}
	return nil, fmt.Errorf("a %s cannot be called", typeName(fn))
}

func (m *machine) applyFilter(f *filter, v Value, sc *scope) (Value, error) {
	args, kw, err := m.evalArgs(&f.args, sc)
	if err != nil {
		return nil, err
	}
	v, err = m.callFilter(f.name, append([]Value{v}, args...), kw)
	if err != nil {
		return nil, at(f.line, err)
	}
	return v, nil
}

func (m *machine) callFilter(id string, args []Value, kw []keyword) (Value, error) {
	fn, ok := m.filters[id]
	if !ok {
		return nil, fmt.Errorf("there is no filter %q", id)
	}
	v, err := fn(m, args, kw)
	if err != nil {
		return nil, fmt.Errorf("filter %s: %w", id, err)
	}
	return v, nil
}

func (m *machine) evalTest(x *test, sc *scope) (Value, error) {
	v, err := m.eval(x.x, sc)
	if err != nil {
		return nil, err
	}
	args, kw, err := m.evalArgs(&x.args, sc)
	if err != nil {
		return nil, err
	}
	v, err = m.callTest(x.name, append([]Value{v}, args...), kw)
	if err != nil {
		return nil, at(x.line, err)
	}
	return v, nil
}

func (m *machine) callTest(id string, args []Value, kw []keyword) (Value, error) {
	fn, ok := m.tests[id]
	if !ok {
		return nil, fmt.Errorf("there is no test %q", id)
	}
	v, err := fn(m, args, kw)
	if err != nil {
		return nil, fmt.Errorf("test %s: %w", id, err)
	}
	return v, nil
}

func (m *machine) evalUnary(x *unary, sc *scope) (Value, error) {
	v, err := m.eval(x.x, sc)
	if err != nil {
		return nil, err
	}
	if x.op == "not" {
		yes, err := m.truth(v)
		return !yes, err
	}
	if u, ok := v.(*undefined); ok {
		return nil, u.err()
	}
	if !isNumber(v) {
		return nil, fmt.Errorf("%s%s: a number is needed", x.op, typeName(v))
	}
	if f, ok := v.(float64); ok {
		if x.op == "-" {
			f = -f
		}
		return f, nil
	}
	if x.op == "+" {
		return arithmetic("+", int64(0), v)
	}
	return arithmetic("-", int64(0), v)
}

func (m *machine) evalBinary(x *binary, sc *scope) (Value, error) {
	l, err := m.eval(x.l, sc)
	if err != nil {
		return nil, err
	}
	if x.op == "and" || x.op == "or" {
		yes, err := m.truth(l)
		if err != nil {
			return nil, err
		}
		if yes == (x.op == "or") {
			return l, nil
		}
		return m.eval(x.r, sc)
	}
	r, err := m.eval(x.r, sc)
	if err != nil {
		return nil, err
	}
	return m.operate(x.op, l, r)
}

func (m *machine) evalConcat(x *concat, sc *scope) (Value, error) {
	var b strings.Builder
	for _, item := range x.items {
		v, err := m.eval(item, sc)
		if err != nil {
			return nil, err
		}
		s, err := m.str(v)
		if err != nil {
			return nil, err
		}
		b.WriteString(s)
		if err := m.visit(b.Len(), 0); err != nil {
			return nil, err
		}
	}
	return b.String(), m.spend(b.Len())
}

func (m *machine) evalTernary(x *ternary, sc *scope) (Value, error) {
	yes, err := m.evalTruth(x.cond, sc)
	switch {
	case err != nil:
		return nil, err
	case yes:
		return m.eval(x.yes, sc)
	case x.no == nil:
		return undefinedf("an if without else was false"), nil
	}
	return m.eval(x.no, sc)
}

func (m *machine) evalCompare(x *compare, sc *scope) (Value, error) {
	l, err := m.eval(x.x, sc)
	if err != nil {
		return nil, err
	}
	for _, op := range x.ops {
		r, err := m.eval(op.x, sc)
		if err != nil {
			return nil, err
		}
		yes, err := m.compare(op.op, l, r)
		if err != nil || !yes {
			return false, err
		}
		l = r
	}
	return true, nil
}
