package access_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/access.json anew")

const vectorFile = "../../spec/vectors/access.json"

// The shape of access.json; spec/wire.md part 5 explains it.
type vectorSet struct {
	Spec   string        `json:"spec"`
	Tokens []tokenVector `json:"tokens"`
	Bad    []badVector   `json:"bad"`
}

type tokenVector struct {
	Name    string    `json:"name"`
	Token   string    `json:"token"`  // as text
	Issuer  peer.ID   `json:"issuer"` // of the token
	ID      access.ID `json:"id"`
	Holder  string    `json:"holder"` // "": whoever has it
	Begins  int64     `json:"begins"` // Unix seconds
	Expires int64     `json:"expires"`
	HandOn  int       `json:"hand_on"`
	Allows  []string  `json:"allows"`
	Refuses []string  `json:"refuses"`
}

type badVector struct {
	Name  string `json:"name"`
	Token string `json:"token"` // hexadecimal
	Check string `json:"check"` // which must refuse it
}

// checks are the words of this package's errors for each check.
var checks = map[string]string{
	"encoding": "canonical CBOR", "form": "bytes", "length": "want at most 8192", "rights": "this is no right", "life": "want at most ten years",
	"hand on": "handed on", "holder": "no holder", "period": "holds longer", "narrower": "does not allow", "signature": "is not signed by",
}

// block is that of a token, written a second time, so that one can be made that
// the package would not make.
type block struct {
	Holder  []byte  `cbor:"1,keyasint"`
	Rights  []right `cbor:"2,keyasint"`
	Begins  int64   `cbor:"3,keyasint"`
	Expires int64   `cbor:"4,keyasint"`
	HandOn  uint8   `cbor:"5,keyasint"`
}

type right struct {
	_        struct{} `cbor:",toarray"`
	Action   string
	Resource string
}

type signed struct {
	by    ed25519.PrivateKey
	block block
}

