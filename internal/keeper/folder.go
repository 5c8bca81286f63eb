package keeper

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/receipt"
)

// What the folder has, each in a folder of its own.
const (
	foundDir   = "audits"   // what was found, by the audit
	receiptDir = "receipts" // that are disputed, with what they show
	proofDir   = "proofs"   // of fraud, by the dispute
	demandDir  = "demands"  // secrets of keys that answers are sealed for
)

func (k *Keeper) path(dir, name string) string { return filepath.Join(k.cfg.Folder, dir, name) }

// write keeps a file, for its owner only.
func (k *Keeper) write(dir, name string, data []byte) error {
	path := k.path(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	err := store.WriteFile(store.OS{}, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	return nil
}

// readFound is what was found in an audit; nil if nothing was yet.
func (k *Keeper) readFound(d ledger.Duty) ([]found, error) {
	data, err := os.ReadFile(k.path(foundDir, d.ID.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	var list []found
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("keeper: what was found in the audit %s is damaged: %w", d.ID, err)
	}
	for _, place := range d.Places {
		if place >= uint64(len(list)) || list[place].Index != d.Indices[slices.Index(d.Places, place)] {
			return nil, fmt.Errorf("keeper: what was found in the audit %s is of %d other receipts", d.ID, len(list))
		}
	}
	return list, nil
}

// mustFound is readFound for what was committed to.
func (k *Keeper) mustFound(d ledger.Duty) ([]found, error) {
	list, err := k.readFound(d)
	if err == nil && list == nil {
		err = fmt.Errorf("keeper: what was found in the audit %s is gone from %s, and this node committed itself to it", d.ID, k.path(foundDir, ""))
	}
	return list, err
}

// findWork finds a receipt whose work has a digest that this node committed to,
// with the salt of the digest.
func (k *Keeper) findWork(digest canon.Hash) (*receipt.File, receipt.Salt, error) {
	files, err := os.ReadDir(k.path(foundDir, ""))
	if err != nil {
		return nil, receipt.Salt{}, fmt.Errorf("keeper: %w", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(k.path(foundDir, file.Name()))
		if err != nil {
			return nil, receipt.Salt{}, fmt.Errorf("keeper: %w", err)
		}
		var list []found
		var audit canon.Hash
		if json.Unmarshal(data, &list) != nil || audit.UnmarshalText([]byte(file.Name())) != nil {
			continue // damaged, or not one of these
		}
		for i := range list {
			if list[i].Finding != (ledger.Finding{Verdict: ledger.Right, Digest: digest}) {
				continue
			}
			f, err := receipt.ParseFile(list[i].Receipt)
			if err != nil {
				return nil, receipt.Salt{}, err
			}
			return f, ledger.WorkSalt(audit, list[i].Index, f.Receipt.Hash()), nil
		}
	}
	return nil, receipt.Salt{}, fmt.Errorf("keeper: the work with the digest %s is not in %s", digest, k.path(foundDir, ""))
}

func (k *Keeper) writeFound(d ledger.Duty, list []found) error {
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	return k.write(foundDir, d.ID.String(), data)
}

func (k *Keeper) writeReceipt(f *receipt.File) error {
	data, err := f.Marshal()
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	return k.write(receiptDir, f.Receipt.Hash().String(), data)
}

func (k *Keeper) readReceipt(id canon.Hash) (*receipt.File, error) {
	data, err := os.ReadFile(k.path(receiptDir, id.String()))
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	return receipt.ParseFile(data)
}

func (k *Keeper) writeProof(id canon.Hash, proof []byte) error {
	return k.write(proofDir, id.String(), proof)
}

// Proof is the proof of fraud that the node made in a dispute; nil if it made
// none.
func (k *Keeper) Proof(id canon.Hash) ([]byte, error) {
	data, err := os.ReadFile(k.path(proofDir, id.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// demandSecret is the secret of the key that the answer to a demand is sealed
// for.
func (k *Keeper) demandSecret(d ledger.Duty, place uint64) (receipt.AuditorSecret, error) {
	name := hex.EncodeToString(d.ID[:]) + fmt.Sprintf("-%d", place)
	data, err := os.ReadFile(k.path(demandDir, name))
	if err == nil {
		return receipt.ParseAuditorSecret(string(data))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return receipt.AuditorSecret{}, fmt.Errorf("keeper: %w", err)
	}
	secret, err := receipt.NewAuditorSecret(false)
	if err != nil {
		return secret, err
	}
	text, err := secret.Text()
	if err != nil {
		return secret, err
	}
	return secret, k.write(demandDir, name, []byte(text))
}
