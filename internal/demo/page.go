package demo

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/report"
)

//go:embed demo.css
var style string

// Page is the story as a page that stands alone.
func (s *Story) Page() string {
	w := &report.Markup{}
	w.Put("<main>\n<div class=\"report story\">\n")
	s.head(w)
	s.questions(w)
	s.leaf(w)
	s.money(w)
	s.steps(w)
	s.game(w)
	s.check(w)
	w.Put("<footer><p>Aval %s, %s; %.1f seconds, %d blocks. Everything here ran on one machine, in processes of the same program.</p></footer>\n", s.Version, s.Began, s.Seconds, s.Blocks)
	w.Put("</div>\n</main>")
	return report.Document(s.Title(), report.Style+style, "img-src data:; ", w.String())
}

const (
	signGood = `<svg class="sign" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10"/><path d="M7.5 12.5l3 3 6-6.5"/></svg>`
	signBad  = `<svg class="sign" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10"/><path d="M8.5 8.5l7 7M15.5 8.5l-7 7"/></svg>`
	signMind = `<svg class="sign" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3L22 20H2z"/><path d="M12 10v4M12 17v.01"/></svg>`
)

func (s *Story) head(w *report.Markup) {
	class, sign := "valid", signGood
	if s.Ending == NoLie || s.Ending == Unfinished {
		class, sign = "unchecked", signMind
	}
	w.Put(`<section class="verdict %s">`, class)
	w.WriteString(sign)
	w.Put("<h1>%s</h1><p>%s</p></section>\n", s.Title(), s.Summary())
}

func (s *Story) questions(w *report.Markup) {
	if len(s.Questions) == 0 {
		return
	}
	w.Put(`<section class="said"><h2>What was asked and answered</h2>`)
	for _, q := range s.Questions {
		false_ := q.Lie && q.Answer != q.Right
		w.Put(`<figure><figcaption>You to the %s: “%s …”</figcaption>`, q.To, q.Prompt)
		if !q.Lie {
			w.Put(`<blockquote tabindex="0">%s</blockquote>`, strings.TrimSpace(q.Answer))
			w.Put(`<p class="note">Computed again on your machine: each of the %d tokens is what the model gives.`, q.Tokens)
			if q.Paid > 0 {
				w.Put(` Paid: %s units, %s.`, Units(q.Paid), q.How)
			}
			w.Put("</p></figure>\n")
			continue
		}
		same := 0
		if false_ {
			same = common(q.Answer, q.Right)
		} else {
			same = len(q.Answer)
		}
		w.Put(`<blockquote tabindex="0">%s<mark>%s</mark></blockquote>`, strings.TrimLeft(q.Answer[:same], " \n"), strings.TrimRight(q.Answer[same:], " \n"))
		if false_ {
			w.Put(`<p class="note">Nobody sees it by reading. The marked part is not the model’s, which goes on like this:</p><blockquote class="true" tabindex="0">%s<ins>%s</ins></blockquote>`,
				strings.TrimLeft(q.Right[:same], " \n"), strings.TrimRight(q.Right[same:], " \n"))
		} else {
			w.Put(`<p class="note">The words are those of the true model, by chance: the computation is not, which the receipt commits to.</p>`)
		}
		w.Put("</figure>\n")
	}
	w.Put("</section>\n")
}

// common is the length of what two texts begin with alike, up to a rune.
func common(a, b string) int {
	n := 0
	for i, r := range a {
		if !strings.HasPrefix(b[min(i, len(b)):], string(r)) {
			break
		}
		n = i + len(string(r))
	}
	return n
}

func (s *Story) leaf(w *report.Markup) {
	l := s.Leaf
	if l == nil {
		return
	}
	w.Put(`<section><h2>Where the lie is</h2><p>The dispute narrowed the whole computation to one step that anybody can repeat. %d cells, then the %d operations of one cell, then the %d parts of one operation.</p>`,
		l.Layers*l.Positions, len(l.Operations), l.Leaves)
	w.WriteString(l.Tree())
	w.Put("</section>\n")
	if l.Tensor == "" {
		return
	}
	w.Put(`<section><h2>The tile that was wrong</h2><p>This part of the step <code>%s</code> multiplies with rows %d to %d of the matrix <code>%s</code>. The fingerprint in the receipt fixes these numbers.</p>`,
		l.Name, l.Row, l.Row+l.Rows-1, l.Tensor)
	w.WriteString(l.Tiles())
	if len(l.Claimed) > 0 {
		w.Put(`<p>So the liar got other sums, and signed them: with its numbers, the hash of the part is exactly the one it signed, <code>%s…</code>; with the model’s it is <code>%s…</code>.</p>`, l.Signed[:16], l.Right[:16])
		w.WriteString(l.Bars())
		w.Put(`<details><summary>The numbers</summary><div class="wide"><table><thead><tr><th>row</th><th class="n">right</th><th class="n">signed</th></tr></thead><tbody>`)
		for i, v := range l.Values {
			w.Put(`<tr><td>%d</td><td class="n">%.6g</td><td class="n">%.6g</td></tr>`, l.Row+i, v, l.Claimed[i])
		}
		w.Put(`</tbody></table></div></details>`)
	}
	w.Put("</section>\n")
}

