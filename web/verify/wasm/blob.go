//go:build js && wasm

package main

import (
	"fmt"
	"io"
	"syscall/js"
)

// window is how much of a file is read at once: the browser asks another
// process for each piece.
const window = 1 << 20

// blob is a file that a person gave to the page. It is read piece by piece, so
// that a model need not be in memory twice.
type blob struct {
	file  js.Value
	piece []byte // what was read last, at offset at
	at    int64
	// progress, if not nil, is told how far a piece reaches.
	progress func(done, all int64)
}

func (b *blob) size() int64 { return int64(b.file.Get("size").Float()) }

// ReadAt is an io.ReaderAt.
func (b *blob) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= b.size() {
			return n, io.EOF
		}
		if off < b.at || off >= b.at+int64(len(b.piece)) {
			if b.piece, err = b.read(off, min(off+window, b.size())); err != nil {
				return n, err
			}
			b.at = off
			if b.progress != nil {
				b.progress(off+int64(len(b.piece)), b.size())
			}
		}
		k := copy(p[n:], b.piece[off-b.at:])
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// all reads the whole file.
func (b *blob) all(limit int64) ([]byte, error) {
	if n := b.size(); n > limit {
		return nil, fmt.Errorf("%d bytes, want at most %d", n, limit)
	}
	return b.read(0, b.size())
}

// read reads a part of the file. Browsers refuse it if the file was changed
// since the person chose it.
func (b *blob) read(from, to int64) (data []byte, err error) {
	defer func() {
		if e, ok := recover().(js.Error); ok {
			err = fmt.Errorf("the browser cannot read the file: %s", e.Get("message"))
		}
	}()
	reader := js.Global().Get("FileReaderSync").New()
	buffer := reader.Call("readAsArrayBuffer", b.file.Call("slice", from, to))
	data = make([]byte, to-from)
	if n := js.CopyBytesToGo(data, js.Global().Get("Uint8Array").New(buffer)); n != len(data) {
		return nil, fmt.Errorf("the browser gave %d bytes of the file, want %d", n, len(data))
	}
	return data, nil
}
