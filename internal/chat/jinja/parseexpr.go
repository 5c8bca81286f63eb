package jinja

import (
	"slices"
	"strings"
)

// The grammar of expressions, loosest binding first: x if c else y, or, and,
// not, comparisons, + and -, ~, * / // %, **, unary signs, then attributes,
// items, calls, filters and tests.

func (p *parser) expression(withIf bool) (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	x, err := p.or()
	if err != nil || !withIf {
		return x, err
	}
	for p.skip(tokName, "if") {
		t := &ternary{yes: x}
		if t.cond, err = p.or(); err != nil {
			return nil, err
		}
		if p.skip(tokName, "else") {
			if t.no, err = p.expression(true); err != nil {
				return nil, err
			}
		}
		x = t
	}
	return x, nil
}

// chain reads left-associative operators.
func (p *parser) chain(kind tokenKind, operand func() (expr, error), ops ...string) (expr, error) {
	x, err := operand()
	for err == nil && p.cur().kind == kind && slices.Contains(ops, p.cur().text) {
		op := p.next().text
		var r expr
		r, err = operand()
		x = &binary{op, x, r}
	}
	return x, err
}

func (p *parser) or() (expr, error)  { return p.chain(tokName, p.and, "or") }
func (p *parser) and() (expr, error) { return p.chain(tokName, p.not, "and") }

