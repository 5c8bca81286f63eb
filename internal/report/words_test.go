package report_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/report"
)

// TestEveryCheckHasWords reads the constants CheckX of the packages that check
// receipts, so that a new one cannot be forgotten here.
func TestEveryCheckHasWords(t *testing.T) {
	found := 0
	for _, dir := range []string{"../../receipt", "../audit"} {
		for _, name := range checkNames(t, dir) {
			found++
			passed, failed, open, ok := report.Words(name)
			if !ok {
				t.Errorf("%s: the check %q has no words: add it to wording", dir, name)
				continue
			}
			for _, text := range []string{passed, failed, open} {
				if len(text) < 10 || !strings.HasSuffix(text, ".") || text[0] < 'A' || text[0] > 'Z' {
					t.Errorf("the check %q: %q is not a sentence", name, text)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d checks were found", found)
	}
}

func checkNames(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != len(v.Names) || !strings.HasPrefix(v.Names[0].Name, "Check") {
				return true
			}
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				name, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
			return true
		})
	}
	return names
}
