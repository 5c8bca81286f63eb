package engine

import (
	"errors"
	"io/fs"
)

// ErrNoDefault says that this build carries no model of its own.
var ErrNoDefault = errors.New("engine: this build carries no model: name a GGUF file, a model of the store (\"aval list\"), or hf.co/user/repo")

// embedded holds the model that is built into the program, as the file
// "default.gguf". It is nil until the project has trained one; an embed.FS
// goes here.
var embedded fs.FS

// Default returns a file system with the built-in model "default.gguf", or
// ErrNoDefault.
func Default() (fs.FS, error) {
	if embedded == nil {
		return nil, ErrNoDefault
	}
	return embedded, nil
}