func (p *parser) not() (expr, error) {
	if !p.isName("not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.next()
	x, err := p.not()
	return &unary{"not", x}, err
}

func (p *parser) compare() (expr, error) {
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	var ops []comparison
	for {
		op := ""
		switch {
		case p.isOp("==", "!=", "<", "<=", ">", ">="), p.isName("in"):
			op = p.next().text
		case p.isName("not") && p.look().kind == tokName && p.look().text == "in":
			p.next()
			p.next()
			op = "not in"
		case ops == nil:
			return x, nil
		default:
			return &compare{x, ops}, nil
		}
		r, err := p.sum()
		if err != nil {
			return nil, err
		}
		ops = append(ops, comparison{op, r})
	}
}

func (p *parser) sum() (expr, error) { return p.chain(tokOp, p.concat, "+", "-") }

func (p *parser) concat() (expr, error) {
	x, err := p.product()
	if err != nil || !p.isOp("~") {
		return x, err
	}
	items := []expr{x}
	for p.skip(tokOp, "~") {
		if x, err = p.product(); err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return &concat{items}, nil
}

func (p *parser) product() (expr, error) { return p.chain(tokOp, p.power, "*", "/", "//", "%") }

// power is left-associative in Jinja.
func (p *parser) power() (expr, error) {
	return p.chain(tokOp, func() (expr, error) { return p.signed(true) }, "**")
}

func (p *parser) signed(filters bool) (expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var x expr
	var err error
	if p.isOp("-", "+") {
		op := p.next().text
		x, err = p.signed(false)
		x = &unary{op, x}
	} else {
		x, err = p.primary()
	}
	if err == nil {
		x, err = p.postfix(x)
	}
	if err == nil && filters {
		x, err = p.filtersAndTests(x)
	}
	return x, err
}

func (p *parser) primary() (expr, error) {
	t := p.cur()
	switch t.kind {
	case tokName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constant{true}, nil
		case "false", "False":
			return &constant{false}, nil
		case "none", "None":
			return &constant{nil}, nil
		}
		return &name{t.text}, nil
	case tokString:
		var s strings.Builder
		for p.cur().kind == tokString {
			s.WriteString(p.next().text)
		}
		return &constant{s.String()}, nil
	case tokNumber:
		p.next()
		return &constant{t.val}, nil
	case tokOp:
		switch t.text {
		case "(":
			p.next()
			x, err := p.tuple(true, true)
			if err != nil {
				return nil, err
			}
			return x, p.op(")")
		case "[":
			p.next()
			items, err := p.items("]", func() (expr, error) { return p.expression(true) })
			return &listLit{items}, err
		case "{":
			return p.dict()
		}
	}
	return nil, p.unexpected("an expression")
}

func (p *parser) tupleEnd() bool {
	k := p.cur().kind
	return k == tokVarEnd || k == tokBlockEnd || k == tokEOF || p.isOp(")")
}

// tuple reads one expression, or several with commas as a tuple.
func (p *parser) tuple(withIf, parens bool, ends ...string) (expr, error) {
	var items []expr
	for !p.tupleEnd() && !p.isName(ends...) {
		x, err := p.expression(withIf)
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.skip(tokOp, ",") {
			if len(items) == 1 {
				return x, nil
			}
			break
		}
	}
	if len(items) == 0 && !parens {
		return nil, p.unexpected("an expression")
	}
	return &tupleLit{items}, nil
}

// items reads a comma-separated list up to a closing bracket.
func (p *parser) items(end string, read func() (expr, error)) ([]expr, error) {
	var items []expr
	for !p.isOp(end) {
		if len(items) > 0 {
			if err := p.op(","); err != nil {
				return nil, err
			}
			if p.isOp(end) {
				break
			}
		}
		x, err := read()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return items, p.op(end)
}

func (p *parser) dict() (expr, error) {
	p.next()
	d := &dictLit{}
	_, err := p.items("}", func() (expr, error) {
		k, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		if err := p.op(":"); err != nil {
			return nil, err
		}
		v, err := p.expression(true)
		d.keys, d.vals = append(d.keys, k), append(d.vals, v)
		return v, err
	})
	return d, err
}

func (p *parser) postfix(x expr) (expr, error) {
	for {
		var err error
		switch {
		case p.isOp("."):
			x, err = p.dot(x)
		case p.isOp("["):
			x, err = p.subscript(x)
		case p.isOp("("):
			x, err = p.callOf(x)
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) callOf(x expr) (expr, error) {
	args, err := p.arguments()
	return &call{x, args}, err
}

func (p *parser) dot(x expr) (expr, error) {
	p.next()
	switch t := p.next(); {
	case t.kind == tokName:
		return &attr{x, t.text}, nil
	case t.kind == tokNumber:
		if _, isFloat := t.val.(float64); !isFloat {
			return &item{x, &constant{t.val}}, nil
		}
	}
	p.pos--
	return nil, p.unexpected("a name or an integer after the dot")
}

func (p *parser) subscript(x expr) (expr, error) {
	p.next()
	var args []expr
	for !p.isOp("]") {
		if len(args) > 0 {
			if err := p.op(","); err != nil {
				return nil, err
			}
		}
		a, err := p.index()
		if err != nil {
			return nil, err
		}
		args = append(args, a)
	}
	if err := p.op("]"); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		return &item{x, args[0]}, nil
	}
	for _, a := range args {
		if _, ok := a.(*slicing); ok {
			return nil, p.errorf("a slice cannot stand beside other indices")
		}
	}
	return &item{x, &tupleLit{args}}, nil
}

// index reads what stands between square brackets: an expression or a slice.
func (p *parser) index() (expr, error) {
	var part [3]expr
	for i := range part {
		if !p.isOp(":", "]", ",") {
			x, err := p.expression(true)
			if err != nil {
				return nil, err
			}
			part[i] = x
		}
		if i == 2 || !p.skip(tokOp, ":") {
			if i > 0 {
				break
			}
			if part[0] == nil {
				return nil, p.unexpected("an expression")
			}
			return part[0], nil
		}
	}
	return &slicing{part[0], part[1], part[2]}, nil
}

func (p *parser) arguments() (arguments, error) {
	var a arguments
	bad := func() error { return p.errorf("arguments of a call are in the wrong order") }
	p.next()
	_, err := p.items(")", func() (expr, error) {
		switch next := p.look(); {
		case p.skip(tokOp, "*"):
			if a.rest != nil || a.kwRest != nil {
				return nil, bad()
			}
			x, err := p.expression(true)
			a.rest = x
			return x, err
		case p.skip(tokOp, "**"):
			if a.kwRest != nil {
				return nil, bad()
			}
			x, err := p.expression(true)
			a.kwRest = x
			return x, err
		case p.cur().kind == tokName && next.kind == tokOp && next.text == "=":
			if a.kwRest != nil {
				return nil, bad()
			}
			id := p.next().text
			p.next()
			x, err := p.expression(true)
			a.kw = append(a.kw, kwArg{id, x})
			return x, err
		}
		if a.rest != nil || a.kwRest != nil || a.kw != nil {
			return nil, bad()
		}
		x, err := p.expression(true)
		a.pos = append(a.pos, x)
		return x, err
	})
	return a, err
}

func (p *parser) filtersAndTests(x expr) (expr, error) {
	for {
		var err error
		switch {
		case p.isOp("|"):
			x, err = p.filters(x)
		case p.isName("is"):
			x, err = p.test(x)
		case p.isOp("("):
			x, err = p.callOf(x)
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// filters reads any number of filters on x.
func (p *parser) filters(x expr) (expr, error) {
	for p.skip(tokOp, "|") {
		var err error
		if x, err = p.oneFilter(x); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (p *parser) oneFilter(x expr) (expr, error) {
	f := &filter{x: x, line: p.cur().line}
	var err error
	if f.name, err = p.dotted(); err != nil {
		return nil, err
	}
	if p.isOp("(") {
		f.args, err = p.arguments()
	}
	return f, err
}

func (p *parser) dotted() (string, error) {
	id, err := p.ident()
	for err == nil && p.skip(tokOp, ".") {
		var more string
		more, err = p.ident()
		id += "." + more
	}
	return id, err
}

func (p *parser) test(x expr) (expr, error) {
	t := &test{x: x, line: p.next().line}
	negated := p.skip(tokName, "not")
	var err error
	if t.name, err = p.dotted(); err != nil {
		return nil, err
	}
	switch k := p.cur().kind; {
	case p.isOp("("):
		t.args, err = p.arguments()
	case p.isName("is"):
		return nil, p.errorf("tests cannot be chained with is")
	case p.isName("else", "or", "and"):
	case k == tokName, k == tokString, k == tokNumber, p.isOp("[", "{"):
		var arg expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args.pos = []expr{arg}
	}
	if negated {
		return &unary{"not", t}, err
	}
	return t, err
}
