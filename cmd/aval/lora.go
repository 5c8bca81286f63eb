package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/receipt"
)

const loraHelp = `
An adapter (LoRA) is a GGUF file of small changes of a model's weights, as
llama.cpp has them. --lora FILE uses it as it was trained, --lora FILE=SCALE with
its changes multiplied by SCALE. With several, their order counts.`

// loraOptions is the flag that names adapters.
type loraOptions struct{ lora []string }

func (o *loraOptions) add(f *pflag.FlagSet, usage string) {
	f.StringArrayVar(&o.lora, "lora", nil, "FILE or FILE=SCALE: "+usage+" (may be repeated)")
}

// wantedAdapter is a value of --lora.
type wantedAdapter struct {
	name   string
	scale  float32
	scaled bool // the value says a scale
}

func (o *loraOptions) wanted() ([]wantedAdapter, error) {
	if len(o.lora) > model.MaxAdapters {
		return nil, usageErrorf("%d times --lora, the limit is %d", len(o.lora), model.MaxAdapters)
	}
	var list []wantedAdapter
	for _, s := range o.lora {
		w := wantedAdapter{name: s, scale: 1}
		if i := strings.LastIndexByte(s, '='); i >= 0 {
			v, err := strconv.ParseFloat(s[i+1:], 32)
			_, named := os.Stat(s) // a file may have such a name
			switch {
			case err == nil && v-v == 0 && float32(v) != 0:
				w = wantedAdapter{s[:i], float32(v), true}
			case named != nil:
				return nil, usageErrorf("--lora %q: want FILE=SCALE with a finite SCALE other than 0, as adapter.gguf=0.5", clip(s))
			}
		}
		if w.name == "" {
			return nil, usageErrorf("--lora %q: there is no FILE", clip(s))
		}
		list = append(list, w)
	}
	return list, nil
}

// adapters are adapters that were read.
type adapters struct {
	models []model.Adapter
	issued []issuer.Adapter // if they were identified
}

// close gives up the identities that were not computed.
func (l *adapters) close() {
	for _, a := range l.issued {
		a.File.Close()
	}
}

// readAdapters reads what --lora names. With identify it takes note of the
// files first, for receipts; then the caller closes them.
func (a *app) readAdapters(o *loraOptions, identify bool) (*adapters, error) {
	wanted, err := o.wanted()
	if err != nil {
		return nil, err
	}
	list := &adapters{}
	for _, w := range wanted {
		where, err := a.locate(w.name)
		if err != nil {
			list.close()
			return nil, fmt.Errorf("--lora: %w", err)
		}
		if err := list.read(where.path, w.scale, identify); err != nil {
			list.close()
			return nil, fmt.Errorf("--lora %s: %w", where.name, err)
		}
	}
	return list, nil
}

func (l *adapters) read(path string, scale float32, identify bool) error {
	if identify {
		id, err := issuer.Identify(path)
		if err != nil {
			return err
		}
		l.issued = append(l.issued, issuer.Adapter{File: id, Scale: scale})
	}
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // the numbers are copied
	lora, err := adapter.Read(f)
	if err != nil {
		return err
	}
	l.models = append(l.models, model.Adapter{LoRA: lora, Scale: scale})
	return nil
}

// compute computes the fingerprints.
func (l *adapters) compute(ctx context.Context, cache string, threads int) {
	for _, a := range l.issued {
		a.File.Compute(ctx, cache, threads)
	}
}

// adaptersFor finds and reads the adapters that a receipt names. A check says
// what is wrong with those at hand, or that there are none.
func (a *app) adaptersFor(ctx context.Context, o *loraOptions, c *receipt.Claims, threads int) (list *adapters, check *receipt.Check, err error) {
	wanted, err := o.wanted()
	if err != nil {
		return nil, nil, err
	}
	wrong := func(format string, args ...any) (*adapters, *receipt.Check, error) {
		return nil, &receipt.Check{Name: receipt.CheckAdapters, Verdict: receipt.Invalid, Detail: fmt.Sprintf(format, args...)}, nil
	}
	if len(wanted) == 0 {
		for _, x := range c.Adapters {
			where, found, err := a.modelFor(ctx, "", x.File)
			if err != nil {
				return nil, nil, err
			}
			if !found {
				return nil, &receipt.Check{
					Name: receipt.CheckComputation, Verdict: receipt.Unverified,
					Detail: fmt.Sprintf("not computed again: the answer is by the model with the adapters %s, and no file with the fingerprint %v is known on this machine; --lora names one",
						receipt.DescribeAdapters(c.Adapters), x.File),
				}, nil
			}
			wanted = append(wanted, wantedAdapter{name: where.path})
		}
	}
	if len(wanted) != len(c.Adapters) {
		return wrong("the receipt is for the adapters %s, --lora names %d", receipt.DescribeAdapters(c.Adapters), len(wanted))
	}
	list = &adapters{}
	defer list.close()
	for i, w := range wanted {
		x := c.Adapters[i]
		if w.scaled && w.scale != x.Scale {
			return wrong("the receipt is for the scale %v of adapter %d, --lora says %v", x.Scale, i, w.scale)
		}
		where, err := a.locate(w.name)
		if err == nil {
			err = list.read(where.path, x.Scale, true)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("adapter %s: %w", w.name, err)
		}
		id := list.issued[i].File
		id.Compute(ctx, "", threads) // trusting no cache; fails if the file was changed since it was read
		root, err := id.Root(ctx)
		if err != nil {
			return nil, nil, err
		}
		if root != x.File {
			return wrong("the receipt is for the adapter %v, %s is %v", x.File, where.name, root)
		}
	}
	return list, nil, nil
}
