package web

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// drawing is an SVG as it is written. Texts come into it through put alone, and
// colours from the style sheet, by classes.
type drawing struct{ strings.Builder }

func (d *drawing) put(format string, texts ...string) {
	args := make([]any, len(texts))
	for i, s := range texts {
		args[i] = html.EscapeString(s)
	}
	fmt.Fprintf(d, format, args...)
}

func (d *drawing) open(width, height int, title, class string) {
	d.put(`<svg class="%s" viewBox="0 0 %s %s" role="img" aria-label="%s">`, class, fmt.Sprint(width), fmt.Sprint(height), title)
}

func (d *drawing) close() template.HTML {
	d.put(`</svg>`)
	return template.HTML(d.String()) // every text in it was escaped
}

// icons are drawn in a square of 24.
var icons = map[string]string{
	"chat":      `<path d="M4 5h16v11H9l-5 4z"/>`,
	"network":   `<circle cx="12" cy="5" r="2.5"/><circle cx="5" cy="18" r="2.5"/><circle cx="19" cy="18" r="2.5"/><path d="M11 7.3L6.2 15.8M13 7.3l4.8 8.500M7.5 18h9"/>`,
	"models":    `<path d="M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.5 8-4.500M12 12v9"/>`,
	"audits":    `<path d="M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6z"/><path d="M8.5 12l2.5 2.5 4.5-5"/>`,
	"ledger":    `<path d="M3 8h5v8H3zM9.5 8h5v8h-5zM16 8h5v8h-5zM8 12h1.500M14.5 12H16"/>`,
	"settings":  `<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="17" r="2"/>`,
	"theme":     `<circle cx="12" cy="12" r="8"/><path class="full" d="M12 4a8 8 0 0 1 0 16z"/>`,
	"valid":     `<circle cx="12" cy="12" r="10"/><path d="M7.5 12.500l3 3 6-6.5"/>`,
	"partly":    `<circle cx="12" cy="12" r="10" stroke-dasharray="3.2 3.1"/><path d="M7.5 12.500l3 3 6-6.5"/>`,
	"invalid":   `<circle cx="12" cy="12" r="10"/><path d="M8.5 8.500l7 7M15.5 8.500l-7 7"/>`,
	"unchecked": `<path d="M12 3L22 20H2z"/><path d="M12 10v4M12 17v.01"/>`,
}

func icon(name string) template.HTML {
	return template.HTML(`<svg class="sign" viewBox="0 0 24 24" aria-hidden="true">` + icons[name] + `</svg>`)
}

// Sizes of the picture of a dispute.
const (
	rowHeight  = 30
	rowGap     = 46
	leftEdge   = 2
	tileHeight = 52
)

// drawDispute draws how a dispute narrows, for wide screens and for narrow ones, of
// which the style sheet shows one.
func drawDispute(p *page, d *Dispute) template.HTML {
	return drawStages(p, d, 720, "bisect wide") + drawStages(p, d, 340, "bisect narrow")
}

// drawStages draws one bar for everything that is in question, and below it,
// widened, the part that is chosen, down to the one tile.
func drawStages(p *page, d *Dispute, width int, class string) template.HTML {
	m := &drawing{}
	n := len(d.Narrowing)
	ends := d.Finding != nil && d.Finding.Signed != ""
	height := 24 + n*rowHeight + (n-1)*rowGap + 4
	if ends {
		height += 24 + tileHeight
	}
	m.open(width, height, p.T("dispute.picture", p.N("dispute.stages", n)), class)
	wide := float64(width - 2*leftEdge)
	y := 24.0
	for i, st := range d.Narrowing {
		of := max(st.Of, 1)
		from, to := float64(st.From)/float64(of), float64(st.To)/float64(of)
		if least := 8 / wide; to-from < least { // so that it can be seen
			mid := min(max((from+to)/2, least/2), 1-least/2)
			from, to = mid-least/2, mid+least/2
		}
		m.put(`<rect class="whole" x="%s" y="%s" width="%s" height="%s" rx="4"/>`, coordinate(leftEdge), coordinate(y), coordinate(wide), coordinate(rowHeight))
		if of <= width/10 {
			for k := 1; k < of; k++ {
				x := leftEdge + wide*float64(k)/float64(of)
				m.put(`<line class="tick" x1="%s" y1="%s" x2="%s" y2="%s"/>`, coordinate(x), coordinate(y), coordinate(x), coordinate(y+rowHeight))
			}
		}
		a, b, last := leftEdge+wide*from, leftEdge+wide*to, i == n-1
		kind := "chosen"
		if last && d.Finding != nil {
			kind = "wrong"
		}
		m.put(`<rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="3"/>`, kind, coordinate(a), coordinate(y), coordinate(b-a), coordinate(rowHeight))
		below, next := y+rowHeight, y+rowHeight+rowGap
		if last {
			next, kind = below+24, "cone bad"
		} else {
			kind = "cone"
		}
		if !last || ends {
			m.put(`<path class="%s" d="M%s %sL%s %sL%s %sL%s %sZ"/>`, kind, coordinate(a), coordinate(below), coordinate(b), coordinate(below),
				coordinate(leftEdge+wide), coordinate(next), coordinate(leftEdge), coordinate(next))
		}
		m.put(`<text class="label" x="%s" y="%s">%s</text>`, coordinate(leftEdge+2), coordinate(y-7), stageWords(p, st))
		y = next
	}
	if ends {
		shown := 64
		if width < 500 {
			shown = 26
		}
		m.put(`<rect class="tile bad" x="%s" y="%s" width="%s" height="%s" rx="6"/>`, coordinate(leftEdge), coordinate(y), coordinate(wide), coordinate(tileHeight))
		m.put(`<text class="hash" x="%s" y="%s">%s %s</text>`, coordinate(leftEdge+10), coordinate(y+21), p.T("dispute.signed"), cut(d.Finding.Signed, shown))
		m.put(`<text class="hash" x="%s" y="%s">%s %s</text>`, coordinate(leftEdge+10), coordinate(y+41), p.T("dispute.right"), cut(d.Finding.Right, shown))
	}
	return m.close()
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// stageWords says what is in question.
func stageWords(p *page, st Stage) string {
	of, from := number(p.Lang, int64(st.Of)), number(p.Lang, int64(st.From+1))
	if st.To-st.From > 1 {
		return p.T("stage."+st.Kind+".some", of, from, number(p.Lang, int64(st.To)))
	}
	if st.Kind == "operation" {
		return p.T("stage.operation", of, st.Name)
	}
	return p.T("stage."+st.Kind, of, from)
}
