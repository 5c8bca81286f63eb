package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/receipt.json anew")

const vectorFile = "../spec/vectors/receipt.json"

// hexBytes is a byte string in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// The shape of receipt.json; spec/receipt.md section 13 explains it.
type vectorSet struct {
	Spec        string             `json:"spec"`
	Suite       string             `json:"suite"`
	Secret      string             `json:"secret"`
	Receipts    []receiptVector    `json:"receipts"`
	Transcripts []transcriptVector `json:"transcripts"`
	Seeds       []seedVector       `json:"seeds"`
	Files       []fileVector       `json:"files"`
	Keys        []keyVector        `json:"keys"`
	Boxes       []boxVector        `json:"boxes"`
}

type receiptVector struct {
	Name    string          `json:"name"`
	Receipt hexBytes        `json:"receipt"`
	Fails   string          `json:"fails,omitempty"`
	Hash    *canon.Hash     `json:"hash,omitempty"`
	Claims  json.RawMessage `json:"claims,omitempty"`
}

type transcriptVector struct {
	Name       string              `json:"name"`
	Master     hexBytes            `json:"master"`
	Salts      map[string]hexBytes `json:"salts"`
	Opening    hexBytes            `json:"opening"`
	LeafSalt   hexBytes            `json:"prompt_leaf_salt_1"`
	Digests    []canon.Hash        `json:"digests"`
	Transcript canon.Hash          `json:"transcript"`
	Root       canon.Hash          `json:"trace_root"`
	Layers     int                 `json:"trace_layers"`
	Positions  int                 `json:"trace_positions"`
	Trace      canon.Hash          `json:"trace"`
}

type seedVector struct {
	Kind    string   `json:"kind"`
	Nonce   hexBytes `json:"nonce,omitempty"`
	Beacon  string   `json:"beacon,omitempty"`
	Round   string   `json:"round,omitempty"`
	Value   string   `json:"value,omitempty"`
	Prompt  []int32  `json:"prompt"`
	Derived string   `json:"derived"`
}

type fileVector struct {
	Name    string          `json:"name"`
	File    hexBytes        `json:"file"`
	Options optionsVector   `json:"options"`
	Verdict receipt.Verdict `json:"verdict"`
	Fails   string          `json:"fails,omitempty"`
}

type optionsVector struct {
	Now    int64    `json:"now,omitempty"`
	Ahead  int      `json:"ahead,omitempty"`
	MaxAge int      `json:"max_age,omitempty"`
	Model  hexBytes `json:"model,omitempty"`
	// Adapters, if there is a list, are expected; it may be empty.
	Adapters []adapterVector `json:"adapters,omitzero"`
	Signer   string          `json:"signer,omitempty"`
	Nonce    hexBytes        `json:"nonce,omitempty"`
	Params   *receipt.Params `json:"params,omitempty"`
	Prompt   []int32         `json:"prompt,omitempty"`
	Text     *string         `json:"text,omitempty"`
	Beacon   *beaconVector   `json:"beacon,omitempty"`
}

type adapterVector struct {
	File  canon.Hash `json:"file"`
	Scale float32    `json:"scale"`
}

type beaconVector struct {
	Name   string     `json:"name"`
	Round  uint64     `json:"round"`
	Value  canon.Hash `json:"value"`
	From   int64      `json:"from"`
	Window int        `json:"window,omitempty"`
}

type keyVector struct {
	Name  string   `json:"name"`
	Text  string   `json:"text"`
	Key   hexBytes `json:"key,omitempty"`
	Fails string   `json:"fails,omitempty"`
}

type boxVector struct {
	Name    string     `json:"name"`
	Secret  string     `json:"secret"`
	Receipt canon.Hash `json:"receipt_hash"`
	Suite   string     `json:"suite"`
	KeyID   hexBytes   `json:"key_id"`
	Data    hexBytes   `json:"data"`
	Opening hexBytes   `json:"opening,omitempty"`
	Fails   string     `json:"fails,omitempty"`
}

