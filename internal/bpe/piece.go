package bpe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/token"
)

// flushAt is how many different words a worker counts before it hands them on.
const flushAt = 1 << 15

// Add counts the words of a text, which name stands for in errors. It tells
// progress, which may be nil, how many bytes it has read; progress is called
// from the caller's goroutine. The text must be UTF-8; the error says where it
// is not. An error leaves the trainer with a part of the text.
func (t *Trainer) Add(ctx context.Context, name string, r io.Reader, progress func(read int64)) error {
	pieces := make(chan string, t.opt.Threads)
	var (
		wait sync.WaitGroup
		lock sync.Mutex
		full error
	)
	for range t.opt.Threads {
		wait.Go(func() {
			c := newCounter(t.opt.Pre, t.special)
			flush := func() {
				lock.Lock()
				defer lock.Unlock()
				if err := t.take(c.words); err != nil && full == nil {
					full = fmt.Errorf("%s: %w", name, err)
				}
				clear(c.words)
			}
			for p := range pieces {
				c.count(p)
				if len(c.words) > flushAt {
					flush()
				}
			}
			flush()
		})
	}
	failed := func() bool {
		lock.Lock()
		defer lock.Unlock()
		return full != nil
	}
	p := cutter{name: name, from: r}
	err := func() error {
		defer close(pieces)
		for !failed() {
			if err := ctx.Err(); err != nil {
				return err
			}
			piece, err := p.next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			pieces <- piece
			t.bytes += int64(len(piece))
			if progress != nil {
				progress(p.offset)
			}
		}
		return nil
	}()
	wait.Wait()
	return errors.Join(err, full)
}

// take adds counts to those of all texts.
func (t *Trainer) take(words map[string]int64) error {
	for w, n := range words {
		if _, ok := t.words[w]; !ok {
			t.letters += int64(len(w))
		}
		t.words[w] += n
	}
	if len(t.words) > maxWords || t.letters > maxLetters {
		return fmt.Errorf("%w: more than %d different words, or %d bytes in them; learn from a part of the text", ErrText, maxWords, maxLetters)
	}
	return nil
}

// cutter cuts a stream into pieces that do not depend on how it arrives: 1 MiB,
// less what follows the last line end, or if there is none, what follows the
// last whole character.
type cutter struct {
	name   string
	from   io.Reader
	offset int64 // of what was returned
	rest   []byte
	ended  bool
}

// next returns io.EOF at the end.
func (c *cutter) next() (string, error) {
	buf := make([]byte, pieceSize)
	n := copy(buf, c.rest)
	for n < len(buf) && !c.ended {
		m, err := c.from.Read(buf[n:])
		n += m
		if errors.Is(err, io.EOF) {
			c.ended = true
		} else if err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if n == 0 {
		return "", io.EOF
	}
	cut := n
	if n == len(buf) {
		if cut = bytes.LastIndexByte(buf, '\n') + 1; cut == 0 {
			for cut = n - 1; cut > n-utf8.UTFMax && !utf8.RuneStart(buf[cut]); cut-- {
			}
		}
	}
	c.rest = append(c.rest[:0], buf[cut:n]...)
	piece := buf[:cut]
	if at := badText(piece); at >= 0 {
		return "", fmt.Errorf("%w: %s is not UTF-8 text at byte %d; convert it, or leave it out", ErrText, c.name, c.offset+int64(at))
	}
	c.offset += int64(cut)
	return string(piece), nil
}

// badText is the place of the first byte that is no part of a text, or -1.
func badText(b []byte) int {
	if utf8.Valid(b) {
		return bytes.IndexByte(b, 0)
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || r == 0 {
			return i
		}
		i += n
	}
	return -1
}

// counter counts the words of pieces.
type counter struct {
	split   *token.Splitter
	special []string
	words   map[string]int64
}

func newCounter(pre string, special []string) *counter {
	s, err := token.NewSplitter(pre)
	if err != nil {
		panic("bpe: internal error: " + err.Error()) // NewTrainer has tried
	}
	return &counter{split: s, special: special, words: map[string]int64{}}
}

// count adds the words of a piece, without special tokens.
func (c *counter) count(piece string) {
	for _, s := range c.special {
		if before, after, ok := strings.Cut(piece, s); ok {
			c.count(before)
			c.count(after)
			return
		}
	}
	c.split.Words(piece, func(w string) {
		for len(w) > maxWord {
			cut := maxWord
			for !utf8.RuneStart(w[cut]) {
				cut--
			}
			c.add(w[:cut])
			w = w[cut:]
		}
		c.add(w)
	})
}

func (c *counter) add(w string) {
	n, ok := c.words[w]
	if !ok {
		w = strings.Clone(w) // do not keep the whole piece
	}
	c.words[w] = n + 1
}
