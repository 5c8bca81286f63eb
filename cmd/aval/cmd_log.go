package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/receipt"
)

const logHelp = `
A device that serves models ("aval net up --serve") writes every answer that it gives
to another device into a log that only grows, and signs checkpoints of it: who has
one can tell later whether something was changed, or left out. The log shows how
many answers there are, and not what they are about.`

const logExitHelp = `
Exit codes:
  0    success: the proof holds
  1    the proof does not hold, or the device does not show what it signed; also
       another failure, such as a device that cannot be reached
  2    wrong flags or arguments
  3    no such file
  130  interrupted`

// logsFolder is the folder of the node's log of receipts.
func logsFolder(nodeFolder string) string { return nodeFolder + "-receipts" }

func newLogCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "Show, prove and check what is in a log of receipts",
		Long:  "Log asks about the log of the receipts that a device gave.\n" + logHelp + "\n" + logExitHelp,
		Example: "  aval log checkpoint\n  aval log proof out.aval -o out.tlog-proof\n" +
			"  aval log verify out.aval out.tlog-proof",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newLogCheckpointCommand(a), newLogProofCommand(a), newLogReceiptCommand(a), newLogVerifyCommand(a))
	return c
}

// logger is what is asked about a log: a node, or the folder of one that does not
// run.
type logger interface {
	LogCheckpoint(ctx context.Context, r node.LogRequest) (node.Logged, error)
	LogProof(ctx context.Context, r node.LogRequest) (node.Logged, error)
	LogReceipt(ctx context.Context, r node.LogRequest) ([]byte, error)
	Close() error
}

var _, _, _ logger = (*node.Node)(nil), (*node.Remote)(nil), (*node.OwnLog)(nil)

// logJSON is what "aval log checkpoint --json", "proof --json" and "verify --json"
// print.
type logJSON struct {
	Key        string  `json:"key"`        // that signs the log
	Size       uint64  `json:"size"`       // entries
	Root       string  `json:"root"`       // hexadecimal
	Checkpoint string  `json:"checkpoint"` // as it was signed
	Old        *uint64 `json:"old,omitempty"`
	Index      *uint64 `json:"index,omitempty"`
	Receipt    string  `json:"receipt,omitempty"` // its identity
	Proof      string  `json:"proof,omitempty"`   // as text
	Holds      bool    `json:"holds"`
	Detail     string  `json:"detail,omitempty"` // why not
}

type logOptions struct {
	netOptions
	peer, out, after string
	opened, json     bool
}

func (o *logOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.peer, "peer", "", "LINK or ID of the device whose log it is (default: this one)")
	o.hiddenFlags(c)
}

// openLog gives who can be asked about a log, and the device in question.
func (a *app) openLog(ctx context.Context, c *cobra.Command, o *logOptions) (logger, node.Link, error) {
	var to node.Link
	var err error
	if o.peer != "" {
		if to, err = link(o.peer); err != nil {
			return nil, to, err
		}
		n, _, err := a.join(ctx, c, &o.netOptions)
		return n, to, err
	}
	r, folder, err := a.runningNode(ctx)
	if err == nil {
		return r, to, nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return nil, to, err
	}
	path := logsFolder(folder)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, to, fmt.Errorf("this device has no log yet, as it served no model (\"aval net up --serve MODEL\"): %w", err)
	}
	key, err := a.nodeKey()
	if err != nil {
		return nil, to, err
	}
	own, err := node.OpenOwnLog(path, key)
	return own, to, err
}

