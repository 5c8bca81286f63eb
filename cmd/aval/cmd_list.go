package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/store"
)

// listJSON is what "aval list --json" prints, a list of these.
type listJSON struct {
	Name    string     `json:"name"`
	Size    int64      `json:"size"`
	Created time.Time  `json:"created"`
	Source  string     `json:"source"`
	Files   []fileJSON `json:"files"`
}

type fileJSON struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

func newListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list [flags]",
		Aliases: []string{"ls"},
		Short:   "List the models of the store",
		Long:    "List shows the models of the store, by name.\n" + exitHelp,
		Example: "  aval list\n  aval list --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.list(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) list(asJSON bool) error {
	s, err := a.openStore()
	if err != nil {
		return err
	}
	models, damaged := s.List()
	if asJSON {
		out := []listJSON{}
		for _, m := range models {
			out = append(out, listed(m))
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
		return damaged
	}
	if len(models) == 0 && damaged == nil {
		a.note(`no models yet; fetch one with "aval pull hf.co/user/repo:quant", or use the built-in one with "aval run"`)
		return nil
	}
	rows := []string{"NAME\tSIZE\tADDED"}
	for _, m := range models {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s", m.Name, size(m.Size()), m.Created.Format("2006-01-02 15:04")))
	}
	if err := a.table(rows...); err != nil {
		return err
	}
	return damaged
}

func listed(m store.Model) listJSON {
	j := listJSON{Name: m.Name, Size: m.Size(), Created: m.Created, Source: m.Source, Files: []fileJSON{}}
	for _, f := range m.Files {
		j.Files = append(j.Files, fileJSON(f))
	}
	return j
}
