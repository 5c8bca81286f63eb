package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/hub"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/store"
)

// host keeps the models of a server: it loads one when it is asked for, shares
// it among requests, and unloads it when it has not been used for a while or
// another one needs its place.
type host struct {
	app     *app
	store   *store.Store
	options engine.Options
	keep    time.Duration
	most    int                // models in memory
	files   map[string]string  // models named on the command line
	lora    *loraOptions       // adapters of the one that is named, if any
	key     ed25519.PrivateKey // that signs receipts; nil: there are none

	closing   context.Context // ends with the host
	end       context.CancelFunc
	computing sync.WaitGroup // fingerprints

	mu      sync.Mutex
	loaded  map[string]*hosted // by name
	changed chan struct{}      // closed and replaced when a place may be free
}

// hosted is a model in memory, or on its way there.
type hosted struct {
	name    string
	ready   chan struct{} // closed when engine or err is set
	engine  *engine.Engine
	issuer  *issuer.Issuer // nil without a key
	err     error
	info    httpapi.ModelInfo
	users   int
	keep    time.Duration
	used    time.Time // when its last user left
	expires time.Time // when it will be unloaded if nobody uses it; zero: never
	timer   *time.Timer
}

func (a *app) newHost(o *serveOptions, files []string) (*host, error) {
	s, err := a.openStore()
	if err != nil {
		return nil, err
	}
	named, err := fileModels(files)
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		f, err := gguf.Inspect(path)
		if err != nil {
			return nil, err
		}
		_ = f.Close() // only looked at
	}
	if stored, err := s.List(); err == nil && len(stored)+len(files) == 0 {
		if _, err := unpackBuiltin(s); err != nil {
			return nil, err
		}
	}
	var key ed25519.PrivateKey
	if !o.noReceipts {
		if key, err = a.nodeKey(); err != nil {
			return nil, fmt.Errorf("%w (--no-receipts serves without)", err)
		}
	}
	if _, err := a.readAdapters(&o.loraOptions, false); err != nil {
		return nil, err // better now than when somebody asks
	}
	opt := o.engine(a)
	opt.Slots = o.slots
	h := &host{
		app: a, store: s, options: opt, keep: o.keepAlive, most: o.models, key: key,
		files: named, lora: &o.loraOptions, loaded: map[string]*hosted{}, changed: make(chan struct{}),
	}
	h.closing, h.end = context.WithCancel(context.Background())
	return h, nil
}

// found is a model that a client named.
type found struct {
	name, path, digest string
	size               int64
	modified           time.Time
	named              bool // on the command line
}

func (h *host) find(name string) (found, error) {
	for _, n := range []string{name, strings.TrimSuffix(name, ":latest"), strings.TrimSuffix(name, ".gguf")} {
		if path, ok := h.files[n]; ok {
			return fileFound(n, path)
		}
	}
	m, err := h.store.Get(name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrName) {
		return found{}, fmt.Errorf("%w: %w", httpapi.ErrModelNotFound, err)
	}
	if err != nil {
		return found{}, err
	}
	return h.storeFound(m)
}

func fileFound(name, path string) (found, error) {
	info, err := os.Stat(path)
	if err != nil {
		return found{}, fmt.Errorf("%w: %w", httpapi.ErrModelNotFound, err)
	}
	return found{name: name, path: path, size: info.Size(), modified: info.ModTime(), named: true}, nil
}

func (h *host) storeFound(m store.Model) (found, error) {
	paths, err := h.store.Paths(m)
	if err != nil {
		return found{}, err
	}
	return found{name: m.Name, path: paths[0], digest: m.Files[0].SHA256, size: m.Size(), modified: m.Created}, nil
}

// Models lists the files of the command line and the store.
func (h *host) Models(context.Context) ([]httpapi.ModelInfo, error) {
	var all []found
	for name, path := range h.files {
		if f, err := fileFound(name, path); err == nil {
			all = append(all, f)
		}
	}
	stored, err := h.store.List()
	if err != nil && len(stored) == 0 {
		return nil, err
	}
	for _, m := range stored {
		if f, err := h.storeFound(m); err == nil {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b found) int { return strings.Compare(a.name, b.name) })
	out := make([]httpapi.ModelInfo, 0, len(all))
	for _, f := range all {
		d, err := f.details()
		if err != nil {
			continue // the list is of what can be opened
		}
		out = append(out, d.ModelInfo)
	}
	return out, nil
}

