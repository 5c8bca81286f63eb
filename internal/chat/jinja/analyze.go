package jinja

// Jinja decides when it compiles a template, not when it runs it, where each
// name of a frame comes from. It shows in one case: a name that a frame sets
// before it first reads it, and that no frame around it knows, starts out
// undefined there, even if the caller passed a variable of that name. analyze
// finds these names (scopeBody.hidden), and the special names of macros. Other
// names can be looked up from the inside out while rendering.

type origin uint8

const (
	fromOutside origin = iota // an outer frame or the caller's variables
	fromNowhere               // undefined until set
	fromParam
)

// frame is what is known of the names of one body, or of one branch of an if
// inside it, which lies over the frame it branches from.
type frame struct {
	parent *frame // the frame around this one, complete
	base   *frame // the frame this branch lies over
	refs   map[string]origin
	stores map[string]bool
	inner  []func() error // bodies to analyse once this frame is complete
}

func newFrame(parent, base *frame) *frame {
	return &frame{parent: parent, base: base, refs: map[string]origin{}, stores: map[string]bool{}}
}

func (f *frame) knows(id string) bool {
	for ; f != nil; f = f.base {
		if _, ok := f.refs[id]; ok {
			return true
		}
	}
	return false
}

func (f *frame) stored(id string) bool {
	for ; f != nil; f = f.base {
		if f.stores[id] {
			return true
		}
	}
	return false
}

func outerKnows(f *frame, id string) bool {
	for ; f != nil; f = f.parent {
		if f.knows(id) {
			return true
		}
	}
	return false
}

func (f *frame) param(id string) {
	f.stores[id] = true
	f.refs[id] = fromParam
}

func (f *frame) store(id string) {
	f.stores[id] = true
	if f.knows(id) {
		return
	}
	f.refs[id] = fromNowhere
	if outerKnows(f.parent, id) {
		f.refs[id] = fromOutside
	}
}

func (f *frame) load(id string) {
	if !f.knows(id) && !outerKnows(f.parent, id) {
		f.refs[id] = fromOutside
	}
}

// merge takes over what the branches of an if found. A name that not all of
// them store may still come from outside.
func (f *frame) merge(branches ...*frame) {
	count := map[string]int{}
	for _, b := range branches {
		for id := range b.stores {
			if !f.stored(id) {
				count[id]++
			}
		}
	}
	for _, b := range branches {
		for id, o := range b.refs {
			f.refs[id] = o
		}
		for id := range b.stores {
			f.stores[id] = true
		}
		f.inner = append(f.inner, b.inner...)
	}
	for id, n := range count {
		if n < len(branches) {
			f.refs[id] = fromOutside
		}
	}
}

func analyze(root *scopeBody) error {
	return analyzeBody(root, newFrame(nil, nil))
}

// analyzeBody analyses a body in a frame that may already have parameters,
// then the bodies inside it.
func analyzeBody(body *scopeBody, f *frame) error {
	if err := f.stmts(body.stmts); err != nil {
		return err
	}
	for id, o := range f.refs { // a set: its order is of no consequence
		if o == fromNowhere {
			body.hidden = append(body.hidden, id)
		}
	}
	for _, analyze := range f.inner {
		if err := analyze(); err != nil {
			return err
		}
	}
	return nil
}

// later queues an inner body.
func (f *frame) later(body *scopeBody, prepare func(*frame) error) {
	top := f
	for top.base != nil {
		top = top.base
	}
	f.inner = append(f.inner, func() error {
		in := newFrame(top, nil)
		if prepare != nil {
			if err := prepare(in); err != nil {
				return err
			}
		}
		return analyzeBody(body, in)
	})
}

func (f *frame) stmts(list []stmt) error {
	for _, s := range list {
		if err := f.stmt(s); err != nil {
			return err
		}
	}
	return nil
}

func (f *frame) stmt(s stmt) error {
	switch s := s.(type) {
	case *output:
		return f.loads(s.items...)
	case *assign:
		if err := f.loads(s.x); err != nil {
			return err
		}
		return f.target(s.target, f.store)
	case *assignBlock:
		f.later(s.body, nil)
		if err := walk(s.filter, 0, func(string) {}); err != nil {
			return err
		}
		return f.target(s.target, f.store)
	case *ifStmt:
		return f.ifStmt(s)
	case *forStmt:
		return f.forStmt(s)
	case *macroDef:
		f.store(s.name)
		f.laterMacro(s)
	case *callBlock:
		f.laterMacro(s.def)
		return f.loads(s.call)
	case *filterBlock:
		f.later(s.body, nil)
		return f.loads(s.filter)
	case *withStmt:
		f.later(s.body, func(in *frame) error { return in.params(s.targets) })
		return f.loads(s.vals...)
	case *block:
		f.inner = append(f.inner, func() error { return analyzeBody(s.body, newFrame(nil, nil)) })
	case *generation:
		f.laterMacro(s.def)
	}
	return nil
}

