// Package private asks a peer for something without showing it who asks: the
// request is sealed to the provider and passed on by a relay, so that the relay
// sees who asks but not what, and the provider what but not who. It is Oblivious
// HTTP (RFC 9458) with messages of our own inside, and a streamed answer. Call
// [Register] to pass requests on or to answer them, and [Ask] to ask.
//
// It hides neither how much is sent nor when, and nothing at all if the two hops
// work together (docs/threat-model.md).
package private

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Limits.
const (
	MaxRequest  = 256 << 10 // bytes of a request, before it is sealed
	MaxChunk    = 64 << 10  // bytes of a part of the answer
	MaxAnswer   = 16 << 20  // bytes of an answer
	maxSealed   = 1 << 20
	maxConfig   = 4 << 10
	answerPad   = 256 // parts of the answer are filled up to a multiple of this
	chunkHead   = 5   // kind and length, within the seal
	MaxKeyLife  = 7 * 24 * time.Hour
	maxKeyAhead = 10 * time.Minute // by how much clocks may differ
)

// Identifiers of HPKE (RFC 9180 section 7, and the registry for X-Wing).
const (
	kemX25519  = 0x0020
	kemXWing   = 0x647a // ML-KEM-768 with X25519: also against those who keep what is sent until they have a quantum computer
	kdfSHA256  = 0x0001
	aeadAES128 = 0x0001
)

// Labels of RFC 9458 name what is inside; ours is a message of this protocol.
const (
	requestLabel  = "message/aval request"
	responseLabel = "message/aval chunked response"
)

// ErrSealed says that something sealed cannot be opened.
var ErrSealed = errors.New("what is sealed cannot be opened")

// Config is a key to which requests are sealed.
type Config struct {
	ID      byte
	Public  hpke.PublicKey
	Expires time.Time
	raw     []byte
}

// encodeConfig is the key configuration of RFC 9458, section 3.1.
func encodeConfig(id byte, pk hpke.PublicKey) []byte {
	b := []byte{id}
	b = binary.BigEndian.AppendUint16(b, pk.KEM().ID())
	b = append(b, pk.Bytes()...)
	b = binary.BigEndian.AppendUint16(b, 4)
	b = binary.BigEndian.AppendUint16(b, kdfSHA256)
	return binary.BigEndian.AppendUint16(b, aeadAES128)
}

// publicBytes is the length of a public key of a KEM.
var publicBytes = map[uint16]int{kemX25519: 32, kemXWing: 1216}

// sealedBytes is the length of an encapsulated key of a KEM.
var sealedBytes = map[uint16]int{kemX25519: 32, kemXWing: 1120}

func parseConfig(b []byte) (*Config, error) {
	if len(b) < 3 || len(b) > maxConfig {
		return nil, fmt.Errorf("private: a key configuration of %d bytes", len(b))
	}
	c := &Config{ID: b[0], raw: b}
	kemID := binary.BigEndian.Uint16(b[1:])
	n, ok := publicBytes[kemID]
	if !ok {
		return nil, fmt.Errorf("private: the key is of the kind %#x, which is not known: one of the two programs is older", kemID)
	}
	rest := b[3:]
	if len(rest) < n+2 {
		return nil, fmt.Errorf("private: a key configuration of %d bytes is too short", len(b))
	}
	kem, err := hpke.NewKEM(kemID)
	if err != nil {
		return nil, fmt.Errorf("private: %w", err)
	}
	if c.Public, err = kem.NewPublicKey(rest[:n]); err != nil {
		return nil, fmt.Errorf("private: the key of a configuration: %w", err)
	}
	suites := rest[n+2:]
	if int(binary.BigEndian.Uint16(rest[n:])) != len(suites) || len(suites) == 0 || len(suites)%4 != 0 {
		return nil, fmt.Errorf("private: a key configuration with %d bytes of ciphers", len(suites))
	}
	for s := range slices.Chunk(suites, 4) {
		if binary.BigEndian.Uint16(s) == kdfSHA256 && binary.BigEndian.Uint16(s[2:]) == aeadAES128 {
			return c, nil
		}
	}
	return nil, errors.New("private: the key is for none of the ciphers that are known")
}

// keySum is what a provider signs of a key.
func keySum(config []byte, expires time.Time) []byte {
	h := canon.Sum("aval private key/1", config, binary.BigEndian.AppendUint64(nil, uint64(expires.Unix())))
	return h[:]
}

