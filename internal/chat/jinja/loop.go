package jinja

import "errors"

func (m *machine) runFor(s *forStmt, sc *scope, out *writer) (flow, error) {
	v, err := m.eval(s.iter, sc)
	if err != nil {
		return goOn, err
	}
	return m.loop(s, v, 0, sc, out)
}

// loop runs a for loop over a value.
func (m *machine) loop(s *forStmt, over Value, depth int, sc *scope, out *writer) (flow, error) {
	next, err := iterate(over)
	if err != nil {
		return goOn, err
	}
	if s.cond != nil {
		next = m.filtered(s, next, sc)
		over = &generator{next}
	}
	l := &loopState{m: m, over: over, next: next, index: -1, depth: depth, known: -1}
	if s.recursive {
		l.recurse = func(v Value) (Value, error) { return m.nested(s, v, depth+1, sc) }
	}
	empty := true // as in jinja2, until an iteration comes to its end
	for {
		v, ok, err := l.advance()
		if err != nil {
			return goOn, err
		}
		if !ok {
			break
		}
		if err := m.step(); err != nil {
			return goOn, err
		}
		in := newScope(sc, s.body)
		in.set("loop", l)
		if err := m.bindTarget(s.target, v, sc, in); err != nil {
			return goOn, err
		}
		ctl, err := m.run(s.body.stmts, in, out)
		if err != nil {
			return goOn, err
		}
		if ctl == doBreak {
			break
		}
		if ctl == goOn {
			empty = false
		}
	}
	if empty && s.els != nil {
		return m.run(s.els.stmts, newScope(sc, s.els), out)
	}
	return goOn, nil
}

// nested renders a recursive loop over the value that loop() was called with.
func (m *machine) nested(s *forStmt, over Value, depth int, sc *scope) (Value, error) {
	if m.calls++; m.calls > maxCallDepth {
		return nil, limitf("a loop calls itself deeper than %d", maxCallDepth)
	}
	defer func() { m.calls-- }()
	var buf writer
	if _, err := m.loop(s, over, depth, sc, &buf); err != nil {
		return nil, err
	}
	return buf.String(), nil
}

// filtered keeps the items for which the loop's condition holds.
func (m *machine) filtered(s *forStmt, next iterator, sc *scope) iterator {
	return func() (Value, bool, error) {
		if m.depth++; m.depth > maxEvalDepth {
			return nil, false, limitf("generators are nested deeper than %d", maxEvalDepth)
		}
		defer func() { m.depth-- }()
		for {
			v, ok, err := next()
			if err != nil || !ok {
				return nil, false, err
			}
			in := &scope{parent: sc}
			if err := m.bindTarget(s.target, v, sc, in); err != nil {
				return nil, false, err
			}
			keep, err := m.evalTruth(s.cond, in)
			if err != nil {
				return nil, false, err
			}
			if keep {
				return v, true, nil
			}
		}
	}
}

// loopState is the variable loop.
type loopState struct {
	m       *machine
	over    Value
	next    iterator
	index   int // of the current item, from 0
	depth   int // of recursion, from 0
	known   int // the length, or -1
	ahead   []Value
	before  Value
	current Value
	changed []Value
	recurse func(Value) (Value, error)
}

func (l *loopState) advance() (Value, bool, error) {
	v, ok, err := l.peek()
	if err != nil || !ok {
		return nil, false, err
	}
	l.ahead = l.ahead[1:]
	l.index++
	l.before, l.current = l.current, v
	return v, true, nil
}

func (l *loopState) peek() (Value, bool, error) {
	if len(l.ahead) == 0 {
		v, ok, err := l.next()
		if err != nil || !ok {
			return nil, false, err
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true, nil
}

func (l *loopState) length() (int, error) {
	if l.known >= 0 {
		return l.known, nil
	}
	n, ok := length(l.over)
	if !ok {
		rest, err := l.m.list(&generator{l.next})
		if err != nil {
			return 0, err
		}
		l.ahead = append(l.ahead, rest...)
		n = len(l.ahead) + l.index + 1
	}
	l.known = n
	return n, nil
}

// attr returns an attribute of the variable loop.
func (l *loopState) attr(id string) (Value, bool, error) {
	num := func(n int) (Value, bool, error) { return int64(n), true, nil }
	switch id {
	case "index":
		return num(l.index + 1)
	case "index0":
		return num(l.index)
	case "depth":
		return num(l.depth + 1)
	case "depth0":
		return num(l.depth)
	case "first":
		return l.index == 0, true, nil
	case "length", "revindex", "revindex0":
		n, err := l.length()
		switch id {
		case "revindex":
			n -= l.index
		case "revindex0":
			n -= l.index + 1
		}
		return int64(n), true, err
	case "last":
		_, more, err := l.peek()
		return !more, true, err
	case "previtem":
		if l.index == 0 {
			return undefinedf("there is no previous item"), true, nil
		}
		return l.before, true, nil
	case "nextitem":
		v, more, err := l.peek()
		if !more {
			v = undefinedf("there is no next item")
		}
		return v, true, err
	case "cycle":
		return &function{"loop.cycle", l.cycle}, true, nil
	case "changed":
		return &function{"loop.changed", l.hasChanged}, true, nil
	}
	return nil, false, nil
}

func (l *loopState) cycle(_ *machine, args []Value, kw []keyword) (Value, error) {
	if len(args) == 0 || len(kw) > 0 {
		return nil, errors.New("loop.cycle needs values to cycle through")
	}
	return args[l.index%len(args)], nil
}

func (l *loopState) hasChanged(m *machine, args []Value, _ []keyword) (Value, error) {
	if l.changed != nil {
		same, err := m.equal(Tuple(l.changed), Tuple(args))
		if err != nil || same {
			return false, err
		}
	}
	l.changed = append([]Value{}, args...)
	return true, nil
}
