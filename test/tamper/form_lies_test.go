package tamper_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// raw is a lie in the bytes of a receipt, which change makes of the right ones.
func raw(detail string, change func(t *testing.T, b []byte) []byte) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		return fileOf(t, change(t, f.Receipt.Bytes()), f.Opening).at(detail)
	}
}

// resigned is a lie in the bytes of the claims, signed again.
func resigned(detail string, change func(payload []byte) []byte) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		return fileOf(t, message(change(payloadOf(t, &f.Receipt)), liar), f.Opening).at(detail)
	}
}

// keyed signs for a key that should not be taken: what it signs does not
// matter.
func keyed(key []byte, detail string) forger {
	return craftedClaims(story, func(c map[uint64]any) { c[10] = key }, detail)
}

var formLies = []lie{
	{name: "signed by another key than the one expected", offline: receipt.CheckSigner, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("signed by " + receipt.FormatNodeKey(liar.Public().(ed25519.PublicKey)))
		f.expect.Key = keyOf(7).Public().(ed25519.PublicKey)
		return f
	}},
	{name: "another's key named, the liar's signature", offline: receipt.CheckSignature, forge: keyed(keyOf(7).Public().(ed25519.PublicKey), "it is not that of the key over these claims")},
	{name: "a claim changed after it was signed", offline: receipt.CheckSignature, forge: raw("it is not that of the key", func(_ *testing.T, b []byte) []byte { b[30] ^= 1; return b })},
	{name: "the signature of another receipt", offline: receipt.CheckSignature, forge: func(t *testing.T, w *world) *forged {
		f, g := w.answer(t, story()).sign(t), another(t, w)
		b, o := f.Receipt.Bytes(), g.Receipt.Bytes()
		copy(b[len(b)-64:], o[len(o)-64:])
		return fileOf(t, b, f.Opening).at("it is not that of the key")
	}},
	{name: "a signature over the claims alone", offline: receipt.CheckSignature, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		b := f.Receipt.Bytes()
		copy(b[len(b)-64:], ed25519.Sign(liar, payloadOf(t, &f.Receipt)))
		return fileOf(t, b, f.Opening).at("it is not that of the key")
	}},
	{name: "a second signature made of the first (S + L)", offline: receipt.CheckSignature, forge: raw("it is not that of the key", func(_ *testing.T, b []byte) []byte {
		order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
		s := slices.Clone(b[len(b)-32:])
		slices.Reverse(s)
		n := new(big.Int).Add(new(big.Int).SetBytes(s), order)
		n.FillBytes(s)
		slices.Reverse(s)
		copy(b[len(b)-32:], s)
		return b
	})},
	{name: "a key of small order, which signs everything", offline: receipt.CheckKey, forge: keyed(append([]byte{1}, make([]byte, 31)...), "a point of small order")},
	{name: "a key in a form that is not canonical", offline: receipt.CheckKey, forge: keyed(append(append([]byte{0xee}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f), "not in canonical form")},
	{name: "a key of another length", offline: receipt.CheckClaims, forge: keyed(make([]byte, 31), "the key has 31 bytes")},
	{name: "a suite of an older name", offline: receipt.CheckSuite, forge: craftedClaims(story, func(c map[uint64]any) { c[1] = "aval/0" }, `"aval/0" is unknown`)},
	{name: "a suite of another name", offline: receipt.CheckSuite, forge: craftedClaims(story, func(c map[uint64]any) { c[1] = "aval/1 " }, `"aval/1 " is unknown`)},
	{name: "a claim that nobody knows", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[14] = "a human read it" }, "not canonical CBOR")},
	{name: "a claim left out", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { delete(c, 9) }, "not canonical CBOR")},
	{name: "a claim of another type", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[6] = "23" }, "not canonical CBOR")},
	{name: "a parameter that nobody knows", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[14] = true
	}, "not canonical CBOR")},
	{name: "a parameter that says its default", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[8] = uint64(0)
	}, "not in the deterministic encoding")},
	{name: "a temperature that is minus zero", offline: receipt.CheckClaims, forge: craftedClaims(greedy, func(c map[uint64]any) {
		c[3].(map[uint64]any)[1] = negativeZero
	}, "not in the deterministic encoding")},
	{name: "a seed with something added", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[4] = []any{uint64(1), nonce, nonce} }, "the seed is not")},
	{name: "a commitment to nothing", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[5] = make([]byte, 32) }, "all zeros")},
	{name: "a trace that is all zeros", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[5] = append(c[5].([]byte)[:32:32], make([]byte, 32)...) }, "the trace is all zeros")},
	{name: "a model that is all zeros", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[2] = make([]byte, 32) }, "all zeros")},
	{name: "a commitment of another length", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[5] = c[5].([]byte)[:48] }, "the commitments have 48 bytes")},
	{name: "a block of a chain without a name", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[11] = []any{"", uint64(1), make([]byte, 32)} }, "the name of the chain has 0 bytes")},
	{name: "a claim twice", offline: receipt.CheckClaims, forge: resigned("duplicate", func(b []byte) []byte {
		b = slices.Concat(b, []byte{0x08, 0x02})
		b[0]++
		return b
	})},
	{name: "the claims in another order", offline: receipt.CheckClaims, forge: resigned("not in the deterministic encoding", func(b []byte) []byte {
		suite := b[1:9] // 01, then the text
		return slices.Concat(b[:1], b[9:], suite)
	})},
	{name: "a number longer than it need be", offline: receipt.CheckClaims, forge: resigned("not in the deterministic encoding", func(b []byte) []byte {
		i := bytes.Index(b, []byte{0x08, 0x02, 0x09}) // stop: 2, then the time
		return slices.Concat(b[:i+1], []byte{0x18, 0x02}, b[i+2:])
	})},
	{name: "a map without a length", offline: receipt.CheckClaims, forge: resigned("not canonical CBOR", func(b []byte) []byte {
		return slices.Concat([]byte{0xbf}, b[1:], []byte{0xff})
	})},
	{name: "bytes behind the claims", offline: receipt.CheckClaims, forge: resigned("extraneous data", func(b []byte) []byte { return append(b, 0) })},
	{name: "bytes behind the receipt", offline: receipt.CheckForm, forge: raw("not a COSE_Sign1 message", func(_ *testing.T, b []byte) []byte { return append(b, 0) })},
	{name: "a receipt cut short", offline: receipt.CheckForm, forge: raw("not a COSE_Sign1 message", func(_ *testing.T, b []byte) []byte { return b[:len(b)-1] })},
	{name: "no receipt at all", offline: receipt.CheckForm, forge: raw("not a COSE_Sign1 message", func(*testing.T, []byte) []byte { return []byte{} })},
	{name: "a receipt longer than any", offline: receipt.CheckForm, forge: raw("want at most 4096", func(_ *testing.T, b []byte) []byte { return append(b, make([]byte, 4096)...) })},
	{name: "another signature algorithm named", offline: receipt.CheckAlgorithm, forge: raw("EdDSA and nothing else", func(_ *testing.T, b []byte) []byte { b[5] = 0x26; return b })},
	{name: "no signature algorithm", offline: receipt.CheckAlgorithm, forge: raw("EdDSA and nothing else", func(_ *testing.T, b []byte) []byte {
		return slices.Concat(b[:2], []byte{0x41, 0xa0}, b[6:])
	})},
	{name: "a header that is not signed", offline: receipt.CheckHeaders, forge: raw("the unprotected header is not empty", func(_ *testing.T, b []byte) []byte {
		return slices.Concat(b[:6], []byte{0xa1, 0x04, 0x41, 0x31}, b[7:])
	})},
	{name: "the claims left out of the message", offline: receipt.CheckPayload, forge: raw("the claims are not in the message", func(t *testing.T, b []byte) []byte {
		return slices.Concat(b[:7], []byte{0xf6}, b[len(b)-66:])
	})},
	{name: "a signature of another length", offline: receipt.CheckForm, forge: raw("the signature has 63 bytes", func(_ *testing.T, b []byte) []byte {
		i := len(b) - 66
		return slices.Concat(b[:i], []byte{0x58, 63}, b[i+2:len(b)-1])
	})},
	{name: "a length of the message longer than it need be", offline: receipt.CheckForm, forge: raw("not in its shortest form", func(_ *testing.T, b []byte) []byte {
		i := len(b) - 66
		return slices.Concat(b[:i], []byte{0x59, 0, 64}, b[i+2:])
	})},
	{name: "a receipt without its tag", offline: receipt.CheckForm, forge: raw("not a COSE_Sign1 message", func(_ *testing.T, b []byte) []byte { return b[1:] })},
	{name: "a message for several signers", offline: receipt.CheckForm, forge: raw("not a COSE_Sign1 message", func(_ *testing.T, b []byte) []byte { return append([]byte{0xd8, 98}, b[1:]...) })},
	{name: "bytes behind the file", offline: receipt.CheckFile, forge: filed("not a file of a receipt", func(b []byte) []byte { return append(b, 0) })},
	{name: "a file with something unknown in it", offline: receipt.CheckFile, forge: filed("not a file of a receipt", func(b []byte) []byte {
		b = append(b, 0x04, 0xf5)
		b[0]++
		return b
	})},
	{name: "two receipts in a file", offline: receipt.CheckFile, forge: filed("not a file of a receipt", func(b []byte) []byte {
		n := 4 + int(binary.BigEndian.Uint16(b[3:]))
		b = slices.Concat(b, b[1:n+1])
		b[0]++
		return b
	})},
	{name: "a file that is nested deeper than any", offline: receipt.CheckFile, forge: filed("not a file of a receipt", func([]byte) []byte {
		return append([]byte{0xa1, 0x01}, bytes.Repeat([]byte{0x81}, 1<<16)...)
	})},
	{name: "a file of very many pieces", offline: receipt.CheckFile, forge: filed("data items", func([]byte) []byte {
		return slices.Concat([]byte{0xa1, 0x03, 0x9a, 0, 0x10, 0, 0}, bytes.Repeat([]byte{0x80}, 1<<20))
	})},
	{name: "a file that says it is longer than it is", offline: receipt.CheckFile, forge: filed("not a file of a receipt", func([]byte) []byte {
		return []byte{0xa1, 0x01, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	})},
}

// filed is a lie in the bytes of a file.
func filed(detail string, change func(b []byte) []byte) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		b, err := canon.Marshal(map[uint64]any{1: f.Receipt.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		return (&forged{data: change(b)}).at(detail)
	}
}
