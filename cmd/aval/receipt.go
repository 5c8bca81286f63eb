package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/receipt"
)

// receiptOptions are the flags that ask for a receipt.
type receiptOptions struct {
	path, nonce, beacon, privacy string
	trace                        bool
	seal                         []string
}

func (o *receiptOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.path, "receipt", "", "write a signed receipt of the answer to this file")
	f.StringVar(&o.nonce, "nonce", "", "HEX of 8 to 32 bytes, from whoever will check the receipt: the seed follows from it and the prompt")
	f.StringVar(&o.beacon, "beacon", "", "NAME:ROUND:HEX, a value that was public only at a known time: the same")
	f.BoolVar(&o.trace, "trace", false, "the receipt also commits to all that the model computed, so that it can be checked in parts")
	f.StringVar(&o.privacy, "privacy", string(issuer.Open),
		"what the receipt's file does not show: the prompt, the output, both (hidden), or nothing (open)")
	f.StringArrayVar(&o.seal, "seal", nil, "KEY of an auditor, or a file with it: show the auditor everything (may be repeated)")
}

// options checks the flags. seeded says that the command line has a seed.
func (o *receiptOptions) options(ctx context.Context, seeded bool) (issuer.Options, error) {
	var opt issuer.Options
	if o.path == "" {
		if o.nonce != "" || o.beacon != "" || o.trace || o.privacy != string(issuer.Open) || len(o.seal) > 0 {
			return opt, usageErrorf("--nonce, --beacon, --trace, --privacy and --seal are about a receipt: add --receipt FILE")
		}
		return opt, nil
	}
	var err error
	if opt.Seed, err = o.seed(); err != nil {
		return opt, err
	}
	if opt.Seed != nil && seeded {
		return opt, usageErrorf("--seed and --nonce (or --beacon) exclude each other: the seed follows from the nonce")
	}
	if opt.Hide, err = issuer.Privacy(o.privacy).Hides(); err != nil {
		return opt, usageErrorf("--privacy: %w", err)
	}
	opt.Trace = o.trace
	opt.Auditors, err = auditorKeys(ctx, "--seal", o.seal)
	if err != nil {
		return opt, err
	}
	if info, err := os.Stat(filepath.Dir(o.path)); err != nil || !info.IsDir() {
		return opt, fmt.Errorf("--receipt %s: there is no folder %s: %w", o.path, filepath.Dir(o.path), fs.ErrNotExist)
	}
	return opt, nil
}

// seed is that of --nonce or --beacon, or nil.
func (o *receiptOptions) seed() (*receipt.Seed, error) {
	switch {
	case o.nonce != "" && o.beacon != "":
		return nil, usageErrorf("--nonce and --beacon exclude each other")
	case o.nonce != "":
		return parseNonce(o.nonce)
	case o.beacon != "":
		return parseBeacon(o.beacon)
	}
	return nil, nil
}

func parseNonce(s string) (*receipt.Seed, error) {
	seed, err := issuer.ParseNonce(s)
	if err != nil {
		return nil, usageErrorf(`--nonce %q: %w; "openssl rand -hex 16" gives one`, clip(s), err)
	}
	return seed, nil
}

func parseBeacon(s string) (*receipt.Seed, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return nil, usageErrorf("--beacon %q: want NAME:ROUND:HEX", clip(s))
	}
	round, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return nil, usageErrorf("--beacon %q: the round is not a number", clip(s))
	}
	seed, err := issuer.ParseBeacon(parts[0], round, parts[2])
	if err != nil {
		return nil, usageErrorf("--beacon %q: %w", clip(s), err)
	}
	return seed, nil
}

