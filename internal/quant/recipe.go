package quant

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/gguf"
)

// Recipe says which type each tensor of a file gets. Make one with
// [ParseRecipe]. The mixes are those that files of the same names have when
// llama.cpp makes them, so that sizes and quality are what people expect.
type Recipe struct {
	// Name is what people call such a file, "Q4_K_M".
	Name string
	// FileType is the value of general.file_type, one of llama.cpp's numbers.
	FileType uint32
	// Base is the type of most matrices.
	Base gguf.Type
	// Sensitive is the type of the matrices where errors cost most: the
	// attention's values and the ffn's down projection in about half of the
	// layers. It is Base where the recipe has no such rule.
	Sensitive gguf.Type
	// Requantize allows a source that is itself quantised. The errors then add
	// up, so the default is to refuse.
	Requantize bool
}

func recipes() []Recipe {
	plain := func(name string, fileType uint32, t gguf.Type) Recipe {
		return Recipe{Name: name, FileType: fileType, Base: t, Sensitive: t}
	}
	return []Recipe{
		plain("F32", 0, gguf.F32),
		plain("F16", 1, gguf.F16),
		plain("BF16", 32, gguf.BF16),
		plain("Q8_0", 7, gguf.Q8_0),
		plain("Q6_K", 18, gguf.Q6_K),
		{Name: "Q5_K_M", FileType: 17, Base: gguf.Q5_K, Sensitive: gguf.Q6_K},
		plain("Q5_1", 9, gguf.Q5_1),
		plain("Q5_0", 8, gguf.Q5_0),
		{Name: "Q4_K_M", FileType: 15, Base: gguf.Q4_K, Sensitive: gguf.Q6_K},
		plain("Q4_1", 3, gguf.Q4_1),
		plain("Q4_0", 2, gguf.Q4_0),
	}
}

// Recipes lists the names that [ParseRecipe] knows, largest files first.
func Recipes() []string {
	var names []string
	for _, r := range recipes() {
		names = append(names, r.Name)
	}
	return names
}

// ParseRecipe finds a recipe by its name, in any case.
func ParseRecipe(name string) (Recipe, error) {
	for _, r := range recipes() {
		if strings.EqualFold(name, r.Name) {
			return r, nil
		}
	}
	return Recipe{}, fmt.Errorf("quant: unknown recipe %q: use one of %s", name, strings.Join(Recipes(), ", "))
}

// role is what a matrix is for, as far as the recipes care.
type role int

const (
	other     role = iota
	output         // logits, also the token embedding when the two are tied
	values         // attention's values, alone or fused with queries and keys
	down           // the ffn's last projection
	untouched      // stays as it is
)

// Types returns the type of each tensor. layers is the file's block count.
func (r Recipe) Types(layers int, tensors []*gguf.Tensor) []gguf.Type {
	roles := make([]role, len(tensors))
	tied := !slices.ContainsFunc(tensors, func(t *gguf.Tensor) bool { return t.Name == "output.weight" })
	for i, t := range tensors {
		roles[i] = roleOf(t, tied)
	}
	rankValues, nValues := ranks(tensors, roles, values)
	rankDown, _ := ranks(tensors, roles, down)
	types := make([]gguf.Type, len(tensors))
	for i, t := range tensors {
		want := r.Base
		switch {
		case roles[i] == untouched:
			types[i] = t.Type
			continue
		case r.Base == gguf.F32 || r.Base == gguf.F16 || r.Base == gguf.BF16:
			types[i] = r.Base
			continue
		case roles[i] == output:
			want = outputType(r.Base, t.Shape[0])
		case roles[i] == values && sensitive(rankValues[i], nValues),
			roles[i] == down && sensitive(rankDown[i], layers):
			want = r.Sensitive
		}
		types[i] = fallback(want, t.Shape[0])
	}
	return types
}

// roleOf goes by the tensor's name, as GGUF files name them.
func roleOf(t *gguf.Tensor, tied bool) role {
	if t.Rows() < 2 || !quantizable(t.Name) {
		return untouched
	}
	switch {
	case t.Name == "output.weight", tied && t.Name == "token_embd.weight":
		return output
	case strings.Contains(t.Name, "attn_v.weight"), strings.Contains(t.Name, "attn_qkv.weight"):
		return values
	case strings.Contains(t.Name, "ffn_down"):
		return down
	}
	return other
}

// quantizable tells matrices of weights from what stays in full precision:
// biases, norms, the choice of experts, and tables of positions and segments.
func quantizable(name string) bool {
	if !strings.HasSuffix(name, "weight") || strings.Contains(name, "_norm.weight") {
		return false
	}
	switch name {
	case "position_embd.weight", "token_types.weight":
		return false
	}
	return !strings.Contains(name, "ffn_gate_inp.weight")
}

// ranks numbers the tensors of one role by layer and gives their count. (Not by
// their place in the file: published files order layers as text, 0 1 10 11 2.)
func ranks(tensors []*gguf.Tensor, roles []role, of role) (rank map[int]int, n int) {
	var list []int
	for i := range tensors {
		if roles[i] == of {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int {
		x, y := tensors[a].Name, tensors[b].Name
		return cmp.Or(cmp.Compare(layerOf(x), layerOf(y)), cmp.Compare(x, y))
	})
	rank = make(map[int]int, len(list))
	for n, i := range list {
		rank[i] = n
	}
	return rank, len(list)
}

// layerOf reads the number in "blk.12.ffn_down.weight"; other names come first.
func layerOf(name string) int {
	rest, ok := strings.CutPrefix(name, "blk.")
	if !ok {
		return -1
	}
	number, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		return -1
	}
	return n
}

// sensitive picks the first and the last eighth of n layers and every third in
// between.
func sensitive(i, n int) bool {
	return i < n/8 || i >= 7*n/8 || (i-n/8)%3 == 2
}

// outputType is the type of the matrix that makes logits, in a file of base.
func outputType(base gguf.Type, row int) gguf.Type {
	elems, _ := base.Block()
	if base == gguf.Q8_0 || row%elems != 0 {
		return gguf.Q8_0
	}
	return gguf.Q6_K
}

// fallback replaces a type whose blocks do not fill rows by the next larger
// one with blocks of 32, and by F16 if those do not either.
func fallback(t gguf.Type, row int) gguf.Type {
	if fits(t, row) {
		return t
	}
	switch t {
	case gguf.Q4_K:
		t = gguf.Q5_0
	case gguf.Q5_K:
		t = gguf.Q5_1
	case gguf.Q6_K:
		t = gguf.Q8_0
	}
	if fits(t, row) {
		return t
	}
	return gguf.F16
}

func fits(t gguf.Type, row int) bool {
	elems, _ := t.Block()
	return row%elems == 0
}
