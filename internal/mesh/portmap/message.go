package portmap

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// routerPort is where routers listen, for both protocols.
const routerPort = 5351

// maxMessage bounds an answer: PCP's bound (RFC 6887 section 7).
const maxMessage = 1100

// Versions, the first byte of each message.
const (
	versionPMP = 0
	versionPCP = 2
)

// Opcodes.
const (
	pmpAddress  = 0 // of both UDP is 1 and TCP is 2
	pcpAnnounce = 0
	pcpMap      = 1
	answerBit   = 128
)

// result is what a router makes of a request (RFC 6886 section 3.5, RFC 6887
// section 7.4).
type result struct {
	pcp  bool
	code uint16
}

func (r result) Error() string {
	pmp := []string{"", "it does not speak this version", "it refuses", "it has no address itself", "it has no ports left", "it does not know the request"}
	pcp := []string{
		"", "it does not speak this version", "it refuses", "it finds the request malformed", "it does not know the request",
		"it does not know an option", "it finds an option malformed", "it has no network at the moment", "it has no ports left",
		"it does not know the protocol", "it allows this device no more ports", "it cannot give the port that was asked for",
		"there is another router in between", "too many peers are named",
	}
	texts := pmp
	if r.pcp {
		texts = pcp
	}
	if int(r.code) < len(texts) {
		return texts[r.code]
	}
	return fmt.Sprintf("it answers with code %d", r.code)
}

// answer is what routers tell, in either protocol.
type answer struct {
	epoch    uint32     // seconds since the router forgot its mappings
	external netip.Addr // valid in answers to pmpAddress and pcpMap
	port     uint16     // outside
	internal uint16
	protocol byte // the IP protocol: 6 TCP, 17 UDP
	life     time.Duration
	nonce    [12]byte
}

func protocolNumber(network string) byte {
	if network == "tcp" {
		return 6
	}
	return 17
}

// addressRequest asks for the router's own address by NAT-PMP.
func addressRequest() []byte { return []byte{versionPMP, pmpAddress} }

// pmpRequest asks for a port by NAT-PMP (RFC 6886 section 3.3). A life of zero
// gives it back.
func pmpRequest(p Port, suggest uint16, life time.Duration) []byte {
	op := byte(1)
	if p.Network == "tcp" {
		op = 2
	}
	b := []byte{versionPMP, op, 0, 0}
	b = binary.BigEndian.AppendUint16(b, p.Number)
	b = binary.BigEndian.AppendUint16(b, suggest)
	return binary.BigEndian.AppendUint32(b, uint32(life/time.Second))
}

// pcpHeader begins a request by PCP (RFC 6887 section 7.1). With pcpAnnounce it is
// all of one: is the router there, and since when (section 14.1)?
func pcpHeader(op byte, self netip.Addr, life time.Duration) []byte {
	b := []byte{versionPCP, op, 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(life/time.Second))
	from := self.As16()
	return append(b, from[:]...)
}

// pcpRequest asks for a port by PCP (RFC 6887 section 11.1). A life of zero gives
// it back.
func pcpRequest(p Port, nonce [12]byte, self netip.Addr, suggest netip.AddrPort, life time.Duration) []byte {
	b := pcpHeader(pcpMap, self, life)
	b = append(b, nonce[:]...)
	b = append(b, protocolNumber(p.Network), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, p.Number)
	b = binary.BigEndian.AppendUint16(b, suggest.Port())
	to := netip.IPv6Unspecified().As16()
	if self.Is4() {
		to = netip.AddrFrom4([4]byte{}).As16() // ::ffff:0:0, "any IPv4 address"
	}
	if suggest.Addr().IsValid() {
		to = suggest.Addr().As16()
	}
	return append(b, to[:]...)
}

// parse reads an answer of either protocol to a request with this opcode. A
// refusal is an error of the type result.
func parse(b []byte, version, op byte) (answer, error) {
	var a answer
	if len(b) < 8 || len(b) > maxMessage || b[1] != op|answerBit {
		return a, fmt.Errorf("an answer of %d bytes to another question", len(b))
	}
	if version == versionPMP {
		code := binary.BigEndian.Uint16(b[2:])
		switch {
		case b[0] != versionPMP:
			return a, fmt.Errorf("an answer of version %d, want %d", b[0], versionPMP)
		case code != 0:
			return a, result{code: code}
		}
		a.epoch = binary.BigEndian.Uint32(b[4:])
		if op == pmpAddress {
			if len(b) < 12 {
				return a, fmt.Errorf("an answer of %d bytes, want 12", len(b))
			}
			a.external = netip.AddrFrom4([4]byte(b[8:12]))
			return a, nil
		}
		if len(b) < 16 {
			return a, fmt.Errorf("an answer of %d bytes, want 16", len(b))
		}
		a.protocol = map[byte]byte{1: 17, 2: 6}[op]
		a.internal, a.port = binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
		a.life = time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second
		return a, nil
	}
	switch code := uint16(b[3]); {
	case b[0] != versionPCP: // a router that knows NAT-PMP alone (RFC 6887 section 9)
		return a, result{pcp: true, code: 1}
	case code != 0:
		return a, result{pcp: true, code: code}
	case len(b) < 24 || op == pcpMap && len(b) < 60:
		return a, fmt.Errorf("an answer of %d bytes, want 24, or 60 about a port", len(b))
	}
	a.epoch = binary.BigEndian.Uint32(b[8:])
	if op == pcpAnnounce {
		return a, nil
	}
	a.life = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second
	a.nonce = [12]byte(b[24:36])
	a.protocol = b[36]
	a.internal, a.port = binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint16(b[42:])
	a.external = netip.AddrFrom16([16]byte(b[44:60])).Unmap()
	return a, nil
}
