package rerun_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/receipt"
)

// hostile is a challenger's witness that accuses a right leaf and lies about
// what it depends on.
type hostile struct {
	accusing
	description func([]byte) []byte
	opening     func(from, to int) []byte
	tiles       func(name string, from, to int) []byte
}

func (h *hostile) Description(c dispute.Cell) ([]byte, error) {
	d, err := h.accusing.Description(c)
	if err == nil && h.description != nil {
		d = h.description(d)
	}
	return d, err
}

func (h *hostile) Opening(from, to int) ([]byte, error) {
	if h.opening != nil {
		return h.opening(from, to), nil
	}
	return h.accusing.Opening(from, to)
}

func (h *hostile) Tiles(name string, from, to int) ([]byte, error) {
	if h.tiles != nil {
		return h.tiles(name, from, to), nil
	}
	return h.accusing.Tiles(name, from, to)
}

// TestHostile: other inputs than the receipt's and the model's do not convict
// an honest prover, whatever they are good for elsewhere.
func TestHostile(t *testing.T) {
	s := testmodel.Models[3] // qwen2: tied, with biases
	l := load(t, write(t, &s))
	path := write(t, &s)
	change(t, path, l.file, "blk.0.attn_q.weight")
	other := load(t, path)
	a := requests(l)[2] // bias, extra parameters, penalties, a beacon
	l.draw(t, a, 4)
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	r := l.rerun(t, &rec, o)
	// Another receipt, of another prompt and another bias.
	b := *a
	b.prompt, b.bias = testmodel.Text()[1:10], receipt.Bias{3: 9}
	brec, bo := b.sign(t, nil)
	foreign := l.rerun(t, &brec, bo)
	prove := func(from *loaded, q fingerprint.Request) []byte {
		p, err := from.print.Prove(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	describe := func(from *loaded, q fingerprint.Request, o *receipt.Opening) func([]byte) []byte {
		return func([]byte) []byte { return encode(t, &dispute.Description{Model: prove(from, q), Opening: o}) }
	}
	parts := dispute.OutputParts(new(rec.Claims()))
	output, first, second := dispute.Cell{Output: true, Position: 2}, dispute.Cell{Position: 3}, dispute.Cell{Layer: 1, Position: 5}
	arch := l.model.Config().Arch
	all := fingerprint.Request{Whole: []string{""}, TensorPrefixes: []string{""}}
	one := func(from, to int) []byte {
		x, err := o.PromptRange(from, to)
		if err != nil {
			t.Fatal(err)
		}
		return marshal(t, &receipt.Opening{Digests: o.Digests, PromptRanges: []receipt.Range{x}})
	}
	for _, c := range []struct {
		name string
		cell dispute.Cell
		op   string
		h    hostile
	}{
		{"the description of another model", second, "attn_q", hostile{description: describe(other, dispute.HeaderRequest(arch, second), nil)}},
		{"the description of another cell", second, "attn_q", hostile{description: describe(l, dispute.HeaderRequest(arch, first), nil)}},
		{"a description without tensors", second, "attn_q", hostile{description: describe(l, fingerprint.Request{Keys: []string{"general.architecture"}, KeyPrefixes: []string{arch + "."}}, nil)}},
		{"a description without keys", second, "attn_q", hostile{description: describe(l, fingerprint.Request{TensorPrefixes: []string{"blk.1."}}, nil)}},
		{"a description with an opening that is not needed", second, "attn_q", hostile{description: describe(l, dispute.HeaderRequest(arch, second), o.Select(parts))}},
		{"a description without the token", first, "token_embd", hostile{description: describe(l, dispute.HeaderRequest(arch, first), nil)}},
		{"a description without the parameters", output, "logits", hostile{description: describe(l, dispute.HeaderRequest(arch, output), nil)}},
		{"a description without the bias", output, "logits", hostile{description: describe(l, dispute.HeaderRequest(arch, output), o.Select(parts&^receipt.PartBias))}},
		{"a description without the prompt", output, "point", hostile{description: describe(l, dispute.HeaderRequest(arch, output), o.Select(parts&^receipt.PartPrompt))}},
		{"a description with the text", output, "point", hostile{description: describe(l, dispute.HeaderRequest(arch, output), o.Select(parts|receipt.PartText))}},
		{"the parameters of another receipt", output, "logits", hostile{description: describe(l, dispute.HeaderRequest(arch, output), bo.Select(parts))}},
		{"another bias", output, "logits", hostile{description: func([]byte) []byte {
			x := o.Select(parts)
			bias := *x.Bias
			bias.Bias = receipt.Bias{3: 9}
			x.Bias = &bias
			return describe(l, dispute.HeaderRequest(arch, output), x)(nil)
		}}},
		{"another prompt", output, "point", hostile{description: func([]byte) []byte {
			x := o.Select(parts)
			x.Prompt = bo.Prompt
			return describe(l, dispute.HeaderRequest(arch, output), x)(nil)
		}}},
		{"a tile of another model", second, "attn_q", hostile{tiles: func(name string, from, to int) []byte {
			return prove(other, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: name, From: from, To: to}}})
		}}},
		{"a tile of another tensor", second, "attn_q", hostile{tiles: func(_ string, from, to int) []byte {
			return prove(l, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "blk.1.attn_output.weight", From: from, To: to}}})
		}}},
		{"another tile", second, "attn_q", hostile{tiles: func(name string, from, to int) []byte {
			return prove(l, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: name, From: from + 1, To: to + 1}}})
		}}},
		{"no tile", second, "attn_q", hostile{tiles: func(string, int, int) []byte { return prove(l, all) }}},
		{"ids of another receipt", output, "window", hostile{opening: func(from, to int) []byte {
			b, err := foreign.Opening(from, to)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}}},
		{"other ids", output, "window", hostile{opening: func(int, int) []byte { return one(0, 9) }}},
		{"fewer ids", output, "window", hostile{opening: func(from, _ int) []byte { return one(from, from+1) }}},
		{"the whole prompt in place of ids", output, "window", hostile{opening: func(int, int) []byte {
			return marshal(t, o.Select(receipt.PartPrompt|receipt.PartOutput))
		}}},
		{"another id", first, "token_embd", hostile{opening: func(int, int) []byte { return one(4, 5) }}},
		{"ids that were changed", output, "window", hostile{opening: func(from, to int) []byte {
			b, err := r.Opening(from, to)
			if err != nil {
				t.Fatal(err)
			}
			var x receipt.Opening
			if err := canon.Unmarshal(b, &x); err != nil {
				t.Fatal(err)
			}
			x.PromptRanges[0].IDs[1] ^= 1
			return marshal(t, &x)
		}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			op := -1
			for i, x := range r.Operations(c.cell) {
				if x.Name == c.op {
					op = i
				}
			}
			if op < 0 {
				t.Fatalf("no operation %s", c.op)
			}
			h := c.h
			h.accusing = accusing{r, rerun.Liar{Source: r, At: c.cell, Op: op}}
			// The proof is made with the right description, which the party itself
			// needs, and gets the wrong one afterwards.
			data := accuse(t, run, r, &hostile{accusing: h.accusing, opening: h.opening, tiles: h.tiles})
			p, err := dispute.DecodeProof(data)
			if err != nil {
				t.Fatal(err)
			}
			if h.description != nil {
				p.Description = h.description(p.Description)
			}
			if data, err = p.Encode(); err != nil {
				t.Fatal(err)
			}
			f, err := dispute.Judge(run, data)
			if !errors.Is(err, dispute.ErrProof) {
				t.Fatalf("an honest prover is convicted: %s, %v", f, err)
			}
			if bytes.Contains([]byte(err.Error()), []byte("is right")) {
				t.Errorf("the wrong evidence was believed: %v", err)
			}
			t.Log(err)
		})
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := canon.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOmission: a description that leaves out what a model has, so that
// something else would follow from it, convicts nobody.
func TestOmission(t *testing.T) {
	s := testmodel.Models[3] // with biases, and a base of rotation that is not the usual one
	l := load(t, write(t, &s))
	a := requests(l)[0]
	l.draw(t, a, 4)
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	r := l.rerun(t, &rec, o)
	c := dispute.Cell{Layer: 1, Position: 5}
	full := dispute.HeaderRequest(l.model.Config().Arch, c)
	full.Keys, full.KeyPrefixes = l.file.Keys(), nil
	full.TensorPrefixes = nil
	for _, x := range l.file.Tensors() {
		if strings.HasPrefix(x.Name, "blk.1.") {
			full.Tensors = append(full.Tensors, x.Name)
		}
	}
	for _, x := range []struct {
		leave, op string
		fault     dispute.Fault
	}{
		{"qwen2.rope.freq_base", "attn_q.rope", dispute.WrongLeaf},
		{"blk.1.attn_q.bias", "attn_q.rope", dispute.WrongCell},
	} {
		op := slices.IndexFunc(r.Operations(c), func(o operation.Op) bool { return o.Name == x.op })
		data := accuse(t, run, r, &accusing{r, rerun.Liar{Source: r, At: c, Op: op}})
		p, err := dispute.DecodeProof(data)
		if err != nil {
			t.Fatal(err)
		}
		q := full
		drop := func(list []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == x.leave })
		}
		q.Keys, q.Tensors = drop(q.Keys), drop(q.Tensors)
		if len(q.Keys)+len(q.Tensors) != len(full.Keys)+len(full.Tensors)-1 {
			t.Fatalf("there is no %s to leave out", x.leave)
		}
		model, err := l.print.Prove(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := model.Encode()
		if err != nil {
			t.Fatal(err)
		}
		p.Description = encode(t, &dispute.Description{Model: raw})
		if x.fault == dispute.WrongCell {
			p = &dispute.Proof{Fault: x.fault, Trace: p.Trace, Layer: p.Layer, Position: p.Position, Cell: p.Cell, Description: p.Description}
		}
		if data, err = p.Encode(); err != nil {
			t.Fatal(err)
		}
		f, err := dispute.Judge(run, data)
		if !errors.Is(err, dispute.ErrProof) || !strings.Contains(err.Error(), "does not show") {
			t.Errorf("without %s: %s, %v", x.leave, f, err)
		}
	}
}

