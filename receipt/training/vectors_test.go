package training_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/training-receipt.json anew")

const vectorFile = "../../spec/vectors/training-receipt.json"

// hexBytes is a byte string in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// The shape of training-receipt.json; spec/training-receipt.md section 14
// explains it.
type vectorSet struct {
	Spec     string          `json:"spec"`
	Suite    string          `json:"suite"`
	Secret   string          `json:"secret"`
	Receipts []receiptVector `json:"receipts"`
	Salts    saltVector      `json:"salts"`
	Seeds    []seedVector    `json:"seeds"`
	Examples exampleVectors  `json:"examples"`
	Files    []fileVector    `json:"files"`
	Samples  []sampleVector  `json:"samples"`
}

type receiptVector struct {
	Name    string          `json:"name"`
	Receipt hexBytes        `json:"receipt"`
	Fails   string          `json:"fails,omitempty"`
	Hash    *canon.Hash     `json:"hash,omitempty"`
	Claims  json.RawMessage `json:"claims,omitempty"`
}

type saltVector struct {
	Master hexBytes            `json:"master"`
	Salts  map[string]hexBytes `json:"salts"`
	Leaf   hexBytes            `json:"data_leaf_salt_1"`
}

type seedVector struct {
	Nonce hexBytes `json:"nonce"`
	Seed  string   `json:"seed"`
}

type exampleVectors struct {
	Salt  hexBytes      `json:"salt"`
	Bytes []hexBytes    `json:"bytes"`
	Root  canon.Hash    `json:"root"`
	Given []givenVector `json:"given"`
}

type givenVector struct {
	Name    string   `json:"name"`
	Receipt hexBytes `json:"receipt"`
	File    hexBytes `json:"file"`
	Fails   string   `json:"fails,omitempty"`
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
	MaxAge int      `json:"max_age,omitempty"`
	Base   hexBytes `json:"base,omitempty"`
	Data   hexBytes `json:"data,omitempty"`
	Result hexBytes `json:"result,omitempty"`
	Signer string   `json:"signer,omitempty"`
	Nonce  hexBytes `json:"nonce,omitempty"`
}

// sampleVector is checked by internal/audit/replay.
type sampleVector struct {
	Receipt canon.Hash `json:"receipt"`
	Random  hexBytes   `json:"random"`
	All     int        `json:"all"`
	Sample  int        `json:"sample"`
	Chosen  []int      `json:"chosen"`
}

