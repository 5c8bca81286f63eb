"""A second implementation of parts 2 and 3 of training.md, to check that the
text is enough.

    python3 training.py RUN.json

trains a small net and prints the root of the step log, the root of the state
after the last step, and the SHA-256 of the outputs for all examples, of the net
and of its int8 copy, whose scales come from the same examples. RUN.json
has the configuration and the net by the names of their fields, and the
examples, floats as the integers that their bits are. It is written to be
compared with the text: work is shared out over outputs by numpy, and every sum
is a loop.
"""

import hashlib
import json
import math
import struct
import sys

import numpy as np

sys.dont_write_bytecode = True

import arith
from arith import F
from receipt import hash_of, leaf, root


def u64(n):
    return struct.pack("<Q", n)


# CBOR, deterministic.


def cbor(v):
    def head(major, n):
        for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if n < 24:
                return bytes([major << 5 | n])
            if n < 1 << 8 * size:
                return bytes([major << 5 | info]) + n.to_bytes(size, "big")

    if isinstance(v, bool):
        return b"\xf5" if v else b"\xf4"
    if isinstance(v, int):
        return head(0, v)
    if isinstance(v, str):
        return head(3, len(v.encode())) + v.encode()
    if isinstance(v, np.float32):
        if float(np.float16(v)) == float(v):
            return b"\xf9" + struct.pack(">e", v)
        return b"\xfa" + struct.pack(">f", v)
    if isinstance(v, list):
        return head(4, len(v)) + b"".join(map(cbor, v))
    return head(5, len(v)) + b"".join(cbor(k) + cbor(v[k]) for k in sorted(v, key=cbor))


# 2.2. Random numbers.


def chacha8rand(key):
    """c2sp.org/chacha8rand, as 64-bit integers."""
    while True:
        words = struct.unpack("<8I", key)
        out = []
        for group in range(0, 16, 4):
            blocks = [chacha8(words, group + i) for i in range(4)]
            for w in range(16):
                out += [b[w] for b in blocks]
        data = struct.pack("<256I", *out)
        yield from struct.unpack("<124Q", data[:992])
        key = data[992:]


def chacha8(key, counter):
    m = 0xFFFFFFFF
    x = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *key, counter, 0, 0, 0]

    def quarter(a, b, c, d):
        for p, q, r, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[p] = (x[p] + x[q]) & m
            y = x[r] ^ x[p]
            x[r] = (y << turn | y >> (32 - turn)) & m

    for _ in range(4):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    for i in range(8):
        x[4 + i] = (x[4 + i] + key[i]) & m
    return x


def stream(seed, purpose, index):
    return chacha8rand(hash_of("aval training random/1", u64(seed), purpose.encode(), u64(index)))


def unit(s):
    return (next(s) >> 11) / 2.0**53


def uniform(s, n, limit):
    return np.array([F(float(limit) * (2 * unit(s) - 1)) for _ in range(n)], F)


def normal(s, n, deviation):
    out = []
    while len(out) < n:
        u, v = unit(s), unit(s)
        rho = float(deviation) * math.sqrt(-2 * arith.log(1 - u))
        sin, cos = arith.sincos(2 * math.pi * v)
        out += [F(rho * cos), F(rho * sin)]
    return np.array(out[:n], F)


# Sums.


def blocks(n, start, term):
    """start + the sum of term(0) … term(n-1), in blocks of 32."""
    y = start
    for first in range(0, n, 32):
        p = np.zeros(y.shape, F)
        for c in range(first, min(first + 32, n)):
            p = p + term(c)
        y = y + p
    return y


def sixteen(terms):
    """The sums along the last axis, in sixteen parts, folded."""
    s = np.zeros(terms.shape[:-1] + (16,), F)
    for i in range(terms.shape[-1]):
        s[..., i % 16] += terms[..., i]
    for h in (8, 4, 2, 1):
        s[..., :h] += s[..., h : 2 * h]
    return s[..., 0].copy()


def over_examples(grad, terms):
    return blocks(len(terms), grad, lambda e: terms[e])


# Part 1: activations.


def sigmoid(x):
    return F(1) / (F(1) + arith.exp(-x))


