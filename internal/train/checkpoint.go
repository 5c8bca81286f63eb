package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
)

// A checkpoint is a GGUF file of F32 tensors: the parameters under their own
// names, then what the optimiser keeps for each under statePrefix, its letter
// and the name.
const (
	statePrefix = "optim."

	keyArchitecture = "general.architecture"
	architecture    = "aval-training"
	keyVersion      = "aval.training.version"
	version         = 1
	keyStep         = "aval.training.step"
	keyConfig       = "aval.training.config"

	ioBuffer = 1 << 16 // bytes
)

// ErrCheckpoint says that a file is not a checkpoint, or not one of this run.
var ErrCheckpoint = errors.New("not a usable checkpoint")

// A stateTensor is one tensor of a checkpoint.
type stateTensor struct {
	name  string
	shape []int
	data  []float32
}

// tensors lists what a checkpoint holds, in order: the parameters, then for each
// letter of the optimiser those of all parameters.
func (t *Trainer) tensors() []stateTensor {
	var out []stateTensor
	for _, p := range t.params {
		out = append(out, stateTensor{p.Name, p.Shape, p.Data})
	}
	for k, letter := range t.states {
		for i, p := range t.params {
			out = append(out, stateTensor{statePrefix + letter + "." + p.Name, p.Shape, t.state[i][k]})
		}
	}
	return out
}

// WriteTo writes a checkpoint: everything that the run needs to go on with the
// same bits, given the same configuration, data and learner. Putting it on disk
// in one piece is up to the caller.
func (t *Trainer) WriteTo(w io.Writer) (int64, error) {
	count := &counter{w: w}
	g := gguf.NewWriter(count)
	err := errors.Join(
		g.Set(keyArchitecture, gguf.ValueOf(architecture)),
		g.Set(keyVersion, gguf.ValueOf(uint32(version))),
		g.Set(keyStep, gguf.ValueOf(uint64(t.done))),
		g.Set(keyConfig, gguf.ArrayOf(t.encoded)),
	)
	list := t.tensors()
	for _, s := range list {
		err = errors.Join(err, g.Declare(s.name, gguf.F32, ggmlShape(s.shape)...))
	}
	for _, s := range list {
		if err != nil {
			break
		}
		if err = g.Start(s.name); err == nil {
			err = writeFloats(g, s.data)
		}
	}
	if err == nil {
		err = g.Close()
	}
	if err != nil {
		return count.n, fmt.Errorf("writing the checkpoint of step %d: %w", t.done, err)
	}
	return count.n, nil
}

