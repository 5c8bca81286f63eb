package httpapi_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/avalnetwork/aval/internal/httpapi"
)

// FuzzDecode feeds bodies to every decoder. Whatever they hold, they are taken,
// or refused with an error that blames the client.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, pair := range txtar.Parse(src).Files {
			if _, body, ok := cutBody(pair); ok {
				f.Add(body)
			}
		}
	}
	f.Add([]byte(`{"model":"m","prompt":[[1,2],"x"],"keep_alive":1e300,"stop":[""],"logit_bias":{"1":1e39}}`))
	f.Add([]byte(`{"messages":[{"role":"tool","content":[null,{"type":"text"}]}],"tools":[null,{}],"tool_choice":{"type":"function"}}`))
	f.Add([]byte(`{"messages":[{"role":"user","content":5}],"keep_alive":"-1","think":[],"format":[],"n":-5,"seed":1.5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := httpapi.DecodeAndConvert(body); err != nil {
			t.Error(err)
		}
	})
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:80": "localhost", "LOCALHOST.": "localhost", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1",
		"127.0.0.1": "127.0.0.1", "a.b:1:2": "a.b:1:2", "": "",
	} {
		if got := httpapi.HostName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestUnit(t *testing.T) {
	for _, v := range [][]float32{{3, 4}, {1e20, -1e20}, {1e-30, 1e-30, 1e-30}, {-2}} {
		sum := 0.0
		for _, x := range httpapi.Unit(v) {
			sum += float64(x) * float64(x)
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Errorf("%v: squared length %v", v, sum)
		}
	}
	if got := httpapi.Unit([]float32{0, 0}); got[0] != 0 || got[1] != 0 {
		t.Errorf("zero vector: %v", got)
	}
}
