package quant_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/testdata"
)

func open(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestQuantizeFileLikeLlama makes the files that llama.cpp's llama-quantize
// made from the same weights, tensor by tensor the same bytes.
func TestQuantizeFileLikeLlama(t *testing.T) {
	for _, test := range []struct{ source, recipe, want string }{
		{"stories260K-f32.gguf", "F16", "stories260K-F16.gguf"},
		{"stories260K-f32.gguf", "Q4_K_M", "stories260K-Q4_K_M.gguf"},
		{"stories260K-p192-f32.gguf", "Q8_0", "stories260K-p192-Q8_0.gguf"},
		{"stories260K-p192-f32.gguf", "Q4_0", "stories260K-p192-Q4_0.gguf"},
	} {
		t.Run(test.want, func(t *testing.T) {
			source := open(t, testdata.Shared(t, "weights", "stories260K", test.source))
			want := open(t, testdata.Shared(t, "weights", "stories260K", test.want))
			path := filepath.Join(t.TempDir(), "out.gguf")
			r := recipe(t, test.recipe)
			if err := quant.QuantizeFile(t.Context(), source, path, r, nil); err != nil {
				t.Fatal(err)
			}
			got := open(t, path)
			for _, tensor := range want.Tensors() {
				mine := got.Tensor(tensor.Name)
				if mine == nil || mine.Type != tensor.Type {
					t.Errorf("tensor %s is %+v, want type %v", tensor.Name, mine, tensor.Type)
					continue
				}
				if !bytes.Equal(got.Data(mine), want.Data(tensor)) {
					t.Errorf("tensor %s (%v) has other bytes", tensor.Name, tensor.Type)
				}
			}
			for _, key := range want.Keys() {
				a, _ := want.Value(key)
				b, _ := got.Value(key)
				if a.String() != b.String() {
					t.Errorf("%s is %v, want %v", key, b, a)
				}
			}
		})
	}
}

// source writes a file with one tensor of each named type, and gives it opened.
func source(t *testing.T, weights []float32, types ...gguf.Type) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.gguf")
	w, err := gguf.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Set("general.architecture", gguf.ValueOf("llama")); err != nil {
		t.Fatal(err)
	}
	for i, typ := range types {
		if err := w.Declare(fmt.Sprintf("blk.%d.attn_q.weight", i), typ, 256, len(weights)/256); err != nil {
			t.Fatal(err)
		}
	}
	for i, typ := range types {
		b := make([]byte, 0)
		if typ == gguf.F32 {
			b = floatBits(weights)
		} else {
			b = append(b, quantize(t, typ, weights)...)
		}
		if err := w.WriteTensor(fmt.Sprintf("blk.%d.attn_q.weight", i), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func TestQuantizeFileSources(t *testing.T) {
	weights := bellWeights(256 * 4)
	for _, test := range []struct {
		from    gguf.Type
		recipe  string
		again   bool
		want    gguf.Type
		refused string
	}{
		{from: gguf.F32, recipe: "Q8_0", want: gguf.Q8_0},
		{from: gguf.BF16, recipe: "Q4_K_M", want: gguf.Q4_K},
		{from: gguf.F16, recipe: "BF16", want: gguf.BF16},
		{from: gguf.Q4_0, recipe: "Q4_0", want: gguf.Q4_0},
		{from: gguf.Q8_0, recipe: "Q4_0", refused: `quant: tensor "blk.0.attn_q.weight" is already Q8_0 and would become Q4_0, which adds up the errors of both: start from an F32, F16 or BF16 file, or allow it`},
		{from: gguf.Q8_0, recipe: "Q4_0", again: true, want: gguf.Q4_0},
	} {
		t.Run(fmt.Sprintf("%v to %s", test.from, test.recipe), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out.gguf")
			r := recipe(t, test.recipe)
			r.Requantize = test.again
			src := source(t, weights, test.from)
			err := quant.QuantizeFile(t.Context(), src, path, r, nil)
			if test.refused != "" {
				if err == nil || err.Error() != test.refused {
					t.Errorf("error is %v, want %s", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tensor := src.Tensors()[0]
			want := quantize(t, test.want, dequantize(t, test.from, src.Data(tensor)))
			got := open(t, path)
			if !bytes.Equal(got.Data(got.Tensors()[0]), want) {
				t.Errorf("the file's bytes are not those of Quantize to %v", test.want)
			}
			if n, _ := got.Uint("general.quantization_version"); n != 2 {
				t.Errorf("general.quantization_version is %d, want 2", n)
			}
			if n, _ := got.Uint("general.file_type"); uint32(n) != r.FileType {
				t.Errorf("general.file_type is %d, want %d", n, r.FileType)
			}
		})
	}
}

// onlyFiles checks what is left in a folder.
func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files in the folder (-want +got):\n%s", diff)
	}
}

func TestQuantizeFileBadWeight(t *testing.T) {
	weights := bellWeights(256 * 4)
	weights[700] = float32(1e30)
	dir := t.TempDir()
	err := quant.QuantizeFile(t.Context(), source(t, weights, gguf.F32), filepath.Join(dir, "out.gguf"), recipe(t, "Q8_0"), nil)
	const want = `quant: tensor "blk.0.attn_q.weight": weights 672 to 703 are too large for Q8_0: the scale of their block does not fit binary16`
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	onlyFiles(t, dir)
}

// TestSyntheticCancelled ends the context at every stage.
func TestSyntheticCancelled(t *testing.T) {
	for _, after := range []int{0, 1, 5} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		stop := func(_, _ int64) {
			if calls++; calls == after {
				cancel()
			}
		}
		if after == 0 {
			cancel()
		}
		err := quant.Synthetic(ctx, filepath.Join(dir, "out.gguf"), "tiny", recipe(t, "Q8_0"), 1, stop)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d chunks: error is %v", after, err)
		}
		onlyFiles(t, dir)
		cancel()
	}
}

// TestSyntheticBytes pins whole files, and with them that neither the machine
// nor the number of processors matters.
func TestSyntheticBytes(t *testing.T) {
	for _, test := range []struct{ recipe, digest string }{
		{"F16", "645e276519905280aebedcf2e0aaab568fde1b57a054d491a26ca9c694e643ca"},
		{"Q8_0", "7d52a798e1f32780809be39138c8d281b0d610193a3497e429b6456162a1201f"},
		{"Q4_0", "d61b2f28d3880fc44c74d21834324abf8699356dbb38089800c939d87535e32a"},
		{"Q4_K_M", "99cd6b4ed93f9f335c67968ad89f46a3f99dfdc53d48b8aa645d7780eab6f888"},
		{"Q5_K_M", "53e4b3ee2870892a7e274132993949a8bdd55ac6645847d2f2b99c7a6e729a42"},
	} {
		t.Run(test.recipe, func(t *testing.T) {
			for _, threads := range []int{1, 3} {
				before := runtime.GOMAXPROCS(threads)
				t.Cleanup(func() { runtime.GOMAXPROCS(before) })
				dir := t.TempDir()
				path := filepath.Join(dir, "out.gguf")
				var last, total int64
				progress := func(done, all int64) {
					if done <= last || all < done {
						t.Errorf("progress %d of %d after %d", done, all, last)
					}
					last, total = done, all
				}
				if err := quant.Synthetic(t.Context(), path, "TINY", recipe(t, test.recipe), 1, progress); err != nil {
					t.Fatal(err)
				}
				if last != total || total == 0 {
					t.Errorf("progress ended at %d of %d", last, total)
				}
				onlyFiles(t, dir, "out.gguf")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				got := fmt.Sprintf("%x", sha256.Sum256(b))
				if diff := cmp.Diff(test.digest, got); diff != "" {
					t.Errorf("digest with %d processors (-want +got):\n%s", threads, diff)
				}
			}
		})
	}
}

// TestSyntheticSeed holds that another seed gives other weights, and that no
// two tensors or rows have the same.
func TestSyntheticSeed(t *testing.T) {
	seen := map[string]string{}
	for seed := range uint64(2) {
		path := filepath.Join(t.TempDir(), "out.gguf")
		if err := quant.Synthetic(t.Context(), path, "tiny", recipe(t, "F16"), seed, nil); err != nil {
			t.Fatal(err)
		}
		f := open(t, path)
		for _, tensor := range f.Tensors() {
			if strings.HasSuffix(tensor.Name, "_norm.weight") {
				continue
			}
			size := tensor.RowSize()
			for row := range tensor.Rows() {
				b := string(f.Data(tensor)[row*size : (row+1)*size])
				name := fmt.Sprintf("seed %d, %s, row %d", seed, tensor.Name, row)
				if other, ok := seen[b]; ok {
					t.Fatalf("%s is the same as %s", name, other)
				}
				seen[b] = name
			}
		}
	}
}

func TestSyntheticRefuses(t *testing.T) {
	err := quant.Synthetic(t.Context(), filepath.Join(t.TempDir(), "x.gguf"), "7B", recipe(t, "F16"), 1, nil)
	const want = `quant: unknown shape "7B": use one of tiny, 135M, 0.5B, 1.1B`
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}
