package light_test

import (
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/light"
)

// Checks of whole headers are in internal/consensus, which has a CometBFT to
// compare with.

func FuzzDecode(f *testing.F) {
	b := &light.Block{Header: light.Header{Chain: "test", Height: 1}, Votes: []light.Vote{{}}, Validators: []light.Validator{{Key: canon.Hash{1}, Power: 1}}}
	raw, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := light.Decode(data)
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil || string(again) != string(data) {
			t.Fatalf("%x became %x, %v", data, again, err)
		}
		trust := light.Genesis("test", b.Validators, b.Header.Time.Go())
		if _, err := trust.Verify(b, b.Header.Time.Go(), 0); err == nil {
			t.Fatal("a header stands that nobody signed")
		}
	})
}
