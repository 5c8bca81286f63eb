package web

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// TestReportsInPortuguese reads the texts of internal/report about answers from its
// source, so that a new one cannot be forgotten here.
func TestReportsInPortuguese(t *testing.T) {
	// What is put together from parts, as it is then; and what is not for people.
	parts := map[string]bool{
		"token %d:": true, "2 January 2006, 15:04 UTC": true, "temperature ": true, "By chance, a likelier word piece more often (": true, "Check “": true,
		"It was tried: ": true, "Its only ": true, "The check “": true, "All %d %s": true, "%s read, %s written.": true,
		"This model, with this question and these settings, gives exactly this answer. %s.": true, ", by that device’s clock.": true,
		"The model was also told of %s that it may use.": true, "It was also given %s, which may have changed what it read.": true,
		// Of samples, which the console does not draw.
		" Of tokens that another model chose, all else being right, it shows ": true, "Valid, by a sample": true,
	}
	found := 0
	for _, name := range []string{"report.go", "facts.go", "html.go", "words.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), "../report/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			text = strings.TrimSpace(text)
			sentence := len(text) > 5 && text[0] >= 'A' && text[0] <= 'Z' && !strings.ContainsAny(text, "<\n") && strings.ContainsAny(text, " .")
			if !sentence || parts[text] || parts[text+" "] || strings.HasPrefix(text, "github.com") {
				return true
			}
			found++
			sample := strings.NewReplacer("%d", "7", "%s", "x", "%%", "%").Replace(text)
			if got := portuguese(sample); got == sample || strings.Contains(got, "%s") {
				t.Errorf("%s: %q is not in the table", name, text)
			}
			return true
		})
	}
	if found < 100 {
		t.Errorf("only %d texts were found", found)
	}
	for text, want := range map[string]string{
		"It was tried: disk full":                                                      "Foi tentado: disk full",
		"1 word piece read, 20 word pieces written.":                                   "1 pedaço de palavra lido, 20 escritos.",
		"This model does not give this answer. It differs first at word piece 3 of 9.": "Este modelo não dá esta resposta. Difere primeiro no pedaço de palavra 3 de 9.",
		"The settings. It could not be compared with what you expected.":               "Os ajustes. Não pôde ser comparado com o que você esperava.",
		"27 November 2026, 06:14 UTC, by that device’s clock.":                         "27 November 2026, 06:14 UTC, pelo relógio daquele dispositivo.",
		`its token 0 is " Count" (id 1156), and the model gives " K" (id 594)`:         `seu token 0 é " Count" (id 1156), e o modelo dá " K" (id 594)`,
		"Something new. Another thing.":                                                "Something new. Another thing.",
		"By chance, a likelier word piece more often (temperature 0.8, top_k 40).":     "Por acaso, um pedaço mais provável com mais frequência (temperature 0.8, top_k 40).",
	} {
		if got := portuguese(text); got != want {
			t.Errorf("%q\n got %q\nwant %q", text, got, want)
		}
	}
	for from, to := range reportWords {
		if strings.Count(from, "%s") != strings.Count(to, "%s") {
			t.Errorf("%q has other places for values in Portuguese", from)
		}
	}
}
