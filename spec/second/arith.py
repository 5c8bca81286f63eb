"""Section 1 of numerics.md: conversions and functions.

The f32 functions take and give numpy float32 arrays; numpy rounds each
operation by itself and never fuses two. The f64 functions take and give Python
floats, which are binary64. numpy's and math's own exp, log, sin and the like
are not used anywhere: only + - * /, sqrt, comparisons and conversions.
"""

import math

import numpy as np

F = np.float32


def half(x):
    """1.1: f32 to the f32 value of an f16, saturating."""
    with np.errstate(over="ignore"):
        h = x.astype(np.float16)
    h = np.where(np.isinf(h), np.copysign(np.float16(65504), x).astype(np.float16), h)
    h = np.where(np.isnan(x), np.float16(0), h)
    return h.astype(F)


def exp(x):
    """1.2: exp of f32."""
    magic = F(12582912)
    inside = (x > F(-87.33654)) & ~(x > F(88.37626))
    z = np.where(inside, x, F(0))
    n = (z * F(1.44269504088896341) + magic) - magic
    r = z - n * F(0.693359375)
    r = r - n * F(-2.12194440e-4)
    p = np.full_like(z, F(1.9875691500e-4))
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + F(c)
    p = p * (r * r) + r
    p = p + F(1)
    power = ((n.astype(np.int32) + 127) << 23).view(F)  # 2^n
    return np.where(inside, p * power, np.where(x > F(88.37626), F(np.inf), F(0))).astype(F)


def tanh(x):
    a = np.abs(x)
    e = exp(F(-2) * a)
    t = (F(1) - e) / (F(1) + e)
    return np.where(np.isnan(x), x, np.where(x < 0, -t, t)).astype(F)


def silu(x):
    return x / (F(1) + exp(-x))


def gelu(x):
    c = ((x * x) * x) * F(0.044715) + x
    return x / (F(1) + exp(-(c * F(1.5957691216057308))))


def softcap(x, cap):
    return F(cap) * tanh(x / F(cap))


LN2H = 6.93147180369123816490e-01  # 0x3fe62e42fee00000
LN2L = 1.90821492927058770002e-10
LOG2E = 1.44269504088896340736
TWO_OVER_PI = 0.63661977236758134308
PI = math.pi


def log(x):
    """1.3: log of f64."""
    m, e = math.frexp(x)  # 0.5 <= m < 1
    m, e = m * 2, e - 1
    if m > 1.41421356237309504880:
        m, e = m / 2, e + 1
    t = (m - 1) / (m + 1)
    u = t * t
    s = 0.0
    for i in range(31, 0, -2):
        s = s * u + 1 / i
    s = (2 * t) * s
    return e * LN2H + (e * LN2L + s)


def exp64(z):
    n = math.floor(z * LOG2E + 0.5)
    r = z - n * LN2H
    r = r - n * LN2L
    s = 1.0
    for i in range(18, 0, -1):
        s = 1 + s * (r / i)
    return math.ldexp(s, n)


def pow64(x, y):
    return exp64(y * log(x))


def sincos(x):
    n = math.floor(x * TWO_OVER_PI + 0.5)
    r = x - n * 1.57079632673412561417
    r = r - n * 6.07710050630396597660e-11
    r = r - n * 2.02226624871116645580e-21
    u = r * r
    s = c = 1.0
    for i in range(20, 0, -2):
        s = 1 - s * (u / (i * (i + 1)))
        c = 1 - c * (u / (i * (i - 1)))
    s = s * r
    return ((s, c), (c, -s), (-s, -c), (-c, s))[n % 4]