func newLogCheckpointCommand(a *app) *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use: "checkpoint [flags]", Short: "Show what a device signs of its log", Args: cobra.NoArgs,
		Long: `Checkpoint prints the newest signed checkpoint of a log: how many answers are in it,
and one hash for all of them. With --after FILE it also checks that the log grew out
of the one in that checkpoint, which you kept: nothing in it was changed.
` + logHelp + "\n" + logExitHelp,
		Example: "  aval log checkpoint > mine\n  aval log checkpoint --peer 'peer://12D3Koo...' --after theirs",
		RunE:    func(c *cobra.Command, _ []string) error { return a.logCheckpoint(c.Context(), c, &o) },
	}
	o.flags(c)
	c.Flags().StringVar(&o.after, "after", "", "FILE of an older checkpoint of the same log")
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) logCheckpoint(ctx context.Context, c *cobra.Command, o *logOptions) error {
	var r node.LogRequest
	var err error
	if o.after != "" {
		if r.After, err = readBounded(ctx, o.after, receiptlog.MaxCheckpoint); err != nil {
			return err
		}
	}
	l, to, err := a.openLog(ctx, c, o)
	if err != nil {
		return err
	}
	defer l.Close()
	r.Link = to
	out, err := l.LogCheckpoint(ctx, r)
	if err != nil {
		return err
	}
	j := logOf(out)
	if r.After != nil {
		j.Old = &out.Old
	}
	words := string(out.Checkpoint)
	if out.Lie == "" && r.After != nil {
		a.note("the log of %d answers begins with the one of %d", out.Size, out.Old)
	}
	if out.Conflict {
		a.note("both checkpoints are signed: together they convict the device")
	}
	return a.tellLog(o.json, &j, words)
}

func logOf(out node.Logged) logJSON {
	j := logJSON{Size: out.Size, Root: out.Root.String(), Checkpoint: string(out.Checkpoint), Holds: out.Lie == "", Detail: out.Lie}
	if out.Key != nil {
		j.Key = receipt.FormatNodeKey(out.Key)
	}
	return j
}

// tellLog tells what came, as the exit code, too.
func (a *app) tellLog(asJSON bool, j *logJSON, words string) error {
	var err error
	switch {
	case asJSON:
		err = a.printJSON(j)
	case words != "":
		_, err = fmt.Fprint(a.out, words)
	}
	if err != nil || j.Holds {
		return err
	}
	if asJSON {
		return &verdictError{exitInvalid, nil}
	}
	return &verdictError{exitInvalid, errors.New(j.Detail)}
}

func newLogProofCommand(a *app) *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use: "proof [flags] INDEX|RECEIPT", Short: "Prove that a receipt is in a log", Args: cobra.ExactArgs(1),
		Long: `Proof proves that the log has an entry: the one with the number INDEX, from 0 on, or
the one of RECEIPT, which is a receipt's file or its identity of 64 digits. For a file
the device is the one that signed the receipt, unless --peer names it. The proof is
text that needs no network to be checked: "aval log verify".
` + logHelp + "\n" + logExitHelp,
		Example: "  aval log proof out.aval -o out.tlog-proof\n  aval log proof 17 --peer 'peer://12D3Koo...'",
		RunE:    func(c *cobra.Command, args []string) error { return a.logProof(c.Context(), c, &o, args[0]) },
	}
	o.flags(c)
	c.Flags().StringVarP(&o.out, "output-file", "o", "", "file of the proof to write (default: it is printed)")
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

// logEntry reads the argument that names an entry. own is the ID of this device.
func (a *app) logEntry(ctx context.Context, o *logOptions, arg string) (r node.LogRequest, err error) {
	if index, err := strconv.ParseUint(arg, 10, 64); err == nil && index < receiptlog.MaxSize {
		r.Index = index
		return r, nil
	}
	if b, err := hex.DecodeString(arg); err == nil && len(b) == len(r.Receipt) {
		r.Receipt = receipt.Hash(b)
		return r, nil
	}
	f, err := a.readReceipt(ctx, arg)
	if err != nil {
		return r, err
	}
	r.Receipt = f.Receipt.Hash()
	if o.peer != "" {
		return r, nil
	}
	key, err := a.nodeKey()
	if err != nil {
		return r, err
	}
	signer, err := peer.FromPublic(f.Receipt.Claims().Key)
	if err == nil && signer != peer.FromPrivate(key) {
		o.peer = signer.String()
	}
	return r, err
}

