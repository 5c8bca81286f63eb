package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/receipt"
)

// facts are the claims in words.
func facts(in *Input, c *receipt.Claims) []Fact {
	list := []Fact{
		{"Model", model(in, c), spaced(c.Model)},
		{"Signed by", "The device with this key. Its owner can say whether the key is theirs.", receipt.FormatNodeKey(c.Key)},
		{"Date", date(c.Time) + ", by that device’s clock.", ""},
		{"Length", fmt.Sprintf("%s read, %s written.", count(c.PromptTokens, "word piece"), count(c.OutputTokens, "word piece")), ""},
		{"End", ends[c.Stop], ""},
		{"Choice of words", choice(&c.Params), ""},
	}
	for i, a := range c.Adapters {
		words := fmt.Sprintf("An adapter changed the model, with scale %s. The fingerprint of its file:", number(a.Scale))
		list = slices.Insert(list, 1+i, Fact{"Adapter", words, spaced(a.File)})
	}
	add := func(name, value string) { list = append(list, Fact{name, value, ""}) }
	if !c.Params.Greedy() {
		add("Random numbers", randomness(&c.Seed))
	}
	if h := habits(&c.Params); h != "" {
		add("Special settings", h)
	}
	if !c.Trace.IsZero() {
		add("Record", "It also vouches for every step of the computation, so that a single step can be disputed.")
	}
	if l := c.Ledger; l != nil {
		add("Ledger", fmt.Sprintf("The device knew block %d of “%s”.", l.Height, clean(l.Chain)))
	}
	return list
}

var ends = map[receipt.Stop]string{
	receipt.StopEOS:    "The model was done.",
	receipt.StopString: "At a text that had been set as the end.",
	receipt.StopLength: "At the limit of length: the answer may be cut off.",
}

func model(in *Input, c *receipt.Claims) string {
	if name := short(clean(in.Model)); name != "" && verdictOf(&in.Checks, receipt.CheckModel) == receipt.Valid {
		return fmt.Sprintf("The file at hand, which calls itself “%s”. It has the fingerprint that the receipt names:", name)
	}
	return "The one with this fingerprint. Whoever publishes a model can say what its fingerprint is."
}

