package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/receipt"
)

// signer is a fixed key.
var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func hash(b byte) receipt.Hash { return receipt.Hash(bytes.Repeat([]byte{b}, 32)) }

// fullClaims have every parameter set, each in its longest encoding.
func fullClaims() receipt.Claims {
	return receipt.Claims{
		Model: hash(1),
		Params: receipt.Params{
			Temperature: 0.7, TopK: 1 << 22, TopP: 0.9, MinP: 0.05, RepeatPenalty: 1.1, FrequencyPenalty: 0.1,
			PresencePenalty: -0.3, RepeatLastN: 1 << 20, MaxTokens: 1<<19 - 1, Context: 1 << 20, IgnoreEOS: true, Bias: true, Extra: true,
		},
		Seed:         receipt.NonceSeed(bytes.Repeat([]byte{0xff}, 32)),
		Transcript:   hash(2),
		PromptTokens: 1 << 19, OutputTokens: 1<<19 - 2, Stop: receipt.StopString, Time: 1_800_000_000,
	}
}

func TestSizes(t *testing.T) {
	c := fullClaims()
	r := sign(t, c)
	t.Logf("%d bytes", len(r.Bytes()))
	if n := len(r.Bytes()); n > 320 {
		t.Errorf("a receipt with every parameter has %d bytes, want at most 320", n)
	}
	c.Trace = hash(3)
	with := sign(t, c)
	if n := len(with.Bytes()) - len(r.Bytes()); n > 34 {
		t.Errorf("a trace takes %d bytes, want at most 34", n)
	}
}

func sign(t testing.TB, c receipt.Claims) receipt.Receipt {
	t.Helper()
	r, err := receipt.Sign(c, signer)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func transcript() *receipt.Transcript {
	return &receipt.Transcript{
		Source: receipt.Source{
			Kind: receipt.SourceChat, GenerationPrompt: true,
			Messages:  []receipt.Message{{Role: "user", Content: "Why is the sky blue?"}},
			Variables: map[string]string{"enable_thinking": "false", "a": "1"},
		},
		Bias: receipt.Bias{7: float32(math.Inf(-1)), 300: 1.5},
		Extra: receipt.Extra{
			Stop:    []string{"\n\n"},
			Grammar: &receipt.Grammar{Kind: receipt.GrammarJSON},
		},
		Prompt: []int32{1, 5, 9, 200000, 3},
		Output: []int32{8, 8, 4},
		Text:   "Scattering.", StopText: "\n\n",
	}
}

func TestRoundTrip(t *testing.T) {
	o, err := receipt.Commit(receipt.Salt{1}, transcript())
	if err != nil {
		t.Fatal(err)
	}
	c := fullClaims()
	c.Trace = hash(3)
	o.Fill(&c)
	r := sign(t, c)
	c.Key = signer.Public().(ed25519.PublicKey)
	if diff := cmp.Diff(c, r.Claims()); diff != "" {
		t.Error(diff)
	}
	var ranged [2]receipt.Range
	if ranged[0], err = o.PromptRange(1, 3); err != nil {
		t.Fatal(err)
	}
	if ranged[1], err = o.OutputRange(2, 3); err != nil {
		t.Fatal(err)
	}
	o.PromptRanges, o.OutputRanges = ranged[:1], ranged[1:]
	f := receipt.File{Receipt: r, Opening: o}
	var secrets []receipt.AuditorSecret
	for _, quantum := range []bool{false, true} {
		secret, err := receipt.NewAuditorSecret(quantum)
		if err != nil {
			t.Fatal(err)
		}
		text, err := secret.Text()
		if err != nil {
			t.Fatal(err)
		}
		if secret, err = receipt.ParseAuditorSecret(text); err != nil {
			t.Fatal(err)
		}
		public, err := receipt.ParseAuditorKey(secret.Public().String())
		if err != nil {
			t.Fatal(err)
		}
		box, err := receipt.Seal(o, r.Hash(), public)
		if err != nil {
			t.Fatal(err)
		}
		again, err := receipt.Unseal(box, r.Hash(), secret)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o, again); diff != "" {
			t.Error(diff)
		}
		var e *receipt.Error
		if _, err := receipt.Unseal(box, hash(9), secret); !errors.As(err, &e) || e.Check != receipt.CheckSeal {
			t.Errorf("unsealed under another receipt: %v", err)
		}
		f.Sealed, secrets = append(f.Sealed, box), append(secrets, secret)
	}
	data, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := receipt.ParseFile(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Opening, read.Opening); diff != "" {
		t.Error(diff)
	}
	for _, secret := range secrets {
		again, err := read.Unseal(secret)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o, again); diff != "" {
			t.Error(diff)
		}
	}
	// Whoever passes the file on can put boxes before the real ones.
	for i, secret := range secrets {
		id := secret.Public().ID()
		junk := receipt.Box{Suite: f.Sealed[i].Suite, KeyID: id, Data: make([]byte, 2000)}
		spoiled := receipt.File{Receipt: r, Sealed: append([]receipt.Box{junk}, f.Sealed...)}
		if _, err := spoiled.Unseal(secret); err != nil {
			t.Errorf("behind a box that nobody can open: %v", err)
		}
	}
	for _, none := range []receipt.AuditorSecret{{}, stranger(t)} {
		if _, err := read.Unseal(none); err == nil {
			t.Error("a stranger opened a box")
		}
	}
	report := receipt.Offline(data, receipt.Options{})
	t.Logf("\n%v", report.String())
	if v := report.Verdict(); v != receipt.Unverified {
		t.Errorf("%v\n%v", v, report)
	}
}

