package fingerprint

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// Request says what a proof is to show. The zero value asks for nothing.
type Request struct {
	// Keys are metadata keys: each is shown with its value, or that it is not
	// there. Of a value longer than 1 KiB only kind, number of elements, size
	// and root are shown.
	Keys []string
	// KeyPrefixes ask for all keys that begin so, and that there are no more.
	KeyPrefixes []string
	// Whole are prefixes like those, with the contents of long values too.
	Whole []string
	// Elements are parts of arrays.
	Elements []Elements
	// Tensors are names of tensors: each is shown with its type, shape and
	// root, or that it is not there.
	Tensors []string
	// TensorPrefixes ask for all tensors whose names begin so, and that there
	// are no more.
	TensorPrefixes []string
	// Tiles are parts of tensors' data.
	Tiles []Tiles
}

// Elements are the elements From to To-1 of the array under Key.
type Elements struct {
	Key      string
	From, To int
}

// Tiles are the tiles From to To-1 of a tensor.
type Tiles struct {
	Tensor   string
	From, To int
}

// Prove makes the proof of what is asked for.
func (t *Tree) Prove(ctx context.Context, r Request) (*Proof, error) {
	p := &Proof{}
	var keys, names intervals
	for _, key := range r.Keys {
		keys.name(t.meta, key)
	}
	for _, prefix := range slices.Concat(r.KeyPrefixes, r.Whole) {
		keys.prefix(t.meta, prefix)
	}
	var contents []piecesOfLeaf
	for i, v := range t.values {
		if long(uint64(len(v.Raw()))) && slices.ContainsFunc(r.Whole, func(p string) bool { return strings.HasPrefix(t.meta[i].name, p) }) {
			contents = append(contents, piecesOfLeaf{i, 0, -1})
		}
	}
	for _, e := range r.Elements {
		keys.name(t.meta, e.Key)
		i, ok := find(t.meta, e.Key)
		if !ok {
			continue // which the entries show
		}
		v := t.values[i]
		if v.Kind() != gguf.KindArray || e.From < 0 || e.From >= e.To || e.To > v.Len() {
			return nil, fmt.Errorf("fingerprint: elements %d to %d of %q, which is a %s of %d", e.From, e.To-1, e.Key, v.Kind(), v.Len())
		}
		if long(uint64(len(v.Raw()))) {
			contents = append(contents, piecesOfLeaf{i, e.From / pieceElements, (e.To-1)/pieceElements + 1})
		}
	}
	var tiles []piecesOfLeaf
	for _, x := range r.Tiles {
		names.name(t.tensors, x.Tensor)
		i, ok := find(t.tensors, x.Tensor)
		if !ok {
			continue
		}
		if n := t.tilings[i].Tiles(); x.From < 0 || x.From >= x.To || x.To > n {
			return nil, fmt.Errorf("fingerprint: tiles %d to %d of %q, which has %d", x.From, x.To-1, x.Tensor, n)
		}
		tiles = append(tiles, piecesOfLeaf{i, x.From, x.To})
	}
	for _, name := range r.Tensors {
		names.name(t.tensors, name)
	}
	for _, prefix := range r.TensorPrefixes {
		names.prefix(t.tensors, prefix)
	}
	p.wire.Meta, p.wire.Tensors = sideOf(t.meta, keys), sideOf(t.tensors, names)
	for _, c := range merge(contents) {
		p.wire.Contents = append(p.wire.Contents, t.proveContent(c))
	}
	for _, x := range merge(tiles) {
		w, err := t.proveTiles(ctx, x)
		if err != nil {
			return nil, err
		}
		p.wire.Tiles = append(p.wire.Tiles, w)
	}
	return p, nil
}

// piecesOfLeaf are pieces or tiles from to to-1 of the entry at a place.
type piecesOfLeaf struct{ place, from, to int }

