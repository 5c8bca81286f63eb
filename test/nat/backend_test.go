//go:build linux

package nat_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

const echoProtocol = "/aval/test/echo/1"

// backend is a node as the commands see it.
type backend struct {
	n *mesh.Node
}

func newBackend(ctx context.Context, cfg nodeConfig) (*backend, error) {
	c := mesh.Config{
		Key:    ed25519.NewKeyFromSeed(slices.Repeat([]byte{cfg.Seed}, ed25519.SeedSize)),
		Listen: cfg.Listen, Bootstrap: cfg.Bootstrap, Relays: cfg.Bootstrap, Reach: mesh.Private,
	}
	if cfg.Relay {
		c.Reach, c.ServeRelay, c.Relays = mesh.Public, true, nil
	}
	n, err := mesh.New(ctx, c)
	if err != nil {
		return nil, err
	}
	n.Handle(echoProtocol, serveEcho)
	return &backend{n}, nil
}

func (b *backend) close() { _ = b.n.Close() }

func serveEcho(s rpc.Stream) {
	defer s.Close()
	for {
		var head [8]byte
		if _, err := io.ReadFull(s, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint64(head[:])
		if _, err := io.CopyN(s, s, int64(n)); err != nil {
			return
		}
	}
}

func (b *backend) do(ctx context.Context, c command) answer {
	var id peer.ID
	if c.Peer != "" {
		var err error
		if id, err = peer.Parse(c.Peer); err != nil {
			return failed(err)
		}
	}
	switch c.Do {
	case "info":
		a := answer{Peer: b.n.Self().String(), Addresses: b.n.Addresses()}
		for _, s := range a.Addresses {
			if strings.Contains(s, "/p2p-circuit") {
				a.Relays++
			}
		}
		return a
	case "connect":
		began := time.Now()
		if _, err := b.n.Connect(ctx, c.Addresses...); err != nil {
			return failed(err)
		}
		a := b.status(id)
		a.Total = milliseconds(time.Since(began))
		return a
	case "status":
		return b.status(id)
	case "call":
		return b.call(ctx, id, c.Size)
	case "why":
		return b.why(id)
	case "forget":
		return failed(b.n.Disconnect(id))
	}
	return answer{Error: "unknown command " + c.Do}
}

// status is how the node is connected to a peer now.
func (b *backend) status(id peer.ID) answer {
	p, ok := b.n.Peer(id)
	if !ok {
		return answer{Error: "not connected"}
	}
	return answer{Relayed: p.Relayed, Address: p.Address}
}

// why is what the node saw of itself and of its attempts to reach a peer.
func (b *backend) why(id peer.ID) answer {
	var text strings.Builder
	o := b.n.Observations()
	for _, seen := range o.Observed {
		fmt.Fprintf(&text, "    seen as %s, from %s, by %s\n", seen.Address, seen.Local, seen.ByIP)
	}
	for _, h := range o.HolePunches {
		if h.Peer == id {
			fmt.Fprintf(&text, "    punch %s: success %v %s\n", h.Time.Format("05.000"), h.Success, h.Error)
		}
	}
	for _, d := range o.Dials {
		if d.Peer == id {
			fmt.Fprintf(&text, "    dial %s: %s %s\n", d.Time.Format("05.000"), d.Address, d.Error)
		}
	}
	return answer{Text: text.String()}
}

func (b *backend) call(ctx context.Context, id peer.ID, size int) answer {
	began := time.Now()
	s, err := b.n.Open(ctx, id, echoProtocol, rpc.Normal)
	if err != nil {
		return failed(err)
	}
	defer s.Reset()
	if d, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(d)
	}
	go func() {
		_, _ = s.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
		_, _ = s.Write(make([]byte, size))
	}()
	buf := make([]byte, 64<<10)
	a := answer{Relayed: s.Relayed()}
	for a.Bytes < size {
		n, err := s.Read(buf)
		if n > 0 && a.Bytes == 0 {
			a.FirstByte = milliseconds(time.Since(began))
		}
		a.Bytes += n
		if err != nil {
			return answer{Error: fmt.Sprintf("after %d bytes: %v", a.Bytes, err)}
		}
	}
	a.Total = milliseconds(time.Since(began))
	return a
}
