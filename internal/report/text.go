package report

import (
	"strings"
	"unicode/utf8"
)

// minWidth is the narrowest that lines are wrapped to.
const minWidth = 30

var signs = map[Mark]string{Yes: "✓", No: "✗", Open: "–", Mind: "!", half: "✓"}

// Text is the report for a terminal of so many columns. Details are for those
// who ask for them.
func (r *Report) Text(columns int, details bool) string {
	w := &writer{width: max(columns, minWidth)}
	w.put(signs[r.Status.sign()]+" ", "  ", strings.ToUpper(r.Title))
	w.put("  ", "  ", r.Summary)
	for _, p := range r.Passages {
		w.head(p.Name)
		if p.Hidden != "" {
			w.put("  ", "  ", p.Hidden)
		}
		for _, part := range p.Parts {
			if part.Role != "" {
				w.put("  ", "  ", part.Role)
			}
			for line := range strings.Lines(part.Text) {
				w.put("  | ", "  | ", strings.TrimSuffix(line, "\n"))
			}
		}
		if p.Note != "" {
			w.put("  ", "  ", p.Note)
		}
	}
	w.lines("What was checked", r.Checked)
	w.lines("What was not checked", r.Unchecked)
	w.facts("What the receipt says", r.Facts)
	w.head("What a receipt does not show")
	for _, b := range r.Bounds {
		w.put("  · ", "    ", b)
	}
	if details {
		w.facts("For experts", r.Details)
	}
	return w.String()
}

type writer struct {
	strings.Builder
	width int
}

func (w *writer) head(s string) { w.WriteString("\n" + s + "\n") }

func (w *writer) lines(head string, list []Line) {
	if len(list) == 0 {
		return
	}
	w.head(head)
	for _, l := range list {
		w.put("  "+signs[l.Mark]+" ", "    ", l.Text)
		if l.Note != "" {
			w.put("    ", "    ", l.Note)
		}
	}
}

func (w *writer) facts(head string, list []Fact) {
	if len(list) == 0 {
		return
	}
	w.head(head)
	for _, f := range list {
		switch {
		case f.Code == "":
			w.put("  "+f.Name+": ", "    ", f.Value)
		case f.Value == "":
			w.put("  "+f.Name+": ", "    ", f.Code)
		default:
			w.put("  "+f.Name+": ", "    ", f.Value)
			w.put("    ", "    ", f.Code)
		}
	}
}

// put writes a text in lines that begin with first, then with next.
func (w *writer) put(first, next, text string) {
	line, used := first, utf8.RuneCountInString(first)
	fresh := true
	for _, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		if !fresh && used+1+n > w.width {
			w.WriteString(strings.TrimRight(line, " ") + "\n")
			line, used, fresh = next, utf8.RuneCountInString(next), true
		}
		if !fresh {
			line, used = line+" ", used+1
		}
		line, used, fresh = line+word, used+n, false
	}
	w.WriteString(strings.TrimRight(line, " ") + "\n")
}
