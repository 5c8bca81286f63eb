package receiptlog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/avalnetwork/aval/internal/canon"
)

// originPrefix begins the name of every log of a node.
const originPrefix = "aval-receipts-1/"

// Origin is the name of a node's log, which is the name of its key, too.
func Origin(key ed25519.PublicKey) string { return originPrefix + hex.EncodeToString(key) }

// KeyText is the key of a node's log as other programs for transparency logs read
// it: a "vkey" of C2SP signed-note.
func KeyText(key ed25519.PublicKey) (string, error) {
	text, err := note.NewEd25519VerifierKey(Origin(key), key)
	if err != nil {
		return "", formatErrorf("%w", err)
	}
	return text, nil
}

// Checkpoint is what a node signs of its log.
type Checkpoint struct {
	Key  ed25519.PublicKey
	Size uint64
	Root canon.Hash
}

// Text is what is signed.
func (c Checkpoint) Text() string {
	return Origin(c.Key) + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// signer signs notes with a key of the node.
type signer struct{ key ed25519.PrivateKey }

func (s signer) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

func (s signer) Name() string { return Origin(s.public()) }

func (s signer) KeyHash() uint32 { return keyHash(s.public()) }

func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// keyHash is the first four bytes of SHA-256(name, 0x0a, 0x01, key).
func keyHash(key ed25519.PublicKey) uint32 {
	h := sha256.Sum256(append([]byte(Origin(key)+"\n\x01"), key...))
	return binary.BigEndian.Uint32(h[:])
}

// verifier is the other side of signer.
type verifier struct{ key ed25519.PublicKey }

func (v verifier) Name() string { return Origin(v.key) }

func (v verifier) KeyHash() uint32 { return keyHash(v.key) }

func (v verifier) Verify(msg, sig []byte) bool { return ed25519.Verify(v.key, msg, sig) }

// SignCheckpoint signs that the log of the key's node has this size and root. A
// node that signs two roots of one size is guilty; the caller sees that it does
// not.
func SignCheckpoint(key ed25519.PrivateKey, size uint64, root canon.Hash) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, formatErrorf("a private key of %d bytes", len(key))
	}
	if size > MaxSize {
		return nil, rangeErrorf("a log of %d entries", size)
	}
	s := signer{key}
	data, err := note.Sign(&note.Note{Text: Checkpoint{s.public(), size, root}.Text()}, s)
	if err != nil {
		return nil, formatErrorf("%w", err)
	}
	return data, nil
}

// ParseCheckpoint reads a checkpoint of a node's log and checks its signature.
// Signatures of others beside it are neither wanted nor checked. The caller sees
// to it that the key is a good one (receipt.ParseNodeKey, peer.FromPublic).
func ParseCheckpoint(key ed25519.PublicKey, data []byte) (Checkpoint, error) {
	if len(key) != ed25519.PublicKeySize {
		return Checkpoint{}, formatErrorf("a key of %d bytes", len(key))
	}
	if len(data) > MaxCheckpoint {
		return Checkpoint{}, formatErrorf("a checkpoint of %d bytes, want at most %d", len(data), MaxCheckpoint)
	}
	c, err := parseText(data)
	if err != nil {
		return Checkpoint{}, err
	}
	if !key.Equal(c.Key) {
		return Checkpoint{}, formatErrorf("a checkpoint of %s, want %s", Origin(c.Key), Origin(key))
	}
	n, err := note.Open(data, note.VerifierList(verifier{key}))
	if err != nil {
		return Checkpoint{}, signatureErrorf("the checkpoint of %d entries: %w", c.Size, err)
	}
	if n.Text != c.Text() { // what was read is all that was signed
		return Checkpoint{}, formatErrorf("a checkpoint with more in it than three lines")
	}
	return c, nil
}

// parseText reads what a checkpoint says, but not who signed it. Lines after the
// third are those of extensions, of which no log of a node has any.
func parseText(data []byte) (Checkpoint, error) {
	text, _, ok := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(text), "\n")
	if !ok || len(lines) != 3 {
		return Checkpoint{}, formatErrorf("a checkpoint has three lines, an empty one and signatures")
	}
	digits, ok := strings.CutPrefix(lines[0], originPrefix)
	key, err := hex.DecodeString(digits)
	if !ok || err != nil || len(key) != ed25519.PublicKeySize || lines[0] != Origin(key) {
		return Checkpoint{}, formatErrorf("%.200q is not the log of a node", lines[0])
	}
	c := Checkpoint{Key: key}
	if c.Size, err = parseNumber(lines[1]); err != nil {
		return Checkpoint{}, err
	}
	if c.Root, err = parseHash(lines[2]); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// parseNumber reads a number in its only form.
func parseNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > MaxSize || strconv.FormatUint(n, 10) != s {
		return 0, formatErrorf("%.50q is not a number up to %d", s, uint64(MaxSize))
	}
	return n, nil
}

// parseHash reads a hash in its only form.
func parseHash(s string) (canon.Hash, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != canon.Size || strings.ContainsAny(s, "\r\n") {
		return canon.Hash{}, formatErrorf("%.100q is not a hash in base64", s)
	}
	return canon.Hash(b), nil
}

// Conflict checks that two checkpoints are of one node's log, of one size, and of
// two roots: that convicts whoever holds the node's key.
func Conflict(key ed25519.PublicKey, a, b []byte) (one, other Checkpoint, err error) {
	if one, err = ParseCheckpoint(key, a); err == nil {
		other, err = ParseCheckpoint(key, b)
	}
	switch {
	case err != nil:
	case one.Size != other.Size:
		err = proofErrorf("the checkpoints are of %d and %d entries: they need not contradict each other", one.Size, other.Size)
	case one.Root == other.Root:
		err = proofErrorf("the checkpoints are of the same log")
	}
	return one, other, err
}
