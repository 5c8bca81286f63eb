package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

// maxInput bounds a text that is read: a prompt, a grammar, a text to measure.
const maxInput = 64 << 20

// readText reads all of a text. It gives up when ctx ends, though the reading
// may not: a terminal or a pipe can stay silent for ever.
func readText(ctx context.Context, from io.Reader, what string) ([]byte, error) {
	return readFrom(ctx, what, maxInput, func() (io.ReadCloser, error) { return io.NopCloser(from), nil })
}

// readFile is readText of a file, which may be a pipe, whose opening waits too.
func readFile(ctx context.Context, path string) ([]byte, error) {
	return readBounded(ctx, path, maxInput)
}

// readBounded is readFile with another bound.
func readBounded(ctx context.Context, path string, limit int64) ([]byte, error) {
	return readFrom(ctx, path, limit, func() (io.ReadCloser, error) { return os.Open(path) })
}

func readFrom(ctx context.Context, what string, limit int64, open func() (io.ReadCloser, error)) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		from, err := open()
		if err != nil {
			done <- result{err: err}
			return
		}
		defer from.Close()
		text, err := io.ReadAll(io.LimitReader(from, limit+1))
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", what, r.err)
		}
		if int64(len(r.text)) > limit {
			return nil, usageErrorf("%s has more than %d bytes, which is the limit", what, limit)
		}
		return r.text, nil
	}
}
