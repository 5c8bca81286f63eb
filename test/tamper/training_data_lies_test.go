package tamper_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// uses is the first step from a step on that uses an example.
func uses(t *testing.T, s *school, example, from int) int {
	t.Helper()
	o, err := train.NewOrder(trainSeed, len(s.data))
	if err != nil {
		t.Fatal(err)
	}
	for step := from; step < trainSteps; step++ {
		if slices.Contains(o.Step(step, trainConfig().Batch), example) {
			return step
		}
	}
	t.Fatalf("no step from %d on uses example %d", from, example)
	return 0
}

// lied trains on other data, and commits to the right one.
func lied(change func(d table) table) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		p := s.plan()
		d := change(s.data.clone())
		p.data = d
		first := trainSteps
		for i := range d {
			if !bytes.Equal(dataset.Canonical(&d[i]), dataset.Canonical(&s.data[i])) {
				first = min(first, uses(t, s, i, 0))
			}
		}
		return s.teach(t, p).sign(t).at(fmt.Sprintf("step %d: ", first))
	}
}

// switching is data that is another one from a step on, for so many steps.
type switching struct {
	right, wrong table
	lesson       func() *lesson
	from, to     int
}

func (d *switching) Len() int { return len(d.right) }

func (d *switching) Example(i int) (train.Example, error) {
	if l := d.lesson(); l != nil && l.trainer.Done() >= d.from && l.trainer.Done() < d.to {
		return d.wrong[i], nil
	}
	return d.right[i], nil
}

var dataLies = []trainingLie{
	{name: "one label flipped", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[17].Label = (d[17].Label + 1) % 3
		return d
	})},
	{name: "one input changed a little", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[30].Input[2] = math.Float32frombits(math.Float32bits(d[30].Input[2]) ^ 1<<8)
		return d
	})},
	{name: "one input changed in its last bit", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		d := s.data.clone()
		d[30].Input[2] = math.Float32frombits(math.Float32bits(d[30].Input[2]) ^ 1)
		p.data = d
		// The example is used in step 1 first; loss and norm of it are rounded to
		// the same, the weights after it are not.
		return s.teach(t, p).sign(t).at("step 2: the loss is ")
	}},
	{name: "an example replaced by another one of the data", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[5] = d[6]
		return d
	})},
	{name: "two examples exchanged", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[3], d[4] = d[4], d[3]
		return d
	})},
	{name: "all labels turned", computed: training.CheckSteps, forge: lied(func(d table) table {
		for i := range d {
			d[i].Label = 2 - d[i].Label
		}
		return d
	})},
	{name: "a poisoned batch in one step, then honest again", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		wrong := s.data.clone()
		for i := range wrong {
			wrong[i].Label = 0
		}
		var l *lesson
		p := s.plan()
		p.data = &switching{s.data, wrong, func() *lesson { return l }, 16, 17}
		p.before = func(_ int, now *lesson) { l = now }
		return s.teach(t, p).sign(t).at("step 16: ").only(14, 21)
	}},
	{name: "other data, openly committed to, than the one at hand", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		other := &school{rows(3, 41), s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.examples = s.data
		return h.at("are not those that the receipt commits to")
	}},
	{name: "other data, openly committed to, than the one expected", offline: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		other := &school{rows(3, 41), s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.expect.Data = training.Hash{1}
		return h.at("expected 01")
	}},
	{name: "more examples than those at hand", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		other := &school{append(s.data.clone(), rows(3, 1)...), s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.examples = s.data
		return h.at("there are 41 examples, the run had 42")
	}},
	{name: "another number of examples claimed", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Data.Count = 400
		return l.sign(t).at("there are 41 examples, the run had 400")
	}},
	{name: "the same examples in another order", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		d := s.data.clone()
		slices.Reverse(d)
		other := &school{d, s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.examples = s.data
		return h.at("or in another order")
	}},
	{name: "data that nobody has: a root that was made up", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Data.Root = canon.Sum("no data at all")
		return l.sign(t).at("are not those that the receipt commits to")
	}},
	{name: "another salt shown with the data", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.opening.Data = &receipt.Salt{1}
		return l.sign(t).at("are not those that the receipt commits to")
	}},
	{name: "to an auditor: one example in the place of another", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples[3].Bytes, g.Examples[4].Bytes = g.Examples[4].Bytes, g.Examples[3].Bytes
	}, "with its salt and proof it does not hash")},
	{name: "to an auditor: an example with another label", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples[7].Bytes = slices.Clone(g.Examples[7].Bytes)
		g.Examples[7].Bytes[0] ^= 1
	}, "with its salt and proof it does not hash")},
	{name: "to an auditor: an example that says it is another one", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples = g.Examples[1:]
		g.Examples[0].Index = 0
	}, "example 0: ")},
	{name: "to an auditor: examples of another receipt", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Receipt[0] ^= 1
	}, "given for another receipt")},
	{name: "to an auditor: a proof that is cut", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples[0].Proof = g.Examples[0].Proof[32:]
	}, "example 0: ")},
}

// given hands over all examples one by one, and changes them.
func given(change func(g *training.Given, s *school), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		salt := *h.file.Opening.Data
		leaves, err := training.ExampleLeaves(salt, len(s.data), s.data.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]int, len(s.data))
		for i := range all {
			all[i] = i
		}
		if h.given, err = training.Give(h.file.Receipt.Hash(), salt, leaves, all, s.data.Bytes); err != nil {
			t.Fatal(err)
		}
		h.examples = nil
		change(h.given, s)
		return h.at(detail)
	}
}
