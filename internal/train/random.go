package train

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Random is a stream of random numbers that is a function of a seed, a purpose
// and an index: the ChaCha8Rand stream whose key is their hash
// (spec/training.md). Two purposes or indices never share numbers.
type Random struct{ gen rand.ChaCha8 }

// NewRandom returns the stream of a seed, a purpose and an index.
func NewRandom(seed uint64, purpose string, index uint64) *Random {
	r := new(Random)
	r.Reset(seed, purpose, index)
	return r
}

// Reset makes r the stream of these three.
func (r *Random) Reset(seed uint64, purpose string, index uint64) {
	var a, b [8]byte
	binary.LittleEndian.PutUint64(a[:], seed)
	binary.LittleEndian.PutUint64(b[:], index)
	r.gen.Seed(canon.Sum("aval training random/1", a[:], []byte(purpose), b[:]))
}

// Uint64 draws 64 random bits.
func (r *Random) Uint64() uint64 { return r.gen.Uint64() }

// Below draws an integer in [0, n): the upper half of a product of 128 bits.
// Nothing is rejected, so a value's probability is off by less than 2^-64.
func (r *Random) Below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.gen.Uint64(), n)
	return hi
}

// unit draws a multiple of 2^-53 in [0, 1).
func (r *Random) unit() float64 { return float64(r.gen.Uint64()>>11) / (1 << 53) }

// Uniform fills dst with numbers in [-limit, limit), in order.
func (r *Random) Uniform(dst []float32, limit float32) {
	for i := range dst {
		dst[i] = float32(float64(limit) * (float64(2*r.unit()) - 1))
	}
}

// Normal fills dst with normally distributed numbers of mean 0 and the given
// standard deviation, two at a time (Box and Muller 1958); the last one of an
// odd number of elements takes the cosine and leaves the sine.
func (r *Random) Normal(dst []float32, deviation float32) {
	const twoPi = 2 * math.Pi
	for i := 0; i < len(dst); i += 2 {
		u, v := 1-r.unit(), r.unit() // u in (0, 1]
		radius := float64(float64(deviation) * math.Sqrt(float64(-2*kernel.Log(u))))
		sin, cos := kernel.SinCos(float64(twoPi * v))
		dst[i] = float32(radius * cos)
		if i+1 < len(dst) {
			dst[i+1] = float32(radius * sin)
		}
	}
}

// InitNormal fills a parameter from the stream of its name.
func InitNormal(p *Param, seed uint64, deviation float32) {
	NewRandom(seed, "init "+p.Name, 0).Normal(p.Data, deviation)
}

// InitUniform fills a parameter from the stream of its name.
func InitUniform(p *Param, seed uint64, limit float32) {
	NewRandom(seed, "init "+p.Name, 0).Uniform(p.Data, limit)
}

// He is the standard deviation for weights before a rectifier: sqrt(2 / inputs)
// (He et al. 2015).
func He(inputs int) float32 { return float32(math.Sqrt(2 / float64(inputs))) }

// Glorot is the limit of uniform weights: sqrt(6 / (inputs + outputs)) (Glorot
// and Bengio 2010).
func Glorot(inputs, outputs int) float32 {
	return float32(math.Sqrt(6 / float64(inputs+outputs)))
}
