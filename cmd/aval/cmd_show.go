package main

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
)

// maxShown is how many elements of an array "aval show --json" lists.
const maxShown = 32

type showOptions struct{ metadata, tensors, template, json bool }

// showJSON is what "aval show --json" prints.
type showJSON struct {
	Name         string         `json:"name"`
	Files        []string       `json:"files"`
	Size         int64          `json:"size"`
	Version      int            `json:"gguf_version"`
	Architecture string         `json:"architecture"`
	Parameters   int64          `json:"parameters"`
	Context      uint64         `json:"context_length"`
	Types        map[string]int `json:"tensor_types"`
	Metadata     []keyJSON      `json:"metadata"`
	Tensors      []tensorJSON   `json:"tensors"`
	Template     string         `json:"chat_template,omitempty"`
}

// keyJSON is one metadata value. Length is that of an array; Value then holds
// its first elements.
type keyJSON struct {
	Key    string `json:"key"`
	Kind   string `json:"kind"`
	Length int    `json:"length,omitempty"`
	Value  any    `json:"value"`
}

type tensorJSON struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"` // row length first
	Size  int64  `json:"size"`
}

func newShowCommand(a *app) *cobra.Command {
	var o showOptions
	c := &cobra.Command{
		Use:   "show [flags] MODEL",
		Short: "Show what is in a model file",
		Long: `Show tells what a model file says about itself. It reads the header only, and
also files of kinds that cannot be run.
` + modelHelp + "\n" + exitHelp,
		Example: "  aval show model.gguf\n  aval show --template smollm2\n  aval show --json model.gguf",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.show(&o, args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.metadata, "metadata", false, "all metadata")
	f.BoolVar(&o.tensors, "tensors", false, "all tensors")
	f.BoolVar(&o.template, "template", false, "the chat template")
	f.BoolVar(&o.json, "json", false, "print JSON, with everything")
	return c
}

func (a *app) show(o *showOptions, model string) error {
	where, err := a.locate(model)
	if err != nil {
		return err
	}
	f, err := gguf.Inspect(where.path)
	if err != nil {
		return err
	}
	defer f.Close()
	j := describe(f, where.name)
	switch {
	case o.json:
		return a.printJSON(j)
	case o.template:
		if j.Template == "" {
			return errors.New("the file has no chat template")
		}
		fmt.Fprintln(a.out, j.Template)
		return nil
	case o.metadata:
		rows := make([]string, 0, len(j.Metadata))
		for _, key := range f.Keys() {
			v, _ := f.Value(key)
			rows = append(rows, key+"\t"+v.Kind().String()+"\t"+v.String())
		}
		return a.table(rows...)
	case o.tensors:
		rows := make([]string, 0, len(j.Tensors))
		for _, t := range j.Tensors {
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", t.Name, t.Type, shape(t.Shape), size(t.Size)))
		}
		return a.table(rows...)
	}
	template := "none (prompts are given as they are)"
	if j.Template != "" {
		template = fmt.Sprintf("%d characters (--template shows it)", len(j.Template))
	}
	return a.table(
		"name\t"+j.Name,
		"file\t"+strings.Join(j.Files, ", "),
		"size\t"+size(j.Size),
		"architecture\t"+j.Architecture,
		"parameters\t"+count(j.Parameters),
		fmt.Sprintf("context\t%d tokens", j.Context),
		"tensors\t"+types(j.Types),
		"chat template\t"+template,
	)
}

func describe(f *gguf.File, name string) showJSON {
	j := showJSON{
		Name: name, Files: f.Paths(), Size: f.Size(), Version: f.Version(), Types: map[string]int{},
		Metadata: []keyJSON{}, Tensors: []tensorJSON{},
	}
	if title, ok := f.String("general.name"); ok && title != "" {
		j.Name = title
	}
	j.Architecture, _ = f.String("general.architecture")
	j.Context, _ = f.Uint(j.Architecture + ".context_length")
	j.Template, _ = f.String("tokenizer.chat_template")
	for _, key := range f.Keys() {
		v, _ := f.Value(key)
		j.Metadata = append(j.Metadata, keyJSON{Key: key, Kind: v.Kind().String(), Length: v.Len(), Value: plain(v)})
	}
	for _, t := range f.Tensors() {
		j.Tensors = append(j.Tensors, tensorJSON{t.Name, t.Type.String(), t.Shape, t.Size})
		j.Types[t.Type.String()]++
		j.Parameters += int64(t.Elements())
	}
	return j
}

// plain turns a metadata value into what encoding/json writes, and cuts arrays.
func plain(v gguf.Value) any {
	switch v.Kind() {
	case gguf.KindString:
		s, _ := v.Text()
		return s
	case gguf.KindBool:
		b, _ := v.Bool()
		return b
	case gguf.KindArray:
		list := []any{}
		for i, e := range v.All() {
			if i == maxShown {
				break
			}
			list = append(list, plain(e))
		}
		return list
	case gguf.KindFloat32, gguf.KindFloat64:
		x, _ := v.Float()
		if x-x != 0 { // NaN or infinite, which JSON cannot say
			return v.String()
		}
		if v.Kind() == gguf.KindFloat32 {
			return float32(x)
		}
		return x
	}
	if n, ok := v.Int(); ok {
		return n
	}
	n, _ := v.Uint()
	return n
}

func shape(dims []int) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = fmt.Sprint(d)
	}
	return strings.Join(parts, "×")
}

func types(counts map[string]int) string {
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, name))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}
