package wallet

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/store"
)

// Keys are who signs for an account: its policy, or one key that the account
// authorised as a device, and those of the private keys that are here.
type Keys struct {
	Account ledger.Address
	Policy  ledger.Policy // of who signs here: the account's, or that of the device's key
	private []ed25519.PrivateKey
}

// Single is the account of one key.
func Single(key ed25519.PrivateKey) Keys {
	p := ledger.Single(key.Public().(ed25519.PublicKey))
	return Keys{Account: p.Address(), Policy: p, private: []ed25519.PrivateKey{key}}
}

// Shared is an account for which several keys sign, of which some are here.
func Shared(p ledger.Policy, here ...ed25519.PrivateKey) (Keys, error) {
	k := Keys{Account: p.Address(), Policy: p, private: here}
	return k, k.validate()
}

// Device is a key that the account authorised.
func Device(account ledger.Address, key ed25519.PrivateKey) Keys {
	return Keys{Account: account, Policy: ledger.Single(key.Public().(ed25519.PublicKey)), private: []ed25519.PrivateKey{key}}
}

// device is the key if the policy is not the account's own; else nil.
func (k *Keys) device() []byte {
	if k.Policy.Address() == k.Account {
		return nil
	}
	return k.Policy.Keys[0]
}

func (k *Keys) validate() error {
	if err := k.Policy.Validate(); err != nil {
		return fmt.Errorf("wallet: who signs: %w", err)
	}
	if k.device() != nil && len(k.Policy.Keys) != 1 {
		return errors.New("wallet: the account is not that of its keys, and a device has one key")
	}
	if len(k.private) == 0 {
		return errors.New("wallet: no private key is here")
	}
	for i, key := range k.private {
		if len(key) != ed25519.PrivateKeySize {
			return fmt.Errorf("wallet: private key %d has %d bytes", i, len(key))
		}
		if !slices.ContainsFunc(k.Policy.Keys, func(p []byte) bool { return slices.Equal(p, key.Public().(ed25519.PublicKey)) }) {
			return fmt.Errorf("wallet: private key %d does not sign for the account", i)
		}
	}
	return nil
}

// file is how keys are written. The account is that of its keys unless it says
// another one, of which the key is a device.
type file struct {
	Version   int            `json:"version"`
	Account   ledger.Address `json:"account"`
	Threshold int            `json:"threshold"`
	Keys      []string       `json:"keys"`  // public, hexadecimal
	Seeds     []string       `json:"seeds"` // of the private keys that are here
}

const (
	fileVersion = 1
	maxFile     = 64 << 10
)

// Save writes the keys to a file that only its owner reads.
func (k *Keys) Save(path string) error {
	if err := k.validate(); err != nil {
		return err
	}
	f := file{Version: fileVersion, Account: k.Account, Threshold: k.Policy.Threshold}
	for _, p := range k.Policy.Keys {
		f.Keys = append(f.Keys, hex.EncodeToString(p))
	}
	for _, p := range k.private {
		f.Seeds = append(f.Seeds, hex.EncodeToString(p.Seed()))
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("wallet: %w", err)
	}
	err = store.WriteFile(store.OS{}, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("wallet: the keys are not written: %w", err)
	}
	return nil
}

// Load reads a file that Save wrote. One that others may read is refused.
func Load(path string) (k Keys, err error) {
	h, err := os.Open(path)
	if err != nil {
		return k, fmt.Errorf("wallet: %w", err)
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return k, fmt.Errorf("wallet: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return k, fmt.Errorf("wallet: others may read %s, which has private keys (mode %o): run chmod 600 on it, and think of who may have read it", path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	if err != nil {
		return k, fmt.Errorf("wallet: %w", err)
	}
	if k, err = Parse(data); err != nil {
		return k, fmt.Errorf("wallet: %s: %w", path, err)
	}
	return k, nil
}

// Parse reads what Save writes.
func Parse(data []byte) (k Keys, err error) {
	if len(data) > maxFile {
		return k, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return k, err
	}
	if f.Version != fileVersion {
		return k, fmt.Errorf("its version is %d, this program reads %d", f.Version, fileVersion)
	}
	k.Account, k.Policy.Threshold = f.Account, f.Threshold
	for i, s := range f.Keys {
		p, err := hex.DecodeString(s)
		if err != nil {
			return k, fmt.Errorf("key %d: %w", i, err)
		}
		k.Policy.Keys = append(k.Policy.Keys, p)
	}
	for i, s := range f.Seeds {
		seed, err := hex.DecodeString(s)
		if err != nil || len(seed) != ed25519.SeedSize {
			return k, fmt.Errorf("seed %d is not %d bytes in hexadecimal", i, ed25519.SeedSize)
		}
		k.private = append(k.private, ed25519.NewKeyFromSeed(seed))
	}
	return k, k.validate()
}

// voucherKey is the key of the vouchers of a session, one for each nonce: it is
// found again with the first private key alone.
func (k *Keys) voucherKey(chain string, nonce uint64) ed25519.PrivateKey {
	var n [8]byte
	for i := range n {
		n[i] = byte(nonce >> (56 - 8*i))
	}
	seed := canon.Sum("aval voucher key/1", k.private[0].Seed(), []byte(chain), k.Account[:], n[:])
	return ed25519.NewKeyFromSeed(seed[:])
}
