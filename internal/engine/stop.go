package engine

import "strings"

// stopper finds stop strings in a growing text. It holds back what could still
// become one, together with the events whose text it is.
type stopper struct {
	stops  []string
	text   string  // held back
	events []Event // whose texts, joined, are text
}

// add takes one event and appends to out what is now certain. It returns the
// stop string that ended the text, if any.
func (s *stopper) add(out []Event, ev Event) ([]Event, string) {
	if len(s.stops) == 0 {
		return append(out, ev), ""
	}
	s.text += ev.Text
	s.events = append(s.events, ev)
	if at, stop := s.find(); stop != "" {
		return s.release(out, at, true), stop
	}
	return s.release(out, s.certain(), false), ""
}

// flush gives up what is held: the text ends here.
func (s *stopper) flush(out []Event) []Event { return s.release(out, len(s.text), true) }

// find returns where the earliest stop string begins.
func (s *stopper) find() (int, string) {
	at, found := len(s.text), ""
	for _, stop := range s.stops {
		if i := strings.Index(s.text, stop); i >= 0 && (found == "" || i < at) {
			at, found = i, stop
		}
	}
	return at, found
}

// certain returns the length of the text that cannot be part of a stop string
// any more: all but the longest end that begins one.
func (s *stopper) certain() int {
	longest := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(s.text)); n > longest; n-- {
			if strings.HasSuffix(s.text, stop[:n]) {
				longest = n
				break
			}
		}
	}
	return len(s.text) - longest
}

// release appends the events whose text lies within the first n bytes. At the
// end of the text an event that reaches beyond is cut, and later ones dropped.
func (s *stopper) release(out []Event, n int, last bool) []Event {
	used, i := 0, 0
	for ; i < len(s.events); i++ {
		ev := s.events[i]
		if used+len(ev.Text) > n {
			if last && used < n {
				ev.Text = ev.Text[:n-used]
				out = append(out, ev)
			}
			break
		}
		used += len(ev.Text)
		out = append(out, ev)
	}
	if last {
		s.text, s.events = "", nil
		return out
	}
	s.text = s.text[used:]
	s.events = s.events[:copy(s.events, s.events[i:])]
	return out
}
