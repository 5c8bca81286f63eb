package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

const disputeHelp = `
A dispute is about a receipt whose answer you computed again, and found false. Your
machine asks the device that signed it to stand by its computation, step by step,
until one step is found that does not follow from those before. That step, with the
signatures, is a proof: it convicts whoever signed the receipt before everybody, and
to check it takes neither the model nor the other device.

A device that shows nothing, or breaks off, loses the game; but of that there is no
proof, as nobody else was watching.`

const disputeExitHelp = `
Exit codes:
  0    play: a proof of fraud was written; judge: the proof stands
  1    play: there is no proof, and the output says why; judge: the proof does not
       stand; also another failure, such as a device that cannot be reached
  2    wrong flags or arguments
  3    no such model or file
  130  interrupted`

func newDisputeCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "dispute",
		Short: "Prove that a device signed a false answer",
		Long: `Dispute makes, and checks, proofs that a receipt is of a false computation, and shows
the disputes of the ledger, where the loser pays.
` + disputeHelp + "\n" + disputeExitHelp,
		Example: "  aval dispute play out.aval --peer 'peer://12D3Koo...?addr=/ip4/192.0.2.1/udp/4710/quic-v1' -o proof\n  aval dispute judge out.aval proof",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDisputePlayCommand(a), newDisputeJudgeCommand(a), newDisputeShowCommand(a))
	return c
}

type disputeOptions struct {
	modelOptions
	netOptions
	model, peer, ticket, out string
	json                     bool
	quiet                    bool // nothing is told of what takes long
}

// disputedJSON is what "aval dispute play --json" and "judge --json" print.
type disputedJSON struct {
	Receipt string       `json:"receipt"`          // its identity
	Key     string       `json:"key"`              // that signed it
	Proved  bool         `json:"proved"`           // there is a proof that stands
	Winner  string       `json:"winner,omitempty"` // of a game: prover, challenger
	Reason  string       `json:"reason,omitempty"` // why
	Detail  string       `json:"detail,omitempty"`
	Finding *findingJSON `json:"finding,omitempty"` // what the proof shows
	Proof   string       `json:"proof,omitempty"`   // its file
	Bytes   int          `json:"bytes,omitempty"`   // of the proof
}

// findingJSON is what a proof of fraud shows. Fields that mean nothing for its
// fault are left out.
type findingJSON struct {
	Fault     string `json:"fault"`
	Token     *int   `json:"token,omitempty"` // of the answer, from 0 on
	Layer     *int   `json:"layer,omitempty"`
	Position  *int   `json:"position,omitempty"`
	Operation string `json:"operation,omitempty"`
	Leaf      *int   `json:"leaf,omitempty"`
	Committed string `json:"committed,omitempty"`
	Right     string `json:"right,omitempty"`
}

