package receipt

import (
	"crypto/ecdh"
	"crypto/hpke"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
)

// Box is an opening that one auditor can read.
type Box struct {
	_     struct{} `cbor:",toarray"`
	Suite string   // names all algorithms
	KeyID [8]byte  // of the auditor's key
	Data  []byte   // encapsulated key, then ciphertext
}

// sealSuite is what the name of a suite means. The prefix is that of its
// public keys as text; HKDF-SHA256 and ChaCha20-Poly1305 are in all.
type sealSuite struct {
	name   string
	kem    func() hpke.KEM
	public int // bytes of a public key
	prefix string
	secret string // prefix of a private key, which has 32 bytes
}

var sealSuites = []sealSuite{
	{"aval-seal/1", func() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }, 32, "aval-auditor-1", "aval-auditor-secret-1"},
	{"aval-seal/2", hpke.MLKEM768X25519, 1216, "aval-auditor-2", "aval-auditor-secret-2"},
}

// AuditorKey is the public key that openings for an auditor are sealed with.
type AuditorKey struct {
	suite *sealSuite
	key   hpke.PublicKey
}

// AuditorSecret is the private key of an auditor.
type AuditorSecret struct {
	suite *sealSuite
	key   hpke.PrivateKey
}

// NewAuditorSecret draws a key. With quantum, it also withstands quantum
// computers, and its public key as text has 2,000 characters instead of 72.
func NewAuditorSecret(quantum bool) (AuditorSecret, error) {
	s := &sealSuites[0]
	if quantum {
		s = &sealSuites[1]
	}
	key, err := s.kem().GenerateKey()
	if err != nil {
		return AuditorSecret{}, &Error{CheckKey, "generate", err}
	}
	return AuditorSecret{s, key}, nil
}

// Public is the key to give away.
func (k AuditorSecret) Public() AuditorKey { return AuditorKey{k.suite, k.key.PublicKey()} }

// String does not show the key; see Text.
func (k AuditorSecret) String() string { return "(private key of an auditor)" }

// Text is the private key, as ParseAuditorSecret reads it.
func (k AuditorSecret) Text() (string, error) {
	b, err := k.key.Bytes()
	if err != nil {
		return "", &Error{CheckKey, "encode", err}
	}
	return formatKey(k.suite.secret, b), nil
}

// String is the key as ParseAuditorKey reads it.
func (k AuditorKey) String() string { return formatKey(k.suite.prefix, k.key.Bytes()) }

// ID names the key in a Box.
func (k AuditorKey) ID() [8]byte {
	h := canon.Sum("aval auditor/1", []byte(k.suite.name), k.key.Bytes())
	return [8]byte(h[:8])
}

// ParseAuditorKey reads what [AuditorKey.String] writes.
func ParseAuditorKey(text string) (AuditorKey, error) {
	for i := range sealSuites {
		s := &sealSuites[i]
		if !strings.HasPrefix(strings.TrimSpace(text), s.prefix) {
			continue
		}
		b, err := parseKey(s.prefix, text, s.public)
		if err != nil {
			return AuditorKey{}, err
		}
		key, err := s.kem().NewPublicKey(b)
		if err != nil {
			return AuditorKey{}, &Error{CheckKey, "not a key of " + s.name, err}
		}
		return AuditorKey{s, key}, nil
	}
	return AuditorKey{}, errorf(CheckKey, "an auditor's key begins with %q or %q", sealSuites[0].prefix, sealSuites[1].prefix)
}

// ParseAuditorSecret reads what [AuditorSecret.Text] writes.
func ParseAuditorSecret(text string) (AuditorSecret, error) {
	for i := range sealSuites {
		s := &sealSuites[i]
		if !strings.HasPrefix(strings.TrimSpace(text), s.secret) {
			continue
		}
		b, err := parseKey(s.secret, text, 32)
		if err != nil {
			return AuditorSecret{}, err
		}
		key, err := s.kem().NewPrivateKey(b)
		if err != nil {
			return AuditorSecret{}, errorf(CheckKey, "not a private key of %s", s.name)
		}
		return AuditorSecret{s, key}, nil
	}
	return AuditorSecret{}, errorf(CheckKey, "an auditor's private key begins with %q or %q", sealSuites[0].secret, sealSuites[1].secret)
}

// sealInfo binds a box to its suite and its receipt.
func sealInfo(s *sealSuite, receipt Hash) []byte {
	h := canon.Sum("aval seal/1", []byte(s.name), receipt[:])
	return h[:]
}

// Seal encrypts an opening of the receipt with this hash, so that only the
// holder of an auditor's private key can read it.
func Seal(o *Opening, receipt Hash, to AuditorKey) (Box, error) {
	if to.suite == nil {
		return Box{}, errorf(CheckSeal, "there is no key to seal with")
	}
	plain, err := canon.Marshal(o)
	if err != nil {
		return Box{}, &Error{CheckSeal, "encode", err}
	}
	data, err := hpke.Seal(to.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(to.suite, receipt), plain)
	if err != nil {
		return Box{}, &Error{CheckSeal, "encrypt", err}
	}
	return Box{Suite: to.suite.name, KeyID: to.ID(), Data: data}, nil
}

// Unseal decrypts a box that belongs to the receipt with this hash. The
// opening is then still to be checked, as any other.
func Unseal(b Box, receipt Hash, key AuditorSecret) (*Opening, error) {
	switch {
	case key.suite == nil:
		return nil, errorf(CheckSeal, "there is no key to unseal with")
	case b.Suite != key.suite.name:
		return nil, errorf(CheckSeal, "sealed by %.40q, the key is of %q", b.Suite, key.suite.name)
	case b.KeyID != key.Public().ID():
		return nil, errorf(CheckSeal, "sealed for another key: %x, this one is %x", b.KeyID, key.Public().ID())
	case len(b.Data) > MaxFile:
		return nil, errorf(CheckSeal, "%d bytes, want at most %d", len(b.Data), MaxFile)
	}
	plain, err := hpke.Open(key.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(key.suite, receipt), b.Data)
	if err != nil {
		return nil, errorf(CheckSeal, "the box was changed, or belongs to another receipt")
	}
	o := new(Opening)
	if err := decode(plain, o); err != nil {
		return nil, &Error{CheckSeal, "not an opening", err}
	}
	return o, nil
}
