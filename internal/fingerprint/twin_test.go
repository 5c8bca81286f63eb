package fingerprint_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
)

// What follows is spec/fingerprint.md once more, as plainly as it can be
// written, to compare with.

// twinTree is the root of RFC 9162 section 2.1.1.
func twinTree(leaves [][]byte) []byte {
	var h [32]byte
	switch n := len(leaves); n {
	case 0:
		h = sha256.Sum256(nil)
	case 1:
		h = sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		h = sha256.Sum256(slices.Concat([]byte{1}, twinTree(leaves[:k]), twinTree(leaves[k:])))
	}
	return h[:]
}

func twinSum(purpose string, parts ...[]byte) []byte {
	b := append([]byte{byte(len(purpose))}, purpose...)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
	}
	h := sha256.Sum256(b)
	return h[:]
}

// twinHead is the start of a CBOR item.
func twinHead(major byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return []byte{major<<5 | 24, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
	}
	return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, uint64(n))
}

func twinText(s string) []byte  { return append(twinHead(3, len(s)), s...) }
func twinBytes(b []byte) []byte { return append(twinHead(2, len(b)), b...) }

// twinElement is an element of an array as it stands in a file.
func twinElement(v gguf.Value) []byte {
	u64 := func(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	switch v.Kind() {
	case gguf.KindString:
		s, _ := v.Text()
		return append(u64(len(s)), s...)
	case gguf.KindArray:
		b := append(binary.LittleEndian.AppendUint32(nil, uint32(v.Elem())), u64(v.Len())...)
		for _, e := range v.All() {
			b = append(b, twinElement(e)...)
		}
		return b
	}
	return []byte(v.Raw())
}

func twinMeta(p pair) []byte {
	v := p.value
	var content []byte
	var pieces [][]byte
	elem, count := 0, 0
	switch v.Kind() {
	case gguf.KindArray:
		elem, count = int(v.Elem()), v.Len()
		for i, e := range v.All() {
			if i%64 == 0 {
				pieces = append(pieces, nil)
			}
			b := twinElement(e)
			pieces[len(pieces)-1] = append(pieces[len(pieces)-1], b...)
			content = append(content, b...)
		}
	case gguf.KindString:
		s, _ := v.Text()
		content = []byte(s)
		for rest := content; len(rest) > 0; rest = rest[min(4096, len(rest)):] {
			pieces = append(pieces, rest[:min(4096, len(rest))])
		}
	default:
		content = twinElement(v)
	}
	size := len(content)
	if size > 1024 {
		content = twinTree(pieces)
	}
	return slices.Concat(twinHead(4, 6), twinText(p.key), twinHead(0, int(v.Kind())),
		twinHead(0, elem), twinHead(0, count), twinHead(0, size), twinBytes(content))
}

func twinTensor(w weight) []byte {
	elems, size := w.typ.Block()
	cols, rows := w.shape[0], 1
	for _, d := range w.shape[1:] {
		rows *= d
	}
	rowBytes := cols / elems * size
	chunk, chunkBytes := 1024, 1024*size
	if elems > 1 {
		chunk, chunkBytes = 6144, 6144/elems*size
	}
	var tiles [][]byte
	if cols <= chunk {
		r := 1
		for _, n := range []int{2, 4, 8, 16} {
			if n*rowBytes <= 8192 {
				r = n
			}
		}
		for row := 0; row < rows; row += r {
			tiles = append(tiles, w.data[row*rowBytes:min(row+r, rows)*rowBytes])
		}
	} else {
		for row := range rows {
			for at := 0; at < rowBytes; at += chunkBytes {
				tiles = append(tiles, w.data[row*rowBytes:][at:min(at+chunkBytes, rowBytes)])
			}
		}
	}
	b := slices.Concat(twinHead(4, 4), twinText(w.name), twinHead(0, int(w.typ)), twinHead(4, len(w.shape)))
	for _, d := range w.shape {
		b = append(b, twinHead(0, d)...)
	}
	return append(b, twinBytes(twinTree(tiles))...)
}

// twinRoot is the root of a model, in hexadecimal.
func twinRoot(m model) string {
	var meta, tensors [][]byte
	pairs, weights := slices.Clone(m.pairs), slices.Clone(m.weights)
	slices.SortFunc(pairs, func(a, b pair) int { return slices.Compare([]byte(a.key), []byte(b.key)) })
	slices.SortFunc(weights, func(a, b weight) int { return slices.Compare([]byte(a.name), []byte(b.name)) })
	for _, p := range pairs {
		if p.key != "general.alignment" && (len(p.key) < 6 || p.key[:6] != "split.") {
			meta = append(meta, twinMeta(p))
		}
	}
	for _, w := range weights {
		tensors = append(tensors, twinTensor(w))
	}
	u64 := func(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	return fmt.Sprintf("%x", twinSum("aval model/1", twinTree(meta), u64(len(meta)), twinTree(tensors), u64(len(tensors))))
}

func TestRootIsThatOfTheTwin(t *testing.T) {
	m := small(t)
	if got, want := m.tree(t).Root().String(), twinRoot(m); got != want {
		t.Errorf("root %s, want %s", got, want)
	}
	if got, want := (model{}).tree(t).Root().String(), twinRoot(model{}); got != want {
		t.Errorf("without entries: root %s, want %s", got, want)
	}
	// Every type, and content of every length around the limits.
	for i, typ := range gguf.Types() {
		elems, _ := typ.Block()
		m := model{}
		for j, shape := range [][]int{{elems}, {elems * 3, 40}, {6144, 2}, {6144 + 256, 3}, {256, 2, 2, 9}, {1024, 5}} {
			m.weights = append(m.weights, randomWeight(byte(16*i+j), fmt.Sprintf("w%d", j), typ, shape...))
		}
		for _, n := range []int{0, 1, 63, 64, 65, 127, 128, 129, 1000} {
			list := make([]string, n)
			for j := range list {
				list[j] = fmt.Sprintf("%*d", j%30, i)
			}
			m.pairs = append(m.pairs, pair{fmt.Sprintf("list.%d", n), gguf.ArrayOf(list)}, pair{fmt.Sprintf("numbers.%d", n), gguf.ArrayOf(make([]float64, n))})
		}
		for _, n := range []int{1023, 1024, 1025, 4095, 4096, 4097, 8192, 8193} {
			m.pairs = append(m.pairs, pair{fmt.Sprintf("text.%d", n), gguf.ValueOf(string(make([]byte, n)))}, pair{fmt.Sprintf("bytes.%d", n), gguf.ArrayOf(make([]byte, n))})
		}
		var parts []gguf.Value
		for j := range 200 {
			parts = append(parts, gguf.ArrayOf(make([]int16, j)))
		}
		nested, err := gguf.ArrayOfValues(gguf.KindArray, parts...)
		if err != nil {
			t.Fatal(err)
		}
		m.pairs = append(m.pairs, pair{"nested", nested})
		if got, want := m.tree(t).Root().String(), twinRoot(m); got != want {
			t.Errorf("%s: root %s, want %s", typ, got, want)
		}
	}
}
