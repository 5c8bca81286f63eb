package receipt

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"github.com/veraison/go-cose"
)

// protected is the protected header, {1: -8}: the algorithm EdDSA.
var protected = []byte{0x43, 0xa1, 0x01, 0x27}

// Statement is a signed statement in the one form of spec/receipt.md section 1:
// COSE_Sign1 with Ed25519. A [Receipt] is one with [Claims] in it; statements of
// other kinds (package training) have payloads of their own. It cannot be
// changed.
type Statement struct {
	raw []byte
	msg cose.Sign1Message
}

// SignStatement signs a payload. What is in it is the caller's affair, who must
// make sure that no payload means two things: each begins with the name of a
// suite.
func SignStatement(payload []byte, key ed25519.PrivateKey) (Statement, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Statement{}, errorf(CheckKey, "the private key has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		return Statement{}, &Error{CheckKey, "signer", err}
	}
	headers := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA}}
	raw, err := cose.Sign1(nil, signer, headers, payload, nil)
	if err != nil {
		return Statement{}, &Error{CheckSignature, "sign", err}
	}
	return ParseStatement(raw)
}

// ParseStatement reads a statement of at most MaxReceipt bytes and checks its form,
// but neither the payload nor the signature.
func ParseStatement(raw []byte) (Statement, error) {
	if len(raw) > MaxReceipt {
		return Statement{}, errorf(CheckForm, "%d bytes, want at most %d", len(raw), MaxReceipt)
	}
	m := Statement{raw: slices.Clone(raw)}
	if err := m.msg.UnmarshalCBOR(m.raw); err != nil {
		return Statement{}, &Error{CheckForm, "not a COSE_Sign1 message with tag 18", err}
	}
	switch h := &m.msg.Headers; {
	case !bytes.Equal(h.RawProtected, protected):
		return Statement{}, errorf(CheckAlgorithm, "the protected header is %x, want %x: EdDSA and nothing else", clip(h.RawProtected), protected)
	case !bytes.Equal(h.RawUnprotected, []byte{0xa0}):
		return Statement{}, errorf(CheckHeaders, "the unprotected header is not empty")
	case m.msg.Payload == nil:
		return Statement{}, errorf(CheckPayload, "the claims are not in the message")
	case len(m.msg.Signature) != ed25519.SignatureSize:
		return Statement{}, errorf(CheckForm, "the signature has %d bytes, want %d", len(m.msg.Signature), ed25519.SignatureSize)
	}
	if again, err := m.msg.MarshalCBOR(); err != nil || !bytes.Equal(again, raw) {
		return Statement{}, errorf(CheckForm, "a length is not in its shortest form")
	}
	return m, nil
}

// Payload is what was signed.
func (m *Statement) Payload() []byte { return slices.Clone(m.msg.Payload) }

// Bytes is the statement as it is stored and sent.
func (m *Statement) Bytes() []byte { return slices.Clone(m.raw) }

// Verify checks a key and its signature, strictly: spec/receipt.md section 1.
func (m *Statement) Verify(key ed25519.PublicKey) error {
	if err := checkKey(key); err != nil {
		return err
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, key)
	if err != nil {
		return &Error{CheckKey, "verifier", err}
	}
	if err := m.msg.Verify(nil, verifier); err != nil {
		return errorf(CheckSignature, "it is not that of the key over these claims: the receipt was changed, or never signed")
	}
	return nil
}

// clip keeps error messages short.
func clip(b []byte) []byte { return b[:min(len(b), 32)] }
