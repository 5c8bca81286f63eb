package demo_test

import (
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/demo"
	"github.com/avalnetwork/aval/spec/vectors"
)

// leaves reads the proofs of spec/vectors that are of a leaf of a layer.
func leaves(t *testing.T) (list []*demo.Leaf) {
	t.Helper()
	data, err := vectors.FS.ReadFile("dispute.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Judge, Refused []struct{ Name, Receipt, Proof, Finding string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range file.Judge {
		l, err := demo.ReadLeaf(unhex(c.Receipt), unhex(c.Proof), nil)
		if errors.Is(err, demo.ErrNoLeaf) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if !strings.Contains(c.Finding, l.Name) || len(l.Values) == 0 || l.Right == l.Signed || l.Operations[l.Operation] != l.Name {
			t.Errorf("%s: %+v is not the leaf of the finding %s", c.Name, l, c.Finding)
		}
		list = append(list, l)
	}
	for _, c := range file.Refused {
		if _, err := demo.ReadLeaf(unhex(c.Receipt), unhex(c.Proof), nil); err == nil {
			t.Errorf("%s: a proof that does not stand has a leaf", c.Name)
		}
	}
	return list
}

func TestLeaf(t *testing.T) {
	if n := len(leaves(t)); n == 0 {
		t.Error("no proof of the vectors is of a leaf")
	}
}

// story is one with everything that a page can have, and texts that are not to
// be believed.
func story(t *testing.T, ending demo.Ending) *demo.Story {
	const evil = `</p><script src="http://example.org/x.js">alert(1)</script><img src=x>"'&`
	died := 3.5
	l := leaves(t)[0]
	l.Tensor, l.Row, l.Rows, l.Cols = "blk.0."+evil, 8, len(l.Values), 4
	l.Weights, l.Used = make([]float32, l.Rows*4), make([]float32, l.Rows*4)
	for i := range l.Weights {
		l.Weights[i] = float32(i%5) - 2
	}
	l.Claimed = make([]float32, len(l.Values))
	return &demo.Story{
		Began: evil, Seconds: 17, Version: evil, Ending: ending, Why: evil, Blocks: 50,
		Nodes:    []demo.Node{{Name: "validator 1", Roles: []string{"validator"}, Died: &died}, {Name: "liar", Roles: []string{evil}, Lies: true}},
		Accounts: []demo.Account{{Name: "validator 1", Before: 2e9, After: 1e9, Bond: 1e9}, {Name: "liar", Before: 1e9, After: 9e8, Slashed: 1e8}, {Name: "you", Before: 1e9, After: 1_000_500_000}},
		Steps:    []demo.Step{{At: 0.5, Text: evil, Mark: demo.Bad}, {At: 1, Text: "done", Mark: demo.Good}},
		Questions: []demo.Question{
			{To: "provider", Prompt: evil, Answer: evil, Right: evil, Verdict: "valid", Tokens: 3, Paid: 5, How: "by a transfer"},
			{To: "liar", Prompt: "a", Answer: " she wént" + evil, Right: " she wènt home", Lie: true},
			{To: "liar", Prompt: "a", Answer: "b", Right: "b", Lie: true},
		},
		Dispute:  &demo.Dispute{Challenger: evil, Prover: "liar", Opened: 3, Ended: 9, Taken: 1e8, Moves: []demo.Move{{Height: 4, By: evil, What: evil, Bytes: 7}}},
		Leaf:     l,
		Files:    []demo.File{{Name: evil, What: evil}},
		Commands: []demo.Command{{Text: evil, What: evil}},
	}
}

// outside finds what a page could load.
var outside = regexp.MustCompile(`(?i)<(script|iframe|link|object|embed|base|form|img)\b|@import|url\(|\b(src|srcset|action|formaction|on[a-z]+)\s*=\s*["'a-z]`)

func TestPage(t *testing.T) {
	for _, ending := range []demo.Ending{demo.Proved, demo.Silent, demo.NoLie, demo.Unfinished} {
		s := story(t, ending)
		page := s.Page()
		if bad := outside.FindString(unquoted(page)); bad != "" {
			t.Errorf("%s: the page has %s", ending, bad)
		}
		for _, m := range regexp.MustCompile(`href="([^"]{0,40})`).FindAllStringSubmatch(page, -1) {
			if !strings.HasPrefix(m[1], "data:image/png;base64,") {
				t.Errorf("%s: the page refers to %s", ending, m[1])
			}
		}
		if !strings.Contains(page, "<title>"+s.Title()) {
			t.Errorf("%s: the page has another title", ending)
		}
		wellFormed(t, page)
	}
	// Without a dispute, a leaf or questions there is still a page.
	s := &demo.Story{Ending: demo.NoLie}
	wellFormed(t, s.Page())
}

// unquoted is a page without its texts, which are escaped.
func unquoted(page string) string {
	return regexp.MustCompile(`&[a-z#0-9]+;[^<]*`).ReplaceAllString(page, "")
}

// wellFormed reads a page as strictly as XML, but for the elements that HTML has
// without an end.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	body, ok := strings.CutPrefix(page, "<!doctype html>\n")
	if !ok {
		t.Error("the page does not begin with a doctype")
	}
	body = regexp.MustCompile(`<(meta)([^>]*)>`).ReplaceAllString(body, "<$1$2/>")
	d := xml.NewDecoder(strings.NewReader(body))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			line, column := d.InputPos()
			t.Fatalf("line %d, column %d: %v", line, column, err)
		}
	}
}
