package doctor

import "strings"

// cause is why a connection failed, the most telling one first.
type cause int

const (
	causeIdentity cause = iota
	causeKey
	causeDenied
	causeBusy
	causeNoPlace
	causeRefused
	causeUnreachable
	causeTimeout
	causeName
	causeNoAddress
	causeOther
)

// signs are the words by which the errors of Go's net package, of go-libp2p
// and of relays (circuit v2, status codes) are known. The first that is found
// counts.
var signs = []struct {
	word  string
	cause cause
	plain string
}{
	{"peer id mismatch", causeIdentity, "Another node than the expected one answered"},
	{"remote key matches", causeIdentity, "Another node than the expected one answered"},
	{"privnet", causeKey, "The network keys differ, or only one side has one"},
	{"network key", causeKey, "The network keys differ, or only one side has one"},
	{"private network", causeKey, "The network keys differ, or only one side has one"},
	{"gater", causeDenied, "This node or the other is told not to connect to the other"},
	{"permission_denied", causeDenied, "The relay does not serve this node"},
	{"permission denied", causeDenied, "The other side does not let this node in"},
	{"reservation_refused", causeBusy, "The relay has no free place"},
	{"resource_limit", causeBusy, "The relay has no free place"},
	{"resource limit", causeBusy, "One side has reached its limit of connections"},
	{"no_reservation", causeNoPlace, "The relay does not know the other node: it is off, or its place has ended"},
	{"no reservation", causeNoPlace, "The relay does not know the other node: it is off, or its place has ended"},
	{"connection_failed", causeNoPlace, "The relay could not reach the other node"},
	{"refused", causeRefused, "The machine answered that nothing listens there"},
	{"no route to host", causeUnreachable, "There is no way from here to that address"},
	{"network is unreachable", causeUnreachable, "There is no way from here to that address"},
	{"unreachable network", causeUnreachable, "There is no way from here to that address"},
	{"no such host", causeName, "The name is not known"},
	{"failed to resolve", causeName, "The name is not known"},
	{"black hole", causeTimeout, "No answer over this transport so far, so it is not tried again for a while"},
	{"dial backoff", causeTimeout, "Failed just before; it is tried again after a pause"},
	{"timeout", causeTimeout, "No answer came"},
	{"timed out", causeTimeout, "No answer came"},
	{"deadline exceeded", causeTimeout, "No answer came"},
	{"no recent network activity", causeTimeout, "No answer came"},
	{"no addresses", causeNoAddress, "No address of it is known"},
	{"no good addresses", causeNoAddress, "No address of it is known that works from here"},
	{"not found", causeNoAddress, "Nobody asked knows an address of it"},
	{"failed to negotiate security", causeKey, "The handshake failed: another program answers there, or the network keys differ"},
	{"reset by peer", causeOther, "The other side ended the connection"},
	{"eof", causeOther, "The other side ended the connection"},
	{"canceled", causeOther, "It was given up before an answer came"},
}

// plain says an error in plain words, without a full stop.
func plain(text string) (cause, string) {
	lower := strings.ToLower(text)
	for _, s := range signs {
		if strings.Contains(lower, s.word) {
			return s.cause, s.plain
		}
	}
	if text == "" {
		return causeOther, "No reason was given"
	}
	return causeOther, show(text)
}
