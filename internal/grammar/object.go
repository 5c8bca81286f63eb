package grammar

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// member is a property as it is generated.
type member struct {
	name     string
	expr     *expr // with its name
	required bool
}

// object is the grammar of an object: the properties in their order, those
// that are not required or left out, then additional ones.
func (c *schemaCompiler) object(f *flat, depth int) (*expr, error) {
	members, err := c.members(f, depth)
	if err != nil {
		return nil, err
	}
	if f.more == nil && len(members) == 0 {
		return c.anyObject(), nil
	}
	var more *expr
	if f.more != nil && !f.more.isBool(false) {
		if more, err = c.additional(f, members, depth); err != nil {
			return nil, err
		}
	}
	required := func(m member) bool { return m.required }
	content := c.memberList(f.at.path, members, more)
	return c.brackets("{", content, !slices.ContainsFunc(members, required), "}"), nil
}

func (c *schemaCompiler) members(f *flat, depth int) ([]member, error) {
	props := slices.Clone(f.props)
	listed, required := map[string]bool{}, map[string]bool{}
	for _, p := range props {
		listed[p.name] = true
	}
	for _, r := range f.required {
		required[r] = true
		if !listed[r] {
			s := at{&value{kind: kindBool, bool: true}, f.at.path}
			if f.more != nil {
				s = *f.more
			}
			props = append(props, property{r, []at{s}})
		}
	}
	if c.work += len(props); c.work > maxSchemas {
		return nil, f.at.errorf("the schema is too large: more than %d parts", maxSchemas)
	}
	var out []member
	for _, p := range props {
		s := p.schemas[0]
		if len(p.schemas) > 1 {
			all := &value{kind: kindArray}
			for _, x := range p.schemas {
				all.vals = append(all.vals, x.v)
			}
			s.v = &value{kind: kindObject, keys: []string{"allOf"}, vals: []*value{all}}
		}
		e, err := c.child(f, s, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, member{p.name, seq(c.stringOf(p.name), c.colon(), e), required[p.name]})
	}
	return out, nil
}

// additional is one or more properties beside the members.
func (c *schemaCompiler) additional(f *flat, members []member, depth int) (*expr, error) {
	var names []string
	for _, m := range members {
		if utf8.RuneCountInString(m.name) > maxName {
			return nil, f.at.errorf("property name of more than %d characters beside additionalProperties", maxName)
		}
		names = append(names, m.name)
	}
	e, err := c.child(f, *f.more, depth)
	if err != nil {
		return nil, err
	}
	return c.mapOf(c.keyExcept(names), e), nil
}

// memberList is the content of an object that has at least one property; nil
// if it can have none.
func (c *schemaCompiler) memberList(path string, members []member, more *expr) *expr {
	first := slices.IndexFunc(members, func(m member) bool { return m.required })
	last := first // members up to this one may come first
	var alts []*expr
	if first < 0 {
		if last = len(members) - 1; more != nil {
			alts = append(alts, more)
		}
	}
	// after, reversed, is what may follow a member: those behind it, each with
	// its comma.
	var after []*expr
	if more != nil {
		after = append(after, optional(seq(c.comma(), more)))
	}
	rest := func() *expr {
		parts := slices.Clone(after)
		slices.Reverse(parts)
		return seq(parts...)
	}
	for i := len(members) - 1; i >= 0; i-- {
		m := members[i]
		if i <= last && last > 0 {
			// It may come first, and it may follow: both share its grammar.
			m.expr = ref(c.rules.add(fmt.Sprintf("%s/%s", path, m.name), m.expr))
			after = []*expr{ref(c.rules.add(path+"/...", rest()))}
		}
		if i <= last {
			alts = append(alts, seq(m.expr, rest()))
		}
		next := seq(c.comma(), m.expr)
		if !m.required {
			next = optional(next)
		}
		after = append(after, next)
	}
	if len(alts) == 0 {
		return nil
	}
	return alt(alts...)
}