func readVectors(t testing.TB) (set vectorSet, raw []byte) {
	t.Helper()
	raw, err := fs.ReadFile(vectors.FS, "training-receipt.json")
	if errors.Is(err, fs.ErrNotExist) && *update {
		return set, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	return set, raw
}

// TestVectors holds the package to the vectors, and the vectors to what is made
// by hand here.
func TestVectors(t *testing.T) {
	set, raw := readVectors(t)
	made := makeVectors(t)
	made.Samples = set.Samples // made by internal/audit/replay
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if text = append(text, '\n'); !bytes.Equal(text, raw) {
		if !*update {
			t.Fatalf("%s is not what is made here; run the test with -update and look at the difference", vectorFile)
		}
		if err := os.WriteFile(vectorFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
		set = made
	}
	for _, v := range set.Receipts {
		t.Run("receipt/"+v.Name, func(t *testing.T) { checkReceipt(t, v) })
	}
	for _, v := range set.Files {
		t.Run("file/"+v.Name, func(t *testing.T) { checkFile(t, v) })
	}
	for _, v := range set.Examples.Given {
		t.Run("given/"+v.Name, func(t *testing.T) { checkGiven(t, v) })
	}
}

func checkReceipt(t *testing.T, v receiptVector) {
	r, err := training.Parse(v.Receipt)
	if err == nil {
		err = r.Verify()
	}
	if v.Fails != "" {
		var e *receipt.Error
		if !errors.As(err, &e) || e.Check != v.Fails {
			t.Fatalf("%v, want the check %q to fail", err, v.Fails)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(r.Claims())
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(claims, &got), json.Unmarshal(v.Claims, &want)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || r.Hash() != *v.Hash {
		t.Errorf("%v: %s", r.Hash(), diff)
	}
	again, err := training.Sign(r.Claims(), signer)
	if err != nil || !bytes.Equal(again.Bytes(), v.Receipt) {
		t.Errorf("signed again it has other bytes: %v", err)
	}
	if !training.Is(v.Receipt) {
		t.Error("it is not recognised")
	}
}

func checkFile(t *testing.T, v fileVector) {
	o := training.Options{MaxAge: time.Duration(v.Options.MaxAge) * time.Second}
	if v.Options.Now != 0 {
		o.Now = time.Unix(v.Options.Now, 0)
	}
	for _, f := range []struct {
		to   *training.Hash
		from hexBytes
	}{{&o.Expect.Base, v.Options.Base}, {&o.Expect.Data, v.Options.Data}, {&o.Expect.Result, v.Options.Result}} {
		if f.from != nil {
			*f.to = training.Hash(f.from)
		}
	}
	if v.Options.Signer != "" {
		key, err := receipt.ParseNodeKey(v.Options.Signer)
		if err != nil {
			t.Fatal(err)
		}
		o.Expect.Key = key
	}
	o.Expect.Nonce = v.Options.Nonce
	report := training.Offline(v.File, o)
	if report.Verdict() != v.Verdict {
		t.Fatalf("%s, want %s:\n%s", report.Verdict(), v.Verdict, &report)
	}
	if bad := report.Failed(); bad == nil && v.Fails != "" || bad != nil && bad.Name != v.Fails {
		t.Errorf("want %q to fail:\n%s", v.Fails, &report)
	}
}

func checkGiven(t *testing.T, v givenVector) {
	r, err := training.Parse(v.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if g, err := training.ParseGiven(v.File); err != nil {
		var e *receipt.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		got = e.Check
	} else {
		c := r.Claims()
		if check := g.Check(r.Hash(), &c); !check.Passed() {
			got = check.Name
		}
		again, err := g.Marshal()
		if err != nil || !bytes.Equal(again, v.File) {
			t.Errorf("it is written otherwise: %v", err)
		}
	}
	if got != v.Fails {
		t.Errorf("%q fails, want %q", got, v.Fails)
	}
}

func makeVectors(t *testing.T) vectorSet {
	set := vectorSet{Spec: "spec/training-receipt.md", Suite: training.Suite, Secret: receipt.FormatNodeSecret(signer)}
	for _, g := range goodReceipts() {
		r, err := training.Parse(g.raw)
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
	set.Salts = saltVector{Master: []byte("a master salt 16"), Salts: map[string]hexBytes{}}
	for _, label := range []string{"setup", "config", "checkpoints", "log", "data", "validation"} {
		set.Salts.Salts[label] = saltOf(label)
	}
	set.Salts.Leaf = hashOf("aval training leaf salt/1", saltOf("data"), le64(1))[:16]
	for _, n := range []string{"8 bytes.", "a nonce of thirty-two bytes here"} {
		seed := hashOf("aval training seed/1", []byte(n))[:8]
		v := uint64(0)
		for i := range 8 {
			v |= uint64(seed[i]) << (8 * i)
		}
		set.Seeds = append(set.Seeds, seedVector{[]byte(n), strconv.FormatUint(v, 10)})
	}
	set.Examples = exampleVectors{Salt: saltOf("data"), Root: canon.Hash(listRoot(saltOf("data"), examples...)), Given: givenVectors()}
	for _, e := range examples {
		set.Examples.Bytes = append(set.Examples.Bytes, e)
	}
	set.Files = fileVectors()
	return set
}

// TestHandmade holds what the package derives to what is derived by hand.
func TestHandmade(t *testing.T) {
	s := training.SaltsOf(receipt.Salt([]byte("a master salt 16")))
	for label, got := range map[string]receipt.Salt{
		"setup": s.Setup, "config": s.Config, "checkpoints": s.Checkpoints, "log": s.Log, "data": s.Data, "validation": s.Validation,
	} {
		if !bytes.Equal(got[:], saltOf(label)) {
			t.Errorf("the salt of %s", label)
		}
	}
	leaves, err := training.ExampleLeaves(s.Data, 3, func(i int) ([]byte, error) { return examples[i], nil })
	if err != nil {
		t.Fatal(err)
	}
	if c := training.Commit(leaves); c.Count != 3 || !bytes.Equal(c.Root[:], listRoot(saltOf("data"), examples...)) {
		t.Errorf("%+v", c)
	}
	o := &training.Opening{
		Setup:       &training.OpenedSetup{Salt: s.Setup, Setup: training.Setup{Learner: []byte(`{"layers":1}`), Data: []byte(`{"columns":2}`), Seed: 7}},
		Config:      &training.OpenedConfig{Salt: s.Config, Config: config},
		Checkpoints: &training.List{Salt: s.Checkpoints},
		Log:         &training.List{Salt: s.Log},
		Data:        &s.Data, Validation: &s.Validation,
	}
	for _, p := range points {
		o.Checkpoints.Entries = append(o.Checkpoints.Entries, training.Entry(p))
	}
	for _, r := range records {
		o.Log.Entries = append(o.Log.Entries, training.Entry(r))
	}
	r, err := training.Parse(base().signed())
	if err != nil {
		t.Fatal(err)
	}
	want := r.Claims()
	got := want
	got.Setup, got.Config, got.Log, got.Checkpoints, got.Steps = training.Hash{}, training.Hash{}, training.Hash{}, training.Commitment{}, 0
	if err := o.Fill(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Error(diff)
	}
	f := &training.File{Receipt: r, Opening: o}
	b, err := f.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, file(base().signed(), opening())) {
		t.Error("the package writes another file")
	}
}

type vector struct {
	name  string
	raw   []byte
	fails string
}

func goodReceipts() []vector {
	long := base().with(6, array(num(1<<31-1), bstr(fill(4)))).with(7, num(1<<30)).with(8, array(num(1<<20), bstr(fill(5)))).
		with(10, array(num(1<<30), bstr(fill(2)), num(1), bstr(fill(3)), text("a format of thirty-two bytes, so"))).
		with(11, array(array(num(1<<31-1), bstr(fill(6))), num(1<<20), f64(1.0/3), num(1<<31-1), num(1<<31-1))).
		with(12, bstr(fill(0xff))).with(13, num(1<<32-1))
	return []vector{
		{name: "a net, with an evaluation", raw: base().signed()},
		{name: "from random numbers, without an evaluation", raw: base().with(3, nil).with(11, nil).with(2, num(0)).signed()},
		{name: "updates beside a frozen model", raw: base().with(2, num(1)).signed()},
		{name: "a nonce", raw: base().with(12, bstr([]byte("8 bytes."))).signed()},
		{name: "everything as long as can be", raw: long.signed()},
		{name: "the result is the start", raw: base().with(10, array(num(0), bstr(fill(2)), num(0), bstr(fill(3)), text("f32"))).signed()},
		{name: "one step", raw: base().with(7, num(1)).with(8, array(num(2), bstr(fill(5)))).with(10, array(num(1), bstr(fill(2)), num(0), bstr(fill(3)), text("f"))).signed()},
		{name: "a loss below zero, and none right", raw: base().with(11, evaluation(-1.0/3, 2, 0)).signed()},
	}
}

func badReceipts() []vector {
	result := func(items ...[]byte) craft { return base().with(10, array(items...)) }
	good := base().signed()
	flipped := slices.Clone(good)
	flipped[60] ^= 1
	tail := append(slices.Clone(good), 0)
	other := slices.Clone(good)
	other[5] = 0x26 // ES256
	swapped := base()
	swapped[3], swapped[4] = swapped[4], swapped[3]
	long := base()
	answer := sign(mapping(entry{1, text("aval/1")}), signer)
	var out []vector
	add := func(fails, name string, raw []byte) { out = append(out, vector{name, raw, fails}) }
	add(receipt.CheckForm, "nothing", nil)
	add(receipt.CheckForm, "cut", good[:len(good)-1])
	add(receipt.CheckForm, "a byte more", tail)
	add(receipt.CheckAlgorithm, "another algorithm", other)
	add(receipt.CheckSignature, "a bit changed", flipped)
	add(receipt.CheckSuite, "the suite of answers", answer)
	add(receipt.CheckSuite, "a later suite", base().with(1, text("aval-training-receipt/2")).signed())
	add(receipt.CheckClaims, "no suite", base().with(1, nil).signed())
	add(receipt.CheckClaims, "no data", base().with(6, nil).signed())
	add(receipt.CheckClaims, "a claim that nobody knows", base().with(15, num(1)).signed())
	add(receipt.CheckClaims, "claims in another order", swapped.signed())
	add(receipt.CheckClaims, "a number longer than it need be", long.with(7, []byte{0x18, 4}).signed())
	add(receipt.CheckClaims, "a base of 31 bytes", base().with(3, bstr(fill(1)[:31])).signed())
	add(receipt.CheckClaims, "a base of zeros", base().with(3, bstr(fill(0))).signed())
	add(receipt.CheckClaims, "an empty base", base().with(3, bstr(nil)).signed())
	add(receipt.CheckClaims, "an empty nonce", base().with(12, bstr(nil)).signed())
	add(receipt.CheckClaims, "a loss longer than it need be", base().with(11, array(array(num(2), bstr(fill(6))), num(4), f64(2.5), num(2), num(1))).signed())
	add(receipt.CheckClaims, "a key of 31 bytes", base().with(14, bstr(public()[:31])).signed())
	add(receipt.CheckRanges, "a kind that nobody knows", base().with(2, num(3)).signed())
	add(receipt.CheckRanges, "updates of no model", base().with(2, num(1)).with(3, nil).signed())
	add(receipt.CheckRanges, "no examples", base().with(6, array(num(0), bstr(fill(4)))).signed())
	add(receipt.CheckRanges, "too many examples", base().with(6, array(num(1<<31), bstr(fill(4)))).signed())
	add(receipt.CheckRanges, "a data root of zeros", base().with(6, array(num(3), bstr(fill(0)))).signed())
	add(receipt.CheckRanges, "no steps", base().with(7, num(0)).signed())
	add(receipt.CheckRanges, "too many steps", base().with(7, num(1<<30+1)).signed())
	add(receipt.CheckRanges, "one checkpoint", base().with(8, array(num(1), bstr(fill(5)))).signed())
	add(receipt.CheckRanges, "more checkpoints than states", base().with(8, array(num(6), bstr(fill(5)))).signed())
	add(receipt.CheckRanges, "a log of zeros", base().with(9, bstr(fill(0))).signed())
	add(receipt.CheckRanges, "a setup of zeros", base().with(4, bstr(fill(0))).signed())
	add(receipt.CheckRanges, "a result after the end", result(num(5), bstr(fill(2)), num(0), bstr(fill(3)), text("f32")).signed())
	add(receipt.CheckRanges, "a result of an unknown identity", result(num(4), bstr(fill(2)), num(2), bstr(fill(3)), text("f32")).signed())
	add(receipt.CheckRanges, "a result without a format", result(num(4), bstr(fill(2)), num(0), bstr(fill(3)), text("")).signed())
	add(receipt.CheckRanges, "a result without a file", result(num(4), bstr(fill(2)), num(0), bstr(fill(0)), text("f32")).signed())
	add(receipt.CheckRanges, "more right than predicted", base().with(11, evaluation(2.5, 2, 3)).signed())
	add(receipt.CheckRanges, "an evaluation of nothing", base().with(11, evaluation(2.5, 0, 0)).signed())
	add(receipt.CheckRanges, "a loss that is no number", base().with(11, array(array(num(2), bstr(fill(6))), num(4), []byte{0xf9, 0x7e, 0}, num(2), num(1))).signed())
	add(receipt.CheckRanges, "an infinite loss", base().with(11, array(array(num(2), bstr(fill(6))), num(4), []byte{0xf9, 0x7c, 0}, num(2), num(1))).signed())
	add(receipt.CheckRanges, "a nonce of 7 bytes", base().with(12, bstr(fill(1)[:7])).signed())
	add(receipt.CheckRanges, "a nonce of 33 bytes", base().with(12, bstr(append(fill(1), 1))).signed())
	add(receipt.CheckRanges, "no time", base().with(13, num(0)).signed())
	add(receipt.CheckKey, "a key of small order", base().with(14, bstr(fill(0))).signed())
	return out
}

func fileVectors() []fileVector {
	const now = 1_790_000_100
	signed := base().signed()
	name := receipt.FormatNodeKey(public())
	open := receipt.Unverified // nothing is computed again
	bad := receipt.Invalid
	var out []fileVector
	add := func(n string, f []byte, o optionsVector, v receipt.Verdict, fails string) {
		if o.Now == 0 {
			o.Now = now
		}
		out = append(out, fileVector{n, f, o, v, fails})
	}
	add("the receipt alone", signed, optionsVector{}, open, "")
	add("a file that shows nothing", file(signed, nil), optionsVector{}, open, "")
	add("everything shown", file(signed, opening()), optionsVector{}, open, "")
	add("as expected", file(signed, opening()), optionsVector{Base: fill(1), Data: listRoot(saltOf("data"), examples...), Result: fill(3), Signer: name, MaxAge: 200}, open, "")
	add("another base expected", file(signed, opening()), optionsVector{Base: fill(9)}, bad, training.CheckBase)
	add("other data expected", file(signed, opening()), optionsVector{Data: fill(9)}, bad, training.CheckData)
	add("another result expected", file(signed, opening()), optionsVector{Result: fill(9)}, bad, training.CheckResult)
	add("a nonce expected, and none there", file(signed, opening()), optionsVector{Nonce: []byte("8 bytes.")}, bad, training.CheckNonce)
	add("too old", file(signed, nil), optionsVector{MaxAge: 50}, bad, receipt.CheckTime)
	add("from the future", file(signed, nil), optionsVector{Now: 1_789_999_000}, bad, receipt.CheckTime)
	add("something else in the file", mapping(entry{1, bstr(signed)}, entry{3, num(1)}), optionsVector{}, bad, receipt.CheckFile)
	add("bytes after the file", append(file(signed, nil), 0), optionsVector{}, bad, receipt.CheckFile)

	part := func(n string, key uint64, value []byte, fails string) {
		add(n, file(signed, opening(entry{key, value})), optionsVector{}, bad, fails)
	}
	salt := func(label string) []byte { return bstr(saltOf(label)) }
	part("another setup", 1, array(salt("setup"), mapping(entry{1, bstr([]byte("x"))}, entry{2, bstr([]byte("y"))}, entry{3, num(7)})), training.CheckSetup)
	part("a setup that says nothing", 1, array(salt("setup"), mapping(entry{1, bstr(nil)}, entry{2, bstr([]byte("y"))}, entry{3, num(7)})), training.CheckSetup)
	part("the salt of another part", 1, array(salt("config"), setup), training.CheckSetup)
	part("another configuration", 2, array(salt("config"), bstr(configWith(8, 4, 2))), training.CheckConfig)
	part("a checkpoint changed", 3, array(salt("checkpoints"), bstr(bytes.Join([][]byte{points[0], point(2, 0x13), points[2]}, nil))), training.CheckCheckpoints)
	part("a checkpoint less", 3, array(salt("checkpoints"), bstr(bytes.Join(points[:2], nil))), training.CheckCheckpoints)
	part("checkpoints that are cut", 3, array(salt("checkpoints"), bstr(points[0][:39])), receipt.CheckFile)
	part("a record changed", 4, array(salt("log"), bstr(bytes.Join([][]byte{records[0], records[1], record(2, 2), records[3]}, nil))), training.CheckLog)
	part("two records exchanged", 4, array(salt("log"), bstr(bytes.Join([][]byte{records[1], records[0], records[2], records[3]}, nil))), training.CheckLog)
	part("a record less", 4, array(salt("log"), bstr(bytes.Join(records[:3], nil))), training.CheckLog)
	part("a salt of 15 bytes", 5, bstr(saltOf("data")[:15]), receipt.CheckFile)

	// Signed, and wrong in itself.
	lie := func(n string, c craft, changes []entry, fails string) {
		add(n, file(c.signed(), opening(changes...)), optionsVector{}, bad, fails)
	}
	log := func(list ...[]byte) (craft, []entry) {
		return base().with(9, bstr(listRoot(saltOf("log"), list...))), []entry{{4, array(salt("log"), bstr(bytes.Join(list, nil)))}}
	}
	c, e := log(records[0], records[1], records[3], records[2])
	lie("signed: records out of order", c, e, training.CheckLog)
	c, e = log(records[0], records[1], record(2, math.NaN()), records[3])
	lie("signed: a loss that is no number", c, e, training.CheckLog)
	list := func(list ...[]byte) (craft, []entry) {
		return base().with(8, array(num(uint64(len(list))), bstr(listRoot(saltOf("checkpoints"), list...)))),
			[]entry{{3, array(salt("checkpoints"), bstr(bytes.Join(list, nil)))}}
	}
	c, e = list(points[0], points[2])
	lie("signed: a checkpoint of the schedule missing", c, e, training.CheckCheckpoints)
	c, e = list(points[0], points[1], point(3, 0x13), points[2])
	lie("signed: a checkpoint beside the schedule", c, e, training.CheckCheckpoints)
	c, e = list(points[1], point(3, 0x13), points[2])
	lie("signed: the start missing", c, e, training.CheckCheckpoints)
	c, e = list(points[0], points[1])
	lie("signed: the end missing", c, e, training.CheckCheckpoints)
	c, e = list(points[0], points[1], points[1], points[2])
	lie("signed: a checkpoint twice", c, e, training.CheckCheckpoints)
	lie("signed: a result between two checkpoints", base().with(10, array(num(3), bstr(fill(2)), num(0), bstr(fill(3)), text("f32"))), nil, training.CheckCheckpoints)
	short := configWith(7, 3, 2)
	lie("signed: more steps than configured", base().with(5, bstr(hashOf("aval training config/1", saltOf("config"), short))),
		[]entry{{2, array(salt("config"), bstr(short))}}, training.CheckConfig)
	lie("signed: a configuration that is none", base().with(5, bstr(hashOf("aval training config/1", saltOf("config"), []byte{0xa0}))),
		[]entry{{2, array(salt("config"), bstr([]byte{0xa0}))}}, training.CheckConfig)
	lie("signed: a seed that is not the nonce's", base().with(12, bstr([]byte("8 bytes."))), []entry{{1, nil}}, training.CheckConfig)
	lie("signed: a start that is not the nonce's", base().with(12, bstr([]byte("8 bytes."))), []entry{{2, nil}}, training.CheckSetup)
	lie("a salt of validation examples without an evaluation", base().with(11, nil), nil, training.CheckValidation)

	// Ranges.
	rangeOf := func(label string, values [][]byte, from, to int, proof ...[]byte) []byte {
		var salts []byte
		for i := from; i < to; i++ {
			salts = append(salts, hashOf("aval training leaf salt/1", saltOf(label), le64(uint64(i)))[:16]...)
		}
		return array(num(uint64(from)), bstr(bytes.Join(values[from:to], nil)), bstr(salts), bstr(bytes.Join(proof, nil)))
	}
	leafAt := func(label string, values [][]byte, i int) []byte {
		return leafHash(slices.Concat(hashOf("aval training leaf salt/1", saltOf(label), le64(uint64(i)))[:16], values[i]))
	}
	left := treeRoot([][]byte{leafAt("log", records, 0), leafAt("log", records, 1)})
	good := rangeOf("log", records, 2, 4, left)
	only := func(n string, key uint64, value []byte, v receipt.Verdict, fails string) {
		add(n, file(signed, mapping(entry{key, value})), optionsVector{}, v, fails)
	}
	only("two records", 7, array(good), open, "")
	only("two records with another proof", 7, array(rangeOf("log", records, 2, 4, fill(7))), bad, training.CheckLogRange)
	only("two records with too long a proof", 7, array(rangeOf("log", records, 2, 4, left, left)), bad, training.CheckLogRange)
	only("two records at another place", 7, array(slices.Concat(good[:1], num(0), good[2:])), bad, training.CheckLogRange)
	only("the last checkpoint", 8, array(rangeOf("checkpoints", points, 2, 3, treeRoot([][]byte{leafAt("checkpoints", points, 0), leafAt("checkpoints", points, 1)}))), open, "")
	twoPoints := rangeOf("checkpoints", points, 1, 3, leafAt("checkpoints", points, 0))
	shown := func(n string, message, value []byte, v receipt.Verdict, fails string) {
		add(n, file(message, mapping(entry{2, array(bstr(saltOf("config")), bstr(config))}, entry{8, array(value)})), optionsVector{}, v, fails)
	}
	shown("two checkpoints and the configuration", signed, twoPoints, open, "")
	dense := [][]byte{points[0], point(1, 0x11), points[1], point(3, 0x13), points[2]}
	diluted := base().with(8, array(num(5), bstr(listRoot(saltOf("checkpoints"), dense...)))).signed()
	var denseLeaves [][]byte
	for i := range dense {
		denseLeaves = append(denseLeaves, leafAt("checkpoints", dense, i))
	}
	shown("signed: more checkpoints than configured, one stretch shown", diluted, rangeOf("checkpoints", dense, 0, 2, treeRoot(denseLeaves[2:4]), denseLeaves[4]), bad, training.CheckPointRange)
	shifted := [][]byte{points[0], point(3, 0x13), points[2]}
	elsewhere := base().with(8, array(num(3), bstr(listRoot(saltOf("checkpoints"), shifted...)))).signed()
	shown("signed: a checkpoint at another step, one stretch shown", elsewhere, rangeOf("checkpoints", shifted, 0, 2, leafAt("checkpoints", shifted, 2)), bad, training.CheckPointRange)
	only("checkpoints said to be records", 7, array(rangeOf("checkpoints", points, 0, 1, fill(1), fill(2))), bad, training.CheckLogRange)
	return out
}

func givenVectors() []givenVector {
	signed := base().signed()
	id := hashOf("aval receipt/1", signed)
	leafSalt := func(i int) []byte { return hashOf("aval training leaf salt/1", saltOf("data"), le64(uint64(i)))[:16] }
	leaf := func(i int) []byte { return leafHash(slices.Concat(leafSalt(i), examples[i])) }
	first := treeRoot([][]byte{leaf(0), leaf(1)})
	one := array(num(1), bstr(leafSalt(1)), bstr(examples[1]), bstr(slices.Concat(leaf(0), leaf(2))))
	two := array(num(2), bstr(leafSalt(2)), bstr(examples[2]), bstr(first))
	flipped := array(num(2), bstr(leafSalt(2)), bstr([]byte("A third example")), bstr(first))
	moved := array(num(0), bstr(leafSalt(2)), bstr(examples[2]), bstr(first))
	file := func(id []byte, list ...[]byte) []byte { return mapping(entry{1, bstr(id)}, entry{2, array(list...)}) }
	return []givenVector{
		{Name: "two examples", Receipt: signed, File: file(id, one, two)},
		{Name: "one changed", Receipt: signed, File: file(id, one, flipped), Fails: training.CheckData},
		{Name: "one at another place", Receipt: signed, File: file(id, moved), Fails: training.CheckData},
		{Name: "for another receipt", Receipt: signed, File: file(fill(8), one), Fails: training.CheckData},
		{Name: "out of order", Receipt: signed, File: file(id, two, one), Fails: training.CheckData},
		{Name: "one twice", Receipt: signed, File: file(id, one, one), Fails: training.CheckData},
		{Name: "none", Receipt: signed, File: file(id), Fails: training.CheckData},
		{Name: "a proof that is cut", Receipt: signed, File: file(id, array(num(2), bstr(leafSalt(2)), bstr(examples[2]), bstr(first[:31]))), Fails: training.CheckData},
	}
}

// TestSecond lets the second implementation, written from the text alone,
// judge the vectors.
func TestSecond(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	out, err := exec.Command(python, "../../spec/second/training_receipt.py", vectorFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
