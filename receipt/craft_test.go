package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"math"
	"math/big"
	"slices"

	"github.com/avalnetwork/aval/receipt"
)

// Receipts by hand, so that they can be wrong in one place only: everything
// here is written from spec/receipt.md, without the package's encoder.

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
func array(items ...[]byte) []byte {
	return append(head(4, uint64(len(items))), bytes.Join(items, nil)...)
}

func f32(v float32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0xfa}, math.Float32bits(v))
}

func f64(v float64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0xfb}, math.Float64bits(v))
}

// entry is a pair of a map.
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

// message is a COSE_Sign1 message in parts.
type message struct {
	open                   []byte // tag and array
	protected, unprotected []byte
	payload, signature     []byte // byte strings with their heads
	signed                 []byte // the payload that is signed; nil: payload
	key                    ed25519.PrivateKey
	external               []byte
	sign                   func(toSign []byte) []byte // nil: as the standard says
	tail                   []byte
}

// baseMessage is right in everything.
func baseMessage(payload []byte) message {
	return message{
		open: []byte{0xd2, 0x84}, protected: []byte{0x43, 0xa1, 0x01, 0x27}, unprotected: []byte{0xa0},
		payload: bstr(payload), signed: payload, key: signer,
	}
}

func (m message) bytes() []byte {
	toSign := array(text("Signature1"), m.protected, bstr(m.external), bstr(m.signed))
	if m.signature == nil {
		if m.sign == nil {
			m.sign = func(b []byte) []byte { return ed25519.Sign(m.key, b) }
		}
		m.signature = bstr(m.sign(toSign))
	}
	return slices.Concat(m.open, m.protected, m.unprotected, m.payload, m.signature, m.tail)
}

// with is the message signed by the key of a seed.
func (m message) with(seed []byte) message {
	m.key = ed25519.NewKeyFromSeed(seed)
	return m
}

// craft is the payload of a receipt in parts.
type craft struct {
	params []entry
	claims []entry // without the parameters, which are claim 3
}

// public is the key of the vectors.
func public() ed25519.PublicKey { return signer.Public().(ed25519.PublicKey) }

func fill(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// base claims what is right: a sampled answer of 3 tokens for 5.
func base() craft {
	return craft{
		params: []entry{{1, f32(0.7)}, {2, num(40)}, {9, num(16)}, {10, num(4096)}},
		claims: []entry{
			{1, text("aval/1")},
			{2, bstr(fill(1))},
			{4, array(num(1), bstr([]byte("sixteen byte nce")))},
			{5, bstr(fill(2))},
			{6, num(5)},
			{7, num(3)},
			{8, num(0)},
			{9, num(1_790_000_000)},
			{10, bstr(public())},
		},
	}
}

func replace(entries []entry, key uint64, value []byte) []entry {
	out := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.key == key })
	if value == nil {
		return out
	}
	i := 0
	for i < len(out) && out[i].key < key {
		i++
	}
	return slices.Insert(out, i, entry{key, value})
}

// with is the craft with another claim, without it if value is nil.
func (c craft) with(key uint64, value []byte) craft {
	c.claims = replace(c.claims, key, value)
	return c
}

// param is with for a parameter.
func (c craft) param(key uint64, value []byte) craft {
	c.params = replace(c.params, key, value)
	return c
}

func (c craft) entries() []entry {
	if slices.ContainsFunc(c.claims, func(e entry) bool { return e.key == 3 }) {
		return c.claims
	}
	return replace(c.claims, 3, mapping(c.params...))
}

func (c craft) payload() []byte { return mapping(c.entries()...) }
func (c craft) signed() []byte  { return baseMessage(c.payload()).bytes() }

