package canon_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
)

// mth is section 2.1.1 of RFC 9162, word by word.
func mth(d [][]byte) []byte {
	switch n := len(d); n {
	case 0:
		h := sha256.Sum256(nil)
		return h[:]
	case 1:
		h := sha256.Sum256(append([]byte{0}, d[0]...))
		return h[:]
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		h := sha256.Sum256(append(append([]byte{1}, mth(d[:k])...), mth(d[k:])...))
		return h[:]
	}
}

func leavesOf(d [][]byte) []canon.Hash {
	var h []canon.Hash
	for _, v := range d {
		h = append(h, canon.Leaf(v))
	}
	return h
}

func TestRootIsThatOfTheRFC(t *testing.T) {
	var d [][]byte
	for n := range 70 {
		if got, want := canon.Root(leavesOf(d)).String(), hex.EncodeToString(mth(d)); got != want {
			t.Errorf("%d leaves: root %s, want %s", n, got, want)
		}
		d = append(d, make([]byte, n*97%5000))
		rand.NewChaCha8([32]byte{byte(n)}).Read(d[n])
	}
}

func TestRangeProofs(t *testing.T) {
	for n := 1; n <= 20; n++ {
		var leaves []canon.Hash
		for i := range n {
			leaves = append(leaves, canon.Leaf([]byte{byte(i)}))
		}
		root := canon.Root(leaves)
		for from := range n {
			for to := from + 1; to <= n; to++ {
				proof := canon.Range(leaves, from, to)
				if len(proof) != canon.RangeLen(n, from, to) {
					t.Fatalf("%d-%d of %d: %d hashes, RangeLen says %d", from, to, n, len(proof), canon.RangeLen(n, from, to))
				}
				got, err := canon.RangeRoot(n, from, leaves[from:to], proof)
				if err != nil || got != root {
					t.Fatalf("%d-%d of %d: %v, %v", from, to, n, got, err)
				}
				// Any change of a leaf, a hash or a number is noticed.
				changed := append([]canon.Hash(nil), leaves[from:to]...)
				changed[0][3] ^= 1
				if got, err := canon.RangeRoot(n, from, changed, proof); err == nil && got == root {
					t.Errorf("%d-%d of %d: another leaf has the same root", from, to, n)
				}
				for i := range proof {
					p := append([]canon.Hash(nil), proof...)
					p[i][0] ^= 0x80
					if got, err := canon.RangeRoot(n, from, leaves[from:to], p); err == nil && got == root {
						t.Errorf("%d-%d of %d: another proof has the same root", from, to, n)
					}
				}
				if from+1 < n && to < n {
					if got, err := canon.RangeRoot(n, from+1, leaves[from:to], proof); err == nil && got == root {
						t.Errorf("%d-%d of %d: proves another place too", from, to, n)
					}
				}
				if _, err := canon.RangeRoot(n, from, leaves[from:to], append(proof, canon.Hash{})); !errors.Is(err, canon.ErrProof) {
					t.Errorf("%d-%d of %d: a longer proof passes: %v", from, to, n, err)
				}
			}
		}
	}
	for _, c := range []struct{ n, from, leaves int }{{0, 0, 1}, {-1, 0, 1}, {3, 3, 1}, {3, -1, 1}, {3, 0, 0}, {3, 1, 3}, {math.MaxInt, math.MaxInt - 1, 2}} {
		if _, err := canon.RangeRoot(c.n, c.from, make([]canon.Hash, c.leaves), nil); !errors.Is(err, canon.ErrProof) {
			t.Errorf("%+v: %v, want ErrProof", c, err)
		}
	}
}

func TestVectorRoot(t *testing.T) {
	b := make([]byte, 5000)
	rand.NewChaCha8([32]byte{}).Read(b)
	for _, n := range []int{0, 1, 2047, 2048, 2049, 4096, 5000} {
		var d [][]byte
		v := b[:n]
		for len(v) > 2048 {
			d, v = append(d, v[:2048]), v[2048:]
		}
		d = append(d, v)
		if got, want := canon.VectorRoot(b[:n], 2048).String(), hex.EncodeToString(mth(d)); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { canon.VectorRoot(b[:4096], 2048) }); n != 0 {
		t.Errorf("VectorRoot allocates %v times", n)
	}
}

