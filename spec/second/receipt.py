"""A second implementation of receipt.md, to check that the text is enough.

    python3 receipt.py ../vectors/receipt.json

checks the vectors and prints those that it judges otherwise; it exits with 1
if there are any. Standard library only, Ed25519 included. It signs nothing and
does not open sealed boxes.
"""

import hashlib
import json
import math
import struct
import sys


class Fail(Exception):
    """The name of the check that failed."""


def need(ok, check):
    if not ok:
        raise Fail(check)


# trace.md: hashes and trees.


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hash_of(purpose, *parts):
    out = bytes([len(purpose)]) + purpose.encode()
    for p in parts:
        out += len(p).to_bytes(8, "big") + p
    return sha(out)


def leaf(value):
    return sha(b"\0", value)


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha(b"\1", root(leaves[:k]), root(leaves[k:]))


def range_root(n, start, leaves, proof):
    """None if the proof has not the form that the range needs."""
    proof = list(proof)

    def walk(lo, hi):
        if hi <= start or lo >= start + len(leaves):
            return proof.pop(0)
        if lo >= start and hi <= start + len(leaves):
            return root(leaves[lo - start : hi - start])
        mid = lo + (1 << ((hi - lo - 1).bit_length() - 1))
        left = walk(lo, mid)
        return sha(b"\1", left, walk(mid, hi))

    if not leaves or start + len(leaves) > n:
        return None
    try:
        r = walk(0, n)
    except IndexError:
        return None
    return None if proof else r


def u64(n):
    return n.to_bytes(8, "little")


# Deterministic CBOR. Anything else is a ValueError.


class Items:
    def __init__(self, data, wide=False):
        self.data, self.at = data, 0
        self.wide = wide  # whether there are floats of eight bytes

    def take(self, n):
        if n > len(self.data) - self.at:
            raise ValueError("cut")
        self.at += n
        return self.data[self.at - n : self.at]

    def item(self, depth=0):
        if depth > 16:
            raise ValueError("too deep")
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self.simple(info)
        n = info
        if info > 23:
            if info > 27:
                raise ValueError("no length")
            size = 1 << (info - 24)
            n = int.from_bytes(self.take(size), "big")
            if n < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
                raise ValueError("a longer form")
        if major == 0:
            return n
        if major == 1:
            return -1 - n
        if major == 2:
            return self.take(n)
        if major == 3:
            return self.take(n).decode("utf-8")
        if major == 4:
            return [self.item(depth + 1) for _ in range(n)]
        if major == 5:
            out, last = {}, b""
            for _ in range(n):
                start = self.at
                key = self.item(depth + 1)
                if self.data[start : self.at] <= last:
                    raise ValueError("keys out of order")
                last = self.data[start : self.at]
                out[key] = self.item(depth + 1)
            return out
        raise ValueError("a tag")

    def simple(self, info):
        if info in (20, 21):
            return info == 21
        if info == 27 and self.wide:
            v = struct.unpack(">d", self.take(8))[0]
            try:
                narrow = struct.unpack(">f", struct.pack(">f", v))[0]
            except OverflowError:
                return v
            if v != v or narrow == v:
                raise ValueError("a float in a longer form")
            return v
        if info not in (25, 26):  # eight bytes are never the shortest form of a binary32
            raise ValueError("a simple value")
        if info == 25:
            return struct.unpack(">e", self.take(2))[0]
        v = struct.unpack(">f", self.take(4))[0]
        try:
            short = struct.unpack(">e", struct.pack(">e", v))[0]
        except OverflowError:
            return v
        if v != v or short == v:
            raise ValueError("a float in a longer form")
        return v


def decode(data, wide=False):
    items = Items(data, wide)
    v = items.item()
    if items.at != len(data):
        raise ValueError("more after the end")
    return v


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | info]) + n.to_bytes(size, "big")


def encode(v):
    if v is True:
        return b"\xf5"
    if isinstance(v, int):
        return head(0, v) if v >= 0 else head(1, -1 - v)
    if isinstance(v, float):
        try:
            if v != v or struct.unpack(">e", struct.pack(">e", v))[0] == v:
                return b"\xf9" + struct.pack(">e", v)
        except OverflowError:
            pass
        return b"\xfa" + struct.pack(">f", v)
    if isinstance(v, bytes):
        return head(2, len(v)) + v
    if isinstance(v, str):
        return head(3, len(v.encode())) + v.encode()
    if isinstance(v, list):
        return head(4, len(v)) + b"".join(map(encode, v))
    pairs = sorted((encode(k), encode(x)) for k, x in v.items())
    return head(5, len(v)) + b"".join(k + x for k, x in pairs)


