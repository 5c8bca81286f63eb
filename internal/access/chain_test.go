package access_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// chain is a token as spec/wire.md, part 5, has it, to be taken apart.
type chain struct {
	Issuer []byte `cbor:"1,keyasint"`
	ID     []byte `cbor:"2,keyasint"`
	Links  []link `cbor:"3,keyasint"`
}

type link struct {
	_         struct{} `cbor:",toarray"`
	Block     []byte
	Signature []byte
}

func apart(t *rapid.T, token *access.Token) (c chain) {
	if err := canon.Unmarshal(token.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// Links belong to one place of one chain. Several chains are made among the same
// few peers, so that the signers fit as often as can be, and their links are put
// together anew: what is taken is a chain that was made, or the beginning of one.
func TestLinksBelongToOneChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made := map[string]bool{}
		var chains []chain
		for n := range 3 {
			// The later a block, the less it allows, in whatever chain: only the
			// signatures keep the links of two chains apart.
			first := terms(id(2), ask, 3)
			first.Expires = start.Add(time.Duration(10+n) * time.Hour)
			token, err := access.Issue(key(1), access.ID{byte(rapid.IntRange(0, 3).Draw(t, "id") / 3)}, first)
			if err != nil {
				t.Fatal(err)
			}
			made[string(token.Bytes())] = true
			for i := range rapid.IntRange(1, 3).Draw(t, "length") {
				next := terms(id(byte(3+i)), ask, 2-i)
				next.Expires = start.Add(time.Duration(9-3*i-n) * time.Hour)
				if token, err = token.Delegate(key(byte(2+i)), next); err != nil {
					t.Fatal(err)
				}
				made[string(token.Bytes())] = true
			}
			chains = append(chains, apart(t, token))
		}
		var links []link
		for _, c := range chains {
			links = append(links, c.Links...)
		}
		forged := chain{
			Issuer: rapid.SampledFrom(chains).Draw(t, "issuer").Issuer, ID: rapid.SampledFrom(chains).Draw(t, "ID").ID,
			Links: rapid.SliceOfN(rapid.SampledFrom(links), 0, access.MaxBlocks+1).Draw(t, "links"),
		}
		if rapid.Bool().Draw(t, "nearly") { // one that was made, with one change
			forged.Links = append([]link(nil), rapid.SampledFrom(chains).Draw(t, "chain").Links...)
			i, j := rapid.IntRange(0, len(forged.Links)-1).Draw(t, "i"), rapid.IntRange(0, len(forged.Links)-1).Draw(t, "j")
			switch rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				forged.Links[i], forged.Links[j] = forged.Links[j], forged.Links[i]
			case 1:
				forged.Links = append(forged.Links[:i:i], forged.Links[i+1:]...)
			case 2:
				forged.Links = append(forged.Links[:i+1:i+1], forged.Links[i:]...)
			case 3: // the end of another chain
				if other := rapid.SampledFrom(chains).Draw(t, "other").Links; i < len(other) {
					forged.Links = append(forged.Links[:i:i], other[i:]...)
				}
			}
		}
		data, err := canon.Marshal(&forged)
		if err != nil {
			t.Fatal(err)
		}
		token, err := access.Parse(data)
		if (err == nil) != made[string(data)] {
			t.Fatalf("%d links, made so: %v, taken: %v", len(forged.Links), made[string(data)], err)
		}
		if err == nil { // the beginning of a chain is of use to its own holder alone
			if err := token.Check(id(byte(len(forged.Links)+2)), start); err == nil {
				t.Fatalf("a chain of %d is taken from the next holder", len(forged.Links))
			}
		}
	})
}

