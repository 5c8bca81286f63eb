package access_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func id(n byte) peer.ID { return peer.FromPrivate(key(n)) }

var (
	start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as in a bubble
	ask   = []access.Right{{Action: access.Ask, Resource: "*"}}
)

func terms(holder peer.ID, rights []access.Right, handOn int) access.Terms {
	return access.Terms{Holder: holder, Rights: rights, Begins: start, Expires: start.Add(time.Hour), HandOn: handOn}
}

func issue(t interface{ Fatal(...any) }, by ed25519.PrivateKey, terms access.Terms) *access.Token {
	token, err := access.Issue(by, access.ID{1}, terms)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRight(t *testing.T) {
	for _, c := range []struct {
		right, resource string
		covers          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"a*", "a", true}, {"*", "anything", true}, {"a*", "b", false}, {"ab", "a", false},
	} {
		r := access.Right{Action: access.Ask, Resource: c.right}
		if got := r.Covers(access.Ask, c.resource); got != c.covers || r.Covers(access.Call, c.resource) {
			t.Errorf("%s and %s: %v", c.right, c.resource, got)
		}
	}
	for _, bad := range []access.Right{
		{"fly", "x"}, {"ask", ""}, {"ask", "a*b"}, {"ask", "**"}, {"ask", "a b"}, {"ask", "a\n"}, {"ask", strings.Repeat("a", 257)}, {"ask", "\xff"},
	} {
		if err := bad.Check(); !errors.Is(err, access.ErrRight) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestToken(t *testing.T) {
	token := issue(t, key(1), terms(id(2), ask, 1))
	again, err := access.ParseText(" " + token.String() + "\n")
	if err != nil || again.ID != (access.ID{1}) || again.Issuer != id(1) || again.Last().Holder != id(2) {
		t.Fatalf("%+v, %v", again, err)
	}
	data := token.Bytes()
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 4
		if _, err := access.Parse(bad); err == nil {
			t.Errorf("byte %d may be changed", i)
		}
		if _, err := access.Parse(data[:i]); err == nil {
			t.Errorf("%d bytes of it are a token", i)
		}
	}
	if err := again.Check(id(3), start); err == nil || !strings.Contains(err.Error(), "held by") {
		t.Errorf("a thief: %v", err)
	}
	if err := again.Check(id(2), start.Add(time.Hour)); err == nil {
		t.Error("it never ends")
	}
	if err := again.Check(id(2), start.Add(-time.Hour)); err == nil {
		t.Error("it begins too early")
	}
	if err := again.Check(id(2), start.Add(-time.Minute)); err != nil {
		t.Errorf("a clock that is a minute behind: %v", err)
	}
}

func TestDelegate(t *testing.T) {
	token := issue(t, key(1), terms(id(2), []access.Right{{access.Ask, "llama*"}, {access.Fetch, "abc"}}, 2))
	narrow, err := token.Delegate(key(2), terms(id(3), []access.Right{{access.Ask, "llama-1"}}, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := narrow.Delegate(key(3), terms(id(4), []access.Right{{access.Ask, "llama-1"}}, 0)); err != nil {
		t.Error(err)
	}
	later := terms(id(3), ask, 0)
	later.Expires = start.Add(2 * time.Hour)
	for name, c := range map[string]struct {
		from  *access.Token
		by    byte
		terms access.Terms
	}{
		"not its holder":        {token, 4, terms(id(3), []access.Right{{access.Ask, "llama-1"}}, 0)},
		"another model":         {token, 2, terms(id(3), []access.Right{{access.Ask, "mistral"}}, 0)},
		"all models":            {token, 2, terms(id(3), ask, 0)},
		"a wider star":          {token, 2, terms(id(3), []access.Right{{access.Ask, "ll*"}}, 0)},
		"a star for none":       {token, 2, terms(id(3), []access.Right{{access.Fetch, "abc*"}}, 0)},
		"another action":        {token, 2, terms(id(3), []access.Right{{access.Write, "llama-1"}}, 0)},
		"as far as the first":   {token, 2, terms(id(3), []access.Right{{access.Ask, "llama-1"}}, 2)},
		"to whoever has it":     {token, 2, terms(peer.ID{}, []access.Right{{access.Ask, "llama-1"}}, 0)},
		"longer":                {token, 2, later},
		"what is narrowed away": {narrow, 3, terms(id(4), []access.Right{{access.Fetch, "abc"}}, 0)},
		"nothing":               {token, 2, terms(id(3), nil, 0)},
	} {
		if _, err := c.from.Delegate(key(c.by), c.terms); err == nil {
			t.Errorf("%s: handed on", name)
		}
	}
}

// No chain allows what the block before does not: what can be made is narrower.
func TestOnlyNarrows(t *testing.T) {
	resource := rapid.StringMatching(`[ab]{1,3}\*?`)
	rights := rapid.Custom(func(t *rapid.T) []access.Right {
		var list []access.Right
		for range rapid.IntRange(1, 3).Draw(t, "rights") {
			list = append(list, access.Right{Action: rapid.SampledFrom([]access.Action{access.Ask, access.Fetch}).Draw(t, "action"), Resource: resource.Draw(t, "resource")})
		}
		return list
	})
	rapid.Check(t, func(t *rapid.T) {
		first := rights.Draw(t, "first")
		token := issue(t, key(1), terms(id(2), first, rapid.IntRange(0, 3).Draw(t, "on")))
		narrow, err := token.Delegate(key(2), terms(id(3), rights.Draw(t, "second"), rapid.IntRange(0, 3).Draw(t, "on2")))
		if err != nil {
			return
		}
		for range 20 {
			what, action := rapid.StringMatching(`[ab]{1,4}`).Draw(t, "what"), rapid.SampledFrom([]access.Action{access.Ask, access.Fetch}).Draw(t, "asked")
			allows := func(list []access.Right) bool {
				for _, r := range list {
					if r.Covers(action, what) {
						return true
					}
				}
				return false
			}
			if allows(narrow.Last().Rights) && !allows(first) {
				t.Fatalf("%v allows %s %s, and %v does not", narrow.Last().Rights, action, what, first)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	token, err := access.Issue(key(1), access.ID{1}, terms(id(2), ask, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.Bytes())
	on, err := token.Delegate(key(2), terms(id(3), ask, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(on.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		token, err := access.Parse(data)
		if err != nil {
			return
		}
		if again, err := access.ParseText(token.String()); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%x comes back otherwise: %v", data, err)
		}
	})
}

func grant(n byte, holder peer.ID, rights ...access.Right) access.Grant {
	return access.Grant{ID: access.ID{n}, Holder: holder, Rights: rights, Created: start, Expires: start.Add(time.Hour)}
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := access.NewGuard(id(1), []string{"/open"}, []peer.ID{id(9)})
		limited := grant(3, id(4), access.Right{access.Ask, "m"})
		limited.PerMinute = 2
		chain := grant(5, id(6), access.Right{access.Ask, "m*"})
		chain.HandOn = 1
		book := access.Book{Granted: []access.Grant{
			grant(2, id(2), access.Right{access.Ask, "m"}, access.Right{access.Call, "/aval.v1.X/*"}), limited, chain, grant(7, peer.ID{}, access.Right{access.Fetch, "f"}),
		}}
		if err := book.Check(); err != nil {
			t.Fatal(err)
		}
		g.Load(book)
		whole, err := access.Issue(key(1), access.ID{5}, access.Terms{Holder: id(6), Rights: chain.Rights, Begins: chain.Created, Expires: chain.Expires, HandOn: 1})
		if err != nil {
			t.Fatal(err)
		}
		on, err := whole.Delegate(key(6), terms(id(7), []access.Right{{access.Ask, "m2"}}, 0))
		if err != nil {
			t.Fatal(err)
		}
		bearer, err := access.Issue(key(1), access.ID{7}, terms(peer.ID{}, []access.Right{{access.Fetch, "f"}}, 0))
		if err != nil {
			t.Fatal(err)
		}
		forged, err := access.Issue(key(8), access.ID{7}, terms(peer.ID{}, []access.Right{{access.Fetch, "f"}}, 0))
		if err != nil {
			t.Fatal(err)
		}
		unknown, err := access.Issue(key(1), access.ID{99}, terms(id(8), ask, 0))
		if err != nil {
			t.Fatal(err)
		}
		may := func(who byte, a access.Action, resource string, tokens ...[]byte) error {
			return g.Allow(access.Request{Who: id(who), Action: a, Resource: resource, Tokens: tokens})
		}
		for name, c := range map[string]struct {
			err error
			ok  bool
		}{
			"itself":                         {may(1, access.Write, "x"), true},
			"a friend":                       {may(9, access.Write, "x"), true},
			"a stranger":                     {may(8, access.Ask, "m"), false},
			"granted":                        {may(2, access.Ask, "m"), true},
			"another model":                  {may(2, access.Ask, "m2"), false},
			"a method":                       {may(2, access.Call, "/aval.v1.X/Y"), true},
			"another method":                 {may(2, access.Call, "/aval.v1.Z/Y"), false},
			"handed on":                      {may(7, access.Ask, "m2", on.Bytes()), true},
			"handed on, another model":       {may(7, access.Ask, "m1", on.Bytes()), false},
			"stolen":                         {may(8, access.Ask, "m2", on.Bytes()), false},
			"whoever has it":                 {may(8, access.Fetch, "f", bearer.Bytes()), true},
			"signed by another":              {may(8, access.Fetch, "f", forged.Bytes()), false},
			"not in the book":                {may(8, access.Ask, "m", unknown.Bytes()), false},
			"nonsense, and then a good one":  {may(8, access.Fetch, "f", []byte("x"), nil, bearer.Bytes()), true},
			"too many, the good one at last": {may(8, access.Fetch, "f", append(make([][]byte, 8), bearer.Bytes())...), false},
		} {
			if (c.err == nil) != c.ok {
				t.Errorf("%s: %v", name, c.err)
			}
			if c.err != nil && (rpc.CodeOf(c.err) != rpc.PermissionDenied || !strings.Contains(c.err.Error(), "aval access grant")) {
				t.Errorf("%s: %v", name, c.err)
			}
		}
		if err := g.Authorize(context.Background(), &rpc.Call{Caller: id(8), Method: "/open"}); err != nil {
			t.Errorf("an open method: %v", err)
		}
		if err := g.Authorize(context.Background(), &rpc.Call{Caller: id(8), Method: "/aval.v1.X/Y"}); err == nil {
			t.Error("a stranger calls")
		}

		// Who only asks uses nothing up, and is told what is granted.
		for range 5 {
			for who, ok := range map[byte]bool{4: true, 8: false} {
				if err := g.Allow(access.Request{Who: id(who), Action: access.Ask, Resource: "m", Look: true}); (err == nil) != ok {
					t.Errorf("peer %d only asks: %v", who, err)
				}
			}
		}
		// Two calls a minute, and a new one each half minute.
		for i, ok := range []bool{true, true, false, false} {
			if err := may(4, access.Ask, "m"); (err == nil) != ok || !ok && rpc.RetryAfter(err).Round(time.Second) != 30*time.Second {
				t.Errorf("call %d: %v, again after %v", i, err, rpc.RetryAfter(err))
			}
		}
		time.Sleep(30 * time.Second)
		g.Load(book) // does not make the count new
		if err := may(4, access.Ask, "m"); err != nil {
			t.Error(err)
		}
		if err := may(4, access.Ask, "m"); err == nil {
			t.Error("more than two a minute")
		}

		// What is taken back counts no more, at once, and neither does what was
		// handed on from it.
		if n := book.Revoke(func(x access.Grant) bool { return x.ID == access.ID{5} || x.Holder == id(2) }, time.Now()); n != 2 {
			t.Errorf("%d taken back", n)
		}
		g.Load(book)
		if err := may(7, access.Ask, "m2", on.Bytes()); err == nil || !strings.Contains(err.Error(), "taken back") {
			t.Errorf("handed on and taken back: %v", err)
		}
		if err := may(2, access.Ask, "m"); err == nil {
			t.Error("taken back")
		}
		time.Sleep(time.Hour)
		if err := may(8, access.Fetch, "f", bearer.Bytes()); err == nil {
			t.Error("ended")
		}
	})
}

func TestBook(t *testing.T) { synctest.Test(t, testBook) } // whose clock is at start

func testBook(t *testing.T) {
	var b access.Book
	for i := range access.MaxGrants {
		g := grant(0, id(2), access.Right{access.Ask, "m"})
		g.ID = access.ID{byte(i), byte(i >> 8)}
		if err := b.Add(g); err != nil {
			t.Fatal(err)
		}
	}
	next := grant(255, id(2), access.Right{access.Ask, "m"})
	next.ID[15] = 1
	if err := b.Add(next); err == nil {
		t.Error("the book has no end")
	}
	next.Created, next.Expires = start.Add(2*time.Hour), start.Add(3*time.Hour) // the others have ended
	if err := b.Add(next); err != nil || len(b.Granted) != 1 {
		t.Errorf("%d grants, %v", len(b.Granted), err)
	}
	token := issue(t, key(1), terms(id(2), ask, 0))
	for range 2 {
		if err := b.Receive(token, "from a friend", start); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Received) != 1 {
		t.Errorf("%d tokens", len(b.Received))
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	g := access.NewGuard(id(2), nil, nil)
	g.Load(b)
	if got := g.Tokens(id(1)); len(got) != 1 || !bytes.Equal(got[0], token.Bytes()) || len(g.Tokens(id(3))) != 0 {
		t.Errorf("%d tokens for the issuer", len(got))
	}
	b.Granted = append(b.Granted, b.Granted[0])
	if err := b.Check(); err == nil {
		t.Error("a grant twice")
	}
}
