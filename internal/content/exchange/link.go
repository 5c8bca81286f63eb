package exchange

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// frameTime bounds how long one answer may take, however steadily it comes.
const frameTime = 5 * time.Minute

// link is a stream on which content of one root is asked for.
type link struct {
	rpc.Stream
	stop     func() bool
	root     content.Root
	complete bool // the peer has all of it
	by       time.Time
	until    time.Time // the deadline of reading that is set
}

// dial opens a stream for content and waits until the peer allows it. ctx ends
// the stream, too.
func (f *Fetcher) dial(ctx context.Context, to peer.ID, want wanted) (*link, error) {
	var tokens [][]byte
	if f.Tokens != nil {
		tokens = f.Tokens(to)
	}
	first, err := marshalOpen(want, tokens)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	st, err := f.Network.Open(limited, to, Protocol, rpc.Bulk)
	if err != nil {
		return nil, err
	}
	l := &link{Stream: st, stop: context.AfterFunc(ctx, func() { _ = st.Reset() })}
	werr := l.write(appendFrame(nil, frameOpen, first))
	answer, err := l.read(answerOpen, nil)
	var told *rpc.Error
	if werr != nil && !errors.As(err, &told) { // a peer that refuses may not read what is written
		err = werr
	}
	if err == nil {
		err = l.opened(answer, want)
	}
	if err != nil {
		l.end()
		return nil, f.plain(ctx, err)
	}
	return l, nil
}

func (l *link) opened(answer []byte, want wanted) error {
	if len(answer) != 1+len(l.root) || answer[0] > 1 {
		return protocolError("the first answer has %d bytes", len(answer))
	}
	l.complete, l.root = answer[0] == 1, content.Root(answer[1:])
	if want.name == "" && l.root != want.root {
		return protocolError("the first answer is about another root")
	}
	return nil
}

// Lookup asks a peer for the root of what it calls by a name.
func (f *Fetcher) Lookup(ctx context.Context, at peer.ID, name string) (content.Root, error) {
	l, err := f.dial(ctx, at, wanted{name: name})
	if err != nil {
		return content.Root{}, err
	}
	l.end()
	return l.root, nil
}

// end gives the stream up.
func (l *link) end() {
	l.stop()
	_ = l.Reset()
}

func (l *link) write(data []byte) error {
	_ = l.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := l.Stream.Write(data)
	return err
}

// Read reads as long as something comes. Reads are many and small, and setting a
// deadline costs as much as one, so that it is moved only now and then.
func (l *link) Read(p []byte) (int, error) {
	by := time.Now().Add(stallTime)
	if l.by.Before(by) {
		by = l.by
	}
	if by.Before(l.until) || by.Sub(l.until) > stallTime/10 {
		l.until = by
		_ = l.SetReadDeadline(by)
	}
	return l.Stream.Read(p)
}

func (l *link) read(k frameKind, buf []byte) ([]byte, error) {
	l.by = time.Now().Add(frameTime)
	return readAnswer(l, k, buf)
}

// plain gives the errors of streams a code and words.
func (f *Fetcher) plain(ctx context.Context, err error) error {
	var e *rpc.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &e):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return rpc.Errorf(rpc.Unavailable, "the peer ended the stream")
	}
	return rpc.Errorf(rpc.Unavailable, "the stream broke: %w", err)
}

// manifest asks for the manifest.
func (l *link) manifest(root content.Root) ([]byte, *content.Manifest, error) {
	if err := l.write(request{kind: frameManifest}.append(nil)); err != nil {
		return nil, nil, err
	}
	data, err := l.read(answerManifest, nil)
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		return nil, nil, rpc.Errorf(rpc.NotFound, "the peer has no manifest of this root")
	}
	m, err := content.ParseManifest(data, root)
	if err != nil && content.ManifestRoot(data) != root {
		err = &badPeer{err} // one with the right root is bad from whomever it comes
	}
	return data, m, err
}

// have asks which chunks of a file are there.
func (l *link) have(file, chunks int) ([]byte, error) {
	if err := l.write(request{kind: frameHave, file: file}.append(nil)); err != nil {
		return nil, err
	}
	bits, err := l.read(answerHave, nil)
	if err == nil && bits != nil && len(bits) != (chunks+7)/8 {
		err = protocolError("%d bytes tell which of %d chunks are there, want %d", len(bits), chunks, (chunks+7)/8)
	}
	return bits, err
}

// activeTrees is how many trees are asked for at the same time, so that many
// small files do not take a round trip each.
const activeTrees = 32

// trees asks for the trees of files, and calls put with each.
func (l *link) trees(m *content.Manifest, files []int, put func(file int, t *content.Tree) error) error {
	type growing struct {
		file  int
		a     *content.Assembler
		asked int
	}
	var active []growing
	for len(files) > 0 || len(active) > 0 {
		for len(files) > 0 && len(active) < activeTrees {
			file := m.Files[files[0]]
			active = append(active, growing{file: files[0], a: content.NewAssembler(file.Root, file.Size)})
			files = files[1:]
		}
		var out []byte
		for i, g := range active {
			level, from, left, _ := g.a.Next()
			r := request{kind: frameNodes, file: g.file, level: level, from: from, count: min(left+1, MaxRequestNodes)}
			if g.a.Top() {
				r.level, r.from, r.count = topLevel, 0, 1
			}
			active[i].asked = r.count
			out = r.append(out)
		}
		if err := l.write(out); err != nil {
			return err
		}
		var next []growing
		for _, g := range active {
			for range g.asked {
				node, err := l.read(answerNode, nil)
				switch {
				case err != nil:
					return err
				case node == nil:
					return rpc.Errorf(rpc.NotFound, "the peer does not have the list of chunks of %q yet", m.Files[g.file].Path)
				}
				if err := g.a.Add(node); err != nil {
					return &badPeer{err}
				}
			}
			if t := g.a.Tree(); t == nil {
				next = append(next, g)
			} else if err := put(g.file, t); err != nil {
				return err
			}
		}
		active = next
	}
	return nil
}
