package grammar

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ErrSchema marks errors of [FromJSONSchema] that are the fault of the schema.
var ErrSchema = errors.New("grammar: bad JSON schema")

// FromJSONSchema compiles a JSON schema (draft 2020-12, and what earlier drafts
// write in its place) to the grammar of JSON texts that are valid against it.
//
// Supported: type (also a list), properties, required, additionalProperties,
// items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
// format, minimum, maximum, exclusiveMinimum, exclusiveMaximum, enum, const,
// anyOf, oneOf, allOf, $ref within the schema (also recursive), $defs,
// nullable, and true and false as schemas. A keyword that is part of the
// standard, would change what is valid and is not supported is an error that
// names it; others (title, default, x-...) mean nothing.
//
// The language is narrower than the standard's where that helps a model:
// properties come in the order of the schema, then additional ones; an
// object with properties has others only if additionalProperties says so, and
// an array with prefixItems has others only if items says so; a schema
// with keywords of one type and no type means that type; numbers have at most
// 21 digits before and 24 after the point, and no exponent if they have bounds;
// oneOf is taken as anyOf. Property names of an object may repeat
// only among additional ones.
func FromJSONSchema(schema []byte) (*Grammar, error) {
	root, err := parseValue(schema)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	c := &schemaCompiler{jsonRules: newJSONRules(), root: root, refs: map[string]int{}, byValue: map[*value]int{}}
	start, err := c.ref("#", "#")
	if err != nil {
		return nil, err
	}
	for len(c.pending) > 0 {
		p := c.pending[0]
		c.pending = c.pending[1:]
		e, err := c.node(p.schema, 0)
		if err != nil {
			return nil, err
		}
		c.rules.exprs[p.rule] = e
	}
	g, err := compile(c.rules, start.rule)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	g.kind, g.source = KindSchema, string(schema)
	return g, nil
}

type schemaCompiler struct {
	*jsonRules
	root    *value
	refs    map[string]int // rules by JSON pointer
	byValue map[*value]int // rules of schemas that several alternatives share
	pending []pendingRule
	work    int
}

type pendingRule struct {
	rule   int
	schema at
}

// at is a schema and where it stands.
type at struct {
	v    *value
	path string
}

func (a at) child(keys ...string) at {
	for _, k := range keys {
		a.path += "/" + k
	}
	return a
}

// errorf is the one constructor of schema errors.
func (a at) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: at %s: %w", ErrSchema, a.path, fmt.Errorf(format, args...))
}

// ref returns a reference to the rule of the schema a JSON pointer names.
func (c *schemaCompiler) ref(pointer, from string) (*expr, error) {
	if id, ok := c.refs[pointer]; ok {
		return ref(id), nil
	}
	target, err := c.resolve(pointer, from)
	if err != nil {
		return nil, err
	}
	id := c.rules.add(pointer, nil)
	c.refs[pointer] = id
	c.pending = append(c.pending, pendingRule{id, at{target, pointer}})
	return ref(id), nil
}

func (c *schemaCompiler) resolve(pointer, from string) (*value, error) {
	where := at{nil, from}
	if pointer != "#" && !strings.HasPrefix(pointer, "#/") {
		return nil, where.errorf("$ref %q is not supported: it must be # or begin with #/, within the same schema", pointer)
	}
	v := c.root
	for _, key := range strings.Split(strings.TrimPrefix(pointer, "#"), "/")[1:] {
		if k, err := url.PathUnescape(key); err == nil {
			key = k
		}
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~1", "/"), "~0", "~")
		next := v.get(key)
		if i, err := strconv.Atoi(key); v.kind == kindArray && err == nil && i >= 0 && i < len(v.vals) {
			next = v.vals[i]
		}
		if next == nil {
			return nil, where.errorf("$ref %q names nothing: there is no %q", pointer, key)
		}
		v = next
	}
	return v, nil
}

// ignored are the keywords that do not say what is valid, or say it only
// where they are referred to.
func ignored(key string) bool {
	switch key {
	case "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default",
		"examples", "example", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType":
		return true
	}
	return false
}

// unsupported are the keywords of the standard that would change what is valid.
func unsupported(key string) bool {
	switch key {
	case "not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies",
		"patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties",
		"unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems", "multipleOf",
		"$dynamicRef", "$recursiveRef", "contentSchema", "divisibleBy", "disallow", "extends":
		return true
	}
	return false
}

