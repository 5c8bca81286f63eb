package ledger

import (
	"math/bits"
	"strconv"
)

// Amount is a sum of the network's unit in millionths.
type Amount uint64

// MaxSupply bounds all amounts together, so that two never overflow.
const MaxSupply Amount = 1 << 62

// plus adds, and stops at MaxSupply, which no account can pay.
func plus(a, b Amount) Amount {
	if a > MaxSupply || b > MaxSupply || a+b > MaxSupply {
		return MaxSupply
	}
	return a + b
}

// times multiplies, and stops at MaxSupply.
func times(a Amount, n uint64) Amount {
	hi, lo := bits.Mul64(uint64(a), n)
	if hi > 0 || lo > uint64(MaxSupply) {
		return MaxSupply
	}
	return Amount(lo)
}

// whole is all of something in basis points.
const whole = 10_000

// share is a part of an amount in basis points, ten thousandths, rounded down.
func share(a Amount, points uint64) Amount {
	hi, lo := bits.Mul64(uint64(a), points)
	q, _ := bits.Div64(hi, lo, whole) // points are at most 10,000, so hi is below
	return Amount(q)
}

func (a Amount) String() string { return strconv.FormatUint(uint64(a), 10) }
