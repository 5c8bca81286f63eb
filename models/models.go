// Package models carries the model that is built into the program, so that
// there is something to run on a machine that has nothing else and no network.
//
// Call [Mini]. The recipe it was trained by, the log of that training and what
// the model is and is not stand beside it, in models/mini. The package reads no
// files and knows nothing of how a model is run.
package models

import _ "embed"

//go:embed mini/mini.gguf
var mini string

// MiniName is the name by which the model is known.
const MiniName = "aval-mini"

// Mini returns the built-in language model as the bytes of a GGUF file: a llama
// of a few million parameters in Q8_0, trained from scratch on public-domain
// English prose by this project's own code. It continues a text; it neither
// chats nor knows anything.
func Mini() string { return mini }