// Describe reads a model's header.
func (h *host) Describe(_ context.Context, name string) (*httpapi.ModelDetails, error) {
	f, err := h.find(name)
	if err != nil {
		return nil, err
	}
	return f.details()
}

func (f found) details() (*httpapi.ModelDetails, error) {
	file, err := gguf.Inspect(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	j := describe(file, f.name)
	d := &httpapi.ModelDetails{
		ModelInfo: httpapi.ModelInfo{
			Name: f.name, Digest: f.digest, Size: f.size, Modified: f.modified,
			Architecture: j.Architecture, Parameters: count(j.Parameters), Quantization: fileType(file),
			Context: int(j.Context), Trained: int(j.Context), Capabilities: capabilities(j.Template),
		},
		Template: j.Template,
	}
	d.License, _ = file.String("general.license")
	dim, _ := file.Uint(j.Architecture + ".embedding_length")
	d.Dim = int(dim)
	for _, k := range j.Metadata {
		if k.Length <= maxShown {
			d.Metadata = append(d.Metadata, httpapi.KeyValue{Key: k.Key, Value: k.Value})
		}
	}
	return d, nil
}

// capabilities are the words that Ollama's clients look for.
func capabilities(template string) []string {
	out := []string{"completion"}
	if strings.Contains(template, "tools") {
		out = append(out, "tools")
	}
	if strings.Contains(template, "enable_thinking") || strings.Contains(template, "<think>") {
		out = append(out, "thinking")
	}
	return out
}

// fileTypes are the names of general.file_type.
var fileTypes = map[uint64]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
	11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M",
	18: "Q6_K", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16",
}

func fileType(f *gguf.File) string {
	n, ok := f.Uint("general.file_type")
	if !ok {
		return ""
	}
	return fileTypes[n]
}

// Open returns a model in memory, loading it first if need be.
func (h *host) Open(ctx context.Context, name string, opt httpapi.OpenOptions) (httpapi.Model, error) {
	f, err := h.find(name)
	if err != nil {
		return nil, err
	}
	m, mine, err := h.acquire(ctx, f.name)
	if err != nil {
		return nil, err
	}
	if mine {
		h.load(m, f)
	}
	select {
	case <-m.ready:
	case <-ctx.Done():
		h.release(m)
		return nil, ctx.Err()
	}
	if m.err != nil {
		h.release(m)
		return nil, m.err
	}
	if opt.KeepAlive != nil {
		h.mu.Lock()
		m.keep = *opt.KeepAlive
		h.mu.Unlock()
	}
	return &lease{Engine: m.engine, host: h, hosted: m}, nil
}

