package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRmCommand(a *app) *cobra.Command {
	var prune bool
	c := &cobra.Command{
		Use:   "rm [flags] NAME...",
		Short: "Remove models from the store",
		Long: `Rm removes models from the store, and those of their files that no other model
uses. It never touches files outside the store.
` + exitHelp,
		Example: "  aval rm hf.co/user/repo:Q4_K_M\n  aval rm --prune    # leftovers of downloads that were not finished",
		Args: func(c *cobra.Command, args []string) error {
			if prune {
				return nil
			}
			return cobra.MinimumNArgs(1)(c, args)
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.rm(args, prune) },
	}
	c.Flags().BoolVar(&prune, "prune", false, "also remove files that no model uses and downloads that were not finished")
	return c
}

func (a *app) rm(names []string, prune bool) error {
	s, err := a.openStore()
	if err != nil {
		return err
	}
	for _, name := range names {
		freed, err := s.Remove(name)
		if err != nil {
			return fmt.Errorf(`%w (see "aval list")`, err)
		}
		a.note("removed %s, %s freed", name, size(freed))
	}
	if prune {
		p, err := s.Prune()
		if err != nil {
			return err
		}
		a.note("removed %d unused files and %d unfinished downloads, %s freed", p.Blobs, p.Partials, size(p.Bytes))
	}
	return nil
}
