package training_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// TestSize holds spec/training-receipt.md section 13 to its numbers.
func TestSize(t *testing.T) {
	want := map[string]int{
		"everything as long as can be": 584, "a net, with an evaluation": 481,
		"from random numbers, without an evaluation": 402,
	}
	for _, g := range goodReceipts() {
		if n, ok := want[g.name]; ok && len(g.raw) != n {
			t.Errorf("%s: %d bytes, want %d", g.name, len(g.raw), n)
		}
		if len(g.raw) > 584 {
			t.Errorf("%s: %d bytes, more than any", g.name, len(g.raw))
		}
	}
}

func TestCheckpoints(t *testing.T) {
	for _, c := range []struct {
		every, steps, result int
		want                 []int
	}{
		{0, 10, 10, []int{0, 10}},
		{0, 10, 4, []int{0, 4, 10}},
		{0, 10, 0, []int{0, 10}},
		{3, 10, 10, []int{0, 3, 6, 9, 10}},
		{3, 9, 9, []int{0, 3, 6, 9}},
		{3, 9, 6, []int{0, 3, 6, 9}},
		{3, 9, 7, []int{0, 3, 6, 7, 9}},
		{3, 9, 1, []int{0, 1, 3, 6, 9}},
		{3, 10, 10, []int{0, 3, 6, 9, 10}},
		{100, 10, 5, []int{0, 5, 10}},
		{1, 3, 2, []int{0, 1, 2, 3}},
		{1, 1, 1, []int{0, 1}},
	} {
		config := training.Config{CheckpointEvery: c.every}
		if got := config.Checkpoints(c.steps, c.result); !slices.Equal(got, c.want) {
			t.Errorf("every %d of %d, the result at %d: %v, want %v", c.every, c.steps, c.result, got, c.want)
		}
	}
}

// TestIs tells the files of the two kinds of receipts apart.
func TestIs(t *testing.T) {
	set, _ := readVectors(t)
	for _, v := range set.Files {
		if !training.Is(v.File) {
			t.Errorf("%s: not recognised", v.Name)
		}
	}
	good := file(base().signed(), opening())
	for n := range 80 {
		training.Is(good[:n]) // comes to an end
	}
	// The name of the suite elsewhere is no sign.
	name := []byte("\x77aval-training-receipt/1")
	key := bytes.Repeat([]byte{1}, 32)
	copy(key[2:], name)
	answer := sign(mapping(entry{1, text("aval/1")}, entry{2, bstr(key)}), signer)
	for _, b := range [][]byte{nil, {0xa1}, {0xd2}, name, answer, file(answer, nil), sign(mapping(entry{2, num(0)}), signer)} {
		if training.Is(b) {
			t.Errorf("%x: taken for a training receipt", b)
		}
	}
	if !training.Is(sign(mapping(entry{1, text("aval-training-receipt/9")}), signer)) {
		t.Error("a later version is not recognised, and so not refused by its name")
	}
}

