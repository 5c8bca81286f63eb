package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/receipt"
)

// TestVerifyFindsModel holds that the model of a receipt is found in the store
// once its fingerprint was computed here, and that a file which is another by
// now is not taken for it.
func TestVerifyFindsModel(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	env := map[string]string{"AVAL_MODELS": filepath.Join(dir, "models"), "AVAL_KEY": filepath.Join(dir, "key")}
	s, err := store.Open(env["AVAL_MODELS"])
	if err != nil {
		t.Fatal(err)
	}
	// A file is remembered only if it did not change just now, and copies are new.
	add := func(name, file string) {
		t.Helper()
		path := testdata.Shared(t, "weights", "stories260K", file)
		m, err := s.Import(t.Context(), name, path, time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		paths, err := s.Paths(m)
		if err != nil {
			t.Fatal(err)
		}
		age(t, paths[0])
	}
	add("story", "stories260K-F16.gguf")
	add("other", "stories260K-f32.gguf")
	file := filepath.Join(dir, "x.aval")
	verify := func() receipt.Verdict {
		t.Helper()
		_, out, said := invoke(t, "", env, "verify", "--json", file)
		var j verifyJSON
		decodeInto(t, out, said, &j)
		return j.Verdict
	}
	if code, _, said := invoke(t, "", env, "run", "--raw", "--max-tokens", "4", "--receipt", file, "story", "One day"); code != exitOK {
		t.Fatal(said)
	}
	if v := verify(); v != receipt.Valid {
		t.Errorf("with the model in the store: %s", v)
	}
	if _, err := s.Remove("story"); err != nil {
		t.Fatal(err)
	}
	if v := verify(); v != receipt.Unverified {
		t.Errorf("after the model was removed: %s", v)
	}
}
