package sample_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"sort"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/sample"
)

// twin is spec/sampling.md read aloud: slow, with maps, sorts and big integers.
// It returns -1 where there is no candidate.
func twin(p sample.Params, logits []float32, history []int32, position int, allow sample.Mask) int32 {
	z := append([]float32(nil), logits...)
	for id, b := range p.LogitBias {
		if math.IsInf(float64(b), -1) {
			z[id] = b
		} else {
			z[id] += b
		}
	}
	n := p.RepeatLastN
	if n == 0 {
		n = 64
	}
	if n < 0 || n > len(history) {
		n = len(history)
	}
	count := map[int32]int{}
	for _, id := range history[len(history)-n:] {
		count[id]++
	}
	for id, n := range count {
		if p.RepeatPenalty != 0 {
			if z[id] > 0 {
				z[id] = z[id] / p.RepeatPenalty
			} else {
				z[id] = float32(z[id] * p.RepeatPenalty)
			}
		}
		z[id] = z[id] - float32(float32(n)*p.FrequencyPenalty)
		z[id] = z[id] - p.PresencePenalty
	}

	type cand struct {
		id int
		z  float32
	}
	var cs []cand
	for id, v := range z {
		if (allow == nil || allow.Has(int32(id))) && !math.IsInf(float64(v), -1) {
			cs = append(cs, cand{id, v})
		}
	}
	if len(cs) == 0 {
		return -1
	}
	sort.Slice(cs, func(i, j int) bool { return cs[i].z > cs[j].z || (cs[i].z == cs[j].z && cs[i].id < cs[j].id) })
	if p.Temperature == 0 {
		return int32(cs[0].id)
	}
	top := cs[0].z
	e := func(v, t float32) float32 {
		if v == top {
			return 1
		}
		d := v - top
		return kernel.Exp(d / t)
	}
	fixed := func(v, t float32) *big.Int {
		f := new(big.Float).SetFloat64(float64(e(v, t)))
		f.SetMantExp(f, 40)
		i, _ := f.Int(nil)
		return i
	}
	if p.TopK > 0 && p.TopK < len(cs) {
		cs = cs[:p.TopK]
	}
	if p.TopP > 0 && p.TopP < 1 {
		need := new(big.Int)
		for _, c := range cs {
			need.Add(need, fixed(c.z, 1))
		}
		need.Mul(need, big.NewInt(int64(math.Floor(float64(p.TopP)*(1<<32)))))
		need.Rsh(need, 32)
		sum := new(big.Int)
		for i, c := range cs {
			sum.Add(sum, fixed(c.z, 1))
			if sum.Cmp(need) >= 0 {
				cs = cs[:i+1]
				break
			}
		}
	}
	for i, c := range cs {
		if e(c.z, 1) < p.MinP {
			cs = cs[:i]
			break
		}
	}
	sort.Slice(cs, func(i, j int) bool { return cs[i].id < cs[j].id })
	total := new(big.Int)
	for _, c := range cs {
		total.Add(total, fixed(c.z, p.Temperature))
	}
	x := new(big.Int).SetUint64(number(p.Seed, uint64(position)))
	x.Mul(x, total)
	x.Rsh(x, 64)
	sum := new(big.Int)
	for _, c := range cs {
		sum.Add(sum, fixed(c.z, p.Temperature))
		if x.Cmp(sum) < 0 {
			return int32(c.id)
		}
	}
	panic("twin: no token")
}

func number(seed, index uint64) uint64 {
	key := binary.LittleEndian.AppendUint64(nil, seed)
	key = binary.LittleEndian.AppendUint64(key, index)
	key = append(key, "aval sample v1\x00\x00"...)
	return rand.NewChaCha8([32]byte(key)).Uint64()
}
