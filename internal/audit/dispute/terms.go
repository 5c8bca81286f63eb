package dispute

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Limits of the terms.
const (
	maxNonce  = 32
	maxTicks  = 1 << 40
	minFanout = 2
	maxFanout = 1024
)

// Terms are what both parties agree to play by. The dispute's id binds them.
type Terms struct {
	Challenger ed25519.PublicKey
	// Nonce tells this dispute from others of the same parties about the same
	// receipt; at most 32 bytes, may be empty.
	Nonce []byte
	// Move is how many ticks a party may take for one move. Zero means 600.
	// A prover that keeps no trace needs to compute its run again in it.
	Move uint64
	// Total is how many ticks a party may take for all its moves. Zero means
	// 3600.
	Total uint64
	// Fanout is how many hashes one answer of the prover may show, 2 to 1024.
	// Zero means 1024. Fewer make shorter messages and more rounds.
	Fanout int
}

func (t Terms) withDefaults() Terms {
	if t.Move == 0 {
		t.Move = 600
	}
	if t.Total == 0 {
		t.Total = 3600
	}
	if t.Fanout == 0 {
		t.Fanout = maxFanout
	}
	return t
}

func (t Terms) validate(c Claim) error {
	_, strict := receipt.ParseNodeKey(receipt.FormatNodeKey(t.Challenger)) // the same keys for all referees
	switch {
	case len(t.Challenger) != ed25519.PublicKeySize:
		return fmt.Errorf("dispute: the challenger's key has %d bytes, want %d", len(t.Challenger), ed25519.PublicKeySize)
	case bytes.Equal(t.Challenger, c.Key):
		return errors.New("dispute: the challenger's key is the prover's")
	case strict != nil:
		return fmt.Errorf("dispute: the challenger's key: %w", strict)
	case len(t.Nonce) > maxNonce:
		return fmt.Errorf("dispute: a nonce of %d bytes, want at most %d", len(t.Nonce), maxNonce)
	case t.Move > maxTicks || t.Total > maxTicks:
		return fmt.Errorf("dispute: %d ticks a move and %d in total, want at most %d", t.Move, t.Total, uint64(maxTicks))
	case t.Fanout < minFanout || t.Fanout > maxFanout:
		return fmt.Errorf("dispute: %d hashes an answer, want %d to %d", t.Fanout, minFanout, maxFanout)
	}
	return nil
}

// maxTerms bounds the encoding of terms, in bytes.
const maxTerms = 128

// wireTerms are terms as they travel.
type wireTerms struct {
	_          struct{} `cbor:",toarray"`
	Challenger []byte
	Nonce      []byte
	Move       uint64
	Total      uint64
	Fanout     int
}

// Encode is the bytes of terms: canonical CBOR.
func (t Terms) Encode() ([]byte, error) {
	t = t.withDefaults()
	w := wireTerms{Challenger: t.Challenger, Move: t.Move, Total: t.Total, Fanout: t.Fanout}
	if len(t.Nonce) > 0 {
		w.Nonce = t.Nonce
	}
	return encode(&w, maxTerms)
}

// DecodeTerms reads what [Terms.Encode] writes. Whether a game can be played on
// them is for [NewReferee] to say.
func DecodeTerms(data []byte) (Terms, error) {
	var w wireTerms
	if err := decode(data, &w, maxTerms); err != nil {
		return Terms{}, err
	}
	switch {
	case len(w.Challenger) != ed25519.PublicKeySize:
		return Terms{}, fmt.Errorf("dispute: the challenger's key has %d bytes, want %d", len(w.Challenger), ed25519.PublicKeySize)
	case w.Nonce != nil && (len(w.Nonce) == 0 || len(w.Nonce) > maxNonce):
		return Terms{}, fmt.Errorf("dispute: a nonce of %d bytes, want 1 to %d, or none", len(w.Nonce), maxNonce)
	case w.Move == 0 || w.Move > maxTicks || w.Total == 0 || w.Total > maxTicks:
		return Terms{}, fmt.Errorf("dispute: %d ticks a move and %d in total, want 1 to %d", w.Move, w.Total, uint64(maxTicks))
	case w.Fanout < minFanout || w.Fanout > maxFanout:
		return Terms{}, fmt.Errorf("dispute: %d hashes an answer, want %d to %d", w.Fanout, minFanout, maxFanout)
	}
	return Terms{Challenger: w.Challenger, Nonce: w.Nonce, Move: w.Move, Total: w.Total, Fanout: w.Fanout}, nil
}

// Bound is the number of ticks within which a game on these terms is over,
// whatever the parties do.
func (t Terms) Bound() uint64 { return 2*t.withDefaults().Total + 2 }

// ID is the dispute's identity.
func (t Terms) ID(c Claim) canon.Hash {
	t = t.withDefaults()
	return canon.Sum("aval dispute/1", c.Receipt[:], c.Key, t.Challenger, u64(t.Move), u64(t.Total), u64(uint64(t.Fanout)), t.Nonce)
}

func u64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// Party is one of the two who play.
type Party uint8

// The parties.
const (
	ProverParty Party = iota + 1
	ChallengerParty
)

func (p Party) String() string {
	switch p {
	case ProverParty:
		return "prover"
	case ChallengerParty:
		return "challenger"
	}
	return fmt.Sprintf("party %d", uint8(p))
}

func (p Party) other() Party {
	if p == ProverParty {
		return ChallengerParty
	}
	return ProverParty
}

// Reason is why a game ended.
type Reason uint8

// The reasons.
const (
	Fraud      Reason = iota + 1 // a proof of fraud stands: the prover loses
	Accusation                   // a proof of fraud does not stand: the challenger loses
	Silence                      // the loser took too long
	Malformed                    // the loser signed a message that is not one of its moves
)

func (r Reason) String() string {
	switch r {
	case Fraud:
		return "proof of fraud"
	case Accusation:
		return "false accusation"
	case Silence:
		return "silence"
	case Malformed:
		return "malformed message"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Outcome is how a game ended.
type Outcome struct {
	Winner  Party
	Reason  Reason
	Finding Finding // of Fraud
	Detail  string  // for people
}

func (o Outcome) String() string {
	return fmt.Sprintf("the %s wins: %s: %s", o.Winner, o.Reason, o.Detail)
}
