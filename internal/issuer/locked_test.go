package issuer_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/issuer"
)

func passphrase(s string) issuer.Unlock { return func(string) (string, error) { return s, nil } }

// TestPassphrase holds that the key stays the same when its passphrase is set,
// changed and removed, and that nobody gets it without.
func TestPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	key, err := issuer.LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"first words", "größer ☂ \"$1$\"", " "} {
		if err := issuer.SetPassphrase(path, key, s); err != nil {
			t.Fatal(err)
		}
		if locked, err := issuer.Locked(path); err != nil || !locked {
			t.Errorf("%q: Locked is %v, %v", s, locked, err)
		}
		if got, err := issuer.LoadKeyWith(path, passphrase(s)); err != nil || !got.Equal(key) {
			t.Errorf("%q: %v", s, err)
		}
		if _, err := issuer.LoadKeyWith(path, passphrase(s+"x")); !errors.Is(err, issuer.ErrPassphrase) {
			t.Errorf("%q: another one gives %v", s, err)
		}
		if _, err := issuer.LoadKey(path); !errors.Is(err, issuer.ErrLocked) || !errors.Is(err, issuer.ErrKey) {
			t.Errorf("%q: without one: %v", s, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || strings.Contains(string(text), string(plain)[20:40]) {
			t.Errorf("%q: the file shows the key, or %v", s, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := issuer.SetPassphrase(path, key, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := issuer.LoadKey(path); err != nil || !got.Equal(key) {
		t.Errorf("without a passphrase again: %v", err)
	}
	for _, s := range []string{"two\nlines", strings.Repeat("x", issuer.MaxPassphrase+1)} {
		if err := issuer.SetPassphrase(path, key, s); err == nil {
			t.Errorf("a passphrase of %d bytes is taken", len(s))
		}
	}
	if locked, err := issuer.Locked(path); err != nil || locked {
		t.Errorf("what was refused locked the key: %v, %v", locked, err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("the folder holds %v, %v", list, err)
	}
}

// TestLockedChanged changes each field of a locked key: it is refused, quickly
// where the file asks for too much.
func TestLockedChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	key, err := issuer.LoadKey(path)
	if err == nil {
		err = issuer.SetPassphrase(path, key, "words")
	}
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int, to string) string {
		fields := strings.Split(strings.TrimSpace(string(good)), "$")
		fields[i] = to
		return strings.Join(fields, "$")
	}
	for name, text := range map[string]string{
		"cheaper":      change(1, "1"),
		"no passes":    change(1, "0"),
		"many passes":  change(1, "4000000000"),
		"much memory":  change(2, "4294967295"),
		"many lanes":   change(3, "256"),
		"short salt":   change(4, "AAAA"),
		"another salt": change(4, "AAAAAAAAAAAAAAAAAAAAAA"),
		"an empty box": change(5, ""),
		"no base64":    change(5, "!"),
		"more":         strings.TrimSpace(string(good)) + "$",
		"a name alone": "aval-node-locked-1$",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := issuer.LoadKeyWith(path, passphrase("words")); !errors.Is(err, issuer.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	no := errors.New("nobody is there")
	if _, err := issuer.LoadKeyWith(path, func(string) (string, error) { return "", no }); !errors.Is(err, no) {
		t.Errorf("nobody to ask: %v", err)
	}
}

func FuzzLocked(f *testing.F) {
	f.Add("1$8$1$AAAAAAAAAAAAAAAAAAAAAA$AAAA")
	f.Add("3$65536$4$$")
	f.Fuzz(func(t *testing.T, s string) {
		// Costs that are allowed are still too dear for a fuzzer.
		if fields := strings.Split(s, "$"); len(fields) > 1 && (len(fields[0]) > 1 || len(fields[1]) > 2) {
			t.Skip()
		}
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte("aval-node-locked-1$"+s), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := issuer.LoadKeyWith(path, passphrase("x")); !errors.Is(err, issuer.ErrKey) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
