package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"strings"
)

// Style is the style sheet of reports.
//
//go:embed report.css
var Style string

// Fragment is the report as HTML for a page that has Style.
func (r *Report) Fragment() string {
	w := &markup{}
	w.put(`<div class="report">`)
	w.put(`<section class="verdict %s">`, string(r.Status))
	w.sign(r.Status.sign())
	w.put(`<h1>%s</h1><p>%s</p></section>`+"\n", r.Title, r.Summary)
	if len(r.Passages) > 0 {
		w.put(`<section class="said"><h2 class="vh">%s</h2>`, r.said("What was asked and answered"))
		for _, p := range r.Passages {
			w.passage(&p)
		}
		w.put("</section>\n")
	}
	w.lines(r, "What was checked", r.Checked)
	w.lines(r, "What was not checked", r.Unchecked)
	if len(r.Facts) > 0 {
		w.put(`<section><h2>%s</h2>`, r.said("What the receipt says"))
		w.facts(r.Facts)
		w.put("</section>\n")
	}
	w.put(`<section class="bounds"><h2>%s</h2><ul>`, r.said("What a receipt does not show"))
	for _, b := range r.Bounds {
		w.put(`<li>%s</li>`, b)
	}
	w.put("</ul></section>\n")
	if len(r.Details) > 0 {
		w.put(`<details><summary>%s</summary>`, r.said("For experts: the numbers behind it"))
		w.facts(r.Details)
		w.put("</details>\n")
	}
	w.put(`</div>`)
	return w.String()
}

// Page is the report as a page that stands alone. It has no script, and its
// Content-Security-Policy allows none, and no connection.
func (r *Report) Page() string {
	w := &markup{}
	w.put(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src %s; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s – Aval</title>
<style>`, hash(Style), r.Title)
	w.WriteString(Style)
	w.put("</style>\n</head>\n<body>\n<main>\n")
	w.WriteString(r.Fragment())
	w.put("\n</main>\n</body>\n</html>\n")
	return w.String()
}

// hash is how a Content-Security-Policy names a style sheet.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// markup is HTML as it is written. Texts come into it through put alone. (The
// package html/template would do the same, and more than double the program
// inside the page that checks receipts: with it, the linker keeps every method.)
type markup struct{ strings.Builder }

// put writes markup with texts in it, which stand between tags or within the
// double quotes of an attribute.
func (w *markup) put(format string, texts ...string) {
	args := make([]any, len(texts))
	for i, s := range texts {
		args[i] = html.EscapeString(s)
	}
	fmt.Fprintf(w, format, args...)
}

// paths draw the signs, in a square of 24.
var paths = map[Mark]string{
	Yes:  `<circle cx="12" cy="12" r="10"/><path d="M7.5 12.5l3 3 6-6.5"/>`,
	No:   `<circle cx="12" cy="12" r="10"/><path d="M8.5 8.5l7 7M15.5 8.5l-7 7"/>`,
	Open: `<circle cx="12" cy="12" r="10" stroke-dasharray="3.2 3.1"/><path d="M8 12h8"/>`,
	Mind: `<path d="M12 3L22 20H2z"/><path d="M12 10v4M12 17v.01"/>`,
	half: `<circle cx="12" cy="12" r="10" stroke-dasharray="3.2 3.1"/><path d="M7.5 12.5l3 3 6-6.5"/>`,
}

func (w *markup) sign(m Mark) {
	w.put(`<svg class="sign" viewBox="0 0 24 24" aria-hidden="true">`)
	w.WriteString(paths[m])
	w.put(`</svg>`)
}

func (w *markup) passage(p *Passage) {
	w.put(`<figure><figcaption>%s</figcaption>`, p.Name)
	if p.Hidden != "" {
		w.put(`<p class="hidden">%s</p>`, p.Hidden)
	}
	for _, part := range p.Parts {
		if part.Role != "" {
			w.put(`<p class="note">%s</p>`, part.Role)
		}
		// Long texts scroll, which needs the focus of a keyboard.
		w.put(`<blockquote tabindex="0">%s</blockquote>`, part.Text)
	}
	w.note("p", p.Note)
	w.put("</figure>\n")
}

func (w *markup) note(tag, text string) {
	if text != "" {
		w.put(`<`+tag+` class="note">%s</`+tag+`>`, text)
	}
}

func (w *markup) lines(r *Report, head string, list []Line) {
	if len(list) == 0 {
		return
	}
	w.put(`<section><h2>%s</h2><ul class="lines">`, r.said(head))
	for _, l := range list {
		w.put(`<li class="%s">`, string(l.Mark))
		w.sign(l.Mark)
		w.put(`<p><span class="vh">%s: </span>%s</p>`, r.said(l.Mark.word()), l.Text)
		w.note("small", l.Note)
		w.put("</li>\n")
	}
	w.put("</ul></section>\n")
}

func (w *markup) facts(list []Fact) {
	w.put(`<dl class="facts">`)
	for _, f := range list {
		w.put(`<dt>%s</dt><dd>%s`, f.Name, f.Value)
		switch {
		case f.Code == "":
		case strings.Contains(f.Code, " "):
			w.put(` <code>%s</code>`, f.Code)
		default:
			w.put(` <code class="solid">%s</code>`, f.Code)
		}
		w.put("</dd>\n")
	}
	w.put(`</dl>`)
}
