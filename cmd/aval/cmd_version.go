package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/kernel"
)

// versionJSON is what "aval version --json" prints.
type versionJSON struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Numerics string `json:"numerics"`
	Kernel   string `json:"kernel"`
}

func newVersionCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version [flags]",
		Short: "Tell the version, and which arithmetic is in use",
		Long: `Version tells the program's version, the name of the arithmetic (two programs with
the same one give the same bits; spec/numerics.md defines it) and its implementation on this machine.
` + exitHelp,
		Example: "  aval version",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.version(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) version(asJSON bool) error {
	name, err := a.kernelName()
	if err != nil {
		return err
	}
	v := buildVersion()
	v.Kernel = name
	if asJSON {
		return a.printJSON(v)
	}
	commit := v.Commit
	if v.Modified {
		commit += " (modified)"
	}
	rows := []string{"aval\t" + v.Version}
	if commit != "" {
		rows = append(rows, "commit\t"+commit)
	}
	return a.table(append(rows, "numerics\t"+v.Numerics, "kernel\t"+v.Kernel, fmt.Sprintf("built with\t%s for %s", v.Go, v.Platform))...)
}

// buildVersion reads what the go command recorded in the program.
func buildVersion() versionJSON {
	v := versionJSON{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Numerics: kernel.Numerics}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
