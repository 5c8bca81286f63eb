package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a hand-written Go file may grow before it must be
// split; longFiles are the exceptions.
const maxLines = 700

var longFiles = map[string]string{
	"internal/chat/jinja/sequences.go": "all that Jinja does with lists and mappings",
}

// TestPackageComments requires exactly one package comment for each package,
// long enough to say what it is and what to call first.
func TestPackageComments(t *testing.T) {
	const minWords = 15
	comments := map[string][]string{}
	walkGo(t, func(name, pkg string, src []byte) {
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		if _, ok := comments[pkg]; !ok {
			comments[pkg] = nil
		}
		if f.Doc != nil {
			comments[pkg] = append(comments[pkg], name)
			want := "Package " + f.Name.Name + " "
			if f.Name.Name == "main" {
				want = "Command " + path.Base(pkg) + " "
			}
			if text := f.Doc.Text(); !strings.HasPrefix(text, want) {
				t.Errorf("%s: the package comment does not begin with %q", name, want)
			} else if len(strings.Fields(text)) < minWords {
				t.Errorf("%s: the package comment has fewer than %d words: say what it is, what to call first, what it does not do", name, minWords)
			}
		}
	})
	for pkg, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s has %d package comments %v, want 1", pkg, len(files), files)
		}
	}
}

// TestModules checks the go.mod files: nothing is replaced, so that what users
// get by "go install" is what is tested here.
func TestModules(t *testing.T) {
	walk(t, func(name string, src []byte) {
		for i, line := range strings.Split(string(src), "\n") {
			if fields := strings.Fields(line); len(fields) > 0 && (fields[0] == "replace" || slices.Contains(fields, "=>")) {
				t.Errorf("%s:%d: replace is not allowed", name, i+1)
			}
		}
	}, "go.mod")
}

// TestLicence checks that the licence is the one that the README names.
func TestLicence(t *testing.T) {
	src, err := fs.ReadFile(root, "LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(src), "Apache License") || !strings.Contains(string(src), "Version 2.0") {
		t.Error("LICENSE is not the Apache License, Version 2.0")
	}
}

// TestFileLength keeps files readable.
func TestFileLength(t *testing.T) {
	walk(t, func(name string, src []byte) {
		lines := strings.Count(string(src), "\n")
		if lines > maxLines && longFiles[name] == "" && !generated(src) {
			t.Errorf("%s has %d lines; split it (limit %d), or add it to longFiles with the reason", name, lines, maxLines)
		}
	}, ".go")
}

// envReaders are the packages that may look at the environment.
var envReaders = []string{"cmd/aval", "anchor/cmd/aval-anchor"}

// TestAmbientState forbids what makes a package depend on more than its
// arguments: the environment, init functions, ending the process.
func TestAmbientState(t *testing.T) {
	walkGo(t, func(name, pkg string, src []byte) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, 0)
		if err != nil {
			t.Error(err)
			return
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && !generated(src) {
				t.Errorf("%s: init function; use a table, or a variable computed by a function", fset.Position(d.Pos()))
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch call := x.Name + "." + sel.Sel.Name; call {
			case "os.Getenv", "os.LookupEnv", "os.Environ", "os.Exit":
				if !slices.Contains(envReaders, pkg) {
					t.Errorf("%s: %s outside %v", fset.Position(n.Pos()), call, envReaders)
				}
			}
			return true
		})
	})
}

// TestWords looks for unfinished work and for paths of one developer's
// machine. The patterns are split so that they do not find themselves.
func TestWords(t *testing.T) {
	patterns := []*regexp.Regexp{
		regexp.MustCompile(`\bTO` + `DO\b|\bFIX` + `ME\b|\bXX` + `X\b`),
		regexp.MustCompile(`(^|[\s"'(=:])/(wo` + `rk|ro` + `ot|ho` + `me)/`),
		regexp.MustCompile(`/tmp/(pl` + `an|bash` + `_jobs)`),
	}
	walk(t, func(name string, src []byte) {
		for i, line := range strings.Split(string(src), "\n") {
			for _, p := range patterns {
				if m := p.FindString(line); m != "" {
					t.Errorf("%s:%d: %q does not belong in the repository", name, i+1, m)
				}
			}
		}
	}, ".go", ".s", ".md", ".txtar", ".txt", ".js", ".json", ".yml", ".sh", "run", ".mod")
}
