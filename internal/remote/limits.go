package remote

import "time"

// Limits of what is asked.
const (
	MaxPrompt   = 1 << 20 // bytes of a prompt, or of all messages together
	MaxMessages = 1 << 10
	MaxGrammar  = 256 << 10 // bytes
	maxRequest  = MaxPrompt + MaxGrammar + 256<<10
)

// Limits of what is answered. A caller reads no more, whatever the peer sends.
const (
	MaxModels  = 64       // that a peer offers
	MaxTokens  = 1 << 17  // of an answer
	MaxText    = 4 << 20  // bytes of an answer
	MaxReceipt = 16 << 20 // bytes of a receipt's file
	maxIDs     = 1 << 20  // tokens of a prompt
	maxName    = 256      // bytes of what is told of a model
	piece      = 48 << 10
	spare      = 16 // parts of an answer that have no tokens
)

// Defaults of the serving side.
const (
	defaultAnswers  = 4
	defaultOfPeer   = 2
	defaultQueue    = 16
	defaultTokens   = 4096
	defaultTimeout  = 15 * time.Minute
	defaultKeep     = time.Hour
	defaultKept     = 256
	defaultKeptSize = 64 << 20
	defaultDisputes = 2
	defaultStep     = 16 // tokens
	waitingDisputes = 4
	// The asker's machine may be busy, and the way long.
	defaultPayWithin = 10 * time.Second
	retryAfter       = 10 * time.Second // is told when there is no better guess
)

// Quiet is how long a peer may send nothing in the middle of an answer: reading a
// long prompt takes a slow machine minutes.
const Quiet = 5 * time.Minute

const (
	ticketSize = 16 // bytes
	maxTicket  = 64 // of a ticket that is read
)
