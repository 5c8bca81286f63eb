package jinja

import (
	"fmt"
	"strings"
	"time"
)

// DefaultNow is the time that strftime_now formats where [Options] has none.
var DefaultNow = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// Options of one rendering.
type Options struct {
	// Now is the time for strftime_now; zero means DefaultNow.
	Now time.Time
}

// Render renders the template with variables, which it does not change.
func (t *Template) Render(vars *Dict, opt Options) (string, error) {
	if opt.Now.IsZero() {
		opt.Now = DefaultNow
	}
	m := &machine{vars: vars, now: opt.Now, filters: filterTable(), tests: testTable()}
	m.globals = m.globalTable()
	m.root = newScope(nil, t.body)
	var out writer
	if _, err := m.run(t.body.stmts, m.root, &out); err != nil {
		return "", err
	}
	return out.String(), nil
}

// machine is the state of one rendering.
type machine struct {
	vars    *Dict
	root    *scope
	globals map[string]Value
	filters map[string]builtin
	tests   map[string]builtin
	now     time.Time

	steps, work, depth, calls int
}

type builtin func(m *machine, args []Value, kw []keyword) (Value, error)

// step counts one unit of work, spend the copying of n bytes.
func (m *machine) step() error {
	if m.steps++; m.steps > maxSteps {
		return limitf("more than %d steps", maxSteps)
	}
	return nil
}

func (m *machine) spend(n int) error {
	if n > maxOutput {
		return limitf("a text of %d bytes, allowed are %d", n, maxOutput)
	}
	if m.work += n; m.work > maxWork {
		return limitf("more than %d bytes copied", maxWork)
	}
	return nil
}

// spendTimes counts n pieces of a size; their product may overflow an int.
func (m *machine) spendTimes(n, size int) error {
	if size > 0 && n > maxOutput/size {
		return limitf("a text of %d times %d bytes, allowed are %d bytes", n, size, maxOutput)
	}
	return m.spend(n * size)
}

// visit counts a value visited at a depth of nesting, size bytes into a text.
func (m *machine) visit(size, depth int) error {
	if depth > maxValueDepth {
		return limitf("a value is nested deeper than %d", maxValueDepth)
	}
	if size > maxOutput {
		return limitf("a text of more than %d bytes", maxOutput)
	}
	return m.step()
}

type writer struct{ strings.Builder }

func (m *machine) write(out *writer, s string) error {
	if out.Len()+len(s) > maxOutput {
		return limitf("its output has more than %d bytes", maxOutput)
	}
	out.WriteString(s)
	return m.spend(len(s))
}

// scope holds the variables of one run of a body: few as a rule, so that a
// list does; a map finds them where they are many.
type scope struct {
	vars   []keyword
	index  map[string]int
	parent *scope
}

const manyVars = 16

func newScope(parent *scope, body *scopeBody) *scope {
	s := &scope{parent: parent}
	for _, id := range body.hidden {
		s.set(id, undefinedf("%q is not set yet", id))
	}
	return s
}

func (s *scope) find(id string) int {
	if s.index != nil {
		if i, ok := s.index[id]; ok {
			return i
		}
		return -1
	}
	for i := range s.vars {
		if s.vars[i].name == id {
			return i
		}
	}
	return -1
}

func (s *scope) set(id string, v Value) {
	if i := s.find(id); i >= 0 {
		s.vars[i].val = v
		return
	}
	s.vars = append(s.vars, keyword{id, v})
	if len(s.vars) == manyVars {
		s.index = map[string]int{}
		for i := range s.vars {
			s.index[s.vars[i].name] = i
		}
	} else if s.index != nil {
		s.index[id] = len(s.vars) - 1
	}
}

func (m *machine) lookup(sc *scope, id string) Value {
	for s := sc; s != nil; s = s.parent {
		if i := s.find(id); i >= 0 {
			return s.vars[i].val
		}
	}
	if v, ok := m.vars.Get(id); ok {
		return v
	}
	if v, ok := m.globals[id]; ok {
		return v
	}
	return undefinedf("%q is undefined", id)
}

type flow uint8

const (
	goOn flow = iota
	doBreak
	doContinue
)

func (m *machine) run(list []stmt, sc *scope, out *writer) (flow, error) {
	if m.depth++; m.depth > maxEvalDepth {
		return goOn, limitf("it is nested deeper than %d", maxEvalDepth)
	}
	defer func() { m.depth-- }()
	for _, s := range list {
		if err := m.step(); err != nil {
			return goOn, err
		}
		ctl, line, err := m.statement(s, sc, out)
		if err != nil {
			return goOn, at(line, err)
		}
		if ctl != goOn {
			return ctl, nil
		}
	}
	return goOn, nil
}

