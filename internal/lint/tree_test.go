package lint_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// module is the path of the Go module, as go.mod states it.
const module = "github.com/avalnetwork/aval"

// root is the repository as the tests of this package see it.
var root = os.DirFS("../..")

// skipDir reports folders that hold no sources of this module: hidden ones,
// generators with their own go.mod, fetched JavaScript, test inputs.
func skipDir(name string) bool {
	base := path.Base(name)
	return name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) ||
		base == "testdata" && name != "internal/testdata" || base == "node_modules" || base == "dist"
}

// walk calls visit for every file of the tree that ends in one of the given
// suffixes.
func walk(t *testing.T, visit func(name string, src []byte), suffixes ...string) {
	t.Helper()
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipDir(name) {
				return fs.SkipDir
			}
			return nil
		}
		for _, s := range suffixes {
			if strings.HasSuffix(name, s) {
				src, err := fs.ReadFile(root, name)
				if err != nil {
					return err
				}
				visit(name, src)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// walkGo calls visit for every Go source that is not a test.
func walkGo(t *testing.T, visit func(name, pkg string, src []byte)) {
	t.Helper()
	walk(t, func(name string, src []byte) {
		if !strings.HasSuffix(name, "_test.go") {
			visit(name, path.Dir(name), src)
		}
	}, ".go")
}

// generated reports whether a source says that a program wrote it.
func generated(src []byte) bool {
	f, err := parser.ParseFile(token.NewFileSet(), "", src, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		return false
	}
	for _, c := range f.Comments {
		for _, line := range c.List {
			if strings.HasPrefix(line.Text, "// Code generated ") && strings.HasSuffix(line.Text, " DO NOT EDIT.") {
				return true
			}
		}
	}
	return false
}
