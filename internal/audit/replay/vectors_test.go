package replay_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/audit/replay"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/receipt/training"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write the samples of spec/vectors/training-receipt.json anew")

// vectorFile has the fields of training-receipt.json in their order.
type vectorFile struct {
	Spec     json.RawMessage `json:"spec"`
	Suite    json.RawMessage `json:"suite"`
	Secret   json.RawMessage `json:"secret"`
	Receipts json.RawMessage `json:"receipts"`
	Salts    json.RawMessage `json:"salts"`
	Seeds    json.RawMessage `json:"seeds"`
	Examples json.RawMessage `json:"examples"`
	Files    json.RawMessage `json:"files"`
	Samples  []sampleVector  `json:"samples"`
}

type sampleVector struct {
	Receipt canon.Hash `json:"receipt"`
	Random  string     `json:"random"`
	All     int        `json:"all"`
	Sample  int        `json:"sample"`
	Chosen  []int      `json:"chosen"`
}

// TestSampleVectors holds the choice of stretches to the vectors.
func TestSampleVectors(t *testing.T) {
	raw, err := fs.ReadFile(vectors.FS, "training-receipt.json")
	if err != nil {
		t.Fatal(err)
	}
	var set vectorFile
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	var made []sampleVector
	for i, c := range [][2]int{{1, 1}, {10, 1}, {10, 3}, {10, 10}, {10, 20}, {1000, 12}, {1 << 20, 4}} {
		v := sampleVector{Receipt: canon.Sum("a receipt of vectors", []byte{byte(i)}), All: c[0], Sample: c[1]}
		random := [32]byte(canon.Sum("a random number of vectors", []byte{byte(i)}))
		v.Random = hex.EncodeToString(random[:])
		v.Chosen = replay.Choose(v.Receipt, random, v.All, v.Sample)
		made = append(made, v)
		if len(v.Chosen) != min(c[0], c[1]) || !slices.IsSorted(v.Chosen) || len(slices.Compact(slices.Clone(v.Chosen))) != len(v.Chosen) ||
			v.Chosen[0] < 0 || v.Chosen[len(v.Chosen)-1] >= v.All {
			t.Errorf("%v: chosen are %v", c, v.Chosen)
		}
	}
	diff := cmp.Diff(set.Samples, made)
	if diff == "" {
		return
	}
	if !*update {
		t.Fatalf("run with -update and look at the difference:\n%s", diff)
	}
	set.Samples = made
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&set); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("../../../spec/vectors/training-receipt.json", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestChance compares the probability with what chance does.
func TestChance(t *testing.T) {
	const all, wrong, sample, tries = 10, 2, 3, 4000
	want := replay.Chance(all, wrong, sample) // 1 - C(8,3)/C(10,3) = 0.5333
	hits := 0
	for i := range tries {
		random := [32]byte{byte(i), byte(i >> 8)}
		list := replay.Choose(training.Hash{1}, random, all, sample)
		if slices.Contains(list, 4) || slices.Contains(list, 9) {
			hits++
		}
	}
	// The deviation of the share is sqrt(p (1-p) / tries) = 0.0079; six of them
	// are exceeded with a probability below 1e-8. The draws are fixed anyway.
	if got := float64(hits) / tries; got < want-0.048 || got > want+0.048 {
		t.Errorf("%d of %d samples hold one of two wrong stretches, want a share of %.4f", hits, tries, want)
	}
}

// TestConfigIsTheSame: package training, which must not import internal/train,
// has a copy of its configuration.
func TestConfigIsTheSame(t *testing.T) {
	c := config()
	c.MinLearningRate, c.Schedule = 0.001, train.Linear
	b, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := training.ParseConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	if got != training.Config(c.Complete()) { // fields and their types, checked by the compiler
		t.Errorf("%+v", got)
	}
	again, err := canon.Marshal(got)
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x is written as %x (%v)", b, again, err)
	}
}
