package audit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/spec/vectors"
)

var update = flag.Bool("update", false, "write spec/vectors/trace.json anew")

const vectorFile = "../../spec/vectors/trace.json"

// hexBytes is a byte string in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// The shape of trace.json; spec/trace.md section 7 explains it.
type vectorSet struct {
	Spec       string            `json:"spec"`
	States     []stateVector     `json:"states"`
	Traces     []traceVector     `json:"traces"`
	Openings   []openingVector   `json:"openings"`
	Challenges []challengeVector `json:"challenges"`
	Detection  []detectionVector `json:"detection"`
	Samples    []sampleVector    `json:"samples"`
}

type sampleVector struct {
	LayerCells    int     `json:"layer_cells"`
	OutputCells   int     `json:"output_cells"`
	SampleLayers  int     `json:"sample_layers"`
	SampleOutputs int     `json:"sample_outputs"`
	Wrong         int     `json:"wrong"`
	Probability   float64 `json:"probability"`
}

type stateVector struct {
	X      hexBytes   `json:"x"`
	KV     hexBytes   `json:"kv"`
	XRoot  canon.Hash `json:"x_root"`
	KVRoot canon.Hash `json:"kv_root"`
	State  canon.Hash `json:"state"`
}

type traceVector struct {
	Layers     int          `json:"layers"`
	Positions  int          `json:"positions"`
	States     []canon.Hash `json:"states"`
	LayerRoots []canon.Hash `json:"layer_roots"`
	Root       canon.Hash   `json:"root"`
	Salt       hexBytes     `json:"salt"`
	Commitment canon.Hash   `json:"commitment"`
}

type openingVector struct {
	Name       string     `json:"name"`
	Opening    hexBytes   `json:"opening"`
	Commitment canon.Hash `json:"commitment"`
	X          int        `json:"x"`  // numbers of x
	KV         int        `json:"kv"` // numbers of kv
	Fails      string     `json:"fails,omitempty"`
}

type challengeVector struct {
	Name      string   `json:"name"`
	Challenge hexBytes `json:"challenge"`
	Fails     string   `json:"fails,omitempty"`
	Layers    int      `json:"layers,omitempty"`
	Positions int      `json:"positions,omitempty"`
	Drawn     int      `json:"drawn,omitempty"`
	Cells     [][2]int `json:"layer_cells,omitempty"`
	Outputs   []int    `json:"output_cells,omitempty"`
}

type detectionVector struct {
	All         int     `json:"all"`
	Wrong       int     `json:"wrong"`
	Sample      int     `json:"sample"`
	Probability float64 `json:"probability"`
}

// refusals are what errors say for each "fails".
var refusals = map[string]string{
	"encoding":   "canonical CBOR",
	"numbers":    "want",
	"order":      "after position",
	"commitment": "give the commitment",
	"length":     "bytes, want",
	"proof":      "hashes for leaves",
	"root":       "are not those of the layer's root",
	"protocol":   "of the protocol",
}

// bytesOf are n made-up bytes.
func bytesOf(n, seed int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x>>24) & 0x3f // finite as f32 and f16
	}
	return b
}

const (
	vectorX, vectorKV = 9, 12 // numbers of a state of the openings
)

// vectorRun are the states of a run of 3 layers and 5 positions.
func vectorRun() *states {
	s := &states{layers: 3, positions: 5}
	for i := range s.layers * s.positions {
		s.x = append(s.x, bytesOf(4*vectorX, 2*i))
		s.kv = append(s.kv, bytesOf(2*vectorKV, 2*i+1))
	}
	return s
}

// vectorOpening shows kv of positions 0 to 3 of layer 1 with x of the last, and
// x of its inputs and of an output.
func vectorOpening(t *testing.T, s *states) (*trace.Opening, canon.Hash) {
	t.Helper()
	tree, salt := s.tree(t), bytesOf(16, 99)
	o := trace.NewOpening(tree, salt)
	shown := func(l, p int, whole trace.Whole) trace.Shown {
		v := trace.Shown{Whole: whole, X: slices.Clone(s.x[l*s.positions+p]), KV: slices.Clone(s.kv[l*s.positions+p])}
		if whole&trace.WholeX == 0 {
			h := trace.VectorRoot(v.X)
			v.X = h[:]
		}
		if whole&trace.WholeKV == 0 {
			h := trace.VectorRoot(v.KV)
			v.KV = h[:]
		}
		return v
	}
	o.Add(tree, 0, 3, []trace.Shown{shown(0, 3, trace.WholeX)})
	o.Add(tree, 1, 0, []trace.Shown{
		shown(1, 0, trace.WholeKV), shown(1, 1, trace.WholeKV), shown(1, 2, trace.WholeKV), shown(1, 3, trace.WholeX|trace.WholeKV),
	})
	o.Add(tree, 2, 4, []trace.Shown{shown(2, 4, trace.WholeX)})
	return o, tree.Commitment(salt)
}

