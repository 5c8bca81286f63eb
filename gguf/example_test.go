package gguf_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/avalnetwork/aval/gguf"
)

// A file is written in order: metadata, the tensors' names, types and
// shapes, then their data.
func ExampleNewWriter() {
	var file bytes.Buffer
	w := gguf.NewWriter(&file)
	for _, err := range []error{
		w.Set("general.architecture", gguf.ValueOf("llama")),
		w.Set("llama.block_count", gguf.ValueOf(uint32(1))),
		w.Set("tokenizer.ggml.tokens", gguf.ArrayOf([]string{"<s>", "a"})),
		w.Declare("output_norm.weight", gguf.F32, 4),
		w.WriteTensor("output_norm.weight", make([]byte, 16)),
		w.Close(),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(file.Len(), "bytes")
	// Output: 256 bytes
}

// Create puts a file in place when it is complete; Open maps it.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "gguf")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tiny.gguf")

	w, err := gguf.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	for _, err := range []error{
		w.Set("general.architecture", gguf.ValueOf("llama")),
		w.Declare("output_norm.weight", gguf.F16, 2),
		w.WriteTensor("output_norm.weight", []byte{0, 0x3c, 0, 0x40}),
		w.Close(),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}

	f, err := gguf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	arch, _ := f.String("general.architecture")
	fmt.Println(arch, f.Data(f.Tensor("output_norm.weight")))
	// Output: llama [0 60 0 64]
}

// Parse reads a header from anything that can be read at an offset.
func ExampleParse() {
	var file bytes.Buffer
	w := gguf.NewWriter(&file)
	for _, err := range []error{
		w.Set("general.name", gguf.ValueOf("tiny")),
		w.Set("tokenizer.ggml.scores", gguf.ArrayOf([]float32{0, -1, -2})),
		w.Declare("token_embd.weight", gguf.Q8_0, 64, 2),
		w.WriteTensor("token_embd.weight", make([]byte, 2*2*34)),
		w.Close(),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}

	f, err := gguf.Parse(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	for _, key := range f.Keys() {
		v, _ := f.Value(key)
		fmt.Println(key, "=", v)
	}
	for _, t := range f.Tensors() {
		fmt.Println(t.Name, t.Type, t.Shape, t.Rows(), "rows of", t.RowSize(), "bytes")
	}
	// Output:
	// general.name = "tiny"
	// tokenizer.ggml.scores = float32[3]{0, -1, -2}
	// token_embd.weight Q8_0 [64 2] 2 rows of 68 bytes
}

// Errors say which check failed, where, and what to do.
func ExampleParseError() {
	b := []byte("GGUF\x01\x00\x00\x00")
	_, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	fmt.Println(err)
	// Output: gguf: header (byte 4): version 1 is not supported, only 2 and 3 are; convert the model again with a current tool
}
