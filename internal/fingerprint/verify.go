package fingerprint

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// Verify checks that the proof belongs to the model with this root, and gives
// what it shows. Errors are [ErrRoot] for a proof of another model and
// [ErrProof] for what is no proof.
func (p *Proof) Verify(root canon.Hash) (*Facts, error) {
	w := &p.wire
	f := &Facts{root: root, contents: map[int][]content{}, tiles: map[int][]tiles{}}
	meta, err := readSide(&f.keys, "metadata", &w.Meta, maxKeys, func(b []byte) (string, metaFact, error) {
		var e metaEntry
		err := canon.Unmarshal(b, &e)
		if err == nil {
			err = e.check()
		}
		return e.Key, metaFact{e}, err
	})
	if err != nil {
		return nil, err
	}
	tensors, err := readSide(&f.names, "tensors", &w.Tensors, maxTensors, func(b []byte) (string, tensorFact, error) {
		var e tensorEntry
		if err := canon.Unmarshal(b, &e); err != nil {
			return "", tensorFact{}, err
		}
		info, tiling, err := e.tensor()
		if err != nil {
			return "", tensorFact{}, err
		}
		return e.Name, tensorFact{info, tiling, canon.Hash(e.Root)}, nil
	})
	if err != nil {
		return nil, err
	}
	if got := rootOf(meta, f.keys.count, tensors, f.names.count); got != root {
		return nil, fmt.Errorf("fingerprint: %w: its root is %s, want %s", ErrRoot, got, root)
	}
	if err := f.readContents(w.Contents); err != nil {
		return nil, err
	}
	if err := f.readTiles(w.Tiles); err != nil {
		return nil, err
	}
	return f, nil
}

// known is what a proof shows of one tree of sorted entries.
type known[E any] struct {
	count int
	spans []span[E]
}

// span is a run of neighbouring entries.
type span[E any] struct {
	from    int
	names   []string
	entries []E
}

// readSide checks one tree's spans and gives its root.
func readSide[E any](k *known[E], what string, w *wireSide, limit int, decode func([]byte) (string, E, error)) (canon.Hash, error) {
	fail := func(format string, args ...any) (canon.Hash, error) {
		return canon.Hash{}, refuse("%s: %w", what, fmt.Errorf(format, args...))
	}
	if w.Count > uint64(limit) {
		return fail("%d entries, the limit is %d", w.Count, limit)
	}
	k.count = int(w.Count)
	empty := canon.Root(nil)
	switch {
	case k.count == 0 && (len(w.Spans) > 0 || !bytes.Equal(w.Root, empty[:])):
		return fail("no entries, but another root than that of nothing")
	case len(w.Spans) == 0 && len(w.Root) != canon.Size:
		return fail("a root of %d bytes, want %d", len(w.Root), canon.Size)
	case len(w.Spans) > 0 && len(w.Root) != 0:
		return fail("both a root and entries that lead to it")
	case len(w.Spans) == 0:
		return canon.Hash(w.Root), nil
	}
	var root canon.Hash
	last, next := "", uint64(0) // the name before, the first place that is free
	for i, x := range w.Spans {
		end := x.From + uint64(len(x.Entries))
		if len(x.Entries) == 0 || x.From >= w.Count || end > w.Count || x.From < next || i > 0 && x.From == next {
			return fail("span %d holds entries %d to %d of %d, and the one before ends at %d", i, x.From, end, w.Count, next)
		}
		next = end
		s := span[E]{from: int(x.From)}
		leaves := make([]canon.Hash, len(x.Entries))
		for j, b := range x.Entries {
			name, e, err := decode(b)
			if err != nil {
				return fail("entry %d: %w", s.from+j, err)
			}
			if name <= last {
				return fail("entry %d: %q stands after %q", s.from+j, name, last)
			}
			last = name
			s.names, s.entries, leaves[j] = append(s.names, name), append(s.entries, e), canon.Leaf(b)
		}
		hashes, err := split(x.Hashes)
		if err != nil {
			return fail("span %d: %w", i, err)
		}
		got, err := canon.RangeRoot(k.count, s.from, leaves, hashes)
		if err != nil {
			return fail("span %d: %w", i, err)
		}
		if i > 0 && got != root {
			return fail("span %d leads to another root than the one before", i)
		}
		root = got
		k.spans = append(k.spans, s)
	}
	return root, nil
}

// at gives the entry at a place.
func (k *known[E]) at(place uint64) (e E, name string, ok bool) {
	for _, s := range k.spans {
		if i := place - uint64(s.from); place >= uint64(s.from) && i < uint64(len(s.entries)) {
			return s.entries[i], s.names[i], true
		}
	}
	return e, "", false
}

// checkOrder refuses ranges of pieces that overlap, touch or are out of order.
func checkOrder(what string, i int, place, from, lastPlace, lastEnd uint64) error {
	if i > 0 && (place < lastPlace || place == lastPlace && from <= lastEnd) {
		return refuse("%s %d: out of order", what, i)
	}
	return nil
}