func chainOf(t *testing.T, list ...signed) []byte {
	t.Helper()
	issuer, grant := id(1), access.ID{1}
	c := chain{Issuer: issuer[:], ID: grant[:], Links: []link{}}
	parts := [][]byte{issuer[:], grant[:]}
	for _, s := range list {
		data := encode(t, &s.block)
		sum := canon.Sum("aval token/1", append(parts[:len(parts):len(parts)], data)...)
		l := link{Block: data, Signature: ed25519.Sign(s.by, sum[:])}
		c.Links, parts = append(c.Links, l), append(parts, l.Block, l.Signature)
	}
	return encode(t, &c)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := canon.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func makeVectors(t *testing.T) vectorSet {
	t.Helper()
	made := vectorSet{Spec: "spec/wire.md, part 5"}
	good := func(name string, data []byte, allows, refuses []string) {
		token, err := access.Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last, holder := token.Last(), ""
		if !last.Holder.IsZero() {
			holder = last.Holder.String()
		}
		made.Tokens = append(made.Tokens, tokenVector{name, token.String(), token.Issuer, token.ID, holder, last.Begins.Unix(), last.Expires.Unix(), last.HandOn, allows, refuses})
	}
	bad := func(name, check string, data []byte) {
		made.Bad = append(made.Bad, badVector{name, hex.EncodeToString(data), check})
	}
	at := func(n byte, handOn uint8, change func(*block), rights ...right) signed {
		holder := id(n + 1)
		b := block{holder[:], rights, start.Unix(), start.Unix() + 3600, handOn}
		if change != nil {
			change(&b)
		}
		return signed{key(n), b}
	}
	models, one := right{Action: "ask", Resource: "llama*"}, right{Action: "ask", Resource: "llama-1"}
	content := right{Action: "fetch", Resource: "abc"}
	first := at(1, 3, nil, models, content)

	good("one block", chainOf(t, first), []string{"ask llama", "ask llama-1", "fetch abc"}, []string{"ask mistral", "fetch abcd", "call llama"})
	good("for whoever has it", chainOf(t, at(1, 0, func(b *block) { b.Holder = []byte{} }, right{Action: "ask", Resource: "*"})), []string{"ask x"}, []string{"read x"})
	good("handed on, narrower", chainOf(t, first, at(2, 1, func(b *block) { b.Expires -= 60 }, one)), []string{"ask llama-1"}, []string{"ask llama-2", "fetch abc"})
	good("four blocks", chainOf(t, first, at(2, 2, nil, models), at(3, 1, nil, models), at(4, 0, nil, one)), []string{"ask llama-1"}, []string{"fetch abc"})

	whole := chainOf(t, first)
	bad("cut", "encoding", whole[:len(whole)-1])
	bad("more behind it", "encoding", append(bytes.Clone(whole), 0))
	bad("no blocks", "form", chainOf(t))
	bad("five blocks", "form", chainOf(t, first, at(2, 2, nil, models), at(3, 1, nil, models), at(4, 0, nil, models), at(5, 0, nil, models)))
	bad("too long", "length", bytes.Repeat([]byte{0x80}, access.MaxToken+1))
	bad("a holder of 31 bytes", "form", chainOf(t, at(1, 0, func(b *block) { b.Holder = b.Holder[1:] }, models)))
	bad("no rights", "rights", chainOf(t, at(1, 0, func(b *block) { b.Rights = []right{} })))
	bad("33 rights", "form", chainOf(t, at(1, 0, func(b *block) {
		for len(b.Rights) < access.MaxRights+1 {
			b.Rights = append(b.Rights, models)
		}
	})))
	bad("an action that is none", "rights", chainOf(t, at(1, 0, nil, right{Action: "fly", Resource: "x"})))
	bad("a star in the middle", "rights", chainOf(t, at(1, 0, nil, right{Action: "ask", Resource: "a*b"})))
	bad("ends when it begins", "life", chainOf(t, at(1, 0, func(b *block) { b.Expires = b.Begins }, models)))
	bad("more than ten years", "life", chainOf(t, at(1, 0, func(b *block) { b.Expires = b.Begins + int64(access.MaxLife/time.Second) + 1 }, models)))
	bad("may be handed on four times", "hand on", chainOf(t, at(1, 4, nil, models)))
	bad("handed on, and may not be", "hand on", chainOf(t, at(1, 0, nil, models), at(2, 0, nil, models)))
	bad("handed on as far as the one before", "hand on", chainOf(t, first, at(2, 3, nil, models)))
	bad("handed on to whoever has it", "holder", chainOf(t, first, at(2, 0, func(b *block) { b.Holder = []byte{} }, models)))
	bad("begins earlier", "period", chainOf(t, first, at(2, 0, func(b *block) { b.Begins-- }, models)))
	bad("ends later", "period", chainOf(t, first, at(2, 0, func(b *block) { b.Expires++ }, models)))
	bad("another model", "narrower", chainOf(t, first, at(2, 0, nil, right{Action: "ask", Resource: "mistral"})))
	bad("a wider star", "narrower", chainOf(t, first, at(2, 0, nil, right{Action: "ask", Resource: "ll*"})))
	bad("a star where there was none", "narrower", chainOf(t, first, at(2, 0, nil, right{Action: "fetch", Resource: "abc*"})))
	bad("what the second took away", "narrower", chainOf(t, first, at(2, 2, nil, one), at(3, 0, nil, content)))
	bad("signed by another", "signature", chainOf(t, signed{key(9), first.block}))
	bad("handed on by another", "signature", chainOf(t, first, signed{key(9), at(2, 0, nil, one).block}))
	broken := bytes.Clone(whole)
	broken[len(broken)-1] ^= 1
	bad("another signature", "signature", broken)
	return made
}

func TestVectors(t *testing.T) {
	made := makeVectors(t)
	if *update {
		text, err := json.MarshalIndent(made, "", " ")
		if err == nil {
			err = os.WriteFile(vectorFile, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := fs.ReadFile(vectors.FS, "access.json")
	if *update {
		text, err = os.ReadFile(vectorFile)
	}
	var set vectorSet
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, set); diff != "" {
		t.Errorf("other vectors than this test makes, run go test ./internal/access -run Vectors -update:\n%s", diff)
	}
	for _, v := range set.Tokens {
		token, err := access.ParseText(v.Token)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		for _, what := range slices.Concat(v.Allows, v.Refuses) {
			action, resource, _ := strings.Cut(what, " ")
			got, want := false, slices.Contains(v.Allows, what)
			for _, r := range token.Last().Rights {
				got = got || r.Covers(access.Action(action), resource)
			}
			if got != want {
				t.Errorf("%s: %s: %v, want %v", v.Name, what, got, want)
			}
		}
	}
	for _, v := range set.Bad {
		data, err := hex.DecodeString(v.Token)
		if err != nil {
			t.Fatal(err)
		}
		_, err = access.Parse(data)
		if !errors.Is(err, access.ErrToken) || !strings.Contains(err.Error(), checks[v.Check]) || checks[v.Check] == "" {
			t.Errorf("%s: %v, want the check %q", v.Name, err, v.Check)
		}
	}
}