// spaced is a hash that a person can compare.
func spaced(h receipt.Hash) string {
	var groups []string
	for s := h.String(); s != ""; s = s[8:] {
		groups = append(groups, s[:8])
	}
	return strings.Join(groups, " ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func choice(p *receipt.Params) string {
	if p.Greedy() {
		return "Always the likeliest word piece; chance has no part in it."
	}
	how := []string{"temperature " + number(p.Temperature)}
	if p.TopK > 0 {
		how = append(how, fmt.Sprintf("top_k %d", p.TopK))
	}
	if p.TopP > 0 {
		how = append(how, "top_p "+number(p.TopP))
	}
	if p.MinP > 0 {
		how = append(how, "min_p "+number(p.MinP))
	}
	return "By chance, a likelier word piece more often (" + strings.Join(how, ", ") + ")."
}

func randomness(s *receipt.Seed) string {
	switch s.Kind {
	case receipt.SeedNonce:
		return "From a value that the one who asked may choose, and from the question. Whoever answered could not pick them, unless they asked, too."
	case receipt.SeedBeacon:
		return fmt.Sprintf("From round %d of the public source “%s”, and from the question. Whoever answered could not pick them freely.",
			s.Beacon.Round, clean(s.Beacon.Name))
	default:
		return "Picked by whoever made the answer."
	}
}

func habits(p *receipt.Params) string {
	var list []string
	if p.RepeatPenalty != 0 && p.RepeatPenalty != 1 || p.FrequencyPenalty != 0 || p.PresencePenalty != 0 {
		list = append(list, "Words used before were made more or less likely.")
	}
	if p.IgnoreEOS {
		list = append(list, "The model was made to go on after it was done.")
	}
	if p.Bias {
		list = append(list, "Some words were favoured or forbidden.")
	}
	if p.Extra {
		list = append(list, "The answer had to follow extra rules, such as a form or words to stop at.")
	}
	return strings.Join(list, " ")
}

func number(x float32) string { return strconv.FormatFloat(float64(x), 'g', -1, 32) }

const kept = "Hidden. Whoever made the receipt keeps it to themselves. The receipt holds them to one wording all the same, which can be shown later."

// passages are the question and the answer, as far as they are shown.
func passages(in *Input) []Passage {
	o := in.File.Opening
	if o == nil || o.Source == nil && o.Text == nil {
		return []Passage{{Name: "The question and the answer", Hidden: kept}}
	}
	q, a := Passage{Name: "The question"}, Passage{Name: "The answer"}
	switch s := o.Source; {
	case s == nil:
		q.Hidden = kept
	case s.Source.Kind == receipt.SourceChat:
		for _, m := range s.Source.Messages {
			q.Parts = append(q.Parts, Part{speaker(m.Role), passage(speech(&m))})
		}
		q.Note = besides(&s.Source, o.Extra)
	case s.Source.Kind == receipt.SourceText:
		q.Parts = []Part{{"", passage(string(s.Source.Text))}}
	default:
		q.Hidden = "It was given as numbers of word pieces; there is no text of it."
	}
	if len(q.Parts) == 0 && q.Hidden == "" {
		q.Hidden = "It is empty."
	}
	switch t := o.Text; {
	case t == nil:
		a.Hidden = kept
	case t.Text == "":
		a.Hidden = "It is empty."
	default:
		a.Parts = []Part{{"", passage(t.Text)}}
	}
	for check, p := range map[string]*Passage{receipt.CheckSource: &q, receipt.CheckText: &a} {
		v, all := verdictOf(&in.Checks, check), verdictOf(&in.Checks, receipt.CheckTranscript)
		if p.Hidden == "" && v != receipt.Valid && (v != "" || all != receipt.Valid) {
			p.Note = "Careful: this is not what was signed."
		}
	}
	return []Passage{q, a}
}

// besides tells of what the model read with the messages, and what is too long
// or too strange to be shown. It may say anything.
func besides(s *receipt.Source, extra *receipt.OpenedExtra) string {
	var list []string
	if n := len(s.Tools); n > 0 {
		list = append(list, fmt.Sprintf("The model was also told of %s that it may use.", count(n, "tool")))
	}
	if n := len(s.Variables); n > 0 {
		list = append(list, fmt.Sprintf("It was also given %s, which may have changed what it read.", count(n, "setting")))
	}
	if extra != nil && extra.Extra.Template != "" {
		list = append(list, "Careful: the model’s own form for a conversation was replaced by another one, which decides which of these words the model read, and may have added others.")
	}
	return strings.Join(list, " ")
}

// speech is all that a message says.
func speech(m *receipt.Message) string {
	parts := []string{}
	if m.Name != "" {
		parts = append(parts, fmt.Sprintf("[name %s]", m.Name))
	}
	if m.Reasoning != "" {
		parts = append(parts, fmt.Sprintf("[thought %s]", m.Reasoning))
	}
	if m.Content != "" {
		parts = append(parts, m.Content)
	}
	for _, c := range m.ToolCalls {
		parts = append(parts, fmt.Sprintf("[uses %s %s]", c.Name, c.Arguments))
	}
	return strings.Join(parts, "\n")
}

func speaker(role string) string {
	switch role {
	case "user":
		return "The person:"
	case "assistant":
		return "The model, earlier:"
	case "system", "developer":
		return "Instructions to the model:"
	case "tool":
		return "Result of a tool:"
	}
	return short(clean(role)) + ":"
}

// checkFacts are the checks by their names.
func checkFacts(checks []receipt.Check) []Fact {
	var list []Fact
	for _, c := range checks {
		value := string(c.Verdict)
		if c.Detail != "" {
			value += ": " + clean(c.Detail)
		}
		list = append(list, Fact{"Check “" + clean(c.Name) + "”", "", value})
	}
	return list
}

// details are for experts: every check by its name, every number.
func details(in *Input, c *receipt.Claims) []Fact {
	list := checkFacts(in.Checks.Checks)
	add := func(name, format string, args ...any) {
		list = append(list, Fact{name, "", fmt.Sprintf(format, args...)})
	}
	if c == nil {
		return list
	}
	add("Receipt", "%v, %d bytes", in.File.Receipt.Hash(), len(in.File.Receipt.Bytes()))
	add("Rules", "%s", c.Suite())
	add("Transcript", "%v", c.Transcript)
	if !c.Trace.IsZero() {
		add("Trace", "%v", c.Trace)
	}
	if params, err := json.Marshal(c.Params); err == nil {
		add("Parameters", "%s", params)
	}
	add("Seed", "%s", seed(&c.Seed))
	add("Time", "%d", c.Time)
	if l := c.Ledger; l != nil {
		add("Ledger", "%s, block %d, %v", clean(l.Chain), l.Height, l.Block)
	}
	if n := len(in.File.Sealed); n > 0 {
		add("Sealed", "%s for holders of other keys", count(n, "opening"))
	}
	return list
}

func seed(s *receipt.Seed) string {
	switch s.Kind {
	case receipt.SeedNonce:
		return fmt.Sprintf("nonce %x", s.Nonce)
	case receipt.SeedBeacon:
		return fmt.Sprintf("beacon %q, round %d, value %v", clean(s.Beacon.Name), s.Beacon.Round, s.Beacon.Value)
	default:
		return fmt.Sprintf("%d, chosen by the signer", s.Value)
	}
}
