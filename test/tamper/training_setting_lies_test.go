package tamper_test

import (
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/receipt/training"
)

// configured trains with other settings than are claimed.
func configured(change func(p *plan), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		p := s.plan()
		change(&p)
		h := s.teach(t, p).sign(t)
		h.files = nil // they name the other settings
		return h.at(detail)
	}
}

var settingLies = []trainingLie{
	{name: "a higher learning rate than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.LearningRate = 0.03 }, "step 1: the loss is ")},
	{name: "another schedule than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Schedule = train.Linear }, "step 5: the loss is ")},
	{name: "no warm-up, which was claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Warmup = 0 }, "step 1: the loss is ")},
	{name: "no clipping, which was claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Clip = 0 }, "step ")},
	{name: "another decay of the weights", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.WeightDecay = 0.02 }, "step 1: ")},
	{name: "another beta of the optimiser", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Beta2 = 0.99 }, "step ")},
	{name: "another optimiser", computed: training.CheckStart, forge: configured(func(p *plan) {
		p.config.Optimizer, p.config.Beta1, p.config.Beta2, p.config.Epsilon = train.SGD, 0, 0, 0
	}, "after step 0: the root is ")},
	{name: "another seed of the order than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Seed = 12 }, "step 0: the loss is ")},
	{name: "larger batches than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Batch, p.config.MicroBatch = 6, 6 }, "step 0: the loss is ")},
	{name: "examples cut where their gradients are large", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.ExampleClip, p.config.MicroBatch = 0.5, 1 }, "step 0: the norm of the gradient is ")},
	{name: "no dropout, which was claimed", computed: training.CheckSteps, forge: configured(func(p *plan) {
		p.spec.Layers = slices.Clone(p.spec.Layers)
		p.spec.Layers[3].Rate = 0
	}, "step 0: the loss is ")},
	{name: "other random numbers at the beginning", computed: training.CheckStart, forge: configured(func(p *plan) { p.seed = 12 }, "after step 0: the root is ")},
	{name: "a beginning that was trained before", computed: training.CheckStart, forge: configured(func(p *plan) {
		p.before = func(step int, l *lesson) {
			if step == 0 {
				for _, q := range l.net.Params() {
					for i := range q.Data {
						q.Data[i] += 0.125
					}
				}
			}
		}
	}, "after step 0: the root is ")},
	{name: "a beginning that was trained before, under the root of the right one", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		right := s.teach(t, s.plan())
		p := s.plan()
		p.seed = 12
		l := s.teach(t, p)
		l.points()[0] = right.points()[0]
		return l.sign(t).at("step 0: the loss is ")
	}},
	{name: "a net with another layer, under the claimed setup", computed: training.CheckStart, forge: configured(func(p *plan) {
		p.spec.Layers = slices.Clone(p.spec.Layers)
		p.spec.Layers[2] = net.Layer{Kind: net.Tanh}
		p.spec.Layers[0].Units = 9
	}, "after step 0: the root is ")},
	{name: "another activation, under the claimed setup", computed: training.CheckSteps, forge: configured(func(p *plan) {
		p.spec.Layers = slices.Clone(p.spec.Layers)
		p.spec.Layers[2] = net.Layer{Kind: net.Tanh}
	}, "step 0: the loss is ")},
	{name: "more steps than the configuration has", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := l.config
		c.Steps = 20
		return reconfigure(t, l, c).at("the run took 30 steps, and was configured for 20")
	}},
	{name: "a configuration with another learning rate, shown", offline: training.CheckRates, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := l.config
		c.LearningRate = 0.01
		return reconfigure(t, l, c).at("step 0: the log says ")
	}},
	{name: "a configuration with another weight decay, shown", computed: training.CheckStart, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := l.config
		c.WeightDecay = 0.5
		return reconfigure(t, l, c).at("after step 0: the root is ")
	}},
	{name: "a configuration that no run can have", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := training.Config(l.config)
		c.LearningRate = -1
		b, err := canon.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		l.opening.Config.Config = b
		return l.sign(t).at("no run can have it")
	}},
	{name: "another configuration shown than was signed", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		c := l.config
		c.WeightDecay = 0.5
		b, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.opening.Config.Config = b
		return h.at("does not hash to the receipt's digest")
	}},
	{name: "another setup shown than was signed", offline: training.CheckSetup, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		l.opening.Setup.Setup.Data = []byte("other rows")
		return h.at("does not hash to the receipt's digest")
	}},
	{name: "a seed of one's own, where a nonce was given", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Nonce = nonce
		l.opening.Setup.Setup.Seed = training.NonceSeed(nonce)
		return l.sign(t).at("the seed is not the one that follows from the nonce")
	}},
	{name: "a beginning of one's own, where a nonce was given", offline: training.CheckSetup, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Nonce = nonce
		c := l.config
		c.Seed = training.NonceSeed(nonce)
		return reconfigure(t, l, c).at("is not the one that follows from the nonce")
	}},
}

// reconfigure signs a run under another configuration than it had.
func reconfigure(t *testing.T, l *lesson, c train.Config) *homework {
	t.Helper()
	b, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l.opening.Config.Config = b
	return l.sign(t)
}