# Shapes: what a value must look like; each is a function that says so.


def kind(*types):
    return lambda v: type(v) in types


uint = lambda v: type(v) is int and v >= 0
u32 = lambda v: uint(v) and v < 1 << 32
i32 = lambda v: type(v) is int and -(1 << 31) <= v < 1 << 31
true = lambda v: v is True
text = kind(str)
some = lambda v: type(v) is str and v != ""  # an optional text
blob = kind(bytes)
some_blob = lambda v: type(v) is bytes and v != b""
sized = lambda n: lambda v: type(v) is bytes and len(v) == n
listed = lambda shape: lambda v: type(v) is list and all(map(shape, v))
filled = lambda shape: lambda v: type(v) is list and len(v) > 0 and all(map(shape, v))
pairs = lambda key, value: lambda v: type(v) is dict and all(key(k) and value(x) for k, x in v.items())
row = lambda *shapes: lambda v: type(v) is list and len(v) == len(shapes) and all(s(x) for s, x in zip(shapes, v))
ids4 = lambda v: type(v) is bytes and len(v) % 4 == 0 and all(v[i] < 128 for i in range(3, len(v), 4))


def table(needed, optional):
    def shape(v):
        return (
            type(v) is dict
            and all(k in v for k in needed)
            and all((needed.get(k) or optional.get(k) or (lambda _: False))(x) for k, x in v.items())
        )

    return shape


# 3. Parameters.

PARAMS = {  # key: name, lowest, highest
    1: ("temperature", 0, 100),
    2: ("top_k", 0, 2**31 - 1),
    3: ("top_p", 0, 1),
    4: ("min_p", 0, 1),
    5: ("repeat_penalty", 0, 100),
    6: ("frequency_penalty", -100, 100),
    7: ("presence_penalty", -100, 100),
    8: ("repeat_last_n", -1, 2**31 - 1),
    9: ("max_tokens", 0, 2**31 - 1),
    10: ("context", 0, 2**20),
}
FLAGS = {11: "ignore_eos", 12: "bias", 13: "extra"}
FLOATS = (1, 3, 4, 5, 6, 7)

params_shape = table(
    {},
    {k: (lambda v: type(v) is float and v != 0) for k in FLOATS}
    | {k: (lambda v: type(v) is int and v != 0) for k in (2, 8, 9, 10)}
    | {k: true for k in FLAGS},
)

# 4. Seeds.

seed_shape = lambda v: any(
    (
        row(lambda k: k == 0, uint)(v),
        row(lambda k: k == 1, blob)(v),
        row(lambda k: k == 2, text, uint, sized(32))(v),
    )
) and type(v[0]) is int


def derive(seed, prompt):
    """The seed of the sampler."""
    if seed[0] == 0:
        return seed[1]
    ids = hash_of("aval ids/1", b"".join(struct.pack("<i", i) for i in prompt))
    if seed[0] == 1:
        h = hash_of("aval seed/1", b"\1", seed[1], ids)
    else:
        h = hash_of("aval seed/1", b"\2", seed[1].encode(), u64(seed[2]), seed[3], ids)
    return int.from_bytes(h[:8], "little")


# 2. Claims.

name_ok = lambda s: 1 <= len(s.encode()) <= 32

claims_shape = table(
    {
        1: text,
        2: sized(32),
        3: params_shape,
        4: seed_shape,
        5: lambda v: sized(32)(v) or sized(64)(v) and any(v[32:]),
        6: u32,
        7: u32,
        8: lambda v: uint(v) and v < 256,
        9: u32,
        10: sized(32),
    },
    {11: row(text, uint, sized(32)), 12: filled(row(sized(32), kind(float)))},
)


def parse_claims(payload):
    try:
        c = decode(payload)
    except (ValueError, TypeError):
        raise Fail("claims")
    need(claims_shape(c), "claims")
    need(c[1] == ("aval/2" if 12 in c else "aval/1"), "suite")
    p = c[3]
    for k, (_, lo, hi) in PARAMS.items():
        need(lo <= p.get(k, 0) <= hi, "ranges")
    if c[4][0] == 1:
        need(8 <= len(c[4][1]) <= 32, "ranges")
    if c[4][0] == 2:
        need(name_ok(c[4][1]), "ranges")
    prompt, output, most, context = c[6], c[7], p.get(9, 0), p.get(10, 0)
    for ok in (
        any(c[2]) and any(c[5][:32]),
        1 <= prompt <= 1 << 20 and 1 <= output <= 1 << 20,
        most == 0 or output <= most,
        context == 0 or prompt + output <= context,
        c[8] <= 2,
        c[8] != 0 or 11 not in p,
        c[8] != 1 or 13 in p,
        c[8] != 2 or (most > 0 and output == most) or context in (0, prompt + output),
        c[9] >= 1,
        len(c.get(12, [])) <= 8,
        all(any(file) and scale != 0 and math.isfinite(scale) for file, scale in c.get(12, [])),
        11 not in c or name_ok(c[11][0]),
    ):
        need(ok, "ranges")
    return c


