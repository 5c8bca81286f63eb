//go:build linux

package nat_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"
)

// natPMPConfig starts a process as a router's NAT-PMP server (RFC 6886), in
// place of a node.
type natPMPConfig struct {
	Listen   string `json:"listen"`   // the router's address on the local network
	External string `json:"external"` // and on the Internet
	PCP      bool   `json:"pcp"`      // it answers to PCP (RFC 6887) alone
}

// startNATPMP runs a NAT-PMP server in a router's namespace until the test
// ends.
func startNATPMP(t testing.TB, router string, cfg natPMPConfig) {
	t.Helper()
	n := &node{t: t, name: "natpmp-" + router, waiting: map[int]chan answer{}, gone: make(chan struct{})}
	n.spawn(router, nodeConfig{Name: n.name, NATPMP: &cfg})
	if a := n.ask(command{Do: "info"}, 10*time.Second); a.Error != "" {
		t.Fatalf("NAT-PMP server: %s", a.Error)
	}
}

// serveNATPMP answers requests on the local network by rules of nftables.
func serveNATPMP(cfg natPMPConfig) error {
	external, err := netip.ParseAddr(cfg.External)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(cfg.Listen), Port: 5351})
	if err != nil {
		return err
	}
	began := time.Now()
	go func() {
		defer conn.Close()
		mapped := map[string]bool{}
		buf := make([]byte, 64)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			answer := answerNATPMP
			if cfg.PCP {
				answer = answerPCP
			}
			reply := answer(buf[:n], from.Addr(), external, time.Since(began), mapped)
			if reply != nil {
				_, _ = conn.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	return nil
}

// answerNATPMP is RFC 6886 sections 3.2 and 3.3. The outside port is always the
// one inside.
func answerNATPMP(req []byte, from, external netip.Addr, epoch time.Duration, mapped map[string]bool) []byte {
	if len(req) < 2 || req[1] > 2 {
		return nil
	}
	out := []byte{0, 128 + req[1], 0, 0}
	if req[0] != 0 { // PCP, for example
		out[3] = 1 // unsupported version
		return binary.BigEndian.AppendUint32(out, uint32(epoch.Seconds()))
	}
	out = binary.BigEndian.AppendUint32(out, uint32(epoch.Seconds()))
	if req[1] == 0 {
		return append(out, external.AsSlice()...)
	}
	if len(req) < 12 {
		return nil
	}
	network := "udp"
	if req[1] == 2 {
		network = "tcp"
	}
	port := binary.BigEndian.Uint16(req[4:])
	lifetime := binary.BigEndian.Uint32(req[8:])
	if lifetime > 0 && !openPort(network, port, from, mapped) {
		out[3] = 2 // refused
	}
	out = binary.BigEndian.AppendUint16(out, port)
	out = binary.BigEndian.AppendUint16(out, port)
	return binary.BigEndian.AppendUint32(out, lifetime)
}

// answerPCP is RFC 6887 sections 7.2, 11.3 and 14.1. The outside port is always
// the one inside.
func answerPCP(req []byte, from, external netip.Addr, epoch time.Duration, mapped map[string]bool) []byte {
	if len(req) < 24 || req[0] != 2 {
		return nil
	}
	out := make([]byte, 24, 60)
	out[0], out[1] = 2, req[1]|128
	copy(out[4:8], req[4:8])
	binary.BigEndian.PutUint32(out[8:], uint32(epoch.Seconds()))
	own := from.As16()
	switch {
	case string(req[8:24]) != string(own[:]):
		out[3] = 12 // the address in the request is not where it comes from
		return out
	case req[1] == 0:
		return out
	case req[1] != 1 || len(req) < 60:
		out[3] = 4
		return out
	}
	port := binary.BigEndian.Uint16(req[40:])
	network := map[byte]string{6: "tcp", 17: "udp"}[req[36]]
	if binary.BigEndian.Uint32(req[4:]) > 0 && !openPort(network, port, from, mapped) {
		out[3] = 2
	}
	out = append(out, req[24:42]...)
	out = binary.BigEndian.AppendUint16(out, port)
	outside := external.As16()
	return append(out, outside[:]...)
}

// openPort forwards a port to a machine of the local network.
func openPort(network string, port uint16, to netip.Addr, mapped map[string]bool) bool {
	rule := fmt.Sprintf("add rule ip pmp pre iifname \"wan0\" %s dport %d dnat to %s:%d", network, port, to, port)
	if !mapped[rule] {
		if text, err := exec.Command("nft", rule).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "nft %s: %v %s\n", rule, err, text)
			return false
		}
		mapped[rule] = true
	}
	return true
}