// keywords lists the keywords of a schema that mean something here.
func keywords(a at) ([]string, error) {
	var keys []string
	for i, k := range a.v.keys {
		switch {
		case ignored(k):
		case unsupported(k) && !harmless(k, a.v.vals[i]):
			return nil, a.errorf("keyword %q is not supported", k)
		case known(k):
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// harmless reports whether an unsupported keyword has a value that allows
// everything.
func harmless(key string, v *value) bool {
	switch key {
	case "uniqueItems", "unevaluatedProperties", "unevaluatedItems":
		// What is not evaluated is not generated.
		return v.kind == kindBool && (!v.bool || key != "uniqueItems")
	case "minProperties", "minContains":
		return v.kind == kindNumber && v.text == "0"
	}
	return false
}

func known(key string) bool {
	return slices.Contains([]string{
		"$ref", "type", "properties", "required", "additionalProperties", "items", "prefixItems", "additionalItems",
		"minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "minimum", "maximum",
		"exclusiveMinimum", "exclusiveMaximum", "enum", "const", "anyOf", "oneOf", "allOf", "nullable",
	}, key)
}

// node is the grammar of the values that are valid against a schema.
func (c *schemaCompiler) node(a at, depth int) (*expr, error) {
	if depth > maxNesting {
		return nil, a.errorf("nested more than %d deep", maxNesting)
	}
	if c.work++; c.work > maxSchemas {
		return nil, a.errorf("the schema is too large: more than %d parts", maxSchemas)
	}
	if a.v.kind == kindBool {
		if a.v.bool {
			return c.any(), nil
		}
		return nothing(), nil
	}
	if a.v.kind != kindObject {
		return nil, a.errorf("a schema must be an object or a boolean, not %s", a.v.kind)
	}
	keys, err := keywords(a)
	if err != nil {
		return nil, err
	}
	if len(keys) == 1 {
		switch k := keys[0]; k {
		case "$ref":
			r := a.v.get(k)
			if r.kind != kindString {
				return nil, a.errorf("$ref must be a string")
			}
			return c.ref(r.text, a.path)
		case "anyOf", "oneOf":
			subs, err := a.list(k)
			if err != nil {
				return nil, err
			}
			return c.union(subs, depth)
		case "allOf":
			if subs, err := a.list(k); err == nil && len(subs) == 1 {
				return c.node(subs[0], depth+1)
			}
		}
	}
	flats, err := c.alternatives(a, depth)
	if err != nil {
		return nil, err
	}
	var alts []*expr
	for _, f := range flats {
		e, err := c.flat(f, depth)
		if err != nil {
			return nil, err
		}
		alts = append(alts, e)
	}
	if len(alts) == 1 {
		return alts[0], nil
	}
	return alt(alts...), nil
}

// child is the grammar of a schema within a flat one.
func (c *schemaCompiler) child(f *flat, a at, depth int) (*expr, error) {
	if id, ok := c.byValue[a.v]; ok {
		return ref(id), nil
	}
	e, err := c.node(a, depth+1)
	if err == nil && f.shared {
		id := c.rules.add(a.path, e)
		c.byValue[a.v] = id
		e = ref(id)
	}
	return e, err
}

func (c *schemaCompiler) union(subs []at, depth int) (*expr, error) {
	var alts []*expr
	for _, s := range subs {
		e, err := c.node(s, depth+1)
		if err != nil {
			return nil, err
		}
		alts = append(alts, e)
	}
	return alt(alts...), nil
}

// list returns the schemas of an array keyword.
func (a at) list(key string) ([]at, error) {
	v := a.v.get(key)
	if v.kind != kindArray || len(v.vals) == 0 {
		return nil, a.errorf("%s must be an array with at least one schema", key)
	}
	var out []at
	for i, s := range v.vals {
		out = append(out, at{s, a.child(key, strconv.Itoa(i)).path})
	}
	return out, nil
}

// alternatives rewrites a schema as a choice of flat ones, which have no
// $ref, anyOf, oneOf or allOf of their own.
func (c *schemaCompiler) alternatives(a at, depth int) ([]*flat, error) {
	if depth > maxNesting {
		return nil, a.errorf("$ref, anyOf and allOf lead more than %d deep into each other", maxNesting)
	}
	if c.work++; c.work > maxSchemas {
		return nil, a.errorf("the schema is too large: more than %d parts", maxSchemas)
	}
	if a.v.kind == kindBool {
		if a.v.bool {
			return []*flat{{at: a}}, nil
		}
		return nil, nil
	}
	f, err := newFlat(a)
	if err != nil {
		return nil, err
	}
	out := []*flat{f}
	and := func(choice []*flat) error {
		var crossed []*flat
		for _, x := range out {
			for _, y := range choice {
				c.work += (len(x.props) + len(y.props)) / 16
				m, err := x.and(y)
				if err != nil {
					return err
				}
				if crossed = append(crossed, m); len(crossed) > maxAlts {
					return a.errorf("anyOf, oneOf and allOf combine to more than %d alternatives", maxAlts)
				}
			}
		}
		out = crossed
		return nil
	}
	keys, err := keywords(a)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		switch key {
		case "$ref":
			r := a.v.get(key)
			if r.kind != kindString {
				return nil, a.errorf("$ref must be a string")
			}
			target, err := c.resolve(r.text, a.path)
			if err != nil {
				return nil, err
			}
			choice, err := c.alternatives(at{target, r.text}, depth+1)
			if err != nil {
				return nil, err
			}
			if err := and(choice); err != nil {
				return nil, err
			}
		case "allOf", "anyOf", "oneOf":
			subs, err := a.list(key)
			if err != nil {
				return nil, err
			}
			var any []*flat
			for _, s := range subs {
				choice, err := c.alternatives(s, depth+1)
				if err != nil {
					return nil, err
				}
				if key == "allOf" {
					if err := and(choice); err != nil {
						return nil, err
					}
					continue
				}
				if any = append(any, choice...); len(any) > maxAlts {
					return nil, a.errorf("%s has more than %d alternatives", key, maxAlts)
				}
			}
			if key != "allOf" {
				if err := and(any); err != nil {
					return nil, err
				}
			}
		}
	}
	if n := a.v.get("nullable"); n != nil && n.kind == kindBool && n.bool {
		out = append(out, &flat{at: a, types: typeNull})
	}
	return out, nil
}
