// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title IEEE 754 binary32, each operation rounded once to nearest, ties to even.
/// Numbers are their bits. Denormal numbers are kept. A NaN is 0x7fc00000 always
/// (spec/trace.md, section 4.2), so equal results have equal bits.
library Float32 {
    uint256 internal constant NAN = 0x7fc00000;
    uint256 private constant INF = 0x7f800000;
    uint256 private constant SIGN = 0x80000000;

    /// a * b.
    function mul(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            uint256 sign = (a ^ b) & SIGN;
            uint256 ea = (a >> 23) & 255;
            uint256 eb = (b >> 23) & 255;
            uint256 ma = a & 0x7fffff;
            uint256 mb = b & 0x7fffff;
            if (ea == 255 || eb == 255) {
                if ((ea == 255 && ma != 0) || (eb == 255 && mb != 0)) return NAN;
                if ((ea | ma) == 0 || (eb | mb) == 0) return NAN; // infinite times zero
                return sign | INF;
            }
            if (ea == 0) ea = 1;
            else ma |= 0x800000;
            if (eb == 0) eb = 1;
            else mb |= 0x800000;
            return round(sign, ma * mb, ea + eb + 212); // each is m * 2^(e - 150)
        }
    }

    /// a + b.
    function add(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            uint256 ea = (a >> 23) & 255;
            uint256 eb = (b >> 23) & 255;
            uint256 ma = a & 0x7fffff;
            uint256 mb = b & 0x7fffff;
            if (ea == 255 || eb == 255) {
                if ((ea == 255 && ma != 0) || (eb == 255 && mb != 0)) return NAN;
                if (ea == eb) return a == b ? a : NAN; // infinities of two signs
                return ea == 255 ? a : b;
            }
            if (ea == 0) ea = 1;
            else ma |= 0x800000;
            if (eb == 0) eb = 1;
            else mb |= 0x800000;
            if (ea < eb) (a, b, ea, eb, ma, mb) = (b, a, eb, ea, mb, ma);
            uint256 sign = a & SIGN;
            // Forty bits below the larger; what is smaller than these only decides
            // to which side of a tie it is.
            ma <<= 40;
            uint256 d = ea - eb;
            mb = d <= 40 ? mb << (40 - d) : (mb == 0 ? 0 : 1);
            if ((a ^ b) & SIGN == 0) {
                ma += mb;
            } else if (ma >= mb) {
                ma -= mb;
                if (ma == 0) return 0;
            } else {
                ma = mb - ma;
                sign ^= SIGN;
            }
            return round(sign, ma, ea + 322);
        }
    }

    /// An integer of less than 2^24 in magnitude, exactly.
    function fromInt(int256 n) internal pure returns (uint256) {
        unchecked {
            if (n == 0) return 0;
            return n < 0 ? round(SIGN, uint256(-n), 512) : round(0, uint256(n), 512);
        }
    }

    /// A binary16, exactly.
    function fromHalf(uint256 h) internal pure returns (uint256) {
        unchecked {
            uint256 sign = (h & 0x8000) << 16;
            uint256 e = (h >> 10) & 31;
            uint256 m = h & 0x3ff;
            if (e == 31) return m == 0 ? sign | INF : NAN;
            if (e == 0) return m == 0 ? sign : round(sign, m, 512 - 24);
            return sign | ((e + 112) << 23) | (m << 13);
        }
    }

    /// sum + (d * half) * scale, each rounded, with the integer d of less than 2^20
    /// in magnitude exact and half a binary16: a block of a Q8_0 product.
    function accumulate(uint256 sum, int256 d, uint256 half, uint256 scale) internal pure returns (uint256) {
        unchecked {
            uint256 eh = (half >> 10) & 31;
            uint256 ea = (scale >> 23) & 255;
            uint256 es = (sum >> 23) & 255;
            // What follows is for normal numbers; zero less one is large here.
            if (eh - 1 < 30 && ea - 1 < 254 && es - 1 < 254 && d != 0) {
                uint256 sign = (half << 16) ^ scale;
                uint256 m = uint256(d);
                if (d < 0) {
                    m = 0 - m;
                    sign ^= SIGN;
                }
                sign &= SIGN;
                // The first product has at most 31 bits; then 24, or 2^24.
                m *= (half & 0x3ff) | 0x400;
                uint256 n = log2(m);
                uint256 s;
                if (n > 23) {
                    s = n - 23;
                    m = (m + (1 << (s - 1)) - 1 + ((m >> s) & 1)) >> s;
                } else {
                    m <<= 23 - n;
                }
                // The second one has 47 or 48 bits; then 24 again, or 2^24.
                m *= (scale & 0x7fffff) | 0x800000;
                s = 23 + (m >> 47);
                m = (m + (1 << (s - 1)) - 1 + ((m >> s) & 1)) >> s;
                uint256 e = s + n + eh + ea - 48; // m * 2^(e - 150)
                if (e - 1 < 253) {
                    // As in add, with this exponent for numbers of both sides.
                    uint256 other = (sum & 0x7fffff) | 0x800000;
                    bool same = (sum ^ sign) & SIGN == 0;
                    sign = sum & SIGN;
                    if (es < e) (other, m, es, e, sign) = (m, other, e, es, same ? sign : sign ^ SIGN);
                    other <<= 40;
                    e = es - e;
                    m = e <= 40 ? m << (40 - e) : 1;
                    if (same) {
                        m += other;
                    } else if (other >= m) {
                        m = other - m;
                    } else {
                        m -= other;
                        sign ^= SIGN;
                    }
                    if (m >> 63 == 0) return m == 0 ? 0 : round(sign, m, es + 322);
                    s = 40 + (m >> 64);
                    m = ((es + s - 41) << 23) + ((m + (1 << (s - 1)) - 1 + ((m >> s) & 1)) >> s);
                    return sign | (m < INF ? m : INF);
                }
            }
        }
        return add(sum, mul(mul(fromInt(d), fromHalf(half)), scale));
    }

    /// m * 2^(e - 512), rounded; m is less than 2^128.
    function round(uint256 sign, uint256 m, uint256 e) private pure returns (uint256) {
        unchecked {
            if (m == 0) return sign;
            // The last place of the result is 2^(q - 512): 24 bits, or 2^-149.
            uint256 q = e + log2(m) - 23;
            if (q < 363) q = 363;
            if (q > e) {
                uint256 s = q - e;
                uint256 kept = m >> s;
                // Half a place less one, and one more where what is kept is odd.
                m = (m + (1 << (s - 1)) - 1 + (kept & 1)) >> s;
            } else {
                m <<= e - q;
            }
            // With its 24th bit m adds one to the exponent; without, it is denormal.
            uint256 bits = ((q - 363) << 23) + m;
            return sign | (bits < INF ? bits : INF);
        }
    }

    /// The place of the highest bit of m, which is at least 1 and below 2^128.
    function log2(uint256 m) private pure returns (uint256 n) {
        assembly ("memory-safe") {
            n := shl(6, lt(0xffffffffffffffff, m))
            n := or(n, shl(5, lt(0xffffffff, shr(n, m))))
            n := or(n, shl(4, lt(0xffff, shr(n, m))))
            n := or(n, shl(3, lt(0xff, shr(n, m))))
            n := or(n, shl(2, lt(0xf, shr(n, m))))
            n := or(n, shl(1, lt(0x3, shr(n, m))))
            n := or(n, lt(0x1, shr(n, m)))
        }
    }
}