func (a *app) logProof(ctx context.Context, c *cobra.Command, o *logOptions, arg string) error {
	r, err := a.logEntry(ctx, o, arg)
	if err != nil {
		return err
	}
	l, to, err := a.openLog(ctx, c, o)
	if err != nil {
		return err
	}
	defer l.Close()
	r.Link = to
	out, err := l.LogProof(ctx, r)
	if err != nil {
		return err
	}
	j := logOf(out)
	if j.Holds {
		j.Index, j.Receipt, j.Proof = &out.Index, out.Receipt.String(), string(out.Proof)
	}
	words := j.Proof
	if j.Holds && o.out != "" {
		if err := writeFile(o.out, out.Proof, 0o644); err != nil {
			return err
		}
		words = ""
	}
	if j.Holds {
		a.note("the receipt %v is the entry %d of %d", out.Receipt, out.Index, out.Size)
	}
	return a.tellLog(o.json, &j, words)
}

func newLogReceiptCommand(a *app) *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use: "receipt [flags] INDEX -o FILE", Short: "Fetch a receipt of a log, to audit it", Args: cobra.ExactArgs(1),
		Long: `Receipt fetches the receipt with the number INDEX, from 0 on, once its place in the
log is proven. With --opened it shows what was asked and answered, too, and "aval
verify" computes the answer again. The device must allow it: "aval access grant PEER
--audit receipts" there, and "--audit openings" for --opened.
` + logHelp + "\n" + logExitHelp,
		Example: "  aval log receipt 17 --peer 'peer://12D3Koo...' --opened -o 17.aval",
		RunE: func(c *cobra.Command, args []string) error {
			index, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || index >= receiptlog.MaxSize {
				return usageErrorf("%q is no number of an entry", clip(args[0]))
			}
			if o.out == "" {
				return usageErrorf("-o FILE is missing: the file to write")
			}
			l, to, err := a.openLog(c.Context(), c, &o)
			if err != nil {
				return err
			}
			defer l.Close()
			data, err := l.LogReceipt(c.Context(), node.LogRequest{Link: to, Index: index, Opened: o.opened})
			if err != nil {
				return err
			}
			return writeFile(o.out, data, 0o600)
		},
	}
	o.flags(c)
	c.Flags().StringVarP(&o.out, "output-file", "o", "", "file of the receipt to write")
	c.Flags().BoolVar(&o.opened, "opened", false, "with what was asked and answered")
	return c
}

func newLogVerifyCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "verify [flags] RECEIPT PROOF", Short: "Check a proof that a receipt is in a log, without a network", Args: cobra.ExactArgs(2),
		Long: `Verify says whether the file PROOF, which "aval log proof" wrote, shows that the
receipt in the file RECEIPT is in the log of the device that signed it. It does not
say whether the answer is true: "aval verify" does.
` + logHelp + "\n" + receiptFileHelp + "\n" + logExitHelp,
		Example: "  aval log verify out.aval out.tlog-proof",
		RunE:    func(c *cobra.Command, args []string) error { return a.logVerify(c.Context(), asJSON, args[0], args[1]) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) logVerify(ctx context.Context, asJSON bool, path, proof string) error {
	f, err := a.readReceipt(ctx, path)
	if err != nil {
		return err
	}
	data, err := readBounded(ctx, proof, receiptlog.MaxProofFile)
	if err != nil {
		return err
	}
	if err := f.Receipt.Verify(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	j := logJSON{Key: receipt.FormatNodeKey(f.Receipt.Claims().Key), Receipt: f.Receipt.Hash().String()}
	p, err := receiptlog.ParseProof(data)
	var c receiptlog.Checkpoint
	if err == nil {
		c, err = p.Verify(f.Receipt.Claims().Key, f.Receipt.Hash())
	}
	if err != nil {
		j.Detail = err.Error()
		return a.tellLog(asJSON, &j, "")
	}
	j.Holds, j.Size, j.Root, j.Checkpoint, j.Index = true, c.Size, c.Root.String(), string(p.Checkpoint), &p.Index
	return a.tellLog(asJSON, &j, fmt.Sprintf("The receipt is the entry %d of the log of %s, which signed it when it had %d.\n", p.Index, j.Key, c.Size))
}
