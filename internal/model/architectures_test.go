package model_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"strconv"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/testmodel"
)

var keep = flag.String("keep", "", "leave the synthetic models in this folder, to be read by other programs")

// folder is where the synthetic models of a test go.
func folder(t *testing.T) string {
	if *keep != "" {
		return *keep
	}
	return t.TempDir()
}

// write writes a synthetic model and returns its path.
func write(t *testing.T, s *testmodel.Model, dir string, plain bool) string {
	t.Helper()
	path, err := s.Write(dir, plain)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// logitsOf reads tokens with a freshly loaded model, chunk at a time.
func logitsOf(t *testing.T, path string, opt model.Options, tokens []int32, chunk int) []float32 {
	t.Helper()
	logits, _ := tracedOf(t, path, opt, tokens, chunk)
	return logits
}

// tracedOf is logitsOf with the root of the trace.
func tracedOf(t *testing.T, path string, opt model.Options, tokens []int32, chunk int) ([]float32, string) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := model.Load(f, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := m.NewSequence()
	defer s.Close()
	logits := tracedForward(t, m, s, tokens, chunk)
	return logits, rootOf(t, s)
}

func digestOf(logits []float32) string {
	var b []byte
	for _, v := range logits {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestArchitectures holds the bits of every architecture and tensor type, of
// the logits and of the trace, to be the same for every kernel, number of threads and cut.
func TestArchitectures(t *testing.T) {
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			path := write(t, s, dir, false)
			for _, k := range kernel.All() {
				for _, threads := range []int{1, 3} {
					for _, chunk := range []int{len(text), 1, 7} {
						logits, root := tracedOf(t, path, model.Options{Threads: threads, Kernel: k.Name()}, text, chunk)
						if got := digestOf(logits); got != s.Digest {
							t.Fatalf("%s, %d threads, chunks of %d: digest %q, want %q", k.Name(), threads, chunk, got, s.Digest)
						}
						if root != s.Trace {
							t.Fatalf("%s, %d threads, chunks of %d: trace %q, want %q", k.Name(), threads, chunk, root, s.Trace)
						}
					}
				}
			}
		})
	}
	used := map[gguf.Type]bool{}
	for i := range testmodel.Models {
		for _, x := range testmodel.Models[i].Tensors(false) {
			used[x.Type] = true
		}
	}
	if n := len(gguf.Types()); len(used) != n {
		t.Errorf("%d of %d tensor types are used", len(used), n)
	}
}

// TestMeaning holds the mean negative log-likelihood of the text to be what
// llama.cpp (3f545bec, keys and values in F16, flash attention off) finds with
// the same weights in F32: an architecture means the same here. For qwen2-yarn
// it was told the betas, which it does not read from files of that architecture.
func TestMeaning(t *testing.T) {
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			logits := logitsOf(t, write(t, s, dir, true), model.Options{}, text, len(text))
			nll := nllOf(logits, text)
			tolerance := 1e-3
			if s.Layers > 40 {
				tolerance = 1e-2 // roundings grow from layer to layer
			}
			if math.Abs(nll-s.Peer) > tolerance {
				t.Errorf("negative log-likelihood %.6f, want %.6f", nll, s.Peer)
			}
		})
	}
}

// nllOf is the mean negative log-likelihood of each next token of a text.
func nllOf(logits []float32, text []int32) float64 {
	nll := 0.0
	for i, id := range text[1:] {
		row, sum := logits[i*testmodel.Vocab:][:testmodel.Vocab], 0.0
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		nll += math.Log(sum) - float64(row[id])
	}
	return nll / float64(len(text)-1)
}

// TestSecond holds the second implementation of the numerics, which was
// written from their text alone, to give the same bits.
func TestSecond(t *testing.T) {
	second := testdata.Second(t, "second.py")
	same := func(t *testing.T, path string, text []int32) {
		t.Helper()
		args := []string{"--context", "512", path}
		for _, id := range text {
			args = append(args, strconv.Itoa(int(id)))
		}
		want := digestOf(logitsOf(t, path, model.Options{Context: 512}, text, len(text)))
		if got := second(t, args...); got != want {
			t.Errorf("the second implementation gives %s, want %s", got, want)
		}
	}
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		t.Run(testmodel.Models[i].Name, func(t *testing.T) { same(t, write(t, &testmodel.Models[i], dir, false), text) })
	}
	for _, file := range []string{"stories260K-f32.gguf", "stories260K-Q4_K_M.gguf", "stories260K-p192-Q4_0.gguf"} {
		t.Run(file, func(t *testing.T) {
			path := testdata.Shared(t, "weights", "stories260K", file)
			same(t, path, append(append([]int32{}, storyPrompt...), story[:40]...))
		})
	}
}
