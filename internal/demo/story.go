// Package demo tells the story of a demonstration: a [Story] is what happened,
// as facts; [Story.Page] is the page that shows it, which stands alone; [ReadLeaf]
// makes the picture of the tile that was wrong, from the evidence.
//
// It starts nothing and watches nothing: the command does. What it tells it was
// told, but for the leaf, which it computes again.
package demo

import (
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/internal/ledger"
)

// Ending is how a demonstration ended.
type Ending string

// The endings.
const (
	Proved     Ending = "proved"     // the liar lost a dispute by a proof of fraud
	Silent     Ending = "silent"     // the liar lost its bond, since it did not answer for itself
	NoLie      Ending = "no lie"     // the liar was gone before anybody could ask it
	Unfinished Ending = "unfinished" // time was over first
)

// Story is what happened.
type Story struct {
	Began   string  `json:"began"`   // date and time
	Seconds float64 `json:"seconds"` // it took
	Version string  `json:"version"` // of the program
	Ending  Ending  `json:"ending"`
	// Why says why it is unfinished.
	Why       string     `json:"why,omitempty"`
	Nodes     []Node     `json:"nodes"`
	Accounts  []Account  `json:"accounts"`
	Steps     []Step     `json:"steps"`
	Questions []Question `json:"questions"`
	Audits    []Audit    `json:"audits"`
	Dispute   *Dispute   `json:"dispute,omitempty"` // the one that decided
	Leaf      *Leaf      `json:"leaf,omitempty"`    // of a proof of a wrong leaf
	Files     []File     `json:"files"`             // beside the page
	Commands  []Command  `json:"commands"`          // that check them
	Blocks    uint64     `json:"blocks"`
	// Escrow is what the user has in sessions that are still open.
	Escrow ledger.Amount `json:"escrow"`
}

// Node is one of the nodes.
type Node struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
	Key   string   `json:"key"`
	Lies  bool     `json:"lies,omitempty"`
	// Died is when its process ended before its time, in seconds.
	Died *float64 `json:"died,omitempty"`
}

// Account is what somebody had, before and after, with what was bonded.
type Account struct {
	Name   string        `json:"name"`
	Key    string        `json:"key"` // the account
	Before ledger.Amount `json:"before"`
	After  ledger.Amount `json:"after"`
	Bond   ledger.Amount `json:"bond"` // after
	// Slashed is what was taken from its bond.
	Slashed ledger.Amount `json:"slashed"`
}

// Step is something that happened.
type Step struct {
	At   float64 `json:"at"` // seconds after the beginning
	Text string  `json:"text"`
	Mark Mark    `json:"mark"`
}

// Mark says of what kind a step is.
type Mark string

// The marks.
const (
	Plain Mark = "plain"
	Good  Mark = "good"
	Bad   Mark = "bad"
	Mind  Mark = "mind"
)

// Question is one that the user asked.
type Question struct {
	To      string        `json:"to"`
	Prompt  string        `json:"prompt"`
	Answer  string        `json:"answer"`
	Verdict string        `json:"verdict"` // valid, invalid
	Detail  string        `json:"detail,omitempty"`
	Right   string        `json:"right,omitempty"` // what the model gives, of a false answer
	Tokens  int           `json:"tokens"`
	Receipt string        `json:"receipt"` // its identity
	Paid    ledger.Amount `json:"paid"`
	How     string        `json:"how,omitempty"` // it was paid
	Lie     bool          `json:"lie,omitempty"`
}

// Audit is one that the ledger drew.
type Audit struct {
	Of       string   `json:"of"` // the node
	Auditors []string `json:"auditors"`
	Receipts uint64   `json:"receipts"`
	// Found says for each auditor whose findings are known whether the answer is
	// right.
	Found []bool `json:"found"`
}

// Dispute is a game on the ledger.
type Dispute struct {
	ID         string        `json:"id"`
	Challenger string        `json:"challenger"`
	Prover     string        `json:"prover"`
	Opened     uint64        `json:"opened"` // height
	Ended      uint64        `json:"ended"`
	Reason     string        `json:"reason"`
	Moves      []Move        `json:"moves"`
	Taken      ledger.Amount `json:"taken"`
	Award      ledger.Amount `json:"award"`
	Burnt      ledger.Amount `json:"burnt"`
	Proof      int           `json:"proof"` // bytes
}

// Move is a message of the game.
type Move struct {
	Height uint64        `json:"height"`
	By     string        `json:"by"`
	What   string        `json:"what"`
	Bytes  int           `json:"bytes"`
	Fee    ledger.Amount `json:"fee"`
}

// File is one beside the page.
type File struct {
	Name string `json:"name"`
	What string `json:"what"`
}

// Command is one with which a reader checks the evidence.
type Command struct {
	Text string `json:"text"`
	What string `json:"what"`
}

// Units writes an amount as people reckon.
func Units(n ledger.Amount) string {
	s := fmt.Sprintf("%d.%06d", n/ledger.Unit, n%ledger.Unit)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Title is the story in a line.
func (s *Story) Title() string {
	switch s.Ending {
	case Proved:
		return "A liar was caught, and lost its bond"
	case Silent:
		return "A liar fell silent, and lost its bond"
	case NoLie:
		return "The liar was gone before it could lie"
	}
	return "The story has no end yet"
}

// Summary says how it ended, in two sentences.
func (s *Story) Summary() string {
	taken := ledger.Amount(0)
	for _, a := range s.Accounts {
		taken += a.Slashed
	}
	switch s.Ending {
	case Proved:
		return fmt.Sprintf("Seven nodes ran a ledger on this machine. One of them answered with a model that it had tampered with. The answer was computed again, disputed, and pinned to one tile of one matrix; %s units of the liar's bond were taken.", Units(taken))
	case Silent:
		return fmt.Sprintf("Seven nodes ran a ledger on this machine. One of them answered falsely, and then did not answer for it: who does not move in time loses. %s units of its bond were taken.", Units(taken))
	case NoLie:
		return "Seven nodes ran a ledger on this machine. The one that would have lied ended before anybody got an answer of it, so there is nothing to prove, and nobody lost anything."
	}
	return "Seven nodes ran a ledger on this machine, but time was over before the liar was judged: " + s.Why
}
