package lm

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/train"
)

// Export writes the model as it is now to a GGUF file at path, which appears
// when it is complete; the same model gives the same bytes. With the recipe F32
// the engine computes from the file exactly the logits, and so the loss, that
// training had. set, if not nil, may set metadata: the writer has that of the
// file or the [Architecture] already.
//
// A model that is frozen beside an adapter is not exported; write the adapter
// ([Model.Adapter]) and merge it if one file is wanted.
func (m *Model) Export(path string, r quant.Recipe, set func(w *gguf.Writer) error) error {
	if m.options.LoRA != nil {
		return errors.New("training: the model is frozen and only its adapter was trained: write that, and merge it into the model's file if you want one file")
	}
	w, err := gguf.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := m.setMetadata(w, r); err != nil {
		return err
	}
	if set != nil {
		if err := set(w); err != nil {
			return err
		}
	}
	if err := m.writeTensors(w, r); err != nil {
		return err
	}
	return w.Close()
}

func (m *Model) setMetadata(w *gguf.Writer, r quant.Recipe) error {
	if m.file != nil {
		if err := w.SetFrom(m.file); err != nil {
			return err
		}
		return quant.SetVersions(w, r)
	}
	for _, key := range m.header.keys {
		if err := w.Set(key, m.header.values[key]); err != nil {
			return err
		}
	}
	return quant.SetVersions(w, r)
}

// tensors lists the tensors of the file, those that are trained as F32.
func (m *Model) tensors() []*gguf.Tensor {
	if m.header != nil {
		return m.header.tensors
	}
	list := m.file.Tensors()
	for i, t := range list {
		if p := m.byName[t.Name]; p != nil {
			list[i] = &gguf.Tensor{Name: t.Name, Type: gguf.F32, Shape: t.Shape, Size: 4 * int64(len(p.Data))}
		}
	}
	return list
}

func (m *Model) writeTensors(w *gguf.Writer, r quant.Recipe) error {
	list := m.tensors()
	types := r.Types(m.desc.Layers, list)
	for i, t := range list {
		if m.byName[t.Name] == nil {
			types[i] = t.Type // factors of rotary frequencies
		}
		if err := w.Declare(t.Name, types[i], t.Shape...); err != nil {
			return err
		}
	}
	for i, t := range list {
		var data []byte
		p := m.byName[t.Name]
		if p == nil {
			data = m.file.Data(t)
		} else {
			var err error
			if data, err = m.encode(p, types[i]); err != nil {
				return err
			}
		}
		if err := w.WriteTensor(t.Name, data); err != nil {
			return err
		}
	}
	return nil
}

// encode makes the bytes of a tensor of some type.
func (m *Model) encode(p *train.Param, typ gguf.Type) ([]byte, error) {
	for i, v := range p.Data {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return nil, fmt.Errorf("training: element %d of %s is %v: training has diverged, go back to a checkpoint", i, p.Name, v)
		}
	}
	cols := p.Shape[len(p.Shape)-1]
	rows := len(p.Data) / cols
	elems, bytes := typ.Block()
	size := cols / elems * bytes
	data := make([]byte, rows*size)
	errs := make([]error, m.machine.Threads())
	m.machine.For(rows, 16, func(w, from, to int) {
		if err := quant.Quantize(typ, p.Data[from*cols:to*cols], data[from*size:to*size]); err != nil {
			errs[w] = fmt.Errorf("training: tensor %s: %w", p.Name, err)
		}
	})
	return data, errors.Join(errs...)
}

// Adapter returns what was trained beside a frozen model, as it is now, or nil
// if the whole model was trained. Name and type are the caller's to set.
func (m *Model) Adapter() *adapter.Adapter {
	if m.options.LoRA == nil {
		return nil
	}
	a := &adapter.Adapter{Architecture: m.desc.Arch, Alpha: m.alpha}
	for i := 0; i < len(m.params); i += 2 { // A, then B
		pa, pb := m.params[i], m.params[i+1]
		a.Updates = append(a.Updates, adapter.Update{
			Name: strings.TrimSuffix(pa.Name, suffixA),
			Rank: pa.Shape[0], In: pa.Shape[1], Out: pb.Shape[0],
			A: append([]float32(nil), pa.Data...), B: append([]float32(nil), pb.Data...),
		})
	}
	return a
}
