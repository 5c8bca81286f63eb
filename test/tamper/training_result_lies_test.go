package tamper_test

import (
	"bytes"
	"crypto/ed25519"
	"math"
	"testing"

	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// resulted changes the claims after an honest run.
func resulted(change func(c *training.Claims), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		change(&l.claims)
		return l.sign(t).at(detail)
	}
}

var resultLies = []trainingLie{
	{name: "another file than the parameters give", computed: training.CheckResult, forge: resulted(func(c *training.Claims) { c.Result.File[5] ^= 1 }, "give the file ")},
	{name: "the file of another training", computed: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.claims.Result.File = other.claims.Result.File
		return l.sign(t).at("give the file ")
	}},
	{name: "a file changed after it was exported", computed: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.net.Params()[5].Data[0] += 0.25
		result := l.claims.Result.Parameters
		e := *l.claims.Evaluation
		l.export(t)
		l.claims.Result.Parameters, l.claims.Evaluation = result, &e
		return l.sign(t).at("give the file ")
	}},
	{name: "other parameters than those of the last state", computed: training.CheckResult, forge: resulted(func(c *training.Claims) { c.Result.Parameters[5] ^= 1 }, "the root of the parameters after step 30 is ")},
	{name: "the result of another step than claimed", computed: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.best = 21
		early := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.claims.Result.Parameters, l.claims.Result.File = early.claims.Result.Parameters, early.claims.Result.File
		return l.sign(t).at("the root of the parameters after step 30 is ")
	}},
	{name: "the start as the result, and another file", computed: training.CheckResult, forge: startAsResult(func(c *training.Claims) { c.Result.File[5] ^= 1 }, "give the file ")},
	{name: "the start as the result, and other parameters", computed: training.CheckResult, forge: startAsResult(func(c *training.Claims) { c.Result.Parameters[5] ^= 1 }, "the root of the parameters after step 0 is ")},
	{name: "the start as the result, and a better loss", computed: training.CheckEvaluation, forge: startAsResult(func(c *training.Claims) { c.Evaluation.Loss *= 0.5 }, "the loss on the validation examples is ")},
	{name: "a result from between two checkpoints", offline: training.CheckCheckpoints, forge: resulted(func(c *training.Claims) { c.Result.Step = 17 }, "there is none after step 17")},
	{name: "a file that is named in another way", computed: training.CheckResult, forge: resulted(func(c *training.Claims) { c.Result.Identity = training.Bytes }, "give the file ")},
	{name: "another file than the one at hand", offline: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Result = training.Hash{9}
		return h.at("expected 09")
	}},
	{name: "a smaller loss of the evaluation", computed: training.CheckEvaluation, forge: resulted(func(c *training.Claims) { c.Evaluation.Loss *= 0.5 }, "the loss on the validation examples is ")},
	{name: "the last bit of the loss of the evaluation", computed: training.CheckEvaluation, forge: resulted(func(c *training.Claims) {
		c.Evaluation.Loss = math.Float64frombits(math.Float64bits(c.Evaluation.Loss) ^ 1)
	}, "the loss on the validation examples is ")},
	{name: "one more right in the evaluation", computed: training.CheckEvaluation, forge: resulted(func(c *training.Claims) { c.Evaluation.Correct++ }, "17 predictions")},
	{name: "an evaluation on the examples that it was trained on", computed: training.CheckValidation, forge: func(t *testing.T, s *school) *homework {
		p := &school{s.data, s.data[:17]}
		h := p.teach(t, p.plan()).sign(t)
		h.validation = s.validation
		return h.at("are not those that the receipt commits to")
	}},
	{name: "an evaluation on those examples that are easy", computed: training.CheckEvaluation, forge: func(t *testing.T, s *school) *homework {
		p := &school{s.data, s.validation[:9]}
		easy := p.teach(t, p.plan())
		l := s.teach(t, s.plan())
		e := *easy.claims.Evaluation
		e.Data = l.claims.Evaluation.Data
		l.claims.Evaluation = &e
		return l.sign(t).at("the loss on the validation examples is ")
	}},
	{name: "an evaluation of another state than the result", computed: training.CheckEvaluation, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.best = 21
		early := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.claims.Evaluation = early.claims.Evaluation
		return l.sign(t).at("the loss on the validation examples is ")
	}},
}