// A signature counts from the one key that may give it.
func TestForged(t *testing.T) {
	token := issue(t, key(1), terms(id(2), ask, 1))
	on, err := token.Delegate(key(2), terms(id(3), ask, 0))
	if err != nil {
		t.Fatal(err)
	}
	other, err := issue(t, key(1), terms(id(4), ask, 1)).Delegate(key(4), terms(id(3), ask, 0))
	if err != nil {
		t.Fatal(err)
	}
	var good, foreign chain
	if err := errors.Join(canon.Unmarshal(on.Bytes(), &good), canon.Unmarshal(other.Bytes(), &foreign)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]chain{
		"another issuer":       {foreign.Links[0].Block[:32], good.ID, good.Links},
		"another ID":           {good.Issuer, bytes.Repeat([]byte{9}, 16), good.Links},
		"signed by another":    {good.Issuer, good.ID, []link{good.Links[0], foreign.Links[1]}},
		"signature left out":   {good.Issuer, good.ID, []link{{Block: good.Links[0].Block, Signature: []byte{}}}},
		"signature of zeros":   {good.Issuer, good.ID, []link{{Block: good.Links[0].Block, Signature: make([]byte, 64)}}},
		"signature of another": {good.Issuer, good.ID, []link{{Block: good.Links[0].Block, Signature: good.Links[1].Signature}}},
		"no links":             {good.Issuer, good.ID, []link{}},
	} {
		data, err := canon.Marshal(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := access.Parse(data); !errors.Is(err, access.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := access.Parse(make([]byte, access.MaxToken+1)); !errors.Is(err, access.ErrToken) {
		t.Errorf("too long: %v", err)
	}
}

// A token allows no more than its grant does in the book now, and what is of no
// use is refused before its signatures are looked at.
func TestGuardAsksTheBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := issue(t, key(1), terms(id(2), ask, 0))
		g := access.NewGuard(id(1), nil, nil)
		may := func(raw []byte) error {
			return g.Allow(access.Request{Who: id(2), Action: access.Ask, Resource: "m", Tokens: [][]byte{raw}})
		}
		nobody := grant(1, peer.ID{}, ask...) // so that the token is what allows
		narrow := grant(1, peer.ID{}, access.Right{Action: access.Ask, Resource: "other"})
		short := grant(1, peer.ID{}, ask...)
		short.Expires = start.Add(time.Minute)
		for name, c := range map[string]struct {
			grant access.Grant
			want  string
		}{
			"as issued": {nobody, ""}, "narrowed in the book": {narrow, "does not allow that"}, "shortened in the book": {short, "its grant ended"},
		} {
			g.Load(access.Book{Granted: []access.Grant{c.grant}})
			if name == "shortened in the book" {
				time.Sleep(2 * time.Minute)
			}
			if err := may(token.Bytes()); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		g.Load(access.Book{})
		unsigned := bytes.Clone(token.Bytes())
		unsigned[len(unsigned)-1] ^= 1
		if err := may(unsigned); err == nil || !strings.Contains(err.Error(), "does not know it") {
			t.Errorf("a signature is checked for a grant that is not there: %v", err)
		}
	})
}

// Whether a peer may do anything of a kind is asked without counting a call.
func TestAllowAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		once := grant(1, id(2), access.Right{Action: access.Ask, Resource: "m"})
		once.PerMinute = 1
		g := access.NewGuard(id(1), nil, []peer.ID{id(9)})
		g.Load(access.Book{Granted: []access.Grant{once, grant(3, peer.ID{}, access.Right{Action: access.Fetch, Resource: "f"})}})
		bearer, err := access.Issue(key(1), access.ID{3}, terms(peer.ID{}, []access.Right{{Action: access.Fetch, Resource: "f"}}, 0))
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			who    byte
			action access.Action
			tokens [][]byte
			ok     bool
		}{
			"itself":             {1, access.Ask, nil, true},
			"a friend":           {9, access.Write, nil, true},
			"granted":            {2, access.Ask, nil, true},
			"another action":     {2, access.Fetch, nil, false},
			"a token":            {4, access.Fetch, [][]byte{bearer.Bytes()}, true},
			"a token, of no use": {4, access.Ask, [][]byte{bearer.Bytes(), []byte("x")}, false},
			"a stranger":         {4, access.Fetch, nil, false},
		} {
			err := g.AllowAny(access.Request{Who: id(c.who), Action: c.action, Resource: "*", Tokens: c.tokens})
			if (err == nil) != c.ok || err != nil && rpc.CodeOf(err) != rpc.PermissionDenied {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := g.Allow(access.Request{Who: id(2), Action: access.Ask, Resource: "m"}); err != nil {
			t.Errorf("asking whether counted: %v", err)
		}
	})
}