# 1. The message.


def parse_message(raw):
    """The claims, and what is signed, and the signature."""
    payload, signed, signature = split_message(raw)
    return parse_claims(payload), signed, signature


def split_message(raw):
    """The payload, and what is signed, and the signature."""
    need(len(raw) <= 4096 and raw[:2] == b"\xd2\x84", "form")
    items = Items(raw)
    items.at = 2
    parts = []
    try:
        for _ in range(4):
            start = items.at
            if raw[start : start + 1] == b"\xf6":
                items.at, v = start + 1, None
            else:
                v = items.item()
            parts.append((v, raw[start : items.at]))
    except (ValueError, TypeError):
        raise Fail("form")
    (protected, praw), (unprotected, uraw), (payload, _), (signature, _) = parts
    need(items.at == len(raw), "form")
    need(type(protected) is bytes and type(unprotected) is dict, "form")
    need(payload is None or type(payload) is bytes, "form")
    need(type(signature) is bytes and len(signature) > 0, "form")
    need(praw == bytes.fromhex("43a10127"), "algorithm")
    need(uraw == b"\xa0", "headers")
    need(payload is not None, "payload")
    need(len(signature) == 64, "form")
    signed = b"\x84\x6aSignature1" + praw + b"\x40" + head(2, len(payload)) + payload
    return payload, signed, signature


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
SMALL = {0, 1, P - 1} | {
    int.from_bytes(bytes.fromhex(h), "little")
    for h in (
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
}


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    p, q, r, s = f - e, h - g, h + g, f + e
    return p * q % P, r * s % P, q * r % P, p * s % P


def times(n, a):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = add(out, a)
        a, n = add(a, a), n >> 1
    return out


def point(y, sign):
    """None if there is no such point."""
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, P - 2, P) % P
    x = pow(x, (P + 3) // 8, P)
    if (x * x * v - u) % P:
        x = x * ROOT % P
    if (x * x * v - u) % P or x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point(4 * pow(5, P - 2, P) % P, 0)


def verify(key, signed, signature):
    y = int.from_bytes(key, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    need(y < P and y not in SMALL, "key")
    a = point(y, sign)
    need(a is not None, "signature")
    s = int.from_bytes(signature[32:], "little")
    need(s < L, "signature")
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + signed).digest(), "little") % L
    x, y, z, t = a
    x, y, z, _ = add(times(s, BASE), times(k, (P - x, y, z, P - t)))
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    need((y | (x & 1) << 255).to_bytes(32, "little") == signature[:32], "signature")


# 5 and 6. Transcripts and openings.

message_shape = table(
    {1: text},
    {2: some, 3: some, 4: some, 6: some, 5: filled(table({2: text}, {1: some, 3: some}))},
)
source_shape = table(
    {1: lambda v: uint(v) and v < 256},
    {
        2: some_blob,
        3: true,
        4: true,
        5: filled(message_shape),
        6: filled(text),
        7: lambda v: pairs(text, text)(v) and len(v) > 0,
        8: some,
        9: true,
    },
)
bias_shape = pairs(i32, kind(float))
extra_shape = table({}, {1: filled(text), 2: table({1: text}, {2: some}), 3: some})
salt = sized(16)
range_shape = row(
    u32,
    ids4,
    lambda v: type(v) is bytes and len(v) % 16 == 0,
    lambda v: type(v) is bytes and len(v) % 32 == 0 and len(v) <= 40 * 32,
)
opening_shape = table(
    {1: row(*[sized(32)] * 6)},
    {
        2: row(salt, source_shape),
        3: row(salt, bias_shape),
        4: row(salt, extra_shape),
        5: row(salt, ids4),
        6: row(salt, ids4),
        7: row(salt, text, text),
        8: salt,
        9: filled(range_shape),
        10: filled(range_shape),
    },
)


