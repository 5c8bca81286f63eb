package report

// Translate has every text of the report that is this package's go through say,
// also those that Fragment puts around it. What the receipt itself says, such as a
// question, stays as it is.
func (r *Report) Translate(say func(string) string) {
	each := func(texts ...*string) {
		for _, t := range texts {
			if *t != "" {
				*t = say(*t)
			}
		}
	}
	each(&r.Title, &r.Summary)
	for i := range r.Passages {
		p := &r.Passages[i]
		each(&p.Name, &p.Hidden, &p.Note)
		for j := range p.Parts {
			each(&p.Parts[j].Role)
		}
	}
	for _, list := range [][]Line{r.Checked, r.Unchecked} {
		for i := range list {
			each(&list[i].Text, &list[i].Note)
		}
	}
	for _, list := range [][]Fact{r.Facts, r.Details} {
		for i := range list {
			each(&list[i].Name, &list[i].Value)
		}
	}
	for i := range r.Bounds {
		each(&r.Bounds[i])
	}
	r.say = say
}

// said is a text around the report, in its language.
func (r *Report) said(text string) string {
	if r.say == nil {
		return text
	}
	return r.say(text)
}
