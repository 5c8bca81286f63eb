package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/demo"
)

type demoOptions struct {
	out     string
	keep    bool
	json    bool
	limit   time.Duration
	program string // of the nodes; "": this one
	// started is told of each node's process; tests use it.
	started func(name string, p *os.Process)
}

func newDemoCommand(a *app) *cobra.Command {
	o := demoOptions{}
	c := &cobra.Command{
		Use: "demo [flags]", Short: "Watch a liar get caught: seven nodes on this machine, in a minute", Args: cobra.NoArgs,
		Long: `Demo starts seven nodes of a network on this machine: four that make the blocks of a
ledger, among them one that answers and one that audits, another that answers, an
auditor, and a liar, which answers with a model that was tampered with. You ask, as an
eighth. The honest answer is computed again and paid; the false one is drawn for an
audit, disputed on the ledger, and pinned to one tile of one matrix; the liar loses
its bond. All of it is the program as it is ("aval up"): nothing is staged but the
tampered file.

It uses the built-in model, the loopback interface and temporary folders; your own
node, key and models are left alone. End any of the seven while it runs: it tells what
then happens.

The story is written as a page of HTML, with the evidence in a folder beside it.
` + exitHelp,
		Example: "  aval demo\n  aval demo --out /tmp/story.html",
		RunE:    func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), &o) },
	}
	f := c.Flags()
	f.StringVarP(&o.out, "out", "o", "aval-demo.html", "FILE of the page; the evidence goes into a folder of that name without .html")
	f.BoolVar(&o.keep, "keep", false, "keep the folders of the nodes, with what they logged, and tell where they are")
	f.DurationVar(&o.limit, "limit", 3*time.Minute, "end after so long, whatever has happened")
	f.BoolVar(&o.json, "json", false, "print the facts as JSON")
	return c
}

func (a *app) demo(ctx context.Context, o *demoOptions) error {
	if info, err := os.Stat(filepath.Dir(o.out)); err != nil || !info.IsDir() {
		return fmt.Errorf("--out %s: there is no folder %s", o.out, filepath.Dir(o.out))
	}
	if o.limit < time.Second {
		return usageErrorf("--limit %v: want a second at least; the demo takes most of a minute", o.limit)
	}
	return a.demoIn(ctx, &demoRun{app: a, o: o, began: time.Now()})
}

// demoIn plays a demo, and tells it.
func (a *app) demoIn(ctx context.Context, d *demoRun) (err error) {
	o := d.o
	if o.program == "" {
		if o.program, err = ownProgram(); err != nil {
			return err
		}
	}
	if d.dir, err = os.MkdirTemp("", "aval-demo-"); err != nil {
		return err
	}
	if o.keep {
		a.note("the nodes' folders are in %s", d.dir)
	} else {
		defer os.RemoveAll(d.dir)
	}
	d.view = newDemoView(a, d.began)
	defer d.view.end()
	defer d.stop()
	if err := d.play(ctx); err != nil {
		return err
	}
	d.view.stage(demoStages, "ending the nodes")
	d.stop()
	d.view.end()
	if err := d.write(); err != nil {
		return err
	}
	if o.json {
		return a.printJSON(&d.story)
	}
	_, err = fmt.Fprintf(a.out, "\n%s\n%s\n\nThe page: %s\n", d.story.Title(), d.story.Summary(), o.out)
	for _, c := range d.story.Commands {
		if err == nil {
			_, err = fmt.Fprintf(a.out, "  %s\n", c.Text)
		}
	}
	return err
}

// step tells that something happened, and keeps it for the page.
func (d *demoRun) step(mark demo.Mark, format string, args ...any) {
	at := time.Since(d.began)
	s := demo.Step{At: float64(at.Milliseconds()) / 1000, Text: fmt.Sprintf(format, args...), Mark: mark}
	d.story.Steps = append(d.story.Steps, s)
	d.view.say(s)
}
