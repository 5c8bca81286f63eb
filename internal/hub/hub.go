// Package hub pulls models from Hugging Face, or a server that speaks its
// API, into a store.
//
// Start with [ParseReference] and [Pull]. Pull lists the repository, chooses
// the file that fits the reference, downloads it (all its parts if it is split)
// and commits it. Interrupted for whatever reason, it leaves what it has, and
// the same call goes on from there. Nothing enters the store whose size and
// SHA-256 are not the ones the server announced.
//
// The access token is sent to the configured endpoint only, never along a
// redirect to another host. The package reads no environment variables, writes
// nowhere but to the store, and connects to nothing until Pull is called.
package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/store"
	"golang.org/x/sync/errgroup"
)

// DefaultEndpoint is where models come from unless Config says otherwise.
const DefaultEndpoint = "https://huggingface.co"

// Limits on what a server may make us do.
const (
	maxPageBytes   = 16 << 20        // one answer of the API
	maxErrorBytes  = 8 << 10         // of an error's body, for its message
	maxPages       = 200             // of a repository's listing
	maxEntries     = 200_000         // files in a repository
	maxPath        = 1024            // bytes of a path in a repository
	maxRedirects   = 10              // per request
	maxAttempts    = 1000            // per file, however much each one brings
	maxRetryAfter  = 5 * time.Minute // longer waits are for the user to decide
	maxBackoff     = 30 * time.Second
	readBuffer     = 256 << 10
	maxPlainFile   = 16 << 20 // a file without SHA-256 is checked in memory
	maxETag        = 1024
	maxErrorDetail = 300 // bytes of a server's words that are repeated
)

// Config says where to pull from and how. The zero value pulls public models
// from huggingface.co.
type Config struct {
	Endpoint  string // base URL of the server; "" means DefaultEndpoint; a mirror's for HF_ENDPOINT
	Token     string // access token, HF_TOKEN; "" sends none
	UserAgent string // "" means "aval"

	Attempts      int           // tries of a request, or of a file without a new byte, before giving up; 0 means 6
	Connections   int           // parts of a split model downloaded at once; 0 means 4
	HeaderTimeout time.Duration // how long an answer may take to begin; 0 means 30 s
	StallTimeout  time.Duration // how long an answer may pause; 0 means 60 s

	// Proxy chooses the proxy of a request, as http.ProxyFromEnvironment does;
	// nil uses none. Transport, if not nil, replaces the HTTP transport and Proxy.
	Proxy     func(*http.Request) (*url.URL, error)
	Transport http.RoundTripper

	// For tests. Zero values mean the real clock, a real sleep and the disk.
	Now       func() time.Time
	Sleep     func(ctx context.Context, d time.Duration) error
	FreeSpace func() (n int64, ok bool)
}

func (c Config) validate() (Config, *url.URL, error) {
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	base, err := url.Parse(strings.TrimRight(c.Endpoint, "/"))
	if err != nil {
		return c, nil, fmt.Errorf("hub: endpoint %q: %w", c.Endpoint, err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return c, nil, fmt.Errorf("hub: endpoint %q: want a URL such as %s", c.Endpoint, DefaultEndpoint)
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return c, nil, errors.New("hub: the access token contains spaces or other characters that no token has; check HF_TOKEN")
	}
	if c.Attempts < 0 || c.Connections < 0 || c.HeaderTimeout < 0 || c.StallTimeout < 0 {
		return c, nil, errors.New("hub: a negative number in the configuration")
	}
	setDefault(&c.UserAgent, "aval")
	setDefault(&c.Attempts, 6)
	setDefault(&c.Connections, 4)
	setDefault(&c.HeaderTimeout, 30*time.Second)
	setDefault(&c.StallTimeout, 60*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy = c.Proxy
		c.Transport = t
	}
	return c, base, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Phase says what Pull is doing.
type Phase string

// The phases, in the order they come in.
const (
	Listing     Phase = "listing"
	Waiting     Phase = "waiting"     // someone else is downloading the same file
	Downloading Phase = "downloading" // Done and Total count the bytes of all files
	Retrying    Phase = "retrying"    // Note says why and how long we wait
)

// Progress is told to Pull's callback, from one goroutine at a time.
type Progress struct {
	Phase       Phase
	File        string // the file in question, "" if none
	Done, Total int64  // bytes of the whole model
	Note        string
}

// SpaceError: the disk has no room for the model.
type SpaceError struct {
	Dir        string
	Need, Free int64
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s has %s free, the download needs %s; remove models no longer used, or keep the store on another disk",
		e.Dir, Bytes(e.Free), Bytes(e.Need))
}

// Bytes writes a number of bytes as people do: 669 MB.
func Bytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%d MB", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%d kB", n/1e3)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