// newVectors makes the vectors.
func newVectors(t *testing.T) *vectorSet {
	t.Helper()
	v := &vectorSet{Spec: "spec/trace.md"}
	for i, n := range [][2]int{{4, 2}, {2048, 2048}, {2052, 2046}, {6144, 4098}} {
		x, kv := bytesOf(n[0], 200+i), bytesOf(n[1], 300+i)
		v.States = append(v.States, stateVector{x, kv, trace.VectorRoot(x), trace.VectorRoot(kv), trace.State(x, kv)})
	}
	for i, n := range [][2]int{{1, 1}, {2, 3}, {3, 8}} {
		var hashes []canon.Hash
		for j := range n[0] * n[1] {
			hashes = append(hashes, canon.Leaf(bytesOf(8, 400+100*i+j)))
		}
		tree, err := trace.NewTree(hashes, n[0], n[1])
		if err != nil {
			t.Fatal(err)
		}
		salt := bytesOf(16, 500+i)
		v.Traces = append(v.Traces, traceVector{n[0], n[1], hashes, tree.LayerRoots(), tree.Root(), salt, tree.Commitment(salt)})
	}
	for _, c := range []struct {
		name, fails string
		change      func(o *trace.Opening)
	}{
		{"cells of layer 1 and an output", "", func(*trace.Opening) {}},
		{"nothing is shown", "", func(o *trace.Opening) { o.Parts = []trace.Part{} }},
		{"another number of x", "root", func(o *trace.Opening) { o.Parts[0].States[0].X[5] ^= 1 }},
		{"another number of kv", "root", func(o *trace.Opening) { o.Parts[1].States[2].KV[5] ^= 1 }},
		{"another root", "root", func(o *trace.Opening) { o.Parts[1].States[2].X[5] ^= 1 }},
		{"at another position", "root", func(o *trace.Opening) { o.Parts[0].From = 2 }},
		{"another proof", "root", func(o *trace.Opening) { o.Parts[1].Proof[0][0] ^= 1 }},
		{"a short proof", "proof", func(o *trace.Opening) { o.Parts[0].Proof = o.Parts[0].Proof[1:] }},
		{"a short x", "length", func(o *trace.Opening) { o.Parts[0].States[0].X = o.Parts[0].States[0].X[4:] }},
		{"a vector said to be a root", "length", func(o *trace.Opening) { o.Parts[0].States[0].Whole = 0 }},
		{"another salt", "commitment", func(o *trace.Opening) { o.Salt = bytesOf(16, 98) }},
		{"another root of a layer", "commitment", func(o *trace.Opening) { o.Roots = slices.Clone(o.Roots); o.Roots[2][0] ^= 1 }},
		{"more positions", "commitment", func(o *trace.Opening) { o.Positions++ }},
		{"parts in another order", "order", func(o *trace.Opening) { o.Parts[0], o.Parts[1] = o.Parts[1], o.Parts[0] }},
		{"a part twice", "order", func(o *trace.Opening) { o.Parts = append(o.Parts, o.Parts[2]) }},
		{"beyond the last position", "order", func(o *trace.Opening) { o.Parts[2].From++ }},
		{"an empty part", "order", func(o *trace.Opening) { o.Parts[2].States = []trace.Shown{} }},
		{"too many layers", "numbers", func(o *trace.Opening) { o.Layers = 1025 }},
	} {
		o, commitment := vectorOpening(t, vectorRun())
		c.change(o)
		data, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		v.Openings = append(v.Openings, openingVector{c.name, data, commitment, vectorX, vectorKV, c.fails})
	}
	whole, nothing := v.Openings[0], slices.Clone(v.Openings[1].Opening)
	nothing[len(nothing)-1] = 0xf6
	v.Openings = append(v.Openings,
		openingVector{"cut", whole.Opening[:len(whole.Opening)-1], whole.Commitment, vectorX, vectorKV, "encoding"},
		openingVector{"a longer number", append([]byte{0xa5, 0x01, 0x18, 0x03}, whole.Opening[3:]...), whole.Commitment, vectorX, vectorKV, "encoding"},
		openingVector{"null for no parts", nothing, whole.Commitment, vectorX, vectorKV, "encoding"},
	)
	for _, c := range []audit.Challenge{
		{Receipt: canon.Hash{1}, Random: [32]byte{2}, Layers: 5, Outputs: 3},
		{Receipt: canon.Hash(bytesOf(32, 7)), Random: [32]byte(bytesOf(32, 8)), Layers: 12, Outputs: 0},
		{Receipt: canon.Hash(bytesOf(32, 7)), Random: [32]byte(bytesOf(32, 9)), Layers: 0, Outputs: 100},
	} {
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		x := challengeVector{Name: "a challenge", Challenge: data, Layers: 24, Positions: 319, Drawn: 256}
		cells, outputs := c.Cells(x.Layers, x.Positions, x.Drawn)
		for _, cell := range cells {
			x.Cells = append(x.Cells, [2]int{cell.Layer, cell.Position})
		}
		x.Outputs = outputs
		v.Challenges = append(v.Challenges, x)
	}
	good := v.Challenges[0].Challenge
	none, err := (&audit.Challenge{}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	many, err := (&audit.Challenge{Layers: audit.MaxCells + 1}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	v.Challenges = append(v.Challenges,
		challengeVector{Name: "asks for nothing", Challenge: none, Fails: "numbers"},
		challengeVector{Name: "asks for too many", Challenge: many, Fails: "numbers"},
		challengeVector{Name: "another protocol", Challenge: bytes.Replace(good, []byte("audit/1"), []byte("audit/2"), 1), Fails: "protocol"},
		challengeVector{Name: "cut", Challenge: good[:len(good)-1], Fails: "encoding"},
	)
	for _, d := range []detectionVector{{All: 7656, Wrong: 383, Sample: 90}, {All: 256, Wrong: 13, Sample: 75}, {All: 256, Wrong: 1, Sample: 75}, {All: 10, Wrong: 5, Sample: 6}} {
		d.Probability = audit.Detection(d.All, d.Wrong, d.Sample)
		v.Detection = append(v.Detection, d)
	}
	for _, all := range []audit.Kinds{{Layers: 9570, Outputs: 256}, {Layers: 319, Outputs: 256}, {Layers: 40, Outputs: 6}} {
		n, wrong := audit.DefaultSample(all), audit.ShareOf(all.Layers+all.Outputs, audit.DefaultShare)
		v.Samples = append(v.Samples, sampleVector{all.Layers, all.Outputs, n.Layers, n.Outputs, wrong, audit.DetectionOf(all, wrong, n)})
	}
	return v
}

// TestVectors reads spec/vectors/trace.json.
func TestVectors(t *testing.T) {
	if *update {
		data, err := json.MarshalIndent(newVectors(t), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := fs.ReadFile(vectors.FS, "trace.json")
	if *update {
		data, err = os.ReadFile(vectorFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	var v vectorSet
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(newVectors(t), &v, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("other vectors than these tests make, run go test ./internal/audit -run Vectors -update:\n%s", diff)
	}
	for i, s := range v.States {
		if trace.VectorRoot(s.X) != s.XRoot || trace.VectorRoot(s.KV) != s.KVRoot || trace.StateOf(s.XRoot, s.KVRoot) != s.State {
			t.Errorf("state %d: other hashes", i)
		}
	}
	for i, x := range v.Traces {
		tree, err := trace.NewTree(x.States, x.Layers, x.Positions)
		if err != nil || tree.Root() != x.Root || tree.Commitment(x.Salt) != x.Commitment || !slices.Equal(tree.LayerRoots(), x.LayerRoots) {
			t.Errorf("trace %d: other hashes (%v)", i, err)
		}
	}
	for _, x := range v.Openings {
		o, err := trace.Decode(x.Opening)
		if err == nil {
			err = o.Verify(x.Commitment, trace.Shape{X: x.X, KV: x.KV})
		}
		checkRefusal(t, x.Name, x.Fails, err)
	}
	for _, x := range v.Challenges {
		c, err := audit.DecodeChallenge(x.Challenge)
		checkRefusal(t, x.Name, x.Fails, err)
		if err != nil {
			continue
		}
		cells, outputs := c.Cells(x.Layers, x.Positions, x.Drawn)
		var pairs [][2]int
		for _, cell := range cells {
			pairs = append(pairs, [2]int{cell.Layer, cell.Position})
		}
		if !slices.Equal(pairs, x.Cells) || !slices.Equal(outputs, x.Outputs) {
			t.Errorf("%s: other cells", x.Name)
		}
	}
	for _, x := range v.Samples {
		all, n := audit.Kinds{Layers: x.LayerCells, Outputs: x.OutputCells}, audit.Kinds{Layers: x.SampleLayers, Outputs: x.SampleOutputs}
		if got := audit.DefaultSample(all); got != n {
			t.Errorf("%+v: a sample of %+v", x, got)
		}
		if got := audit.DetectionOf(all, x.Wrong, n); math.Abs(got-x.Probability) > 1e-12 {
			t.Errorf("%+v: %v", x, got)
		}
	}
	for _, x := range v.Detection {
		if got := audit.Detection(x.All, x.Wrong, x.Sample); math.Abs(got-x.Probability) > 1e-12 {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

func checkRefusal(t *testing.T, name, fails string, err error) {
	t.Helper()
	switch want, known := refusals[fails]; {
	case fails == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case fails != "" && (err == nil || !known || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: %v, want an error of kind %q", name, err, fails)
	}
}
