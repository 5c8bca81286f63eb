package exchange

import (
	"context"
	"errors"
	"io"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Reader reads a file of content that is elsewhere, and fetches only the chunks
// that hold what is read; those that were fetched before are read here. With it
// gguf.Parse reads the header of a model and one of its tensors. It is an
// io.ReaderAt.
type Reader struct {
	fetcher *Fetcher
	ctx     context.Context
	root    content.Root
	file    int
	size    int64
	tree    *content.Tree
}

// OpenReader begins to read a file by its path. ctx bounds all that is read.
func (f *Fetcher) OpenReader(ctx context.Context, root content.Root, path string) (*Reader, error) {
	r := &Reader{fetcher: f, ctx: ctx, root: root, file: -1}
	_, err := f.Fetch(ctx, root, func(m *content.Manifest) ([]Range, error) {
		for i, file := range m.Files {
			if file.Path == path {
				r.file, r.size = i, file.Size
				return []Range{{File: i}}, nil // its tree alone
			}
		}
		return nil, rpc.Errorf(rpc.NotFound, "content %s has no file %q", root, path)
	}, nil)
	if err != nil {
		return nil, err
	}
	r.tree, err = f.Sink.Tree(root, r.file)
	return r, err
}

// Size is that of the file, in bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt fetches what is missing and reads.
func (r *Reader) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, rpc.Errorf(rpc.InvalidArgument, "content: read at %d", offset)
	}
	if offset >= r.size {
		return 0, io.EOF
	}
	from, to := r.tree.Cover(offset, int64(len(p)))
	buf := make([]byte, content.MaxChunk)
	done := 0
	for tries := 0; from < to; {
		n, err := r.fetcher.Sink.ReadChunk(r.root, r.file, from, buf)
		if errors.Is(err, ErrMissing) && tries == 0 {
			tries++
			at := r.tree.Offset(from)
			_, err = r.fetcher.Fetch(r.ctx, r.root, func(*content.Manifest) ([]Range, error) {
				return []Range{{r.file, at, r.tree.Offset(to) - at}}, nil
			}, nil)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return done, err
		}
		skip := max(0, offset-r.tree.Offset(from))
		done += copy(p[done:], buf[skip:n])
		from++
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}
