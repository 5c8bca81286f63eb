package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/hub"
)

func newPullCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "pull [flags] MODEL",
		Short: "Download a model into the store",
		Long: `Pull downloads a model from Hugging Face into the store. A download that was
interrupted goes on where it stopped. Nothing enters the store whose size and
SHA-256 are not the ones that the server announced.

MODEL is hf.co/user/repo, with :quant to choose among its files. Nothing else in
this program downloads.
` + environmentHelp + "\n" + exitHelp,
		Example: `  aval pull hf.co/user/repo
  aval pull hf.co/user/repo:Q8_0
  HF_ENDPOINT=https://mirror.example aval pull hf.co/user/repo`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.pull(c.Context(), args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the model as JSON when it is there")
	return c
}

func (a *app) pull(ctx context.Context, model string, asJSON bool) error {
	ref, err := hub.ParseReference(model)
	if err != nil {
		return usageError{err}
	}
	s, err := a.openStore()
	if err != nil {
		return err
	}
	show, end := a.progress(ref.String())
	m, err := hub.Pull(ctx, a.hubConfig(), s, ref, func(p hub.Progress) {
		switch p.Phase {
		case hub.Downloading:
			show(p.Done, p.Total)
		case hub.Waiting, hub.Retrying:
			end()
			a.note("%s: %s", p.Phase, p.Note)
		}
	})
	end()
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(listed(m))
	}
	fmt.Fprintln(a.out, m.Name)
	return nil
}

func (a *app) hubConfig() hub.Config {
	return hub.Config{
		Endpoint: a.getenv("HF_ENDPOINT"), Token: a.getenv("HF_TOKEN"),
		UserAgent: "aval/" + buildVersion().Version, Proxy: http.ProxyFromEnvironment,
	}
}
