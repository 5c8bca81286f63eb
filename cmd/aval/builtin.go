package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

// builtinSource is what the store says of where the built-in model came from.
const builtinSource = "built into aval"

// builtinName is the built-in model's full name in the store.
const builtinName = models.MiniName + ":Q8_0"

// builtinContext is what the built-in model was trained for. Other models whose
// files name so little are opened with more (trainedFor then bounds the answers
// of "aval run"); this one writes no words there.
const builtinContext = 256

// contextFor is the context to open a model with, if the person asked for want.
func contextFor(name string, want int) int {
	if want == 0 && isBuiltin(name) {
		return builtinContext
	}
	return want
}

// errUnpack says that the store cannot take the built-in model.
var errUnpack = errors.New("unpacking the built-in model")

// isBuiltin says whether a name means the built-in model.
func isBuiltin(name string) bool {
	return strings.EqualFold(name, models.MiniName) || strings.EqualFold(name, builtinName)
}

// builtinRoot is the built-in model's fingerprint, as it lies in the program.
func builtinRoot(ctx context.Context) receipt.Hash {
	data := models.Mini()
	f, err := gguf.Parse(strings.NewReader(data), int64(len(data)))
	if err != nil {
		panic(fmt.Sprintf("aval: the built-in model: %v", err))
	}
	t, err := fingerprint.Of(ctx, f, 0)
	if err != nil {
		return receipt.Hash{} // ctx has ended
	}
	return t.Root()
}

// unpackBuiltin puts the built-in model into the store, if the store does not
// have this program's one: everything that works with a model needs a file.
func unpackBuiltin(s *store.Store) (store.Model, error) {
	data := models.Mini()
	sum := sha256.Sum256([]byte(data))
	want := store.File{Path: models.MiniName + ".gguf", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data))}
	m, err := s.Get(builtinName)
	switch {
	case err == nil && m.Files[0].SHA256 == want.SHA256:
		return m, nil
	case err == nil && m.Source != builtinSource:
		return store.Model{}, fmt.Errorf(`the store has another model named %s, which is the name of the built-in one; remove it with "aval rm %s"`, m.Name, m.Name)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return store.Model{}, err
	}
	staged, err := s.Put(context.Background(), strings.NewReader(data), want)
	if err != nil {
		return store.Model{}, fmt.Errorf("%w: %w", errUnpack, err)
	}
	defer staged.Close()
	m, err = s.Commit(store.Model{
		Name: builtinName, Source: builtinSource, Created: time.Now(), Files: []store.File{want},
	}, staged)
	if err != nil {
		return store.Model{}, fmt.Errorf("%w: %w", errUnpack, err)
	}
	return m, nil
}

// locateBuiltin finds the built-in model in the store or, where there can be no
// store, such as for a service without a home, in a file for this command alone.
func (a *app) locateBuiltin() (located, error) {
	s, err := a.openStore()
	if err == nil {
		var m store.Model
		if m, err = unpackBuiltin(s); err == nil {
			return fromStore(s, m)
		}
		if !errors.Is(err, errUnpack) {
			return located{}, err
		}
	}
	a.note("aval: the built-in model is used without a store: %v", err)
	dir, err := os.MkdirTemp("", "aval-mini-*")
	if err != nil {
		return located{}, fmt.Errorf("%w: %w", errUnpack, err)
	}
	a.temporary = append(a.temporary, dir)
	path := filepath.Join(dir, models.MiniName+".gguf")
	if err := os.WriteFile(path, []byte(models.Mini()), 0o600); err != nil {
		return located{}, fmt.Errorf("%w: %w", errUnpack, err)
	}
	return located{name: builtinName, path: path}, nil
}
