package lint_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"strings"
	"testing"
)

// deterministic are the packages whose float results are the same bits on
// every machine.
var deterministic = []string{"internal/eeg", "internal/eeg/signal", "internal/eeg/decode", "internal/kernel", "internal/model", "internal/operation", "internal/quant", "internal/sample", "internal/tensor", "internal/train", "internal/train/net", "internal/train/lm"}

// exactMath are the functions of package math whose result the Go
// documentation or IEEE 754 fixes to the bit. The others (Exp, Log, Pow, Sin,
// Cos, ...) have assembly that differs from one architecture to the next.
var exactMath = map[string]bool{
	"Abs": true, "Ceil": true, "Copysign": true, "Floor": true, "Inf": true, "IsInf": true, "IsNaN": true,
	"Max": true, "Min": true, "NaN": true, "RoundToEven": true, "Signbit": true, "Sqrt": true, "Trunc": true, "Frexp": true, "Ldexp": true,
	"Float32bits": true, "Float32frombits": true, "Float64bits": true, "Float64frombits": true,
}

// roundsItself are calls whose argument no compiler can fuse into an addition.
var roundsItself = map[string]bool{
	"math.Sqrt": true, "math.Floor": true, "math.RoundToEven": true,
	"math.Float32bits": true, "math.Float64bits": true, "math.IsNaN": true, "math.IsInf": true,
}

// TestPinnedProducts looks for float products that a compiler may fuse with a
// later addition. The Go specification lets x*y + z become one instruction
// with one rounding, across statements and inlined calls too; an explicit
// conversion, float32(x*y), is the only thing that prevents it. So in the
// deterministic packages every product of floats must stand inside a
// conversion, another product, a quotient, a comparison or one of roundsItself.
func TestPinnedProducts(t *testing.T) {
	fset := token.NewFileSet()
	std := importer.ForCompiler(fset, "source", nil) // shared, as it is slow
	for _, arch := range []string{"amd64", "arm64", "riscv64"} {
		l := newLoader(arch, fset, std)
		for _, pkg := range deterministic {
			p, err := l.load(pkg)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range p.files {
				checkFloats(f, l.fset, p.info, func(pos token.Position, what string) {
					t.Errorf("%s/%s: GOARCH=%s: %s", pkg, path.Base(pos.String()), arch, what)
				})
			}
		}
	}
}

// TestPinnedProductsFinds shows that the check can fail.
func TestPinnedProductsFinds(t *testing.T) {
	const src = `package p
import "math"
func f(a, b, c float32, i int, v []float32) float32 {
	c = a*b + c          // 1
	c += a * b           // 2
	d := a * b           // 3: a variable does not pin
	v[i*2+1] = float32(a*b) - c
	if a*b < c { return (a * b) } // 4
	_ = math.Exp(float64(c)) // 5
	c *= a               // 6
	const k = 2.0*3 + 1
	return float32(a*b) + a/b + float32(a*b*c) + d/k + float32((a * b))
}`
	fset := token.NewFileSet()
	l := newLoader("amd64", fset, importer.ForCompiler(fset, "source", nil))
	f, err := parser.ParseFile(l.fset, "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := newInfo()
	conf := types.Config{Importer: l, Error: func(err error) { t.Error(err) }}
	if _, err := conf.Check("p", l.fset, []*ast.File{f}, info); err != nil {
		t.Fatal(err)
	}
	var got []string
	checkFloats(f, l.fset, info, func(pos token.Position, _ string) { got = append(got, fmt.Sprint(pos.Line)) })
	if want := "4 5 6 8 9 10"; strings.Join(got, " ") != want {
		t.Errorf("found lines %v, want %s", got, want)
	}
}

// checkFloats reports unpinned products and inexact functions of one file.
func checkFloats(f *ast.File, fset *token.FileSet, info *types.Info, report func(token.Position, string)) {
	var stack []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if n.Op == token.MUL && isFloat(info, n) && !pinned(stack, info) {
				report(fset.Position(n.Pos()), fmt.Sprintf("unpinned product; write float32(%s)", types.ExprString(n)))
			}
		case *ast.AssignStmt:
			if n.Tok == token.MUL_ASSIGN && isFloat(info, n.Lhs[0]) {
				x := types.ExprString(n.Lhs[0])
				report(fset.Position(n.Pos()), fmt.Sprintf("unpinned product; write %s = float32(%s * ...)", x, x))
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				_, isPkg := info.Uses[x].(*types.PkgName)
				_, isFunc := info.Uses[n.Sel].(*types.Func)
				if isPkg && isFunc && x.Name == "math" && !exactMath[n.Sel.Name] {
					report(fset.Position(n.Pos()), "math."+n.Sel.Name+" is not the same on every machine")
				}
			}
		}
		stack = append(stack, n)
		return true
	})
}

