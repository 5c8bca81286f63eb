package training

import (
	"encoding/hex"
	"encoding/json"

	"github.com/avalnetwork/aval/receipt"
)

type claimsJSON struct {
	Suite       string          `json:"suite"`
	Kind        string          `json:"kind"`
	Base        Hash            `json:"base,omitzero"`
	Setup       Hash            `json:"setup"`
	Config      Hash            `json:"configuration"`
	Data        commitmentJSON  `json:"data"`
	Steps       int             `json:"steps"`
	Checkpoints commitmentJSON  `json:"checkpoints"`
	Log         Hash            `json:"log"`
	Result      resultJSON      `json:"result"`
	Evaluation  *evaluationJSON `json:"evaluation,omitempty"`
	Nonce       string          `json:"nonce,omitempty"`
	Time        int64           `json:"time"`
	Key         string          `json:"key"`
}

type commitmentJSON struct {
	Count int  `json:"count"`
	Root  Hash `json:"root"`
}

type resultJSON struct {
	Step       int    `json:"step"`
	Parameters Hash   `json:"parameters"`
	Identity   string `json:"identity"`
	File       Hash   `json:"file"`
	Format     string `json:"format"`
}

type evaluationJSON struct {
	Data    commitmentJSON `json:"data"`
	Batch   int            `json:"batch"`
	Loss    float64        `json:"loss"` // sum
	Count   int            `json:"count"`
	Correct int            `json:"correct"`
}

// MarshalJSON shows the claims to programs. There is no way back: what is
// signed is CBOR.
func (c Claims) MarshalJSON() ([]byte, error) {
	j := claimsJSON{
		Suite: Suite, Kind: c.Kind.String(), Base: c.Base, Setup: c.Setup, Config: c.Config,
		Data: commitmentJSON{c.Data.Count, c.Data.Root}, Steps: c.Steps,
		Checkpoints: commitmentJSON{c.Checkpoints.Count, c.Checkpoints.Root}, Log: c.Log,
		Result: resultJSON{c.Result.Step, c.Result.Parameters, c.Result.Identity.String(), c.Result.File, c.Result.Format},
		Nonce:  hex.EncodeToString(c.Nonce), Time: c.Time, Key: receipt.FormatNodeKey(c.Key),
	}
	if e := c.Evaluation; e != nil {
		j.Evaluation = &evaluationJSON{commitmentJSON{e.Data.Count, e.Data.Root}, e.Batch, e.Loss, e.Count, e.Correct}
	}
	return json.Marshal(j)
}
