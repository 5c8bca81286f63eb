package service

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
)

// Verified is what a proof shows.
type Verified struct {
	Chain  string    `json:"chain"`
	Height uint64    `json:"height"` // of the block after which the state is so
	Time   time.Time `json:"time"`   // of the header that names the state
	Key    string    `json:"key"`    // hexadecimal
	Table  string    `json:"table,omitempty"`
	Value  any       `json:"value,omitempty"` // nil: there is no such entry
}

// proofFile is what of a proof's file is believed nothing of.
type proofFile struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
	Proof []byte `json:"proof"`
	Block []byte `json:"block"`
}

// VerifyFile checks a file that "aval ledger proof" wrote, with the genesis alone.
func VerifyFile(g *ledger.Genesis, data []byte, now time.Time) (*Verified, error) {
	var f proofFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("it is not a proof: %w", err)
	}
	if len(f.Key) == 0 || len(f.Proof) == 0 || len(f.Block) == 0 {
		return nil, errors.New("it is not a proof: it lacks the key, the path or the header")
	}
	key, err := hex.DecodeString(f.Key)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	b, err := light.Decode(f.Block)
	if err != nil {
		return nil, err
	}
	proof, err := tree.DecodeProof(f.Proof)
	if err != nil {
		return nil, err
	}
	trust, err := GenesisTrust(g, now)
	if err != nil {
		return nil, err
	}
	if trust, err = trust.Verify(b, now, 0); err != nil {
		return nil, err
	}
	hash, there, err := trust.Entry(key, proof)
	if err != nil {
		return nil, err
	}
	v := &Verified{Chain: g.Chain, Height: trust.Height - 1, Time: trust.Time.Go(), Key: hex.EncodeToString(key)}
	if !there {
		if len(f.Value) > 0 {
			return nil, errors.New("it has a value, and proves that there is none")
		}
		return v, nil
	}
	if hash != canon.Hash(sha256.Sum256(f.Value)) {
		return nil, errors.New("its value is not the one that it proves")
	}
	if v.Table, v.Value, err = ledger.Entry(key, f.Value); err != nil {
		return nil, err
	}
	if v.Value == nil { // a table whose keys say it all
		v.Value = struct{}{}
	}
	return v, nil
}
