package grammar

import (
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// types is a set of JSON types.
type types uint8

const (
	typeNull types = 1 << iota
	typeBool
	typeInteger
	typeNumber
	typeString
	typeArray
	typeObject
	typeAny = typeNull | typeBool | typeInteger | typeNumber | typeString | typeArray | typeObject
)

func parseType(name string) types {
	switch name {
	case "null":
		return typeNull
	case "boolean":
		return typeBool
	case "integer":
		return typeInteger
	case "number":
		return typeInteger | typeNumber
	case "string":
		return typeString
	case "array":
		return typeArray
	case "object":
		return typeObject
	}
	return 0
}

// flat is a schema whose keywords all speak of the value itself. Zero values
// say nothing.
type flat struct {
	at                  at
	types               types // 0: no type keyword
	props               []property
	required            []string
	more                *at // additionalProperties
	prefix              []at
	items               *at
	minItems, minLength int
	maxItems, maxLength *int
	patterns            []*pattern
	span                span
	values              []*value // of enum or const
	fixed               bool     // values are given
}

// property holds the schemas that a property must be valid against.
type property struct {
	name    string
	schemas []at
}

// newFlat reads the keywords of a schema but for $ref, anyOf, oneOf and allOf.
func newFlat(a at) (*flat, error) {
	if a.v.kind != kindObject {
		return nil, a.errorf("a schema must be an object or a boolean, not %s", a.v.kind)
	}
	keys, err := keywords(a)
	if err != nil {
		return nil, err
	}
	f := &flat{at: a}
	for _, k := range keys {
		if err := f.keyword(k, a.v.get(k)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *flat) keyword(k string, v *value) error {
	a := f.at
	var err error
	switch k {
	case "type":
		f.types, err = a.types(v)
	case "properties":
		if v.kind != kindObject {
			return a.errorf("properties must be an object")
		}
		for i, name := range v.keys {
			f.props = append(f.props, property{name, []at{{v.vals[i], a.child(k, name).path}}})
		}
	case "required":
		err = f.requiredKeyword(v)
	case "additionalProperties":
		f.more = &at{v, a.child(k).path}
	case "items", "additionalItems", "prefixItems":
		err = f.itemsKeyword(k, v)
	case "minItems":
		f.minItems, err = a.count(k, v)
	case "minLength":
		f.minLength, err = a.count(k, v)
	case "maxItems":
		f.maxItems, err = a.limit(k, v)
	case "maxLength":
		f.maxLength, err = a.limit(k, v)
	case "pattern", "format":
		err = f.patternKeyword(k, v)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		err = f.boundKeyword(k, v)
	case "const":
		f.restrict([]*value{v})
	case "enum":
		if v.kind != kindArray || len(v.vals) == 0 {
			return a.errorf("enum must be an array with at least one value")
		}
		f.restrict(v.vals)
	}
	return err
}

func (f *flat) requiredKeyword(v *value) error {
	for _, r := range v.vals {
		if v.kind == kindArray && r.kind == kindString {
			if !slices.Contains(f.required, r.text) {
				f.required = append(f.required, r.text)
			}
			continue
		}
		return f.at.errorf("required must be an array of strings")
	}
	if v.kind != kindArray {
		return f.at.errorf("required must be an array of strings")
	}
	return nil
}

func (a at) types(v *value) (types, error) {
	names := []*value{v}
	if v.kind == kindArray {
		names = v.vals
	}
	var out types
	for _, n := range names {
		t := types(0)
		if n.kind == kindString {
			t = parseType(n.text)
		}
		if t == 0 {
			return 0, a.errorf("type must be null, boolean, integer, number, string, array or object, or an array of these")
		}
		out |= t
	}
	if out == 0 {
		return 0, a.errorf("type is an empty array")
	}
	return out, nil
}

func (f *flat) itemsKeyword(k string, v *value) error {
	path := f.at.child(k)
	if v.kind == kindArray { // prefixItems, or items before draft 2020-12
		if k == "additionalItems" {
			return f.at.errorf("additionalItems must be a schema")
		}
		for i, s := range v.vals {
			f.prefix = append(f.prefix, at{s, path.child(strconv.Itoa(i)).path})
		}
		return nil
	}
	if k == "prefixItems" {
		return f.at.errorf("prefixItems must be an array of schemas")
	}
	if old := f.at.v.get("items"); k == "additionalItems" && (old == nil || old.kind != kindArray) {
		return nil // means nothing without an array of items
	}
	f.items = &at{v, path.path}
	return nil
}

func (a at) count(k string, v *value) (int, error) {
	d, err := a.decimal(k, v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(d.int)
	if d.neg || d.frac != "" || err != nil || n > maxRepeat {
		return 0, a.errorf("%s is %s, want an integer from 0 to %d", k, v.text, maxRepeat)
	}
	return n, nil
}

func (a at) limit(k string, v *value) (*int, error) {
	n, err := a.count(k, v)
	return &n, err
}

func (a at) decimal(k string, v *value) (decimal, error) {
	if v.kind != kindNumber {
		return decimal{}, a.errorf("%s must be a number, not %s", k, v.kind)
	}
	d, err := parseDecimal(v.text)
	if err != nil {
		return d, a.errorf("%s: %w", k, err)
	}
	return d, nil
}

func (f *flat) patternKeyword(k string, v *value) error {
	if v.kind != kindString {
		return f.at.errorf("%s must be a string", k)
	}
	p, err := (*pattern)(nil), error(nil)
	if k == "pattern" {
		p, err = parsePattern(v.text)
	} else {
		p, err = formatPattern(v.text)
	}
	if err != nil {
		return f.at.errorf("%w", err)
	}
	if p != nil {
		f.patterns = append(f.patterns, p)
	}
	return nil
}

func (f *flat) boundKeyword(k string, v *value) error {
	if v.kind == kindBool {
		return f.at.errorf("%s must be a number; the boolean of draft 4 is not supported", k)
	}
	d, err := f.at.decimal(k, v)
	if err != nil {
		return err
	}
	b := &bound{d, k == "exclusiveMinimum" || k == "exclusiveMaximum"}
	if k == "minimum" || k == "exclusiveMinimum" {
		f.span.tighten(span{low: b})
	} else {
		f.span.tighten(span{high: b})
	}
	return nil
}

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
	var out []property
	for _, p := range slices.Concat(f.props, g.props) {
		if slices.ContainsFunc(out, func(q property) bool { return q.name == p.name }) {
			continue
		}
		all := property{name: p.name}
		excluded := false
		for _, x := range []*flat{f, g} {
			i := slices.IndexFunc(x.props, func(q property) bool { return q.name == p.name })
			switch {
			case i >= 0:
				all.schemas = append(all.schemas, x.props[i].schemas...)
			case x.more != nil && x.more.isBool(false):
				excluded = true
			case x.more != nil && !x.more.isBool(true):
				all.schemas = append(all.schemas, *x.more)
			}
		}
		if !excluded {
			out = append(out, all)
		}
	}
	return out
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

// hasValue reports whether a value of enum or const is valid against the other
// keywords. It fails where telling would need more than looking at the value.
func (f *flat) hasValue(v *value) (bool, error) {
	t := f.types
	if t == 0 {
		t = typeAny
	}
	switch v.kind {
	case kindNull:
		return t&typeNull != 0, nil
	case kindBool:
		return t&typeBool != 0, nil
	case kindNumber:
		d, err := parseDecimal(v.text)
		if err != nil {
			return false, f.at.errorf("%w", err)
		}
		return (t&typeNumber != 0 || (t&typeInteger != 0 && d.frac == "")) && f.span.has(d), nil
	case kindString:
		n := utf8.RuneCountInString(v.text)
		ok := t&typeString != 0 && n >= f.minLength && (f.maxLength == nil || n <= *f.maxLength)
		for _, p := range f.patterns {
			re, err := regexp.Compile(p.text)
			if err != nil {
				return false, f.at.errorf("%w", err)
			}
			ok = ok && re.MatchString(v.text)
		}
		return ok, nil
	case kindArray:
		if f.arrayKeywords() {
			return false, f.at.errorf("keywords for arrays beside enum or const with an array are not supported")
		}
		return t&typeArray != 0, nil
	}
	if f.objectKeywords() {
		return false, f.at.errorf("keywords for objects beside enum or const with an object are not supported")
	}
	return t&typeObject != 0, nil
}

func (f *flat) objectKeywords() bool {
	return len(f.props) > 0 || len(f.required) > 0 || f.more != nil
}

func (f *flat) arrayKeywords() bool {
	return len(f.prefix) > 0 || f.items != nil || f.minItems > 0 || f.maxItems != nil
}

func (f *flat) stringKeywords() bool {
	return f.minLength > 0 || f.maxLength != nil || len(f.patterns) > 0
}

func (f *flat) numberKeywords() bool { return f.span != span{} }

// flat is the grammar of a flat schema.
func (c *schemaCompiler) flat(f *flat, depth int) (*expr, error) {
	if f.fixed {
		var alts []*expr
		for _, v := range f.values {
			ok, err := f.hasValue(v)
			if err != nil {
				return nil, err
			}
			if ok {
				alts = append(alts, c.constant(v))
			}
		}
		return alt(alts...), nil
	}
	t := f.types
	if t == 0 {
		if t = f.implied(); t == 0 {
			return c.any(), nil
		}
	}
	var alts []*expr
	add := func(e *expr, err error) error {
		alts = append(alts, e)
		return err
	}
	var err error
	if t&typeObject != 0 {
		err = add(c.object(f, depth))
	}
	if t&typeArray != 0 && err == nil {
		err = add(c.array(f, depth))
	}
	if t&typeString != 0 && err == nil {
		err = add(c.text(f))
	}
	if t&(typeNumber|typeInteger) != 0 && err == nil {
		err = add(c.numeric(f, t&typeNumber == 0), nil)
	}
	if t&typeBool != 0 {
		alts = append(alts, boolean())
	}
	if t&typeNull != 0 {
		alts = append(alts, lit("null"))
	}
	if err != nil {
		return nil, err
	}
	return alt(alts...), nil
}

// implied are the types that a schema without the keyword speaks of.
func (f *flat) implied() types {
	var t types
	if f.objectKeywords() {
		t |= typeObject
	}
	if f.arrayKeywords() {
		t |= typeArray
	}
	if f.stringKeywords() {
		t |= typeString
	}
	if f.numberKeywords() {
		t |= typeNumber | typeInteger
	}
	return t
}

func (c *schemaCompiler) numeric(f *flat, integers bool) *expr {
	switch {
	case f.numberKeywords():
		return f.span.expr(integers)
	case integers:
		return c.integer()
	}
	return c.number()
}

func (c *schemaCompiler) text(f *flat) (*expr, error) {
	high := -1
	if f.maxLength != nil {
		if high = *f.maxLength; high < f.minLength {
			return nothing(), nil
		}
	}
	switch len(f.patterns) {
	case 0:
		return c.sized(f.minLength, high), nil
	case 1:
		p, ok := f.patterns[0].limit(f.minLength, high)
		if !ok {
			return nil, f.at.errorf("pattern or format together with minLength or maxLength is not supported; " +
				"write the length into the pattern")
		}
		return p.expr(c.jsonRules), nil
	}
	return nil, f.at.errorf("more than one pattern or format for a string is not supported")
}

func (c *schemaCompiler) array(f *flat, depth int) (*expr, error) {
	high := -1
	if f.maxItems != nil {
		high = *f.maxItems
	}
	var item *expr
	switch {
	case f.items != nil:
		e, err := c.node(*f.items, depth+1)
		if err != nil {
			return nil, err
		}
		item = e
	case len(f.prefix) == 0:
		item = c.any()
	}
	if item == nil || (f.items != nil && f.items.isBool(false)) {
		if item = nil; high < 0 || high > len(f.prefix) {
			high = len(f.prefix)
		}
	} else {
		item = ref(c.rules.add(f.at.path+"/items", item))
	}
	if high >= 0 && high < f.minItems {
		return nothing(), nil
	}
	if high == 0 {
		return c.brackets("[", nil, true, "]"), nil
	}
	prefix := make([]*expr, 0, len(f.prefix))
	for i, p := range f.prefix {
		if high >= 0 && i >= high {
			break
		}
		e, err := c.node(p, depth+1)
		if err != nil {
			return nil, err
		}
		prefix = append(prefix, e)
	}
	return c.brackets("[", c.itemList(prefix, item, f.minItems, high), f.minItems == 0, "]"), nil
}

// itemList is the items of an array that has at least one: first those of
// prefix, then any number of item (nil: none), low to high in all.
func (c *schemaCompiler) itemList(prefix []*expr, item *expr, low, high int) *expr {
	n := len(prefix)
	if n == 0 {
		if high > 0 {
			high--
		}
		return seq(item, repeat(seq(c.comma(), item), max(0, low-1), high))
	}
	rest := lit("")
	if item != nil {
		if high > 0 {
			high -= n
		}
		rest = repeat(seq(c.comma(), item), max(0, low-n), high)
	}
	for i := n - 1; i > 0; i-- {
		rest = seq(c.comma(), prefix[i], rest)
		if i >= low {
			rest = optional(rest)
		}
	}
	return seq(prefix[0], rest)
}
