package model

import (
	"fmt"
	"strings"
)

// architecture is one family of models.
type architecture struct {
	name string
	// configure sets what differs from the defaults of the metadata.
	configure func(c *config, r *reader)
	// tensors loads what a layer has.
	tensors func(l *loader, i int) layer
	// layer is the forward pass of one layer.
	layer func(p *pass, l *layer)
}

// architectures is the table of all families, by general.architecture.
var architectures = []architecture{
	{"llama", configureLlama, llamaTensors, llamaLayer},
	{"smollm3", configureSmolLM3, llamaTensors, llamaLayer},
	{"qwen2", configureQwen, llamaTensors, llamaLayer},
	{"qwen3", configureQwen, qwen3Tensors, qwen3Layer},
	{"gemma2", configureGemma2, gemma2Tensors, gemma2Layer},
	{"gemma3", configureGemma3, gemma3Tensors, gemma3Layer},
	{"phi3", configurePhi3, phi3Tensors, llamaLayer},
}

// Architectures returns the names of the families that can be computed.
func Architectures() []string {
	var names []string
	for _, a := range architectures {
		names = append(names, a.name)
	}
	return names
}

// UnknownArchitectureError says that a file's family is not one of
// [Architectures].
type UnknownArchitectureError struct{ Arch string }

func (e *UnknownArchitectureError) Error() string {
	return fmt.Sprintf("architecture %q is not known; known are %s", e.Arch, strings.Join(Architectures(), ", "))
}

func architectureOf(name string) (*architecture, error) {
	for i := range architectures {
		if architectures[i].name == name {
			return &architectures[i], nil
		}
	}
	return nil, &UnknownArchitectureError{name}
}
