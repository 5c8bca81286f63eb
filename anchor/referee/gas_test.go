package referee_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi/bind"
	"github.com/ethereum/go-ethereum/common"

	"github.com/avalnetwork/aval/anchor"
	"github.com/avalnetwork/aval/anchor/referee"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
)

var update = flag.Bool("update", false, "write the figures of gas into docs/anchors.md")

// gas is what a transaction with a call takes, all of it: its data, too.
func (c *court) gas(data []byte) uint64 {
	c.t.Helper()
	to := common.Address(c.address)
	n, err := c.client.EstimateGas(context.Background(), ethereum.CallMsg{From: c.opts.From, To: &to, Data: data})
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// probe deploys the contract that measures calls.
func (c *court) probe() *bind.BoundContract {
	c.t.Helper()
	data, err := os.ReadFile("../testdata/Probe.json")
	if err != nil {
		c.t.Fatal(err)
	}
	compiled, err := anchor.ParseCompiled(data)
	if err != nil {
		c.t.Fatal(err)
	}
	_, _, bound, err := bind.DeployContract(c.opts, compiled.ABI, compiled.Code, c.client)
	if err != nil {
		c.t.Fatal(err)
	}
	c.commit()
	return bound
}

// integers is a call of judgeIntegers: n elements, each string at a place of a
// tree of depth 20. It gives the sum, too.
func integers(t testing.TB, rng *rand.Rand, n int, extreme bool) (args []any, sum int32) {
	w, x := make([]byte, n), make([]byte, n)
	for i := range w {
		w[i], x[i] = byte(rng.Uint32()), byte(rng.Uint32())
		if extreme {
			w[i], x[i] = 0x80, 0x80
		}
		sum += int32(int8(w[i])) * int32(int8(x[i]))
	}
	var roots [2][32]byte
	var places, sizes [2]*big.Int
	var paths [2][][32]byte
	for i, value := range [][]byte{w, x} {
		place := rng.IntN(1 << 20)
		h := canon.Leaf(value)
		for bit := range 20 {
			var other canon.Hash
			binary.LittleEndian.PutUint64(other[:], rng.Uint64())
			for j := range other {
				other[j] = byte(rng.Uint32())
			}
			paths[i] = append(paths[i], other)
			if place>>bit&1 == 1 {
				h = canon.Node(other, h)
			} else {
				h = canon.Node(h, other)
			}
		}
		roots[i], places[i], sizes[i] = h, big.NewInt(int64(place)), big.NewInt(1<<20)
	}
	return []any{roots, sizes, places, w, paths[0], x, paths[1], sum}, sum
}

// TestIntegers: dot products without scales, right and wrong, at the limits.
func TestIntegers(t *testing.T) {
	c := newCourt(t)
	rng := rand.New(rand.NewPCG(2, 2))
	ask := func(args []any) (bool, int32, error) {
		var out []any
		if err := c.bound.Call(&bind.CallOpts{}, &out, "judgeIntegers", args...); err != nil {
			return false, 0, err
		}
		return out[0].(bool), out[1].(int32), nil
	}
	for _, n := range []int{32, 64, 96, 256, 4096, 65504} {
		for _, extreme := range []bool{false, true} {
			args, sum := integers(t, rng, n, extreme)
			if right, got, err := ask(args); err != nil || !right || got != sum {
				t.Fatalf("%d elements: %v, %d, %v, want %d", n, right, got, err, sum)
			}
			args[7] = sum + 1
			if right, got, err := ask(args); err != nil || right || got != sum {
				t.Fatalf("%d elements, a lie: %v, %d, %v, want %d", n, right, got, err, sum)
			}
			args[3].([]byte)[n-1] ^= 1
			if _, _, err := ask(args); err == nil {
				t.Fatalf("%d elements: weights that nobody committed to pass", n)
			}
			args[3].([]byte)[n-1] ^= 1
			args[5].([]byte)[0] ^= 1
			if _, _, err := ask(args); err == nil {
				t.Fatalf("%d elements: activations that nobody committed to pass", n)
			}
		}
	}
	for _, n := range []int{0, 31, 33, 65536} {
		args, _ := integers(t, rng, n, false)
		if _, _, err := ask(args); err == nil {
			t.Errorf("%d elements pass", n)
		}
	}
}

// TestGas holds the figures of docs/anchors.md to what the contracts take; a
// twentieth more or less is let be.
func TestGas(t *testing.T) {
	c := newCourt(t)
	rng := rand.New(rand.NewPCG(3, 3))
	compiled, err := anchor.Load("Tile")
	if err != nil {
		t.Fatal(err)
	}
	probe := c.probe()
	var rows []string
	var figures []uint64
	add := func(what string, data []byte) {
		var out []any
		if err := probe.Call(&bind.CallOpts{}, &out, "gasOf", common.Address(c.address), data); err != nil {
			t.Fatal(err)
		}
		n := out[0].(*big.Int).Uint64()
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", what, thousands(len(data)), thousands(int(n)), thousands(int(c.gas(data)))))
		figures = append(figures, n, c.gas(data))
	}
	for _, n := range []int{256, 1024, 4096} {
		args, _ := integers(t, rng, n, false)
		data, err := compiled.ABI.Pack("judgeIntegers", args...)
		if err != nil {
			t.Fatal(err)
		}
		add(fmt.Sprintf("dot product of %s 8-bit integers, two paths of depth 20", thousands(n)), data)
	}
	if figures[5] > 475_000 {
		t.Errorf("4,096 elements take %d gas, and another's contract 475,000", figures[5])
	}
	for _, x := range cases(t) {
		data, err := referee.Call(x.c)
		if err != nil {
			t.Fatal(err)
		}
		add(x.what, data)
	}
	if last := figures[len(figures)-1]; last > 3_000_000 {
		t.Errorf("a leaf takes %d gas", last)
	}
	table := "| call | bytes | gas to compute | gas of a transaction |\n| --- | --- | --- | --- |\n" + strings.Join(rows, "\n") + "\n"
	const path, begin, end = "../../docs/anchors.md", "<!-- gas -->\n\n", "\n<!-- /gas -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the figures", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	lines := strings.Split(strings.TrimSpace(old), "\n")
	if len(lines) != len(rows)+2 {
		t.Fatalf("%s has %d rows of figures, want %d: go test ./referee -run TestGas -update in anchor", path, len(lines)-2, len(rows))
	}
	for i, line := range lines[2:] {
		cells := strings.Split(line, "|")
		for k := range 2 {
			var n uint64
			if len(cells) == 6 {
				fmt.Sscan(strings.ReplaceAll(cells[3+k], ",", ""), &n)
			}
			want := float64(figures[2*i+k])
			if math.Abs(float64(n)-want) > want/20 {
				t.Errorf("%s says %q, measured %s: go test ./referee -run TestGas -update in anchor", path, line, rows[i])
			}
		}
	}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

type named struct {
	what string
	c    *referee.Case
}

// cases are leaves of products as wide as those of models small and large.
func cases(t *testing.T) (list []named) {
	t.Helper()
	r := newRun(t, "tiny")
	p, err := operation.PlanOutput(r.file, 0, operation.OutputCell{Index: 0, Prompt: len(r.tokens), Params: sample.Params{}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := operation.Compute(p, r)
	if err != nil {
		t.Fatal(err)
	}
	op := products(p)[0]
	x, err := referee.Product(t.Context(), v, r.print, op, 0)
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, named{fmt.Sprintf("leaf of a Q8_0 product: %d rows of %d columns", len(x.Evidence.Value)/4, x.Claim.Cols), x})
	rng := rand.New(rand.NewPCG(4, 4))
	for _, cols := range []int{576, 2048, 3072, 4096, 6144, 14336} {
		x := madeUp(t, rng, cols, false).leaf(0)
		rows := "1 row"
		if n := len(x.Evidence.Value) / 4; n > 1 {
			rows = fmt.Sprint(n, " rows")
		}
		list = append(list, named{fmt.Sprintf("leaf of a Q8_0 product: %s of %s columns of %s", rows, thousands(min(cols, 3072)), thousands(cols)), x})
	}
	return list
}
