"""A second implementation of training-receipt.md, to check that the text is
enough.

    python3 training_receipt.py ../vectors/training-receipt.json

checks the vectors and prints those that it judges otherwise; it exits with 1
if there are any. Standard library only. It signs nothing and trains nothing.
"""

import json
import math
import struct
import sys

sys.dont_write_bytecode = True

from receipt import (
    Fail,
    blob,
    decode,
    encode,
    failed,
    filled,
    hash_of,
    kind,
    leaf,
    need,
    parse_key,
    range_root,
    root,
    row,
    sized,
    some_blob,
    split_message,
    table,
    text,
    u64,
    uint,
    verify,
)

SUITE = "aval-training-receipt/1"

# 2. Claims.

whole = kind(int)  # below zero it is out of range
listing = row(whole, sized(32))
byte = lambda v: uint(v) and v < 256
u32 = lambda v: uint(v) and v < 1 << 32

claims_shape = table(
    {
        1: text,
        2: byte,
        4: sized(32),
        5: sized(32),
        6: listing,
        7: whole,
        8: listing,
        9: sized(32),
        10: row(whole, sized(32), byte, sized(32), text),
        13: u32,
        14: sized(32),
    },
    {
        3: lambda v: sized(32)(v) and any(v),
        11: row(listing, whole, kind(float), whole, whole),
        12: some_blob,
    },
)


def parse_claims(payload):
    try:
        c = decode(payload, wide=True)
    except (ValueError, TypeError):
        raise Fail("claims")
    need(type(c) is dict and type(c.get(1)) is str, "claims")
    need(c[1] == SUITE, "suite")
    need(claims_shape(c), "claims")
    steps, result = c[7], c[10]
    for ok in (
        c[2] <= 2,
        1 <= c[6][0] < 1 << 31,
        1 <= steps <= 1 << 30,
        2 <= c[8][0] <= min(1 << 20, steps + 1),
        0 <= result[0] <= steps,
        result[2] <= 1,
        1 <= len(result[4].encode()) <= 32,
        any(c[4]) and any(c[5]) and any(c[6][1]) and any(c[8][1]) and any(c[9]),
        any(result[1]) and any(result[3]),
        c[2] != 1 or 3 in c,
        c[13] >= 1,
        12 not in c or 8 <= len(c[12]) <= 32,
    ):
        need(ok, "ranges")
    if 11 in c:
        (n, validation), batch, loss, count, correct = c[11]
        need(1 <= n < 1 << 31 and any(validation) and 1 <= batch <= 1 << 20, "ranges")
        need(1 <= count < 1 << 31 and 0 <= correct <= count and math.isfinite(loss), "ranges")
    return c


# 3. The seed.


def nonce_seed(nonce):
    return int.from_bytes(hash_of("aval training seed/1", nonce)[:8], "little")


# 4 to 6. What is committed to.


def leaf_salt(salt, i):
    return hash_of("aval training leaf salt/1", salt, u64(i))[:16]


def list_root(salt, values):
    return root([leaf(leaf_salt(salt, i) + v) for i, v in enumerate(values)])


def cut(b):
    return [b[i : i + 40] for i in range(0, len(b), 40)]


def schedule(every, steps, result):
    return sorted({0, steps, result} | set(range(0, steps, every) if every else ()))


def check_record(b, place, check):
    step, loss, count, correct, norm, rate = struct.unpack("<QdQQff", b)
    need(step == place and count < 1 << 31 and correct <= count, check)
    need(all(map(math.isfinite, (loss, norm, rate))), check)


def check_points(list_, steps, check):
    last = -1
    for b in list_:
        step = int.from_bytes(b[:8], "little")
        need(last < step <= steps and any(b[8:]), check)
        last = step


# 8. Openings.

