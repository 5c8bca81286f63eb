package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"reflect"
	"strings"
)

// Style is the style sheet of reports.
//
//go:embed report.css
var Style string

// Fragment is the report as HTML for a page that has Style.
func (r *Report) Fragment() string {
	w := &Markup{}
	w.Put(`<div class="report">`)
	w.Put(`<section class="verdict %s">`, string(r.Status))
	w.sign(r.Status.sign())
	w.Put(`<h1>%s</h1><p>%s</p></section>`+"\n", r.Title, r.Summary)
	if len(r.Passages) > 0 {
		w.Put(`<section class="said"><h2 class="vh">%s</h2>`, r.said("What was asked and answered"))
		for _, p := range r.Passages {
			w.passage(&p)
		}
		w.Put("</section>\n")
	}
	w.lines(r, "What was checked", r.Checked)
	w.lines(r, "What was not checked", r.Unchecked)
	if len(r.Facts) > 0 {
		w.Put(`<section><h2>%s</h2>`, r.said("What the receipt says"))
		w.facts(r.Facts)
		w.Put("</section>\n")
	}
	w.Put(`<section class="bounds"><h2>%s</h2><ul>`, r.said("What a receipt does not show"))
	for _, b := range r.Bounds {
		w.Put(`<li>%s</li>`, b)
	}
	w.Put("</ul></section>\n")
	if len(r.Details) > 0 {
		w.Put(`<details><summary>%s</summary>`, r.said("For experts: the numbers behind it"))
		w.facts(r.Details)
		w.Put("</details>\n")
	}
	w.Put(`</div>`)
	return w.String()
}

// Page is the report as a page that stands alone.
func (r *Report) Page() string {
	return Document(r.Title, Style, "", "<main>\n"+r.Fragment()+"\n</main>")
}

// Document is a page that stands alone, of a style sheet and what is in its body,
// which is markup. It has no script, and its Content-Security-Policy allows none,
// and no connection; more is what it allows beside its style.
func Document(title, css, more, body string) string {
	w := &Markup{}
	w.Put(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src %s; %sbase-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s – Aval</title>
<style>`, hash(css), more, title)
	w.WriteString(css)
	w.Put("</style>\n</head>\n<body>\n")
	w.WriteString(body)
	w.Put("\n</body>\n</html>\n")
	return w.String()
}

// hash is how a Content-Security-Policy names a style sheet.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Markup is HTML as it is written; texts come into it through Put alone.
type Markup struct{ strings.Builder }

// Put writes markup with texts and numbers in it. Texts stand between tags or
// within the double quotes of an attribute.
func (w *Markup) Put(format string, args ...any) {
	for i, a := range args {
		switch reflect.ValueOf(a).Kind() {
		case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float32, reflect.Float64:
		default:
			args[i] = html.EscapeString(fmt.Sprint(a))
		}
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

func (w *Markup) sign(m Mark) {
	w.Put(`<svg class="sign" viewBox="0 0 24 24" aria-hidden="true">`)
	w.WriteString(paths[m])
	w.Put(`</svg>`)
}

func (w *Markup) passage(p *Passage) {
	w.Put(`<figure><figcaption>%s</figcaption>`, p.Name)
	if p.Hidden != "" {
		w.Put(`<p class="hidden">%s</p>`, p.Hidden)
	}
	for _, part := range p.Parts {
		if part.Role != "" {
			w.Put(`<p class="note">%s</p>`, part.Role)
		}
		// Long texts scroll, which needs the focus of a keyboard.
		w.Put(`<blockquote tabindex="0">%s</blockquote>`, part.Text)
	}
	w.note("p", p.Note)
	w.Put("</figure>\n")
}

func (w *Markup) note(tag, text string) {
	if text != "" {
		w.Put(`<`+tag+` class="note">%s</`+tag+`>`, text)
	}
}

func (w *Markup) lines(r *Report, head string, list []Line) {
	if len(list) == 0 {
		return
	}
	w.Put(`<section><h2>%s</h2><ul class="lines">`, r.said(head))
	for _, l := range list {
		w.Put(`<li class="%s">`, string(l.Mark))
		w.sign(l.Mark)
		w.Put(`<p><span class="vh">%s: </span>%s</p>`, r.said(l.Mark.word()), l.Text)
		w.note("small", l.Note)
		w.Put("</li>\n")
	}
	w.Put("</ul></section>\n")
}

func (w *Markup) facts(list []Fact) {
	w.Put(`<dl class="facts">`)
	for _, f := range list {
		w.Put(`<dt>%s</dt><dd>%s`, f.Name, f.Value)
		switch {
		case f.Code == "":
		case strings.Contains(f.Code, " "):
			w.Put(` <code>%s</code>`, f.Code)
		default:
			w.Put(` <code class="solid">%s</code>`, f.Code)
		}
		w.Put("</dd>\n")
	}
	w.Put(`</dl>`)
}
