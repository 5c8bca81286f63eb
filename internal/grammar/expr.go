package grammar

import (
	"fmt"
	"slices"
	"strings"
)

type op uint8

const (
	opLiteral op = iota // text; the empty text is the empty sequence
	opClass             // one character of set; the empty set matches nothing
	opSeq               // subs in order
	opAlt               // one of subs; none of them matches nothing
	opRepeat            // subs[0], min to max times; max < 0 is no limit
	opRule              // rule by number
)

// expr is a part of a grammar: what both parsers produce and the compiler
// reads. Values are shared and not changed once made.
type expr struct {
	op       op
	text     string
	set      runeSet
	subs     []*expr
	rule     int
	min, max int
}

func lit(text string) *expr   { return &expr{op: opLiteral, text: text} }
func class(set runeSet) *expr { return &expr{op: opClass, set: set} }
func seq(subs ...*expr) *expr { return &expr{op: opSeq, subs: subs} }
func alt(subs ...*expr) *expr { return &expr{op: opAlt, subs: subs} }
func repeat(e *expr, min, max int) *expr {
	return &expr{op: opRepeat, subs: []*expr{e}, min: min, max: max}
}
func optional(e *expr) *expr { return repeat(e, 0, 1) }
func star(e *expr) *expr     { return repeat(e, 0, -1) }
func ref(rule int) *expr     { return &expr{op: opRule, rule: rule} }
func nothing() *expr         { return &expr{op: opAlt} }
func chars(lo, hi rune, more ...rune) *expr {
	rs := []runeRange{{lo, hi}}
	for i := 0; i+1 < len(more); i += 2 {
		rs = append(rs, runeRange{more[i], more[i+1]})
	}
	return class(newRuneSet(rs))
}

// literalText returns the text of an expression that matches just one.
func (e *expr) literalText() (string, bool) {
	switch e.op {
	case opLiteral:
		return e.text, true
	case opSeq:
		var b strings.Builder
		for _, s := range e.subs {
			text, ok := s.literalText()
			if !ok {
				return "", false
			}
			b.WriteString(text)
		}
		return b.String(), true
	}
	return "", false
}

// shareBeginnings is one of the expressions. Texts that begin alike share
// their beginnings, so that matching follows one state for many of them.
func shareBeginnings(alts []*expr) *expr {
	var texts []string
	var out []*expr
	for _, e := range alts {
		if text, ok := e.literalText(); ok {
			texts = append(texts, text)
			continue
		}
		out = append(out, e)
	}
	slices.Sort(texts)
	texts = slices.Compact(texts)
	if len(texts) > 0 {
		out = append(out, literals(texts, 0))
	}
	return alt(out...)
}

// literals is one of the texts, which are sorted, different, and equal up to
// the given byte, from there on.
func literals(texts []string, from int) *expr {
	if len(texts) == 1 {
		return lit(texts[0][from:])
	}
	var alts []*expr
	if len(texts[0]) == from {
		alts = append(alts, lit(""))
		texts = texts[1:]
	}
	for len(texts) > 0 {
		n := 1
		for n < len(texts) && texts[n][from] == texts[0][from] {
			n++
		}
		common, last := from+1, texts[n-1] // sorted: what first and last share, all share
		for common < len(texts[0]) && common < len(last) && texts[0][common] == last[common] {
			common++
		}
		if n == 1 {
			alts = append(alts, lit(texts[0][from:]))
		} else {
			alts = append(alts, seq(lit(texts[0][from:common]), literals(texts[:n], common)))
		}
		texts = texts[n:]
	}
	return alt(alts...)
}

// visit calls f for an expression and all below it.
func (e *expr) visit(f func(*expr)) {
	f(e)
	for _, s := range e.subs {
		s.visit(f)
	}
}

// ruleSet is a grammar before compilation.
type ruleSet struct {
	names []string
	exprs []*expr // nil until defined
}

func (r *ruleSet) add(name string, e *expr) int {
	r.names = append(r.names, name)
	r.exprs = append(r.exprs, e)
	return len(r.names) - 1
}

// inline replaces references to small rules without loops and without further
// references by their content, so that matching does not leave the rule.
func (r *ruleSet) inline() error {
	small := make([]int, len(r.exprs)) // 0 not known, 1 small, 2 not
	var isSmall func(rule, depth int) bool
	var size func(e *expr, depth int) int
	size = func(e *expr, depth int) int {
		switch {
		case e.op == opRule && isSmall(e.rule, depth+1):
			return size(r.exprs[e.rule], depth+1)
		case e.op == opRule, e.op == opRepeat && (e.max < 0 || e.max > 8), depth > 20:
			return inlineSize
		}
		n := 1 + len(e.text)/4
		for _, s := range e.subs {
			if n += size(s, depth+1); n >= inlineSize {
				return inlineSize
			}
		}
		if e.op == opRepeat {
			n *= max(1, e.max) // at most 8
		}
		return n
	}
	isSmall = func(rule, depth int) bool {
		if small[rule] == 0 {
			small[rule] = 2 // also the answer for a rule that contains itself
			if size(r.exprs[rule], depth) < inlineSize {
				small[rule] = 1
			}
		}
		return small[rule] == 1
	}
	budget := maxExprs
	var rewrite func(e *expr, depth int) (*expr, error)
	rewrite = func(e *expr, depth int) (*expr, error) {
		if budget--; budget < 0 || depth > 8*maxNesting {
			return nil, fmt.Errorf("grammar: more than %d parts, or nested too deeply; simplify it", maxExprs)
		}
		if e.op == opRule && isSmall(e.rule, 0) {
			return rewrite(r.exprs[e.rule], depth+1)
		}
		if len(e.subs) == 0 {
			return e, nil
		}
		c := *e
		c.subs = make([]*expr, len(e.subs))
		for i, s := range e.subs {
			var err error
			if c.subs[i], err = rewrite(s, depth+1); err != nil {
				return nil, err
			}
		}
		return &c, nil
	}
	for i, e := range r.exprs {
		out, err := rewrite(e, 0)
		if err != nil {
			return err
		}
		r.exprs[i] = out
	}
	return nil
}