// ggmlShape is a shape in the order of GGUF, the row length first.
func ggmlShape(shape []int) []int {
	out := slices.Clone(shape)
	slices.Reverse(out)
	return out
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// writeFloats writes the little-endian bytes of x.
func writeFloats(w io.Writer, x []float32) error {
	var buf [ioBuffer]byte
	for part := range slices.Chunk(x, ioBuffer/4) {
		if _, err := w.Write(floatBytes(buf[:], part)); err != nil {
			return err
		}
	}
	return nil
}

// floatBytes puts the little-endian bytes of x into buf.
func floatBytes(buf []byte, x []float32) []byte {
	for i, v := range x {
		binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
	}
	return buf[:4*len(x)]
}

// Checkpoint is an open checkpoint.
type Checkpoint struct {
	Config  Config // of the run
	Step    int    // steps that are behind
	file    *gguf.File
	encoded []byte
}

// OpenCheckpoint reads the header of a checkpoint of the given size. r must stay
// readable as long as the Checkpoint is used.
func OpenCheckpoint(r io.ReaderAt, size int64) (*Checkpoint, error) {
	f, err := gguf.Parse(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if a, _ := f.String(keyArchitecture); a != architecture {
		return nil, fmt.Errorf("%w: %s is %q, want %q", ErrCheckpoint, keyArchitecture, a, architecture)
	}
	if v, _ := f.Uint(keyVersion); v != version {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrCheckpoint, v, version)
	}
	raw, _ := f.Value(keyConfig)
	if raw.Kind() != gguf.KindArray || raw.Elem() != gguf.KindUint8 {
		return nil, fmt.Errorf("%w: %s is not an array of bytes", ErrCheckpoint, keyConfig)
	}
	c := &Checkpoint{file: f, encoded: []byte(raw.Raw())}
	if c.Config, err = ParseConfig(c.encoded); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	step, ok := f.Uint(keyStep)
	if !ok || step > uint64(c.Config.Steps) {
		return nil, fmt.Errorf("%w: step %d of a run of %d", ErrCheckpoint, step, c.Config.Steps)
	}
	c.Step = int(step)
	for _, t := range f.Tensors() {
		if t.Type != gguf.F32 {
			return nil, fmt.Errorf("%w: tensor %q is %v, want F32", ErrCheckpoint, t.Name, t.Type)
		}
	}
	return c, nil
}

// Names lists the tensors, in order: the parameters, then the optimiser's.
func (c *Checkpoint) Names() []string {
	var out []string
	for _, t := range c.file.Tensors() {
		out = append(out, t.Name)
	}
	return out
}

// Shape gives the shape of a tensor, outermost dimension first; nil if there is
// none of that name.
func (c *Checkpoint) Shape(name string) []int {
	t := c.file.Tensor(name)
	if t == nil {
		return nil
	}
	return ggmlShape(t.Shape)
}

// Read reads a tensor into dst, which has as many elements. Infinities and NaN
// are refused: a run that has them has diverged, and their bits are undefined.
func (c *Checkpoint) Read(name string, dst []float32) error {
	t := c.file.Tensor(name)
	if t == nil {
		return fmt.Errorf("%w: no tensor %q", ErrCheckpoint, name)
	}
	if t.Elements() != len(dst) {
		return fmt.Errorf("%w: tensor %q has %d elements, want %d", ErrCheckpoint, name, t.Elements(), len(dst))
	}
	r := c.file.Reader(t)
	var buf [ioBuffer]byte
	for part := range slices.Chunk(dst, ioBuffer/4) {
		b := buf[:4*len(part)]
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("tensor %q of the checkpoint: %w", name, err)
		}
		for i := range part {
			x := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
			if !finite(float64(x)) {
				return fmt.Errorf("%w: tensor %q holds a number that is not finite", ErrCheckpoint, name)
			}
			part[i] = x
		}
	}
	return nil
}

// Restore puts the run to where the checkpoint was written. The checkpoint must
// be of the same configuration and have the same tensors. If reading fails midway
// the parameters are a mixture, and Step refuses until a Restore succeeds.
func (t *Trainer) Restore(c *Checkpoint) error {
	if !slices.Equal(c.encoded, t.encoded) {
		return fmt.Errorf("%w: it is of another training configuration", ErrCheckpoint)
	}
	list, have := t.tensors(), c.file.Tensors()
	if len(list) != len(have) {
		return fmt.Errorf("%w: %d tensors, want %d", ErrCheckpoint, len(have), len(list))
	}
	for i, s := range list {
		if have[i].Name != s.name || !slices.Equal(ggmlShape(have[i].Shape), s.shape) {
			return fmt.Errorf("%w: tensor %d is %q %v, want %q %v", ErrCheckpoint, i, have[i].Name, ggmlShape(have[i].Shape), s.name, s.shape)
		}
	}
	for _, s := range list {
		if err := c.Read(s.name, s.data); err != nil {
			t.broken = err
			return err
		}
	}
	t.done, t.broken = c.Step, nil
	return nil
}

// Root is the root of the checkpoint: Trainer.Root of the run that wrote it.
func (c *Checkpoint) Root() (canon.Hash, error) {
	leaves, err := c.Leaves()
	return leavesRoot(leaves), err
}

// Leaves are the leaves of the checkpoint's tree: Trainer.Leaves of the run that
// wrote it.
func (c *Checkpoint) Leaves() ([]StateLeaf, error) {
	out := []StateLeaf{headLeaf(c.encoded, c.Step)}
	for _, t := range c.file.Tensors() {
		data := make([]float32, t.Elements())
		if err := c.Read(t.Name, data); err != nil {
			return nil, err
		}
		out = append(out, tensorLeaf(stateTensor{t.Name, ggmlShape(t.Shape), data}, inTurn))
	}
	return out, nil
}
