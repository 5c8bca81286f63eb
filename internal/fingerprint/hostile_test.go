package fingerprint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// hostile is a proof that must be refused.
type hostile struct {
	name  string
	check int // of section 5 of spec/fingerprint.md
	says  string
	root  canon.Hash
	proof []byte
}

// hostileProofs are changed proofs of models, and right proofs of models that
// no file has.
func hostileProofs(t testing.TB, trees map[string]*fingerprint.Tree) []hostile {
	h := &hostiles{t: t}
	h.encodings(trees["tiles"])
	h.spans()
	h.metaEntries()
	h.tensorEntries()
	h.order()
	h.hashes(trees["tiles"], trees["long values"])
	h.runs(trees["tiles"], trees["long values"])
	h.pieces()
	return h.list
}

type hostiles struct {
	t    testing.TB
	list []hostile
}

func (h *hostiles) add(check int, says, name string, root canon.Hash, proof []byte) {
	h.list = append(h.list, hostile{name, check, says, root, proof})
}

// prove is a proof to be changed.
func (h *hostiles) prove(tree *fingerprint.Tree, r fingerprint.Request) wire {
	h.t.Helper()
	p, err := tree.Prove(h.t.Context(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := p.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	var w wire
	if err := canon.Unmarshal(b, &w); err != nil {
		h.t.Fatal(err)
	}
	return w
}

// encodings are those of bytes that are not the encoding of a proof.
func (h *hostiles) encodings(tree *fingerprint.Tree) {
	root := tree.Root()
	right := encode(h.t, h.prove(tree, fingerprint.Request{}))
	empty := canon.Root(nil)
	add := func(name string, b []byte) { h.add(1, "CBOR", name, root, b) }
	add("no bytes", nil)
	add("cut", right[:len(right)-1])
	add("a byte more", append(slices.Clone(right), 0))
	add("a list instead of a map", []byte{0x80})
	add("one side only", encode(h.t, map[int]any{1: side{Root: empty[:], Spans: []entries{}}}))
	none := []any{0, empty[:], []any{}}
	add("a key that does not exist", encode(h.t, map[int]any{1: none, 2: none, 5: 0}))
	add("a key that is text", encode(h.t, map[any]any{1: none, 2: none, "x": 0}))
	add("runs that are empty", encode(h.t, map[int]any{1: none, 2: none, 3: []any{}}))
	add("a count that is negative", encode(h.t, map[int]any{1: []any{-1, empty[:], []any{}}, 2: none}))
	add("a count that is text", encode(h.t, map[int]any{1: []any{"0", empty[:], []any{}}, 2: none}))
	add("a side of two items", encode(h.t, map[int]any{1: []any{0, empty[:]}, 2: none}))
	add("a side of four items", encode(h.t, map[int]any{1: []any{0, empty[:], []any{}, 0}, 2: none}))
	add("a root that is text", encode(h.t, map[int]any{1: []any{0, "", []any{}}, 2: none}))
	add("a count longer than needed", bytes.Replace(right, []byte{0x83, 0x02}, []byte{0x83, 0x18, 0x02}, 1))
	add("an array of indefinite length", slices.Concat(right[:len(right)-1], []byte{0x9f, 0xff}))
	add("keys out of order", slices.Concat([]byte{0xa2}, right[1+(len(right)-1)/2:], right[1:1+(len(right)-1)/2]))
	null := slices.Clone(right)
	null[len(null)-1] = 0xf6
	h.add(1, "side without", "null instead of spans", root, null)
	h.add(1, "side without", "null instead of the root of a side", root, encode(h.t, map[int]any{1: []any{1, nil, []any{[]any{0, []any{[]byte{1}}, []byte{}}}}, 2: none}))
	h.add(1, "span without", "null instead of entries", root, encode(h.t, map[int]any{1: []any{1, []byte{}, []any{[]any{0, nil, []byte{}}}}, 2: none}))
	h.add(1, "span without", "null instead of hashes", root, encode(h.t, map[int]any{1: []any{1, []byte{}, []any{[]any{0, []any{[]byte{1}}, nil}}}, 2: none}))
	h.add(1, "run without", "null instead of data", root, encode(h.t, map[int]any{1: none, 2: none, 3: []any{[]any{0, 0, nil, []byte{}}}}))
	h.add(1, "run without", "null instead of a run's hashes", root, encode(h.t, map[int]any{1: none, 2: none, 4: []any{[]any{0, 0, []byte{1}, nil}}}))

	zero := make([]byte, 32)
	h.add(2, "65537 entries", "too many keys", root, encode(h.t, map[int]any{1: []any{1<<16 + 1, zero, []any{}}, 2: none}))
	h.add(2, "262145 entries", "too many tensors", root, encode(h.t, map[int]any{1: none, 2: []any{1<<18 + 1, zero, []any{}}}))
	h.add(2, "entries", "as many keys as can be written", root, encode(h.t, map[int]any{1: []any{uint64(1<<64 - 1), zero, []any{}}, 2: none}))
	var spans []any
	for i := range 1025 {
		spans = append(spans, []any{2 * i, []any{[]byte{}}, []byte{}})
	}
	h.add(2, "1025 spans", "too many spans", root, encode(h.t, map[int]any{1: []any{4000, []byte{}, spans}, 2: none}))
}

// key is an entry that any file may have.
func (h *hostiles) key(name string) []byte {
	return encode(h.t, metaEntry{Key: name, Kind: uint32(gguf.KindUint8), Size: 1, Content: []byte{7}})
}

func (h *hostiles) tensor(name string) []byte {
	root := canon.Leaf([]byte{0, 0, 0, 0})
	return encode(h.t, tensorEntry{Name: name, Shape: []uint64{1}, Root: root[:]})
}

// spans are of entries that are in no order of their places.
func (h *hostiles) spans() {
	f := forged{meta: [][]byte{h.key("a"), h.key("b"), h.key("c"), h.key("d"), h.key("e")}, tensors: [][]byte{h.tensor("t")}}
	root, empty := f.root(), canon.Root(nil)
	change := func(check int, says, name string, do func(w *wire)) {
		w := wire{Meta: sideOf(f.meta, [2]int{0, 2}, [2]int{3, 5}), Tensors: sideOf(f.tensors)}
		do(&w)
		h.add(check, says, name, root, encode(h.t, w))
	}
	change(3, "both a root", "a root and spans", func(w *wire) { w.Meta.Root = empty[:] })
	change(3, "root of 0 bytes", "neither a root nor spans", func(w *wire) { w.Meta.Spans = []entries{} })
	change(3, "root of 31 bytes", "a root of 31 bytes", func(w *wire) { w.Tensors.Root = w.Tensors.Root[:31] })
	change(3, "root of 33 bytes", "a root of 33 bytes", func(w *wire) { w.Tensors.Root = append(w.Tensors.Root, 0) })
	change(3, "no entries", "no entries with another root", func(w *wire) { w.Tensors.Count = 0 })
	nothing := func(name string, s side) {
		h.add(3, "no entries", name, forged{}.root(), encode(h.t, wire{Meta: s, Tensors: sideOf(nil)}))
	}
	nothing("no entries but a span", side{Root: []byte{}, Spans: []entries{{Entries: [][]byte{}, Hashes: []byte{}}}})
	change(4, "span 0", "a span without entries", func(w *wire) { w.Meta.Spans[0].Entries = [][]byte{} })
	change(4, "span 1", "a span beyond the last entry", func(w *wire) { w.Meta.Spans[1].From = 4 })
	change(4, "span 1", "a span that begins beyond all", func(w *wire) { w.Meta.Spans[1].From = 1<<64 - 1 })
	change(4, "span 1", "spans that overlap", func(w *wire) { w.Meta = sideOf(f.meta, [2]int{0, 3}, [2]int{2, 5}) })
	change(4, "span 1", "spans that touch", func(w *wire) { w.Meta = sideOf(f.meta, [2]int{0, 3}, [2]int{3, 5}) })
	change(4, "span 1", "spans out of order", func(w *wire) { w.Meta = sideOf(f.meta, [2]int{3, 5}, [2]int{0, 2}) })
	change(4, "span 1", "a span twice", func(w *wire) { w.Meta = sideOf(f.meta, [2]int{3, 5}, [2]int{3, 5}) })
}

// metaEntries are those that no file has.
func (h *hostiles) metaEntries() {
	add := func(says, name string, entry any) {
		b, ok := entry.([]byte)
		if !ok {
			b = encode(h.t, entry)
		}
		f := forged{meta: [][]byte{b}}
		h.add(5, says, name, f.root(), encode(h.t, wire{Meta: sideOf(f.meta, [2]int{0, 1}), Tensors: sideOf(nil)}))
	}
	str, arr, u8, boolean := uint32(gguf.KindString), uint32(gguf.KindArray), uint32(gguf.KindUint8), uint32(gguf.KindBool)
	root := make([]byte, 32)
	add("CBOR", "an entry that is no CBOR", []byte{0xff})
	add("CBOR", "an entry of nothing", []byte{})
	add("CBOR", "a tensor among the keys", h.tensor("t"))
	add("CBOR", "a key of seven items", encode(h.t, []any{"k", 0, 0, 0, 1, []byte{7}, 0}))
	add("CBOR", "a key that is bytes", encode(h.t, []any{[]byte("k"), 0, 0, 0, 1, []byte{7}}))
	add("CBOR", "a kind longer than needed", []byte{0x86, 0x61, 'k', 0x18, 0x00, 0, 0, 1, 0x41, 7})
	add("CBOR", "a kind of more than 32 bits", encode(h.t, []any{"k", uint64(1 << 32), 0, 0, 1, []byte{7}}))
	add("no content", "null instead of content", encode(h.t, []any{"k", 8, 0, 0, 0, nil}))
	add("0 bytes, want 1", "a key without a name", metaEntry{Key: "", Kind: u8, Size: 1, Content: []byte{7}})
	add("65536 bytes", "a key that is too long", metaEntry{Key: strings.Repeat("k", 1<<16), Kind: u8, Size: 1, Content: []byte{7}})
	add("belongs to a file", "the alignment", metaEntry{Key: "general.alignment", Kind: u8, Size: 1, Content: []byte{7}})
	add("belongs to a file", "a key of a part", metaEntry{Key: "split.count", Kind: u8, Size: 1, Content: []byte{7}})
	add("does not exist", "a kind that does not exist", metaEntry{Key: "k", Kind: 13, Size: 1, Content: []byte{7}})
	add("2 bytes of content", "content longer than its size", metaEntry{Key: "k", Kind: str, Size: 1, Content: []byte{7, 7}})
	add("bytes too many", "a number that is too long", metaEntry{Key: "k", Kind: u8, Size: 2, Content: []byte{7, 7}})
	add("more bytes", "a number that is too short", metaEntry{Key: "k", Kind: u8, Size: 0, Content: []byte{}})
	add("neither 0 nor 1", "a bool of 2", metaEntry{Key: "k", Kind: boolean, Size: 1, Content: []byte{2}})
	add("elements", "elements of a string", metaEntry{Key: "k", Kind: str, Count: 1, Size: 1, Content: []byte{7}})
	add("elements", "element kind of a number", metaEntry{Key: "k", Kind: u8, Elem: str, Size: 1, Content: []byte{7}})
	add("more bytes", "an array that is too short", metaEntry{Key: "k", Kind: arr, Elem: u8, Count: 3, Size: 2, Content: []byte{7, 7}})
	add("bytes too many", "an array that is too long", metaEntry{Key: "k", Kind: arr, Elem: u8, Count: 1, Size: 2, Content: []byte{7, 7}})
	add("does not exist", "elements that do not exist", metaEntry{Key: "k", Kind: arr, Elem: 13, Size: 0, Content: []byte{}})
	deep := []byte{}
	for range 4 {
		deep = append(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, arr), 1), deep...)
	}
	deep = append(deep, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	add("nested", "arrays nested too deep", metaEntry{Key: "k", Kind: arr, Elem: arr, Count: 1, Size: uint64(len(deep)), Content: deep})
	add("more than a file can have", "a size beyond all files", metaEntry{Key: "k", Kind: str, Size: 1<<29 + 1, Content: root})
	add("more than a file can have", "a count beyond all files", metaEntry{Key: "k", Kind: arr, Elem: u8, Count: 1<<26 + 1, Size: 1<<26 + 1, Content: root})
	add("are not a value", "a long number", metaEntry{Key: "k", Kind: u8, Size: 1025, Content: root})
	add("are not a value", "a root that is too short", metaEntry{Key: "k", Kind: str, Size: 1025, Content: root[:31]})
	add("are not a value", "a long value in its entry", metaEntry{Key: "k", Kind: str, Size: 1025, Content: make([]byte, 1025)})
	add("bytes of content", "a short value by its root", metaEntry{Key: "k", Kind: str, Size: 1024, Content: root})
	add("elements of kind", "a long array without elements", metaEntry{Key: "k", Kind: arr, Elem: u8, Size: 1025, Content: root})
	add("elements of kind", "a long array of another size", metaEntry{Key: "k", Kind: arr, Elem: u8, Count: 1026, Size: 1025, Content: root})
	add("elements of kind", "strings that take more than there is", metaEntry{Key: "k", Kind: arr, Elem: str, Count: 129, Size: 1031, Content: root})
	add("elements of kind", "arrays that take more than there is", metaEntry{Key: "k", Kind: arr, Elem: arr, Count: 87, Size: 1043, Content: root})
	add("elements of kind", "long elements that do not exist", metaEntry{Key: "k", Kind: arr, Elem: 13, Count: 1025, Size: 1025, Content: root})
}

func (h *hostiles) tensorEntries() {
	add := func(says, name string, entry any) {
		b, ok := entry.([]byte)
		if !ok {
			b = encode(h.t, entry)
		}
		f := forged{tensors: [][]byte{b}}
		h.add(5, says, name, f.root(), encode(h.t, wire{Meta: sideOf(nil), Tensors: sideOf(f.tensors, [2]int{0, 1})}))
	}
	root := make([]byte, 32)
	add("CBOR", "a key among the tensors", h.key("k"))
	add("CBOR", "a shape that is negative", encode(h.t, []any{"t", 0, []any{-1}, root}))
	add("want 1 to 256", "a tensor without a name", tensorEntry{Name: "", Shape: []uint64{1}, Root: root})
	add("want 1 to 256", "a name that is too long", tensorEntry{Name: strings.Repeat("n", 257), Shape: []uint64{1}, Root: root})
	add("unsupported", "a type without arithmetic", tensorEntry{Name: "t", Type: 24, Shape: []uint64{1}, Root: root})
	add("unsupported", "a type that does not exist", tensorEntry{Name: "t", Type: 77, Shape: []uint64{1}, Root: root})
	add("1 to 4 dimensions", "no dimensions", tensorEntry{Name: "t", Shape: []uint64{}, Root: root})
	add("1 to 4 dimensions", "null instead of a shape", encode(h.t, []any{"t", 0, nil, root}))
	add("1 to 4 dimensions", "five dimensions", tensorEntry{Name: "t", Shape: []uint64{1, 1, 1, 1, 1}, Root: root})
	add("not positive", "a dimension of nothing", tensorEntry{Name: "t", Shape: []uint64{4, 0}, Root: root})
	add("a dimension of", "a dimension that overflows", tensorEntry{Name: "t", Shape: []uint64{1 << 63}, Root: root})
	add("too large", "too many elements", tensorEntry{Name: "t", Shape: []uint64{1 << 20, 1 << 21}, Root: root})
	add("multiple of 32", "half a block", tensorEntry{Name: "t", Type: 8, Shape: []uint64{48, 2}, Root: root})
	add("root of 31", "a data root that is too short", tensorEntry{Name: "t", Shape: []uint64{1}, Root: root[:31]})
	add("root of 0", "null instead of a data root", encode(h.t, []any{"t", 0, []any{1}, nil}))
}

// order is of models whose entries are not sorted.
func (h *hostiles) order() {
	add := func(says, name string, f forged, meta, tensors [][2]int) {
		h.add(6, says, name, f.root(), encode(h.t, wire{Meta: sideOf(f.meta, meta...), Tensors: sideOf(f.tensors, tensors...)}))
	}
	all := [][2]int{{0, 2}}
	add(`"a" stands after "b"`, "keys that descend", forged{meta: [][]byte{h.key("b"), h.key("a")}}, all, nil)
	add(`"a" stands after "a"`, "a key twice", forged{meta: [][]byte{h.key("a"), h.key("a")}}, all, nil)
	add(`"a" stands after "b"`, "keys that descend from span to span", forged{meta: [][]byte{h.key("b"), h.key("c"), h.key("a")}}, [][2]int{{0, 1}, {2, 3}}, nil)
	add(`"A" stands after "b"`, "tensors that descend", forged{tensors: [][]byte{h.tensor("b"), h.tensor("A")}}, nil, all)
	add(`"t" stands after "t"`, "a tensor twice", forged{tensors: [][]byte{h.tensor("t"), h.tensor("t")}}, nil, all)
}

// hashes are wrong ones, of entries and of tiles.
func (h *hostiles) hashes(tiles, long *fingerprint.Tree) {
	change := func(check int, says, name string, do func(w *wire)) {
		w := h.prove(tiles, fingerprint.Request{Keys: []string{"general.architecture"}, Tensors: []string{"blk.0.attn_q.weight"}})
		do(&w)
		h.add(check, says, name, tiles.Root(), encode(h.t, w))
	}
	change(7, "another model", "an entry changed", func(w *wire) {
		w.Meta.Spans[0].Entries[0] = bytes.Replace(w.Meta.Spans[0].Entries[0], []byte("llama"), []byte("Llama"), 1)
	})
	change(7, "another model", "a hash changed", func(w *wire) { w.Tensors.Spans[0].Hashes[5] ^= 1 })
	change(7, "another model", "another place", func(w *wire) { w.Tensors.Spans[0].From ^= 1 })
	change(7, "another model", "a key left out of the count", func(w *wire) {
		w.Meta.Count, w.Meta.Spans[0].Hashes = 1, []byte{}
	})
	change(7, "another model", "a root changed", func(w *wire) {
		root := canon.Leaf(nil)
		w.Meta.Root, w.Meta.Spans = root[:], []entries{}
	})
	change(7, "hashes for leaves", "a hash left out", func(w *wire) { w.Tensors.Spans[0].Hashes = w.Tensors.Spans[0].Hashes[32:] })
	change(7, "hashes for leaves", "a hash more", func(w *wire) { w.Tensors.Spans[0].Hashes = append(w.Tensors.Spans[0].Hashes, make([]byte, 32)...) })
	change(7, "hashes of 32", "half a hash", func(w *wire) { w.Tensors.Spans[0].Hashes = append(w.Tensors.Spans[0].Hashes, make([]byte, 16)...) })
	change(7, "another root than", "spans of two trees", func(w *wire) {
		other := forged{meta: [][]byte{h.key("a"), h.key("b"), h.key("c")}}
		*w = wire{Meta: sideOf(other.meta, [2]int{0, 1}, [2]int{2, 3}), Tensors: sideOf(nil)}
		w.Meta.Spans[1].Entries = [][]byte{h.key("d")}
	})
	w := h.prove(tiles, fingerprint.Request{})
	h.add(7, "another model", "a proof of another model", long.Root(), encode(h.t, w))
	w.Meta, w.Tensors = w.Tensors, w.Meta
	h.add(7, "another model", "keys and tensors exchanged", tiles.Root(), encode(h.t, w))
}

// runs are of pieces and tiles that are not those of the entry.
func (h *hostiles) runs(tiles, long *fingerprint.Tree) {
	tile := func(says, name string, do func(w *wire)) {
		w := h.prove(tiles, fingerprint.Request{Tensors: []string{"blk.0.attn_norm.weight"}, Tiles: []fingerprint.Tiles{
			{Tensor: "blk.0.attn_q.weight", From: 0, To: 1}, {Tensor: "blk.0.attn_q.weight", From: 2, To: 3},
		}})
		do(&w)
		h.add(8, says, name, tiles.Root(), encode(h.t, w))
	}
	tile("no tensor at 3", "tiles of a tensor that is not shown", func(w *wire) { w.Tiles[1].Place = 3 })
	tile("no tensor at", "tiles of no tensor", func(w *wire) { w.Tiles[1].Place = 1<<64 - 1 })
	tile("0 bytes", "no tiles", func(w *wire) { w.Tiles[1].Data = []byte{} })
	tile("it has 3", "tiles after the last", func(w *wire) { w.Tiles[1].From = 3 })
	tile("it has 3", "tiles far after the last", func(w *wire) { w.Tiles[1].From = 1<<64 - 1 })
	tile("after the last", "bytes after the last tile", func(w *wire) { w.Tiles[1].Data = append(w.Tiles[1].Data, 0) })
	tile("want 170", "a part of a tile", func(w *wire) { w.Tiles[1].Data = w.Tiles[1].Data[1:] })
	tile("want 544", "a part of a second tile", func(w *wire) { w.Tiles[0].Data = append(w.Tiles[0].Data, 0) })
	tile("the root is", "a weight changed", func(w *wire) { w.Tiles[1].Data[169] ^= 1 })
	tile("the root is", "tiles of another place", func(w *wire) { w.Tiles = w.Tiles[:1]; w.Tiles[0].From = 1 })
	tile("the root is", "a hash of the tiles changed", func(w *wire) { w.Tiles[1].Hashes[0] ^= 1 })
	tile("hashes for leaves", "a hash of the tiles left out", func(w *wire) { w.Tiles[1].Hashes = w.Tiles[1].Hashes[32:] })
	tile("hashes of 32", "half a hash of the tiles", func(w *wire) { w.Tiles[1].Hashes = w.Tiles[1].Hashes[16:] })
	tile("stand after", "tiles out of order", func(w *wire) { w.Tiles[0], w.Tiles[1] = w.Tiles[1], w.Tiles[0] })
	tile("stand after", "tiles twice", func(w *wire) { w.Tiles[1] = w.Tiles[0] })
	tile("stand after", "tiles that touch", func(w *wire) {
		x := h.prove(tiles, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "blk.0.attn_q.weight", From: 1, To: 2}}})
		w.Tiles[1] = x.Tiles[0]
	})
	piece := func(says, name string, do func(w *wire)) {
		w := h.prove(long, fingerprint.Request{Keys: []string{"general.name", "tokenizer.chat_template"}, Elements: []fingerprint.Elements{
			{Key: "tokenizer.ggml.scores", From: 0, To: 1}, {Key: "tokenizer.ggml.scores", From: 299, To: 300},
		}})
		do(&w)
		h.add(8, says, name, long.Root(), encode(h.t, w))
	}
	piece("no long value at 4", "pieces of a key that is not shown", func(w *wire) { w.Contents[1].Place = 4 })
	piece("no long value at 1", "pieces of a short value", func(w *wire) { w.Contents[0].Place = 1 })
	piece("0 bytes", "no pieces", func(w *wire) { w.Contents[1].Data = []byte{} })
	piece("it has 5", "pieces after the last", func(w *wire) { w.Contents[1].From = 5 })
	piece("after the last", "bytes after the last piece", func(w *wire) { w.Contents[1].Data = append(w.Contents[1].Data, 0) })
	piece("too few", "a part of a piece", func(w *wire) { w.Contents[1].Data = w.Contents[1].Data[1:] })
	piece("the root is", "an element changed", func(w *wire) { w.Contents[1].Data[0] ^= 1 })
	piece("the root is", "pieces of another place", func(w *wire) { w.Contents = w.Contents[:1]; w.Contents[0].From = 1 })
	piece("stand after", "pieces out of order", func(w *wire) { slices.Reverse(w.Contents) })
	piece("hashes for leaves", "a hash of the pieces more", func(w *wire) { w.Contents[1].Hashes = append(w.Contents[1].Hashes, make([]byte, 32)...) })
}

