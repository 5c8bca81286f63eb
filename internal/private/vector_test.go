package private

import (
	"bytes"
	"crypto/hpke"
	"encoding/hex"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVector is the example of RFC 9458, appendix A.
func TestVector(t *testing.T) {
	c, err := parseConfig(unhex(t, "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003"))
	if err != nil || c.ID != 1 {
		t.Fatalf("the key configuration: %+v, %v", c, err)
	}
	kem, err := hpke.NewKEM(kemX25519)
	if err != nil {
		t.Fatal(err)
	}
	key, err := kem.NewPrivateKey(unhex(t, "3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a"))
	if err != nil || !bytes.Equal(key.PublicKey().Bytes(), c.Public.Bytes()) {
		t.Fatalf("the key: %v", err)
	}
	sealed := unhex(t, "010020000100014b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b4726374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525")
	o, err := open(func(id byte) hpke.PrivateKey { return map[byte]hpke.PrivateKey{1: key}[id] }, "message/bhttp request", sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(o.Request); got != "00034745540568747470730b6578616d706c652e636f6d012f" {
		t.Errorf("the request is %s", got)
	}
	answer := unhex(t, "c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd")
	aead, base, err := answerKey(o.ctx, "message/bhttp response", o.Enc, answer[:secretBytes])
	if err != nil {
		t.Fatal(err)
	}
	plain, err := aead.Open(nil, base, answer[secretBytes:], nil)
	if got := hex.EncodeToString(plain); err != nil || got != "0140c8" {
		t.Errorf("the answer is %s, %v", got, err)
	}
}

// Both kinds of keys seal and open, there and back.
func TestKinds(t *testing.T) {
	for _, id := range []uint16{kemX25519, kemXWing} {
		kem, err := hpke.NewKEM(id)
		if err != nil {
			t.Fatal(err)
		}
		key, err := kem.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseConfig(encodeConfig(7, key.PublicKey()))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Seal(c, []byte("a question"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := Open(func(byte) hpke.PrivateKey { return key }, s.Bytes)
		if err != nil || string(o.Request) != "a question" {
			t.Fatalf("%#x: %v", id, err)
		}
		a, err := o.Answer()
		if err != nil {
			t.Fatal(err)
		}
		r := s.Reader()
		for _, part := range []string{"", "some", "more"} {
			got, err := r.Next(a.part(partData, []byte(part)))
			if err != nil || string(got) != part {
				t.Errorf("%#x: %q, %v", id, got, err)
			}
		}
		if _, err := r.Next(a.part(partEnd, nil)); err != nil || !r.Whole {
			t.Errorf("%#x: the end: %v", id, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("\x01\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00\x04\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b)
		if err == nil && c.Public == nil {
			t.Error("no key, and no error")
		}
		_, _ = OpenConfig(peer.ID{}, b, time.Unix(0, 0), make([]byte, 64), time.Unix(0, 0))
	})
}

func FuzzOpen(f *testing.F) {
	kem, err := hpke.NewKEM(kemX25519)
	if err != nil {
		f.Fatal(err)
	}
	key, err := kem.DeriveKeyPair(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	c, err := parseConfig(encodeConfig(0, key.PublicKey()))
	if err != nil {
		f.Fatal(err)
	}
	s, err := Seal(c, []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Bytes, []byte("an answer"))
	f.Fuzz(func(t *testing.T, sealed, answer []byte) {
		if o, err := Open(func(byte) hpke.PrivateKey { return key }, sealed); err == nil && len(o.Request) > MaxRequest {
			t.Error("a request that is too large")
		}
		if _, err := s.Reader().Next(answer); err == nil {
			t.Error("an answer that nobody sealed")
		}
	})
}