func (m *machine) statement(s stmt, sc *scope, out *writer) (ctl flow, line int, err error) {
	switch s := s.(type) {
	case *output:
		line, err = m.output(s, sc, out)
		return goOn, line, err
	case *assign:
		v, err := m.eval(s.x, sc)
		if err == nil {
			err = m.bindTarget(s.target, v, sc, sc)
		}
		return goOn, s.line, err
	case *ifStmt:
		ctl, err = m.runIf(s, sc, out)
		return ctl, s.line, err
	case *forStmt:
		ctl, err = m.runFor(s, sc, out)
		return ctl, s.line, err
	case *assignBlock:
		ctl, err = m.assignBlock(s, sc)
		return ctl, s.line, err
	case *macroDef:
		sc.set(s.name, &macro{s, sc})
		return goOn, s.line, nil
	case *callBlock:
		return goOn, s.line, m.callBlock(s, sc, out)
	case *filterBlock:
		ctl, err = m.filterBlock(s, sc, out)
		return ctl, s.line, err
	case *withStmt:
		ctl, err = m.with(s, sc, out)
		return ctl, s.line, err
	case *block:
		_, err = m.run(s.body.stmts, m.blockScope(s), out)
		return goOn, s.line, err
	case *generation:
		return goOn, s.line, m.generation(s, sc, out)
	case *loopControl:
		if s.breaks {
			return doBreak, s.line, nil
		}
		return doContinue, s.line, nil
	case *unsupported:
		return goOn, s.line, fmt.Errorf("%s is not allowed: a chat template stands alone", s.what)
	}
	panic(fmt.Sprintf("jinja: internal error: statement %T", s))
}

// output prints items and returns the line of the one that failed.
func (m *machine) output(s *output, sc *scope, out *writer) (int, error) {
	for i, x := range s.items {
		if piece, ok := x.(textPiece); ok {
			if err := m.write(out, string(piece)); err != nil {
				return s.lines[i], err
			}
			continue
		}
		v, err := m.eval(x, sc)
		if err == nil {
			err = m.print(v, out)
		}
		if err != nil {
			return s.lines[i], err
		}
	}
	return 0, nil
}

// print writes the text of a value.
func (m *machine) print(v Value, out *writer) error {
	text, err := m.str(v)
	if err != nil {
		return err
	}
	return m.write(out, text)
}

// blockScope returns the scope for a block, which sees what the template set
// at its top level.
func (m *machine) blockScope(s *block) *scope {
	in := newScope(nil, s.body)
	for _, v := range m.root.vars {
		if _, unset := v.val.(*undefined); !unset {
			in.set(v.name, v.val)
		}
	}
	return in
}

func (m *machine) runIf(s *ifStmt, sc *scope, out *writer) (flow, error) {
	for i := -1; i < len(s.elifs); i++ {
		branch := s
		if i >= 0 {
			branch = s.elifs[i]
		}
		yes, err := m.evalTruth(branch.cond, sc)
		if err != nil {
			return goOn, at(branch.line, err)
		}
		if yes {
			return m.run(branch.body, sc, out)
		}
	}
	return m.run(s.els, sc, out)
}

func (m *machine) evalTruth(x expr, sc *scope) (bool, error) {
	v, err := m.eval(x, sc)
	if err != nil {
		return false, err
	}
	return m.truth(v)
}

// bindTarget assigns a value to a target in the scope to.
func (m *machine) bindTarget(target expr, v Value, sc, to *scope) error {
	switch t := target.(type) {
	case *name:
		to.set(t.id, v)
		return nil
	case *nsAttr:
		ns, ok := m.lookup(sc, t.ns).(*namespace)
		if !ok {
			return fmt.Errorf("%s is not a namespace: only attributes of namespace objects can be set", t.ns)
		}
		ns.attrs.Set(t.attr, v)
		return nil
	case *tupleLit:
		items, err := m.list(v)
		if err != nil {
			return err
		}
		if len(items) != len(t.items) {
			return fmt.Errorf("%d values for %d names", len(items), len(t.items))
		}
		for i, x := range t.items {
			if err := m.bindTarget(x, items[i], sc, to); err != nil {
				return err
			}
		}
		return nil
	}
	panic(fmt.Sprintf("jinja: internal error: target %T", target))
}