// readContents checks the pieces of long values.
func (f *Facts) readContents(list []wireContent) error {
	var lastPlace, lastEnd uint64
	for i, w := range list {
		fact, key, ok := f.keys.at(w.Place)
		e := &fact.entry
		if !ok || !long(int(e.Size)) {
			return refuse("contents %d: there is no long value at %d in the proof", i, w.Place)
		}
		if err := checkOrder("contents", i, w.Place, w.From, lastPlace, lastEnd); err != nil {
			return err
		}
		lastPlace, lastEnd = w.Place, w.From+uint64(len(w.Pieces))
		n := e.pieces()
		if len(w.Pieces) == 0 || w.From >= uint64(n) || lastEnd > uint64(n) {
			return refuse("key %q: pieces %d to %d of %d", key, w.From, lastEnd, n)
		}
		leaves := make([]canon.Hash, len(w.Pieces))
		for j, p := range w.Pieces {
			leaves[j] = canon.Leaf(p)
		}
		if err := checkRange(n, w.From, leaves, w.Hashes, e.Content); err != nil {
			return refuse("key %q: %w", key, err)
		}
		c, err := contentOf(e, int(w.From), w.Pieces)
		if err != nil {
			return refuse("%w", err)
		}
		place := int(w.Place)
		f.contents[place] = append(f.contents[place], c)
	}
	return nil
}

// contentOf reads pieces of a long value.
func contentOf(e *metaEntry, from int, pieces [][]byte) (content, error) {
	all := string(bytes.Join(pieces, nil))
	whole := from == 0 && len(pieces) == e.pieces()
	if gguf.Kind(e.Kind) == gguf.KindString || whole {
		if !whole || len(all) != int(e.Size) {
			return content{}, fmt.Errorf("key %q: %d bytes, want %d", e.Key, len(all), e.Size)
		}
	}
	if gguf.Kind(e.Kind) == gguf.KindString {
		v, err := e.value(all)
		return content{value: v, whole: true}, err
	}
	// Each piece holds its own elements: a proof of one must mean what a proof
	// of all means.
	c := content{from: from * chunkElements, whole: whole}
	for i, p := range pieces {
		part := *e
		part.Count = min(chunkElements, e.Count-uint64((from+i)*chunkElements))
		v, err := part.value(string(p))
		if err != nil {
			return content{}, fmt.Errorf("piece %d: %w", from+i, err)
		}
		for _, x := range v.All() {
			c.elements = append(c.elements, x)
		}
	}
	if whole {
		var err error
		if c.value, err = e.value(all); err != nil {
			return content{}, err
		}
	}
	return c, nil
}

// readTiles checks the tiles.
func (f *Facts) readTiles(list []wireTiles) error {
	var lastPlace, lastEnd uint64
	for i, w := range list {
		t, name, ok := f.names.at(w.Place)
		if !ok {
			return refuse("tiles %d: there is no tensor at %d in the proof", i, w.Place)
		}
		if err := checkOrder("tiles", i, w.Place, w.From, lastPlace, lastEnd); err != nil {
			return err
		}
		n := t.tiling.Tiles()
		if w.From >= uint64(n) || len(w.Data) == 0 {
			return refuse("tensor %q: %d bytes of tiles from %d on, it has %d", name, len(w.Data), w.From, n)
		}
		x := tiles{from: int(w.From)}
		var leaves []canon.Hash
		for rest := w.Data; len(rest) > 0; {
			at := x.from + len(x.data)
			if at >= n {
				return refuse("tensor %q: %d bytes after its last tile", name, len(rest))
			}
			size := t.tiling.Tile(at).Size
			if size > len(rest) {
				return refuse("tensor %q: tile %d has %d bytes, want %d", name, at, len(rest), size)
			}
			x.data, leaves = append(x.data, rest[:size:size]), append(leaves, canon.Leaf(rest[:size]))
			rest = rest[size:]
		}
		lastPlace, lastEnd = w.Place, w.From+uint64(len(leaves))
		if err := checkRange(n, w.From, leaves, w.Hashes, t.root[:]); err != nil {
			return refuse("tensor %q: %w", name, err)
		}
		place := int(w.Place)
		f.tiles[place] = append(f.tiles[place], x)
	}
	return nil
}

// checkRange checks that leaves belong to a tree.
func checkRange(n int, from uint64, leaves []canon.Hash, hashes, root []byte) error {
	proof, err := split(hashes)
	if err != nil {
		return err
	}
	got, err := canon.RangeRoot(n, int(from), leaves, proof)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[:], root) {
		return fmt.Errorf("its root is %s, want %x", got, root)
	}
	return nil
}

// lookup finds a name. If it is not there, known tells whether the proof shows
// that: the entries beside its place are neighbours in the tree.
func (k *known[E]) lookup(name string) (place int, e E, ok, sure bool) {
	if k.count == 0 {
		return 0, e, false, true
	}
	for _, s := range k.spans {
		i := 0
		for i < len(s.names) && s.names[i] < name {
			i++
		}
		if i < len(s.names) && s.names[i] == name {
			return s.from + i, s.entries[i], true, true
		}
		if (i > 0 || s.from == 0) && (i < len(s.names) || s.from+i == k.count) {
			return 0, e, false, true
		}
	}
	return 0, e, false, false
}

// all reports whether the proof shows every entry whose name begins so.
func (k *known[E]) all(prefix string) bool {
	if k.count == 0 {
		return true
	}
	for _, s := range k.spans {
		i := 0
		for i < len(s.names) && s.names[i] < prefix {
			i++
		}
		j := i
		for j < len(s.names) && strings.HasPrefix(s.names[j], prefix) {
			j++
		}
		if (i > 0 || s.from == 0) && (j < len(s.names) || s.from+j == k.count) {
			return true
		}
	}
	return false
}
