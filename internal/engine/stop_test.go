package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStopper(t *testing.T) {
	for name, c := range map[string]struct {
		stops  []string
		pieces string // separated by |
		want   string // what each piece releases, the same way; the last is the flush
		stop   string
	}{
		"none":              {nil, "a|b", "a|b|", ""},
		"whole token":       {[]string{"b"}, "a|b|c", "a|", "b"},
		"across tokens":     {[]string{"bcd"}, "ab|c|d", "||a", "bcd"},
		"held, then not":    {[]string{"bcd"}, "ab|c|x", "||abcx|", ""},
		"inside a token":    {[]string{"ll"}, "hello", "he", "ll"},
		"overlapping start": {[]string{"aab"}, "a|a|a|b", "||a|", "aab"},
		"earliest wins":     {[]string{"cd", "b"}, "abcd", "a", "b"},
		"held to the end":   {[]string{"xyz"}, "a|x|y", "a|||xy", ""},
		"characters":        {[]string{"é!"}, "caf|é|!", "caf||", "é!"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stopper{stops: c.stops}
			var got []string
			var stop string
			for _, p := range strings.Split(c.pieces, "|") {
				var out []Event
				out, stop = s.add(nil, Event{Text: p})
				got = append(got, joined(out))
				if stop != "" {
					break
				}
			}
			if stop == "" {
				got = append(got, joined(s.flush(nil)))
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "|")); diff != "" || stop != c.stop {
				t.Errorf("stop %q, want %q; text (-want +got):\n%s", stop, c.stop, diff)
			}
		})
	}
}

func joined(events []Event) string {
	var b strings.Builder
	for _, ev := range events {
		b.WriteString(ev.Text)
	}
	return b.String()
}

// FuzzStopper compares the stopper with a search of the whole text.
func FuzzStopper(f *testing.F) {
	f.Add("ab|c|d", "bcd|x")
	f.Add("a|a|a|b", "aab")
	f.Add("|||", "|")
	f.Fuzz(func(t *testing.T, pieces, stops string) {
		s := stopper{}
		for _, stop := range strings.Split(stops, "|") {
			if stop != "" && len(s.stops) < maxStops {
				s.stops = append(s.stops, stop)
			}
		}
		var got, seen strings.Builder
		var found string
		for _, p := range strings.Split(pieces, "|") {
			var out []Event
			seen.WriteString(p)
			out, found = s.add(nil, Event{Text: p})
			got.WriteString(joined(out))
			if found != "" {
				break
			}
		}
		if found == "" {
			got.WriteString(joined(s.flush(nil)))
		}
		at := len(seen.String())
		for _, stop := range s.stops {
			if i := strings.Index(seen.String(), stop); i >= 0 {
				at = min(at, i)
			}
		}
		if want := seen.String()[:at]; got.String() != want {
			t.Errorf("text %q, stops %q: got %q, want %q", seen.String(), s.stops, got.String(), want)
		}
	})
}
