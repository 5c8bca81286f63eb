package issuer_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/internal/issuer"
)

// TestLoadKey holds that a key is made once, however many ask for it first,
// that it stays, and that only its owner may use the file and its new folder.
func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "node.key")
	keys := make([]ed25519.PrivateKey, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = issuer.LoadKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if !k.Equal(keys[0]) {
			t.Fatal("two keys were made")
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", p, info.Mode(), err, want)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("the folder holds %v, %v", files, err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := issuer.LoadKey(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "1", "7", 1)
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		says       string
	}{
		{"shared", string(text), 0o640, "chmod 600"},
		{"readable", string(text), 0o604, "chmod 600"},
		{"empty", "", 0o600, "empty"},
		{"changed", changed, 0o600, "changed"},
		{"long", strings.Repeat("a", 1<<20), 0o600, "long"},
	} {
		if c.mode != 0o600 && runtime.GOOS == "windows" {
			continue
		}
		path := filepath.Join(dir, c.name)
		if err := errors.Join(os.WriteFile(path, []byte(c.text), 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, err := issuer.LoadKey(path)
		if !errors.Is(err, issuer.ErrKey) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it refused with %q", c.name, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimSpace(string(text))[20:30]) {
			t.Errorf("%s: the error shows the key: %v", c.name, err)
		}
	}
	if _, err := issuer.LoadKey(dir); !errors.Is(err, issuer.ErrKey) {
		t.Errorf("a folder: %v", err)
	}
}
