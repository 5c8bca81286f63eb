package receipt

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base32"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
)

// Encodings of y, little endian and without the sign bit, of the points whose
// order divides 8. With such a key one signature fits many messages.
var smallOrder = [...][32]byte{
	{0},
	{1},
	{
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
}

// checkKey refuses keys that RFC 8032 does not allow, and those of small
// order. crypto/ed25519 takes both.
func checkKey(key []byte) error {
	if len(key) != ed25519.PublicKeySize {
		return errorf(CheckKey, "%d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	y := [32]byte(key)
	y[31] &= 0x7f
	// y must be below p = 2^255 - 19: ed ff … ff 7f.
	above := y[0] >= 0xed && y[31] == 0x7f
	for _, b := range y[1:31] {
		above = above && b == 0xff
	}
	if above {
		return errorf(CheckKey, "not in canonical form: its number is not below 2^255 - 19")
	}
	for i := range smallOrder {
		if y == smallOrder[i] {
			return errorf(CheckKey, "a point of small order, which signs everything")
		}
	}
	return nil
}

// Prefixes of keys as text. The name of what the key is for and the algorithm
// is in the prefix.
const (
	nodePrefix       = "aval-node-1"
	nodeSecretPrefix = "aval-node-secret-1"
)

// FormatNodeKey writes the public key of a signer as text.
func FormatNodeKey(key ed25519.PublicKey) string { return formatKey(nodePrefix, key) }

// ParseNodeKey reads what FormatNodeKey writes, and checks the key.
func ParseNodeKey(s string) (ed25519.PublicKey, error) {
	key, err := parseKey(nodePrefix, s, ed25519.PublicKeySize)
	if err != nil {
		return nil, err
	}
	return key, checkKey(key)
}

// FormatNodeSecret writes the private key of a signer as text.
func FormatNodeSecret(key ed25519.PrivateKey) string { return formatKey(nodeSecretPrefix, key.Seed()) }

// ParseNodeSecret reads what FormatNodeSecret writes.
func ParseNodeSecret(s string) (ed25519.PrivateKey, error) {
	seed, err := parseKey(nodeSecretPrefix, s, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// keySum are the four bytes that find a mistyped key.
func keySum(prefix string, key []byte) []byte {
	h := canon.Sum("aval key/1", []byte(prefix), key)
	return h[:4]
}

func formatKey(prefix string, key []byte) string {
	return prefix + base32Lower.EncodeToString(append(key[:len(key):len(key)], keySum(prefix, key)...))
}

// parseKey never shows the key in an error: it may be a secret.
func parseKey(prefix, s string, size int) ([]byte, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), prefix)
	if !ok {
		return nil, errorf(CheckKey, "does not begin with %q", prefix)
	}
	b, err := base32Lower.DecodeString(rest)
	if err != nil || base32Lower.EncodeToString(b) != rest {
		return nil, errorf(CheckKey, "what follows %q is not base32 in lower case", prefix)
	}
	if len(b) != size+4 {
		return nil, errorf(CheckKey, "%d bytes follow %q, want %d: a part is missing, or too much was copied", len(b), prefix, size+4)
	}
	key := b[:size]
	if subtle.ConstantTimeCompare(keySum(prefix, key), b[size:]) != 1 {
		return nil, errorf(CheckKey, "the checksum is wrong: a character was changed")
	}
	return key, nil
}
