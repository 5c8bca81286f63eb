package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Lang is a language of the console.
type Lang string

// The languages, by their tags (BCP 47).
const (
	English    Lang = "en"
	Portuguese Lang = "pt-BR"
)

// phrase is one text in both languages.
type phrase struct{ en, pt string }

func (p phrase) in(l Lang) string {
	if l == Portuguese {
		return p.pt
	}
	return p.en
}

// say gives a text of the catalogue. A key that is not there is a mistake that a
// test finds; until then the key is shown.
func say(l Lang, key string, args ...any) string {
	p, ok := catalogue[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return p.in(l)
	}
	return fmt.Sprintf(p.in(l), args...)
}

// chosen is the language that a request asks for: the person's choice, or the
// first that their browser prefers and we have.
func chosen(r *http.Request) Lang {
	if c, err := r.Cookie(langCookie); err == nil {
		switch l := Lang(c.Value); l {
		case English, Portuguese:
			return l
		}
	}
	return accepted(r.Header.Get("Accept-Language"))
}

// maxAccept bounds how much of a header is read, in languages.
const maxAccept = 16

// accepted reads an Accept-Language header.
func accepted(header string) Lang {
	best, most := English, 0.0
	n := 0
	for part := range strings.SplitSeq(header, ",") {
		if n++; n > maxAccept {
			break
		}
		tag, weight, has := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if has {
			v, ok := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			f, err := strconv.ParseFloat(v, 64)
			if !ok || err != nil {
				continue
			}
			q = f
		}
		l := Lang("")
		switch base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-"); base {
		case "en", "*":
			l = English
		case "pt":
			l = Portuguese
		}
		if l != "" && q > most {
			best, most = l, q
		}
	}
	return best
}

// number writes a number with the separators of a language.
func number(l Lang, n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	sep := ","
	if l == Portuguese {
		sep = "."
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), sep)
}

// decimal writes a number with some digits after the point.
func decimal(l Lang, x float64, digits int) string {
	s := strconv.FormatFloat(x, 'f', digits, 64)
	if l == Portuguese {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s
}

// size writes a number of bytes.
func size(l Lang, n int64) string {
	switch {
	case n >= 1e9:
		return decimal(l, float64(n)/1e9, 1) + " GB"
	case n >= 1e6:
		return decimal(l, float64(n)/1e6, 1) + " MB"
	case n >= 1e3:
		return decimal(l, float64(n)/1e3, 0) + " kB"
	}
	return number(l, n) + " B"
}

// moment writes a time.
func moment(l Lang, t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	if l == Portuguese {
		return t.Format("02/01/2006 15:04:05")
	}
	return t.Format("2 Jan 2006, 15:04:05")
}

// long writes how long something took, or is ago.
func long(l Lang, d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return decimal(l, float64(d.Microseconds())/1e3, 2) + " ms"
	case d < time.Second:
		return decimal(l, float64(d.Microseconds())/1e3, 1) + " ms"
	case d < time.Minute:
		return decimal(l, d.Seconds(), 1) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return say(l, "days", int(d.Hours()/24))
}
