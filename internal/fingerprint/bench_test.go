package fingerprint_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// wide is a model of 36 MB in which most is one matrix.
func wide(b *testing.B) *gguf.File {
	m := small(b)
	m.weights = append(m.weights, randomWeight(7, "output.weight", gguf.Q8_0, 896, 40000))
	return m.parse(b)
}

func BenchmarkOf(b *testing.B) {
	f := wide(b)
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			b.SetBytes(f.Size())
			for b.Loop() {
				if _, err := fingerprint.Of(b.Context(), f, threads); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTile(b *testing.B) {
	tree, err := fingerprint.Of(b.Context(), wide(b), 0)
	if err != nil {
		b.Fatal(err)
	}
	r := fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "output.weight", From: 1234, To: 1235}}}
	p, err := tree.Prove(b.Context(), r)
	if err != nil {
		b.Fatal(err)
	}
	data, err := p.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			if _, err := tree.Prove(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportMetric(float64(len(data)), "bytes")
		for b.Loop() {
			p, err := fingerprint.Decode(data)
			if err != nil {
				b.Fatal(err)
			}
			f, err := p.Verify(tree.Root())
			if err != nil {
				b.Fatal(err)
			}
			if tile, ok := f.Tile("output.weight", 1234); !ok || !bytes.Equal(tile, tile[:7616]) {
				b.Fatal("no tile")
			}
		}
	})
}