func (m *machine) assignBlock(s *assignBlock, sc *scope) (flow, error) {
	var out writer
	ctl, err := m.run(s.body.stmts, newScope(sc, s.body), &out)
	if err != nil || ctl != goOn {
		return ctl, err
	}
	var v Value = out.String()
	if s.filter != nil {
		if v, err = m.filterText(s.filter, v, sc); err != nil {
			return goOn, err
		}
	}
	return goOn, m.bindTarget(s.target, v, sc, sc)
}

func (m *machine) filterBlock(s *filterBlock, sc *scope, out *writer) (flow, error) {
	var buf writer
	in := newScope(sc, s.body)
	ctl, err := m.run(s.body.stmts, in, &buf)
	if err != nil || ctl != goOn {
		return ctl, err
	}
	v, err := m.filterText(s.filter, buf.String(), in)
	if err != nil {
		return goOn, err
	}
	return goOn, m.print(v, out)
}

// filterText applies a chain of filters to the text of a block.
func (m *machine) filterText(x expr, v Value, sc *scope) (Value, error) {
	f := x.(*filter)
	if f.x != nil {
		var err error
		if v, err = m.filterText(f.x, v, sc); err != nil {
			return nil, err
		}
	}
	return m.applyFilter(f, v, sc)
}

func (m *machine) with(s *withStmt, sc *scope, out *writer) (flow, error) {
	in := newScope(sc, s.body)
	for i, t := range s.targets {
		v, err := m.eval(s.vals[i], sc)
		if err != nil {
			return goOn, err
		}
		if err := m.bindTarget(t, v, sc, in); err != nil {
			return goOn, err
		}
	}
	return m.run(s.body.stmts, in, out)
}

func (m *machine) callBlock(s *callBlock, sc *scope, out *writer) error {
	v, err := m.evalCall(s.call, sc, keyword{"caller", &macro{s.def, sc}})
	if err != nil {
		return err
	}
	return m.print(v, out)
}

func (m *machine) generation(s *generation, sc *scope, out *writer) error {
	v, err := m.callMacro(&macro{s.def, sc}, nil, nil)
	if err != nil {
		return err
	}
	return m.print(v, out)
}

// macro is a macro or the body of a call block, with the scope around it.
type macro struct {
	def *macroDef
	sc  *scope
}

func (m *machine) callMacro(mac *macro, args []Value, kw []keyword) (Value, error) {
	if m.calls++; m.calls > maxCallDepth {
		return nil, limitf("macros call each other deeper than %d", maxCallDepth)
	}
	defer func() { m.calls-- }()
	def := mac.def
	in := newScope(mac.sc, def.body)
	given, err := m.bindParams(def, in, args, kw)
	if err != nil {
		return nil, at(def.line, err)
	}
	for i, id := range def.params {
		if given[id] {
			continue
		}
		in.set(id, undefinedf("parameter %q was not given", id))
		if d := i - (len(def.params) - len(def.defaults)); d >= 0 {
			v, err := m.eval(def.defaults[d], in)
			if err != nil {
				return nil, at(def.line, err)
			}
			in.set(id, v)
		}
	}
	var out writer
	if _, err := m.run(def.body.stmts, in, &out); err != nil {
		return nil, err
	}
	return out.String(), nil
}

// bindParams puts the arguments of a macro into its scope and returns which
// parameters were given.
func (m *machine) bindParams(def *macroDef, in *scope, args []Value, kw []keyword) (map[string]bool, error) {
	given := map[string]bool{}
	n := min(len(args), len(def.params))
	for i, id := range def.params[:n] {
		in.set(id, args[i])
		given[id] = true
	}
	rest := NewDict()
	var caller Value = undefinedf("no caller defined")
	for _, k := range kw {
		switch {
		case isParam(def.params[n:], k.name):
			in.set(k.name, k.val)
			given[k.name] = true
		case k.name == "caller" && def.caller:
			caller = k.val
		default:
			rest.Set(k.name, k.val)
		}
	}
	if def.caller {
		in.set("caller", caller)
	}
	if def.kwargs {
		in.set("kwargs", rest)
	} else if rest.Len() > 0 {
		return nil, fmt.Errorf("macro %q has no parameter %v", def.name, rest.keys[0])
	}
	if def.varargs {
		in.set("varargs", Tuple(args[n:]))
	} else if len(args) > n {
		return nil, fmt.Errorf("macro %q takes %d arguments, given are %d", def.name, n, len(args))
	}
	return given, nil
}

func isParam(params []string, id string) bool {
	for _, p := range params {
		if p == id {
			return true
		}
	}
	return false
}