def source_ok(s):
    of_text, of_chat = {2, 3, 4}, {5, 6, 7, 8, 9}
    fields = set(s) - {1}
    usual = {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"}
    return not usual & set(s.get(7, {})) and s[1] <= 2 and not (s[1] != 0 and fields & of_text) and not (s[1] != 1 and fields & of_chat)


def bias_ok(b):
    return len(b) <= 1024 and all(k >= 0 and v == v and v != math.inf for k, v in b.items())


def extra_ok(e):
    stops, grammar = e.get(1, []), e.get(2, {1: "gbnf"})
    return (
        len(stops) <= 64
        and all(1 <= len(s.encode()) <= 1024 for s in stops)
        and grammar[1] in ("json", "json-schema", "gbnf")
        and not (grammar[1] == "json" and 2 in grammar)
    )


def unpack(b):
    return [b[i : i + 4] for i in range(0, len(b), 4)]


def ids_root(s, ids):
    return root([leaf(hash_of("aval id salt/1", s, u64(i))[:16] + id) for i, id in enumerate(ids)])


def transcript(o):
    return hash_of("aval transcript/1", *o[1])


def check_opening(o, c):
    source, bias, extra, prompt, output, answer = o[1]
    need(transcript(o) == c[5][:32], "transcript")
    if 2 in o:
        s, v = o[2]
        need(source_ok(v) and hash_of("aval source/1", s, encode(v)) == source, "source")
    if 3 in o:
        s, v = o[3]
        need(bias_ok(v) and hash_of("aval bias/1", s, encode(v)) == bias and (len(v) > 0) == (12 in c[3]), "bias")
    if 4 in o:
        s, v = o[4]
        need(extra_ok(v) and hash_of("aval extra/1", s, encode(v)) == extra and (len(v) > 0) == (13 in c[3]), "extra")
    for key, count, digest, check in ((5, c[6], prompt, "prompt ids"), (6, c[7], output, "output ids")):
        if key in o:
            ids = unpack(o[key][1])
            need(len(ids) == count and ids_root(o[key][0], ids) == digest, check)
    if 7 in o:
        s, shown, stop = o[7]
        need(hash_of("aval text/1", s, encode([shown, stop])) == answer, "text")
        need((stop != "") == (c[8] == 1), "stop")
        need(stop == "" or 4 not in o or stop in o[4][1].get(1, []), "stop")
    for key, count, digest, check in ((9, c[6], prompt, "prompt range"), (10, c[7], output, "output range")):
        need(len(o.get(key, [])) <= 256, check)
        for start, ids, salts, proof in o.get(key, []):
            ids = unpack(ids)
            need(len(ids) * 16 == len(salts), check)
            leaves = [leaf(salts[16 * i : 16 * i + 16] + id) for i, id in enumerate(ids)]
            hashes = [proof[i : i + 32] for i in range(0, len(proof), 32)]
            need(range_root(count, start, leaves, hashes) == digest, check)


# 7 and 10. Files, and what is expected.

file_shape = table(
    {1: blob},
    {2: opening_shape, 3: lambda v: filled(row(text, sized(8), blob))(v) and len(v) <= 64},
)


def named(p):
    """Parameters by name, without defaults."""
    return {(PARAMS[k][0] if k in PARAMS else FLAGS[k]): v for k, v in p.items()}


def single(v):
    return struct.unpack("<f", struct.pack("<f", v))[0] if type(v) is float else v


def check_claims(c, opt):
    age = opt["now"] - c[9]
    need(age >= -opt.get("ahead", 120) and age <= opt.get("max_age", math.inf), "time")
    need("model" not in opt or bytes.fromhex(opt["model"]) == c[2], "model")
    if "adapters" in opt:
        need([[a["file"], single(a["scale"])] for a in opt["adapters"]] == [[f.hex(), s] for f, s in c.get(12, [])], "adapters")
    need("signer" not in opt or parse_key(opt["signer"]) == c[10], "signer")
    if "params" in opt:
        need({k: single(v) for k, v in opt["params"].items()} == named(c[3]), "parameters")
    seed = c[4]
    if "nonce" in opt:
        need(seed[0] == 1 and seed[1] == bytes.fromhex(opt["nonce"]), "seed")
    elif "beacon" in opt and seed[0] == 2 and 1 in c[3]:
        b = opt["beacon"]
        need(seed[1:] == [b["name"], b["round"], bytes.fromhex(b["value"])], "seed")
        need(0 <= c[9] - b["from"] <= b.get("window", 60), "seed")


def check_expected(o, opt):
    if "prompt" in opt and 5 in o:
        need([struct.unpack("<i", i)[0] for i in unpack(o[5][1])] == opt["prompt"], "prompt ids")
    if "text" in opt and 7 in o:
        need(o[7][1] == opt["text"], "text")


def check_file(data, opt):
    f = {1: data}
    if data[:1] != b"\xd2":
        try:
            f = decode(data)
        except (ValueError, TypeError):
            raise Fail("file")
        need(file_shape(f), "file")
    c, signed, signature = parse_message(f[1])
    verify(c[10], signed, signature)
    check_claims(c, opt)
    if 2 in f:
        check_opening(f[2], c)
        check_expected(f[2], opt)


# 9. Keys as text.

DIGITS = "abcdefghijklmnopqrstuvwxyz234567"


def base32(b):
    n, bits = int.from_bytes(b, "big"), 8 * len(b)
    n, bits = n << -bits % 5, bits + -bits % 5
    return "".join(DIGITS[n >> i & 31] for i in range(bits - 5, -1, -5))


def parse_key(s, prefix="aval-node-1"):
    need(s.startswith(prefix) and all(d in DIGITS for d in s[len(prefix) :]), "key")
    rest, n = s[len(prefix) :], 0
    for d in rest:
        n = n << 5 | DIGITS.index(d)
    b = (n >> 5 * len(rest) % 8).to_bytes(5 * len(rest) // 8, "big")
    need(base32(b) == rest and len(b) == 36, "key")
    need(hash_of("aval key/1", prefix.encode(), b[:32])[:4] == b[32:], "key")
    if prefix == "aval-node-1":
        y = int.from_bytes(b[:32], "little") & (1 << 255) - 1
        need(y < P and y not in SMALL, "key")
    return b[:32]


# 13. Vectors.


def failed(f, *args):
    """The check that fails, or None."""
    try:
        f(*args)
    except Fail as e:
        return str(e)


def check_receipt(v):
    c, signed, signature = parse_message(bytes.fromhex(v["receipt"]))
    verify(c[10], signed, signature)
    need("fails" in v or hash_of("aval receipt/1", bytes.fromhex(v["receipt"])).hex() == v["hash"], "hash")
    if "fails" not in v:
        shown = v["claims"]
        need(shown["model"] == c[2].hex() and shown["time"] == c[9], "shown")
        need({k: single(x) for k, x in shown["params"].items()} == named(c[3]), "shown")
        need(shown["suite"] == c[1], "shown")
        adapters = [[a["file"], single(a["scale"])] for a in shown.get("adapters", [])]
        need(adapters == [[f.hex(), s] for f, s in c.get(12, [])], "shown")


def check_transcript(v):
    master, o = bytes.fromhex(v["master"]), decode(bytes.fromhex(v["opening"]))
    salts = {k: bytes.fromhex(s) for k, s in v["salts"].items()}
    for label, s in salts.items():
        need(hash_of("aval salt/1", master, label.encode())[:16] == s, "salts")
    shown = [o[2][0], o[3][0], o[4][0], o[5][0], o[6][0], o[7][0], o[8]]
    need(shown == [salts[k] for k in ("source", "bias", "extra", "prompt", "output", "text", "trace")], "salts")
    need(hash_of("aval id salt/1", salts["prompt"], u64(1))[:16].hex() == v["prompt_leaf_salt_1"], "salts")
    need(opening_shape(o) and [d.hex() for d in o[1]] == v["digests"], "digests")
    need(transcript(o).hex() == v["transcript"], "transcript")
    counts = {6: len(o[5][1]) // 4, 7: len(o[6][1]) // 4}
    check_opening(o, {3: {12: True, 13: True}, 5: transcript(o), 8: 1} | counts)
    parts = bytes.fromhex(v["trace_root"]), u64(v["trace_layers"]), u64(v["trace_positions"])
    need(hash_of("aval trace/1", salts["trace"], *parts).hex() == v["trace"], "trace")


def check_seed(v):
    seed = {
        "self": lambda: [0, int(v["value"])],
        "nonce": lambda: [1, bytes.fromhex(v["nonce"])],
        "beacon": lambda: [2, v["beacon"], int(v["round"]), bytes.fromhex(v["value"])],
    }[v["kind"]]()
    need(str(derive(seed, v["prompt"])) == v["derived"], "seed")


def main(path):
    with open(path) as f:
        vectors = json.load(f)
    wrong = count = 0
    for group, check in (
        ("receipts", check_receipt),
        ("transcripts", check_transcript),
        ("seeds", check_seed),
        ("files", lambda v: check_file(bytes.fromhex(v["file"]), v["options"])),
        ("keys", lambda v: need(parse_key(v["text"]).hex() == v["key"], "bytes")),
    ):
        for v in vectors[group]:
            got, count = failed(check, v), count + 1
            if got != v.get("fails"):
                wrong += 1
                print(f"{group}: {v.get('name', v)}: fails at {got}, the vector says {v.get('fails')}")
    print(f"{count} vectors, {wrong} judged otherwise")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