// TestPublicOpenings shows parts; none of the hidden ones can be found in the
// file.
func TestPublicOpenings(t *testing.T) {
	f, err := training.ParseFile(file(base().signed(), opening()))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[training.Part][]byte{
		training.PartSetup: []byte(`{"layers":1}`), training.PartConfig: config, training.PartCheckpoints: fill(0x12),
		training.PartLog: records[2], training.PartData: saltOf("data"), training.PartValidation: saltOf("validation"),
	}
	for shown := range training.Whole + 1 {
		o := f.Opening.Select(shown)
		if o.Parts() != shown {
			t.Fatalf("%b shows %b", shown, o.Parts())
		}
		b, err := (&training.File{Receipt: f.Receipt, Opening: o}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for part, value := range parts {
			if got, want := bytes.Contains(b, value), shown&part != 0; got != want {
				t.Errorf("%b shown: part %b is in the file: %t", shown, part, got)
			}
		}
		r := training.Offline(b, training.Options{Now: time.Unix(1_790_000_100, 0)})
		if r.Verdict() != receipt.Unverified {
			t.Errorf("%b shown:\n%s", shown, &r)
		}
	}
	if _, ok := f.Opening.Record(4); ok {
		t.Error("there is no step 4")
	}
	if _, ok := (*training.Opening)(nil).Record(0); ok || (*training.Opening)(nil).Points() != nil {
		t.Error("nothing shows something")
	}
	if _, err := f.Opening.Log.Range(2, 5); err == nil {
		t.Error("a range beyond the log")
	}
}

// TestSignRefuses: nothing is signed that could not be read.
func TestSignRefuses(t *testing.T) {
	r, err := training.Parse(base().signed())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *training.Claims){
		"another key":   func(c *training.Claims) { c.Key = bytes.Repeat([]byte{1}, 32) },
		"no time":       func(c *training.Claims) { c.Time = 0 },
		"an old kind":   func(c *training.Claims) { c.Kind = 9 },
		"no steps":      func(c *training.Claims) { c.Steps = 0 },
		"no nonce in 7": func(c *training.Claims) { c.Nonce = make([]byte, 7) },
	} {
		c := r.Claims()
		change(&c)
		if _, err := training.Sign(c, signer); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := training.Sign(r.Claims(), signer[:10]); err == nil {
		t.Error("signed with a part of a key")
	}
	var none training.Receipt
	if err := none.Verify(); err == nil {
		t.Error("no receipt is signed")
	}
}

// TestHostileSchedule: a configuration cannot make a check list states without
// end.
func TestHostileSchedule(t *testing.T) {
	every := configWith(7, 1<<30, 1)
	list := [][]byte{point(0, 1), point(1<<30, 2)}
	c := base().with(7, num(1<<30)).with(5, bstr(hashOf("aval training config/1", saltOf("config"), every))).
		with(8, array(num(2), bstr(listRoot(saltOf("checkpoints"), list...)))).
		with(10, array(num(1<<30), bstr(fill(2)), num(0), bstr(fill(3)), text("f32")))
	b := file(c.signed(), opening(entry{2, array(bstr(saltOf("config")), bstr(every))}, entry{4, nil},
		entry{3, array(bstr(saltOf("checkpoints")), bstr(bytes.Join(list, nil)))}))
	start := time.Now()
	r := training.Offline(b, training.Options{})
	if bad := r.Failed(); bad == nil || bad.Name != training.CheckCheckpoints {
		t.Errorf("%s", &r)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v", d)
	}
}

// FuzzParse: what is taken is one encoding of its claims.
func FuzzParse(f *testing.F) {
	for _, v := range append(goodReceipts(), badReceipts()...) {
		f.Add(v.raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := training.Parse(data)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), data) {
			t.Error("it reads as another receipt")
		}
		c := r.Claims()
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		c.Key = nil
		again, err := training.Sign(c, signer)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes()[:20], data[:20]) {
			t.Error("signed again it begins otherwise")
		}
		_ = r.Verify()
	})
}

// FuzzFile: what is taken is written as the same bytes, and the checks of
// anything come to an end.
func FuzzFile(f *testing.F) {
	set, _ := readVectors(f)
	for _, v := range set.Files {
		f.Add([]byte(v.File))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		report := training.Offline(data, training.Options{Now: time.Unix(1_790_000_000, 0)})
		if report.Verdict() == receipt.Valid || len(report.Checks) == 0 {
			t.Errorf("%s", report.String())
		}
		file, err := training.ParseFile(data)
		if err != nil {
			return
		}
		again, err := file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, data) && !bytes.Equal(file.Receipt.Bytes(), data) {
			t.Errorf("%x is written as %x", data, again)
		}
		if !training.Is(data) {
			t.Error("it is not recognised")
		}
	})
}

// FuzzGiven: examples that are taken are written as the same bytes.
func FuzzGiven(f *testing.F) {
	for _, v := range givenVectors() {
		f.Add([]byte(v.File))
	}
	r, err := training.Parse(base().signed())
	if err != nil {
		f.Fatal(err)
	}
	c := r.Claims()
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := training.ParseGiven(data)
		if err != nil {
			return
		}
		again, err := g.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x is written as %x (%v)", data, again, err)
		}
		g.Check(r.Hash(), &c)
		for i := range g.Examples {
			if b, ok := g.Find(g.Examples[i].Index); !ok || !bytes.Equal(b, g.Examples[i].Bytes) {
				t.Error("an example is not found")
			}
		}
	})
}

// TestRangeBeyond: a range that no run has is refused as it is read, also where
// its beginning would be a negative number of 32 bits.
func TestRangeBeyond(t *testing.T) {
	for _, head := range [][]byte{{0x1a, 0xff, 0xff, 0xff, 0xff}, {0x1a, 0x80, 0, 0, 0}, {0x1a, 0x40, 0, 0, 1}} {
		var r training.Range
		if err := r.UnmarshalCBOR(slices.Concat([]byte{0x84}, head, []byte{0x40, 0x40, 0x40})); err == nil {
			t.Errorf("%x: a range from %d on", head, r.From)
		}
	}
}
