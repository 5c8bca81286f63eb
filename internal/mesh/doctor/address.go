package doctor

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxText and maxAddress are how many characters of a text and of an address
// from outside are shown. A relayed WebTransport address has about 350.
const (
	maxText    = 160
	maxAddress = 512
)

// address is what matters here of a multiaddress.
type address struct {
	ip      netip.Addr
	name    string // of a machine, in place of ip
	network string // "udp" or "tcp"
	port    int
	relayed bool
}

// parseAddress reads the parts of a multiaddress that it needs. What is missing
// or wrong stays zero: addresses come from others, too.
func parseAddress(s string) address {
	var a address
	parts := strings.Split(strings.Trim(s, "/"), "/")
	for i := 0; i < len(parts); i++ {
		next := ""
		if i+1 < len(parts) {
			next = parts[i+1]
		}
		switch parts[i] {
		case "p2p-circuit":
			a.relayed = true
			return a
		case "ip4", "ip6":
			a.ip, _ = netip.ParseAddr(next)
			i++
		case "dns", "dns4", "dns6", "dnsaddr":
			a.name = next
			i++
		case "udp", "tcp":
			a.network = parts[i]
			if n, err := strconv.ParseUint(next, 10, 16); err == nil {
				a.port = int(n)
			}
			i++
		}
	}
	return a
}

// parseIP reads an IP address, with a prefix length or a port or neither.
func parseIP(s string) netip.Addr {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr().Unmap()
	}
	if p, err := netip.ParseAddrPort(s); err == nil {
		return p.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(s)
	return a.Unmap()
}

// carrierRange is what providers use between their customers and their own NAT
// (RFC 6598).
var carrierRange = netip.MustParsePrefix("100.64.0.0/10")

// isPublic tells whether an address can be that of a machine on the Internet.
func isPublic(ip netip.Addr) bool {
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate() && !carrierRange.Contains(ip)
}

// show makes a text from outside fit to be shown: one line, printable, short.
func show(s string) string { return cut(s, maxText) }

func cut(s string, limit int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > limit {
			b.WriteString("...")
			break
		}
		if !strconv.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
