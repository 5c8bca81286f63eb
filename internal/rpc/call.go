package rpc

import (
	"context"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

// Limits of what travels with a call.
const (
	MaxTokens     = 8       // capability tokens
	MaxTokenBytes = 8 << 10 // each
)

// Call is what is known of a call where it is decided about.
type Call struct {
	Caller  peer.ID // proven by the connection
	Method  string  // "/aval.v1.Net/Ping"
	Class   Class
	Relayed bool
	Tokens  [][]byte // capability tokens sent with the call, not yet checked
}

type callKey struct{}

// callContext is the context of a handler. It ends with the call and shows
// nothing of the caller's metadata, so that a handler's own calls do not pass
// it on.
type callContext struct {
	context.Context
	call *Call
}

func (c callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return nil
}

// FromContext gives the call that a handler serves.
func FromContext(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		return Call{}, false
	}
	return *c, true
}

type tokensKey struct{}

// WithTokens sends capability tokens with the calls of a context, instead of
// those that [Config.Tokens] gives.
func WithTokens(ctx context.Context, tokens ...[]byte) context.Context {
	return context.WithValue(ctx, tokensKey{}, tokens)
}

// Names in the metadata of a call.
const (
	metaDeadline = "d" // microseconds that are left, decimal
	metaToken    = "t" // "t0", "t1" ...: base64 without padding
)

// metadata is what a call sends before its messages.
func (n *Node) metadata(ctx context.Context, to peer.ID) (map[string]string, error) {
	tokens, given := ctx.Value(tokensKey{}).([][]byte)
	if !given && n.cfg.Tokens != nil {
		tokens = n.cfg.Tokens(to)
	}
	deadline, limited := ctx.Deadline()
	if len(tokens) == 0 && !limited {
		return nil, nil
	}
	if len(tokens) > MaxTokens {
		return nil, Errorf(InvalidArgument, "%d capability tokens, want at most %d", len(tokens), MaxTokens)
	}
	m := make(map[string]string, len(tokens)+1)
	if limited {
		left := time.Until(deadline).Microseconds()
		if left <= 0 {
			return nil, &Error{Code: DeadlineExceeded, Text: "no time was left before the call", cause: context.DeadlineExceeded}
		}
		m[metaDeadline] = strconv.FormatInt(left, 10)
	}
	for i, t := range tokens {
		if len(t) > MaxTokenBytes {
			return nil, Errorf(InvalidArgument, "a capability token has %d bytes, want at most %d", len(t), MaxTokenBytes)
		}
		m[metaToken+strconv.Itoa(i)] = base64.RawStdEncoding.EncodeToString(t)
	}
	return m, nil
}

// readMetadata reads what came before the messages of a call: the time left,
// 0 for no bound, and the tokens.
func readMetadata(m map[string]string) (left time.Duration, tokens [][]byte, err error) {
	if len(m) > MaxTokens+1 {
		return 0, nil, Errorf(InvalidArgument, "%d entries of metadata, want at most %d", len(m), MaxTokens+1)
	}
	if s, ok := m[metaDeadline]; ok {
		us, err := strconv.ParseInt(s, 10, 64)
		if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
			return 0, nil, Errorf(InvalidArgument, "the call's time is not 1 microsecond to 24 hours")
		}
		left = time.Duration(us) * time.Microsecond
	}
	for i := range MaxTokens {
		s, ok := m[metaToken+strconv.Itoa(i)]
		if !ok {
			break
		}
		t, err := base64.RawStdEncoding.DecodeString(s)
		if err != nil || len(t) > MaxTokenBytes {
			return 0, nil, Errorf(InvalidArgument, "capability token %d is not base64 of at most %d bytes", i, MaxTokenBytes)
		}
		tokens = append(tokens, t)
	}
	return left, tokens, nil
}