// acquire takes a share of a model. If mine is set, the caller must load it.
func (h *host) acquire(ctx context.Context, name string) (m *hosted, mine bool, err error) {
	for {
		h.mu.Lock()
		if m := h.loaded[name]; m != nil {
			m.users++
			if m.timer != nil {
				m.timer.Stop()
			}
			h.mu.Unlock()
			return m, false, nil
		}
		if len(h.loaded) < h.most || h.evict() {
			m := &hosted{name: name, ready: make(chan struct{}), users: 1, keep: h.keep}
			h.loaded[name] = m
			h.mu.Unlock()
			return m, true, nil
		}
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

// evict unloads the model that nobody has used for longest. It reports whether
// there was one. The lock is held.
func (h *host) evict() bool {
	var oldest *hosted
	for _, m := range h.loaded {
		if m.users == 0 && (oldest == nil || m.used.Before(oldest.used)) {
			oldest = m
		}
	}
	if oldest == nil {
		return false
	}
	h.drop(oldest)
	return true
}

// drop unloads a model that nobody uses. The lock is held.
func (h *host) drop(m *hosted) {
	delete(h.loaded, m.name)
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.engine != nil {
		_ = m.engine.Close() // nobody uses it; there is nothing to lose
	}
	h.wake()
}

// wake lets those who wait for a place look again. The lock is held.
func (h *host) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *host) load(m *hosted, f found) {
	defer close(m.ready)
	d, err := f.details()
	if err != nil {
		m.err = err
		return
	}
	var id *issuer.Identity
	if h.key != nil {
		if id, m.err = issuer.Identify(f.path); m.err != nil {
			return
		}
	}
	lora, opt := &adapters{}, h.options
	if !f.named {
		opt.Context = contextFor(f.name, opt.Context)
	}
	if f.named {
		lora, m.err = h.app.readAdapters(h.lora, id != nil)
	}
	if m.err == nil {
		opt.Adapters = lora.models
		m.engine, m.err = engine.Open(f.path, opt)
	}
	if m.err != nil {
		if id != nil {
			id.Close()
		}
		if lora != nil {
			lora.close()
		}
		return
	}
	if id != nil {
		m.issuer = issuer.New(issuer.Config{Key: h.key, Model: id, Adapters: lora.issued, Context: m.engine.Context()})
		// With one thread, so that the first answers hardly wait for it. It goes
		// on when the model is unloaded: its receipts need it.
		h.computing.Go(func() {
			lora.compute(h.closing, identityCache(), 1)
			id.Compute(h.closing, identityCache(), 1)
		})
	}
	c := m.engine.Config()
	m.info = d.ModelInfo
	m.info.Context, m.info.Vocab, m.info.Dim = m.engine.Context(), c.Vocab, c.Dim
}

// release gives a share back.
func (h *host) release(m *hosted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.users--
	if m.users > 0 || h.loaded[m.name] != m {
		return
	}
	select {
	case <-m.ready:
	default:
		return // still loading; the loader holds a share
	}
	if m.err != nil || m.keep == 0 {
		h.drop(m)
		return
	}
	m.used, m.expires = time.Now(), time.Time{}
	if m.keep > 0 {
		m.expires = m.used.Add(m.keep)
		m.timer = time.AfterFunc(m.keep, func() { h.expire(m) })
	}
	h.wake() // it stays, but may be evicted
}

// expire unloads a model unless somebody has used it since its timer was set.
func (h *host) expire(m *hosted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loaded[m.name] == m && m.users == 0 && m.keep > 0 && !time.Now().Before(m.expires) {
		h.drop(m)
	}
}

// Loaded lists what is in memory.
func (h *host) Loaded(context.Context) ([]httpapi.LoadedModel, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []httpapi.LoadedModel{}
	for _, m := range h.loaded {
		select {
		case <-m.ready:
		default:
			continue
		}
		if m.err == nil {
			out = append(out, httpapi.LoadedModel{ModelInfo: m.info, Memory: m.info.Size, Expires: m.expires})
		}
	}
	slices.SortFunc(out, func(a, b httpapi.LoadedModel) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Pull fetches a model from the hub.
func (h *host) Pull(ctx context.Context, name string, on func(httpapi.PullStatus) error) error {
	ref, err := hub.ParseReference(name)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRequest, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tell := func(s httpapi.PullStatus) {
		if err := on(s); err != nil {
			cancel(err)
		}
	}
	_, err = hub.Pull(ctx, h.app.hubConfig(), h.store, ref, func(p hub.Progress) {
		switch p.Phase {
		case hub.Listing:
			tell(httpapi.PullStatus{Status: "pulling manifest"})
		case hub.Downloading:
			tell(httpapi.PullStatus{Status: "pulling " + p.File, Total: p.Total, Completed: p.Done})
		default:
			tell(httpapi.PullStatus{Status: string(p.Phase) + ": " + p.Note})
		}
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Delete removes a model from the store.
func (h *host) Delete(_ context.Context, name string) error {
	_, err := h.store.Remove(name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrName) {
		return fmt.Errorf("%w: %w", httpapi.ErrModelNotFound, err)
	}
	return err
}

// close unloads everything. Requests have ended.
func (h *host) close() {
	h.end()
	h.computing.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.loaded {
		h.drop(m)
	}
}
