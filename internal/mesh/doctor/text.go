package doctor

import (
	"fmt"
	"io"
	"strings"
)

// width is how many columns the text takes; addresses and commands, which are
// copied, may be longer.
const width = 80

// WriteText writes the report for a person: the answer first, then the
// findings, the most severe first.
func (r Report) WriteText(w io.Writer) error {
	t := &text{}
	t.line("", fmt.Sprintf("Node %s, %s UTC", r.Self, r.Time.UTC().Format("2006-01-02 15:04")))
	t.blank()
	r.Friend.write(t)
	if len(r.Findings) == 0 {
		t.blank()
		t.line("", "Nothing is wrong that this node can see.")
	}
	for _, f := range r.Findings {
		t.blank()
		f.write(t)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// WriteText writes the answer to one question for a person.
func (s Summary) WriteText(w io.Writer) error {
	t := &text{}
	s.write(t)
	_, err := io.WriteString(w, t.String())
	return err
}

func (s Summary) write(t *text) {
	t.line("", s.Question)
	t.wrap("  ", s.Answer)
	if len(s.Addresses) > 0 {
		t.line("  ", "Give one of these addresses:")
		if len(s.Addresses) == 1 {
			t.lines[len(t.lines)-1] = "  Give this address:"
		}
		for _, a := range s.Addresses {
			t.line("    ", a)
		}
	}
	for _, c := range s.Change {
		t.change("  -> ", c)
	}
}

func (f Finding) write(t *text) {
	t.wrap(fmt.Sprintf("%-8s ", strings.ToUpper(f.Severity.String())), f.Title)
	t.part("tried  ", f.Tried)
	t.part("seen   ", f.Seen)
	t.part("means  ", f.Means)
	for i, c := range f.Change {
		label := "change "
		if i > 0 {
			label = "       "
		}
		t.change("  "+label, c)
	}
}

// text collects lines.
type text struct{ lines []string }

func (t *text) String() string { return strings.Join(t.lines, "\n") + "\n" }

func (t *text) blank() { t.lines = append(t.lines, "") }

func (t *text) line(indent, s string) { t.lines = append(t.lines, indent+s) }

func (t *text) part(label, s string) {
	if s != "" {
		t.wrap("  "+label, s)
	}
}

// change writes a sentence wrapped, a command on its own line unbroken.
func (t *text) change(label, s string) {
	if isCommand(s) {
		t.line(label, s)
		return
	}
	t.wrap(label, s)
}

// isCommand tells whether a line is to be typed: our sentences end in a full
// stop or a colon, commands do not.
func isCommand(s string) bool {
	return !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, ")")
}

// wrap writes words under each other, after a label on the first line and as
// many spaces on the others.
func (t *text) wrap(label, s string) {
	indent := strings.Repeat(" ", len(label))
	current := label
	empty := true
	for _, word := range strings.Fields(s) {
		if !empty && len(current)+1+len([]rune(word)) > width {
			t.lines = append(t.lines, current)
			current, empty = indent, true
		}
		if !empty {
			current += " "
		}
		current += word
		empty = false
	}
	t.lines = append(t.lines, current)
}
