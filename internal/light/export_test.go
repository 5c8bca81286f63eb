package light

import "github.com/avalnetwork/aval/internal/canon"

// For tests that make headers without a chain.

func (b *Block) SignBytes(v *Vote) []byte { return b.signBytes(b.Header.Hash(), v) }

func SetHash(vals []Validator) canon.Hash { return setHash(vals) }
