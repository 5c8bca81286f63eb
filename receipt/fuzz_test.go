package receipt_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

// FuzzParse: what is taken is one encoding of its claims.
func FuzzParse(f *testing.F) {
	for _, g := range goodReceipts() {
		f.Add(g.raw)
	}
	for _, b := range badReceipts() {
		f.Add(b.raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := receipt.Parse(data)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), data) {
			t.Error("it reads as another receipt")
		}
		c := r.Claims()
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		c.Key = nil
		again, err := receipt.Sign(c, signer)
		if err != nil {
			t.Fatal(err)
		}
		c.Key = public()
		ours := again.Claims()
		if got, want := mustJSON(t, ours), mustJSON(t, c); got != want {
			t.Errorf("signed again it says %s, not %s", got, want)
		}
		_ = r.Verify()
	})
}

// FuzzFile: what is taken is written as the same bytes, and the checks of
// anything come to an end.
func FuzzFile(f *testing.F) {
	set, _ := readVectors(f)
	for _, v := range set.Files {
		f.Add([]byte(v.File))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		report := receipt.Offline(data, receipt.Options{Now: time.Unix(1_790_000_000, 0)})
		if report.Verdict() == receipt.Valid || len(report.Checks) == 0 {
			t.Errorf("%s", report.String())
		}
		file, err := receipt.ParseFile(data)
		if err != nil {
			return
		}
		again, err := file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, data) && !bytes.Equal(file.Receipt.Bytes(), data) {
			t.Errorf("%x is written as %x", data, again)
		}
	})
}

// FuzzKeys: a key as text has one form.
func FuzzKeys(f *testing.F) {
	f.Add(receipt.FormatNodeKey(public()))
	f.Add(receipt.FormatNodeSecret(signer))
	f.Add("aval-auditor-1aaaa")
	f.Fuzz(func(t *testing.T, s string) {
		if key, err := receipt.ParseNodeKey(s); err == nil && receipt.FormatNodeKey(key) != s {
			t.Errorf("%q is the key %s", s, receipt.FormatNodeKey(key))
		}
		if key, err := receipt.ParseAuditorKey(s); err == nil && key.String() != s {
			t.Errorf("%q is the key %s", s, key)
		}
		if key, err := receipt.ParseNodeSecret(s); err == nil && receipt.FormatNodeSecret(key) != s {
			t.Errorf("a private key has two forms")
		}
	})
}
