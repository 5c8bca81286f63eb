package fingerprint

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
)

// Verify checks that the proof belongs to the model with this root, and gives
// what it shows. Errors are [ErrRoot] for a proof of another model and
// [ErrProof] for what is no proof.
func (p *Proof) Verify(root canon.Hash) (*Facts, error) {
	f := &Facts{root: root, contents: map[int][]content{}, tiles: map[int][]tiles{}}
	got, err := p.sides(f)
	if err != nil {
		return nil, err
	}
	if got != root {
		return nil, fmt.Errorf("fingerprint: %w: its root is %s, want %s", ErrRoot, got, root)
	}
	if err := f.readContents(p.wire.Contents); err != nil {
		return nil, err
	}
	if err := f.readTiles(p.wire.Tiles); err != nil {
		return nil, err
	}
	return f, nil
}

// sides checks the entries of the two trees, and gives the root that they lead
// to.
func (p *Proof) sides(f *Facts) (root canon.Hash, err error) {
	meta, err := readSide(&f.keys, "metadata", &p.wire.Meta, maxKeys, readMeta)
	if err != nil {
		return root, err
	}
	tensors, err := readSide(&f.names, "tensors", &p.wire.Tensors, maxTensors, readTensor)
	if err != nil {
		return root, err
	}
	return rootOf(meta, f.keys.count, tensors, f.names.count), nil
}

func readMeta(b []byte) (key string, e metaEntry, err error) {
	if err = canon.Unmarshal(b, &e); err == nil {
		err = e.check()
	}
	return e.Key, e, err
}

func readTensor(b []byte) (name string, t tensorFact, err error) {
	var e tensorEntry
	if err := canon.Unmarshal(b, &e); err != nil {
		return "", t, err
	}
	if t.info, t.tiling, err = e.tensor(); err != nil {
		return "", t, err
	}
	return e.Name, tensorFact{t.info, t.tiling, canon.Hash(e.Root)}, nil
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

// order tells whether runs come one after the other, with gaps between.
type order struct {
	some       bool
	place, end uint64
}

func (o *order) next(place, from, n uint64) error {
	if o.some && (place < o.place || place == o.place && from <= o.end) {
		return fmt.Errorf("%d to %d of entry %d stand after %d of entry %d", from, from+n, place, o.end, o.place)
	}
	*o = order{true, place, from + n}
	return nil
}

// readContents checks the pieces of long values.
func (f *Facts) readContents(list []wireRun) error {
	var o order
	for _, w := range list {
		e, key, ok := f.keys.at(w.Place)
		if !ok || !long(e.Size) {
			return refuse("contents: there is no long value at %d in the proof", w.Place)
		}
		fail := func(err error) error { return refuse("contents of %q: %w", key, err) }
		n := e.pieces()
		if w.From >= uint64(n) || len(w.Data) == 0 {
			return fail(fmt.Errorf("%d bytes from piece %d on, it has %d", len(w.Data), w.From, n))
		}
		pieces, err := e.cut(int(w.From), w.Data)
		if err != nil {
			return fail(err)
		}
		if err := o.next(w.Place, w.From, uint64(len(pieces))); err != nil {
			return fail(err)
		}
		if err := checkRange(n, int(w.From), leavesOf(pieces), w.Hashes, e.Content); err != nil {
			return fail(err)
		}
		c, err := e.contentOf(int(w.From), pieces, w.Data)
		if err != nil {
			return fail(err)
		}
		place := int(w.Place)
		f.contents[place] = append(f.contents[place], c)
	}
	return nil
}

// readTiles checks the tiles.
func (f *Facts) readTiles(list []wireRun) error {
	var o order
	for _, w := range list {
		t, name, ok := f.names.at(w.Place)
		if !ok {
			return refuse("tiles: there is no tensor at %d in the proof", w.Place)
		}
		fail := func(err error) error { return refuse("tiles of %q: %w", name, err) }
		n := t.tiling.Tiles()
		if w.From >= uint64(n) || len(w.Data) == 0 {
			return fail(fmt.Errorf("%d bytes from tile %d on, it has %d", len(w.Data), w.From, n))
		}
		x := tiles{from: int(w.From)}
		for rest := w.Data; len(rest) > 0; {
			at := x.from + len(x.data)
			if at >= n {
				return fail(fmt.Errorf("%d bytes after the last of %d", len(rest), n))
			}
			size := t.tiling.Tile(at).Size
			if size > len(rest) {
				return fail(fmt.Errorf("tile %d has %d bytes, want %d", at, len(rest), size))
			}
			x.data, rest = append(x.data, rest[:size:size]), rest[size:]
		}
		if err := o.next(w.Place, w.From, uint64(len(x.data))); err != nil {
			return fail(err)
		}
		if err := checkRange(n, x.from, leavesOf(x.data), w.Hashes, t.root[:]); err != nil {
			return fail(err)
		}
		place := int(w.Place)
		f.tiles[place] = append(f.tiles[place], x)
	}
	return nil
}

// checkRange checks that leaves belong to a tree.
func checkRange(n, from int, leaves []canon.Hash, hashes, root []byte) error {
	proof, err := split(hashes)
	if err != nil {
		return err
	}
	got, err := canon.RangeRoot(n, from, leaves, proof)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[:], root) {
		return fmt.Errorf("the root is %s, want %x", got, root)
	}
	return nil
}

// around finds the entries from the first that is not below name on, as long
// as match takes them. sure tells whether the proof shows that there are no
// more: the entries before and after are shown, or there are none.
func (s *span[E]) around(count int, name string, match func(string) bool) (i, j int, sure bool) {
	i, _ = slices.BinarySearch(s.names, name)
	for j = i; j < len(s.names) && match(s.names[j]); {
		j++
	}
	return i, j, (i > 0 || s.from == 0) && (j < len(s.names) || s.from+j == count)
}

// lookup finds a name. sure tells whether the proof shows that it is there, or
// that it is not.
func (k *known[E]) lookup(name string) (place int, e E, ok, sure bool) {
	for _, s := range k.spans {
		i, j, known := s.around(k.count, name, func(x string) bool { return x == name })
		if i < j {
			return s.from + i, s.entries[i], true, true
		}
		sure = sure || known
	}
	return 0, e, false, sure || k.count == 0
}

// all reports whether the proof shows every entry whose name begins so.
func (k *known[E]) all(prefix string) bool {
	for _, s := range k.spans {
		if _, _, sure := s.around(k.count, prefix, func(x string) bool { return strings.HasPrefix(x, prefix) }); sure {
			return true
		}
	}
	return k.count == 0
}
