package grammar

import (
	"slices"
	"strconv"
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
	shared              bool     // other alternatives have some of the same schemas
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
		if len(v.keys) > maxProps {
			return a.errorf("%d properties, at most %d are allowed", len(v.keys), maxProps)
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
	if len(v.vals) > maxProps {
		return f.at.errorf("%d names in required, at most %d are allowed", len(v.vals), maxProps)
	}
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
