package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/avalnetwork/aval/internal/store"
)

var (
	errNoModel  = errors.New("no such model")
	errBadModel = errors.New("the model cannot be used")
)

// storeRoot is the folder of the model store.
func (a *app) storeRoot() (string, error) {
	if dir := a.getenv("AVAL_MODELS"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where is the model store? set AVAL_MODELS to a folder (%w)", err)
	}
	return filepath.Join(home, ".aval", "models"), nil
}

func (a *app) openStore() (*store.Store, error) {
	root, err := a.storeRoot()
	if err != nil {
		return nil, err
	}
	s, err := store.Open(root)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; set AVAL_MODELS to a folder that you may write to", err)
	}
	return s, err
}

// located is a model on this machine.
type located struct {
	name string // as to be shown
	path string // of the file, or of the first part
}

// locate finds what MODEL means. It never downloads.
func (a *app) locate(model string) (located, error) {
	if model == "" {
		return located{}, usageErrorf("the name of the model is empty")
	}
	info, statErr := os.Stat(model)
	if statErr == nil && !info.IsDir() {
		return located{name: filepath.Base(model), path: model}, nil
	}
	if looksLikePath(model) {
		if statErr == nil {
			return located{}, fmt.Errorf("%w: %s is a folder; name a GGUF file in it", errNoModel, model)
		}
		return located{}, fmt.Errorf("%w: there is no file %s", errNoModel, model)
	}
	if isBuiltin(model) {
		return a.locateBuiltin()
	}
	s, err := a.openStore()
	if err != nil {
		return located{}, err
	}
	m, err := s.Get(model)
	switch {
	case errors.Is(err, store.ErrNotFound):
		hint := `see "aval list", or fetch one with "aval pull hf.co/user/repo:quant"`
		if strings.Count(model, "/") == 2 {
			hint = fmt.Sprintf(`fetch it with "aval pull %s"`, model)
		}
		return located{}, fmt.Errorf("%w: %w: %s", err, errNoModel, hint)
	case err != nil:
		return located{}, err
	}
	return fromStore(s, m)
}

func fromStore(s *store.Store, m store.Model) (located, error) {
	paths, err := s.Paths(m)
	if err != nil {
		return located{}, err
	}
	return located{name: m.Name, path: paths[0]}, nil
}

// looksLikePath tells paths from names of the store.
func looksLikePath(model string) bool {
	return filepath.IsAbs(model) || strings.HasPrefix(model, ".") || strings.HasPrefix(model, "~") ||
		strings.EqualFold(filepath.Ext(model), ".gguf") || strings.ContainsRune(model, '\\')
}