// OpenConfig checks the key of a provider.
func OpenConfig(provider peer.ID, config []byte, expires time.Time, signature []byte, now time.Time) (*Config, error) {
	if len(signature) != ed25519.SignatureSize || !ed25519.Verify(provider.Public(), keySum(config, expires), signature) {
		return nil, fmt.Errorf("private: the key is not signed by %s: the relay may have put another one in its place", provider)
	}
	if !now.Before(expires) || expires.After(now.Add(MaxKeyLife+maxKeyAhead)) {
		return nil, fmt.Errorf("private: the key holds until %s, want at most %s from now: is the clock right?", expires.UTC(), MaxKeyLife)
	}
	c, err := parseConfig(config)
	if err == nil {
		c.Expires = expires
	}
	return c, err
}

// header is what an encapsulated request begins with (RFC 9458 section 4.1).
func header(id byte, kem uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{id}, kem)
	b = binary.BigEndian.AppendUint16(b, kdfSHA256)
	return binary.BigEndian.AppendUint16(b, aeadAES128)
}

const headerBytes = 7

func info(label string, head []byte) []byte {
	return append(append([]byte(label), 0), head...)
}

// sizes are those to which requests are filled up, so that their length says
// little.
var sizes = []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, MaxRequest + 4}

// pad fills a request up to the next size.
func pad(request []byte) ([]byte, error) {
	for _, n := range sizes {
		if len(request)+4 <= n {
			b := binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(len(request)))
			return append(b, request...)[:n], nil
		}
	}
	return nil, fmt.Errorf("private: a request of %d bytes, want at most %d", len(request), MaxRequest)
}

func unpad(b []byte) ([]byte, error) {
	if len(b) < 4 || !slices.Contains(sizes, len(b)) {
		return nil, fmt.Errorf("%w: a request of %d bytes", ErrSealed, len(b))
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) || len(bytes.TrimLeft(b[4+n:], "\x00")) > 0 {
		return nil, fmt.Errorf("%w: a request that says it has %d bytes", ErrSealed, n)
	}
	return b[4 : 4+n], nil
}

// context is what both ends of HPKE have.
type context interface {
	Export(label string, length int) ([]byte, error)
}

// Sealed is a request on its way, and what opens the answer.
type Sealed struct {
	Bytes []byte
	enc   []byte
	ctx   context
}

// Seal seals a request to a key.
func Seal(c *Config, request []byte) (*Sealed, error) {
	padded, err := pad(request)
	if err != nil {
		return nil, err
	}
	return seal(c, requestLabel, padded)
}

func seal(c *Config, label string, plain []byte) (*Sealed, error) {
	head := header(c.ID, c.Public.KEM().ID())
	enc, s, err := hpke.NewSender(c.Public, hpke.HKDFSHA256(), hpke.AES128GCM(), info(label, head))
	if err != nil {
		return nil, fmt.Errorf("private: seal: %w", err)
	}
	ct, err := s.Seal(nil, plain)
	if err != nil {
		return nil, fmt.Errorf("private: seal: %w", err)
	}
	return &Sealed{Bytes: slices.Concat(head, enc, ct), enc: enc, ctx: s}, nil
}

// Opened is a request that was opened, and what seals the answer.
type Opened struct {
	Request []byte
	Enc     []byte // of this request alone
	ctx     context
}

// Open opens a request with the key that its header names.
func Open(key func(id byte) hpke.PrivateKey, sealed []byte) (*Opened, error) {
	o, err := open(key, requestLabel, sealed)
	if err != nil {
		return nil, err
	}
	o.Request, err = unpad(o.Request)
	return o, err
}

