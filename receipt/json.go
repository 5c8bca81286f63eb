package receipt

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// claimsJSON is how claims are shown to programs. 64-bit numbers are strings,
// since JavaScript has none.
type claimsJSON struct {
	Suite        string        `json:"suite"`
	Model        Hash          `json:"model"`
	Params       Params        `json:"params"`
	Seed         seedJSON      `json:"seed"`
	Transcript   Hash          `json:"transcript"`
	Trace        Hash          `json:"trace,omitzero"`
	PromptTokens int           `json:"prompt_tokens"`
	OutputTokens int           `json:"output_tokens"`
	Stop         string        `json:"stop"`
	Time         int64         `json:"time"`
	Key          string        `json:"key"`
	Ledger       *ledgerJSON   `json:"ledger,omitempty"`
	Adapters     []adapterJSON `json:"adapters,omitempty"`
}

type adapterJSON struct {
	File  Hash    `json:"file"`
	Scale float32 `json:"scale"`
}

type seedJSON struct {
	Kind   string `json:"kind"`
	Value  string `json:"value,omitempty"` // a number, or the beacon's value
	Nonce  string `json:"nonce,omitempty"`
	Beacon string `json:"beacon,omitempty"`
	Round  string `json:"round,omitempty"`
}

type ledgerJSON struct {
	Chain  string `json:"chain"`
	Height string `json:"height"`
	Block  Hash   `json:"block"`
}

// MarshalJSON shows the claims to programs. There is no way back: what is
// signed is CBOR.
func (c Claims) MarshalJSON() ([]byte, error) {
	j := claimsJSON{
		Suite: c.Suite(), Model: c.Model, Params: c.Params, Transcript: c.Transcript, Trace: c.Trace,
		PromptTokens: c.PromptTokens, OutputTokens: c.OutputTokens, Stop: c.Stop.String(),
		Time: c.Time, Key: FormatNodeKey(c.Key),
	}
	switch s := c.Seed; s.Kind {
	case SeedSelf:
		j.Seed = seedJSON{Kind: "self", Value: strconv.FormatUint(s.Value, 10)}
	case SeedNonce:
		j.Seed = seedJSON{Kind: "nonce", Nonce: hex.EncodeToString(s.Nonce)}
	default:
		j.Seed = seedJSON{
			Kind: "beacon", Beacon: s.Beacon.Name, Round: strconv.FormatUint(s.Beacon.Round, 10), Value: s.Beacon.Value.String(),
		}
	}
	if l := c.Ledger; l != nil {
		j.Ledger = &ledgerJSON{l.Chain, strconv.FormatUint(l.Height, 10), l.Block}
	}
	for _, a := range c.Adapters {
		j.Adapters = append(j.Adapters, adapterJSON{a.File, a.Scale})
	}
	return json.Marshal(j)
}
