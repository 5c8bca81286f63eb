package httpapi

import (
	"bytes"
	"fmt"

	"github.com/avalnetwork/aval/internal/chat"
)

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

// DecodeAndConvert reads a body as each of the endpoints would and converts it.
// It returns how many took it, and an error if one refused it
// without blaming the client.
func DecodeAndConvert(body []byte) (taken int, err error) {
	try := func(dst any, convert func() error) {
		e := decode(bytes.NewReader(body), dst)
		if e == nil {
			e = convert()
		}
		if e == nil {
			taken++
		} else if api := toAPIError(e); api.status >= 500 && err == nil {
			err = fmt.Errorf("%T: %w", dst, e)
		}
	}
	var chat chatRequest
	try(&chat, func() error { _, err := chat.job(); return err })
	var completion completionRequest
	try(&completion, func() error { _, err := completion.job(); return err })
	var ollamaChat ollamaChatRequest
	try(&ollamaChat, func() error { _, err := ollamaChat.job(); return err })
	var generate ollamaGenerateRequest
	try(&generate, func() error { _, err := generate.job(); return err })
	var embedding embeddingRequest
	try(&embedding, func() error { return nil })
	var embed ollamaEmbedRequest
	try(&embed, func() error { return nil })
	var name ollamaName
	try(&name, func() error { return checkName(name.name()) })
	return taken, err
}

// HostName and others are the functions of the same names.
var (
	HostName   = hostName
	Unit       = unit
	KeyMatches = keyMatches
)
