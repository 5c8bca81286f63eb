package model

import (
	"fmt"
	"runtime"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/pool"
)

// MaxBatch is the number of positions that one pass computes; [Model.Forward]
// cuts larger steps.
const MaxBatch = 256

// Options of [Load]. The zero value uses every processor, the best kernel of
// the machine and the context that the model was trained for.
type Options struct {
	// Threads is the number of workers; 0 means one a processor. It changes
	// no bit.
	Threads int
	// Kernel names the implementation of the arithmetic (kernel.Named); empty
	// means the best. It changes no bit.
	Kernel string
	// Context is the number of positions that a sequence may have; 0 means
	// what the model was trained for. It changes bits only in models with
	// rotary factors for short and long contexts (Phi-3), which use the long
	// ones if Context is more than their original context.
	Context int
	// Adapters change matrices, in this order (spec/numerics.md, section 8.3).
	Adapters []Adapter
}

// Model is a loaded model. Its methods may be called by one goroutine at a
// time.
type Model struct {
	config           *config
	arch             *architecture
	kernel           *kernel.Kernel
	pool             *pool.Pool
	weights          weights
	packed           map[string][]*kernel.Matrix // the matrices of weights by their tensors, in the order of the rows
	arena            *arena
	lows, outputLows []*low // of the layers, and of the output
	state            *state
	cache            cache
	program          func(w *pool.Worker)
}

// weights are the model's parameters.
type weights struct {
	embedding *matrix     // [vocab][dim]
	rows      []rowUpdate // of the embedding
	output    *matrix     // [vocab][dim]; the embedding if tied
	norm      []float32   // [dim]
	layers    []layer
	quantized bool // some matrix takes quantised activations
	floats    bool // some matrix takes float activations
	// Adapters take float activations; these say which of a slot's batches
	// have any.
	lowNorm, lowAttended, lowFFN, lowFinal bool
}

// layer holds the parameters of one layer; what an architecture does not have
// is nil.
type layer struct {
	layerConfig
	index int

	attnNorm     []float32 // [dim]
	wq, wk, wv   *matrix   // [heads*headDim or kvHeads*headDim][dim]
	bq, bk, bv   []float32 //
	qNorm, kNorm []float32 // [headDim]
	wo           *matrix   // [dim][heads*headDim]
	bo           []float32 // [dim]
	attnPostNorm []float32 // [dim]
	ffnNorm      []float32 // [dim]
	gate, up     *matrix   // [ffn][dim]
	down         *matrix   // [dim][ffn]
	ffnPostNorm  []float32 // [dim]
}

// FileError says that a file is not a whole model of an architecture that can
// be computed.
type FileError struct {
	Where string // "metadata KEY" or "tensor NAME"
	What  string // is wrong with it
	// Unsupported tells a sound file that needs what is not here from one that
	// is damaged.
	Unsupported bool
}

func (e *FileError) Error() string {
	hint := `the file is damaged, or its converter unknown here; fetch or convert it again ("aval show" tells what is in it)`
	if e.Unsupported {
		hint = "choose another model"
	}
	return e.Where + " " + e.What + ": " + hint
}

// Load reads and packs the weights of f, which may be closed afterwards.
func Load(f *gguf.File, opt Options) (*Model, error) {
	if opt.Threads < 0 || opt.Threads > 1024 || opt.Context < 0 || opt.Context > MaxContext {
		return nil, fmt.Errorf("threads %d or context %d out of range", opt.Threads, opt.Context)
	}
	if adapter.Is(f) {
		return nil, &FileError{"metadata general.type", `is "adapter": an adapter is no model; use it with --lora and the model that it was made for`, true}
	}
	arch, c, err := configOf(f, opt.Context)
	if err != nil {
		return nil, err
	}
	if opt.Threads == 0 {
		opt.Threads = runtime.GOMAXPROCS(0)
	}
	k, err := kernel.Named(opt.Kernel)
	if err != nil {
		return nil, err
	}
	m := &Model{config: c, arch: arch, kernel: k}
	if n := len(opt.Adapters); n > MaxAdapters {
		return nil, fmt.Errorf("%d adapters, the limit is %d", n, MaxAdapters)
	}
	for i := range opt.Adapters {
		if err := opt.Adapters[i].fit(f); err != nil {
			return nil, err
		}
	}
	l := &loader{header: f, file: f, config: c, threads: opt.Threads, adapters: opt.Adapters}
	if err := l.load(m); err != nil {
		l.arena.free()
		return nil, err
	}
	m.pool = pool.New(opt.Threads)
	m.cache.init(c)
	m.state = newState(m)
	m.program = m.run
	return m, nil
}

// Config describes the model.
func (m *Model) Config() Config { return m.config.Config }

// Limit returns the number of positions that a sequence may have.
func (m *Model) Limit() int { return m.config.limit }

// Kernel returns the name of the kernel in use.
func (m *Model) Kernel() string { return m.kernel.Name() }

// Threads returns the number of workers.
func (m *Model) Threads() int { return m.pool.Workers() }

// PositionBytes returns the memory that the keys and values of one position
// take.
func (m *Model) PositionBytes() int { return m.cache.size * 2 / kernel.PageLen }

// WeightBytes returns the memory of the packed weights.
func (m *Model) WeightBytes() int { return m.arena.size() }

// Work returns the bytes of weights that a decode step reads, and the
// multiply-adds with them that one more prompt token takes; the output matrix
// counts in the first alone, as a prompt needs the logits of its last token.
func (m *Model) Work() (bytes, multiplyAdds int) {
	bytes = m.weights.output.Bytes()
	for i := range m.weights.layers {
		l := &m.weights.layers[i]
		for _, w := range []*matrix{l.wq, l.wk, l.wv, l.wo, l.gate, l.up, l.down} {
			bytes += w.Bytes()
			multiplyAdds += w.Rows * w.Cols
		}
	}
	return bytes, multiplyAdds
}

// Close ends the workers and gives the memory of the weights back. The model
// and its sequences must not be used any more.
func (m *Model) Close() error {
	m.pool.Close()
	return m.arena.free()
}
