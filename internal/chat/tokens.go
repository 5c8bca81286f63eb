package chat

import "github.com/avalnetwork/aval/internal/token"

// SetTokens sets the texts of BOS and EOS to those of a model, where it has
// them.
func (in *Input) SetTokens(t *token.Tokenizer) {
	if id := t.BOS(); id >= 0 {
		in.BOS = t.Text(id)
	}
	if id := t.EOS(); id >= 0 {
		in.EOS = t.Text(id)
	}
}

// Encode turns what a template rendered into tokens. Control tokens that it
// spells out are recognised as such, also in messages, as in other programs
// that use these templates.
func Encode(t *token.Tokenizer, text string) ([]int32, error) {
	ids, err := t.Encode(text, token.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	if err != nil {
		return nil, err
	}
	// Many templates write BOS themselves.
	if len(ids) > 1 && t.AddsBOS() && ids[0] == t.BOS() && ids[1] == t.BOS() {
		ids = ids[1:]
	}
	// A prompt must stay open at its end.
	if n := len(ids); n > 0 && t.AddsEOS() && ids[n-1] == t.EOS() {
		ids = ids[:n-1]
	}
	return ids, nil
}