func open(key func(id byte) hpke.PrivateKey, label string, sealed []byte) (*Opened, error) {
	if len(sealed) < headerBytes || len(sealed) > maxSealed {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrSealed, len(sealed))
	}
	k := key(sealed[0])
	if k == nil {
		return nil, fmt.Errorf("%w: it is for the key %d, which is not used any more: ask for the key again", ErrSealed, sealed[0])
	}
	head := header(sealed[0], k.KEM().ID())
	n := sealedBytes[k.KEM().ID()]
	if !bytes.Equal(head, sealed[:headerBytes]) || len(sealed) < headerBytes+n {
		return nil, fmt.Errorf("%w: its header does not fit the key", ErrSealed)
	}
	enc := sealed[headerBytes : headerBytes+n]
	r, err := hpke.NewRecipient(enc, k, hpke.HKDFSHA256(), hpke.AES128GCM(), info(label, head))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	plain, err := r.Open(nil, sealed[headerBytes+n:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return &Opened{Request: plain, Enc: enc, ctx: r}, nil
}

// Lengths of AES-128-GCM.
const (
	keyBytes    = 16
	nonceBytes  = 12
	tagBytes    = 16
	secretBytes = max(keyBytes, nonceBytes)
)

// answerKey derives the key and the nonce of an answer (RFC 9458 section 4.4).
func answerKey(ctx context, label string, enc, nonce []byte) (cipher.AEAD, []byte, error) {
	secret, err := ctx.Export(label, secretBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("private: %w", err)
	}
	prk, err := hkdf.Extract(sha256.New, secret, slices.Concat(enc, nonce))
	if err != nil {
		return nil, nil, fmt.Errorf("private: %w", err)
	}
	key, err := hkdf.Expand(sha256.New, prk, "key", keyBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("private: %w", err)
	}
	base, err := hkdf.Expand(sha256.New, prk, "nonce", nonceBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("private: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, fmt.Errorf("private: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return aead, base, err
}

// Kinds of parts of an answer.
const (
	partData  byte = iota
	partEnd        // the answer is whole
	partError      // it ends with an error, whose text this is
)

// answerStream is one direction of an answer: parts sealed one by one, each with
// the base nonce and its number (draft-ietf-ohai-chunked-ohttp section 6.2).
type answerStream struct {
	aead   cipher.AEAD
	base   []byte
	number uint64
}

func (a *answerStream) nonce() []byte {
	n := slices.Clone(a.base)
	for i, b := range binary.BigEndian.AppendUint64(nil, a.number) {
		n[nonceBytes-8+i] ^= b
	}
	a.number++
	return n
}

// Answer seals the parts of an answer.
type Answer struct {
	s     answerStream
	first []byte // the nonce, before the first part
}

// Answer begins the answer to a request.
func (o *Opened) Answer() (*Answer, error) {
	nonce := make([]byte, secretBytes)
	_, _ = rand.Read(nonce) // never fails
	aead, base, err := answerKey(o.ctx, responseLabel, o.Enc, nonce)
	if err != nil {
		return nil, err
	}
	return &Answer{s: answerStream{aead: aead, base: base}, first: nonce}, nil
}

// part seals one part; the last one says that it is.
func (a *Answer) part(kind byte, data []byte) []byte {
	plain := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(data)))
	plain = append(plain, data...)
	for len(plain)%answerPad != 0 {
		plain = append(plain, 0)
	}
	out := a.first
	a.first = nil
	return a.s.aead.Seal(out, a.s.nonce(), plain, []byte{kind})
}

// Reader opens the parts of an answer.
type Reader struct {
	of    *Sealed
	s     *answerStream
	Whole bool // the last part has come
}

// Reader opens the answer to a request.
func (s *Sealed) Reader() *Reader { return &Reader{of: s} }

// ErrAnswer is an error that the provider sealed.
type ErrAnswer struct{ Text string }

func (e *ErrAnswer) Error() string { return "the provider says: " + e.Text }

// Next opens the next part. Parts that are left out, repeated, put in another
// order or behind the last one do not open.
func (r *Reader) Next(sealed []byte) ([]byte, error) {
	if r.Whole {
		return nil, fmt.Errorf("%w: there is more behind the end", ErrSealed)
	}
	if len(sealed) > MaxChunk+answerPad+chunkHead+tagBytes+secretBytes {
		return nil, fmt.Errorf("%w: a part of %d bytes", ErrSealed, len(sealed))
	}
	if r.s == nil {
		if len(sealed) < secretBytes {
			return nil, fmt.Errorf("%w: an answer of %d bytes", ErrSealed, len(sealed))
		}
		aead, base, err := answerKey(r.of.ctx, responseLabel, r.of.enc, sealed[:secretBytes])
		if err != nil {
			return nil, err
		}
		r.s, sealed = &answerStream{aead: aead, base: base}, sealed[secretBytes:]
	}
	nonce := r.s.nonce()
	for _, kind := range []byte{partData, partEnd, partError} {
		plain, err := r.s.aead.Open(nil, nonce, sealed, []byte{kind})
		if err != nil {
			continue
		}
		if len(plain) < chunkHead || plain[0] != kind || uint64(binary.BigEndian.Uint32(plain[1:])) > uint64(len(plain)-chunkHead) {
			break
		}
		data := plain[chunkHead : chunkHead+binary.BigEndian.Uint32(plain[1:])]
		r.Whole = kind != partData
		if kind == partError {
			return nil, &ErrAnswer{string(bytes.ToValidUTF8(data, []byte("\ufffd")))}
		}
		return data, nil
	}
	return nil, fmt.Errorf("%w: part %d of the answer", ErrSealed, r.s.number-1)
}
