package lint_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the architecture, lowest floor first. A package may import only
// packages of a lower floor. ARCHITECTURE.md explains each one.
var floors = [][]string{
	{
		"internal/canon",
		"internal/chart",
		"internal/cpu",
		"internal/lint",
		"internal/pool",
		"internal/testdata",
		"models",
		"spec/vectors",
	},
	{
		"gguf",
		"internal/beacon",
		"internal/eeg",
		"internal/kernel",
		"internal/ledger/tree",
		"internal/metrics",
		"internal/receiptlog",
		"internal/trace",
		"receipt",
	},
	{
		"internal/adapter",
		"internal/chat/jinja",
		"internal/eeg/signal",
		"internal/exhibit",
		"internal/fingerprint",
		"internal/grammar",
		"internal/light",
		"internal/payment",
		"internal/peer",
		"internal/quant",
		"internal/tensor",
		"internal/token",
		"receipt/training",
	},
	{
		"internal/adapter/merge",
		"internal/bpe",
		"internal/chat",
		"internal/content",
		"internal/crdt",
		"internal/model",
		"internal/rpc",
		"internal/rpc/wire",
		"internal/sample",
		"internal/testmodel",
		"internal/train",
	},
	{
		"internal/access",
		"internal/content/exchange",
		"internal/dataset",
		"internal/engine",
		"internal/operation",
		"internal/private",
		"internal/receiptlog/service",
		"internal/rpc/memory",
		"internal/rpc/probe",
		"internal/train/lm",
		"internal/train/net",
		"internal/train/record",
	},
	{
		"internal/audit",
		"internal/audit/dispute",
		"internal/crdt/replica",
		"internal/eeg/decode",
		"internal/issuer",
		"internal/mesh/doctor",
		"internal/mesh/portmap",
		"internal/store",
	},
	{
		"anchor",
		"internal/admin",
		"internal/audit/replay",
		"internal/audit/rerun",
		"internal/content/library",
		"internal/directory",
		"internal/httpapi",
		"internal/hub",
		"internal/ledger",
		"internal/mesh",
		"internal/mesh/sim",
		"internal/node/control",
		"internal/receiptlog/archive",
		"internal/remote",
		"internal/report",
		"internal/store/errfs",
		"internal/train/run",
		"models/eeg",
		"web/verify",
	},
	{
		".",
		"anchor/referee",
		"internal/bench",
		"internal/consensus",
		"internal/demo",
		"internal/httpapi/fake",
		"internal/keeper",
		"internal/wallet",
		"internal/web",
	},
	{
		"anchor/cmd/aval-anchor",
		"internal/node",
	},
	{
		"cmd/aval",
		"models/eeg/train",
		"web/verify/build",
		"web/verify/wasm",
	},
}

// owners names the one package that may import each heavy dependency; what is
// in its folder belongs to it.
var owners = map[string]string{
	"github.com/nikolalohinski/gonja": "nobody", // internal/chat/jinja says why
	"github.com/spf13":                "cmd/aval",
	"go.yaml.in/yaml":                 "internal/train/run",
	"github.com/schollz/progressbar":  "cmd/aval",
	"golang.org/x/term":               "cmd/aval",
	"github.com/prometheus":           "internal/metrics",
	"golang.org/x/text":               "internal/token",
	"github.com/fxamacker/cbor":       "internal/canon",
	"github.com/go-analyze/charts":    "internal/chart",
	"github.com/veraison/go-cose":     "receipt",
	"github.com/openai/openai-go":     "tests only",
	"pgregory.net/rapid":              "tests only",
	"github.com/rogpeppe/go-internal": "tests only",
	"github.com/google/go-cmp":        "tests only",
	"net/http/httptest":               "tests only",
	module + "/internal/testdata":     "tests only",
	module + "/internal/testmodel":    "tests only",
	module + "/internal/store/errfs":  "tests only",
	module + "/internal/httpapi/fake": "tests only",
	"testing":                         "internal/testdata",
	"github.com/mr-tron/base58":       "internal/peer",
	"github.com/libp2p":               "internal/mesh",
	"github.com/multiformats":         "internal/mesh",
	"go.uber.org/fx":                  "internal/mesh",
	"github.com/ipfs":                 "internal/mesh",
	"storj.io/drpc":                   "internal/rpc",
	"google.golang.org/protobuf":      "internal/rpc",
	"golang.org/x/time":               "internal/rpc",
	"golang.org/x/mod":                "internal/receiptlog",
	"github.com/klauspost/compress":   "internal/rpc",
	"github.com/cometbft":             "internal/consensus",
	"github.com/cosmos":               "internal/consensus",
	"github.com/syndtr/goleveldb":     "internal/consensus",
	"github.com/consensys":            "internal/beacon",
	"github.com/ethereum":             "anchor",
}

// publicPackages may import only the standard library and what begins
// with one of these.
var publicPackages = map[string][]string{
	"gguf":         {"golang.org/x/sys/"},
	"spec/vectors": nil,
	"receipt":      {"golang.org/x/crypto/", "github.com/veraison/go-cose", module + "/internal/canon"},

	"receipt/training": {module + "/receipt", module + "/internal/canon"},
}

// TestFloors parses the sources itself, rather than asking go list, so that
// the test cache sees what it reads.
func TestFloors(t *testing.T) {
	floor := map[string]int{}
	for i, pkgs := range floors {
		for _, p := range pkgs {
			floor[p] = i
		}
	}
	walkGo(t, func(name, pkg string, src []byte) {
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		own, ok := floor[pkg]
		if !ok {
			t.Errorf("%s has no floor: add it to floors and to ARCHITECTURE.md", pkg)
			floor[pkg] = len(floors)
			own = floor[pkg]
		}
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			local := strings.TrimPrefix(imp, module+"/")
			if imp == module {
				local = "."
			}
			if fl, ok := floor[local]; ok && fl >= own {
				t.Errorf("%s (floor %d) imports %s (floor %d)", name, own, local, fl)
			}
			checkOwner(t, name, pkg, imp)
		}
	})
}

func checkOwner(t *testing.T, name, pkg, imp string) {
	t.Helper()
	for prefix, owner := range owners {
		if (imp == prefix || strings.HasPrefix(imp, prefix+"/")) && pkg != owner && !strings.HasPrefix(pkg, owner+"/") {
			t.Errorf("%s imports %s; allowed: %s", name, imp, owner)
		}
	}
	allowed, public := publicPackages[pkg]
	outside := strings.Contains(strings.Split(imp, "/")[0], ".")
	if public && outside && !slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(imp, p) }) {
		t.Errorf("%s imports %s; %s is public and may use the standard library and %v only", name, imp, pkg, allowed)
	}
}

// TestArchitectureShowsPackages holds ARCHITECTURE.md to the packages that
// exist, and to only those.
func TestArchitectureShowsPackages(t *testing.T) {
	doc, err := fs.ReadFile(root, "ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	walkGo(t, func(_, pkg string, _ []byte) { exists[pkg] = true })
	for _, pkgs := range floors {
		for _, p := range pkgs {
			switch named := strings.Contains(string(doc), "`"+p+"`"); {
			case p == ".":
			case exists[p] && !named:
				t.Errorf("ARCHITECTURE.md does not name `%s`", p)
			case !exists[p]:
				t.Errorf("floors lists %s, which does not exist", p)
			}
		}
	}
}
