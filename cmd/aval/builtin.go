package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/models"
)

// builtinSource is what the store says of where the built-in model came from.
const builtinSource = "built into aval"

// builtinName is the built-in model's full name in the store.
const builtinName = models.MiniName + ":Q8_0"

// isBuiltin says whether a name means the built-in model.
func isBuiltin(name string) bool {
	return strings.EqualFold(name, models.MiniName) || strings.EqualFold(name, builtinName)
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
		return store.Model{}, fmt.Errorf("unpacking the built-in model: %w", err)
	}
	defer staged.Close()
	m, err = s.Commit(store.Model{
		Name: builtinName, Source: builtinSource, Created: time.Now(), Files: []store.File{want},
	}, staged)
	if err != nil {
		return store.Model{}, fmt.Errorf("unpacking the built-in model: %w", err)
	}
	return m, nil
}
