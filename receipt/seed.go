package receipt

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/canon"
)

// SeedKind says who chose the randomness of an answer.
type SeedKind uint8

// The kinds. spec/receipt.md section 4 says what each proves.
const (
	SeedSelf   SeedKind = 0 // whoever computed: may have tried many
	SeedNonce  SeedKind = 1 // whoever asked, by a nonce
	SeedBeacon SeedKind = 2 // a public source, such as a beacon or a block
)

// Seed is where the randomness of an answer comes from. Make one with
// [SelfSeed], [NonceSeed] or [BeaconSeed].
type Seed struct {
	Kind   SeedKind
	Value  uint64 // of SeedSelf
	Nonce  []byte // of SeedNonce: 8 to 32 bytes
	Beacon Beacon // of SeedBeacon
}

// Beacon is one value of a public source of randomness.
type Beacon struct {
	Name  string // of the source, at most 32 bytes
	Round uint64
	Value Hash
}

// SelfSeed is a seed that whoever computes has chosen.
func SelfSeed(v uint64) Seed { return Seed{Kind: SeedSelf, Value: v} }

// NonceSeed is a seed made of the asker's nonce.
func NonceSeed(nonce []byte) Seed { return Seed{Kind: SeedNonce, Nonce: slices.Clone(nonce)} }

// BeaconSeed is a seed made of a public value.
func BeaconSeed(name string, round uint64, value Hash) Seed {
	return Seed{Kind: SeedBeacon, Beacon: Beacon{name, round, value}}
}

// Derive gives the seed of the sampler. It is a function of the asker's or the
// beacon's value and of the prompt, and of nothing that whoever computes could
// still choose.
func (s Seed) Derive(prompt []int32) uint64 {
	var h Hash
	digest := idsDigest(prompt)
	switch s.Kind {
	case SeedSelf:
		return s.Value
	case SeedNonce:
		h = canon.Sum("aval seed/1", []byte{byte(s.Kind)}, s.Nonce, digest[:])
	default:
		round := binary.LittleEndian.AppendUint64(nil, s.Beacon.Round)
		h = canon.Sum("aval seed/1", []byte{byte(s.Kind)}, []byte(s.Beacon.Name), round, s.Beacon.Value[:], digest[:])
	}
	return binary.LittleEndian.Uint64(h[:])
}

// idsDigest is the unsalted hash of ids. It is only ever hashed further.
func idsDigest(ids []int32) Hash { return canon.Sum("aval ids/1", appendIDs(nil, ids)) }

func (s Seed) validate() error {
	switch s.Kind {
	case SeedSelf:
	case SeedNonce:
		if n := len(s.Nonce); n < minNonce || n > maxNonce {
			return errorf(CheckRanges, "the nonce has %d bytes, want %d to %d", n, minNonce, maxNonce)
		}
	case SeedBeacon:
		return validName("beacon", s.Beacon.Name)
	default:
		return errorf(CheckRanges, "seed of kind %d, want 0 (self), 1 (nonce) or 2 (beacon)", s.Kind)
	}
	return nil
}

func validName(what, name string) error {
	if n := len(name); n == 0 || n > maxName || !utf8.ValidString(name) {
		return errorf(CheckRanges, "the name of the %s has %d bytes, want 1 to %d of UTF-8", what, n, maxName)
	}
	return nil
}

// wire is the seed as the claims carry it: an array that begins with the kind.
func (s Seed) wire() []any {
	switch s.Kind {
	case SeedNonce:
		return []any{uint64(s.Kind), s.Nonce}
	case SeedBeacon:
		return []any{uint64(s.Kind), s.Beacon.Name, s.Beacon.Round, s.Beacon.Value[:]}
	default:
		return []any{uint64(s.Kind), s.Value}
	}
}

func seedOf(w []any) (Seed, error) {
	bad := errorf(CheckClaims, "the seed is not [0, uint], [1, bytes] or [2, text, uint, 32 bytes]")
	if len(w) < 2 {
		return Seed{}, bad
	}
	kind, ok := w[0].(uint64)
	switch {
	case ok && kind == uint64(SeedSelf) && len(w) == 2:
		v, ok := w[1].(uint64)
		if !ok {
			return Seed{}, bad
		}
		return SelfSeed(v), nil
	case ok && kind == uint64(SeedNonce) && len(w) == 2:
		v, ok := w[1].([]byte)
		if !ok {
			return Seed{}, bad
		}
		return NonceSeed(v), nil
	case ok && kind == uint64(SeedBeacon) && len(w) == 4:
		name, ok1 := w[1].(string)
		round, ok2 := w[2].(uint64)
		value, ok3 := w[3].([]byte)
		if !ok1 || !ok2 || !ok3 || len(value) != canon.Size {
			return Seed{}, bad
		}
		return BeaconSeed(name, round, Hash(value)), nil
	}
	return Seed{}, bad
}