func TestSumSeparates(t *testing.T) {
	seen := map[canon.Hash]string{}
	for _, c := range []struct {
		purpose string
		parts   []string
	}{
		{"ab", nil},
		{"ab", []string{""}},
		{"ab", []string{"", ""}},
		{"abc", nil},
		{"ab", []string{"c"}},
		{"ab", []string{"x", "y"}},
		{"ab", []string{"xy"}},
		{"ab", []string{"xy", ""}},
		{"ab", []string{"", "xy"}},
	} {
		var parts [][]byte
		for _, p := range c.parts {
			parts = append(parts, []byte(p))
		}
		h, name := canon.Sum(c.purpose, parts...), fmt.Sprintf("%q %q", c.purpose, c.parts)
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s hash to the same", name, other)
		}
		seen[h] = name
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, c := range []struct{ name, data string }{
		{"empty", ""},
		{"cut", "a101"},
		{"trailing bytes", "a1010200"},
		{"a number longer than needed", "a1011802"},
		{"keys out of order", "a202010102"},
		{"a key twice", "a201020102"},
		{"an indefinite map", "bf0102ff"},
		{"a tag", "c6a10102"},
		{"an unknown field", "a10702"},
		{"a type that the field has not", "a1016161"},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			A uint64 `cbor:"1,keyasint,omitempty"`
			B uint64 `cbor:"2,keyasint,omitempty"`
		}
		if err := canon.Unmarshal(data, &v); !errors.Is(err, canon.ErrCBOR) {
			t.Errorf("%s: %v, want ErrCBOR", c.name, err)
		}
	}
}

// read reads what TestReader encodes.
func read(data []byte, items int) (n int, list []int, b []byte, err error) {
	r := canon.NewReader(data, items)
	r.Map(3)
	r.Key(1)
	n = r.Uint()
	r.Key(2)
	list = make([]int, r.Array())
	for i := range list {
		list[i] = r.Uint()
	}
	r.Key(300)
	b = r.Bytes()
	return n, list, b, r.End()
}

type record struct {
	N    int    `cbor:"1,keyasint"`
	List []int  `cbor:"2,keyasint"`
	B    []byte `cbor:"300,keyasint"`
}

func TestReader(t *testing.T) {
	for _, n := range []int{0, 23, 24, 255, 256, 65535, 65536, math.MaxInt32} {
		want := record{n, []int{n, 1, n}, make([]byte, min(n, 70000))}
		data, err := canon.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		gotN, list, b, err := read(data, 10)
		if err != nil || gotN != n || !slices.Equal(list, want.List) || !bytes.Equal(b, want.B) {
			t.Errorf("%d: %d, %v, %d bytes, %v", n, gotN, list, len(b), err)
		}
		if _, _, _, err := read(data, 9); !errors.Is(err, canon.ErrCBOR) {
			t.Errorf("%d: ten items of nine: %v", n, err)
		}
		if _, _, _, err := read(append(data, 0), 100); !errors.Is(err, canon.ErrCBOR) {
			t.Errorf("%d: an item too many: %v", n, err)
		}
		for i := range min(len(data), 40) {
			if _, _, _, err := read(data[:i], 100); !errors.Is(err, canon.ErrCBOR) {
				t.Errorf("%d: cut at %d: %v", n, i, err)
			}
		}
	}
	r := canon.NewReader([]byte("\x58\x20"+strings.Repeat("x", 32)+"\x40"), 2)
	if h := r.Hash(); h[31] != 'x' || r.Hash() != (canon.Hash{}) || !errors.Is(r.End(), canon.ErrCBOR) {
		t.Errorf("a hash and an empty string: %v, %v", h, r.End())
	}
	if r := canon.NewReader([]byte("\x80"), 1); true {
		if r.Tuple(1); !errors.Is(r.End(), canon.ErrCBOR) {
			t.Errorf("no items where there should be one: %v", r.End())
		}
	}
}

// FuzzReader: Reader takes what Unmarshal takes, and nothing else.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"a3010002801901" + "2c40", "a301170281181819012c4101", "a30118170280" + "19012c40", "a3011bffffffffffffffff028019012c40",
		"a301f602f619012cf6", "a3010002f619012c40", "a30100029f0019012c40", "a3010019012c400280", "bf0100028019012c40ff",
	} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, list, b, err := read(data, len(data))
		var want record
		wantErr := canon.Unmarshal(data, &want)
		if wantErr == nil { // Unmarshal takes null for nothing, and numbers below zero
			if want.List == nil || want.B == nil || want.N < 0 || slices.ContainsFunc(want.List, func(n int) bool { return n < 0 }) {
				wantErr = canon.ErrCBOR
			}
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%x: Reader says %v, Unmarshal %v", data, err, wantErr)
		}
		if err == nil && (n != want.N || !slices.Equal(list, want.List) || !bytes.Equal(b, want.B)) {
			t.Errorf("%x: %d, %v, %x; Unmarshal %+v", data, n, list, b, want)
		}
	})
}

func FuzzRangeRoot(f *testing.F) {
	f.Add(5, 1, 2, 3)
	f.Fuzz(func(t *testing.T, n, from, leaves, proof int) {
		if leaves < 0 || leaves > 100 || proof < 0 || proof > 100 {
			t.Skip()
		}
		_, _ = canon.RangeRoot(n, from, make([]canon.Hash, leaves), make([]canon.Hash, proof))
	})
}

func BenchmarkVectorRoot(b *testing.B) {
	v := make([]byte, 4096)
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		canon.VectorRoot(v, 2048)
	}
}