def gelu_slope(x):
    c = ((x * x) * x) * F(0.044715) + x
    s = sigmoid(c * F(1.5957691216057308))
    d = ((x * x) * F(0.134145) + F(1)) * F(1.5957691216057308)
    t = s * (F(1) - s)
    return np.where(t == 0, s, s + x * (t * d))


def silu_slope(x):
    s = sigmoid(x)
    return s * (F(1) + x * (F(1) - s))


def sigmoid_slope(x):
    s = sigmoid(x)
    return s * (F(1) - s)


def tanh_slope(x):
    t = arith.tanh(x)
    return F(1) - t * t


ACTIVATIONS = {
    "relu": (lambda x: np.where(x < 0, F(0), x), lambda x: np.where(x > 0, F(1), F(0))),
    "elu": (lambda x: np.where(x > 0, x, arith.exp(x) - F(1)), lambda x: np.where(x > 0, F(1), arith.exp(x))),
    "gelu": (arith.gelu, gelu_slope),
    "silu": (arith.silu, silu_slope),
    "tanh": (arith.tanh, tanh_slope),
    "sigmoid": (sigmoid, sigmoid_slope),
}


# 3.1. Layers. x is [example, channel, row, column].


class Param:
    def __init__(self, name, data, decays):
        self.name, self.data, self.decays = name, data, decays
        self.grad = np.zeros(data.shape, F)


class Layer:
    def __init__(self, spec, index, shape, seed):
        self.spec, self.index, self.params = spec, index, []
        self.shape = shape  # of the output
        self.make(shape, seed)

    def weight(self, seed, shape, inputs, outputs):
        name = f"layers.{self.index}.weight"
        s, n = stream(seed, "init " + name, 0), math.prod(shape)
        if self.spec.get("init") == "glorot":
            data = uniform(s, n, F(math.sqrt(6 / (inputs + outputs))))
        else:
            data = normal(s, n, F(math.sqrt(2 / inputs)))
        self.w = Param(name, data.reshape(shape), True)
        self.params.append(self.w)

    def constant(self, what, n, value):
        p = Param(f"layers.{self.index}.{what}", np.full(n, value, F), False)
        self.params.append(p)
        return p

    def bias(self, n):
        self.b = None if self.spec.get("no_bias") else self.constant("bias", n, 0)


class Dense(Layer):
    def make(self, shape, seed):
        n, units = math.prod(shape), self.spec["units"]
        self.weight(seed, (units, n), n, units)
        self.bias(units)
        self.shape = (units, 1, 1)

    def forward8(self, x, scale):
        q, s = quantise_filters(self.w.data)
        sums = quantise(x.reshape(len(x), -1), scale) @ q.T
        y = sums.astype(F) * (s * scale)
        return (y + self.b.data if self.b else y).reshape(len(x), *self.shape)

    def forward(self, x, draws):
        self.into, self.x = x.shape, x.reshape(len(x), -1)
        w, x = self.w.data, self.x
        y = blocks(w.shape[1], np.zeros((len(x), len(w)), F), lambda c: w[None, :, c] * x[:, c, None])
        if self.b:
            y = y + self.b.data
        return y.reshape(len(x), *self.shape)

    def backward(self, dy):
        dy, x, w = dy.reshape(len(dy), -1), self.x, self.w.data
        self.w.grad = blocks(len(x), self.w.grad, lambda e: dy[e, :, None] * x[e, None, :])
        if self.b:
            self.b.grad = over_examples(self.b.grad, dy)
        dx = blocks(len(w), np.zeros(x.shape, F), lambda u: dy[:, u, None] * w[u])
        return dx.reshape(self.into)


