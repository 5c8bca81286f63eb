package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Limits of links: what somebody sends to a friend.
const (
	MaxLink      = 4 << 10 // bytes
	MaxAddresses = 16
)

const linkScheme = "peer://"

// ErrLink marks text that names no peer.
var ErrLink = errors.New("this names no peer")

// Link says which peer is meant, and where it may be reached.
type Link struct {
	Peer peer.ID `json:"peer"`
	// Addresses are multiaddresses that end with /p2p/ and the peer's ID; none
	// means that the network must find the peer.
	Addresses []string `json:"addresses,omitempty"`
	// Chain is the hash of the genesis of the ledger that the peer takes part in;
	// zero: the link does not say.
	Chain canon.Hash `json:"chain,omitzero"`
}

// ParseLink reads a link (peer://ID?addr=ADDRESS,ADDRESS&chain=HASH), one address that ends
// with the peer's ID (/ip4/192.0.2.1/tcp/4710/p2p/ID), or the ID alone. It does
// not look into the addresses; the mesh refuses what is none.
func ParseLink(s string) (Link, error) {
	if len(s) > MaxLink {
		return Link{}, fmt.Errorf("%w: %d characters, more than %d", ErrLink, len(s), MaxLink)
	}
	if strings.HasPrefix(s, "/") {
		at := strings.LastIndex(s, "/p2p/")
		if at < 0 {
			return Link{}, fmt.Errorf("%w: the address %.200q does not end with /p2p/ and an ID", ErrLink, s)
		}
		p, err := peer.Parse(s[at+len("/p2p/"):])
		if err != nil {
			return Link{}, fmt.Errorf("%w: %.200q: %w", ErrLink, s, err)
		}
		return Link{Peer: p, Addresses: []string{s}}, nil
	}
	name, query, has := strings.Cut(strings.TrimPrefix(s, linkScheme), "?")
	p, err := peer.Parse(name)
	if err != nil {
		return Link{}, fmt.Errorf("%w: %.200q: %w", ErrLink, s, err)
	}
	l := Link{Peer: p}
	if !has {
		return l, nil
	}
	list, hash, hasChain := query, "", false
	if at := strings.LastIndex("&"+query, "&chain="); at >= 0 {
		list, hash, hasChain = query[:max(at-1, 0)], query[at+len("chain="):], true
	}
	if !strings.HasPrefix(s, linkScheme) {
		return Link{}, fmt.Errorf("%w: %.200q: what comes after a question mark needs %s before it all", ErrLink, s, linkScheme)
	}
	if hasChain {
		if err := l.Chain.UnmarshalText([]byte(hash)); err != nil || l.Chain.IsZero() {
			return Link{}, fmt.Errorf("%w: %.200q: after chain= comes the hash of a genesis, %d hexadecimal digits", ErrLink, s, 2*canon.Size)
		}
		if strings.HasPrefix(query, "chain=") {
			return l, nil
		}
	}
	list, ok := strings.CutPrefix(list, "addr=")
	if !ok {
		return Link{}, fmt.Errorf("%w: %.200q: after the question mark comes addr=ADDRESS,ADDRESS, chain=HASH, or both with & between them", ErrLink, s)
	}
	for a := range strings.SplitSeq(list, ",") {
		if !strings.HasPrefix(a, "/") || len(l.Addresses) == MaxAddresses {
			return Link{}, fmt.Errorf("%w: %.200q: want 1 to %d addresses such as /ip4/192.0.2.1/tcp/4710", ErrLink, s, MaxAddresses)
		}
		l.Addresses = append(l.Addresses, a+"/p2p/"+p.String())
	}
	return l, nil
}

// String is the link to copy.
func (l Link) String() string {
	s := linkScheme + l.Peer.String()
	chain := ""
	if !l.Chain.IsZero() {
		chain = "chain=" + l.Chain.String()
	}
	if len(l.Addresses) == 0 {
		if chain != "" {
			s += "?" + chain
		}
		return s
	}
	if chain != "" {
		chain = "&" + chain
	}
	var list []string
	for _, a := range l.Addresses {
		list = append(list, strings.TrimSuffix(a, "/p2p/"+l.Peer.String()))
	}
	return s + "?addr=" + strings.Join(list, ",") + chain
}

// linkAddresses is how many addresses a link has at most when we make it.
const linkAddresses = 4

// LinkOf makes the link of a node from all its addresses: those of other
// machines' networks before those of this machine alone, each port once.
func LinkOf(id peer.ID, addresses []string) Link {
	list := ForFriends(addresses)
	return Link{Peer: id, Addresses: list[:min(linkAddresses, len(list))]}
}

// ForFriends leaves out addresses that say nothing new to a person: those of
// this machine alone, and the same ports over WebSocket and WebTransport. Where
// nothing would be left it leaves out nothing.
func ForFriends(list []string) []string {
	short := slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		return slices.ContainsFunc([]string{"/ip4/127.", "/ip6/::1/", "/ws/", "/webtransport/"}, func(part string) bool { return strings.Contains(s, part) })
	})
	if len(short) == 0 {
		return list
	}
	return short
}
