// Package testdata finds the data sets that tests read but that are not part
// of this repository, and runs the second implementations of its texts. Call
// [Shared] or [Second]. It is imported by tests only.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Shared returns the path of a file or folder below the data folder that lies
// beside the repository (../shared from its root), and skips the test when it
// is not there.
func Shared(t testing.TB, elem ...string) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(append([]string{root, "..", "shared"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("test data not here: %v", err)
	}
	return path
}

// Root returns the root folder of the module that the test runs in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", os.ErrNotExist
		}
		dir = parent
	}
}