class Conv(Layer):
    def make(self, shape, seed):
        s = self.spec
        self.groups = s.get("groups") or 1
        channels, (kh, kw) = shape[0] // self.groups, s["kernel"]
        filters = s["filters"] // self.groups
        taps = channels * kh * kw
        self.weight(seed, (s["filters"], channels, kh, kw), taps, filters * kh * kw)
        self.bias(s["filters"])
        strides = [t or 1 for t in s.get("stride", [0, 0])]
        self.sides, counts = [], []
        for n, k, step in zip(shape[1:], s["kernel"], strides):
            pad, count = 0, (n - k) // step + 1
            if s.get("padding") == "same":
                count = -(-n // step)
                pad = max(0, (count - 1) * step + k - n) // 2
            self.sides.append((step, pad))
            counts.append(count)
        self.into, self.channels, self.filters, self.taps = shape, channels, filters, taps
        self.shape = (s["filters"], *counts)

    def places(self):
        """(tap, window, channel of the group, row, column) inside the input."""
        _, kh, kw = self.w.data.shape[1:]
        (sh, ph), (sw, pw) = self.sides
        for tap in range(self.taps):
            c, h, w = tap // (kh * kw), tap // kw % kh, tap % kw
            for i in range(self.shape[1]):
                for j in range(self.shape[2]):
                    row, column = i * sh - ph + h, j * sw - pw + w
                    if 0 <= row < self.into[1] and 0 <= column < self.into[2]:
                        yield tap, i * self.shape[2] + j, c, row, column

    def unfold(self, x):
        n, windows = len(x), self.shape[1] * self.shape[2]
        g = x.reshape(n, self.groups, self.channels, *self.into[1:])
        cols = np.zeros((n, self.groups, self.taps, windows), x.dtype)
        for tap, window, c, row, column in self.places():
            cols[:, :, tap, window] = g[:, :, c, row, column]
        return cols

    def forward8(self, x, scale):
        q, s = quantise_filters(self.w.data)
        q = q.reshape(self.groups, self.filters, self.taps)
        sums = q @ self.unfold(quantise(x, scale))
        y = sums.reshape(len(x), len(s), -1).astype(F) * (s * scale)[:, None]
        if self.b:
            y = y + self.b.data[None, :, None]
        return y.reshape(len(x), *self.shape)

    def forward(self, x, draws):
        n, windows = len(x), self.shape[1] * self.shape[2]
        self.cols = cols = self.unfold(x)
        w = self.w.data.reshape(self.groups, self.filters, self.taps)
        y = np.zeros((n, self.groups, self.filters, windows), F)
        y = blocks(self.taps, y, lambda t: w[None, :, :, t, None] * cols[:, :, None, t, :])
        y = y.reshape(n, -1, windows)
        if self.b:
            y = y + self.b.data[None, :, None]
        return y.reshape(n, *self.shape)

    def backward(self, dy):
        n, windows = len(dy), self.shape[1] * self.shape[2]
        cols, w = self.cols, self.w.data.reshape(self.groups, self.filters, self.taps)
        if self.b:
            self.b.grad = over_examples(self.b.grad, sixteen(dy.reshape(n, -1, windows)))
        dy = dy.reshape(n, self.groups, self.filters, windows)
        dw = np.zeros((n, *w.shape), F)
        dw = blocks(windows, dw, lambda p: dy[..., p, None] * cols[:, :, None, :, p])
        self.w.grad = over_examples(self.w.grad, dw.reshape(n, *self.w.data.shape))
        dcols = blocks(self.filters, np.zeros(cols.shape, F), lambda f: w[None, :, f, :, None] * dy[:, :, f, None, :])
        dx = np.zeros((n, self.groups, self.channels, *self.into[1:]), F)
        for tap, window, c, row, column in self.places():
            dx[:, :, c, row, column] += dcols[:, :, tap, window]
        return dx.reshape(n, *self.into)


class Pool(Layer):
    def make(self, shape, seed):
        kernel = [k or n for k, n in zip(self.spec.get("kernel", [0, 0]), shape[1:])]
        stride = [s or k for s, k in zip(self.spec.get("stride", [0, 0]), kernel)]
        self.into, self.kernel, self.stride = shape, kernel, stride
        self.shape = (shape[0], *((n - k) // s + 1 for n, k, s in zip(shape[1:], kernel, stride)))
        self.mean = self.spec["kind"] == "avg_pool"

    def windows(self):
        (kh, kw), (sh, sw) = self.kernel, self.stride
        for i in range(self.shape[1]):
            for j in range(self.shape[2]):
                yield i, j, np.s_[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]

    def forward(self, x, draws):
        y, size = np.zeros((len(x), *self.shape), F), math.prod(self.kernel)
        self.best = {}
        for i, j, where in self.windows():
            v = x[where].reshape(*x.shape[:2], size)
            if self.mean:
                y[:, :, i, j] = blocks(size, np.zeros(x.shape[:2], F), lambda c: v[..., c]) / F(size)
            else:
                self.best[i, j] = v.argmax(axis=2)  # the first of equals
                y[:, :, i, j] = v.max(axis=2)
        return y

    def backward(self, dy):
        dx, size = np.zeros((len(dy), *self.into), F), math.prod(self.kernel)
        for i, j, where in self.windows():
            d = dy[:, :, i, j]
            if self.mean:
                dx[where] += (d / F(size))[:, :, None, None]
            else:
                one = np.arange(size) == self.best[i, j][:, :, None]
                part = dx[where]
                dx[where] = np.where(one.reshape(part.shape), part + d[:, :, None, None], part)
        return dx


class Norm(Layer):
    def make(self, shape, seed):
        self.w = self.constant("weight", shape[0], 1)
        self.b = self.constant("bias", shape[0], 0) if self.spec["kind"] == "group_norm" else None
        self.groups = self.spec.get("groups") or 1
        self.eps = F(self.spec.get("epsilon") or 1e-5)

    def forward(self, x, draws):
        g = x.reshape(len(x), self.groups, -1)
        n = F(g.shape[2])
        h = g - (sixteen(g) / n)[:, :, None] if self.b else g - F(0)
        self.r = F(1) / np.sqrt(sixteen(h * h) / n + self.eps)
        self.h = (h * self.r[:, :, None]).reshape(x.shape)
        y = self.h * self.w.data[None, :, None, None]
        return y + self.b.data[None, :, None, None] if self.b else y

    def backward(self, dy):
        flat = (len(dy), dy.shape[1], -1)
        self.w.grad = over_examples(self.w.grad, sixteen((dy * self.h).reshape(flat)))
        if self.b:
            self.b.grad = over_examples(self.b.grad, sixteen(dy.reshape(flat)))
        g = (dy * self.w.data[None, :, None, None]).reshape(len(dy), self.groups, -1)
        h, n = self.h.reshape(g.shape), F(g.shape[2])
        along = (sixteen(g * h) / n)[:, :, None]
        mean = (sixteen(g) / n)[:, :, None] if self.b else F(0)
        return (self.r[:, :, None] * ((g - mean) - h * along)).reshape(dy.shape)


class Dropout(Layer):
    def make(self, shape, seed):
        rate = F(self.spec.get("rate", 0))
        self.bound, self.scale = math.floor(float(rate) * 2**32), F(1) / (F(1) - rate)

    def forward(self, x, draws):
        self.keep = None
        if draws is None:
            return x
        size = math.prod(self.shape)
        keep = np.zeros((len(x), size), bool)
        for e, draw in enumerate(draws):
            s = stream(draw, "dropout", self.index)
            for i in range(0, size, 2):
                r = next(s)
                keep[e, i] = (r & 0xFFFFFFFF) >= self.bound
                if i + 1 < size:
                    keep[e, i + 1] = (r >> 32) >= self.bound
        self.keep = keep.reshape(x.shape)
        return np.where(self.keep, x * self.scale, F(0))

    def backward(self, dy):
        return np.where(self.keep, dy * self.scale, F(0))


class Activation(Layer):
    def make(self, shape, seed):
        self.f, self.slope = ACTIVATIONS[self.spec["kind"]]

    def forward(self, x, draws):
        self.x = x
        return self.f(x)

    def backward(self, dy):
        return dy * self.slope(self.x)


KINDS = {
    "dense": Dense, "conv": Conv, "max_pool": Pool, "avg_pool": Pool,
    "group_norm": Norm, "rms_norm": Norm, "dropout": Dropout,
}  # fmt: skip


# 3.3. Int8 nets.


def quantise(x, scale):
    if scale == 0:
        return np.zeros(x.shape, np.int64)
    return np.clip(np.rint(x / scale), -127, 127).astype(np.int64)


def quantise_filters(w):
    """The codes [filter, tap] and scales of weights."""
    w = w.reshape(len(w), -1)
    scales = np.abs(w).max(axis=1) / F(127)
    return np.array([quantise(x, s) for x, s in zip(w, scales)]), scales


class Net:
    def __init__(self, spec, seed):
        self.spec, self.layers = spec, []
        i = spec["input"]
        self.input = shape = (i["channels"], i["height"], i["width"])
        for index, s in enumerate(spec["layers"]):
            l = KINDS.get(s["kind"], Activation)(s, index, shape, seed)
            self.layers.append(l)
            shape = l.shape
        self.params = [p for l in self.layers for p in l.params]

    def forward(self, examples, draws):
        x = np.array([e["input"] for e in examples], np.uint32).view(F).reshape(-1, *self.input)
        for l in self.layers:
            x = l.forward(x, draws)
        return x.reshape(len(x), -1)

    def forward8(self, examples):
        x = y = np.array([e["input"] for e in examples], np.uint32).view(F).reshape(-1, *self.input)
        for l in self.layers:
            if hasattr(l, "forward8"):
                y = l.forward8(y, np.abs(x).max() / F(127))
            else:
                y = l.forward(y, None)
            x = l.forward(x, None)
        return y

    def accumulate(self, examples, draws, scale):
        """Adds gradients; gives the sum of losses and how many were right."""
        y = self.forward(examples, draws)
        losses, dy, right = self.loss(y, examples, scale)
        dy = dy.reshape(len(y), *self.layers[-1].shape)
        for l in reversed(self.layers):
            dy = l.backward(dy)
        total = 0.0
        for x in losses:
            total += float(x)
        return total, right

    def loss(self, y, examples, scale):
        n, dim = y.shape
        if self.spec["loss"] == "mse":
            d = y - np.array([e["target"] for e in examples], np.uint32).view(F)
            return sixteen(d * d) / F(dim), d * (scale * F(2) / F(dim)), 0
        labels = [e["label"] for e in examples]
        top = y.max(axis=1)
        e = arith.exp(y - top[:, None])
        total = sixteen(e)
        dy = e / total[:, None]
        losses, right = [], 0
        for i, label in enumerate(labels):
            losses.append(F(arith.log(float(total[i])) - float(y[i, label] - top[i])))
            dy[i, label] = dy[i, label] - F(1)
            right += int(y[i].argmax()) == label
        dy = dy * scale
        weights = self.spec.get("class_weights")
        if weights:
            w = np.array([weights[l] for l in labels], F)
            losses, dy = np.array(losses, F) * w, dy * w[:, None]
        return losses, dy, right


# 2. The run.


CONFIG = (
    (1, "seed", int), (2, "steps", int), (3, "batch", int), (4, "micro_batch", int), (5, "optimizer", str),
    (6, "learning_rate", F), (7, "min_learning_rate", F), (8, "schedule", str), (9, "warmup", int),
    (10, "beta1", F), (11, "beta2", F), (12, "epsilon", F), (13, "momentum", F), (14, "weight_decay", F),
    (15, "clip", F), (16, "example_clip", F), (17, "checkpoint_every", int),
)  # fmt: skip
ALWAYS = (2, 3, 4, 5, 6, 8)


class Run:
    def __init__(self, config, net, examples):
        self.c = {name: kind(config.get(name, 0)) for _, name, kind in CONFIG}
        self.encoded = cbor({k: self.c[n] for k, n, _ in CONFIG if k in ALWAYS or self.c[n]})
        self.net, self.examples, self.step, self.epoch = net, examples, 0, None
        letters = "mv" if self.c["optimizer"] == "adamw" else "m" if self.c["momentum"] else ""
        self.state = {l: [np.zeros(p.data.shape, F) for p in net.params] for l in letters}

    def example(self, position):
        """2.3: the example at a position of the run."""
        n = len(self.examples)
        if self.epoch != position // n:
            self.epoch = position // n
            self.order, s = list(range(n)), stream(self.c["seed"], "order", self.epoch)
            for i in range(n - 1, 0, -1):
                j = next(s) * (i + 1) >> 64
                self.order[i], self.order[j] = self.order[j], self.order[i]
        return self.examples[self.order[position % n]]

    def rate(self):
        c, s = self.c, self.step
        top, low = float(c["learning_rate"]), float(c["min_learning_rate"])
        if s < c["warmup"]:
            return F(top * (s + 1) / c["warmup"])
        q = (s - c["warmup"]) / (c["steps"] - c["warmup"])
        if c["schedule"] == "linear":
            return F(top - (top - low) * q)
        if c["schedule"] == "cosine":
            return F(low + (top - low) * (0.5 * (1 + arith.sincos(math.pi * q)[1])))
        return F(top)

    def norm(self):
        total = 0.0
        for p in self.net.params:
            g, squares = p.grad.reshape(-1), 0.0
            for i in range(0, len(g), 4096):
                squares += float(sixteen(g[i : i + 4096] * g[i : i + 4096]))
            total += squares
        return math.sqrt(total)

    @staticmethod
    def clip(norm, bound):
        return F(float(bound) / norm) if bound and norm > float(bound) else F(1)

    def zero(self):
        for p in self.net.params:
            p.grad = np.zeros(p.data.shape, F)

    def gradient(self, examples, draws):
        """2.4."""
        size, total, right = self.c["micro_batch"], 0.0, 0
        self.zero()
        if not self.c["example_clip"]:
            for i in range(0, len(examples), size):
                loss, ok = self.net.accumulate(examples[i : i + size], draws[i : i + size], F(1 / len(examples)))
                total, right = total + loss, right + ok
            return total, right
        sums = [np.zeros(p.data.shape, F) for p in self.net.params]
        for e, draw in zip(examples, draws):
            self.zero()
            loss, ok = self.net.accumulate([e], [draw], F(1))
            total, right = total + loss, right + ok
            f = F(float(self.clip(self.norm(), self.c["example_clip"])) / self.c["batch"])
            sums = [s + f * p.grad for s, p in zip(sums, self.net.params)]
        for p, s in zip(self.net.params, sums):
            p.grad = s
        return total, right

    def advance(self):
        """One step; gives its record."""
        c, batch = self.c, self.c["batch"]
        positions = range(self.step * batch, (self.step + 1) * batch)
        examples = [self.example(p) for p in positions]
        draws = [next(stream(c["seed"], "draw", p)) for p in positions]
        loss, right = self.gradient(examples, draws)
        norm, rate = self.norm(), self.rate()
        self.update(rate, self.clip(norm, c["clip"]))
        record = struct.pack("<QdQQff", self.step, loss, batch, right, F(norm), rate)
        self.step += 1
        return record

    def update(self, rate, clip):
        """2.7."""
        c = self.c
        if c["optimizer"] == "adamw":
            p1 = p2 = 1.0
            for _ in range(self.step + 1):
                p1, p2 = p1 * float(c["beta1"]), p2 * float(c["beta2"])
            a, r = F(float(rate) / (1 - p1)), F(1 / math.sqrt(1 - p2))
        for i, p in enumerate(self.net.params):
            d = clip * p.grad
            keep = F(1) - rate * c["weight_decay"] if p.decays else F(1)
            if c["optimizer"] == "adamw":
                b1, b2, m, v = c["beta1"], c["beta2"], self.state["m"][i], self.state["v"][i]
                m[:] = b1 * m + (F(1) - b1) * d
                v[:] = b2 * v + (F(1) - b2) * (d * d)
                p.data = keep * p.data - (a * m) / (np.sqrt(v) * r + c["epsilon"])
            elif c["momentum"]:
                m = self.state["m"][i]
                m[:] = c["momentum"] * m + d
                p.data = keep * p.data - rate * m
            else:
                p.data = keep * p.data - rate * d

    def root(self):
        """2.8."""
        leaves = [hash_of("aval training state/1", self.encoded, u64(self.step))]
        tensors = [(p.name, p.data) for p in self.net.params]
        for letter, arrays in self.state.items():
            tensors += [(f"optim.{letter}.{p.name}", x) for p, x in zip(self.net.params, arrays)]
        for name, x in tensors:
            data = x.astype("<f4").tobytes()
            tiles = [leaf(data[i : i + 65536]) for i in range(0, len(data), 65536)]
            shape = b"".join(map(u64, x.shape))
            leaves.append(hash_of("aval training tensor/1", name.encode(), shape, root(tiles)))
        return root(leaves)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        given = json.load(f)
    net = Net(given["net"], given["config"].get("seed", 0))
    run = Run(given["config"], net, given["examples"])
    log = [leaf(run.advance()) for _ in range(given["take"])]
    outputs = net.forward(given["examples"], None), net.forward8(given["examples"])
    print(root(log).hex(), run.root().hex(), *(hashlib.sha256(y.astype("<f4").tobytes()).hexdigest() for y in outputs))


if __name__ == "__main__":
    main()
