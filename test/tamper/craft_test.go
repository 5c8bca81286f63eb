package tamper_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base32"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Receipts that no honest program signs are put together by hand here.

func arrayOf(list []string) gguf.Value { return gguf.ArrayOf(list) }

// payloadOf takes the claims out of a receipt.
func payloadOf(t testing.TB, r *receipt.Receipt) []byte {
	t.Helper()
	b := r.Bytes()
	b = b[7 : len(b)-66] // tag, array and headers; the signature
	switch b[0] {
	case 0x58:
		return b[2:]
	case 0x59:
		return b[3:]
	}
	t.Fatalf("the payload begins with %x", b[0])
	return nil
}

// message signs a payload, whatever it is.
func message(payload []byte, key ed25519.PrivateKey) []byte {
	toSign := slices.Concat([]byte("\x84\x6aSignature1\x43\xa1\x01\x27\x40"), head(payload), payload)
	return slices.Concat([]byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x27, 0xa0}, head(payload), payload, []byte{0x58, 64}, ed25519.Sign(key, toSign))
}

// head is that of a byte string.
func head(b []byte) []byte {
	switch n := len(b); {
	case n < 24:
		return []byte{0x40 | byte(n)}
	case n < 1<<8:
		return []byte{0x58, byte(n)}
	default:
		return []byte{0x59, byte(n >> 8), byte(n)}
	}
}

// craftedClaims is a lie in the claims that Sign would refuse. They are changed
// as a map, encoded and signed again; the opening is the right one.
func craftedClaims(q func() ask, change func(c map[uint64]any), detail string) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, q()).sign(t)
		return fileOf(t, recraft(t, f, change), f.Opening).at(detail)
	}
}

// recraft changes the claims of a receipt and signs them again.
func recraft(t *testing.T, f *receipt.File, change func(c map[uint64]any)) []byte {
	t.Helper()
	var claims map[uint64]any
	if err := canon.Unmarshal(payloadOf(t, &f.Receipt), &claims); err != nil {
		t.Fatal(err)
	}
	params := map[uint64]any{}
	for k, v := range claims[3].(map[any]any) {
		params[k.(uint64)] = v
	}
	claims[3] = params
	change(claims)
	payload, err := canon.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return message(payload, liar)
}

// publicBytes takes an auditor's public key out of its text.
func publicBytes(t *testing.T, key receipt.AuditorKey) []byte {
	t.Helper()
	text := strings.ToUpper(strings.TrimPrefix(key.String(), "aval-auditor-1"))
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b[:32]
}

// keyOf is the key of anybody.
func keyOf(i byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{i}, ed25519.SeedSize))
}

// fileOf is a file of bytes that may be no receipt.
func fileOf(t testing.TB, raw []byte, o *receipt.Opening) *forged {
	t.Helper()
	file := map[uint64]any{1: raw}
	if o != nil {
		file[2] = o
	}
	b, err := canon.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return &forged{data: b, expect: receipt.Expect{Nonce: nonce}}
}
