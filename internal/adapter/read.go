package adapter

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Is reports whether a file says that it is an adapter, of whatever kind.
func Is(f *gguf.File) bool {
	kind, _ := f.String(keyType)
	return kind == "adapter"
}

// Read reads an adapter. Numbers may be F32, F16, BF16 or Q8_0; they are exact
// in float32. The error, unless it is one of the file system, is a [*FileError]
// that says what is wrong: not an adapter, half of an update missing, shapes that
// do not go together, numbers that are not finite, and tensors that are no part
// of a LoRA adapter, since without them it would be another.
func Read(f *gguf.File) (*Adapter, error) {
	a, err := Inspect(f)
	if err != nil {
		return nil, err
	}
	for i := range a.Updates {
		u := &a.Updates[i]
		if u.A, err = numbers(f, u.Name+suffixA); err != nil {
			return nil, err
		}
		if u.B, err = numbers(f, u.Name+suffixB); err != nil {
			return nil, err
		}
	}
	return a, a.checkNumbers()
}

// Inspect is [Read] without the numbers: A and B of the updates are nil.
func Inspect(f *gguf.File) (*Adapter, error) {
	if !Is(f) {
		return nil, &FileError{"metadata " + keyType, `is not "adapter"`, "this is a model or something else, not a LoRA adapter"}
	}
	if kind, _ := f.String(keyKind); kind != "lora" {
		return nil, failKey(keyKind, "is %q, want \"lora\", the one kind that is known", kind)
	}
	a := &Adapter{Type: gguf.F16}
	a.Architecture, _ = f.String(keyArchitecture)
	a.Name, _ = f.String(keyName)
	var err error
	if a.Alpha, err = alphaOf(f); err != nil {
		return nil, err
	}
	if v, ok := f.Value(keyInvocation); ok && v.Len() > 0 {
		return nil, &FileError{"metadata " + keyInvocation, "is set: the adapter begins to act at certain tokens (aLoRA), which is not supported", "choose another adapter"}
	}
	for _, t := range f.Tensors() {
		if err := a.tensor(f, t); err != nil {
			return nil, err
		}
	}
	return a, a.check()
}

// Header is what a file says before its numbers: a [gguf.File], or what someone
// proved of one. Tensor returns nil for one that the file does not have.
type Header interface {
	Value(key string) (gguf.Value, bool)
	Tensor(name string) *gguf.Tensor
}

func alphaOf(h Header) (float32, error) {
	v, ok := h.Value(keyAlpha)
	if !ok {
		return 0, nil
	}
	alpha, ok := v.Float()
	if !ok || math.IsNaN(alpha) || math.Abs(alpha) > math.MaxFloat32 {
		return 0, failKey(keyAlpha, "is %v (%v), want a finite number", v, v.Kind())
	}
	return float32(alpha), nil
}

// Pair is an update as its file describes it.
type Pair struct {
	Update // without A and B
	A, B   *gguf.Tensor
	Alpha  float32
}

// Scale is that of [Adapter.Scale].
func (p *Pair) Scale(scale float32) float32 {
	return (&Adapter{Alpha: p.Alpha}).Scale(&p.Update, scale)
}

// Lookup finds the update of a matrix of the model; nil if there is none. Of
// the header it reads what [Keys] and [Tensors] name.
func Lookup(h Header, base *gguf.Tensor) (*Pair, error) {
	names := Tensors(base.Name)
	a, b := h.Tensor(names[0]), h.Tensor(names[1])
	if a == nil && b == nil {
		return nil, nil
	}
	if a == nil || b == nil {
		return nil, failTensor(base.Name, hintDamaged, "has only one of %s and %s", suffixA, suffixB)
	}
	alpha, err := alphaOf(h)
	if err != nil {
		return nil, err
	}
	u, err := pair(base.Name, a, b)
	if err != nil {
		return nil, err
	}
	one := Adapter{Architecture: "any", Alpha: alpha, Updates: []Update{u}}
	if err := one.check(); err != nil {
		return nil, err
	}
	if len(base.Shape) != 2 || base.Shape[0] != u.In || base.Shape[1] != u.Out {
		return nil, failTensor(base.Name, hintBase, "has shape %v in the model, its update %d columns and %d rows", base.Shape, u.In, u.Out)
	}
	return &Pair{u, a, b, alpha}, nil
}

