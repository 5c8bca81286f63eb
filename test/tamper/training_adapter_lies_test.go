package tamper_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// sentences are examples of tokens.
type sentences []train.Example

func (l sentences) Len() int                             { return len(l) }
func (l sentences) Example(i int) (train.Example, error) { return l[i], nil }

func (l sentences) Bytes(i int) ([]byte, error) {
	var b []byte
	for _, id := range l[i].Tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return b, nil
}

func someSentences() sentences {
	r := train.NewRandom(5, "sentences", 0)
	out := make(sentences, 9)
	for i := range out {
		for range 8 {
			out[i].Tokens = append(out[i].Tokens, int32(r.Below(uint64(len(words)))))
		}
	}
	return out
}

// adapting is how an adapter is trained.
type adapting struct {
	base string // the model's file
	lora lm.LoRA
	from func(m *lm.Model) // changes the beginning; nil: not
}

func adapterOf() lm.LoRA { return lm.LoRA{Rank: 2, Targets: []string{"attn_q", "attn_v"}, Seed: 7} }

// subject makes the learner of such a training.
func (a adapting) subject(t testing.TB) *record.Subject {
	t.Helper()
	f, err := gguf.Open(a.base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := lm.Open(f, lm.Options{LoRA: &a.lora, Context: 32, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if a.from != nil {
		a.from(m)
	}
	return &record.Subject{
		Machine: m.Machine(), Learner: m, Data: someSentences(),
		Export: func(path, _ string) error { return m.Adapter().Write(path) },
	}
}

// adapted trains an adapter for six steps, and says that it was beside the model
// with the fingerprint of another file.
func (a adapting) adapted(t testing.TB, claimed string) *homework {
	t.Helper()
	s := a.subject(t)
	c := train.DefaultConfig(train.AdamW)
	c.Seed, c.Steps, c.Batch, c.LearningRate, c.CheckpointEvery = 7, 6, 2, 0.01, 2
	tr, err := train.NewTrainer(s.Machine, c, s.Learner, s.Data)
	if err != nil {
		t.Fatal(err)
	}
	o := record.Options{
		Kind: training.LoRA, Base: artefactOf(t, claimed).Hash, Salt: receipt.Salt{3},
		Setup: training.Setup{Learner: []byte("rank 2, attn_q and attn_v"), Data: []byte("sentences"), Seed: 7},
	}
	r, err := record.New(tr, s.Data, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	for tr.Done() < c.Steps {
		rec, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(tr, rec); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := s.Export(path, "lora"); err != nil {
		t.Fatal(err)
	}
	f, err := r.Finish(record.Result{File: artefactOf(t, path), Format: "lora"}, liar, now)
	if err != nil {
		t.Fatal(err)
	}
	honest := adapting{base: claimed, lora: adapterOf()}
	return &homework{file: f, subject: honest.subject, base: o.Base}
}

func artefactOf(t testing.TB, path string) record.Artefact {
	t.Helper()
	a, err := record.FileOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var trainingAdapterLies = []trainingLie{
	{name: "an adapter trained beside another model", computed: training.CheckSteps, forge: func(t *testing.T, _ *school) *homework {
		m := honestModel(t)
		claimed := m.write(t)
		other := m.clone()
		oneWeight(-40)(t, other)
		return adapting{base: other.write(t), lora: adapterOf()}.adapted(t, claimed).at("step 0: the loss is ")
	}},
	{name: "another model at hand than the one named", computed: training.CheckBase, forge: func(t *testing.T, _ *school) *homework {
		m := honestModel(t)
		claimed := m.write(t)
		h := adapting{base: claimed, lora: adapterOf()}.adapted(t, claimed)
		other := m.clone()
		oneWeight(-40)(t, other)
		path := other.write(t)
		h.subject, h.base = adapting{base: path, lora: adapterOf()}.subject, artefactOf(t, path).Hash
		return h.at("the file at hand is ")
	}},
	{name: "an adapter of another rank than the setup says", computed: training.CheckStart, forge: func(t *testing.T, _ *school) *homework {
		base := honestModel(t).write(t)
		a := adapting{base: base, lora: adapterOf()}
		a.lora.Rank = 3
		return a.adapted(t, base).at("after step 0: the root is ")
	}},
	{name: "an adapter of other matrices than the setup says", computed: training.CheckStart, forge: func(t *testing.T, _ *school) *homework {
		base := honestModel(t).write(t)
		a := adapting{base: base, lora: adapterOf()}
		a.lora.Targets = []string{"attn_q", "attn_k"}
		return a.adapted(t, base).at("after step 0: the root is ")
	}},
	{name: "an adapter that began as another one", computed: training.CheckStart, forge: func(t *testing.T, _ *school) *homework {
		base := honestModel(t).write(t)
		a := adapting{base: base, lora: adapterOf(), from: func(m *lm.Model) { m.Params()[1].Data[0] = 1 }}
		return a.adapted(t, base).at("after step 0: the root is ")
	}},
	{name: "another alpha than the setup says", computed: training.CheckSteps, forge: func(t *testing.T, _ *school) *homework {
		base := honestModel(t).write(t)
		a := adapting{base: base, lora: adapterOf()}
		a.lora.Alpha = 8
		return a.adapted(t, base).at("step 0: ")
	}},
}

// TestAdapterHonest: what is honest passes every check.
func TestAdapterHonest(t *testing.T) {
	base := honestModel(t).write(t)
	h := adapting{base: base, lora: adapterOf()}.adapted(t, base)
	f, report := h.offline()
	if bad := report.Failed(); bad != nil {
		t.Fatal(bad)
	}
	if out := h.computed(t, f, 0, 0); out.Report.Verdict() != receipt.Valid {
		t.Errorf("%s", &out.Report)
	}
}
