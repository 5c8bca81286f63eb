package issuer

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/avalnetwork/aval/receipt"
)

// maxKeyFile bounds the file of a key; one has about 80 bytes.
const maxKeyFile = 4 << 10

// ErrKey marks a file that holds no key, or one that others can read.
var ErrKey = errors.New("the key of this node cannot be used")

// LoadKey reads the node's key from a file, and makes one first if there is no
// file. Two processes that do so at the same time get the same key. A file that
// others can read is refused: whoever has the key can sign in the node's name.
// Errors never show what is in the file. A key with a passphrase needs
// LoadKeyWith.
func LoadKey(path string) (ed25519.PrivateKey, error) { return LoadKeyWith(path, nil) }

// loadText reads the file of a key, and makes it first if there is none.
func loadText(path string) (string, error) {
	text, err := readText(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", fmt.Errorf("issuer: make a key: %w", err)
	}
	if err := CreatePrivate(path, receipt.FormatNodeSecret(key)+"\n"); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("issuer: make the key %s: %w", path, err)
	}
	return readText(path) // another process may have been faster
}

func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("issuer: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("issuer: %w", err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: %s is not a regular file", ErrKey, path)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows": // which has no such bits
		return "", fmt.Errorf("%w: others may use %s (mode %04o): run \"chmod 600 %s\", or, if they may have read it, remove it to get a new key",
			ErrKey, path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", fmt.Errorf("issuer: %s: %w", path, err)
	}
	return string(text), nil
}

func parseSecret(path, text string) (ed25519.PrivateKey, error) {
	key, err := receipt.ParseNodeSecret(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, path, err)
	}
	return key, nil
}

// CreatePrivate makes a file that only its owner may use, in a folder of the
// same kind if there is none yet. The file is there whole or not at all, and is
// never replaced.
func CreatePrivate(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writePrivate(path, text, os.Link) // unlike Rename it does not replace
}

// writePrivate writes a file that only its owner may use beside path, and has it
// put there when it is whole.
func writePrivate(path, text string, put func(from, to string) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return put(tmp.Name(), path)
}
