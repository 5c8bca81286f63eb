"""A second implementation of part 4 of training.md, to check that the text is
enough.

    python3 language.py RUN.json

prints the sum of the losses, as the integer that its f64 bits are, and the
SHA-256 of the gradients of all parameters, in their order, for one call that
accumulates. RUN.json has a model, perhaps an adapter, examples of tokens and a
mask, and the scale as an integer. It is written to be compared with the text.
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
from second import Model, fold, float_product, norm, product
from training import blocks, gelu_slope, silu_slope, sixteen


class Learner(Model):
    def __init__(self, path, context, adapter):
        super().__init__(path, context, [(1, adapter)] if adapter else [])
        self.whole = not adapter
        self.grads = {}
        for name in self.order():
            m = self.tensors[name]
            if self.whole:
                m.w = m.floats()
                self.grads[name] = np.zeros((m.rows, m.columns), F)
            for _, a, b in m.updates:
                self.grads[name + ".lora_a"] = np.zeros(a.shape, F)
                self.grads[name + ".lora_b"] = np.zeros(b.shape, F)

    # 4.1. Parameters.

    def order(self):
        names = ["token_embd.weight"]
        for i in range(self.layers):
            parts = ["attn_norm.weight"]
            for p in ("attn_q", "attn_k", "attn_v"):
                parts += [p + ".weight", p + ".bias"]
            parts += ["attn_qkv.weight", "attn_q_norm.weight", "attn_k_norm.weight"]
            parts += ["attn_output.weight", "attn_output.bias", "post_attention_norm.weight"]
            parts += ["ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "post_ffw_norm.weight"]
            names += [f"blk.{i}.{p}" for p in parts]
        names += ["output_norm.weight", "output.weight"]
        return [n for n in names if n in self.tensors]

    # 4.4. Products and norms.

    def linears(self, b, parts):
        """What reads one vector: of each, the tensor, its first row, the matrix, and the bias."""
        out, at = [], 0
        fused = b + ("attn_qkv" if parts[0][0] == "attn_q" else "ffn_up") + ".weight"
        for (p, rows), (m, _) in zip(parts, self.projections(b, parts)):
            if b + parts[0][0] + ".weight" in self.tensors:
                out.append((b + p + ".weight", 0, m, b + p + ".bias"))
            else:
                out.append((fused, at, m, ""))
                at += rows
        return out

    def one(self, name):
        return [(name + ".weight", 0, self.tensors[name + ".weight"], name + ".bias")]

    def forward(self, x, linears):
        return [product(x, m, self.vector(bias)) for _, _, m, bias in linears]

    def add(self, name, first, terms, rows):
        """A gradient, from row first on, continues with a sum over rows."""
        g = self.grads[name][first:]
        n = len(terms(0))
        g[:n] = blocks(rows, g[:n], terms)

    def product_back(self, x, linears, dys):
        t, dx = len(x), np.zeros(x.shape, F)
        for (name, first, m, bias), dy in zip(linears, dys):
            if self.whole:
                if bias in self.tensors:
                    self.add(bias, 0, lambda r: dy[None, r], t)
                self.add(name, first, lambda r: dy[r, :, None] * x[r, None], t)
            w = m.floats()
            dx = blocks(m.rows, dx, lambda o: dy[:, o, None] * w[None, o])
        done = set()
        for name in [n for n, _, m, _ in linears if m.updates]:
            if name in done:
                continue
            done.add(name)
            a = self.tensors[name].updates[0][1]
            low, dlow = float_product(x, a), np.zeros((t, len(a)), F)
            for (other, first, m, _), dy in zip(linears, dys):
                if other == name:
                    s, _, high = m.updates[0]
                    e = s * dy
                    dlow = blocks(m.rows, dlow, lambda o: e[:, o, None] * high[None, o])
                    self.add(name + ".lora_b", first, lambda r: e[r, :, None] * low[r, None], t)
            self.add(name + ".lora_a", 0, lambda r: dlow[r, :, None] * x[r, None], t)
            dx = blocks(len(a), dx, lambda k: dlow[:, k, None] * a[None, k])
        return dx

    def norm_back(self, name, x, dy):
        """What the norm of x makes of dy; rows are all but the last axis."""
        shape, n = x.shape, x.shape[-1]
        x, dy, w = x.reshape(-1, n), dy.reshape(-1, n), self.vector(name)
        r = F(1) / np.sqrt(sixteen(x * x) / F(n) + F(self.eps))[:, None]
        h, g = x * r, dy * w
        m = (sixteen(g * h) / F(n))[:, None]
        if self.whole:
            self.add(name, 0, lambda i: (dy[i] * h[i])[None], len(x))
        return (r * (g - h * m)).reshape(shape)

    # 4.4. Attention.

    def attention_back(self, q, k, v, a, da, window, cap):
        t, scale = len(q), self.scale()
        k, v = self.kept(k), self.kept(v)
        z, e = self.scores(q, k, window, cap)
        p = e / sixteen(e)[:, :, None]
        d = sixteen(da * a)[:, :, None]
        dp = blocks(self.head, np.zeros(e.shape, F), lambda i: da[:, :, i, None] * v.transpose(1, 0, 2)[None, :, :, i])
        dz = np.where(e == 0, F(0), p * (dp - d))
        if cap:
            u = np.where(e == 0, F(0), z / F(cap))
            dz = dz * (F(1) - u * u)
        ds = dz * scale
        zero = np.zeros(q.shape, F)
        dq = blocks(t, zero, lambda j: ds[:, :, j, None] * k[None, j])
        dk = blocks(t, zero, lambda i: ds[i].T[:, :, None] * q[None, i])
        dv = blocks(t, zero, lambda i: p[i].T[:, :, None] * da[None, i])
        return dq, self.fold_heads(dk), self.fold_heads(dv)

    def fold_heads(self, x):
        x = x.reshape(len(x), self.kv_heads, -1, self.head)
        y = x[:, :, 0]
        for h in range(1, x.shape[2]):
            y = y + x[:, :, h]
        return y

    # A layer, forward and back.

    def record(self, x, layer, frequencies):
        """As Model.layer; also a function from the gradient of the result to that of x."""
        b, t = f"blk.{layer}.", len(x)
        cap = self.key("attn_logit_softcapping", 50.0) if self.arch == "gemma2" else 0.0
        head_norms = self.arch in ("qwen3", "gemma3")
        turned = not (self.arch == "smollm3" and (layer + 1) % 4 == 0)
        width, window = self.key("feed_forward_length"), self.window(layer)
        post = (b + "post_attention_norm.weight", b + "post_ffw_norm.weight")
        qkv = self.linears(b, [("attn_q", self.heads * self.head), ("attn_k", self.kv_heads * self.head), ("attn_v", self.kv_heads * self.head)])
        pair = self.linears(b, [("ffn_gate", width), ("ffn_up", width)])
        out, down = self.one(b + "attn_output"), self.one(b + "ffn_down")

        h = norm(x, self.vector(b + "attn_norm.weight"), self.eps)
        q0, k0, v = (y.reshape(t, -1, self.head) for y in self.forward(h, qkv))
        q, k = q0, k0
        if head_norms:
            q, k = norm(q, self.vector(b + "attn_q_norm.weight"), self.eps), norm(k, self.vector(b + "attn_k_norm.weight"), self.eps)
        if turned:
            q, k = self.rotate(q, frequencies), self.rotate(k, frequencies)
        a = self.attention(q, k, v, window, cap)
        y1 = self.forward(a, out)[0]
        mid = x + (norm(y1, self.vector(post[0]), self.eps) if self.gemma else y1)
        h2 = norm(mid, self.vector(b + "ffn_norm.weight"), self.eps)
        gate, up = self.forward(h2, pair)
        act, slope = (arith.gelu, gelu_slope) if self.gemma else (arith.silu, silu_slope)
        g = act(gate) * up
        y2 = self.forward(g, down)[0]
        result = mid + (norm(y2, self.vector(post[1]), self.eps) if self.gemma else y2)

        def back(dx):
            dy = F(0) + self.norm_back(post[1], y2, dx) if self.gemma else dx
            dg = self.product_back(g, down, [dy])
            dgate, dup = (dg * up) * slope(gate), dg * act(gate)
            dx = dx + self.norm_back(b + "ffn_norm.weight", mid, self.product_back(h2, pair, [dgate, dup]))
            dy = F(0) + self.norm_back(post[0], y1, dx) if self.gemma else dx
            da = self.product_back(a, out, [dy])
            shape = (t, self.heads, self.head)
            dq, dk, dv = self.attention_back(q, k, v, a.reshape(shape), da.reshape(shape), window, cap)
            if turned:
                dq, dk = self.rotate(dq, frequencies, -1), self.rotate(dk, frequencies, -1)
            if head_norms:
                dq = F(0) + self.norm_back(b + "attn_q_norm.weight", q0, dq)
                dk = F(0) + self.norm_back(b + "attn_k_norm.weight", k0, dk)
            dh = self.product_back(h, qkv, [d.reshape(t, -1) for d in (dq, dk, dv)])
            return dx + self.norm_back(b + "attn_norm.weight", x, dh)

        return result, back

    def accumulate(self, tokens, mask, scale):
        """The sum of the losses of an example, whose gradients are added."""
        ids, targets = np.array(tokens[:-1]), tokens[1:]
        embedding = self.tensors["token_embd.weight"]
        x = embedding.floats()[ids]
        if self.gemma:
            x = x * F(math.sqrt(float(self.dim)))
        wide, backs = self.frequencies(), []
        local = self.local_frequencies() if self.arch == "gemma3" else wide
        for layer in range(self.layers):
            x, back = self.record(x, layer, local if self.window(layer) else wide)
            backs.append(back)
        h = norm(x, self.vector("output_norm.weight"), self.eps)
        tied = "output.weight" not in self.tensors
        output = self.one("token_embd" if tied else "output")
        z = self.forward(h, output)[0]
        cap = self.key("final_logit_softcapping", 30.0 if self.arch == "gemma2" else 0.0) if self.gemma else 0
        if cap:
            z = arith.softcap(z, cap)
        top = z.max(axis=1)[:, None]
        e = arith.exp(z - top)
        sums, loss = sixteen(e), 0.0
        dz = e / sums[:, None]
        for i, target in enumerate(targets):
            if mask and not mask[i]:
                dz[i] = 0
                continue
            loss += float(F(arith.log(float(sums[i])) - float(z[i, target] - top[i, 0])))
            dz[i, target] -= F(1)
            dz[i] = dz[i] * scale
        if cap:
            u = z / F(cap)
            dz = dz * (F(1) - u * u)
        if tied and self.whole:
            w = embedding.w
            dh = blocks(len(w), np.zeros(h.shape, F), lambda o: dz[:, o, None] * w[None, o])
        else:
            dh = self.product_back(h, output, [dz])
        dx = F(0) + self.norm_back("output_norm.weight", x, dh)
        for back in reversed(backs):
            dx = back(dx)
        if self.whole:
            if self.gemma:
                dx = dx * F(math.sqrt(float(self.dim)))
            if tied:
                self.add("token_embd.weight", 0, lambda r: dz[r, :, None] * h[r, None], len(h))
            for i, token in enumerate(ids):
                self.grads["token_embd.weight"][token] += dx[i]
        return loss


def main(args):
    if len(args) != 1:
        sys.exit(__doc__)
    with open(args[0]) as f:
        run = json.load(f)
    m = Learner(run["model"], run["context"], run.get("adapter"))
    loss, scale = 0.0, np.uint32(run["scale"]).view(F)
    for e in run["examples"]:
        # The sum over all rows in their order: an example's rows follow those before.
        loss += m.accumulate(e["tokens"], e.get("mask"), scale)
    digest = hashlib.sha256()
    for g in m.grads.values():
        digest.update(g.astype("<f4").tobytes())
    print(struct.unpack("<Q", struct.pack("<d", loss))[0], digest.hexdigest())


if __name__ == "__main__":
    main(sys.argv[1:])
