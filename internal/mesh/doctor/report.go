package doctor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

// Severity says how much a finding matters.
type Severity uint8

// The severities, from what works to what must be changed.
const (
	OK      Severity = iota // works
	Note                    // worth knowing; nothing to do
	Warning                 // works less well than it could
	Problem                 // something does not work until it is changed
)

var severities = [...]string{"ok", "note", "warning", "problem"}

// String is the severity's word, in lower case.
func (s Severity) String() string {
	if int(s) < len(severities) {
		return severities[s]
	}
	return fmt.Sprintf("severity %d", uint8(s))
}

// MarshalText writes the severity's word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the severity's word.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severities[:], string(text))
	if i < 0 {
		return fmt.Errorf("unknown severity %q", show(string(text)))
	}
	*s = Severity(i)
	return nil
}

// Finding is one thing that the owner of a node should know.
type Finding struct {
	// Code names the kind of finding for programs, like "udp-blocked". It does
	// not change between versions.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Tried    string   `json:"tried,omitempty"`
	Seen     string   `json:"seen,omitempty"`
	Means    string   `json:"means,omitempty"`
	Change   []string `json:"change,omitempty"` // what to do, the easiest first; commands stand alone on their line
}

// Verdict is the short answer to whether two nodes can talk.
type Verdict string

// The verdicts.
const (
	Direct    Verdict = "direct"     // without help
	Punched   Verdict = "hole-punch" // a relay introduces the two, then they talk directly
	Relayed   Verdict = "relay"      // all goes through a relay: works, but slower
	LocalOnly Verdict = "local"      // only on the local network
	No        Verdict = "no"
	Unknown   Verdict = "unknown" // not enough was seen yet
)

// Summary answers one question.
type Summary struct {
	Question string  `json:"question"`
	Verdict  Verdict `json:"verdict"`
	Answer   string  `json:"answer"` // one or two sentences
	// Addresses are what to give to a friend, the best first.
	Addresses []string `json:"addresses,omitempty"`
	Change    []string `json:"change,omitempty"`
}

// Report is everything that the doctor says of one node.
type Report struct {
	Self     peer.ID   `json:"self"`
	Time     time.Time `json:"time"`
	Friend   Summary   `json:"friend"` // can a friend reach me?
	Findings []Finding `json:"findings"`
}

// Worst is the greatest severity among the findings.
func (r Report) Worst() Severity {
	worst := OK
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// JSON is the report as indented JSON, the form of `aval net doctor --json`.
func (r Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// Examine makes the whole report.
func Examine(o Observations) Report {
	return Report{Self: o.Self, Time: o.Time, Friend: Reachable(o), Findings: Diagnose(o)}
}

// Diagnose gives the findings, the most severe first and otherwise in the order
// in which things must work: machine, network, NAT, relays.
func Diagnose(o Observations) []Finding {
	f := learn(o)
	if f.o.Mode == Alone {
		return []Finding{{
			Code: "alone", Severity: Note, Title: "This node uses no network",
			Means:  "It was told to stay alone: nobody can reach it and it reaches nobody.",
			Change: []string{"Start it without the single-machine mode if that is not what you want."},
		}}
	}
	all := []Finding{}
	for _, check := range checks {
		all = append(all, check(f)...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return -cmp.Compare(a.Severity, b.Severity) })
	return all
}

// checks are all checks, in the order in which things must work.
var checks = []func(facts) []Finding{
	checkYoung, checkInterfaces, checkListens, checkClock,
	checkOutbound, checkBootstrap, checkPrivateNetwork, checkProxy,
	checkNAT, checkDoubleNAT, checkMapping, checkReach, checkFirewall,
	checkRelays, checkHolePunches, checkIPv6, checkLAN,
}