// order is that of the group of Ed25519.
func order() *big.Int {
	l, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	return l.Add(l, new(big.Int).Lsh(big.NewInt(1), 252))
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// unreduced adds the order of the group to a signature's number S.
func unreduced(sig []byte) []byte {
	s := new(big.Int).SetBytes(reversed(sig[32:]))
	s.Add(s, order())
	return append(slices.Clone(sig[:32]), reversed(s.FillBytes(make([]byte, 32)))...)
}

// badReceipt is a receipt that one check refuses.
type badReceipt struct {
	name  string
	fails string
	raw   []byte
}

// badReceipts is the list of spec/vectors.
func badReceipts() []badReceipt {
	good := base()
	payload := good.payload()
	right := good.signed()
	edit := func(f func(m *message)) []byte {
		m := baseMessage(payload)
		f(&m)
		return m.bytes()
	}
	raw := func(payload []byte) []byte { return baseMessage(payload).bytes() }
	list := badForms(right, payload, edit)
	list = append(list, badClaims(good, raw)...)
	list = append(list, badRanges(good)...)
	return append(list, badKeys(good, payload, edit)...)
}

func badForms(right, payload []byte, edit func(func(*message)) []byte) []badReceipt {
	long := func(b []byte) []byte { // a byte string whose length takes four bytes
		return append(binary.BigEndian.AppendUint32([]byte{0x5a}, uint32(len(b))), b...)
	}
	signatureOf := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return append(ed25519.Sign(signer, b), 0, 0)[:n] }
	}
	return []badReceipt{
		{"nothing", receipt.CheckForm, []byte{}},
		{"cut at the end", receipt.CheckForm, right[:len(right)-1]},
		{"cut in the payload", receipt.CheckForm, right[:40]},
		{"a byte after the end", receipt.CheckForm, edit(func(m *message) { m.tail = []byte{0} })},
		{"more than 4 KiB", receipt.CheckForm, edit(func(m *message) { m.tail = make([]byte, 4096) })},
		{"without the tag", receipt.CheckForm, edit(func(m *message) { m.open = []byte{0x84} })},
		{"the tag of COSE_Sign", receipt.CheckForm, edit(func(m *message) { m.open = []byte{0xd8, 98, 0x84} })},
		{"the tag in two bytes", receipt.CheckForm, edit(func(m *message) { m.open = []byte{0xd8, 18, 0x84} })},
		{"the array's length in two bytes", receipt.CheckForm, edit(func(m *message) { m.open = []byte{0xd2, 0x98, 4} })},
		{"an array without a length", receipt.CheckForm, edit(func(m *message) { m.open, m.tail = []byte{0xd2, 0x9f}, []byte{0xff} })},
		{"an array of five", receipt.CheckForm, edit(func(m *message) { m.open, m.tail = []byte{0xd2, 0x85}, []byte{0} })},
		{"the payload's length in four bytes", receipt.CheckForm, edit(func(m *message) { m.payload = long(payload) })},
		{"the payload in pieces", receipt.CheckForm, edit(func(m *message) {
			m.payload = slices.Concat([]byte{0x5f}, bstr(payload[:9]), bstr(payload[9:]), []byte{0xff})
		})},
		{"the payload as text", receipt.CheckForm, edit(func(m *message) { m.payload = text("aval"); m.signed = []byte("aval") })},
		{"the signature's length in four bytes", receipt.CheckForm, edit(func(m *message) {
			m.signature = long(ed25519.Sign(signer, array(text("Signature1"), m.protected, bstr(nil), bstr(payload))))
		})},
		{"a signature of 63 bytes", receipt.CheckForm, edit(func(m *message) { m.sign = signatureOf(63) })},
		{"a signature of 65 bytes", receipt.CheckForm, edit(func(m *message) { m.sign = signatureOf(65) })},
		{"no signature", receipt.CheckForm, edit(func(m *message) { m.signature = bstr(nil) })},
		{"the algorithm ES256", receipt.CheckAlgorithm, edit(func(m *message) { m.protected = []byte{0x43, 0xa1, 0x01, 0x26} })},
		{"the algorithm by its newer number, Ed25519", receipt.CheckAlgorithm, edit(func(m *message) { m.protected = []byte{0x43, 0xa1, 0x01, 0x32} })},
		{"the algorithm's number in two bytes", receipt.CheckAlgorithm, edit(func(m *message) { m.protected = []byte{0x44, 0xa1, 0x01, 0x38, 0x07} })},
		{"a key id in the protected header", receipt.CheckAlgorithm, edit(func(m *message) { m.protected = []byte{0x46, 0xa2, 0x01, 0x27, 0x04, 0x41, 0x31} })},
		{"no protected header", receipt.CheckAlgorithm, edit(func(m *message) { m.protected = []byte{0x40} })},
		{"the algorithm in the unprotected header", receipt.CheckAlgorithm, edit(func(m *message) {
			m.protected, m.unprotected = []byte{0x40}, []byte{0xa1, 0x01, 0x27}
		})},
		{"a key id in the unprotected header", receipt.CheckHeaders, edit(func(m *message) { m.unprotected = []byte{0xa1, 0x04, 0x41, 0x31} })},
		{"an unknown unprotected header", receipt.CheckHeaders, edit(func(m *message) { m.unprotected = []byte{0xa1, 0x19, 0x03, 0xe8, 0x00} })},
		{"a detached payload", receipt.CheckPayload, edit(func(m *message) { m.payload = []byte{0xf6} })},
	}
}

