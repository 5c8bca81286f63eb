package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Template is a parsed template. It can be rendered any number of times, also
// at the same time.
type Template struct{ body *scopeBody }

// Parse reads a template. Errors of syntax name the line.
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, limitf("its source has %d bytes, allowed are %d", len(source), maxSource)
	}
	if !utf8.ValidString(source) {
		return nil, errors.New("chat template is not valid UTF-8")
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	stmts, err := p.block(nil)
	if err != nil {
		return nil, err
	}
	body := &scopeBody{stmts: stmts}
	if err := analyze(body); err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int // loops around this point in the same frame
}

func (p *parser) cur() token  { return p.tokens[p.pos] }
func (p *parser) look() token { return p.tokens[min(p.pos+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.cur()
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (p *parser) is(kind tokenKind, text string) bool {
	t := p.cur()
	return t.kind == kind && t.text == text
}

func (p *parser) isName(names ...string) bool {
	t := p.cur()
	return t.kind == tokName && slices.Contains(names, t.text)
}

func (p *parser) isOp(ops ...string) bool {
	t := p.cur()
	return t.kind == tokOp && slices.Contains(ops, t.text)
}

func (p *parser) skip(kind tokenKind, text string) bool {
	if p.is(kind, text) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) errorf(format string, args ...any) error {
	return syntaxf(p.cur().line, format, args...)
}

func (p *parser) unexpected(want string) error {
	return p.errorf("expected %s, found %v", want, p.cur())
}

func (p *parser) op(text string) error {
	if !p.skip(tokOp, text) {
		return p.unexpected(fmt.Sprintf("%q", text))
	}
	return nil
}

func (p *parser) kind(k tokenKind) error {
	if p.cur().kind != k {
		return p.unexpected(k.String())
	}
	p.next()
	return nil
}

func (p *parser) ident() (string, error) {
	if p.cur().kind != tokName {
		return "", p.unexpected("a name")
	}
	return p.next().text, nil
}

// enter guards recursion; every successful call needs a leave.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting*8 {
		return at(p.cur().line, limitf("the source is nested too deeply"))
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// block reads statements up to a tag that begins with one of the end names,
// which stays the current token.
func (p *parser) block(ends []string) ([]stmt, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	var body []stmt
	var out *output
	add := func(x expr, line int) {
		if out == nil {
			out = &output{}
			body = append(body, out)
		}
		out.items, out.lines = append(out.items, x), append(out.lines, line)
	}
	for {
		switch t := p.cur(); t.kind {
		case tokEOF:
			if ends != nil {
				return nil, p.errorf("the template ends where {%% %s %%} is missing", strings.Join(ends, " or "))
			}
			return body, nil
		case tokData:
			add(textPiece(t.text), t.line)
			p.next()
		case tokVarBegin:
			p.next()
			x, err := p.tuple(true, false)
			if err != nil {
				return nil, err
			}
			add(x, t.line)
			if err := p.kind(tokVarEnd); err != nil {
				return nil, err
			}
		default:
			out = nil
			p.next()
			if ends != nil && p.isName(ends...) {
				return body, nil
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			body = append(body, s)
			if err := p.kind(tokBlockEnd); err != nil {
				return nil, err
			}
		}
	}
}

// body reads the rest of an opening tag and the statements up to one of the
// end names, which it consumes and returns.
func (p *parser) body(ends ...string) ([]stmt, string, error) {
	p.skip(tokOp, ":")
	if err := p.kind(tokBlockEnd); err != nil {
		return nil, "", err
	}
	stmts, err := p.block(ends)
	if err != nil {
		return nil, "", err
	}
	return stmts, p.next().text, nil
}

// scope reads a body with variables of its own.
func (p *parser) scope(end string) (*scopeBody, error) {
	stmts, _, err := p.body(end)
	return &scopeBody{stmts: stmts}, err
}

// frame is scope for a body that break and continue cannot leave.
func (p *parser) frame(end string) (*scopeBody, error) {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.scope(end)
}

func (p *parser) statement() (stmt, error) {
	line := p.cur().line
	tag, err := p.ident()
	if err != nil {
		return nil, err
	}
	switch tag {
	case "set":
		return p.set(line)
	case "if":
		return p.ifTag(line)
	case "for":
		return p.forTag(line)
	case "macro":
		return p.macro(line)
	case "call":
		return p.callTag(line)
	case "filter":
		return p.filterTag(line)
	case "with":
		return p.with(line)
	case "print":
		return p.print(line)
	case "block":
		return p.blockTag(line)
	case "generation":
		body, err := p.frame("endgeneration")
		return &generation{&macroDef{body: body, line: line}, line}, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, syntaxf(line, "%s outside of a loop", tag)
		}
		return &loopControl{tag == "break", line}, nil
	case "include", "import", "extends", "from":
		for k := p.cur().kind; k != tokBlockEnd && k != tokEOF; k = p.cur().kind {
			p.next()
		}
		return &unsupported{tag, line}, nil
	}
	return nil, syntaxf(line, "unknown tag %q", tag)
}

func (p *parser) set(line int) (stmt, error) {
	target, err := p.setTarget()
	if err != nil {
		return nil, err
	}
	if p.skip(tokOp, "=") {
		x, err := p.tuple(true, false)
		return &assign{target, x, line}, err
	}
	f, err := p.filters(nil)
	if err != nil {
		return nil, err
	}
	body, err := p.scope("endset")
	return &assignBlock{target, f, body, line}, err
}

func (p *parser) setTarget() (expr, error) {
	if next := p.look(); p.cur().kind == tokName && next.kind == tokOp && next.text == "." {
		ns := p.next().text
		p.next()
		a, err := p.ident()
		return &nsAttr{ns, a}, err
	}
	return p.target()
}

// target reads a name or a tuple of targets.
func (p *parser) target() (expr, error) {
	line := p.cur().line
	var items []expr
	isTuple := false
	for !p.tupleEnd() && !p.isName("in") {
		x, err := p.primary()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.skip(tokOp, ",") {
			break
		}
		isTuple = true
	}
	var x expr = &tupleLit{items}
	if !isTuple {
		if len(items) == 0 {
			return nil, p.unexpected("a name to assign to")
		}
		x = items[0]
	}
	if !assignable(x) {
		return nil, syntaxf(line, "only names and tuples of names can be assigned to")
	}
	return x, nil
}

func assignable(x expr) bool {
	switch x := x.(type) {
	case *name:
		return true
	case *tupleLit:
		return !slices.ContainsFunc(x.items, func(x expr) bool { return !assignable(x) })
	}
	return false
}

func (p *parser) ifTag(line int) (stmt, error) {
	first := &ifStmt{line: line}
	branch := first
	for {
		var err error
		if branch.cond, err = p.tuple(false, false); err != nil {
			return nil, err
		}
		var end string
		if branch.body, end, err = p.body("elif", "else", "endif"); err != nil {
			return nil, err
		}
		switch end {
		case "elif":
			branch = &ifStmt{line: p.cur().line}
			first.elifs = append(first.elifs, branch)
			continue
		case "else":
			if first.els, _, err = p.body("endif"); err != nil {
				return nil, err
			}
		}
		return first, nil
	}
}

func (p *parser) forTag(line int) (stmt, error) {
	f := &forStmt{line: line}
	var err error
	if f.target, err = p.target(); err != nil {
		return nil, err
	}
	if bindsName(f.target, "loop") {
		return nil, syntaxf(line, "loop is the loop's own variable and cannot be assigned")
	}
	if !p.skip(tokName, "in") {
		return nil, p.unexpected(`"in"`)
	}
	if f.iter, err = p.tuple(false, false, "recursive"); err != nil {
		return nil, err
	}
	if p.skip(tokName, "if") {
		if f.cond, err = p.expression(true); err != nil {
			return nil, err
		}
	}
	f.recursive = p.skip(tokName, "recursive")
	p.loops++
	stmts, end, err := p.body("endfor", "else")
	p.loops--
	if err != nil {
		return nil, err
	}
	f.body = &scopeBody{stmts: stmts}
	if end == "else" {
		f.els, err = p.scope("endfor")
	}
	return f, err
}

func bindsName(target expr, id string) bool {
	switch t := target.(type) {
	case *name:
		return t.id == id
	case *tupleLit:
		return slices.ContainsFunc(t.items, func(x expr) bool { return bindsName(x, id) })
	}
	return false
}

func (p *parser) macro(line int) (stmt, error) {
	id, err := p.ident()
	if err != nil {
		return nil, err
	}
	def := &macroDef{name: id, line: line}
	if err := p.signature(def); err != nil {
		return nil, err
	}
	def.body, err = p.frame("endmacro")
	return def, err
}

func (p *parser) signature(def *macroDef) error {
	if err := p.op("("); err != nil {
		return err
	}
	for !p.isOp(")") {
		if len(def.params) > 0 {
			if err := p.op(","); err != nil {
				return err
			}
		}
		id, err := p.ident()
		if err != nil {
			return err
		}
		def.params = append(def.params, id)
		if p.skip(tokOp, "=") {
			x, err := p.expression(true)
			if err != nil {
				return err
			}
			def.defaults = append(def.defaults, x)
		} else if len(def.defaults) > 0 {
			return p.errorf("a parameter without a default follows one with a default")
		}
	}
	return p.op(")")
}

func (p *parser) callTag(line int) (stmt, error) {
	def := &macroDef{line: line}
	if p.isOp("(") {
		if err := p.signature(def); err != nil {
			return nil, err
		}
	}
	x, err := p.expression(true)
	if err != nil {
		return nil, err
	}
	c, ok := x.(*call)
	if !ok {
		return nil, syntaxf(line, "a call block needs a call")
	}
	def.body, err = p.frame("endcall")
	return &callBlock{def, c, line}, err
}

func (p *parser) filterTag(line int) (stmt, error) {
	f, err := p.oneFilter(nil)
	if err != nil {
		return nil, err
	}
	if f, err = p.filters(f); err != nil {
		return nil, err
	}
	body, err := p.scope("endfilter")
	return &filterBlock{f, body, line}, err
}

func (p *parser) with(line int) (stmt, error) {
	w := &withStmt{line: line}
	for p.cur().kind != tokBlockEnd && !p.isOp(":") {
		if len(w.targets) > 0 {
			if err := p.op(","); err != nil {
				return nil, err
			}
		}
		t, err := p.target()
		if err != nil {
			return nil, err
		}
		if err := p.op("="); err != nil {
			return nil, err
		}
		x, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		w.targets, w.vals = append(w.targets, t), append(w.vals, x)
	}
	var err error
	w.body, err = p.scope("endwith")
	return w, err
}

func (p *parser) print(line int) (stmt, error) {
	out := &output{}
	for p.cur().kind != tokBlockEnd {
		if len(out.items) > 0 {
			if err := p.op(","); err != nil {
				return nil, err
			}
		}
		x, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		out.items, out.lines = append(out.items, x), append(out.lines, line)
	}
	return out, nil
}

func (p *parser) blockTag(line int) (stmt, error) {
	id, err := p.ident()
	if err != nil {
		return nil, err
	}
	p.skip(tokName, "scoped")
	p.skip(tokName, "required")
	body, err := p.frame("endblock")
	if err != nil {
		return nil, err
	}
	p.skip(tokName, id)
	return &block{body, line}, nil
}