func (o optionsVector) options(t *testing.T) receipt.Options {
	out := receipt.Options{Ahead: time.Duration(o.Ahead) * time.Second, MaxAge: time.Duration(o.MaxAge) * time.Second}
	out.Expect = receipt.Expect{Nonce: o.Nonce, Params: o.Params, Prompt: o.Prompt, Text: o.Text}
	if o.Now != 0 {
		out.Now = time.Unix(o.Now, 0)
	}
	if o.Model != nil {
		out.Expect.Model = canon.Hash(o.Model)
	}
	if o.Adapters != nil {
		out.Expect.Adapters = []receipt.Adapter{}
		for _, a := range o.Adapters {
			out.Expect.Adapters = append(out.Expect.Adapters, receipt.Adapter{File: a.File, Scale: a.Scale})
		}
	}
	if o.Signer != "" {
		var err error
		if out.Expect.Key, err = receipt.ParseNodeKey(o.Signer); err != nil {
			t.Fatal(err)
		}
	}
	if b := o.Beacon; b != nil {
		out.Expect.BeaconWindow = time.Duration(b.Window) * time.Second
		out.Expect.Beacon = func(name string, round uint64) (receipt.Hash, time.Time, bool) {
			return b.Value, time.Unix(b.From, 0), name == b.Name && round == b.Round
		}
	}
	return out
}

func readVectors(t testing.TB) (vectorSet, []byte) {
	t.Helper()
	data, err := fs.ReadFile(vectors.FS, "receipt.json")
	if err != nil {
		t.Fatal(err)
	}
	var set vectorSet
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&set); err != nil {
		t.Fatal(err)
	}
	return set, data
}

// TestVectorsAreThese makes the vectors again.
func TestVectorsAreThese(t *testing.T) {
	old, data := readVectors(t)
	set := makeVectors(t, old)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(set); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(b.Bytes(), data) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the package makes; if that is intended, run go test ./receipt -update", vectorFile)
	}
	if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	set, _ := readVectors(t)
	negatives := 0
	for _, v := range set.Receipts {
		if v.Fails != "" {
			negatives++
		}
		if got := failedCheck(v.Receipt); got != v.Fails {
			t.Errorf("receipt %q: fails at %q, want %q", v.Name, got, v.Fails)
		}
		if v.Fails != "" {
			continue
		}
		r, err := receipt.Parse(v.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Hash(); got != *v.Hash {
			t.Errorf("receipt %q: hash %v, want %v", v.Name, got, v.Hash)
		}
		claims, err := json.Marshal(r.Claims())
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, v.Claims); err != nil || want.String() != string(claims) {
			t.Errorf("receipt %q: claims %s", v.Name, cmp.Diff(want.String(), string(claims)))
		}
		// What it says, signed again, is the same receipt.
		if again, err := receipt.Sign(r.Claims(), signer); err != nil || !bytes.Equal(again.Bytes(), v.Receipt) {
			t.Errorf("receipt %q: signed again it is another: %v", v.Name, err)
		}
	}
	for _, v := range set.Files {
		if v.Fails != "" {
			negatives++
		}
		report := receipt.Offline(v.File, v.Options.options(t))
		got := ""
		if f := report.Failed(); f != nil {
			got = f.Name
		}
		if report.Verdict() != v.Verdict || got != v.Fails {
			t.Errorf("file %q: %s at %q, want %s at %q\n%s", v.Name, report.Verdict(), got, v.Verdict, v.Fails, report.String())
		}
	}
	for _, v := range set.Seeds {
		var s receipt.Seed
		switch v.Kind {
		case "self":
			n, err := strconv.ParseUint(v.Value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			s = receipt.SelfSeed(n)
		case "nonce":
			s = receipt.NonceSeed(v.Nonce)
		default:
			round, err1 := strconv.ParseUint(v.Round, 10, 64)
			var value canon.Hash
			if err := errors.Join(err1, value.UnmarshalText([]byte(v.Value))); err != nil {
				t.Fatal(err)
			}
			s = receipt.BeaconSeed(v.Beacon, round, value)
		}
		if got := strconv.FormatUint(s.Derive(v.Prompt), 10); got != v.Derived {
			t.Errorf("seed %+v: %s, want %s", v, got, v.Derived)
		}
	}
	for _, v := range set.Keys {
		key, err := receipt.ParseNodeKey(v.Text)
		if e := (*receipt.Error)(nil); (v.Fails == "") != (err == nil) || err != nil && (!errors.As(err, &e) || e.Check != v.Fails) || err == nil && !bytes.Equal(key, v.Key) {
			t.Errorf("key %q: %x, %v", v.Name, key, err)
		}
	}
	for _, v := range set.Boxes {
		o, err := v.open()
		if e := (*receipt.Error)(nil); (v.Fails == "") != (err == nil) || err != nil && (!errors.As(err, &e) || e.Check != v.Fails) {
			t.Errorf("box %q: %v", v.Name, err)
		}
		if err == nil && !bytes.Equal(mustMarshal(t, o), v.Opening) {
			t.Errorf("box %q holds another opening", v.Name)
		}
	}
	if negatives < 25 {
		t.Errorf("%d negative vectors", negatives)
	}
}