// Pull brings the model that ref names into the store and returns it. A model
// that is in the store already and has not changed on the server is not
// downloaded again. Errors that a caller may look at: [*StatusError],
// [*NoMatchError], [*SpaceError], [*store.MismatchError].
func Pull(ctx context.Context, cfg Config, s *store.Store, ref Reference, progress func(Progress)) (store.Model, error) {
	fail := func(err error) (store.Model, error) {
		return store.Model{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	cfg, base, err := cfg.validate()
	if err != nil {
		return fail(err)
	}
	if err := ref.check(); err != nil {
		return fail(err)
	}
	p := &pull{client: newClient(cfg, base), store: s, ref: ref, report: progress}
	p.client.onRetry = func(note string) { p.tell(Progress{Phase: Retrying, Note: note}) }
	p.tell(Progress{Phase: Listing})
	if err := p.plan(ctx); err != nil {
		return fail(err)
	}
	m, err := p.fetch(ctx)
	if err != nil {
		return fail(err)
	}
	return m, nil
}

// pull is one call of Pull.
type pull struct {
	client *client
	store  *store.Store
	ref    Reference
	model  store.Model
	remote map[string]remoteFile // by SHA-256

	mu     sync.Mutex
	report func(Progress)
	done   map[string]int64 // bytes there, by SHA-256
	total  int64
}

func (p *pull) tell(e Progress) {
	if p.report == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Total = p.total
	for _, n := range p.done {
		e.Done += n
	}
	p.report(e)
}

func (p *pull) setDone(sha string, n int64) {
	p.mu.Lock()
	p.done[sha] = n
	p.mu.Unlock()
}

// plan finds out which files make up the model.
func (p *pull) plan(ctx context.Context) error {
	files, source, err := p.client.resolve(ctx, p.ref)
	if err != nil {
		return err
	}
	p.remote, p.done = map[string]remoteFile{}, map[string]int64{}
	p.model = store.Model{Name: p.ref.storeName(files[0]), Source: source}
	for _, f := range files {
		if _, seen := p.remote[f.sha]; !seen {
			p.total += f.size
		}
		p.remote[f.sha] = f
		p.model.Files = append(p.model.Files, store.File{Path: f.base(), SHA256: f.sha, Size: f.size})
	}
	_, err = p.model.Manifest() // what the store would refuse is not worth downloading
	return err
}

func (p *pull) fetch(ctx context.Context) (store.Model, error) {
	if m, ok := p.unchanged(); ok {
		return m, nil
	}
	staged, err := p.store.StageAll(ctx, p.model.Files, p.wait)
	defer func() {
		for _, g := range staged {
			g.Close()
		}
	}()
	if err != nil {
		return store.Model{}, err
	}
	if err := p.checkSpace(staged); err != nil {
		return store.Model{}, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(p.client.cfg.Connections)
	for _, g := range staged {
		group.Go(func() error {
			d := &download{pull: p, client: p.client, file: p.remote[g.Want().SHA256], staged: g}
			return d.run(gctx)
		})
	}
	if err := group.Wait(); err != nil {
		return store.Model{}, err
	}
	p.tell(Progress{Phase: Downloading})
	p.model.Created = p.client.cfg.Now()
	return p.store.Commit(p.model, staged...)
}

// unchanged returns the model if the store has it exactly so.
func (p *pull) unchanged() (store.Model, bool) {
	m, err := p.store.Get(p.model.Name)
	if err != nil || !strings.EqualFold(m.Name, p.model.Name) || len(m.Files) != len(p.model.Files) {
		return store.Model{}, false
	}
	for i, f := range m.Files {
		if f != p.model.Files[i] {
			return store.Model{}, false
		}
	}
	_, err = p.store.Paths(m) // a file that is missing is fetched again
	return m, err == nil
}

// wait is called while someone else downloads the file; what they have shows
// as our progress.
func (p *pull) wait(ctx context.Context, busy store.File) error {
	p.setDone(busy.SHA256, p.store.PartialSize(busy))
	p.tell(Progress{Phase: Waiting, File: busy.Path, Note: "another process is downloading it"})
	return p.client.cfg.Sleep(ctx, 250*time.Millisecond)
}

func (p *pull) checkSpace(staged []*store.Staged) error {
	var need int64
	for _, g := range staged {
		p.setDone(g.Want().SHA256, g.Size())
		need += g.Want().Size - g.Size()
	}
	free := p.client.cfg.FreeSpace
	if free == nil {
		free = p.store.Free
	}
	if have, ok := free(); ok && need > have {
		return &SpaceError{Dir: p.store.Root(), Need: need, Free: have}
	}
	return nil
}
