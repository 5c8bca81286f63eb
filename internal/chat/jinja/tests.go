package jinja

import (
	"fmt"
)

// testTable returns the tests of is expressions.
func testTable() map[string]builtin {
	t := map[string]builtin{
		"defined":     typeTest(func(v Value) bool { _, ok := v.(*undefined); return !ok }),
		"undefined":   typeTest(func(v Value) bool { _, ok := v.(*undefined); return ok }),
		"none":        typeTest(func(v Value) bool { return v == nil }),
		"boolean":     typeTest(func(v Value) bool { _, ok := v.(bool); return ok }),
		"true":        typeTest(func(v Value) bool { return v == true }),
		"false":       typeTest(func(v Value) bool { return v == false }),
		"integer":     typeTest(func(v Value) bool { _, ok := toBig(v); _, b := v.(bool); return ok && !b }),
		"float":       typeTest(func(v Value) bool { _, ok := v.(float64); return ok }),
		"number":      typeTest(isNumber),
		"string":      typeTest(func(v Value) bool { _, ok := text(v); return ok }),
		"mapping":     typeTest(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"sequence":    typeTest(isSequence),
		"iterable":    typeTest(isIterable),
		"callable":    typeTest(isCallable),
		"escaped":     typeTest(func(v Value) bool { _, ok := v.(Markup); return ok }),
		"odd":         parityTest(1),
		"even":        parityTest(0),
		"divisibleby": divisibleTest,
		"lower":       caseTest(func(s string) bool { return oneCase(s, isLower, isUpper) }),
		"upper":       caseTest(func(s string) bool { return oneCase(s, isUpper, isLower) }),
		"sameas":      sameTest,
		"in":          compareTest("in"),
		"filter": func(m *machine, args []Value, kw []keyword) (Value, error) {
			return m.named(args, kw, m.filters)
		},
		"test": func(m *machine, args []Value, kw []keyword) (Value, error) {
			return m.named(args, kw, m.tests)
		},
	}
	for op, names := range map[string][]string{
		"==": {"==", "eq", "equalto"},
		"!=": {"!=", "ne"},
		"<":  {"<", "lt", "lessthan"},
		"<=": {"<=", "le"},
		">":  {">", "gt", "greaterthan"},
		">=": {">=", "ge"},
	} {
		for _, id := range names {
			t[id] = compareTest(op)
		}
	}
	return t
}

func typeTest(is func(Value) bool) builtin {
	return func(_ *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind("the test", args, kw, 1, "value")
		if err != nil {
			return nil, err
		}
		return is(a[0]), nil
	}
}

func isSequence(v Value) bool {
	switch v.(type) {
	case string, Markup, Tuple, *List, *Dict, rng, *undefined:
		return true
	}
	return false
}

func isIterable(v Value) bool {
	switch v.(type) {
	case *generator, *loopState:
		return true
	}
	_, ok := length(v)
	return ok
}

func isCallable(v Value) bool {
	switch v.(type) {
	case *function, *macro, *loopState, *undefined: // an undefined value has __call__, too
		return true
	}
	return false
}

func parityTest(want int64) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind("the test", args, kw, 1, "value")
		if err != nil {
			return nil, err
		}
		return m.remainderIs(a[0], int64(2), want)
	}
}

func (m *machine) remainderIs(v, by Value, want int64) (Value, error) {
	rem, err := m.operate("%", v, by)
	if err != nil {
		return nil, err
	}
	return m.equal(rem, want)
}

func divisibleTest(m *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("divisibleby", args, kw, 2, "value", "num")
	if err != nil {
		return nil, err
	}
	return m.remainderIs(a[0], a[1], 0)
}

func caseTest(is func(string) bool) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind("the test", args, kw, 1, "value")
		if err != nil {
			return nil, err
		}
		s, err := m.str(a[0])
		if err != nil {
			return nil, err
		}
		return is(s), m.spend(len(s))
	}
}

func compareTest(op string) builtin {
	return func(m *machine, args []Value, kw []keyword) (Value, error) {
		a, err := bind("the test", args, kw, 2, "-value", "-other")
		if err != nil {
			return nil, err
		}
		return m.compare(op, a[0], a[1])
	}
}

// sameTest is Python's is, as far as it is the same in every run: for none,
// booleans and the objects of a template.
func sameTest(_ *machine, args []Value, kw []keyword) (Value, error) {
	a, err := bind("sameas", args, kw, 2, "value", "other")
	if err != nil {
		return nil, err
	}
	for _, v := range a {
		switch v.(type) {
		case nil, bool:
			return a[0] == a[1], nil
		}
	}
	switch x := a[0].(type) {
	case *List, *Dict, *namespace, *macro, *generator, *loopState:
		return x == a[1], nil
	}
	return nil, fmt.Errorf("whether a %s is the same object is not the same everywhere", typeName(a[0]))
}

func (m *machine) named(args []Value, kw []keyword, table map[string]builtin) (Value, error) {
	a, err := bind("the test", args, kw, 1, "value")
	if err != nil {
		return nil, err
	}
	if _, err := m.hash(a[0]); err != nil {
		return nil, err
	}
	id, ok := text(a[0])
	_, known := table[id]
	return ok && known, nil
}