// adapter is an element of claim 12, with a scale as CBOR.
func adapter(file byte, scale []byte) []byte { return array(bstr(fill(file)), scale) }

// adapted is base with an adapter.
func adapted() craft {
	return base().with(1, text("aval/2")).with(12, array(adapter(5, f32(0.7))))
}

func badClaims(good craft, raw func([]byte) []byte) []badReceipt {
	entries := good.entries()
	swapped := slices.Clone(entries)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	twice := slices.Insert(slices.Clone(entries), 1, entries[1])
	open := slices.Concat([]byte{0xbf}, mapping(entries...)[1:], []byte{0xff})
	claim := func(name string, key uint64, value []byte) badReceipt {
		return badReceipt{name, receipt.CheckClaims, good.with(key, value).signed()}
	}
	param := func(name string, key uint64, value []byte) badReceipt {
		return badReceipt{name, receipt.CheckClaims, good.param(key, value).signed()}
	}
	adapters := func(name string, value []byte) badReceipt {
		return badReceipt{name, receipt.CheckClaims, adapted().with(12, value).signed()}
	}
	return []badReceipt{
		{"an empty payload", receipt.CheckClaims, raw([]byte{})},
		{"claims in an array", receipt.CheckClaims, raw(array(num(1)))},
		{"claims out of order", receipt.CheckClaims, raw(mapping(swapped...))},
		{"a claim twice", receipt.CheckClaims, raw(mapping(twice...))},
		{"claims without a length", receipt.CheckClaims, raw(open)},
		{"the map's length in two bytes", receipt.CheckClaims, raw(append([]byte{0xb8, byte(len(entries))}, good.payload()[1:]...))},
		{"a byte after the claims", receipt.CheckClaims, raw(append(good.payload(), 0))},
		claim("adapters that are a number", 12, num(1)),
		claim("an unknown claim", 13, num(1)),
		adapters("an empty list of adapters", array()),
		adapters("adapters that are null", []byte{0xf6}),
		adapters("an adapter without a scale", array(array(bstr(fill(5))))),
		adapters("an adapter with one element more", array(array(bstr(fill(5)), f32(0.7), num(1)))),
		adapters("an adapter of 31 bytes", array(array(bstr(fill(5)[:31]), f32(0.7)))),
		adapters("a scale as an integer", array(array(bstr(fill(5)), num(1)))),
		adapters("a scale in four bytes that two can hold", array(array(bstr(fill(5)), f32(1)))),
		adapters("a scale in eight bytes", array(array(bstr(fill(5)), f64(0.7)))),
		claim("no key", 10, nil),
		claim("no suite", 1, nil),
		claim("no seed", 4, nil),
		claim("the suite as bytes", 1, bstr([]byte("aval/1"))),
		claim("a model of 31 bytes", 2, bstr(fill(1)[:31])),
		claim("a model of 33 bytes", 2, bstr(append(fill(1), 0))),
		claim("a model as an array of numbers", 2, array(slices.Repeat([][]byte{num(1)}, 32)...)),
		claim("commitments of 63 bytes", 5, bstr(make([]byte, 63))),
		claim("a trace of zeros", 5, bstr(append(fill(2), make([]byte, 32)...))),
		claim("a number in a longer form", 6, []byte{0x18, 5}),
		claim("a number as a float", 6, []byte{0xf9, 0x45, 0x00}),
		claim("a number below zero", 7, []byte{0x22}),
		claim("a number of 33 bits", 7, num(1<<32)),
		claim("a tag", 9, append([]byte{0xc1}, num(1_790_000_000)...)),
		claim("a key of 31 bytes", 10, bstr(public()[:31])),
		claim("a ledger that is null", 11, []byte{0xf6}),
		claim("a ledger without its block", 11, array(text("aval"), num(9))),
		claim("a seed that is a number", 4, num(7)),
		claim("an empty seed", 4, array()),
		claim("a seed of an unknown kind", 4, array(num(3), num(7))),
		claim("a self-chosen seed of bytes", 4, array(num(0), bstr([]byte("12345678")))),
		claim("a nonce that is a number", 4, array(num(1), num(7))),
		claim("a seed with one element more", 4, array(num(0), num(7), num(7))),
		claim("a beacon's value of 31 bytes", 4, array(num(2), text("drand"), num(7), bstr(fill(1)[:31]))),
		claim("a beacon's name that is not UTF-8", 4, array(num(2), text("\xff"), num(7), bstr(fill(1)))),
		param("an unknown parameter", 14, num(1)),
		param("a float in eight bytes", 1, f64(float64(float32(0.7)))),
		param("a float that four bytes cannot hold", 1, f64(0.7)),
		param("a float in four bytes that two can hold", 1, f32(0.5)),
		param("a float as an integer", 1, num(1)),
		param("a default that is written out", 1, []byte{0xf9, 0, 0}),
		param("minus zero", 1, []byte{0xf9, 0x80, 0}),
		param("a flag that is false", 11, []byte{0xf4}),
		param("a flag that is 1", 11, num(1)),
		{"the suite of adapters without any", receipt.CheckSuite, good.with(1, text("aval/2")).signed()},
		{"adapters in the suite without", receipt.CheckSuite, adapted().with(1, text("aval/1")).signed()},
		{"the suite of the future", receipt.CheckSuite, good.with(1, text("aval/3")).signed()},
		{"the suite in capitals", receipt.CheckSuite, good.with(1, text("AVAL/1")).signed()},
		{"no name of a suite", receipt.CheckSuite, good.with(1, text("")).signed()},
	}
}

