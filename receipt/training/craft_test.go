package training_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
)

// Receipts by hand, so that they can be wrong in one place only: everything
// here is written from spec/training-receipt.md, without the package's encoder.

var signer = ed25519.NewKeyFromSeed([]byte("the seed of a key that trains it"))

func public() ed25519.PublicKey { return signer.Public().(ed25519.PublicKey) }

// head is the start of a CBOR item, in its shortest form.
func head(major byte, n uint64) []byte {
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
	return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
}

func num(n uint64) []byte  { return head(0, n) }
func bstr(b []byte) []byte { return append(head(2, uint64(len(b))), b...) }
func text(s string) []byte { return append(head(3, uint64(len(s))), s...) }
func f64(v float64) []byte { return binary.BigEndian.AppendUint64([]byte{0xfb}, math.Float64bits(v)) }
func fill(b byte) []byte   { return bytes.Repeat([]byte{b}, 32) }

func array(items ...[]byte) []byte {
	return append(head(4, uint64(len(items))), bytes.Join(items, nil)...)
}

type entry struct {
	key   uint64
	value []byte
}

func mapping(entries ...entry) []byte {
	b := head(5, uint64(len(entries)))
	for _, e := range entries {
		b = append(append(b, num(e.key)...), e.value...)
	}
	return b
}

// hashOf is Sum of spec/trace.md.
func hashOf(purpose string, parts ...[]byte) []byte {
	b := append([]byte{byte(len(purpose))}, purpose...)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
	}
	h := sha256.Sum256(b)
	return h[:]
}

func leafHash(value []byte) []byte {
	h := sha256.Sum256(append([]byte{0}, value...))
	return h[:]
}

func treeRoot(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	h := sha256.Sum256(slices.Concat([]byte{1}, treeRoot(leaves[:k]), treeRoot(leaves[k:])))
	return h[:]
}

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func saltOf(label string) []byte {
	return hashOf("aval training salt/1", []byte("a master salt 16"), []byte(label))[:16]
}

// listRoot is the root of the tree over salted values.
func listRoot(salt []byte, values ...[]byte) []byte {
	var leaves [][]byte
	for i, v := range values {
		s := hashOf("aval training leaf salt/1", salt, le64(uint64(i)))[:16]
		leaves = append(leaves, leafHash(slices.Concat(s, v)))
	}
	return treeRoot(leaves)
}

// The run of the vectors: four steps, a checkpoint every two, three examples.
var (
	examples   = [][]byte{[]byte("the first"), []byte("the second"), []byte("a third example")}
	validation = [][]byte{[]byte("kept apart"), []byte("and this")}
	setup      = mapping(entry{1, bstr([]byte(`{"layers":1}`))}, entry{2, bstr([]byte(`{"columns":2}`))}, entry{3, num(7)})
	config     = configWith(7, 4, 2)
	points     = [][]byte{point(0, 0x10), point(2, 0x12), point(4, 0x14)}
	records    = [][]byte{record(0, 3.5), record(1, 3), record(2, 2.5), record(3, 2.25)}
)

// configWith is the encoding of a configuration.
func configWith(seed, steps, every uint64) []byte {
	return mapping(entry{1, num(seed)}, entry{2, num(steps)}, entry{3, num(2)}, entry{4, num(2)}, entry{5, text("sgd")},
		entry{6, []byte{0xf9, 0x38, 0x00}}, entry{8, text("constant")}, entry{17, num(every)})
}

func point(step uint64, root byte) []byte { return append(le64(step), fill(root)...) }

func record(step uint64, loss float64) []byte {
	b := slices.Concat(le64(step), le64(math.Float64bits(loss)), le64(2), le64(1))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(1.5))
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(0.5))
}

// craft is the claims of a receipt.
type craft []entry

// base claims what is right.
func base() craft {
	return craft{
		{1, text("aval-training-receipt/1")},
		{2, num(2)},
		{3, bstr(fill(1))},
		{4, bstr(hashOf("aval training setup/1", saltOf("setup"), setup))},
		{5, bstr(hashOf("aval training config/1", saltOf("config"), config))},
		{6, array(num(3), bstr(listRoot(saltOf("data"), examples...)))},
		{7, num(4)},
		{8, array(num(3), bstr(listRoot(saltOf("checkpoints"), points...)))},
		{9, bstr(listRoot(saltOf("log"), records...))},
		{10, array(num(4), bstr(fill(2)), num(0), bstr(fill(3)), text("f32"))},
		{11, evaluation(2.5, 2, 1)},
		{13, num(1_790_000_000)},
		{14, bstr(public())},
	}
}

func evaluation(loss float64, count, correct uint64) []byte {
	l := f64(loss)
	if loss == 2.5 {
		l = []byte{0xf9, 0x41, 0x00} // its shortest form
	}
	return array(array(num(2), bstr(listRoot(saltOf("validation"), validation...))), num(4), l, num(count), num(correct))
}

// with sets a claim, or takes it away if the value is nil.
func (c craft) with(key uint64, value []byte) craft {
	out := slices.DeleteFunc(slices.Clone(c), func(e entry) bool { return e.key == key })
	if value == nil {
		return out
	}
	at, _ := slices.BinarySearchFunc(out, key, func(e entry, k uint64) int { return int(e.key) - int(k) })
	return slices.Insert(out, at, entry{key, value})
}

func (c craft) signed() []byte { return sign(mapping(c...), signer) }

// sign makes the message of a payload.
func sign(payload []byte, key ed25519.PrivateKey) []byte {
	protected := []byte{0x43, 0xa1, 0x01, 0x27}
	signature := ed25519.Sign(key, array(text("Signature1"), protected, bstr(nil), bstr(payload)))
	return slices.Concat([]byte{0xd2, 0x84}, protected, []byte{0xa0}, bstr(payload), bstr(signature))
}

// opening shows everything but what is taken away.
func opening(change ...entry) []byte {
	all := craft{
		{1, array(bstr(saltOf("setup")), setup)},
		{2, array(bstr(saltOf("config")), bstr(config))},
		{3, array(bstr(saltOf("checkpoints")), bstr(bytes.Join(points, nil)))},
		{4, array(bstr(saltOf("log")), bstr(bytes.Join(records, nil)))},
		{5, bstr(saltOf("data"))},
		{6, bstr(saltOf("validation"))},
	}
	for _, e := range change {
		all = all.with(e.key, e.value)
	}
	return mapping(all...)
}

func file(message, opening []byte) []byte {
	if opening == nil {
		return mapping(entry{1, bstr(message)})
	}
	return mapping(entry{1, bstr(message)}, entry{2, opening})
}