// TestSecond lets the second implementation, written from the text alone,
// judge the vectors.
func TestSecond(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	out, err := exec.Command(python, "../spec/second/receipt.py", vectorFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func (v *boxVector) open() (*receipt.Opening, error) {
	secret, err := receipt.ParseAuditorSecret(v.Secret)
	if err != nil {
		return nil, err
	}
	return receipt.Unseal(receipt.Box{Suite: v.Suite, KeyID: [8]byte(v.KeyID), Data: v.Data}, v.Receipt, secret)
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := canon.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func makeVectors(t *testing.T, old vectorSet) vectorSet {
	set := vectorSet{Spec: "spec/receipt.md", Suite: receipt.Suite, Secret: receipt.FormatNodeSecret(signer)}
	for _, g := range goodReceipts() {
		r, err := receipt.Parse(g.raw)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		claims, err := json.Marshal(r.Claims())
		if err != nil {
			t.Fatal(err)
		}
		h := r.Hash()
		set.Receipts = append(set.Receipts, receiptVector{Name: g.name, Receipt: g.raw, Hash: &h, Claims: claims})
	}
	for _, b := range badReceipts() {
		set.Receipts = append(set.Receipts, receiptVector{Name: b.name, Receipt: b.raw, Fails: b.fails})
	}
	set.Transcripts = transcriptVectors(t)
	set.Seeds = seedVectors()
	set.Files = fileVectors(t)
	set.Keys = keyVectors()
	set.Boxes = boxVectors(t, old.Boxes)
	return set
}

func goodReceipts() []badReceipt {
	every := base()
	for key, value := range map[uint64][]byte{
		1: f32(0.7), 2: num(1 << 22), 3: f32(0.9), 4: f32(0.05), 5: f32(1.1), 6: f32(0.1), 7: f32(-0.3),
		8: num(1 << 20), 9: num(1 << 20), 10: num(1 << 20), 11: {0xf5}, 12: {0xf5}, 13: {0xf5},
	} {
		every = every.param(key, value)
	}
	every = every.with(4, array(num(1), bstr(fill(0xff)))).with(6, num(1<<19)).with(7, num(1<<19)).with(8, num(2))
	bare := base()
	bare.params = nil
	return []badReceipt{
		{name: "an answer with a nonce", raw: base().signed()},
		{name: "no parameters: greedy, a self-chosen seed", raw: bare.with(4, array(num(0), num(0))).signed()},
		{name: "the largest self-chosen seed", raw: base().with(4, array(num(0), num(1<<64-1))).signed()},
		{name: "a beacon", raw: base().with(4, array(num(2), text("drand quicknet"), num(12345678), bstr(fill(9)))).signed()},
		{name: "every parameter, each as long as can be", raw: every.signed()},
		{name: "the same with a trace", raw: every.with(5, bstr(append(fill(2), fill(3)...))).signed()},
		{name: "a block of a ledger", raw: base().with(11, array(text("aval"), num(1<<40), bstr(fill(4)))).signed()},
		{name: "parameters below zero, a float of two bytes", raw: base().param(8, []byte{0x20}).param(6, []byte{0xf9, 0xbc, 0x00}).signed()},
		{name: "as many tokens as max_tokens", raw: base().with(7, num(16)).with(8, num(2)).signed()},
		{name: "an adapter", raw: adapted().signed()},
		{name: "two adapters, one of them backwards", raw: adapted().with(12, array(adapter(6, []byte{0xf9, 0xb8, 0}), adapter(5, []byte{0xf9, 0x3c, 0}))).signed()},
		{name: "everything, and the most adapters", raw: every.with(1, text("aval/2")).with(5, bstr(append(fill(2), fill(3)...))).
			with(11, array(text("a chain with a name of 32 bytes."), num(1<<40), bstr(fill(4)))).
			with(12, array(slices.Repeat([][]byte{adapter(5, f32(0.7))}, 8)...)).signed()},
		{name: "as many tokens as the context", raw: base().param(9, nil).with(6, num(4093)).with(8, num(2)).signed()},
	}
}

func seedVectors() []seedVector {
	nonce := hexBytes("sixteen byte nce")
	beacon := receipt.BeaconSeed("drand quicknet", 12345678, hash(9))
	var out []seedVector
	for _, prompt := range [][]int32{{1}, {1, 5, 9, 200000, 3}} {
		out = append(out,
			seedVector{Kind: "self", Value: "18446744073709551615", Prompt: prompt, Derived: "18446744073709551615"},
			seedVector{Kind: "nonce", Nonce: nonce, Prompt: prompt, Derived: strconv.FormatUint(receipt.NonceSeed(nonce).Derive(prompt), 10)},
			seedVector{
				Kind: "beacon", Beacon: beacon.Beacon.Name, Round: "12345678", Value: beacon.Beacon.Value.String(), Prompt: prompt,
				Derived: strconv.FormatUint(beacon.Derive(prompt), 10),
			})
	}
	return out
}

func keyVectors() []keyVector {
	good := receipt.FormatNodeKey(public())
	at := len(good) - 20
	changed := good[:at] + string("ab"[map[bool]int{true: 1}[good[at] == 'a']]) + good[at+1:]
	format := func(k []byte) string { return receipt.FormatNodeKey(ed25519.PublicKey(k)) }
	return []keyVector{
		{Name: "a key", Text: good, Key: hexBytes(public())},
		{Name: "a character changed", Text: changed, Fails: receipt.CheckKey},
		{Name: "a character missing", Text: good[:len(good)-1], Fails: receipt.CheckKey},
		{Name: "a capital", Text: good[:len(good)-1] + "A", Fails: receipt.CheckKey},
		{Name: "another prefix", Text: "aval-node-2" + good[len("aval-node-1"):], Fails: receipt.CheckKey},
		{Name: "a private key", Text: receipt.FormatNodeSecret(signer), Fails: receipt.CheckKey},
		{Name: "padding bits that are not zero", Text: good[:len(good)-1] + "r", Fails: receipt.CheckKey},
		{Name: "a key of small order", Text: format(fill(0)), Fails: receipt.CheckKey},
		{Name: "31 bytes", Text: format(public()[:31]), Fails: receipt.CheckKey},
		{Name: "nothing", Text: "", Fails: receipt.CheckKey},
	}
}

// boxVectors keeps the boxes that are there and still right: each encryption
// gives another one.
func boxVectors(t *testing.T, old []boxVector) []boxVector {
	c := newCase(t)
	opening, h := c.opening.Select(receipt.WholePrompt), c.sign().Hash()
	var out []boxVector
	for i, quantum := range []bool{false, true} {
		if keep := 5 * i; keep+5 <= len(old) {
			o, err := old[keep].open()
			if err == nil && old[keep].Receipt == h && cmp.Equal(o, opening) {
				out = append(out, old[keep:keep+5]...)
				continue
			}
		}
		secret, err := receipt.NewAuditorSecret(quantum)
		if err != nil {
			t.Fatal(err)
		}
		key, err := secret.Text()
		if err != nil {
			t.Fatal(err)
		}
		box, err := receipt.Seal(opening, h, secret.Public())
		if err != nil {
			t.Fatal(err)
		}
		good := boxVector{
			Name: "a prompt", Secret: key, Receipt: h, Suite: box.Suite, KeyID: box.KeyID[:], Data: box.Data,
			Opening: mustMarshal(t, opening),
		}
		bad := func(name string, change func(v *boxVector)) boxVector {
			v := good
			v.Name, v.Fails, v.Opening = name, receipt.CheckSeal, nil
			v.Data, v.KeyID = slices.Clone(v.Data), slices.Clone(v.KeyID)
			change(&v)
			return v
		}
		out = append(out,
			good,
			bad("the box of another receipt", func(v *boxVector) { v.Receipt[0] ^= 1 }),
			bad("a bit changed", func(v *boxVector) { v.Data[len(v.Data)-1] ^= 1 }),
			bad("for another key", func(v *boxVector) { v.KeyID[0] ^= 1 }),
			bad("of another suite", func(v *boxVector) { v.Suite = "aval-seal/0" }))
	}
	return out
}
