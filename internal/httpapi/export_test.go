package httpapi

import "github.com/avalnetwork/aval/internal/chat"

// The pure parts, for tests without a server.

// SplitReply feeds the parts of an answer to a reply and returns what comes
// out, with the calls that parse finds in what was held back.
func SplitReply(tools, thinking bool, parse func(string) (string, []chat.ToolCall), parts ...string) (thought, content string, calls []chat.ToolCall) {
	r := newReply(tools, false, thinking)
	r.calls = parse
	for _, p := range parts {
		th, co := r.add(p)
		thought, content = thought+th, content+co
	}
	th, co, calls := r.end()
	return thought + th, content + co, calls
}

// HostName and others are the functions of the same names.
var (
	HostName   = hostName
	Unit       = unit
	KeyMatches = keyMatches
)
