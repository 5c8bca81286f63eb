package decode

import (
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/eeg/signal"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train/net"
)

// Recording is the epochs of one recording of one person.
type Recording struct {
	Person, Name string
	Epochs       *signal.Epochs // what the net sees
	Microvolts   *signal.Epochs // the same epochs, not standardised
}

// Result is what was measured on the recordings of one person.
type Result struct {
	Person     string
	Recordings int
	Raw        AUC // of the linear discriminant on microvolts
	LDA        AUC // of the linear discriminant on the same input as the net
	Net        AUC
	Int8       AUC // of the net with int8 weights and activations
	More       AUC // net less linear discriminant: Value and Variance
	Loss       AUC // net less int8 net
}

// WithinPersons measures, for each person with at least two recordings,
// classifiers trained on the person's other recordings (leave one recording
// out).
func WithinPersons(m *tensor.Machine, o Options, recs []Recording) ([]Result, error) {
	return measure(m, o, recs, func(test, other *Recording) bool {
		return test != other && test.Person == other.Person
	})
}

// AcrossPersons measures, on the recordings of each person, one classifier
// trained on those of all others (leave one person out).
func AcrossPersons(m *tensor.Machine, o Options, recs []Recording) ([]Result, error) {
	return measure(m, o, recs, func(test, other *Recording) bool { return test.Person != other.Person })
}

// measure tests each recording with classifiers trained on those that use
// allows.
func measure(m *tensor.Machine, o Options, recs []Recording, use func(test, other *Recording) bool) ([]Result, error) {
	groups := map[string]*scored{}
	var persons []string
	var last *trained
	for i := range recs {
		test := &recs[i]
		var train []*Recording
		for k := range recs {
			if use(test, &recs[k]) {
				train = append(train, &recs[k])
			}
		}
		if len(train) == 0 {
			continue
		}
		if last == nil || !slices.Equal(last.on, train) { // of one person all have the same
			var err error
			if last, err = fit(m, o, train); err != nil {
				return nil, fmt.Errorf("testing %s of %s: %w", test.Name, test.Person, err)
			}
		}
		g := groups[test.Person]
		if g == nil {
			g = &scored{}
			groups[test.Person] = g
			persons = append(persons, test.Person)
		}
		if err := g.score(last, test); err != nil {
			return nil, fmt.Errorf("testing %s of %s: %w", test.Name, test.Person, err)
		}
	}
	var out []Result
	for _, p := range persons {
		r, err := groups[p].result()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		r.Person = p
		out = append(out, r)
	}
	return out, nil
}

// trained are the classifiers that were trained on some recordings.
type trained struct {
	on       []*Recording
	raw, lda *LDA
	net      *net.Net
	small    *net.Int8
}

func fit(m *tensor.Machine, o Options, on []*Recording) (*trained, error) {
	t := &trained{on: on}
	var sets, raw []*signal.Epochs
	for _, r := range on {
		sets, raw = append(sets, r.Epochs), append(raw, r.Microvolts)
	}
	var err error
	if t.lda, err = TrainLDA(vectors(sets...)); err != nil {
		return nil, err
	}
	if t.raw, err = TrainLDA(vectors(raw...)); err != nil {
		return nil, err
	}
	if t.net, err = Train(m, o, sets...); err != nil {
		return nil, err
	}
	list, _, err := examples(sets)
	if err != nil {
		return nil, err
	}
	t.small, err = net.Quantize(t.net, list)
	return t, err
}

// vectors gives epochs as a linear discriminant takes them.
func vectors(sets ...*signal.Epochs) (features [][]float64, labels []int32) {
	for _, e := range sets {
		for i := range e.Len() {
			x := make([]float64, 0, e.Channels*e.Samples)
			for _, v := range e.At(i) {
				x = append(x, float64(v))
			}
			features = append(features, x)
		}
		labels = append(labels, e.Labels...)
	}
	return features, labels
}

// scored holds what the classifiers said, a group for each recording.
type scored struct{ raw, lda, net, small []Group }

func (s *scored) score(t *trained, test *Recording) error {
	linear := func(l *LDA, e *signal.Epochs) []float64 {
		x, _ := vectors(e)
		out := make([]float64, len(x))
		for i := range x {
			out[i] = l.Score(x[i])
		}
		return out
	}
	list, _, err := examples([]*signal.Epochs{test.Epochs})
	if err != nil {
		return err
	}
	full, err := netScores(t.net, list)
	if err != nil {
		return err
	}
	small, err := netScores(t.small, list)
	if err != nil {
		return err
	}
	lda := linear(t.lda, test.Epochs)
	labels := test.Epochs.Labels
	s.raw = append(s.raw, Group{Labels: labels, Scores: linear(t.raw, test.Microvolts)})
	s.lda = append(s.lda, Group{Labels: labels, Scores: lda})
	s.net = append(s.net, Group{Labels: labels, Scores: full, Other: lda})
	s.small = append(s.small, Group{Labels: labels, Scores: small, Other: full})
	return nil
}

func (s *scored) result() (Result, error) {
	r := Result{Recordings: len(s.net)}
	var err error
	for _, c := range []struct {
		to     *AUC
		groups []Group
		area   func([]Group) (AUC, error)
	}{
		{&r.Raw, s.raw, Area},
		{&r.LDA, s.lda, Area},
		{&r.Net, s.net, Area},
		{&r.Int8, s.small, Area},
		{&r.More, s.net, Compare},
		{&r.Loss, s.small, Compare},
	} {
		if *c.to, err = c.area(c.groups); err != nil {
			return r, err
		}
	}
	r.Loss.Value = -r.Loss.Value
	return r, nil
}
