package grammar

import (
	"fmt"
	"slices"
)

// Grammar is a compiled grammar. It does not change and is safe for concurrent
// use.
type Grammar struct {
	states  []state
	rules   []rule
	loops   []loop
	root    int32
	classOf [256]uint8 // bytes that no edge tells apart are one class
	classes int
	kind    Kind
	source  string
}

// Kind says what a grammar was compiled from.
type Kind string

// The kinds.
const (
	KindJSON   Kind = "json"        // [JSON]; the source is empty
	KindSchema Kind = "json-schema" // [FromJSONSchema]
	KindGBNF   Kind = "gbnf"        // [FromGBNF]
)

// Source is what the grammar was compiled from. Whoever has it can compile the
// grammar again.
func (g *Grammar) Source() (Kind, string) { return g.kind, g.source }

// state is a node of a rule's automaton. It has byte edges, or silent edges,
// or one call, or one loop, or is the end of its rule.
type state struct {
	edges []edge
	eps   []int32
	call  int32 // rule, or -1
	ret   int32 // where a call or a loop goes on
	loop  int32 // index into loops, or -1
	end   bool
	tail  bool // only silent edges to the end: a call that returns here needs no frame
}

// edge goes to a state on the bytes lo to hi; loClass and hiClass are the
// same as classes.
type edge struct {
	lo, hi           byte
	loClass, hiClass uint8
	to               int32
}

type rule struct {
	name       string
	start, end int32
}

// loop repeats a rule min to max times; its count is kept in stack frames.
type loop struct {
	min, max int32 // max < 0: no limit
	body     int32 // rule
}

// compiler builds a Grammar from a ruleSet.
type compiler struct {
	g       *Grammar
	in      *ruleSet
	nulls   []bool // by input rule: matches the empty text
	bodies  map[*expr]int32
	pending []body
	err     error
}

type body struct {
	rule int32
	expr *expr
}

// compile turns rules into automata. root is the number of the first rule.
func compile(in *ruleSet, root int) (*Grammar, error) {
	if len(in.exprs) > maxRules {
		return nil, fmt.Errorf("grammar: %d rules, at most %d are allowed; simplify it", len(in.exprs), maxRules)
	}
	if err := in.inline(); err != nil {
		return nil, err
	}
	c := &compiler{g: &Grammar{root: int32(root)}, in: in, bodies: map[*expr]int32{}}
	c.findNulls()
	for i := range in.exprs {
		c.g.rules = append(c.g.rules, rule{name: in.names[i], start: c.state(), end: c.state()})
		c.pending = append(c.pending, body{int32(i), in.exprs[i]})
	}
	for len(c.pending) > 0 && c.err == nil {
		b := c.pending[0]
		c.pending = c.pending[1:]
		r := c.g.rules[b.rule]
		c.g.states[r.end].end = true
		c.build(b.expr, r.start, r.end, 0)
	}
	if c.err != nil {
		return nil, c.err
	}
	if err := c.g.checkLeftRecursion(); err != nil {
		return nil, err
	}
	if err := c.g.prune(); err != nil {
		return nil, err
	}
	c.g.markTails()
	c.g.classify()
	return c.g, nil
}

func (c *compiler) state() int32 {
	if len(c.g.states) >= maxStates {
		if c.err == nil {
			c.err = fmt.Errorf("grammar: more than %d automaton states; simplify it or lower its repetition counts", maxStates)
		}
		return 0
	}
	c.g.states = append(c.g.states, state{call: -1, loop: -1})
	return int32(len(c.g.states) - 1)
}

func (c *compiler) silent(from, to int32) {
	c.g.states[from].eps = append(c.g.states[from].eps, to)
}

func (c *compiler) edge(from int32, r byteRange, to int32) {
	c.g.states[from].edges = append(c.g.states[from].edges, edge{lo: r.lo, hi: r.hi, to: to})
}

// build makes paths from one state to another that read e. It adds no edge
// into from and none out of to.
func (c *compiler) build(e *expr, from, to int32, depth int) {
	if c.err != nil {
		return
	}
	if depth > 8*maxNesting {
		c.err = fmt.Errorf("grammar: nested more than %d levels deep", 8*maxNesting)
		return
	}
	switch e.op {
	case opLiteral:
		c.literal(e.text, from, to)
	case opClass:
		c.class(e.set, from, to)
	case opSeq:
		for i, s := range e.subs {
			next := to
			if i < len(e.subs)-1 {
				next = c.state()
			}
			c.build(s, from, next, depth+1)
			from = next
		}
		if len(e.subs) == 0 {
			c.silent(from, to)
		}
	case opAlt:
		for _, s := range e.subs {
			c.build(s, from, to, depth+1)
		}
	case opRepeat:
		c.repeat(e, from, to, depth+1)
	case opRule:
		s := c.state()
		c.silent(from, s)
		c.g.states[s].call, c.g.states[s].ret = int32(e.rule), to
	}
}

