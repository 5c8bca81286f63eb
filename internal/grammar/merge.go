package grammar

import "slices"

// restrict keeps only the given values.
func (f *flat) restrict(vs []*value) {
	if !f.fixed {
		f.fixed = true
		f.values = slices.Clone(vs)
		return
	}
	f.values = slices.DeleteFunc(slices.Clone(f.values), func(have *value) bool {
		return !slices.ContainsFunc(vs, func(v *value) bool { return v.equal(have) })
	})
}

// and returns the schema of what is valid against both.
func (f *flat) and(g *flat) (*flat, error) {
	m := *f
	m.shared = true
	m.required, m.patterns = slices.Clone(f.required), slices.Clone(f.patterns)
	switch {
	case f.types == 0:
		m.types = g.types
	case g.types != 0:
		if m.types &= g.types; m.types == 0 {
			m.restrict(nil) // nothing is valid
		}
	}
	m.props = f.sharedProps(g)
	for _, r := range g.required {
		if !slices.Contains(m.required, r) {
			m.required = append(m.required, r)
		}
	}
	var err error
	if m.more, err = both(f.at, "additionalProperties", f.more, g.more); err != nil {
		return nil, err
	}
	if m.items, err = both(f.at, "items", f.items, g.items); err != nil {
		return nil, err
	}
	if (len(f.prefix) > 0 && (len(g.prefix) > 0 || g.items != nil)) || (len(g.prefix) > 0 && f.items != nil) {
		return nil, f.at.errorf("prefixItems in one part of an allOf and items or prefixItems in another is not supported")
	}
	m.prefix = append(slices.Clone(f.prefix), g.prefix...)
	m.minItems, m.minLength = max(f.minItems, g.minItems), max(f.minLength, g.minLength)
	m.maxItems, m.maxLength = lower(f.maxItems, g.maxItems), lower(f.maxLength, g.maxLength)
	m.patterns = append(m.patterns, g.patterns...)
	m.span.tighten(g.span)
	if g.fixed {
		m.restrict(g.values)
	}
	return &m, nil
}

// sharedProps are the properties of both schemas, each with the schemas that
// it must be valid against in both; without those that one of them excludes.
func (f *flat) sharedProps(g *flat) []property {
	index := func(x *flat) map[string]int {
		m := make(map[string]int, len(x.props))
		for i, p := range x.props {
			m[p.name] = i
		}
		return m
	}
	inF, inG := index(f), index(g)
	var out []property
	for n, p := range slices.Concat(f.props, g.props) {
		i, ok1 := inF[p.name]
		j, ok2 := inG[p.name]
		if n >= len(f.props) && ok1 {
			continue // was among the properties of f
		}
		all := property{name: p.name}
		if (ok1 || f.extend(&all)) && (ok2 || g.extend(&all)) {
			if ok1 {
				all.schemas = append(all.schemas, f.props[i].schemas...)
			}
			if ok2 {
				all.schemas = append(all.schemas, g.props[j].schemas...)
			}
			out = append(out, all)
		}
	}
	return out
}

// extend adds what additionalProperties says to a property that f does not
// list. It reports false if it is excluded.
func (f *flat) extend(p *property) bool {
	if f.more == nil || f.more.isBool(true) {
		return true
	}
	p.schemas = append(p.schemas, *f.more)
	return !f.more.isBool(false)
}

func both(a at, key string, x, y *at) (*at, error) {
	switch {
	case x == nil:
		return y, nil
	case y == nil, y.isBool(true), x.isBool(false):
		return x, nil
	case x.isBool(true), y.isBool(false):
		return y, nil
	}
	return nil, a.errorf("%s in two parts of an allOf is not supported", key)
}

func (a *at) isBool(b bool) bool { return a.v.kind == kindBool && a.v.bool == b }

func lower(a, b *int) *int {
	if a == nil || (b != nil && *b < *a) {
		return b
	}
	return a
}

// equal compares JSON values; numbers by value, properties in any order.
func (v *value) equal(w *value) bool {
	if v.kind != w.kind || v.bool != w.bool || len(v.vals) != len(w.vals) {
		return false
	}
	if v.kind == kindNumber {
		d, err1 := parseDecimal(v.text)
		e, err2 := parseDecimal(w.text)
		if err1 != nil || err2 != nil {
			return v.text == w.text
		}
		return d == e
	}
	if v.text != w.text {
		return false
	}
	for i, e := range v.vals {
		other := w.vals[i]
		if v.kind == kindObject {
			if other = w.get(v.keys[i]); other == nil {
				return false
			}
		}
		if !e.equal(other) {
			return false
		}
	}
	return true
}
