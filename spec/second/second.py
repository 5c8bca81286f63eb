"""A second implementation of numerics.md, to check that the text is enough.

    python3 second.py [--context N] [--lora SCALE ADAPTER.gguf]... MODEL.gguf ID...

prints the SHA-256 of the little-endian f32 bits of the logits of every
position, in order, for these token ids (- reads them from standard input). More
than N of them are cut into windows of N, each read from nothing. As in `aval
perplexity`, N is what the model was trained for, but at least 512, if not given. It is written to be compared with the text, and is slow: work
is shared out over outputs (rows, positions, heads) by numpy, and every sum is
a loop. It does not tokenize, sample, or check that a file makes sense.
"""

import hashlib
import math
import sys

import numpy as np

sys.dont_write_bytecode = True

import arith
from arith import F
from weights import Reader


# 3 and 4. The matrix product of every row of x.


def quantise(x):
    """3: integers q [t, block, 32] and scales a [t, block]."""
    x = x.reshape(len(x), -1, 32)
    most = np.abs(x).view(np.uint32).max(axis=2).view(F)
    usable = (most >= F(2.0**-100)) & (most < F(np.inf))
    safe = np.where(usable, most, F(1)).astype(F)
    v = F(127) / safe
    q = np.where(usable[:, :, None], np.rint(x * v[:, :, None]), 0).astype(np.int32)
    a = np.where(usable, safe / F(127), np.where(most < F(2.0**-100), F(0), F(np.nan)))
    return q, a.astype(F)


def blocked_sum(n, shape, term):
    """4.2: the sum of term(0) … term(n-1), in blocks of 32."""
    y = np.zeros(shape, F)
    for start in range(0, n, 32):
        p = np.zeros(shape, F)
        for c in range(start, min(start + 32, n)):
            p = p + term(c)
        y = y + p
    return y


def float_product(x, w):
    """4.2: [t, columns] by a matrix of f32, [rows, columns]."""
    return blocked_sum(w.shape[1], (len(x), len(w)), lambda c: w[None, :, c] * x[:, c, None])