func failedCheck(raw []byte) string {
	r, err := receipt.Parse(raw)
	if err == nil {
		err = r.Verify()
	}
	var e *receipt.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Check
	}
	return err.Error()
}

func TestBadReceipts(t *testing.T) {
	if got := failedCheck(base().signed()); got != "" {
		t.Fatalf("the good receipt fails at %q", got)
	}
	for _, b := range badReceipts() {
		if got := failedCheck(b.raw); got != b.fails {
			t.Errorf("%s: fails at %q, want %q", b.name, got, b.fails)
		}
	}
}

// TestEveryBit changes each bit of a receipt in turn.
func TestEveryBit(t *testing.T) {
	c := fullClaims()
	c.Trace = hash(3)
	raw := sign(t, c)
	data := raw.Bytes()
	for i := range 8 * len(data) {
		data[i/8] ^= 1 << (i % 8)
		if failedCheck(data) == "" {
			t.Errorf("bit %d can be changed", i)
		}
		data[i/8] ^= 1 << (i % 8)
	}
	if got := failedCheck(data); got != "" {
		t.Errorf("fails at %q", got)
	}
}

func stranger(t *testing.T) receipt.AuditorSecret {
	t.Helper()
	k, err := receipt.NewAuditorSecret(false)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignRefuses(t *testing.T) {
	good := fullClaims()
	good.Stop = receipt.StopLength
	good.OutputTokens = good.Params.MaxTokens
	for _, c := range []struct {
		name, want string
		key        ed25519.PrivateKey
		change     func(c *receipt.Claims)
	}{
		{"a key cut short", "receipt: key: the private key has 63 bytes, want 64", signer[:63], nil},
		{"another key", "receipt: key: the claims name another key than the one that signs", signer, func(c *receipt.Claims) { c.Key = make([]byte, 32) }},
		{"a penalty", "receipt: ranges: repeat_penalty is 101, want 0 to 100", signer, func(c *receipt.Claims) { c.Params.RepeatPenalty = 101 }},
		{"a seed", "receipt: ranges: seed of kind 9, want 0 (self), 1 (nonce) or 2 (beacon)", signer, func(c *receipt.Claims) { c.Seed.Kind = 9 }},
		{"no answer", "receipt: ranges: 0 output tokens, want 1 to 1048576", signer, func(c *receipt.Claims) { c.OutputTokens = 0 }},
		{"nothing", "", signer, nil},
	} {
		claims := good
		if c.change != nil {
			c.change(&claims)
		}
		_, err := receipt.Sign(claims, c.key)
		if got := fmt.Sprint(err); got != c.want && (c.want != "" || err != nil) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	var none receipt.Receipt
	if err := none.Verify(); err == nil {
		t.Error("there is no receipt, and it is verified")
	}
}

// TestManyItems: a file of many small items is refused before it is decoded,
// since it would take much more memory than it has bytes.
func TestManyItems(t *testing.T) {
	r := sign(t, fullClaims())
	calls := array(slices.Repeat([][]byte{mapping(entry{2, text("")})}, 1<<17)...)
	source := mapping(entry{1, num(1)}, entry{5, array(mapping(entry{1, text("")}, entry{5, calls}))})
	digests := array(slices.Repeat([][]byte{bstr(fill(1))}, 6)...)
	opening := mapping(entry{1, digests}, entry{2, array(bstr(fill(1)[:16]), source)})
	_, err := receipt.ParseFile(mapping(entry{1, bstr(r.Bytes())}, entry{2, opening}))
	if want := "receipt: file: not a file of a receipt: not canonical CBOR: more than 262144 data items"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}
