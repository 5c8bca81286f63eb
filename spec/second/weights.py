"""A GGUF reader, and section 2 of numerics.md: weights as integers and scales."""

import struct

import numpy as np

F = np.float32

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9

# type id: name, elements of a block, bytes of a block
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136),
}


class Reader:
    """The metadata (a dict) and tensors (name: type, shape, bytes) of a file."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.at = 0
        if self.data[:4] != b"GGUF":
            raise ValueError("not a GGUF file")
        self.at = 4
        version = self.scalar("<I")
        if version not in (2, 3):
            raise ValueError(f"version {version}")
        tensors, pairs = self.scalar("<Q"), self.scalar("<Q")
        self.meta = {}
        for _ in range(pairs):
            key = self.string()
            self.meta[key] = self.value(self.scalar("<I"))
        infos = []
        for _ in range(tensors):
            name = self.string()
            shape = [self.scalar("<Q") for _ in range(self.scalar("<I"))]
            infos.append((name, shape, self.scalar("<I"), self.scalar("<Q")))
        align = self.meta.get("general.alignment", 32)
        base = (self.at + align - 1) // align * align
        self.tensors = {}
        for name, shape, kind, offset in infos:
            typ, elems, size = TYPES[kind]
            columns = shape[0]
            rows = int(np.prod(shape[1:], dtype=np.int64))
            length = rows * (columns // elems) * size
            raw = np.frombuffer(self.data, np.uint8, length, base + offset)
            self.tensors[name] = Matrix(typ, rows, columns, raw.reshape(rows, columns // elems, size))

    def scalar(self, form):
        v = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return v

    def string(self):
        n = self.scalar("<Q")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf-8", "surrogateescape")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            kind = self.scalar("<I")
            return [self.value(kind) for _ in range(self.scalar("<Q"))]
        return self.scalar(SCALARS[kind])


class Matrix:
    """Rows of weights. Float types have .w; the others .q, .s, .o and .unit."""

    def __init__(self, typ, rows, columns, blocks):
        self.rows, self.columns, self.w = rows, columns, None
        self.updates = []  # of adapters (8.3): scale, A, B
        if typ == "F32":
            self.w = blocks.reshape(rows, -1).view("<f4")
        elif typ == "F16":
            self.w = blocks.reshape(rows, -1).view("<f2").astype(F)
        elif typ == "BF16":
            self.w = (blocks.reshape(rows, -1).view("<u2").astype(np.uint32) << 16).view(F)
        else:
            q, s, o = LAYOUTS[typ](blocks.astype(np.int32), lambda a, b: f16(blocks[:, :, a:b]))
            units = s.shape[-1] * s.shape[1]
            self.q = q.reshape(rows, units, -1)
            self.unit = self.q.shape[2]
            self.s = s.reshape(rows, units)
            self.o = None if o is None else o.reshape(rows, units)

    def slice(self, a, b):
        """The matrix of the rows a to b-1."""
        m = object.__new__(Matrix)
        m.__dict__.update(self.__dict__)
        m.rows = b - a
        m.updates = [(scale, low, high[a:b]) for scale, low, high in self.updates]
        if self.w is not None:
            m.w = self.w[a:b]
        else:
            m.q, m.s = self.q[a:b], self.s[a:b]
            m.o = None if self.o is None else self.o[a:b]
        return m

    def floats(self):
        """The weights themselves, as f32."""
        if self.w is not None:
            return self.w
        w = self.s[:, :, None] * self.q.astype(F)
        if self.o is not None:
            w = w + self.o[:, :, None]
        return w.reshape(self.rows, self.columns)


def f16(raw):
    return np.ascontiguousarray(raw).view("<f2").astype(F)


# Block layouts. b: bytes as int32, [row, block, byte]; half(a, b): the f16
# numbers there. Each gives q [.., elements], s and o [.., units].

TABLE = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int32)


def nibbles(b):
    """Low nibbles of all bytes, then the high ones."""
    return np.concatenate([b & 15, b >> 4], axis=-1)


def bits32(b):
    """The 32 bits of four bytes, lowest first."""
    return ((b[..., None] >> np.arange(8)) & 1).reshape(*b.shape[:2], 32)


def q8_0(b, half):
    return (b[..., 2:] ^ 128) - 128, half(0, 2), None


def q4_0(b, half):
    return nibbles(b[..., 2:]) - 8, half(0, 2), None


def q4_1(b, half):
    return nibbles(b[..., 4:]), half(0, 2), half(2, 4)


def q5_0(b, half):
    return nibbles(b[..., 6:]) + 16 * bits32(b[..., 2:6]) - 16, half(0, 2), None


def q5_1(b, half):
    return nibbles(b[..., 8:]) + 16 * bits32(b[..., 4:8]), half(0, 2), half(2, 4)


def iq4_nl(b, half):
    return TABLE[nibbles(b[..., 2:])], half(0, 2), None


def iq4_xs(b, half):
    high = b[..., 2] | b[..., 3] << 8
    scales = [(b[..., 4 + i // 2] >> 4 * (i % 2)) & 15 | ((high >> 2 * i) & 3) << 4 for i in range(8)]
    scales = np.stack(scales, axis=-1) - 32
    q = [nibbles(b[..., 8 + 16 * i : 24 + 16 * i]) for i in range(8)]
    return TABLE[np.concatenate(q, axis=-1)], half(0, 2) * scales.astype(F), None


def k4_scales(b):
    """Eight scales and eight mins of six bits in twelve bytes."""
    s = [b[..., j] & 63 if j < 4 else b[..., j + 4] & 15 | (b[..., j - 4] >> 6) << 4 for j in range(8)]
    m = [b[..., j + 4] & 63 if j < 4 else b[..., j + 4] >> 4 | (b[..., j] >> 6) << 4 for j in range(8)]
    return np.stack(s, axis=-1).astype(F), np.stack(m, axis=-1).astype(F)


def q4_k(b, half):
    s, m = k4_scales(b[..., 4:16])
    q = [nibbles(b[..., 16 + 32 * i : 48 + 32 * i]) for i in range(4)]
    return np.concatenate(q, axis=-1), half(0, 2) * s, -(half(2, 4) * m)


def q5_k(b, half):
    s, m = k4_scales(b[..., 4:16])
    q = [nibbles(b[..., 48 + 32 * i : 80 + 32 * i]) for i in range(4)]
    h = [(b[..., 16:48] >> i) & 1 for i in range(8)]
    return np.concatenate(q, axis=-1) + 16 * np.concatenate(h, axis=-1), half(0, 2) * s, -(half(2, 4) * m)


def pairs(b):
    """Two bits of each of 32 bytes at shifts 0, 2, 4, 6; then the next 32."""
    q = [(b[..., i : i + 32] >> s) & 3 for i in range(0, b.shape[-1], 32) for s in (0, 2, 4, 6)]
    return np.concatenate(q, axis=-1)


def q6_k(b, half):
    low = [nibbles(b[..., i : i + 64]) for i in (0, 64)]
    q = np.concatenate(low, axis=-1) + 16 * pairs(b[..., 128:192]) - 32
    return q, half(208, 210) * ((b[..., 192:208] ^ 128) - 128).astype(F), None


def q3_k(b, half):
    high = [(b[..., 0:32] >> i) & 1 for i in range(8)]
    q = pairs(b[..., 32:96]) + 4 * np.concatenate(high, axis=-1) - 4
    s = b[..., 96:108]
    s = [(s[..., i % 8] >> 4 * (i // 8)) & 15 | ((s[..., 8 + i % 4] >> 2 * (i // 4)) & 3) << 4 for i in range(16)]
    return q, half(108, 110) * (np.stack(s, axis=-1) - 32).astype(F), None


def q2_k(b, half):
    s, m = (b[..., :16] & 15).astype(F), (b[..., :16] >> 4).astype(F)
    return pairs(b[..., 16:80]), half(80, 82) * s, -(half(82, 84) * m)


LAYOUTS = {
    "Q8_0": q8_0, "Q4_0": q4_0, "Q4_1": q4_1, "Q5_0": q5_0, "Q5_1": q5_1, "IQ4_NL": iq4_nl, "IQ4_XS": iq4_xs,
    "Q2_K": q2_k, "Q3_K": q3_k, "Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k,
}