// merge sorts ranges and joins those that touch; to = -1 stands for all, with
// from = 0.
func merge(list []piecesOfLeaf) []piecesOfLeaf {
	slices.SortFunc(list, func(a, b piecesOfLeaf) int {
		if a.place != b.place {
			return a.place - b.place
		}
		return a.from - b.from
	})
	var out []piecesOfLeaf
	for _, x := range list {
		if n := len(out); n > 0 && out[n-1].place == x.place && (out[n-1].to < 0 || x.from <= out[n-1].to || x.to < 0) {
			if out[n-1].to < 0 || x.to < 0 {
				out[n-1].to = -1
			} else {
				out[n-1].to = max(out[n-1].to, x.to)
			}
			continue
		}
		out = append(out, x)
	}
	return out
}

func (t *Tree) proveContent(c piecesOfLeaf) wireRun {
	e := metaEntryOf(t.meta[c.place].name, t.values[c.place])
	pieces, err := e.cut(0, []byte(t.values[c.place].Raw()))
	if err != nil {
		panic("fingerprint: internal error: " + err.Error())
	}
	if c.to < 0 {
		c.to = len(pieces)
	}
	return wireRun{
		Place: uint64(c.place), From: uint64(c.from),
		Data:   bytes.Join(pieces[c.from:c.to], nil),
		Hashes: join(canon.Range(leavesOf(pieces), c.from, c.to)),
	}
}

func (t *Tree) proveTiles(ctx context.Context, x piecesOfLeaf) (wireRun, error) {
	offset, size := t.tilings[x.place].Range(x.from, x.to)
	if size > MaxProof {
		return wireRun{}, fmt.Errorf("fingerprint: tiles %d to %d of %q have %d bytes, a proof has at most %d", x.from, x.to-1, t.tensors[x.place].name, size, MaxProof)
	}
	hashes, err := t.tilesOf(ctx, x.place)
	if err != nil {
		return wireRun{}, err
	}
	data := make([]byte, size)
	if err := t.read(x.place, offset, data); err != nil {
		return wireRun{}, err
	}
	for i := x.from; i < x.to; i++ {
		tile := t.tilings[x.place].Tile(i)
		if canon.Leaf(data[tile.Offset-offset:][:tile.Size]) != hashes[i] {
			return wireRun{}, t.changed(x.place)
		}
	}
	return wireRun{Place: uint64(x.place), From: uint64(x.from), Data: data, Hashes: join(canon.Range(hashes, x.from, x.to))}, nil
}

// find gives the place of a name among sorted entries, or where it would be.
func find(leaves []leaf, name string) (int, bool) {
	return sort.Find(len(leaves), func(i int) int { return strings.Compare(name, leaves[i].name) })
}

// intervals are ranges of places whose entries answer a request.
type intervals [][2]int

// name adds the entry of a name, or the two between which it would stand.
func (x *intervals) name(leaves []leaf, name string) {
	i, ok := find(leaves, name)
	if ok {
		*x = append(*x, [2]int{i, i + 1})
	} else {
		*x = append(*x, [2]int{i - 1, i + 1})
	}
}

// prefix adds the entries whose names begin so, and the two beside them.
func (x *intervals) prefix(leaves []leaf, prefix string) {
	from, _ := find(leaves, prefix)
	to := from
	for to < len(leaves) && strings.HasPrefix(leaves[to].name, prefix) {
		to++
	}
	*x = append(*x, [2]int{from - 1, to + 1})
}

// sideOf proves the entries in the intervals.
func sideOf(leaves []leaf, x intervals) wireSide {
	s := wireSide{Count: uint64(len(leaves)), Root: []byte{}, Spans: []wireSpan{}}
	slices.SortFunc(x, func(a, b [2]int) int { return a[0] - b[0] })
	hashes := hashesOf(leaves)
	for len(x) > 0 {
		from, to := max(x[0][0], 0), x[0][1]
		for x = x[1:]; len(x) > 0 && x[0][0] <= to; x = x[1:] {
			to = max(to, x[0][1])
		}
		to = min(to, len(leaves))
		if from == to {
			continue // there are no entries at all
		}
		span := wireSpan{From: uint64(from), Entries: [][]byte{}, Hashes: join(canon.Range(hashes, from, to))}
		for _, l := range leaves[from:to] {
			span.Entries = append(span.Entries, l.encoding)
		}
		s.Spans = append(s.Spans, span)
	}
	if len(s.Spans) == 0 {
		root := canon.Root(hashes)
		s.Root = root[:]
	}
	return s
}