// TestIDs: ids of another place are not those asked for, whatever their number.
func TestIDs(t *testing.T) {
	s := testmodel.Models[1]
	l := load(t, write(t, &s))
	a := requests(l)[0] // 9 ids of a prompt
	l.draw(t, a, 4)
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	r := l.rerun(t, &rec, o)
	for _, c := range []struct {
		from, to   int // what is opened
		wfrom, wto int // what is asked for
		ok         bool
	}{
		{3, 5, 3, 5, true},
		{7, 11, 7, 11, true},
		{9, 12, 9, 12, true},
		{8, 9, 8, 9, true},
		{3, 5, 4, 6, false},
		{7, 11, 6, 10, false},
		{7, 11, 8, 12, false},
		{9, 12, 10, 13, false},
		{8, 9, 9, 10, false},
		{0, 9, 0, 10, false},
	} {
		b, err := r.Opening(c.from, c.to)
		if err != nil {
			t.Fatal(err)
		}
		got, err := run.Tokens(c.wfrom, c.wto, b)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		ids, _ := r.Tokens(c.wfrom, c.wto)
		for i, id := range ids {
			if c.ok && binary.LittleEndian.Uint32(got[4*i:]) != uint32(id) {
				t.Errorf("%+v: other ids", c)
			}
		}
	}
	forged := bytes.Clone(rec.Bytes())
	forged[len(forged)-1] ^= 1
	if rec, err = receipt.Parse(forged); err == nil {
		if _, err := dispute.NewRun(rec); err == nil {
			t.Error("a receipt with a changed signature is taken")
		}
	}
}