func badRanges(good craft) []badReceipt {
	claim := func(name string, key uint64, value []byte) badReceipt {
		return badReceipt{name, receipt.CheckRanges, good.with(key, value).signed()}
	}
	param := func(name string, key uint64, value []byte) badReceipt {
		return badReceipt{name, receipt.CheckRanges, good.param(key, value).signed()}
	}
	flag := []byte{0xf5}
	adapters := func(name string, list ...[]byte) badReceipt {
		return badReceipt{name, receipt.CheckRanges, adapted().with(12, array(list...)).signed()}
	}
	return []badReceipt{
		adapters("nine adapters", slices.Repeat([][]byte{adapter(5, f32(0.7))}, 9)...),
		adapters("an adapter of zeros", adapter(5, f32(0.7)), adapter(0, f32(0.7))),
		adapters("a scale of 0", adapter(5, []byte{0xf9, 0, 0})),
		adapters("a scale that is not a number", adapter(5, []byte{0xf9, 0x7e, 0})),
		adapters("an infinite scale", adapter(5, []byte{0xf9, 0xfc, 0})),
		param("a temperature that is not a number", 1, []byte{0xf9, 0x7e, 0x00}),
		param("an infinite temperature", 1, []byte{0xf9, 0x7c, 0x00}),
		param("a temperature below 0", 1, []byte{0xf9, 0xbc, 0x00}),
		param("a temperature above 100", 1, f32(100.1)),
		param("top_p above 1", 3, []byte{0xf9, 0x3e, 0x00}),
		param("min_p below 0", 4, []byte{0xf9, 0xb8, 0x00}),
		param("a penalty below -100", 6, f32(-100.1)),
		param("top_k below 0", 2, []byte{0x20}),
		param("repeat_last_n of -2", 8, []byte{0x21}),
		param("a context that no model has", 10, num(1<<20+1)),
		claim("a nonce of 7 bytes", 4, array(num(1), bstr([]byte("1234567")))),
		claim("a nonce of 33 bytes", 4, array(num(1), bstr(append(fill(1), 0)))),
		claim("a beacon without a name", 4, array(num(2), text(""), num(7), bstr(fill(1)))),
		claim("a beacon's name of 33 bytes", 4, array(num(2), text("123456789012345678901234567890123"), num(7), bstr(fill(1)))),
		claim("a model of zeros", 2, bstr(fill(0))),
		claim("a transcript of zeros", 5, bstr(fill(0))),
		claim("no prompt tokens", 6, num(0)),
		claim("too many prompt tokens", 6, num(1<<20+1)),
		claim("no output tokens", 7, num(0)),
		claim("more output tokens than max_tokens", 7, num(17)),
		claim("more tokens than the context", 6, num(4094)),
		claim("an unknown stop reason", 8, num(3)),
		claim("ended for a length that was not reached", 8, num(2)),
		claim("ended by a stop string without extra parameters", 8, num(1)),
		param("ended by the model's turn, which was to be ignored", 11, flag),
		claim("the time 0", 9, num(0)),
		claim("a chain without a name", 11, array(text(""), num(7), bstr(fill(1)))),
	}
}

