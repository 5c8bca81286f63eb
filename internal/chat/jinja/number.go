package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

var errZero = errors.New("division by zero")

// fromBig returns an integer in its normal form.
func fromBig(i *big.Int) Value {
	if i.IsInt64() {
		return i.Int64()
	}
	return i
}

func checkBig(i *big.Int) (Value, error) {
	if i.BitLen() > maxIntBits {
		return nil, limitf("an integer of more than %d bits", maxIntBits)
	}
	return fromBig(i), nil
}

// toBig returns an integer or boolean as a big integer.
func toBig(v Value) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// toInt returns an integer or boolean that fits an int64.
func toInt(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

func isNumber(v Value) bool {
	switch v.(type) {
	case bool, int64, *big.Int, float64:
		return true
	}
	return false
}

func toFloat(v Value) (float64, error) {
	if f, ok := v.(float64); ok {
		return f, nil
	}
	i, _ := toBig(v)
	f, _ := new(big.Float).SetInt(i).Float64()
	if math.IsInf(f, 0) {
		return 0, errors.New("integer too large for a float")
	}
	return f, nil
}

// compareNumbers returns the order of two numbers; NaN has none.
func compareNumbers(a, b Value) (order int, ok bool) {
	if x, isInt := a.(int64); isInt {
		if y, isInt := b.(int64); isInt {
			switch {
			case x < y:
				return -1, true
			case x > y:
				return 1, true
			}
			return 0, true
		}
	}
	x, xNaN := exact(a)
	y, yNaN := exact(b)
	if xNaN || yNaN {
		return 0, false
	}
	return x.Cmp(y), true
}

func exact(v Value) (f *big.Float, nan bool) {
	if x, ok := v.(float64); ok {
		if math.IsNaN(x) {
			return nil, true
		}
		return new(big.Float).SetFloat64(x), false
	}
	i, _ := toBig(v)
	return new(big.Float).SetInt(i), false
}

// arithmetic applies an operator to two numbers as Python does.
func arithmetic(op string, a, b Value) (Value, error) {
	x, xInt := toBig(a)
	y, yInt := toBig(b)
	if xInt && yInt {
		return intArithmetic(op, x, y)
	}
	f, err := toFloat(a)
	if err != nil {
		return nil, err
	}
	g, err := toFloat(b)
	if err != nil {
		return nil, err
	}
	return floatArithmetic(op, f, g)
}

func intArithmetic(op string, x, y *big.Int) (Value, error) {
	z := new(big.Int)
	switch op {
	case "+":
		return checkBig(z.Add(x, y))
	case "-":
		return checkBig(z.Sub(x, y))
	case "*":
		return checkBig(z.Mul(x, y))
	case "**":
		return intPower(x, y)
	}
	if y.Sign() == 0 {
		return nil, errZero
	}
	if op == "/" && x.Sign() == 0 && y.Sign() < 0 {
		return math.Copysign(0, -1), nil
	}
	if op == "/" {
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if math.IsInf(f, 0) {
			return nil, errors.New("integer division result too large for a float")
		}
		return f, nil
	}
	// Floor division: the remainder has the divisor's sign.
	rem := new(big.Int)
	z.QuoRem(x, y, rem)
	if rem.Sign() != 0 && rem.Sign() != y.Sign() {
		z.Sub(z, big.NewInt(1))
		rem.Add(rem, y)
	}
	if op == "//" {
		return fromBig(z), nil
	}
	return fromBig(rem), nil
}

func intPower(x, y *big.Int) (Value, error) {
	if y.Sign() < 0 {
		return nil, errors.New("powers with a negative exponent are not supported")
	}
	if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxIntBits || y.Int64()*int64(x.BitLen()-1) > maxIntBits) {
		return nil, limitf("an integer of more than %d bits", maxIntBits)
	}
	if x.BitLen() <= 1 && y.BitLen() > 1 { // 0, 1 and -1
		y = new(big.Int).Add(big.NewInt(2), new(big.Int).And(y, big.NewInt(1)))
	}
	return checkBig(new(big.Int).Exp(x, y, nil))
}

func floatArithmetic(op string, f, g float64) (Value, error) {
	switch op {
	case "+":
		return f + g, nil
	case "-":
		return f - g, nil
	case "*":
		return float64(f * g), nil
	case "**":
		return nil, errors.New("powers of floats are not supported")
	}
	if g == 0 {
		return nil, errZero
	}
	if op == "/" {
		return f / g, nil
	}
	mod := math.Mod(f, g)
	div := (f - mod) / g
	switch {
	case mod == 0:
		mod = math.Copysign(0, g)
	case (g < 0) != (mod < 0):
		mod += g
		div--
	}
	if op == "%" {
		return mod, nil
	}
	floor := math.Floor(div)
	if div == 0 {
		floor = math.Copysign(0, f/g)
	} else if div-floor > 0.5 {
		floor++
	}
	return floor, nil
}

// formatFloat is Python's repr of a float.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return s // Go and Python both write at least two exponent digits
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func formatInt(v Value) string {
	i, _ := toBig(v)
	return i.String()
}

// parseInt is Python's int(text, base).
func parseInt(s string, base int64) (Value, error) {
	bad := fmt.Errorf("%.40q is not an integer", s)
	t := strings.TrimFunc(s, isSpace)
	neg := strings.HasPrefix(t, "-")
	if neg || strings.HasPrefix(t, "+") {
		t = t[1:]
	}
	if base != 0 && (base < 2 || base > 36) {
		return nil, bad
	}
	prefix := map[int64]string{2: "0b", 8: "0o", 16: "0x"}
	low := strings.ToLower(t)
	for b, p := range prefix {
		if strings.HasPrefix(low, p) && (base == b || base == 0) {
			base = b
			t = strings.TrimPrefix(t[2:], "_")
			break
		}
	}
	if base == 0 {
		base = 10
		if strings.Trim(t, "0_") != "" && strings.HasPrefix(t, "0") {
			return nil, bad
		}
	}
	if len(t) > 4300 {
		return nil, bad
	}
	if t == "" || strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") || strings.Contains(t, "__") || strings.ContainsAny(t, "+-") {
		return nil, bad
	}
	i, ok := new(big.Int).SetString(strings.ReplaceAll(t, "_", ""), int(base))
	if !ok {
		return nil, bad
	}
	if neg {
		i.Neg(i)
	}
	return fromBig(i), nil
}

// parseFloat is Python's float(text).
func parseFloat(s string) (float64, error) {
	t := strings.ToLower(strings.TrimFunc(s, isSpace))
	bad := fmt.Errorf("%.40q is not a number", s)
	if strings.ContainsAny(t, "xp") || strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") || strings.Contains(t, "__") {
		return 0, bad
	}
	if strings.Contains(t, "_") {
		for i := range t {
			if t[i] == '_' && (!digit(t[i-1]) || !digit(t[i+1])) {
				return 0, bad
			}
		}
		t = strings.ReplaceAll(t, "_", "")
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, bad
	}
	return f, nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