func (c *compiler) literal(text string, from, to int32) {
	if text == "" {
		c.silent(from, to)
		return
	}
	for i := range len(text) {
		next := to
		if i < len(text)-1 {
			next = c.state()
		}
		c.edge(from, byteRange{text[i], text[i]}, next)
		from = next
	}
}

// class adds the UTF-8 of a set; sequences that end alike share states.
func (c *compiler) class(set runeSet, from, to int32) {
	ends := map[string]int32{}
	set.utf8Sequences(func(seq []byteRange) {
		next := to
		key := make([]byte, 0, 8)
		for i := len(seq) - 1; i > 0; i-- {
			key = append(key, seq[i].lo, seq[i].hi)
			s, ok := ends[string(key)]
			if !ok {
				s = c.state()
				c.edge(s, seq[i], next)
				ends[string(key)] = s
			}
			next = s
		}
		c.edge(from, seq[0], next)
	})
}

// repeat builds small repetitions in line and counted ones as loops.
func (c *compiler) repeat(e *expr, from, to int32, depth int) {
	sub, low, high := e.subs[0], e.min, e.max
	if c.null(sub) {
		low = 0 // some of the repetitions may be empty
		if high > maxEmpty {
			c.err = fmt.Errorf("grammar: something that may be empty is repeated up to %d times, at most %d are allowed", high, maxEmpty)
			return
		}
	}
	switch {
	case high == 0:
		c.silent(from, to)
	case high < 0 && low <= 1:
		s, t := c.state(), c.state()
		c.silent(from, s)
		c.build(sub, s, t, depth)
		c.silent(t, s)
		c.silent(t, to)
		if low == 0 {
			c.silent(s, to)
		}
	case high > 0 && high < expandRepeat && high*plainSize(sub, expandRepeat) < expandRepeat:
		for i := range high {
			if i >= low {
				c.silent(from, to)
			}
			next := c.state()
			c.build(sub, from, next, depth)
			from = next
		}
		c.silent(from, to)
	default:
		s := c.state()
		c.silent(from, s)
		c.g.loops = append(c.g.loops, loop{min: int32(low), max: int32(high), body: c.bodyRule(sub)})
		c.g.states[s].loop, c.g.states[s].ret = int32(len(c.g.loops)-1), to
	}
}

// plainSize estimates the states of an expression, limit for one that calls
// rules or is large.
func plainSize(e *expr, limit int) int {
	n := 1
	switch e.op {
	case opLiteral:
		n = len(e.text)
	case opRule:
		return limit
	case opClass:
		n = len(e.set)
	case opRepeat:
		if e.max < 0 {
			n = plainSize(e.subs[0], limit)
		} else {
			n = min(e.max, limit) * plainSize(e.subs[0], limit)
		}
	default:
		for _, s := range e.subs {
			if n += plainSize(s, limit); n >= limit {
				break
			}
		}
	}
	return min(n, limit)
}

// bodyRule is the rule that a loop repeats: the one it names, or a new one.
func (c *compiler) bodyRule(e *expr) int32 {
	if e.op == opRule {
		return int32(e.rule)
	}
	if r, ok := c.bodies[e]; ok {
		return r
	}
	c.g.rules = append(c.g.rules, rule{name: "a repetition", start: c.state(), end: c.state()})
	r := int32(len(c.g.rules) - 1)
	c.bodies[e] = r
	c.pending = append(c.pending, body{r, e})
	return r
}

// findNulls finds the rules that match the empty text.
func (c *compiler) findNulls() {
	calls := make([][]int32, len(c.in.exprs))
	for i, e := range c.in.exprs {
		e.visit(func(e *expr) {
			if e.op == opRule {
				calls[i] = append(calls[i], int32(e.rule))
			}
		})
	}
	order := calleesFirst(calls)
	c.nulls = make([]bool, len(c.in.exprs))
	for changed := true; changed; {
		changed = false
		for _, i := range order {
			if !c.nulls[i] && c.null(c.in.exprs[i]) {
				c.nulls[i], changed = true, true
			}
		}
	}
}

func (c *compiler) null(e *expr) bool {
	switch e.op {
	case opLiteral:
		return e.text == ""
	case opSeq:
		return !slices.ContainsFunc(e.subs, func(s *expr) bool { return !c.null(s) })
	case opAlt:
		return slices.ContainsFunc(e.subs, c.null)
	case opRepeat:
		return e.min == 0 || c.null(e.subs[0])
	case opRule:
		return c.nulls[e.rule]
	}
	return false
}