var trainingFormLies = []trainingLie{
	{name: "the receipt of an older order, replayed", offline: training.CheckNonce, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Nonce = nonce
		return h.at("a replayed or other receipt")
	}},
	{name: "another nonce than the one given", offline: training.CheckNonce, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Nonce = []byte("of somebody else")
		l.opening = l.opening.Select(training.Course)
		l.opening.Setup, l.opening.Config = &training.OpenedSetup{Setup: training.Setup{Learner: []byte("x"), Data: []byte("y")}}, &training.OpenedConfig{Config: []byte{0xa0}}
		h := l.sign(t)
		h.file.Opening = nil
		h.expect.Nonce = nonce
		return h.at("a replayed or other receipt")
	}},
	{name: "signed by another key than expected", offline: receipt.CheckSigner, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Key = keyOf(7).Public().(ed25519.PublicKey)
		return h.at("signed by aval-node-1")
	}},
	{name: "another base model than expected", offline: training.CheckBase, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Base = training.Hash{3}
		return h.at("expected 03")
	}},
	{name: "a claim changed after signing", offline: receipt.CheckSignature, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		c := h.file.Receipt.Claims()
		b, err := h.file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		other := c.Result.File
		other[0] ^= 1
		h.file, h.data = nil, bytes.Replace(b, c.Result.File[:], other[:], 1)
		return h.at("the receipt was changed, or never signed")
	}},
	{name: "the opening of another run", offline: training.CheckSetup, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.master = receipt.Salt{8}
		other := s.teach(t, p).sign(t)
		h := s.teach(t, s.plan()).sign(t)
		h.file.Opening = other.file.Opening
		return h.at("does not hash to the receipt's digest")
	}},
	{name: "the opening of another run with the same salts", offline: training.CheckCheckpoints, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p).sign(t)
		h := s.teach(t, s.plan()).sign(t)
		h.file.Opening = other.file.Opening
		return h.at("do not hash to the receipt's root")
	}},
	{name: "the log as the list of checkpoints", offline: training.CheckCheckpoints, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.opening.Checkpoints.Entries = l.records()
		return l.sign(t).at("the end is missing")
	}},
	{name: "the receipt of an answer as that of a training", offline: receipt.CheckSuite, forge: func(t *testing.T, s *school) *homework {
		statement, err := receipt.SignStatement([]byte("\xa1\x01\x66aval/1"), liar)
		if err != nil {
			t.Fatal(err)
		}
		return (&homework{data: statement.Bytes()}).at("is unknown, want")
	}},
	{name: "a later version of the rules", offline: receipt.CheckSuite, forge: func(t *testing.T, s *school) *homework {
		statement, err := receipt.SignStatement([]byte("\xa1\x01\x77aval-training-receipt/2"), liar)
		if err != nil {
			t.Fatal(err)
		}
		return (&homework{data: statement.Bytes()}).at("a newer program may know it")
	}},
	{name: "a file with something unknown in it that is not a receipt", offline: receipt.CheckFile, forge: func(t *testing.T, s *school) *homework {
		b, err := s.teach(t, s.plan()).sign(t).file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return (&homework{data: append(b, 0)}).at("not a file of a training receipt")
	}},
	{name: "from the future", offline: receipt.CheckTime, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Time = now.Unix() + 3600
		return l.sign(t).at("in the future")
	}},
}

// startAsResult says that the result is the state before the first step, which
// no stretch leads to, and changes the claims. The start's file is not shown.
func startAsResult(change func(c *training.Claims), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		p := s.plan()
		var start training.Claims
		p.before = func(step int, l *lesson) {
			if step == 0 {
				l.claims.Result.Step = 0
				l.checkpoint(t)
				l.opening.Checkpoints.Entries = nil // it is noted again
				start = l.claims
				e := *l.claims.Evaluation
				start.Evaluation = &e
			}
		}
		l := s.teach(t, p)
		l.claims.Result, l.claims.Evaluation = start.Result, start.Evaluation
		change(&l.claims)
		h := l.sign(t)
		delete(h.files, 0)
		return h.at(detail)
	}
}
