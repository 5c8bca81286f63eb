package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/remote"
)

// peerHost lets peers ask some of a host's models.
type peerHost struct {
	*host
	names []string // as the host has them

	knownMu sync.Mutex
	known   map[served]remote.Model // with their fingerprints, as far as those are computed
}

// served is a model as it is: another one may come to have its name.
type served struct{ name, path string }

// servePeers finds the models that peers may ask, each a name of the store or a
// file, and opens a host for them.
func (a *app) servePeers(models []string, o *serveOptions) (*peerHost, error) {
	var files, names []string
	for _, m := range models {
		where, err := a.locate(m)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(strings.ToLower(m), ".gguf") {
			files = append(files, where.path)
			continue
		}
		names = append(names, where.name)
	}
	h, err := a.newHost(o, files)
	if err != nil {
		return nil, err
	}
	for name := range h.files {
		names = append(names, name)
	}
	slices.Sort(names)
	p := &peerHost{host: h, names: slices.Compact(names), known: map[served]remote.Model{}}
	for _, name := range p.names {
		if _, err := h.find(name); err != nil {
			h.close()
			return nil, fmt.Errorf("--serve %s: %w", name, err)
		}
	}
	return p, nil
}

// identify computes the fingerprints of the models beside everything else.
func (p *peerHost) identify() {
	p.computing.Go(func() {
		for _, name := range p.names {
			f, err := p.find(name)
			if err != nil {
				continue
			}
			m, err := p.describe(p.closing, name)
			if err != nil || !m.Root.IsZero() {
				continue
			}
			id, err := issuer.Identify(f.path)
			if err != nil {
				continue
			}
			id.Compute(p.closing, identityCache(), 1)
			if m.Root, err = id.Root(p.closing); err == nil {
				p.knownMu.Lock()
				p.known[served{name, f.path}] = m
				p.knownMu.Unlock()
			}
			id.Close()
		}
	})
}

// describe tells of a model; its header is read once.
func (p *peerHost) describe(ctx context.Context, name string) (remote.Model, error) {
	f, err := p.find(name)
	if err != nil {
		return remote.Model{}, err
	}
	p.knownMu.Lock()
	defer p.knownMu.Unlock()
	as := served{name, f.path}
	m, ok := p.known[as]
	if !ok {
		d, err := f.details()
		if err != nil {
			return remote.Model{}, err
		}
		m = remote.Model{
			Name: name, Architecture: d.Architecture, Quantization: d.Quantization, Context: contextFor(name, p.options.Context), Numerics: kernel.Numerics,
			Chat: d.Template != "", Receipts: p.key != nil,
		}
		if m.Context == 0 {
			m.Context = d.Context
		}
	}
	if m.Root.IsZero() {
		m.Root = cachedRoot(ctx, fingerprint.Cache{Dir: identityCache()}, f.path)
	}
	p.known[as] = m
	return m, nil
}

// Models describes them.
func (p *peerHost) Models(ctx context.Context) ([]remote.Model, error) {
	var list []remote.Model
	for _, name := range p.names {
		if m, err := p.describe(ctx, name); err == nil { // else it was removed meanwhile
			list = append(list, m)
		}
	}
	return list, nil
}

// Open takes a share of one of them.
func (p *peerHost) Open(ctx context.Context, name string) (remote.Lease, error) {
	if !slices.Contains(p.names, name) {
		return nil, remote.ErrNoModel
	}
	m, err := p.host.Open(ctx, name, httpapi.OpenOptions{})
	if errors.Is(err, httpapi.ErrModelNotFound) {
		return nil, remote.ErrNoModel
	}
	if err != nil {
		return nil, err
	}
	return m.(*lease), nil
}