func badKeys(good craft, payload []byte, edit func(func(*message)) []byte) []badReceipt {
	other := ed25519.NewKeyFromSeed(fill(8))
	key := func(name string, k []byte) badReceipt {
		// With a key of small order, the signature of S = 0 and R = the
		// neutral point fits every message, or every eighth.
		m := baseMessage(good.with(10, bstr(k)).payload())
		m.signature = bstr(append([]byte{1}, make([]byte, 63)...))
		return badReceipt{name, receipt.CheckKey, m.bytes()}
	}
	atEnd := func(b byte) []byte { // p + b - 0xed
		k := bytes.Repeat([]byte{0xff}, 32)
		k[0], k[31] = b, 0x7f
		return k
	}
	signed := func(k byte, b []byte) []byte { b[31] |= k; return b }
	order8 := []byte{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	}
	one := func() []byte { return append([]byte{1}, make([]byte, 31)...) }
	flipped := func(i int) []byte {
		return edit(func(m *message) {
			m.sign = func(b []byte) []byte { s := ed25519.Sign(signer, b); s[i] ^= 1; return s }
		})
	}
	notOnCurve := func() []byte { return append([]byte{2}, make([]byte, 31)...) }
	return []badReceipt{
		key("the neutral point as key", one()),
		key("the neutral point with a sign", signed(0x80, one())),
		key("a key of order 2", atEnd(0xec)),
		key("a key of order 4", fill(0)),
		key("another key of order 4", signed(0x80, fill(0))),
		key("a key of order 8", slices.Clone(order8)),
		key("another key of order 8", signed(0x80, slices.Clone(order8))),
		key("the key p, another form of 0", atEnd(0xed)),
		key("the key p + 1, another form of 1", atEnd(0xee)),
		key("the key 2^255 - 1", atEnd(0xff)),
		{"a key that is no point", receipt.CheckSignature, good.with(10, bstr(notOnCurve())).signed()},
		{"a signature's R altered", receipt.CheckSignature, flipped(0)},
		{"a signature's S altered", receipt.CheckSignature, flipped(32)},
		{"a signature's S not reduced", receipt.CheckSignature, edit(func(m *message) {
			m.sign = func(b []byte) []byte { return unreduced(ed25519.Sign(signer, b)) }
		})},
		{"a signature of zeros", receipt.CheckSignature, edit(func(m *message) { m.signature = bstr(make([]byte, 64)) })},
		{"a claim altered after signing", receipt.CheckSignature, edit(func(m *message) { m.payload = bstr(good.with(7, num(4)).payload()) })},
		{"signed by another key", receipt.CheckSignature, edit(func(m *message) { m.key = other })},
		{"signed with external data", receipt.CheckSignature, edit(func(m *message) { m.external = []byte("x") })},
		{"the payload signed bare", receipt.CheckSignature, edit(func(m *message) {
			m.sign = func([]byte) []byte { return ed25519.Sign(signer, payload) }
		})},
		{"signed as Ed25519ctx", receipt.CheckSignature, edit(func(m *message) {
			m.sign = func(b []byte) []byte {
				s, _ := signer.Sign(nil, b, &ed25519.Options{Context: "aval"})
				return s
			}
		})},
	}
}
