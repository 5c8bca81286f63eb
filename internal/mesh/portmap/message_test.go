package portmap

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The bytes of requests, written down from the figures of RFC 6886 and RFC 6887.
func TestRequests(t *testing.T) {
	port := Port{"udp", 4710}
	self := netip.MustParseAddr("10.0.0.2")
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"the address", addressRequest(), "0000"},
		{"NAT-PMP, UDP", pmpRequest(port, 4710, 2*time.Hour), "00010000" + "1266" + "1266" + "00001c20"},
		{"NAT-PMP, TCP, given back", pmpRequest(Port{"tcp", 80}, 0, 0), "00020000" + "0050" + "0000" + "00000000"},
		{"announce", pcpHeader(pcpAnnounce, self, 0), "02000000" + "00000000" + "00000000000000000000ffff0a000002"},
		{
			"PCP", pcpRequest(port, [12]byte{1, 2, 3}, self, netip.AddrPort{}, time.Minute),
			"02010000" + "0000003c" + "00000000000000000000ffff0a000002" + "010203000000000000000000" + "11000000" + "1266" + "0000" + "00000000000000000000ffff00000000",
		},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	b, err := hex.DecodeString("02810000" + "00000e10" + "0000000a" + "000000000000000000000000" + "010203000000000000000000" + "11000000" + "1266" + "1267" + "00000000000000000000ffffcb007107")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(b, versionPCP, pcpMap)
	want := answer{
		epoch: 10, external: netip.MustParseAddr("203.0.113.7"), port: 4711, internal: 4710, protocol: 17, life: time.Hour, nonce: [12]byte{1, 2, 3},
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for n := range b {
		if _, err := parse(b[:n], versionPCP, pcpMap); err == nil {
			t.Errorf("%d of its bytes are an answer", n)
		}
	}
	var refused result
	if _, err := parse([]byte{0, 129, 0, 1, 0, 0, 0, 9}, versionPCP, pcpMap); !errors.As(err, &refused) || refused.code != 1 {
		t.Errorf("NAT-PMP's refusal: %v", err)
	}
	if diff := cmp.Diff(result{code: 3}.Error(), "it has no address itself"); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse: no answer makes the reader fail in another way than by an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 7}, byte(0), byte(0))
	f.Add(make([]byte, 60), byte(2), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, version, op byte) {
		a, err := parse(b, version, op)
		if err == nil && (version == versionPMP && a.external.IsValid() && !a.external.Is4()) {
			t.Errorf("%+v", a)
		}
	})
}
