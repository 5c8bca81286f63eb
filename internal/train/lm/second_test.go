package lm_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// secondExample is an example as the second implementation reads it.
type secondExample struct {
	Tokens []int32 `json:"tokens"`
	Mask   []bool  `json:"mask,omitempty"`
}

// TestSecond holds the second implementation of the gradients, which was written
// from their text alone, to give the same bits.
func TestSecond(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	second := testdata.Second(t, "language.py")
	for _, name := range []string{"llama-linear", "qwen2-yarn", "qwen3", "gemma2", "gemma3-default", "phi3-long", "smollm3"} {
		for _, lora := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/lora=%t", name, lora), func(t *testing.T) {
				t.Parallel()
				s := named(t, name)
				f := openFile(t, s, false)
				run := map[string]any{"model": f.Paths()[0], "context": 512, "scale": math.Float32bits(0.375)}
				o := lm.Options{Threads: 1, Context: 512}
				if lora {
					o.LoRA = &lm.LoRA{Rank: 3, Alpha: 5, Seed: 6, Targets: allTargets(s)}
				}
				m := openModel(t, f, o)
				if lora {
					for i, p := range m.Params() {
						if i%2 == 1 { // B, which is zero at first
							train.InitNormal(p, 7, 0.05)
						}
					}
					path := filepath.Join(t.TempDir(), "adapter.gguf")
					if err := m.Adapter().Write(path); err != nil {
						t.Fatal(err)
					}
					run["adapter"] = path
				}
				mask := make([]bool, 15)
				for i := range mask {
					mask[i] = i%4 != 1
				}
				examples := []train.Example{{Tokens: text(36)}, {Tokens: text(40)[7:23], Mask: mask}}
				var list []secondExample
				var loss train.Loss
				for i, e := range examples {
					list = append(list, secondExample{e.Tokens, e.Mask})
					one, err := m.Accumulate(examples[i:i+1], 0.375)
					if err != nil {
						t.Fatal(err)
					}
					loss.Add(one)
				}
				run["examples"] = list
				h := sha256.New()
				for _, p := range m.Params() {
					if err := binary.Write(h, binary.LittleEndian, p.Grad); err != nil {
						t.Fatal(err)
					}
				}
				want := fmt.Sprint(math.Float64bits(loss.Sum), " ", hex.EncodeToString(h.Sum(nil)))
				data, err := json.Marshal(run)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "run.json")
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				if got := second(t, path); got != want {
					t.Errorf("the second implementation gives %s, want %s", got, want)
				}
			})
		}
	}
}
