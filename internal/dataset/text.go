package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/internal/train"
)

// TextOptions say how text becomes examples.
type TextOptions struct {
	// Tokenizer is the model's.
	Tokenizer *token.Tokenizer
	// Context is the most tokens that an example predicts, [MinContext] to
	// [MaxContext].
	Context int
	// Separator is the text between two documents of a file. Empty means the
	// text of the token that ends a text, if there is one.
	Separator string
	// Threads that tokenize (0: 1); no bit depends on it.
	Threads int
}

func (o *TextOptions) check() error {
	switch {
	case o.Tokenizer == nil:
		return errors.New("dataset: no tokenizer")
	case o.Context < MinContext || o.Context > MaxContext:
		return fmt.Errorf("%w: a context of %d tokens, want %d to %d", ErrData, o.Context, MinContext, MaxContext)
	case o.Threads < 0 || o.Threads > 1<<10:
		return fmt.Errorf("dataset: %d threads", o.Threads)
	}
	return nil
}

// textPiece is how much text is tokenized at once, in bytes.
const textPiece = 1 << 18

// ReadText reads text files as examples of language modelling. Each file is one
// document, or several with the separator between; a document ends with the
// token for that, if there is one. It is cut into windows that do not overlap:
// of Context predicted tokens, less what follows the last line end in the last
// quarter, so that windows begin with lines. A window begins with the token that
// begins a text, if the model wants one, as it is when the model is used; else
// with the last token of the window before.
func ReadText(ctx context.Context, paths []string, o TextOptions) (*Set, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Set{}
	for _, path := range paths {
		text, err := readAll(path)
		if err != nil {
			return nil, err
		}
		if at := badUTF8(text); at >= 0 {
			line := 1 + strings.Count(text[:at], "\n")
			return nil, fileErrorf(path, line, "not UTF-8 text; convert it, or leave it out")
		}
		for _, doc := range o.documents(text) {
			ids, err := o.encode(ctx, doc)
			if err != nil {
				return nil, &FileError{path, 0, err}
			}
			if err := s.addWindows(ids, &o); err != nil {
				return nil, &FileError{path, 0, err}
			}
		}
	}
	return s, nil
}

// readAll reads a file of bounded size.
func readAll(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	if info, err := f.Stat(); err == nil && info.Size() <= MaxFile {
		b.Grow(int(info.Size()))
	}
	n, err := io.Copy(&b, io.LimitReader(f, MaxFile+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if n > MaxFile {
		return "", fileErrorf(path, 0, "more than %d bytes; split the file", MaxFile)
	}
	return b.String(), nil
}

// badUTF8 is the place of the first byte that is no part of a text, or -1.
func badUTF8(s string) int {
	if utf8.ValidString(s) {
		return strings.IndexByte(s, 0)
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
		if r == 0 {
			return i
		}
	}
	return -1
}

// documents splits a file's text. Documents of white space alone are none.
func (o *TextOptions) documents(text string) []string {
	sep := o.Separator
	if sep == "" && o.Tokenizer.EOS() >= 0 {
		sep = o.Tokenizer.Text(o.Tokenizer.EOS())
	}
	docs := []string{text}
	if sep != "" {
		docs = strings.Split(text, sep)
	}
	out := docs[:0]
	for _, d := range docs {
		if strings.TrimSpace(d) != "" {
			out = append(out, d)
		}
	}
	return out
}

// encode tokenizes a document, in pieces on several threads, and ends it.
func (o *TextOptions) encode(ctx context.Context, doc string) ([]int32, error) {
	pieces := cutPieces(doc, textPiece)
	ids := make([][]int32, len(pieces))
	errs := make([]error, len(pieces))
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(max(o.Threads, 1), len(pieces)) {
		wait.Go(func() {
			for i := range next {
				ids[i], errs[i] = o.Tokenizer.Encode(pieces[i], token.EncodeOptions{})
			}
		})
	}
	for i := range pieces {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	var out []int32
	for _, p := range ids {
		out = append(out, p...)
	}
	if eos := o.Tokenizer.EOS(); eos >= 0 {
		out = append(out, eos)
	}
	return out, nil
}

// cutPieces cuts a text where pre-tokenizers do: after a line end that a
// character follows which is not white space, the first one after size bytes.
func cutPieces(text string, size int) []string {
	var out []string
	for len(text) > size {
		at := cutAfter(text, size)
		out = append(out, text[:at])
		text = text[at:]
	}
	if text != "" {
		out = append(out, text)
	}
	return out
}

func cutAfter(text string, at int) int {
	for {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return len(text)
		}
		at += n + 1
		if r, _ := utf8.DecodeRuneInString(text[at:]); at == len(text) || !unicode.IsSpace(r) {
			return at
		}
	}
}

// addWindows cuts the tokens of a document into examples.
func (s *Set) addWindows(ids []int32, o *TextOptions) error {
	tok := o.Tokenizer
	for at := 0; at < len(ids); {
		var window []int32
		if tok.AddsBOS() {
			window = append(make([]int32, 0, o.Context+1), tok.BOS())
		} else if at > 0 {
			window = append(make([]int32, 0, o.Context+1), ids[at-1])
		} else {
			window = append(make([]int32, 0, o.Context+1), ids[0])
			at++
		}
		end := min(at+o.Context, len(ids))
		if end < len(ids) {
			for k := end; k > end-o.Context/4; k-- {
				if piece := tok.Piece(ids[k-1]); len(piece) > 0 && piece[len(piece)-1] == '\n' {
					end = k
					break
				}
			}
		}
		window = append(window, ids[at:end]...)
		at = end
		if err := s.add(train.Example{Tokens: window}); err != nil {
			return err
		}
	}
	return nil
}
