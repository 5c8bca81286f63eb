package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/node/control"
)

type uiOptions struct {
	netOptions
	port int
	open bool
}

func newUICommand(a *app) *cobra.Command {
	var o uiOptions
	c := &cobra.Command{
		Use: "ui [flags]", Short: "Open the console of this node in a browser", Args: cobra.NoArgs,
		Long: `Ui serves the console of this node to browsers of this machine, and prints a link that
lets one of them in: chat with models here and elsewhere, each answer with what was
checked of it; the network, the models, audits and disputes, the ledger. If the console
runs already, as with "aval up --ui", it only prints another link; if the node runs
("aval up"), it shows that one until Ctrl-C; else it starts the node as well, as "aval
up" does.

The link works once, for ten minutes. The console is on the loopback interface, and
whoever reaches it needs the link, or the secret in the node's folder.
` + exitHelp,
		Example: "  aval ui\n  aval ui --open\n  aval ui --port 8080",
		RunE:    func(c *cobra.Command, _ []string) error { return a.ui(c.Context(), c, &o) },
	}
	c.Flags().IntVar(&o.port, "port", 0, fmt.Sprintf("port to listen on (default %d, or another one if that is taken)", consolePort))
	c.Flags().BoolVar(&o.open, "open", false, "open the link in the browser, too")
	o.flags(c)
	return c
}

func (a *app) ui(ctx context.Context, c *cobra.Command, o *uiOptions) error {
	if o.port < 0 || o.port > 65535 {
		return usageErrorf("--port is %d, want 1 to 65535", o.port)
	}
	path, err := a.nodeFolder()
	if err != nil {
		return err
	}
	if link, ok, err := openConsole(ctx, path); err != nil || ok {
		if err != nil {
			return err
		}
		return a.tellLink(ctx, link, o.open)
	}
	n, _, err := a.runningNode(ctx)
	var asked consoleNode = n
	switch {
	case errors.Is(err, control.ErrNotRunning):
		if asked, err = a.startForConsole(ctx, &o.netOptions); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if name := o.changed(c); name != "" {
			_ = n.Close()
			return usageErrorf("this node runs already, in process %d, with flags of its own: leave out --%s, or end it first", n.Process(), name)
		}
	}
	defer asked.Close()
	err = a.serveConsole(ctx, asked, path, o.port, consoleLog(a, o.debug), func(link string) error {
		if err := a.tellLink(ctx, link, o.open); err != nil {
			return err
		}
		a.note("the console runs until Ctrl-C; \"aval ui\" gives another link")
		return nil
	})
	if err == nil {
		err = ctx.Err() // only a signal ends it
	}
	return err
}

// startForConsole starts the node as "aval net up" does.
func (a *app) startForConsole(ctx context.Context, o *netOptions) (consoleNode, error) {
	return a.startIn(ctx, o, "aval status", func(folder *control.Folder) (err error) {
		o.ledger, err = a.chainOf(ctx, &upOptions{netOptions: *o}, folder, nil)
		return err
	})
}

func consoleLog(a *app, debug bool) *slog.Logger {
	level := slog.LevelWarn
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// tellLink prints a link and, if wanted, opens it.
func (a *app) tellLink(ctx context.Context, link string, open bool) error {
	if _, err := fmt.Fprintln(a.out, link); err != nil || !open {
		return err
	}
	if err := a.openBrowser(ctx, link); err != nil {
		a.note("aval: the browser was not opened: %v", err)
	}
	return nil
}

// openBrowser opens a link by a file that leads to it: arguments of programs can be
// read by everybody on the machine.
func (a *app) openBrowser(ctx context.Context, link string) error {
	dir, err := os.MkdirTemp("", "aval-ui-*") // for its owner only
	if err != nil {
		return err
	}
	a.temporary = append(a.temporary, dir)
	page := filepath.Join(dir, "console.html")
	text := `<!doctype html><meta charset="utf-8"><title>Aval</title><meta http-equiv="refresh" content="0; url=` + html.EscapeString(link) + `">`
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		return err
	}
	name, args := "xdg-open", []string{page}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", page}
	}
	return exec.CommandContext(ctx, name, args...).Start()
}

// consoleBeside serves the console of a node that this process runs for something
// else, too. end ends it, which must be before the node ends.
func (a *app) consoleBeside(ctx context.Context, n consoleNode, folder string, debug bool) (end func()) {
	beside, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := a.serveConsole(beside, n, folder, 0, consoleLog(a, debug), func(link string) error {
			a.note("the console: %s", link)
			return nil
		})
		if err != nil {
			a.note("aval: the console ended: %v", err)
		}
	}()
	return func() { cancel(); <-done }
}