// pinned reports whether the parents of a product keep it from an addition.
func pinned(stack []ast.Node, info *types.Info) bool {
	for i := len(stack) - 1; i >= 0; i-- {
		switch p := stack[i].(type) {
		case *ast.ParenExpr:
			continue
		case *ast.CallExpr:
			return info.Types[p.Fun].IsType() || roundsItself[types.ExprString(p.Fun)]
		case *ast.BinaryExpr:
			switch p.Op {
			case token.MUL, token.QUO, token.LSS, token.GTR, token.LEQ, token.GEQ, token.EQL, token.NEQ:
				return true
			}
		}
		return false
	}
	return false
}

// isFloat reports whether e is, or may be, a float computed at run time.
func isFloat(info *types.Info, e ast.Expr) bool {
	tv, ok := info.Types[e]
	if !ok || tv.Value != nil {
		return false
	}
	if p, ok := types.Unalias(tv.Type).(*types.TypeParam); ok {
		return hasFloat(p.Constraint().Underlying().(*types.Interface))
	}
	b, ok := tv.Type.Underlying().(*types.Basic)
	return ok && (b.Info()&(types.IsFloat|types.IsComplex) != 0 || b.Kind() == types.Invalid)
}

// hasFloat reports whether a float type satisfies the constraint.
func hasFloat(c *types.Interface) bool {
	return types.Satisfies(types.Typ[types.Float32], c) || types.Satisfies(types.Typ[types.Float64], c)
}

// loader type-checks packages of this module from source, without running the
// go command.
type loader struct {
	fset   *token.FileSet
	ctx    build.Context
	std    types.Importer
	loaded map[string]*loaded
}

type loaded struct {
	pkg   *types.Package
	files []*ast.File
	info  *types.Info
}

func newLoader(arch string, fset *token.FileSet, std types.Importer) *loader {
	ctx := build.Default
	ctx.GOARCH, ctx.GOOS, ctx.CgoEnabled = arch, "linux", false
	return &loader{fset: fset, ctx: ctx, std: std, loaded: map[string]*loaded{}}
}

func newInfo() *types.Info {
	return &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
}

// Import implements types.Importer. A package from outside the module and the
// standard library is empty: what comes from it has an invalid type, which
// counts as a float.
func (l *loader) Import(name string) (*types.Package, error) {
	if local, ok := strings.CutPrefix(name, module+"/"); ok {
		p, err := l.load(local)
		if err != nil {
			return nil, err
		}
		return p.pkg, nil
	}
	if strings.Contains(strings.Split(name, "/")[0], ".") {
		p := types.NewPackage(name, path.Base(name))
		p.MarkComplete()
		return p, nil
	}
	return l.std.Import(name)
}

func (l *loader) load(pkg string) (*loaded, error) {
	if p := l.loaded[pkg]; p != nil {
		return p, nil
	}
	entries, err := fs.ReadDir(root, pkg)
	if err != nil {
		return nil, err
	}
	p := &loaded{info: newInfo()}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if ok, err := l.ctx.MatchFile(path.Join("../..", pkg), name); err != nil || !ok {
			continue
		}
		src, err := fs.ReadFile(root, path.Join(pkg, name))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(l.fset, name, src, 0)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, f)
	}
	conf := types.Config{Importer: l, Error: func(error) {}}
	p.pkg, _ = conf.Check(module+"/"+pkg, l.fset, p.files, p.info)
	l.loaded[pkg] = p
	return p, nil
}