// pieces are those that a root binds but no file has.
func (h *hostiles) pieces() {
	add := func(says, name string, e metaEntry, pieces [][]byte, from, to int) {
		leaves := leavesOf(pieces)
		root := canon.Root(leaves)
		e.Key, e.Content = "k", root[:]
		f := forged{meta: [][]byte{encode(h.t, e)}}
		h.add(9, says, name, f.root(), encode(h.t, wire{
			Meta: sideOf(f.meta, [2]int{0, 1}), Tensors: sideOf(nil),
			Contents: []run{{From: uint64(from), Data: bytes.Join(pieces[from:to], nil), Hashes: joined(canon.Range(leaves, from, to))}},
		}))
	}
	str, arr := uint32(gguf.KindString), uint32(gguf.KindArray)
	add("shown as a whole", "a part of a string", metaEntry{Kind: str, Size: 8192}, [][]byte{make([]byte, 4096), make([]byte, 4096)}, 0, 1)
	strings64 := func(n, size int) []byte {
		var b []byte
		for range n {
			b = append(binary.LittleEndian.AppendUint64(b, uint64(size)), make([]byte, size)...)
		}
		return b
	}
	add("bytes, want 2000", "strings of another size together", metaEntry{Kind: arr, Elem: str, Count: 65, Size: 2000}, [][]byte{strings64(64, 8), strings64(1, 8)}, 0, 2)
	add("neither 0 nor 1", "bools of 2", metaEntry{Kind: arr, Elem: uint32(gguf.KindBool), Count: 1088, Size: 1088}, slices.Repeat([][]byte{bytes.Repeat([]byte{2}, 64)}, 17), 3, 4)
	deep := func() []byte {
		b := make([]byte, 12)
		for range 4 {
			b = append(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, arr), 1), b...)
		}
		return b
	}
	add("nested", "long arrays nested too deep", metaEntry{Kind: arr, Elem: arr, Count: 128, Size: 128 * 60}, slices.Repeat([][]byte{bytes.Repeat(deep(), 64)}, 2), 0, 2)
	gone := slices.Concat([]byte{13, 0, 0, 0}, make([]byte, 8))
	add("does not exist", "long arrays of what does not exist", metaEntry{Kind: arr, Elem: arr, Count: 128, Size: 128 * 12}, slices.Repeat([][]byte{bytes.Repeat(gone, 64)}, 2), 0, 2)
}

// TestHostileProofs checks that each one is refused, and for its own reason.
func TestHostileProofs(t *testing.T) {
	names, models := vectorModels(t)
	trees := map[string]*fingerprint.Tree{}
	for i, m := range models {
		trees[names[i]] = m.tree(t)
	}
	seen := map[string]bool{}
	for _, h := range hostileProofs(t, trees) {
		if seen[h.name] {
			t.Errorf("two proofs have the name %q", h.name)
		}
		seen[h.name] = true
		_, err := verify(h.proof, h.root)
		if !errors.Is(err, fingerprint.ErrProof) && !errors.Is(err, fingerprint.ErrRoot) || !strings.Contains(fmt.Sprint(err), h.says) {
			t.Errorf("%s: %v, want a refusal that says %q", h.name, err, h.says)
		}
	}
	if _, err := fingerprint.Decode(make([]byte, fingerprint.MaxProof+1)); !errors.Is(err, fingerprint.ErrProof) {
		t.Errorf("a proof beyond the limit: %v", err)
	}
}
