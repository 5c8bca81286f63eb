package issuer

import (
	"encoding/hex"
	"fmt"

	"github.com/avalnetwork/aval/receipt"
)

// What a seed can be made of, in bytes.
const (
	minNonce = 8 // fewer could be tried out beforehand
	maxNonce = 32
	maxName  = 32 // of a beacon
)

// Nonce is the seed that an asker's nonce gives.
func Nonce(nonce []byte) (*receipt.Seed, error) {
	if n := len(nonce); n < minNonce || n > maxNonce {
		return nil, fmt.Errorf("the nonce has %d bytes, want %d to %d", n, minNonce, maxNonce)
	}
	s := receipt.NonceSeed(nonce)
	return &s, nil
}

// ParseNonce is Nonce of hexadecimal digits.
func ParseNonce(digits string) (*receipt.Seed, error) {
	nonce, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("the nonce is not in hexadecimal, two digits a byte")
	}
	return Nonce(nonce)
}

// ParseBeacon is the seed that a round of a beacon gives, its value in
// hexadecimal digits.
func ParseBeacon(name string, round uint64, value string) (*receipt.Seed, error) {
	b, err := hex.DecodeString(value)
	if n := len(name); n == 0 || n > maxName {
		return nil, fmt.Errorf("the beacon's name has %d bytes, want 1 to %d", n, maxName)
	}
	if err != nil || len(b) != len(receipt.Hash{}) {
		return nil, fmt.Errorf("the beacon's value is not %d bytes in hexadecimal", len(receipt.Hash{}))
	}
	s := receipt.BeaconSeed(name, round, receipt.Hash(b))
	return &s, nil
}
