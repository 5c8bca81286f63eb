package adapter

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// maxHalf is the smallest magnitude that F16 rounds to infinity.
const maxHalf = 65520

// Write writes the adapter to a GGUF file at path, which appears when it is
// complete. The same adapter gives the same bytes.
func (a *Adapter) Write(path string) error {
	w, err := gguf.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := a.Encode(w); err != nil {
		return err
	}
	return w.Close()
}

// Encode is [Adapter.Write] to a writer, on which keys of the caller's own may
// have been set; it does not close it.
func (a *Adapter) Encode(w *gguf.Writer) error {
	if err := a.check(); err != nil {
		return err
	}
	if err := a.checkNumbers(); err != nil {
		return err
	}
	if a.Type != gguf.F32 && a.Type != gguf.F16 {
		return fmt.Errorf("adapter: cannot write %v, only F32 and F16", a.Type)
	}
	keys := []struct {
		key   string
		value gguf.Value
	}{
		{keyArchitecture, gguf.ValueOf(a.Architecture)},
		{keyType, gguf.ValueOf("adapter")},
		{keyKind, gguf.ValueOf("lora")},
		{keyAlpha, gguf.ValueOf(a.Alpha)},
		{keyName, gguf.ValueOf(a.Name)},
	}
	for _, k := range keys {
		if k.key == keyName && a.Name == "" {
			continue
		}
		if err := w.Set(k.key, k.value); err != nil {
			return err
		}
	}
	return a.encodeTensors(w)
}

func (a *Adapter) encodeTensors(w *gguf.Writer) error {
	for i := range a.Updates {
		u := &a.Updates[i]
		as, bs := u.shapes()
		if err := w.Declare(u.Name+suffixA, a.Type, as[1], as[0]); err != nil {
			return err
		}
		if err := w.Declare(u.Name+suffixB, a.Type, bs[1], bs[0]); err != nil {
			return err
		}
	}
	for i := range a.Updates {
		u := &a.Updates[i]
		for _, half := range []struct {
			name    string
			numbers []float32
		}{{u.Name + suffixA, u.A}, {u.Name + suffixB, u.B}} {
			data, err := a.encode(half.numbers)
			if err != nil {
				return fmt.Errorf("adapter: tensor %s %w", half.name, err)
			}
			if err := w.WriteTensor(half.name, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode makes the bytes of a tensor.
func (a *Adapter) encode(v []float32) ([]byte, error) {
	if a.Type == gguf.F32 {
		out := make([]byte, 0, 4*len(v))
		for _, x := range v {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
		}
		return out, nil
	}
	out := make([]byte, 0, 2*len(v))
	for _, x := range v {
		if x >= maxHalf || x <= -maxHalf {
			return nil, fmt.Errorf("holds %v, too large for F16: write F32", x)
		}
		out = binary.LittleEndian.AppendUint16(out, kernel.ToF16Sat(x))
	}
	return out, nil
}
