package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
)

// modelOptions are the flags of every command that computes.
type modelOptions struct {
	threads int
	context int
}

func (o *modelOptions) addThreads(f *pflag.FlagSet) {
	f.IntVar(&o.threads, "threads", 0, "compute on so many threads (0: one for each CPU); no bit of the output depends on it")
}

func (o *modelOptions) add(f *pflag.FlagSet) {
	o.addThreads(f)
	f.IntVar(&o.context, "ctx", 0, "tokens of prompt and answer together (0: what the model was trained for, but at least 512)")
}

// maxThreads is far above what helps anywhere.
const maxThreads = 1 << 10

func (o *modelOptions) check() error {
	if o.threads < 0 || o.threads > maxThreads {
		return usageErrorf("--threads is %d, want 0 (one for each CPU) to %d", o.threads, maxThreads)
	}
	if o.context < 0 || o.context > model.MaxContext {
		return usageErrorf("--ctx is %d, want 0 (what the model was trained for, but at least 512) to %d", o.context, model.MaxContext)
	}
	return nil
}

func (o *modelOptions) engine(a *app) engine.Options {
	return engine.Options{Threads: o.threads, Context: o.context, Kernel: a.getenv("AVAL_KERNEL")}
}

// samplingOptions are the flags that choose tokens.
type samplingOptions struct {
	temperature, topP, minP, repeat, frequency, presence float32
	topK, repeatLastN, maxTokens                         int
	seed                                                 string
	stop, bias                                           []string
	schema, grammar                                      string
}

func (o *samplingOptions) add(f *pflag.FlagSet) {
	f.Float32Var(&o.temperature, "temperature", 0.8, "0 takes the likeliest token; more is more varied")
	f.IntVar(&o.topK, "top-k", 40, "choose among the K likeliest tokens (0: all)")
	f.Float32Var(&o.topP, "top-p", 0.95, "choose among the likeliest tokens that together have probability P (0 or 1: all)")
	f.Float32Var(&o.minP, "min-p", 0.05, "leave out tokens less than P times as likely as the likeliest (0: none)")
	f.Float32Var(&o.repeat, "repeat-penalty", 1, "make tokens of the recent text less likely (1: do not)")
	f.Float32Var(&o.frequency, "frequency-penalty", 0, "the same, growing with each use of the token")
	f.Float32Var(&o.presence, "presence-penalty", 0, "the same, once for each token used")
	f.IntVar(&o.repeatLastN, "repeat-last-n", 64, "how many tokens count as recent (-1: all)")
	f.StringVar(&o.seed, "seed", "0", `chooses the random numbers; the same seed gives the same answer ("random": another each time)`)
	f.IntVar(&o.maxTokens, "max-tokens", 0, "end the answer after so many tokens (0: when the context is full, or what the model was trained for, if that is less)")
	f.StringArrayVar(&o.stop, "stop", nil, "end the answer before this text (may be repeated)")
	f.StringArrayVar(&o.bias, "logit-bias", nil, "ID=VALUE: add VALUE to the logit of a token, -inf bans it (may be repeated)")
	f.StringVar(&o.schema, "schema", "", `the answer follows the JSON schema in this file ("json": any JSON object)`)
	f.StringVar(&o.grammar, "grammar", "", "the answer follows the grammar (GBNF) in this file")
}

// request turns the flags into a request without a prompt.
func (o *samplingOptions) request(ctx context.Context) (engine.Request, error) {
	seed, err := parseSeed(o.seed)
	if err != nil {
		return engine.Request{}, err
	}
	p := sample.Params{
		Temperature: o.temperature, TopK: o.topK, TopP: o.topP, MinP: o.minP,
		RepeatPenalty: o.repeat, FrequencyPenalty: o.frequency, PresencePenalty: o.presence,
		RepeatLastN: o.repeatLastN, Seed: seed,
	}
	if p.RepeatLastN == 0 {
		// In Params 0 is the default; here it is a window of nothing.
		p.RepeatPenalty, p.FrequencyPenalty, p.PresencePenalty = 1, 0, 0
	}
	for _, b := range o.bias {
		id, value, ok := strings.Cut(b, "=")
		n, err1 := strconv.ParseInt(id, 10, 32)
		v, err2 := strconv.ParseFloat(value, 32)
		if !ok || err1 != nil || err2 != nil {
			return engine.Request{}, usageErrorf("--logit-bias %q: want ID=VALUE, as 42=-1.5 or 42=-inf", b)
		}
		if p.LogitBias == nil {
			p.LogitBias = map[int32]float32{}
		}
		p.LogitBias[int32(n)] = float32(v)
	}
	if err := p.Validate(); err != nil {
		return engine.Request{}, usageError{err}
	}
	r := engine.Request{Params: p, MaxTokens: o.maxTokens, Stop: o.stop}
	if r.MaxTokens < 0 {
		return r, usageErrorf("--max-tokens is %d, want 0 (no limit) or more", o.maxTokens)
	}
	r.Grammar, err = o.constraint(ctx)
	return r, err
}

func (o *samplingOptions) constraint(ctx context.Context) (*grammar.Grammar, error) {
	switch {
	case o.schema != "" && o.grammar != "":
		return nil, usageErrorf("--schema and --grammar exclude each other")
	case o.schema == "json":
		return grammar.JSON(), nil
	case o.schema != "":
		src, err := readFile(ctx, o.schema)
		if err != nil {
			return nil, fmt.Errorf("--schema: %w", err)
		}
		g, err := grammar.FromJSONSchema(src)
		if err != nil {
			return nil, usageErrorf("--schema %s: %w", o.schema, err)
		}
		return g, nil
	case o.grammar != "":
		src, err := readFile(ctx, o.grammar)
		if err != nil {
			return nil, fmt.Errorf("--grammar: %w", err)
		}
		g, err := grammar.FromGBNF(string(src))
		if err != nil {
			return nil, usageErrorf("--grammar %s: %w", o.grammar, err)
		}
		return g, nil
	}
	return nil, nil
}

func parseSeed(s string) (uint64, error) {
	if s == "random" || s == "-1" {
		var b [8]byte
		_, _ = rand.Read(b[:])                             // never fails
		return binary.LittleEndian.Uint64(b[:]) >> 11, nil // exact in JSON, too
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, usageErrorf(`--seed %q: want a number from 0 to 18446744073709551615, or "random"`, s)
	}
	return n, nil
}
