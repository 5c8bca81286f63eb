//go:build linux

package nat_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

const echoProtocol = "/aval/test/echo/1"

// backend is a node as the commands see it.
type backend struct {
	h   host.Host
	cfg nodeConfig
}

func newBackend(ctx context.Context, cfg nodeConfig) (*backend, error) {
	seed := slices.Repeat([]byte{cfg.Seed}, ed25519.SeedSize)
	priv, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, err
	}
	var infos []lpeer.AddrInfo
	for _, s := range cfg.Bootstrap {
		info, err := lpeer.AddrInfoFromString(s)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(infos, func(a lpeer.AddrInfo) bool { return a.ID == info.ID })
		if i < 0 {
			infos = append(infos, *info)
		} else {
			infos[i].Addrs = append(infos[i].Addrs, info.Addrs...)
		}
	}
	opts := []libp2p.Option{libp2p.Identity(priv), libp2p.ListenAddrStrings(cfg.Listen...)}
	if cfg.Relay {
		res := relay.DefaultResources()
		res.Limit = nil
		res.MaxReservationsPerIP = 100
		res.MaxReservationsPerASN = 100
		opts = append(opts, libp2p.ForceReachabilityPublic(), libp2p.EnableRelayService(relay.WithResources(res)), libp2p.EnableNATService())
	} else {
		opts = append(opts, libp2p.ForceReachabilityPrivate(), libp2p.EnableAutoRelayWithStaticRelays(infos), libp2p.EnableHolePunching())
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, err
	}
	b := &backend{h: h, cfg: cfg}
	h.SetStreamHandler(echoProtocol, serveEcho)
	for _, info := range infos {
		go func() {
			_ = h.Connect(ctx, info)
		}()
	}
	return b, nil
}

func (b *backend) close() { _ = b.h.Close() }

func serveEcho(s network.Stream) {
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
	var id lpeer.ID
	if c.Peer != "" {
		var err error
		if id, err = lpeer.Decode(c.Peer); err != nil {
			return failed(err)
		}
	}
	switch c.Do {
	case "info":
		a := answer{Peer: b.h.ID().String()}
		for _, m := range b.h.Addrs() {
			a.Addresses = append(a.Addresses, m.String()+"/p2p/"+a.Peer)
			if _, err := m.ValueForProtocol(ma.P_CIRCUIT); err == nil {
				a.Relays++
			}
		}
		return a
	case "connect":
		info := lpeer.AddrInfo{ID: id}
		for _, s := range c.Addresses {
			i, err := lpeer.AddrInfoFromString(s)
			if err != nil {
				return failed(err)
			}
			info.Addrs = append(info.Addrs, i.Addrs...)
		}
		began := time.Now()
		if err := b.h.Connect(network.WithAllowLimitedConn(ctx, "test"), info); err != nil {
			return failed(err)
		}
		a := b.status(id)
		a.Total = milliseconds(time.Since(began))
		return a
	case "status":
		return b.status(id)
	case "call":
		return b.call(ctx, id, c.Size)
	case "forget":
		return failed(b.h.Network().ClosePeer(id))
	}
	return answer{Error: "unknown command " + c.Do}
}

// status is how the node is connected to a peer now.
func (b *backend) status(id lpeer.ID) answer {
	a := answer{Error: "not connected"}
	for _, c := range b.h.Network().ConnsToPeer(id) {
		_, err := c.RemoteMultiaddr().ValueForProtocol(ma.P_CIRCUIT)
		if relayed := err == nil; a.Error != "" || !relayed {
			a = answer{Relayed: relayed, Address: c.RemoteMultiaddr().String()}
		}
	}
	return a
}

func (b *backend) call(ctx context.Context, id lpeer.ID, size int) answer {
	began := time.Now()
	s, err := b.h.NewStream(network.WithAllowLimitedConn(ctx, "test"), id, echoProtocol)
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
	a := answer{Relayed: s.Conn().Stat().Limited, Address: s.Conn().RemoteMultiaddr().String()}
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
