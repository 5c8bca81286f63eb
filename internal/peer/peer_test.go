package peer_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/peer"
)

func key(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{b}, ed25519.SeedSize))
}

func TestForms(t *testing.T) {
	id := peer.FromPrivate(key(7))
	// The libp2p peer ID of this key, as go-libp2p v0.51.0 gives it.
	const want = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7"
	if id.String() != want {
		t.Errorf("String() = %s, want %s", id, want)
	}
	for _, s := range []string{id.String(), id.Node()} {
		if got, err := peer.Parse(s); err != nil || got != id {
			t.Errorf("Parse(%q) = %v, %v", s, got, err)
		}
	}
	var read peer.ID
	text, err := id.MarshalText()
	if err != nil || read.UnmarshalText(text) != nil || read != id {
		t.Errorf("text form: %s, %v, read %v", text, err, read)
	}
	if public, err := peer.FromPublic(id.Public()); err != nil || public != id {
		t.Errorf("FromPublic: %v, %v", public, err)
	}
	if id.IsZero() || !(peer.ID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	if other := peer.FromPrivate(key(8)); id.Compare(id) != 0 || id.Compare(other) != -other.Compare(id) || id.Compare(other) == 0 {
		t.Error("Compare does not order")
	}
}

func TestRefuses(t *testing.T) {
	good := peer.FromPrivate(key(7)).String()
	for name, s := range map[string]string{
		"empty":        "",
		"cut":          good[:len(good)-2],
		"longer":       good + "1",
		"letter":       "0" + good[1:],
		"hash of RSA":  "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
		"no end":       strings.Repeat("1", 1<<20),
		"space within": good[:5] + " " + good[5:],
	} {
		if id, err := peer.Parse(s); !errors.Is(err, peer.ErrID) {
			t.Errorf("%s: Parse = %v, %v", name, id, err)
		}
	}
	if _, err := peer.FromPublic(make([]byte, 31)); !errors.Is(err, peer.ErrID) {
		t.Errorf("FromPublic of 31 bytes: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	id := peer.FromPrivate(key(7))
	f.Add(id.String())
	f.Add(id.Node())
	f.Add("12D3Koo")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := peer.Parse(s)
		if err != nil {
			return
		}
		if again, err := peer.Parse(id.String()); err != nil || again != id {
			t.Errorf("%q: %v read again: %v, %v", s, id, again, err)
		}
	})
}
