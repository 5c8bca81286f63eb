package receiptlog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
)

// proofHeader begins a proof as text (C2SP tlog-proof).
const proofHeader = "c2sp.org/tlog-proof@v1"

// Proof shows offline that a node's log has an entry.
type Proof struct {
	Index      uint64
	Hashes     []canon.Hash // for VerifyInclusion
	Checkpoint []byte       // as it was signed
}

// Text writes the proof as C2SP tlog-proof has it.
func (p *Proof) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, p.Index)
	for i := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(p.Hashes[i][:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads a proof; it checks nothing, see [Proof.Verify]. Extra data
// beside it is left aside.
func ParseProof(data []byte) (*Proof, error) {
	if len(data) > MaxProofFile {
		return nil, formatErrorf("a proof of %d bytes, want at most %d", len(data), MaxProofFile)
	}
	head, checkpoint, ok := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || lines[0] != proofHeader {
		return nil, formatErrorf("a proof begins with %q and has a checkpoint after an empty line", proofHeader)
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	if len(lines) == 0 || len(lines) > 1+MaxProof {
		return nil, formatErrorf("a proof of %d hashes", len(lines)-1)
	}
	digits, ok := strings.CutPrefix(lines[0], "index ")
	if !ok {
		return nil, formatErrorf("%.100q, want the index", lines[0])
	}
	p := &Proof{Checkpoint: checkpoint}
	var err error
	if p.Index, err = parseNumber(digits); err != nil {
		return nil, err
	}
	for _, l := range lines[1:] {
		h, err := parseHash(l)
		if err != nil {
			return nil, err
		}
		p.Hashes = append(p.Hashes, h)
	}
	return p, nil
}

// Verify checks that the log of the node with this key has the receipt, and
// returns the checkpoint that says so.
func (p *Proof) Verify(key ed25519.PublicKey, receipt canon.Hash) (Checkpoint, error) {
	c, err := ParseCheckpoint(key, p.Checkpoint)
	if err != nil {
		return c, err
	}
	return c, VerifyInclusion(c.Root, c.Size, p.Index, Leaf(receipt), p.Hashes)
}