func (s *Story) money(w *report.Markup) {
	w.Put(`<section><h2>Who lost how much</h2><div class="wide money"><table><thead><tr><th>who</th><th class="n">before</th><th class="n">account</th><th class="n">bond</th><th class="n">change</th></tr></thead><tbody>`)
	for i, a := range s.Accounts {
		note, class := "", ""
		if i < len(s.Nodes) {
			n := &s.Nodes[i]
			note = strings.Join(n.Roles, ", ")
			if n.Lies {
				class = "liar"
			}
			if n.Died != nil {
				note += fmt.Sprintf("; ended after %.0f s", *n.Died)
			}
		}
		if note == a.Name {
			note = ""
		}
		w.Put(`<tr class="%s"><td>%s`, class, a.Name)
		if note != "" {
			w.Put(`<small class="note">%s</small>`, note)
		}
		w.Put(`</td><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td><td class="n %s">%s</td></tr>`,
			round(a.Before), round(a.After), round(a.Bond), sign(a), change(a))
	}
	w.Put("</tbody></table></div>")
	if s.Escrow > 0 {
		w.Put(`<p class="note">You still have %s units in sessions, from which your answers are paid when the nodes settle; the rest comes back.</p>`, Units(s.Escrow))
	}
	if d := s.Dispute; d != nil {
		w.Put(`<p class="note">Of the %s units that the liar lost in the dispute, %s went to %s and %s burned, so that nobody gains by accusing himself; the rest gave the fees of the honest back. Small differences are fees, and what auditors are paid.</p>`,
			Units(d.Taken), Units(d.Award), d.Challenger, Units(d.Burnt))
	}
	w.Put("</section>\n")
}

func delta(a Account) int64 { return int64(a.After) + int64(a.Bond) - int64(a.Before) }

func sign(a Account) string {
	switch d := delta(a); {
	case d < -int64(ledger.Unit):
		return "minus"
	case d > int64(ledger.Unit):
		return "plus"
	}
	return ""
}

func change(a Account) string {
	d := delta(a)
	if d < 0 {
		return "−" + round(ledger.Amount(-d))
	}
	return "+" + round(ledger.Amount(d))
}

// round writes an amount with three digits.
func round(n ledger.Amount) string {
	n = (n + 500) / 1000
	return fmt.Sprintf("%d.%03d", n/1000, n%1000)
}

func (s *Story) steps(w *report.Markup) {
	w.Put(`<section><h2>What happened, second by second</h2><ol class="steps">`)
	for _, x := range s.Steps {
		w.Put(`<li class="%s"><time>%.1f s</time><p>%s</p></li>`+"\n", string(x.Mark), x.At, x.Text)
	}
	w.Put("</ol></section>\n")
}

func (s *Story) game(w *report.Markup) {
	d := s.Dispute
	if d == nil {
		return
	}
	w.Put(`<details><summary>The dispute, message by message</summary><p class="note">Blocks %d to %d of the ledger. The referee is part of it: it has no model, reads these messages, and computes the last step again.</p><div class="wide"><table><thead><tr><th>block</th><th>who</th><th>what</th><th class="n">bytes</th></tr></thead><tbody>`, d.Opened, d.Ended)
	for _, m := range d.Moves {
		w.Put(`<tr><td>%d</td><td>%s</td><td>%s</td><td class="n">%d</td></tr>`, m.Height, m.By, m.What, m.Bytes)
	}
	w.Put("</tbody></table></div></details>\n")
}

func (s *Story) check(w *report.Markup) {
	if len(s.Commands) == 0 {
		return
	}
	w.Put(`<section><h2>Do not believe this page</h2><p>Any text can say this. The evidence is in files beside it; these commands, run in the folder of this page, check it:</p><dl class="check">`)
	for _, c := range s.Commands {
		w.Put(`<dt><code>%s</code></dt><dd>%s</dd>`, c.Text, c.What)
	}
	w.Put(`</dl><ul class="files">`)
	for _, f := range s.Files {
		w.Put(`<li><code>%s</code> %s</li>`, f.Name, f.What)
	}
	w.Put("</ul></section>\n")
}
