package chat

import "strings"

const (
	thinkOpen  = "<think>"
	thinkClose = "</think>"
)

// SplitReasoning divides a reply into the thoughts that a reasoning model puts
// before its answer, <think>thoughts</think>answer, and the answer. The opening
// tag may be missing, since some templates write it as the end of the prompt;
// the closing one is missing while the model still thinks. White space around
// both parts is dropped where there are thoughts.
func SplitReasoning(text string) (reasoning, content string) {
	body := strings.TrimLeft(text, " \t\r\n")
	opened := strings.HasPrefix(body, thinkOpen)
	if opened {
		body = body[len(thinkOpen):]
	}
	reasoning, content, closed := strings.Cut(body, thinkClose)
	if !opened && (!closed || strings.Contains(reasoning, thinkOpen)) {
		return "", text
	}
	return strings.TrimSpace(reasoning), strings.TrimSpace(content)
}
