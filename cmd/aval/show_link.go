package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/node"
)

// sharedModelJSON is what is said of a model by who shares it.
type sharedModelJSON struct {
	Root    content.Root   `json:"root"`
	Name    string         `json:"name"`
	Size    int64          `json:"size"` // of all its files
	Licence string         `json:"licence,omitempty"`
	Origin  string         `json:"origin,omitempty"`
	Consent string         `json:"consent,omitempty"`
	Parents []content.Root `json:"parents,omitempty"`
	Signer  string         `json:"publisher"`
}

// rows tell what is said of a model that is shared; none of one that is not.
func (s *sharedModelJSON) rows() (rows []string) {
	if s == nil {
		return nil
	}
	for _, r := range [][2]string{{"shared as", s.Name}, {"root", s.Root.String()}, {"publisher", s.Signer}, {"licence", s.Licence}, {"origin", s.Origin}, {"consent", s.Consent}} {
		if r[1] != "" {
			rows = append(rows, r[0]+"\t"+clip(quoteLine(r[1])))
		}
	}
	for _, p := range s.Parents {
		rows = append(rows, "made from\t"+p.String())
	}
	return rows
}

// showLink shows a model that another device shares.
func (a *app) showLink(c *cobra.Command, o *showOptions, arg string) error {
	ctx := c.Context()
	l, err := node.ParseContentLink(arg)
	if err != nil {
		return usageError{err}
	}
	o.content = true
	n, _, err := a.join(ctx, c, &o.netOptions)
	if err != nil {
		return err
	}
	defer n.Close()
	s, err := n.Inspect(ctx, l)
	if err != nil {
		return err
	}
	l.Content = s.Root.String() // the name may come to mean another one
	m := &s.Manifest
	r := &distant{ctx: ctx, from: n, link: l, path: m.Files[0].Path, size: m.Files[0].Size}
	f, err := gguf.Parse(r, r.size)
	if err != nil {
		return fmt.Errorf("%s at %s: %w", quoteLine(r.path), l.Peer, err)
	}
	j := describe(f, m.Name)
	j.Size, j.Files = m.Size(), nil
	for _, file := range m.Files {
		j.Files = append(j.Files, quoteLine(file.Path))
	}
	j.Shared = &sharedModelJSON{s.Root, m.Name, m.Size(), m.Licence, m.Origin, m.Consent, m.Parents, m.Publisher.String()}
	if len(m.Files) > 1 {
		a.note("the model has %d files; this is what the first one says", len(m.Files))
	}
	return a.showFile(o, f, j)
}

// distant is a file of another device, read a part at a time. It remembers the
// last part, since what reads a header reads a little at a time.
type distant struct {
	ctx  context.Context
	from sharer
	link node.ContentLink
	path string
	size int64
	at   int64
	part []byte
}

// distantPart is how much is read at once.
const distantPart = 1 << 20

func (d *distant) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		if at >= d.size {
			return n, io.EOF
		}
		if at < d.at || at >= d.at+int64(len(d.part)) {
			d.at = at - at%distantPart
			if d.part, err = d.from.ReadContent(d.ctx, node.ReadRequest{Link: d.link, Path: d.path, Offset: d.at, Length: distantPart}); err != nil {
				d.part = nil
				return n, err
			}
			if at >= d.at+int64(len(d.part)) {
				d.part = nil
				return n, io.ErrUnexpectedEOF
			}
		}
		n += copy(p[n:], d.part[at-d.at:])
	}
	return n, nil
}
