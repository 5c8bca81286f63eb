package receipt_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

// BenchmarkVerify reads and checks receipts, one after the other.
func BenchmarkVerify(b *testing.B) {
	raw := sign(b, fullClaims())
	data := raw.Bytes()
	start := time.Now()
	for b.Loop() {
		r, err := receipt.Parse(data)
		if err == nil {
			err = r.Verify()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "receipts/s")
}

// BenchmarkOffline also checks a whole opening of 512 and 512 ids.
func BenchmarkOffline(b *testing.B) {
	tr := transcript()
	tr.Prompt, tr.Output = make([]int32, 512), make([]int32, 512)
	o, err := receipt.Commit(receipt.Salt{1}, tr)
	if err != nil {
		b.Fatal(err)
	}
	c := fullClaims()
	o.Fill(&c)
	f := receipt.File{Receipt: sign(b, c), Opening: o}
	data, err := f.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for b.Loop() {
		if r := receipt.Offline(data, receipt.Options{}); r.Failed() != nil {
			b.Fatal(r.Failed())
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "files/s")
}