// From whom everything was taken back, no token helps, whoever handed it on, and
// none that it handed on helps others, until something is granted to it again.
func TestBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := issue(t, key(1), terms(id(2), ask, 2))
		second, err := first.Delegate(key(2), terms(id(3), ask, 1))
		if err != nil {
			t.Fatal(err)
		}
		third, err := second.Delegate(key(3), terms(id(4), ask, 0))
		if err != nil {
			t.Fatal(err)
		}
		bearer, err := access.Issue(key(1), access.ID{2}, terms(peer.ID{}, ask, 0))
		if err != nil {
			t.Fatal(err)
		}
		g := access.NewGuard(id(1), nil, nil)
		b := access.Book{Granted: []access.Grant{grant(1, id(2), ask...), grant(2, peer.ID{}, ask...)}}
		try := func(when string, want map[byte]string) {
			t.Helper()
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			g.Load(b)
			for _, c := range []struct {
				who   byte
				token *access.Token
				name  string
			}{{2, first, "first"}, {3, second, "second"}, {4, third, "third"}, {3, bearer, "bearer"}} {
				r := access.Request{Who: id(c.who), Action: access.Ask, Resource: "m", Tokens: [][]byte{c.token.Bytes()}}
				refused := strings.Contains(want[c.who], c.name)
				if err := g.Allow(r); (err != nil) != refused || refused && !strings.Contains(err.Error(), "everything was taken back") {
					t.Errorf("%s, %s: %v", when, c.name, err)
				}
				if err := g.AllowAny(r); (err != nil) != refused {
					t.Errorf("%s, %s, anything: %v", when, c.name, err)
				}
			}
		}
		try("before", nil)
		for _, more := range []bool{true, false} {
			if got, err := b.Block(id(3), start); got != more || err != nil {
				t.Errorf("blocked: %v, %v", got, err)
			}
		}
		try("blocked", map[byte]string{3: "second bearer", 4: "third"})
		again := grant(9, id(3), access.Right{Action: access.Fetch, Resource: "f"})
		if err := b.Add(again); err != nil {
			t.Fatal(err)
		}
		try("granted again", nil)
		for i := range access.MaxBlocked {
			if _, err := b.Block(peer.ID{1, byte(i), byte(i >> 8)}, start); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Block(id(5), start); err == nil {
			t.Error("the list has no end")
		}
		b.Blocked[0].Peer = peer.ID{}
		if err := b.Check(); err == nil {
			t.Error("nobody is blocked")
		}
	})
}

// Of many tokens from one peer, the newest that have not ended are shown, and to
// the peer that signed them, whatever the book says.
func TestTokensShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b access.Book
		var last, ends *access.Token
		for i := range rpc.MaxTokens + 3 {
			last = issue(t, key(1), terms(id(2), []access.Right{{Action: access.Ask, Resource: strings.Repeat("m", i+1)}}, 0))
			if err := b.Receive(last, "", start); err != nil {
				t.Fatal(err)
			}
		}
		brief := terms(id(2), ask, 0)
		brief.Expires = start.Add(time.Minute)
		ends = issue(t, key(1), brief)
		if err := b.Receive(ends, "", start); err != nil {
			t.Fatal(err)
		}
		b.Received[0].Issuer = id(5)
		g := access.NewGuard(id(2), nil, nil)
		g.Load(b)
		if got := g.Tokens(id(1)); len(got) != rpc.MaxTokens || !bytes.Equal(got[0], ends.Bytes()) || !bytes.Equal(got[1], last.Bytes()) {
			t.Errorf("%d tokens, or not the newest", len(got))
		}
		if got := g.Tokens(id(5)); len(got) != 0 {
			t.Error("a token is shown to who did not issue it")
		}
		time.Sleep(2 * time.Minute)
		if got := g.Tokens(id(1)); len(got) != rpc.MaxTokens || !bytes.Equal(got[0], last.Bytes()) {
			t.Errorf("%d tokens, the first of which may have ended", len(got))
		}
	})
}
