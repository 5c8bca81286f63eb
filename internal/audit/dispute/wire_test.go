package dispute_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
)

// wire is a message as section 5 of spec/dispute.md writes it.
type wire struct {
	_         struct{} `cbor:",toarray"`
	Dispute   []byte
	Round     int
	Kind      uint8
	Body      []byte
	Signature []byte
}

func parse(m []byte) (w wire) {
	if err := canon.Unmarshal(m, &w); err != nil {
		panic(err)
	}
	return w
}

func (w wire) digest(head canon.Hash) canon.Hash {
	round := binary.LittleEndian.AppendUint64(nil, uint64(w.Round))
	return canon.Sum("aval dispute message/1", w.Dispute, round, head[:], []byte{w.Kind}, w.Body)
}

// sign signs a message for the place in a game that its head says.
func (w wire) sign(key ed25519.PrivateKey, head canon.Hash) []byte {
	d := w.digest(head)
	w.Signature = ed25519.Sign(key, d[:])
	return must(canon.Marshal(&w))
}

// heads are the heads before each of the messages of a game, and the last one.
func heads(id canon.Hash, log [][]byte) []canon.Hash {
	h := []canon.Hash{id}
	for _, m := range log {
		h = append(h, parse(m).digest(h[len(h)-1]))
	}
	return h
}

// mutants are changes of one place of a CBOR item, each place in several ways.
func mutants(item []byte) [][]byte {
	var v any
	if canon.Unmarshal(item, &v) != nil {
		return nil
	}
	var out [][]byte
	walkMutants(v, func(v any) {
		if b, err := canon.Marshal(v); err == nil && !bytes.Equal(b, item) {
			out = append(out, b)
		}
	})
	return out
}

// walkMutants calls emit for each change of v.
func walkMutants(v any, emit func(any)) {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			walkMutants(e, func(m any) {
				c := slices.Clone(v)
				c[i] = m
				emit(c)
			})
			emit(slices.Delete(slices.Clone(v), i, i+1))
			if i > 0 {
				c := slices.Clone(v)
				c[i], c[i-1] = c[i-1], c[i]
				emit(c)
			}
		}
		if len(v) > 0 {
			emit(append(slices.Clone(v), v[len(v)-1]))
		}
		emit([]any{})
		emit(nil)
	case map[any]any:
		change := func(k, e any) {
			c := map[any]any{}
			for x, y := range v {
				c[x] = y
			}
			c[k] = e
			if e == nil {
				delete(c, k)
			}
			emit(c)
		}
		keys := make([]any, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, k := range keys {
			e := v[k]
			walkMutants(e, func(m any) { change(k, m) })
			change(k, nil)
		}
		for k := range uint64(17) {
			if v[k] == nil {
				change(k, uint64(1))
				change(k, make([]byte, 32))
			}
		}
	case []byte:
		for _, i := range []int{0, len(v) / 2, len(v) - 1} {
			if i >= 0 && i < len(v) {
				c := slices.Clone(v)
				c[i] ^= 1 << (i % 8)
				emit(c)
			}
		}
		if len(v) > 0 {
			emit(v[1:])
		}
		emit(append(slices.Clone(v), 0))
		emit([]byte{})
		emit(make([]byte, 70000))
		emit(uint64(7))
		if m := mutants(v); len(v) > 40 { // CBOR in CBOR
			for _, e := range m {
				emit(e)
			}
		}
	case uint64:
		for _, n := range []uint64{0, 1, v + 1, v - 1, 1 << 20, 1 << 40, math.MaxInt64, math.MaxUint64} {
			if n != v {
				emit(n)
			}
		}
		emit(int64(-1))
	case bool:
		emit(!v)
	default:
		emit(uint64(1))
	}
}

// mutate makes one change at random, or a small change of the bytes.
func mutate(r *rand.Rand, item []byte) []byte {
	var v, chosen any
	if canon.Unmarshal(item, &v) == nil && r.IntN(4) > 0 {
		n := 0
		walkMutants(v, func(m any) {
			if n++; r.IntN(n) == 0 {
				chosen = m
			}
		})
		if m, err := canon.Marshal(chosen); err == nil {
			return m
		}
	}
	b := slices.Clone(item)
	if len(b) == 0 {
		return []byte{0}
	}
	switch i := r.IntN(len(b)); r.IntN(3) {
	case 0:
		b[i] ^= 1 << r.IntN(8)
	case 1:
		b = b[:i]
	default:
		b = append(b, byte(r.Uint32()))
	}
	return b
}

// TestManyItems: what is handed over is refused if it would take much more
// memory than it has bytes.
func TestManyItems(t *testing.T) {
	const n = 1 << 16
	layer := append([]byte{0x9a, 0, 1, 0, 0}, bytes.Repeat([]byte{0x40}, n)...)
	data := slices.Concat([]byte{0x82, 0x85, 0xf6, 0x40, 1, 1, 0xf6, 0x81}, layer)
	if _, err := dispute.DecodeServedTrace(data); err == nil || !strings.Contains(err.Error(), "data items") {
		t.Error(err)
	}
	data = slices.Concat([]byte{0x82, 0x82, 0x80, 0xf6, 0x81}, layer)
	if _, err := dispute.DecodeServedCell(data); err == nil || !strings.Contains(err.Error(), "data items") {
		t.Error(err)
	}
}

// TestTermsEncoding reads terms as they are written, and refuses others.
func TestTermsEncoding(t *testing.T) {
	key := bytes.Repeat([]byte{3}, 32)
	for _, want := range []dispute.Terms{
		{Challenger: key, Move: 600, Total: 3600, Fanout: 1024},
		{Challenger: key, Nonce: []byte{1}, Move: 1, Total: 1 << 40, Fanout: 2},
		{Challenger: key, Nonce: bytes.Repeat([]byte{9}, 32), Move: 120, Total: 240, Fanout: 64},
	} {
		got, err := dispute.DecodeTerms(must(want.Encode()))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	// The zero values are written as what they stand for.
	got, err := dispute.DecodeTerms(must(dispute.Terms{Challenger: key}.Encode()))
	if err != nil || got.Move != 600 || got.Total != 3600 || got.Fanout != 1024 {
		t.Errorf("the defaults: %+v, %v", got, err)
	}
	type form struct {
		_          struct{} `cbor:",toarray"`
		Challenger []byte
		Nonce      []byte
		Move       uint64
		Total      uint64
		Fanout     int
	}
	for name, bad := range map[string]form{
		"no key":           {Move: 1, Total: 1, Fanout: 2},
		"a short key":      {Challenger: key[1:], Move: 1, Total: 1, Fanout: 2},
		"an empty nonce":   {Challenger: key, Nonce: []byte{}, Move: 1, Total: 1, Fanout: 2},
		"a long nonce":     {Challenger: key, Nonce: make([]byte, 33), Move: 1, Total: 1, Fanout: 2},
		"no move":          {Challenger: key, Total: 1, Fanout: 2},
		"no total":         {Challenger: key, Move: 1, Fanout: 2},
		"a long move":      {Challenger: key, Move: 1<<40 + 1, Total: 1, Fanout: 2},
		"a small fanout":   {Challenger: key, Move: 1, Total: 1, Fanout: 1},
		"a large fanout":   {Challenger: key, Move: 1, Total: 1, Fanout: 1025},
		"a negative one":   {Challenger: key, Move: 1, Total: 1, Fanout: -5},
		"a nonce too long": {Challenger: key, Nonce: make([]byte, 200), Move: 1, Total: 1, Fanout: 2},
	} {
		if got, err := dispute.DecodeTerms(must(canon.Marshal(&bad))); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