salt = sized(16)
entries = lambda v: type(v) is bytes and len(v) % 40 == 0
salts = lambda v: type(v) is bytes and len(v) % 16 == 0
hashes = lambda v: type(v) is bytes and len(v) % 32 == 0 and len(v) <= 62 * 32
range_shape = row(u32, entries, salts, hashes)
u64_shape = lambda v: uint(v) and v < 1 << 64
setup_shape = table({1: blob, 2: blob, 3: u64_shape}, {})
opening_shape = table(
    {},
    {
        1: row(salt, setup_shape),
        2: row(salt, blob),
        3: row(salt, entries),
        4: row(salt, entries),
        5: salt,
        6: salt,
        7: filled(range_shape),
        8: filled(range_shape),
    },
)


def parse_config(b):
    """Seed, steps and checkpoint_every of the encoding of a configuration."""
    need(len(b) <= 1024, "configuration")
    try:
        c = decode(b)
    except (ValueError, TypeError):
        raise Fail("configuration")
    need(type(c) is dict and {2, 3, 4, 5, 6, 8} <= set(c) <= set(range(1, 18)), "configuration")
    return c.get(1, 0), c[2], c.get(17, 0)


def check_opening(o, c):
    steps, result = c[7], c[10][0]
    seed = nonce_seed(c[12]) if 12 in c else None
    if 1 in o:
        s, setup = o[1]
        need(all(1 <= len(setup[k]) <= 1 << 20 for k in (1, 2)), "setup")
        need(hash_of("aval training setup/1", s, encode(setup)) == c[4], "setup")
        need(seed in (None, setup[3]), "setup")
    every = None
    if 2 in o:
        s, config = o[2]
        need(hash_of("aval training config/1", s, config) == c[5], "configuration")
        own, planned, every = parse_config(config)
        need(steps <= planned and seed in (None, own), "configuration")
    if 3 in o:
        s, points = o[3][0], cut(o[3][1])
        need(len(points) == c[8][0] and list_root(s, points) == c[8][1], "checkpoints")
        check_points(points, steps, "checkpoints")
        at = [int.from_bytes(b[:8], "little") for b in points]
        need(at[0] == 0 and at[-1] == steps and result in at, "checkpoints")
        if every is not None:
            need(every == 0 or steps // every <= 1 << 20, "checkpoints")
            need(at == schedule(every, steps, result), "checkpoints")
    if 4 in o:
        s, log = o[4][0], cut(o[4][1])
        need(len(log) == steps and list_root(s, log) == c[9], "step log")
        for i, b in enumerate(log):
            check_record(b, i, "step log")
    need(6 not in o or 11 in c, "validation data")
    for key, count, digest, check in ((7, steps, c[9], "step range"), (8, c[8][0], c[8][1], "checkpoint range")):
        need(len(o.get(key, [])) <= 256, check)
        for start, shown, own, proof in o.get(key, []):
            shown = cut(shown)
            need(16 * len(shown) == len(own), check)
            leaves = [leaf(own[16 * i : 16 * i + 16] + b) for i, b in enumerate(shown)]
            proof = [proof[i : i + 32] for i in range(0, len(proof), 32)]
            need(range_root(count, start, leaves, proof) == digest, check)
            if key == 8:
                check_points(shown, steps, check)
            if key == 8 and every is not None:
                want = schedule(every, steps, result)
                need(len(want) == count, check)
                need([int.from_bytes(b[:8], "little") for b in shown] == want[start : start + len(shown)], check)
            for i, b in enumerate(shown if key == 7 else []):
                check_record(b, start + i, check)


# 5. Examples that are handed over.

given_shape = table({1: sized(32), 2: filled(row(uint, salt, blob, blob))}, {})


def check_given(data, raw):
    c = parse_claims(split_message(raw)[0])
    try:
        g = decode(data)
    except (ValueError, TypeError):
        raise Fail("data")
    need(given_shape(g) and g[1] == hash_of("aval receipt/1", raw), "data")
    last = -1
    for index, own, b, proof in g[2]:
        need(last < index < 1 << 31 and len(b) <= 1 << 24, "data")
        need(len(proof) % 32 == 0, "data")
        last = index
        proof = [proof[i : i + 32] for i in range(0, len(proof), 32)]
        need(range_root(c[6][0], index, [leaf(own + b)], proof) == c[6][1], "data")


# 9. Files, and what is expected.

file_shape = table({1: blob}, {2: opening_shape})


def check_file(data, opt):
    f = {1: data}
    if data[:1] != b"\xd2":
        try:
            f = decode(data)
        except (ValueError, TypeError):
            raise Fail("file")
        need(file_shape(f), "file")
    payload, signed, signature = split_message(f[1])
    c = parse_claims(payload)
    verify(c[14], signed, signature)
    age = opt["now"] - c[13]
    need(-120 <= age <= opt.get("max_age", math.inf), "time")
    for name, got in (("base", c.get(3, bytes(32))), ("data", c[6][1]), ("result", c[10][3])):
        need(name not in opt or bytes.fromhex(opt[name]) == got, name)
    need("signer" not in opt or parse_key(opt["signer"]) == c[14], "signer")
    need("nonce" not in opt or bytes.fromhex(opt["nonce"]) == c.get(12), "nonce")
    if 2 in f:
        check_opening(f[2], c)


# 10. Samples.


def choose(receipt, random, all_, sample):
    taken = set()
    for j in range(max(all_ - sample, 0), all_):
        h = hash_of("aval training audit/1", receipt, random, u64(j))
        t = int.from_bytes(h[:8], "little") * (j + 1) >> 64
        taken.add(j if t in taken else t)
    return sorted(taken)


# 14. Vectors.


def check_receipt(v):
    raw = bytes.fromhex(v["receipt"])
    payload, signed, signature = split_message(raw)
    c = parse_claims(payload)
    verify(c[14], signed, signature)
    if "fails" in v:
        return
    shown = v["claims"]
    need(hash_of("aval receipt/1", raw).hex() == v["hash"], "hash")
    need(shown["steps"] == c[7] and shown["time"] == c[13] and shown["kind"] == ("full", "lora", "net")[c[2]], "shown")
    need([shown["data"]["count"], bytes.fromhex(shown["data"]["root"])] == c[6], "shown")
    need(shown.get("base", "") == c.get(3, b"").hex() and shown["result"]["format"] == c[10][4], "shown")
    e = shown.get("evaluation")
    need((e is None) == (11 not in c) and (e is None or e["loss"] == c[11][2]), "shown")


def check_salts(v):
    master = bytes.fromhex(v["master"])
    for label, s in v["salts"].items():
        need(hash_of("aval training salt/1", master, label.encode())[:16].hex() == s, "salts")
    need(leaf_salt(bytes.fromhex(v["salts"]["data"]), 1).hex() == v["data_leaf_salt_1"], "salts")


def check_examples(v):
    values = [bytes.fromhex(b) for b in v["bytes"]]
    need(list_root(bytes.fromhex(v["salt"]), values).hex() == v["root"], "root")


def main(path):
    with open(path) as f:
        vectors = json.load(f)
    wrong = count = 0
    for group, check in (
        ("receipts", check_receipt),
        ("seeds", lambda v: need(str(nonce_seed(bytes.fromhex(v["nonce"]))) == v["seed"], "seed")),
        ("files", lambda v: check_file(bytes.fromhex(v["file"]), v["options"])),
        ("samples", lambda v: need(choose(bytes.fromhex(v["receipt"]), bytes.fromhex(v["random"]), v["all"], v["sample"]) == v["chosen"], "sample")),
    ):
        for v in vectors[group]:
            got, count = failed(check, v), count + 1
            if got != v.get("fails"):
                wrong += 1
                print(f"{group}: {v.get('name', v)}: {got}, want {v.get('fails')}")
    for v in vectors["examples"]["given"]:
        got, count = failed(check_given, bytes.fromhex(v["file"]), bytes.fromhex(v["receipt"])), count + 1
        if got != v.get("fails"):
            wrong += 1
            print(f"examples: {v['name']}: {got}, want {v.get('fails')}")
    for name, check in (("salts", check_salts), ("examples", check_examples)):
        got, count = failed(check, vectors[name]), count + 1
        if got is not None:
            wrong += 1
            print(f"{name}: {got}")
    print(f"{count} vectors, {wrong} judged otherwise")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