// TestBytes changes single bytes of proofs: none convicts an honest prover.
func TestBytes(t *testing.T) {
	s := testmodel.Models[3]
	l := load(t, write(t, &s))
	rng := rand.New(rand.NewPCG(8, 9))
	for _, a := range requests(l)[1:3] {
		l.draw(t, a, 3)
		rec, o := a.sign(t, nil)
		run, err := dispute.NewRun(rec)
		if err != nil {
			t.Fatal(err)
		}
		r := l.rerun(t, &rec, o)
		for _, c := range []dispute.Cell{{Position: 4}, {Layer: 1, Position: 6}, {Output: true, Position: 1}} {
			ops := r.Operations(c)
			for range 6 {
				op := rng.IntN(len(ops))
				data := accuse(t, run, r, &accusing{r, rerun.Liar{Source: r, At: c, Op: op, Leaf: rng.IntN(ops[op].Leaves)}})
				for range 40 {
					b := bytes.Clone(data)
					b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
					if f, err := dispute.Judge(run, b); !errors.Is(err, dispute.ErrProof) {
						t.Fatalf("an honest prover is convicted: %s, %v", f, err)
					}
				}
			}
		}
	}
}

// TestImpossibleByOmission: what a description leaves out does not make a run
// impossible.
func TestImpossibleByOmission(t *testing.T) {
	s := testmodel.Models[0]
	l := load(t, write(t, &s))
	a := requests(l)[2]
	l.draw(t, a, 4)
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	parts := dispute.OutputParts(new(rec.Claims()))
	x, err := o.PromptRange(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	token := &receipt.Opening{Digests: o.Digests, PromptRanges: []receipt.Range{x}}
	arch := l.model.Config().Arch
	for _, c := range []dispute.Cell{{}, {Layer: 1}, {Output: true}} {
		d := dispute.Description{}
		switch {
		case c.Output:
			d.Opening = o.Select(parts)
		case c.Layer == 0:
			d.Opening = token
		}
		full := dispute.HeaderRequest(arch, c)
		full.KeyPrefixes = nil
		full.Keys = append(full.Keys, l.file.Keys()...)
		var requests []fingerprint.Request
		for i := range full.Keys {
			q := full
			q.Keys = append(append([]string{}, full.Keys[:i]...), full.Keys[i+1:]...)
			requests = append(requests, q)
		}
		for i := range full.Tensors {
			q := full
			q.Tensors = append(append([]string{}, full.Tensors[:i]...), full.Tensors[i+1:]...)
			requests = append(requests, q)
		}
		q := full
		q.TensorPrefixes = nil
		for _, q := range append(requests, q, fingerprint.Request{}) {
			p, err := l.print.Prove(context.Background(), q)
			if err != nil {
				continue
			}
			if d.Model, err = p.Encode(); err != nil {
				t.Fatal(err)
			}
			if proof, err := dispute.Impossible(run, c, encode(t, &d)); err == nil {
				t.Errorf("%s: impossible by a description of %d keys and %v: %v", c, len(q.Keys), q.Tensors, proof)
			}
		}
	}
}
