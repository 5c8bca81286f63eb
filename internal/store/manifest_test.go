package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/store"
	"github.com/google/go-cmp/cmp"
)

var hashA, hashB = strings.Repeat("ab", 32), strings.Repeat("01", 32)

func goodModel() store.Model {
	return store.Model{
		Name: "hf.co/u/r:Q8_0", Source: "https://huggingface.co/u/r", Created: time.Unix(1e9, 0).UTC(),
		Files: []store.File{{Path: "m-00001-of-00002.gguf", SHA256: hashA, Size: 7}, {Path: "m-00002-of-00002.gguf", SHA256: hashB}},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	data, err := goodModel().Manifest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(goodModel(), got); d != "" {
		t.Error(d)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	data, err := goodModel().Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ from, to, why string }{
		{"\n}\n", "", "unexpected EOF"},
		{"\n}\n", "\n} {}", "bytes follow"},
		{"aval-model/v1", "aval-model/v2", "this program knows"},
		{`"name"`, `"nom"`, "unknown field"},
		{"hf.co/u/r:Q8_0", "hf.co/u/..:Q8_0", "two dots"},
		{"hf.co/u/r:Q8_0", "hf.co/u/r", "stored form"},
		{"hf.co/u/r:Q8_0", "huggingface.co/u/r:Q8_0", "stored form"},
		{"https://", "a\\nb", "control"},
		{"2001-09-09T", "2001-09-99T", "created"},
		{"m-00002-of-00002.gguf", "m-00001-of-00002.GGUF", "twice"},
		{"m-00002-of-00002.gguf", "../x", "not allowed"},
		{"m-00002-of-00002.gguf", "..", "not a file name"},
		{"m-00002-of-00002.gguf", "a\\\\b", "not allowed"},
		{"m-00002-of-00002.gguf", "nul", "device"},
		{"m-00002-of-00002.gguf", "a.", "not portable"},
		{hashB, strings.ToUpper(hashA), "hex"},
		{hashB, hashB[1:], "hex"},
		{`"size": 7`, `"size": -7`, "out of range"},
		{`"size": 7`, `"size": 7.5`, "number 7.5"},
		{`"size": 7`, `"size": 9e18`, "number 9e18"},
	} {
		in := strings.Replace(string(data), tc.from, tc.to, 1)
		if in == string(data) {
			t.Fatalf("%q does not occur", tc.from)
		}
		if _, err := store.ParseManifest([]byte(in)); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%q for %q: %v; want an error saying %q", tc.to, tc.from, err, tc.why)
		}
	}
	if _, err := store.ParseManifest(make([]byte, 5<<20)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("huge manifest: %v", err)
	}
	if _, err := store.ParseManifest([]byte(`{"format":"aval-model/v1","name":"a:b","created":"2001-09-09T00:00:00Z"}`)); err == nil {
		t.Error("a model without files was accepted")
	}
}

func FuzzParseManifest(f *testing.F) {
	data, err := goodModel().Manifest()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"format":"aval-model/v1","name":"a:b","created":"2001-09-09T00:00:00Z","files":[{"path":"x","sha256":"` + hashA + `","size":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := store.ParseManifest(data)
		if err != nil {
			return
		}
		out, err := m.Manifest()
		if err != nil {
			t.Fatalf("accepted but cannot be written: %v", err)
		}
		again, err := store.ParseManifest(out)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again, cmp.Comparer(func(a, b time.Time) bool { return a.Unix() == b.Unix() })); d != "" {
			t.Fatal(d)
		}
	})
}
