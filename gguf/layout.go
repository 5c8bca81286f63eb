package gguf

import (
	"fmt"
	"slices"
)

// pad rounds n up to a multiple of the power of two a.
func pad(n int64, a int) int64 {
	return (n + int64(a) - 1) &^ (int64(a) - 1)
}

// checkLayout sets where the data starts and checks that every tensor lies
// inside the file and no two share a byte. The header was bounded by the
// file's size before, so none of these sums can overflow.
func (h *header) checkLayout(p *parsed) error {
	p.dataStart = pad(int64(h.pos), p.alignment)
	fail := func(t *Tensor, hint, format string, args ...any) error {
		h.noun, h.name = "tensor", t.Name
		e := h.errorf(0, hint, format, args...)
		e.Offset = -1
		return e
	}
	for _, t := range p.tensors {
		if end := p.dataStart + t.Offset + t.Size; end > p.size {
			return fail(t, hintTruncated, "its data ends at byte %d, the file has %d", end, p.size)
		}
	}
	order := slices.Clone(p.tensors)
	slices.SortStableFunc(order, func(a, b *Tensor) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if a.Offset+a.Size > b.Offset || a.Offset == b.Offset {
			return fail(b, hintDamaged, "its data shares bytes with the tensor %q", a.Name)
		}
	}
	return nil
}

// checkTypes refuses tensors that this module cannot compute with.
func (f *File) checkTypes() error {
	for _, t := range f.tensors {
		if e, _ := t.Type.Block(); e == 0 {
			return &ParseError{
				Path: f.parts[t.part].path, Where: fmt.Sprintf("tensor %q", t.Name), Offset: -1,
				What: fmt.Sprintf("its type %s is not supported", t.Type),
				Hint: "use a file of the same model with one of the types " + typeNames(),
				Err:  ErrUnsupportedType,
			}
		}
	}
	return nil
}
