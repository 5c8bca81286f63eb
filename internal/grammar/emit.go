package grammar

import "unicode/utf8"

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
			m, err := p.matches(v.text)
			if err != nil {
				return false, f.at.errorf("%w", err)
			}
			ok = ok && m
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
		return shareBeginnings(alts), nil
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
		e, err := c.child(f, *f.items, depth)
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
		e, err := c.child(f, p, depth)
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