func newDisputePlayCommand(a *app) *cobra.Command {
	var o disputeOptions
	c := &cobra.Command{
		Use:   "play [flags] FILE -o PROOF",
		Short: "Dispute a receipt with the device that signed it",
		Long: `Play computes the answer of the receipt in FILE again and, if it is false, plays a
dispute with the device that signed it, which must be reached and still keep the
receipt, as it does for about an hour. FILE must show everything, as it does where "aval run"
wrote it.
` + disputeHelp + "\n" + receiptFileHelp + modelHelp + "\n" + disputeExitHelp,
		Example: "  aval dispute play out.aval --peer 'peer://12D3Koo...?addr=/ip4/192.0.2.1/udp/4710/quic-v1' -o proof",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.disputePlay(c.Context(), c, &o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.peer, "peer", "", "LINK of the device that signed the receipt, peer://ID?addr=ADDRESS (default: it is looked for by its key)")
	f.StringVarP(&o.out, "output-file", "o", "", "file of the proof to write")
	f.StringVar(&o.model, "model", "", "MODEL of the receipt (default: the one of the store with its fingerprint)")
	f.StringVar(&o.ticket, "ticket", "", "HEX that came with the answer, if this device did not ask itself (\"aval run --json\" tells it)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	o.addThreads(f)
	o.netOptions.hiddenFlags(c)
	return c
}

func newDisputeJudgeCommand(a *app) *cobra.Command {
	var o disputeOptions
	c := &cobra.Command{
		Use:   "judge [flags] FILE PROOF",
		Short: "Check a proof of fraud, without the model",
		Long: `Judge says whether PROOF convicts whoever signed the receipt in FILE. It computes one
step again and compares some hashes: it needs neither the model nor the network, and
of FILE the receipt alone.
` + disputeHelp + "\n" + receiptFileHelp + "\n" + disputeExitHelp,
		Example: "  aval dispute judge out.aval proof",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.disputeJudge(c.Context(), &o, args[0], args[1])
		},
	}
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) disputeJudge(ctx context.Context, o *disputeOptions, path, proof string) error {
	f, err := a.readReceipt(ctx, path)
	if err != nil {
		return err
	}
	data, err := readBounded(ctx, proof, dispute.MaxProof)
	if err != nil {
		return err
	}
	finding, err := dispute.JudgeFile(f.Receipt.Bytes(), data)
	j := aboutReceipt(f)
	if err != nil {
		j.Detail = err.Error()
		return a.tellDispute(o, &j, "The proof does not stand: "+j.Detail)
	}
	j.Proved, j.Finding, j.Proof, j.Bytes = true, findingOf(finding), proof, len(data)
	return a.tellDispute(o, &j, "The proof stands. "+convicted(&j, finding))
}

func aboutReceipt(f *receipt.File) disputedJSON {
	return disputedJSON{Receipt: f.Receipt.Hash().String(), Key: receipt.FormatNodeKey(f.Receipt.Claims().Key)}
}

// tellDispute tells how it ended, as the exit code, too.
func (a *app) tellDispute(o *disputeOptions, j *disputedJSON, words string) error {
	var err error
	if o.json {
		err = a.printJSON(j)
	} else {
		_, err = fmt.Fprintln(a.out, words)
	}
	if err == nil && !j.Proved {
		err = &verdictError{exitInvalid, nil}
	}
	return err
}

// convicted says what a proof shows.
func convicted(j *disputedJSON, f dispute.Finding) string {
	return fmt.Sprintf("Whoever holds the key %s signed a computation that is false: %s.", j.Key, findingWords(f))
}

func findingWords(f dispute.Finding) string {
	where := fmt.Sprintf("in layer %d, at position %d", f.Cell.Layer, f.Cell.Position)
	if f.Cell.Output {
		where = fmt.Sprintf("in the choice of token %d", f.Cell.Position)
	}
	switch f.Fault {
	case dispute.WrongLeaf:
		return fmt.Sprintf("%s, part %d of the step %q does not follow from what goes into it: it gives %.8s…, signed was %.8s…", where, f.Leaf, f.Name, f.Want, f.Got)
	case dispute.WrongClosing:
		if f.Cell.Output {
			return where + ", the steps lead to another token than the one in the receipt"
		}
		return where + ", the steps lead to another result than the one that was signed"
	case dispute.WrongCell:
		return where + ", there is another number of steps than the model has"
	case dispute.WrongTrace:
		return "it has other layers than the model, or other positions than the receipt"
	case dispute.TwoTraces:
		return "there are two of them for one receipt, both signed"
	case dispute.TwoCells:
		return where + ", there are two of them for one receipt, both signed"
	case dispute.WrongRun:
		return where + ", no run of the model can be what the receipt says"
	}
	return f.String()
}

func findingOf(f dispute.Finding) *findingJSON {
	j := &findingJSON{Fault: f.Fault.String()}
	switch {
	case f.Fault == dispute.WrongTrace || f.Fault == dispute.TwoTraces:
		return j
	case f.Cell.Output:
		j.Token = &f.Cell.Position
	default:
		j.Layer, j.Position = &f.Cell.Layer, &f.Cell.Position
	}
	if f.Fault == dispute.WrongLeaf {
		j.Operation, j.Leaf, j.Committed, j.Right = f.Name, &f.Leaf, f.Got.String(), f.Want.String()
	}
	return j
}

func (a *app) disputePlay(ctx context.Context, c *cobra.Command, o *disputeOptions, path string) error {
	if o.out == "" {
		return usageErrorf("-o PROOF is missing: the file to write")
	}
	if info, err := os.Stat(filepath.Dir(o.out)); err != nil || !info.IsDir() {
		return fmt.Errorf("-o %s: there is no folder %s: %w", o.out, filepath.Dir(o.out), fs.ErrNotExist)
	}
	if err := o.check(); err != nil {
		return err
	}
	ticket, err := hex.DecodeString(o.ticket)
	if err != nil {
		return usageErrorf("--ticket %q: want hexadecimal digits", clip(o.ticket))
	}
	f, err := a.readReceipt(ctx, path)
	if err != nil {
		return err
	}
	to, err := signedBy(o, f)
	if err != nil {
		return err
	}
	own, err := a.openWitness(ctx, o, f)
	if err != nil {
		return err
	}
	defer own.close()
	j := aboutReceipt(f)
	if own.proof != nil { // the receipt alone convicts
		return a.wonDispute(o, &j, path, f, own.proof)
	}
	if own.same(f) {
		j.Detail = `its tokens are those that the model gives, so that there is nothing to dispute ("aval verify" checks the rest)`
		if e := f.Opening.Extra; e != nil && e.Extra.Grammar != nil {
			j.Detail = "a grammar limited its tokens, which cannot be disputed; nothing else is wrong that could be"
		}
		return a.tellDispute(o, &j, "No proof: "+j.Detail+".")
	}
	joined, _, err := a.join(ctx, c, &o.netOptions)
	if err != nil {
		return err
	}
	defer joined.Close()
	played, err := a.play(ctx, joined, node.DisputeRequest{Link: to, Receipt: f.Receipt.Hash(), Ticket: ticket}, own)
	switch {
	case errors.Is(err, dispute.ErrSame):
		j.Detail = "the device shows the computation that this machine found"
		return a.tellDispute(o, &j, "No proof: "+j.Detail+".")
	case err != nil:
		return err
	}
	j.Winner, j.Reason, j.Detail = played.Outcome.Winner.String(), played.Outcome.Reason.String(), played.Outcome.Detail
	if played.Proof == nil {
		return a.tellDispute(o, &j, fmt.Sprintf("No proof: the %s wins, by %s: %s.", j.Winner, j.Reason, j.Detail))
	}
	a.note("played with %d messages, %d kilobytes", played.Messages, (played.Bytes+999)/1000)
	return a.wonDispute(o, &j, path, f, played.Proof)
}

// signedBy is the device that signed a receipt.
func signedBy(o *disputeOptions, f *receipt.File) (to node.Link, err error) {
	key := f.Receipt.Claims().Key
	if o.peer == "" {
		to.Peer, err = peer.FromPublic(key)
		return to, err
	}
	if to, err = link(o.peer); err == nil && !to.Peer.Public().Equal(key) {
		err = usageErrorf("the receipt is not signed by %s but by %s", to.Peer, receipt.FormatNodeKey(key))
	}
	return to, err
}

// play plays the game with a key of its own.
func (a *app) play(ctx context.Context, n peerAsker, r node.DisputeRequest, own *witness) (*remote.Played, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	r.Challenger = public
	a.note("the device computes its answer again")
	table, err := n.Dispute(ctx, r)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	return remote.Play(ctx, table, remote.Challenge{Run: own.claim, Key: key, Witness: own.run})
}

// wonDispute checks the proof as everybody does, and writes it.
func (a *app) wonDispute(o *disputeOptions, j *disputedJSON, path string, f *receipt.File, proof []byte) error {
	finding, err := dispute.JudgeFile(f.Receipt.Bytes(), proof)
	if err != nil {
		return fmt.Errorf("the proof that was made does not stand: %w", err)
	}
	if err := writeFile(o.out, proof, 0o644); err != nil { // it is made to be shown
		return err
	}
	j.Proved, j.Finding, j.Proof, j.Bytes = true, findingOf(finding), o.out, len(proof)
	return a.tellDispute(o, j, fmt.Sprintf("%s\nThe proof is in %s (%d bytes). With the receipt it stands before everybody, without the model: aval dispute judge %s %s",
		convicted(j, finding), o.out, len(proof), path, o.out))
}

// witness is what this machine computed of a receipt's run.
type witness struct {
	claim dispute.Run
	run   *rerun.Run
	model *checkedModel
	file  *gguf.File
	proof []byte // that no run can be what the receipt says; then there is no run
}

func (w *witness) close() {
	if w.run != nil {
		w.run.Close()
	}
	if w.file != nil {
		_ = w.file.Close() // it was read only
	}
	if w.model != nil {
		w.model.close()
	}
}

// openWitness computes the run of a receipt again.
func (a *app) openWitness(ctx context.Context, o *disputeOptions, f *receipt.File) (w *witness, err error) {
	claims := f.Receipt.Claims()
	if len(claims.Adapters) > 0 {
		return nil, fmt.Errorf("the receipt is of a model with adapters, with which devices do not answer one another")
	}
	w = &witness{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.claim, err = dispute.NewRun(f.Receipt); err != nil {
		return nil, err
	}
	where, found, err := a.modelFor(ctx, o.model, claims.Model)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%w with the receipt's fingerprint is known on this machine; name it with --model", errNoModel)
	}
	m, check, err := a.openModel(ctx, where, &claims, o.modelOptions, &loraOptions{})
	if err != nil {
		return nil, err
	}
	if check != nil {
		return nil, errors.New(check.Detail)
	}
	if w.model = m; m.engine == nil {
		return nil, fmt.Errorf("the receipt is for the model %v, %s is %v", claims.Model, where.name, m.root)
	}
	if w.file, err = gguf.Open(where.path); err != nil {
		return nil, err
	}
	cfg := rerun.Config{File: w.file, Claims: claims, Opening: f.Opening}
	if cfg.Print, err = fingerprint.Of(ctx, w.file, o.threads); err != nil {
		return nil, err
	}
	if !o.quiet {
		a.note("computing the answer again")
	}
	w.run, err = newRerun(ctx, m.engine, cfg)
	var impossible *rerun.ImpossibleError
	if errors.As(err, &impossible) {
		w.proof, err = w.impossible(ctx, cfg, impossible.Cell)
	}
	return w, err
}

// impossible proves that no run can be what the receipt says.
func (w *witness) impossible(ctx context.Context, cfg rerun.Config, c dispute.Cell) ([]byte, error) {
	if err := w.model.engine.Compute(ctx, func(m *model.Model) error { cfg.Model = m; return nil }); err != nil {
		return nil, err
	}
	description, err := rerun.Describe(cfg, c)
	if err != nil {
		return nil, err
	}
	p, err := dispute.Impossible(w.claim, c, description)
	if err != nil {
		return nil, err
	}
	return p.Encode()
}

// same says whether the receipt is of the run that this machine found.
func (w *witness) same(f *receipt.File) bool {
	if _, wrong := w.run.Output(); wrong {
		return false
	}
	claims := f.Receipt.Claims()
	if claims.Trace.IsZero() {
		return true
	}
	states, err := w.run.States()
	if err != nil || f.Opening.Trace == nil {
		return false // the game says more
	}
	var layers []canon.Hash
	for _, l := range states {
		layers = append(layers, canon.Root(l))
	}
	return trace.Commitment(f.Opening.Trace[:], trace.RootOf(layers), len(layers), positions(&claims)) == claims.Trace
}