// clip shortens what a person wrote, for an error.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// auditorKeys reads keys, each as text or in a file.
func auditorKeys(ctx context.Context, flag string, from []string) ([]receipt.AuditorKey, error) {
	var keys []receipt.AuditorKey
	for _, s := range from {
		text := s
		if !strings.HasPrefix(s, "aval-auditor") {
			b, err := readFile(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("%s: neither a key nor a file that can be read: %w", flag, err)
			}
			text = string(b)
		}
		key, err := receipt.ParseAuditorKey(text)
		if err != nil {
			return nil, usageErrorf("%s: %w", flag, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// signer makes the receipt of one answer.
type signer struct {
	key   ed25519.PrivateKey
	model *issuer.Identity
	lora  *adapters
	wish  issuer.Options
	draft *issuer.Draft
}

// newSigner takes note of a model that is about to be loaded.
func (a *app) newSigner(model string, lora *adapters, wish issuer.Options) (*signer, error) {
	key, err := a.nodeKey()
	if err != nil {
		return nil, err
	}
	id, err := issuer.Identify(model)
	if err != nil {
		return nil, err
	}
	return &signer{key: key, model: id, lora: lora, wish: wish}, nil
}

func (s *signer) close() { s.model.Close() }

// draft begins the receipt of a request.
func (s *session) draft(r *engine.Request, text string) error {
	p := issuer.Prompt{Source: issuer.Text(text, true)}
	var err error
	if !s.options.raw {
		if p.Source, err = issuer.Chat(s.input(text)); err != nil {
			return err
		}
	}
	i := issuer.New(issuer.Config{Key: s.sign.key, Model: s.sign.model, Adapters: s.sign.lora.issued, Context: s.engine.Context()})
	s.sign.draft, err = i.Begin(r, p, s.sign.wish)
	return err
}

// writeReceipt writes the receipt of the answer.
func (s *session) writeReceipt(ctx context.Context) (*runReceiptJSON, error) {
	o := s.options
	s.sign.model.Compute(ctx, identityCache(), o.threads)
	s.sign.lora.compute(ctx, identityCache(), o.threads)
	f, err := s.sign.draft.File(ctx)
	if err != nil {
		return nil, err
	}
	if err := writeReceipt(o.path, f); err != nil {
		return nil, fmt.Errorf("the receipt: %w", err)
	}
	if o.privacy == string(issuer.HideAll) && len(o.seal) == 0 {
		s.note("aval: nobody can ever open this receipt: --seal KEY would let an auditor")
	}
	h := f.Receipt.Hash()
	s.note("receipt %s… in %s", h.String()[:16], o.path)
	return &runReceiptJSON{ID: h.String(), Path: o.path}, nil
}

// home is the folder of what this program keeps for a person.
func (a *app) home(set string) (string, error) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("where is your home folder? set %s (%w)", set, err)
	}
	return filepath.Join(dir, ".aval"), nil
}

// keyPath is the file of the node's key.
func (a *app) keyPath() (string, error) {
	if path := a.getenv("AVAL_KEY"); path != "" {
		return path, nil
	}
	dir, err := a.home("AVAL_KEY to a file")
	return filepath.Join(dir, "node.key"), err
}

// nodeKey reads the node's key, and makes one first if there is none. It asks
// for a passphrase if the key has one.
func (a *app) nodeKey() (ed25519.PrivateKey, error) {
	path, err := a.keyPath()
	if err != nil {
		return nil, err
	}
	key, err := issuer.LoadKeyWith(path, a.passphrase)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; set AVAL_KEY to a file that you may write", err)
	}
	return key, err
}

// identityCache is the folder where the fingerprints of models are remembered,
// or "".
func identityCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "aval", "fingerprints")
}

// writeReceipt writes the file of a receipt. If it shows something, only its
// owner may read it.
func writeReceipt(path string, f *receipt.File) error {
	data, err := f.Marshal()
	if err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if f.Opening != nil {
		perm = 0o600
	}
	return writeFile(path, data, perm)
}

// writeFile gives path the contents data: it is there whole or as it was
// before.
func writeFile(path string, data []byte, perm fs.FileMode) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return usageErrorf("%s is not a file that can be replaced", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name()) // the first error says more
		}
	}()
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(perm), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
