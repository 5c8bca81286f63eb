package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/remote"
)

// peerHost lets peers ask some of a host's models.
type peerHost struct {
	*host
	names []string // as the host has them
}

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
	p := &peerHost{host: h, names: slices.Compact(names)}
	for _, name := range p.names {
		if _, err := h.find(name); err != nil {
			h.close()
			return nil, fmt.Errorf("--serve %s: %w", name, err)
		}
	}
	return p, nil
}

// Models describes them.
func (p *peerHost) Models(context.Context) ([]remote.Model, error) {
	var list []remote.Model
	for _, name := range p.names {
		f, err := p.find(name)
		if err != nil {
			continue // it was removed meanwhile
		}
		d, err := f.details()
		if err != nil {
			continue
		}
		m := remote.Model{
			Name: name, Architecture: d.Architecture, Quantization: d.Quantization, Context: contextFor(name, p.options.Context), Numerics: kernel.Numerics,
			Chat: d.Template != "", Receipts: p.key != nil,
		}
		if m.Context == 0 {
			m.Context = d.Context
		}
		list = append(list, m)
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
