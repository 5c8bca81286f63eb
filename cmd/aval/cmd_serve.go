package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/httpapi"
)

const (
	defaultHost = "127.0.0.1"
	defaultPort = 11434
	maxSlots    = 256
)

type serveOptions struct {
	modelOptions
	loraOptions
	host, apiKey        string
	port, slots, models int
	keepAlive, drain    time.Duration
	origins, hosts      []string
	quiet, noReceipts   bool
}

func newServeCommand(a *app) *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve [flags] [FILE...]",
		Short: "Serve models over HTTP, as OpenAI and Ollama do",
		Long: `Serve answers the OpenAI endpoints /v1/chat/completions, /v1/completions,
/v1/embeddings and /v1/models, and the Ollama endpoints below /api. It offers the
models of the store and the GGUF files named, each by its name without ".gguf".
A model is loaded when it is first asked for. With nothing else to offer it
offers the built-in one, aval-mini.

Answers do not depend on who else is being served. A prompt that does not fit the
context is refused with the numbers. Ctrl-C lets running answers finish.

Every answer gets a signed receipt, whose id is in the header Aval-Receipt: GET
/v1/receipts/{id} gives the file for "aval verify". The field "receipt" of a
request says more: {"nonce", "beacon", "trace", "privacy", "auditor"}. Receipts
are kept in memory only, and for a while.
` + loraHelp + "\n" + environmentHelp + "\n" + exitHelp,
		Example: `  aval serve
  aval serve --lora poems.gguf model.gguf
  aval serve --port 8080 --api-key secret model.gguf
  curl localhost:11434/v1/chat/completions -d '{"model":"model","messages":[{"role":"user","content":"Hi"}]}'`,
		RunE: func(c *cobra.Command, args []string) error { return a.serve(c.Context(), &o, args) },
	}
	f := c.Flags()
	o.modelOptions.add(f)
	o.loraOptions.add(f, "change the model of FILE, of which there must be one, by this adapter")
	f.StringVar(&o.host, "host", "", "address to listen on (default "+defaultHost+", or AVAL_HOST)")
	f.IntVar(&o.port, "port", 0, fmt.Sprintf("port to listen on (default %d)", defaultPort))
	f.StringVar(&o.apiKey, "api-key", "", "clients must send this as a bearer token (default AVAL_API_KEY)")
	f.IntVar(&o.slots, "parallel", 4, "requests computed at the same time, for each model")
	f.IntVar(&o.models, "max-models", 1, "models in memory at the same time")
	f.DurationVar(&o.keepAlive, "keep-alive", 30*time.Minute, "unload a model so long after its last use (negative: never)")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long answers may go on after Ctrl-C")
	f.StringSliceVar(&o.origins, "origin", nil, "web origin whose pages may call the server (may be repeated)")
	f.StringSliceVar(&o.hosts, "allow-host", nil, "further name by which clients may call the server (may be repeated)")
	f.BoolVar(&o.noReceipts, "no-receipts", false, "answers get no receipts")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not log requests")
	return c
}

// address joins the flags and AVAL_HOST.
func (o *serveOptions) address(env string) (string, error) {
	host, port := defaultHost, defaultPort
	if env != "" {
		env = strings.TrimSuffix(strings.TrimPrefix(env, "http://"), "/")
		host = env
		if h, p, err := net.SplitHostPort(env); err == nil {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil {
				return "", usageErrorf("AVAL_HOST %q: the port is not a number up to 65535", env)
			}
			host, port = h, int(n)
		}
	}
	if o.host != "" {
		host = o.host
	}
	if o.port != 0 {
		port = o.port
	}
	if port < 0 || port > 65535 {
		return "", usageErrorf("--port is %d, want 1 to 65535", port)
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port)), nil
}

func (a *app) serve(ctx context.Context, o *serveOptions, files []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.slots < 1 || o.slots > maxSlots {
		return usageErrorf("--parallel is %d, want 1 to %d", o.slots, maxSlots)
	}
	addr, err := o.address(a.getenv("AVAL_HOST"))
	if err != nil {
		return err
	}
	if len(o.lora) > 0 && len(files) != 1 {
		return usageErrorf("--lora is for one model, but %d files are named", len(files))
	}
	if o.models < 1 {
		return usageErrorf("--max-models is %d, want 1 or more", o.models)
	}
	if _, err := a.kernelName(); err != nil {
		return err
	}
	h, err := a.newHost(o, files)
	if err != nil {
		return err
	}
	defer h.close()
	if o.apiKey == "" {
		o.apiKey = a.getenv("AVAL_API_KEY")
	}
	log := slog.New(slog.DiscardHandler)
	if !o.quiet {
		log = slog.New(slog.NewTextHandler(a.err, nil))
	}
	srv, err := httpapi.New(httpapi.Config{
		Backend: h, Puller: h, Deleter: h, APIKey: o.apiKey, Origins: o.origins, Hosts: o.hosts,
		MaxConcurrent: o.slots * o.models, DrainTimeout: o.drain, Log: log, Version: plainVersion(),
	})
	if err != nil {
		return usageError{err}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (is another server running? choose another --port)", err)
	}
	a.note("serving on http://%s (Ctrl-C ends)", ln.Addr())
	if err := srv.Serve(ctx, ln); err != nil {
		return err
	}
	return ctx.Err() // only a signal ends it
}

// plainVersion is the version as Ollama's clients compare it: three numbers.
func plainVersion() string {
	v, _, _ := strings.Cut(strings.TrimPrefix(buildVersion().Version, "v"), "-")
	if strings.Count(v, ".") == 2 && !strings.ContainsFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) {
		return v
	}
	return "0.0.0"
}

// fileModels gives each file its name.
func fileModels(files []string) (map[string]string, error) {
	out := map[string]string{}
	for _, path := range files {
		base := filepath.Base(path)
		name := strings.TrimSuffix(base, filepath.Ext(base))
		if other, ok := out[name]; ok && other != path {
			return nil, usageErrorf("%s and %s have the same name", other, path)
		}
		out[name] = path
	}
	return out, nil
}