// Keys are those that [Lookup] reads.
func Keys() []string { return []string{keyAlpha} }

// Tensors are those of the update of a matrix.
func Tensors(matrix string) [2]string { return [2]string{matrix + suffixA, matrix + suffixB} }

// tensor looks at one tensor: lora_a makes an update, lora_b must have one.
func (a *Adapter) tensor(f *gguf.File, t *gguf.Tensor) error {
	name, isA := strings.CutSuffix(t.Name, suffixA)
	if !isA {
		name, isB := strings.CutSuffix(t.Name, suffixB)
		switch {
		case !isB:
			return failTensor(t.Name, "choose an adapter that changes matrices only", "is neither .lora_a nor .lora_b, and without it this would be another adapter")
		case f.Tensor(name+suffixA) == nil:
			return failTensor(name, hintDamaged, "has %s but no %s", suffixB, suffixA)
		}
		return nil
	}
	other := f.Tensor(name + suffixB)
	if other == nil {
		return failTensor(name, hintDamaged, "has %s but no %s", suffixA, suffixB)
	}
	u, err := pair(name, t, other)
	if err != nil {
		return err
	}
	if t.Type == gguf.F32 || other.Type == gguf.F32 {
		a.Type = gguf.F32
	}
	if len(a.Updates) >= maxUpdates {
		return failTensor(name, hintDamaged, "is one matrix too many, the limit is %d", maxUpdates)
	}
	a.Updates = append(a.Updates, u)
	return nil
}

// pair makes an update of its two tensors.
func pair(name string, a, b *gguf.Tensor) (Update, error) {
	for _, half := range []*gguf.Tensor{a, b} {
		switch half.Type {
		case gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0:
		default:
			return Update{}, failTensor(half.Name, "convert the adapter to one of these", "has type %v, want F32, F16, BF16 or Q8_0", half.Type)
		}
		if n := len(half.Shape); n < 1 || n > 2 {
			return Update{}, failTensor(half.Name, hintDamaged, "has shape %v, want two dimensions", half.Shape)
		}
	}
	u := Update{Name: name, Rank: a.Rows(), In: a.Shape[0], Out: b.Rows()}
	if name == Embedding {
		u = Update{Name: name, Rank: a.Shape[0], In: b.Rows(), Out: a.Rows()}
	}
	if b.Shape[0] != u.Rank {
		return Update{}, failTensor(b.Name, hintDamaged, "has shape %v, which does not go with %v of %s: the rank differs", b.Shape, a.Shape, a.Name)
	}
	return u, nil
}

// numbers reads a whole tensor, which Inspect found to be of a known type.
func numbers(f *gguf.File, name string) ([]float32, error) {
	t := f.Tensor(name)
	raw := make([]byte, t.Size)
	if _, err := f.Reader(t).ReadAt(raw, 0); err != nil {
		return nil, err
	}
	v := make([]float32, t.Elements())
	switch t.Type {
	case gguf.F32:
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case gguf.F16:
		for i := range v {
			v[i] = kernel.FromF16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case gguf.BF16:
		for i := range v {
			v[i] = kernel.FromBF16(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	case gguf.Q8_0: // blocks of 32: a scale in F16, then the codes
		const block, size = 32, 34
		for i := range v {
			b := raw[i/block*size:][:size]
			v[i] = float32(kernel.FromF16(binary.LittleEndian.Uint16(b)) * float32(int8(b[2+i%block])))
		}
	}
	return v, nil
}
