package beacon_test

import (
	"fmt"
	"testing"

	"github.com/avalnetwork/aval/internal/beacon"
)

func benchmark(b *testing.B, f func(b *testing.B, c *cluster)) {
	for _, n := range []int{1, 4, 100} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { f(b, partial(b, n)) })
	}
}

// partial is a cluster of which few members deal and sign, since what is
// measured doesn't depend on how many do.
func partial(b *testing.B, n int) *cluster {
	b.Helper()
	if n <= 7 {
		return ready(b, n)
	}
	c := clusters[n]
	if c != nil {
		return c
	}
	c = newGroup(b, "test", 1, n)
	for i := range c.group.Threshold() {
		d, err := c.group.Deal(c.secrets[i], [32]byte{})
		if err != nil {
			b.Fatal(err)
		}
		c.dealings = append(c.dealings, d)
	}
	c.secrets = c.secrets[:c.group.Threshold()]
	c.finish(b)
	clusters[n] = c
	return c
}

func BenchmarkDeal(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		for b.Loop() {
			if _, err := c.group.Deal(c.secrets[0], [32]byte{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		for b.Loop() {
			if _, err := c.group.Check(c.dealings[0].Bytes()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		if c.group.Size() == 1 {
			b.Skip("nobody can complain")
		}
		complaint := c.group.Reveal(c.secrets[1], c.dealings[0])
		for b.Loop() {
			if _, err := c.group.Judge(c.dealings[0], complaint); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCombine(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		for b.Loop() {
			if _, err := c.group.Combine(c.dealings); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseKey(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		raw := c.key.Bytes()
		for b.Loop() {
			if _, err := c.group.ParseKey(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		for b.Loop() {
			c.signers[0].Sign(7)
		}
	})
}

func BenchmarkVerifyShare(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		share := c.signers[0].Sign(7)
		for b.Loop() {
			if err := c.key.VerifyShare(7, share); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRecover(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		shares := c.shares(7, upTo(c.group.Threshold())...)
		for b.Loop() {
			if _, err := c.key.Recover(7, shares); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	benchmark(b, func(b *testing.B, c *cluster) {
		sig, err := c.key.Recover(7, c.shares(7, upTo(c.group.Threshold())...))
		if err != nil {
			b.Fatal(err)
		}
		v, err := beacon.NewVerifier("test", 1, c.key.Public())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := v.Verify(7, sig); err != nil {
				b.Fatal(err)
			}
		}
	})
}