def product(x, m, bias=None):
    """4: [t, columns] by a matrix gives [t, rows]."""
    if m.w is not None:
        y = float_product(x, m.w)
    else:
        xq, a = quantise(x)
        xq = xq.reshape(len(x), -1, m.unit)
        y = np.zeros((len(x), m.rows), F)
        for u in range(xq.shape[1]):
            scale = a[:, u * m.unit // 32, None]
            dot = xq[:, u] @ m.q[:, u].T  # integers
            y = y + (dot.astype(F) * m.s[None, :, u]) * scale
            if m.o is not None:
                total = xq[:, u].sum(axis=1)[:, None]  # integers
                y = y + m.o[None, :, u] * (scale * total.astype(F))
    for s, a, b in m.updates:  # 8.3
        y = y + s * float_product(float_product(x, a), b)
    if bias is not None:
        y = y + bias
    return y


# 5. Norms.


def fold(s):
    """Sixteen partial sums, in the last axis."""
    for h in (8, 4, 2, 1):
        s = s[..., :h] + s[..., h : 2 * h]
    return s[..., 0]


def norm(x, w, eps):
    n = x.shape[-1]
    s = np.zeros((*x.shape[:-1], 16), F)
    for i in range(n):
        s[..., i % 16] += x[..., i] * x[..., i]
    r = F(1) / np.sqrt(fold(s) / F(n) + F(eps))
    return (x * r[..., None]) * w


class Model:
    def __init__(self, path, context=None, adapters=()):
        file = Reader(path)
        self.meta, self.tensors = file.meta, file.tensors
        self.arch = self.meta["general.architecture"]
        self.context = context or max(self.key("context_length"), 512)
        self.layers = self.key("block_count")
        self.dim = self.key("embedding_length")
        self.heads = self.key("attention.head_count")
        self.kv_heads = self.key("attention.head_count_kv", self.heads)
        self.head = self.key("attention.key_length", self.dim // self.heads)
        self.rotated = self.key("rope.dimension_count", self.head)
        self.eps = self.key("attention.layer_norm_rms_epsilon", 1e-5)
        self.gemma = self.arch in ("gemma2", "gemma3")
        for scale, adapter in adapters:
            self.adapt(F(scale), Reader(adapter))

    def adapt(self, scale, file):
        """8.3: the updates of one more adapter."""
        if (file.meta["general.type"], file.meta["adapter.type"], file.meta["general.architecture"]) != ("adapter", "lora", self.arch):
            raise ValueError("not an adapter of this model")
        alpha = F(file.meta.get("adapter.lora.alpha", 0))
        for name in file.tensors:
            if not name.endswith(".lora_a"):
                continue
            name = name[: -len(".lora_a")]
            a, b = (file.tensors[name + half].floats() for half in (".lora_a", ".lora_b"))
            s = (scale * alpha) / F(b.shape[1]) if alpha else scale
            self.tensors[name].updates.append((s, a, b))

    def key(self, name, default=None):
        v = self.meta.get(f"{self.arch}.{name}", default)
        if v is None:
            raise ValueError(f"{self.arch}.{name} is missing")
        if isinstance(v, list):
            if len(set(v)) != 1:
                raise ValueError(f"{self.arch}.{name} differs between layers")
            v = v[0]
        return v

    def vector(self, name):
        """A norm or a bias: f32, or None."""
        return self.tensors[name].floats().reshape(-1) if name in self.tensors else None

    # 6. Rotary positions.

    def scaling(self):
        """The type of scaling and its factor; none where there is nothing to do."""
        kind = self.key("rope.scaling.type", "linear")
        factor = F(self.key("rope.scaling.factor", self.key("rope.scale_linear", 1.0)))
        if kind in ("linear", "yarn") and factor > 0:
            return kind, factor
        if kind in ("none", "longrope") or factor == 0:
            return "none", F(1)
        raise ValueError(f"scaling {kind} by {factor}")

    def factors(self):
        if self.arch != "phi3":
            return self.vector("rope_freqs.weight")
        long = self.context > self.key("rope.scaling.original_context_length", self.key("context_length"))
        return self.vector("rope_factors_long.weight" if long else "rope_factors_short.weight")

    def frequencies(self):
        """f_j in f64, and the magnitude or None."""
        r = self.rotated
        base = self.key("rope.freq_base", 10000.0)
        kind, factor = self.scaling()
        attn_factor = F(self.key("rope.scaling.attn_factor", 1.0))
        scale = 1.0 if kind == "none" else float(F(1) / factor)
        factors, mu = self.factors(), None
        f = []
        for j in range(r // 2):
            g = arith.pow64(base, -(2 * j) / r)
            f.append(g if factors is None else g / float(factors[j]))
        if kind == "yarn":
            low, high = self.corners(base)
            for j, g in enumerate(f):
                keep = 1 - min(1, max(0, (j - low) / max(0.001, high - low)))
                f[j] = (g * scale) * (1 - keep) + g * keep
            mu = F(1 + 0.1 * arith.log(float(factor))) * attn_factor
        else:
            f = [g * scale for g in f]
        return f, attn_factor if self.arch == "phi3" else mu

    def corners(self, base):
        original = self.key("rope.scaling.original_context_length")

        def corner(beta):
            return (self.rotated * arith.log(original / (beta * (2 * arith.PI)))) / (2 * arith.log(base))

        low = math.floor(corner(self.key("rope.scaling.yarn_beta_fast", 32.0)))
        high = math.ceil(corner(self.key("rope.scaling.yarn_beta_slow", 1.0)))
        return max(low, 0), min(high, self.rotated - 1)

    def local_frequencies(self):
        """Those of the layers of gemma3 with windows."""
        base = self.key("rope.freq_base_swa", 10000.0)
        return [arith.pow64(base, -(2 * j) / self.rotated) for j in range(self.rotated // 2)], None

    def rotate(self, x, frequencies, turn=1):
        """x is [t, head, element]; positions start at 0. A turn of -1 is back."""
        f, mu = frequencies
        angles = [[arith.sincos(float(p) * g) for g in f] for p in range(len(x))]
        s, c = (np.array([[a[i] for a in row] for row in angles]).astype(F)[:, None, :] for i in (0, 1))
        if mu is not None:
            s, c = s * mu, c * mu
        s = s * F(turn)
        half = len(f)
        if self.arch in ("llama", "smollm3"):
            first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
        else:
            first, second = slice(0, half), slice(half, 2 * half)
        u, v = x[:, :, first], x[:, :, second]
        y = x.copy()
        y[:, :, first] = u * c - v * s
        y[:, :, second] = u * s + v * c
        return y

    # 7. Attention.

    def scale(self):
        """That of the scores."""
        n = float(self.head)
        if (self.arch, self.layers) in (("gemma2", 46), ("gemma3", 62)):
            n = float(self.dim // self.heads)
        return F(1 / math.sqrt(n))

    def kept(self, x):
        """Keys or values as they are kept, for each query head."""
        return np.repeat(arith.half(x), self.heads // self.kv_heads, axis=1)

    def scores(self, q, k, window, cap):
        """The z after the cap, and the e, [position of the query, head, position of the key]."""
        t = len(q)
        shape = (t, self.heads, t)
        z = blocked_sum(self.head, shape, lambda d: k.transpose(1, 0, 2)[None, :, :, d] * q[:, :, d, None])
        z = z * self.scale()
        if cap:
            z = arith.softcap(z, cap)
        at, seen = np.arange(t)[:, None, None], np.arange(t)[None, None, :]
        visible = seen <= at
        if window:
            visible = visible & (seen >= np.maximum(0, at + 1 - window))
        z = np.where(visible, z, F(-np.inf))
        return z, np.where(visible, arith.exp(z - z.max(axis=2)[:, :, None]), F(0)).astype(F)

    def attention(self, q, k, v, window, cap):
        """q is [t, head, element], k and v [t, kv head, element]."""
        t, v = len(q), self.kept(v)
        _, e = self.scores(q, self.kept(k), window, cap)
        sums = np.zeros((t, self.heads, 16), F)
        for i in range(t):
            sums[:, :, i % 16] += e[:, :, i]
        out = blocked_sum(t, q.shape, lambda i: e[:, :, i, None] * v[None, i])
        return (out / fold(sums)[:, :, None]).reshape(t, -1)

    # 8. The pass.

    def window(self, layer):
        """The window of a layer, 0 for none."""
        if self.arch == "gemma2" and layer % 2 == 0:
            return self.key("attention.sliding_window", 4096)
        if self.arch == "gemma3":
            p = self.key("attention.sliding_window_pattern", 6)
            if layer % p < p - 1:
                return self.key("attention.sliding_window", 0)
        return 0

    def projections(self, name, parts):
        """The matrices and biases of a layer that read one vector."""
        if name + parts[0][0] + ".weight" in self.tensors:
            return [(self.tensors[name + p + ".weight"], self.vector(name + p + ".bias")) for p, _ in parts]
        fused = self.tensors[name + ("attn_qkv" if "attn" in parts[0][0] else "ffn_up") + ".weight"]
        out, at = [], 0
        for _, rows in parts:
            out.append((fused.slice(at, at + rows), None))
            at += rows
        return out

    def logits(self, ids):
        embedding = self.tensors["token_embd.weight"]
        x = embedding.floats()[np.array(ids)]
        for s, a, b in embedding.updates:
            x = x + s * float_product(a[np.array(ids)], b)
        if self.gemma:
            x = x * F(math.sqrt(float(self.dim)))
        wide = self.frequencies()
        local = self.local_frequencies() if self.arch == "gemma3" else wide
        for layer in range(self.layers):
            x = self.layer(x, layer, local if self.window(layer) else wide)
        h = norm(x, self.vector("output_norm.weight"), self.eps)
        out = self.tensors.get("output.weight", self.tensors["token_embd.weight"])
        y = product(h, out)
        cap = self.key("final_logit_softcapping", 30.0 if self.arch == "gemma2" else 0.0)
        if self.gemma and cap:
            y = arith.softcap(y, cap)
        return y

    def layer(self, x, layer, frequencies):
        b = f"blk.{layer}."
        t = len(x)
        cap = self.key("attn_logit_softcapping", 50.0) if self.arch == "gemma2" else 0.0

        h = norm(x, self.vector(b + "attn_norm.weight"), self.eps)
        parts = [("attn_q", self.heads * self.head), ("attn_k", self.kv_heads * self.head), ("attn_v", self.kv_heads * self.head)]
        q, k, v = (product(h, m, bias).reshape(t, -1, self.head) for m, bias in self.projections(b, parts))
        if self.arch in ("qwen3", "gemma3"):
            q = norm(q, self.vector(b + "attn_q_norm.weight"), self.eps)
            k = norm(k, self.vector(b + "attn_k_norm.weight"), self.eps)
        if not (self.arch == "smollm3" and (layer + 1) % 4 == 0):
            q, k = self.rotate(q, frequencies), self.rotate(k, frequencies)
        a = self.attention(q, k, v, self.window(layer), cap)
        y = product(a, self.tensors[b + "attn_output.weight"], self.vector(b + "attn_output.bias"))
        if self.gemma:
            y = norm(y, self.vector(b + "post_attention_norm.weight"), self.eps)
        x = x + y

        h = norm(x, self.vector(b + "ffn_norm.weight"), self.eps)
        width = self.key("feed_forward_length")
        gate, up = (product(h, m, bias) for m, bias in self.projections(b, [("ffn_gate", width), ("ffn_up", width)]))
        g = (arith.gelu(gate) if self.gemma else arith.silu(gate)) * up
        y = product(g, self.tensors[b + "ffn_down.weight"])
        if self.gemma:
            y = norm(y, self.vector(b + "post_ffw_norm.weight"), self.eps)
        return x + y


def main(args):
    context, adapters = None, []
    if args[:1] == ["--context"]:
        context, args = int(args[1]), args[2:]
    while args[:1] == ["--lora"]:
        adapters.append((float(args[1]), args[2]))
        args = args[3:]
    if len(args) < 2:
        sys.exit(__doc__)
    words = sys.stdin.read().split() if args[1] == "-" else args[1:]
    ids, model = [int(w) for w in words], Model(args[0], context, adapters)
    digest = hashlib.sha256()
    for at in range(0, len(ids), model.context):
        digest.update(model.logits(ids[at : at + model.context]).astype("<f4").tobytes())
    print(digest.hexdigest())


if __name__ == "__main__":
    main(sys.argv[1:])
