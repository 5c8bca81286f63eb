package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/avalnetwork/aval/internal/issuer"
)

func newPassphraseCommand(a *app) *cobra.Command {
	var remove bool
	var file string
	c := &cobra.Command{
		Use:   "passphrase [flags]",
		Short: "Set, change or remove the passphrase of the key",
		Long: `Passphrase writes the file of the key anew, so that it is of no use without the
passphrase. Every command that signs, serves or joins the network then asks for it
on the terminal, or reads it from the file that AVAL_PASSPHRASE_FILE names. The key
stays the same, and with it the name under which others know this node. Nobody can
restore a passphrase that is forgotten. Copies of the file from before stay as
they are.
` + exitHelp,
		Example: "  aval key passphrase\n  aval key passphrase --remove",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.setPassphrase(remove, file) },
	}
	c.Flags().BoolVar(&remove, "remove", false, "leave the key without a passphrase")
	c.Flags().StringVar(&file, "new-file", "", "file with the new passphrase, instead of asking for it")
	return c
}

func (a *app) setPassphrase(remove bool, file string) error {
	if remove && file != "" {
		return usageErrorf("--remove and --new-file exclude one another")
	}
	path, err := a.keyPath()
	if err != nil {
		return err
	}
	key, err := a.nodeKey()
	if err != nil {
		return err
	}
	next := ""
	switch {
	case remove:
	case file != "":
		next, err = readPassphrase(file)
	default:
		next, err = a.newPassphrase()
	}
	if err != nil {
		return err
	}
	if err := issuer.SetPassphrase(path, key, next); err != nil {
		return err
	}
	if remove {
		a.note("%s has no passphrase now", path)
	} else {
		a.note("%s has a new passphrase", path)
	}
	return nil
}

// newPassphrase asks for a passphrase twice.
func (a *app) newPassphrase() (string, error) {
	first, err := a.askSecret("New passphrase: ", "--new-file FILE")
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", usageErrorf("the passphrase is empty: \"aval key passphrase --remove\" leaves the key without one")
	}
	again, err := a.askSecret("The same again: ", "--new-file FILE")
	if err == nil && again != first {
		err = errors.New("the two passphrases differ; nothing was changed")
	}
	return first, err
}

// passphrase gets the passphrase of a key from the file that the environment
// names, or from the person.
func (a *app) passphrase(path string) (string, error) {
	if file := a.getenv("AVAL_PASSPHRASE_FILE"); file != "" {
		return readPassphrase(file)
	}
	return a.askSecret(fmt.Sprintf("Passphrase of %s: ", path), "AVAL_PASSPHRASE_FILE=FILE")
}

// readPassphrase reads the first line of a file.
func readPassphrase(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, issuer.MaxPassphrase+2))
	if err != nil {
		return "", err
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || rest != "" || len(line) > issuer.MaxPassphrase {
		return "", fmt.Errorf("%s does not hold one line with a passphrase", file)
	}
	return line, nil
}

// askSecret asks the person for something that is not shown. Ctrl-C ends it, and
// leaves the terminal as it was.
func (a *app) askSecret(prompt, instead string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !a.inTerminal {
		return "", fmt.Errorf("a passphrase is needed, and there is no terminal to ask for it: use %s", instead)
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	type answer struct {
		text []byte
		err  error
	}
	read := make(chan answer, 1)
	fmt.Fprint(a.err, prompt)
	defer fmt.Fprintln(a.err)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		read <- answer{text, err}
	}()
	select {
	case got := <-read:
		return string(got.text), got.err
	case <-interrupted: // the reader waits on; the program ends
		return "", errors.Join(context.Canceled, term.Restore(int(f.Fd()), state))
	}
}