func (f *frame) ifStmt(s *ifStmt) error {
	if err := f.loads(s.cond); err != nil {
		return err
	}
	body, elifs, els := newFrame(f.parent, f), newFrame(f.parent, f), newFrame(f.parent, f)
	if err := body.stmts(s.body); err != nil {
		return err
	}
	for _, e := range s.elifs {
		if err := elifs.ifStmt(e); err != nil {
			return err
		}
	}
	if err := els.stmts(s.els); err != nil {
		return err
	}
	f.merge(body, elifs, els)
	return nil
}

func (f *frame) forStmt(s *forStmt) error {
	f.later(s.body, func(in *frame) error {
		in.param("loop")
		if err := in.target(s.target, in.param); err != nil {
			return err
		}
		return walk(s.cond, 0, func(string) {}) // checks its depth
	})
	if s.els != nil {
		f.later(s.els, nil)
	}
	return f.loads(s.iter)
}

func (f *frame) laterMacro(def *macroDef) {
	used := map[string]bool{}
	note := func(id string) { used[id] = true }
	f.later(def.body, func(in *frame) error {
		for _, id := range def.params {
			in.param(id)
		}
		if err := usedNames(def.body, note); err != nil {
			return err
		}
		special := func(id string) bool {
			if !used[id] || in.stores[id] {
				return false
			}
			in.param(id)
			return true
		}
		def.caller = special("caller")
		def.kwargs = special("kwargs")
		def.varargs = special("varargs")
		return in.loads(def.defaults...)
	})
}

func (f *frame) params(list []expr) error {
	for _, t := range list {
		if err := f.target(t, f.param); err != nil {
			return err
		}
	}
	return nil
}

func (f *frame) target(t expr, bind func(string)) error {
	if ns, ok := t.(*nsAttr); ok {
		f.load(ns.ns)
		return nil
	}
	return walk(t, 0, bind)
}

func (f *frame) loads(list ...expr) error {
	for _, x := range list {
		if err := walk(x, 0, f.load); err != nil {
			return err
		}
	}
	return nil
}

// usedNames calls note for the names that a body reads, inner bodies included.
func usedNames(body *scopeBody, note func(string)) error {
	if body == nil {
		return nil
	}
	for _, s := range body.stmts {
		if err := usedByStmt(s, note); err != nil {
			return err
		}
	}
	return nil
}

func usedByStmt(s stmt, note func(string)) error {
	var exprs []expr
	var bodies []*scopeBody
	switch s := s.(type) {
	case *output:
		exprs = s.items
	case *assign:
		exprs = []expr{s.x}
	case *assignBlock:
		exprs, bodies = []expr{s.filter}, []*scopeBody{s.body}
	case *ifStmt:
		exprs, bodies = []expr{s.cond}, []*scopeBody{{stmts: s.body}, {stmts: s.els}}
		for _, e := range s.elifs {
			if err := usedByStmt(e, note); err != nil {
				return err
			}
		}
	case *forStmt:
		exprs, bodies = []expr{s.iter, s.cond}, []*scopeBody{s.body, s.els}
	case *macroDef:
		exprs, bodies = s.defaults, []*scopeBody{s.body}
	case *callBlock:
		exprs, bodies = append([]expr{s.call}, s.def.defaults...), []*scopeBody{s.def.body}
	case *filterBlock:
		exprs, bodies = []expr{s.filter}, []*scopeBody{s.body}
	case *withStmt:
		exprs, bodies = s.vals, []*scopeBody{s.body}
	case *generation:
		bodies = []*scopeBody{s.def.body}
	}
	for _, x := range exprs {
		if err := walk(x, 0, note); err != nil {
			return err
		}
	}
	for _, b := range bodies {
		if err := usedNames(b, note); err != nil {
			return err
		}
	}
	return nil
}

// walk calls f for every name of an expression, from left to right.
func walk(x expr, depth int, f func(id string)) error {
	if depth > maxEvalDepth/2 {
		return limitf("an expression is nested deeper than %d", maxEvalDepth/2)
	}
	if id, ok := x.(*name); ok {
		f(id.id)
		return nil
	}
	for _, c := range children(x) {
		if c == nil {
			continue
		}
		if err := walk(c, depth+1, f); err != nil {
			return err
		}
	}
	return nil
}

func children(x expr) []expr {
	switch x := x.(type) {
	case *tupleLit:
		return x.items
	case *listLit:
		return x.items
	case *dictLit:
		var out []expr
		for i := range x.keys {
			out = append(out, x.keys[i], x.vals[i])
		}
		return out
	case *attr:
		return []expr{x.x}
	case *item:
		return []expr{x.x, x.index}
	case *slicing:
		return []expr{x.from, x.to, x.step}
	case *call:
		return x.args.children(x.fn)
	case *filter:
		return x.args.children(x.x)
	case *test:
		return x.args.children(x.x)
	case *unary:
		return []expr{x.x}
	case *binary:
		return []expr{x.l, x.r}
	case *concat:
		return x.items
	case *compare:
		out := []expr{x.x}
		for _, op := range x.ops {
			out = append(out, op.x)
		}
		return out
	case *ternary:
		return []expr{x.cond, x.yes, x.no}
	}
	return nil
}

func (a *arguments) children(first expr) []expr {
	out := append([]expr{first}, a.pos...)
	for _, k := range a.kw {
		out = append(out, k.x)
	}
	return append(out, a.rest, a.kwRest)
}
