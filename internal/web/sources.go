package web

import (
	"context"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

// Chat asks models and checks what they answer.
type Chat interface {
	// Targets lists the models that may be asked, in the order to show them. It
	// waits for nobody for long.
	Targets(ctx context.Context) ([]Target, error)
	// Ask has a model answer. on hears what happens meanwhile; its error ends the
	// answer. What is found to be false is in the answer, and not an error.
	Ask(ctx context.Context, q Question, on func(Step) error) (*Answer, error)
	// Check computes an answer again, with a model of this device, and gives what
	// is known then.
	Check(ctx context.Context, a *Answer) (Result, error)
}

// Target is a model that may be asked.
type Target struct {
	ID   string // for Question; not shown
	Name string // of the model
	// Peer is who answers; "" is this device. Short is for people.
	Peer, Short string
	Detail      string // architecture and the like
	Talks       bool   // has a form for conversations; else it goes on with a text
	Receipts    bool
	Price       string // in words; "" is free
}

// Message is one of a conversation.
type Message struct {
	Role    string `json:"role"` // system, user, assistant
	Content string `json:"content"`
}

// Question is what is asked.
type Question struct {
	Target      string
	Messages    []Message
	Temperature float32
	MaxTokens   int // 0: as many as there may be
	// Compute wants the answer computed again here, if this device has the model.
	Compute bool
}

// Phase is what is being done for an answer.
type Phase string

// The phases. Texts for people have their names.
const (
	Loading  Phase = "loading"  // the model
	Asking   Phase = "asking"   // the peer
	Writing  Phase = "writing"  // the answer
	Signing  Phase = "signing"  // the receipt, or its model's fingerprint
	Checking Phase = "checking" // the answer
)

// Step is what happened since the last one.
type Step struct {
	Phase   Phase // "": the same
	Text    string
	Checked int // tokens that were computed again so far, and are right
	False   bool
}

// Answer is what a model answered.
type Answer struct {
	Target       Target
	Question     string // the last message
	Text         string
	Tokens       int
	First, Took  time.Duration
	Asked        time.Time
	Nonce        []byte // that was sent with the question
	Ticket       []byte // shows to the peer that its holder may dispute the answer
	DisputeUntil time.Time
	Result
}

// Result is what was checked.
type Result struct {
	File   *receipt.File // nil: there is no receipt
	Data   []byte        // the file as it came
	Checks receipt.Report
	// Model is the one of this device with which the answer was computed again; "":
	// it was not.
	Model   string
	Trouble string // why it could not be
	Lie     string // what is false, if something is
}

// Audits checks what others hand in, and disputes answers.
type Audits interface {
	// Verify checks a receipt from a file, and computes its answer again if this
	// device has the model.
	Verify(ctx context.Context, file []byte) (Result, error)
	// Judge says what a proof of fraud shows about a receipt.
	Judge(ctx context.Context, file, proof []byte) (*Dispute, error)
	// Dispute plays a dispute about an answer with who gave it; on hears of every
	// message.
	Dispute(ctx context.Context, a *Answer, on func(Round)) (*Dispute, error)
}

// Dispute is a game about one receipt, as far as it is known.
type Dispute struct {
	ID         string
	Receipt    string // hash
	Prover     string // key, for people
	Challenger string
	Opened     time.Time
	Winner     string // "prover", "challenger"; "": it is not over
	Reason     string // as internal/audit/dispute calls it
	Detail     string
	Rounds     []Round
	Narrowing  []Stage
	Finding    *Finding
	Proof      []byte
	Deadline   uint64 // block until which the next move is due; 0: no ledger counts
}

// Round is one message of a dispute.
type Round struct {
	Number     int
	Challenger bool
	Move       string // open, child, cell, fraud, trace, nodes, statement
	Bytes      int
}

// Stage is one step of the narrowing: of so many things, those from From to To-1
// are in dispute.
type Stage struct {
	Kind         string // layer, position, token, operation, leaf
	Name         string // of what is chosen, if it has one
	From, To, Of int
}

// Finding is what a proof of fraud shows.
type Finding struct {
	Fault           string // as internal/audit/dispute calls it
	Output          bool
	Layer, Position int
	Operation       string
	Leaf            int
	Signed, Right   string // hashes of the leaf
}

// Network tells of peers.
type Network interface {
	Network(ctx context.Context) (NetworkView, error)
	Add(ctx context.Context, link string) error
	Remove(ctx context.Context, peer string) error
	Ping(ctx context.Context, peer string) (time.Duration, error)
}

// NetworkView is this node and who is connected with it.
type NetworkView struct {
	Self, Short string
	Link        string
	Mode        string // open, lan, alone
	Private     bool
	Version     string
	Since       time.Time
	Addresses   []string
	Peers       []Peer
}

// Way is how a peer is connected.
type Way string

// The ways.
const (
	Direct  Way = "direct"
	Relayed Way = "relay"
	Local   Way = "local" // on the local network
	Nowhere Way = "none"  // a contact that is not connected
)

// Peer is another node.
type Peer struct {
	ID, Short string
	Way       Way
	Address   string
	Inbound   bool
	Since     time.Time
	RoundTrip time.Duration // 0: not measured
	In, Out   int64         // bytes
	Agent     string
	Contact   bool
	Offers    int // models
}

// Models tells of models here and elsewhere.
type Models interface {
	Models(ctx context.Context) (ModelsView, error)
	Share(ctx context.Context, name string, public bool) error
	Unshare(ctx context.Context, root string) error
	// Fetch gets a model from a link and gives its name here.
	Fetch(ctx context.Context, link string, on func(done, total int64)) (string, error)
}

// ModelsView is what is here, and what others have.
type ModelsView struct {
	Local  []Model
	Offers []Offer
	Shares []Share
}

// Model is one of this device.
type Model struct {
	Name, Architecture, Parameters, Quantization string
	Context                                      int
	Size                                         int64
	Root                                         string // fingerprint; "": not computed yet
	Loaded, Builtin                              bool
}

// Offer is a model that another device offers.
type Offer struct {
	Name, Quantization, Root  string
	Provider, Short           string
	Target                    string // for Chat; "": it cannot be asked
	Context                   uint64
	PriceIn, PriceOut         uint64
	Unit, Region              string
	Speed                     uint64
	Expires                   time.Time
	Calls, Failures, Verified uint64 // of this device's own calls
	False                     uint64
	Observers                 int // that say something of it
	Own                       bool
}

// Share is content that this node gives to others, or has fetched.
type Share struct {
	Name, Kind, Root, Link string
	Size                   int64
	Public, Offered        bool
	Whole                  bool
}
