package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/receipt"
)

// publicKeyJSON is what "aval key --json" and "aval key new-auditor --json" print.
type publicKeyJSON struct {
	Key  string `json:"key"`  // the public one
	Path string `json:"path"` // of the file with the private one
	// Account is that of the key on a ledger; not of an auditor's key.
	Account string `json:"account,omitempty"`
}

func newKeyCommand(a *app) *cobra.Command {
	var asJSON, quantum bool
	c := &cobra.Command{
		Use:   "key [flags]",
		Short: "Show the key that signs receipts; make keys for auditors",
		Long: `Key shows the public key that the receipts of this machine are signed with. Tell
it to those who check them, so that they know whose receipts they have. It also tells
the account that the key has on a ledger, on standard error. The
private key is made when it is first needed, in ~/.aval/node.key or the file that
AVAL_KEY names. Only its owner may read the file: a key that others can read is
refused. "aval key passphrase" locks it for whoever gets the file all the same.
` + environmentHelp + "\n" + exitHelp,
		Example: "  aval key\n  aval key --json\n  aval key new-auditor auditor.key",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.key(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	n := &cobra.Command{
		Use:   "new-auditor [flags] FILE",
		Short: "Make a pair of keys for an auditor",
		Long: `New-auditor writes a new private key to FILE, which must not exist yet, and prints
the public key that belongs to it. Whoever has the public key can show a receipt's
contents to the holder of FILE, and to nobody else ("aval run --seal", "aval
receipt open --for"). "aval receipt open --with FILE" reads what was sealed.
` + exitHelp,
		Example: "  aval key new-auditor auditor.key\n  aval run --receipt out.aval --privacy hidden --seal aval-auditor-1... MODEL \"Hi\"",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.newAuditor(args[0], quantum, asJSON) },
	}
	n.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	n.Flags().BoolVar(&quantum, "quantum", false, "a key that also withstands quantum computers; its public part has 2000 characters")
	c.AddCommand(n, newPassphraseCommand(a))
	return c
}

func (a *app) key(asJSON bool) error {
	path, err := a.keyPath()
	if err != nil {
		return err
	}
	key, err := a.nodeKey()
	if err != nil {
		return err
	}
	public := key.Public().(ed25519.PublicKey)
	account := ledger.AddressOf(public).String()
	if !asJSON {
		a.note("its account on a ledger: %s", account)
	}
	return a.printKey(asJSON, publicKeyJSON{Key: receipt.FormatNodeKey(public), Path: path, Account: account})
}

func (a *app) printKey(asJSON bool, key publicKeyJSON) error {
	if asJSON {
		return a.printJSON(key)
	}
	_, err := fmt.Fprintln(a.out, key.Key)
	return err
}

func (a *app) newAuditor(path string, quantum, asJSON bool) error {
	key, err := receipt.NewAuditorSecret(quantum)
	if err != nil {
		return err
	}
	text, err := key.Text()
	if err != nil {
		return err
	}
	if err := issuer.CreatePrivate(path, text+"\n"); errors.Is(err, fs.ErrExist) {
		return usageErrorf("%s exists already, and a private key is never replaced", path)
	} else if err != nil {
		return err
	}
	return a.printKey(asJSON, publicKeyJSON{Key: key.Public().String(), Path: path})
}
